//! Brings the runtime to what the rows want, and the rows to what the runtime shows.
//!
//! ```text
//! a call commits ──► told ─┐
//! every second and a half ─┴► due rows ──► plan ──► Runtime::apply, stop, delete … ──► row: at rest, or due again later
//!
//! Runtime::observe ──► status ──► rows, stamped ──► those who watch
//! every five minutes: Runtime::list against all rows ──► rows that differ are due, desktops without a row are removed
//! ```
//!
//! One replica leads, by the lease `reconcile`. What always holds:
//! - it is level-triggered: a step looks at the row and nothing else, so it may be done again, also by another replica after
//!   this one died anywhere in between;
//! - a row stays due until what the step led to is written; so nothing is forgotten, and a crash leaves no orphan;
//! - what the loop writes is bound to the generation that it read: a call that wants something else meanwhile wins;
//! - a row is worked on once at a time, [`CONCURRENCY`] of them at once; at rest it costs one small query per look;
//! - a leader that lost the lease drops its work. Should two overlap for a moment (clocks differ, a statement hangs), the later
//!   order may be the older one; orders are idempotent, and the next comparison finds the desktop whose generation is not
//!   that of its row;
//! - a panic in the work on one row is a failure of that row.

#[cfg(test)]
mod fixtures;
mod lead;
mod plan;
mod row;
mod status;
mod store;
mod watch;
mod work;

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::{FutureExt, StreamExt};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use self::{
    lead::Lead,
    store::{Target, Written},
    watch::Watch,
    work::Work,
};
use super::{db::Db, pipeline::Shared, runtime::SharedRuntime, telemetry::metrics};

/// How often it looks for due rows when nothing is told.
const LOOK_EVERY: Duration = Duration::from_millis(1500);
/// How often everything is compared with the runtime.
const COMPARE_EVERY: TimeDelta = TimeDelta::minutes(5);
/// How many rows are worked on at once.
pub const CONCURRENCY: usize = 8;
/// How many due rows one look takes on.
const MOST_DUE: usize = 256;
/// How long an order to the runtime may take. It is given again then.
const ORDER_TIMEOUT: Duration = Duration::from_secs(60);

/// The loop of one replica.
pub struct Reconciler {
    core: Arc<Core>,
    watch: Watch,
}

/// What its parts share.
struct Core {
    db: Db,
    runtime: SharedRuntime,
    shared: Arc<Shared>,
    lead: Lead,
    /// The rows that are worked on, or wait for a free hand.
    under_way: std::sync::Mutex<HashSet<Target>>,
    /// Work was finished, so that other rows may go on.
    finished: Notify,
    stop: CancellationToken,
}

impl Reconciler {
    /// The loop over these rows and this runtime. `holder` tells this replica from the others.
    pub fn new(db: Db, runtime: SharedRuntime, shared: Arc<Shared>, holder: impl Into<String>) -> Self {
        let lead = Lead::new(db.clone(), shared.clock.clone(), holder.into());
        let core = Core {
            db,
            runtime,
            shared,
            lead,
            under_way: std::sync::Mutex::default(),
            finished: Notify::new(),
            stop: CancellationToken::new(),
        };
        Self { core: Arc::new(core), watch: Watch::default() }
    }

    /// Does what is due and writes back what was observed by now, if this replica leads; how much it was. For tests, which
    /// have no time to wait.
    pub async fn round(&mut self) -> usize {
        if !self.core.lead.take().await {
            return 0;
        }
        let mut done = self.core.catch_up(&mut self.watch).await;
        let works = self.core.look().await.unwrap_or_default();
        done += works.len();
        let core = &self.core;
        futures_util::stream::iter(works).for_each_concurrent(CONCURRENCY, |work| core.done(work)).await;
        done + self.core.catch_up(&mut self.watch).await
    }

    /// Goes on until it is stopped.
    pub fn start(self) -> Running {
        let stop = self.core.stop.clone();
        Running { stop, task: tokio::spawn(self.run()) }
    }

    async fn run(mut self) {
        let core = self.core.clone();
        while !core.stop.is_cancelled() {
            if core.lead.take().await {
                tracing::info!(target: "chorus::reconcile", runtime = core.runtime.name(), "leads");
                metrics::reconcile_leads(true);
                // dropped at any point: what was begun is still due
                tokio::select! {
                    () = core.lead.keep(&core.stop) => {}
                    _ = AssertUnwindSafe(core.lead_on(&mut self.watch)).catch_unwind() => {
                        tracing::error!(target: "chorus::reconcile", "the loop failed, and begins anew");
                    }
                }
                metrics::reconcile_leads(false);
                self.watch = Watch::default();
            }
            core.stop.run_until_cancelled(tokio::time::sleep(lead::RENEW_EVERY)).await;
        }
        core.lead.release().await;
    }
}

impl Core {
    /// Works and watches, until it is dropped.
    async fn lead_on(self: &Arc<Self>, watch: &mut Watch) {
        let (sender, receiver) = mpsc::channel(MOST_DUE);
        let working = ReceiverStream::new(receiver).for_each_concurrent(CONCURRENCY, |work| self.done(work));
        // all in one task and polled together, so that nothing is left behind when it is dropped
        // boxed, since the compiler does not see otherwise that they are `Send`
        let (looking, working) = (self.look_for_work(sender).boxed(), working.boxed());
        tokio::join!(looking, working, self.go_on_watching(watch).boxed());
    }

    /// Hands due rows on: at once when something is told or finished, and every so often.
    async fn look_for_work(self: &Arc<Self>, to: mpsc::Sender<Work>) {
        let mut told = self.shared.desktops.listen();
        loop {
            if let Some(works) = self.look().await {
                for work in works {
                    // fails only when everything is dropped
                    if to.send(work).await.is_err() {
                        return;
                    }
                }
            }
            tokio::select! {
                told = told.changed() => if told.is_err() { return },
                () = self.finished.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Tells this replica what was committed.
    fn tell(&self, written: Written) {
        if written.visible {
            self.shared.desktops.tell();
        }
        if written.ended_sessions {
            self.shared.sessions.forget();
        }
    }

    fn leads(&self) -> bool {
        self.lead.holds()
    }
}

/// The loop while it runs.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Stops: what was begun is dropped and stays due, the lease is given back.
    pub async fn stop(self) {
        self.stop.cancel();
        if self.task.await.is_err() {
            tracing::error!(target: "chorus::reconcile", "the loop failed");
        }
    }
}
