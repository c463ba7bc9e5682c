//! `chorus migrate`: the schema without the server, for a deployment that changes it in a step of its own.

use std::{path::Path, process::ExitCode};

use super::{ConfigArgs, load, print, serve::install_tls};
use crate::server::{
    config::Config,
    db::{Db, Options, Pending},
};

/// Runs the pending migrations; with `check`, only tells which they are, and fails when there are any.
pub(super) fn migrate(args: &ConfigArgs, check: bool) -> anyhow::Result<ExitCode> {
    let config = load(args)?.config;
    install_tls()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(&config, check))
}

async fn run(config: &Config, check: bool) -> anyhow::Result<ExitCode> {
    let url = config.database_url.expose();
    // opening an SQLite file makes it, and a check must leave no traces
    if check
        && let Some(file) = url.strip_prefix("sqlite:")
        && !Path::new(file.trim_start_matches("//")).exists()
    {
        print(&format!("there is no database {}: all migrations are pending\n", config.database_url))?;
        return Ok(ExitCode::FAILURE);
    }
    if !check {
        config.create_data_dir()?;
    }
    let db = Db::open(url, &Options { max_connections: 1, ..Options::default() }).await?;
    let done = if check { db.pending_migrations().await } else { db.migrate().await };
    db.close().await;
    let migrations = done?;
    print(&report(&migrations, check))?;
    Ok(if check && !migrations.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn report(migrations: &[Pending], check: bool) -> String {
    let word = if check { "pending" } else { "applied" };
    match migrations {
        [] => "the database schema is up to date\n".to_owned(),
        some => some.iter().map(|one| format!("{word}: {} {}\n", one.version, one.description)).collect(),
    }
}
