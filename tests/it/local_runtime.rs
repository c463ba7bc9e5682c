//! The local runtime with real processes: the contract, and what is left when servers, supervisors and desktops end.
//!
//! Most tests run desktops without a screen, which need nothing installed. Those with a screen need Debian's xpra; they are
//! skipped with a message where it is missing, unless `CHORUS_TEST_XPRA=require` says that it must be there.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use chorus::server::runtime::{
    AppObservation, AppSpec, AppState, AppStatus, Browser, Clipboard, Event, Limits, Observation, PodStatus, Removal,
    Runtime as _, WorkbenchRef, WorkbenchSpec,
    local::{Local, Options, missing},
};
use futures_util::{StreamExt as _, stream::BoxStream};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    runtime_contract,
    support::runtime::{ENDS, FAILS, STAYS},
};

const OF: WorkbenchRef = WorkbenchRef { workspace: 5, workbench: 6 };
const PATIENCE: Duration = Duration::from_secs(40);

/// A host for desktops: a folder that any user can enter, with scripts as apps.
struct Host {
    folder: TempDir,
    options: Options,
}

impl Host {
    fn new(screen: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let options = Options {
            files: folder.path().join("desktops"),
            user: "nobody".to_owned(),
            apps: Vec::new(),
            unattended: Duration::from_secs(600),
            grace: Duration::from_secs(5),
            supervisor: PathBuf::from(env!("CARGO_BIN_EXE_chorus")),
            screen,
        };
        let mut host = Self { folder, options };
        host.app(STAYS, "exec sleep 1000");
        host.app(ENDS, "exit 0");
        host.app(FAILS, "echo broken >&2; exit 3");
        host
    }

    /// An app that runs this script.
    fn app(&mut self, image: &str, script: &str) {
        let path = self.folder.path().join(image.replace('/', "-"));
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self.options.apps.push(format!("{image}={}", path.display()).parse().unwrap());
    }

    fn open(&self) -> Local {
        Local::open(self.options.clone()).unwrap()
    }

    /// Starts a desktop with these apps and waits until it is ready and they got somewhere.
    async fn started(&self, runtime: &Local, images: &[&str]) -> Observation {
        let apps = images.iter().zip(1..).map(|(image, id)| app(id, image)).collect();
        applied(runtime, &spec(1, apps)).await
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let Ok(runtime) = Local::open(self.options.clone()) else { return };
        // a test that failed leaves its desktops
        let all = runtime.run_folder(OF).parent().unwrap().to_owned();
        for run in fs::read_dir(&all).into_iter().flatten().flatten() {
            for signal in ["-TERM", "-KILL"] {
                for pid in marked(&run.path()).into_keys() {
                    let _ = Command::new("kill").args([signal, &pid.to_string()]).status();
                }
            }
        }
        let _ = fs::remove_dir_all(all);
    }
}

fn app(id: i64, image: &str) -> AppSpec {
    AppSpec {
        id,
        name: image.to_owned(),
        state: AppState::Running,
        incarnation: 1,
        registry: String::new(),
        image: image.to_owned(),
        tag: "1".to_owned(),
        limits: Limits::default(),
        browser: None,
    }
}

fn spec(generation: i64, apps: Vec<AppSpec>) -> WorkbenchSpec {
    WorkbenchSpec {
        of: OF,
        tenant: 1,
        generation,
        owner: (1, "ada".to_owned()),
        resolution: (0, 0),
        clipboard: Clipboard::Disabled,
        apps,
    }
}

/// Applies, and waits until that generation is ready with every app on its way or ended.
async fn applied(runtime: &Local, spec: &WorkbenchSpec) -> Observation {
    let mut events = runtime.observe();
    runtime.apply(spec).await.unwrap();
    let settled = |app: &AppObservation| app.status == AppStatus::Running || app.status.has_ended();
    let come = async {
        loop {
            match events.next().await {
                Some(Event::Seen(seen))
                    if seen.generation == spec.generation
                        && seen.pod == PodStatus::Ready
                        && seen.apps.len() == spec.apps.len()
                        && seen.apps.iter().all(settled) =>
                {
                    return seen;
                }
                Some(event) => println!("{event:?}"),
                None => panic!("the events ended"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, come).await.expect("the desktop does not come so far")
}

async fn gone(runtime: &Local, remove: impl AsyncFn() -> Removal) {
    let mut events = runtime.observe();
    if remove().await == Removal::Going {
        let end = async { while events.next().await != Some(Event::Gone(OF)) {} };
        tokio::time::timeout(PATIENCE, end).await.expect("the desktop does not end");
    }
    assert_eq!(remove().await, Removal::Gone);
}

/// Waits until the desktop tells this reason, and then that it is ready with all its apps.
async fn back_after(events: &mut BoxStream<'_, Event>, reason: &str) {
    let running = |seen: &Observation| seen.apps.iter().all(|app| app.status == AppStatus::Running);
    let back = async {
        while !matches!(events.next().await, Some(Event::Seen(seen)) if seen.reason == reason) {}
        while !matches!(events.next().await, Some(Event::Seen(seen)) if seen.pod == PodStatus::Ready && running(&seen))
        {
        }
    };
    tokio::time::timeout(PATIENCE, back).await.unwrap_or_else(|_| panic!("it does not come back after {reason}"));
}

/// The processes of a desktop with what they run.
fn marked(run: &Path) -> BTreeMap<i32, String> {
    let mark = format!("CHORUS_DESKTOP={}", run.display());
    let of = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let environment = fs::read(entry.path().join("environ")).ok()?;
        let is = environment.split(|byte| *byte == 0).any(|one| one == mark.as_bytes());
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        is.then(|| (pid, String::from_utf8_lossy(&command).replace('\0', " ")))
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(of).collect()
}

fn pid_of(run: &Path, words: &str) -> i32 {
    let all = marked(run);
    let found: Vec<_> = all.iter().filter(|(_, command)| command.contains(words)).collect();
    assert_eq!(found.len(), 1, "{words}: {all:?}");
    *found[0].0
}

fn kill(signal: &str, pid: i32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// Waits for something that no event tells.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let poll = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, poll).await.unwrap_or_else(|_| panic!("it never came true: {what}"));
}

/// Whether tests with a screen run here.
fn xpra() -> bool {
    let Some((_, text)) = missing() else { return true };
    assert!(std::env::var("CHORUS_TEST_XPRA").as_deref() != Ok("require"), "{text}");
    println!("skipped: {text}");
    false
}

#[tokio::test]
async fn the_contract_holds_without_a_screen() {
    let host = Host::new(false);
    runtime_contract::check(Arc::new(host.open())).await;
}

#[tokio::test]
async fn the_contract_holds_with_xpra() {
    if xpra() {
        let host = Host::new(true);
        runtime_contract::check(Arc::new(host.open())).await;
    }
}

#[tokio::test]
async fn a_desktop_outlives_the_server_and_is_found_again() {
    let host = Host::new(false);
    let runtime = host.open();
    let before = host.started(&runtime, &[STAYS]).await;
    let run = runtime.run_folder(OF);
    // a process has its mark as soon as it is itself, which is a moment after it was started
    until("the supervisor and the app run", || marked(&run).len() == 2).await;
    let processes = marked(&run);
    // as after kill -9: nobody says goodbye
    drop(runtime);
    let runtime = host.open();
    assert_eq!(runtime.list().await.unwrap(), [before]);
    assert_eq!(marked(&run), processes, "nothing was started again");
    let seen = applied(&runtime, &spec(2, vec![app(1, STAYS), app(2, STAYS)])).await;
    assert_eq!(seen.apps.len(), 2);
    until("the other app runs as well", || marked(&run).len() == 3).await;
    gone(&runtime, async || runtime.delete(OF).await.unwrap()).await;
}

#[tokio::test]
async fn a_killed_supervisor_leaves_nothing_and_the_desktop_starts_again() {
    let mut host = Host::new(false);
    // in a session of its own, and deaf
    host.app("test/strays", "trap '' TERM; setsid sleep 1001 & exec sleep 1002");
    let runtime = host.open();
    host.started(&runtime, &[STAYS, "test/strays", ENDS]).await;
    let run = runtime.run_folder(OF);
    until("one ended, and that is written down", || {
        fs::read_to_string(runtime.files_folder(OF).join("apps.json")).is_ok_and(|text| text.contains("Complete"))
    })
    .await;
    until("the stray runs", || marked(&run).len() == 4).await;
    let mut events = runtime.observe();
    kill("-KILL", pid_of(&run, "local-desktop"));
    let end = async { while events.next().await != Some(Event::Gone(OF)) {} };
    tokio::time::timeout(PATIENCE, end).await.expect("nobody noticed");
    assert_eq!(marked(&run), BTreeMap::new());
    assert!(!run.exists());

    let seen = host.started(&runtime, &[STAYS, "test/strays", ENDS]).await;
    let status: Vec<_> = seen.apps.iter().map(|app| app.status).collect();
    assert_eq!(status, [AppStatus::Running, AppStatus::Running, AppStatus::Complete], "what ended stays so");
    gone(&runtime, async || runtime.delete(OF).await.unwrap()).await;
    assert_eq!(marked(&run), BTreeMap::new());
}

#[tokio::test]
async fn a_supervisor_that_died_while_no_server_ran_is_tidied_up_at_the_next_start() {
    let host = Host::new(false);
    let runtime = host.open();
    host.started(&runtime, &[STAYS]).await;
    let run = runtime.run_folder(OF);
    drop(runtime);
    kill("-KILL", pid_of(&run, "local-desktop"));
    until("it is gone", || marked(&run).len() == 1).await;
    let runtime = host.open();
    assert_eq!(runtime.list().await.unwrap(), []);
    assert_eq!((marked(&run).len(), run.exists()), (0, false));
}

#[tokio::test]
async fn nobody_asks_and_the_desktop_ends() {
    let mut host = Host::new(false);
    host.options.unattended = Duration::from_millis(200);
    let runtime = host.open();
    host.started(&runtime, &[STAYS]).await;
    let run = runtime.run_folder(OF);
    assert_eq!(marked(&run).len(), 2);
    drop(runtime);
    until("all ended", || marked(&run).is_empty()).await;
    assert_eq!(fs::read_dir(&run).unwrap().count(), 0, "the sockets are gone");
    assert_eq!(host.open().list().await.unwrap(), []);
    assert!(!run.exists());
}

#[tokio::test]
async fn stopping_keeps_files_and_deleting_keeps_nothing() {
    let mut host = Host::new(false);
    host.app("test/writes", "echo kept > ~/file; echo shared > ~/workspace/file; exec sleep 1000");
    let runtime = host.open();
    host.started(&runtime, &["test/writes"]).await;
    let (run, files) = (runtime.run_folder(OF), runtime.files_folder(OF));
    let shared = files.parent().unwrap().parent().unwrap().join("shared");
    until("the files are written", || shared.join("file").exists()).await;
    gone(&runtime, async || runtime.stop(OF).await.unwrap()).await;
    assert_eq!(fs::read_to_string(files.join("home/file")).unwrap(), "kept\n");
    assert_eq!((marked(&run).len(), run.exists()), (0, false));

    host.started(&runtime, &["test/writes"]).await;
    gone(&runtime, async || runtime.delete(OF).await.unwrap()).await;
    assert!(!files.exists() && shared.join("file").exists());
    assert_eq!(runtime.delete_workspace(OF.workspace).await.unwrap(), Removal::Gone);
    assert!(!shared.exists());
}

#[tokio::test]
async fn apps_have_a_bare_environment_and_are_not_root() {
    let mut host = Host::new(false);
    let secret = host.folder.path().join("data");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("keys"), "secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o700)).unwrap();
    let keys = secret.join("keys").display().to_string();
    let look = format!(
        "cd ~; env > env; id -u > uid; id -G > groups; umask > umask; ls /proc/self/fd > fds; cat {keys} > keys; touch done; \
         exec sleep 1000"
    );
    host.app("test/looks", &look);
    let runtime = host.open();
    host.started(&runtime, &["test/looks"]).await;
    let home = runtime.files_folder(OF).join("home");
    until("it looked around", || home.join("done").exists()).await;
    let read = |name: &str| fs::read_to_string(home.join(name)).unwrap().trim().to_owned();

    let environment = read("env");
    let mut names: Vec<_> = environment.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    let expected = [
        "CHORUS_APP_INSTANCE",
        "CHORUS_DESKTOP",
        "HOME",
        "LANG",
        "PATH",
        "PWD",
        "SHELL",
        "XAUTHORITY",
        "XDG_RUNTIME_DIR",
    ];
    names.retain(|name| !["OLDPWD", "_", "SHLVL"].contains(name));
    assert_eq!(names, expected);
    // what whoever started this test left open is not ours to close
    let list = format!("ls /proc/self/fd > {}/fds", host.folder.path().display());
    assert!(Command::new("sh").args(["-c", &list]).status().unwrap().success());
    assert_eq!(read("fds"), fs::read_to_string(host.folder.path().join("fds")).unwrap().trim(), "nothing else is open");
    assert_eq!(u32::from_str_radix(&read("umask"), 8).unwrap(), 0o077);
    let me = fs::metadata("/proc/self").unwrap().uid();
    if me == 0 {
        let nobody = fs::metadata(home.join("done")).unwrap();
        assert_ne!(nobody.uid(), 0);
        assert_eq!(read("uid"), nobody.uid().to_string());
        assert_eq!(read("groups"), nobody.gid().to_string(), "no further groups");
        assert_eq!(read("keys"), "", "the data directory is closed");
        let supervisor = pid_of(&runtime.run_folder(OF), "local-desktop");
        assert_eq!(fs::metadata(format!("/proc/{supervisor}")).unwrap().uid(), nobody.uid());
    } else {
        assert_eq!(read("uid"), me.to_string());
    }
    gone(&runtime, async || runtime.delete(OF).await.unwrap()).await;
}

#[tokio::test]
async fn an_app_that_does_not_listen_is_made_to_end_with_all_it_started() {
    let mut host = Host::new(false);
    host.options.grace = Duration::from_millis(50);
    host.app("test/deaf", "trap '' TERM; setsid sleep 1001 & while :; do sleep 1003; done");
    let runtime = host.open();
    host.started(&runtime, &["test/deaf", STAYS]).await;
    let run = runtime.run_folder(OF);
    until("all of it runs", || marked(&run).len() == 5).await;
    let stopped = AppSpec { state: AppState::Stopped, ..app(1, "test/deaf") };
    let mut events = runtime.observe();
    runtime.apply(&spec(2, vec![stopped, app(2, STAYS)])).await.unwrap();
    let end = async {
        loop {
            if let Some(Event::Seen(seen)) = events.next().await
                && seen.apps[0].status == AppStatus::Stopped
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, end).await.unwrap();
    until("only the other one is left", || marked(&run).len() == 2).await;
    gone(&runtime, async || runtime.delete(OF).await.unwrap()).await;
}

#[tokio::test]
async fn strays_of_an_app_become_the_supervisors_and_leave_no_zombies() {
    let mut host = Host::new(false);
    // without the mark, orphaned, and soon dead
    host.app("test/orphan", "(env -i sh -c 'exit 0' &) ; (env -i setsid sleep 1004 &); exec sleep 1000");
    let runtime = host.open();
    host.started(&runtime, &["test/orphan"]).await;
    let run = runtime.run_folder(OF);
    let supervisor = pid_of(&run, "local-desktop");
    let children = || {
        let text = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap_or_default();
        text.split_whitespace().map(|pid| pid.parse::<i32>().unwrap()).collect::<Vec<_>>()
    };
    let command = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    until("the orphan is adopted", || children().iter().any(|pid| command(pid).contains("1004"))).await;
    until("the dead are buried", || children().iter().all(|pid| !command(pid).is_empty())).await;
    let orphan = children().into_iter().find(|pid| command(pid).contains("1004")).unwrap();
    gone(&runtime, async || runtime.delete(OF).await.unwrap()).await;
    assert!(!Path::new(&format!("/proc/{orphan}")).exists());
}

#[tokio::test]
async fn a_token_is_in_a_page_and_in_no_argument() {
    let mut host = Host::new(false);
    host.app("test/browser", "exec sleep 1000 # $1");
    let runtime = host.open();
    let browser = Browser {
        url: "https://app.example.org/".to_owned(),
        jwt_url: "https://app.example.org/sign-in".to_owned(),
        jwt_token: Some("tok.en-1".to_owned().into()),
    };
    let of = AppSpec { browser: Some(browser), ..app(1, "test/browser") };
    let with_command = AppSpec { id: 2, image: "test/none".to_owned(), ..of.clone() };
    let seen = applied(&runtime, &spec(1, vec![of, with_command])).await;
    assert_eq!(seen.apps[1].status, AppStatus::Failed);
    assert!(seen.apps[1].message.contains("`local.apps`"), "{}", seen.apps[1].message);
    let run = runtime.run_folder(OF);
    let page = run.join("start-1.html");
    assert!(fs::read_to_string(&page).unwrap().contains("https://app.example.org/sign-in#jwt=tok.en-1"));
    assert_eq!(fs::metadata(&page).unwrap().mode() & 0o777, 0o600);
    for pid in marked(&run).keys() {
        for file in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{pid}/{file}")).unwrap();
            assert!(!String::from_utf8_lossy(&text).contains("tok.en"), "{pid} {file}");
        }
    }
    gone(&runtime, async || runtime.delete(OF).await.unwrap()).await;
}

#[tokio::test]
async fn others_are_not_answered_and_not_asked() {
    let host = Host::new(false);
    let runtime = host.open();
    host.started(&runtime, &[]).await;
    let run = runtime.run_folder(OF);
    assert_eq!(fs::metadata(&run).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(run.join("control")).unwrap().mode() & 0o777, 0o700);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        // a desktop leads its page to the socket of somebody else, here of root
        let other = host.folder.path().join("root.sock");
        let listener = tokio::net::UnixListener::bind(&other).unwrap();
        std::os::unix::fs::symlink(&other, run.join("page")).unwrap();
        assert!(runtime.connect(OF).await.is_err());
        drop(listener);
    }
    assert_eq!(runtime.list().await.unwrap().len(), 1);
    gone(&runtime, async || runtime.delete(OF).await.unwrap()).await;
}

/// The page of a desktop, as a browser gets it.
async fn page(runtime: &Local) -> String {
    let mut stream = runtime.connect(OF).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut page = Vec::new();
    stream.read_to_end(&mut page).await.unwrap();
    String::from_utf8_lossy(&page).into_owned()
}

#[tokio::test]
async fn a_screen_shows_and_survives_what_can_end() {
    if !xpra() {
        return;
    }
    let mut host = Host::new(true);
    host.app("test/draws", "exec xterm -e 'echo drawn > ~/drawn; sleep 1000'");
    let runtime = host.open();
    let started = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    host.started(&runtime, &["test/draws", "test/draws"]).await;
    println!("ready after {:?}", std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap() - started);
    let (run, home) = (runtime.run_folder(OF), runtime.files_folder(OF).join("home"));
    until("a window is drawn", || home.join("drawn").exists()).await;
    assert!(page(&runtime).await.starts_with("HTTP/1.1 200") || page(&runtime).await.contains("200 OK"));

    // another policy of the clipboard: the page starts again, the apps do not notice
    let apps = || marked(&run).into_iter().filter(|(_, command)| command.starts_with("xterm")).collect::<Vec<_>>();
    let before = (apps(), pid_of(&run, "/usr/bin/xpra"));
    let both =
        WorkbenchSpec { clipboard: Clipboard::Both, ..spec(2, vec![app(1, "test/draws"), app(2, "test/draws")]) };
    let mut events = runtime.observe();
    runtime.apply(&both).await.unwrap();
    back_after(&mut events, "ClipboardChanged").await;
    assert_eq!(apps(), before.0);
    let xpra = pid_of(&run, "--clipboard-direction=both");
    assert_ne!(xpra, before.1);
    assert!(page(&runtime).await.contains("200"));

    // Xpra ends
    kill("-KILL", xpra);
    back_after(&mut events, "PageEnded").await;
    assert_eq!(apps(), before.0);

    // the X server ends: everything starts again, the apps too, since they did not end by themselves
    let lost = display_of(before.0[0].0);
    kill("-KILL", pid_of(&run, "Xvfb"));
    back_after(&mut events, "DisplayEnded").await;
    assert!(apps().len() == 2 && apps() != before.0);

    let display = display_of(apps()[0].0);
    // other tests of this machine may have taken the number
    assert!(display.exists() && (lost == display || !lost.exists() || is_used(&lost)));
    gone(&runtime, async || runtime.delete(OF).await.unwrap()).await;
    assert_eq!((marked(&run), run.exists(), display.exists()), (BTreeMap::new(), false, false));
}

/// The socket of the display that a process uses.
/// Whether a process of now holds the display of this socket: its lock file names the process.
fn is_used(display: &Path) -> bool {
    let number = display.file_name().unwrap().to_str().unwrap().trim_start_matches('X').to_owned();
    let holder = fs::read_to_string(format!("/tmp/.X{number}-lock")).unwrap_or_default();
    !holder.trim().is_empty() && Path::new(&format!("/proc/{}", holder.trim())).exists()
}

fn display_of(pid: i32) -> PathBuf {
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let display = environment.split('\0').find_map(|one| one.strip_prefix("DISPLAY=:")).unwrap();
    PathBuf::from(format!("/tmp/.X11-unix/X{display}"))
}
