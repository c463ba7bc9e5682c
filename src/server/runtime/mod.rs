//! What runs desktops: Kubernetes, processes on this host, or nothing.
//!
//! ```text
//! rows (desired) ──► reconcile ──► Runtime::apply, stop, delete ──► desktops
//! rows (observed) ◄── reconcile ◄── Runtime::observe, list ◄─────────┘
//! browser ◄──► stream proxy ◄──► Runtime::connect ◄──► the desktop's HTTP port
//! ```
//!
//! What always holds:
//! - a [`Runtime`] knows no rows and no callers: it gets a specification and tells what it sees;
//! - every function may be called again with the same argument, also by another process after this one died;
//! - `apply`, `stop` and `delete` return as soon as the runtime has taken the order; what becomes of it is observed;
//! - an observation names the generation that it is about, so that an old one never passes for the answer to a new order.

mod choice;
#[cfg(target_os = "linux")]
pub mod local;
pub mod none;

pub use choice::choose;

use std::{fmt, sync::Arc};

use futures_util::{future::BoxFuture, stream::BoxStream};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

/// What went wrong in a runtime. The text is for the person who waits for the desktop: what is wrong and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct RuntimeError {
    /// A stable word for programs, in CamelCase as Kubernetes writes reasons: `XpraMissing`.
    pub reason: &'static str,
    /// For a person. No path, no secret.
    pub message: String,
    /// Whether trying again can help by itself.
    pub transient: bool,
}

impl RuntimeError {
    /// Something that may pass: it is tried again.
    pub fn transient(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), transient: true }
    }

    /// Something that stays until somebody changes it. It is tried again all the same, seldom.
    pub fn lasting(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), transient: false }
    }
}

/// The reason of a runtime that runs nothing and never will. Such an order is not given again.
pub const NO_RUNTIME: &str = "NoRuntime";

/// The result of a runtime's function.
pub type Result<T> = std::result::Result<T, RuntimeError>;

/// A workbench, by the ids of its rows. In the cluster it is `workbench<id>` in the namespace `workspace<id>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkbenchRef {
    /// The workspace.
    pub workspace: i64,
    /// The workbench.
    pub workbench: i64,
}

impl fmt::Display for WorkbenchRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "workspace{}/workbench{}", self.workspace, self.workbench)
    }
}

/// A workspace as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceSpec {
    /// The id of the row.
    pub id: i64,
    /// The tenant.
    pub tenant: i64,
    /// How often what is wanted changed.
    pub generation: i64,
    /// `Airgapped`, `FQDNAllowlist` or `Open`.
    pub network_policy: String,
    /// The host names that the policy allows.
    pub allowed_fqdns: Vec<String>,
}

/// Where the clipboard of a desktop may carry text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Clipboard {
    /// Nowhere.
    #[default]
    Disabled,
    /// Into the desktop only.
    ToServer,
    /// Out of the desktop only.
    ToClient,
    /// Both ways.
    Both,
}

impl Clipboard {
    /// The setting of a workspace. What is not known allows nothing.
    pub fn parse(text: &str) -> Self {
        match text {
            "to-server" => Self::ToServer,
            "to-client" => Self::ToClient,
            "both" => Self::Both,
            _ => Self::Disabled,
        }
    }

    /// The word in the workspace's setting, which Xpra and the custom resource use as well.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::ToServer => "to-server",
            Self::ToClient => "to-client",
            Self::Both => "both",
        }
    }
}

/// A workbench that is to run, with its apps.
#[derive(Debug, Clone)]
pub struct WorkbenchSpec {
    /// Which.
    pub of: WorkbenchRef,
    /// The tenant.
    pub tenant: i64,
    /// How often what is wanted changed: of the workbench or of one of its apps.
    pub generation: i64,
    /// The user who owns it: the id, and the user name as it is stored.
    pub owner: (i64, String),
    /// Width and height of the screen in pixels when it starts; 0 leaves it to the runtime.
    pub resolution: (u32, u32),
    /// Where the clipboard may carry text.
    pub clipboard: Clipboard,
    /// Its app instances, those that ended included as long as their row is there; in the order of their ids.
    pub apps: Vec<AppSpec>,
}

/// What is wanted of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AppState {
    /// It runs. One that ended by itself is not started again.
    Running,
    /// It ends in good order.
    Stopped,
    /// It ends at once.
    Killed,
}

impl AppState {
    /// The word on the wire and in the custom resource.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Stopped => "Stopped",
            Self::Killed => "Killed",
        }
    }

    /// The state of this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Running, Self::Stopped, Self::Killed].into_iter().find(|state| state.as_str() == text)
    }
}

/// An app instance as it is wanted.
#[derive(Debug, Clone)]
pub struct AppSpec {
    /// The id of the row.
    pub id: i64,
    /// The name of the app, as people see it.
    pub name: String,
    /// What is wanted.
    pub state: AppState,
    /// How often it was started: 1, and one more with each restart. A runtime that sees a higher one than it started
    /// starts the app anew, also when it ended.
    pub incarnation: i64,
    /// The registry of the image; the runtime's own when empty.
    pub registry: String,
    /// The name of the image, such as `apps/rstudio`.
    pub image: String,
    /// Its tag.
    pub tag: String,
    /// Limits, as quantities of Kubernetes; empty ones are not set.
    pub limits: Limits,
    /// For a web app: what its browser opens.
    pub browser: Option<Browser>,
}

/// What an app may use, as quantities of Kubernetes. An empty one is not set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Size of the shared memory.
    pub shm_size: String,
    /// The most CPU.
    pub max_cpu: String,
    /// The CPU that is set aside.
    pub min_cpu: String,
    /// The most memory.
    pub max_memory: String,
    /// The memory that is set aside.
    pub min_memory: String,
    /// The most scratch space.
    pub max_ephemeral_storage: String,
    /// The scratch space that is set aside.
    pub min_ephemeral_storage: String,
}

/// What the browser of a web app opens.
#[derive(Debug, Clone)]
pub struct Browser {
    /// The page of the app.
    pub url: String,
    /// The page that takes the token; empty when there is none.
    pub jwt_url: String,
    /// The token with which the app instance signs its user in.
    pub jwt_token: Option<SecretString>,
}

/// How far a desktop is. The words are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PodStatus {
    /// It waits for something that has to be there first.
    Waiting,
    /// It starts.
    Starting,
    /// Its page answers, and so does its display.
    Ready,
    /// It cannot start, or ended by itself.
    Failing,
    /// It is started again.
    Restarting,
    /// It ends.
    Terminating,
    /// It ended.
    Terminated,
    /// Nobody can tell at the moment.
    Unknown,
}

impl PodStatus {
    const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Starting,
        Self::Ready,
        Self::Failing,
        Self::Restarting,
        Self::Terminating,
        Self::Terminated,
        Self::Unknown,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Starting => "Starting",
            Self::Ready => "Ready",
            Self::Failing => "Failing",
            Self::Restarting => "Restarting",
            Self::Terminating => "Terminating",
            Self::Terminated => "Terminated",
            Self::Unknown => "Unknown",
        }
    }

    /// The status of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// What the cluster says of a desktop as a whole: `k8sStatus` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ServerStatus {
    /// Nothing: it is stopped, or nobody looked at it yet.
    #[default]
    None,
    /// On its way.
    Progressing,
    /// Running.
    Running,
    /// Given up for now; it is tried again.
    Failed,
}

impl ServerStatus {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Progressing => "Progressing",
            Self::Running => "Running",
            Self::Failed => "Failed",
        }
    }
}

/// How far an app is. The words are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AppStatus {
    /// Nobody can tell.
    Unknown,
    /// It runs.
    Running,
    /// It ended by itself, with success.
    Complete,
    /// It starts.
    Progressing,
    /// It could not start, or ended with an error.
    Failed,
    /// It is asked to end.
    Stopping,
    /// It ended because that was wanted.
    Stopped,
    /// It is made to end.
    Killing,
    /// It was made to end.
    Killed,
}

impl AppStatus {
    const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Running,
        Self::Complete,
        Self::Progressing,
        Self::Failed,
        Self::Stopping,
        Self::Stopped,
        Self::Killing,
        Self::Killed,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Running => "Running",
            Self::Complete => "Complete",
            Self::Progressing => "Progressing",
            Self::Failed => "Failed",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
            Self::Killing => "Killing",
            Self::Killed => "Killed",
        }
    }

    /// The status of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether it ended, for good unless it is restarted.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Stopped | Self::Killed)
    }
}

/// What a runtime sees of a workbench.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Which.
    pub of: WorkbenchRef,
    /// The generation of the specification that this is about.
    pub generation: i64,
    /// How far the desktop is.
    pub pod: PodStatus,
    /// What the desktop is as a whole.
    pub server: ServerStatus,
    /// A stable word for programs: `Starting`, `XpraMissing`, `ImagePullBackOff`.
    pub reason: String,
    /// For a person. No path, no secret.
    pub message: String,
    /// Its apps. One that is missing here is not known to the runtime (yet).
    pub apps: Vec<AppObservation>,
}

/// What a runtime sees of an app instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppObservation {
    /// The id of the row.
    pub id: i64,
    /// Which start this is about.
    pub incarnation: i64,
    /// How far it is.
    pub status: AppStatus,
    /// For a person: the exit code and the last lines of its errors, for one that failed.
    pub message: String,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A workbench looks like this now.
    Seen(Observation),
    /// There is nothing left of it (but its files, if it was stopped and not deleted).
    Gone(WorkbenchRef),
    /// Something was missed: [`Runtime::list`] tells how things are.
    Missed,
}

/// How far a removal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// There is nothing left.
    Gone,
    /// It is under way: ask again, or wait for [`Event::Gone`].
    Going,
}

/// A byte stream to a desktop's HTTP port.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Something that runs desktops. Shared by the loop that reconciles and the proxy for streams.
pub trait Runtime: Send + Sync + 'static {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// Makes room for the workbenches of a workspace, with its network policy.
    fn apply_workspace<'a>(&'a self, spec: &'a WorkspaceSpec) -> BoxFuture<'a, Result<()>>;

    /// Removes a workspace with the files that its workbenches shared. Its workbenches are gone by then.
    fn delete_workspace(&self, workspace: i64) -> BoxFuture<'_, Result<Removal>>;

    /// Brings a workbench and its apps to what is wanted. Its workspace was applied before.
    fn apply<'a>(&'a self, spec: &'a WorkbenchSpec) -> BoxFuture<'a, Result<()>>;

    /// Ends the desktop and its apps, and keeps the files.
    fn stop(&self, of: WorkbenchRef) -> BoxFuture<'_, Result<Removal>>;

    /// Ends the desktop and its apps, and removes its own files.
    fn delete(&self, of: WorkbenchRef) -> BoxFuture<'_, Result<Removal>>;

    /// Every workbench that there is, of whatever server: also those whose rows are gone.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Observation>>>;

    /// What happens from now on. The stream ends when the runtime does; then it is opened again after [`Runtime::list`].
    fn observe(&self) -> BoxStream<'static, Event>;

    /// Opens a connection to the desktop's HTTP port.
    ///
    /// # Errors
    /// A transient error when the desktop is not there (yet).
    fn connect(&self, of: WorkbenchRef) -> BoxFuture<'_, Result<Box<dyn Stream>>>;

    /// The last lines that an app wrote, at most so many bytes; empty when there are none.
    fn logs(&self, of: WorkbenchRef, app: i64, most: usize) -> BoxFuture<'_, Result<String>>;
}

/// A runtime that several share.
pub type SharedRuntime = Arc<dyn Runtime>;
