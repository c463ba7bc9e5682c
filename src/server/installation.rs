//! What ties a database to its keyring.
//!
//! The database stores the fingerprint of every key that it was used with. A server whose keyring lacks one of them, or has
//! another key of that id, would end sessions and could not read what is sealed, so it does not start at all. More keys do
//! no harm: a rotation writes the file first.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};

use super::{
    access::keyring::{Keyring, Keys, rows, rows::Known},
    clock::Clock,
    config::Config,
    db::Db,
    random::Random,
    services::users::has_users,
};

/// The keyring that fits the database. It is made on the first start, and never for a database that was used before: that
/// one has lost its keyring, and a new one would hide it.
pub async fn keyring(config: &Config, db: &Db, random: &dyn Random, clock: &dyn Clock) -> Result<Arc<Keys>> {
    let known = rows::all(db).await.context("the database cannot be read")?;
    let path = config.keys.display();
    let ring = match Keyring::load(&config.keys)? {
        Some(ring) => ring,
        None if !known.is_empty() => {
            bail!(
                "the database was set up with a keyring and there is none at {path}; restore that file or name it with --keys"
            )
        }
        // such a database was copied by hand, without the rows that name its keys
        None if has_users(db).await? => {
            bail!(
                "the database has users already and there is no keyring at {path}; restore that file or name it with --keys"
            )
        }
        None => Keyring::load_or_create(&config.keys, random, clock)?,
    };
    let known = match known.is_empty() {
        false => known,
        true => remember(db, &ring, clock.now()).await?,
    };
    fits(&ring, &known, &config.keys)?;
    let keys = Keys::of_file(config.keys.clone(), ring);
    keys.follow(db).await?;
    Ok(keys)
}

/// Whether the keyring has every key that the database was used with.
///
/// # Errors
/// When it is another keyring, or an old copy of the right one.
pub fn fits(ring: &Keyring, known: &[Known], path: &Path) -> Result<()> {
    let path = path.display();
    let has = |row: &&Known| ring.keys().any(|key| row.is(key));
    let missing: Vec<_> = known.iter().filter(|row| !has(row)).collect();
    match missing.first() {
        None if known.is_empty() => bail!("no server has used this database yet; start one first"),
        None => Ok(()),
        Some(_) if missing.len() == known.len() => {
            bail!("the keyring {path} is not the one that the database was set up with; name the right one with --keys")
        }
        Some(row) => bail!(
            "the keyring {path} lacks the {} key {}, with which the database is used: it is an old copy; replace it by the \
             present file, which was rotated elsewhere",
            row.purpose,
            row.id
        ),
    }
}

/// Stores the fingerprints unless another replica was faster; returns those that are stored.
async fn remember(db: &Db, ring: &Keyring, now: DateTime<Utc>) -> Result<Vec<Known>> {
    let mut tx = db.transaction().await?;
    rows::lock(&mut tx).await?;
    if rows::all(&mut tx).await?.is_empty() {
        rows::adopt(&mut tx, ring, now).await?;
    }
    let known = rows::all(&mut tx).await?;
    tx.commit().await?;
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{
        access::keyring::{Key, Purpose},
        clock::SystemClock,
        db::sql,
        random::SeededRandom,
    };

    fn ring(seed: u64) -> Keyring {
        Keyring::generate(&SeededRandom::new(seed), &SystemClock)
    }

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
        let refused = keyring(&config, &db, &random, &SystemClock).await.err().unwrap().to_string();
        assert!(refused.contains("has users already and there is no keyring"), "{refused}");
        assert!(!config.keys.exists());

        sql("DELETE FROM users").run(&db).await.unwrap();
        let made = keyring(&config, &db, &random, &SystemClock).await.unwrap().active(Purpose::Sealing).unwrap();
        let again = keyring(&config, &db, &random, &SystemClock).await.unwrap().active(Purpose::Sealing).unwrap();
        assert_eq!(again.fingerprint(), made.fingerprint());
        std::fs::remove_file(&config.keys).unwrap();
        let refused = keyring(&config, &db, &random, &SystemClock).await.err().unwrap().to_string();
        assert!(refused.contains("there is none at"), "{refused}");
        ring(7).write_new(&config.keys).unwrap();
        let refused = keyring(&config, &db, &random, &SystemClock).await.err().unwrap().to_string();
        assert!(refused.contains("is not the one that the database was set up with"), "{refused}");
    }

    #[tokio::test]
    async fn more_keys_fit_and_fewer_do_not() {
        let db = Db::memory().await.unwrap();
        let old = ring(1);
        let mut grown = old.clone();
        grown.add(Key::generate(Purpose::Sealing, &SeededRandom::new(2), SystemClock.now()));
        let path = Path::new("keys");
        let fresh = fits(&old, &[], path).unwrap_err().to_string();
        assert!(fresh.contains("no server has used"), "{fresh}");
        remember(&db, &old, SystemClock.now()).await.unwrap();
        let known = remember(&db, &grown, SystemClock.now()).await.unwrap();
        assert_eq!(known.len(), 2, "the first one counts");
        assert!(fits(&old, &known, path).is_ok() && fits(&grown, &known, path).is_ok());

        sql("DELETE FROM keyring_keys").run(&db).await.unwrap();
        let known = remember(&db, &grown, SystemClock.now()).await.unwrap();
        let refused = fits(&old, &known, path).unwrap_err().to_string();
        let newest = grown.newest(Purpose::Sealing).unwrap();
        assert!(refused.contains(&format!("lacks the sealing key {}", newest.id())), "{refused}");
        assert!(fits(&ring(9), &known, path).unwrap_err().to_string().contains("is not the one"));
    }
}
