//! How large a request may be: each RPC states its limit in the contract, and it binds REST, gRPC and gRPC-web alike.
//! Bytes are counted while they arrive, so a client that lies about the length, or states none, gains nothing. Nor does
//! one that sends a byte now and then: a body has to arrive at a pace.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tonic::Status;

use crate::server::error::{Error, Kind, Result};

/// The limit of calls that the contract does not know, such as reflection.
pub const DEFAULT_MAX_BYTES: usize = 4 << 20;

/// The reason of a refusal for size.
pub const TOO_LARGE: &str = "REQUEST_TOO_LARGE";

/// A gRPC message comes in a frame of one flag and four bytes of length.
const GRPC_FRAME_HEADER: usize = 5;

/// How long a client may pause while it sends a body.
const BODY_PAUSE: Duration = Duration::from_secs(30);

/// How long any body may take to arrive, and how many bytes earn it another second.
const BODY_TIME: Duration = Duration::from_secs(60);
const BODY_BYTES_PER_SECOND: usize = 64 << 10;

/// Reads a whole body of at most `max` bytes.
pub async fn read(body: Body, max: usize) -> Result<Bytes> {
    if body.size_hint().lower() > max as u64 {
        return Err(too_large(max));
    }
    let limit = BODY_TIME + Duration::from_secs((max / BODY_BYTES_PER_SECOND) as u64);
    let late = |_| too_slow(format_args!("it was not complete after {} seconds", limit.as_secs()));
    tokio::time::timeout(limit, collect(body, max)).await.map_err(late)?
}

async fn collect(mut body: Body, max: usize) -> Result<Bytes> {
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(BODY_PAUSE, body.frame()).await.map_err(|_| paused())?;
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if first.as_ref().map_or(0, Bytes::len) + rest.len() + data.len() > max {
            return Err(too_large(max));
        }
        match &first {
            // most bodies are one frame, which needs no copy
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
    }
    let first = first.unwrap_or_default();
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

/// A gRPC request body that fails with a complete status once it is larger than `max` bytes.
pub fn limited(body: Body, max: usize, instance: &str) -> Body {
    Body::new(Limited { body, left: max.saturating_add(GRPC_FRAME_HEADER), max, instance: instance.into() })
}

struct Limited {
    body: Body,
    left: usize,
    max: usize,
    instance: Box<str>,
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame.map(|f| f.map_err(Into::into))) };
        let len = frame.data_ref().map_or(0, Bytes::len);
        match self.left.checked_sub(len) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                self.left = 0;
                // tonic looks for a status in the source chain of a body's error
                let status: Status = too_large(self.max).into_status(&self.instance);
                Poll::Ready(Some(Err(status.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn too_large(max: usize) -> Error {
    let text = format!("The request is larger than {max} bytes, the most that this call takes.");
    Error::new(Kind::TooLarge, TOO_LARGE, text)
}

fn paused() -> Error {
    too_slow(format_args!("nothing came for {} seconds", BODY_PAUSE.as_secs()))
}

fn too_slow(why: fmt::Arguments<'_>) -> Error {
    Error::new(Kind::DeadlineExceeded, "BODY_TIMEOUT", format!("The body did not arrive: {why}."))
}

fn broken(error: axum::Error) -> Error {
    Error::invalid("BODY_INCOMPLETE", "The body ended before it was complete.").because(error)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn chunks(parts: &[&'static str]) -> Body {
        let parts: Vec<_> =
            parts.iter().map(|part| Ok::<_, std::io::Error>(Bytes::from_static(part.as_bytes()))).collect();
        Body::from_stream(stream::iter(parts))
    }

    #[tokio::test]
    async fn reads_up_to_the_limit_and_not_beyond() {
        assert_eq!(read(chunks(&["ab", "cd", "e"]), 5).await.unwrap(), "abcde");
        assert_eq!(read(Body::empty(), 0).await.unwrap(), "");
        assert_eq!(read(Body::from("abcdef"), 5).await.unwrap_err().kind(), Kind::TooLarge);
        assert_eq!(read(chunks(&["ab", "cd", "ef"]), 5).await.unwrap_err().kind(), Kind::TooLarge);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read(body, 5).await.unwrap_err().reason(), "BODY_TIMEOUT");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up() {
        let drip = stream::unfold((), |()| async {
            tokio::time::sleep(BODY_PAUSE / 2).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        let before = tokio::time::Instant::now();
        let error = read(Body::from_stream(drip), 10 * BODY_BYTES_PER_SECOND).await.unwrap_err();
        assert_eq!((error.reason(), before.elapsed().as_secs()), ("BODY_TIMEOUT", 70));
    }

    #[tokio::test]
    async fn a_grpc_body_fails_with_the_status_inside() {
        assert_eq!(limited(chunks(&["12345", "ab"]), 2, "/x").collect().await.unwrap().to_bytes(), "12345ab");
        let error = limited(chunks(&["12345", "abc"]), 2, "/x").collect().await.unwrap_err();
        let status = Status::from_error(Box::new(error));
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert_eq!(crate::server::error::detail(&status).unwrap().instance, "/x");
    }
}
