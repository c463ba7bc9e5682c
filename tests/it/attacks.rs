//! What must not work, tried on the running server: each test is somebody who wants more than is his.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chorus::server::db::{Db, sql};
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::server::{ADMIN_PASSWORD, Failure, Person, Reply, TestServer, on_each_engine};

const ME: &str = "UserService/GetUserMe";
const EVERYTHING: &[(&str, &str)] = &[("workspace", "*"), ("workbench", "*"), ("user", "*")];

#[track_caller]
fn refused(result: &Result<Value, Failure>, code: Code, reason: &str) {
    match result {
        Err(failure) if failure.code == code && failure.reason == reason => {}
        other => panic!("expected {code:?} {reason}, got {other:?}"),
    }
}

async fn texts(db: &Db, query: &'static str) -> Vec<String> {
    let rows: Vec<(String,)> = sql(query).all(db).await.unwrap();
    rows.into_iter().map(|(text,)| text).collect()
}

// ---- tokens and sessions

#[tokio::test]
async fn a_token_that_was_tampered_with_opens_nothing() {
    let server = TestServer::start().await;
    let person = server.person("ada", &[]).await;
    let [header, claims, signature] = person.token.split('.').collect::<Vec<_>>()[..] else { panic!("not a JWT") };
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let decode =
        |part: &str| -> Value { serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    let mut of_admin = decode(claims);
    for claim in of_admin.as_object_mut().unwrap().values_mut() {
        if *claim == json!(person.id) || *claim == json!(person.id.to_string()) {
            *claim = match claim {
                Value::String(_) => json!(server.admin.id.to_string()),
                _ => json!(server.admin.id),
            };
        }
    }
    let other_key = json!({"alg": "HS256", "typ": "JWT", "kid": "../../../../dev/null"});
    let none = encode(&json!({"alg": "none", "typ": "JWT"}));
    let mut kept_kid = decode(header);
    kept_kid["alg"] = json!("none");

    for token in [
        format!("{none}.{claims}."),
        format!("{none}.{claims}.{signature}"),
        format!("{}.{claims}.", encode(&kept_kid)),
        format!("{}.{claims}.{signature}", encode(&other_key)),
        format!("{header}.{}.{signature}", encode(&of_admin)),
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        format!("{header}.{claims}.{signature}x"),
        String::new(),
    ] {
        let thief = Person { token: token.clone(), ..person.clone() };
        let result = server.call(Some(&thief), ME, json!({})).await;
        assert_eq!(result.map_err(|f| f.code), Err(Code::Unauthenticated), "{token}");
        let reply = server.request(Method::GET, "/api/rest/v1/users/me").header("cookie", format!("jwttoken={token}"));
        assert_eq!(Reply::read(reply.send().await.unwrap()).await.status, 401, "{token}");
    }
    assert!(server.call(Some(&person), ME, json!({})).await.is_ok());
}

#[tokio::test]
async fn a_token_of_another_installation_opens_nothing() {
    let (server, other) = (TestServer::start().await, TestServer::start().await);
    let result = server.call(Some(&other.admin), ME, json!({})).await;
    assert_eq!(result.map_err(|f| f.code), Err(Code::Unauthenticated));
}

/// A restored or copied database can hold a session of the same id for somebody else.
#[tokio::test]
async fn a_token_of_another_database_with_the_same_keys_opens_nothing() {
    let server = TestServer::start().await;
    let (ada, bob) = (server.person("ada", &[]).await, server.person("bob", &[]).await);
    sql("UPDATE sessions SET user_id = $1 WHERE user_id = $2").bind(bob.id).bind(ada.id).run(&server.db).await.unwrap();
    refused(&server.call(Some(&ada), ME, json!({})).await, Code::Unauthenticated, "SESSION_ENDED");
}

#[tokio::test]
async fn sign_out_ends_this_session_and_no_other() {
    on_each_engine(|server| async move {
        let here = server.person("ada", &[]).await;
        let there = server.sign_in(&here).await;
        assert!(server.call(Some(&here), ME, json!({})).await.is_ok());
        server.call(Some(&here), "AuthenticationService/Logout", json!({})).await.unwrap();
        refused(&server.call(Some(&here), ME, json!({})).await, Code::Unauthenticated, "SESSION_ENDED");
        refused(
            &server.call(Some(&here), "AuthenticationService/RefreshToken", json!({})).await,
            Code::Unauthenticated,
            "SESSION_ENDED",
        );
        assert!(server.call(Some(&there), ME, json!({})).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn sessions_end_when_unused_and_at_the_latest_after_a_while() {
    let server = TestServer::start().await;
    let idle = server.person("ada", &[]).await;
    assert!(server.call(Some(&idle), ME, json!({})).await.is_ok());
    server.clock.advance(TimeDelta::hours(12));
    let result = server.call(Some(&idle), ME, json!({})).await;
    assert_eq!(result.map_err(|f| f.code), Err(Code::Unauthenticated));

    let busy = server.sign_in(&idle).await;
    for _ in 0..15 {
        assert!(server.call(Some(&busy), ME, json!({})).await.is_ok());
        server.clock.advance(TimeDelta::hours(11));
    }
    server.clock.advance(TimeDelta::hours(3));
    let result = server.call(Some(&busy), ME, json!({})).await;
    assert_eq!(result.map_err(|f| f.code), Err(Code::Unauthenticated), "seven days are over");
}

#[tokio::test]
async fn a_disabled_user_is_out_at_once() {
    on_each_engine(|server| async move {
        let person = server.person("ada", &[]).await;
        assert!(server.call(Some(&person), ME, json!({})).await.is_ok());
        let change =
            json!({"id": person.id, "firstName": "Ada", "lastName": "T", "username": "ada", "status": "disabled"});
        server.call(Some(&server.admin), "UserService/UpdateUser", change.clone()).await.unwrap();
        refused(&server.call(Some(&person), ME, json!({})).await, Code::Unauthenticated, "SESSION_ENDED");

        // enabled again, the old session stays closed
        let mut change = change;
        change["status"] = json!("active");
        server.call(Some(&server.admin), "UserService/UpdateUser", change).await.unwrap();
        refused(&server.call(Some(&person), ME, json!({})).await, Code::Unauthenticated, "SESSION_ENDED");
    })
    .await;
}

#[tokio::test]
async fn a_deleted_user_is_out_at_once_and_stays_deleted() {
    on_each_engine(|server| async move {
        let person = server.person("ada", &[("PlatformAuditor", &[("user", "*")])]).await;
        assert!(server.call(Some(&person), ME, json!({})).await.is_ok());
        let delete = json!({"id": person.id});
        server.call(Some(&server.admin), "UserService/DeleteUser", delete.clone()).await.unwrap();
        refused(&server.call(Some(&person), ME, json!({})).await, Code::Unauthenticated, "SESSION_ENDED");
        refused(
            &server.call(Some(&server.admin), "UserService/DeleteUser", delete).await,
            Code::NotFound,
            "USER_NOT_FOUND",
        );
        let names = texts(&server.db, "SELECT username FROM users WHERE status = 'deleted'").await;
        assert_eq!(names.len(), 1);
        assert_eq!(names[0].matches("ada-").count(), 1, "renamed once: {names:?}");
        let (roles,): (i64,) = sql("SELECT count(*) FROM role_assignments WHERE user_id = $1")
            .bind(person.id)
            .one(&server.db)
            .await
            .unwrap();
        assert_eq!(roles, 0);
        server.person("ada", &[]).await; // the name is free again
    })
    .await;
}

#[tokio::test]
async fn a_revoked_role_is_gone_at_once() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let person = server.person("ada", &[]).await;
        let get = json!({"id": workspace});
        let member = json!({"id": workspace, "userId": person.id, "role": {"name": "WorkspaceMember"}});
        let can = async || server.call(Some(&person), "WorkspaceService/GetWorkspace", get.clone()).await;
        refused(&can().await, Code::PermissionDenied, "PERMISSION_DENIED");
        server.call(Some(&server.admin), "WorkspaceService/AddUserRoleInWorkspace", member.clone()).await.unwrap();
        assert!(can().await.is_ok(), "the same session, without a new token");
        server.call(Some(&server.admin), "WorkspaceService/RemoveUserFromWorkspace", member_of(&member)).await.unwrap();
        refused(&can().await, Code::PermissionDenied, "PERMISSION_DENIED");
    })
    .await;
}

fn member_of(member: &Value) -> Value {
    json!({"id": member["id"], "userId": member["userId"]})
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let server = TestServer::start().await;
    let elsewhere = server.sign_in(&server.admin).await;
    let change = json!({"currentPassword": ADMIN_PASSWORD, "newPassword": "eleven blue kites above a harbour"});
    server.call(Some(&server.admin), "UserService/UpdatePassword", change).await.unwrap();
    refused(&server.call(Some(&elsewhere), ME, json!({})).await, Code::Unauthenticated, "SESSION_ENDED");
    assert!(server.call(Some(&server.admin), ME, json!({})).await.is_ok());
}

/// Without the current password a stolen session is not a stolen account.
#[tokio::test]
async fn a_new_password_takes_the_current_one() {
    let server = TestServer::start().await;
    let change = json!({"currentPassword": "wrong", "newPassword": "eleven blue kites above a harbour"});
    let result = server.call(Some(&server.admin), "UserService/UpdatePassword", change).await;
    refused(&result, Code::Unauthenticated, "INVALID_CREDENTIALS");
}

// ---- more rights than given

/// A bound value that cannot be read binds nothing: it is neither "any" nor a hole in the filter of a list.
#[tokio::test]
async fn a_blank_or_odd_binding_grants_nothing() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        for (number, value) in ["", " ", "%", "**", "0", "-1", "1 OR 1=1"].into_iter().enumerate() {
            let name = format!("ada{number}");
            let person = server.person(&name, &[("WorkspaceAdmin", &[("workspace", value)])]).await;
            let all = server.call(Some(&person), "WorkspaceService/ListWorkspaces", json!({})).await.unwrap();
            assert_eq!(all["pagination"]["total"], 0, "bound to {value:?}");
            let one = server.call(Some(&person), "WorkspaceService/GetWorkspace", json!({"id": workspace})).await;
            refused(&one, Code::PermissionDenied, "PERMISSION_DENIED");
        }
    })
    .await;
}

#[tokio::test]
async fn nobody_changes_the_own_user_name_status_or_roles() {
    let server = TestServer::start().await;
    let person = server.person("ada", &[]).await;
    let own = json!({"id": person.id, "firstName": "A", "lastName": "L", "username": "ada", "status": "active",
        "email": "a@example.org"});
    for (field, value) in [("username", "root"), ("status", "disabled"), ("status", "deleted")] {
        let mut change = own.clone();
        change[field] = json!(value);
        let result = server.call(Some(&person), "UserService/UpdateUser", change).await;
        refused(&result, Code::PermissionDenied, "FIELD_NEEDS_ADMINISTRATOR");
    }
    let mut change = own.clone();
    change["roles"] = json!(["SuperAdmin"]);
    change["rolesWithContext"] =
        json!([{"name": "SuperAdmin", "context": {"workspace": "*", "workbench": "*", "user": "*"}}]);
    change["uid"] = json!(0);
    server.call(Some(&person), "UserService/UpdateUser", change).await.unwrap();
    let me = server.call(Some(&person), ME, json!({})).await.unwrap();
    let roles = me["result"]["me"]["rolesWithContext"].as_array().unwrap();
    assert_eq!(roles.len(), 1, "the request's roles are ignored: {roles:?}");
    assert_ne!(me["result"]["me"]["uid"], "0");
}

#[tokio::test]
async fn a_manager_of_users_does_not_become_more_powerful() {
    let server = TestServer::start().await;
    let manager = server.person("mallory", &[("PlatformUserManager", &[("user", "*")])]).await;
    let accomplice = server.person("eve", &[]).await;
    let workspace = server.workspace(&server.admin, "Atlas").await.to_string();
    let grant = async |to: i64, role: &str, context: Value| {
        let request = json!({"userId": to, "role": {"name": role, "context": context}});
        server.call(Some(&manager), "UserService/CreateUserRole", request).await.map_err(|f| f.code)
    };
    let everything = json!({"workspace": "*", "workbench": "*", "user": "*"});
    for (to, role, context) in [
        (accomplice.id, "SuperAdmin", everything.clone()),
        (accomplice.id, "PlatformWorkspaceManager", json!({"workspace": "*"})),
        (manager.id, "PlatformAuditor", json!({"user": "*"})),
        (manager.id, "WorkspaceAdmin", json!({"workspace": workspace})),
    ] {
        assert_eq!(grant(to, role, context).await, Err(Code::PermissionDenied), "{role}");
    }
    // a context that the role does not take
    for (role, context) in [
        ("WorkspaceAdmin", json!({"workspace": "*"})),
        ("WorkspaceAdmin", json!({})),
        ("WorkspaceAdmin", json!({"workspace": workspace, "user": "*"})),
        ("PlatformAuditor", json!({"user": accomplice.id.to_string()})),
        ("PlatformAuditor", everything),
        ("NoSuchRole", json!({})),
    ] {
        let result = grant(accomplice.id, role, context.clone()).await;
        assert!(matches!(result, Err(Code::InvalidArgument | Code::PermissionDenied)), "{role} {context}: {result:?}");
    }
    assert_eq!(grant(accomplice.id, "WorkspaceGuest", json!({"workspace": "999999"})).await, Err(Code::NotFound));

    // whoever could take over the account of a SuperAdmin would be one
    let admin = server.admin.id;
    let update = json!({"id": admin, "firstName": "x", "lastName": "x", "username": "x", "status": "disabled"});
    for (rpc, request) in [
        ("UserService/ResetPassword", json!({"id": admin})),
        ("UserService/DeleteUser", json!({"id": admin})),
        ("UserService/UpdateUser", update),
    ] {
        refused(&server.call(Some(&manager), rpc, request).await, Code::PermissionDenied, "USER_NEEDS_SUPER_ADMIN");
    }
}

#[tokio::test]
async fn an_administrator_of_a_workspace_grants_only_there() {
    let server = TestServer::start().await;
    let (own, other) =
        (server.workspace(&server.admin, "Atlas").await, server.workspace(&server.admin, "Bering").await);
    let id = own.to_string();
    let admin = server.person("mallory", &[("WorkspaceAdmin", &[("workspace", &id)])]).await;
    let eve = server.person("eve", &[]).await;
    let add = async |workspace: i64, role: Value| {
        let request = json!({"id": workspace, "userId": eve.id, "role": role});
        server.call(Some(&admin), "WorkspaceService/AddUserRoleInWorkspace", request).await
    };
    let wildcard = json!({"name": "WorkspaceMember", "context": {"workspace": "*", "user": "*"}});
    add(own, wildcard).await.unwrap();
    let held = texts(
        &server.db,
        "SELECT workspace || coalesce(user_context, '') FROM role_assignments WHERE role = 'WorkspaceMember'",
    );
    assert_eq!(held.await, [id.as_str()], "bound to this workspace, whatever the request says");

    refused(&add(other, json!({"name": "WorkspaceMember"})).await, Code::PermissionDenied, "PERMISSION_DENIED");
    for role in ["SuperAdmin", "PlatformUserManager", "WorkbenchAdmin", "Authenticated", "", "NoSuchRole"] {
        let result = add(own, json!({"name": role})).await;
        assert_eq!(result.map_err(|f| f.code), Err(Code::InvalidArgument), "{role}");
    }
    let direct = json!({"userId": eve.id, "role": {"name": "WorkspaceMember", "context": {"workspace": "*"}}});
    let result = server.call(Some(&admin), "UserService/CreateUserRole", direct).await;
    refused(&result, Code::PermissionDenied, "PERMISSION_DENIED");
}

#[tokio::test]
async fn the_last_super_admin_stays() {
    on_each_engine(|server| async move {
        let admin = &server.admin;
        let (role,): (i64,) = sql("SELECT id FROM role_assignments WHERE user_id = $1 AND role = 'SuperAdmin'")
            .bind(admin.id)
            .one(&server.db)
            .await
            .unwrap();
        let revoke = json!({"userId": admin.id, "roleId": role});
        let disable =
            json!({"id": admin.id, "firstName": "x", "lastName": "x", "username": "chorus", "status": "disabled"});
        let result = server.call(Some(admin), "UserService/DeleteUserRole", revoke.clone()).await;
        assert!(
            matches!(result, Err(Failure { code: Code::InvalidArgument | Code::PermissionDenied, .. })),
            "{result:?}"
        );
        refused(
            &server.call(Some(admin), "UserService/UpdateUser", disable).await,
            Code::InvalidArgument,
            "LAST_SUPER_ADMIN",
        );
        refused(
            &server.call(Some(admin), "UserService/DeleteUser", json!({"id": admin.id})).await,
            Code::InvalidArgument,
            "USER_IS_ONESELF",
        );

        // of two, each removes the other at the same time: one of them stays
        let second = server.person("second", &[("SuperAdmin", EVERYTHING)]).await;
        let delete = |id: i64| json!({"id": id});
        let (a, b) = tokio::join!(
            server.call(Some(admin), "UserService/DeleteUser", delete(second.id)),
            server.call(Some(&second), "UserService/DeleteUser", delete(admin.id)),
        );
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    })
    .await;
}

/// Who looks for people to invite learns who they are, not how to reach them or what they may do.
#[tokio::test]
async fn looking_for_users_shows_their_outline() {
    let server = TestServer::start().await;
    let id = server.workspace(&server.admin, "Atlas").await.to_string();
    let admin = server.person("ada", &[("WorkspaceAdmin", &[("workspace", &id)])]).await;
    server.person("bob", &[("PlatformAuditor", &[("user", "*")])]).await;
    for filter in [json!({}), json!({"filter": {"search": "BOB"}}), json!({"filter": {"withNamespaces": true}})] {
        let list = server.call(Some(&admin), "UserService/ListUsers", filter).await.unwrap();
        let users = list["result"]["users"].as_array().unwrap();
        let bob = users.iter().find(|u| u["username"] == "bob").unwrap();
        assert_eq!((&bob["email"], &bob["rolesWithContext"]), (&json!(""), &json!([])), "{bob}");
    }
    // nor does a pattern of the database find everybody
    for search in ["%", "_", "\\", "' OR 1=1 --"] {
        let list =
            server.call(Some(&admin), "UserService/ListUsers", json!({"filter": {"search": search}})).await.unwrap();
        assert_eq!(list["pagination"]["total"], 0, "{search}");
    }
}

// ---- requests that are not as they should be

/// A request without the message that everything is in must not bring anything down, whoever sends it.
#[tokio::test]
async fn a_request_without_its_role_is_refused() {
    let server = TestServer::start().await;
    let workspace = server.workspace(&server.admin, "Atlas").await;
    let nobody = server.stranger(server.tenant, &[]).await;
    let paths = [
        format!("/api/rest/v1/workspaces/{workspace}/user/{}/role", nobody.id),
        format!("/api/rest/v1/users/{}/role", nobody.id),
        format!("/api/rest/v1/workbenches/1/user/{}/role", nobody.id),
        "/api/rest/v1/authorization/roles".to_owned(),
    ];
    for path in &paths[..2] {
        for body in [json!({}), json!({"role": null}), json!({"role": {}})] {
            let reply = server.rest(Some(&server.admin), Method::POST, path, Some(body)).await;
            assert_eq!((reply.status, reply.reason()), (400, "VALIDATION_FAILED"), "{path}");
        }
    }
    for path in &paths {
        for by in [Some(&nobody), Some(&server.admin), None] {
            let reply = server.rest(by, Method::POST, path, Some(json!({}))).await;
            assert!([400, 401, 403, 501].contains(&reply.status), "{path}: {}", reply.status);
        }
    }
    assert!(server.call(Some(&server.admin), ME, json!({})).await.is_ok());
}

#[tokio::test]
async fn ids_that_no_row_can_have_are_not_found() {
    on_each_engine(|server| async move {
        for id in ["9223372036854775807", "9223372036854775808", "18446744073709551615"] {
            for rpc in ["UserService/GetUser", "WorkspaceService/GetWorkspace", "WorkspaceService/DeleteWorkspace"] {
                let result = server.call(Some(&server.admin), rpc, json!({"id": id})).await;
                assert_eq!(result.map_err(|f| f.code), Err(Code::NotFound), "{rpc} {id}");
            }
        }
        for (path, status) in [("-1", 400), ("0", 400), ("1e3", 400), ("18446744073709551616", 400), ("%00", 400)] {
            let path = format!("/api/rest/v1/workspaces/{path}");
            let reply = server.rest(Some(&server.admin), Method::GET, &path, None).await;
            assert_eq!(reply.status, status, "{path}");
        }
    })
    .await;
}

// ---- browsers

#[tokio::test]
async fn only_exact_origins_may_use_the_cookie() {
    let server = TestServer::configured(&[("cors_origins", "https://ui.example.org")]).await;
    let ask = async |origin: &str, method: Method| {
        let request = server.request(method, "/api/rest/v1/users/me").header("origin", origin);
        let request = request.header("access-control-request-method", "GET");
        let headers = Reply::read(request.send().await.unwrap()).await.headers;
        let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
        (text("access-control-allow-origin"), text("access-control-allow-credentials"))
    };
    for method in [Method::OPTIONS, Method::GET] {
        let (origin, credentials) = ask("https://ui.example.org", method.clone()).await;
        assert_eq!(origin.as_deref(), Some("https://ui.example.org"));
        assert_eq!(credentials.as_deref(), Some("true"));
        for stranger in [
            "https://ui.example.org.evil.example",
            "https://ui.example.org:8443",
            "http://ui.example.org",
            "https://evil-ui.example.org",
            "https://ui.example.or",
            "null",
        ] {
            let (origin, _) = ask(stranger, method.clone()).await;
            assert_eq!(origin, None, "{method} {stranger}");
        }
    }
}

// ---- traces

/// Neither passwords nor tokens end up in the audit trail, and nobody chooses the address that it shows.
#[tokio::test]
async fn the_audit_trail_holds_no_secret_and_no_invented_address() {
    let server = TestServer::start().await;
    let secrets = ["correct horse battery staple 1", "a wrong guess of mine 2"];
    let user = json!({"firstName": "Ada", "lastName": "L", "username": "ada", "password": secrets[0], "email": "a@example.org"});
    let created = server.rest(Some(&server.admin), Method::POST, "/api/rest/v1/users", Some(user)).await;
    assert_eq!(created.status, 200, "{:?}", created.body);
    for password in secrets {
        let request = server.request(Method::POST, "/api/rest/v1/authentication/login");
        let request = request.header("x-forwarded-for", "198.51.100.7").header("forwarded", "for=198.51.100.7");
        request.json(&json!({"username": "ada", "password": password})).send().await.unwrap();
    }
    server.rest(None, Method::GET, "/api/rest/v1/users/me", None).await;

    let trail = texts(
        &server.db,
        "SELECT action || ' ' || outcome || ' ' || address || ' ' || description || ' ' || CAST(details AS TEXT) FROM audit_log",
    )
    .await;
    let text = trail.join("\n");
    let sign_ins: Vec<_> = trail.iter().filter(|line| line.starts_with("LoginUser")).collect();
    assert_eq!(sign_ins.len(), 2, "one that worked and one that did not:\n{text}");
    assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    assert!(!text.contains(&server.admin.token) && !text.contains("198.51.100.7"), "{text}");
}

/// The answer to a wrong sign-in does not tell whether there is such a user.
#[tokio::test]
async fn a_wrong_sign_in_tells_nothing() {
    let server = TestServer::start().await;
    server.person("without-password", &[]).await;
    let disabled = server.person("disabled", &[]).await;
    sql("UPDATE users SET status = 'disabled' WHERE id = $1").bind(disabled.id).run(&server.db).await.unwrap();
    let mut answers = Vec::new();
    for username in ["chorus", "CHORUS", "no-such-user", "without-password", "disabled"] {
        let request = json!({"username": username, "password": "not the one at all"});
        let reply = server.rest(None, Method::POST, "/api/rest/v1/authentication/login", Some(request)).await;
        assert!(!reply.headers.contains_key("set-cookie"));
        answers.push((reply.status, reply.body));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0].0, 401);
}
