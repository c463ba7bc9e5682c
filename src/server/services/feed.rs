//! Watching workbenches and app instances: how things are, then each change.
//!
//! ```text
//! Desktops::tell, or every 500 ms ──► one look at desktop_version ──► newer? ──► each watcher reads its own rows
//!                                     while somebody watches                     above the stamp that it knows
//! ```
//!
//! What always holds:
//! - however many watch, one task of the process asks whether anything changed, and none when nobody watches;
//! - a watcher asks the database for what its caller may see, so it is never handed a row to throw away;
//! - it reads a page when the client took the one before, so a slow client costs a page of memory and misses no row: what
//!   changed several times meanwhile, it sees as it is now;
//! - when the server stops, every watcher ends with `SERVER_STOPPING`, so that the client opens the next one elsewhere.

use std::{
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
    vec,
};

use futures_util::stream;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::server::{
    db::{Db, Record, Sql},
    desktops,
    error::{Error, Kind, Result},
    pipeline::Items,
};

/// How often it is looked for what other replicas changed.
const EVERY: Duration = Duration::from_millis(500);
/// Changes within this time are told together.
const GATHER: Duration = Duration::from_millis(25);
/// Rows that are read at a time.
const PAGE: i64 = 200;

/// Where a row stands in the order of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The id of the row.
    pub id: i64,
    /// Its column `version`.
    pub version: i64,
    /// Whether it is deleted.
    pub deleted: bool,
}

/// A row of a table that is stamped.
pub trait Stamped: Record + 'static {
    /// Where it stands.
    fn stamp(&self) -> Stamp;
}

/// Something to tell a watcher.
#[derive(Debug)]
pub enum Event<R> {
    /// A row as it is now.
    Seen(R),
    /// A row was deleted. May come for one that was never seen, and more than once.
    Deleted(R),
    /// Every row that there was has been told.
    Current,
}

/// What all watchers of this process share.
pub struct Feed(Arc<State>);

struct State {
    db: Db,
    told: watch::Receiver<u64>,
    stop: CancellationToken,
    latest: watch::Sender<i64>,
    looks: Mutex<bool>,
}

impl Feed {
    /// A feed over this database. `told` wakes up when this process changed something; `stop` ends every watcher.
    pub fn new(db: Db, told: watch::Receiver<u64>, stop: CancellationToken) -> Self {
        let (latest, looks) = (watch::Sender::new(0), Mutex::new(false));
        Self(Arc::new(State { db, told, stop, latest, looks }))
    }

    /// Tells the rows that there are, then [`Event::Current`], then what changes.
    ///
    /// `select` begins the statement anew for each page: `SELECT … FROM workbenches WHERE tenant_id = $1 …` with the columns
    /// `id`, `version` and `deleted_at`, and no word about deleted rows, order or limit.
    pub fn watch<R: Stamped, T: Send + 'static>(
        &self,
        select: impl Fn() -> Sql<'static> + Send + 'static,
        event: impl Fn(Event<R>) -> T + Send + 'static,
    ) -> Items<T> {
        let watcher = Watcher {
            latest: self.0.join(),
            state: self.0.clone(),
            select,
            part: Part::Nothing,
            rows: Vec::new().into_iter(),
            of: PhantomData,
        };
        Box::pin(stream::try_unfold((watcher, event), |(mut watcher, event)| async move {
            let next = watcher.next().await?;
            Ok(Some((event(next), (watcher, event))))
        }))
    }
}

impl State {
    /// One more watcher. The first one makes somebody look.
    fn join(self: &Arc<Self>) -> watch::Receiver<i64> {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = self.latest.subscribe();
        if !*looks {
            *looks = true;
            tokio::spawn(self.clone().look());
        }
        latest
    }

    /// Whether nobody watches any more; then the next watcher makes somebody look again.
    fn rest(&self) -> bool {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        *looks = self.latest.receiver_count() > 0;
        !*looks
    }

    async fn look(self: Arc<Self>) {
        let mut told = self.told.clone();
        loop {
            told.mark_unchanged();
            match desktops::version(&self.db).await {
                Ok(version) => {
                    self.latest.send_if_modified(|latest| std::mem::replace(latest, version.max(*latest)) < version);
                }
                Err(error) => tracing::warn!(target: "chorus::feed", %error, "nobody can tell what changed"),
            }
            sleep(GATHER).await;
            tokio::select! {
                () = self.latest.closed() => if self.rest() { return },
                () = self.stop.cancelled() => return,
                Ok(()) = told.changed() => {}
                () = sleep(EVERY) => {}
            }
        }
    }
}

/// The rows that come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// None yet.
    Nothing,
    /// Those that there are, above this id. What changes meanwhile is told after them.
    Present { above: i64, since: i64 },
    /// None: all that there are have been told.
    Told { since: i64 },
    /// Those that changed, above this stamp and id, up to this stamp.
    Changed { above: (i64, i64), upto: i64 },
    /// None until there is a stamp above this one.
    Later { since: i64 },
}

impl Part {
    /// What to read, in order; nothing for a part without rows.
    fn narrow<'a>(self, select: Sql<'a>) -> Option<Sql<'a>> {
        let some = match self {
            Self::Nothing | Self::Told { .. } | Self::Later { .. } => return None,
            Self::Present { above, .. } => {
                select.push(" AND deleted_at IS NULL AND id > ").arg(above).push(" ORDER BY id")
            }
            Self::Changed { above: (version, id), upto } => select
                .push(" AND version >= ")
                .arg(version)
                .push(" AND version <= ")
                .arg(upto)
                .push(" AND (version > ")
                .arg(version)
                .push(" OR id > ")
                .arg(id)
                .push(") ORDER BY version, id"),
        };
        Some(some.push(" LIMIT ").arg(PAGE))
    }

    /// What comes after a page that ended with this row; nothing when it was the last page.
    fn after(self, last: Option<Stamp>) -> Self {
        match (self, last) {
            (Self::Present { since, .. }, Some(last)) => Self::Present { above: last.id, since },
            (Self::Present { since, .. }, None) => Self::Told { since },
            (Self::Changed { upto, .. }, Some(last)) => Self::Changed { above: (last.version, last.id), upto },
            (Self::Changed { upto, .. }, None) => Self::Later { since: upto },
            (part, _) => part,
        }
    }
}

struct Watcher<R, S> {
    latest: watch::Receiver<i64>,
    state: Arc<State>,
    select: S,
    part: Part,
    rows: vec::IntoIter<R>,
    of: PhantomData<R>,
}

impl<R: Stamped, S: Fn() -> Sql<'static>> Watcher<R, S> {
    async fn next(&mut self) -> Result<Event<R>> {
        loop {
            if self.state.stop.is_cancelled() {
                return Err(stopping());
            }
            if let Some(row) = self.rows.next() {
                return Ok(if row.stamp().deleted { Event::Deleted(row) } else { Event::Seen(row) });
            }
            match self.part {
                Part::Nothing => {
                    self.part = Part::Present { above: 0, since: desktops::version(&self.state.db).await? }
                }
                Part::Later { since } => {
                    let upto = self.newer(since).await?;
                    self.part = Part::Changed { above: (since, i64::MAX), upto };
                }
                Part::Told { since } => {
                    self.part = Part::Later { since };
                    return Ok(Event::Current);
                }
                Part::Present { .. } | Part::Changed { .. } => self.read().await?,
            }
        }
    }

    async fn read(&mut self) -> Result<()> {
        let Some(statement) = self.part.narrow((self.select)()) else { return Ok(()) };
        let rows: Vec<R> = statement.all(&self.state.db).await?;
        let more = rows.len() >= usize::try_from(PAGE).unwrap_or_default();
        self.part = self.part.after(rows.last().filter(|_| more).map(Stamped::stamp));
        self.rows = rows.into_iter();
        Ok(())
    }

    /// Waits for a stamp above this one.
    async fn newer(&mut self, since: i64) -> Result<i64> {
        tokio::select! {
            () = self.state.stop.cancelled() => Err(stopping()),
            // the sender lives in the state
            latest = self.latest.wait_for(|latest| *latest > since) => latest.map(|latest| *latest).map_err(|_| stopping()),
        }
    }
}

fn stopping() -> Error {
    Error::new(Kind::Unavailable, "SERVER_STOPPING", "The server stops. Open the stream again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(id: i64, version: i64) -> Option<Stamp> {
        Some(Stamp { id, version, deleted: false })
    }

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        let present = Part::Present { above: 0, since: 9 };
        assert_eq!(present.after(last(200, 4)), Part::Present { above: 200, since: 9 });
        assert_eq!(present.after(None), Part::Told { since: 9 }, "whatever changed while they were read is read again");
        let changed = Part::Changed { above: (9, i64::MAX), upto: 12 };
        assert_eq!(changed.after(last(7, 11)), Part::Changed { above: (11, 7), upto: 12 });
        assert_eq!(changed.after(None), Part::Later { since: 12 });
    }
}
