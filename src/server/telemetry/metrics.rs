//! The numbers: counters and latencies per RPC, answers per class of route, connections of the pool.
//!
//! The recorder is one for the process. A server renders it for `/metrics` and must run [`Metrics::upkeep`] beside, since
//! latencies pile up in memory until they are put into their buckets.

use std::{sync::OnceLock, time::Duration};

use chrono::{DateTime, Utc};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tonic::Code;

const REQUESTS: &str = "chorus_rpc_requests_total";
const DURATION: &str = "chorus_rpc_duration_seconds";
const HTTP: &str = "chorus_http_requests_total";
const STREAMS: &str = "chorus_streams_open";
const STREAM_REQUESTS: &str = "chorus_stream_requests_total";
const STREAM_BYTES: &str = "chorus_stream_bytes_total";
const CONNECTIONS: &str = "chorus_db_connections";
const LEADS: &str = "chorus_reconcile_leads";
const DUE: &str = "chorus_reconcile_due";
const UNDER_WAY: &str = "chorus_reconcile_under_way";
const ORDERS: &str = "chorus_reconcile_orders_total";
const FAILURES: &str = "chorus_reconcile_failures_total";
const START: &str = "process_start_time_seconds";

/// Upper ends of the latency buckets in seconds: from a cached read to the longest allowed call.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// Upper ends of the buckets of start times in seconds: from an image that is there to the longest start.
const START_BUCKETS: [f64; 11] = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0];

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// The recorder of the process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// How many connections to the database are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// In use by a statement or transaction.
    pub used: u32,
    /// Waiting for work.
    pub idle: u32,
}

/// What an HTTP request was for; the path itself would make the labels grow without bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteClass {
    /// The REST API.
    Rest,
    /// gRPC and gRPC-web.
    Grpc,
    /// Desktops.
    Stream,
    /// Documentation, OpenAPI, the first page.
    Docs,
    /// Health and metrics.
    Probe,
    /// No route.
    Unknown,
}

impl Metrics {
    /// Installs the recorder, or returns the one that is installed (several servers in one process share it).
    ///
    /// # Errors
    /// When some other recorder is installed.
    pub fn install(started: DateTime<Utc>) -> anyhow::Result<Self> {
        if let Some(handle) = HANDLE.get() {
            return Ok(Self(handle.clone()));
        }
        let full = |name: &str| Matcher::Full(name.to_owned());
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(full(DURATION), &BUCKETS)?
            .set_buckets_for_metric(full("chorus_operator_reconcile_duration_seconds"), &BUCKETS)?
            .set_buckets_for_metric(full("chorus_operator_app_start_seconds"), &START_BUCKETS)?;
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // of two servers that start at once, one installs and both use what is installed
        if HANDLE.set(handle.clone()).is_ok() {
            metrics::set_global_recorder(recorder)?;
            describe(started);
        }
        Ok(Self(HANDLE.get().cloned().unwrap_or(handle)))
    }

    /// Everything in the Prometheus text format.
    pub fn render(&self, connections: Connections) -> String {
        for (state, number) in [("used", connections.used), ("idle", connections.idle)] {
            gauge!(CONNECTIONS, "state" => state).set(f64::from(number));
        }
        self.0.render()
    }

    /// Sorts latencies into their buckets every few seconds, for ever.
    pub async fn upkeep(self) {
        let mut every = tokio::time::interval(Duration::from_secs(5));
        loop {
            every.tick().await;
            self.0.run_upkeep();
        }
    }
}

fn describe(started: DateTime<Utc>) {
    describe_counter!(REQUESTS, "Calls that ended, by RPC and gRPC code.");
    describe_histogram!(DURATION, "Time from the arrival of a call to its end, in seconds, by RPC.");
    describe_counter!(HTTP, "HTTP requests answered, by class of route and status.");
    describe_gauge!(STREAMS, "Exchanges with desktops that are open, WebSockets included.");
    describe_counter!(STREAM_REQUESTS, "Requests to desktops, by kind (http, websocket) and status.");
    describe_counter!(STREAM_BYTES, "Bytes between browsers and desktops, by way (up is to the desktop).");
    describe_gauge!(CONNECTIONS, "Connections to the database, by state.");
    describe_gauge!(LEADS, "Whether this replica reconciles rows and desktops: 1, or 0.");
    describe_gauge!(DUE, "Workspaces and workbenches that are due, at the leader's last look.");
    describe_gauge!(UNDER_WAY, "Workspaces and workbenches that are worked on.");
    describe_counter!(ORDERS, "Orders given to the runtime, by order.");
    describe_counter!(FAILURES, "Orders that failed, by reason. Each is given again.");
    describe_gauge!(START, "When the server started, in seconds since 1970.");
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are exact in 53 bits")]
    gauge!(START).set(started.timestamp_millis() as f64 / 1000.0);
}

/// Counts a call that ended.
pub fn call_finished(rpc: &'static str, code: Code, seconds: f64) {
    counter!(REQUESTS, "rpc" => rpc, "code" => code_name(code)).increment(1);
    histogram!(DURATION, "rpc" => rpc).record(seconds);
}

/// Counts an HTTP request that was answered.
pub fn http_finished(route: RouteClass, status: http::StatusCode) {
    counter!(HTTP, "route" => route.name(), "status" => status.as_str().to_owned()).increment(1);
}

/// Says whether this replica leads the loop that reconciles.
pub fn reconcile_leads(leads: bool) {
    gauge!(LEADS).set(if leads { 1.0 } else { 0.0 });
}

/// Says how many rows were due at the last look.
pub fn reconcile_due(rows: i64) {
    gauge!(DUE).set(f64::from(i32::try_from(rows).unwrap_or(i32::MAX)));
}

/// Says how many rows are worked on.
pub fn reconcile_under_way(rows: usize) {
    gauge!(UNDER_WAY).set(f64::from(i32::try_from(rows).unwrap_or(i32::MAX)));
}

/// Counts an order to the runtime that ended.
pub fn reconcile_done(order: &'static str) {
    counter!(ORDERS, "order" => order).increment(1);
}

/// Counts an order that failed.
pub fn reconcile_failed(reason: &'static str) {
    counter!(FAILURES, "reason" => reason).increment(1);
}

/// Says how many exchanges with desktops are open.
pub fn streams_open(count: usize) {
    gauge!(STREAMS).set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}

/// Counts a request to a desktop that was answered.
pub fn stream_request(kind: &'static str, status: http::StatusCode) {
    counter!(STREAM_REQUESTS, "kind" => kind, "status" => status.as_str().to_owned()).increment(1);
}

/// Counts bytes on their way to a desktop (`up`) or from it (`down`).
pub fn streamed(way: &'static str, bytes: usize) {
    counter!(STREAM_BYTES, "way" => way).increment(bytes as u64);
}

impl RouteClass {
    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Grpc => "grpc",
            Self::Stream => "stream",
            Self::Docs => "docs",
            Self::Probe => "probe",
            Self::Unknown => "unknown",
        }
    }
}

/// The name of a gRPC code as the gRPC documents write it.
pub const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_what_was_counted() {
        let started = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        Metrics::install(started).unwrap();
        let again = Metrics::install(started).unwrap();
        call_finished("UserService.GetUserMe", Code::Ok, 0.0007);
        http_finished(RouteClass::Rest, http::StatusCode::NOT_FOUND);
        let text = again.render(Connections { used: 1, idle: 2 });
        for line in [
            "chorus_rpc_requests_total{rpc=\"UserService.GetUserMe\",code=\"OK\"} 1",
            "chorus_rpc_duration_seconds_bucket{rpc=\"UserService.GetUserMe\",le=\"0.0005\"} 0",
            "chorus_rpc_duration_seconds_bucket{rpc=\"UserService.GetUserMe\",le=\"0.001\"} 1",
            "chorus_http_requests_total{route=\"rest\",status=\"404\"} 1",
            "chorus_db_connections{state=\"idle\"} 2",
            "process_start_time_seconds 1700000000",
            "# HELP chorus_rpc_requests_total Calls that ended, by RPC and gRPC code.",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
    }
}
