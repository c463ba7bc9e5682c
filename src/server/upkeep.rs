//! Upkeep: jobs that keep the database small, done by one replica at a time.
//!
//! ```text
//! every minute ──► lease taken or renewed? ──► each job that is due ──► due again after its interval
//!                   └─ no: another replica does it                └─ failed: after a minute
//! ```
//!
//! A job is a name, an interval and a function of the time; rooms add theirs in [`jobs`](super::services::jobs). What always
//! holds: a job that fails, or panics, is logged and tried again, and keeps no other from running; the lease is given back
//! when the server stops. Replicas can overlap for a moment when the lease changes hands, so a job must be harmless when it
//! is done twice.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    clock::Clock,
    db::{Db, lease},
    error::{Error, Result},
};

/// How often it is looked for jobs that are due. The first look is this long after the start.
pub const TICK: Duration = Duration::from_secs(60);
/// How long a failed job waits for its next try.
const RETRY_AFTER: TimeDelta = TimeDelta::minutes(1);
/// How long a replica that died keeps others from doing the jobs; it is renewed at every look.
const LEASE_LASTS: TimeDelta = TimeDelta::minutes(5);
const LEASE: &str = "upkeep";

type Work = Box<dyn Fn(DateTime<Utc>) -> BoxFuture<'static, Result<u64>> + Send + Sync>;

/// Something to do every so often.
pub struct Job {
    name: &'static str,
    every: TimeDelta,
    work: Work,
    due: DateTime<Utc>,
}

impl Job {
    /// A job: what to call it in the log, how long to wait after it was done, and how to do it at a time. It returns how many
    /// rows it changed.
    pub fn new<F>(
        name: &'static str,
        every: TimeDelta,
        work: impl Fn(DateTime<Utc>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<u64>> + Send + 'static,
    {
        Self { name, every, work: Box::new(move |now| work(now).boxed()), due: DateTime::UNIX_EPOCH }
    }

    async fn run(&mut self, now: DateTime<Utc>) {
        // made inside, so that a function that panics before it returns a future is caught as well
        let work = AssertUnwindSafe(async { (self.work)(now).await });
        let done = work.catch_unwind().await.unwrap_or_else(|_| Err(Error::internal("it panicked")));
        let job = self.name;
        match &done {
            Ok(0) => tracing::debug!(target: "chorus::upkeep", job, "nothing to do"),
            Ok(rows) => tracing::info!(target: "chorus::upkeep", job, rows, "done"),
            Err(error) => {
                let cause = error.cause().map(tracing::field::display);
                tracing::warn!(target: "chorus::upkeep", job, reason = error.reason(), cause, "failed, is tried again");
            }
        }
        self.due = now + if done.is_ok() { self.every } else { self.every.min(RETRY_AFTER) };
    }
}

/// The jobs of one replica.
pub struct Upkeep {
    db: Db,
    clock: Arc<dyn Clock>,
    holder: String,
    jobs: Vec<Job>,
    stop: CancellationToken,
}

impl Upkeep {
    /// Jobs over this database. `holder` tells this replica from the others.
    pub fn new(db: Db, clock: Arc<dyn Clock>, holder: impl Into<String>, jobs: Vec<Job>) -> Self {
        Self { db, clock, holder: holder.into(), jobs, stop: CancellationToken::new() }
    }

    /// Does what is due, unless another replica does it. A stop drops the job that runs, but never a statement about the
    /// lease: that could take effect after the lease was given back.
    pub async fn round(&mut self) {
        let mut leads = self.leads().await;
        for index in 0..self.jobs.len() {
            let now = self.clock.now();
            if !leads {
                return;
            }
            if let Some(job) = self.jobs.get_mut(index).filter(|job| job.due <= now) {
                let done = self.stop.run_until_cancelled(job.run(now)).await;
                // it may have taken longer than the lease lasts
                leads = done.is_some() && self.leads().await;
            }
        }
    }

    /// Does the jobs until it is stopped; `tick` is how often it looks.
    pub fn start(mut self, tick: Duration) -> Running {
        let stop = self.stop.clone();
        let task = tokio::spawn(async move {
            let mut ticks = interval_at(Instant::now() + tick, tick);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while self.stop.run_until_cancelled(ticks.tick()).await.is_some() {
                self.round().await;
            }
            if let Err(error) = lease::release(&self.db, LEASE, &self.holder).await {
                // it ends by itself
                tracing::warn!(target: "chorus::upkeep", %error, "the lease was not given back");
            }
        });
        Running { stop, task }
    }

    async fn leads(&self) -> bool {
        let taken = lease::acquire(&self.db, LEASE, &self.holder, self.clock.now(), LEASE_LASTS).await;
        taken.unwrap_or_else(|error| {
            tracing::warn!(target: "chorus::upkeep", %error, "the lease could not be taken, is tried again");
            false
        })
    }
}

/// Upkeep that is under way.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Stops: a job that runs is dropped, and what it did not commit is undone.
    pub async fn stop(self) {
        self.stop.cancel();
        if self.task.await.is_err() {
            tracing::error!(target: "chorus::upkeep", "the upkeep failed");
        }
    }
}
