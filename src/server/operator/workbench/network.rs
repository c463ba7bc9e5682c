//! Whether a workbench is isolated: by the policy of its workspace, and by its own.

use std::sync::Arc;

use super::{
    super::{
        api::labels,
        live::{Child, JobStatus},
        plan::Step,
        workspace::Enforcement,
    },
    apps::{NOT_OURS, REFUSED},
    pass::{Owner, Pass},
    plan::{held, sealed},
    policy,
    status::{Finding, has_completed, has_failed},
};

/// The isolation of a workbench.
#[derive(Debug)]
pub struct Network {
    /// What to do for the workbench's own policy.
    pub steps: Vec<Step>,
    /// Whether pods may start.
    pub open: bool,
    /// The condition.
    pub finding: Finding,
}

/// Whether a workbench is isolated, and what is to be done for it.
pub fn plan(pass: &Pass<'_>) -> Network {
    let mut steps = Vec::new();
    let missing = own_policy(pass, &mut steps).or_else(|| match &pass.facts.network {
        Enforcement::InForce => None,
        Enforcement::Missing { reason, message } => Some((*reason, message.clone())),
    });
    let required = pass.settings().require_network_policy;
    let open = missing.is_none() || !required;
    let finding = match missing {
        None => finding(true, "InForce", "The policies of workspace and workbench are in force.".to_owned()),
        Some((reason, message)) if required => finding(false, reason, message),
        Some((reason, message)) => {
            finding(false, reason, format!("{message} Sessions start all the same: require_network_policy is off."))
        }
    };
    Network { steps, open, finding }
}

/// Brings the workbench's own policy about, or says why it cannot.
fn own_policy(pass: &Pass<'_>, steps: &mut Vec<Step>) -> Option<(&'static str, String)> {
    let wanted = sealed(policy::workbench_policy(pass.workbench, pass.settings(), &former_jobs(pass)));
    let what = || format!("NetworkPolicy {}", wanted.name());
    if let Some(message) = pass.refusal(&wanted) {
        return Some((REFUSED, format!("{} was refused: {message}", what())));
    }
    match pass.seen.policy.as_deref() {
        Some(live) if live.meta.deleting => return Some(("PolicyLeaving", format!("{} is being removed.", what()))),
        Some(live) if matches!(pass.owner(live), Owner::Former | Owner::Other) => {
            return Some((NOT_OURS, format!("{} belongs to something else.", what())));
        }
        Some(live) if live.meta.ours && held(live, &wanted) => {}
        _ => steps.push(Step::Apply(wanted)),
    }
    None
}

/// Jobs that the former operator made and that still run: their pods have no label to admit them by.
fn former_jobs(pass: &Pass<'_>) -> Vec<String> {
    let former = |job: &&Arc<Child<JobStatus>>| {
        let over = has_completed(&job.status) || has_failed(&job.status).is_some();
        pass.owner(job) == Owner::This && !over && job.body.value()["metadata"]["labels"][labels::APP].is_null()
    };
    let mut names: Vec<_> = pass.seen.jobs.iter().filter(former).map(|job| job.meta.name.clone()).collect();
    names.sort();
    names
}

fn finding(holds: bool, reason: &str, message: String) -> Finding {
    Finding { kind: "NetworkIsolated", holds, reason: reason.to_owned(), message }
}
