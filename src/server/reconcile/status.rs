//! What is observed, as rows and people know it. Pure: rows and observations in, changes out.
//!
//! What always holds:
//! - what is wanted wins: an observation counts for a workbench that is wanted to run, and only under its present generation;
//! - a desktop that runs is not said to fail because a change could not be made to it;
//! - an app that ended stays so until its incarnation rises. The row of one that is complete is wanted `Stopped` from then on,
//!   and none that ended is started again with its desktop;
//! - an app whose desktop was stopped is as one that nobody looked at: it comes back with the desktop;
//! - messages have no control characters but line breaks, and an end, since runtimes quote whatever programs print.

use chrono::{DateTime, Utc};

use super::{
    plan,
    row::{App, Wanted, Workbench},
};
use crate::server::runtime::{AppObservation, AppState, AppStatus, Observation, PodStatus, RuntimeError, ServerStatus};

/// The longest message that is kept, in characters.
const LONGEST: usize = 1000;

/// What people see of a workbench: the columns of these names, and `k8s_status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub pod: String,
    pub message: String,
    pub server: String,
    pub reason: String,
}

impl Shown {
    fn new(pod: PodStatus, server: ServerStatus, reason: &str, message: &str) -> Self {
        Self {
            pod: pod.as_str().to_owned(),
            message: tidy(message),
            server: server.as_str().to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// What an observation changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub workbench: i64,
    /// The generation under which it counts.
    pub generation: i64,
    pub shown: Option<Shown>,
    /// Whether this generation was seen for the first time.
    pub first: bool,
    /// When the loop has to look at it, and its number of attempts then.
    pub schedule: Option<(Option<DateTime<Utc>>, i64)>,
    pub apps: Vec<AppChange>,
}

impl Change {
    fn of(row: &Workbench) -> Self {
        Self {
            workbench: row.id,
            generation: row.generation,
            shown: None,
            first: false,
            schedule: None,
            apps: Vec::new(),
        }
    }

    /// Nothing, when nothing changes.
    fn some(self) -> Option<Self> {
        let nothing = self.shown.is_none() && !self.first && self.schedule.is_none() && self.apps.is_empty();
        (!nothing).then_some(self)
    }
}

/// What becomes of an app instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AppChange {
    pub id: i64,
    /// The incarnation under which it counts.
    pub incarnation: i64,
    /// The column `status`.
    pub status: &'static str,
    /// The column `k8s_status`.
    pub observed: AppStatus,
    pub message: String,
    /// The column `k8s_state`.
    pub wanted: AppState,
}

impl Workbench {
    /// What people see now.
    pub fn shown(&self) -> Shown {
        Shown {
            pod: self.server_pod_status.clone(),
            message: self.server_pod_message.clone(),
            server: self.k8s_status.clone(),
            reason: self.reason.clone(),
        }
    }

    fn is_ready(&self) -> bool {
        self.server_pod_status == PodStatus::Ready.as_str()
    }

    /// It waits for something else.
    pub fn waits(&self, reason: String, message: String, server: ServerStatus) -> Shown {
        let shown = Shown::new(PodStatus::Waiting, server, &reason, &message);
        self.unless_ready(shown)
    }

    /// It could not be applied.
    pub fn fails(&self, error: &RuntimeError) -> Shown {
        let server = if error.transient { ServerStatus::Progressing } else { ServerStatus::Failed };
        self.unless_ready(Shown::new(PodStatus::Failing, server, error.reason, &error.message))
    }

    /// A desktop that runs stays what it is; only the words are added.
    fn unless_ready(&self, shown: Shown) -> Shown {
        match self.is_ready() {
            true => Shown { pod: self.server_pod_status.clone(), server: self.k8s_status.clone(), ..shown },
            false => shown,
        }
    }

    /// The runtime took the order at last: what failed before is over. The rest is observed.
    pub fn begins_again(&self) -> Option<Shown> {
        let failed = !self.reason.is_empty() && self.observed_generation < self.generation;
        failed.then(|| self.unless_ready(Shown::new(PodStatus::Waiting, ServerStatus::Progressing, "", "")))
    }

    /// Nothing of it runs. What a stopped one says is written by whoever stopped it.
    pub fn ended(&self) -> Shown {
        let message = if self.wanted() == Wanted::Stopped { &*self.server_pod_message } else { "" };
        Shown::new(PodStatus::Terminated, ServerStatus::None, "", message)
    }

    /// It is being deleted.
    pub fn ending(&self, error: Option<&RuntimeError>) -> Shown {
        let (reason, message) = error.map(|error| (error.reason, &*error.message)).unwrap_or_default();
        Shown::new(PodStatus::Terminating, ServerStatus::None, reason, message)
    }
}

/// What an observation changes, if anything.
pub(super) fn seen(row: &Workbench, seen: &Observation, now: DateTime<Utc>) -> Option<Change> {
    let mut change = Change::of(row);
    if row.wanted() != Wanted::Running {
        let runs = !matches!(seen.pod, PodStatus::Terminating | PodStatus::Terminated);
        if runs && row.due_at.is_none() && row.removed_at.is_none() {
            change.schedule = Some((Some(now), 0));
        }
        return change.some();
    }
    if seen.generation != row.generation {
        return None;
    }
    let server = match seen.server {
        // on the wire that is what a stopped one shows
        ServerStatus::None => ServerStatus::Progressing,
        other => other,
    };
    let shown = Shown::new(seen.pod, server, &seen.reason, &seen.message);
    change.shown = (shown != row.shown()).then_some(shown);
    change.first = row.observed_generation != row.generation;
    change.schedule = match (seen.pod, seen.server) {
        (_, ServerStatus::Failed) => again(row, now),
        (PodStatus::Ready, _) if row.attempts > 0 && row.due_at.is_none() => Some((None, 0)),
        _ => None,
    };
    change.apps = row.apps.iter().filter_map(|app| app_seen(app, &seen.apps)).collect();
    change.some()
}

/// What changes when nothing is left of a desktop.
pub(super) fn gone(row: &Workbench, now: DateTime<Utc>) -> Option<Change> {
    let mut change = Change::of(row);
    match row.wanted() {
        Wanted::Running => {
            change.schedule = again(row, now);
            // otherwise this tells of a former generation
            if row.observed_generation == row.generation {
                let message = "The desktop ended by itself and is started again.";
                let shown = Shown::new(PodStatus::Restarting, ServerStatus::Progressing, "Ended", message);
                change.shown = (shown != row.shown()).then_some(shown);
                change.apps = apps_without_desktop(row);
            }
        }
        Wanted::Stopped | Wanted::Deleted => {
            change.schedule = row.due_at.filter(|due| *due > now).map(|_| (Some(now), row.attempts));
        }
    }
    change.some()
}

/// Looks at it again after a while, unless it waits already.
fn again(row: &Workbench, now: DateTime<Utc>) -> Option<(Option<DateTime<Utc>>, i64)> {
    let attempts = row.attempts + 1;
    let waits = row.due_at.is_some_and(|due| due > now);
    (!waits).then(|| (Some(now + plan::delay(attempts, true)), attempts))
}

/// What becomes of the apps of a desktop that is not there any more.
pub(super) fn apps_without_desktop(row: &Workbench) -> Vec<AppChange> {
    let apps = row.apps.iter().filter(|app| !app.has_ended());
    let ended = apps.filter_map(|app| {
        let over = app.deleted_at.is_some() || row.wanted() == Wanted::Deleted;
        let observed = match app.wanted() {
            AppState::Killed => AppStatus::Killed,
            AppState::Running if !over => AppStatus::Unknown,
            AppState::Running | AppState::Stopped => AppStatus::Stopped,
        };
        changed(app, observed, "")
    });
    ended.collect()
}

fn app_seen(app: &App, seen: &[AppObservation]) -> Option<AppChange> {
    let seen = seen.iter().find(|seen| seen.id == app.id && seen.incarnation == app.incarnation)?;
    if app.has_ended() {
        return None;
    }
    let observed = match (app.wanted(), seen.status) {
        (_, ended) if ended.has_ended() => ended,
        (AppState::Running, other) => other,
        // it is wanted to end, and does not know it yet
        (AppState::Stopped, _) => AppStatus::Stopping,
        (AppState::Killed, _) => AppStatus::Killing,
    };
    changed(app, observed, &seen.message)
}

/// The change to an app, if it is one.
fn changed(app: &App, observed: AppStatus, message: &str) -> Option<AppChange> {
    let wanted = match observed {
        AppStatus::Complete => AppState::Stopped,
        _ => app.wanted(),
    };
    // a deleted one stays deleted
    let status = if app.deleted_at.is_some() { "deleted" } else { status(observed) };
    let change =
        AppChange { id: app.id, incarnation: app.incarnation, status, observed, message: tidy(message), wanted };
    let same = app.status == change.status
        && app.k8s_status == change.observed.as_str()
        && app.k8s_message == change.message
        && app.k8s_state == change.wanted.as_str();
    (!same).then_some(change)
}

/// What an app is on the wire when this is observed.
const fn status(observed: AppStatus) -> &'static str {
    match observed {
        AppStatus::Running => "active",
        AppStatus::Unknown | AppStatus::Progressing | AppStatus::Stopping | AppStatus::Killing => "unknown",
        AppStatus::Complete | AppStatus::Failed | AppStatus::Stopped | AppStatus::Killed => "deleted",
    }
}

/// A message as rows keep it: no control characters, and not without end.
pub(super) fn tidy(text: &str) -> String {
    let line = text.trim().chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c });
    line.take(LONGEST).collect()
}

#[cfg(test)]
mod tests;
