//! What several integration tests share: databases of both engines, the running server in this process and as the binary,
//! the contract by reflection, generated files.

pub mod binary;
#[allow(dead_code, reason = "a harness also offers what the next test needs")]
pub mod chromium;
#[allow(dead_code, reason = "a harness also offers what the next test needs")]
pub mod cluster;
pub mod contract;
pub mod golden;
pub mod postgres;
#[allow(dead_code, reason = "a harness also offers what the next test needs")]
pub mod runtime;
#[allow(dead_code, reason = "a harness also offers what the next test needs")]
pub mod server;
pub mod totp;
#[allow(dead_code, reason = "a harness also offers what the next test needs")]
pub mod websocket;
pub mod wire;

use chorus::server::db::{Db, Engine, Options};
use tempfile::TempDir;

/// A database of this test alone. The file goes with it; databases of PostgreSQL go with the test run.
pub struct Database {
    /// What `--database-url` takes.
    pub url: String,
    /// Which engine runs it.
    pub engine: Engine,
    /// Where the file is.
    _dir: Option<TempDir>,
}

impl Database {
    /// An empty SQLite database in a folder of its own.
    pub fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            url: format!("sqlite:{}", dir.path().join("chorus.db").display()),
            engine: Engine::Sqlite,
            _dir: Some(dir),
        }
    }

    /// An empty PostgreSQL database; none (with a printed reason) when there is no server to start.
    pub async fn postgres() -> Option<Self> {
        let url = postgres::database(postgres::Content::Empty).await?;
        Some(Self { url, engine: Engine::Postgres, _dir: None })
    }

    /// Empty databases of all engines there are.
    pub async fn each() -> Vec<Self> {
        [Some(Self::sqlite()), Self::postgres().await].into_iter().flatten().collect()
    }

    /// Opens it as the server would.
    pub async fn open(&self) -> Db {
        Db::open(&self.url, &Options::default()).await.unwrap()
    }
}

/// Runs the body on a fresh, migrated database of each engine.
pub async fn each_engine<F: Future<Output = ()>>(body: impl Fn(Db) -> F) {
    let sqlite = Database::sqlite();
    let postgres = postgres::database(postgres::Content::Migrated).await;
    let postgres = postgres.map(|url| Database { url, engine: Engine::Postgres, _dir: None });
    for database in [Some(sqlite), postgres].into_iter().flatten() {
        println!("on {}", database.engine.name());
        let db = database.open().await;
        db.migrate().await.unwrap();
        body(db.clone()).await;
        db.close().await;
    }
}
