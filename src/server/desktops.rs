//! What calls and the loop that reconciles tell each other about workspaces, workbenches and app instances.
//!
//! ```text
//! call ──► rows (wanted) + due_at + stamp ──► commit ──► Desktops::tell ──► loop and watchers of this replica, at once
//! loop ──► rows (observed)       + stamp ──► commit ──┘                 └─► the others, when they look
//! ```
//!
//! What always holds: each change of such a row is stamped in its own transaction, which also ends the sessions that an app
//! opened and that is not to run any more; stamps become visible in their order, so
//! who reads the rows above the last stamp it knows misses none.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::{
    access::sessions,
    db::{On, Tx, sql},
    error::Result,
};

/// Tells this replica that rows changed. Clones tell, and hear, the same.
#[derive(Debug, Clone)]
pub struct Desktops {
    told: watch::Sender<u64>,
}

impl Default for Desktops {
    fn default() -> Self {
        Self { told: watch::Sender::new(0) }
    }
}

impl Desktops {
    /// Something was committed.
    pub fn tell(&self) {
        self.told.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Wakes up whenever something was committed on this replica.
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }
}

/// The rows that a transaction changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Workspaces: their network policy or existence, which nobody watches.
    pub workspaces: BTreeSet<i64>,
    /// Workbenches.
    pub workbenches: BTreeSet<i64>,
    /// App instances.
    pub app_instances: BTreeSet<i64>,
}

impl Touched {
    /// Whether nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.workspaces.is_empty() && self.workbenches.is_empty() && self.app_instances.is_empty()
    }
}

/// Stamps the changed rows, and says whether sessions of apps ended with that: the last statements of the transaction, since whoever comes next waits for its end.
pub async fn stamp(tx: &mut Tx, touched: &Touched) -> Result<bool> {
    if touched.workbenches.is_empty() && touched.app_instances.is_empty() {
        return Ok(false);
    }
    let ended = sessions::end_of_apps(tx, touched).await?;
    let (version,): (i64,) =
        sql("UPDATE desktop_version SET version = version + 1 WHERE id = 1 RETURNING version").one(&mut *tx).await?;
    for (statement, ids) in [
        ("UPDATE workbenches SET version = ", &touched.workbenches),
        ("UPDATE app_instances SET version = ", &touched.app_instances),
    ] {
        if !ids.is_empty() {
            sql(statement)
                .arg(version)
                .push(" WHERE 1 = 1")
                .and_in("id", Some(ids.iter().copied()))
                .run(&mut *tx)
                .await?;
        }
    }
    Ok(ended)
}

/// The latest stamp.
pub async fn version(on: impl Into<On<'_>>) -> Result<i64> {
    let (version,): (i64,) = sql("SELECT version FROM desktop_version WHERE id = 1").one(on).await?;
    Ok(version)
}

/// What is wanted of a workbench, or of an app in it, changed: the loop looks at it at once. Whoever changes rows of app
/// instances as well does it after this: otherwise two could wait for each other.
pub async fn want_workbench(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> Result<()> {
    sql("UPDATE workbenches SET generation = generation + 1, due_at = $1, attempts = 0 WHERE id = $2")
        .bind(now)
        .bind(id)
        .run(tx)
        .await?;
    Ok(())
}

/// What is wanted of a workspace changed: the loop looks at it at once.
pub async fn want_workspace(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> Result<()> {
    sql("UPDATE workspaces SET generation = generation + 1, due_at = $1, attempts = 0 WHERE id = $2")
        .bind(now)
        .bind(id)
        .run(tx)
        .await?;
    Ok(())
}
