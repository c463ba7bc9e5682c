//! The row that a sign-in looks at. No tenant here: a sign-in names none, and user names are unique among all.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use crate::server::{
    access::caller::Account,
    db::{Db, Tx, sql},
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

/// Removes the sessions of a user that ended before this moment, or were last used before the other.
pub async fn forget_ended(
    tx: &mut Tx,
    _: &Authorized,
    user: i64,
    ended: DateTime<Utc>,
    used: DateTime<Utc>,
) -> Result<()> {
    sql("DELETE FROM sessions WHERE user_id = $1 AND (expires_at < $2 OR revoked_at < $2 OR last_seen_at < $3)")
        .bind(user)
        .bind(ended)
        .bind(used)
        .run(tx)
        .await?;
    Ok(())
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
