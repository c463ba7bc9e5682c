//! `/kiosk-jwt`: what an app instance's token opens, for how long, and what it does not open. On both engines.

use chorus::server::{
    access::{
        keyring::{Keyring, Keys},
        kiosk::{self, Kiosk},
    },
    clock::Clock as _,
    db::sql,
};
use chrono::{DateTime, TimeDelta, Utc};
use http::header;
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::support::server::{Person, Reply, TestServer, on_each_engine};

const PATH: &str = "/kiosk-jwt";
const CLIENT: &str = "jupyter";

/// A web app that runs in a workbench, and its owner: a member of the workspace, and much more elsewhere.
struct App {
    owner: Person,
    workspace: i64,
    workbench: i64,
    instance: i64,
}

impl App {
    async fn start(server: &TestServer) -> Self {
        let owner = server.stranger(server.tenant, &[]).await;
        let workspace = server.workspace(&owner, "Atlas").await;
        let workbench = server.workbench(&owner, workspace, "Desk").await;
        let elsewhere = server.workspace(&owner, "Elsewhere").await;
        let (own, here, there, at) =
            (owner.id.to_string(), workspace.to_string(), elsewhere.to_string(), workbench.to_string());
        let roles: &[(&str, &[(&str, &str)])] = &[
            ("Authenticated", &[("user", &own)]),
            ("WorkspaceAdmin", &[("workspace", &here)]),
            ("WorkspaceAdmin", &[("workspace", &there)]),
            ("WorkbenchAdmin", &[("workbench", &at)]),
            ("SuperAdmin", &[("workspace", "*"), ("workbench", "*"), ("user", "*")]),
        ];
        server.give(&owner, roles).await;
        let app = server.app(&server.admin, "Jupyter", "apps/kiosk", "1").await;
        sql("UPDATE apps SET browser_config_url = 'https://jupyter.example.org', browser_config_jwt_oidc_client_id = $1 \
             WHERE id = $2")
        .bind(CLIENT)
        .bind(app)
        .run(&server.db)
        .await
        .unwrap();
        let body = json!({"workbenchId": workbench.to_string(), "appId": app.to_string()});
        let reply = server.rest(Some(&owner), Method::POST, "/api/rest/v1/app-instances", Some(body)).await;
        let instance = reply.body["result"]["appInstance"]["id"].as_str().unwrap().parse().unwrap();
        Self { owner, workspace, workbench, instance }
    }

    /// The token that the loop would hand to the runtime for the instance as it is.
    async fn token(&self, server: &TestServer) -> String {
        let (incarnation, started): (i64, DateTime<Utc>) =
            sql("SELECT incarnation, started_at FROM app_instances WHERE id = $1")
                .bind(self.instance)
                .one(&server.db)
                .await
                .unwrap();
        minted(server, self.instance, incarnation, CLIENT, kiosk::expires_at(started))
    }

    /// Somebody with the session that the token opens.
    async fn signed_in(&self, server: &TestServer) -> Person {
        let reply = exchange(server, &self.token(server).await).await;
        assert_eq!(reply.status, 204, "{:?}", reply.body);
        Person { token: cookie(&reply), ..self.owner.clone() }
    }
}

fn minted(server: &TestServer, instance: i64, incarnation: i64, client: &str, expires: DateTime<Utc>) -> String {
    let keys = Keys::fixed(Keyring::load(&server.keys()).unwrap().unwrap());
    Kiosk::new(keys).token(instance, incarnation, client, expires).unwrap().expose_secret().to_owned()
}

fn cookie(reply: &Reply) -> String {
    let text = reply.headers[header::SET_COOKIE].to_str().unwrap();
    text.strip_prefix("jwttoken=").unwrap().split(';').next().unwrap().to_owned()
}

async fn exchange(server: &TestServer, token: &str) -> Reply {
    let body = json!({"token": token}).to_string();
    Reply::read(server.request(Method::POST, PATH).body(body).send().await.unwrap()).await
}

async fn workspace(server: &TestServer, by: &Person, id: i64) -> u16 {
    server.rest(Some(by), Method::GET, &format!("/api/rest/v1/workspaces/{id}"), None).await.status
}

#[tokio::test]
async fn the_page_and_what_it_may_do() {
    let server = TestServer::start().await;
    let page = server.request(Method::GET, PATH).send().await.unwrap();
    let headers = page.headers().clone();
    assert_eq!((page.status().as_u16(), &headers[header::CACHE_CONTROL]), (200, &"no-store".parse().unwrap()));
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
    let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(page.text().await.unwrap().contains("src=\"kiosk-jwt/kiosk.js\""));
    let script = server.request(Method::GET, "/kiosk-jwt/kiosk.js").send().await.unwrap();
    assert!(script.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/javascript"));
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let reply = server.request(method, PATH).send().await.unwrap();
        assert_eq!((reply.status().as_u16(), &reply.headers()[header::ALLOW]), (405, &"GET, POST".parse().unwrap()));
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_token() {
    on_each_engine(|server| async move {
        let app = App::start(&server).await;
        for (body, status) in [
            (String::new(), 400),
            ("token".to_owned(), 400),
            ("{}".to_owned(), 400),
            (json!({"token": 7}).to_string(), 400),
            (json!({"token": "  "}).to_string(), 400),
            (json!({"token": "a.b.c"}).to_string(), 401),
            (json!({"token": app.owner.token}).to_string(), 401),
            (json!({"token": "x".repeat(20_000)}).to_string(), 413),
        ] {
            let reply = server.request(Method::POST, PATH).body(body.clone()).send().await.unwrap();
            assert_eq!(reply.status().as_u16(), status, "{body:.100}");
            assert!(!reply.headers().contains_key(header::SET_COOKIE));
            assert!(reply.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/plain"));
        }
        let expires = kiosk::expires_at(server.clock.now());
        for (what, token) in [
            ("another instance", minted(&server, app.instance + 1, 1, CLIENT, expires)),
            ("another start", minted(&server, app.instance, 2, CLIENT, expires)),
            ("another client", minted(&server, app.instance, 1, "other", expires)),
            ("another end", minted(&server, app.instance, 1, CLIENT, expires + TimeDelta::hours(1))),
        ] {
            assert_eq!(exchange(&server, &token).await.status, 401, "{what}");
        }
        // it is good for the exchange only
        let bearer = Person { token: app.token(&server).await, ..app.owner.clone() };
        assert_eq!(workspace(&server, &bearer, app.workspace).await, 401);
    })
    .await;
}

#[tokio::test]
async fn a_session_of_an_app_is_for_its_workspace_only() {
    on_each_engine(|server| async move {
        let app = App::start(&server).await;
        let token = app.token(&server).await;
        let first = exchange(&server, &token).await;
        let set = first.headers[header::SET_COOKIE].to_str().unwrap();
        assert!(set.contains("; Path=/; HttpOnly; ") && set.contains("Expires=Sun, 01 Mar 2026 20:00:00 GMT"), "{set}");
        assert_eq!(exchange(&server, &token).await.status, 204, "it can be used again");

        let inside = Person { token: cookie(&first), ..app.owner.clone() };
        assert_eq!(workspace(&server, &inside, app.workspace).await, 200);
        let elsewhere = app.workspace + 1;
        assert_eq!(workspace(&server, &app.owner, elsewhere).await, 200);
        assert_eq!(workspace(&server, &inside, elsewhere).await, 403, "a role of another workspace is left behind");
        let list = server.rest(Some(&inside), Method::GET, "/api/rest/v1/workspaces", None).await;
        assert_eq!(list.body["pagination"]["total"], 1);

        let (at, here) = (app.workbench.to_string(), app.workspace.to_string());
        let start = json!({"workbenchId": at, "appId": "1"});
        let member = json!({"role": {"name": "WorkspaceAdmin"}});
        let (details,): (String,) =
            sql("SELECT CAST(details AS TEXT) FROM audit_log WHERE outcome = 'refused' LIMIT 1")
                .one(&server.db)
                .await
                .unwrap();
        let details: Value = serde_json::from_str(&details).unwrap();
        assert_eq!(details["by_app_instance"], app.instance.to_string(), "the trail tells that it was the app");

        for (method, path, body) in [
            (Method::GET, "users/me".to_owned(), None),
            (Method::GET, "users".to_owned(), None),
            (Method::GET, "tokens".to_owned(), None),
            (Method::GET, "apps".to_owned(), None),
            (Method::GET, "authentication/sessions".to_owned(), None),
            (Method::POST, "authentication/refresh-token".to_owned(), Some(json!({}))),
            (Method::POST, "tokens".to_owned(), Some(json!({"name": "x"}))),
            (Method::POST, "users/me/totp/reset".to_owned(), Some(json!({"password": "x"}))),
            (Method::PUT, "users/me/password".to_owned(), Some(json!({"currentPassword": "x", "newPassword": "y"}))),
            (Method::POST, "workspaces".to_owned(), Some(json!({"name": "x"}))),
            (Method::POST, format!("workspaces/{here}/user/{}/role", server.admin.id), Some(member)),
            (Method::POST, "app-instances".to_owned(), Some(start)),
            (Method::POST, format!("app-instances/{}/restart", app.instance), Some(json!({}))),
        ] {
            let reply = server.rest(Some(&inside), method.clone(), &format!("/api/rest/v1/{path}"), body).await;
            assert_eq!(reply.status, 403, "{method} {path}: {:?}", reply.body);
        }
    })
    .await;
}

#[tokio::test]
async fn the_session_ends_with_the_start_that_it_came_from() {
    on_each_engine(|server| async move {
        type End = fn(&App) -> (Method, String, Option<Value>);
        let ends: [(&str, End); 6] = [
            ("stopped", |a| put(json!({"id": a.instance.to_string(), "k8sState": "Stopped"}))),
            ("killed", |a| put(json!({"id": a.instance.to_string(), "k8sState": "Killed"}))),
            ("started again", |a| (Method::POST, format!("app-instances/{}/restart", a.instance), Some(json!({})))),
            ("deleted", |a| (Method::DELETE, format!("app-instances/{}", a.instance), None)),
            ("its workbench stopped", |a| (Method::POST, format!("workbenches/{}/stop", a.workbench), Some(json!({})))),
            ("its workbench deleted", |a| (Method::DELETE, format!("workbenches/{}", a.workbench), None)),
        ];
        for (what, end) in ends {
            let app = App::start(&server).await;
            let other = App::start(&server).await;
            let (inside, apart) = (app.signed_in(&server).await, other.signed_in(&server).await);
            let token = app.token(&server).await;
            assert_eq!(workspace(&server, &inside, app.workspace).await, 200);
            let (method, path, body) = end(&app);
            let reply = server.rest(Some(&app.owner), method, &format!("/api/rest/v1/{path}"), body).await;
            assert_eq!(reply.status, 200, "{what}: {:?}", reply.body);
            assert_eq!(workspace(&server, &inside, app.workspace).await, 401, "{what}");
            assert_eq!(exchange(&server, &token).await.status, 401, "{what}");
            assert_eq!(workspace(&server, &apart, other.workspace).await, 200, "{what}: others go on");
            assert_eq!(workspace(&server, &app.owner, app.workspace).await, 200, "{what}: so does its owner");
        }
    })
    .await;
}

fn put(body: Value) -> (Method, String, Option<Value>) {
    (Method::PUT, "app-instances".to_owned(), Some(body))
}

#[tokio::test]
async fn an_app_that_ended_by_itself_opens_nothing() {
    on_each_engine(|server| async move {
        for status in ["Complete", "Failed", "Stopped", "Killed"] {
            let app = App::start(&server).await;
            let inside = app.signed_in(&server).await;
            sql("UPDATE app_instances SET k8s_status = $1 WHERE id = $2")
                .bind(status)
                .bind(app.instance)
                .run(&server.db)
                .await
                .unwrap();
            let mut tx = server.db.transaction().await.unwrap();
            let touched = chorus::server::desktops::Touched {
                app_instances: [app.instance].into(),
                ..chorus::server::desktops::Touched::default()
            };
            chorus::server::desktops::stamp(&mut tx, &touched).await.unwrap();
            tx.commit().await.unwrap();
            server.forget();
            assert_eq!(workspace(&server, &inside, app.workspace).await, 401, "{status}");
            assert_eq!(exchange(&server, &app.token(&server).await).await.status, 401, "{status}");
        }
    })
    .await;
}

#[tokio::test]
async fn it_ends_on_every_replica() {
    on_each_engine(|one| async move {
        let other = one.replica().await;
        let app = App::start(&one).await;
        let inside = app.signed_in(&one).await;
        assert_eq!(workspace(&other, &inside, app.workspace).await, 200, "the other one knows the session by heart");
        let body = json!({"id": app.instance.to_string(), "k8sState": "Stopped"});
        one.rest(Some(&app.owner), Method::PUT, "/api/rest/v1/app-instances", Some(body)).await;
        let started = tokio::time::Instant::now();
        while workspace(&other, &inside, app.workspace).await != 401 {
            // some more than the second that is promised: the machine may be busy
            assert!(started.elapsed() < std::time::Duration::from_millis(1500), "it goes on");
        }
        other.stop().await;
    })
    .await;
}

#[tokio::test]
async fn twelve_hours_are_the_most() {
    on_each_engine(|server| async move {
        let app = App::start(&server).await;
        let token = app.token(&server).await;
        server.clock.advance(TimeDelta::hours(8));
        let inside = app.signed_in(&server).await;
        server.clock.advance(TimeDelta::hours(4) - TimeDelta::seconds(1));
        assert_eq!(workspace(&server, &inside, app.workspace).await, 200);
        assert_eq!(exchange(&server, &token).await.status, 204);
        server.clock.advance(TimeDelta::seconds(1));
        assert_eq!(workspace(&server, &inside, app.workspace).await, 401, "counted from the start of the app");
        assert_eq!(exchange(&server, &token).await.status, 401);
    })
    .await;
}

#[tokio::test]
async fn an_account_that_is_gone_opens_nothing() {
    on_each_engine(|server| async move {
        let app = App::start(&server).await;
        let inside = app.signed_in(&server).await;
        let token = app.token(&server).await;
        sql("UPDATE users SET status = 'disabled' WHERE id = $1").bind(app.owner.id).run(&server.db).await.unwrap();
        server.forget();
        assert_eq!(workspace(&server, &inside, app.workspace).await, 401);
        assert_eq!(exchange(&server, &token).await.status, 401);
    })
    .await;
}

#[tokio::test]
async fn nobody_is_made_to_work_in_the_session_of_another() {
    let server = TestServer::start().await;
    let app = App::start(&server).await;
    let body = json!({"token": app.token(&server).await}).to_string();
    let post = || server.request(Method::POST, PATH).body(body.clone());
    let foreign = post().header(header::ORIGIN, "https://evil.example.org").send().await.unwrap();
    assert_eq!(foreign.status().as_u16(), 403, "a page of another site");
    let victim = server.person("vera", &[]).await;
    for (who, person) in [("somebody else", &victim), ("the owner himself", &app.owner)] {
        let reply = post().header(header::COOKIE, format!("jwttoken={}", person.token)).send().await.unwrap();
        assert_eq!((reply.status().as_u16(), reply.headers().get(header::SET_COOKIE)), (409, None), "{who}");
    }
    let own = app.signed_in(&server).await.token;
    for cookie in [own.as_str(), "rubbish"] {
        let reply = post().header(header::COOKIE, format!("jwttoken={cookie}")).send().await.unwrap();
        assert_eq!(reply.status().as_u16(), 204, "its own browser signs in again");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_exchange_is_recorded() {
    on_each_engine(|server| async move {
        let app = App::start(&server).await;
        let token = app.token(&server).await;
        exchange(&server, &token).await;
        type Row = (Option<i64>, Option<i64>, Option<i64>, String, String, String);
        let rows: Vec<Row> =
            sql("SELECT actor_id, workspace_id, workbench_id, CAST(details AS TEXT), request_id, address \
             FROM audit_log WHERE action = 'OpenAppSession'")
            .all(&server.db)
            .await
            .unwrap();
        let [(actor, workspace, workbench, details, request, address)] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((*actor, *workspace, *workbench), (Some(app.owner.id), Some(app.workspace), Some(app.workbench)));
        let details: Value = serde_json::from_str(details).unwrap();
        assert_eq!(details, json!({"app_instance_id": app.instance.to_string(), "client": CLIENT}));
        assert!(!request.is_empty() && address == "127.0.0.1", "{rows:?}");
    })
    .await;
}
