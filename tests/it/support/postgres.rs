//! A throw-away PostgreSQL, shared by all tests of a run.
//!
//! `cargo test` runs all tests in one process, `cargo nextest` each in its own: so the cluster belongs to the parent of the test
//! process, which is the run. The first test starts it under a file lock, the others find it; a shell in the background waits
//! for the run to end, however it ends, and removes everything. Servers listen on a Unix socket in the temporary folder
//! only, so no port is taken and nobody else can connect.

use std::{
    env, fs,
    fs::{File, Permissions},
    io::{self, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::{CommandExt, parent_id},
    },
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use chorus::server::db::{Db, Options};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::sync::OnceCell;

/// What a fresh database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Empty,
    /// The current schema.
    Migrated,
}

/// The URL of a fresh database; none, with a printed reason, when there is no server to start.
pub async fn database(content: Content) -> Option<String> {
    static CLUSTER: OnceCell<Result<Cluster, String>> = OnceCell::const_new();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    match CLUSTER.get_or_init(Cluster::of_this_run).await {
        Ok(cluster) => {
            let name = format!("it_{}_{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
            let template = if content == Content::Migrated { TEMPLATE } else { "template0" };
            cluster.create(&name, template).await.unwrap();
            Some(cluster.url(&name))
        }
        Err(reason) if env::var("CHORUS_TEST_POSTGRES").is_ok_and(|value| value == "require") => {
            panic!("CHORUS_TEST_POSTGRES=require, but {reason}")
        }
        Err(reason) => {
            println!("SKIPPED on PostgreSQL: {reason}");
            None
        }
    }
}

/// Everything that the database holds, as text.
pub async fn dump(url: &str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'";
    let tables: Vec<(String,)> = sqlx::query_as(tables).fetch_all(&mut connection).await.unwrap();
    let mut text = String::new();
    for (table,) in tables {
        let rows = AssertSqlSafe(format!(r#"SELECT CAST(t AS TEXT) FROM "{table}" t"#));
        let rows: Vec<(String,)> = sqlx::query_as(rows).fetch_all(&mut connection).await.unwrap();
        rows.into_iter().for_each(|(row,)| text.extend([row, "\n".to_owned()]));
    }
    connection.close().await.unwrap();
    text
}

const TEMPLATE: &str = "chorus_template";

/// Nothing here is worth a disk access, and tests open many connections.
const SETTINGS: &str = "
listen_addresses = ''
max_connections = 300
shared_buffers = 32MB
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
autovacuum = off
";

/// Waits for process $1 to end, then stops the server in $2 and removes the files $2 and $3.
const WATCHDOG: &str = r#"
while kill -0 "$1"; do sleep 1; done
server=$(head -n 1 "$2/data/postmaster.pid")
kill -QUIT "$server"
tries=0
while kill -0 "$server" && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
rm -rf "$2" "$3"
"#;

struct Cluster {
    dir: PathBuf,
}

impl Cluster {
    async fn of_this_run() -> Result<Self, String> {
        let Some(bin) = server_binaries() else {
            return Err("found no initdb: install the server (Debian: apt install postgresql, macOS: brew install \
                        postgresql), or put its bin folder on PATH"
                .to_owned());
        };
        // short, since the path of a socket has at most 107 bytes
        let dir = env::temp_dir().join(format!("chorus-it-{}", parent_id()));
        let lock_path = dir.with_extension("lock");
        let lock = File::create(&lock_path).map_err(|e| format!("cannot create {}: {e}", lock_path.display()))?;
        lock.lock().map_err(|e| format!("cannot lock {}: {e}", lock_path.display()))?;

        let cluster = Self { dir };
        let ready = cluster.dir.join("ready");
        // a folder without an answering server was left by a run that was killed together with its watchdog
        if !(ready.exists() && PgConnection::connect(&cluster.url("postgres")).await.is_ok()) {
            cluster
                .start(&bin, &lock_path)
                .map_err(|e| format!("cannot start the server of {}: {e}", bin.display()))?;
            cluster.create_template().await.map_err(|e| format!("cannot prepare the template: {e}"))?;
            File::create(ready).map_err(|e| e.to_string())?;
        }
        Ok(cluster)
    }

    fn start(&self, bin: &Path, lock: &Path) -> io::Result<()> {
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        fs::create_dir(&self.dir)?;
        fs::set_permissions(&self.dir, Permissions::from_mode(0o700))?;
        self.watch(lock)?;

        // the server refuses to run as root
        let owner = if fs::metadata(&self.dir)?.uid() == 0 { Some(unprivileged()?) } else { None };
        if let Some((uid, gid)) = owner {
            chown(&self.dir, Some(uid), Some(gid))?;
        }
        let data = self.dir.join("data");
        let tool = |name: &str| {
            let mut command = Command::new(bin.join(name));
            command.arg("-D").arg(&data).current_dir(&self.dir).stdin(Stdio::null());
            if let Some((uid, gid)) = owner {
                command.uid(uid).gid(gid);
            }
            command
        };
        let initdb = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"];
        // a locale that does not compare bytes shows where COLLATE "C" is missing; some builds have none
        finish(tool("initdb").args(initdb).args(["--locale-provider=icu", "--icu-locale=en-US"])).or_else(|_| {
            if data.exists() {
                fs::remove_dir_all(&data)?;
            }
            finish(tool("initdb").args(initdb))
        })?;
        let mut settings = File::options().append(true).open(data.join("postgresql.conf"))?;
        writeln!(settings, "{SETTINGS}unix_socket_directories = '{}'", self.dir.display())?;
        finish(tool("pg_ctl").arg("-l").arg(self.dir.join("log")).args(["-w", "-t", "60", "start"]))
    }

    /// In a process group of its own, and without our output: a runner neither ends it with a test nor waits for it.
    fn watch(&self, lock: &Path) -> io::Result<()> {
        let mut shell = Command::new("sh");
        shell.args(["-c", WATCHDOG, "watchdog"]).arg(parent_id().to_string()).arg(&self.dir).arg(lock);
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn()?;
        Ok(())
    }

    async fn create_template(&self) -> Result<(), Box<dyn std::error::Error>> {
        self.create(TEMPLATE, "template0").await?;
        let db = Db::open(&self.url(TEMPLATE), &Options::default()).await?;
        db.migrate().await?;
        db.close().await;
        Ok(())
    }

    async fn create(&self, name: &str, template: &str) -> sqlx::Result<()> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}"))).await?;
        connection.close().await
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.dir.display())
    }
}

/// The folder with the programs of the newest server, else of the one on PATH.
fn server_binaries() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_name()?.to_str()?.parse().ok()?, path.join("bin")))
        })
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = versions.into_iter().map(|(_, path)| path).chain(env::split_paths(&path));
    folders.find(|folder| ["initdb", "pg_ctl", "postgres"].iter().all(|name| folder.join(name).is_file()))
}

/// User and group id of an account for servers.
fn unprivileged() -> io::Result<(u32, u32)> {
    let accounts = fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        let mut fields = accounts.lines().find(|line| line.split(':').next() == Some(name))?.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres")
        .or_else(|| find("nobody"))
        .ok_or_else(|| io::Error::other("there is no account postgres or nobody"))
}

fn finish(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{:?}: {} {}", command.get_program(), output.status, text.trim())))
}
