//! What is read of an object on the wire: a few fields, and the rest is skipped without being kept.
//!
//! `metadata.managedFields` is a third of every object; only who applied is looked at.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use kube::{
    Resource,
    api::{ApiResource, ObjectMeta},
    core::DynamicResourceScope,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

/// Something with `metadata`.
pub trait HasMetadata {
    /// Name, namespace and resource version.
    fn identity(&self) -> (Option<&str>, Option<&str>, Option<&str>);
}

/// An object on the wire, in the shape that [`kube::runtime::watcher()`] asks for.
#[derive(Clone)]
pub struct Wire<W> {
    meta: ObjectMeta,
    /// What was read.
    pub object: W,
}

impl<W> fmt::Debug for Wire<W> {
    /// Only its name: it may be a Secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.meta.namespace, self.meta.name)
    }
}

impl<'de, W: DeserializeOwned + HasMetadata> Deserialize<'de> for Wire<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = W::deserialize(deserializer)?;
        let (name, namespace, version) = object.identity();
        let meta = ObjectMeta {
            name: name.map(str::to_owned),
            namespace: namespace.map(str::to_owned),
            resource_version: version.map(str::to_owned),
            ..ObjectMeta::default()
        };
        Ok(Self { meta, object })
    }
}

impl<W> Resource for Wire<W> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// `metadata`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its uid.
    pub uid: String,
    /// Its version.
    pub resource_version: Option<String>,
    /// Counts changes of the spec.
    pub generation: Option<i64>,
    /// When it was created.
    pub creation_timestamp: Option<DateTime<Utc>>,
    /// Since when it is being deleted.
    pub deletion_timestamp: Option<DateTime<Utc>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    pub annotations: Option<BTreeMap<String, String>>,
    /// Owners.
    pub owner_references: Option<Vec<Value>>,
    /// Who wrote it.
    pub managed_fields: Option<Vec<Manager>>,
}

/// Who wrote an object; what was written is skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Manager {
    /// The field manager.
    pub manager: Option<String>,
    /// `Apply` or `Update`.
    pub operation: Option<String>,
    /// `status`, for one.
    pub subresource: Option<String>,
}

/// An object with a body to compare, and a status.
#[derive(Clone, Deserialize)]
#[serde(bound = "S: DeserializeOwned")]
pub struct Object<S> {
    /// Metadata.
    pub metadata: Metadata,
    /// What it shall be.
    #[serde(default)]
    pub spec: Option<Value>,
    /// The rules of a CiliumNetworkPolicy that has several.
    #[serde(default)]
    pub specs: Option<Value>,
    /// What is seen.
    #[serde(default)]
    pub status: Option<S>,
}

/// The status of an object of which none is wanted.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Ignored {}

/// The status of a Deployment.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentStatus {
    /// The generation that this status is about.
    pub observed_generation: Option<i64>,
    /// Pods.
    pub replicas: Option<i32>,
    /// Conditions.
    pub conditions: Option<Vec<Condition>>,
}

/// The status of a Job.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct JobStatus {
    /// Pods that run or are pending.
    pub active: Option<i32>,
    /// Those that are ready.
    pub ready: Option<i32>,
    /// Those that are ending.
    pub terminating: Option<i32>,
    /// Those that ended well.
    pub succeeded: Option<i32>,
    /// Those that ended badly.
    pub failed: Option<i32>,
    /// Conditions.
    pub conditions: Option<Vec<Condition>>,
}

/// The status of a volume or a claim.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct VolumeStatus {
    /// Its phase.
    pub phase: Option<String>,
}

/// A condition.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    pub reason: Option<String>,
    /// Why, for people.
    pub message: Option<String>,
}

/// A pod.
#[derive(Clone, Deserialize)]
pub struct Pod {
    /// Metadata.
    pub metadata: Metadata,
    /// What is seen.
    #[serde(default)]
    pub status: Option<PodStatus>,
}

/// The status of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// Its phase.
    pub phase: Option<String>,
    /// Why it failed as a whole.
    pub reason: Option<String>,
    /// Conditions.
    pub conditions: Option<Vec<Condition>>,
    /// Containers that set up or stand beside.
    pub init_container_statuses: Option<Vec<Container>>,
    /// Containers.
    pub container_statuses: Option<Vec<Container>>,
}

/// The status of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Whether it is ready.
    pub ready: bool,
    /// How often it was started again.
    pub restart_count: i32,
    /// What it does.
    pub state: Option<ContainerState>,
}

/// What a container does; one of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// It cannot start yet.
    pub waiting: Option<Detail>,
    /// It runs.
    pub running: Option<Detail>,
    /// It ended.
    pub terminated: Option<Detail>,
}

/// More about what a container does.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Detail {
    /// Why, in one word.
    pub reason: Option<String>,
    /// Why, for people.
    pub message: Option<String>,
    /// Since when it runs.
    pub started_at: Option<DateTime<Utc>>,
    /// How it ended.
    pub exit_code: i32,
}

/// An object of which only the name counts.
#[derive(Clone, Deserialize)]
pub struct Named {
    /// Metadata.
    pub metadata: Metadata,
}

/// A Secret; its values are base64.
#[derive(Clone, Deserialize)]
pub struct Secret {
    /// Metadata.
    pub metadata: Metadata,
    /// Its values.
    #[serde(default)]
    pub data: Option<BTreeMap<String, k8s_openapi::ByteString>>,
}

/// A resource of ours. It is parsed in a second step, so that one that cannot be read does not hide all others.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Custom(pub Value);

impl<S> HasMetadata for Object<S> {
    fn identity(&self) -> (Option<&str>, Option<&str>, Option<&str>) {
        identity(&self.metadata)
    }
}

impl HasMetadata for Pod {
    fn identity(&self) -> (Option<&str>, Option<&str>, Option<&str>) {
        identity(&self.metadata)
    }
}

impl HasMetadata for Named {
    fn identity(&self) -> (Option<&str>, Option<&str>, Option<&str>) {
        identity(&self.metadata)
    }
}

impl HasMetadata for Secret {
    fn identity(&self) -> (Option<&str>, Option<&str>, Option<&str>) {
        identity(&self.metadata)
    }
}

impl HasMetadata for Custom {
    fn identity(&self) -> (Option<&str>, Option<&str>, Option<&str>) {
        let text = |key: &str| self.0.get("metadata").and_then(|metadata| metadata.get(key)).and_then(Value::as_str);
        (text("name"), text("namespace"), text("resourceVersion"))
    }
}

fn identity(metadata: &Metadata) -> (Option<&str>, Option<&str>, Option<&str>) {
    (Some(&metadata.name), metadata.namespace.as_deref(), metadata.resource_version.as_deref())
}
