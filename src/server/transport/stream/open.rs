//! The streams that are open, and why they end.
//!
//! Streams of one credential to one workbench form a group with one [`End`]. One task looks at all groups, however many
//! streams there are: it asks the sessions whether the caller may still do this, and the database whether desktops were
//! stopped, but for the latter only when something about desktops changed. What always holds: a stream that is in the
//! books before its right was read ends within a second of the right, since a change is either seen by that reading or by
//! the next look; nobody holds so many streams that others get none.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::super::listen::MAX_CONNECTIONS;
use crate::server::{
    access::{
        caller::{Caller, Credential},
        catalogue::{Dimension, Permission},
        stream_pass::Maker,
    },
    db::{Db, sql},
    desktops,
    error::{Error, Kind, Result},
    pipeline::Shared,
    telemetry,
};

/// How often the groups are looked at. With the version check behind it (700 ms) a right is lost within a second.
const EVERY: Duration = Duration::from_millis(250);
/// How long streams go on while the database does not answer. Nothing new is let in meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long streams have to say goodbye when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// The most streams that one user has open.
const MOST_OF_ONE_USER: usize = 512;

/// Why a stream was ended by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The session, the API token or the role is gone.
    Access,
    /// The desktop was stopped or deleted.
    Desktop,
    /// The server stops.
    Server,
}

impl Why {
    /// What a WebSocket is told (RFC 6455, section 7.4.1): a policy, or going away.
    pub const fn close(self) -> (u16, &'static str) {
        match self {
            Self::Access => (1008, "ACCESS_ENDED"),
            Self::Desktop => (1001, "WORKBENCH_STOPPED"),
            Self::Server => (1001, "SERVER_STOPPING"),
        }
    }
}

/// The end of a group of streams, which comes once.
#[derive(Debug, Default)]
pub struct End {
    token: CancellationToken,
    why: OnceLock<Why>,
    /// Somebody did something in one of the desktops since the last look.
    used: AtomicBool,
}

impl End {
    fn come(&self, why: Why) {
        let _ = self.why.set(why);
        self.token.cancel();
    }

    #[cfg(test)]
    pub(super) fn come_for_tests(&self, why: Why) {
        self.come(why);
    }

    /// Somebody does something: that is use of the session as well.
    pub fn put_off(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    /// Waits for it.
    pub async fn comes(&self) -> Why {
        self.token.cancelled().await;
        self.why.get().copied().unwrap_or(Why::Server)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    credential: Arc<str>,
    is_token: bool,
    workbench: i64,
}

struct Group {
    caller: Arc<Caller>,
    end: Arc<End>,
    streams: usize,
}

/// The open streams of this server.
pub struct Open {
    shared: Arc<Shared>,
    db: Db,
    groups: Mutex<HashMap<Key, Group>>,
    places: Arc<Semaphore>,
    /// Somebody came or went.
    moved: Notify,
    stop: CancellationToken,
}

/// A place in the books, for as long as the stream is open.
pub struct Lease {
    key: Key,
    end: Arc<End>,
    open: Arc<Open>,
    _place: OwnedSemaphorePermit,
}

impl Lease {
    /// The end of this stream.
    pub fn end(&self) -> &Arc<End> {
        &self.end
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut groups = self.open.groups();
        if let Some(group) = groups.get_mut(&self.key).filter(|group| Arc::ptr_eq(&group.end, &self.end)) {
            group.streams -= 1;
            if group.streams == 0 {
                groups.remove(&self.key);
            }
        }
        drop(groups);
        self.open.moved.notify_waiters();
    }
}

impl Open {
    /// No streams yet.
    pub fn new(shared: Arc<Shared>, db: Db) -> Arc<Self> {
        Arc::new(Self {
            shared,
            db,
            groups: Mutex::default(),
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            moved: Notify::new(),
            stop: CancellationToken::new(),
        })
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<Key, Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a stream of this caller in the books. To be called before the workbench is read.
    ///
    /// # Errors
    /// When the server stops, or there are too many streams.
    pub fn enter(self: &Arc<Self>, caller: &Arc<Caller>, workbench: i64) -> Result<Lease> {
        let full = |text| Error::new(Kind::Exhausted, "TOO_MANY_STREAMS", text).retry_after(Duration::from_secs(10));
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| full("This server has as many streams open as it takes. Try again later."))?;
        let (credential, is_token) = match caller.credential() {
            Credential::Session { id, .. } => (id.clone(), false),
            Credential::Kiosk(kiosk) => (kiosk.session.clone(), false),
            Credential::Token(token) => (token.public_id.clone(), true),
            Credential::Visitor => return Err(Error::internal("a visitor has no streams")),
        };
        let key = Key { credential, is_token, workbench };
        let mut groups = self.groups();
        if self.stop.is_cancelled() {
            return Err(Error::new(Kind::Unavailable, "SERVER_STOPPING", "The server is stopping."));
        }
        let of_user = groups.values().filter(|group| group.caller.id() == caller.id()).map(|group| group.streams);
        if of_user.sum::<usize>() >= MOST_OF_ONE_USER {
            return Err(full("You have as many streams open as one user may. Close some pages."));
        }
        if groups.get(&key).is_some_and(|group| group.end.token.is_cancelled()) {
            groups.remove(&key);
        }
        let fresh = || Group { caller: caller.clone(), end: Arc::default(), streams: 0 };
        let group = groups.entry(key.clone()).or_insert_with(fresh);
        group.streams += 1;
        let end = group.end.clone();
        drop(groups);
        self.moved.notify_waiters();
        Ok(Lease { key, end, open: self.clone(), _place: place })
    }

    /// How many streams are open.
    pub fn count(&self) -> usize {
        self.groups().values().map(|group| group.streams).sum()
    }

    /// Ends streams whose right is gone, until the server stops. Without streams it asks nobody anything.
    pub async fn watch(self: Arc<Self>) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = self.shared.desktops.listen();
        let mut looked = Looked { version: None, answered: Instant::now() };
        while !self.stop.is_cancelled() {
            let moved = self.moved.notified();
            let open = self.count();
            telemetry::streams_open(open);
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = moved, if open == 0 => looked = Looked { version: None, answered: Instant::now() },
                _ = tick.tick(), if open > 0 => self.look(&mut looked).await,
                changed = told.changed(), if open > 0 => match changed {
                    Ok(()) => self.look(&mut looked).await,
                    Err(_) => return,
                },
            }
        }
    }

    async fn look(&self, looked: &mut Looked) {
        let groups: Vec<_> =
            self.groups().iter().map(|(key, g)| (key.workbench, g.caller.clone(), g.end.clone())).collect();
        match self.look_at(&groups, looked).await {
            Ok(()) => looked.answered = Instant::now(),
            Err(error) if looked.answered.elapsed() < PATIENCE => {
                tracing::debug!(target: "chorus::stream", reason = error.reason(), "rights could not be checked");
            }
            Err(error) => {
                tracing::warn!(target: "chorus::stream", reason = error.reason(), "rights cannot be checked: streams end");
                groups.iter().for_each(|(_, _, end)| end.come(Why::Access));
            }
        }
    }

    async fn look_at(&self, groups: &[(i64, Arc<Caller>, Arc<End>)], looked: &mut Looked) -> Result<()> {
        let now = self.shared.clock.now();
        for (workbench, caller, end) in groups {
            let used = caller.session().filter(|_| end.used.swap(false, Ordering::Relaxed));
            let found = match used {
                Some(session) => self.shared.sessions.behind(&Maker::Session(session.to_string()), None, now).await,
                None => self.shared.sessions.again(caller, now).await,
            };
            let may = match found {
                Ok(caller) => caller.may(Permission::StreamWorkbench, Some((Dimension::Workbench, *workbench))),
                Err(error) if error.kind() == Kind::Unauthenticated => false,
                Err(error) => return Err(error),
            };
            if !may {
                end.come(Why::Access);
            }
        }
        let version = desktops::version(&self.db).await?;
        if looked.version != Some(version) {
            let running = self.running(groups.iter().map(|(workbench, ..)| *workbench).collect()).await?;
            for (_, _, end) in groups.iter().filter(|(workbench, ..)| !running.contains(workbench)) {
                end.come(Why::Desktop);
            }
            looked.version = Some(version);
        }
        Ok(())
    }

    /// Those of these workbenches that are wanted to run.
    async fn running(&self, workbenches: HashSet<i64>) -> Result<HashSet<i64>> {
        let rows: Vec<(i64,)> = sql("SELECT id FROM workbenches WHERE wanted = 'running' AND deleted_at IS NULL")
            .and_in("id", Some(workbenches))
            .all(&self.db)
            .await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// Ends every stream and waits a moment for them to say so.
    pub async fn stop(&self) {
        {
            let groups = self.groups();
            self.stop.cancel();
            groups.values().for_each(|group| group.end.come(Why::Server));
        }
        let gone = async {
            loop {
                let moved = self.moved.notified();
                if self.count() == 0 {
                    return;
                }
                moved.await;
            }
        };
        if tokio::time::timeout(FAREWELL, gone).await.is_err() {
            tracing::warn!(target: "chorus::stream", open = self.count(), "streams are cut off");
        }
    }
}

/// What the last look saw.
struct Looked {
    version: Option<i64>,
    /// When the database last answered.
    answered: Instant,
}
