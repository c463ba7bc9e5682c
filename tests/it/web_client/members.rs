//! The members of a workspace: finding people, giving and taking roles, removing a member.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    browser::{Browser, SETTINGS},
    session::refresh,
    shapes,
    workspaces::{CREATOR, create},
};
use crate::support::server::TestServer;

/// The body of the member picker; the id is made up by the client.
fn role(name: &str, workspace: &str) -> Value {
    json!({ "role": { "id": "7340912", "name": name, "context": { "workspace": workspace } } })
}

/// The roles of one user in one workspace, as the members tab shows them.
async fn roles_of(browser: &Browser<'_>, user: i64, workspace: &str) -> Vec<String> {
    let members = browser.get(&format!("users?filter.workspaceIDs={workspace}")).await;
    let (members, total) = shapes::users(&members);
    assert_eq!(members.len() as u64, total);
    let member = members.iter().find(|member| shapes::id(&member["id"]) == user.to_string());
    let grants = member.map(|member| shapes::list(&member["rolesWithContext"])).unwrap_or_default();
    let here = grants.iter().filter(|grant| grant["context"]["workspace"] == workspace);
    here.map(|grant| shapes::text(&grant["name"]).to_owned()).collect()
}

#[tokio::test]
async fn members_come_and_go() {
    let server = TestServer::configured(SETTINGS).await;
    let (ida, rolf) = (server.person("ida", CREATOR).await, server.person("rolf", &[]).await);
    let (owner, guest) = (Browser::of(&server, &ida), Browser::of(&server, &rolf));
    let workspace = create(&owner, "Trial").await;
    let id = shapes::id(&workspace["id"]);
    let member = format!("workspaces/{id}/user/{}", rolf.id);

    let everybody = owner.get("users?filter.search=").await;
    assert_eq!(shapes::usernames(&everybody), ["chorus", "ida", "rolf"], "the picker offers everybody");
    assert_eq!(shapes::usernames(&owner.get("users?filter.search=ROLF").await), ["rolf"]);
    guest.refused(403, Method::GET, &format!("users?filter.workspaceIDs={id}"), None).await;

    for name in ["WorkspaceMember", "WorkspaceDataManager"] {
        let reply = owner.post(&format!("{member}/role"), role(name, id)).await;
        assert_eq!(shapes::workspace(&reply["result"]["workspace"])["id"], id);
    }
    assert_eq!(roles_of(&owner, rolf.id, id).await, ["WorkspaceMember", "WorkspaceDataManager"]);
    assert_eq!(refresh(&guest).await.1.len(), 1, "the new member sees it at once");

    let reply = owner.delete(&format!("{member}/role/WorkspaceDataManager")).await;
    assert_eq!(reply["result"]["workspace"]["id"], id);
    assert_eq!(roles_of(&owner, rolf.id, id).await, ["WorkspaceMember"]);
    let reply = owner.delete(&member).await;
    assert_eq!(reply["result"]["workspace"]["id"], id);
    assert_eq!(roles_of(&owner, rolf.id, id).await, [""; 0]);
    assert!(refresh(&guest).await.1.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn the_members_tab_learns_what_is_wrong() {
    let server = TestServer::configured(SETTINGS).await;
    let (ida, rolf) = (server.person("ida", CREATOR).await, server.person("rolf", &[]).await);
    let (owner, guest) = (Browser::of(&server, &ida), Browser::of(&server, &rolf));
    let workspace = create(&owner, "Trial").await;
    let id = shapes::id(&workspace["id"]);
    let roles = |user: i64| format!("workspaces/{id}/user/{user}/role");

    guest.refused(403, Method::POST, &roles(rolf.id), Some(role("WorkspaceMember", id))).await;
    owner.refused(404, Method::POST, &roles(999_999), Some(role("WorkspaceMember", id))).await;
    for name in ["NoSuchRole", "SuperAdmin", ""] {
        let reply = owner.refused(400, Method::POST, &roles(rolf.id), Some(role(name, id))).await;
        assert_eq!(reply.body["details"][0]["validationErrors"][0]["field"], "role.name", "{}", reply.body);
    }
    owner.post(&roles(rolf.id), role("WorkspaceGuest", "999999")).await;
    assert_eq!(roles_of(&owner, rolf.id, id).await, ["WorkspaceGuest"], "the path says where, not the body");
    let reply = owner.refused(404, Method::DELETE, &format!("{}/WorkspaceMember", roles(rolf.id)), None).await;
    assert_eq!(reply.reason(), "ROLE_NOT_HELD");
    server.stop().await;
}
