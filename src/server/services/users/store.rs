//! The rows of users.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use crate::server::{
    access::caller::Account,
    db::{DbError, Listed, On, Page, Sortable, Tx, fold, sql},
    error::{Error, Result},
    pipeline::Authorized,
};

/// Sort names of the list. `username` sorts without regard to letter case.
pub const SORTABLE: &[Sortable] = &[
    ("id", "id"),
    ("firstname", "first_name"),
    ("lastname", "last_name"),
    ("username", "username_key"),
    ("status", "status"),
    ("createdat", "created_at"),
    ("email", "email"),
];

/// The columns of [`Account`].
pub const COLUMNS: &str = "id, tenant_id, first_name, last_name, username, source, email, status, totp_enabled, \
     password_changed, created_at, updated_at";

/// An account with what only checking a password needs. Never printed: it holds the hash.
#[derive(FromRow)]
pub struct WithPassword {
    /// The account.
    #[sqlx(flatten)]
    pub account: Account,
    /// The hash of the password; nothing for an account without one.
    pub password_hash: Option<String>,
}

/// What of a user is chosen by people.
pub struct Fields<'a> {
    /// Given name.
    pub first_name: &'a str,
    /// Family name.
    pub last_name: &'a str,
    /// The name to sign in with.
    pub username: &'a str,
    /// E-mail address; may be empty.
    pub email: &'a str,
    /// `active` or `disabled`.
    pub status: &'a str,
}

impl Fields<'_> {
    /// Whether storing these would change the account.
    pub fn differ_from(&self, account: &Account) -> bool {
        let stored = [&account.first_name, &account.last_name, &account.username, &account.email, &account.status];
        stored != [self.first_name, self.last_name, self.username, self.email, self.status]
    }

    /// The text that searches look in.
    fn search_key(&self) -> String {
        fold(&format!("{} {} {}", self.first_name, self.last_name, self.username))
    }
}

/// Where a new account comes from.
pub enum Origin<'a> {
    /// Somebody with a password of the own choice.
    Internal {
        /// Its hash.
        password_hash: &'a str,
    },
    /// A program, without password: there is none that would have to be changed.
    Service,
}

impl Origin<'_> {
    const fn columns(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Internal { password_hash } => (super::INTERNAL, Some(password_hash)),
            Self::Service => (super::SERVICE, None),
        }
    }
}

/// Which users a list holds.
#[derive(Default)]
pub struct Filter<'a> {
    /// These ids.
    pub ids: Option<Vec<i64>>,
    /// Members of one of these workspaces.
    pub workspaces: Option<Vec<i64>>,
    /// Members of one of these workbenches.
    pub workbenches: Option<Vec<i64>>,
    /// A part of a name.
    pub search: Option<&'a str>,
    /// From this source.
    pub source: Option<&'static str>,
    /// With this status.
    pub status: Option<&'static str>,
}

/// The user of the caller's tenant, unless deleted.
pub async fn find(on: impl Into<On<'_>>, by: &Authorized, id: i64) -> Result<Option<Account>> {
    let row = sql("SELECT ")
        .push(COLUMNS)
        .push(" FROM users WHERE id = $1 AND tenant_id = $2 AND status <> 'deleted'")
        .bind(id)
        .bind(by.tenant())
        .maybe(on)
        .await?;
    Ok(row)
}

/// The caller with the hash of the password.
pub async fn caller_with_password(on: impl Into<On<'_>>, by: &Authorized) -> Result<Option<WithPassword>> {
    let row = sql("SELECT password_hash, ")
        .push(COLUMNS)
        .push(" FROM users WHERE id = $1 AND tenant_id = $2 AND status = 'active'")
        .bind(by.id())
        .bind(by.tenant())
        .maybe(on)
        .await?;
    Ok(row)
}

/// One page of the users of the caller's tenant, without the deleted ones.
pub async fn list(on: impl Into<On<'_>>, by: &Authorized, filter: Filter<'_>, page: &Page) -> Result<Listed<Account>> {
    let texts = |ids: Vec<i64>| ids.into_iter().map(|id| id.to_string()).collect::<Vec<_>>();
    let (workspaces, workbenches) = (filter.workspaces.map(texts), filter.workbenches.map(texts));
    let mut query = sql("SELECT username_key, ")
        .push(COLUMNS)
        .push(" FROM users WHERE status <> 'deleted' AND tenant_id = $1")
        .bind(by.tenant())
        .and_in("id", filter.ids)
        .and("source =", filter.source)
        .and("status =", filter.status)
        .and_contains("search_key", filter.search);
    for (column, ids) in [("workspace", workspaces), ("workbench", workbenches)] {
        let Some(ids) = ids else { continue };
        query = query
            .push(" AND id IN (SELECT user_id FROM role_assignments WHERE tenant_id = ")
            .arg(by.tenant())
            .and_in(column, Some(ids))
            .push(")");
    }
    Ok(query.list(on, page).await?)
}

/// Stores a new user.
///
/// # Errors
/// `USERNAME_TAKEN`.
pub async fn insert(
    tx: &mut Tx,
    tenant: i64,
    fields: &Fields<'_>,
    origin: &Origin<'_>,
    now: DateTime<Utc>,
) -> Result<Account> {
    let (source, password_hash) = origin.columns();
    sql("INSERT INTO users (tenant_id, first_name, last_name, username, username_key, source, email, password_hash, \
         password_changed, status, search_key, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING ")
    .push(COLUMNS)
    .bind(tenant)
    .bind(fields.first_name)
    .bind(fields.last_name)
    .bind(fields.username)
    .bind(fold(fields.username))
    .bind(source)
    .bind(fields.email)
    .bind(password_hash.map(str::to_owned))
    .bind(true)
    .bind(fields.status)
    .bind(fields.search_key())
    .bind(now)
    .bind(now)
    .one(tx)
    .await
    .map_err(|error| taken(error, fields.username))
}

/// Stores what people choose of a user of the caller's tenant.
///
/// # Errors
/// `USERNAME_TAKEN`.
pub async fn update(tx: &mut Tx, by: &Authorized, id: i64, fields: &Fields<'_>) -> Result<Option<Account>> {
    sql("UPDATE users SET first_name = $1, last_name = $2, username = $3, username_key = $4, email = $5, status = $6, \
         search_key = $7, updated_at = $8 WHERE id = $9 AND tenant_id = $10 AND status <> 'deleted' RETURNING ")
    .push(COLUMNS)
    .bind(fields.first_name)
    .bind(fields.last_name)
    .bind(fields.username)
    .bind(fold(fields.username))
    .bind(fields.email)
    .bind(fields.status)
    .bind(fields.search_key())
    .bind(by.now())
    .bind(id)
    .bind(by.tenant())
    .maybe(tx)
    .await
    .map_err(|error| taken(error, fields.username))
}

fn taken(error: DbError, username: &str) -> Error {
    match error.is_unique("users_username_key_source_key") {
        true => Error::exists("USERNAME_TAKEN", format!("The user name {username:?} is taken. Choose another one.")),
        false => error.into(),
    }
}

/// Marks a user of the caller's tenant as deleted and frees the user name by storing this one instead.
pub async fn delete(tx: &mut Tx, by: &Authorized, id: i64, renamed: &str) -> Result<()> {
    sql(
        "UPDATE users SET status = 'deleted', username = $1, username_key = $2, search_key = $2, password_hash = NULL, \
         totp_enabled = FALSE, updated_at = $3, deleted_at = $3 WHERE id = $4 AND tenant_id = $5 AND status <> 'deleted'",
    )
    .bind(renamed)
    .bind(fold(renamed))
    .bind(by.now())
    .bind(id)
    .bind(by.tenant())
    .run(tx)
    .await?;
    Ok(())
}

/// Replaces the password of the caller, unless it is not `old` any more; says whether it did.
pub async fn replace_password(tx: &mut Tx, by: &Authorized, old: &str, new: &str) -> Result<bool> {
    let changed = sql("UPDATE users SET password_hash = $1, password_changed = TRUE, updated_at = $2 \
         WHERE id = $3 AND tenant_id = $4 AND status = 'active' AND password_hash = $5")
    .bind(new)
    .bind(by.now())
    .bind(by.id())
    .bind(by.tenant())
    .bind(old)
    .run(tx)
    .await?;
    Ok(changed > 0)
}

/// Turns the caller's second factor on or off.
pub async fn switch_totp(tx: &mut Tx, by: &Authorized, on: bool) -> Result<()> {
    sql("UPDATE users SET totp_enabled = $1, updated_at = $2 WHERE id = $3 AND tenant_id = $4")
        .bind(on)
        .bind(by.now())
        .bind(by.id())
        .bind(by.tenant())
        .run(tx)
        .await?;
    Ok(())
}

/// Gives a user of the caller's tenant a temporary password and turns the second factor off; says whether there is such
/// a user.
pub async fn reset_password(tx: &mut Tx, by: &Authorized, id: i64, hash: &str) -> Result<bool> {
    let changed =
        sql("UPDATE users SET password_hash = $1, password_changed = FALSE, totp_enabled = FALSE, updated_at = $2 \
         WHERE id = $3 AND tenant_id = $4 AND status <> 'deleted'")
        .bind(hash)
        .bind(by.now())
        .bind(id)
        .bind(by.tenant())
        .run(tx)
        .await?;
    Ok(changed > 0)
}

/// The tenant of this name.
pub async fn tenant(on: impl Into<On<'_>>, name: &str) -> Result<Option<i64>> {
    let row: Option<(i64,)> = sql("SELECT id FROM tenants WHERE name = $1").bind(name).maybe(on).await?;
    Ok(row.map(|row| row.0))
}

/// Stores a tenant unless it is there.
pub async fn insert_tenant(tx: &mut Tx, name: &str, now: DateTime<Utc>) -> Result<()> {
    sql("INSERT INTO tenants (name, created_at, updated_at) VALUES ($1, $2, $2) ON CONFLICT (name) DO NOTHING")
        .bind(name)
        .bind(now)
        .run(tx)
        .await?;
    Ok(())
}

/// Whether anybody ever had an account here.
pub async fn has_users(on: impl Into<On<'_>>) -> Result<bool> {
    let row: Option<(i64,)> = sql("SELECT id FROM users LIMIT 1").maybe(on).await?;
    Ok(row.is_some())
}
