//! The rows of the roles that administrators defined.

use super::wanted::key;
use crate::server::{
    access::{
        catalogue::Permission,
        decide::{Role, Visible},
        rights,
    },
    db::{Db, FromRow, Json, On, Sql, sql},
    error::{Error, Result},
    pipeline::{Authorized, Change},
};

#[derive(FromRow)]
struct Row {
    id: i64,
    workspace_id: Option<i64>,
    name: String,
    description: String,
    permissions: Json<Vec<String>>,
}

impl From<Row> for Role {
    fn from(row: Row) -> Self {
        Self::dynamic(row.id, row.name, row.description, row.workspace_id, rights::permissions(&row.permissions))
    }
}

const COLUMNS: &str = "id, workspace_id, name, description, permissions";

fn select<'a>(tenant: i64) -> Sql<'a> {
    sql("SELECT ").push(COLUMNS).push(" FROM dynamic_roles WHERE tenant_id = ").arg(tenant)
}

/// The role of this name in the tenant.
pub async fn find(on: impl Into<On<'_>>, tenant: i64, name: &str) -> Result<Option<Role>> {
    let row: Option<Row> = select(tenant).and("name =", Some(name)).maybe(on).await?;
    Ok(row.map(Role::from))
}

/// The roles of the platform, and those of these workspaces.
pub(super) async fn list(db: &Db, by: &Authorized, workspaces: Visible) -> Result<Vec<Role>> {
    let ids = match workspaces {
        Visible::All => None,
        // no workspace has the id 0
        Visible::Ids(ids) => Some(ids.into_iter().chain([0])),
    };
    let rows: Vec<Row> = select(by.tenant()).and_in("coalesce(workspace_id, 0)", ids).all(db).await?;
    Ok(rows.into_iter().map(Role::from).collect())
}

/// How many roles of the platform there are, or of a workspace.
pub(super) async fn count(change: &mut Change, by: &Authorized, workspace: Option<i64>) -> Result<i64> {
    let (count,): (i64,) =
        sql("SELECT count(*) FROM dynamic_roles WHERE tenant_id = $1 AND coalesce(workspace_id, 0) = $2")
            .bind(by.tenant())
            .bind(workspace.unwrap_or_default())
            .one(change)
            .await?;
    Ok(count)
}

fn names(permissions: &[Permission]) -> Json<Vec<&'static str>> {
    Json(permissions.iter().map(|permission| permission.name()).collect())
}

/// Stores a role.
///
/// # Errors
/// `ROLE_EXISTS`.
pub(super) async fn insert(
    change: &mut Change,
    by: &Authorized,
    (name, description): (&str, &str),
    workspace: Option<i64>,
    permissions: &[Permission],
) -> Result<Role> {
    let row: Result<Row, _> = sql(
        "INSERT INTO dynamic_roles (tenant_id, workspace_id, name, name_key, description, permissions, created_at, \
             updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING ",
    )
    .push(COLUMNS)
    .bind(by.tenant())
    .bind(workspace)
    .bind(name)
    .bind(key(name))
    .bind(description)
    .bind(names(permissions))
    .bind(by.now())
    .bind(by.now())
    .one(change)
    .await;
    match row {
        Ok(row) => Ok(row.into()),
        Err(error) if error.is_unique("dynamic_roles_tenant_id_name_key_key") => Err(exists(name)),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn exists(name: &str) -> Error {
    let text = format!("There is a role {name:?} already, or one that reads the same. Choose another name.");
    Error::exists("ROLE_EXISTS", text)
}

/// Replaces what can be changed of a role.
pub(super) async fn update(
    change: &mut Change,
    by: &Authorized,
    row: i64,
    description: &str,
    permissions: &[Permission],
) -> Result<Role> {
    let row: Row = sql("UPDATE dynamic_roles SET description = $1, permissions = $2, updated_at = $3 \
         WHERE id = $4 AND tenant_id = $5 RETURNING ")
    .push(COLUMNS)
    .bind(description)
    .bind(names(permissions))
    .bind(by.now())
    .bind(row)
    .bind(by.tenant())
    .one(change)
    .await?;
    Ok(row.into())
}

/// Removes a role that nobody holds.
pub(super) async fn delete(change: &mut Change, by: &Authorized, row: i64) -> Result<()> {
    sql("DELETE FROM dynamic_roles WHERE id = $1 AND tenant_id = $2").bind(row).bind(by.tenant()).run(change).await?;
    Ok(())
}

/// Removes the roles of a workspace, which nobody holds.
pub(super) async fn delete_of_workspace(change: &mut Change, by: &Authorized, workspace: i64) -> Result<()> {
    sql("DELETE FROM dynamic_roles WHERE workspace_id = $1 AND tenant_id = $2")
        .bind(workspace)
        .bind(by.tenant())
        .run(change)
        .await?;
    Ok(())
}
