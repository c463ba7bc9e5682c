//! Commands that wait, watch and open, against a runtime that does what the test says, when the test says it.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use chorus::server::{
    db::Db,
    runtime::{RuntimeError, WorkbenchRef},
};

use crate::support::{
    binary::Shell,
    runtime::{ENDS, FAILS, STAYS, Scripted},
    server::{ADMIN_PASSWORD, TestServer},
};

/// A server with a workspace, and somebody at a shell who is signed in to it.
struct Scene {
    server: TestServer,
    runtime: Scripted,
    shell: Shell,
    workspace: i64,
}

const DESK: &str = "workbench create desk --workspace Atlas";
const WAITING: &str = "workbench \"desk\" (1): Waiting";
const READY: &str = "workbench \"desk\" (1): Ready";

impl Scene {
    async fn new() -> Self {
        let runtime = Scripted::default();
        let db = Db::memory().await.unwrap();
        let settings = [("public_url", "http://desk.example.org")];
        let server = TestServer::with_runtime(db, &settings, std::sync::Arc::new(runtime.clone())).await;
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let mut shell = Shell::new(&server.grpc_url());
        let answer = shell.run_with("login --username chorus --password-stdin", ADMIN_PASSWORD);
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        Self { server, runtime, shell, workspace }
    }

    /// The same with a desktop that is ready.
    async fn with_desk() -> Self {
        let mut scene = Self::new().await;
        scene.run(DESK);
        scene.server.reconcile().await;
        scene
    }

    fn desk(&self) -> WorkbenchRef {
        WorkbenchRef { workspace: self.workspace, workbench: 1 }
    }

    /// Runs a command that has to succeed.
    fn run(&mut self, line: &str) -> String {
        let answer = self.shell.run(line);
        assert_eq!(answer.code, 0, "{line}: {}", answer.stderr);
        answer.stdout
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn creating_waits_until_the_desktop_is_ready() {
    let scene = Scene::new().await;
    let mut create = scene.shell.start(&format!("{DESK} --wait"));
    assert_eq!(create.told(), WAITING);
    scene.server.reconcile().await;
    let answer = create.end();
    assert_eq!((answer.code, answer.stderr.trim_end()), (0, READY));
    assert!(answer.stdout.contains("\ndesktop    Ready\n"), "{}", answer.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_told_in_data_only() {
    let scene = Scene::with_desk().await;
    let answer = scene.shell.start("wait workbench/1 --for ready -o ndjson").end();
    assert_eq!((answer.code, answer.stderr.as_str()), (0, ""));
    let workbench: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(workbench["serverPodStatus"], "Ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_runtime_gave_up_on_ends_the_waiting() {
    let scene = Scene::new().await;
    scene.runtime.fail("apply", [RuntimeError::lasting("XpraMissing", "Install the package xpra.")]);
    let mut create = scene.shell.start(&format!("{DESK} --wait"));
    assert_eq!(create.told(), WAITING);
    scene.server.reconcile().await;
    let answer = create.end();
    assert_eq!((answer.code, answer.stdout.as_str()), (1, ""));
    let expected = "error: workbench \"desk\" (1) cannot get ready: Install the package xpra.";
    assert!(answer.stderr.contains(expected), "{}", answer.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_state_is_told_when_time_is_up() {
    let mut scene = Scene::new().await;
    scene.run(DESK);
    let answer = scene.shell.run("wait workbench/desk --for ready --timeout 2s");
    assert_eq!(answer.code, 8);
    let expected = "error: workbench \"desk\" (1) is not ready after 2s; its last state is Waiting\n";
    assert!(answer.stderr.contains(expected), "{}", answer.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_the_end_of_a_workbench() {
    let scene = Scene::with_desk().await;
    let mut gone = scene.shell.start("wait workbench/desk --for deleted");
    let mut ready = scene.shell.start("wait workbench/desk --for stopped");
    assert_eq!((gone.told().as_str(), ready.told().as_str()), (READY, READY));
    assert_eq!(scene.shell.start("workbench delete desk --yes").end().code, 0);
    let answer = gone.end();
    assert_eq!((answer.code, answer.stderr.as_str()), (0, "workbench \"desk\" is deleted\n"));
    let answer = ready.end();
    assert_eq!((answer.code, answer.stderr.as_str()), (3, "error: workbench \"desk\" (1) is deleted\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_run_end_and_fail() {
    let mut scene = Scene::with_desk().await;
    for (name, image) in [("Editor", STAYS), ("Batch", ENDS), ("Broken", FAILS)] {
        scene.run(&format!("app create {name} --image {image}:1 -o name"));
    }
    for (app, code, told) in [
        ("Editor", 0, "app \"Editor\" (1): Running"),
        ("Batch", 0, "app \"Batch\" (2): Complete"),
        ("Broken", 1, "error: app \"Broken\" (3) failed: exit code 3: broken"),
    ] {
        let mut start = scene.shell.start(&format!("workbench app start desk {app} --wait"));
        assert!(start.told().ends_with(": Unknown"), "{app}");
        scene.server.reconcile().await;
        let answer = start.end();
        assert_eq!(answer.code, code, "{app}: {}", answer.stderr);
        assert!(answer.stderr.contains(told), "{app}: {}", answer.stderr);
    }
    assert_eq!(scene.shell.run("wait app-instance/1 --for running").code, 0);
    assert_eq!(scene.shell.run("wait app-instance/3 --for ended").code, 1);
    let mut stop = scene.shell.start("workbench app stop Editor --workbench desk --wait");
    assert_eq!(stop.told(), "app \"Editor\" (1): Running");
    scene.server.reconcile().await;
    let answer = stop.end();
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(answer.stderr.ends_with("app instance \"Editor\" (1) has ended\n"), "{}", answer.stderr);

    let mut restart = scene.shell.start("workbench app restart 1 --wait");
    assert_eq!(restart.told(), "app \"Editor\" (1): Unknown");
    scene.server.reconcile().await;
    assert_eq!(restart.end().code, 0);
    assert_eq!(scene.runtime.running(scene.desk()), [(1, 2)]);
    assert_eq!(
        scene.run("workbench app list desk --sort appname -o name"),
        "app-instance/2\napp-instance/3\napp-instance/1\n"
    );
    assert_eq!(scene.run("workbench app logs 1 --tail 100"), "");
    assert_eq!(scene.shell.run("workbench app stop 1 --remove").stderr, "removed app instance 1\n");
    scene.server.reconcile().await;
    assert_eq!(scene.runtime.running(scene.desk()), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_tells_each_change_until_it_is_interrupted() {
    let mut scene = Scene::new().await;
    scene.run(DESK);
    let (mut data, mut table) =
        (scene.shell.start("workbench watch --workspace Atlas -o json"), scene.shell.start("workbench watch desk"));
    let mut event = || serde_json::from_str::<serde_json::Value>(&data.printed()).unwrap();
    let first = event();
    assert_eq!(
        (&first["kind"], &first["workbench"]["serverPodStatus"]),
        (&"WORKBENCH_EVENT_KIND_SEEN".into(), &"Waiting".into())
    );
    assert_eq!(event()["kind"], "WORKBENCH_EVENT_KIND_CURRENT");
    assert!(table.printed().starts_with("ID  NAME  WORKSPACE"));
    assert!(table.printed().contains("  Waiting  "));
    scene.server.reconcile().await;
    assert_eq!(event()["workbench"]["serverPodStatus"], "Ready");
    assert!(table.printed().contains("  Ready    "));
    scene.run("workbench delete desk --yes");
    assert_eq!(event()["kind"], "WORKBENCH_EVENT_KIND_DELETED");
    assert!(table.printed().contains("  deleted  "));
    for command in [data, table] {
        command.interrupt();
        assert_eq!(command.end().code, 130);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_is_led_to_the_desktop_by_a_private_page() {
    let mut scene = Scene::with_desk().await;
    let url = scene.run("open desk --print-url");
    let front = "http://desk.example.org/api/rest/v1/workbenches/1/stream/?ticket=";
    assert!(url.starts_with(front), "{url}");

    // a browser that tells what it was given
    let folder = tempfile::tempdir().unwrap();
    let (browser, pipe) = (folder.path().join("xdg-open"), folder.path().join("pipe"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let script = format!("#!/bin/sh\n{{ stat -c %a \"$1\"; echo \"$*\"; cat \"$1\"; }} > {}\n", pipe.display());
    fs::write(&browser, script).unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    let mut open = scene.shell.command("workbench open Atlas/desk");
    open.env("PATH", format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap()));
    let mut open = scene.shell.start_command(open);
    assert_eq!(open.told(), "opening workbench \"Atlas/desk\" (1) in the browser");
    let given = fs::read_to_string(&pipe).unwrap();
    let mut lines = given.lines();
    let (mode, page) = (lines.next().unwrap(), lines.next().unwrap());
    assert_eq!(mode, "600");
    assert!(page.ends_with(".html") && !page.contains("ticket"), "{page}");
    assert!(given.contains(&format!("content=\"0; url={front}")), "{given}");
    open.interrupt();
    assert_eq!(open.end().code, 130);
    assert!(!fs::exists(page).unwrap(), "the page stays");

    // no browser at all
    let mut open = scene.shell.command("open desk");
    open.env("PATH", folder.path().join("nothing"));
    let answer = scene.shell.start_command(open).end();
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("--print-url"), "{}", answer.stderr);
}
