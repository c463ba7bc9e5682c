//! Rows as the loop reads them: what is wanted, what was observed, and what goes with it, so that a step needs no other query.

use chrono::{DateTime, Utc};

use crate::server::{
    db::{FromRow, Json},
    runtime::{AppState, AppStatus, WorkbenchRef},
    services::app_instances::snapshot::AppSnapshot,
};

/// What is wanted of a workbench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Running,
    Stopped,
    Deleted,
}

impl Wanted {
    /// Nothing stays in a workspace that is deleted, whatever its own row says.
    fn parse(text: &str, workspace_deleted: bool) -> Self {
        match text {
            _ if workspace_deleted => Self::Deleted,
            "running" => Self::Running,
            "deleted" => Self::Deleted,
            _ => Self::Stopped,
        }
    }
}

/// A workbench with its owner, its workspace and its apps.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Workbench {
    pub id: i64,
    pub tenant_id: i64,
    pub workspace_id: i64,
    pub user_id: i64,
    pub username: String,
    pub initial_resolution_width: i64,
    pub initial_resolution_height: i64,
    pub wanted: String,
    pub generation: i64,
    pub observed_generation: i64,
    pub server_pod_status: String,
    pub server_pod_message: String,
    pub k8s_status: String,
    pub reason: String,
    pub due_at: Option<DateTime<Utc>>,
    pub attempts: i64,
    pub removed_at: Option<DateTime<Utc>>,
    pub clipboard: String,
    pub workspace_deleted_at: Option<DateTime<Utc>>,
    pub workspace_generation: i64,
    pub workspace_observed_generation: i64,
    pub workspace_due_at: Option<DateTime<Utc>>,
    pub runtime_reason: String,
    pub runtime_message: String,
    /// In the order of their ids. Deleted ones as long as they may still run.
    #[sqlx(skip)]
    pub apps: Vec<App>,
}

impl Workbench {
    pub fn of(&self) -> WorkbenchRef {
        WorkbenchRef { workspace: self.workspace_id, workbench: self.id }
    }

    pub fn wanted(&self) -> Wanted {
        Wanted::parse(&self.wanted, self.workspace_deleted_at.is_some())
    }

    /// Whether the runtime took the workspace as it is wanted.
    pub fn workspace_is_current(&self) -> bool {
        self.workspace_observed_generation == self.workspace_generation
    }

    /// Why the workspace is not there yet.
    pub fn workspace_trouble(&self) -> (String, String) {
        match self.runtime_reason.is_empty() {
            true => ("WorkspacePending".to_owned(), "Its workspace is not ready yet.".to_owned()),
            false => (self.runtime_reason.clone(), format!("Its workspace is not ready: {}", self.runtime_message)),
        }
    }
}

/// An app instance.
#[derive(Debug, Clone, FromRow)]
pub(super) struct App {
    pub id: i64,
    pub workbench_id: i64,
    pub app: Json<AppSnapshot>,
    pub k8s_state: String,
    pub incarnation: i64,
    pub started_at: DateTime<Utc>,
    pub status: String,
    pub k8s_status: String,
    pub k8s_message: String,
    pub deleted_at: Option<DateTime<Utc>>,
}

impl App {
    /// What is wanted. A word that is not known does not start anything.
    pub fn wanted(&self) -> AppState {
        AppState::parse(&self.k8s_state).unwrap_or(AppState::Stopped)
    }

    /// Whether it ended, until it is restarted.
    pub fn has_ended(&self) -> bool {
        AppStatus::parse(&self.k8s_status).is_some_and(AppStatus::has_ended)
    }
}

/// A workspace, and how far its workbenches are.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Workspace {
    pub id: i64,
    pub tenant_id: i64,
    pub network_policy: String,
    pub allowed_fqdns: Json<Vec<String>>,
    pub generation: i64,
    pub due_at: Option<DateTime<Utc>>,
    pub attempts: i64,
    pub deleted_at: Option<DateTime<Utc>>,
    pub removed_at: Option<DateTime<Utc>>,
    /// How many workbenches are not removed.
    pub workbenches: i64,
    /// When the first of them is due.
    pub workbenches_due_at: Option<DateTime<Utc>>,
}

/// As much of a workbench as it takes to compare it with the runtime.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Brief {
    pub id: i64,
    pub workspace_id: i64,
    pub wanted: String,
    pub generation: i64,
    pub due_at: Option<DateTime<Utc>>,
    pub workspace_deleted_at: Option<DateTime<Utc>>,
}

impl Brief {
    pub fn of(&self) -> WorkbenchRef {
        WorkbenchRef { workspace: self.workspace_id, workbench: self.id }
    }

    pub fn wanted(&self) -> Wanted {
        Wanted::parse(&self.wanted, self.workspace_deleted_at.is_some())
    }
}
