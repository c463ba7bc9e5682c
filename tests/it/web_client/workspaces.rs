//! Creating, editing and deleting workspaces, with the entries that the client keeps beside them.

use chorus::server::db::Db;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    browser::{Browser, SETTINGS},
    session::{dashboard, refresh},
    shapes,
};
use crate::support::{
    each_engine,
    server::{ADMIN_PASSWORD, Grant, TestServer},
};

/// The role of people who may create workspaces, and no more.
pub const CREATOR: &[Grant<'_>] = &[("PlatformWorkspaceManager", &[("workspace", "*")])];

/// The body that the dialog sends.
pub fn dialog(name: &str, user: &str) -> Value {
    json!({
        "tenantId": "1", "userId": user, "name": name, "shortName": "wks", "description": "", "isMain": false,
        "networkPolicy": "Airgapped", "allowedFqdns": [], "clipboard": "disabled",
        "visibility": "WORKSPACE_VISIBILITY_PRIVATE",
    })
}

/// The dialog's sequence; the new workspace.
pub async fn create(browser: &Browser<'_>, name: &str) -> Value {
    let me = browser.get("users/me").await;
    let user = shapes::id(&me["result"]["me"]["id"]);
    let reply = browser.post("workspaces", dialog(name, user)).await;
    let workspace = shapes::workspace(&reply["result"]["workspace"]).clone();
    let id = shapes::id(&workspace["id"]);
    let entry = json!({ "key": "config", "value": "{\"color\":\"teal\",\"tags\":[\"Zürich\"]}" });
    let reply = browser.post(&format!("devstore/workspace/{id}"), entry.clone()).await;
    assert_eq!(reply["result"], entry);
    let members = browser.get(&format!("users?filter.workspaceIDs={id}")).await;
    assert!(shapes::users(&members).0.iter().any(|member| member["id"] == user), "{members}");
    workspace
}

/// From the login page to a workspace that is created, edited and deleted.
async fn life_of_a_workspace(server: &TestServer) {
    let browser = Browser::new(server);
    assert_eq!(browser.sign_in("chorus", ADMIN_PASSWORD).await.status, 200);
    dashboard(&browser).await;

    let workspace = create(&browser, "Étude α").await;
    let id = shapes::id(&workspace["id"]);
    assert_eq!((&workspace["name"], &workspace["shortName"]), (&json!("Étude α"), &json!("wks")));
    let (me, workspaces) = refresh(&browser).await;
    assert_eq!(workspaces, std::slice::from_ref(&workspace));
    let bound = json!({ "workspace": id });
    let role = |role: &&Value| role["name"] == "WorkspaceAdmin" && role["context"] == bound;
    assert!(shapes::list(&me["rolesWithContext"]).iter().any(|grant| role(&grant)), "at once: {me}");
    create(&browser, "Étude α").await;
    assert_eq!(dashboard(&browser).await.1.len(), 2, "neither name nor short name is unique");

    let mut edited = workspace.clone();
    edited["name"] = json!("Étude β");
    edited["networkPolicy"] = json!("FQDNAllowlist");
    edited["allowedFqdns"] = json!(["*.example.org"]);
    edited["contactUserId"] = json!("0");
    browser.put("workspaces", edited.clone()).await;
    let read = browser.get(&format!("workspaces/{id}")).await["result"]["workspace"].clone();
    shapes::workspace(&read);
    for field in ["id", "name", "networkPolicy", "allowedFqdns", "contactUserId", "userId", "createdAt"] {
        assert_eq!(read[field], edited[field], "{field}");
    }

    let deleted = browser.delete(&format!("workspaces/{id}")).await;
    assert!(deleted["result"].is_object(), "{deleted}");
    let (me, workspaces) = refresh(&browser).await;
    assert_eq!(workspaces.len(), 1);
    assert!(!shapes::list(&me["rolesWithContext"]).iter().any(|grant| role(&grant)), "{me}");
    let reply = browser.refused(404, Method::GET, &format!("workspaces/{id}"), None).await;
    assert_eq!(reply.chorus_code(), "NOT_FOUND");
}

#[tokio::test]
async fn from_the_login_page_to_a_workspace_and_back() {
    each_engine(|db: Db| async {
        let server = TestServer::with(db, SETTINGS).await;
        life_of_a_workspace(&server).await;
        server.stop().await;
    })
    .await;
}

/// The picture of a workspace: a photo as a data URL, which is some megabytes of text.
#[tokio::test]
async fn a_large_image_comes_and_goes() {
    let server = TestServer::configured(SETTINGS).await;
    let browser = Browser::of(&server, &server.person("ida", CREATOR).await);
    let workspace = create(&browser, "Pictures").await;
    let entries = format!("devstore/workspace/{}", shapes::id(&workspace["id"]));

    let image = format!("data:image/png;base64,{}", "iVBORw0K".repeat(5 << 17));
    let reply = browser.post(&entries, json!({ "key": "image", "value": image })).await;
    assert_eq!(reply["result"]["key"], "image");
    assert!(reply["result"]["value"] == image.as_str(), "it comes back as it went");
    let all = browser.get(&entries).await["result"]["entries"].clone();
    assert_eq!(all.as_object().unwrap().keys().collect::<Vec<_>>(), ["config", "image"]);
    assert!(all["image"] == image.as_str());
    let one = browser.get(&format!("{entries}/config")).await;
    assert_eq!(one["result"], json!({ "key": "config", "value": all["config"] }));

    for _ in 0..2 {
        let reply = browser.delete(&format!("{entries}/image")).await;
        assert_eq!(reply, json!({ "result": {} }), "also when it is gone already");
    }
    browser.refused(404, Method::GET, &format!("{entries}/image"), None).await;
    server.stop().await;
}

#[tokio::test]
async fn the_dialog_learns_what_is_wrong() {
    let server = TestServer::configured(SETTINGS).await;
    let (creator, reader) = (server.person("ida", CREATOR).await, server.person("rolf", &[]).await);
    let (creator, reader) = (Browser::of(&server, &creator), Browser::of(&server, &reader));

    let reply = reader.refused(403, Method::POST, "workspaces", Some(dialog("Mine", "1"))).await;
    assert_eq!(reply.chorus_code(), "PERMISSION_DENIED");
    for (field, value, rule) in [
        ("name", json!(""), "required"),
        ("networkPolicy", json!("Closed"), "in"),
        ("clipboard", json!("sometimes"), "in"),
        ("allowedFqdns", json!(["not a host"]), "pattern"),
        ("visibility", json!(7), "defined_only"),
    ] {
        let mut body = dialog("Trial", "1");
        body[field] = value;
        let reply = creator.refused(400, Method::POST, "workspaces", Some(body)).await;
        let violation = &reply.body["details"][0]["validationErrors"][0];
        assert_eq!(reply.chorus_code(), "VALIDATION_ERROR", "{}", reply.body);
        assert!(shapes::text(&violation["field"]).starts_with(field), "{violation}");
        assert!(shapes::text(&violation["reason"]).ends_with(rule), "{violation}");
    }
    assert!(refresh(&creator).await.1.is_empty(), "nothing came of it");
    server.stop().await;
}

/// The catalogue that shows public workspaces to everybody.
#[tokio::test]
async fn public_workspaces_are_in_the_catalogue() {
    let server = TestServer::configured(SETTINGS).await;
    let owner = server.person("ida", CREATOR).await;
    let (owner, reader) = (Browser::of(&server, &owner), Browser::of(&server, &server.person("rolf", &[]).await));
    create(&owner, "Private").await;
    let mut open = create(&owner, "Open house").await;
    open["visibility"] = json!("WORKSPACE_VISIBILITY_PUBLIC");
    open["contactUserId"] = open["userId"].clone();
    owner.put("workspaces", open.clone()).await;

    assert!(refresh(&reader).await.1.is_empty());
    let reply = reader.get("workspaces/public").await;
    let [shown] = shapes::list(&reply["result"]["publicWorkspaces"]) else { panic!("{reply}") };
    for field in ["id", "tenantId", "name", "shortName", "createdAt", "updatedAt"] {
        shapes::text(&shown[field]);
    }
    assert_eq!((&shown["id"], &shown["contactUsername"]), (&open["id"], &json!("ida")));
    server.stop().await;
}
