//! The audit screens: the administrator's, and the tab of a workspace.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    browser::{Browser, SETTINGS},
    shapes,
};
use crate::support::server::TestServer;

/// The entries of a screen.
async fn entries(browser: &Browser<'_>, path: &str) -> Vec<Value> {
    let reply = browser.get(path).await;
    let entries = shapes::list(&reply["result"]["entries"]).to_vec();
    for entry in &entries {
        shapes::audit_entry(entry);
    }
    assert_eq!(reply["pagination"]["total"], entries.len());
    entries
}

#[tokio::test]
async fn the_trail_of_the_platform_and_of_a_workspace() {
    let server = TestServer::configured(SETTINGS).await;
    let admin = Browser::of(&server, &server.admin);
    assert_eq!(entries(&admin, "audit").await, Vec::<Value>::new(), "an empty list is a list");
    let workspace = admin.post("workspaces", json!({ "name": "Atlas", "shortName": "wks" })).await;
    let id = shapes::id(&workspace["result"]["workspace"]["id"]).to_owned();
    let ida = server.person("ida", &[]).await;
    let body = json!({ "role": { "name": "WorkspaceAdmin", "context": {} } });
    admin.post(&format!("workspaces/{id}/user/{}/role", ida.id), body).await;
    let member = Browser::of(&server, &server.person("rolf", &[]).await);
    member.refused(403, Method::DELETE, &format!("workspaces/{id}"), None).await;

    let all = entries(&admin, "audit").await;
    let actions: Vec<_> = all.iter().map(|entry| shapes::text(&entry["action"])).collect();
    assert_eq!(actions, ["DeleteWorkspace", "AddWorkspaceMember", "CreateWorkspace"], "the newest first");
    assert_eq!((&all[0]["actorUsername"], &all[0]["workspaceId"]), (&json!("rolf"), &json!(id)));
    assert_eq!(all[1]["userId"], json!(ida.id.to_string()));
    assert_eq!(all[2]["details"]["workspace_name"], "Atlas");

    // the tab of a workspace, for who administers it
    let ida = Browser::of(&server, &ida);
    let path = format!("audit/workspaces/{id}");
    assert_eq!(entries(&ida, &path).await, all);
    ida.refused(403, Method::GET, "audit", None).await;
    member.refused(403, Method::GET, &path, None).await;
    Browser::new(&server).refused(401, Method::GET, "audit", None).await;
    server.stop().await;
}

/// No screen asks with parameters yet; the API that the screens are made from does.
#[tokio::test]
async fn parameters_of_the_query() {
    let server = TestServer::configured(SETTINGS).await;
    let admin = Browser::of(&server, &server.admin);
    for name in ["Atlas", "Bering"] {
        admin.post("workspaces", json!({ "name": name, "shortName": "wks" })).await;
    }
    let me = server.admin.id;
    for path in [
        "audit?filter.action=CreateWorkspace".to_owned(),
        format!("audit?filter.actorId={me}&filter.userId=0"),
        "audit?filter.fromTime=2026-01-01T00:00:00Z&filter.toTime=2027-01-01T00:00:00Z".to_owned(),
        format!("audit/actors/{me}"),
        "audit?filter.outcome=AUDIT_OUTCOME_OK".to_owned(),
    ] {
        assert_eq!(entries(&admin, &path).await.len(), 2, "{path}");
    }
    for path in [
        "audit?filter.toTime=2026-01-01T00:00:00Z".to_owned(),
        "audit?filter.action=Nothing".to_owned(),
        format!("audit/users/{me}"),
        "audit/workbenches/7".to_owned(),
    ] {
        assert_eq!(entries(&admin, &path).await.len(), 0, "{path}");
    }
    for path in ["audit?filter.fromTime=yesterday", "audit?filter.action=a%20b", "audit?pagination.sort.type=action"] {
        admin.refused(400, Method::GET, path, None).await;
    }
    server.stop().await;
}
