//! HTTP through the proxy: what passes, what does not, and how much at a time.

use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Stage;

#[tokio::test]
async fn a_page_comes_through_confined() {
    let stage = Stage::configured(&[("cors_origins", "https://ui.example.org")]).await;
    let (reply, visit) = tokio::join!(stage.get("/js/Client.js?v=1&x=%2F").send(), async {
        let mut visit = stage.visit().await;
        let hostile = "200 OK\r\nContent-Type: text/html\r\nSet-Cookie: jwttoken=mine; Path=/\r\nX-Frame-Options: DENY\r\n\
                       Clear-Site-Data: \"*\"\r\nService-Worker-Allowed: /\r\nCache-Control: public\r\n\
                       Content-Security-Policy: default-src *\r\nAccess-Control-Allow-Origin: *\r\nETag: \"e\"";
        visit.answer(hostile, &"hello ".repeat(500)).await;
        visit
    });
    assert!(visit.head.starts_with("GET /js/Client.js?v=1&x=%2F HTTP/1.1\r\n"), "{}", visit.head);
    let reply = reply.unwrap();
    let headers = reply.headers().clone();
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
    for name in ["set-cookie", "x-frame-options", "clear-site-data", "service-worker-allowed", "content-encoding"] {
        assert_eq!(text(name), None, "{name}");
    }
    assert_eq!(text("access-control-allow-origin"), None, "nobody asked from elsewhere");
    assert_eq!((text("etag"), text("cache-control")), (Some("\"e\""), Some("no-store")));
    assert_eq!((text("x-content-type-options"), text("referrer-policy")), (Some("nosniff"), Some("no-referrer")));
    assert!(text("permissions-policy").unwrap().starts_with("clipboard-read=(), clipboard-write=(), "));
    let policy = text("content-security-policy").unwrap();
    let own = format!("connect-src data: blob: http://{}{}/", stage.server.http(), stage.path(""));
    for part in ["frame-ancestors 'self' https://ui.example.org;", "frame-src 'none'", "base-uri 'none'", &own] {
        assert!(policy.contains(part), "{part}\n{policy}");
    }
    assert!(policy.ends_with("sandbox allow-scripts allow-same-origin allow-forms allow-modals allow-pointer-lock"));
    assert_eq!(reply.text().await.unwrap(), "hello ".repeat(500));
}

#[tokio::test]
async fn the_desktop_learns_no_secret() {
    let stage = Stage::configured(&[("trusted_proxies", "127.0.0.0/8")]).await;
    let cookies = format!("{}; chorus_device=device-secret; chorus_stream=pass-secret; other=secret", stage.cookie());
    let request = stage
        .get("/?a=b")
        .header("cookie", cookies)
        .header("x-forwarded-for", "198.51.100.7, 203.0.113.9")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "chorus.example.org")
        .header("x-forwarded-access-token", "proxy-secret")
        .header("connection", "x-secret, keep-alive")
        .header("x-secret", "hop-secret")
        .header("referer", "https://ui.example.org/secret")
        .header("te", "trailers");
    let (reply, visit) = tokio::join!(request.send(), async {
        let mut visit = stage.visit().await;
        visit.answer("204 No Content", "").await;
        visit
    });
    assert_eq!(reply.unwrap().status(), 204);
    let seen = visit.head.to_ascii_lowercase();
    for secret in ["secret", "cookie", "authorization", &stage.member.token.to_ascii_lowercase(), "referer", "trailers"]
    {
        assert!(!seen.contains(secret), "{secret}\n{seen}");
    }
    assert_eq!(visit.header("host"), Some(&*format!("workbench{}", stage.of.workbench)));
    assert_eq!(visit.header("x-forwarded-for"), Some("203.0.113.9"));
    assert_eq!(visit.header("x-forwarded-proto"), Some("https"));
    assert_eq!(visit.header("x-forwarded-host"), Some("chorus.example.org"));
    assert_eq!(visit.header("x-forwarded-prefix"), Some(&*stage.path("")));
}

#[tokio::test]
async fn bodies_flow_both_ways_at_once_and_are_sent_once() {
    const PARTS: usize = 200;
    let stage = Stage::new().await;
    let part = vec![7u8; 64 << 10];
    let (parts, sent) = (part.clone(), PARTS * part.len());
    let body = futures_util::stream::iter((0..PARTS).map(move |_| Ok::<_, std::io::Error>(parts.clone())));
    let request = stage.server.request(Method::POST, &stage.path("/upload")).bearer_auth(&stage.member.token);
    let request = request.body(reqwest::Body::wrap_stream(body));
    let asking = async {
        let mut stream = request.send().await.unwrap().bytes_stream();
        let mut got = 0;
        while let Some(part) = stream.next().await {
            got += part.unwrap().len();
        }
        got
    };
    let answering = async {
        let mut visit = stage.visit().await;
        assert_eq!(visit.header("transfer-encoding"), Some("chunked"));
        // the answer begins before the request ends
        visit.stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await.unwrap();
        let (mut read, mut count) = (visit.rest, 0);
        while count < sent {
            let found = read.iter().filter(|byte| **byte == 7).count();
            count += found;
            visit.stream.write_all(&vec![8; found]).await.unwrap();
            read.clear();
            if count < sent {
                assert_ne!(visit.stream.read_buf(&mut read).await.unwrap(), 0);
            }
        }
    };
    let (got, ()) = tokio::join!(asking, answering);
    assert_eq!(got, sent);
    stage.server.streams().store().await;
    assert!(stage.visits.lock().await.try_recv().is_err(), "nothing was tried again");
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_desktop() {
    let stage = Stage::new().await;
    let (reply, mut visit) = tokio::join!(stage.get("/big").send(), async {
        let mut visit = stage.visit().await;
        visit.stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n").await.unwrap();
        visit
    });
    let reply = reply.unwrap();
    let part = vec![7; 1 << 20];
    let mut taken = 0;
    while tokio::time::timeout(Duration::from_millis(300), visit.stream.write_all(&part)).await.is_ok() {
        taken += 1;
        assert!(taken < 64, "nobody reads, and the server takes {taken} MiB");
    }
    drop(reply);
    let mut rest = Vec::new();
    assert_eq!(
        visit.stream.read_to_end(&mut rest).await.unwrap_or_default(),
        0,
        "the desktop learns that nobody waits"
    );
}

#[tokio::test]
async fn redirects_lead_to_the_desktop_only() {
    let stage = Stage::new().await;
    for (location, want) in
        [("/index.html?a=b", Some("./../index.html?a=b")), ("https://evil.example/", None), ("//evil.example/", None)]
    {
        let (reply, ()) = tokio::join!(stage.get("/a/b").send(), async {
            let mut visit = stage.visit().await;
            visit.answer(&format!("302 Found\r\nLocation: {location}"), "").await;
        });
        let reply = reply.unwrap();
        let got = reply.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(
            (reply.status().as_u16(), got.as_deref()),
            (if want.is_some() { 302 } else { 503 }, want),
            "{location}"
        );
    }
    let reply = stage.get("?a=b").send().await.unwrap();
    assert_eq!((reply.status().as_u16(), &reply.headers()["location"]), (308, &"stream/?a=b".parse().unwrap()));
}

#[tokio::test]
async fn a_desktop_that_is_not_there_says_so_and_looks_again() {
    let stage = Stage::new().await;
    stage.runtime.crash(stage.of);
    let page = stage.get("/").header("sec-fetch-mode", "navigate").send().await.unwrap();
    assert_eq!((page.status().as_u16(), &page.headers()["retry-after"]), (503, &"2".parse().unwrap()));
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-") && !page.headers().contains_key("x-frame-options")
    );
    let html = page.text().await.unwrap();
    assert!(html.contains("<meta http-equiv=\"refresh\" content=\"2\">") && html.contains("desk: Waiting"), "{html}");

    let json = stage.server.rest(Some(&stage.member), Method::GET, &stage.path("/x.js"), None).await;
    assert_eq!((json.status, json.reason()), (503, "DESKTOP_NOT_READY"));
    let socket = stage.socket(&stage.cookie()).await.err().unwrap();
    assert_eq!(socket.status, 503);
}

#[tokio::test]
async fn what_does_not_speak_http_is_no_desktop() {
    let stage = Stage::new().await;
    let (reply, ()) = tokio::join!(stage.get("/").send(), async {
        stage.visit().await.stream.write_all(b"SSH-2.0-OpenSSH\r\n").await.unwrap();
    });
    let reply = crate::support::server::Reply::read(reply.unwrap()).await;
    assert_eq!((reply.status, reply.reason()), (503, "DESKTOP_BROKEN"));
}
