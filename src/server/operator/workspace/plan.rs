//! From a workspace and what is seen of its namespace to steps and status.
//!
//! Where a list of names cannot be brought into force, less is, never more: an invalid list leaves the policy in force
//! that was there, unless that one reaches addresses (the mode was `Open` before), and otherwise nothing outside is
//! reached; without Cilium nothing outside is reached either. In both cases the policy does not count as in force, so no
//! session starts.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use serde_json::{Map, Value, json};

use super::{
    super::{
        api::{GROUP, Workspace, WorkspaceStatus, workspace::NetworkMode},
        contains::contains,
        live::{Child, Kind},
        plan::{Notice, Object, Plan, Step, Target},
        settings::Settings,
    },
    Enforcement, Reach, Seen, cilium, fqdn, plain,
    status::{Outcome, Problem, status},
};

/// What to do about a workspace.
pub fn plan(workspace: &Workspace, seen: &Seen, settings: &Settings, now: DateTime<Utc>) -> Plan<WorkspaceStatus> {
    if workspace.metadata.deletion_timestamp.is_some() {
        return Plan { steps: Vec::new(), status: None, wake: None, notices: Vec::new() };
    }
    let decision = Decision::of(workspace, seen, settings);
    let (steps, refusal) = until_refused(decision.steps(workspace, seen), seen);
    let is_first_pass = workspace.status.as_ref().and_then(|status| status.network_policy.as_ref()).is_none();
    let outcome = match refusal.or(decision.problem) {
        Some(problem) => Outcome::Error(problem),
        None if decision.awaited || is_first_pass && !steps.is_empty() => Outcome::Progressing,
        None => Outcome::Applied(message(workspace, &decision.remarks)),
    };
    let status = status(workspace, &outcome, decision.unused.as_deref(), now);
    let notices = notices(workspace, &status);
    let wake = (outcome == Outcome::Progressing && !steps.is_empty()).then_some(now);
    Plan { steps, status: Some(status), wake, notices }
}

/// Whether the policy of a namespace is in force, for its workbenches.
pub fn enforcement(seen: &Seen, settings: &Settings) -> Enforcement {
    let missing = |reason, message: String| Enforcement::Missing { reason, message };
    let Some(workspace) = first(seen) else {
        return missing("NoWorkspace", "The namespace has no Workspace.".to_owned());
    };
    if workspace.metadata.deletion_timestamp.is_some() {
        return missing("WorkspaceDeleted", format!("The Workspace {} is being deleted.", workspace.name_any()));
    }
    let decision = Decision::of(workspace, seen, settings);
    let settled = !decision.awaited && decision.steps(workspace, seen).is_empty();
    match decision.problem {
        Some(Problem { reason, message }) => missing(reason, message),
        None if !settled => missing("Progressing", "The network policy is on the way.".to_owned()),
        None => Enforcement::InForce,
    }
}

/// The workspace that counts.
fn first(seen: &Seen) -> Option<&Arc<Workspace>> {
    let age = |workspace: &Arc<Workspace>| {
        (workspace.metadata.creation_timestamp.as_ref().map(|time| time.0), workspace.name_any())
    };
    seen.workspaces.iter().min_by_key(|workspace| age(workspace))
}

/// What shall be in a namespace.
#[derive(Default)]
struct Decision {
    /// The policies; none leaves alone what is there.
    objects: Option<Vec<Object>>,
    /// Why that is not what the workspace asks for.
    problem: Option<Problem>,
    /// Whether a policy that is going has to be gone first.
    awaited: bool,
    /// What is wrong with a list that the mode does not use.
    unused: Option<String>,
    /// What else people should know.
    remarks: Vec<&'static str>,
}

impl Decision {
    fn of(workspace: &Workspace, seen: &Seen, settings: &Settings) -> Self {
        let counts = first(seen).filter(|first| first.metadata.uid != workspace.metadata.uid);
        if let Some(first) = counts {
            return Self::refused(
                "DuplicateWorkspace",
                format!("Workspace {} of this namespace is older.", first.name_any()),
            );
        }
        let mut decision = Self::wanted(workspace, seen, settings);
        let objects = decision.objects.iter().flatten();
        let found: Vec<_> = objects.filter_map(|object| Some((object, found(seen, object)?))).collect();
        decision.awaited = found.iter().any(|(_, child)| child.meta.deleting);
        if let Some((object, _)) = found.iter().find(|(_, child)| owner(child, workspace) == Owner::Other) {
            let (_, kind, _) = object.kind.names();
            let message = format!("{kind} {} is controlled by something else.", object.name());
            return Self::refused("ReconcileError", message);
        }
        decision
    }

    fn refused(reason: &'static str, cause: String) -> Self {
        Self { problem: Some(Problem { reason, message: format!("Not applied: {cause}") }), ..Self::default() }
    }

    fn wanted(workspace: &Workspace, seen: &Seen, settings: &Settings) -> Self {
        let with_cilium = seen.cilium_policies.is_some();
        let objects = |reach: &Reach| match with_cilium {
            true => Some(vec![cilium::policy(workspace, reach, settings)]),
            false => Some(plain::policies(workspace, *reach == Reach::Web, settings)),
        };
        let names = fqdn::names(&workspace.spec.allowed_fqdns);
        let invalid = names.as_ref().err().map(|error| format!("In allowedFQDNs, {error}."));
        let mut decision = Self { remarks: remarks(with_cilium, settings), ..Self::default() };
        match (workspace.spec.network_policy, names) {
            (NetworkMode::Open, _) => {
                decision.objects = objects(&Reach::Web);
                decision.unused = invalid;
            }
            (NetworkMode::Airgapped, _) => {
                decision.objects = objects(&Reach::Nothing);
                decision.unused = invalid;
            }
            (NetworkMode::FqdnAllowlist, Ok(names)) if with_cilium => decision.objects = objects(&Reach::Names(names)),
            (NetworkMode::FqdnAllowlist, Ok(_)) => {
                let cause =
                    "Cilium is not installed, and nothing else knows names. Until then nothing outside is reached.";
                decision =
                    Self { objects: objects(&Reach::Nothing), ..Self::refused("CiliumNotInstalled", cause.to_owned()) };
            }
            (NetworkMode::FqdnAllowlist, Err(error)) => {
                let nothing = objects(&Reach::Nothing);
                let stays = nothing.iter().flatten().any(|object| stays(workspace, seen, object));
                let until = if stays { "the policy before stays in force" } else { "nothing outside is reached" };
                let cause = format!("{error}. Until that is mended, {until}.");
                decision = Self { objects: nothing.filter(|_| !stays), ..Self::refused("InvalidFQDN", cause) };
            }
        }
        decision
    }

    /// What brings that about: policies first, then what is no longer wanted goes.
    fn steps(&self, workspace: &Workspace, seen: &Seen) -> Vec<Step> {
        let Some(objects) = self.objects.as_ref().filter(|_| !self.awaited) else { return Vec::new() };
        let mut steps: Vec<Step> = objects.iter().flat_map(|object| bring(workspace, seen, object)).collect();
        let wanted = |kind, child: &Child<()>| {
            objects.iter().any(|object| object.kind == kind && object.name() == child.meta.name)
        };
        let stale =
            all(seen).filter(|(kind, child)| !wanted(*kind, child) && !child.meta.deleting && is_workspaces(child));
        steps.extend(stale.map(|(kind, child)| Step::Delete(target(kind, child))));
        steps
    }
}

/// The steps up to the first that the API server refused before, and that refusal. What follows waits for it: nothing goes
/// before what replaces it is there.
fn until_refused(mut steps: Vec<Step>, seen: &Seen) -> (Vec<Step>, Option<Problem>) {
    let said = |step: &Step| {
        let target = match step {
            Step::Apply(it) | Step::TakeOver(it) => named(it.kind, it.namespace(), it.name()),
            Step::Patch { target, .. } | Step::Delete(target) => named(target.kind, &target.namespace, &target.name),
            _ => return None,
        };
        let (_, kind, _) = target.kind.names();
        seen.refused.get(&target).map(|said| format!("Not applied: {kind} {} was refused: {said}", target.name))
    };
    let first = steps.iter().enumerate().find_map(|(index, step)| Some((index, said(step)?)));
    let problem = first.map(|(index, message)| {
        steps.truncate(index);
        Problem { reason: "ReconcileError", message }
    });
    (steps, problem)
}

/// A policy by its name alone.
fn named(kind: Kind, namespace: &str, name: &str) -> Target {
    Target { kind, namespace: namespace.to_owned(), name: name.to_owned(), uid: None }
}

/// What people should know of any mode.
fn remarks(with_cilium: bool, settings: &Settings) -> Vec<&'static str> {
    let services = !settings.internal_services.is_empty();
    let mut remarks = Vec::new();
    if !with_cilium {
        remarks.push("Without Cilium, DNS answers for any name.");
    }
    if services && !with_cilium {
        remarks.push("Without Cilium, internal services are not reached.");
    } else if services && settings.egress_namespaces.is_empty() {
        remarks.push("Internal services are not reached: no namespace of a gateway is configured.");
    }
    remarks
}

/// Whether the policy that is there may stay while the list is invalid: it is this workspace's own, and made of names.
fn stays(workspace: &Workspace, seen: &Seen, object: &Object) -> bool {
    let by_address = |child: &Child<()>| {
        let body = child.body.value();
        let rules =
            body["specs"].as_array().into_iter().flatten().filter_map(|spec| spec["egress"].as_array()).flatten();
        rules.into_iter().any(|rule| !rule["toCIDRSet"].is_null() || !rule["toEntities"].is_null())
    };
    object.kind == Kind::CiliumNetworkPolicy
        && found(seen, object).is_some_and(|child| {
            child.meta.ours && !child.meta.deleting && owner(child, workspace) == Owner::This && !by_address(child)
        })
}

/// Every policy with the label of a workspace.
fn all(seen: &Seen) -> impl Iterator<Item = (Kind, &Child<()>)> {
    let plain = seen.policies.iter().map(|child| (Kind::NetworkPolicy, child.as_ref()));
    let cilium = seen.cilium_policies.iter().flatten().map(|child| (Kind::CiliumNetworkPolicy, child.as_ref()));
    plain.chain(cilium)
}

fn found<'a>(seen: &'a Seen, object: &Object) -> Option<&'a Child<()>> {
    let same = |(kind, child): &(Kind, &Child<()>)| *kind == object.kind && child.meta.name == object.name();
    all(seen).find(same).map(|(_, child)| child)
}

fn target(kind: Kind, child: &Child<()>) -> Target {
    let meta = &child.meta;
    Target { uid: Some(meta.uid.clone()), ..named(kind, &meta.namespace, &meta.name) }
}

/// Whose a policy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// This workspace's.
    This,
    /// Nobody's: it is adopted.
    Nobody,
    /// That of an earlier workspace of the same name: it becomes this one's.
    Earlier,
    /// Something else's: it is left alone.
    Other,
}

fn owner(child: &Child<()>, workspace: &Workspace) -> Owner {
    match (&child.meta.controller, controller(child)) {
        (None, _) => Owner::Nobody,
        (uid, _) if *uid == workspace.metadata.uid => Owner::This,
        (_, Some(owner)) if is_workspace(&owner) && owner.name == workspace.name_any() => Owner::Earlier,
        _ => Owner::Other,
    }
}

fn controller(child: &Child<()>) -> Option<OwnerReference> {
    let owners: Vec<OwnerReference> =
        serde_json::from_value(child.body.value()["metadata"]["ownerReferences"].clone()).unwrap_or_default();
    owners.into_iter().find(|owner| owner.controller == Some(true))
}

fn is_workspace(owner: &OwnerReference) -> bool {
    owner.kind == Workspace::kind(&()) && owner.api_version.split('/').next() == Some(GROUP)
}

/// Whether some workspace has or had this policy: ours, or that of the former operator.
fn is_workspaces(child: &Child<()>) -> bool {
    match controller(child) {
        Some(owner) => is_workspace(&owner),
        None => child.meta.ours,
    }
}

/// What makes a policy what it shall be. An apply removes nothing that others wrote, so a patch does that first; the
/// patch says everything else as well, so that the policy is never half of each.
fn bring(workspace: &Workspace, seen: &Seen, object: &Object) -> Vec<Step> {
    let Some(child) = found(seen, object) else { return vec![Step::Apply(object.clone())] };
    let live = child.body.value();
    let owner = owner(child, workspace);
    if child.meta.ours && owner == Owner::This && contains(&live, &object.value) {
        return Vec::new();
    }
    let apply = if child.meta.ours { Step::Apply(object.clone()) } else { Step::TakeOver(object.clone()) };
    let (patch, removes) = merge_patch(&live, &object.value);
    let patch = (removes || owner == Owner::Earlier).then(|| Step::Patch { target: target(object.kind, child), patch });
    patch.into_iter().chain([apply]).collect()
}

/// The merge patch (RFC 7396) after which everything beside the metadata is what is wanted, with the owner and the labels; and
/// whether it removes something.
fn merge_patch(live: &Value, wanted: &Value) -> (Value, bool) {
    let empty = Map::new();
    let said = |object: &Value| {
        let mut fields = object.as_object().unwrap_or(&empty).clone();
        fields.retain(|key, _| !matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
        fields
    };
    let (live, mut patch) = (said(live), said(wanted));
    let mut removes = remove_others(&live, &mut patch);
    for (key, value) in &mut patch {
        if let (Some(Value::Object(live)), Value::Object(wanted)) = (live.get(key), value) {
            removes |= remove_others(live, wanted);
        }
    }
    let meta = &wanted["metadata"];
    patch
        .insert("metadata".to_owned(), json!({ "labels": meta["labels"], "ownerReferences": meta["ownerReferences"] }));
    (Value::Object(patch), removes)
}

/// Puts a null where only `live` has a field.
fn remove_others(live: &Map<String, Value>, wanted: &mut Map<String, Value>) -> bool {
    let others: Vec<_> = live.keys().filter(|key| !wanted.contains_key(*key)).cloned().collect();
    wanted.extend(others.iter().map(|key| (key.clone(), Value::Null)));
    !others.is_empty()
}

/// What a policy in force means, for people.
fn message(workspace: &Workspace, remarks: &[&str]) -> String {
    let spec = &workspace.spec;
    let holds = match spec.network_policy {
        NetworkMode::Open => "pods reach ports 80 and 443 of public addresses.".to_owned(),
        NetworkMode::Airgapped => "air-gapped.".to_owned(),
        NetworkMode::FqdnAllowlist if spec.allowed_fqdns.is_empty() => {
            "air-gapped, since the list is empty.".to_owned()
        }
        NetworkMode::FqdnAllowlist => format!("pods reach {}.", spec.allowed_fqdns.join(", ")),
    };
    std::iter::once(format!("Policy applied: {holds}").as_str())
        .chain(remarks.iter().copied())
        .collect::<Vec<_>>()
        .join(" ")
}

/// What is worth an Event: a condition that turned bad, or is bad for another reason than before.
fn notices(workspace: &Workspace, status: &WorkspaceStatus) -> Vec<Notice> {
    let before = workspace.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let told = |reason: &str, note: &str| {
        before.iter().any(|condition| condition.reason == reason && condition.message == note)
    };
    let reason = |reason: &str| {
        ["InvalidFQDN", "CiliumNotInstalled", "DuplicateWorkspace", "NotSupported"]
            .into_iter()
            .find(|known| *known == reason)
    };
    let fresh = status.conditions.iter().filter(|condition| !told(&condition.reason, &condition.message));
    fresh
        .filter_map(|condition| {
            Some(Notice { warning: true, reason: reason(&condition.reason)?, note: condition.message.clone() })
        })
        .collect()
}
