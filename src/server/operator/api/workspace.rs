//! Workspace: the project around desktops. Its namespace holds them, its policy says what they reach.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Condition, schema};

/// What a project shall be.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "default.chorus-tre.ch",
    version = "v1alpha1",
    kind = "Workspace",
    plural = "workspaces",
    namespaced,
    status = "WorkspaceStatus",
    doc = "A project: what the desktops of its namespace reach, and the services beside them.",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Network-Policy","type":"string","jsonPath":".status.networkPolicy.status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"NetworkPolicyReady\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceSpec {
    /// What its pods reach.
    pub network_policy: NetworkMode,
    /// Names, or wildcards `*.example.org`, that its pods reach in the mode `FQDNAllowlist`.
    #[serde(default, rename = "allowedFQDNs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = schema::NAME_LENGTH)), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_fqdns: Vec<String>,
    /// Services beside the desktops, installed from Helm charts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub services: BTreeMap<String, Service>,
}

/// What the pods of a workspace reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NetworkMode {
    /// The web: ports 80 and 443 of public addresses.
    Open,
    /// Nothing outside.
    #[default]
    Airgapped,
    /// The web, where the name is on the list.
    #[serde(rename = "FQDNAllowlist")]
    FqdnAllowlist,
}

/// A service beside the desktops.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// What it shall be doing; `Running` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Running"))]
    pub state: Option<ServiceState>,
    /// Its chart.
    pub chart: Chart,
    /// Values for the chart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::anything")]
    pub values: Option<Value>,
    /// Generated passwords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Text for people who connect, with placeholders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = schema::TEXT_LENGTH))]
    pub connection_info_template: Option<String>,
    /// Value paths, and the texts with placeholders that go there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256))]
    pub computed_values: BTreeMap<String, String>,
}

/// What a service shall be doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceState {
    /// Run.
    #[default]
    Running,
    /// Be gone, with its volumes kept.
    Stopped,
    /// Be gone, with its volumes.
    Deleted,
}

/// A Helm chart in an OCI registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Chart {
    /// Registry host without scheme; the operator's registry when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = schema::PATH_LENGTH))]
    pub registry: Option<String>,
    /// Path with the name of the chart; derived from the service's key when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = schema::PATH_LENGTH))]
    pub repository: Option<String>,
    /// Version.
    #[schemars(length(max = schema::TAG_LENGTH))]
    pub tag: String,
}

/// Generated passwords of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// The Secret that holds them; may hold placeholders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = schema::PATH_LENGTH))]
    pub secret_name: Option<String>,
    /// Value paths that receive a generated password.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = schema::TEXT_LENGTH)))]
    pub paths: Vec<String>,
}

/// What is seen of a project.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Its network policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<PolicyStatus>,
    /// `NetworkPolicyReady`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Its services, with the keys of `spec.services`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, ServiceStatus>,
}

/// The network policy of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// The mode in force, or why none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<PolicyState>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The mode in force, or why none is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyState {
    /// It is on the way.
    Progressing,
    /// In force.
    Open,
    /// In force.
    Airgapped,
    /// In force.
    #[serde(rename = "FQDNAllowlist")]
    FqdnAllowlist,
    /// The wanted policy is not in force.
    Error,
}

/// One service of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// How it fares.
    pub status: ServiceHealth,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How to connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_info: Option<String>,
    /// The Secret with its passwords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
}

/// How a service fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceHealth {
    /// It is on the way.
    #[default]
    Progressing,
    /// It runs.
    Running,
    /// It was stopped.
    Stopped,
    /// It was removed.
    Deleted,
    /// It cannot run.
    Failed,
}
