//! The whole way: a real browser signs in, opens the desktop of a real Xpra through the server, and types into a terminal.
//!
//! It needs Debian's xpra, xvfb, xterm and chromium. Where they are missing the test is skipped with a message, unless
//! `CHORUS_TEST_XPRA=require` and `CHORUS_TEST_CHROMIUM=require` say that they must be there.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chorus::server::{
    clock::{Clock as _, SystemClock},
    db::sql,
    runtime::{
        Runtime as _,
        local::{Local, Options, missing},
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Database,
    chromium::{self, Browser},
    server::{ADMIN_PASSWORD, TestServer},
};

/// How long a desktop may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A server whose desktops are real.
struct Host {
    server: TestServer,
    runtime: Arc<Local>,
    folder: TempDir,
    _database: Database,
}

impl Host {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // desktops run as somebody else when the test is root
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let options = Options {
            files: folder.path().join("desktops"),
            user: "nobody".to_owned(),
            apps: vec!["test/xterm=xterm".parse().unwrap()],
            // should this test die, so do its desktops
            unattended: Duration::from_secs(30),
            grace: Duration::from_secs(5),
            supervisor: PathBuf::from(env!("CARGO_BIN_EXE_chorus")),
            screen: true,
        };
        let runtime = Arc::new(Local::open(options).unwrap());
        let database = Database::sqlite();
        let db = database.open().await;
        db.migrate().await.unwrap();
        let mut server = TestServer::with_runtime(db, &[], runtime.clone()).await;
        // a browser keeps no cookie that ended by its own clock
        server.clock.advance(SystemClock.now() - server.clock.now());
        server.admin = server.sign_in(&server.admin).await;
        Self { server, runtime, folder, _database: database }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let path = format!("/api/rest/v1/{path}");
        let reply = self.server.rest(Some(&self.server.admin), Method::POST, &path, Some(body)).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        reply.body["result"].clone()
    }

    /// Waits until something that is read over REST is so. The server's clock goes on meanwhile, as its loop needs it.
    async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) {
        let path = format!("/api/rest/v1/{path}");
        let wait = async {
            loop {
                let reply = self.server.rest(Some(&self.server.admin), Method::GET, &path, None).await;
                if is_so(&reply.body["result"]) {
                    return;
                }
                println!("{}", reply.body);
                self.server.clock.advance(TimeDelta::seconds(1));
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{path} does not become what it should"));
    }

    async fn active_at(&self) -> DateTime<Utc> {
        self.server.streams().store().await;
        let (at,): (DateTime<Utc>,) = sql("SELECT active_at FROM workbenches").one(&self.server.db).await.unwrap();
        at
    }
}

/// What a file of this name says, wherever it is below the folder.
fn find(folder: &Path, name: &str) -> Option<String> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| match entry.file_type().ok()? {
        kind if kind.is_dir() => find(&entry.path(), name),
        _ if entry.file_name() == name => fs::read_to_string(entry.path()).ok(),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_types_into_a_desktop_in_the_browser() {
    if let Some((_, text)) = missing() {
        assert_ne!(std::env::var("CHORUS_TEST_XPRA").as_deref(), Ok("require"), "{text}");
        println!("skipped: {text}");
        return;
    }
    let Some(program) = chromium::find() else { return };
    let host = Host::new().await;
    let server = &host.server;
    let reconciling = server.reconciler().start();

    let workspace = server.workspace(&server.admin, "lab").await;
    let workbench = host.post("workbenches", json!({"workspaceId": workspace.to_string(), "name": "desk"})).await;
    let id = workbench["workbench"]["id"].as_str().unwrap().to_owned();
    let app = server.app(&server.admin, "Terminal", "test/xterm", "1").await;
    host.until(&format!("workbenches/{id}"), |r| r["workbench"]["serverPodStatus"] == "Ready").await;
    let instance = json!({"workspaceId": workspace.to_string(), "workbenchId": id, "appId": app.to_string()});
    let instance = host.post("app-instances", instance).await;
    let instance = instance["appInstance"]["id"].as_str().unwrap().to_owned();
    host.until(&format!("app-instances/{instance}"), |r| r["appInstance"]["k8sStatus"] == "Running").await;

    let mut browser = Browser::start(program).await;
    browser.open(&format!("{}/account", server.url())).await;
    browser.until("document.readyState === 'complete' && location.pathname === '/account'").await;
    let credentials = json!({"username": "chorus", "password": ADMIN_PASSWORD}).to_string();
    let login = format!(
        "fetch('/api/rest/v1/authentication/login', {{method: 'POST', headers: {{'content-type': 'application/json'}}, \
         body: {}}}).then(answer => answer.status)",
        Value::from(credentials)
    );
    assert_eq!(browser.value(&login).await, 200);
    browser
        .open(&format!("{}/api/rest/v1/workbenches/{id}/stream/?sharing=true&keyboard_layout=us", server.url()))
        .await;
    browser.until("document.querySelectorAll('.window canvas').length > 0").await;

    // the page is confined: it is on our origin, and reaches nothing of it but its own desktop
    let reach = "fetch('/api/rest/v1/users/me').then(() => 'reached', () => 'refused')";
    assert_eq!(browser.value(reach).await, "refused");
    assert_eq!(browser.value("window.open('/account') === null").await, true);

    // left alone for a while it is idle, whatever it says by itself
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.clock.advance(TimeDelta::minutes(10));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let now = server.clock.now();
    assert!(host.active_at().await < now - TimeDelta::minutes(9), "a page that is left open counts as use");
    let (bytes,): (i64,) = sql("SELECT streamed_bytes FROM workbenches").one(&server.db).await.unwrap();
    assert!(bytes > 100_000, "{bytes}");

    let place = "(() => { const r = document.querySelector('.window canvas').getBoundingClientRect(); \
                 return [Math.round(r.x + r.width / 2), Math.round(r.y + r.height / 2)] })()";
    let place = browser.value(place).await;
    let at = |index: usize| u32::try_from(place[index].as_u64().unwrap()).unwrap();
    browser.click(at(0), at(1)).await;
    browser.type_text("cd\ntee typed\nhello from chromium\n").await;
    let typed = async {
        while find(host.folder.path(), "typed").is_none_or(|text| text != "hello from chromium\n") {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, typed).await;
    assert!(found.is_ok(), "typed is {:?}", find(host.folder.path(), "typed"));
    assert_eq!(host.active_at().await, server.clock.now());

    let path = format!("/api/rest/v1/workbenches/{id}");
    assert_eq!(server.rest(Some(&server.admin), Method::DELETE, &path, None).await.status, 200);
    browser.until("document.querySelectorAll('.window canvas').length === 0 || document.title !== ''").await;
    let gone = async {
        while !host.runtime.list().await.unwrap().is_empty() {
            server.clock.advance(TimeDelta::seconds(1));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the desktop does not end");
    drop(browser);
    reconciling.stop().await;
    let Host { server, .. } = host;
    server.stop().await;
}
