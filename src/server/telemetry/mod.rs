//! What the server tells about itself: lines on standard error, and numbers for Prometheus.
//!
//! What always holds: labels come from fixed sets (names of RPCs, codes, classes of routes), so that no caller can make the
//! metrics grow; nothing here ever sees a token, password, cookie or query string.

pub mod logs;
pub mod metrics;

pub use metrics::{
    Connections, Metrics, RouteClass, call_finished, code_name, http_finished, stream_request, streamed, streams_open,
};
