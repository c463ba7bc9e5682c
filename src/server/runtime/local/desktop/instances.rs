//! The apps of a desktop: what is wanted, what runs, and what to do about the difference.
//!
//! ```text
//!            ┌────────────► Running ──exit 0──► Complete
//!  wanted ───┤                 │ └────exit ≠ 0► Failed        ended states stay until the incarnation rises
//!  Running   └► Failed         │ wanted Stopped: TERM, after the grace KILL ──► Stopped
//!               (no command)   └ wanted Killed: KILL ──────────────────────────► Killed
//! ```
//!
//! What always holds: one incarnation is started once, also if the supervisor or the whole desktop was started again after it
//! ended by itself, since that is kept in a file; with its first process everything of an app ends.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, time::Instant};

use super::{
    process::{Surroundings, signal_group, told},
    x11,
};
use crate::server::runtime::{
    AppState, AppStatus,
    local::{
        protocol::{AppOrder, AppSeen, Page},
        sweep::Whose,
    },
};

/// How many characters of its last lines the message of a failed app has.
const LAST_WORDS: usize = 600;

/// An app whose first process ended.
#[derive(Debug)]
pub struct Exit {
    id: i64,
    pid: i32,
    success: bool,
    message: String,
    /// Whether its display had gone, so that this is no end by itself.
    pub lost: bool,
}

/// What became of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Its first process runs.
    Running { pid: i32 },
    /// It is asked to end, and made to at that time.
    Stopping { pid: i32, until: Option<Instant>, to: AppStatus },
    /// It ended.
    Ended { status: AppStatus, message: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Instance {
    incarnation: i64,
    phase: Phase,
}

/// What to do next about an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Nothing,
    Start,
    /// Never started, and not wanted any more.
    Skip(AppStatus),
    Terminate,
    Kill(AppStatus),
    Forget,
}

/// The difference between what is wanted (state, incarnation) and what is.
fn step(wanted: Option<(AppState, i64)>, have: Option<&Instance>, ready: bool, now: Instant) -> Step {
    let Some((state, incarnation)) = wanted else {
        return match have.map(|have| &have.phase) {
            None => Step::Nothing,
            Some(Phase::Running { .. }) => Step::Terminate,
            Some(Phase::Stopping { until, .. }) => overdue(*until, AppStatus::Stopped, now),
            Some(Phase::Ended { .. }) => Step::Forget,
        };
    };
    let new = have.is_none_or(|have| have.incarnation < incarnation);
    match (have.map(|have| &have.phase), state) {
        (None | Some(Phase::Ended { .. }), AppState::Running) if new && ready => Step::Start,
        (None | Some(Phase::Ended { .. }), AppState::Stopped) if new => Step::Skip(AppStatus::Stopped),
        (None | Some(Phase::Ended { .. }), AppState::Killed) if new => Step::Skip(AppStatus::Killed),
        (None | Some(Phase::Ended { .. }), _) => Step::Nothing,
        (Some(Phase::Running { .. }), AppState::Killed) => Step::Kill(AppStatus::Killed),
        (Some(Phase::Running { .. }), AppState::Stopped) => Step::Terminate,
        (Some(Phase::Running { .. }), AppState::Running) if new => Step::Terminate,
        (Some(Phase::Running { .. }), AppState::Running) => Step::Nothing,
        (Some(Phase::Stopping { until: Some(_), .. }), AppState::Killed) if !new => Step::Kill(AppStatus::Killed),
        (Some(Phase::Stopping { until, to, .. }), _) => overdue(*until, *to, now),
    }
}

fn overdue(until: Option<Instant>, to: AppStatus, now: Instant) -> Step {
    if until.is_some_and(|until| until <= now) { Step::Kill(to) } else { Step::Nothing }
}

/// What is kept of an app that ended.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    id: i64,
    incarnation: i64,
    status: AppStatus,
    message: String,
}

/// The apps of a desktop.
#[derive(Debug)]
pub struct Instances {
    of: Surroundings,
    kept: PathBuf,
    grace: Duration,
    wanted: BTreeMap<i64, AppOrder>,
    have: BTreeMap<i64, Instance>,
    exits: mpsc::UnboundedSender<Exit>,
}

impl Instances {
    /// No apps, but for the memory of those that ended.
    pub fn new(of: Surroundings, files: &Path, grace: Duration, exits: mpsc::UnboundedSender<Exit>) -> Self {
        let kept = files.join("apps.json");
        let ended: Vec<Kept> =
            fs::read(&kept).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let instance = |it: Kept| {
            let phase = Phase::Ended { status: it.status, message: it.message };
            (it.id, Instance { incarnation: it.incarnation, phase })
        };
        Self { of, kept, grace, wanted: BTreeMap::new(), have: ended.into_iter().map(instance).collect(), exits }
    }

    /// This is wanted from now on.
    pub fn want(&mut self, apps: Vec<AppOrder>) {
        self.wanted = apps.into_iter().map(|app| (app.id, app)).collect();
    }

    /// Does what there is to do, on this display.
    pub fn drive(&mut self, ready: bool, display: Option<u32>) {
        let ids: Vec<i64> = self.wanted.keys().chain(self.have.keys()).copied().collect();
        let mut ended = false;
        for id in ids {
            let wanted = self.wanted.get(&id).map(|order| (order.state, order.incarnation));
            let step = step(wanted, self.have.get(&id), ready, Instant::now());
            ended |= matches!(step, Step::Start | Step::Skip(_) | Step::Forget);
            match step {
                Step::Nothing => {}
                Step::Start => self.start(id, display),
                Step::Skip(status) => self.ended(id, status, String::new()),
                Step::Terminate => self.stopping(id, Some(Instant::now() + self.grace), AppStatus::Stopped),
                Step::Kill(to) => self.stopping(id, None, to),
                Step::Forget => {
                    self.have.remove(&id);
                    let _ = fs::remove_file(page_file(&self.of, id));
                }
            }
        }
        if ended {
            self.keep();
        }
    }

    /// When something is due without anything happening.
    pub fn due(&self) -> Option<Instant> {
        let due = |one: &Instance| match one.phase {
            Phase::Stopping { until, .. } => until,
            _ => None,
        };
        self.have.values().filter_map(due).min()
    }

    /// The first process of an app ended.
    pub fn exited(&mut self, exit: Exit) {
        // what it started and did not take along
        let uid = rustix::process::geteuid().as_raw();
        Whose { run: &self.of.run, app: Some(exit.id), uid, recorded: Vec::new(), but: None }.kill();
        signal_group(exit.pid, Signal::KILL);
        let _ = fs::remove_file(page_file(&self.of, exit.id));
        let Some(instance) = self.have.get_mut(&exit.id) else { return };
        let (status, message) = match &instance.phase {
            Phase::Running { pid } if *pid == exit.pid && exit.lost => {
                self.have.remove(&exit.id);
                return;
            }
            Phase::Running { pid } if *pid == exit.pid && exit.success => (AppStatus::Complete, String::new()),
            Phase::Running { pid } if *pid == exit.pid => (AppStatus::Failed, exit.message),
            Phase::Stopping { pid, to, .. } if *pid == exit.pid => (*to, String::new()),
            _ => return,
        };
        instance.phase = Phase::Ended { status, message };
        self.keep();
    }

    /// Asks all to end.
    pub fn end(&mut self) {
        self.wanted.clear();
        for one in self.have.values() {
            if let Phase::Running { pid } = one.phase {
                signal_group(pid, Signal::TERM);
            }
        }
    }

    /// Whether any runs.
    pub fn running(&self) -> bool {
        self.have.values().any(|one| !matches!(one.phase, Phase::Ended { .. }))
    }

    /// How those that are wanted are.
    pub fn seen(&self) -> Vec<AppSeen> {
        let seen = |(id, one): (&i64, &Instance)| {
            let (status, message) = match &one.phase {
                Phase::Running { .. } => (AppStatus::Running, String::new()),
                Phase::Stopping { to: AppStatus::Killed, .. } => (AppStatus::Killing, String::new()),
                Phase::Stopping { .. } => (AppStatus::Stopping, String::new()),
                Phase::Ended { status, message } => (*status, message.clone()),
            };
            AppSeen { id: *id, incarnation: one.incarnation, status, message }
        };
        let waits = |(id, order): (&i64, &AppOrder)| AppSeen {
            id: *id,
            incarnation: order.incarnation,
            status: AppStatus::Progressing,
            message: "It starts when the desktop is ready.".to_owned(),
        };
        let waiting = self.wanted.iter().filter(|(id, _)| !self.have.contains_key(id)).map(waits);
        let mut all: Vec<_> = self.have.iter().map(seen).chain(waiting).collect();
        all.sort_by_key(|app| app.id);
        all
    }

    fn start(&mut self, id: i64, display: Option<u32>) {
        let Some(order) = self.wanted.get(&id).cloned() else { return };
        match self.spawn(&order, display) {
            Ok(pid) => self.set(id, order.incarnation, Phase::Running { pid }),
            Err(message) => self.set(id, order.incarnation, Phase::Ended { status: AppStatus::Failed, message }),
        }
    }

    fn spawn(&self, order: &AppOrder, display: Option<u32>) -> Result<i32, String> {
        let mut words = order.command.clone()?;
        if let Some(page) = &order.page {
            words.push(write_page(&self.of, order.id, page).map_err(|_| "Its start page cannot be written.")?);
        }
        let mut words = words.into_iter();
        let program = words.next().ok_or("Its command is empty.")?;
        let mut command = self.of.app_command(order.id, display, &program, words.collect());
        let log = self.of.log(&format!("app-{}", order.id));
        let mut running =
            self.of.start(&mut command, log).map_err(|error| format!("It cannot be started: {error}."))?;
        running.log_output();
        let pid = running.pid().ok_or("It ended at once.")?;
        let (id, exits) = (order.id, self.exits.clone());
        tokio::spawn(async move {
            let status = running.ended().await;
            let success = status.as_ref().is_ok_and(std::process::ExitStatus::success);
            let message = match running.log.last_lines(5, LAST_WORDS) {
                lines if lines.is_empty() => format!("It {}.", told(&status)),
                lines => format!("It {}. Its last lines:\n{lines}", told(&status)),
            };
            let lost = match display {
                Some(display) => !x11::listens(display).await,
                None => false,
            };
            // nobody waits any more when the supervisor ends
            let _ = exits.send(Exit { id, pid, success, message, lost });
        });
        Ok(pid)
    }

    fn stopping(&mut self, id: i64, until: Option<Instant>, to: AppStatus) {
        let Some(instance) = self.have.get_mut(&id) else { return };
        let (Phase::Running { pid } | Phase::Stopping { pid, .. }) = instance.phase else { return };
        signal_group(pid, if until.is_some() { Signal::TERM } else { Signal::KILL });
        instance.phase = Phase::Stopping { pid, until, to };
    }

    fn ended(&mut self, id: i64, status: AppStatus, message: String) {
        if let Some(incarnation) = self.wanted.get(&id).map(|order| order.incarnation) {
            self.set(id, incarnation, Phase::Ended { status, message });
        }
    }

    fn set(&mut self, id: i64, incarnation: i64, phase: Phase) {
        self.have.insert(id, Instance { incarnation, phase });
    }

    /// Writes down which ended. A full disk makes a desktop forget that, which is better than no desktop.
    fn keep(&self) {
        let kept = |(id, one): (&i64, &Instance)| match &one.phase {
            Phase::Ended { status, message } => {
                Some(Kept { id: *id, incarnation: one.incarnation, status: *status, message: message.clone() })
            }
            _ => None,
        };
        let all: Vec<Kept> = self.have.iter().filter_map(kept).collect();
        let fresh = self.kept.with_extension("new");
        if let Ok(text) = serde_json::to_vec(&all)
            && fs::write(&fresh, text).is_ok()
        {
            let _ = fs::rename(fresh, &self.kept);
        }
    }
}

fn page_file(of: &Surroundings, id: i64) -> PathBuf {
    of.run.join(format!("start-{id}.html"))
}

/// Writes the page of a browser, which may hold a token, and returns its address, which does not.
fn write_page(of: &Surroundings, id: i64, page: &Page) -> std::io::Result<String> {
    let path = page_file(of, id);
    let mut options = fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.create(true).write(true).truncate(true).open(&path)?.write_all(page.0.as_bytes())?;
    Ok(format!("file://{}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(incarnation: i64, phase: Phase) -> Option<Instance> {
        Some(Instance { incarnation, phase })
    }

    #[tokio::test]
    async fn what_to_do_about_every_difference() {
        use AppState::{Killed, Running, Stopped};
        let now = Instant::now();
        let (past, future) = (now - Duration::from_secs(1), now + Duration::from_secs(1));
        let runs = |incarnation| instance(incarnation, Phase::Running { pid: 7 });
        let stops = |until| instance(1, Phase::Stopping { pid: 7, until, to: AppStatus::Stopped });
        let ended = |status| instance(1, Phase::Ended { status, message: String::new() });
        let (complete, failed) = (|| ended(AppStatus::Complete), || ended(AppStatus::Failed));
        let cases = [
            // nothing was there
            (Some((Running, 1)), None, true, Step::Start),
            (Some((Running, 1)), None, false, Step::Nothing),
            (Some((Stopped, 1)), None, true, Step::Skip(AppStatus::Stopped)),
            (Some((Killed, 1)), None, false, Step::Skip(AppStatus::Killed)),
            (None, None, true, Step::Nothing),
            // it runs
            (Some((Running, 1)), runs(1), true, Step::Nothing),
            (Some((Running, 1)), runs(1), false, Step::Nothing),
            (Some((Running, 2)), runs(1), true, Step::Terminate),
            (Some((Stopped, 1)), runs(1), true, Step::Terminate),
            (Some((Killed, 1)), runs(1), true, Step::Kill(AppStatus::Killed)),
            (None, runs(1), true, Step::Terminate),
            // it is asked to end
            (Some((Stopped, 1)), stops(Some(future)), true, Step::Nothing),
            (Some((Stopped, 1)), stops(Some(past)), true, Step::Kill(AppStatus::Stopped)),
            (Some((Killed, 1)), stops(Some(future)), true, Step::Kill(AppStatus::Killed)),
            (Some((Running, 1)), stops(Some(future)), true, Step::Nothing),
            (Some((Running, 2)), stops(Some(past)), true, Step::Kill(AppStatus::Stopped)),
            (Some((Killed, 1)), stops(None), true, Step::Nothing),
            (None, stops(Some(past)), true, Step::Kill(AppStatus::Stopped)),
            // it ended: for good, unless it is a new incarnation
            (Some((Running, 1)), complete(), true, Step::Nothing),
            (Some((Running, 1)), failed(), true, Step::Nothing),
            (Some((Stopped, 1)), complete(), true, Step::Nothing),
            (Some((Killed, 1)), failed(), true, Step::Nothing),
            (Some((Running, 2)), failed(), true, Step::Start),
            (Some((Running, 2)), failed(), false, Step::Nothing),
            (Some((Stopped, 2)), complete(), true, Step::Skip(AppStatus::Stopped)),
            (None, complete(), true, Step::Forget),
        ];
        for (number, (wanted, have, ready, expected)) in cases.into_iter().enumerate() {
            assert_eq!(step(wanted, have.as_ref(), ready, now), expected, "case {number}: {wanted:?} {have:?}");
        }
    }
}
