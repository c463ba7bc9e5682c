//! Bringing the schema up to date.
//!
//! The files in `migrations/` are part of the program, are written for PostgreSQL, and need a few words replaced for SQLite.
//! All that are pending run in one transaction under one lock: any number of servers may start at once on either engine, and
//! a server that dies in between leaves the old schema. When nothing is pending, two small reads tell so.

use sqlx::{
    AssertSqlSafe, SqlSafeStr,
    migrate::{MigrateError, Migration, Migrator},
};

use super::{Db, DbError, Engine, Result, sql, tx::Inner};

/// A migration that this program has and the database does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The number of the file.
    pub version: i64,
    /// The name of the file, in words.
    pub description: String,
}

/// The words that differ.
const SQLITE_WORDS: [(&str, &str); 5] = [
    ("BIGSERIAL PRIMARY KEY", "INTEGER PRIMARY KEY AUTOINCREMENT"),
    ("TIMESTAMPTZ", "TIMESTAMP"),
    ("JSONB", "TEXT"),
    ("BYTEA", "BLOB"),
    // comparing bytes is what SQLite does without being told
    (" COLLATE \"C\"", ""),
];

impl Db {
    /// Runs the pending migrations; returns those that it ran.
    ///
    /// # Errors
    /// [`DbError::Schema`] when a newer program migrated this database, or an old migration was edited.
    pub async fn migrate(&self) -> Result<Vec<Pending>> {
        let pending = self.pending_migrations().await?;
        if pending.is_empty() {
            return Ok(pending);
        }
        let mut migrator = migrations(self.engine());
        // the transaction holds a lock of its own; sqlx has none for SQLite, and for PostgreSQL one that outlives a failure
        migrator.set_locking(false);
        let mut tx = self.transaction().await?;
        if self.engine() == Engine::Postgres {
            // both limits would count the wait for another server that migrates
            sql("SET LOCAL statement_timeout = 0").run(&mut tx).await?;
            sql("SET LOCAL idle_in_transaction_session_timeout = 0").run(&mut tx).await?;
        }
        tx.lock("chorus.migrations").await?;
        match &mut tx.inner {
            Inner::Sqlite(tx) => migrator.run_direct(None, &mut **tx, false).await.map_err(failed)?,
            Inner::Postgres(tx) => migrator.run_direct(None, &mut **tx, false).await.map_err(failed)?,
        }
        tx.commit().await?;
        Ok(pending)
    }

    /// The migrations that this database lacks.
    ///
    /// # Errors
    /// [`DbError::Schema`] as for [`Db::migrate`].
    pub async fn pending_migrations(&self) -> Result<Vec<Pending>> {
        let exists = sql(match self.engine() {
            Engine::Sqlite => "SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations'",
            Engine::Postgres => "SELECT 1 WHERE to_regclass('_sqlx_migrations') IS NOT NULL",
        });
        let exists: Option<(i32,)> = exists.maybe(self).await?;
        let applied: Vec<(i64, Vec<u8>)> = if exists.is_none() {
            Vec::new()
        } else {
            sql("SELECT version, checksum FROM _sqlx_migrations ORDER BY version").all(self).await?
        };
        let known = migrations(self.engine());
        for (version, checksum) in &applied {
            match known.iter().find(|migration| migration.version == *version) {
                None => return Err(failed(MigrateError::VersionMissing(*version))),
                Some(migration) if *migration.checksum != **checksum => {
                    return Err(failed(MigrateError::VersionMismatch(*version)));
                }
                Some(_) => {}
            }
        }
        Ok(known
            .iter()
            .filter(|migration| applied.iter().all(|(version, _)| *version != migration.version))
            .map(|migration| Pending { version: migration.version, description: migration.description.to_string() })
            .collect())
    }
}

/// The migrations in the words of this engine.
fn migrations(engine: Engine) -> Migrator {
    let all: Migrator = sqlx::migrate!("./migrations");
    match engine {
        Engine::Postgres => all,
        Engine::Sqlite => Migrator::with_migrations(all.iter().map(for_sqlite).collect()),
    }
}

fn for_sqlite(migration: &Migration) -> Migration {
    let text = SQLITE_WORDS.iter().fold(migration.sql.as_str().to_owned(), |text, (from, to)| text.replace(from, to));
    Migration::new(
        migration.version,
        migration.description.clone(),
        migration.migration_type,
        // our own files, compiled in
        AssertSqlSafe(text).into_sql_str(),
        migration.no_tx,
    )
}

fn failed(error: MigrateError) -> DbError {
    match error {
        MigrateError::VersionMissing(version) => DbError::Schema(format!(
            "This database has migration {version}, which this chorus does not know: a newer chorus used it. Start that one, or restore a backup."
        )),
        MigrateError::VersionMismatch(version) => DbError::Schema(format!(
            "Migration {version} of this database differs from the one in this chorus. Start the chorus that made the database, or begin with an empty one."
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        error => DbError::Fault(error.to_string()),
    }
}
