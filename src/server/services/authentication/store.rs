//! The row that a sign-in looks at, and the sessions that are open. A sign-in names no tenant: user names are unique among
//! all. Whoever lists or ends sessions stays within the own one.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use crate::server::{
    access::caller::Account,
    db::{Db, Listed, On, Page, Sortable, Sql, Tx, sql},
    error::Result,
    pipeline::Authorized,
    services::users::{COLUMNS, INTERNAL},
};

/// An account that can sign in. Never printed: it holds the hash of the password.
#[derive(FromRow)]
pub struct Found {
    /// The account.
    #[sqlx(flatten)]
    pub account: Account,
    /// The hash of its password.
    pub password_hash: String,
}

/// The active account with this user name, folded, and a password of its own.
pub async fn find(db: &Db, _: &Authorized, username_key: &str) -> Result<Option<Found>> {
    let row = sql("SELECT password_hash, ")
        .push(COLUMNS)
        .push(" FROM users WHERE username_key = $1 AND source = $2 AND status = 'active' AND password_hash IS NOT NULL")
        .bind(username_key)
        .bind(INTERNAL)
        .maybe(db)
        .await?;
    Ok(row)
}

/// Whether the account is still active with the password that was checked, and its second factor still on or off; if so,
/// the hash of the password is replaced by the renewed one.
pub async fn confirm(tx: &mut Tx, _: &Authorized, checked: &Found, renewed: Option<&str>) -> Result<bool> {
    let changed = sql("UPDATE users SET password_hash = $1 \
         WHERE id = $2 AND status = 'active' AND password_hash = $3 AND totp_enabled = $4")
    .bind(renewed.unwrap_or(&checked.password_hash))
    .bind(checked.account.id)
    .bind(&checked.password_hash)
    .bind(checked.account.totp_enabled)
    .run(tx)
    .await?;
    Ok(changed > 0)
}

/// Sort names of the list of sessions.
pub const SORTABLE: &[Sortable] =
    &[("createdat", "created_at"), ("lastseenat", "last_seen_at"), ("expiresat", "expires_at"), ("id", "id")];

/// A session that is open.
#[derive(FromRow)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// Who signed in.
    pub user_id: i64,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was last used, roughly.
    pub last_seen_at: DateTime<Utc>,
    /// When it ends at the latest.
    pub expires_at: DateTime<Utc>,
    /// What the program called itself.
    pub user_agent: String,
    /// Where the sign-in came from.
    pub address: String,
    /// Whether it can only replace a temporary password.
    pub restricted: bool,
}

/// The open sessions of the caller's tenant, without order.
fn open(by: &Authorized) -> Sql<'_> {
    sql("SELECT id, user_id, created_at, last_seen_at, expires_at, user_agent, address, restricted FROM sessions \
         WHERE tenant_id = $1 AND revoked_at IS NULL AND expires_at > $2 AND last_seen_at > $3")
    .bind(by.tenant())
    .bind(by.now())
    .bind(by.call().shared().sessions.idle_since(by.now()))
}

/// One page of the open sessions of a user of the caller's tenant.
pub async fn list(on: impl Into<On<'_>>, by: &Authorized, user: i64, page: &Page) -> Result<Listed<Row>> {
    Ok(open(by).and("user_id =", Some(user)).list(on, page).await?)
}

/// The ids of the open sessions of a user of the caller's tenant.
pub async fn ids(on: impl Into<On<'_>>, by: &Authorized, user: i64) -> Result<Vec<String>> {
    let rows: Vec<Row> = open(by).and("user_id =", Some(user)).all(on).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// The open session with this id in the caller's tenant.
pub async fn session(on: impl Into<On<'_>>, by: &Authorized, id: &str) -> Result<Option<Row>> {
    Ok(open(by).and("id =", Some(id.to_owned())).maybe(on).await?)
}
