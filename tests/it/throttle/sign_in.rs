//! The throttle in front of sign-ins, as clients meet it.

use chorus::server::{
    access::throttle::{ACCOUNT_TRIES, Device, PLACE_TRIES},
    clock::Clock as _,
    db::sql,
    random::SeededRandom,
};
use chrono::TimeDelta;
use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    each_engine,
    server::{ADMIN_PASSWORD, Failure, Reply, TestServer, on_each_engine},
};

const LOGIN: &str = "/api/rest/v1/authentication/login";
const ME: &str = "/api/rest/v1/users/me";
const OWN_PASSWORD: &str = "/api/rest/v1/users/me/password";
const TRUSTING: (&str, &str) = ("trusted_proxies", "127.0.0.1/32");

/// Runs the body against servers that believe what a proxy says of addresses.
async fn behind_a_proxy<F: Future<Output = ()>>(body: impl Fn(std::sync::Arc<TestServer>) -> F) {
    each_engine(async |db| body(TestServer::with(db, &[TRUSTING]).await.into()).await).await;
}

async fn sign_in(server: &TestServer, username: &str, password: &str) -> Reply {
    server.rest(None, Method::POST, LOGIN, Some(json!({"username": username, "password": password}))).await
}

async fn sign_in_from(server: &TestServer, address: &str, username: &str, password: &str) -> Reply {
    let body = json!({"username": username, "password": password});
    let request = server.request(Method::POST, LOGIN).header("x-forwarded-for", address).json(&body);
    Reply::read(request.send().await.unwrap()).await
}

/// Fills the common bucket of an account from as many addresses as it takes.
async fn flood(server: &TestServer, username: &str) {
    let mut hosts = 0..=ACCOUNT_TRIES as u8;
    let is_open = async |host| {
        let door = server.throttle().outside(username, Some([203, 0, 113, host].into()), None);
        server.throttle().admit(door, server.clock.now()).await.is_ok()
    };
    while is_open(hosts.next().unwrap()).await {}
}

fn waits(reply: &Reply) -> Option<&str> {
    reply.headers.get("retry-after").map(|value| value.to_str().unwrap())
}

#[track_caller]
fn throttled(reply: &Reply, seconds: &str) {
    assert_eq!((reply.status, reply.reason(), waits(reply)), (429, "SIGN_IN_THROTTLED", Some(seconds)));
    assert_eq!((reply.chorus_code(), &reply.body["code"]), ("CHORUS_ERROR_CODE_UNSPECIFIED", &json!(8)));
}

#[tokio::test]
async fn after_five_wrong_tries_the_right_one_waits_too() {
    on_each_engine(|server| async move {
        for _ in 0..PLACE_TRIES {
            assert_eq!(sign_in(&server, "chorus", "wrong").await.status, 401);
        }
        throttled(&sign_in(&server, "chorus", ADMIN_PASSWORD).await, "60");
        throttled(&sign_in(&server, "ＣＨＯＲＵＳ", ADMIN_PASSWORD).await, "60");
        server.clock.advance(TimeDelta::milliseconds(59_001));
        throttled(&sign_in(&server, "chorus", ADMIN_PASSWORD).await, "1");
        server.clock.advance(TimeDelta::milliseconds(999));
        assert_eq!(sign_in(&server, "chorus", ADMIN_PASSWORD).await.status, 200);
        for _ in 0..PLACE_TRIES {
            assert_eq!(sign_in(&server, "chorus", "wrong").await.status, 401, "a success begins anew");
        }
        throttled(&sign_in(&server, "chorus", "wrong").await, "60");
    })
    .await;
}

/// Whoever looks at answers learns nothing: not in any state, not from the body, not from a header.
#[tokio::test]
async fn names_of_no_account_are_throttled_alike() {
    behind_a_proxy(|server| async move {
        let seen = async |username: &'static str| {
            let start = server.clock.now();
            let mut answers = Vec::new();
            let mut ask = async |address: &str, password: &str| {
                let reply = sign_in_from(&server, address, username, password).await;
                let kept = reply.headers.iter().filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
                let headers: Vec<_> = kept.map(|(name, value)| (name.to_string(), value.clone())).collect();
                answers.push((reply.status, headers, reply.body));
            };
            for _ in 0..PLACE_TRIES + 1 {
                ask("192.0.2.1", "wrong").await;
            }
            flood(&server, username).await;
            ask("192.0.2.2", "wrong").await;
            ask("192.0.2.1", "wrong").await;
            server.clock.advance(TimeDelta::seconds(60));
            ask("192.0.2.2", "wrong").await;
            ask("192.0.2.1", "wrong").await;
            server.clock.advance(TimeDelta::hours(1));
            (answers, server.clock.now() - start)
        };
        let known = seen("chorus").await;
        let unknown = seen("nobody").await;
        assert_eq!(known, unknown);
        let statuses: Vec<_> = known.0.iter().map(|(status, ..)| *status).collect();
        assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429, 401, 401]);
    })
    .await;
}

#[tokio::test]
async fn a_flood_does_not_keep_the_owner_out() {
    behind_a_proxy(|server| async move {
        assert_eq!(sign_in_from(&server, "198.51.100.7", "chorus", ADMIN_PASSWORD).await.status, 200);
        flood(&server, "chorus").await;
        throttled(&sign_in_from(&server, "198.51.100.8", "chorus", ADMIN_PASSWORD).await, "60");
        assert_eq!(sign_in_from(&server, "198.51.100.7", "chorus", ADMIN_PASSWORD).await.status, 200);
        throttled(&sign_in_from(&server, "198.51.100.8", "chorus", ADMIN_PASSWORD).await, "60");
    })
    .await;
}

#[tokio::test]
async fn a_browser_is_known_again_by_its_cookie() {
    behind_a_proxy(|server| async move {
        let from = async |address: &str, cookie: Option<&str>| {
            let body = json!({"username": "chorus", "password": ADMIN_PASSWORD});
            let mut request = server.request(Method::POST, LOGIN).header("x-forwarded-for", address).json(&body);
            request = request.header("origin", server.url());
            if let Some(cookie) = cookie {
                request = request.header("cookie", format!("chorus_device={cookie}"));
            }
            Reply::read(request.send().await.unwrap()).await
        };
        let given = |reply: &Reply| {
            assert_eq!(reply.status, 200, "{:?}", reply.body);
            let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().map(|c| c.to_str().unwrap()).collect();
            let [session, device] = cookies[..] else { panic!("{cookies:?}") };
            assert!(session.starts_with("jwttoken="));
            let (value, rest) = device.strip_prefix("chorus_device=").unwrap().split_once("; ").unwrap();
            let attributes = "Path=/api/rest/v1/authentication; HttpOnly; SameSite=Lax; Expires=";
            assert!(rest.starts_with(attributes) && value.len() == 43, "{device}");
            value.to_owned()
        };
        let first = given(&from("198.51.100.1", None).await);
        flood(&server, "chorus").await;
        throttled(&from("198.51.100.2", None).await, "60");
        assert_eq!(given(&from("198.51.100.2", Some(&first)).await), first, "the same one goes on");

        // one that an attacker made up, or planted, counts for nothing and is replaced
        let planted = Device::new(&SeededRandom::new(9)).text().to_string();
        throttled(&from("198.51.100.3", Some(&planted)).await, "60");
        server.clock.advance(TimeDelta::minutes(1));
        assert_ne!(given(&from("198.51.100.3", Some(&planted)).await), planted);
        let program = sign_in_from(&server, "198.51.100.1", "chorus", ADMIN_PASSWORD).await;
        assert_eq!(program.headers.get_all("set-cookie").iter().count(), 1, "programs keep no cookies");
    })
    .await;
}

#[tokio::test]
async fn only_a_trusted_proxy_names_the_address() {
    let server = TestServer::start().await;
    for host in 0..PLACE_TRIES {
        assert_eq!(sign_in_from(&server, &format!("192.0.2.{host}"), "chorus", "wrong").await.status, 401);
    }
    throttled(&sign_in_from(&server, "192.0.2.200", "chorus", "wrong").await, "60");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_parallel_tries_are_five_guesses() {
    on_each_engine(|server| async move {
        let tries = stream::iter(0..100).map(|_| sign_in(&server, "chorus", "wrong")).buffer_unordered(100);
        let statuses: Vec<_> = tries.map(|reply| reply.status).collect().await;
        let guesses = statuses.iter().filter(|status| **status == 401).count();
        assert!(guesses <= PLACE_TRIES as usize, "{statuses:?}");
        // the line for hashes may have been full for a moment
        assert!(statuses.iter().all(|status| [401, 429, 503].contains(status)), "{statuses:?}");
    })
    .await;
}

#[tokio::test]
async fn replicas_count_together() {
    on_each_engine(|one| async move {
        let other = one.replica().await;
        for server in [&*one, &other, &one, &other, &one] {
            assert_eq!(sign_in(server, "chorus", "wrong").await.status, 401);
        }
        throttled(&sign_in(&other, "chorus", ADMIN_PASSWORD).await, "60");
        throttled(&sign_in(&one, "chorus", ADMIN_PASSWORD).await, "60");
        other.stop().await;
    })
    .await;
}

#[tokio::test]
async fn over_grpc_the_wait_is_metadata() {
    let server = TestServer::start().await;
    for _ in 0..PLACE_TRIES {
        assert_eq!(sign_in(&server, "chorus", "wrong").await.status, 401);
    }
    let mut client =
        chorus::proto::v1::authentication_service_client::AuthenticationServiceClient::new(server.channel());
    let credentials = chorus::proto::v1::Credentials {
        username: "chorus".to_owned(),
        password: ADMIN_PASSWORD.to_owned(),
        totp: String::new(),
    };
    let status = client.authenticate(credentials).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.metadata().get("retry-after").unwrap(), "60");
    assert_eq!(Failure::from(status).reason, "SIGN_IN_THROTTLED");
}

#[tokio::test]
async fn nothing_else_is_throttled() {
    let server = TestServer::start().await;
    let ada = server.person("ada", &[]).await;
    flood(&server, "ada").await;
    let polls = stream::iter(0..1000).map(|_| server.rest(Some(&ada), Method::GET, ME, None)).buffer_unordered(16);
    polls.for_each(async |reply| assert_eq!(reply.status, 200)).await;
}

/// Whoever stole a session must not guess the password with it.
#[tokio::test]
async fn the_current_password_cannot_be_guessed_with_a_session() {
    on_each_engine(|server| async move {
        let (stolen, own) = (&server.admin, server.sign_in(&server.admin).await);
        let change = async |by, current: &str, new: &str| {
            let body = json!({"currentPassword": current, "newPassword": new});
            server.rest(Some(by), Method::PUT, OWN_PASSWORD, Some(body)).await
        };
        let new = "eleven blue kites above a harbour";
        // what is refused for another reason is no guess
        for _ in 0..PLACE_TRIES + 1 {
            assert_eq!(change(stolen, ADMIN_PASSWORD, ADMIN_PASSWORD).await.status, 400);
        }
        for _ in 0..PLACE_TRIES {
            assert_eq!(change(stolen, "wrong", new).await.status, 401);
        }
        throttled(&change(stolen, ADMIN_PASSWORD, new).await, "60");
        assert_eq!(change(&own, ADMIN_PASSWORD, new).await.status, 200, "the owner's session has its own count");
        assert_eq!(sign_in(&server, "chorus", new).await.status, 200, "and so have sign-ins");
    })
    .await;
}

#[tokio::test]
async fn an_administrator_lets_a_user_in_again() {
    on_each_engine(|server| async move {
        let zoe = server.person("zoe", &[]).await;
        flood(&server, "zoe").await;
        throttled(&sign_in(&server, "zoe", "wrong").await, "60");
        let reset = format!("/api/rest/v1/users/{}/password/reset", zoe.id);
        let reset = server.rest(Some(&server.admin), Method::POST, &reset, Some(json!({}))).await;
        let temporary = reset.body["result"]["temporaryPassword"].as_str().unwrap();
        assert_eq!(sign_in(&server, "zoe", temporary).await.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_tries_are_recorded_and_a_flood_of_them_is_counted() {
    let server = TestServer::configured(&[TRUSTING]).await;
    let admin = server.admin.id;
    flood(&server, "chorus").await;
    let addresses: Vec<_> = (0..500).map(|i| format!("198.51.{}.{}", i / 250, i % 250)).collect();
    let tries = stream::iter(&addresses).map(|from| sign_in_from(&server, from, "chorus", "wrong"));
    tries.buffer_unordered(16).for_each(async |reply| throttled(&reply, "60")).await;

    let database = server.stop().await.unwrap();
    let db = database.open().await;
    let records: Vec<(String, i64, Option<i64>, i64, String)> =
        sql("SELECT outcome, code, user_id, repeats, CAST(details AS TEXT) FROM audit_log ORDER BY id")
            .all(&db)
            .await
            .unwrap();
    assert_eq!(records.iter().map(|record| record.3).sum::<i64>(), 500);
    assert!(records.len() < 500, "{} records", records.len());
    for (outcome, code, user, _, details) in records {
        assert_eq!((outcome.as_str(), code, user), ("refused", 8, Some(admin)));
        let details: Value = serde_json::from_str(&details).unwrap();
        assert_eq!((&details["reason"], &details["username"]), (&json!("SIGN_IN_THROTTLED"), &json!("chorus")));
    }
}
