//! From what the runtime shows back to the rows: events as they come, and everything every few minutes.
//!
//! What always holds: the stream is opened before the list is read, and the list before the rows. So a change is in one of the
//! two; and a desktop in the list whose row is not there has none, since a row is committed before its desktop is ordered.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use futures_util::{
    FutureExt, StreamExt,
    stream::{BoxStream, ReadyChunks},
};

use super::{COMPARE_EVERY, CONCURRENCY, Core, ORDER_TIMEOUT, plan, status, store};
use crate::server::{
    error::Result,
    runtime::{Event, NO_RUNTIME, Observation, RuntimeError, WorkbenchRef},
    telemetry::metrics,
};

/// How many events are written at once, and how many rows are read at once.
const BATCH: usize = 1000;
/// How long it waits until a stream that ended, or a list that failed, is tried again.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(2);

/// What the leader knows of its watching.
#[derive(Default)]
pub(super) struct Watch {
    events: Option<ReadyChunks<BoxStream<'static, Event>>>,
    compared_at: Option<DateTime<Utc>>,
}

impl Core {
    /// Watches until it is dropped.
    pub(super) async fn go_on_watching(&self, watch: &mut Watch) {
        loop {
            let compared = self.compare_when_due(watch).boxed().await;
            let wait = if compared { COMPARE_EVERY.to_std().unwrap_or(RETRY_AFTER) } else { RETRY_AFTER };
            tokio::select! {
                events = self.events(watch).next() => match events {
                    Some(events) => {
                        self.take_events(watch, events).boxed().await;
                    }
                    None => {
                        *watch = Watch::default();
                        tokio::time::sleep(RETRY_AFTER).await;
                    }
                },
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// What [`Core::go_on_watching`] would do by now, without waiting for anything to happen; how much it was.
    pub(super) async fn catch_up(&self, watch: &mut Watch) -> usize {
        let mut done = 0;
        self.compare_when_due(watch).await;
        while let Some(events) = self.events(watch).next().now_or_never() {
            match events {
                Some(events) => done += self.take_events(watch, events).await,
                None => {
                    *watch = Watch::default();
                    break;
                }
            }
        }
        done
    }

    /// The events, from the moment of the first call on.
    fn events<'a>(&self, watch: &'a mut Watch) -> &'a mut ReadyChunks<BoxStream<'static, Event>> {
        watch.events.get_or_insert_with(|| self.runtime.observe().ready_chunks(BATCH))
    }

    /// Writes what a number of events tell; how many there were. If that fails, the next comparison makes up for it.
    async fn take_events(&self, watch: &mut Watch, events: Vec<Event>) -> usize {
        let number = events.len();
        let (latest, missed) = latest(events);
        match self.write(&latest).await {
            Ok(()) if !missed => {}
            Ok(()) => watch.compared_at = None,
            Err(error) => {
                tracing::warn!(target: "chorus::reconcile", reason = error.reason(), "what was observed was not written");
                watch.compared_at = None;
            }
        }
        number
    }

    /// Writes what is the latest of some workbenches, where it changes a row; `None` is one that is gone.
    async fn write(&self, latest: &BTreeMap<WorkbenchRef, Option<Observation>>) -> Result<()> {
        let ids: BTreeSet<i64> = latest.keys().map(|of| of.workbench).collect();
        let rows = store::workbenches(&self.db, &ids).await?;
        let now = self.shared.clock.now();
        let changes: Vec<_> = rows
            .iter()
            .filter_map(|row| match latest.get(&row.of())? {
                Some(observation) => status::seen(row, observation, now),
                None => status::gone(row, now),
            })
            .collect();
        if changes.is_empty() || !self.leads() {
            return Ok(());
        }
        let written = store::observed(&self.db, &changes).await?;
        self.tell(written);
        if changes.iter().any(|change| change.schedule.is_some()) {
            self.finished.notify_one();
        }
        Ok(())
    }

    /// Compares everything, if that is due; whether there is nothing to catch up with.
    async fn compare_when_due(&self, watch: &mut Watch) -> bool {
        let now = self.shared.clock.now();
        if watch.compared_at.is_some_and(|at| now < at + COMPARE_EVERY) {
            return true;
        }
        // first the stream, then the list
        self.events(watch);
        let compared = match self.list().await {
            Ok(list) => self.compare(list).await,
            // it has nothing to compare with, and never will
            Err(error) if error.reason == NO_RUNTIME => Ok(()),
            Err(error) => {
                metrics::reconcile_failed(error.reason);
                tracing::warn!(target: "chorus::reconcile", reason = error.reason, %error, "the desktops could not be listed");
                return false;
            }
        };
        match compared {
            Ok(()) => {
                watch.compared_at = Some(now);
                true
            }
            Err(error) => {
                tracing::warn!(target: "chorus::reconcile", reason = error.reason(), "the comparison failed, is tried again");
                false
            }
        }
    }

    async fn list(&self) -> Result<Vec<Observation>, RuntimeError> {
        let silent = |_| RuntimeError::transient("Timeout", "What runs the desktops does not answer.");
        tokio::time::timeout(ORDER_TIMEOUT, self.runtime.list()).await.map_err(silent)?
    }

    /// Makes rows due that differ from what there is, removes what has no row, and writes how the others are.
    async fn compare(&self, list: Vec<Observation>) -> Result<()> {
        let mut there: BTreeMap<WorkbenchRef, Option<Observation>> =
            list.into_iter().map(|seen| (seen.of, Some(seen))).collect();
        let rows = store::all(&self.db).await?;
        let known: HashMap<WorkbenchRef, _> = rows.iter().map(|row| (row.of(), row)).collect();
        let differing = rows.iter().filter(|row| plan::differs(row, there.get(&row.of()).and_then(Option::as_ref)));
        let differing: Vec<i64> = differing.map(|row| row.id).collect();
        let now = self.shared.clock.now();
        if !self.leads() {
            return Ok(());
        }
        for ids in differing.chunks(BATCH) {
            store::make_due(&self.db, ids, now).await?;
        }
        let workspaces = store::make_workspaces_due(&self.db, now).await?;
        let orphans: Vec<WorkbenchRef> = there.keys().copied().filter(|of| !known.contains_key(of)).collect();
        if !(differing.is_empty() && orphans.is_empty() && workspaces == 0) {
            let (differing, orphans) = (differing.len(), orphans.len());
            tracing::info!(target: "chorus::reconcile", differing, orphans, workspaces, "compared with the runtime");
            self.finished.notify_one();
        }
        there.retain(|of, _| known.contains_key(of));
        self.remove(orphans).await;
        while !there.is_empty() {
            let rest = there.keys().nth(BATCH).copied().map(|at| there.split_off(&at)).unwrap_or_default();
            self.write(&std::mem::replace(&mut there, rest)).await?;
        }
        Ok(())
    }

    /// Removes desktops without a row. One that fails, or takes its time, is met again at the next comparison.
    async fn remove(&self, orphans: Vec<WorkbenchRef>) {
        let removals = futures_util::stream::iter(orphans).for_each_concurrent(CONCURRENCY, |of| async move {
            if !self.leads() {
                return;
            }
            match tokio::time::timeout(ORDER_TIMEOUT, self.runtime.delete(of)).await {
                Ok(Ok(removal)) => tracing::info!(target: "chorus::reconcile", %of, ?removal, "has no row, is removed"),
                Ok(Err(error)) => {
                    metrics::reconcile_failed(error.reason);
                    tracing::warn!(target: "chorus::reconcile", %of, %error, "has no row, could not be removed");
                }
                Err(_) => tracing::warn!(target: "chorus::reconcile", %of, "has no row, its removal hangs"),
            }
        });
        removals.await;
    }
}

/// The latest of each workbench, and whether something was missed.
fn latest(events: Vec<Event>) -> (BTreeMap<WorkbenchRef, Option<Observation>>, bool) {
    let (mut latest, mut missed) = (BTreeMap::new(), false);
    for event in events {
        match event {
            Event::Seen(seen) => drop(latest.insert(seen.of, Some(seen))),
            Event::Gone(of) => drop(latest.insert(of, None)),
            Event::Missed => missed = true,
        }
    }
    (latest, missed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::runtime::{PodStatus, ServerStatus};

    #[test]
    fn the_latest_of_each_counts() {
        let of = |workbench| WorkbenchRef { workspace: 1, workbench };
        let seen = |workbench, generation| Observation {
            of: of(workbench),
            generation,
            pod: PodStatus::Ready,
            server: ServerStatus::Running,
            reason: String::new(),
            message: String::new(),
            apps: Vec::new(),
        };
        let events = vec![
            Event::Seen(seen(1, 1)),
            Event::Gone(of(2)),
            Event::Seen(seen(1, 2)),
            Event::Seen(seen(2, 1)),
            Event::Seen(seen(3, 1)),
            Event::Gone(of(3)),
        ];
        let (kept, missed) = latest(events);
        assert_eq!(kept, [(of(1), Some(seen(1, 2))), (of(2), Some(seen(2, 1))), (of(3), None)].into());
        assert!(!missed && latest(vec![Event::Missed]) == (BTreeMap::new(), true));
    }
}
