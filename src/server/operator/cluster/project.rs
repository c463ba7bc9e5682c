//! From the wire to what is remembered ([`super::super::live`]).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{
    super::{
        api::{MANAGER, Workbench, Workspace, labels},
        live::{
            Body, Child, Container, ContainerState, DeploymentStatus, JobStatus, Kind, Meta, Pod, SeenCondition,
            VolumeStatus,
        },
    },
    wire::{self, HasMetadata},
};

/// The annotation in which kubectl keeps a whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The annotation in which the Deployment controller counts.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// The labels of pods that decisions need.
const POD_LABELS: [&str; 5] =
    [labels::WORKBENCH, labels::POD_OF, labels::APP, "batch.kubernetes.io/job-name", "pod-template-hash"];
/// Messages of other controllers may be long; people read the beginning.
const MESSAGE: usize = 512;

/// Something that the caches remember.
pub trait Remembered: Serialize + DeserializeOwned + PartialEq + Send + Sync + 'static {
    /// How it is read.
    type Wire: DeserializeOwned + HasMetadata + Clone + Send + 'static;

    /// What is remembered of it, and what to find it by: its workbench, or nothing in words (`""`) for a policy of a
    /// workspace. None if it cannot be understood.
    fn project(kind: Kinds, wire: Self::Wire) -> Option<(Self, Option<String>)>;
    /// Its namespace (empty where there is none) and its name.
    fn key(&self) -> (&str, &str);
    /// Its resource version.
    fn version(&self) -> &str;
    /// Its state in one word, for figures.
    fn state(&self) -> &'static str {
        ""
    }
    /// Whether nothing changed that decisions need.
    fn same(&self, other: &Self) -> bool;
}

/// What kind of object is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinds {
    /// A child.
    Child(Kind),
    /// Anything else.
    Other,
}

impl<S: Status> Remembered for Child<S> {
    type Wire = wire::Object<S::Wire>;

    fn project(kind: Kinds, wire: Self::Wire) -> Option<(Self, Option<String>)> {
        let Kinds::Child(kind) = kind else { return None };
        let labels = wire.metadata.labels.as_ref();
        let workbench = labels.and_then(|labels| labels.get(labels::WORKBENCH).cloned());
        let group = workbench.or_else(|| labels?.contains_key(labels::WORKSPACE).then(String::new));
        let status = S::project(&wire.metadata, wire.status);
        let body = body(kind, &wire.metadata, S::spec(wire.spec), wire.specs);
        Some((Self { body, meta: meta(wire.metadata), status }, group))
    }

    fn key(&self) -> (&str, &str) {
        (&self.meta.namespace, &self.meta.name)
    }

    fn version(&self) -> &str {
        &self.meta.resource_version
    }

    fn same(&self, other: &Self) -> bool {
        same_meta(&self.meta, &other.meta) && self.status == other.status && self.body == other.body
    }
}

/// The status of a child.
pub trait Status: Serialize + DeserializeOwned + PartialEq + Send + Sync + 'static {
    /// How it is read.
    type Wire: DeserializeOwned + Clone + Send + 'static;

    /// What is remembered of it.
    fn project(metadata: &wire::Metadata, wire: Option<Self::Wire>) -> Self;

    /// What is remembered of the spec.
    fn spec(spec: Option<Value>) -> Option<Value> {
        spec
    }
}

impl Status for () {
    type Wire = wire::Ignored;

    fn project(_metadata: &wire::Metadata, _wire: Option<wire::Ignored>) -> Self {}
}

impl Status for DeploymentStatus {
    type Wire = wire::DeploymentStatus;

    fn project(metadata: &wire::Metadata, wire: Option<wire::DeploymentStatus>) -> Self {
        let wire = wire.unwrap_or_default();
        let revision =
            metadata.annotations.as_ref().and_then(|all| all.get(REVISION)).and_then(|text| text.parse().ok());
        Self {
            revision,
            generation: (metadata.generation.unwrap_or_default(), wire.observed_generation.unwrap_or_default()),
            replicas: wire.replicas.unwrap_or_default(),
            conditions: conditions(wire.conditions),
        }
    }
}

impl Status for JobStatus {
    type Wire = wire::JobStatus;

    fn project(_metadata: &wire::Metadata, wire: Option<wire::JobStatus>) -> Self {
        let wire = wire.unwrap_or_default();
        Self {
            active: wire.active.unwrap_or_default(),
            ready: wire.ready.unwrap_or_default(),
            terminating: wire.terminating,
            succeeded: wire.succeeded.unwrap_or_default(),
            failed: wire.failed.unwrap_or_default(),
            conditions: conditions(wire.conditions),
        }
    }

    /// A Job is created and deleted, never applied over: what its pods are is not compared, and it is the greater part.
    fn spec(spec: Option<Value>) -> Option<Value> {
        let mut spec = spec?;
        if let Some(fields) = spec.as_object_mut() {
            fields.remove("template");
        }
        Some(spec)
    }
}

impl Status for VolumeStatus {
    type Wire = wire::VolumeStatus;

    fn project(_metadata: &wire::Metadata, wire: Option<wire::VolumeStatus>) -> Self {
        Self { phase: wire.unwrap_or_default().phase.unwrap_or_default() }
    }
}

impl Remembered for Pod {
    type Wire = wire::Pod;

    fn project(_kind: Kinds, wire: wire::Pod) -> Option<(Self, Option<String>)> {
        let status = wire.status.unwrap_or_default();
        let unscheduled = conditions(status.conditions)
            .into_iter()
            .find(|condition| condition.kind == "PodScheduled" && condition.status != "True");
        let mut labels = wire.metadata.labels.clone().unwrap_or_default();
        labels.retain(|name, _| POD_LABELS.contains(&name.as_str()));
        let group = labels.get(labels::POD_OF).or_else(|| labels.get(labels::WORKBENCH)).cloned();
        let pod = Self {
            meta: meta(wire.metadata),
            labels,
            phase: status.phase.unwrap_or_default(),
            unscheduled,
            reason: status.reason,
            init: containers(status.init_container_statuses),
            containers: containers(status.container_statuses),
        };
        Some((pod, group))
    }

    fn key(&self) -> (&str, &str) {
        (&self.meta.namespace, &self.meta.name)
    }

    fn version(&self) -> &str {
        &self.meta.resource_version
    }

    fn same(&self, other: &Self) -> bool {
        same_meta(&self.meta, &other.meta)
            && self.labels == other.labels
            && self.phase == other.phase
            && self.unscheduled == other.unscheduled
            && self.reason == other.reason
            && self.init == other.init
            && self.containers == other.containers
    }
}

/// A Secret that volumes or apps need, or a driver: its name, and for a Secret its values.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    namespace: String,
    name: String,
    version: String,
    /// The values of a Secret that are text.
    pub values: BTreeMap<String, String>,
}

/// A Secret.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub Named);

impl Remembered for Named {
    type Wire = wire::Named;

    fn project(_kind: Kinds, wire: wire::Named) -> Option<(Self, Option<String>)> {
        Some((named(wire.metadata), None))
    }

    fn key(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn same(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl Remembered for Secret {
    type Wire = wire::Secret;

    fn project(_kind: Kinds, wire: wire::Secret) -> Option<(Self, Option<String>)> {
        let values = wire.data.unwrap_or_default().into_iter();
        let values = values.filter_map(|(name, value)| Some((name, String::from_utf8(value.0).ok()?))).collect();
        Some((Self(Named { values, ..named(wire.metadata) }), None))
    }

    fn key(&self) -> (&str, &str) {
        self.0.key()
    }

    fn version(&self) -> &str {
        &self.0.version
    }

    fn same(&self, other: &Self) -> bool {
        self.0.values == other.0.values
    }
}

impl Remembered for Workbench {
    type Wire = wire::Custom;

    fn project(_kind: Kinds, wire: wire::Custom) -> Option<(Self, Option<String>)> {
        let mut workbench: Self = custom(wire.0)?;
        tidy(&mut workbench.metadata);
        Some((workbench, None))
    }

    fn key(&self) -> (&str, &str) {
        object_key(&self.metadata)
    }

    fn version(&self) -> &str {
        self.metadata.resource_version.as_deref().unwrap_or_default()
    }

    fn state(&self) -> &'static str {
        state_of(self)
    }

    fn same(&self, other: &Self) -> bool {
        same_object(&self.metadata, &other.metadata) && self.spec == other.spec && self.status == other.status
    }
}

/// The state of a workbench in one word.
fn state_of(workbench: &Workbench) -> &'static str {
    use super::super::api::workbench::DeploymentHealth::{Failed, Progressing, Running};
    if workbench.metadata.deletion_timestamp.is_some() {
        return "Deleting";
    }
    if workbench.spec.suspended == Some(true) {
        return "Suspended";
    }
    match workbench.status.as_ref().map(|status| status.server_deployment.status) {
        Some(Running) => "Running",
        Some(Progressing) => "Progressing",
        Some(Failed) => "Failed",
        None => "New",
    }
}

impl Remembered for Workspace {
    type Wire = wire::Custom;

    fn project(_kind: Kinds, wire: wire::Custom) -> Option<(Self, Option<String>)> {
        let mut workspace: Self = custom(wire.0)?;
        tidy(&mut workspace.metadata);
        Some((workspace, None))
    }

    fn key(&self) -> (&str, &str) {
        object_key(&self.metadata)
    }

    fn version(&self) -> &str {
        self.metadata.resource_version.as_deref().unwrap_or_default()
    }

    fn same(&self, other: &Self) -> bool {
        same_object(&self.metadata, &other.metadata) && self.spec == other.spec && self.status == other.status
    }
}

/// A resource of ours. A status that cannot be read (of a later version, say) counts as none and is written anew; a spec
/// that cannot be read is left alone.
fn custom<T: DeserializeOwned>(mut value: Value) -> Option<T> {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    // the schema does not ask for it, as that of running clusters does not
    if let Some(object) = value.as_object_mut() {
        object.entry("spec").or_insert_with(|| Value::Object(Map::new()));
    }
    match T::deserialize(&value) {
        Ok(object) => return Some(object),
        Err(error) => tracing::warn!(name = %value["metadata"]["name"], %error, "a resource cannot be read as it is"),
    }
    value.as_object_mut()?.remove("status");
    T::deserialize(&value).ok()
}

fn tidy(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

fn object_key(metadata: &ObjectMeta) -> (&str, &str) {
    (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

fn same_object(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    one.uid == other.uid
        && one.generation == other.generation
        && one.deletion_timestamp == other.deletion_timestamp
        && one.finalizers == other.finalizers
        && one.annotations == other.annotations
}

fn same_meta(one: &Meta, other: &Meta) -> bool {
    one.uid == other.uid
        && one.controller == other.controller
        && one.ours == other.ours
        && one.deleting == other.deleting
}

fn named(metadata: wire::Metadata) -> Named {
    Named {
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name,
        version: metadata.resource_version.unwrap_or_default(),
        values: BTreeMap::new(),
    }
}

fn meta(wire: wire::Metadata) -> Meta {
    let controller = wire.owner_references.iter().flatten().find(|owner| owner["controller"] == json!(true));
    Meta {
        controller: controller.and_then(|owner| owner["uid"].as_str()).map(str::to_owned),
        ours: wire.managed_fields.iter().flatten().any(applied_by_us),
        name: wire.name,
        namespace: wire.namespace.unwrap_or_default(),
        uid: wire.uid,
        resource_version: wire.resource_version.unwrap_or_default(),
        created: wire.creation_timestamp.unwrap_or_default(),
        deleting: wire.deletion_timestamp.is_some(),
    }
}

fn applied_by_us(entry: &wire::Manager) -> bool {
    entry.manager.as_deref() == Some(MANAGER)
        && entry.operation.as_deref() == Some("Apply")
        && entry.subresource.as_deref().unwrap_or_default().is_empty()
}

/// What may be compared with what is wanted. Items of a list say neither `apiVersion` nor `kind`, so these come from us.
fn body(kind: Kind, wire: &wire::Metadata, spec: Option<Value>, specs: Option<Value>) -> Body {
    let (api_version, kind, _) = kind.names();
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), json!(wire.name));
    if let Some(namespace) = &wire.namespace {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    if let Some(labels) = &wire.labels {
        metadata.insert("labels".to_owned(), json!(labels));
    }
    if let Some(annotations) = &wire.annotations {
        let mut annotations = annotations.clone();
        annotations.remove(LAST_APPLIED);
        metadata.insert("annotations".to_owned(), json!(annotations));
    }
    if let Some(owners) = &wire.owner_references {
        metadata.insert("ownerReferences".to_owned(), json!(owners));
    }
    let mut value = json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata });
    for (key, part) in [("spec", spec), ("specs", specs)] {
        if let (Some(part), Some(fields)) = (part, value.as_object_mut()) {
            fields.insert(key.to_owned(), part);
        }
    }
    Body::new(&value)
}

fn conditions(wire: Option<Vec<wire::Condition>>) -> Vec<SeenCondition> {
    let convert = |condition: wire::Condition| SeenCondition {
        kind: condition.kind,
        status: condition.status,
        reason: condition.reason.unwrap_or_default(),
        message: shorten(condition.message),
    };
    wire.unwrap_or_default().into_iter().map(convert).collect()
}

fn containers(wire: Option<Vec<wire::Container>>) -> Vec<Container> {
    let convert = |container: wire::Container| Container {
        name: container.name,
        ready: container.ready,
        restarts: container.restart_count,
        state: state(container.state.unwrap_or_default()),
    };
    wire.unwrap_or_default().into_iter().map(convert).collect()
}

fn state(wire: wire::ContainerState) -> ContainerState {
    if let Some(running) = wire.running {
        ContainerState::Running { since: running.started_at }
    } else if let Some(waiting) = wire.waiting {
        ContainerState::Waiting { reason: waiting.reason.unwrap_or_default(), message: shorten(waiting.message) }
    } else if let Some(terminated) = wire.terminated {
        ContainerState::Terminated {
            code: terminated.exit_code,
            reason: terminated.reason.unwrap_or_default(),
            message: shorten(terminated.message),
        }
    } else {
        ContainerState::None
    }
}

fn shorten(message: Option<String>) -> String {
    let mut message = message.unwrap_or_default();
    if let Some((at, _)) = message.char_indices().nth(MESSAGE) {
        message.truncate(at);
    }
    message
}

#[cfg(test)]
#[path = "project_tests.rs"]
mod tests;
