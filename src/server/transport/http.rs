//! What the HTTP listener serves, and the layers in front of it.
//!
//! ```text
//! headers (tells browsers what they may do with the answer)
//!   └─ edge (request id, origin, count, log, last guard against panics)
//!        └─ CORS (answers preflights, marks every answer)
//!             ├─ …/workbenches/{id}/stream/… ──► desktops, past all that follows
//!             └─ compression
//!                  └─ dispatch ─ foreign pages      ──► refused
//!                              ├ application/grpc*  ──► gRPC-web ──► gRPC
//!                              ├ /api/…             ──► REST     ──► gRPC
//!                              └ anything else      ──► pages: /, /account, /doc, /openapi.json, /metrics
//! ```

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{Router, body::Body, response::Response};
use futures_util::{FutureExt, future::BoxFuture};
use http::{Method, Request, Version, header};
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use tower_http::compression::{
    CompressionLayer, Predicate,
    predicate::{NotForContentType, SizeAbove},
};

use super::{
    cors::Origins,
    edge::{Edge, Listener},
    grpc::Native,
    headers::Hardening,
    origin::Protocol,
    rest::{self, Transcoder, errors},
    stream::{self, Streams},
};
use crate::server::{
    error::{Error, Kind},
    random::Random,
};

/// A listener's service.
pub type App = BoxCloneSyncService<Request<Body>, Response, Infallible>;

/// Answers smaller than this are not worth compressing.
const COMPRESS_ABOVE: u64 = 1024;

/// The service of the HTTP listener.
pub fn app(
    rest: Transcoder,
    grpc: Native,
    pages: Router,
    streams: Option<Streams>,
    origins: Origins,
    hardening: Hardening,
    random: Arc<dyn Random>,
) -> App {
    let pages = pages.fallback(|request: Request<Body>| async { rest::unknown_route(&request.into_parts().0) });
    let pages = pages.method_not_allowed_fallback(|request: Request<Body>| async {
        rest::method_not_allowed(&request.into_parts().0, None)
    });
    let cors = origins.layer();
    let dispatch = Dispatch { rest, web: GrpcWebLayer::new().layer(grpc), pages, origins: Arc::new(origins) };
    // streams are flushed message by message, which compression would hold back
    let worthwhile = SizeAbove::new(COMPRESS_ABOVE)
        .and(NotForContentType::GRPC)
        .and(NotForContentType::IMAGES)
        .and(NotForContentType::SSE)
        .and(NotForContentType::const_new("application/x-ndjson"));
    let compressed = ServiceBuilder::new()
        .layer(CompressionLayer::new().compress_when(worthwhile))
        .service(dispatch)
        .map_response(|response| response.map(Body::new));
    let fork = tower::service_fn(move |request: Request<Body>| {
        let (streams, compressed) = (streams.clone(), compressed.clone());
        async move {
            match streams.zip(stream::Route::parse(request.uri().path())) {
                Some((streams, route)) => Ok(streams.answer(route, request).await),
                None => compressed.oneshot(request).await,
            }
        }
    });
    let inner = ServiceBuilder::new().option_layer(cors).service(fork).map_response(|response| response.map(Body::new));
    App::new(Edge::new(inner, random, Listener::Http).map_response(move |response| hardening.apply(response)))
}

/// The service of the gRPC listener.
pub fn grpc_app(grpc: Native, random: Arc<dyn Random>) -> App {
    let inner = tower::service_fn(move |request| native_only(grpc.clone(), request));
    App::new(Edge::new(inner, random, Listener::Grpc))
}

/// Passes on what a gRPC client sends and a browser cannot. A page of another site could otherwise write here with the
/// cookie of the HTTP listener, since browsers send cookies to every port of a host.
async fn native_only(mut grpc: Native, mut request: Request<Body>) -> Result<Response, Infallible> {
    if request.version() != Version::HTTP_2 || Protocol::of(request.headers()) != Protocol::Grpc {
        let text = "This listener speaks gRPC over HTTP/2 only. REST and gRPC-web are on the HTTP listener.";
        let error = Error::new(Kind::UnsupportedMediaType, "GRPC_ONLY", text);
        return Ok(errors::from_error(error, request.uri().path()));
    }
    request.headers_mut().remove(header::COOKIE);
    grpc.call(request).await
}

#[derive(Clone)]
struct Dispatch {
    rest: Transcoder,
    web: GrpcWebService<Native>,
    pages: Router,
    origins: Arc<Origins>,
}

impl Dispatch {
    async fn answer(mut self, request: Request<Body>) -> Response {
        let is_grpc = Protocol::of(request.headers()) != Protocol::Rest && request.method() == Method::POST;
        if let Err(error) = self.origins.check(&request) {
            return refuse(error, request.uri().path(), is_grpc);
        }
        if is_grpc {
            let answer = Service::call(&mut self.web, request).await;
            return answer.unwrap_or_else(|never| match never {}).map(Body::new);
        }
        if request.uri().path().starts_with("/api/") {
            return self.rest.call(request).await;
        }
        self.pages.oneshot(request).await.unwrap_or_else(|never| match never {})
    }
}

/// The answer for an error, in the form of the protocol.
pub fn refuse(error: Error, instance: &str, is_grpc: bool) -> Response {
    match is_grpc {
        true => error.into_status(instance).into_http(),
        false => errors::from_error(error, instance),
    }
}

impl Service<Request<Body>> for Dispatch {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.clone().answer(request).map(Ok).boxed()
    }
}
