//! Failures as HTTP answers. Every failure on the HTTP listener has the same body: code, message and exactly one detail.
//!
//! Errors of this server travel as gRPC statuses with an [`ErrorDetail`] inside. Statuses that tonic makes by itself
//! (no such method, unreadable message) carry none, so [`complete`] fills it in.

use axum::{body::Body, response::Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tonic::{Code, Status};

use crate::{
    proto::v1::{ChorusErrorCode, ErrorDetail},
    server::{
        access::token,
        error::{Error, Kind, detail},
    },
};

/// Response metadata of a failed call that becomes an HTTP header. Anything else stays inside.
const FORWARDED: [header::HeaderName; 2] = [header::RETRY_AFTER, header::SET_COOKIE];

/// The reason of a failure, as an extension of its answer: for the log, which does not read bodies.
#[derive(Debug, Clone)]
pub struct Reason(pub String);

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: i32,
    message: &'a str,
    details: [Detail<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
    chorus_code: &'a str,
    instance: &'a str,
    title: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    validation_errors: Vec<Violation<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    stack_trace: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Violation<'a> {
    field: &'a str,
    reason: &'a str,
}

/// The answer for an error that was found before a service was reached.
pub fn from_error(error: Error, instance: &str) -> Response {
    let http = error.kind().http();
    let status = error.into_status(instance);
    build(&status, http, instance)
}

/// The answer for a status of the gRPC side.
pub fn from_status(status: Status, instance: &str) -> Response {
    let status = complete(status, instance);
    let chorus_code = detail(&status).map_or(ChorusErrorCode::Unspecified, |d| d.chorus_code());
    build(&status, kind_of(status.code(), chorus_code).http(), instance)
}

fn build(status: &Status, http: u16, instance: &str) -> Response {
    let mut response = Response::new(Body::from(to_json(status, instance)));
    response.extensions_mut().insert(Reason(detail(status).map(|d| d.reason).unwrap_or_default()));
    *response.status_mut() = StatusCode::from_u16(http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if http == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    for name in FORWARDED {
        // a failure removes the cookie of a session that has ended, and sets none
        let allowed = |value: &&HeaderValue| name != header::SET_COOKIE || token::removes_cookie(value);
        if let Some(value) = status.metadata().as_ref().get(&name).filter(allowed) {
            headers.insert(name, value.clone());
        }
    }
    response
}

/// The JSON body of a failure.
pub fn to_json(status: &Status, instance: &str) -> Vec<u8> {
    let found = detail(status).unwrap_or_else(|| ErrorDetail { instance: instance.to_owned(), ..Default::default() });
    let violations = found.validation_errors.iter().map(|v| Violation { field: &v.field, reason: &v.reason }).collect();
    let body = ErrorBody {
        code: status.code() as i32,
        message: status.message(),
        details: [Detail {
            chorus_code: found.chorus_code().as_str_name(),
            instance: &found.instance,
            title: &found.title,
            message: &found.message,
            validation_errors: violations,
            stack_trace: &found.stack_trace,
            reason: &found.reason,
        }],
    };
    // plain strings and numbers always serialise
    serde_json::to_vec(&body).unwrap_or_default()
}

/// The status with a detail: its own, or one made for it.
pub fn complete(status: Status, instance: &str) -> Status {
    if detail(&status).is_some() {
        return status;
    }
    let (kind, reason) = classify(&status);
    let error = match kind {
        Kind::Internal => Error::internal(status.message().to_owned()),
        Kind::Unimplemented => Error::new(kind, reason, format!("This server has no RPC {instance}.")),
        _ if status.message().is_empty() => Error::new(kind, reason, kind.row().3),
        _ => Error::new(kind, reason, status.message()),
    };
    if let Some(cause) = error.cause() {
        tracing::error!(target: "chorus::transport", instance, %cause, "a call failed without detail");
    }
    error.into_status(instance)
}

/// What a status without detail means. tonic reports what it cannot read with the codes for its own faults.
fn classify(status: &Status) -> (Kind, &'static str) {
    const UNREADABLE: [&str; 4] =
        ["failed to decode Protobuf message", "protocol error", "Missing request message", "Content is compressed"];
    let text = status.message();
    if status.code() == Code::OutOfRange && text.contains("message length too large") {
        return (Kind::TooLarge, "REQUEST_TOO_LARGE");
    }
    if UNREADABLE.iter().any(|start| text.starts_with(start)) {
        return (Kind::InvalidRequest, "MALFORMED_MESSAGE");
    }
    let kind = bare_kind(status.code());
    let reason = match kind {
        Kind::Unimplemented => "UNKNOWN_RPC",
        Kind::Internal => "INTERNAL",
        Kind::Unavailable if status.code() == Code::Cancelled => "CANCELLED",
        Kind::DeadlineExceeded => "DEADLINE_EXCEEDED",
        _ => "UNSPECIFIED",
    };
    (kind, reason)
}

/// The kind of an error from its two codes. Only kinds that never leave the transport share both.
fn kind_of(code: Code, chorus_code: ChorusErrorCode) -> Kind {
    let fits = |kind: &Kind| {
        let (its_code, _, its_chorus_code, _) = kind.row();
        its_code == code && its_chorus_code == chorus_code
    };
    Kind::ALL.into_iter().find(fits).unwrap_or_else(|| bare_kind(code))
}

fn bare_kind(code: Code) -> Kind {
    match code {
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => Kind::InvalidRequest,
        Code::NotFound => Kind::NotFound,
        Code::AlreadyExists => Kind::AlreadyExists,
        Code::Aborted => Kind::Conflict,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::PermissionDenied => Kind::PermissionDenied,
        Code::ResourceExhausted => Kind::Exhausted,
        Code::Unimplemented => Kind::Unimplemented,
        Code::Unavailable | Code::Cancelled => Kind::Unavailable,
        Code::DeadlineExceeded => Kind::DeadlineExceeded,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Kind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;

    async fn body(response: Response) -> Value {
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn the_body_has_one_detail_and_no_empty_extras() {
        let error = Error::not_found("WORKSPACE_NOT_FOUND", "There is no workspace 7.");
        let response = from_error(error, "/api/rest/v1/workspaces/7");
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let want = json!({ "code": 5, "message": "There is no workspace 7.", "details": [{
            "chorusCode": "NOT_FOUND", "instance": "/api/rest/v1/workspaces/7", "title": "Not Found",
            "message": "There is no workspace 7.", "reason": "WORKSPACE_NOT_FOUND" }] });
        assert_eq!(body(response).await, want);
    }

    #[tokio::test]
    async fn fields_that_break_rules_are_listed() {
        let status = Error::field("name", "max_len", "Too long.").into_status("/x");
        let body = body(from_status(status, "/x")).await;
        assert_eq!(body["details"][0]["validationErrors"], json!([{ "field": "name", "reason": "max_len" }]));
    }

    /// Over gRPC only the two codes travel; the HTTP status must come back from them.
    #[test]
    fn every_kind_of_a_service_keeps_its_http_status() {
        for kind in Kind::ALL.into_iter().filter(|k| *k != Kind::UnsupportedMediaType) {
            let status = Error::new(kind, "TEST", "test").into_status("/x");
            assert_eq!(from_status(status, "/x").status(), kind.http(), "{kind:?}");
        }
    }

    #[test]
    fn retry_after_passes_and_of_cookies_only_their_removal() {
        let mut status =
            Error::new(Kind::Exhausted, "TEST", "test").retry_after(Duration::from_secs(9)).into_status("/x");
        status.metadata_mut().insert("set-cookie", "a=b".parse().unwrap());
        let response = from_status(status, "/x");
        assert_eq!(response.headers()[header::RETRY_AFTER], "9");
        assert!(!response.headers().contains_key(header::SET_COOKIE));
        let cleared = "jwttoken=; Path=/; HttpOnly; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
        let mut status = Error::unauthenticated("TEST", "test").into_status("/x");
        status.metadata_mut().insert("set-cookie", cleared.parse().unwrap());
        assert_eq!(from_status(status, "/x").headers()[header::SET_COOKIE], cleared);
    }

    #[test]
    fn statuses_of_tonic_get_a_detail() {
        let table = [
            (Status::unimplemented(""), Kind::Unimplemented, "UNKNOWN_RPC"),
            (
                Status::internal("failed to decode Protobuf message: buffer underflow"),
                Kind::InvalidRequest,
                "MALFORMED_MESSAGE",
            ),
            (
                Status::out_of_range("Error, decoded message length too large: found 9 bytes, the limit is: 4 bytes"),
                Kind::TooLarge,
                "REQUEST_TOO_LARGE",
            ),
            (Status::unknown("secret inside"), Kind::Internal, "INTERNAL"),
        ];
        for (bare, kind, reason) in table {
            let full = complete(bare, "/chorus.v1.A/B");
            let detail = detail(&full).unwrap();
            assert_eq!((full.code(), detail.reason.as_str()), (kind.code(), reason));
            assert!(!full.message().contains("secret"));
            assert!(!full.message().is_empty());
        }
    }
}
