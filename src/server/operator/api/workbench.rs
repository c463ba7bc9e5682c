//! Workbench: one desktop session, with its display server and its apps.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, Quantity, schema};

/// What a desktop session shall be.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "default.chorus-tre.ch",
    version = "v1alpha1",
    kind = "Workbench",
    plural = "workbenches",
    namespaced,
    status = "WorkbenchStatus",
    doc = "A desktop session: a display server and the apps that draw on it.",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".spec.server.version"}"#,
    printcolumn = r#"{"name":"Server-Health","type":"string","jsonPath":".status.serverDeployment.serverPod.status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct WorkbenchSpec {
    /// The display server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    /// The image that sets up the user of each app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_container: Option<InitContainer>,
    /// The apps, by an id that stays for the life of the instance.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub apps: BTreeMap<String, App>,
    /// Service account of the server pod and the app pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = schema::NAME_LENGTH), regex(pattern = schema::OPTIONAL_OBJECT_NAME), extend("default" = "default"))]
    pub service_account_name: Option<String>,
    /// Names of pull secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = schema::NAME_LENGTH)))]
    pub image_pull_secrets: Vec<String>,
    /// Which file systems of the workspace to mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Scaled to zero, with its state kept: no server runs and no app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<bool>,
}

/// The display server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Image tag of the server; `latest` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = schema::TAG_LENGTH), regex(pattern = schema::OPTIONAL_TAG), extend("default" = "latest"))]
    pub version: Option<String>,
    /// Initial screen width in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = schema::MAX_PIXELS))]
    pub initial_resolution_width: Option<i64>,
    /// Initial screen height in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = schema::MAX_PIXELS))]
    pub initial_resolution_height: Option<i64>,
    /// Unix login inside app containers; `chorus` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = schema::PATH_LENGTH), regex(pattern = schema::OPTIONAL_LOGIN), extend("default" = "chorus"))]
    pub user: Option<String>,
    /// Unix uid of that login; 1001 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1001, max = schema::MAX_UID), extend("default" = 1001))]
    pub userid: Option<i64>,
    /// Which way the clipboard works; `disabled` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "disabled"))]
    pub clipboard: Option<Clipboard>,
    /// Resources of the server container. They replace the operator's defaults as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources")]
    pub resources: Option<ResourceRequirements>,
}

/// Which way the clipboard works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Clipboard {
    /// Neither way.
    #[default]
    Disabled,
    /// From the user's machine into the desktop.
    ToServer,
    /// Out of the desktop.
    ToClient,
    /// Both ways.
    Both,
}

/// The image that sets up the user of each app.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InitContainer {
    /// Image tag; `latest` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = schema::TAG_LENGTH), regex(pattern = schema::OPTIONAL_TAG), extend("default" = "latest"))]
    pub version: Option<String>,
}

/// One app.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// Name for people; part of the name of the Job, and the hostname of the pod.
    #[schemars(length(min = 1, max = 30), regex(pattern = schema::NAME))]
    pub name: String,
    /// What the app shall be doing; `Running` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Running"))]
    pub state: Option<AppState>,
    /// What it runs.
    pub image: Image,
    /// Size limit of an in-memory `/dev/shm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantity")]
    pub shm_size: Option<Quantity>,
    /// Resources of its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources")]
    pub resources: Option<ResourceRequirements>,
    /// The page that a browser app opens. `browserConfig` wins where both are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kiosk_config: Option<Browser>,
    /// The page that a browser app opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browser_config: Option<Browser>,
    /// A greater number than before starts an app again, also one that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0), extend("x-kubernetes-validations" = schema::never_decreases()))]
    pub restart_generation: Option<i64>,
}

/// What an app shall be doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AppState {
    /// Run.
    #[default]
    Running,
    /// End in an orderly way.
    Stopped,
    /// End at once.
    Killed,
}

/// An image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Registry host; the operator's registry when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = schema::PATH_LENGTH))]
    pub registry: Option<String>,
    /// Path without tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = schema::PATH_LENGTH))]
    pub repository: Option<String>,
    /// Tag; `latest` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = schema::TAG_LENGTH), regex(pattern = schema::NAME), extend("default" = "latest"))]
    pub tag: Option<String>,
}

/// The page that a browser app opens. `Debug` leaves the token out.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Browser {
    /// Page to open.
    #[schemars(length(max = schema::URL_LENGTH), regex(pattern = schema::HTTPS))]
    pub url: String,
    /// Where the token is exchanged for a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = schema::URL_LENGTH), regex(pattern = schema::HTTPS))]
    pub jwt_url: Option<String>,
    /// The short-lived token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = schema::TEXT_LENGTH))]
    pub jwt_token: Option<String>,
}

impl std::fmt::Debug for Browser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Browser").field("url", &self.url).field("jwt_url", &self.jwt_url).finish_non_exhaustive()
    }
}

/// Which file systems of the workspace to mount. The defaults hold for absent fields and for an absent object alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// The archive in object storage, at `/mnt/workspace-archive`; true when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub s3: Option<bool>,
    /// The scratch space on NFS, at `/mnt/workspace-scratch`; true when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub nfs: Option<bool>,
    /// A folder of the node, at `/mnt/workspace-local`; false when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub local: Option<bool>,
}

/// What is seen of a desktop session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkbenchStatus {
    /// The generation of the spec that this status is about.
    pub observed_generation: i64,
    /// The display server.
    pub server_deployment: ServerStatus,
    /// The apps, with the keys of `spec.apps`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub apps: BTreeMap<String, AppStatus>,
    /// `Ready`, `ServerAvailable`, `StorageReady`, `NetworkIsolated`, `Outdated`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// The display server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Revision of the Deployment; -1 when unknown.
    pub revision: i64,
    /// How the Deployment fares.
    pub status: DeploymentHealth,
    /// Its newest pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_pod: Option<PodStatus>,
}

/// How a Deployment fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeploymentHealth {
    /// Its pod is available.
    Running,
    /// It is on the way.
    #[default]
    Progressing,
    /// It did not get there in time.
    Failed,
}

/// The newest server pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// How it fares.
    pub status: PodHealth,
    /// Whether apps can draw.
    pub ready: bool,
    /// How often its container was started again.
    pub restart_count: i32,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a server pod fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PodHealth {
    /// A container cannot start yet.
    Waiting,
    /// It starts.
    Starting,
    /// The desktop answers.
    Ready,
    /// It runs and does not answer.
    Failing,
    /// It ended a short while ago and starts again.
    Restarting,
    /// It is being removed.
    Terminating,
    /// It ended.
    Terminated,
    /// Nothing is known.
    #[default]
    Unknown,
}

/// One app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppStatus {
    /// 0, or -1 for an app that never got a Job.
    pub revision: i64,
    /// How it fares.
    pub status: AppHealth,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// For programs: why, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The `restartGeneration` that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_generation: Option<i64>,
}

/// How an app fares. `Complete`, `Failed`, `Stopped` and `Killed` are the end, until the app is asked for again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AppHealth {
    /// Nothing is known.
    #[default]
    Unknown,
    /// It runs.
    Running,
    /// It ended by itself, well.
    Complete,
    /// It is on the way.
    Progressing,
    /// It ended badly, or did not start in time.
    Failed,
    /// It is ending in an orderly way.
    Stopping,
    /// It was stopped.
    Stopped,
    /// It is being ended at once.
    Killing,
    /// It was ended at once.
    Killed,
}
