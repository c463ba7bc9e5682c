//! A workbench that goes: its apps first, then its server, then the finalizer. The rest goes with it, by its owner.

use super::{
    super::{
        api::{FINALIZER, WorkbenchStatus, moment},
        live::Kind,
        plan::{Notice, Plan, Step},
    },
    drain,
    pass::{Owner, Pass},
};

/// The next part of a deletion.
pub fn plan(pass: &Pass<'_>) -> Plan<WorkbenchStatus> {
    let finalizers = pass.workbench.metadata.finalizers.as_deref().unwrap_or_default();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        return nothing();
    }
    let ours = pass.seen.jobs.iter().filter(|job| pass.owner(job) == Owner::This);
    let (leaving, staying): (Vec<_>, Vec<_>) = ours.partition(|job| job.meta.deleting);
    if !staying.is_empty() {
        let steps = staying.iter().map(|job| Step::Delete(pass.target(Kind::Job, &job.meta))).collect();
        return Plan { steps, notices: vec![notice("DeletingApps", "The apps are being removed.")], ..nothing() };
    }
    if !leaving.is_empty() {
        return nothing();
    }
    let since = pass.workbench.metadata.deletion_timestamp.as_ref();
    if let Some(until) = drain::until(pass, since.map_or(pass.now, moment)) {
        return Plan { wake: Some(until), ..nothing() };
    }
    match pass.seen.deployment.as_deref().filter(|server| pass.owner(server) == Owner::This) {
        Some(server) if server.meta.deleting => nothing(),
        Some(server) => Plan {
            steps: vec![Step::Delete(pass.target(Kind::Deployment, &server.meta))],
            notices: vec![notice("DeletingServer", "The server is being removed.")],
            ..nothing()
        },
        None => Plan { steps: vec![Step::RemoveFinalizer], ..nothing() },
    }
}

/// What goes has no status any more.
fn nothing() -> Plan<WorkbenchStatus> {
    Plan { steps: Vec::new(), status: None, wake: None, notices: Vec::new() }
}

fn notice(reason: &'static str, note: &str) -> Notice {
    Notice { warning: false, reason, note: note.to_owned() }
}
