//! `chorus secrets`: the keyring and what is sealed with it. Prints ids, never keys.

use std::process::ExitCode;

use anyhow::{Result, bail};
use chrono::{SecondsFormat, TimeDelta};
use clap::Subcommand;

use super::{ConfigArgs, load, print, say, serve::install_tls};
use crate::server::{
    clock::SystemClock,
    config::Config,
    db::{Db, Options},
    random::SystemRandom,
    rotation::{self, Report, Rotation, State, Status, Wish},
};

/// `chorus secrets …`
#[derive(Debug, Subcommand)]
pub enum SecretsCommand {
    /// Replace the keys that sign session tokens and seal secrets, and seal everything anew
    ///
    /// Servers may run meanwhile, and nobody has to sign in again. Keys of earlier rotations are dropped when nothing is
    /// sealed with them and the sessions of their time are over. After an interruption, run it again: it finishes the work.
    Rotate {
        /// Only add the new keys to the file: copy it to every other server, then run this again without --prepare
        #[arg(long)]
        prepare: bool,
        /// Make no new keys, but drop the retired ones now; sessions whose tokens they signed end
        #[arg(long, conflicts_with = "prepare")]
        drop_old: bool,
        /// The configuration
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Show the keys: their ids, what they are for, since when, and how many values each seals
    Status {
        /// The configuration
        #[command(flatten)]
        config: ConfigArgs,
    },
}

impl SecretsCommand {
    /// Runs the command.
    pub(super) fn run(self) -> Result<ExitCode> {
        let args = match &self {
            Self::Rotate { config, .. } | Self::Status { config } => config,
        };
        let config = load(args)?.config;
        install_tls()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let db = open(&config).await?;
            let done = match self {
                Self::Rotate { prepare: true, .. } => rotate(&config, &db, Wish::Prepare).await,
                Self::Rotate { drop_old: true, .. } => rotate(&config, &db, Wish::DropOld).await,
                Self::Rotate { .. } => rotate(&config, &db, Wish::Rotate).await,
                Self::Status { .. } => rotation::status(&db, &config.keys).await.and_then(|all| print(&table(&all))),
            };
            db.close().await;
            done
        })
    }
}

/// The database, which must be there and current: opening an SQLite file would make it.
async fn open(config: &Config) -> Result<Db> {
    if !config.keys.exists() {
        bail!("there is no keyring at {}; name it with --keys", config.keys.display());
    }
    let options = Options { max_connections: 2, ..Options::default() };
    let db = Db::open(config.database_url.expose(), &options).await?;
    match db.pending_migrations().await?.is_empty() {
        true => Ok(db),
        false => bail!("the database is not current; run `chorus migrate`"),
    }
}

async fn rotate(config: &Config, db: &Db, wish: Wish) -> Result<ExitCode> {
    let rotation = Rotation {
        db,
        path: &config.keys,
        session_max_lifetime: TimeDelta::from_std(config.session_max_lifetime)?,
        random: &SystemRandom,
        clock: &SystemClock,
        after: &|_| Ok(()),
    };
    let report = rotation.run(wish).await?;
    print(&told(&report, wish))?;
    for (place, why) in &report.broken {
        say(&format!("chorus: {} {} of {}: {why}", place.column.table, place.column.name, place.row));
    }
    Ok(if report.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(report: &Report, wish: Wish) -> String {
    let mut text = String::new();
    let mut line = |words: String| text.push_str(&(words + "\n"));
    if report.resumed {
        line("an interrupted rotation is finished; run this again for new keys".to_owned());
    }
    if wish == Wish::Prepare {
        match report.made.is_empty() {
            true => line("the new keys are in the file already".to_owned()),
            false => {
                report.made.iter().for_each(|key| line(format!("prepared {} {}", key.purpose().as_str(), key.id())))
            }
        }
        line("copy the keyring to every other server, then run `chorus secrets rotate`".to_owned());
        return text;
    }
    report.activated.iter().for_each(|key| line(format!("active {} {}", key.purpose().as_str(), key.id())));
    if wish == Wish::Rotate {
        line(format!("sealed anew: {}", report.resealed));
    }
    report.dropped.iter().for_each(|id| line(format!("dropped {id}")));
    if wish == Wish::DropOld && report.dropped.is_empty() {
        line("there is no key to drop".to_owned());
    }
    if !report.made.is_empty() {
        line("the keyring has changed: keep a copy of it in a safe place".to_owned());
    }
    text
}

fn table(all: &[Status]) -> String {
    let mut text = format!("{:<16}  {:<13}  {:<8}  {:<20}  SEALS\n", "ID", "PURPOSE", "STATE", "SINCE");
    for key in all {
        let state = match key.state {
            State::Active => "active",
            State::Retired => "retired",
            State::Prepared => "prepared",
            State::Unused => "unused",
            State::Missing => "missing",
        };
        let since = key.since.to_rfc3339_opts(SecondsFormat::Secs, true);
        let seals = key.seals.map(|seals| seals.to_string()).unwrap_or_default();
        let line = format!("{:<16}  {:<13}  {state:<8}  {since:<20}  {seals}", key.id, key.purpose);
        text += line.trim_end();
        text.push('\n');
    }
    text
}
