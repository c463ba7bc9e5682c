//! Events (`events.k8s.io/v1`) on our resources. The same thing is told once in a while, not in every pass.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use kube::api::ObjectMeta;
use serde_json::json;

use super::{
    super::{
        super::clock::Clock,
        api::{GROUP, MANAGER, VERSION},
        plan::Notice,
    },
    caches::Key,
    writer::Writer,
};

/// How long something that was told is not told again.
const QUIET: TimeDelta = TimeDelta::minutes(30);
/// When what was told long ago is forgotten.
const REMEMBERED: usize = 10_000;
/// The longest note, by the API.
const NOTE: usize = 1024;

/// Tells people.
pub struct Recorder {
    writer: Writer,
    identity: String,
    clock: Arc<dyn Clock>,
    told: Mutex<HashMap<u64, DateTime<Utc>>>,
    count: AtomicU64,
}

impl Recorder {
    /// Tells through this writer; `identity` names this replica.
    pub fn new(writer: Writer, identity: String, clock: Arc<dyn Clock>) -> Self {
        Self { writer, identity, clock, told: Mutex::default(), count: AtomicU64::new(0) }
    }

    /// Tells this about a resource, unless it was told a short while ago. That it could not be told does no harm.
    pub async fn tell(&self, key: &Key, object: &ObjectMeta, notice: &Notice) {
        let now = self.clock.now();
        if !self.is_news(object, notice, now) {
            return;
        }
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let stamp = now.timestamp_nanos_opt().unwrap_or_default().unsigned_abs().wrapping_add(number);
        let note: String = notice.note.chars().take(NOTE / 4).collect();
        let event = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": { "name": format!("{}.{stamp:x}", key.name), "namespace": &*key.namespace },
            "eventTime": now.to_rfc3339_opts(SecondsFormat::Micros, true),
            "type": if notice.warning { "Warning" } else { "Normal" },
            "reason": notice.reason,
            "action": "Reconcile",
            "note": note,
            "reportingController": MANAGER,
            "reportingInstance": self.identity,
            "regarding": {
                "apiVersion": format!("{GROUP}/{VERSION}"),
                "kind": key.resource.name(),
                "namespace": &*key.namespace,
                "name": &*key.name,
                "uid": object.uid,
            },
        });
        if let Err(error) = self.writer.event(&key.namespace, &event).await {
            tracing::debug!(namespace = %key.namespace, name = %key.name, reason = notice.reason, %error, "an event was not recorded");
        }
    }

    fn is_news(&self, object: &ObjectMeta, notice: &Notice, now: DateTime<Utc>) -> bool {
        let mut hasher = DefaultHasher::new();
        (&object.uid, notice.reason, &notice.note).hash(&mut hasher);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= REMEMBERED {
            told.retain(|_, at| now - *at < QUIET);
        }
        let before = told.insert(hasher.finish(), now);
        match before {
            Some(at) if now - at < QUIET => {
                told.insert(hasher.finish(), at);
                false
            }
            _ => true,
        }
    }
}
