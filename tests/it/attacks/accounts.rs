//! Accounts of other people: taking them over, keeping one that is lost, learning about one.

use chorus::server::db::sql;
use reqwest::Method;
use serde_json::json;
use tonic::Code;

use super::{ME, refused};
use crate::support::server::{ADMIN_PASSWORD, Reply, TestServer, on_each_engine};

const REFRESH: &str = "AuthenticationService/RefreshToken";

/// Whoever is dismissed must not go on by renewing the token.
#[tokio::test]
async fn a_disabled_or_deleted_account_renews_nothing() {
    on_each_engine(|server| async move {
        let (disabled, deleted) = (server.person("ada", &[]).await, server.person("bob", &[]).await);
        for person in [&disabled, &deleted] {
            server.call(Some(person), REFRESH, json!({})).await.unwrap();
        }
        let change =
            json!({"id": disabled.id, "firstName": "A", "lastName": "B", "username": "ada", "status": "disabled"});
        server.call(Some(&server.admin), "UserService/UpdateUser", change).await.unwrap();
        server.call(Some(&server.admin), "UserService/DeleteUser", json!({"id": deleted.id})).await.unwrap();
        for person in [&disabled, &deleted] {
            refused(&server.call(Some(person), REFRESH, json!({})).await, Code::Unauthenticated, "SESSION_ENDED");
        }
    })
    .await;
}

/// Addresses end up in histories, logs and referrers.
#[tokio::test]
async fn a_token_in_an_address_opens_nothing() {
    let server = TestServer::start().await;
    let token = &server.admin.token;
    for query in ["token", "access_token", "jwt", "jwttoken", "authorization"] {
        let path = format!("/api/rest/v1/users/me?{query}={token}");
        let reply = server.rest(None, Method::GET, &path, None).await;
        assert_eq!((reply.status, reply.reason()), (401, "CREDENTIAL_MISSING"), "{query}");
    }
}

/// Whoever plants a session of his own in somebody's browser must not find that somebody signed in to it.
#[tokio::test]
async fn a_sign_in_takes_over_no_session_that_was_there() {
    let server = TestServer::start().await;
    let planted = server.person("mallory", &[]).await;
    let request = server.request(Method::POST, "/api/rest/v1/authentication/login");
    let request = request.header("cookie", format!("jwttoken={}", planted.token));
    let reply =
        Reply::read(request.json(&json!({"username": "chorus", "password": ADMIN_PASSWORD})).send().await.unwrap())
            .await;
    let token = reply.body["result"]["token"].as_str().unwrap();
    assert_ne!(token, planted.token);
    assert!(reply.headers["set-cookie"].to_str().unwrap().contains(token), "the browser gets the new one");
    let ended = server.call(Some(&planted), ME, json!({})).await.unwrap_err();
    assert_eq!(ended.reason, "SESSION_ENDED", "nobody goes on in the session that the browser held");
}

/// Roles that reach all users in one respect do not reach their accounts.
#[tokio::test]
async fn a_role_over_all_users_is_no_key_to_their_accounts() {
    let server = TestServer::start().await;
    let victim = server.person("ada", &[]).await;
    let takeover = json!({"id": victim.id, "firstName": "A", "lastName": "B", "username": "ada", "status": "active",
        "email": "mallory@example.org"});
    for role in ["PlatformSettingsManager", "PlatformOrganizationManager", "PlatformAuditor", "AppStoreAdmin"] {
        let person = server.person(&role.to_lowercase(), &[(role, &[("user", "*")])]).await;
        for (rpc, request) in [
            ("UserService/UpdateUser", takeover.clone()),
            ("UserService/ResetPassword", json!({"id": victim.id})),
            ("UserService/DeleteUser", json!({"id": victim.id})),
        ] {
            let result = server.call(Some(&person), rpc, request).await;
            assert_eq!(result.map_err(|f| f.code), Err(Code::PermissionDenied), "{role} {rpc}");
        }
    }
}

/// No filter, and no filter that says nothing, opens the list of all users.
#[tokio::test]
async fn a_filter_that_says_nothing_lists_nobody() {
    let server = TestServer::start().await;
    let workspace = server.workspace(&server.admin, "Atlas").await.to_string();
    let guest = server.person("guest", &[("WorkspaceGuest", &[("workspace", &workspace)])]).await;
    let nobody = server.person("nobody", &[]).await;
    for person in [&guest, &nobody] {
        for filter in [
            json!({}),
            json!({"filter": {}}),
            json!({"filter": {"search": ""}}),
            json!({"filter": {"withNamespaces": true}}),
            json!({"filter": {"fromMainSource": false}}),
            json!({"filter": {"idsIn": [], "workspaceIDs": [], "workbenchIDs": []}}),
            json!({"filter": {"idsIn": [server.admin.id]}}),
        ] {
            let result = server.call(Some(person), "UserService/ListUsers", filter.clone()).await;
            assert_eq!(result.map_err(|f| f.code), Err(Code::PermissionDenied), "{} {filter}", person.username);
        }
    }
}

/// A refusal is not enough: nothing may stay behind it.
#[tokio::test]
async fn nobody_of_another_tenant_gets_a_role() {
    on_each_engine(|server| async move {
        let elsewhere = server.tenant("elsewhere").await;
        let stranger = server.person_of(elsewhere, "eve", &[]).await;
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let member = json!({"name": "WorkspaceMember", "context": {"workspace": workspace.to_string()}});
        let manager = json!({"name": "PlatformAuditor", "context": {"user": "*"}});
        for (rpc, request) in [
            ("UserService/CreateUserRole", json!({"userId": stranger.id, "role": member})),
            ("UserService/CreateUserRole", json!({"userId": stranger.id, "role": manager})),
            (
                "WorkspaceService/AddUserRoleInWorkspace",
                json!({"id": workspace, "userId": stranger.id, "role": {"name": "WorkspaceMember"}}),
            ),
        ] {
            let result = server.call(Some(&server.admin), rpc, request).await;
            assert_eq!(result.map_err(|f| f.code), Err(Code::NotFound), "{rpc}");
        }
        let (roles,): (i64,) = sql("SELECT count(*) FROM role_assignments WHERE user_id = $1")
            .bind(stranger.id)
            .one(&server.db)
            .await
            .unwrap();
        assert_eq!(roles, 1, "the one that every account has");
    })
    .await;
}

/// Whether a workspace or an account exists is told to those who may see it.
#[tokio::test]
async fn strangers_do_not_learn_what_exists() {
    let server = TestServer::start().await;
    let workspace = server.workspace(&server.admin, "Atlas").await;
    let stranger = server.person("ada", &[]).await;
    for (rpc, there) in [
        ("WorkspaceService/GetWorkspace", workspace),
        ("WorkspaceService/DeleteWorkspace", workspace),
        ("UserService/GetUser", server.admin.id),
        ("UserService/DeleteUser", server.admin.id),
    ] {
        for id in [there, 999_999] {
            refused(
                &server.call(Some(&stranger), rpc, json!({"id": id})).await,
                Code::PermissionDenied,
                "PERMISSION_DENIED",
            );
        }
    }
}
