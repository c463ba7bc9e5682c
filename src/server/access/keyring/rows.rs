//! What the database knows of the keyring: ids, purposes and fingerprints, and since when a key is active or retired.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{Key, Keyring, Purpose};
use crate::server::{
    db::{On, Tx, sql},
    error::Result,
};

/// Who holds this lock may rely on which keys are active to the end of the transaction.
const LOCK: &str = "chorus.keyring";

/// A key that the database was used with.
#[derive(Debug, Clone, FromRow)]
pub struct Known {
    /// The id.
    pub id: String,
    /// The name of its purpose.
    pub purpose: String,
    /// What only the holder of the key can make.
    pub fingerprint: String,
    /// Since when things are made with it.
    pub activated_at: DateTime<Utc>,
    /// Since when they are not; nothing for the active key.
    pub retired_at: Option<DateTime<Utc>>,
}

impl Known {
    /// Whether the key is this one, and not another of the same id.
    pub fn is(&self, key: &Key) -> bool {
        self.id == key.id() && self.fingerprint == key.fingerprint()
    }
}

/// Keeps others from changing which keys are active.
pub async fn lock(tx: &mut Tx) -> Result<()> {
    Ok(tx.lock(LOCK).await?)
}

/// Every key, the oldest first.
pub async fn all(on: impl Into<On<'_>>) -> Result<Vec<Known>> {
    Ok(sql("SELECT id, purpose, fingerprint, activated_at, retired_at FROM keyring_keys ORDER BY activated_at, purpose, id")
        .all(on)
        .await?)
}

/// The id of the active key of each purpose.
pub async fn active(on: impl Into<On<'_>>) -> Result<HashMap<Purpose, String>> {
    let rows: Vec<(String, String)> =
        sql("SELECT purpose, id FROM keyring_keys WHERE retired_at IS NULL").all(on).await?;
    Ok(rows.into_iter().filter_map(|(purpose, id)| Some((Purpose::named(&purpose)?, id))).collect())
}

/// Remembers the keys of a keyring for a database that knows none: the newest ones as active.
pub async fn adopt(tx: &mut Tx, ring: &Keyring, now: DateTime<Utc>) -> Result<()> {
    for purpose in Purpose::ALL {
        let newest = ring.newest(purpose).map(Key::id);
        for key in ring.all(purpose) {
            let retired = (Some(key.id()) != newest).then_some(now);
            insert(tx, key, key.created(), retired).await?;
        }
    }
    Ok(())
}

/// Makes this the active key of its purpose.
pub async fn activate(tx: &mut Tx, key: &Key, now: DateTime<Utc>) -> Result<()> {
    sql("UPDATE keyring_keys SET retired_at = $1 WHERE purpose = $2 AND retired_at IS NULL")
        .bind(now)
        .bind(key.purpose().as_str())
        .run(&mut *tx)
        .await?;
    insert(tx, key, now, None).await
}

/// Forgets a retired key.
pub async fn forget(tx: &mut Tx, id: &str) -> Result<()> {
    sql("DELETE FROM keyring_keys WHERE id = $1 AND retired_at IS NOT NULL").bind(id).run(tx).await?;
    Ok(())
}

async fn insert(tx: &mut Tx, key: &Key, activated: DateTime<Utc>, retired: Option<DateTime<Utc>>) -> Result<()> {
    sql("INSERT INTO keyring_keys (id, purpose, fingerprint, activated_at, retired_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(key.id())
        .bind(key.purpose().as_str())
        .bind(key.fingerprint())
        .bind(activated)
        .bind(retired)
        .run(tx)
        .await?;
    Ok(())
}
