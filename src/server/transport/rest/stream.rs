//! Server streams over REST: one message a line (NDJSON), or server-sent events when the client asks for them.
//!
//! A failure in the middle is the last line or event: `{"error": …}` with the body of every other failure.

use std::convert::Infallible;

use axum::{body::Body, response::Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderValue, header, request::Parts};
use http_body_util::BodyExt;
use tonic::{Code, Status};

use super::{
    answer_with,
    binding::{Binding, Reply},
    emit, errors, unframe,
};

#[derive(Debug, Clone, Copy)]
enum Form {
    Lines,
    Events,
}

/// The answer of a stream that did not fail at once.
pub fn answer(answer: Response, binding: &Binding, parts: &Parts) -> Response {
    let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (form, kind) = match accept.contains("text/event-stream") {
        true => (Form::Events, "text/event-stream"),
        false => (Form::Lines, "application/x-ndjson"),
    };
    let state = State {
        body: Some(answer.into_body()),
        buffer: BytesMut::new(),
        reply: binding.reply.clone(),
        instance: parts.uri.path().into(),
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
    reply: Reply,
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
            let message = unframe(&mut bytes)?;
            self.buffer = BytesMut::from(bytes);
            if let Some(message) = message {
                return match &self.reply {
                    Reply::Json(layout) => emit::to_json(layout, &message).map(Some),
                    Reply::Raw => Err(Status::internal("a stream of raw bytes has no form over REST")),
                };
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

#[cfg(test)]
mod tests {
    use futures_util::stream::iter;
    use http::Request;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use prost::Message as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::{proto, server::error::Error, server::transport::rest::binding::bindings};

    /// What a client gets for these pieces of a gRPC body and this end.
    async fn sent(accept: &str, pieces: Vec<Vec<u8>>, end: Option<Status>) -> String {
        let binding =
            bindings(proto::pool()).unwrap().into_iter().find(|b| b.rpc.name == "DevstoreService/GetGlobalEntry");
        let mut frames: Vec<_> =
            pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece.into()))).collect();
        if let Some(status) = end {
            frames.push(Ok(Frame::trailers(status.into_http::<()>().into_parts().0.headers)));
        }
        let grpc = Response::new(Body::new(StreamBody::new(iter(frames))));
        let request = Request::get("/api/rest/v1/things").header("accept", accept).body(()).unwrap();
        let response = answer(grpc, &binding.unwrap(), &request.into_parts().0);
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    fn frame(key: &str) -> Vec<u8> {
        let result = proto::v1::GetEntryResult { key: key.to_owned(), value: String::new() };
        let message = proto::v1::GetEntryReply { result: Some(result) }.encode_to_vec();
        [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat()
    }

    #[tokio::test]
    async fn messages_are_lines_however_they_arrive() {
        let whole = [frame("a"), frame("b")].concat();
        let (left, right) = whole.split_at(9);
        for pieces in
            [vec![whole.clone()], vec![left.to_vec(), right.to_vec()], whole.iter().map(|b| vec![*b]).collect()]
        {
            let text = sent("*/*", pieces, Some(Status::ok(""))).await;
            let keys: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(
                keys.iter().map(|k| &k["result"]["result"]["key"]).collect::<Vec<_>>(),
                [&json!("a"), &json!("b")]
            );
        }
    }

    #[tokio::test]
    async fn a_failure_is_the_last_event() {
        let failure = Error::denied("GONE", "Your role was revoked.").into_status("/api/rest/v1/things");
        let text = sent("text/event-stream", vec![frame("a")], Some(failure)).await;
        let events: Vec<_> = text.split_terminator("\n\n").collect();
        assert!(events[0].starts_with("event: result\ndata: {"), "{text}");
        let error = events[1].strip_prefix("event: error\ndata: ").unwrap();
        let error: Value = serde_json::from_str(error).unwrap();
        assert_eq!((&error["code"], &error["details"][0]["reason"]), (&json!(7), &json!("GONE")));
        assert_eq!(events.len(), 2);
    }
}
