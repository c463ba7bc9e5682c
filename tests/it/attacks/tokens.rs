//! What a stolen or narrow API token must not be good for.

use chorus::server::db::sql;
use reqwest::Method;
use serde_json::json;
use tonic::Code;

use super::{ME, refused, texts};
use crate::support::server::{Person, TestServer, on_each_engine};

#[tokio::test]
async fn a_token_counts_in_the_authorization_header_only() {
    let server = TestServer::start().await;
    let program = server.api_token(&server.admin, &[&format!("getMyOwnUser@user={}", server.admin.id)]).await.bearer;
    let me = "/api/rest/v1/users/me";
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    let get = |path: &str| server.request(Method::GET, path);
    assert_eq!(status(get(me).bearer_auth(&program.token)).await, 200);
    assert_eq!(status(get(me).header("cookie", format!("jwttoken={}", program.token))).await, 401);
    for name in ["token", "access_token", "jwttoken", "authorization"] {
        assert_eq!(status(get(&format!("{me}?{name}={}", program.token))).await, 401, "{name}");
    }
    assert_eq!(status(get(me).basic_auth("chorus", Some(&program.token))).await, 401);
    assert_eq!(status(get(me).header("authorization", format!("Token {}", program.token))).await, 401);
}

/// Everything that would turn a token into more than itself takes a session.
#[tokio::test]
async fn a_token_does_not_become_more_than_it_is() {
    let server = TestServer::start().await;
    let (own, other) = (server.admin.id, server.person("ada", &[]).await.id);
    let all = chorus::server::access::catalogue::Permission::ALL.iter().map(|p| match p.requires() {
        Some(dimension) => format!("{}@{}=*", p.name(), dimension.as_str()),
        None => p.name().to_owned(),
    });
    let all: Vec<_> = all.collect();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    let program = server.api_token(&server.admin, &all).await.bearer;
    assert!(server.call(Some(&program), ME, json!({})).await.is_ok(), "it may do a lot");
    let scopes = json!([{"permission": "createWorkspace"}]);
    for (rpc, request) in [
        ("TokenService/CreateToken", json!({"name": "x", "scopes": scopes, "expiresAt": "2026-03-02T00:00:00Z"})),
        ("TokenService/ListTokens", json!({})),
        ("TokenService/RevokeToken", json!({"id": 1})),
        ("AuthenticationService/RefreshToken", json!({})),
        ("AuthenticationService/Logout", json!({})),
        ("UserService/UpdatePassword", json!({"currentPassword": "x", "newPassword": "y"})),
        ("UserService/EnableTotp", json!({"totp": "123456"})),
        ("UserService/ResetTotp", json!({"password": "x"})),
        ("UserService/ResetPassword", json!({"id": other})),
        ("HealthService/GetServerStatus", json!({})),
    ] {
        let result = server.call(Some(&program), rpc, request).await;
        refused(&result, Code::PermissionDenied, "SESSION_REQUIRED");
    }
    // what takes a SuperAdmin is not done by a token, whatever its scopes
    let everything = json!({"workspace": "*", "workbench": "*", "user": "*"});
    for (to, role, context, reason) in [
        (other, "SuperAdmin", everything, "ROLE_NEEDS_SUPER_ADMIN"),
        (other, "PlatformWorkspaceManager", json!({"workspace": "*"}), "ROLE_NEEDS_SUPER_ADMIN"),
        (own, "PlatformAuditor", json!({"user": "*"}), "ROLE_OF_ONESELF"),
    ] {
        let request = json!({"userId": to, "role": {"name": role, "context": context}});
        let result = server.call(Some(&program), "UserService/CreateUserRole", request).await;
        refused(&result, Code::PermissionDenied, reason);
    }
    let second =
        server.person("second", &[("SuperAdmin", &[("workspace", "*"), ("workbench", "*"), ("user", "*")])]).await;
    let result = server.call(Some(&program), "UserService/DeleteUser", json!({"id": second.id})).await;
    refused(&result, Code::PermissionDenied, "USER_NEEDS_SUPER_ADMIN");
}

#[tokio::test]
async fn a_token_grants_no_role_beyond_its_scopes() {
    on_each_engine(|server| async move {
        let atlas = server.workspace(&server.admin, "Atlas").await;
        let boss = server.person("boss", &[("WorkspaceAdmin", &[("workspace", &atlas.to_string())])]).await;
        let eve = server.person("eve", &[]).await;
        let add = async |program: &Person, role: &str| {
            let request = json!({"id": atlas, "userId": eve.id, "role": {"name": role}});
            server.call(Some(program), "WorkspaceService/AddUserRoleInWorkspace", request).await
        };
        let manage = format!("manageUsersInWorkspace@workspace={atlas}");
        let program = server.api_token(&boss, &[&manage]).await.bearer;
        for role in ["WorkspaceGuest", "WorkspaceMember", "WorkspaceAdmin"] {
            refused(&add(&program, role).await, Code::PermissionDenied, "ROLE_EXCEEDS_OWN");
        }
        refused(&add(&program, "WorkspaceDataManager").await, Code::PermissionDenied, "PERMISSION_DENIED");
        assert!(add(&boss, "WorkspaceAdmin").await.is_ok(), "the owner may");
    })
    .await;
}

#[tokio::test]
async fn networks_are_not_chosen_by_the_client() {
    let me = "/api/rest/v1/users/me";
    for (trusted, expected) in [(None, 401), (Some("127.0.0.0/8"), 200)] {
        let settings: Vec<_> = trusted.map(|network| ("trusted_proxies", network)).into_iter().collect();
        let server = TestServer::configured(&settings).await;
        let program = server.api_token(&server.admin, &[&format!("getMyOwnUser@user={}", server.admin.id)]).await;
        sql("UPDATE api_tokens SET networks = '[\"192.0.2.0/24\"]'").run(&server.db).await.unwrap();
        let call = async |forwarded: Option<&str>| {
            let mut request = server.request(Method::GET, me).bearer_auth(&program.bearer.token);
            if let Some(forwarded) = forwarded {
                request = request.header("x-forwarded-for", forwarded);
            }
            crate::support::server::Reply::read(request.send().await.unwrap()).await
        };
        let reply = call(None).await;
        assert_eq!((reply.status, reply.reason()), (401, "TOKEN_ADDRESS"));
        assert_eq!(call(Some("192.0.2.7")).await.status, expected, "trusted: {trusted:?}");
        assert_eq!(call(Some("192.0.2.7, 198.51.100.1")).await.status, 401);
        let used = texts(&server.db, "SELECT last_used_address FROM api_tokens").await;
        assert_eq!(used, [if expected == 200 { "192.0.2.7" } else { "" }]);
    }
}

/// Only who has the secret learns anything about the token.
#[tokio::test]
async fn a_guess_tells_nothing() {
    on_each_engine(|server| async move {
        let scope = format!("getMyOwnUser@user={}", server.admin.id);
        let tokens =
            [server.api_token(&server.admin, &[&scope]).await, server.api_token(&server.admin, &[&scope]).await];
        let [alive, revoked] = &tokens;
        sql("UPDATE api_tokens SET revoked_at = created_at WHERE id = $1")
            .bind(revoked.id)
            .run(&server.db)
            .await
            .unwrap();
        let mut reply = server.call(Some(&revoked.bearer), ME, json!({})).await;
        refused(&reply, Code::Unauthenticated, "TOKEN_REVOKED");

        // the public part of one with the secret of another, and a public part that nobody has
        let with_id = |id: &str, of: &Person| {
            let secret = &of.token.rsplit_once('_').unwrap().1[..43];
            let mut token = of.clone();
            token.token = chorus::server::access::api_token::assemble(id, secret);
            token
        };
        let id = |of: &Person| of.token.split('_').nth(1).unwrap().to_owned();
        for (what, guess) in [
            ("a wrong secret", with_id(&id(&alive.bearer), &revoked.bearer)),
            ("a wrong secret of a revoked one", with_id(&id(&revoked.bearer), &alive.bearer)),
            ("an unknown token", with_id("aaaaaaaaaaaa", &alive.bearer)),
        ] {
            reply = server.call(Some(&guess), ME, json!({})).await;
            refused(&reply, Code::Unauthenticated, "TOKEN_INVALID");
            let Err(failure) = reply else { unreachable!() };
            assert!(failure.message.starts_with("The API token is not valid."), "{what}: {}", failure.message);
        }
        assert!(server.call(Some(&alive.bearer), ME, json!({})).await.is_ok());
        let stored =
            texts(&server.db, "SELECT public_id || name || CAST(scopes AS TEXT) FROM api_tokens").await.join("\n");
        assert!(!stored.contains(alive.bearer.token.rsplit_once('_').unwrap().1));
    })
    .await;
}

/// A session that was closed by a password reset does not leave a token behind.
#[tokio::test]
async fn a_closed_session_makes_no_token() {
    let server = TestServer::start().await;
    let thief = server.sign_in(&server.admin).await;
    assert!(server.call(Some(&thief), ME, json!({})).await.is_ok(), "the server remembers the session");
    // behind the memory of the server, as another replica would within its second
    sql("UPDATE sessions SET revoked_at = created_at").run(&server.db).await.unwrap();
    let request =
        json!({"name": "x", "scopes": [{"permission": "createWorkspace"}], "expiresAt": "2026-03-02T00:00:00Z"});
    let result = server.call(Some(&thief), "TokenService/CreateToken", request).await;
    refused(&result, Code::Unauthenticated, "SESSION_ENDED");
}
