//! The life of apps: from what is asked for, what is recorded and what is seen, to what is to be done and recorded next.
//!
//! ```text
//!            ┌────────── Waiting… ◄────────────┐ asked for again
//!            ▼                                 │ (state cycle, restartGeneration)
//!  none ─► Progressing ─► Running ─► Complete ─┤
//!            │    ▲          │  └──► Failed ───┤
//!            │    └──────────┤                 │
//!            └─► Stopping/Killing ─► Stopped/Killed
//! ```
//!
//! What always holds: the status of an app is its record. What has ended starts again only when somebody asks for it, and a Job
//! that is missing never means by itself that an app has not been started yet.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    super::{
        api::{
            labels, rfc3339,
            workbench::{App, AppHealth, AppState, AppStatus},
        },
        live::{Kind, Pod},
        plan::{Object, Step, Target},
    },
    app,
    check::{self, Refusal},
    licence::Licences,
    names,
    pass::{Owner, Pass},
    pods,
    status::{has_completed, has_failed},
    storage::Storage,
};

mod family;

pub use family::{Job, families};

/// The API server refused the Job.
pub const REFUSED: &str = "Refused";
/// Something else has what is to be made.
pub const NOT_OURS: &str = "NotOurs";
/// Records with such a reason wait to be started.
const WAITING: &str = "Waiting";
const WAITING_FOR_REMOVAL: &str = "WaitingForRemoval";
/// It has been running, and does not now.
const RESTARTING: &str = "Restarting";
const STARTUP_TIMEOUT: &str = "StartupTimeout";

/// What starting an app takes.
pub struct Start<'a> {
    /// Why none may be started or resumed now.
    pub closed: Option<Refusal>,
    /// The file systems.
    pub storage: &'a Storage,
    /// The licences.
    pub licences: &'a Licences,
}

/// One app in one pass.
pub struct Life<'a> {
    pub pass: &'a Pass<'a>,
    pub start: &'a Start<'a>,
    /// Its key.
    pub id: &'a str,
    /// What is asked for.
    pub app: &'a App,
    /// What is recorded.
    pub record: Option<&'a AppStatus>,
    /// Its Job.
    pub job: Option<Job<'a>>,
    /// Whether a Job of its is being removed.
    pub leaving: bool,
    /// The pods of its Job.
    pub pods: Vec<&'a Pod>,
}

/// What comes next in the life of an app.
#[derive(Debug)]
pub struct Next {
    /// What to do.
    pub steps: Vec<Step>,
    /// What to record.
    pub record: AppStatus,
    /// When to look again although nothing changes.
    pub wake: Option<DateTime<Utc>>,
}

impl Life<'_> {
    /// What comes next.
    pub fn next(&self) -> Next {
        let state = self.app.state.unwrap_or_default();
        let mut next = match (self.job, state) {
            (Some(job), AppState::Running) if self.asked_again(job) => self.replace(job),
            (Some(job), AppState::Running) if self.pass.suspended() => self.pause(job),
            (Some(job), AppState::Running) => self.run(job),
            (Some(job), _) => self.end(job),
            (None, AppState::Running) if self.is_due() => self.begin(),
            (None, AppState::Running) => self.missing(),
            (None, _) => self.ended(),
        };
        self.keep_detail(&mut next.record);
        next
    }

    /// Whether the Job was made for an earlier request.
    fn asked_again(&self, job: Job<'_>) -> bool {
        self.app.restart_generation.unwrap_or(0) > job.generation.unwrap_or(0)
    }

    /// Whether an app without a Job is to be started.
    fn is_due(&self) -> bool {
        use AppHealth::{Complete, Failed, Killed, Killing, Progressing, Running, Stopped, Stopping, Unknown};
        let Some(record) = self.record else { return true };
        if self.app.restart_generation.unwrap_or(0) > record.restart_generation.unwrap_or(0) {
            return true;
        }
        match (record.status, record.reason.as_deref()) {
            (Stopped | Killed | Stopping | Killing, _) => true,
            // the former operator has not come to it
            (Unknown | Progressing | Running, None) => true,
            (Failed, Some(reason)) => check::REASONS.contains(&reason),
            // the former operator could not even make its Job
            (Failed, None) => record.revision < 0,
            (Unknown | Progressing | Running, Some(reason)) => reason.starts_with(WAITING),
            (Complete, _) => false,
        }
    }

    /// Starts it, or says why not yet.
    fn begin(&self) -> Next {
        if self.leaving {
            return self.waits(WAITING_FOR_REMOVAL, "Waits until what ran before is gone.");
        }
        let storage = self.start.storage.blocked();
        let never = match &storage {
            Some((true, why)) => Err(why.clone()),
            _ => Ok(()),
        };
        if let Err(refusal) = check::app(self.pass, self.id, self.app).and(never) {
            return self.refused(&refusal);
        }
        let job = app::job(self.pass, self.id, self.app, self.start.storage, self.start.licences);
        if let Some(said) = self.pass.refusal(&job) {
            return self.refused(&Refusal { reason: REFUSED, message: format!("The Job was refused: {said}") });
        }
        match self.holder(&job) {
            Some(Owner::Other | Owner::Nobody) => {
                let message = format!("Job {} belongs to something else.", job.name());
                return self.refused(&Refusal { reason: NOT_OURS, message });
            }
            Some(_) => return self.waits(WAITING_FOR_REMOVAL, "Waits until what ran before is gone."),
            None => {}
        }
        match self.start.closed.clone().or(storage.map(|(_, why)| why)) {
            Some(closed) => self.waits(closed.reason, &closed.message),
            None => Next { steps: vec![Step::Create(job)], record: self.started(), wake: self.deadline(self.pass.now) },
        }
    }

    /// Whose Job has the name of the one that is wanted, if one does.
    fn holder(&self, job: &Object) -> Option<Owner> {
        let held = self.pass.seen.jobs.iter().find(|held| held.meta.name == job.name())?;
        Some(self.pass.owner(held))
    }

    /// Removes a Job, to start another.
    fn replace(&self, job: Job<'_>) -> Next {
        let mut next = self.waits(WAITING_FOR_REMOVAL, "Starts again when what ran before is gone.");
        next.steps.push(self.delete(job));
        next
    }

    /// The workbench is suspended: the Job is too, and goes on with it.
    fn pause(&self, job: Job<'_>) -> Next {
        if let Some(over) = self.over(job) {
            return Next::quiet(over);
        }
        let record = self.with_job(job, AppHealth::Progressing, "Suspended", "The workbench is suspended.");
        Next { steps: self.suspending(job), record, wake: None }
    }

    /// Lets it run, and watches over its start.
    fn run(&self, job: Job<'_>) -> Next {
        if let Some(over) = self.over(job) {
            return Next::quiet(over);
        }
        if job.suspended {
            return self.resume(job);
        }
        if job.live.status.active > 0 && job.live.status.ready > 0 {
            return Next::quiet(self.with_job(job, AppHealth::Running, "Running", "The app runs."));
        }
        let view = pods::app(pods::newest(self.pods.iter().copied()), self.pass.now);
        if self.was_running(job) {
            let record = self.with_job(job, AppHealth::Progressing, RESTARTING, &view.what.message);
            return Next { steps: Vec::new(), record, wake: view.until };
        }
        let deadline = self.deadline(job.since);
        if deadline.is_some_and(|deadline| deadline <= self.pass.now) {
            return self.give_up(job, &view.what.message);
        }
        let record = self.with_job(job, AppHealth::Progressing, &view.what.reason, &view.what.message);
        Next { steps: Vec::new(), record, wake: [view.until, deadline].into_iter().flatten().min() }
    }

    /// Lets a Job go on that was stopped before it ended.
    fn resume(&self, job: Job<'_>) -> Next {
        if let Some(closed) = &self.start.closed {
            let record = self.with_job(job, AppHealth::Progressing, closed.reason, &closed.message);
            return Next::quiet(record);
        }
        let patch = json!({
            "metadata": { "annotations": { labels::NOT_READY_SINCE: rfc3339(self.pass.now) } },
            "spec": { "suspend": false },
        });
        let starting = pods::app(None, self.pass.now).what;
        let record = self.with_job(job, AppHealth::Progressing, &starting.reason, &starting.message);
        Next { steps: vec![self.patch(job, patch)], record, wake: self.deadline(self.pass.now) }
    }

    /// It did not start in time: its pods end, and it is not tried again. The Job says so too, in case the record is lost.
    fn give_up(&self, job: Job<'_>, last: &str) -> Next {
        let patch = json!({
            "metadata": { "annotations": { labels::TIMED_OUT: rfc3339(self.pass.now) } },
            "spec": { "suspend": true },
        });
        let seconds = self.pass.settings().application_startup_timeout.unwrap_or_default();
        let message = format!("Did not start within {seconds} s. {last}");
        let record = self.with_job(job, AppHealth::Failed, STARTUP_TIMEOUT, &message);
        Next { steps: vec![self.patch(job, patch)], record, wake: None }
    }

    /// Ends a Job, in an orderly way or at once.
    fn end(&self, job: Job<'_>) -> Next {
        if self.over(job).is_some() {
            return Next { steps: vec![self.delete(job)], ..self.ended() };
        }
        let mut steps = self.suspending(job);
        let kills = self.app.state == Some(AppState::Killed);
        if !self.has_pods(job) {
            return Next { steps, ..self.ended() };
        }
        if kills {
            let selector = format!("batch.kubernetes.io/job-name={}", job.live.meta.name);
            steps.push(Step::KillPods { namespace: self.pass.namespace().to_owned(), selector });
        }
        let record = if kills {
            self.with_job(job, AppHealth::Killing, "Killing", "The app is being ended at once.")
        } else {
            self.with_job(job, AppHealth::Stopping, "Stopping", "The app is ending.")
        };
        Next { steps, record, wake: None }
    }

    /// It shall not run, and nothing of it does.
    fn ended(&self) -> Next {
        Next::quiet(match self.app.state {
            Some(AppState::Killed) => self.status(AppHealth::Killed, "Killed", "The app was ended at once."),
            _ => self.status(AppHealth::Stopped, "Stopped", "The app was stopped."),
        })
    }

    /// It has ended, or its Job is gone without us.
    fn missing(&self) -> Next {
        use AppHealth::{Complete, Failed};
        let record = self.record.cloned().unwrap_or_default();
        if matches!(record.status, Complete | Failed) || self.leaving {
            return Next::quiet(record);
        }
        let job = self.pass.named(Kind::Job, names::job(self.pass.name(), self.id, &self.app.name));
        if self.pass.seen.absent.contains(&job) {
            let lost = self.status(Failed, "JobLost", "The Job was removed by something else.");
            return Next::quiet(lost);
        }
        Next { steps: vec![Step::Confirm(job)], record, wake: None }
    }

    /// The record of an app whose Job has ended by itself, or was given up.
    fn over(&self, job: Job<'_>) -> Option<AppStatus> {
        if has_completed(&job.live.status) {
            return Some(self.with_job(job, AppHealth::Complete, "Completed", "The app has ended."));
        }
        if let Some(why) = has_failed(&job.live.status) {
            let reason = if why.reason.is_empty() { "JobFailed" } else { &why.reason };
            let said = if why.message.is_empty() { &why.reason } else { &why.message };
            let detail = pods::newest(self.pods.iter().copied()).and_then(pods::ending);
            let parts: Vec<_> =
                [Some("The app failed."), Some(said), detail.as_deref()].into_iter().flatten().collect();
            return Some(self.with_job(job, AppHealth::Failed, reason, parts.join(" ").trim_end()));
        }
        job.timed_out.then(|| self.with_job(job, AppHealth::Failed, STARTUP_TIMEOUT, "Did not start in time."))
    }

    /// Whether its container has been up since this start. What happens after that is no matter of the start's time-out.
    fn was_running(&self, job: Job<'_>) -> bool {
        let recorded = self
            .record
            .is_some_and(|record| record.status == AppHealth::Running || record.reason.as_deref() == Some(RESTARTING));
        recorded
            || job.live.status.failed > 0
            || self.pods.iter().any(|pod| !pod.meta.deleting && pods::was_started(pod))
    }

    /// Pods that have not ended yet. Those of the former operator's Jobs are only counted.
    fn has_pods(&self, job: Job<'_>) -> bool {
        let ended = |pod: &Pod| matches!(pod.phase.as_str(), "Succeeded" | "Failed");
        job.live.status.active > 0
            || job.live.status.terminating.unwrap_or(0) > 0
            || self.pods.iter().any(|pod| !ended(pod))
    }

    fn deadline(&self, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let seconds = self.pass.settings().application_startup_timeout.filter(|&seconds| seconds > 0)?;
        Some(since + TimeDelta::seconds(seconds.into()))
    }

    fn suspending(&self, job: Job<'_>) -> Vec<Step> {
        if job.suspended {
            return Vec::new();
        }
        vec![self.patch(job, json!({ "spec": { "suspend": true } }))]
    }

    fn patch(&self, job: Job<'_>, patch: Value) -> Step {
        Step::Patch { target: self.target(job), patch }
    }

    fn delete(&self, job: Job<'_>) -> Step {
        Step::Delete(self.target(job))
    }

    fn target(&self, job: Job<'_>) -> Target {
        self.pass.target(Kind::Job, &job.live.meta)
    }

    /// Nothing runs, and it is not to be ended: it will be started.
    fn waits(&self, reason: &str, message: &str) -> Next {
        Next::quiet(self.due(AppHealth::Progressing, reason, message))
    }

    /// It cannot be started as it is.
    fn refused(&self, refusal: &Refusal) -> Next {
        Next::quiet(self.due(AppHealth::Failed, refusal.reason, &refusal.message))
    }

    /// The record of an app that is just being started.
    fn started(&self) -> AppStatus {
        let starting = pods::app(None, self.pass.now).what;
        AppStatus { revision: 0, ..self.due(AppHealth::Progressing, &starting.reason, &starting.message) }
    }

    /// A record about what is asked for now.
    fn due(&self, status: AppHealth, reason: &str, message: &str) -> AppStatus {
        AppStatus { restart_generation: self.app.restart_generation, ..self.status(status, reason, message) }
    }

    /// A record about a Job.
    fn with_job(&self, job: Job<'_>, status: AppHealth, reason: &str, message: &str) -> AppStatus {
        AppStatus { restart_generation: job.generation, ..self.status(status, reason, message) }
    }

    /// A record about what was recorded before.
    fn status(&self, status: AppHealth, reason: &str, message: &str) -> AppStatus {
        AppStatus {
            revision: if self.job.is_some() { 0 } else { self.record.map_or(-1, |record| record.revision) },
            status,
            message: Some(message.to_owned()),
            reason: Some(reason.to_owned()),
            restart_generation: self.record.and_then(|record| record.restart_generation),
        }
    }

    /// What is recorded of an end stays, since pods, which tell the most, go before the record does.
    fn keep_detail(&self, next: &mut AppStatus) {
        let refused = next.reason.as_deref().is_some_and(|reason| check::REASONS.contains(&reason));
        let over = matches!(next.status, AppHealth::Complete | AppHealth::Failed) && !refused;
        let same = |record: &&AppStatus| record.status == next.status && record.reason == next.reason;
        if let Some(record) = self.record.filter(same).filter(|record| over && record.message.is_some()) {
            next.message.clone_from(&record.message);
        }
    }
}

impl Next {
    /// Only a record.
    fn quiet(record: AppStatus) -> Self {
        Self { steps: Vec::new(), record, wake: None }
    }
}
