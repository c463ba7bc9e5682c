//! The rows behind the throttle.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::bucket::Bucket;
use crate::server::db::{Db, On, Result, Tx, sql};

/// What is known of one place of one account.
#[derive(Debug, Clone, FromRow)]
pub struct Row {
    /// The key of the place; empty for all unknown places together.
    pub place: String,
    /// Its tries.
    #[sqlx(flatten)]
    pub bucket: Bucket,
    /// The latest success from there.
    pub known_at: Option<DateTime<Utc>>,
}

/// Waits until no other replica counts a try of this account, to the end of the transaction.
pub async fn lock(tx: &mut Tx, account: &str) -> Result<()> {
    tx.lock(&format!("chorus.sign_in.{account}")).await
}

/// The rows of these places, as far as there are any.
pub async fn load(on: impl Into<On<'_>>, account: &str, places: &[&str]) -> Result<Vec<Row>> {
    sql("SELECT place, wrong, last_at, opens_at, known_at FROM sign_in_tries WHERE account = $1")
        .bind(account)
        .and_in("place", Some(places.iter().copied()))
        .all(on)
        .await
}

/// Writes these rows. A place stays known unless it becomes known anew.
pub async fn save(tx: &mut Tx, account: &str, rows: &[Row]) -> Result<()> {
    let mut insert = sql("INSERT INTO sign_in_tries (account, place, wrong, last_at, opens_at, known_at) VALUES ");
    for (i, row) in rows.iter().enumerate() {
        insert = insert.push(if i == 0 { "(" } else { ", (" }).arg(account).push(", ").arg(&*row.place);
        insert = insert.push(", ").arg(row.bucket.wrong).push(", ").arg(row.bucket.last_at);
        insert = insert.push(", ").arg(row.bucket.opens_at).push(", ").arg(row.known_at).push(")");
    }
    insert
        .push(
            " ON CONFLICT (account, place) DO UPDATE SET wrong = excluded.wrong, last_at = excluded.last_at, \
             opens_at = excluded.opens_at, known_at = coalesce(excluded.known_at, sign_in_tries.known_at)",
        )
        .run(tx)
        .await?;
    Ok(())
}

/// Keeps only the places that became known last.
pub async fn forget_oldest(tx: &mut Tx, account: &str, most: i64) -> Result<()> {
    sql("DELETE FROM sign_in_tries WHERE account = $1 AND known_at IS NOT NULL AND place NOT IN \
         (SELECT place FROM sign_in_tries WHERE account = $1 AND known_at IS NOT NULL ORDER BY known_at DESC, place LIMIT $2)")
    .bind(account)
    .bind(most)
    .run(tx)
    .await?;
    Ok(())
}

/// Empties every bucket of an account; known places stay known.
pub async fn forgive(tx: &mut Tx, account: &str, now: DateTime<Utc>) -> Result<()> {
    sql("UPDATE sign_in_tries SET wrong = 0, opens_at = $1 WHERE account = $2").bind(now).bind(account).run(tx).await?;
    Ok(())
}

/// Deletes the rows without a try since the first moment, unless the place became known after the other.
pub async fn remove_quiet(db: &Db, quiet_since: DateTime<Utc>, known_since: DateTime<Utc>) -> Result<u64> {
    sql("DELETE FROM sign_in_tries WHERE last_at <= $1 AND (known_at IS NULL OR known_at <= $2)")
        .bind(quiet_since)
        .bind(known_since)
        .run(db)
        .await
}
