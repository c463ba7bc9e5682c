//! How much each desktop is used: requests, bytes, and when somebody last did something in it.
//!
//! Streams count into a [`Meter`] of their workbench, in memory. Every [`EVERY`], and once more when the server stops, what
//! was counted is added to the rows. What always holds: replicas add up; a statement that fails is tried again with the
//! next batch; no time goes backwards; none of it counts as a change that somebody watches.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};

use crate::server::{
    db::{Db, sql},
    error::Result,
};

/// How often what was counted is stored.
pub const EVERY: Duration = Duration::from_secs(30);

/// What was counted of one workbench since it was last stored. Times are in microseconds; 0 is never.
#[derive(Debug, Default)]
pub struct Meter {
    requests: AtomicI64,
    bytes: AtomicI64,
    accessed_at: AtomicI64,
    active_at: AtomicI64,
}

/// The same as plain numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counted {
    requests: i64,
    bytes: i64,
    accessed_at: i64,
    active_at: i64,
}

impl Meter {
    /// A request to the desktop.
    pub fn request(&self, now: DateTime<Utc>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.accessed_at.fetch_max(now.timestamp_micros(), Ordering::Relaxed);
    }

    /// Bytes, of either way.
    pub fn bytes(&self, count: usize) {
        self.bytes.fetch_add(i64::try_from(count).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Somebody did something in the desktop.
    pub fn input(&self, now: DateTime<Utc>) {
        self.active_at.fetch_max(now.timestamp_micros(), Ordering::Relaxed);
    }

    /// Bytes, and the time of the last input.
    #[cfg(test)]
    pub(super) fn counted_for_tests(&self) -> (i64, i64) {
        let counted = self.take();
        (counted.bytes, counted.active_at)
    }

    fn take(&self) -> Counted {
        Counted {
            requests: self.requests.swap(0, Ordering::Relaxed),
            bytes: self.bytes.swap(0, Ordering::Relaxed),
            accessed_at: self.accessed_at.swap(0, Ordering::Relaxed),
            active_at: self.active_at.swap(0, Ordering::Relaxed),
        }
    }

    fn give_back(&self, counted: Counted) {
        self.requests.fetch_add(counted.requests, Ordering::Relaxed);
        self.bytes.fetch_add(counted.bytes, Ordering::Relaxed);
        self.accessed_at.fetch_max(counted.accessed_at, Ordering::Relaxed);
        self.active_at.fetch_max(counted.active_at, Ordering::Relaxed);
    }
}

/// The meters of all workbenches that are in use.
pub struct Usage {
    db: Db,
    meters: Mutex<HashMap<i64, Arc<Meter>>>,
}

impl Usage {
    /// Stored in this database.
    pub fn new(db: Db) -> Self {
        Self { db, meters: Mutex::default() }
    }

    /// The meter of a workbench.
    pub fn meter(&self, workbench: i64) -> Arc<Meter> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner).entry(workbench).or_default().clone()
    }

    /// Stores what was counted, and forgets meters that nobody holds.
    ///
    /// # Errors
    /// When the database does not take it. Nothing is lost then; the next call tries again.
    pub async fn store(&self) -> Result<()> {
        let meters: Vec<_> = {
            let mut all = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
            let due: Vec<_> = all.iter().map(|(id, meter)| (*id, meter.clone())).collect();
            // held by the map and by `due`; whoever takes a new one does so behind this lock
            all.retain(|_, meter| Arc::strong_count(meter) > 2);
            due
        };
        let mut outcome = Ok(());
        for (workbench, meter) in meters {
            let counted = meter.take();
            if counted != Counted::default()
                && let Err(error) = self.add(workbench, counted).await
            {
                self.meter(workbench).give_back(counted);
                outcome = Err(error);
            }
        }
        outcome
    }

    async fn add(&self, workbench: i64, counted: Counted) -> Result<()> {
        let at = |micros| Some(micros).filter(|n| *n > 0).and_then(DateTime::from_timestamp_micros);
        sql("UPDATE workbenches SET accessed_count = accessed_count + $1, streamed_bytes = streamed_bytes + $2, \
             accessed_at = CASE WHEN accessed_at IS NULL OR accessed_at < $3 THEN $3 ELSE accessed_at END, \
             active_at = CASE WHEN active_at < $4 THEN $4 ELSE active_at END WHERE id = $5")
        .bind(counted.requests)
        .bind(counted.bytes)
        .bind(at(counted.accessed_at).unwrap_or_default())
        .bind(at(counted.active_at).unwrap_or_default())
        .bind(workbench)
        .run(&self.db)
        .await?;
        Ok(())
    }
}
