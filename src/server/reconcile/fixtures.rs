//! Rows for the tables of the pure parts.

use chrono::{DateTime, TimeDelta, Utc};

use super::row::{App, Brief, Workbench, Workspace};
use crate::server::{db::Json, services::app_instances::snapshot::AppSnapshot};

pub(super) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(10_000) + TimeDelta::seconds(seconds)
}

/// A workbench of generation 5 that is due, of which generation 4 was seen, in a workspace that is ready.
pub(super) fn workbench(wanted: &str) -> Workbench {
    Workbench {
        id: 7,
        tenant_id: 1,
        workspace_id: 3,
        user_id: 2,
        username: "ada".to_owned(),
        initial_resolution_width: 1280,
        initial_resolution_height: 0,
        wanted: wanted.to_owned(),
        generation: 5,
        observed_generation: 4,
        server_pod_status: "Waiting".to_owned(),
        server_pod_message: String::new(),
        k8s_status: "Progressing".to_owned(),
        reason: String::new(),
        due_at: Some(at(0)),
        attempts: 0,
        removed_at: None,
        clipboard: "to-server".to_owned(),
        workspace_deleted_at: None,
        workspace_generation: 2,
        workspace_observed_generation: 2,
        workspace_due_at: None,
        runtime_reason: String::new(),
        runtime_message: String::new(),
        apps: Vec::new(),
    }
}

/// An app instance of incarnation 2.
pub(super) fn app(id: i64, wanted: &str, observed: &str) -> App {
    App {
        id,
        workbench_id: 7,
        app: Json(AppSnapshot { name: "R".to_owned(), image: "apps/r".to_owned(), ..AppSnapshot::default() }),
        k8s_state: wanted.to_owned(),
        incarnation: 2,
        started_at: at(-60),
        status: "unknown".to_owned(),
        k8s_status: observed.to_owned(),
        k8s_message: String::new(),
        deleted_at: None,
    }
}

/// A workspace of generation 2 that is due and has no workbenches.
pub(super) fn workspace() -> Workspace {
    Workspace {
        id: 3,
        tenant_id: 1,
        network_policy: "FQDNAllowlist".to_owned(),
        allowed_fqdns: Json(vec!["example.org".to_owned()]),
        generation: 2,
        due_at: Some(at(0)),
        attempts: 0,
        deleted_at: None,
        removed_at: None,
        workbenches: 0,
        workbenches_due_at: None,
    }
}

/// As much as the comparison reads, of generation 5 and at rest.
pub(super) fn brief(wanted: &str) -> Brief {
    Brief { id: 7, workspace_id: 3, wanted: wanted.to_owned(), generation: 5, due_at: None, workspace_deleted_at: None }
}
