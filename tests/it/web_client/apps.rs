//! The app store and the administrator's page of apps.

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
