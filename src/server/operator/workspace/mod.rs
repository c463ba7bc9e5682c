//! A project: its network policy and its status. Pure; the controller is in [`super::cluster`].

pub mod fqdn;
pub mod name;

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{
    api::{Workspace, WorkspaceStatus},
    live::Child,
    plan::Plan,
    settings::Settings,
};

/// What the caches hold about a namespace, to plan one of its workspaces.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Every Workspace of the namespace, those that are being deleted included. Only the first (by creation, then by name) counts.
    pub workspaces: Vec<Arc<Workspace>>,
    /// NetworkPolicies of the namespace with the label `workspace`, whoever made them.
    pub policies: Vec<Arc<Child<()>>>,
    /// CiliumNetworkPolicies of the namespace with the label `workspace`; none while the cluster has no such kind.
    pub cilium_policies: Option<Vec<Arc<Child<()>>>>,
}

/// Whether the network policy of a workspace is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enforcement {
    /// The wanted policy exists, is ours and current.
    InForce,
    /// It is not.
    Missing {
        /// Why, in one word.
        reason: &'static str,
        /// Why, for people.
        message: String,
    },
}

/// What to do about a workspace.
pub fn plan(_workspace: &Workspace, _seen: &Seen, _settings: &Settings, _now: DateTime<Utc>) -> Plan<WorkspaceStatus> {
    Plan { steps: Vec::new(), status: None, wake: None, notices: Vec::new() }
}

/// Whether the policy of a namespace is in force, for its workbenches.
pub fn enforcement(_seen: &Seen, _settings: &Settings) -> Enforcement {
    Enforcement::Missing { reason: "NoWorkspace", message: "The namespace has no Workspace.".to_owned() }
}
