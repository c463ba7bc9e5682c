//! Signing in and out, and what a temporary password opens.

use chorus::server::db::sql;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::server::{ADMIN_PASSWORD, Person, Reply, TestServer, on_each_engine};

const LOGIN: &str = "/api/rest/v1/authentication/login";
const ME: &str = "/api/rest/v1/users/me";
const NEW: &str = "nine blue geese over a lake";

async fn sign_in(server: &TestServer, username: &str, password: &str) -> Reply {
    server.rest(None, Method::POST, LOGIN, Some(json!({"username": username, "password": password}))).await
}

fn signed_in(person: &Person, reply: &Reply) -> Person {
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    Person { token: reply.body["result"]["token"].as_str().unwrap().to_owned(), ..person.clone() }
}

fn cookie(reply: &Reply) -> &str {
    reply.headers["set-cookie"].to_str().unwrap()
}

#[tokio::test]
async fn a_session_from_sign_in_to_sign_out() {
    on_each_engine(|server| async move {
        let reply = sign_in(&server, "ＣＨＯＲＵＳ", ADMIN_PASSWORD).await;
        let admin = signed_in(&server.admin, &reply);
        assert!(
            cookie(&reply).starts_with(&format!("jwttoken={}; Path=/; HttpOnly; SameSite=Lax; Expires=", admin.token))
        );

        let by_cookie = server.request(Method::GET, ME).header("cookie", format!("jwttoken={}", admin.token));
        let by_cookie = Reply::read(by_cookie.send().await.unwrap()).await;
        assert_eq!(by_cookie.body["result"]["me"]["username"], "chorus");

        let renewed =
            server.rest(Some(&admin), Method::POST, "/api/rest/v1/authentication/refresh-token", Some(json!({}))).await;
        let renewed_admin = signed_in(&admin, &renewed);
        assert!(cookie(&renewed).contains(&renewed_admin.token));

        let out = server.rest(Some(&admin), Method::POST, "/api/rest/v1/authentication/logout", Some(json!({}))).await;
        assert_eq!((out.status, &out.body), (200, &json!({})));
        assert!(cookie(&out).starts_with("jwttoken=; ") && cookie(&out).contains("1970"), "{}", cookie(&out));
        for token in [&admin, &renewed_admin] {
            let refused = server.rest(Some(token), Method::GET, ME, None).await;
            assert_eq!((refused.status, refused.reason()), (401, "SESSION_ENDED"));
        }
        let other = server.rest(Some(&server.admin), Method::GET, ME, None).await;
        assert_eq!(other.status, 200, "other sessions go on");

        let records: Vec<(String, String, Option<i64>)> =
            sql("SELECT action, actor_username, user_id FROM audit_log ORDER BY id").all(&server.db).await.unwrap();
        let login = ("LoginUser".to_owned(), "chorus".to_owned(), Some(admin.id));
        assert_eq!(records, [login, ("LogoutUser".to_owned(), "chorus".to_owned(), None)]);
    })
    .await;
}

#[tokio::test]
async fn whatever_is_wrong_gets_one_answer() {
    on_each_engine(|server| async move {
        let asleep = server.person("asleep", &[]).await;
        sql("UPDATE users SET status = 'disabled', password_hash = (SELECT password_hash FROM users WHERE id = $1) WHERE id = $2")
            .bind(server.admin.id)
            .bind(asleep.id)
            .run(&server.db)
            .await
            .unwrap();
        let mut answers = Vec::new();
        for (username, password) in
            [("chorus", "wrong"), ("nobody", ADMIN_PASSWORD), ("asleep", ADMIN_PASSWORD), ("chorus", "Seven grey herons over the lake")]
        {
            let reply = sign_in(&server, username, password).await;
            assert_eq!((reply.status, reply.reason()), (401, "INVALID_CREDENTIALS"), "{username}");
            assert!(!reply.headers.contains_key("set-cookie"));
            let mut body = reply.body;
            body["details"][0]["instance"] = Value::Null;
            answers.push(body);
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");

        // a name that belongs to no account may be a password in the wrong field
        let records: Vec<(String, Option<i64>, String)> =
            sql("SELECT outcome, user_id, coalesce(details ->> 'username', '') FROM audit_log ORDER BY id").all(&server.db).await.unwrap();
        let mut tried: Vec<_> = records.iter().map(|(outcome, user, name)| (outcome.as_str(), *user, name.as_str())).collect();
        tried.sort_unstable();
        let admin = Some(server.admin.id);
        let expected = [("refused", None, ""), ("refused", None, ""), ("refused", admin, "chorus"), ("refused", admin, "chorus")];
        assert_eq!(tried, expected);
    })
    .await;
}

#[tokio::test]
async fn old_hashes_are_replaced_at_sign_in() {
    let server = TestServer::start().await;
    let hash = async || {
        let row: (String,) =
            sql("SELECT password_hash FROM users WHERE id = $1").bind(server.admin.id).one(&server.db).await.unwrap();
        row.0
    };
    assert!(hash().await.starts_with("$2"));
    for _ in 0..2 {
        assert_eq!(sign_in(&server, "chorus", ADMIN_PASSWORD).await.status, 200);
        assert!(hash().await.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }
}

#[tokio::test]
async fn a_temporary_password_opens_the_way_to_a_new_one() {
    on_each_engine(|server| async move {
        let zoe = server.person("zoe", &[]).await;
        let own = format!("/api/rest/v1/users/{}/password/reset", server.admin.id);
        let own = server.rest(Some(&server.admin), Method::POST, &own, Some(json!({}))).await;
        assert_eq!((own.status, own.reason()), (400, "USER_IS_ONESELF"));

        let reset = format!("/api/rest/v1/users/{}/password/reset", zoe.id);
        let reset = server.rest(Some(&server.admin), Method::POST, &reset, Some(json!({}))).await;
        let temporary = reset.body["result"]["temporaryPassword"].as_str().unwrap();
        assert_eq!(temporary.len(), 20);
        assert_eq!(server.rest(Some(&zoe), Method::GET, ME, None).await.status, 401, "the old session ended");
        let (details,): (String,) =
            sql("SELECT CAST(details AS TEXT) FROM audit_log WHERE action = 'ResetUserPassword'")
                .one(&server.db)
                .await
                .unwrap();
        assert!(!details.contains(temporary));

        let zoe = signed_in(&zoe, &sign_in(&server, "zoe", temporary).await);
        let elsewhere = signed_in(&zoe, &sign_in(&server, "zoe", temporary).await);
        let me = server.rest(Some(&zoe), Method::GET, ME, None).await;
        assert_eq!(me.body["result"]["me"]["passwordChanged"], false);
        let refused = server.rest(Some(&zoe), Method::GET, "/api/rest/v1/notifications", None).await;
        assert_eq!((refused.status, refused.reason()), (403, "PASSWORD_CHANGE_REQUIRED"));

        let change = async |current: &str, new: &str| {
            let body = json!({"currentPassword": current, "newPassword": new});
            server.rest(Some(&zoe), Method::PUT, "/api/rest/v1/users/me/password", Some(body)).await
        };
        let wrong = change("not it", NEW).await;
        assert_eq!((wrong.status, wrong.reason()), (401, "INVALID_CREDENTIALS"));
        let same = change(temporary, temporary).await;
        assert_eq!(same.body["details"][0]["validationErrors"][0]["reason"], "password.same");
        assert_eq!(change(temporary, "zoe zoe zoe zoe").await.status, 400);
        let changed = change(temporary, NEW).await;
        assert_eq!((changed.status, &changed.body), (200, &json!({"result": {"user": null}})));

        let me = server.rest(Some(&zoe), Method::GET, ME, None).await;
        assert_eq!(me.body["result"]["me"]["passwordChanged"], true);
        let free = server.rest(Some(&zoe), Method::GET, "/api/rest/v1/notifications", None).await;
        assert_eq!(free.status, 200, "the session is an ordinary one now");
        assert_eq!(server.rest(Some(&elsewhere), Method::GET, ME, None).await.status, 401, "the other one ended");
        assert_eq!(sign_in(&server, "zoe", temporary).await.status, 401);
        assert_eq!(sign_in(&server, "zoe", NEW).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn the_ways_to_sign_in() {
    let server = TestServer::configured(&[("public_registration", "true")]).await;
    let modes = server.rest(None, Method::GET, "/api/rest/v1/authentication/modes", None).await;
    let mode = &modes.body["result"]["modes"][0];
    assert_eq!((&mode["type"], &mode["internal"]["publicRegistrationEnabled"]), (&json!("internal"), &json!(true)));
    assert_eq!((&mode["ButtonText"], mode.get("openid")), (&json!("Sign in"), None));
}

#[tokio::test]
async fn roles_and_permissions_are_public() {
    let server = TestServer::start().await;
    let roles = server.rest(None, Method::GET, "/api/rest/v1/authorization/roles", None).await;
    let names: Vec<_> =
        roles.body["result"]["roles"].as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap()).collect();
    assert!(names.is_sorted() && names.contains(&"SuperAdmin"));
    let permissions = server.rest(None, Method::GET, "/api/rest/v1/authorization/permissions", None).await;
    assert_eq!(permissions.body["result"]["permissions"].as_array().unwrap().len(), 85);
}
