//! The first to see a call, and the last but for [`headers`](super::headers).
//!
//! On the way in a call gets an id, an [`Origin`] and a [`Trail`]; on the way out its answer gets the id, is counted and,
//! if it is a failure that the gate did not log, logged. What always holds: every call is answered, also when something
//! panics; every failure leaves a line in the log; the line has no query string, header or body.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{body::Body, response::Response};
use futures_util::{FutureExt, future::BoxFuture};
use http::{Extensions, Method, Request};
use tokio::time::Instant;
use tonic::{Code, Status};
use tower::Service;

use super::{
    grpc::panicked,
    http::refuse,
    origin::{Origin, Protocol},
    request_id::RequestId,
    rest::errors::Reason,
    stream,
};
use crate::server::{
    error::detail,
    pipeline::rpc::Rpc,
    random::Random,
    telemetry::{self, RouteClass},
};

/// Where a call came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// REST, gRPC-web and pages: its answers are counted.
    Http,
    /// gRPC, whose calls the gate counts.
    Grpc,
}

/// What the edge is told about a call on its way: the layers behind find it in the request's extensions.
#[derive(Debug, Clone, Default)]
pub struct Trail(Arc<Marks>);

#[derive(Debug, Default)]
struct Marks {
    rpc: OnceLock<&'static str>,
    gate: AtomicBool,
}

impl Trail {
    /// The trail of a call; one that nobody reads for a call that did not pass the edge.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// The call is for this RPC.
    pub fn leads_to(&self, rpc: &Rpc) {
        // REST says so before gRPC does, and both say the same
        let _ = self.0.rpc.set(rpc.name);
    }

    /// The gate has answered and logged the call, or the stream of a desktop has.
    pub fn passed_the_gate(&self) {
        self.0.gate.store(true, Ordering::Relaxed);
    }
}

/// The outermost layer.
#[derive(Clone)]
pub struct Edge<S> {
    inner: S,
    random: Arc<dyn Random>,
    listener: Listener,
}

impl<S> Edge<S> {
    /// Around this service; `random` is the source of request ids.
    pub fn new(inner: S, random: Arc<dyn Random>, listener: Listener) -> Self {
        Self { inner, random, listener }
    }
}

impl<S> Service<Request<Body>> for Edge<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let id = RequestId::of(request.headers(), &*self.random);
        let seen = Seen {
            started: Instant::now(),
            listener: self.listener,
            method: request.method().clone(),
            origin: Origin::of(&request, id.id()),
            trail: Trail::default(),
        };
        request.extensions_mut().insert(seen.origin.clone());
        request.extensions_mut().insert(seen.trail.clone());
        let answer = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        let answer = answer.map(move |outcome| {
            let origin = &seen.origin;
            let mut response = match outcome {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(_) => refuse(panicked(&origin.instance), &origin.instance, origin.kind != Protocol::Rest),
            };
            id.stamp(response.headers_mut());
            seen.finished(&response);
            Ok(response)
        });
        answer.boxed()
    }
}

/// A call, as far as it is counted and logged.
struct Seen {
    started: Instant,
    listener: Listener,
    method: Method,
    origin: Origin,
    trail: Trail,
}

impl Seen {
    fn finished(&self, response: &Response) {
        let route = route_class(&self.origin.instance);
        if self.listener == Listener::Http {
            telemetry::http_finished(route, response.status());
        }
        let grpc = Status::from_header_map(response.headers());
        let failed = response.status().as_u16() >= 400 || grpc.as_ref().is_some_and(|s| s.code() != Code::Ok);
        if failed && !self.trail.0.gate.load(Ordering::Relaxed) {
            self.log(route, response, grpc.as_ref());
        }
    }

    /// The counterpart of the gate's line, for what the gate has not seen. `code` is there for gRPC only.
    fn log(&self, route: RouteClass, response: &Response, grpc: Option<&Status>) {
        let reason = match (response.extensions().get::<Reason>(), grpc) {
            (Some(Reason(reason)), _) => reason.clone(),
            (None, grpc) => grpc.and_then(detail).map(|d| d.reason).unwrap_or_default(),
        };
        tracing::info!(
            target: "chorus::http",
            request_id = &*self.origin.request_id,
            method = self.method.as_str(),
            route = route.name(),
            rpc = self.trail.0.rpc.get(),
            status = response.status().as_u16(),
            code = grpc.map(|s| s.code() as i32),
            ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            reason,
            "refused"
        );
    }
}

/// What a path is for.
fn route_class(path: &str) -> RouteClass {
    match path {
        "/api/rest/v1/health" | "/metrics" => RouteClass::Probe,
        "/" | "/account" | "/doc" | "/openapi.json" => RouteClass::Docs,
        path if path.starts_with("/doc/") || path.starts_with("/account/") => RouteClass::Docs,
        path if stream::Route::parse(path).is_some() => RouteClass::Stream,
        path if path.starts_with("/api/") => RouteClass::Rest,
        path if path.starts_with("/chorus.") || path.starts_with("/grpc.") => RouteClass::Grpc,
        _ => RouteClass::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_a_class() {
        let table = [
            ("/", RouteClass::Docs),
            ("/doc/swagger-ui.css", RouteClass::Docs),
            ("/account", RouteClass::Docs),
            ("/account/account.js", RouteClass::Docs),
            ("/metrics", RouteClass::Probe),
            ("/api/rest/v1/health", RouteClass::Probe),
            ("/api/rest/v1/workspaces/7", RouteClass::Rest),
            ("/api/rest/v1/workbenches/7/stream/js/a.js", RouteClass::Stream),
            ("/api/rest/v1/workbenches/7/stream-tickets", RouteClass::Rest),
            ("/chorus.v1.WorkspaceService/GetWorkspace", RouteClass::Grpc),
            ("/grpc.health.v1.Health/Check", RouteClass::Grpc),
            ("/document", RouteClass::Unknown),
            ("/accounts", RouteClass::Unknown),
            ("/wp-login.php", RouteClass::Unknown),
        ];
        for (path, class) in table {
            assert_eq!(route_class(path), class, "{path}");
        }
    }
}
