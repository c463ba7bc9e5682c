//! Tickets: one use, one desktop, half a minute, and what becomes of them.

use chorus::server::{
    access::{stream_pass, token::Presented},
    clock::Clock as _,
    db::sql,
    random::SystemRandom,
};
use chrono::TimeDelta;
use reqwest::{Method, Response};
use secrecy::ExposeSecret as _;

use super::Stage;
use crate::support::server::{Person, Reply};

impl Stage {
    /// A ticket of somebody for a workbench, as the RPC makes it.
    async fn ticket(&self, by: &Person, workbench: i64) -> String {
        let (shared, now) = (self.server.shared(), self.server.clock.now());
        let presented = match by.token.starts_with("chorus_") {
            true => Presented::ApiToken(&by.token),
            false => Presented::Session(&by.token),
        };
        let caller = shared.sessions.authenticate(presented, None, now).await.unwrap();
        let fresh = stream_pass::ticket(&self.server.db, &caller, workbench, &SystemRandom, now).await.unwrap();
        fresh.secret.expose_secret().to_owned()
    }

    /// Opens an address as a browser without a session does.
    async fn browse(&self, rest: &str, cookie: Option<&str>) -> Response {
        let request = self.server.request(Method::GET, &self.path(rest)).header("sec-fetch-mode", "navigate");
        let request = cookie.into_iter().fold(request, |request, cookie| request.header("cookie", cookie));
        let answering = async {
            loop {
                self.visit().await.answer("200 OK", "the desktop").await;
            }
        };
        tokio::select! {
            reply = request.send() => reply.unwrap(),
            () = answering => unreachable!(),
        }
    }

    /// Exchanges a ticket for a cookie.
    async fn exchanged(&self, ticket: &str) -> String {
        let reply = self.browse(&format!("/?ticket={ticket}"), None).await;
        let cookie = reply.headers()["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_ticket_becomes_a_cookie_of_one_desktop() {
    let stage = Stage::new().await;
    let ticket = stage.ticket(&stage.member, stage.of.workbench).await;
    let reply = stage.browse(&format!("/index.html?sharing=true&ticket={ticket}&x=%20"), None).await;
    let header = |name: &str| reply.headers()[name].to_str().unwrap();
    assert_eq!((reply.status().as_u16(), header("location")), (303, "./index.html?sharing=true&x=%20"));
    assert_eq!((header("referrer-policy"), header("cache-control")), ("no-referrer", "no-store"));
    let cookie = header("set-cookie").to_owned();
    let want = format!("; Path={}/; HttpOnly; SameSite=Lax; Expires=Sun, 01 Mar 2026 20:00:00 GMT", stage.path(""));
    assert!(cookie.starts_with("chorus_stream=") && cookie.ends_with(&want) && !cookie.contains(&ticket), "{cookie}");

    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(stage.browse("/", Some(cookie)).await.text().await.unwrap(), "the desktop");
    let (socket, ()) = tokio::join!(stage.socket(cookie), async { stage.visit().await.upgrade().await });
    assert!(socket.is_ok());
    // it is no key to anything else
    let me = stage.server.request(Method::GET, "/api/rest/v1/users/me").header("cookie", cookie);
    assert_eq!(me.send().await.unwrap().status(), 401);
    let stored: Vec<(String, Vec<u8>)> =
        sql("SELECT kind, secret_hash FROM stream_passes").all(&stage.server.db).await.unwrap();
    assert_eq!((stored.len(), stored[0].0.as_str(), stored[0].1.len()), (1, "cookie", 32));
}

#[tokio::test]
async fn a_ticket_is_good_once_in_time_and_for_its_desktop() {
    let stage = Stage::new().await;
    let id = stage.of.workbench;
    let other = stage.server.workbench(&stage.server.admin, stage.of.workspace, "other").await;
    let refused = async |ticket: &str| {
        let request = stage.server.request(Method::GET, &stage.path(&format!("/?ticket={ticket}")));
        let reply = Reply::read(request.send().await.unwrap()).await;
        assert!(!reply.headers.contains_key("set-cookie"));
        assert!(ticket.is_empty() || !reply.body.to_string().contains(ticket), "{}", reply.body);
        (reply.status, reply.reason().to_owned())
    };
    let invalid = (401, "TICKET_INVALID".to_owned());

    let used = stage.ticket(&stage.member, id).await;
    stage.exchanged(&used).await;
    assert_eq!(refused(&used).await, invalid);
    // with a session of his own, whoever goes back in his history gets in all the same
    let back = stage.browse(&format!("/?ticket={used}&a=b"), Some(&stage.cookie())).await;
    assert_eq!((back.status().as_u16(), &back.headers()["location"]), (303, &"./?a=b".parse().unwrap()));

    let elsewhere = stage.ticket(&stage.server.admin, other).await;
    assert_eq!(refused(&elsewhere).await, invalid);
    let late = stage.ticket(&stage.member, id).await;
    stage.server.clock.advance(TimeDelta::seconds(30));
    assert_eq!(refused(&late).await, invalid);
    assert_eq!(refused("made-up").await, invalid);
    assert_eq!(refused("").await, invalid);

    let cookie = stage.exchanged(&stage.ticket(&stage.member, id).await).await;
    let misplaced = stage.server.request(Method::POST, &stage.path("/?ticket=x")).header("cookie", &cookie);
    assert_eq!(misplaced.send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_cookie_is_worth_what_its_maker_is() {
    let stage = Stage::new().await;
    let (id, admin) = (stage.of.workbench, &stage.server.admin);
    let status = async |cookie: &str| stage.browse("/", Some(cookie)).await.status().as_u16();

    let second = stage.server.sign_in(&stage.member).await;
    let cookie = stage.exchanged(&stage.ticket(&second, id).await).await;
    assert_eq!(status(&cookie).await, 200);
    // two people share a browser: the session of the one does not hide the cookie of the other
    let stranger = stage.server.person("sam", &[]).await;
    assert_eq!(status(&format!("jwttoken={}; {cookie}", stranger.token)).await, 200);
    let logout = "/api/rest/v1/authentication/logout";
    stage.server.rest(Some(&second), Method::POST, logout, Some(serde_json::json!({}))).await;
    assert_eq!(status(&cookie).await, 401);

    let token = stage.server.api_token(admin, &[&format!("streamWorkbench@workbench={id}")]).await;
    let cookie = stage.exchanged(&stage.ticket(&token.bearer, id).await).await;
    assert_eq!(status(&cookie).await, 200);
    sql("UPDATE api_tokens SET revoked_at = $1").bind(stage.server.clock.now()).run(&stage.server.db).await.unwrap();
    stage.server.forget();
    assert_eq!(status(&cookie).await, 401);

    let cookie = stage.exchanged(&stage.ticket(&stage.member, id).await).await;
    assert_eq!(status(&cookie).await, 200);
    stage.server.clock.advance(TimeDelta::hours(11));
    assert_eq!(status(&cookie).await, 200);
    stage.server.clock.advance(TimeDelta::hours(1));
    assert_eq!(status(&cookie).await, 401, "12 hours are the most");
    let rows = stage.server.db.clone();
    stage.server.upkeep().round().await;
    let (left,): (i64,) = sql("SELECT count(*) FROM stream_passes").one(&rows).await.unwrap();
    assert_eq!(left, 0, "and its row goes");
}
