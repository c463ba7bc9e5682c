//! From due rows to orders, and from what they led to back to the rows.

use std::{
    collections::BTreeSet,
    panic::AssertUnwindSafe,
    sync::{Arc, PoisonError},
};

use futures_util::FutureExt;

use super::{
    Core, MOST_DUE, ORDER_TIMEOUT,
    plan::{self, Done, Step, WorkspaceStep},
    row::{App, Workbench, Workspace},
    status,
    store::{self, Target, Written},
};
use crate::server::{
    access::kiosk,
    error::Result,
    runtime::{self, NO_RUNTIME, Runtime, RuntimeError},
    telemetry::metrics,
};

/// A row to work on. While this lives, nobody else works on it.
pub(super) struct Work {
    what: What,
    _taken: Taken,
}

enum What {
    Workspace(Box<Workspace>, WorkspaceStep),
    Workbench(Box<Workbench>, Step),
}

/// The mark that a row is worked on.
struct Taken {
    core: Arc<Core>,
    target: Target,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut under_way = self.core.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.target);
        metrics::reconcile_under_way(under_way.len());
    }
}

impl Core {
    /// The due rows that nobody works on, each with its step, or nothing while the database does not answer. One query when
    /// there is nothing to do; a few, however many rows are due.
    pub(super) async fn look(self: &Arc<Self>) -> Option<Vec<Work>> {
        match self.find().await {
            Ok(works) => Some(works),
            Err(error) => {
                tracing::warn!(target: "chorus::reconcile", reason = error.reason(), "due rows could not be read");
                None
            }
        }
    }

    async fn find(self: &Arc<Self>) -> Result<Vec<Work>> {
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

    fn take(self: &Arc<Self>, what: What) -> Option<Work> {
        let target = what.target();
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = under_way.insert(target);
        metrics::reconcile_under_way(under_way.len());
        drop(under_way);
        taken.then_some(Work { what, _taken: Taken { core: self.clone(), target } })
    }

    /// The token with which the app signs in its user.
    fn token(&self, app: &App, client: &str) -> Option<secrecy::SecretString> {
        self.shared.kiosk.token(app.id, app.incarnation, client, kiosk::expires_at(app.started_at))
    }

    /// Does the work on one row, and writes what it led to.
    pub(super) async fn done(&self, work: Work) {
        if !self.leads() {
            return;
        }
        let target = work.what.target();
        // made inside, so that a panic before the first await is caught as well
        let written = AssertUnwindSafe(async { self.finish(&work.what).await }).catch_unwind().await;
        drop(work);
        match written {
            Ok(Ok(written)) => {
                self.finished.notify_one();
                self.tell(written);
            }
            // the row is still due; not at once, or a database that fails would be asked without end
            Ok(Err(error)) => {
                let cause = error.cause().map(tracing::field::display);
                tracing::warn!(target: "chorus::reconcile", ?target, reason = error.reason(), cause, "not written");
            }
            Err(_) => tracing::error!(target: "chorus::reconcile", ?target, "the work panicked"),
        }
    }

    async fn finish(&self, what: &What) -> Result<Written> {
        let done = self.order(what).await;
        if !self.leads() {
            return Ok(Written::default());
        }
        let now = self.shared.clock.now();
        what.report(&done);
        match what {
            What::Workspace(row, _) => {
                let (outcome, trouble) = (plan::workspace_after(row, &done, now), plan::trouble(&done));
                store::finish_workspace(&self.db, row, &outcome, trouble, now).await?;
                Ok(Written::default())
            }
            What::Workbench(row, _) => {
                let outcome = plan::after(row, done, now);
                let apps = if outcome.current { status::apps_without_desktop(row) } else { Vec::new() };
                store::finish_workbench(&self.db, row, &outcome, &apps, now).await
            }
        }
    }

    /// Gives the order to the runtime. One that hangs, or panics, failed.
    async fn order(&self, what: &What) -> Done {
        let order = AssertUnwindSafe(what.order(&*self.runtime)).catch_unwind();
        match tokio::time::timeout(ORDER_TIMEOUT, order).await {
            Ok(Ok(Ok(done))) => done,
            Ok(Ok(Err(error))) => Done::Failed(error),
            Ok(Err(_)) => {
                Done::Failed(RuntimeError::transient("Internal", "The server has a fault; its log tells more."))
            }
            Err(_) => Done::Failed(RuntimeError::transient("Timeout", "What runs the desktops does not answer.")),
        }
    }
}

impl What {
    fn target(&self) -> Target {
        match self {
            Self::Workspace(row, _) => Target::Workspace(row.id),
            Self::Workbench(row, _) => Target::Workbench(row.id),
        }
    }

    async fn order(&self, runtime: &dyn Runtime) -> runtime::Result<Done> {
        Ok(match self {
            Self::Workspace(row, step) => match step {
                WorkspaceStep::Apply(spec) => runtime.apply_workspace(spec).await.map(|()| Done::Applied)?,
                WorkspaceStep::Delete => Done::Removal(runtime.delete_workspace(row.id).await?),
                WorkspaceStep::Postpone(until) => Done::Postponed(*until),
                WorkspaceStep::Rest | WorkspaceStep::AfterWorkbenches => Done::Nothing,
            },
            Self::Workbench(row, step) => match step {
                Step::Apply(spec) => runtime.apply(spec).await.map(|()| Done::Applied)?,
                Step::Stop => Done::Removal(runtime.stop(row.of()).await?),
                Step::Delete => Done::Removal(runtime.delete(row.of()).await?),
                Step::Postpone(until) => Done::Postponed(*until),
                Step::Rest | Step::AfterWorkspace => Done::Nothing,
            },
        })
    }

    /// The order, for the log and the metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::Workspace(_, WorkspaceStep::Apply(_)) => "apply_workspace",
            Self::Workspace(_, WorkspaceStep::Delete) => "delete_workspace",
            Self::Workbench(_, Step::Apply(_)) => "apply",
            Self::Workbench(_, Step::Stop) => "stop",
            Self::Workbench(_, Step::Delete) => "delete",
            _ => "wait",
        }
    }

    fn report(&self, done: &Done) {
        let (order, of) = match self {
            Self::Workspace(row, _) => (self.name(), format!("workspace{}", row.id)),
            Self::Workbench(row, _) => (self.name(), row.of().to_string()),
        };
        metrics::reconcile_done(order);
        match done {
            Done::Failed(error) if error.reason != NO_RUNTIME => {
                metrics::reconcile_failed(error.reason);
                let (reason, lasting) = (error.reason, !error.transient);
                tracing::warn!(target: "chorus::reconcile", order, of, reason, lasting, %error, "failed, is tried again");
            }
            _ => tracing::debug!(target: "chorus::reconcile", order, of, ?done, "done"),
        }
    }
}
