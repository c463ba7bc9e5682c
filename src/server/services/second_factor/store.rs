//! The rows of secrets and recovery codes.

use sqlx::FromRow;

use crate::server::{
    db::{Tx, sql},
    error::Result,
    pipeline::Authorized,
};

/// A stored secret.
#[derive(FromRow)]
pub struct Stored {
    /// The secret, sealed.
    pub secret: String,
    /// The step of the last code that was accepted.
    pub last_step: i64,
}

/// The secret of a user.
pub async fn secret(tx: &mut Tx, _: &Authorized, user: i64) -> Result<Option<Stored>> {
    Ok(sql("SELECT secret, last_step FROM totp_secrets WHERE user_id = $1").bind(user).maybe(tx).await?)
}

/// Stores a new secret in place of the one before.
pub async fn put_secret(tx: &mut Tx, by: &Authorized, user: i64, sealed: &str) -> Result<()> {
    sql("INSERT INTO totp_secrets (user_id, secret, created_at) VALUES ($1, $2, $3) \
         ON CONFLICT (user_id) DO UPDATE SET secret = excluded.secret, last_step = 0, created_at = excluded.created_at")
    .bind(user)
    .bind(sealed)
    .bind(by.now())
    .run(tx)
    .await?;
    Ok(())
}

/// Uses up a step; says whether nobody used it, or a later one, before. Of several who try at once one succeeds.
pub async fn use_step(tx: &mut Tx, _: &Authorized, user: i64, step: i64) -> Result<bool> {
    let used = sql("UPDATE totp_secrets SET last_step = $1 WHERE user_id = $2 AND last_step < $1")
        .bind(step)
        .bind(user)
        .run(tx)
        .await?;
    Ok(used > 0)
}

/// Stores new recovery codes in place of those before.
pub async fn replace_recovery_codes(tx: &mut Tx, by: &Authorized, user: i64, hashes: &[String]) -> Result<()> {
    sql("DELETE FROM recovery_codes WHERE user_id = $1").bind(user).run(&mut *tx).await?;
    for hash in hashes {
        sql("INSERT INTO recovery_codes (user_id, hash, created_at) VALUES ($1, $2, $3)")
            .bind(user)
            .bind(hash)
            .bind(by.now())
            .run(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Uses up a recovery code; how many are left then, or none if there is no such code. Of several who try at once one
/// succeeds. The database may compare hashes as fast as it likes: who does not know a code cannot steer its hash.
pub async fn use_recovery_code(tx: &mut Tx, _: &Authorized, user: i64, hash: &str) -> Result<Option<i64>> {
    let used =
        sql("DELETE FROM recovery_codes WHERE user_id = $1 AND hash = $2").bind(user).bind(hash).run(&mut *tx).await?;
    if used == 0 {
        return Ok(None);
    }
    let (left,): (i64,) =
        sql("SELECT count(*) FROM recovery_codes WHERE user_id = $1").bind(user).one(&mut *tx).await?;
    Ok(Some(left))
}

/// Removes everything that is stored of a user's second factor.
pub async fn remove(tx: &mut Tx, user: i64) -> Result<()> {
    sql("DELETE FROM totp_secrets WHERE user_id = $1").bind(user).run(&mut *tx).await?;
    sql("DELETE FROM recovery_codes WHERE user_id = $1").bind(user).run(&mut *tx).await?;
    Ok(())
}
