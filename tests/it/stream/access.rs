//! Who may open a desktop, and from where.

use chorus::server::db::sql;
use reqwest::Method;

use super::Stage;
use crate::support::{server::Person, websocket::WebSocket};

impl Stage {
    /// The status and reason of opening the page.
    async fn opening(&self, by: Option<&Person>, path: &str) -> (u16, String) {
        let answering = async {
            loop {
                self.visit().await.answer("200 OK", "").await;
            }
        };
        tokio::select! {
            reply = self.server.rest(by, Method::GET, path, None) => (reply.status, reply.reason().to_owned()),
            () = answering => unreachable!(),
        }
    }
}

fn seen(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

#[tokio::test]
async fn doors_are_told_apart() {
    let stage = Stage::new().await;
    let (server, id) = (&stage.server, stage.of.workbench.to_string());
    let stranger = server.person("sam", &[]).await;
    let other = server.tenant("other").await;
    let everything: &[_] = &[("workspace", "*"), ("workbench", "*"), ("user", "*")];
    let elsewhere = server.person_of(other, "eve", &[("SuperAdmin", everything)]).await;
    let newcomer = server.restricted(&[("WorkbenchMember", &[("workbench", &id)])]).await;
    let path = stage.path("/");
    let unknown = "/api/rest/v1/workbenches/4711/stream/";
    let huge = "/api/rest/v1/workbenches/99999999999999999999/stream/";

    assert_eq!(stage.opening(Some(&stage.member), &path).await, seen(200, ""));
    assert_eq!(stage.opening(None, &path).await, seen(401, "CREDENTIAL_MISSING"));
    assert_eq!(stage.opening(Some(&stranger), &path).await, seen(403, "PERMISSION_DENIED"));
    assert_eq!(stage.opening(Some(&newcomer), &path).await, seen(403, "PASSWORD_CHANGE_REQUIRED"));
    assert_eq!(stage.opening(Some(&elsewhere), &path).await, seen(404, "WORKBENCH_NOT_FOUND"));
    assert_eq!(stage.opening(Some(&stage.member), unknown).await, seen(403, "PERMISSION_DENIED"));
    assert_eq!(stage.opening(Some(&server.admin), unknown).await, seen(404, "WORKBENCH_NOT_FOUND"));
    assert_eq!(stage.opening(Some(&server.admin), huge).await, seen(404, "WORKBENCH_NOT_FOUND"));

    sql(
        "UPDATE workbenches SET wanted = 'stopped', stopped_because = 'person', server_pod_message = 'stopped: by ada'",
    )
    .run(&server.db)
    .await
    .unwrap();
    assert_eq!(stage.opening(Some(&stage.member), &path).await, seen(410, "WORKBENCH_STOPPED"));
    let page = stage.get("/").header("sec-fetch-mode", "navigate").send().await.unwrap();
    assert_eq!(page.status(), 410);
    assert!(page.text().await.unwrap().contains("stopped: by ada"));

    sql("UPDATE workbenches SET wanted = 'deleted'").run(&server.db).await.unwrap();
    assert_eq!(stage.opening(Some(&server.admin), &path).await, seen(404, "WORKBENCH_NOT_FOUND"));
}

#[tokio::test]
async fn api_tokens_open_what_their_scopes_say() {
    let stage = Stage::new().await;
    let id = stage.of.workbench;
    for (scope, status) in [
        (format!("streamWorkbench@workbench={id}"), 200),
        (format!("streamWorkbench@workbench={}", id + 1), 403),
        (format!("getWorkbench@workbench={id}"), 403),
    ] {
        let token = stage.server.api_token(&stage.member, &[&scope]).await;
        assert_eq!(stage.opening(Some(&token.bearer), &stage.path("/")).await.0, status, "{scope}");
    }
}

#[tokio::test]
async fn sockets_are_opened_from_our_pages_and_allowed_origins() {
    let stage = Stage::configured(&[("cors_origins", "https://ui.example.org")]).await;
    let (own, cookie) = (stage.server.url(), stage.cookie());
    let bearer = format!("Bearer {}", stage.member.token);
    for (origin, credential, status) in [
        (Some(&*own), ("Cookie", &*cookie), 101),
        (Some("https://ui.example.org"), ("Cookie", &cookie), 101),
        (Some("https://evil.example"), ("Cookie", &cookie), 403),
        (Some("null"), ("Cookie", &cookie), 403),
        (None, ("Cookie", &cookie), 403),
        (None, ("Cookie", "chorus_stream=x"), 403),
        (None, ("Authorization", &bearer), 101),
    ] {
        let mut headers = vec![credential, ("Sec-WebSocket-Protocol", "binary")];
        headers.extend(origin.map(|origin| ("Origin", origin)));
        let path = stage.path("/");
        let open = WebSocket::open(stage.server.http(), &path, &headers);
        let got = tokio::select! {
            opened = open => opened.map_or_else(|refused| refused.status, |_| 101),
            () = async { loop { stage.visit().await.upgrade().await } } => unreachable!(),
        };
        assert_eq!(got, status, "{origin:?} {}", credential.0);
    }
}

#[tokio::test]
async fn pages_elsewhere_get_nothing_and_web_clients_may_read() {
    let stage = Stage::configured(&[("cors_origins", "https://ui.example.org")]).await;
    let answering = async {
        loop {
            stage.visit().await.answer("200 OK", "").await;
        }
    };
    let asking = async {
        for (method, headers, status) in [
            (Method::GET, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")][..], 403),
            (Method::GET, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], 200),
            (Method::GET, &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "no-cors")], 200),
            (Method::GET, &[("service-worker", "script"), ("sec-fetch-site", "same-origin")], 403),
            (Method::POST, &[("origin", "https://evil.example")], 403),
            (Method::POST, &[("origin", "https://ui.example.org")], 200),
            (Method::TRACE, &[], 405),
        ] {
            let mut request = stage.server.request(method.clone(), &stage.path("/")).header("cookie", stage.cookie());
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            assert_eq!(request.send().await.unwrap().status(), status, "{method} {headers:?}");
        }
        let reply = stage.get("/").header("origin", "https://ui.example.org").send().await.unwrap();
        assert_eq!(reply.headers()["access-control-allow-origin"], "https://ui.example.org");
        assert_eq!(reply.headers()["access-control-allow-credentials"], "true");
    };
    tokio::select! {
        () = asking => {}
        () = answering => unreachable!(),
    }
}

#[tokio::test]
async fn opening_the_page_is_recorded_and_its_parts_are_not() {
    let stage = Stage::new().await;
    let stranger = stage.server.person("sam", &[]).await;
    for mode in ["navigate", "no-cors"] {
        let request = stage.get("/").header("sec-fetch-mode", mode).send();
        let (reply, ()) = tokio::join!(request, async { stage.visit().await.answer("200 OK", "").await });
        assert_eq!(reply.unwrap().status(), 200);
    }
    assert_eq!(stage.opening(Some(&stranger), &stage.path("/")).await.0, 403);
    drop(stage.tunnel().await);
    let rows: Vec<(String, String, i64, i64)> =
        sql("SELECT outcome, actor_username, workbench_id, coalesce(workspace_id, 0) FROM audit_log WHERE action = 'StreamWorkbench' ORDER BY id")
            .all(&stage.server.db)
            .await
            .unwrap();
    let of = stage.of;
    let want = [
        ("ok".to_owned(), "mia".to_owned(), of.workbench, of.workspace),
        ("refused".to_owned(), "sam".to_owned(), of.workbench, 0),
    ];
    assert_eq!(rows, want);
}
