//! One HTTP/1.1 exchange with a desktop over a byte stream of its own, upgrades included.
//!
//! What always holds: nothing is sent twice; no body is collected, in either direction; the connection ends with the answer
//! or with the right to it, whichever comes first.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    open::{End, Lease, Why},
    usage::Meter,
};
use crate::server::{runtime::Stream, telemetry};

/// The answer of a desktop, and what keeps the connection to it open.
pub struct Answer {
    /// Its head, and what it says as it arrives.
    pub response: Response<Incoming>,
    /// Dropped, the connection ends.
    pub connection: DropGuard,
}

/// Sends the request and returns the head of the answer.
///
/// # Errors
/// When the desktop ends the connection, or does not speak HTTP.
pub async fn exchange(stream: Box<dyn Stream>, request: Request<Body>) -> hyper::Result<Answer> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    let connection: BoxFuture<'static, hyper::Result<()>> = Box::pin(connection.with_upgrades());
    tokio::spawn(async move {
        // how it ends, the answer tells
        let _ = stop.run_until_cancelled(connection).await;
    });
    let response = sender.send_request(request).await?;
    Ok(Answer { response, connection: guard })
}

/// A body that is counted, and that breaks off when the right to it ends.
pub struct Metered {
    body: Pin<Box<dyn http_body::Body<Data = Bytes, Error = axum::BoxError> + Send>>,
    way: &'static str,
    meter: Arc<Meter>,
    end: BoxFuture<'static, Why>,
    _held: Option<(Lease, DropGuard)>,
}

impl Metered {
    /// What goes to a desktop.
    pub fn up(body: Body, meter: Arc<Meter>, lease: &Lease) -> Body {
        Body::new(Self::new(body, "up", meter, lease.end().clone(), None))
    }

    /// What comes from a desktop; the lease and the connection last as long.
    pub fn down(body: Incoming, meter: Arc<Meter>, lease: Lease, connection: DropGuard) -> Body {
        let end = lease.end().clone();
        Body::new(Self::new(body, "down", meter, end, Some((lease, connection))))
    }

    fn new<B>(body: B, way: &'static str, meter: Arc<Meter>, end: Arc<End>, held: Option<(Lease, DropGuard)>) -> Self
    where
        B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
    {
        let body = Box::pin(body.map_err(Into::into));
        Self { body, way, meter, end: Box::pin(async move { end.comes().await }), _held: held }
    }
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(why) = self.end.as_mut().poll(cx) {
            return Poll::Ready(Some(Err(format!("the stream was ended: {}", why.close().1).into())));
        }
        let polled = self.body.as_mut().poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.meter.bytes(data.len());
            telemetry::streamed(self.way, data.len());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
