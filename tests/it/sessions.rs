//! Sessions: seeing and ending them, how long they last, and what a browser's sign-in does to the one before.

use chorus::server::{clock::Clock as _, db::sql};
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::server::{ADMIN_PASSWORD, Failure, Person, Reply, TestServer, on_each_engine};

const SESSIONS: &str = "/api/rest/v1/authentication/sessions";
const ME: &str = "UserService/GetUserMe";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// The sessions that somebody is shown.
async fn list(server: &TestServer, by: &Person, request: Value) -> Vec<Value> {
    let reply = server.call(Some(by), "AuthenticationService/ListSessions", request).await.unwrap();
    reply["result"]["sessions"].as_array().unwrap().clone()
}

/// The id of the session of this token.
async fn id(server: &TestServer, person: &Person) -> String {
    let all = list(server, person, json!({})).await;
    all.iter().find(|session| session["current"] == true).unwrap()["id"].as_str().unwrap().to_owned()
}

/// The reason why a person's call is refused; empty when it is not.
async fn refusal(server: &TestServer, by: &Person) -> String {
    server.call(Some(by), ME, json!({})).await.err().map(|failure| failure.reason).unwrap_or_default()
}

fn reason(result: Result<Value, Failure>) -> (Code, String) {
    let failure = result.unwrap_err();
    (failure.code, failure.reason)
}

async fn revoke(server: &TestServer, by: &Person, id: &str) -> Result<Value, Failure> {
    server.call(Some(by), "AuthenticationService/RevokeSession", json!({"id": id})).await
}

/// A sign-in with a password as a browser sends it, with the cookie that it holds.
async fn sign_in(server: &TestServer, cookie: Option<&str>) -> Reply {
    let credentials = json!({"username": "chorus", "password": ADMIN_PASSWORD});
    let mut request = server.request(Method::POST, "/api/rest/v1/authentication/login").json(&credentials);
    request = request.header("user-agent", FIREFOX);
    if let Some(token) = cookie {
        request = request.header("cookie", format!("jwttoken={token}"));
    }
    let reply = Reply::read(request.send().await.unwrap()).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply
}

fn token(person: &Person, reply: &Reply) -> Person {
    Person { token: reply.body["result"]["token"].as_str().unwrap().to_owned(), ..person.clone() }
}

#[tokio::test]
async fn people_see_their_own_sessions() {
    on_each_engine(|server| async move {
        let ada = server.person("ada", &[]).await;
        server.person("bob", &[]).await;
        server.clock.advance(TimeDelta::hours(1));
        let again = server.sign_in(&ada).await;

        let reply = server.rest(Some(&again), Method::GET, SESSIONS, None).await;
        assert_eq!((reply.status, &reply.body["pagination"]["total"]), (200, &json!(2)));
        let [first, second] = &reply.body["result"]["sessions"].as_array().unwrap()[..] else { panic!("{reply:?}") };
        assert_eq!((&first["current"], &second["current"]), (&json!(false), &json!(true)));
        let expected = json!({
            "id": second["id"], "userId": ada.id.to_string(), "username": "ada",
            "createdAt": "2026-03-01T09:00:00Z", "lastSeenAt": "2026-03-01T09:00:00Z", "expiresAt": "2026-03-08T09:00:00Z",
            "userAgent": "test", "device": "test", "address": "127.0.0.1", "restricted": false, "current": true,
        });
        assert_eq!(second, &expected);

        let newest = json!({"pagination": {"limit": 1, "sort": {"type": "createdAt", "order": "desc"}}});
        let newest = list(&server, &ada, newest).await;
        assert_eq!(newest.iter().map(|s| &s["id"]).collect::<Vec<_>>(), [&second["id"]]);
        let unknown = json!({"pagination": {"sort": {"type": "address"}}});
        let unknown = server.call(Some(&ada), "AuthenticationService/ListSessions", unknown).await;
        assert_eq!(reason(unknown), (Code::InvalidArgument, "UNKNOWN_SORT".into()));

        // what has ended is not shown: signed out, too long unused, too old
        server.call(Some(&again), "AuthenticationService/Logout", json!({})).await.unwrap();
        assert_eq!(list(&server, &ada, json!({"userId": ada.id})).await.len(), 1);
        let idle = server.sign_in(&ada).await;
        sql("UPDATE sessions SET last_seen_at = $1 WHERE id = $2")
            .bind(server.clock.now() - TimeDelta::hours(12))
            .bind(id(&server, &idle).await)
            .run(&server.db)
            .await
            .unwrap();
        assert_eq!(list(&server, &ada, json!({})).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn administrators_see_and_end_the_sessions_of_others() {
    on_each_engine(|server| async move {
        let manager = server.person("manager", &[("PlatformUserManager", &[("user", "*")])]).await;
        let (ada, bob) = (server.person("ada", &[]).await, server.person("bob", &[]).await);
        let seen = list(&server, &manager, json!({"userId": ada.id})).await;
        assert_eq!((seen.len(), &seen[0]["username"], &seen[0]["current"]), (1, &json!("ada"), &json!(false)));
        let ada_session = id(&server, &ada).await;

        // bob may not, and cannot tell a session of somebody else from none
        let theirs = json!({"userId": ada.id});
        for rpc in ["ListSessions", "RevokeSessions"] {
            let result = server.call(Some(&bob), &format!("AuthenticationService/{rpc}"), theirs.clone()).await;
            assert_eq!(reason(result), (Code::PermissionDenied, "PERMISSION_DENIED".into()), "{rpc}");
        }
        let of_ada = revoke(&server, &bob, &ada_session).await.unwrap_err();
        let of_nobody = revoke(&server, &bob, "00000000-0000-4000-8000-000000000000").await.unwrap_err();
        assert_eq!((of_ada.code, of_ada.reason.as_str()), (Code::NotFound, "SESSION_NOT_FOUND"));
        assert_eq!(of_ada, of_nobody);
        assert_eq!(refusal(&server, &ada).await, "");

        // who could end the sessions of a SuperAdmin would be stronger than he
        let admin = json!({"userId": server.admin.id});
        for rpc in ["ListSessions", "RevokeSessions"] {
            let result = server.call(Some(&manager), &format!("AuthenticationService/{rpc}"), admin.clone()).await;
            assert_eq!(reason(result), (Code::PermissionDenied, "USER_NEEDS_SUPER_ADMIN".into()), "{rpc}");
        }
        let result = revoke(&server, &manager, &id(&server, &server.admin).await).await;
        assert_eq!(reason(result), (Code::PermissionDenied, "USER_NEEDS_SUPER_ADMIN".into()));
        for nobody in [json!({"userId": 999_999}), json!({"userId": u64::MAX.to_string()})] {
            let result = server.call(Some(&manager), "AuthenticationService/ListSessions", nobody).await;
            assert_eq!(result.unwrap_err().code, Code::NotFound);
        }

        revoke(&server, &manager, &ada_session).await.unwrap();
        assert_eq!(refusal(&server, &ada).await, "SESSION_ENDED");
        assert_eq!(reason(revoke(&server, &manager, &ada_session).await).1, "SESSION_NOT_FOUND");
        let (there, elsewhere) = (server.sign_in(&bob).await, server.sign_in(&bob).await);
        let of_bob = json!({"userId": bob.id, "exceptCurrent": true});
        let reply = server.call(Some(&manager), "AuthenticationService/RevokeSessions", of_bob).await.unwrap();
        assert_eq!(reply["result"]["revoked"], 3);
        for session in [&bob, &there, &elsewhere] {
            assert_eq!(refusal(&server, session).await, "SESSION_ENDED");
        }
        assert_eq!(refusal(&server, &manager).await, "");

        let records: Vec<(String, String, i64, String)> =
            sql("SELECT action, actor_username, user_id, details ->> 'username' \
             FROM audit_log WHERE outcome = 'ok' ORDER BY id")
            .all(&server.db)
            .await
            .unwrap();
        let by_manager = |action: &str, id, name: &str| (action.to_owned(), "manager".to_owned(), id, name.to_owned());
        assert_eq!(records, [by_manager("RevokeSession", ada.id, "ada"), by_manager("RevokeSessions", bob.id, "bob")]);
    })
    .await;
}

#[tokio::test]
async fn one_ends_the_own_sessions() {
    on_each_engine(|server| async move {
        let here = server.person("ada", &[]).await;
        let (there, elsewhere) = (server.sign_in(&here).await, server.sign_in(&here).await);
        let path = format!("{SESSIONS}/{}", id(&server, &there).await);
        let ended = server.rest(Some(&here), Method::DELETE, &path, None).await;
        assert_eq!((ended.status, &ended.body), (200, &json!({"result": {}})));
        assert!(!ended.headers.contains_key("set-cookie"), "the session of the call goes on");
        assert_eq!(refusal(&server, &there).await, "SESSION_ENDED");
        assert_eq!(refusal(&server, &elsewhere).await, "");

        let all_but = json!({"exceptCurrent": true});
        let ended = server.rest(Some(&here), Method::POST, &format!("{SESSIONS}/revoke"), Some(all_but)).await;
        assert_eq!((ended.status, &ended.body), (200, &json!({"result": {"revoked": 1}})));
        assert_eq!(refusal(&server, &elsewhere).await, "SESSION_ENDED");
        assert_eq!(refusal(&server, &here).await, "");

        // the session of the call: the browser forgets it too
        let (other, again) = (server.sign_in(&here).await, server.sign_in(&here).await);
        let path = format!("{SESSIONS}/{}", id(&server, &other).await);
        let ended = server.rest(Some(&other), Method::DELETE, &path, None).await;
        assert!(ended.headers["set-cookie"].to_str().unwrap().starts_with("jwttoken=; "));
        let ended = server.rest(Some(&here), Method::POST, &format!("{SESSIONS}/revoke"), Some(json!({}))).await;
        assert!(ended.headers["set-cookie"].to_str().unwrap().starts_with("jwttoken=; "));
        for session in [&here, &other, &again] {
            assert_eq!(refusal(&server, session).await, "SESSION_ENDED");
        }
    })
    .await;
}

#[tokio::test]
async fn a_temporary_password_shows_no_sessions() {
    let server = TestServer::start().await;
    let newcomer = server.restricted(&[]).await;
    for rpc in ["ListSessions", "RevokeSession", "RevokeSessions"] {
        let result = server.call(Some(&newcomer), &format!("AuthenticationService/{rpc}"), json!({})).await;
        assert_eq!(reason(result), (Code::PermissionDenied, "PASSWORD_CHANGE_REQUIRED".into()), "{rpc}");
    }
}

/// A browser has one cookie, so nobody could sign out of the session that a new one replaces.
#[tokio::test]
async fn a_browser_that_signs_in_again_leaves_no_session_behind() {
    on_each_engine(|server| async move {
        let reply = sign_in(&server, None).await;
        let first = token(&server.admin, &reply);
        let seen = list(&server, &first, json!({})).await;
        let own = seen.iter().find(|session| session["current"] == true).unwrap();
        assert_eq!((&own["device"], &own["userAgent"]), (&json!("Firefox on Linux"), &json!(FIREFOX)));

        let second = token(&server.admin, &sign_in(&server, Some(&first.token)).await);
        assert_ne!(first.token, second.token);
        assert_eq!(refusal(&server, &first).await, "SESSION_ENDED");
        assert_eq!(refusal(&server, &second).await, "");

        // whoever held it, and also one that a temporary password opened
        let newcomer = server.restricted(&[]).await;
        sign_in(&server, Some(&newcomer.token)).await;
        assert_eq!(refusal(&server, &newcomer).await, "SESSION_ENDED");

        // a failed sign-in changes nothing, nor does a dead cookie
        let wrong = json!({"username": "chorus", "password": "wrong"});
        let request = server.request(Method::POST, "/api/rest/v1/authentication/login").json(&wrong);
        request.header("cookie", format!("jwttoken={}", second.token)).send().await.unwrap();
        assert_eq!(refusal(&server, &second).await, "");
        sign_in(&server, Some(&first.token)).await;

        // a program shows its token in a header, and may keep both
        let login = json!({"username": "chorus", "password": ADMIN_PASSWORD});
        let third = server.call(Some(&second), "AuthenticationService/Authenticate", login).await.unwrap();
        let third = Person { token: third["result"]["token"].as_str().unwrap().to_owned(), ..second.clone() };
        assert_eq!((refusal(&server, &second).await, refusal(&server, &third).await), (String::new(), String::new()));
    })
    .await;
}

#[tokio::test]
async fn a_renewed_token_is_the_same_session() {
    let server = TestServer::start().await;
    let ada = server.person("ada", &[]).await;
    let before = id(&server, &ada).await;
    let renewed = server.call(Some(&ada), "AuthenticationService/RefreshToken", json!({})).await.unwrap();
    let renewed = Person { token: renewed["result"]["token"].as_str().unwrap().to_owned(), ..ada.clone() };
    assert_eq!(id(&server, &renewed).await, before);
    assert_eq!(list(&server, &ada, json!({})).await.len(), 1);
}

/// Signing out of a session that has ended: the answer is 401, and the cookie goes all the same.
#[tokio::test]
async fn signing_out_of_a_dead_session_removes_its_cookie() {
    let server = TestServer::start().await;
    let dead = server.person("ada", &[]).await;
    server.call(Some(&dead), "AuthenticationService/Logout", json!({})).await.unwrap();
    let call = async |path: &str| {
        let request = server.request(Method::POST, path).json(&json!({}));
        Reply::read(request.header("cookie", format!("jwttoken={}", dead.token)).send().await.unwrap()).await
    };
    let out = call("/api/rest/v1/authentication/logout").await;
    assert_eq!((out.status, out.reason()), (401, "SESSION_ENDED"));
    let cookie = out.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("jwttoken=; Path=/; HttpOnly; SameSite=Lax") && cookie.contains("1970"), "{cookie}");
    // any other call could be one that was on its way while the browser signed in again
    let other = call("/api/rest/v1/authentication/refresh-token").await;
    assert_eq!((other.status, other.headers.contains_key("set-cookie")), (401, false));
}

const IDLE: TimeDelta = TimeDelta::hours(12);
const TICK: TimeDelta = TimeDelta::microseconds(1);

#[tokio::test]
async fn an_unused_session_ends_to_the_moment() {
    on_each_engine(|server| async move {
        let (ada, bob) = (server.person("ada", &[]).await, server.person("bob", &[]).await);
        server.clock.advance(IDLE - TICK);
        // one that remembers, one that was started meanwhile
        let other = server.replica().await;
        assert_eq!(refusal(&other, &ada).await, "", "used in the last moment");
        server.clock.advance(TICK);
        for server in [&*server, &other] {
            assert_eq!(refusal(server, &ada).await, "", "used on another replica");
            assert_eq!(refusal(server, &bob).await, "SESSION_ENDED");
        }
        assert_eq!(
            list(&server, &bob_again(&server, &bob).await, json!({})).await.len(),
            1,
            "the idle one is not shown"
        );
        server.clock.advance(IDLE);
        let third = server.replica().await;
        for server in [&*server, &other, &third] {
            assert_eq!(refusal(server, &ada).await, "SESSION_ENDED");
        }
    })
    .await;
}

async fn bob_again(server: &TestServer, bob: &Person) -> Person {
    server.sign_in(bob).await
}

#[tokio::test]
async fn a_session_ends_at_the_latest_to_the_moment() {
    on_each_engine(|server| async move {
        let ada = server.person("ada", &[]).await;
        // used all the time, now here, now on a server that was started meanwhile
        for _ in 0..15 {
            server.clock.advance(TimeDelta::hours(11));
            assert_eq!(refusal(&server, &ada).await, "");
        }
        let other = server.replica().await;
        server.clock.advance(TimeDelta::hours(7 * 24 - 15 * 11) - TICK);
        // tokens know whole seconds
        server.clock.advance(-TimeDelta::seconds(1));
        let renewed = other.call(Some(&ada), "AuthenticationService/RefreshToken", json!({})).await.unwrap();
        let renewed = Person { token: renewed["result"]["token"].as_str().unwrap().to_owned(), ..ada.clone() };
        for server in [&*server, &other] {
            assert_eq!(refusal(server, &ada).await, "");
        }
        server.clock.advance(TimeDelta::seconds(1) + TICK);
        for server in [&*server, &other, &server.replica().await] {
            for session in [&ada, &renewed] {
                assert!(["SESSION_ENDED", "TOKEN_EXPIRED"].contains(&refusal(server, session).await.as_str()));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn lifetimes_are_configured() {
    let settings = [("session_idle_timeout", "10m"), ("session_max_lifetime", "1h")];
    let server = TestServer::configured(&settings).await;
    let (ada, bob) = (server.person("ada", &[]).await, server.person("bob", &[]).await);
    for _ in 0..6 {
        server.clock.advance(TimeDelta::seconds(599));
        assert_eq!(refusal(&server, &ada).await, "");
    }
    assert_eq!(refusal(&server, &bob).await, "SESSION_ENDED");
    server.clock.advance(TimeDelta::seconds(6));
    assert_eq!(refusal(&server, &ada).await, "TOKEN_EXPIRED");
}
