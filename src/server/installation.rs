//! What ties a database to its keyring.
//!
//! The first start stores the keyring's fingerprint; every later start compares. A server with another keyring would end
//! every session and could not read what is sealed, so it does not start at all.

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};

use super::{
    access::keyring::Keyring,
    clock::Clock,
    config::Config,
    db::{Db, sql},
    random::Random,
    services::users::has_users,
};

/// The keyring that fits the database. It is made on the first start, and never for a database that was used before: that
/// one has lost its keyring, and a new one would hide it.
pub async fn keyring(config: &Config, db: &Db, random: &dyn Random, clock: &dyn Clock) -> Result<Keyring> {
    let known = fingerprint(db).await?;
    let path = config.keys.display();
    let keyring = match (Keyring::load(&config.keys)?, &known) {
        (Some(keyring), _) => keyring,
        (None, Some(_)) => {
            bail!(
                "the database was set up with a keyring and there is none at {path}; restore that file or name it with --keys"
            )
        }
        // such a database was copied by hand, without the row that names its keyring
        (None, None) if has_users(db).await? => {
            bail!(
                "the database has users already and there is no keyring at {path}; restore that file or name it with --keys"
            )
        }
        (None, None) => Keyring::load_or_create(&config.keys, random, clock)?,
    };
    let known = match known {
        Some(known) => known,
        None => remember(db, &keyring.fingerprint(), clock.now()).await?,
    };
    if known != keyring.fingerprint() {
        bail!("the keyring {path} is not the one that the database was set up with; name the right one with --keys");
    }
    Ok(keyring)
}

async fn fingerprint(db: &Db) -> Result<Option<String>> {
    let row: Option<(String,)> = sql("SELECT keyring_fingerprint FROM installation WHERE id = 1")
        .maybe(db)
        .await
        .context("the database cannot be read")?;
    Ok(row.map(|row| row.0))
}

/// Stores the fingerprint unless another replica was faster; returns the one that is stored.
async fn remember(db: &Db, fingerprint: &str, now: DateTime<Utc>) -> Result<String> {
    sql(
        "INSERT INTO installation (id, keyring_fingerprint, created_at) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING",
    )
    .bind(fingerprint)
    .bind(now)
    .run(db)
    .await?;
    let (stored,): (String,) = sql("SELECT keyring_fingerprint FROM installation WHERE id = 1").one(db).await?;
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{clock::SystemClock, random::SeededRandom};

    #[tokio::test]
    async fn no_keyring_is_made_for_a_database_with_users() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = crate::server::config::load(&crate::server::config::Sources::default()).unwrap().config;
        config.keys = folder.path().join("keys");
        let db = Db::memory().await.unwrap();
        let random = SeededRandom::new(1);
        sql("INSERT INTO tenants (name, created_at, updated_at) VALUES ('default', $1, $1)")
            .bind(SystemClock.now())
            .run(&db)
            .await
            .unwrap();
        sql("INSERT INTO users (tenant_id, username, username_key, search_key, created_at, updated_at) \
             SELECT id, 'zoe', 'zoe', 'zoe', created_at, created_at FROM tenants")
        .run(&db)
        .await
        .unwrap();
        let refused = keyring(&config, &db, &random, &SystemClock).await.unwrap_err().to_string();
        assert!(refused.contains("has users already and there is no keyring"), "{refused}");
        assert!(!config.keys.exists());

        sql("DELETE FROM users").run(&db).await.unwrap();
        let made = keyring(&config, &db, &random, &SystemClock).await.unwrap();
        assert_eq!(keyring(&config, &db, &random, &SystemClock).await.unwrap().fingerprint(), made.fingerprint());
        std::fs::remove_file(&config.keys).unwrap();
        let refused = keyring(&config, &db, &random, &SystemClock).await.unwrap_err().to_string();
        assert!(refused.contains("there is none at"), "{refused}");
    }
}
