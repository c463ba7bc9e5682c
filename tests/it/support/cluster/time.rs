//! Time of tests: that of tokio, which stands still while something runs and jumps to the next timer when nothing does.

use std::sync::{Arc, Mutex};

use chorus::server::clock::Clock;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use serde_json::Value;
use tokio::time::Instant;

/// A clock that goes with tokio's timers, and can be set.
#[derive(Debug)]
pub struct VirtualClock {
    started: Instant,
    at: Mutex<DateTime<Utc>>,
}

impl VirtualClock {
    /// A clock of which every test sees the same time.
    pub fn new() -> Arc<Self> {
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default();
        Arc::new(Self { started: Instant::now(), at: Mutex::new(at) })
    }

    /// Sets it: time itself goes on as before.
    pub fn jump(&self, by: TimeDelta) {
        *self.at.lock().unwrap() += by;
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> DateTime<Utc> {
        (*self.at.lock().unwrap() + self.started.elapsed()).trunc_subsecs(6)
    }
}

/// As the API server writes it: whole seconds.
pub fn timestamp(at: DateTime<Utc>) -> Value {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}

/// What [`timestamp`] wrote.
pub fn moment(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str()?.parse().ok()
}
