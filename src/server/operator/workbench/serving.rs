//! The display server in one pass: what is to be done for it, how it fares, and whether apps can draw.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{
    super::{
        api::{
            labels, moment,
            workbench::{DeploymentHealth, PodHealth, PodStatus, ServerStatus},
        },
        live::{Child, DeploymentStatus, Pod},
        plan::{Notice, Object, Step},
    },
    adopted::{self, Takeover},
    apps::{NOT_OURS, REFUSED},
    check::{self, Refusal},
    drain,
    network::Network,
    pass::{Owner, Pass},
    plan::{held, sealed},
    pods, server,
    status::{self, Finding},
};

/// The server of a workbench.
#[derive(Debug)]
pub struct Serving {
    /// What to do for the Service, which comes before volumes.
    pub service: Vec<Step>,
    /// What to do for the Deployment, which comes after them.
    pub deployment: Vec<Step>,
    /// How it fares.
    pub status: ServerStatus,
    /// Whether apps can draw.
    pub available: Finding,
    /// Whether the running server is not the one that is wanted.
    pub outdated: Finding,
    /// When to look again although nothing changes.
    pub wake: Option<DateTime<Utc>>,
    /// What to tell people.
    pub notices: Vec<Notice>,
}

/// Why there is no server, or none that counts.
struct Hindrance {
    health: DeploymentHealth,
    reason: &'static str,
    message: String,
}

/// What is to be done for the server of a workbench.
pub fn plan(pass: &Pass<'_>, network: &Network) -> Serving {
    let mut serving = Serving {
        service: Vec::new(),
        deployment: Vec::new(),
        status: ServerStatus { revision: -1, ..ServerStatus::default() },
        available: finding("ServerAvailable", false, "Unknown", String::new()),
        outdated: current(),
        wake: None,
        notices: Vec::new(),
    };
    let hindrance = serving.service(pass).and_then(|()| serving.deployment(pass, network)).err();
    match hindrance {
        Some(hindrance) => serving.hindered(hindrance),
        None => serving.observe(pass),
    }
    serving
}

impl Serving {
    /// Brings the Service about.
    fn service(&mut self, pass: &Pass<'_>) -> Result<(), Hindrance> {
        let wanted = sealed(server::service(pass));
        accepted(pass, &wanted).map_err(|why| hindrance(DeploymentHealth::Failed, why.reason, why.message))?;
        match pass.seen.service.as_deref() {
            Some(live) => {
                standing(pass, live, "Service")?;
                if !live.meta.ours {
                    // nobody notices
                    self.service.push(Step::TakeOver(wanted));
                } else if !held(live, &wanted) {
                    self.service.push(Step::Apply(wanted));
                }
            }
            None => self.service.push(Step::Apply(wanted)),
        }
        Ok(())
    }

    /// Brings the Deployment about, as far as the network allows.
    fn deployment(&mut self, pass: &Pass<'_>, network: &Network) -> Result<(), Hindrance> {
        let replicas = self.replicas(pass);
        let wanted = sealed(server::deployment(pass, replicas));
        let live = pass.seen.deployment.as_deref();
        if let Some(live) = live {
            standing(pass, live, "Deployment")?;
        }
        if let Err(refusal) = check::server(pass).and_then(|()| accepted(pass, &wanted)) {
            if live.is_none() {
                return Err(hindrance(DeploymentHealth::Failed, refusal.reason, refusal.message));
            }
            // what runs goes on as it is
            self.outdated = finding("Outdated", true, refusal.reason, refusal.message);
            return Ok(());
        }
        // what runs goes on, but nothing starts, be it a replica or a changed pod; what is to stop may stop
        let allowed = network.open || (replicas == 0 && live.is_some());
        match live {
            None if !allowed => {
                let message = format!("Waits for the network policy: {}", network.finding.message);
                return Err(hindrance(DeploymentHealth::Progressing, "WaitingForPolicy", message));
            }
            None => self.deployment.push(Step::Apply(wanted)),
            Some(live) if !live.meta.ours => self.former(pass, live, wanted, allowed),
            Some(live) if allowed && !held(live, &wanted) => {
                self.notices.push(notice("UpdatingDeployment", "The server is being brought up to date."));
                self.deployment.push(Step::Apply(wanted));
            }
            Some(live) if !held(live, &wanted) => {
                let message = "The server is brought up to date when the network policy is in force.";
                self.outdated = finding("Outdated", true, "WaitingForPolicy", message.to_owned());
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// How many servers there shall be: one, or none once the apps of a suspended workbench have ended.
    fn replicas(&mut self, pass: &Pass<'_>) -> i32 {
        if !pass.suspended() {
            return 1;
        }
        let runs = |live: &&Arc<Child<DeploymentStatus>>| live.body.value()["spec"]["replicas"] != 0;
        let status = pass.workbench.status.as_ref();
        let mut conditions = status.into_iter().flat_map(|status| &status.conditions);
        let noted = conditions.find(|condition| condition.type_ == "Ready" && condition.reason == "Suspended");
        let since = noted.map_or(pass.now, |condition| moment(&condition.last_transition_time));
        let until = pass.seen.deployment.as_ref().filter(runs).and_then(|_| drain::until(pass, since));
        self.wake = until;
        i32::from(until.is_some())
    }

    /// A Deployment that our field manager does not own.
    fn former(&mut self, pass: &Pass<'_>, live: &Child<DeploymentStatus>, wanted: Object, allowed: bool) {
        match adopted::deployment(pass, live, wanted) {
            Takeover::Now(wanted) if allowed => {
                self.notices.push(notice("TakenOver", "The server of the former operator is taken over."));
                self.deployment.push(Step::TakeOver(wanted));
            }
            Takeover::Now(_) => self.outdated = outdated(),
            Takeover::Wait(until) => {
                self.outdated = outdated();
                self.wake = self.wake.into_iter().chain(until).min();
            }
        }
    }

    /// How the server fares that is there, or is about to be.
    fn observe(&mut self, pass: &Pass<'_>) {
        let mut why = None;
        if let Some(live) = pass.seen.deployment.as_deref() {
            let (health, condition) = status::deployment(&live.status);
            self.status.revision = live.status.revision.unwrap_or(-1);
            self.status.status = health;
            why = condition.filter(|_| health != DeploymentHealth::Running).cloned();
        }
        let pods = pass.seen.pods.iter().map(AsRef::as_ref).filter(|pod| is_server(pass, pod));
        let view = pods::server(pods::newest(pods), pass.now);
        self.wake = self.wake.into_iter().chain(view.until).min();
        let pod = if pass.suspended() { suspended(view.what) } else { view.what };
        let said = pod.message.clone().unwrap_or_default();
        let (holds, reason, message) = match (pod.status, why) {
            _ if pass.suspended() => (false, "Suspended".to_owned(), "The workbench is suspended.".to_owned()),
            (PodHealth::Ready, _) => (true, "Ready".to_owned(), said),
            (_, Some(why)) if !why.reason.is_empty() => {
                (false, why.reason, format!("{} {said}", why.message).trim().to_owned())
            }
            (health, _) => (false, format!("{health:?}"), said),
        };
        self.available = finding("ServerAvailable", holds, &reason, message);
        self.status.server_pod = Some(pod);
    }

    fn hindered(&mut self, hindrance: Hindrance) {
        let message = hindrance.message;
        self.status.status = hindrance.health;
        let pod = PodStatus { message: Some(message.clone()), ..PodStatus::default() };
        self.status.server_pod = Some(pod);
        self.available = finding("ServerAvailable", false, hindrance.reason, message);
    }

    /// Whether apps can draw.
    pub fn ready(&self) -> bool {
        self.status.server_pod.as_ref().is_some_and(|pod| pod.ready)
    }
}

/// The pods of the server have the label that selects them; those of apps never do.
fn is_server(pass: &Pass<'_>, pod: &Pod) -> bool {
    pod.labels.get(labels::WORKBENCH).is_some_and(|workbench| workbench == pass.name())
}

/// The server of a suspended workbench, once its pod is gone.
fn suspended(pod: PodStatus) -> PodStatus {
    match pod.status {
        PodHealth::Unknown => PodStatus {
            status: PodHealth::Terminated,
            message: Some("The workbench is suspended.".to_owned()),
            ..PodStatus::default()
        },
        _ => PodStatus { ready: false, ..pod },
    }
}

/// Whether a child may be written.
fn standing<S>(pass: &Pass<'_>, live: &Child<S>, kind: &str) -> Result<(), Hindrance> {
    let name = &live.meta.name;
    match pass.owner(live) {
        Owner::Other => {
            let message = format!("{kind} {name} belongs to something else.");
            Err(hindrance(DeploymentHealth::Failed, NOT_OURS, message))
        }
        Owner::Former => Err(leaving(kind, name)),
        _ if live.meta.deleting => Err(leaving(kind, name)),
        _ => Ok(()),
    }
}

fn leaving(kind: &str, name: &str) -> Hindrance {
    hindrance(DeploymentHealth::Progressing, "WaitingForRemoval", format!("{kind} {name} is being removed."))
}

/// Whether the API server has not refused this.
fn accepted(pass: &Pass<'_>, wanted: &Object) -> Result<(), Refusal> {
    let (_, kind, _) = wanted.kind.names();
    pass.refusal(wanted)
        .map_or(Ok(()), |said| Err(Refusal { reason: REFUSED, message: format!("The {kind} was refused: {said}") }))
}

fn hindrance(health: DeploymentHealth, reason: &'static str, message: String) -> Hindrance {
    Hindrance { health, reason, message }
}

fn current() -> Finding {
    finding("Outdated", false, "Current", "The server is as it is asked for.".to_owned())
}

fn outdated() -> Finding {
    let message = "The server is that of the former operator until it is stopped, suspended, or given another version.";
    finding("Outdated", true, "FormerOperator", message.to_owned())
}

fn finding(kind: &'static str, holds: bool, reason: &str, message: String) -> Finding {
    Finding { kind, holds, reason: reason.to_owned(), message }
}

fn notice(reason: &'static str, note: &str) -> Notice {
    Notice { warning: false, reason, note: note.to_owned() }
}
