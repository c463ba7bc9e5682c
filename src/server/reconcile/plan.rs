//! What is done next for a row, and what becomes of the row then. Pure: rows and times in, decisions out.
//!
//! | wanted | workspace | step | until |
//! |---|---|---|---|
//! | running | not applied yet | the workspace first | it is |
//! | running | applied | `apply` | the runtime took it; the rest is observed |
//! | stopped | any | `stop` | `Gone` |
//! | deleted, or in a deleted workspace | any | `delete` | `Gone`: the row is removed |
//! | workspace | – | `apply_workspace` | the runtime took it |
//! | workspace deleted | workbenches left | wait | the last one is removed |
//! | workspace deleted | empty | `delete_workspace` | `Gone`: the row is removed |
//!
//! What always holds: a row is at rest (`due_at` NULL) only when the runtime took what is wanted, or says that it runs nothing
//! at all; whatever failed is tried again, later each time.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;

use super::{
    row::{App, Brief, Wanted, Workbench, Workspace},
    status::{Shown, tidy},
};
use crate::server::runtime::{
    AppSpec, AppState, Clipboard, NO_RUNTIME, Observation, PodStatus, Removal, RuntimeError, ServerStatus,
    WorkbenchSpec, WorkspaceSpec,
};

/// The longest wait for something that may pass.
const LONGEST: TimeDelta = TimeDelta::minutes(5);
/// The shortest and the longest wait for something that stays until somebody changes it.
const LASTING: (TimeDelta, TimeDelta) = (TimeDelta::seconds(30), TimeDelta::minutes(30));
/// The longest wait for a removal that is under way.
const LONGEST_GOING: TimeDelta = TimeDelta::seconds(30);
const SHORTEST: TimeDelta = TimeDelta::seconds(1);

/// What is done for a workbench.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing.
    Rest,
    /// Nothing yet: its workspace comes first, at once.
    AfterWorkspace,
    /// Nothing yet: its workspace failed and is tried again at this time.
    Postpone(DateTime<Utc>),
    /// `apply`.
    Apply(Box<WorkbenchSpec>),
    /// `stop`.
    Stop,
    /// `delete`.
    Delete,
}

/// What is done for a workspace.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WorkspaceStep {
    /// Nothing.
    Rest,
    /// Nothing yet: its workbenches come first, at once.
    AfterWorkbenches,
    /// Nothing yet: its workbenches are looked at again at this time.
    Postpone(DateTime<Utc>),
    /// `apply_workspace`.
    Apply(WorkspaceSpec),
    /// `delete_workspace`.
    Delete,
}

/// What a step led to.
#[derive(Debug)]
pub(super) enum Done {
    /// There was nothing to do.
    Nothing,
    /// The runtime took the order.
    Applied,
    /// A removal went so far.
    Removal(Removal),
    /// It waits for something else until then.
    Postponed(DateTime<Utc>),
    /// It failed.
    Failed(RuntimeError),
}

/// What becomes of a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// When it is looked at again; never, when it is at rest.
    pub due_at: Option<DateTime<Utc>>,
    /// How often it failed in a row.
    pub attempts: i64,
    /// Whether nothing of it is left in the runtime.
    pub removed: bool,
    /// Whether this generation is where it should be.
    pub current: bool,
    /// What people see of it from now on, if that changes.
    pub shown: Option<Shown>,
}

/// The step for a workbench. `token` makes the token with which an app signs in its user.
pub(super) fn workbench(
    row: &Workbench,
    now: DateTime<Utc>,
    token: impl Fn(&App, &str) -> Option<SecretString>,
) -> Step {
    match row.wanted() {
        _ if row.removed_at.is_some() => Step::Rest,
        Wanted::Deleted => Step::Delete,
        Wanted::Stopped => Step::Stop,
        Wanted::Running if row.workspace_is_current() => Step::Apply(Box::new(spec(row, token))),
        Wanted::Running => match row.workspace_due_at {
            Some(later) if later > now => Step::Postpone(later),
            _ => Step::AfterWorkspace,
        },
    }
}

fn spec(row: &Workbench, token: impl Fn(&App, &str) -> Option<SecretString>) -> WorkbenchSpec {
    let pixels = |pixels: i64| u32::try_from(pixels).unwrap_or_default();
    WorkbenchSpec {
        of: row.of(),
        tenant: row.tenant_id,
        generation: row.generation,
        owner: (row.user_id, row.username.clone()),
        resolution: (pixels(row.initial_resolution_width), pixels(row.initial_resolution_height)),
        clipboard: Clipboard::parse(&row.clipboard),
        apps: row.apps.iter().map(|app| app_spec(app, &token)).collect(),
    }
}

/// One that ended is wanted no more: a desktop that starts anew must not start it again.
fn app_spec(app: &App, token: impl Fn(&App, &str) -> Option<SecretString>) -> AppSpec {
    let state = match app.has_ended() || app.deleted_at.is_some() {
        true => AppState::Stopped,
        false => app.wanted(),
    };
    let client = app.app.client().filter(|_| state == AppState::Running);
    let token = client.and_then(|client| token(app, client));
    app.app.0.clone().spec(app.id, state, app.incarnation, token)
}

/// What becomes of a workbench.
pub(super) fn after(row: &Workbench, done: Done, now: DateTime<Utc>) -> Outcome {
    let wanted = row.wanted();
    let attempts = row.attempts + 1;
    let again = |delay: TimeDelta, shown: Option<Shown>| Outcome {
        due_at: Some(now + delay),
        attempts,
        removed: false,
        current: false,
        shown,
    };
    match (done, wanted) {
        (Done::Nothing, _) => rest(0),
        // the number of attempts stays until the desktop is ready: one that ends at each start is started ever more seldom
        (Done::Applied, _) => Outcome { shown: row.begins_again(), ..rest(row.attempts) },
        (Done::Removal(Removal::Gone), Wanted::Deleted) => {
            Outcome { removed: true, current: true, shown: Some(row.ended()), ..rest(0) }
        }
        (Done::Removal(Removal::Gone), _) => Outcome { current: true, shown: Some(row.ended()), ..rest(0) },
        (Done::Removal(Removal::Going), Wanted::Deleted) => again(going(attempts), Some(row.ending(None))),
        (Done::Removal(Removal::Going), _) => again(going(attempts), None),
        (Done::Postponed(until), _) => {
            let (reason, message) = row.workspace_trouble();
            let shown = row.waits(reason, message, ServerStatus::Progressing);
            Outcome { attempts: row.attempts, ..again(until - now, Some(shown)) }
        }
        (Done::Failed(error), Wanted::Running) if error.reason == NO_RUNTIME => {
            let shown = row.waits(error.reason.to_owned(), error.message, ServerStatus::Progressing);
            Outcome { shown: Some(shown), ..rest(0) }
        }
        (Done::Failed(error), Wanted::Running) => again(delay(attempts, error.transient), Some(row.fails(&error))),
        (Done::Failed(error), Wanted::Stopped) => {
            // what a stopped desktop shows is for people who stopped it, and stays
            let shown = Shown { reason: error.reason.to_owned(), ..row.shown() };
            again(delay(attempts, error.transient), Some(shown))
        }
        (Done::Failed(error), Wanted::Deleted) => {
            again(delay(attempts, error.transient), Some(row.ending(Some(&error))))
        }
    }
}

const fn rest(attempts: i64) -> Outcome {
    Outcome { due_at: None, attempts, removed: false, current: false, shown: None }
}

/// The step for a workspace.
pub(super) fn workspace(row: &Workspace, now: DateTime<Utc>) -> WorkspaceStep {
    let deleted = row.deleted_at.is_some();
    match row.workbenches_due_at {
        _ if row.removed_at.is_some() => WorkspaceStep::Rest,
        _ if !deleted => WorkspaceStep::Apply(WorkspaceSpec {
            id: row.id,
            tenant: row.tenant_id,
            generation: row.generation,
            network_policy: row.network_policy.clone(),
            allowed_fqdns: row.allowed_fqdns.0.clone(),
        }),
        _ if row.workbenches == 0 => WorkspaceStep::Delete,
        Some(later) if later > now => WorkspaceStep::Postpone(later.min(now + LONGEST_GOING)),
        Some(_) => WorkspaceStep::AfterWorkbenches,
        // one that is at rest where it should be going: whoever put it there wakes this up, or the comparison does
        None => WorkspaceStep::Postpone(now + LONGEST_GOING),
    }
}

/// What becomes of a workspace. It is `current` once it may have workbenches.
pub(super) fn workspace_after(row: &Workspace, done: &Done, now: DateTime<Utc>) -> Outcome {
    let attempts = row.attempts + 1;
    let again = |at: DateTime<Utc>| Outcome { due_at: Some(at), attempts, removed: false, current: false, shown: None };
    match done {
        Done::Nothing => rest(0),
        Done::Applied => Outcome { current: true, ..rest(0) },
        Done::Removal(Removal::Gone) => Outcome { removed: true, current: true, ..rest(0) },
        Done::Removal(Removal::Going) => again(now + going(attempts)),
        Done::Postponed(until) => Outcome { attempts: row.attempts, ..again(*until) },
        Done::Failed(error) => again(now + delay(attempts, error.transient)),
    }
}

/// What a workspace says of its failure, for the workbenches that wait for it.
pub(super) fn trouble(done: &Done) -> (String, String) {
    match done {
        Done::Failed(error) => (error.reason.to_owned(), tidy(&error.message)),
        _ => (String::new(), String::new()),
    }
}

/// How long it waits after so many failures in a row: twice as long each time.
pub(super) fn delay(attempts: i64, transient: bool) -> TimeDelta {
    match transient {
        true => doubled(SHORTEST, attempts, LONGEST),
        false => doubled(LASTING.0, attempts, LASTING.1),
    }
}

fn going(attempts: i64) -> TimeDelta {
    doubled(SHORTEST, attempts, LONGEST_GOING)
}

fn doubled(first: TimeDelta, attempts: i64, longest: TimeDelta) -> TimeDelta {
    let times = u32::try_from(attempts.saturating_sub(1).clamp(0, 16)).unwrap_or_default();
    (first * (1 << times)).min(longest)
}

/// Whether a row at rest is not what the runtime shows. `None` is a desktop that is not there.
pub(super) fn differs(row: &Brief, seen: Option<&Observation>) -> bool {
    // what is due is looked at anyway
    row.due_at.is_none()
        && match row.wanted() {
            Wanted::Running => seen.is_none_or(|seen| seen.generation != row.generation),
            Wanted::Stopped => seen.is_some_and(|seen| seen.pod != PodStatus::Terminated),
            Wanted::Deleted => true,
        }
}

#[cfg(test)]
mod tests;
