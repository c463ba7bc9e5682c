//! A project: its network policy and its status. Pure; the controller is in [`super::cluster`].
//!
//! ```text
//! Workspace ─► fqdn ─► Reach ─► cilium or plain ─► wanted objects ─┐
//! Seen ────────────────────────────────────────────────────────────┼─► plan: steps, status
//!                                                                  └─► enforcement, for workbenches
//! ```
//!
//! What always holds: no policy is ever wider than its workspace asks for, and none is called in force that is not. Of several
//! workspaces in a namespace the first counts, since policies add up. What something else controls is left alone.

pub mod cilium;
pub mod fqdn;
pub mod name;
pub mod plain;
mod plan;
mod status;

#[cfg(test)]
mod evaluator;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::{
    api::{self, MANAGER, Workspace, labels},
    live::Child,
    plan::Target,
};

pub use plan::{enforcement, plan};

/// What the caches hold about a namespace, to plan one of its workspaces.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Every Workspace of the namespace, those that are being deleted included. Only the first (by creation, then by name) counts.
    pub workspaces: Vec<Arc<Workspace>>,
    /// NetworkPolicies of the namespace with the label `workspace`, whoever made them.
    pub policies: Vec<Arc<Child<()>>>,
    /// CiliumNetworkPolicies of the namespace with the label `workspace`; none while the cluster has no such kind.
    pub cilium_policies: Option<Vec<Arc<Child<()>>>>,
    /// Policies that the API server refused as they were wanted (422, 403), and what it said: that is reported, and nothing
    /// is sent again.
    pub refused: BTreeMap<Target, String>,
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

/// What the pods of a workspace reach outside their namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Nothing.
    Nothing,
    /// The web: ports 80 and 443 of public addresses.
    Web,
    /// The web, where the name is one of these.
    Names(Vec<String>),
}

/// The metadata of a policy of this workspace.
fn child(workspace: &Workspace, suffix: &str) -> ObjectMeta {
    let name_of = workspace.name_any();
    ObjectMeta {
        name: Some(name::with_suffix(&name_of, suffix)),
        namespace: workspace.namespace(),
        labels: Some(BTreeMap::from([
            (labels::WORKSPACE.to_owned(), name::label(&name_of)),
            (labels::MANAGED_BY.to_owned(), MANAGER.to_owned()),
        ])),
        owner_references: api::owned_by(workspace),
        ..ObjectMeta::default()
    }
}
