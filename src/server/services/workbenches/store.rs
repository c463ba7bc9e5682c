//! SQL of workbenches. Whatever reads or writes for a caller asks for the caller's tenant and passes over deleted rows.

use chrono::{DateTime, Utc};

use super::{Wanted, opening::Use};
use crate::server::{
    access::decide::Visible,
    db::{Db, FromRow, Listed, On, Page, Sql, Tx, fold, sql},
    error::Result,
    pipeline::{Authorized, Change},
    services::feed::{Stamp, Stamped},
};

/// A row of `workbenches`.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Workbench {
    pub id: i64,
    pub tenant_id: i64,
    pub user_id: i64,
    pub workspace_id: i64,
    pub name: String,
    pub short_name: String,
    pub description: String,
    pub initial_resolution_width: i64,
    pub initial_resolution_height: i64,
    /// `active`, `inactive` or `deleted`: what is wanted, in the words of the wire.
    pub status: String,
    pub stopped_because: String,
    pub server_pod_status: String,
    pub server_pod_message: String,
    pub k8s_status: String,
    pub version: i64,
    pub active_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub deleted_at: Option<DateTime<Utc>>,
}

/// The columns of [`Workbench`].
const COLUMNS: &str = "id, tenant_id, user_id, workspace_id, name, short_name, description, initial_resolution_width, \
     initial_resolution_height, CASE wanted WHEN 'running' THEN 'active' WHEN 'stopped' THEN 'inactive' ELSE 'deleted' END \
     AS status, stopped_because, server_pod_status, server_pod_message, k8s_status, version, active_at, created_at, \
     updated_at, deleted_at";

/// Sets what is wanted anew: the loop looks at the row at once.
const WANT: &str = "generation = generation + 1, attempts = 0, due_at = ";

/// What a workbench shows from the moment that it is to run until somebody has looked at it.
const STARTING: &str = "wanted = 'running', stopped_because = '', server_pod_status = 'Waiting', server_pod_message = '', \
     k8s_status = 'Progressing', reason = '', idle_warned_at = NULL, ";

/// What it shows from the moment that it is to stop; why, says `stopped_because`.
const STOPPING: &str =
    "wanted = 'stopped', server_pod_status = 'Terminated', server_pod_message = '', k8s_status = '', reason = '', ";

impl Stamped for Workbench {
    fn stamp(&self) -> Stamp {
        Stamp { id: self.id, version: self.version, deleted: self.deleted_at.is_some() }
    }
}

fn select<'a>() -> Sql<'a> {
    sql("SELECT ").push(COLUMNS).push(" FROM workbenches WHERE ")
}

/// One workbench.
pub(super) async fn get(on: impl Into<On<'_>>, tenant: i64, id: i64) -> Result<Option<Workbench>> {
    Ok(select().push("deleted_at IS NULL").and("tenant_id =", Some(tenant)).and("id =", Some(id)).maybe(on).await?)
}

/// A page of the workbenches of these workspaces.
pub(super) async fn list(db: &Db, by: &Authorized, workspaces: Visible, page: &Page) -> Result<Listed<Workbench>> {
    let statement = select().push("deleted_at IS NULL").and("tenant_id =", Some(by.tenant()));
    Ok(statement.and_in("workspace_id", ids(workspaces)).list(db, page).await?)
}

/// The workbenches of these workspaces, deleted ones as well, for a watcher.
pub(super) fn watched(tenant: i64, workspaces: Visible) -> Sql<'static> {
    select().push("tenant_id = ").arg(tenant).and_in("workspace_id", ids(workspaces))
}

fn ids(visible: Visible) -> Option<impl IntoIterator<Item = i64>> {
    match visible {
        Visible::All => None,
        Visible::Ids(ids) => Some(ids),
    }
}

/// How many workbenches the caller owns.
pub(super) async fn count_owned(change: &mut Change, by: &Authorized) -> Result<i64> {
    let (count,): (i64,) = sql("SELECT count(*) FROM workbenches WHERE user_id = $1 AND deleted_at IS NULL")
        .bind(by.id())
        .one(change)
        .await?;
    Ok(count)
}

/// Whether a workspace of the caller's tenant is active; nothing when there is none.
pub(super) async fn is_workspace_active(change: &mut Change, by: &Authorized, id: i64) -> Result<Option<bool>> {
    let found: Option<(String,)> =
        sql("SELECT status FROM workspaces WHERE id = $1 AND tenant_id = $2 AND deleted_at IS NULL")
            .bind(id)
            .bind(by.tenant())
            .maybe(change)
            .await?;
    Ok(found.map(|row| row.0 == "active"))
}

/// Stores a workbench that the caller owns.
pub(super) async fn insert(
    change: &mut Change,
    by: &Authorized,
    workspace: i64,
    resolution: (u32, u32),
    wanted: &Wanted,
) -> Result<Workbench> {
    let row =
        sql("INSERT INTO workbenches (tenant_id, user_id, workspace_id, name, name_key, short_name, description, \
         initial_resolution_width, initial_resolution_height, due_at, active_at, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING ")
        .push(COLUMNS)
        .bind(by.tenant())
        .bind(by.id())
        .bind(workspace)
        .bind(&*wanted.name)
        .bind(fold(&wanted.name))
        .bind(&*wanted.short_name)
        .bind(&*wanted.description)
        .bind(i64::from(resolution.0))
        .bind(i64::from(resolution.1))
        .bind(by.now())
        .bind(by.now())
        .bind(by.now())
        .bind(by.now())
        .one(change)
        .await?;
    Ok(row)
}

/// Replaces what callers set of a workbench. Its desktop has no part in it.
pub(super) async fn update(
    change: &mut Change,
    by: &Authorized,
    id: i64,
    wanted: &Wanted,
) -> Result<Option<Workbench>> {
    let row =
        sql("UPDATE workbenches SET name = $1, name_key = $2, short_name = $3, description = $4, updated_at = $5 \
         WHERE id = $6 AND tenant_id = $7 AND deleted_at IS NULL RETURNING ")
        .push(COLUMNS)
        .bind(&*wanted.name)
        .bind(fold(&wanted.name))
        .bind(&*wanted.short_name)
        .bind(&*wanted.description)
        .bind(by.now())
        .bind(id)
        .bind(by.tenant())
        .maybe(change)
        .await?;
    Ok(row)
}

/// Wants a workbench stopped because a person said so; nothing when it is, or when it is not there.
pub(super) async fn stop(change: &mut Change, by: &Authorized, id: i64) -> Result<Option<Workbench>> {
    let row = sql("UPDATE workbenches SET ")
        .push(STOPPING)
        .push("stopped_because = 'person', ")
        .push(WANT)
        .arg(by.now())
        .push(", updated_at = ")
        .arg(by.now())
        .push(" WHERE deleted_at IS NULL AND stopped_because <> 'person'")
        .and("id =", Some(id))
        .and("tenant_id =", Some(by.tenant()))
        .push(" RETURNING ")
        .push(COLUMNS)
        .maybe(change)
        .await?;
    Ok(row)
}

/// Wants every running workbench of an owner stopped; returns their ids.
pub(super) async fn stop_owned(change: &mut Change, by: &Authorized, owner: i64) -> Result<Vec<i64>> {
    let rows: Vec<(i64,)> = sql("UPDATE workbenches SET ")
        .push(STOPPING)
        .push("stopped_because = 'person', ")
        .push(WANT)
        .arg(by.now())
        .push(", updated_at = ")
        .arg(by.now())
        .push(" WHERE wanted = 'running'")
        .and("user_id =", Some(owner))
        .push(" RETURNING id")
        .all(change)
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Wants a workbench that is stopped for one of these reasons running; nothing when there is none.
pub(super) async fn start(
    tx: &mut Tx,
    tenant: i64,
    id: i64,
    reasons: &[&'static str],
    now: DateTime<Utc>,
) -> Result<Option<Workbench>> {
    let row = sql("UPDATE workbenches SET ")
        .push(STARTING)
        .push(WANT)
        .arg(now)
        .push(", active_at = ")
        .arg(now)
        .push(", updated_at = ")
        .arg(now)
        .push(" WHERE wanted = 'stopped'")
        .and("id =", Some(id))
        .and("tenant_id =", Some(tenant))
        .and_in("stopped_because", Some(reasons.iter().copied()))
        .push(" RETURNING ")
        .push(COLUMNS)
        .maybe(tx)
        .await?;
    Ok(row)
}

/// Somebody uses a running workbench; one whose desktop failed is tried again at once, if so asked.
pub(super) async fn used(on: impl Into<On<'_>>, of: Use) -> Result<u64> {
    let mut statement = sql("UPDATE workbenches SET active_at = ").arg(of.now);
    if of.retry {
        statement = statement
            .push(", attempts = CASE k8s_status WHEN 'Failed' THEN 0 ELSE attempts END")
            .push(", due_at = CASE k8s_status WHEN 'Failed' THEN ")
            .arg(of.now)
            .push(" ELSE due_at END");
    }
    let statement = statement.push(" WHERE wanted = 'running'").and("id =", Some(of.id));
    Ok(statement.and("tenant_id =", Some(of.tenant)).run(on).await?)
}

/// The clipboard of the workspace changed: its running workbenches are to follow.
pub(super) async fn want_running(change: &mut Change, workspace: i64, now: DateTime<Utc>) -> Result<()> {
    sql("UPDATE workbenches SET ")
        .push(WANT)
        .arg(now)
        .push(" WHERE wanted = 'running'")
        .and("workspace_id =", Some(workspace))
        .run(change)
        .await?;
    Ok(())
}

/// The ids of the workbenches of a workspace.
pub(super) async fn of_workspace(change: &mut Change, workspace: i64) -> Result<Vec<i64>> {
    let rows: Vec<(i64,)> =
        sql("SELECT id FROM workbenches WHERE workspace_id = $1 AND deleted_at IS NULL ORDER BY id")
            .bind(workspace)
            .all(change)
            .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Marks workbenches as deleted.
pub(super) async fn delete(tx: &mut Tx, ids: &[i64], now: DateTime<Utc>) -> Result<Vec<Workbench>> {
    let rows = sql("UPDATE workbenches SET wanted = 'deleted', stopped_because = '', ")
        .push(WANT)
        .arg(now)
        .push(", deleted_at = ")
        .arg(now)
        .push(", updated_at = ")
        .arg(now)
        .push(" WHERE deleted_at IS NULL")
        .and_in("id", Some(ids.iter().copied()))
        .push(" RETURNING ")
        .push(COLUMNS)
        .all(tx)
        .await?;
    Ok(rows)
}

/// Stops and deletes the app instances of these workbenches; returns their ids.
pub(super) async fn delete_app_instances(tx: &mut Tx, workbenches: &[i64], now: DateTime<Utc>) -> Result<Vec<i64>> {
    let rows: Vec<(i64,)> = sql("UPDATE app_instances SET k8s_state = 'Stopped', deleted_at = ")
        .arg(now)
        .push(", updated_at = ")
        .arg(now)
        .push(" WHERE deleted_at IS NULL")
        .and_in("workbench_id", Some(workbenches.iter().copied()))
        .push(" RETURNING id")
        .all(tx)
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// What the idle policy is about to act upon.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    /// Running, and not used since the first moment, but since the second one if there is one: warned of neither.
    IdleWarning(DateTime<Utc>, DateTime<Utc>),
    /// Running, and not used since.
    Idle(DateTime<Utc>),
    /// Made before this, and its owner was not warned.
    AgeWarning(DateTime<Utc>),
    /// Made before the first moment, and its owner was warned before the second one, if that is to be.
    Old(DateTime<Utc>, Option<DateTime<Utc>>),
}

impl Due {
    /// Appends the conditions.
    fn narrow<'a>(self, statement: Sql<'a>) -> Sql<'a> {
        match self {
            Self::IdleWarning(before, after) => statement
                .push(" AND wanted = 'running' AND (idle_warned_at IS NULL OR idle_warned_at < active_at)")
                .and("active_at <=", Some(before))
                .and("active_at >", Some(after)),
            Self::Idle(before) => statement.push(" AND wanted = 'running'").and("active_at <=", Some(before)),
            Self::AgeWarning(before) => {
                statement.push(" AND deleted_at IS NULL AND age_warned_at IS NULL").and("created_at <=", Some(before))
            }
            Self::Old(before, warned) => statement
                .push(" AND deleted_at IS NULL")
                .and("created_at <=", Some(before))
                .and("age_warned_at <=", warned),
        }
    }
}

/// The next workbenches that are due, with their workspaces, in the order of these.
pub(super) async fn due(on: impl Into<On<'_>>, due: Due, most: i64) -> Result<Vec<(i64, i64)>> {
    let statement = due.narrow(sql("SELECT id, workspace_id FROM workbenches WHERE 1 = 1"));
    Ok(statement.push(" ORDER BY workspace_id, id LIMIT ").arg(most).all(on).await?)
}

/// Notes that the owners of those of these that are still due were warned.
pub(super) async fn warned(tx: &mut Tx, due: Due, ids: &[i64], now: DateTime<Utc>) -> Result<Vec<Workbench>> {
    let column = if matches!(due, Due::AgeWarning(_)) { "age_warned_at" } else { "idle_warned_at" };
    let statement = sql("UPDATE workbenches SET ").push(column).push(" = ").arg(now).push(" WHERE 1 = 1");
    Ok(due.narrow(statement).and_in("id", Some(ids.iter().copied())).push(" RETURNING ").push(COLUMNS).all(tx).await?)
}

/// Wants those of these stopped that are still due.
pub(super) async fn stop_idle(tx: &mut Tx, due: Due, ids: &[i64], now: DateTime<Utc>) -> Result<Vec<Workbench>> {
    let statement =
        sql("UPDATE workbenches SET ").push(STOPPING).push("stopped_because = 'idle', ").push(WANT).arg(now);
    let statement = due.narrow(statement.push(", updated_at = ").arg(now).push(" WHERE 1 = 1"));
    Ok(statement.and_in("id", Some(ids.iter().copied())).push(" RETURNING ").push(COLUMNS).all(tx).await?)
}
