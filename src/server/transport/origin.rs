//! Where a call came from. Every request on either listener carries an [`Origin`] in its extensions from the first layer
//! on; tonic hands extensions through to handlers, so the pipeline sees the same for REST and gRPC.

use std::{net::SocketAddr, sync::Arc};

use axum::extract::ConnectInfo;
use http::{HeaderMap, Request, header};

/// Who sent a call, how, and under which name it is known in logs.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The other end of the connection: the client, or the proxy in front of the server. `None` in tests.
    pub peer: Option<SocketAddr>,
    /// Identifies the call in logs, audit and the `X-Request-Id` of the answer.
    pub request_id: Arc<str>,
    /// The path as the client sent it, for the `instance` of errors.
    pub instance: Arc<str>,
    /// The protocol of the call.
    pub kind: Protocol,
}

/// The protocol of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// JSON over HTTP, and everything else that is not gRPC.
    Rest,
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-web.
    GrpcWeb,
}

impl Origin {
    /// The origin of a request as it comes from the listener.
    pub fn of<B>(request: &Request<B>, request_id: Arc<str>) -> Self {
        Self {
            peer: request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0),
            request_id,
            instance: request.uri().path().into(),
            kind: Protocol::of(request.headers()),
        }
    }
}

impl Protocol {
    /// The protocol that the content type names.
    pub fn of(headers: &HeaderMap) -> Self {
        match headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes()) {
            Some(value) if value.starts_with(b"application/grpc-web") => Self::GrpcWeb,
            Some(value) if value.starts_with(b"application/grpc") => Self::Grpc,
            _ => Self::Rest,
        }
    }
}
