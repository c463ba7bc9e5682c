//! The audit trail: one record a call, written with what the call did.
//!
//! A change writes its record in its own transaction ([`insert`]). Refusals and failures go through the [`Writer`], which
//! collects what arrives within `GROUP` into one transaction and answers when it is on disk. More than
//! `PER_SECOND` equal refusals a second (same actor, or same address of nobody in particular, same action) are counted
//! instead of repeated, and so are more than `VISITORS_PER_SECOND` from all addresses together, so that a flood of them
//! fills neither the disk nor the writer. What is counted keeps what its calls have in common.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::caller::Caller;
use crate::server::{
    db::{Db, Json, On, Sql, sql},
    error::{Error, Kind, Result},
    pipeline::call::{Call, plain},
};

/// Records are collected this long before they are written together.
const GROUP: Duration = Duration::from_millis(5);
/// So many equal refusals are written one by one within a second.
const PER_SECOND: i64 = 10;
/// So many refusals of an action are written one by one within a second for callers who are not signed in.
const VISITORS_PER_SECOND: i64 = 50;
/// So many accounts that visitors name have a count of their own.
const MOST_COUNTED: usize = 20;
const WINDOW: Duration = Duration::from_secs(1);
/// Records under way; more make callers wait.
const QUEUE: usize = 1024;

/// One record.
#[derive(Debug, Clone)]
pub struct Record {
    tenant_id: Option<i64>,
    actor_id: Option<i64>,
    actor_username: String,
    request_id: Arc<str>,
    action: &'static str,
    rpc: &'static str,
    outcome: &'static str,
    code: i64,
    workspace_id: Option<i64>,
    workbench_id: Option<i64>,
    user_id: Option<i64>,
    address: Option<IpAddr>,
    description: String,
    details: serde_json::Map<String, serde_json::Value>,
    repeats: i64,
    created_at: DateTime<Utc>,
}

/// The actor of what the server does by itself. No account has its id, which is none.
const SYSTEM: &str = "system";

/// Something that is done without a call of its own: by the server itself, or on the way of another call.
#[derive(Debug, Clone)]
pub struct Deed<'a> {
    /// What is done, as an RPC would call it.
    pub action: &'static str,
    /// Who does it; none is the server itself.
    pub actor: Option<&'a Caller>,
    /// The tenant of what is acted upon.
    pub tenant: i64,
    /// The id under which the log knows the call or the job.
    pub request_id: Arc<str>,
    /// The address of the client, if there is one.
    pub address: Option<IpAddr>,
    /// The workspace.
    pub workspace: Option<i64>,
    /// The workbench.
    pub workbench: Option<i64>,
    /// More facts; empty ones are left out.
    pub details: Vec<(&'static str, String)>,
    /// When.
    pub at: DateTime<Utc>,
}

impl Record {
    /// The record of a call that succeeded or failed with this error.
    pub fn of(call: &Call, caller: &Caller, error: Option<&Error>) -> Self {
        let subjects = call.subjects().clone();
        let signed_in =
            (!caller.is_visitor()).then(|| (caller.tenant(), caller.id(), caller.account().username.clone()));
        let actor = subjects.actor.clone().or(signed_in);
        let mut details: serde_json::Map<_, _> =
            subjects.details().iter().map(|(k, v)| ((*k).to_owned(), v.as_str().into())).collect();
        if let Some(token) = caller.token() {
            // the owner answers for it; which program it was, the token tells
            details.insert("token_id".to_owned(), token.id.to_string().into());
            details.insert("token_name".to_owned(), plain(&token.name).into());
        }
        if let Some(kiosk) = caller.kiosk() {
            details.insert("by_app_instance".to_owned(), kiosk.app_instance.to_string().into());
        }
        if let Some(error) = error {
            details.insert("error_message".to_owned(), plain(error.message()).into());
            details.insert("reason".to_owned(), error.reason().into());
            if !subjects.verified {
                // the ids are what the request said; nobody looked whether they exist
                details.insert("subjects".to_owned(), "unverified".into());
            }
        }
        let outcome = match error.map(Error::kind) {
            None => "ok",
            Some(Kind::PermissionDenied | Kind::InvalidCredentials | Kind::Exhausted | Kind::TwoFactorRequired) => {
                "refused"
            }
            Some(_) => "failed",
        };
        Self {
            tenant_id: actor.as_ref().map(|a| a.0).or(subjects.tenant).or(Some(caller.tenant())),
            actor_id: actor.as_ref().map(|a| a.1),
            actor_username: actor.map(|a| a.2).unwrap_or_default(),
            request_id: call.request_id.clone(),
            action: call.rpc.action,
            rpc: call.rpc.name,
            outcome,
            code: error.map_or(0, |e| i64::from(e.kind().code() as i32)),
            workspace_id: subjects.workspace,
            workbench_id: subjects.workbench,
            user_id: subjects.user,
            address: call.address,
            description: describe(call.rpc.action, error),
            details,
            repeats: 1,
            created_at: call.now,
        }
    }

    /// The record of something that succeeded without a call of its own.
    pub fn of_deed(deed: Deed<'_>) -> Self {
        let details = deed.details.into_iter().filter(|(_, value)| !value.is_empty());
        Self {
            tenant_id: Some(deed.tenant),
            actor_id: deed.actor.map(Caller::id),
            actor_username: deed.actor.map_or_else(|| SYSTEM.to_owned(), |actor| actor.account().username.clone()),
            request_id: deed.request_id,
            action: deed.action,
            rpc: "",
            outcome: "ok",
            code: 0,
            workspace_id: deed.workspace,
            workbench_id: deed.workbench,
            user_id: None,
            address: deed.address,
            description: describe(deed.action, None),
            details: details.map(|(key, value)| (key.to_owned(), plain(&value).into())).collect(),
            repeats: 1,
            created_at: deed.at,
        }
    }

    /// Appends the values of the row, in the order of the columns in [`insert_all`].
    fn values<'a>(&'a self, row: Sql<'a>) -> Sql<'a> {
        let next = |row: Sql<'a>| row.push(", ");
        let row = next(row.arg(self.tenant_id));
        let row = next(row.arg(self.actor_id));
        let row = next(row.arg(&*self.actor_username));
        let row = next(row.arg(&*self.request_id));
        let row = next(row.arg(self.action));
        let row = next(row.arg(self.rpc));
        let row = next(row.arg(self.outcome));
        let row = next(row.arg(self.code));
        let row = next(row.arg(self.workspace_id));
        let row = next(row.arg(self.workbench_id));
        let row = next(row.arg(self.user_id));
        let row = next(row.arg(self.address.map(|address| address.to_string()).unwrap_or_default()));
        let row = next(row.arg(&*self.description));
        let row = next(row.arg(Json(&self.details)));
        let row = next(row.arg(self.repeats));
        row.arg(self.created_at)
    }

    /// What makes two refusals equal. Those of visitors are, whatever account they name: how long an answer takes must
    /// not tell whether it exists.
    fn key(&self) -> Key {
        (self.actor_id, self.action, self.outcome)
    }

    /// What makes two counted refusals one record, apart from their key.
    fn subject(&self) -> (i64, Option<i64>, Option<i64>) {
        (self.code, self.tenant_id, self.user_id)
    }

    /// Counts another call in this record, which keeps what they have in common. The request id stays that of the first.
    fn add(&mut self, other: &Self) {
        fn common<T: PartialEq>(mine: &mut Option<T>, other: &Option<T>) {
            if *mine != *other {
                *mine = None;
            }
        }
        self.repeats = self.repeats.saturating_add(other.repeats);
        common(&mut self.address, &other.address);
        common(&mut self.tenant_id, &other.tenant_id);
        common(&mut self.user_id, &other.user_id);
        common(&mut self.workspace_id, &other.workspace_id);
        common(&mut self.workbench_id, &other.workbench_id);
        self.details.retain(|key, value| other.details.get(key) == Some(value));
    }
}

type Key = (Option<i64>, &'static str, &'static str);

/// `CreateWorkspace` becomes `Create workspace`, with the way it ended.
fn describe(action: &str, error: Option<&Error>) -> String {
    let mut text = String::new();
    for (i, c) in action.char_indices() {
        match (i, c.is_uppercase()) {
            (0, _) | (_, false) => text.push(c),
            _ => text.extend([' ', c.to_ascii_lowercase()]),
        }
    }
    match error {
        None => text,
        Some(error) => format!("{text} failed: {}", error.kind().row().3.to_lowercase()),
    }
}

/// Writes one record.
pub async fn insert(on: impl Into<On<'_>>, record: &Record) -> Result<()> {
    insert_all(on, std::slice::from_ref(record)).await
}

/// Writes records, some hundreds at most, in one statement.
pub async fn insert_all(on: impl Into<On<'_>>, records: &[Record]) -> Result<()> {
    let mut statement =
        sql("INSERT INTO audit_log (tenant_id, actor_id, actor_username, request_id, action, rpc, outcome, code, \
         workspace_id, workbench_id, user_id, address, description, details, repeats, created_at) VALUES ");
    for (index, record) in records.iter().enumerate() {
        statement = record.values(statement.push(if index == 0 { "(" } else { ", (" })).push(")");
    }
    if !records.is_empty() {
        statement.run(on).await?;
    }
    Ok(())
}

/// Writes records of calls that have no transaction of their own.
pub struct Writer {
    queue: mpsc::Sender<(Record, oneshot::Sender<()>)>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the writer.
    pub fn start(db: Db) -> Self {
        let (queue, records) = mpsc::channel(QUEUE);
        let stop = CancellationToken::new();
        let task = tokio::spawn(Loop { db, records, stop: stop.clone(), windows: HashMap::new() }.run());
        Self { queue, stop, task: Mutex::new(Some(task)) }
    }

    /// Queues the record without waiting: for a call that nobody waits for any more.
    pub fn write_later(&self, record: Record) {
        if self.queue.try_send((record, oneshot::channel().0)).is_err() {
            tracing::error!(target: "chorus::audit", "an audit record of an abandoned call could not be queued");
        }
    }

    /// Returns when the record is on disk, or counted in one that will be. A refusal is answered as such even if its
    /// record cannot be written, since the caller was refused; the log then has it.
    pub async fn write(&self, record: Record) {
        let (done, wait) = oneshot::channel();
        if self.queue.send((record, done)).await.is_err() || wait.await.is_err() {
            tracing::error!(target: "chorus::audit", "an audit record could not be written");
        }
    }

    /// Writes what is counted or under way and stops. Later records are logged as lost.
    pub async fn stop(&self) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            drop(task.await);
        }
    }
}

/// Equal records within a second.
struct Window {
    ends: Instant,
    /// How many came from each address; those of an actor count as one.
    from: HashMap<Option<IpAddr>, i64>,
    written: i64,
    counted: Vec<Record>,
}

impl Window {
    fn begin() -> Self {
        Self { ends: Instant::now() + WINDOW, from: HashMap::new(), written: 0, counted: Vec::new() }
    }

    /// Whether the record is to be written by itself.
    fn takes(&mut self, record: &Record) -> bool {
        let address = if record.actor_id.is_none() { record.address } else { None };
        let seen = self.from.entry(address).or_default();
        *seen += 1;
        let due = *seen <= PER_SECOND && self.written < VISITORS_PER_SECOND;
        self.written += i64::from(due);
        due
    }

    /// Counts a record with those of the same subject, or, when there are many, with any of its kind.
    fn count(&mut self, record: Record) {
        let same = self.counted.iter().position(|known| known.subject() == record.subject());
        let full = self.counted.len() >= MOST_COUNTED;
        let like = || self.counted.iter().rposition(|known| full && known.code == record.code);
        match same.or_else(like) {
            Some(place) => self.counted[place].add(&record),
            None => self.counted.push(record),
        }
    }
}

struct Loop {
    db: Db,
    records: mpsc::Receiver<(Record, oneshot::Sender<()>)>,
    stop: CancellationToken,
    windows: HashMap<Key, Window>,
}

impl Loop {
    async fn run(mut self) {
        loop {
            let next = self.windows.values().map(|w| w.ends).min();
            let first = tokio::select! {
                first = self.records.recv() => first,
                // no more are taken, what is queued is still written
                () = self.stop.cancelled(), if !self.records.is_closed() => {
                    self.records.close();
                    continue;
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    self.close_windows(false).await;
                    continue;
                }
            };
            let Some(first) = first else { break };
            let (mut due, mut waiting) = (Vec::new(), Vec::new());
            self.sort_in(first, &mut due, &mut waiting);
            let until = Instant::now() + GROUP;
            while let Ok(Some(more)) = timeout_at(until, self.records.recv()).await {
                self.sort_in(more, &mut due, &mut waiting);
            }
            self.save(due, waiting).await;
        }
        self.close_windows(true).await;
    }

    /// Decides whether a record is written or counted.
    fn sort_in(
        &mut self,
        (record, done): (Record, oneshot::Sender<()>),
        due: &mut Vec<Record>,
        waiting: &mut Vec<oneshot::Sender<()>>,
    ) {
        let window = self.windows.entry(record.key()).or_insert_with(Window::begin);
        if window.takes(&record) {
            due.push(record);
            waiting.push(done);
            return;
        }
        window.count(record);
        let _ = done.send(()); // the caller may be gone
    }

    async fn close_windows(&mut self, all: bool) {
        let now = Instant::now();
        let mut counted = Vec::new();
        self.windows.retain(|_, window| {
            let open = !all && window.ends > now;
            if !open {
                counted.append(&mut window.counted);
            }
            open
        });
        self.save(counted, Vec::new()).await;
    }

    /// Writes records in one transaction, then tells those who wait. If that fails, one by one, so that a record that
    /// cannot be written takes no other with it; such a one is logged, so that it is not lost without a trace.
    async fn save(&self, records: Vec<Record>, waiting: Vec<oneshot::Sender<()>>) {
        if records.is_empty() {
            return;
        }
        if self.insert_all(&records).await.is_err() {
            for r in &records {
                if let Err(error) = insert(&self.db, r).await {
                    tracing::error!(
                        target: "chorus::audit", %error, action = r.action, request_id = &*r.request_id,
                        actor = r.actor_id, repeats = r.repeats, "not recorded"
                    );
                }
            }
        }
        answer(waiting);
    }

    async fn insert_all(&self, records: &[Record]) -> Result<()> {
        let mut tx = self.db.transaction().await?;
        for record in records {
            insert(&mut tx, record).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// Tells callers that their record is on disk; some may be gone.
fn answer(waiting: Vec<oneshot::Sender<()>>) {
    for done in waiting {
        let _ = done.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(user: Option<i64>, address: u8) -> Record {
        Record {
            tenant_id: Some(1),
            actor_id: None,
            actor_username: String::new(),
            request_id: "r".into(),
            action: "LoginUser",
            rpc: "AuthenticationService/Authenticate",
            outcome: "refused",
            code: 16,
            workspace_id: None,
            workbench_id: None,
            user_id: user,
            address: Some(IpAddr::from([192, 0, 2, address])),
            description: String::new(),
            details: serde_json::Map::from_iter([("username".to_owned(), format!("{user:?}").into())]),
            repeats: 1,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    /// How many of these are written by themselves; the others are counted.
    fn written(window: &mut Window, records: impl Iterator<Item = Record>) -> i64 {
        for record in records {
            if !window.takes(&record) {
                window.count(record);
            }
        }
        window.written
    }

    #[tokio::test]
    async fn one_address_is_counted_and_hides_no_other() {
        let mut window = Window::begin();
        assert_eq!(written(&mut window, (0..500).map(|_| refusal(Some(7), 1))), PER_SECOND);
        assert_eq!(written(&mut window, [refusal(Some(7), 2)].into_iter()), PER_SECOND + 1);
        let [counted] = &window.counted[..] else { panic!("{:?}", window.counted) };
        assert_eq!((counted.repeats, counted.user_id, counted.address), (490, Some(7), refusal(None, 1).address));
        assert_eq!(counted.details.len(), 1);
    }

    #[tokio::test]
    async fn a_flood_from_everywhere_is_a_few_records() {
        let mut window = Window::begin();
        assert_eq!(written(&mut window, (0..1000).map(|i| refusal(Some(7), (i % 250) as u8))), VISITORS_PER_SECOND);
        let [counted] = &window.counted[..] else { panic!("{:?}", window.counted) };
        assert_eq!((counted.repeats, counted.user_id, counted.address), (950, Some(7), None));

        // and against everybody
        written(&mut window, (0..1000).map(|i| refusal(Some(i), (i % 250) as u8)));
        assert_eq!(window.counted.len(), MOST_COUNTED);
        assert_eq!(window.counted.iter().map(|record| record.repeats).sum::<i64>(), 1950);
        let last = window.counted.last().unwrap();
        assert_eq!((last.user_id, last.details.len()), (None, 0), "nothing in common");
    }
}
