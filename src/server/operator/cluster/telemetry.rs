//! The figures of the operator. Whoever runs it chooses where they go ([`metrics`]).

use std::{collections::BTreeMap, time::Duration};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const RECONCILES: &str = "chorus_operator_reconciles_total";
const DURATION: &str = "chorus_operator_reconcile_duration_seconds";
const ERRORS: &str = "chorus_operator_errors_total";
const WORKBENCHES: &str = "chorus_operator_workbenches";
const APP_START: &str = "chorus_operator_app_start_seconds";
const WRITES: &str = "chorus_operator_api_writes_total";
const DEPTH: &str = "chorus_operator_queue_depth";
const LEADER: &str = "chorus_operator_leader";

/// The states that [`workbenches`] tells.
const STATES: [&str; 6] = ["New", "Progressing", "Running", "Failed", "Suspended", "Deleting"];

/// Says what the figures mean.
pub fn describe() {
    describe_counter!(RECONCILES, "Passes over a resource, by kind and result");
    describe_histogram!(DURATION, Unit::Seconds, "Duration of a pass, by kind");
    describe_counter!(ERRORS, "Failures, by kind and reason");
    describe_gauge!(WORKBENCHES, "Workbenches, by state");
    describe_histogram!(APP_START, Unit::Seconds, "From the creation of an app's Job until it runs");
    describe_counter!(WRITES, "Writes to the API server, by verb and kind");
    describe_gauge!(DEPTH, "Resources that wait for a pass");
    describe_gauge!(LEADER, "1 while this replica leads");
}

/// A pass ended.
pub fn reconciled(kind: &'static str, result: &'static str, took: Duration) {
    counter!(RECONCILES, "kind" => kind, "result" => result).increment(1);
    histogram!(DURATION, "kind" => kind).record(took.as_secs_f64());
}

/// Something failed.
pub fn error(kind: &'static str, reason: &'static str) {
    counter!(ERRORS, "kind" => kind, "reason" => reason).increment(1);
}

/// Something is written.
pub fn write(verb: &'static str, kind: &'static str) {
    counter!(WRITES, "verb" => verb, "kind" => kind).increment(1);
}

/// An app runs, this long after its Job was made.
pub fn app_started(after: Duration) {
    histogram!(APP_START).record(after.as_secs_f64());
}

/// How many workbenches there are in each state.
pub fn workbenches(states: &BTreeMap<&'static str, usize>) {
    for state in STATES {
        let count = states.get(state).copied().unwrap_or_default();
        gauge!(WORKBENCHES, "state" => state).set(u32::try_from(count).unwrap_or(u32::MAX));
    }
}

/// How much waits.
pub fn depth(keys: usize) {
    gauge!(DEPTH).set(u32::try_from(keys).unwrap_or(u32::MAX));
}

/// Whether this replica leads.
pub fn leading(leads: bool) {
    gauge!(LEADER).set(if leads { 1.0 } else { 0.0 });
}
