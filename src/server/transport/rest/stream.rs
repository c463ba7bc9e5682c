//! Server streams over REST: one message a line (NDJSON), or server-sent events when the client asks for them.
//!
//! A failure in the middle is the last line or event: `{"error": …}` with the body of every other failure.

use std::convert::Infallible;

use axum::{body::Body, response::Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt;
use prost_reflect::MessageDescriptor;
use tonic::{Code, Status};

use super::{answer_with, binding::Binding, errors, json::Emitted, unframe};

#[derive(Debug, Clone, Copy)]
enum Form {
    Lines,
    Events,
}

/// The answer of a stream that did not fail at once.
pub fn answer(answer: Response, binding: &Binding, headers: &HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (form, kind) = match accept.contains("text/event-stream") {
        true => (Form::Events, "text/event-stream"),
        false => (Form::Lines, "application/x-ndjson"),
    };
    let state = State {
        body: Some(answer.into_body()),
        buffer: BytesMut::new(),
        output: binding.descriptor.output(),
        instance: binding.uri.path().into(),
        form,
    };
    let items =
        stream::unfold(state, |mut state| async move { Some((Ok::<_, Infallible>(state.next().await?), state)) });
    let mut response = answer_with(HeaderValue::from_static(kind), Body::from_stream(items));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

struct State {
    /// `None` after a failure.
    body: Option<Body>,
    buffer: BytesMut,
    output: MessageDescriptor,
    instance: Box<str>,
    form: Form,
}

impl State {
    async fn next(&mut self) -> Option<Bytes> {
        match self.message().await {
            Ok(json) => json.map(|json| self.item("result", &json)),
            Err(status) => {
                self.body = None;
                self.buffer.clear();
                let status = errors::complete(status, &self.instance);
                Some(self.item("error", &errors::to_json(&status, &self.instance)))
            }
        }
    }

    /// The next message as JSON; `None` at the end.
    async fn message(&mut self) -> Result<Option<Vec<u8>>, Status> {
        loop {
            let mut bytes = self.buffer.split().freeze();
            let message = unframe(&mut bytes, self.output.clone())?;
            self.buffer = BytesMut::from(bytes);
            if let Some(message) = message {
                return serde_json::to_vec(&Emitted(&message))
                    .map(Some)
                    .map_err(|error| Status::internal(error.to_string()));
            }
            let Some(body) = &mut self.body else { return Ok(None) };
            let Some(frame) = body.frame().await else { return Ok(None) };
            match frame.map_err(|error| Status::internal(error.to_string()))?.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(frame) => {
                    let status = frame.trailers_ref().and_then(Status::from_header_map);
                    return status.filter(|s| s.code() != Code::Ok).map_or(Ok(None), Err);
                }
            }
        }
    }

    fn item(&self, name: &str, json: &[u8]) -> Bytes {
        let (before, after) = match self.form {
            Form::Lines => (format!("{{\"{name}\":"), "}\n"),
            Form::Events => (format!("event: {name}\ndata: "), "\n\n"),
        };
        [before.as_bytes(), json, after.as_bytes()].concat().into()
    }
}
