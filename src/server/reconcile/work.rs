//! From due rows to orders, and from what they led to back to the rows.

use std::{collections::BTreeSet, panic::AssertUnwindSafe, sync::PoisonError};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;

use super::{
    Core, MOST_DUE, ORDER_TIMEOUT,
    plan::{self, Done, Step, WorkspaceStep},
    row::{App, Workbench, Workspace},
    status,
    store::{self, Target},
};
use crate::server::{
    access::kiosk,
    error::Result,
    runtime::{self, RuntimeError},
    telemetry::metrics,
};

/// A row to work on. While this lives, nobody else works on it.
pub(super) struct Work<'a> {
    what: What,
    _taken: Taken<'a>,
}

enum What {
    Workspace(Box<Workspace>, WorkspaceStep),
    Workbench(Box<Workbench>, Step),
}

/// The mark that a row is worked on.
struct Taken<'a> {
    core: &'a Core,
    target: Target,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut under_way = self.core.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.target);
        metrics::reconcile_under_way(under_way.len());
    }
}

impl Core {
    /// The due rows that nobody works on, each with its step, or nothing while the database does not answer. One query when
    /// there is nothing to do; a few, however many rows are due.
    pub(super) async fn look(&self) -> Option<Vec<Work<'_>>> {
        match self.find().await {
            Ok(works) => Some(works),
            Err(error) => {
                tracing::warn!(target: "chorus::reconcile", reason = error.reason(), "due rows could not be read");
                None
            }
        }
    }

    async fn find(&self) -> Result<Vec<Work<'_>>> {
        let now = self.shared.clock.now();
        let most = i64::try_from(MOST_DUE).unwrap_or(i64::MAX);
        let (due, total) = store::due(&self.db, now, most).await?;
        metrics::reconcile_due(total);
        let free = |target: &Target| !self.under_way.lock().unwrap_or_else(PoisonError::into_inner).contains(target);
        let (mut workspaces, mut workbenches) = (BTreeSet::new(), BTreeSet::new());
        for target in due.into_iter().filter(free) {
            match target {
                Target::Workspace(id) => workspaces.insert(id),
                Target::Workbench(id) => workbenches.insert(id),
            };
        }
        let mut whats = Vec::new();
        for row in store::workbenches(&self.db, &workbenches).await? {
            // who lost the lease meanwhile may find that another was here
            if row.due_at.is_none_or(|due| due > now) {
                continue;
            }
            match plan::workbench(&row, now, |app, client| self.token(app, client)) {
                Step::AfterWorkspace => {
                    workspaces.insert(row.workspace_id);
                }
                step => whats.push(What::Workbench(Box::new(row), step)),
            }
        }
        workspaces.retain(|id| free(&Target::Workspace(*id)));
        for row in store::workspaces(&self.db, &workspaces).await? {
            let step = plan::workspace(&row, now);
            if step != WorkspaceStep::AfterWorkbenches && row.due_at.is_none_or(|due| due <= now) {
                whats.push(What::Workspace(Box::new(row), step));
            }
        }
        Ok(whats.into_iter().filter_map(|what| self.take(what)).collect())
    }

    fn take(&self, what: What) -> Option<Work<'_>> {
        let target = what.target();
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = under_way.insert(target);
        metrics::reconcile_under_way(under_way.len());
        drop(under_way);
        taken.then_some(Work { what, _taken: Taken { core: self, target } })
    }

    /// The token with which the app signs in its user.
    fn token(&self, app: &App, client: &str) -> Option<secrecy::SecretString> {
        self.shared.kiosk.token(app.id, app.incarnation, client, kiosk::expires_at(app.started_at))
    }

    /// Does the work on one row, and writes what it led to.
    pub(super) async fn done(&self, work: Work<'_>) {
        if !self.leads() {
            return;
        }
        let target = work.what.target();
        // made inside, so that a panic before the first await is caught as well
        let written = AssertUnwindSafe(async { self.finish(&work.what).await }).catch_unwind().await;
        drop(work);
        match written {
            Ok(Ok(visible)) => {
                self.finished.notify_one();
                if visible {
                    self.shared.desktops.tell();
                }
            }
            // the row is still due; not at once, or a database that fails would be asked without end
            Ok(Err(error)) => {
                let cause = error.cause().map(tracing::field::display);
                tracing::warn!(target: "chorus::reconcile", ?target, reason = error.reason(), cause, "not written");
            }
            Err(_) => tracing::error!(target: "chorus::reconcile", ?target, "the work panicked"),
        }
    }

    async fn finish(&self, what: &What) -> Result<bool> {
        let done = self.order(what).await;
        let Some(done) = done else { return Ok(false) };
        if !self.leads() {
            return Ok(false);
        }
        let now = self.shared.clock.now();
        what.report(&done);
        match what {
            What::Workspace(row, _) => {
                let (outcome, trouble) = (plan::workspace_after(row, &done, now), plan::trouble(&done));
                store::finish_workspace(&self.db, row, &outcome, trouble, now).await?;
                Ok(false)
            }
            What::Workbench(row, _) => {
                let outcome = plan::after(row, done, now);
                let apps = if outcome.current { status::apps_without_desktop(row) } else { Vec::new() };
                store::finish_workbench(&self.db, row, &outcome, &apps, now).await
            }
        }
    }

    /// Gives the order to the runtime; nothing when there is none to give.
    async fn order(&self, what: &What) -> Option<Done> {
        let order = async {
            let runtime = &*self.runtime;
            match what {
                What::Workspace(_, WorkspaceStep::Apply(spec)) => runtime.apply_workspace(spec).await.map(|()| Done::Applied),
                What::Workspace(row, WorkspaceStep::Delete) => runtime.delete_workspace(row.id).await.map(Done::Removal),
                What::Workspace(_, WorkspaceStep::Postpone(until)) => Ok(Done::Postponed(*until)),
                What::Workspace(_, WorkspaceStep::Rest | WorkspaceStep::AfterWorkbenches) => Ok(Done::Applied),
                What::Workbench(_, Step::Apply(spec)) => runtime.apply(spec).await.map(|()| Done::Applied),
                What::Workbench(row, Step::Stop) => runtime.stop(row.of()).await.map(Done::Removal),
                What::Workbench(row, Step::Delete) => runtime.delete(row.of()).await.map(Done::Removal),
                What::Workbench(_, Step::Postpone(until)) => Ok(Done::Postponed(*until)),
                What::Workbench(_, Step::Rest | Step::AfterWorkspace) => Ok(Done::Applied),
            }
        };
        Some(settled(order).await.unwrap_or_else(Done::Failed))
    }
}
