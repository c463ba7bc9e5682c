//! Sessions, as the client calls workbenches: creating one and waiting for its desktop, its members, its settings.

use chorus::server::db::{Db, sql};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    browser::{Browser, SETTINGS},
    session::{dashboard, refresh},
    shapes, workspaces,
};
use crate::support::{
    each_engine,
    server::{ADMIN_PASSWORD, TestServer},
};

/// What the loop that reconciles would have seen of the desktop.
async fn seen(server: &TestServer, id: &str, k8s: &str, pod: &str, message: &str) {
    sql("UPDATE workbenches SET k8s_status = $1, server_pod_status = $2, server_pod_message = $3, due_at = NULL \
         WHERE id = $4")
    .bind(k8s.to_owned())
    .bind(pod.to_owned())
    .bind(message.to_owned())
    .bind(id.parse::<i64>().unwrap())
    .run(&server.db)
    .await
    .unwrap();
}

async fn list(browser: &Browser<'_>) -> Vec<Value> {
    let reply = browser.get("workbenches").await;
    let list = shapes::list(&reply["result"]["workbenches"]).to_vec();
    for workbench in &list {
        shapes::workbench(workbench);
    }
    list
}

async fn one(browser: &Browser<'_>, id: &str) -> Value {
    let reply = browser.get(&format!("workbenches/{id}")).await;
    shapes::workbench(&reply["result"]["workbench"]).clone()
}

async fn life_of_a_session(server: &TestServer) {
    let browser = Browser::new(server);
    assert_eq!(browser.sign_in("chorus", ADMIN_PASSWORD).await.status, 200);
    let (me, _) = dashboard(&browser).await;
    let workspace = workspaces::create(&browser, "Étude").await;

    let dialog = json!({ "tenantId": "1", "userId": me["id"], "workspaceId": workspace["id"], "name": "Schreibtisch",
        "status": "active", "initialResolutionWidth": 1920, "initialResolutionHeight": 1080 });
    let made = browser.post("workbenches", dialog).await["result"]["workbench"].clone();
    let id = shapes::id(&shapes::workbench(&made)["id"]).to_owned();
    assert_eq!((&made["status"], &made["initialResolutionWidth"]), (&json!("active"), &json!(1920)));
    let (me, _) = refresh(&browser).await;
    let own = |role: &&Value| role["context"] == json!({ "workbench": id });
    let role = shapes::list(&me["rolesWithContext"]).iter().find(own).expect("the session is the caller's, at once");
    assert_eq!(role["name"], "WorkbenchAdmin");
    assert_eq!(list(&browser).await.len(), 1);

    // the session page asks every 500 ms
    for (k8s, pod, message) in [
        ("Progressing", "Waiting", ""),
        ("Progressing", "Starting", "The desktop starts."),
        ("Failed", "Failing", "No room on the node."),
        ("Running", "Ready", ""),
    ] {
        seen(server, &id, k8s, pod, message).await;
        let now = one(&browser, &id).await;
        assert_eq!((&now["serverPodStatus"], &now["serverPodMessage"]), (&json!(pod), &json!(message)));
        assert_eq!((&now["k8sStatus"], &now["status"]), (&json!(k8s), &json!("active")));
    }

    let mut settings = one(&browser, &id).await;
    settings["name"] = json!("Werkbank");
    browser.put("workbenches", settings).await;
    assert_eq!(one(&browser, &id).await["name"], "Werkbank");

    let other = server.person("ida", &[]).await.id;
    let role = json!({ "role": { "name": "WorkbenchMember", "context": { "workbench": id } } });
    let reply = browser.post(&format!("workbenches/{id}/user/{other}/role"), role).await;
    shapes::workbench(&reply["result"]["workbench"]);
    let members = shapes::users(&browser.get(&format!("users?filter.workbenchIDs={id}")).await).0.len();
    assert_eq!(members, 2);
    let reply = browser.delete(&format!("workbenches/{id}/user/{other}")).await;
    shapes::workbench(&reply["result"]["workbench"]);

    // stopped by the command line: the list still shows it
    browser.post(&format!("workbenches/{id}/stop"), json!({})).await;
    let [stopped] = &list(&browser).await[..] else { panic!("one session") };
    assert_eq!((&stopped["status"], &stopped["k8sStatus"]), (&json!("inactive"), &json!("")));
    assert_eq!(stopped["serverPodStatus"], "Terminated");

    browser.delete(&format!("workbenches/{id}")).await;
    assert!(list(&browser).await.is_empty());
    browser.refused(404, Method::GET, &format!("workbenches/{id}"), None).await;
}

#[tokio::test]
async fn from_the_dialog_to_a_desktop_and_back() {
    each_engine(|db: Db| async {
        let server = TestServer::with(db, SETTINGS).await;
        life_of_a_session(&server).await;
        server.stop().await;
    })
    .await;
}

/// Older clients spell it differently.
#[tokio::test]
async fn the_old_spelling_is_understood() {
    let server = TestServer::configured(SETTINGS).await;
    let browser = Browser::of(&server, &server.admin);
    let workspace = server.workspace(&server.admin, "Atlas").await;
    let id = server.workbench(&server.admin, workspace, "Desk").await;
    assert_eq!(shapes::list(&browser.get("workbenchs").await["result"]["workbenches"]).len(), 1);
    shapes::workbench(&browser.get(&format!("workbenchs/{id}")).await["result"]["workbench"]);
    browser.delete(&format!("workbenchs/{id}")).await;
    server.stop().await;
}
