//! What the statuses of children come to, and the conditions of a workbench.

use chrono::{DateTime, Utc};

use super::super::{
    api::{Condition, time, workbench::DeploymentHealth},
    live::{DeploymentStatus, JobStatus, SeenCondition},
};

/// The longest message of a condition that the API takes, in bytes.
const LONGEST_MESSAGE: usize = 32_768;

/// How a Deployment fares, and the condition of it that says why, if one does. The order of its conditions means nothing.
pub fn deployment(status: &DeploymentStatus) -> (DeploymentHealth, Option<&SeenCondition>) {
    let find = |kind: &str| status.conditions.iter().find(|condition| condition.kind == kind);
    let is = |condition: Option<&SeenCondition>, wanted: &str| condition.is_some_and(|c| c.status == wanted);
    let (progressing, failure, available) = (find("Progressing"), find("ReplicaFailure"), find("Available"));
    let (wanted, observed) = status.generation;
    if observed < wanted {
        // what is said is about what was wanted before
        (DeploymentHealth::Progressing, None)
    } else if is(progressing, "False") {
        (DeploymentHealth::Failed, progressing)
    } else if is(failure, "True") && !is(progressing, "True") && !is(available, "True") {
        (DeploymentHealth::Failed, failure)
    } else if is(available, "True") {
        (DeploymentHealth::Running, available)
    } else {
        (DeploymentHealth::Progressing, failure.filter(|_| is(failure, "True")))
    }
}

/// Whether a Job ended well.
pub fn has_completed(status: &JobStatus) -> bool {
    let said = |kind: &str| status.conditions.iter().any(|c| c.kind == kind && c.status == "True");
    said("Complete") || (status.active == 0 && status.succeeded > 0)
}

/// Why a Job failed, if it did. Pods that failed are none: the Job makes others until it gives up.
pub fn has_failed(status: &JobStatus) -> Option<&SeenCondition> {
    status.conditions.iter().find(|condition| condition.kind == "Failed" && condition.status == "True")
}

/// What a condition shall say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its type.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}

/// The conditions that say this. Those whose status is the same keep the time of their last transition.
pub fn conditions(
    previous: &[Condition],
    findings: Vec<Finding>,
    generation: i64,
    now: DateTime<Utc>,
) -> Vec<Condition> {
    let condition = |finding: Finding| {
        let status = if finding.holds { "True" } else { "False" };
        let same = previous.iter().find(|before| before.type_ == finding.kind && before.status == status);
        Condition {
            type_: finding.kind.to_owned(),
            status: status.to_owned(),
            reason: finding.reason,
            message: shortened(finding.message),
            observed_generation: Some(generation),
            last_transition_time: same.map_or_else(|| time(now), |before| before.last_transition_time.clone()),
        }
    };
    findings.into_iter().map(condition).collect()
}

fn shortened(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
    message
}
