//! Who leads: the lease, held in the database and remembered here.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::server::{
    clock::Clock,
    db::{Db, lease},
};

const LEASE: &str = "reconcile";
/// How long a leader that died keeps others from leading.
const LASTS: TimeDelta = TimeDelta::seconds(15);
/// How often it is renewed, and how often the others try to take it.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(5);
/// The same for [`Lead::take`]: there is no statement while it holds for longer than this.
const RENEW_BEFORE: TimeDelta = TimeDelta::seconds(10);

/// The lease of one replica.
pub(super) struct Lead {
    db: Db,
    clock: Arc<dyn Clock>,
    holder: String,
    until: Mutex<DateTime<Utc>>,
}

impl Lead {
    pub fn new(db: Db, clock: Arc<dyn Clock>, holder: String) -> Self {
        Self { db, clock, holder, until: Mutex::new(DateTime::UNIX_EPOCH) }
    }

    /// Whether this replica leads as far as it knows. Asked before each order and each write.
    pub fn holds(&self) -> bool {
        self.clock.now() < self.until()
    }

    /// Takes or renews the lease, if that is due; whether this replica leads.
    pub async fn take(&self) -> bool {
        if self.clock.now() + RENEW_BEFORE < self.until() {
            return true;
        }
        self.renew().await.unwrap_or_else(|| self.holds())
    }

    /// Renews the lease until it is lost or everything stops. Both are looked at between statements, never within one: a
    /// statement that was dropped could take effect after the lease was given back.
    pub async fn keep(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(RENEW_EVERY)).await.is_some() {
            let held = self.renew().await.unwrap_or_else(|| self.holds());
            if !held {
                tracing::warn!(target: "chorus::reconcile", "the lease was lost, another replica leads");
                return;
            }
        }
    }

    /// Gives the lease back.
    pub async fn release(&self) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = DateTime::UNIX_EPOCH;
        if let Err(error) = lease::release(&self.db, LEASE, &self.holder).await {
            // it ends by itself
            tracing::warn!(target: "chorus::reconcile", %error, "the lease was not given back");
        }
    }

    /// Whether the database gave it; nothing when it did not answer.
    async fn renew(&self) -> Option<bool> {
        // the time before the statement: the lease must not be remembered for longer than it is held
        let now = self.clock.now();
        match lease::acquire(&self.db, LEASE, &self.holder, now, LASTS).await {
            Ok(held) => {
                let until = if held { now + LASTS } else { DateTime::UNIX_EPOCH };
                *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
                Some(held)
            }
            Err(error) => {
                tracing::warn!(target: "chorus::reconcile", %error, "the lease could not be renewed, is tried again");
                None
            }
        }
    }

    fn until(&self) -> DateTime<Utc> {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
