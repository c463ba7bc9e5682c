//! What is left behind, and what answers give away.

use chorus::server::db::sql;
use reqwest::Method;
use serde_json::json;

use super::texts;
use crate::support::server::TestServer;

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
