//! The two listeners: bind, serve, stop gracefully.
//!
//! HTTP takes HTTP/1.1 and HTTP/2 without TLS, gRPC takes HTTP/2 only (what else comes there
//! is refused by its service). What always holds: a connection that says nothing
//! is closed; no listener has more than [`MAX_CONNECTIONS`], and others wait to be accepted; a stop lets running calls
//! finish within the deadline, and nothing survives it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{body::Body, extract::ConnectInfo};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use super::http::App;

/// How many connections one listener has open at most.
pub const MAX_CONNECTIONS: usize = 4096;
/// How long a connection may take to send its first request, or the head of any further one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest head of a request.
const MAX_HEADER_BYTES: u32 = 32 << 10;
/// How many calls one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 256;
/// How often, and for how long, a silent HTTP/2 peer is asked whether it is still there.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}. Choose another address with {flag}.")]
pub struct BindError {
    address: SocketAddr,
    flag: &'static str,
    source: io::Error,
}

/// The bound sockets of the server.
#[derive(Debug)]
pub struct Listeners {
    http: TcpListener,
    grpc: TcpListener,
}

impl Listeners {
    /// Binds both addresses; port 0 takes any free port.
    pub async fn bind(http: SocketAddr, grpc: SocketAddr) -> Result<Self, BindError> {
        Ok(Self { http: bind(http, "--listen").await?, grpc: bind(grpc, "--grpc-listen").await? })
    }

    /// The address of the HTTP listener.
    pub fn http_addr(&self) -> io::Result<SocketAddr> {
        self.http.local_addr()
    }

    /// The address of the gRPC listener.
    pub fn grpc_addr(&self) -> io::Result<SocketAddr> {
        self.grpc.local_addr()
    }
}

async fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, flag, source })
}

/// Serves both listeners until the token is cancelled, then lets running calls finish for at most `deadline`.
pub async fn serve(listeners: Listeners, http: App, grpc: App, shutdown: CancellationToken, deadline: Duration) {
    serve_some(listeners, http, grpc, shutdown, deadline, MAX_CONNECTIONS).await;
}

async fn serve_some(
    listeners: Listeners,
    http: App,
    grpc: App,
    shutdown: CancellationToken,
    deadline: Duration,
    max: usize,
) {
    let connections = TaskTracker::new();
    let cut_off = CancellationToken::new();
    let stop = Stop { graceful: shutdown, cut_off: cut_off.clone() };
    tokio::join!(
        accept(listeners.http, http, builder(), &connections, max, &stop),
        accept(listeners.grpc, grpc, builder(), &connections, max, &stop),
    );
    connections.close();
    if tokio::time::timeout(deadline, connections.wait()).await.is_err() {
        tracing::warn!(target: "chorus::transport", open = connections.len(), "connections are cut off");
        cut_off.cancel();
        connections.wait().await;
    }
}

/// How connections end.
#[derive(Debug, Clone)]
struct Stop {
    /// Take nothing new, finish what runs.
    graceful: CancellationToken,
    /// End now.
    cut_off: CancellationToken,
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES as usize * 2);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES);
    builder
}

async fn accept(
    listener: TcpListener,
    app: App,
    builder: Builder<TokioExecutor>,
    connections: &TaskTracker,
    max: usize,
    stop: &Stop,
) {
    let (builder, places) = (Arc::new(builder), Arc::new(Semaphore::new(max)));
    loop {
        let accepted = tokio::select! {
            accepted = accept_one(&listener, &places) => accepted,
            () = stop.graceful.cancelled() => return,
        };
        match accepted {
            Ok((place, stream, peer)) => {
                let connection = connection(stream, peer, app.clone(), builder.clone(), stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            // out of file descriptors, or the client went away: neither may end the server
            Err(error) => {
                tracing::warn!(target: "chorus::transport", %error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// The next connection, once there is a place for it; until then it waits in the queue of the operating system.
async fn accept_one(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((place, stream, peer))
}

async fn connection(stream: TcpStream, peer: SocketAddr, app: App, builder: Arc<Builder<TokioExecutor>>, stop: Stop) {
    // answers are written whole; waiting for more only adds delay
    let _ = stream.set_nodelay(true);
    let spoke = Arc::new(Notify::new());
    let service = {
        let spoke = spoke.clone();
        service_fn(move |mut request: Request<Incoming>| {
            spoke.notify_one();
            request.extensions_mut().insert(ConnectInfo(peer));
            app.clone().oneshot(request.map(Body::new))
        })
    };
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let silent = async { tokio::time::timeout(HEADER_TIMEOUT, spoke.notified()).await.is_err() };
    tokio::pin!(silent);
    let (mut watched, mut stopping) = (true, false);
    loop {
        tokio::select! {
            outcome = serving.as_mut() => {
                if let Err(error) = outcome {
                    tracing::debug!(target: "chorus::transport", %peer, %error, "a connection ended with an error");
                }
                return;
            }
            is_silent = silent.as_mut(), if watched => {
                watched = false;
                if is_silent {
                    return;
                }
            }
            () = stop.graceful.cancelled(), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
            () = stop.cut_off.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::Response;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        sync::oneshot,
    };
    use tower::service_fn as tower_fn;

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    /// Answers with the path, `/slow` when told so.
    fn app(release: Arc<Notify>, started: Arc<Notify>) -> App {
        App::new(tower_fn(move |request: Request<Body>| {
            let (release, started) = (release.clone(), started.clone());
            async move {
                let path = request.uri().path().to_owned();
                if path == "/slow" {
                    started.notify_one();
                    release.notified().await;
                }
                Ok(Response::new(Body::from(path)))
            }
        }))
    }

    struct Running {
        address: SocketAddr,
        shutdown: CancellationToken,
        release: Arc<Notify>,
        started: Arc<Notify>,
        done: oneshot::Receiver<()>,
    }

    async fn start(deadline: Duration) -> Running {
        start_with(deadline, MAX_CONNECTIONS).await
    }

    async fn start_with(deadline: Duration, max: usize) -> Running {
        let listeners = Listeners::bind(ANY, ANY).await.unwrap();
        let address = listeners.http_addr().unwrap();
        let (shutdown, release, started) = (CancellationToken::new(), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let app = app(release.clone(), started.clone());
        let serving = serve_some(listeners, app.clone(), app, shutdown.clone(), deadline, max);
        let (finished, done) = oneshot::channel();
        tokio::spawn(async move {
            serving.await;
            let _ = finished.send(());
        });
        Running { address, shutdown, release, started, done }
    }

    /// The body of the answer, if there is one.
    async fn get(address: SocketAddr, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    #[tokio::test]
    async fn a_running_call_finishes_before_the_stop() {
        let running = start(Duration::from_secs(60)).await;
        let slow = tokio::spawn(get(running.address, "/slow"));
        running.started.notified().await;
        running.shutdown.cancel();
        running.release.notify_one();
        assert_eq!(slow.await.unwrap().as_deref(), Some("/slow"));
        running.done.await.unwrap();
        assert_eq!(get(running.address, "/late").await, None, "nothing listens any more");
    }

    #[tokio::test]
    async fn a_call_that_does_not_finish_is_cut_off() {
        let running = start(Duration::ZERO).await;
        let slow = tokio::spawn(get(running.address, "/slow"));
        running.started.notified().await;
        running.shutdown.cancel();
        running.done.await.unwrap();
        assert_eq!(slow.await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_idle_connection_does_not_delay_the_stop() {
        let running = start(Duration::from_secs(3600)).await;
        let _idle = TcpStream::connect(running.address).await.unwrap();
        assert_eq!(get(running.address, "/a").await.as_deref(), Some("/a"));
        running.shutdown.cancel();
        running.done.await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_beyond_the_limit_waits_for_a_place() {
        let running = start_with(Duration::from_secs(60), 1).await;
        let slow = tokio::spawn(get(running.address, "/slow"));
        running.started.notified().await;
        let waiting = tokio::spawn(get(running.address, "/slow"));
        tokio::select! {
            biased;
            () = async { for _ in 0..1000 { tokio::task::yield_now().await } } => {}
            () = running.started.notified() => panic!("served beyond the limit"),
        }
        running.release.notify_one();
        assert_eq!(slow.await.unwrap().as_deref(), Some("/slow"));
        running.started.notified().await;
        running.shutdown.cancel();
        running.release.notify_one();
        assert_eq!(waiting.await.unwrap().as_deref(), Some("/slow"));
        running.done.await.unwrap();
    }

    #[tokio::test]
    async fn a_taken_address_is_named_with_its_flag() {
        let taken = TcpListener::bind(ANY).await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = Listeners::bind(ANY, address).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("--grpc-listen"), "{error}");
    }
}
