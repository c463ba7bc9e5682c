//! The row that a sign-in looks at. No tenant here: a sign-in names none, and user names are unique among all.

use sqlx::FromRow;

use crate::server::{
    access::caller::Account,
    db::{Db, Tx, sql},
    error::Result,
    pipeline::Authorized,
    services::users::INTERNAL,
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
    let row = sql(
        "SELECT id, tenant_id, first_name, last_name, username, source, email, status, totp_enabled, password_changed, \
         created_at, updated_at, password_hash FROM users \
         WHERE username_key = $1 AND source = $2 AND status = 'active' AND password_hash IS NOT NULL",
    )
    .bind(username_key)
    .bind(INTERNAL)
    .maybe(db)
    .await?;
    Ok(row)
}

/// Whether the account is still active with the password that was checked; if so, its hash is replaced by the renewed
/// one.
pub async fn confirm(tx: &mut Tx, _: &Authorized, user: i64, checked: &str, renewed: Option<&str>) -> Result<bool> {
    let Some(renewed) = renewed else {
        let still: Option<(i64,)> =
            sql("SELECT id FROM users WHERE id = $1 AND status = 'active' AND password_hash = $2")
                .bind(user)
                .bind(checked)
                .maybe(tx)
                .await?;
        return Ok(still.is_some());
    };
    let changed = sql("UPDATE users SET password_hash = $1 WHERE id = $2 AND status = 'active' AND password_hash = $3")
        .bind(renewed)
        .bind(user)
        .bind(checked)
        .run(tx)
        .await?;
    Ok(changed > 0)
}
