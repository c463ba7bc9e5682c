//! SQL of workspaces. Whatever reads or writes a row asks for the caller's tenant and passes over deleted ones.

use chrono::{DateTime, Utc};

use super::Wanted;
use crate::server::{
    access::decide::Visible,
    db::{Db, DbError, FromRow, Json, Listed, On, Page, Sql, fold, sql},
    error::{Error, Result},
    pipeline::{Authorized, Change},
};

/// A row of `workspaces`.
#[derive(Debug, FromRow)]
pub(super) struct Workspace {
    pub id: i64,
    pub tenant_id: i64,
    pub user_id: i64,
    pub name: String,
    pub short_name: String,
    pub description: String,
    pub status: String,
    pub is_main: bool,
    pub network_policy: String,
    pub allowed_fqdns: Json<Vec<String>>,
    pub network_policy_status: String,
    pub network_policy_message: String,
    pub clipboard: String,
    pub visibility: String,
    pub contact_user_id: Option<i64>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The columns of [`Workspace`].
const COLUMNS: &str = "id, tenant_id, user_id, name, short_name, description, status, is_main, network_policy, \
     allowed_fqdns, network_policy_status, network_policy_message, clipboard, visibility, contact_user_id, created_at, \
     updated_at";

/// A public workspace with its contact.
#[derive(Debug, FromRow)]
pub(super) struct PublicWorkspace {
    pub id: i64,
    pub tenant_id: i64,
    pub name: String,
    pub short_name: String,
    pub description: String,
    pub status: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub contact_username: String,
    pub contact_first_name: String,
    pub contact_last_name: String,
    pub contact_email: String,
}

fn select<'a>() -> Sql<'a> {
    sql("SELECT ").push(COLUMNS).push(" FROM workspaces WHERE deleted_at IS NULL")
}

/// One workspace.
pub(super) async fn get(on: impl Into<On<'_>>, by: &Authorized, id: i64) -> Result<Option<Workspace>> {
    Ok(select().and("tenant_id =", Some(by.tenant())).and("id =", Some(id)).maybe(on).await?)
}

/// A page of the workspaces that the caller may see.
pub(super) async fn list(db: &Db, by: &Authorized, visible: Visible, page: &Page) -> Result<Listed<Workspace>> {
    let ids = match visible {
        Visible::All => None,
        Visible::Ids(ids) => Some(ids),
    };
    Ok(select().and("tenant_id =", Some(by.tenant())).and_in("id", ids).list(db, page).await?)
}

/// A page of the public workspaces, each with its contact if that account is active.
pub(super) async fn list_public(db: &Db, by: &Authorized, page: &Page) -> Result<Listed<PublicWorkspace>> {
    let listed =
        sql("SELECT w.id, w.tenant_id, w.name, w.short_name, w.description, w.status, w.is_main, w.created_at, \
         w.updated_at, coalesce(u.username, '') AS contact_username, coalesce(u.first_name, '') AS contact_first_name, \
         coalesce(u.last_name, '') AS contact_last_name, coalesce(u.email, '') AS contact_email \
         FROM workspaces w \
         LEFT JOIN users u ON u.id = w.contact_user_id AND u.tenant_id = w.tenant_id AND u.status = 'active' \
         WHERE w.deleted_at IS NULL AND w.visibility = 'public' AND w.tenant_id = $1")
        .bind(by.tenant())
        .list(db, page)
        .await?;
    Ok(listed)
}

/// How many workspaces the caller owns.
pub(super) async fn count_owned(change: &mut Change, by: &Authorized) -> Result<i64> {
    let (count,): (i64,) = sql("SELECT count(*) FROM workspaces WHERE user_id = $1 AND deleted_at IS NULL")
        .bind(by.id())
        .one(change)
        .await?;
    Ok(count)
}

/// Stores a workspace that the caller owns.
pub(super) async fn insert(change: &mut Change, by: &Authorized, wanted: &Wanted) -> Result<Workspace> {
    sql("INSERT INTO workspaces (tenant_id, user_id, name, name_key, short_name, description, status, is_main, \
         network_policy, allowed_fqdns, clipboard, visibility, contact_user_id, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) RETURNING ")
    .push(COLUMNS)
    .bind(by.tenant())
    .bind(by.id())
    .bind(&*wanted.name)
    .bind(fold(&wanted.name))
    .bind(&*wanted.short_name)
    .bind(&*wanted.description)
    .bind(wanted.status)
    .bind(wanted.is_main)
    .bind(&*wanted.network_policy)
    .bind(Json(&wanted.allowed_fqdns))
    .bind(&*wanted.clipboard)
    .bind(wanted.visibility)
    .bind(wanted.contact)
    .bind(by.now())
    .bind(by.now())
    .one(change)
    .await
    .map_err(refused)
}

/// Replaces what callers set of a workspace.
pub(super) async fn update(
    change: &mut Change,
    by: &Authorized,
    id: i64,
    wanted: &Wanted,
) -> Result<Option<Workspace>> {
    sql(
        "UPDATE workspaces SET name = $1, name_key = $2, short_name = $3, description = $4, status = $5, is_main = $6, \
         network_policy = $7, allowed_fqdns = $8, clipboard = $9, visibility = $10, contact_user_id = $11, \
         updated_at = $12 WHERE id = $13 AND tenant_id = $14 AND deleted_at IS NULL RETURNING ",
    )
    .push(COLUMNS)
    .bind(&*wanted.name)
    .bind(fold(&wanted.name))
    .bind(&*wanted.short_name)
    .bind(&*wanted.description)
    .bind(wanted.status)
    .bind(wanted.is_main)
    .bind(&*wanted.network_policy)
    .bind(Json(&wanted.allowed_fqdns))
    .bind(&*wanted.clipboard)
    .bind(wanted.visibility)
    .bind(wanted.contact)
    .bind(by.now())
    .bind(id)
    .bind(by.tenant())
    .maybe(change)
    .await
    .map_err(refused)
}

/// Marks a workspace as deleted.
pub(super) async fn delete(change: &mut Change, by: &Authorized, id: i64) -> Result<Option<Workspace>> {
    let deleted = sql("UPDATE workspaces SET status = 'deleted', deleted_at = $1, updated_at = $2 \
         WHERE id = $3 AND tenant_id = $4 AND deleted_at IS NULL RETURNING ")
    .push(COLUMNS)
    .bind(by.now())
    .bind(by.now())
    .bind(id)
    .bind(by.tenant())
    .maybe(change)
    .await?;
    Ok(deleted)
}

/// Removes everybody's roles in a workspace.
pub(super) async fn delete_assignments(change: &mut Change, id: i64) -> Result<()> {
    sql("DELETE FROM role_assignments WHERE workspace = $1").bind(id.to_string()).run(change).await?;
    Ok(())
}

/// The one unique index of the table keeps an owner at one main workspace.
fn refused(error: DbError) -> Error {
    if error.is_unique("workspaces_user_id_key") {
        let text = "The owner has a main workspace already. Make that one an ordinary workspace first.";
        return Error::exists("MAIN_WORKSPACE_EXISTS", text);
    }
    error.into()
}
