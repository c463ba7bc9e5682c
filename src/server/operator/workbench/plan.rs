//! One pass over a workbench.

use chrono::{DateTime, Utc};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    super::{
        api::{
            Condition, FINALIZER, Workbench, WorkbenchStatus, labels,
            workbench::{AppHealth, AppStatus, DeploymentHealth, ServerStatus},
        },
        contains::contains,
        live::{Child, Pod},
        plan::{Notice, Object, Plan, Step},
    },
    Facts, Seen,
    apps::{self, Life, Next, Start},
    check::{self, Refusal},
    deletion,
    licence::Licences,
    network::{self, Network},
    notices,
    pass::Pass,
    serving::{self, Serving},
    status::{self, Finding},
    storage::{self, Storage},
};

/// What to do about a workbench.
pub fn plan(workbench: &Workbench, seen: &Seen, facts: &Facts<'_>, now: DateTime<Utc>) -> Plan<WorkbenchStatus> {
    let pass = Pass { workbench, seen, facts, now };
    if workbench.metadata.deletion_timestamp.is_some() {
        return deletion::plan(&pass);
    }
    let mut plan = match check::workbench(&pass) {
        Ok(()) => living(&pass),
        Err(refusal) => refused(&pass, &refusal),
    };
    let finalizers = workbench.metadata.finalizers.as_deref().unwrap_or_default();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        plan.steps.insert(0, Step::AddFinalizer);
    }
    let before = workbench.status.clone().unwrap_or_default();
    plan.notices.extend(plan.status.iter().flat_map(|after| notices::changes(&before, after)));
    plan
}

/// Whether a child is as it is wanted.
pub fn held<S>(live: &Child<S>, wanted: &Object) -> bool {
    contains(&live.body.value(), &wanted.value)
}

/// The object with a hash of all that it says. What is no longer wanted changes the hash, and so is noticed: by itself, more
/// than is wanted counts as what is wanted.
pub fn sealed(mut object: Object) -> Object {
    let hash: String =
        Sha256::digest(object.value.to_string()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    object.value["metadata"]["annotations"][labels::APPLIED] = json!(hash);
    object
}

/// A workbench that stays.
fn living(pass: &Pass<'_>) -> Plan<WorkbenchStatus> {
    let network = network::plan(pass);
    let serving = serving::plan(pass, &network);
    let storage = storage::plan(pass);
    let (licences, complaint) = licences(pass);
    let start = Start { closed: closed(pass, &network, &serving), storage: &storage, licences: &licences };
    let (families, removals) = apps::families(pass);

    let mut status = WorkbenchStatus {
        observed_generation: generation(pass),
        server_deployment: serving.status.clone(),
        ..WorkbenchStatus::default()
    };
    let (mut jobs, mut wake) = (Vec::new(), serving.wake);
    for (id, app) in pass.apps() {
        let family = families.get(id);
        let job = family.and_then(|family| family.job);
        let life = Life {
            pass,
            start: &start,
            id,
            app,
            record: pass.workbench.status.as_ref().and_then(|status| status.apps.get(id)),
            job,
            leaving: family.is_some_and(|family| family.leaving),
            pods: job.map(|job| pods_of(pass, &job.live.meta.name)).unwrap_or_default(),
        };
        let Next { steps, record, wake: next } = life.next();
        status.apps.insert(id.to_owned(), record);
        wake = wake.into_iter().chain(next).min();
        jobs.extend(steps);
    }
    let ready = ready(&network, &serving);
    let findings = vec![ready, serving.available, stored(&storage), network.finding, serving.outdated];
    status.conditions = status::conditions(recorded(pass), findings, generation(pass), pass.now);
    // takes over and makes before it removes
    let (deletions, jobs): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|step| matches!(step, Step::Delete(_)));
    let steps = [network.steps, serving.service, storage.steps, serving.deployment, jobs, deletions, removals].concat();
    let notices = serving.notices.into_iter().chain(complaint).collect();
    Plan { steps, status: Some(status), wake, notices }
}

/// A workbench that can have no children.
fn refused(pass: &Pass<'_>, refusal: &Refusal) -> Plan<WorkbenchStatus> {
    let finding =
        |kind| Finding { kind, holds: false, reason: refusal.reason.to_owned(), message: refusal.message.clone() };
    let record = |id: &str| {
        let app = AppStatus {
            revision: -1,
            status: AppHealth::Failed,
            message: Some(refusal.message.clone()),
            reason: Some(refusal.reason.to_owned()),
            restart_generation: None,
        };
        (id.to_owned(), app)
    };
    let findings = vec![finding("Ready"), finding("ServerAvailable")];
    let status = WorkbenchStatus {
        observed_generation: generation(pass),
        server_deployment: ServerStatus { revision: -1, status: DeploymentHealth::Failed, server_pod: None },
        apps: pass.apps().map(|(id, _)| record(id)).collect(),
        conditions: status::conditions(recorded(pass), findings, generation(pass), pass.now),
    };
    Plan { steps: Vec::new(), status: Some(status), wake: None, notices: Vec::new() }
}

/// Why no app may start or go on, if so.
fn closed(pass: &Pass<'_>, network: &Network, serving: &Serving) -> Option<Refusal> {
    let waiting = |reason, message: &str| Some(Refusal { reason, message: message.to_owned() });
    if !network.open {
        waiting("WaitingForPolicy", &network.finding.message)
    } else if pass.suspended() {
        waiting("WaitingForServer", "The workbench is suspended.")
    } else if !serving.ready() {
        waiting("WaitingForServer", "Waits for the desktop.")
    } else {
        None
    }
}

/// The licences of the workspace, and what is wrong with them.
fn licences(pass: &Pass<'_>) -> (Licences, Option<Notice>) {
    let config = pass.facts.licences.as_deref().filter(|_| pass.settings().license_secret.is_some());
    match config.map(Licences::read) {
        Some(Ok(licences)) => (licences, None),
        Some(Err(why)) => {
            (Licences::default(), Some(Notice { warning: true, reason: "LicencesUnreadable", note: why.to_owned() }))
        }
        None => (Licences::default(), None),
    }
}

/// Whether people can work.
fn ready(network: &Network, serving: &Serving) -> Finding {
    let cause = if network.open || serving.ready() { &serving.available } else { &network.finding };
    let holds = serving.available.holds;
    let (reason, message) = if holds {
        ("Ready".to_owned(), "The desktop answers.".to_owned())
    } else {
        (cause.reason.clone(), cause.message.clone())
    };
    Finding { kind: "Ready", holds, reason, message }
}

fn stored(storage: &Storage) -> Finding {
    let (holds, reason, message) = storage.condition();
    Finding { kind: "StorageReady", holds, reason: reason.to_owned(), message }
}

/// The pods of a Job.
fn pods_of<'a>(pass: &Pass<'a>, job: &str) -> Vec<&'a Pod> {
    let of = |pod: &&Pod| pod.labels.get("batch.kubernetes.io/job-name").is_some_and(|name| name == job);
    pass.seen.pods.iter().map(AsRef::as_ref).filter(of).collect()
}

fn generation(pass: &Pass<'_>) -> i64 {
    pass.workbench.metadata.generation.unwrap_or_default()
}

fn recorded<'a>(pass: &Pass<'a>) -> &'a [Condition] {
    pass.workbench.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
}
