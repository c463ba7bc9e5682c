//! What pods tell of the server and of apps.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    super::{
        api::workbench::{PodHealth, PodStatus},
        live::{Container, ContainerState, Pod},
    },
    server::{RELAY, SERVER},
};

/// How long a container that was started for the first time may take to become ready.
const FIRST_START: TimeDelta = TimeDelta::minutes(2);
/// What is said of every part of a usual start, so that a start is one change of the status.
const STARTS: &str = "The desktop starts.";
/// How long one that was started again may take.
const LATER_START: TimeDelta = TimeDelta::minutes(5);

/// What is seen, and when it has to be looked at again although nothing changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View<T> {
    /// What is seen.
    pub what: T,
    /// When time alone changes it.
    pub until: Option<DateTime<Utc>>,
}

impl<T> View<T> {
    fn lasting(what: T) -> Self {
        Self { what, until: None }
    }
}

/// The newest of these pods.
pub fn newest<'a>(pods: impl Iterator<Item = &'a Pod>) -> Option<&'a Pod> {
    pods.max_by(|a, b| (a.meta.created, &a.meta.name).cmp(&(b.meta.created, &b.meta.name)))
}

/// How the server fares, by its newest pod.
pub fn server(pod: Option<&Pod>, now: DateTime<Utc>) -> View<PodStatus> {
    let Some(pod) = pod else { return View::lasting(unknown("There is no pod.")) };
    let named = |containers: &'_ [Container], name: &str| containers.iter().find(|c| c.name == name).cloned();
    if pod.meta.deleting {
        return View::lasting(status(PodHealth::Terminating, 0, "The pod is being removed."));
    }
    if pod.phase == "Failed" {
        let why = pod.reason.as_deref().unwrap_or("the pod failed");
        return View::lasting(status(PodHealth::Terminated, 0, &format!("Terminated: {why}")));
    }
    if let Some(message) = unscheduled(pod) {
        return View::lasting(status(PodHealth::Waiting, 0, &message));
    }
    if pod.phase == "Pending" && pod.init.is_empty() && pod.containers.is_empty() {
        return View::lasting(status(PodHealth::Starting, 0, STARTS));
    }
    let Some(relay) = named(&pod.init, RELAY) else {
        return View::lasting(unknown(&format!("The pod has no container {RELAY}.")));
    };
    let Some(server) = named(&pod.containers, SERVER) else {
        return View::lasting(unknown(&format!("The pod has no container {SERVER}.")));
    };
    if relay.ready { desktop(&server, now) } else { View::lasting(relaying(&relay)) }
}

/// The relay is not ready: what it does.
fn relaying(relay: &Container) -> PodStatus {
    let (health, message) = match &relay.state {
        ContainerState::Waiting { reason, .. } if is_usual(reason) => (PodHealth::Starting, STARTS.to_owned()),
        ContainerState::Waiting { reason, message } => {
            (PodHealth::Waiting, format!("Relay waiting: {}", explained(reason, message)))
        }
        ContainerState::Running { .. } => (PodHealth::Starting, STARTS.to_owned()),
        ContainerState::Terminated { code, reason, message } => {
            (PodHealth::Failing, format!("Relay ended with exit code {code}: {}", explained(reason, message)))
        }
        ContainerState::None => (PodHealth::Unknown, "The relay's state is unknown.".to_owned()),
    };
    status(health, relay.restarts, &message)
}

/// The relay is ready: what the server does.
fn desktop(server: &Container, now: DateTime<Utc>) -> View<PodStatus> {
    let (health, message) = match &server.state {
        ContainerState::Waiting { reason, .. } if is_usual(reason) => (PodHealth::Starting, STARTS.to_owned()),
        ContainerState::Waiting { reason, .. } => (PodHealth::Waiting, format!("Waiting: {reason}")),
        ContainerState::Terminated { reason, .. } => (PodHealth::Terminated, format!("Terminated: {reason}")),
        ContainerState::None => (PodHealth::Unknown, "The state of the container is unknown.".to_owned()),
        ContainerState::Running { .. } if server.ready => (PodHealth::Ready, "The desktop answers.".to_owned()),
        ContainerState::Running { since } => return unanswered(server.restarts, *since, now),
    };
    // what has not started, or has ended, is not ready, whatever the kubelet still says
    let ready = health == PodHealth::Ready;
    View::lasting(PodStatus { ready, ..status(health, server.restarts, &message) })
}

/// The server runs and does not answer.
fn unanswered(restarts: i32, since: Option<DateTime<Utc>>, now: DateTime<Utc>) -> View<PodStatus> {
    let (health, patience, message) = if restarts > 0 {
        (PodHealth::Restarting, LATER_START, format!("Started again a short while ago ({restarts} times so far)."))
    } else {
        (PodHealth::Starting, FIRST_START, STARTS.to_owned())
    };
    match since.map(|since| since + patience).filter(|&until| now < until) {
        Some(until) => View { what: status(health, restarts, &message), until: Some(until) },
        None => View::lasting(status(PodHealth::Failing, restarts, "The desktop does not answer.")),
    }
}

/// Why an app is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delay {
    /// In one word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Why an app is not ready, by the newest pod of its Job.
pub fn app(pod: Option<&Pod>, now: DateTime<Utc>) -> View<Delay> {
    let Some(pod) = pod else { return View::lasting(starting()) };
    if pod.meta.deleting {
        return View::lasting(delay("Terminating", "The pod is being removed."));
    }
    if let Some(message) = unscheduled(pod) {
        return View::lasting(delay("PodPending", &message));
    }
    if pod.phase == "Failed" {
        let why = pod.reason.as_deref().unwrap_or("the pod failed");
        return View::lasting(delay("PodFailed", &format!("Another pod is awaited: {why}")));
    }
    if let Some(delay) = pod.init.iter().find_map(setting_up) {
        return View::lasting(delay);
    }
    let Some(container) = pod.containers.first() else { return View::lasting(starting()) };
    match &container.state {
        ContainerState::Waiting { reason, .. } if is_usual(reason) => View::lasting(starting()),
        ContainerState::Waiting { reason, message } => {
            View::lasting(delay(reason, &format!("Waiting: {}", explained(reason, message))))
        }
        ContainerState::Terminated { code, reason, message } => {
            let message = format!("Ended with exit code {code}: {}", explained(reason, message));
            View::lasting(delay("Terminated", &message))
        }
        ContainerState::None => View::lasting(delay("Unknown", "The state of the container is unknown.")),
        ContainerState::Running { .. } if container.ready => View::lasting(starting()),
        ContainerState::Running { since } => match since.map(|since| since + FIRST_START) {
            Some(until) if container.restarts == 0 && now < until => View { what: starting(), until: Some(until) },
            _ => View::lasting(delay("NotReady", "The readiness probe fails.")),
        },
    }
}

/// How an app's last container ended, if the pod still says so.
pub fn ending(pod: &Pod) -> Option<String> {
    let ended = |container: &Container| match &container.state {
        ContainerState::Terminated { code, reason, message } if *code != 0 => {
            Some(format!("{} ended with exit code {code}: {}", container.name, explained(reason, message)))
        }
        _ => None,
    };
    pod.containers.iter().chain(&pod.init).find_map(ended)
}

/// Whether an app's own container has been started in this pod, now or before.
pub fn was_started(pod: &Pod) -> bool {
    let started = |container: &Container| {
        let runs = matches!(container.state, ContainerState::Running { .. } | ContainerState::Terminated { .. });
        container.restarts > 0 || runs
    };
    pod.containers.iter().any(started)
}

/// A container that sets up and cannot.
fn setting_up(container: &Container) -> Option<Delay> {
    match &container.state {
        ContainerState::Waiting { reason, message } if !is_usual(reason) => {
            let message = format!("Set-up ({}) waiting: {}", container.name, explained(reason, message));
            Some(delay(reason, &message))
        }
        ContainerState::Terminated { code, reason, message } if *code != 0 => {
            let what = explained(reason, message);
            Some(delay("SetupFailed", &format!("Set-up ({}) ended with exit code {code}: {what}", container.name)))
        }
        _ => None,
    }
}

/// Reasons to wait that every start goes through.
fn is_usual(reason: &str) -> bool {
    matches!(reason, "" | "ContainerCreating" | "PodInitializing")
}

fn unscheduled(pod: &Pod) -> Option<String> {
    let placed = !pod.init.is_empty() || !pod.containers.is_empty();
    let condition = pod.unscheduled.as_ref().filter(|condition| !placed && condition.status == "False")?;
    Some(format!("Scheduling: {}", explained(&condition.reason, &condition.message)))
}

fn explained(reason: &str, message: &str) -> String {
    if message.is_empty() { reason.to_owned() } else { format!("{reason} - {message}") }
}

fn starting() -> Delay {
    delay("Starting", "The app starts.")
}

fn delay(reason: &str, message: &str) -> Delay {
    Delay { reason: reason.to_owned(), message: message.to_owned() }
}

fn unknown(message: &str) -> PodStatus {
    status(PodHealth::Unknown, 0, message)
}

fn status(health: PodHealth, restarts: i32, message: &str) -> PodStatus {
    PodStatus { status: health, ready: false, restart_count: restarts, message: Some(message.to_owned()) }
}
