//! REST is gRPC: a REST call becomes a gRPC message and enters, as a function call, the very router that serves gRPC.
//! Same pipeline, same answers; no second socket and no route by hand.
//!
//! ```text
//! method, path ──routes──► binding ─┐
//! path variables, query ──query─────┼─► request message ──► gRPC router ──► reply message ──json──► answer
//! body ─────────limit, json─────────┘                             └─ status ──errors──► the one error body
//! ```
//!
//! What always holds: a call that fails anywhere answers with the body of [`errors`]; only the headers named here cross
//! over in either direction; extensions (the [`Origin`](super::origin::Origin)) cross unchanged.

pub mod binding;
pub mod emit;
#[cfg(test)]
mod emitted;
pub mod errors;
pub mod json;
pub mod query;
pub mod routes;
mod stream;
pub mod template;

use std::sync::Arc;

use anyhow::Result as Startup;
use axum::{body::Body, response::Response};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header, request::Parts};
use http_body::Body as _;
use http_body_util::BodyExt;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use tonic::{Code, Status};

use self::{
    binding::{Binding, Payload, Reply},
    routes::{Route, Routes},
};
use super::{deadline::GRPC_TIMEOUT, edge::Trail, grpc::Core, limit};
use crate::{
    proto::google::api::HttpBody,
    server::{
        access::token,
        error::{Error, Kind, Result},
    },
};

/// Request headers that the gRPC side sees.
static INCOMING: [HeaderName; 9] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::ORIGIN,
    header::USER_AGENT,
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-chorus-no-wake"),
    GRPC_TIMEOUT,
];

/// Metadata of a successful reply that becomes HTTP headers.
static OUTGOING: [HeaderName; 6] = [
    header::SET_COOKIE,
    header::LOCATION,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::RETRY_AFTER,
    HeaderName::from_static("x-chorus-truncated"),
];

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Serves REST in front of the gRPC router.
#[derive(Debug, Clone)]
pub struct Transcoder {
    routes: Arc<Routes>,
    grpc: Core,
}

impl Transcoder {
    /// Reads the bindings of the contract; fails on one that cannot be served.
    pub fn new(pool: &DescriptorPool, grpc: Core) -> Startup<Self> {
        Ok(Self { routes: Arc::new(Routes::new(binding::bindings(pool)?)?), grpc })
    }

    /// Answers one request.
    pub async fn call(&self, request: Request<Body>) -> Response {
        let (parts, body) = request.into_parts();
        let path: Vec<&str> = parts.uri.path().trim_start_matches('/').split('/').collect();
        match self.routes.find(&parts.method, &path) {
            Route::Found(binding) => {
                Trail::of(&parts.extensions).leads_to(binding.rpc);
                match read_request(binding, &parts, &path, body).await {
                    Ok(message) => self.forward(binding, &message, &parts).await,
                    Err(error) => errors::from_error(error, parts.uri.path()),
                }
            }
            Route::OtherMethods(allow) => method_not_allowed(&parts, Some(&allow)),
            Route::Unknown => unknown_route(&parts),
        }
    }

    async fn forward(&self, binding: &Binding, message: &DynamicMessage, parts: &Parts) -> Response {
        let answer = self.grpc.call(grpc_request(binding, message, parts)).await;
        let refused = Status::from_header_map(answer.headers()).filter(|status| status.code() != Code::Ok);
        let answer = match refused {
            Some(status) => Err(status),
            None if binding.rpc.streaming => Ok(stream::answer(answer, binding, parts)),
            None => unary(answer, binding).await,
        };
        answer.unwrap_or_else(|status| errors::from_status(status, parts.uri.path()))
    }
}

/// The answer for a path that leads nowhere.
pub fn unknown_route(parts: &Parts) -> Response {
    let text = format!("There is nothing at {}. The API is described at /doc.", parts.uri.path());
    errors::from_error(Error::not_found("UNKNOWN_ROUTE", text), parts.uri.path())
}

/// The answer for a path that has other methods; for a page the router itself adds `Allow`.
pub fn method_not_allowed(parts: &Parts, allow: Option<&str>) -> Response {
    let text = match allow {
        Some(allow) => format!("{} cannot be used here; use {allow}.", parts.method),
        None => format!("{} cannot be used here; the header Allow says what can.", parts.method),
    };
    let error = Error::new(Kind::MethodNotAllowed, "METHOD_NOT_ALLOWED", text);
    let mut response = errors::from_error(error, parts.uri.path());
    if let Some(allow) = allow.and_then(|allow| HeaderValue::from_str(allow).ok()) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

/// The request message from path, query and body. The path wins over the body, so that nobody acts on another thing than
/// the one in the address.
async fn read_request(binding: &Binding, parts: &Parts, path: &[&str], body: Body) -> Result<DynamicMessage> {
    // who shows nothing is refused in the end; until then he must not make the server read and parse megabytes
    if !binding.rpc.public && matches!(token::credential(&parts.headers), Ok(None)) {
        return Err(token::missing());
    }
    let mut message = match &binding.body {
        Payload::Nothing => DynamicMessage::new(binding.descriptor.input()),
        payload => read_body(payload, binding, &parts.headers, body).await?,
    };
    if let (Some(query), Payload::Nothing | Payload::Field(..)) = (parts.uri.query(), &binding.body) {
        query::set_all(&mut message, query)?;
    }
    for (fields, text) in binding.variables.iter().zip(binding.template.capture(path)) {
        let text = text.map_err(|_| Error::invalid("INVALID_PATH", "The path is not UTF-8 once it is decoded."))?;
        query::set_variable(&mut message, fields, &text)?;
    }
    Ok(message)
}

async fn read_body(payload: &Payload, binding: &Binding, headers: &HeaderMap, body: Body) -> Result<DynamicMessage> {
    if !body.is_end_stream() && !is_json(headers) {
        let text = "The body must be JSON: send it with Content-Type application/json.";
        return Err(Error::new(Kind::UnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", text));
    }
    let bytes = limit::read(body, binding.rpc.max_bytes).await?;
    let input = binding.descriptor.input();
    let Payload::Field(field, inner) = payload else { return json::read(input, &bytes) };
    let mut message = DynamicMessage::new(input);
    if field.is_list() {
        message.set_field(field, Value::List(json::read_list(inner, &bytes)?));
    } else if !bytes.is_empty() {
        message.set_field(field, Value::Message(json::read(inner.clone(), &bytes)?));
    }
    Ok(message)
}

/// Whether the content type is JSON; none counts as JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let essence = value.to_str().unwrap_or("?").split(';').next().unwrap_or_default().trim();
    essence.is_empty() || essence.eq_ignore_ascii_case("application/json")
}

fn grpc_request(binding: &Binding, message: &DynamicMessage, parts: &Parts) -> Request<Body> {
    let mut request = Request::new(Body::from(frame(message)));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = binding.uri.clone();
    *request.version_mut() = Version::HTTP_2;
    *request.extensions_mut() = parts.extensions.clone();
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    copy(&INCOMING, &parts.headers, headers);
    request
}

fn copy(names: &[HeaderName], from: &HeaderMap, to: &mut HeaderMap) {
    for name in names {
        for value in from.get_all(name) {
            to.append(name, value.clone());
        }
    }
}

/// The answer of a unary call that did not fail at once.
async fn unary(answer: Response, binding: &Binding) -> Result<Response, Status> {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(|error| Status::internal(error.to_string()))?;
    let status = body.trailers().and_then(Status::from_header_map).or_else(|| Status::from_header_map(&head.headers));
    match status {
        Some(status) if status.code() == Code::Ok => {}
        Some(status) => return Err(status),
        None => return Err(Status::internal("the reply has no status")),
    }
    let mut bytes = body.to_bytes();
    let reply = unframe(&mut bytes)?.ok_or_else(|| Status::internal("the reply is empty"))?;
    let mut response = match &binding.reply {
        Reply::Json(layout) => answer_with(JSON, Body::from(emit::to_json(layout, &reply)?)),
        Reply::Raw => raw(reply)?,
    };
    copy(&OUTGOING, &head.headers, response.headers_mut());
    // answers depend on who asks
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A reply that is a file of its own, such as a logo. It is some user's upload, so a browser must not guess its type or
/// run it.
fn raw(reply: Bytes) -> Result<Response, Status> {
    let reply = HttpBody::decode(reply).map_err(|error| Status::internal(error.to_string()))?;
    let kind = if reply.content_type.is_empty() { "application/octet-stream" } else { &reply.content_type };
    let kind = HeaderValue::from_str(kind).map_err(|_| Status::internal("the reply has a bad content type"))?;
    let mut response = answer_with(kind, Body::from(reply.data));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

fn answer_with(kind: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A message in the frame of gRPC: not compressed, length, bytes.
fn frame(message: &DynamicMessage) -> Bytes {
    let len = message.encoded_len();
    let mut out = BytesMut::with_capacity(5 + len);
    out.put_u8(0);
    out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    message.encode_raw(&mut out);
    out.freeze()
}

/// Takes the next encoded message off the bytes; `None` when it is not complete yet.
fn unframe(bytes: &mut Bytes) -> Result<Option<Bytes>, Status> {
    let Some((&[flag, a, b, c, d], rest)) = bytes.split_first_chunk::<5>() else { return Ok(None) };
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    if rest.len() < len {
        return Ok(None);
    }
    if flag != 0 {
        return Err(Status::internal("the reply is compressed"));
    }
    bytes.advance(5);
    Ok(Some(bytes.split_to(len)))
}
