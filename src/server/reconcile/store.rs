//! SQL of the loop.
//!
//! What always holds: what the loop writes is bound to the generation (of an app: the incarnation) that it read, so a call that
//! wants something else meanwhile wins; every change that people can see is stamped.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{
    plan::Outcome,
    row::{App, Brief, Workbench, Workspace},
    status::{AppChange, Change, Shown},
};
use crate::server::{
    db::{Db, FromRow, Tx, sql},
    desktops::{self, Touched},
    error::Result,
    runtime::AppStatus,
};

/// Of what kind a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Target {
    Workspace(i64),
    Workbench(i64),
}

#[derive(FromRow)]
struct Due {
    is_workbench: i64,
    id: i64,
    total: i64,
}

/// The rows that are due, the longest waiting first, and how many there are in all. One statement, over two small indexes.
pub(super) async fn due(db: &Db, now: DateTime<Utc>, most: i64) -> Result<(Vec<Target>, i64)> {
    let rows: Vec<Due> = sql("SELECT is_workbench, id, count(*) OVER () AS total FROM ( \
         SELECT CAST(0 AS BIGINT) AS is_workbench, id, due_at FROM workspaces WHERE due_at <= $1 \
         UNION ALL SELECT CAST(1 AS BIGINT) AS is_workbench, id, due_at FROM workbenches WHERE due_at <= $2) AS due \
         ORDER BY due_at, is_workbench, id LIMIT $3")
    .bind(now)
    .bind(now)
    .bind(most)
    .all(db)
    .await?;
    let total = rows.first().map_or(0, |row| row.total);
    let target = |row: Due| if row.is_workbench == 1 { Target::Workbench(row.id) } else { Target::Workspace(row.id) };
    Ok((rows.into_iter().map(target).collect(), total))
}

/// These workbenches with what goes with them: two statements, however many there are.
pub(super) async fn workbenches(db: &Db, ids: &BTreeSet<i64>) -> Result<Vec<Workbench>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows: Vec<Workbench> =
        sql("SELECT b.id, b.tenant_id, b.workspace_id, b.user_id, u.username, b.initial_resolution_width, \
         b.initial_resolution_height, b.wanted, b.generation, b.observed_generation, b.server_pod_status, \
         b.server_pod_message, b.k8s_status, b.reason, b.due_at, b.attempts, b.removed_at, s.clipboard, \
         s.deleted_at AS workspace_deleted_at, s.generation AS workspace_generation, \
         s.observed_generation AS workspace_observed_generation, s.due_at AS workspace_due_at, s.runtime_reason, \
         s.runtime_message FROM workbenches b JOIN users u ON u.id = b.user_id JOIN workspaces s ON s.id = b.workspace_id \
         WHERE 1 = 1")
        .and_in("b.id", Some(ids.iter().copied()))
        .push(" ORDER BY b.id")
        .all(db)
        .await?;
    let apps: Vec<App> =
        sql("SELECT id, workbench_id, app, k8s_state, incarnation, started_at, status, k8s_status, k8s_message, \
         deleted_at FROM app_instances \
         WHERE (deleted_at IS NULL OR k8s_status NOT IN ('Complete', 'Failed', 'Stopped', 'Killed'))")
        .and_in("workbench_id", Some(ids.iter().copied()))
        .push(" ORDER BY id")
        .all(db)
        .await?;
    let mut by_workbench: BTreeMap<i64, Vec<App>> = BTreeMap::new();
    for app in apps {
        by_workbench.entry(app.workbench_id).or_default().push(app);
    }
    for row in &mut rows {
        row.apps = by_workbench.remove(&row.id).unwrap_or_default();
    }
    Ok(rows)
}

/// These workspaces.
pub(super) async fn workspaces(db: &Db, ids: &BTreeSet<i64>) -> Result<Vec<Workspace>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sql("SELECT s.id, s.tenant_id, s.network_policy, s.allowed_fqdns, s.generation, s.due_at, s.attempts, \
         s.deleted_at, s.removed_at, coalesce(b.workbenches, 0) AS workbenches, b.workbenches_due_at FROM workspaces s \
         LEFT JOIN (SELECT workspace_id, count(*) AS workbenches, min(due_at) AS workbenches_due_at FROM workbenches \
         WHERE removed_at IS NULL")
    .and_in("workspace_id", Some(ids.iter().copied()))
    .push(" GROUP BY workspace_id) AS b ON b.workspace_id = s.id WHERE 1 = 1")
    .and_in("s.id", Some(ids.iter().copied()))
    .push(" ORDER BY s.id")
    .all(db)
    .await?;
    Ok(rows)
}

/// Every workbench of which something may be in the runtime.
pub(super) async fn all(db: &Db) -> Result<Vec<Brief>> {
    let rows = sql("SELECT b.id, b.workspace_id, b.wanted, b.generation, b.due_at, \
         s.deleted_at AS workspace_deleted_at FROM workbenches b JOIN workspaces s ON s.id = b.workspace_id \
         WHERE b.removed_at IS NULL")
    .all(db)
    .await?;
    Ok(rows)
}

/// Makes workbenches at rest due.
pub(super) async fn make_due(db: &Db, ids: &[i64], now: DateTime<Utc>) -> Result<()> {
    sql("UPDATE workbenches SET due_at = ")
        .arg(now)
        .push(" WHERE due_at IS NULL AND removed_at IS NULL")
        .and_in("id", Some(ids.iter().copied()))
        .run(db)
        .await?;
    Ok(())
}

/// Makes workspaces due that are at rest and not where they should be.
pub(super) async fn make_workspaces_due(db: &Db, now: DateTime<Utc>) -> Result<u64> {
    let rows = sql("UPDATE workspaces SET due_at = $1 WHERE due_at IS NULL AND removed_at IS NULL \
         AND (deleted_at IS NOT NULL OR observed_generation <> generation)")
    .bind(now)
    .run(db)
    .await?;
    Ok(rows)
}

/// What a transaction of the loop changed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written {
    /// Something that people can see.
    pub visible: bool,
    /// Sessions that apps had opened.
    pub ended_sessions: bool,
}

/// Writes what became of a workbench.
pub(super) async fn finish_workbench(
    db: &Db,
    row: &Workbench,
    outcome: &Outcome,
    apps: &[AppChange],
    now: DateTime<Utc>,
) -> Result<Written> {
    let mut tx = db.transaction().await?;
    let mut touched = Touched::default();
    if let Some(shown) = outcome.shown.as_ref().filter(|shown| **shown != row.shown()) {
        // an observation of this generation that came meanwhile knows better than an order that failed
        let unless_seen = !outcome.current && row.observed_generation < row.generation;
        if show(&mut tx, row.id, row.generation, shown, unless_seen).await? {
            touched.workbenches.insert(row.id);
        }
    }
    if outcome.current {
        sql("UPDATE workbenches SET observed_generation = generation, removed_at = coalesce($1, removed_at) \
             WHERE id = $2 AND generation = $3")
        .bind(outcome.removed.then_some(now))
        .bind(row.id)
        .bind(row.generation)
        .run(&mut tx)
        .await?;
        write_apps(&mut tx, row.generation, apps, &mut touched).await?;
    }
    // what was scheduled meanwhile, by a call or an observation, stays
    sql("UPDATE workbenches SET due_at = $1, attempts = $2 WHERE id = $3 AND generation = $4 AND due_at = $5")
        .bind(outcome.due_at)
        .bind(outcome.attempts)
        .bind(row.id)
        .bind(row.generation)
        .bind(row.due_at)
        .run(&mut tx)
        .await?;
    if outcome.removed {
        sql("UPDATE workspaces SET due_at = $1 WHERE id = $2 AND deleted_at IS NOT NULL AND removed_at IS NULL")
            .bind(now)
            .bind(row.workspace_id)
            .run(&mut tx)
            .await?;
    }
    let ended_sessions = desktops::stamp(&mut tx, &touched).await?;
    tx.commit().await?;
    Ok(Written { visible: !touched.is_empty(), ended_sessions })
}

/// Writes what became of a workspace.
pub(super) async fn finish_workspace(
    db: &Db,
    row: &Workspace,
    outcome: &Outcome,
    (reason, message): (String, String),
    now: DateTime<Utc>,
) -> Result<()> {
    let mut tx = db.transaction().await?;
    // its last workbench may have woken it meanwhile
    sql("UPDATE workspaces SET due_at = CASE WHEN due_at IS NULL OR due_at = $1 THEN $2 ELSE due_at END, attempts = $3, \
         removed_at = coalesce($4, removed_at), runtime_reason = $5, runtime_message = $6 WHERE id = $7 AND generation = $8")
    .bind(row.due_at)
    .bind(outcome.due_at)
    .bind(outcome.attempts)
    .bind(outcome.removed.then_some(now))
    .bind(reason)
    .bind(message)
    .bind(row.id)
    .bind(row.generation)
    .run(&mut tx)
    .await?;
    if outcome.current {
        sql("UPDATE workspaces SET observed_generation = generation WHERE id = $1 AND generation = $2")
            .bind(row.id)
            .bind(row.generation)
            .run(&mut tx)
            .await?;
    }
    if outcome.current && row.attempts > 0 {
        // those that waited for it
        sql("UPDATE workbenches SET due_at = $1 WHERE workspace_id = $2 AND due_at > $1 \
             AND observed_generation < generation")
        .bind(now)
        .bind(row.id)
        .run(&mut tx)
        .await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Writes what was observed, all of it in one transaction.
pub(super) async fn observed(db: &Db, changes: &[Change]) -> Result<Written> {
    let mut tx = db.transaction().await?;
    let mut touched = Touched::default();
    for change in changes {
        if let Some(shown) = &change.shown
            && show(&mut tx, change.workbench, change.generation, shown, false).await?
        {
            touched.workbenches.insert(change.workbench);
        }
        if change.first {
            sql("UPDATE workbenches SET observed_generation = generation WHERE id = $1 AND generation = $2")
                .bind(change.workbench)
                .bind(change.generation)
                .run(&mut tx)
                .await?;
        }
        if let Some((due_at, attempts)) = change.schedule {
            sql("UPDATE workbenches SET due_at = $1, attempts = $2 WHERE id = $3 AND generation = $4")
                .bind(due_at)
                .bind(attempts)
                .bind(change.workbench)
                .bind(change.generation)
                .run(&mut tx)
                .await?;
        }
    }
    // the rows of workbenches first, as everybody does
    for change in changes {
        write_apps(&mut tx, change.generation, &change.apps, &mut touched).await?;
    }
    let ended_sessions = desktops::stamp(&mut tx, &touched).await?;
    tx.commit().await?;
    Ok(Written { visible: !touched.is_empty(), ended_sessions })
}

/// Writes what people see of a workbench, if it is still about what is wanted; `unless_seen`, if nothing was observed of it.
async fn show(tx: &mut Tx, id: i64, generation: i64, shown: &Shown, unless_seen: bool) -> Result<bool> {
    let rows =
        sql("UPDATE workbenches SET server_pod_status = $1, server_pod_message = $2, k8s_status = $3, reason = $4 \
         WHERE id = $5 AND generation = $6")
        .bind(&*shown.pod)
        .bind(&*shown.message)
        .bind(&*shown.server)
        .bind(&*shown.reason)
        .bind(id)
        .bind(generation)
        .push(if unless_seen { " AND observed_generation < generation" } else { "" })
        .run(tx)
        .await?;
    Ok(rows > 0)
}

/// Writes what became of apps, if the workbench is still wanted as it was read. Those that ended, or started anew meanwhile, and
/// what calls want of them, stay as they are.
async fn write_apps(tx: &mut Tx, generation: i64, apps: &[AppChange], touched: &mut Touched) -> Result<()> {
    for app in apps {
        let rows = sql("UPDATE app_instances SET k8s_status = $1, k8s_message = $2, \
             status = CASE WHEN deleted_at IS NULL THEN $3 ELSE 'deleted' END, \
             k8s_state = CASE WHEN $4 THEN 'Stopped' ELSE k8s_state END \
             WHERE id = $5 AND incarnation = $6 AND k8s_status NOT IN ('Complete', 'Failed', 'Stopped', 'Killed') \
             AND EXISTS (SELECT 1 FROM workbenches b WHERE b.id = workbench_id AND b.generation = $7)")
        .bind(app.observed.as_str())
        .bind(&*app.message)
        .bind(app.status)
        .bind(app.observed == AppStatus::Complete)
        .bind(app.id)
        .bind(app.incarnation)
        .bind(generation)
        .run(&mut *tx)
        .await?;
        touched.app_instances.extend((rows > 0).then_some(app.id));
    }
    Ok(())
}
