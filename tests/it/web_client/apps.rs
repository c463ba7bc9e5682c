//! The app store, the administrator's page of apps, and apps in a session.

use chorus::server::db::sql;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    browser::{Browser, SETTINGS},
    shapes,
};
use crate::support::server::TestServer;

/// A form of the page that adds an app: it sends every field.
fn form(tag: &str) -> Value {
    json!({
        "tenantId": "1", "userId": "1", "name": "RStudio", "description": "", "status": "active",
        "dockerImageRegistry": "registry.example.org", "dockerImageName": "apps/rstudio", "dockerImageTag": tag,
        "shmSize": "", "minCPU": "500m", "maxCPU": "2", "minMemory": "512Mi", "maxMemory": "4Gi",
        "minEphemeralStorage": "", "maxEphemeralStorage": "10Gi", "browserConfigURL": "", "browserConfigJWTURL": "",
        "browserConfigJWTOIDCClientID": "", "iconURL": "https://example.org/r.png", "iconBackgroundColor": "transparent",
    })
}

#[tokio::test]
async fn an_app_is_added_edited_and_removed() {
    let server = TestServer::configured(SETTINGS).await;
    let admin = Browser::of(&server, &server.admin);
    assert_eq!(admin.get("apps").await["result"], json!({ "apps": [] }), "an empty list is a list");

    let old = admin.post("apps", form("4.3")).await["result"]["app"].clone();
    let new = admin.post("apps", form("4.4")).await["result"]["app"].clone();
    shapes::app(&old);
    let store = admin.get("apps").await;
    let [shown] = shapes::list(&store["result"]["apps"]) else { panic!("{store}") };
    assert_eq!(shapes::app(shown)["id"], new["id"]);
    let version = json!({ "id": old["id"], "dockerImageTag": "4.3" });
    assert_eq!(shown["groupedVersions"], json!([version]), "opens the dialog of versions");
    let table = admin.get("apps?disableGrouping=true").await;
    assert_eq!(shapes::list(&table["result"]["apps"]).iter().map(shapes::app).count(), 2);

    let mut edited = shown.clone();
    edited["maxMemory"] = json!("8Gi");
    admin.put("apps", edited).await;
    let path = format!("apps/{}", shapes::id(&new["id"]));
    assert_eq!(shapes::app(&admin.get(&path).await["result"]["app"])["maxMemory"], "8Gi");
    assert_eq!(admin.delete(&path).await, json!({ "result": {} }));
    admin.refused(404, Method::GET, &path, None).await;
    assert_eq!(admin.get("apps").await["result"]["apps"][0]["id"], old["id"], "the older version takes its place");
    server.stop().await;
}

#[tokio::test]
async fn an_app_is_opened_in_a_session_and_closed() {
    let server = TestServer::configured(SETTINGS).await;
    let owner = server.person("olga", &[]).await;
    let workspace = server.workspace(&owner, "Atlas").await;
    let workbench = server.workbench(&owner, workspace, "Desk").await;
    server.give(&owner, &[("WorkbenchAdmin", &[("workbench", &workbench.to_string())])]).await;
    let app = server.app(&server.admin, "RStudio", "apps/rstudio", "4.4").await;
    let browser = Browser::of(&server, &owner);

    let body = json!({ "tenantId": "1", "userId": owner.id.to_string(), "workspaceId": workspace.to_string(),
        "workbenchId": workbench.to_string(), "appId": app.to_string(), "status": "active" });
    let made = browser.post("app-instances", body).await["result"]["appInstance"].clone();
    let list = browser.get("app-instances").await;
    let [shown] = shapes::list(&list["result"]["appInstances"]) else { panic!("{list}") };
    assert_eq!(shapes::app_instance(shown), &made);
    let path = format!("app-instances/{}", shapes::id(&made["id"]));
    // the toast asks until the app runs or has failed, and shows why
    for (status, k8s_status) in [("unknown", "Progressing"), ("deleted", "Failed")] {
        sql("UPDATE app_instances SET status = $1, k8s_status = $2, k8s_message = 'exit code 1'")
            .bind(status)
            .bind(k8s_status)
            .run(&server.db)
            .await
            .unwrap();
        let polled = browser.get(&path).await["result"]["appInstance"].clone();
        shapes::app_instance(&polled);
        assert_eq!((&polled["k8sStatus"], &polled["k8sMessage"]), (&json!(k8s_status), &json!("exit code 1")));
    }
    let reply = browser.delete(&path).await;
    assert_eq!(reply["result"]["appInstance"]["id"], made["id"]);
    assert_eq!(browser.get("app-instances").await["result"], json!({ "appInstances": [] }));
    server.stop().await;
}
