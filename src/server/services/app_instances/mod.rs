//! App instances: the apps that run, or ran, in workbenches.
//!
//! ```text
//! create, restart ──► row (wanted: Running, a new start) ─┐
//! update ──► row (wanted: Running, Stopped, Killed) ──────┼─ want_workbench + stamp ──► the loop that reconciles
//! delete ──► row (wanted: Stopped, deleted) ──────────────┘
//! list, get, watch ◄── row (wanted and observed)       logs ◄── the runtime
//! web app ──► /kiosk-jwt ──► a session that ends with the instance (`kiosk.rs`)
//! ```
//!
//! What always holds:
//! - workbench and workspace of an instance are those of stored rows: a request that names another workspace is refused;
//! - what runs is what the app was when the instance was created, whatever becomes of the app. Only an active app is started,
//!   again as well as for the first time;
//! - nothing here waits for the runtime; how an instance is comes from the loop, and requests cannot set it. An instance that
//!   ended stays in the list, which counts it, until it is deleted: its last words are in `k8sMessage`;
//! - an owner has not more instances that run, or are about to, than the platform settings allow;
//! - who may neither see a workbench nor do anything with its app instances does not learn which there are.

mod api;
pub mod kiosk;
pub mod snapshot;
mod store;

use self::store::{AppInstance, Start};
use super::{Base, apps, roles, settings, workbenches};
use crate::server::{
    access::{
        caller::Caller,
        catalogue::{Dimension, Permission},
    },
    db::{Sortable, Tx},
    desktops,
    error::{Error, Kind, Result},
    pipeline::{Authorized, Change},
    runtime::{AppState, AppStatus, WorkbenchRef},
};

/// The service.
pub struct AppInstances {
    base: Base,
}

/// The sort names of the list; the first is the default.
const SORTABLE: &[Sortable] = &[
    ("id", "id"),
    ("appid", "app_id"),
    ("workspaceid", "workspace_id"),
    ("workbenchid", "workbench_id"),
    ("status", "status"),
    ("createdat", "created_at"),
    ("appname", "app_name"),
    ("appdockerimageregistry", "app_registry"),
    ("appdockerimagename", "app_image"),
];

/// Bytes of output that are returned when the request does not state it.
const LOG_BYTES: u32 = 64 * 1024;

/// The permissions of which any shows that there is an instance: lists show those of workbenches that one sees.
const SEE: [Permission; 4] = [
    Permission::GetWorkbench,
    Permission::GetAppInstance,
    Permission::UpdateAppInstance,
    Permission::DeleteAppInstance,
];

fn not_found() -> Error {
    let text = "There is no such app instance. List the app instances to see which there are.";
    Error::not_found("APP_INSTANCE_NOT_FOUND", text)
}

/// What a request wants to be started.
struct Wanted {
    workbench: i64,
    /// Must be that of the workbench, if it is stated.
    workspace: Option<i64>,
    app: i64,
    resolution: (u32, u32),
}

impl AppInstances {
    /// The service over this base.
    pub fn new(base: Base) -> Self {
        Self { base }
    }

    /// The workbench of an instance. To those who may do nothing with it there, it does not exist.
    async fn workbench_of(&self, caller: &Caller, id: i64) -> Result<i64> {
        let row = store::get(&self.base.db, caller.tenant(), id).await?.ok_or_else(not_found)?;
        let at = Some((Dimension::Workbench, row.workbench_id));
        match SEE.into_iter().any(|permission| caller.may(permission, at)) {
            true => Ok(row.workbench_id),
            false => Err(not_found()),
        }
    }

    async fn create(&self, by: &Authorized, wanted: Wanted) -> Result<AppInstance> {
        let mut change = self.base.db.begin(by).await?;
        let (app, workbench) = (wanted.app, wanted.workbench);
        // starts of one owner wait for each other, so that two at once do not both find room below the limit
        roles::lock_active(&mut change, by).await?;
        let workspace = workbenches::enter(&mut change, by, workbench).await?;
        if wanted.workspace.is_some_and(|stated| stated != workspace) {
            let text =
                "The workbench is in another workspace. Leave workspaceId out, or name the one of the workbench.";
            return Err(Error::field("workspaceId", "of_workbench", text));
        }
        let snapshot = startable(&mut change, by, app).await?;
        record_app(by, app, &snapshot);
        admit(&mut change, by).await?;
        let start = Start { app_id: app, app: snapshot, workspace, workbench, resolution: wanted.resolution };
        desktops::want_workbench(&mut change, workbench, by.now()).await?;
        let row = store::insert(&mut change, by, start).await?;
        changed(&mut change, by, &row);
        change.commit().await?;
        Ok(row)
    }

    /// Starts the same again, whether it runs or has ended.
    async fn restart(&self, by: &Authorized, id: i64) -> Result<AppInstance> {
        let mut change = self.base.db.begin(by).await?;
        roles::lock_active(&mut change, by).await?;
        let row = locked(&mut change, by, id).await?;
        let row = restart(&mut change, by, row).await?;
        change.commit().await?;
        Ok(row)
    }

    /// Brings an instance to this state; nothing changes without one, or when it is in it.
    async fn update(&self, by: &Authorized, id: i64, state: Option<AppState>) -> Result<AppInstance> {
        let mut change = self.base.db.begin(by).await?;
        roles::lock_active(&mut change, by).await?;
        let row = locked(&mut change, by, id).await?;
        let row = match state.filter(|state| !is_in(*state, &row)) {
            None => {
                record(by, &row);
                row
            }
            Some(AppState::Running) => restart(&mut change, by, row).await?,
            Some(state) => {
                desktops::want_workbench(&mut change, row.workbench_id, by.now()).await?;
                let row = store::end(&mut change, by, id, state.as_str()).await?.ok_or_else(not_found)?;
                changed(&mut change, by, &row);
                row
            }
        };
        change.commit().await?;
        Ok(row)
    }

    async fn delete(&self, by: &Authorized, id: i64) -> Result<AppInstance> {
        let mut change = self.base.db.begin(by).await?;
        let row = locked(&mut change, by, id).await?;
        desktops::want_workbench(&mut change, row.workbench_id, by.now()).await?;
        let row = store::delete(&mut change, by, id).await?.ok_or_else(not_found)?;
        changed(&mut change, by, &row);
        change.commit().await?;
        Ok(row)
    }

    /// The last bytes that an app wrote.
    async fn logs(&self, by: &Authorized, id: i64, most: u32) -> Result<String> {
        let row = store::get(&self.base.db, by.tenant(), id).await?.ok_or_else(not_found)?;
        record(by, &row);
        let most = if most == 0 { LOG_BYTES } else { most };
        let of = WorkbenchRef { workspace: row.workspace_id, workbench: row.workbench_id };
        let logs = self.base.runtime.logs(of, id, usize::try_from(most).unwrap_or(usize::MAX)).await;
        logs.map_err(|error| Error::new(Kind::Unavailable, "LOGS_UNAVAILABLE", error.message))
    }
}

/// The app as an instance of it is to be started.
async fn startable(change: &mut Change, by: &Authorized, app: i64) -> Result<snapshot::AppSnapshot> {
    match apps::startable(change, by, app).await? {
        Some((app, true)) => Ok(app),
        Some((_, false)) => {
            let text = "The app is inactive. An administrator of the catalogue can set its status to active.";
            Err(Error::invalid("APP_INACTIVE", text))
        }
        None => Err(apps::not_found()),
    }
}

/// Makes room for one more that runs.
async fn admit(change: &mut Change, by: &Authorized) -> Result<()> {
    let limits = settings::limits(&mut *change, by.tenant()).await?;
    settings::Quota::APP_INSTANCES.admit(limits.app_instances, store::count_alive(change, by).await?)
}

/// The instance, which nobody else changes until this transaction ends.
async fn locked(change: &mut Change, by: &Authorized, id: i64) -> Result<AppInstance> {
    lock(change, id).await?;
    store::get(change, by.tenant(), id).await?.ok_or_else(not_found)
}

async fn lock(tx: &mut Tx, id: i64) -> Result<()> {
    Ok(tx.lock(&format!("chorus.app_instance.{id}")).await?)
}

async fn restart(change: &mut Change, by: &Authorized, row: AppInstance) -> Result<AppInstance> {
    record(by, &row);
    workbenches::enter(change, by, row.workbench_id).await?;
    startable(change, by, row.app_id).await?;
    if !is_in(AppState::Running, &row) && row.user_id == by.id() {
        admit(change, by).await?;
    }
    desktops::want_workbench(change, row.workbench_id, by.now()).await?;
    let row = store::restart(change, by, row.id).await?.ok_or_else(not_found)?;
    changed(change, by, &row);
    Ok(row)
}

/// Whether an instance is as it is wanted now. One that ended by itself is not running, although that is wanted.
fn is_in(state: AppState, row: &AppInstance) -> bool {
    let ended = AppStatus::parse(&row.k8s_status).is_some_and(AppStatus::has_ended);
    row.k8s_state == state.as_str() && !(state == AppState::Running && ended)
}

/// The loop and whoever watches are to look at an instance. The row of its workbench was changed before its own, which is the
/// order of everybody who changes both: otherwise two could wait for each other.
fn changed(change: &mut Change, by: &Authorized, row: &AppInstance) {
    change.touched().app_instances.insert(row.id);
    change.touched().workbenches.insert(row.workbench_id);
    record(by, row);
}

/// Says in the audit record which instance it was, of what, and where.
fn record(by: &Authorized, row: &AppInstance) {
    record_app(by, row.app_id, &row.app);
    let mut subjects = by.call().subjects();
    subjects.workspace = Some(row.workspace_id);
    subjects.workbench = Some(row.workbench_id);
    subjects.verified = true;
    subjects.detail("app_instance_id", &row.id.to_string());
}

/// The same of an app: what the catalogue says, never the request.
fn record_app(by: &Authorized, id: i64, app: &snapshot::AppSnapshot) {
    let mut subjects = by.call().subjects();
    subjects.detail("app_id", &id.to_string());
    subjects.detail("app_name", &app.name);
    subjects.detail("app_image_registry", &app.registry);
    subjects.detail("app_image_name", &app.image);
    subjects.detail("app_image_tag", &app.tag);
}
