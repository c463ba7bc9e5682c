//! The status of a workspace: what holds of its network, and that its services are not supported.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::super::api::{
    self, Condition, Workspace, WorkspaceStatus,
    workspace::{NetworkMode, PolicyState, PolicyStatus, ServiceHealth, ServiceStatus},
};

/// The type of the condition of the network policy.
const NETWORK: &str = "NetworkPolicyReady";
/// The type of the condition of the services, there while there are any.
const SERVICES: &str = "ServicesReady";
/// The type of the condition of a list that the mode does not use, there while it is invalid.
const LIST: &str = "AllowedFQDNsValid";

/// What holds of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is on the way.
    Progressing,
    /// What the workspace asks for is in force, with a message for people.
    Applied(String),
    /// It is not.
    Error(Problem),
}

/// Why what a workspace asks for is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// In one word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// The status after a pass. `unused` says what is wrong with a list that the mode does not use.
pub fn status(workspace: &Workspace, outcome: &Outcome, unused: Option<&str>, now: DateTime<Utc>) -> WorkspaceStatus {
    let previous = workspace.status.clone().unwrap_or_default();
    let (state, holds, reason, message) = match outcome {
        Outcome::Progressing => (PolicyState::Progressing, false, "Progressing", "The network policy is on the way."),
        Outcome::Applied(message) => (mode(workspace), true, "Applied", message.as_str()),
        Outcome::Error(problem) => (PolicyState::Error, false, problem.reason, problem.message.as_str()),
    };
    let condition = |kind: &str, holds: bool, reason: &str, message: &str| {
        let before = previous.conditions.iter().find(|condition| condition.type_ == kind);
        let holds = if holds { "True" } else { "False" };
        Condition {
            type_: kind.to_owned(),
            status: holds.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: workspace.metadata.generation,
            last_transition_time: match before {
                Some(before) if before.status == holds => before.last_transition_time.clone(),
                _ => api::time(now),
            },
        }
    };
    let services = services(workspace, &previous);
    let mut conditions = vec![condition(NETWORK, holds, reason, message)];
    if !services.is_empty() {
        conditions.push(condition(SERVICES, false, "NotSupported", NOT_SUPPORTED));
    }
    conditions.extend(unused.map(|invalid| condition(LIST, false, "InvalidFQDN", invalid)));
    WorkspaceStatus {
        observed_generation: match outcome {
            Outcome::Progressing => previous.observed_generation,
            Outcome::Applied(_) | Outcome::Error(_) => workspace.metadata.generation,
        },
        network_policy: Some(PolicyStatus { status: Some(state), message: Some(message.to_owned()) }),
        conditions,
        services,
    }
}

/// Why a service is reported as failed.
const NOT_SUPPORTED: &str =
    "NotSupported: services from Helm charts are not installed or removed; what was installed before is left as it is.";

/// Every service is reported as failed. What an earlier operator told about how to connect still holds.
fn services(workspace: &Workspace, previous: &WorkspaceStatus) -> BTreeMap<String, ServiceStatus> {
    let failed = |key: &String| {
        let before = previous.services.get(key).cloned().unwrap_or_default();
        (
            key.clone(),
            ServiceStatus { status: ServiceHealth::Failed, message: Some(NOT_SUPPORTED.to_owned()), ..before },
        )
    };
    workspace.spec.services.keys().map(failed).collect()
}

fn mode(workspace: &Workspace) -> PolicyState {
    match workspace.spec.network_policy {
        NetworkMode::Open => PolicyState::Open,
        NetworkMode::Airgapped => PolicyState::Airgapped,
        NetworkMode::FqdnAllowlist => PolicyState::FqdnAllowlist,
    }
}
