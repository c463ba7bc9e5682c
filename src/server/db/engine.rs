//! Opening a database and keeping its connections.
//!
//! SQLite has one writer at a time, so writing statements queue for one connection instead of fighting for the lock; readers
//! have connections of their own and never wait. Connections of readers open when they are first needed, to start fast.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path, str::FromStr, time::Duration};

use sqlx::{
    Connection, PgPool, Postgres, SqlitePool, Transaction,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{DbError, Result, Tx, sql};

/// A database with its connections. Clones share them.
#[derive(Debug, Clone)]
pub struct Db(pub(super) Pools);

#[derive(Debug, Clone)]
pub(super) enum Pools {
    Sqlite { read: SqlitePool, write: SqlitePool },
    Postgres(PgPool),
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Embedded, one file.
    Sqlite,
    /// A server, shared by replicas.
    Postgres,
}

impl Engine {
    /// The name as its makers write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// How to use the database.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most connections to PostgreSQL.
    pub max_connections: u32,
    /// The most connections that read from SQLite; each costs about a megabyte when used.
    pub readers: u32,
    /// How long a call waits for a connection, or for a lock of SQLite, until it fails as unavailable.
    pub acquire_timeout: Duration,
    /// How long one statement may run on PostgreSQL.
    pub statement_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 16,
            readers: 4,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
        }
    }
}

/// Open connections, for gauges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStats {
    /// All of them.
    pub connections: u64,
    /// Those that nobody uses at the moment.
    pub idle: u64,
}

impl PoolStats {
    /// From the counters of a pool. They move one after the other, so for a moment that of the idle connections may be below
    /// zero, which wraps to a number that no pool has.
    fn new(size: u32, idle: usize) -> Self {
        Self { connections: size.into(), idle: u32::try_from(idle).map_or(0, |idle| idle.min(size)).into() }
    }
}

const URL_HELP: &str = "Use sqlite:<path> or postgres://<user>@<host>/<database> as database URL.";

impl Db {
    /// Opens `sqlite:<path>` (created when missing, readable by its owner only) or `postgres://…`.
    ///
    /// # Errors
    /// [`DbError::Url`] without repeating the URL, which may hold a password; [`DbError::Unavailable`] when nobody answers.
    pub async fn open(url: &str, options: &Options) -> Result<Self> {
        match url.split_once(':') {
            Some(("postgres" | "postgresql", _)) => Self::postgres(url, options).await,
            Some(("sqlite", ":memory:")) => Self::memory().await,
            Some(("sqlite", path)) if !path.trim_start_matches("//").is_empty() => {
                Self::sqlite(Path::new(path.strip_prefix("//").unwrap_or(path)), options).await
            }
            _ => Err(DbError::Url(URL_HELP.to_owned())),
        }
    }

    /// A migrated database in memory that lives as long as its clones. It has one connection, so while a [`Tx`] is open,
    /// statements must run on that.
    pub async fn memory() -> Result<Self> {
        let options = sqlite_options(&Options::default()).in_memory(true).filename(":memory:");
        let pool = writer(&Options::default()).connect_with(options).await?;
        let db = Self(Pools::Sqlite { read: pool.clone(), write: pool });
        db.migrate().await?;
        Ok(db)
    }

    async fn sqlite(path: &Path, options: &Options) -> Result<Self> {
        create_private(path)?;
        let connect = sqlite_options(options).filename(path);
        let write = writer(options).connect_with(connect.clone()).await?;
        let read = SqlitePoolOptions::new()
            .max_connections(options.readers)
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .max_lifetime(None)
            .connect_lazy_with(connect.pragma("query_only", "ON"));
        Ok(Self(Pools::Sqlite { read, write }))
    }

    async fn postgres(url: &str, options: &Options) -> Result<Self> {
        let timeout = |limit: Duration| format!("{}ms", limit.as_millis());
        let connect = PgConnectOptions::from_str(url)
            .map_err(|_| DbError::Url(URL_HELP.to_owned()))?
            .application_name("chorus")
            .options([
                ("statement_timeout", timeout(options.statement_timeout)),
                // a replica that hangs or is cut off must not keep its locks
                ("idle_in_transaction_session_timeout", timeout(options.statement_timeout)),
                ("timezone", "UTC".to_owned()),
            ]);
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                // a round trip for every statement would double its time; one for a connection that may have died does not
                Box::pin(async move {
                    if meta.idle_for > Duration::from_secs(2) {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(connect)
            .await?;
        Ok(Self(Pools::Postgres(pool)))
    }

    /// Which database this is.
    pub fn engine(&self) -> Engine {
        match self.0 {
            Pools::Sqlite { .. } => Engine::Sqlite,
            Pools::Postgres(_) => Engine::Postgres,
        }
    }

    /// Begins a transaction. It is rolled back unless [`Tx::commit`] succeeds.
    ///
    /// On SQLite it excludes other writers from the start. On PostgreSQL (READ COMMITTED) it does not: state conditions in
    /// the statements, or take a [`Tx::lock`].
    pub async fn transaction(&self) -> Result<Tx> {
        Ok(match &self.0 {
            // begun as a reader, it could fail half-way when it first writes
            Pools::Sqlite { write, .. } => Tx::sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
            Pools::Postgres(pool) => Tx::postgres(begin(pool.acquire().await?).await?),
        })
    }

    /// The version of the database, such as `15.8`.
    pub async fn server_version(&self) -> Result<String> {
        let text = match self.engine() {
            Engine::Sqlite => "SELECT sqlite_version()",
            Engine::Postgres => "SELECT current_setting('server_version')",
        };
        let (version,): (String,) = sql(text).one(self).await?;
        // packagers append their own version
        Ok(version.split(' ').next().unwrap_or_default().to_owned())
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        sql("SELECT 1").run(self).await.map(drop)
    }

    /// The connections that are open now.
    pub fn pool_stats(&self) -> PoolStats {
        match &self.0 {
            // the database in memory has one pool for both
            Pools::Sqlite { read, write } if read.options().get_max_connections() == 1 => {
                PoolStats::new(write.size(), write.num_idle())
            }
            Pools::Sqlite { read, write } => {
                let (read, write) =
                    (PoolStats::new(read.size(), read.num_idle()), PoolStats::new(write.size(), write.num_idle()));
                PoolStats { connections: read.connections + write.connections, idle: read.idle + write.idle }
            }
            Pools::Postgres(pool) => PoolStats::new(pool.size(), pool.num_idle()),
        }
    }

    /// Waits for running statements, then closes all connections. SQLite folds its log into the file.
    pub async fn close(&self) {
        match &self.0 {
            Pools::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

/// Begins a transaction to its end, also when nobody waits for it any more: a `BEGIN` that is abandoned half-way would
/// return its connection to the pool within a transaction. This one is dropped as a transaction, which rolls back.
async fn begin(connection: PoolConnection<Postgres>) -> Result<Transaction<'static, Postgres>> {
    let begun = tokio::spawn(Transaction::begin(connection, None)).await;
    begun.map_err(|error| DbError::Fault(format!("BEGIN did not finish: {error}")))?.map_err(DbError::from)
}

fn sqlite_options(options: &Options) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .journal_mode(SqliteJournalMode::Wal)
        // NORMAL would lose acknowledged commits when the machine loses power
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // the name that PostgreSQL has for it, so that statements can ask for this order
        .collation("C", |a, b| a.cmp(b))
        .busy_timeout(options.acquire_timeout)
        // KiB, negative by SQLite's convention
        .pragma("cache_size", "-1024")
        .thread_name(|id| format!("sqlite-{id}"))
}

/// One connection that stays: closing the last one would fold the log into the file each time.
fn writer(options: &Options) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// Creates the file when missing, for its owner only; SQLite gives its `-wal` and `-shm` files the same mode.
fn create_private(path: &Path) -> Result<()> {
    match OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(DbError::Url(format!("The database file {} cannot be opened: {error}.", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_are_caught_in_between() {
        for (size, idle, expected) in [(5, 2, 2), (5, 5, 5), (5, 6, 5), (5, usize::MAX, 0), (0, usize::MAX, 0)] {
            assert_eq!(PoolStats::new(size, idle), PoolStats { connections: size.into(), idle: expected });
        }
    }
}
