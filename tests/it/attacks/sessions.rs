//! Tokens that open nothing, and sessions that end when they should.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chorus::server::db::sql;
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;

use super::{ME, refused, texts};
use crate::support::server::{ADMIN_PASSWORD, Person, Reply, TestServer, on_each_engine};

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

/// Browsers send cookies to every port of a host, so the gRPC listener must not take them, nor what a page can send.
#[tokio::test]
async fn a_page_cannot_write_through_the_grpc_listener() {
    let server = TestServer::start().await;
    let url = format!("{}/chorus.v1.UserService/GetUserMe", server.grpc_url());
    let client = reqwest::Client::new();
    for kind in ["text/plain", "application/grpc-web", "application/grpc-web-text", "application/grpc"] {
        let answer = client
            .post(&url)
            .header("content-type", kind)
            .header("cookie", format!("jwttoken={}", server.admin.token))
            .body(&[0_u8; 5][..])
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 415, "{kind} over HTTP/1.1");
    }
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let answer = client
        .post(&url)
        .header("content-type", "application/grpc")
        .header("cookie", format!("jwttoken={}", server.admin.token))
        .body(&[0_u8; 5][..])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["grpc-status"], "16", "the cookie counts for nothing here");
}
