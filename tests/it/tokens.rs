//! API tokens and service accounts, as programs and their administrators meet them.

use chorus::server::db::sql;
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::server::{Failure, Person, TestServer, on_each_engine};

const CREATE: &str = "TokenService/CreateToken";
const LIST: &str = "TokenService/ListTokens";
const REVOKE: &str = "TokenService/RevokeToken";
const GET: &str = "WorkspaceService/GetWorkspace";

/// An hour after the servers of the tests start.
const SOON: &str = "2026-03-01T09:00:00Z";

fn scope(permission: &str, context: Value) -> Value {
    json!({"permission": permission, "context": context})
}

fn see(workspace: i64) -> Value {
    scope("getWorkspace", json!({"workspace": workspace.to_string()}))
}

/// Makes a token over the API; the answer, and somebody who uses it.
async fn made(server: &TestServer, by: &Person, request: Value) -> Result<(Value, Person), Failure> {
    let reply = server.call(Some(by), CREATE, request).await?;
    let result = reply["result"].clone();
    let token = result["token"].as_str().unwrap().to_owned();
    Ok((result["info"].clone(), Person { token, ..by.clone() }))
}

async fn token(server: &TestServer, by: &Person, scopes: Value) -> Person {
    let request = json!({"name": format!("t{}", scopes.to_string().len()), "scopes": scopes, "expiresAt": SOON});
    made(server, by, request).await.unwrap().1
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: &Result<T, Failure>, code: Code, reason: &str) {
    match result {
        Err(failure) if failure.code == code && failure.reason == reason => {}
        other => panic!("expected {code:?} {reason}, got {other:?}"),
    }
}

#[tokio::test]
async fn a_token_does_what_its_scopes_say_and_nothing_else() {
    on_each_engine(|server| async move {
        let atlas = server.workspace(&server.admin, "Atlas").await;
        let borealis = server.workspace(&server.admin, "Borealis").await;
        let request = json!({"name": " nightly ", "scopes": [see(atlas)], "expiresAt": SOON});
        let (info, program) = made(&server, &server.admin, request).await.unwrap();
        assert_eq!((&info["name"], &info["status"]), (&json!("nightly"), &json!("active")));
        assert!(program.token.starts_with(&format!("{}_", info["prefix"].as_str().unwrap())));
        assert_eq!(info["scopes"][0], see(atlas));

        let call = async |rpc, request| server.call(Some(&program), rpc, request).await;
        assert!(call(GET, json!({"id": atlas})).await.is_ok());
        refused(&call(GET, json!({"id": borealis})).await, Code::PermissionDenied, "PERMISSION_DENIED");
        let listed = call("WorkspaceService/ListWorkspaces", json!({})).await.unwrap();
        assert_eq!(listed["pagination"]["total"], 1, "a list is cut to the scopes");
        assert_eq!(listed["result"]["workspaces"][0]["id"], atlas.to_string());
        for (rpc, request) in [
            ("WorkspaceService/CreateWorkspace", json!({"name": "Mine"})),
            ("WorkspaceService/UpdateWorkspace", json!({"id": atlas, "name": "Mine"})),
            ("UserService/GetUserMe", json!({})),
            ("UserService/ListUsers", json!({})),
            ("UserService/ListUsers", json!({"filter": {"workspaceIDs": [borealis]}})),
        ] {
            refused(&call(rpc, request).await, Code::PermissionDenied, "PERMISSION_DENIED");
        }
        assert!(call("HealthService/GetHealthCheck", json!({})).await.is_ok(), "what is open to all is open to it");
        let rest = async |id: i64| {
            let path = format!("/api/rest/v1/workspaces/{id}");
            server.rest(Some(&program), Method::GET, &path, None).await.status
        };
        assert_eq!((rest(atlas).await, rest(borealis).await), (200, 403), "the same over REST");

        let listed = server.call(Some(&server.admin), LIST, json!({})).await.unwrap();
        let listed = listed["result"]["tokens"].as_array().unwrap().clone();
        assert_eq!(listed.len(), 1);
        assert!(!listed[0]["lastUsedAt"].is_null() && listed[0]["lastUsedAddress"] == "127.0.0.1", "{listed:?}");

        server.call(Some(&server.admin), REVOKE, json!({"id": info["id"]})).await.unwrap();
        refused(&call(GET, json!({"id": atlas})).await, Code::Unauthenticated, "TOKEN_REVOKED");
        let listed = server.call(Some(&server.admin), LIST, json!({})).await.unwrap();
        assert_eq!(listed["pagination"]["total"], 0);
        let ended = server.call(Some(&server.admin), LIST, json!({"withEnded": true})).await.unwrap();
        assert_eq!(ended["result"]["tokens"][0]["status"], "revoked");
    })
    .await;
}

#[tokio::test]
async fn a_token_never_outlives_a_right_of_its_owner() {
    on_each_engine(|server| async move {
        let atlas = server.workspace(&server.admin, "Atlas").await;
        let ada = server.person("ada", &[("WorkspaceMember", &[("workspace", &atlas.to_string())])]).await;
        let program = token(&server, &ada, json!([see(atlas)])).await;
        let get = async || server.call(Some(&program), GET, json!({"id": atlas})).await;
        assert!(get().await.is_ok());
        let member = json!({"id": atlas, "userId": ada.id});
        server.call(Some(&server.admin), "WorkspaceService/RemoveUserFromWorkspace", member).await.unwrap();
        refused(&get().await, Code::PermissionDenied, "PERMISSION_DENIED");
        let member = json!({"id": atlas, "userId": ada.id, "role": {"name": "WorkspaceGuest"}});
        server.call(Some(&server.admin), "WorkspaceService/AddUserRoleInWorkspace", member).await.unwrap();
        assert!(get().await.is_ok(), "a right that comes back is a right of the token again");
    })
    .await;
}

#[tokio::test]
async fn a_token_is_made_within_the_rights_of_its_maker() {
    let server = TestServer::start().await;
    let atlas = server.workspace(&server.admin, "Atlas").await;
    let ada = server.person("ada", &[("WorkspaceMember", &[("workspace", &atlas.to_string())])]).await;
    let make = async |name: &str, scopes: Value, expires: &str| {
        let request = json!({"name": name, "scopes": scopes, "expiresAt": expires});
        made(&server, &ada, request).await.map(|(info, _)| info)
    };
    for beyond in [
        see(atlas + 1),
        scope("getWorkspace", json!({"workspace": "*"})),
        scope("deleteWorkspace", json!({"workspace": atlas.to_string()})),
        scope("createWorkspace", json!({})),
        scope("getMyOwnUser", json!({"user": server.admin.id.to_string()})),
        scope("getMyOwnUser", json!({"user": "*"})),
    ] {
        refused(&make("x", json!([see(atlas), beyond]), SOON).await, Code::PermissionDenied, "SCOPE_EXCEEDS_OWN");
    }
    for (name, scopes, expires) in [
        ("x", json!([]), SOON),
        ("x", json!([scope("getWorkspace", json!({}))]), SOON),
        ("x", json!([scope("getWorkspace", json!({"user": "1"}))]), SOON),
        ("x", json!([scope("everything", json!({}))]), SOON),
        (" ", json!([see(atlas)]), SOON),
        ("x", json!([see(atlas)]), "2026-03-01T08:00:00Z"),
        ("x", json!([see(atlas)]), "2027-03-02T08:00:01Z"),
    ] {
        refused(&make(name, scopes, expires).await, Code::InvalidArgument, "VALIDATION_FAILED");
    }
    let own = make("me", json!([scope("getMyOwnUser", json!({}))]), "2027-03-01T08:00:00Z").await.unwrap();
    assert_eq!(own["scopes"][0]["context"]["user"], ada.id.to_string(), "what is one's own is bound to oneself");

    refused(&make("ME", json!([see(atlas)]), SOON).await, Code::AlreadyExists, "TOKEN_NAME_TAKEN");
    server.call(Some(&ada), REVOKE, json!({"id": own["id"]})).await.unwrap();
    let short = make("me", json!([see(atlas)]), SOON).await.unwrap();
    server.clock.advance(TimeDelta::hours(2));
    assert!(make("me", json!([see(atlas)]), "2026-03-02T00:00:00Z").await.is_ok(), "an expired token frees its name");
    assert_ne!(short["id"], own["id"]);

    for _ in 0..99 {
        server.api_token(&ada, &[]).await;
    }
    refused(&make("more", json!([see(atlas)]), "2026-03-02T00:00:00Z").await, Code::ResourceExhausted, "QUOTA_TOKENS");
}

#[tokio::test]
async fn the_longest_life_of_a_token_is_configured() {
    let server = TestServer::configured(&[("token_max_lifetime", "30m")]).await;
    let request = json!({"name": "x", "scopes": [scope("getMyOwnUser", json!({}))], "expiresAt": SOON});
    let reply = server.rest(Some(&server.admin), Method::POST, "/api/rest/v1/tokens", Some(request)).await;
    assert_eq!(reply.status, 400, "{:?}", reply.body);
    assert!(reply.body["message"].as_str().unwrap().contains("at most 30m"), "{:?}", reply.body);
}

#[tokio::test]
async fn a_token_ends() {
    on_each_engine(|server| async move {
        let program = token(&server, &server.admin, json!([scope("getMyOwnUser", json!({}))])).await;
        let me = async || server.call(Some(&program), "UserService/GetUserMe", json!({})).await;
        server.clock.advance(TimeDelta::minutes(59));
        assert!(me().await.is_ok());
        server.clock.advance(TimeDelta::minutes(1));
        refused(&me().await, Code::Unauthenticated, "TOKEN_EXPIRED");

        // its row stays for a month, for whoever looks into it
        for (days, reason) in [(29, "TOKEN_EXPIRED"), (2, "TOKEN_INVALID")] {
            server.clock.advance(TimeDelta::days(days));
            server.upkeep().round().await;
            server.forget();
            refused(&me().await, Code::Unauthenticated, reason);
        }
    })
    .await;
}

#[tokio::test]
async fn service_accounts_act_by_tokens_alone() {
    on_each_engine(|server| async move {
        let atlas = server.workspace(&server.admin, "Atlas").await;
        let manager = server.person("manager", &[("PlatformUserManager", &[("user", "*")])]).await;
        let reply =
            server.call(Some(&manager), "UserService/CreateServiceAccount", json!({"username": "ci-bot"})).await.unwrap();
        let account = &reply["result"]["user"];
        assert_eq!((&account["source"], &account["firstName"]), (&json!("service"), &json!("ci-bot")));
        let id: i64 = account["id"].as_str().unwrap().parse().unwrap();
        let again = server.call(Some(&manager), "UserService/CreateServiceAccount", json!({"username": "CI-bot"})).await;
        refused(&again, Code::AlreadyExists, "USERNAME_TAKEN");
        let bad = server.call(Some(&manager), "UserService/CreateServiceAccount", json!({"username": "12"})).await;
        refused(&bad, Code::InvalidArgument, "VALIDATION_FAILED");

        // nobody signs in as one, and there is no password to reset
        let sign_in = json!({"username": "ci-bot", "password": "anything at all"});
        let sign_in = server.call(None, "AuthenticationService/Authenticate", sign_in).await;
        refused(&sign_in, Code::Unauthenticated, "INVALID_CREDENTIALS");
        let reset = server.call(Some(&manager), "UserService/ResetPassword", json!({"id": id})).await;
        refused(&reset, Code::InvalidArgument, "USER_HAS_NO_PASSWORD");

        // scopes within the maker's rights, apart from what the account may do to itself alone
        let request = |name: &str, scopes: Value| json!({"name": name, "scopes": scopes, "expiresAt": SOON, "userId": id});
        let beyond = made(&server, &manager, request("a", json!([see(atlas)]))).await.map(drop);
        refused(&beyond, Code::PermissionDenied, "SCOPE_EXCEEDS_OWN");
        let own = request("own", json!([scope("getMyOwnUser", json!({})), scope("listNotifications", json!({}))]));
        let (_, program) = made(&server, &manager, own).await.unwrap();
        let me = server.call(Some(&program), "UserService/GetUserMe", json!({})).await.unwrap();
        assert_eq!(me["result"]["me"]["username"], "ci-bot");
        let (info, program) = made(&server, &server.admin, request("see", json!([see(atlas)]))).await.unwrap();
        let get = async || server.call(Some(&program), GET, json!({"id": atlas})).await;
        refused(&get().await, Code::PermissionDenied, "PERMISSION_DENIED");
        let member = json!({"id": atlas, "userId": id, "role": {"name": "WorkspaceMember"}});
        server.call(Some(&server.admin), "WorkspaceService/AddUserRoleInWorkspace", member).await.unwrap();
        assert!(get().await.is_ok(), "the scope is worth what the account's roles are");

        // administrators see and end its tokens; others do not
        let ada = server.person("ada", &[]).await;
        let listed = server.call(Some(&manager), LIST, json!({"userId": id})).await.unwrap();
        assert_eq!(listed["pagination"]["total"], 2);
        let result = server.call(Some(&ada), LIST, json!({"userId": id})).await;
        refused(&result, Code::PermissionDenied, "PERMISSION_DENIED");
        let result = server.call(Some(&ada), REVOKE, json!({"id": info["id"]})).await;
        refused(&result, Code::PermissionDenied, "PERMISSION_DENIED");
        server.call(Some(&manager), REVOKE, json!({"id": info["id"]})).await.unwrap();
        refused(&get().await, Code::Unauthenticated, "TOKEN_REVOKED");

        // people make their own tokens
        let of_ada = json!({"name": "x", "scopes": [scope("getUser", json!({"user": "*"}))], "expiresAt": SOON, "userId": ada.id});
        refused(&made(&server, &manager, of_ada).await.map(drop), Code::InvalidArgument, "VALIDATION_FAILED");

        // an account that is more powerful than the manager is out of reach
        let everything: &[_] = &[("workspace", "*"), ("workbench", "*"), ("user", "*")];
        server.give(&Person { id, ..manager.clone() }, &[("SuperAdmin", everything)]).await;
        let own = request("again", json!([scope("getMyOwnUser", json!({}))]));
        refused(&made(&server, &manager, own).await.map(drop), Code::PermissionDenied, "USER_NEEDS_SUPER_ADMIN");
    })
    .await;
}

#[tokio::test]
async fn whoever_is_locked_out_is_out_with_tokens_too() {
    on_each_engine(|server| async move {
        let me = |by: Person| {
            let server = server.clone();
            async move { server.call(Some(&by), "UserService/GetUserMe", json!({})).await }
        };
        for name in ["disabled", "deleted", "reset"] {
            let person = server.person(name, &[]).await;
            let program = token(&server, &person, json!([scope("getMyOwnUser", json!({}))])).await;
            assert!(me(program.clone()).await.is_ok());
            let change =
                json!({"id": person.id, "firstName": "A", "lastName": "B", "username": name, "status": "disabled"});
            let (rpc, request) = match name {
                "disabled" => ("UserService/UpdateUser", change.clone()),
                "deleted" => ("UserService/DeleteUser", json!({"id": person.id})),
                _ => ("UserService/ResetPassword", json!({"id": person.id})),
            };
            server.call(Some(&server.admin), rpc, request).await.unwrap();
            refused(&me(program.clone()).await, Code::Unauthenticated, "TOKEN_REVOKED");
            if name == "disabled" {
                let mut change = change;
                change["status"] = json!("active");
                server.call(Some(&server.admin), "UserService/UpdateUser", change).await.unwrap();
                refused(&me(program).await, Code::Unauthenticated, "TOKEN_REVOKED");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_program_did_is_recorded_as_its() {
    on_each_engine(|server| async move {
        let atlas = server.workspace(&server.admin, "Atlas").await;
        let update = scope("updateWorkspace", json!({"workspace": "*"}));
        let request = json!({"name": "nightly", "scopes": [update], "expiresAt": SOON});
        let (info, program) = made(&server, &server.admin, request).await.unwrap();
        let change = json!({"id": atlas, "name": "Atlas 2", "networkPolicy": "Airgapped", "clipboard": "disabled"});
        let changed = server.call(Some(&program), "WorkspaceService/UpdateWorkspace", change).await;
        assert!(changed.is_ok(), "{changed:?}");
        server.call(Some(&program), "WorkspaceService/DeleteWorkspace", json!({"id": atlas})).await.unwrap_err();

        let rows: Vec<(String, i64, String)> =
            sql("SELECT action, actor_id, CAST(details AS TEXT) FROM audit_log ORDER BY id")
                .all(&server.db)
                .await
                .unwrap();
        let [created, updated, refused] = rows.as_slice() else { panic!("{rows:?}") };
        let details = |row: &(String, i64, String)| serde_json::from_str::<Value>(&row.2).unwrap();
        assert_eq!(created.0, "CreateToken");
        assert_eq!(details(created)["scopes"], "updateWorkspace@workspace=*");
        assert_eq!(details(created)["api_token_id"], info["id"]);
        assert_eq!(details(created)["token_id"], Value::Null, "it was made by a session");
        for row in [updated, refused] {
            assert_eq!(row.1, server.admin.id, "the owner answers for it");
            assert_eq!(details(row)["token_id"], info["id"]);
            assert_eq!(details(row)["token_name"], "nightly");
        }
        let secret = program.token.rsplit('_').next().unwrap();
        assert!(rows.iter().all(|row| !row.2.contains(secret)));
    })
    .await;
}
