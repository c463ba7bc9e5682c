//! The rows of role assignments.

use chrono::{DateTime, Utc};

use crate::server::{
    access::{
        catalogue::{Dimension, SUPER_ADMIN},
        context::Context,
        sessions::AssignmentRow,
    },
    db::{On, Tx, sql},
    error::{Error, Result},
};

/// Stores an assignment of the role with this name and row; nothing when the user holds it already.
pub async fn insert(
    on: impl Into<On<'_>>,
    tenant: i64,
    user: i64,
    role: (&str, Option<i64>),
    context: &Context,
    now: DateTime<Utc>,
) -> Result<Option<AssignmentRow>> {
    let bound = |dimension| context.get(dimension).map(|bound| bound.to_string());
    let row = sql("INSERT INTO role_assignments (tenant_id, user_id, role, workspace, workbench, user_context, \
         dynamic_role_id, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING \
         RETURNING id, user_id, role, workspace, workbench, user_context")
    .bind(tenant)
    .bind(user)
    .bind(role.0)
    .bind(bound(Dimension::Workspace))
    .bind(bound(Dimension::Workbench))
    .bind(bound(Dimension::User))
    .bind(role.1)
    .bind(now)
    .maybe(on)
    .await?;
    Ok(row)
}

/// Removes these assignments of a user; returns those that were there.
pub async fn remove(tx: &mut Tx, tenant: i64, user: i64, ids: &[i64]) -> Result<Vec<AssignmentRow>> {
    let rows = sql("DELETE FROM role_assignments WHERE tenant_id = $1 AND user_id = $2")
        .bind(tenant)
        .bind(user)
        .and_in("id", Some(ids.iter().copied()))
        .push(" RETURNING id, user_id, role, workspace, workbench, user_context")
        .all(tx)
        .await?;
    Ok(rows)
}

/// How many users hold the role of this row.
pub async fn count_holders(tx: &mut Tx, tenant: i64, role: i64) -> Result<i64> {
    let (count,): (i64,) =
        sql("SELECT count(DISTINCT user_id) FROM role_assignments WHERE tenant_id = $1 AND dynamic_role_id = $2")
            .bind(tenant)
            .bind(role)
            .one(tx)
            .await?;
    Ok(count)
}

/// Removes every assignment of the role of this row.
pub async fn remove_role(tx: &mut Tx, tenant: i64, role: i64) -> Result<()> {
    sql("DELETE FROM role_assignments WHERE tenant_id = $1 AND dynamic_role_id = $2")
        .bind(tenant)
        .bind(role)
        .run(tx)
        .await?;
    Ok(())
}

/// Removes every assignment of a user, and tells nobody: for an account that goes.
pub async fn remove_all(tx: &mut Tx, user: i64) -> Result<()> {
    sql("DELETE FROM role_assignments WHERE user_id = $1").bind(user).run(tx).await?;
    Ok(())
}

/// Removes everybody's roles in these workbenches, and tells nobody: for workbenches that go.
pub async fn remove_of_workbenches(tx: &mut Tx, workbenches: &[i64]) -> Result<()> {
    sql("DELETE FROM role_assignments WHERE 1 = 1")
        .and_in("workbench", Some(workbenches.iter().map(i64::to_string)))
        .run(tx)
        .await?;
    Ok(())
}

/// The assignments of a user that are bound to workbenches of a workspace.
pub async fn held_in_workbenches_of(tx: &mut Tx, workspace: i64, user: i64) -> Result<Vec<i64>> {
    let rows: Vec<(i64,)> = sql("SELECT r.id FROM role_assignments r \
         JOIN workbenches b ON r.workbench = CAST(b.id AS TEXT) WHERE r.user_id = $1 AND b.workspace_id = $2 ORDER BY r.id")
    .bind(user)
    .bind(workspace)
    .all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Whether an active user of the tenant may do everything.
pub async fn has_super_admin(tx: &mut Tx, tenant: i64) -> Result<bool> {
    let found: Option<(i64,)> = sql("SELECT r.id FROM role_assignments r JOIN users u ON u.id = r.user_id \
         WHERE r.tenant_id = $1 AND r.role = $2 AND r.workspace = '*' AND r.workbench = '*' AND r.user_context = '*' \
         AND u.status = 'active' LIMIT 1")
    .bind(tenant)
    .bind(SUPER_ADMIN)
    .maybe(tx)
    .await?;
    Ok(found.is_some())
}

/// Whether the tenant has this user, not deleted.
pub async fn has_user(on: impl Into<On<'_>>, tenant: i64, user: i64) -> Result<bool> {
    let found: Option<(i64,)> = sql("SELECT id FROM users WHERE id = $1 AND tenant_id = $2 AND status <> 'deleted'")
        .bind(user)
        .bind(tenant)
        .maybe(on)
        .await?;
    Ok(found.is_some())
}

/// Refuses a user whom the tenant does not have.
pub async fn require_user(tx: &mut Tx, tenant: i64, user: i64) -> Result<()> {
    match has_user(tx, tenant, user).await? {
        true => Ok(()),
        false => Err(Error::not_found("USER_NOT_FOUND", format!("There is no user {user}."))),
    }
}

/// Whether the tenant has this workspace, not deleted.
pub async fn has_workspace(on: impl Into<On<'_>>, tenant: i64, workspace: i64) -> Result<bool> {
    let found: Option<(i64,)> =
        sql("SELECT id FROM workspaces WHERE id = $1 AND tenant_id = $2 AND deleted_at IS NULL")
            .bind(workspace)
            .bind(tenant)
            .maybe(on)
            .await?;
    Ok(found.is_some())
}

/// The workspace of a workbench of the tenant that is not deleted.
pub async fn workspace_of(on: impl Into<On<'_>>, tenant: i64, workbench: i64) -> Result<Option<i64>> {
    let found: Option<(i64,)> =
        sql("SELECT workspace_id FROM workbenches WHERE id = $1 AND tenant_id = $2 AND deleted_at IS NULL")
            .bind(workbench)
            .bind(tenant)
            .maybe(on)
            .await?;
    Ok(found.map(|row| row.0))
}

/// Whether this account may still sign in.
pub async fn is_active(tx: &mut Tx, user: i64) -> Result<bool> {
    let found: Option<(i64,)> =
        sql("SELECT id FROM users WHERE id = $1 AND status = 'active'").bind(user).maybe(tx).await?;
    Ok(found.is_some())
}
