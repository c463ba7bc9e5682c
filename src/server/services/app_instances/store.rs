//! SQL of app instances. Whatever reads or writes a row asks for the caller's tenant and passes over deleted ones.

use chrono::{DateTime, Utc};

use super::snapshot::AppSnapshot;
use crate::server::{
    access::decide::Visible,
    db::{Db, FromRow, Json, Listed, On, Page, Sql, sql},
    error::Result,
    pipeline::{Authorized, Change},
    services::feed::{Stamp, Stamped},
};

/// A row of `app_instances`.
#[derive(Debug, Clone, FromRow)]
pub(super) struct AppInstance {
    pub id: i64,
    pub tenant_id: i64,
    pub user_id: i64,
    pub app_id: i64,
    pub workspace_id: i64,
    pub workbench_id: i64,
    pub app: Json<AppSnapshot>,
    pub initial_resolution_width: i64,
    pub initial_resolution_height: i64,
    pub k8s_state: String,
    pub status: String,
    pub k8s_status: String,
    pub k8s_message: String,
    pub version: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub deleted_at: Option<DateTime<Utc>>,
}

/// The columns of [`AppInstance`].
const COLUMNS: &str = "id, tenant_id, user_id, app_id, workspace_id, workbench_id, app, initial_resolution_width, \
     initial_resolution_height, k8s_state, status, k8s_status, k8s_message, version, created_at, updated_at, deleted_at";

/// What lists also sort by.
const APP_COLUMNS: &str = ", app ->> 'name' COLLATE \"C\" AS app_name, app ->> 'registry' COLLATE \"C\" AS app_registry, \
     app ->> 'image' COLLATE \"C\" AS app_image";

/// Runs, or is about to.
const ALIVE: &str = " AND deleted_at IS NULL AND k8s_state = 'Running' AND k8s_status NOT IN ('Complete', 'Failed', 'Stopped', 'Killed')";

impl Stamped for AppInstance {
    fn stamp(&self) -> Stamp {
        Stamp { id: self.id, version: self.version, deleted: self.deleted_at.is_some() }
    }
}

fn select<'a>(tenant: i64) -> Sql<'a> {
    sql("SELECT ").push(COLUMNS).push(" FROM app_instances WHERE deleted_at IS NULL").and("tenant_id =", Some(tenant))
}

/// One app instance.
pub(super) async fn get(on: impl Into<On<'_>>, tenant: i64, id: i64) -> Result<Option<AppInstance>> {
    Ok(select(tenant).and("id =", Some(id)).maybe(on).await?)
}

/// A page of the app instances of these workbenches.
pub(super) async fn list(db: &Db, by: &Authorized, workbenches: Visible, page: &Page) -> Result<Listed<AppInstance>> {
    let listed = sql("SELECT ")
        .push(COLUMNS)
        .push(APP_COLUMNS)
        .push(" FROM app_instances WHERE deleted_at IS NULL")
        .and("tenant_id =", Some(by.tenant()))
        .and_in("workbench_id", ids(workbenches))
        .list(db, page)
        .await?;
    Ok(listed)
}

/// The app instances of these workbenches, deleted ones as well, for a watcher.
pub(super) fn watched(tenant: i64, workbenches: Visible) -> Sql<'static> {
    sql("SELECT ")
        .push(COLUMNS)
        .push(" FROM app_instances WHERE tenant_id = ")
        .arg(tenant)
        .and_in("workbench_id", ids(workbenches))
}

fn ids(visible: Visible) -> Option<impl IntoIterator<Item = i64>> {
    match visible {
        Visible::All => None,
        Visible::Ids(ids) => Some(ids),
    }
}

/// How many app instances of the caller run, or are about to.
pub(super) async fn count_alive(change: &mut Change, by: &Authorized) -> Result<i64> {
    let statement = sql("SELECT count(*) FROM app_instances WHERE user_id = ").arg(by.id()).push(ALIVE);
    let (count,): (i64,) = statement.one(change).await?;
    Ok(count)
}

/// What is started, and where.
#[derive(Debug)]
pub(super) struct Start {
    pub app_id: i64,
    pub app: AppSnapshot,
    pub workspace: i64,
    pub workbench: i64,
    pub resolution: (u32, u32),
}

/// Stores an app instance that the caller owns.
pub(super) async fn insert(change: &mut Change, by: &Authorized, start: Start) -> Result<AppInstance> {
    let row = sql("INSERT INTO app_instances (tenant_id, user_id, app_id, workspace_id, workbench_id, app, \
         initial_resolution_width, initial_resolution_height, started_at, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING ")
    .push(COLUMNS)
    .bind(by.tenant())
    .bind(by.id())
    .bind(start.app_id)
    .bind(start.workspace)
    .bind(start.workbench)
    .bind(Json(start.app))
    .bind(i64::from(start.resolution.0))
    .bind(i64::from(start.resolution.1))
    .bind(by.now())
    .bind(by.now())
    .bind(by.now())
    .one(change)
    .await?;
    Ok(row)
}

/// Wants an app instance started again; nobody knows yet how it is.
pub(super) async fn restart(change: &mut Change, by: &Authorized, id: i64) -> Result<Option<AppInstance>> {
    let row = sql("UPDATE app_instances SET incarnation = incarnation + 1, started_at = $1, updated_at = $2, \
         k8s_state = 'Running', status = 'unknown', k8s_status = 'Unknown', k8s_message = '' \
         WHERE id = $3 AND tenant_id = $4 AND deleted_at IS NULL RETURNING ")
    .push(COLUMNS)
    .bind(by.now())
    .bind(by.now())
    .bind(id)
    .bind(by.tenant())
    .maybe(change)
    .await?;
    Ok(row)
}

/// Wants an app instance to end.
pub(super) async fn end(change: &mut Change, by: &Authorized, id: i64, state: &str) -> Result<Option<AppInstance>> {
    let row = sql("UPDATE app_instances SET k8s_state = $1, updated_at = $2 \
         WHERE id = $3 AND tenant_id = $4 AND deleted_at IS NULL RETURNING ")
    .push(COLUMNS)
    .bind(state)
    .bind(by.now())
    .bind(id)
    .bind(by.tenant())
    .maybe(change)
    .await?;
    Ok(row)
}

/// Marks an app instance as deleted, which ends it.
pub(super) async fn delete(change: &mut Change, by: &Authorized, id: i64) -> Result<Option<AppInstance>> {
    let row =
        sql("UPDATE app_instances SET k8s_state = 'Stopped', status = 'deleted', deleted_at = $1, updated_at = $2 \
         WHERE id = $3 AND tenant_id = $4 AND deleted_at IS NULL RETURNING ")
        .push(COLUMNS)
        .bind(by.now())
        .bind(by.now())
        .bind(id)
        .bind(by.tenant())
        .maybe(change)
        .await?;
    Ok(row)
}
