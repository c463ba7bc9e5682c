//! What a test does to the API server beside its objects: the log of calls, faults on order, clients that die, permissions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{Cluster, resources::Target};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Whose.
    pub client: String,
    pub verb: &'static str,
    pub kind: &'static str,
    /// `status`, or empty.
    pub subresource: String,
    pub namespace: String,
    /// Empty for a collection, and for what is being created.
    pub name: String,
    /// How it was answered; 0 while it is not.
    pub code: u16,
}

impl Call {
    pub fn new(client: &str, verb: &'static str, target: &Target) -> Self {
        Self {
            client: client.to_owned(),
            verb,
            kind: target.resource.kind,
            subresource: target.subresource.clone(),
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            code: 0,
        }
    }

    /// Whether it asks for a change.
    pub fn writes(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch") && self.kind != "SelfSubjectAccessReview"
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, verb, kind, subresource, namespace, name, code } = self;
        let slash = if subresource.is_empty() { "" } else { "/" };
        write!(f, "{client}: {verb} {kind}{slash}{subresource} {namespace}/{name} → {code}")
    }
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This code and reason instead of an answer; nothing is done.
    Answer(u16, &'static str),
    /// The connection breaks before anything is done.
    Reset,
    /// It is done, and the connection breaks before the answer.
    Lost,
    /// It takes this long.
    Delay(Duration),
    /// The history is forgotten first.
    Compaction,
    /// All watches break first.
    BreakWatches,
}

type Matcher = Box<dyn Fn(&Call) -> bool + Send>;

/// A fault on order.
struct Order {
    matches: Matcher,
    /// How many calls pass before it strikes.
    skip: usize,
    /// How often it strikes.
    times: usize,
    fault: Fault,
}

/// The state of all that.
#[derive(Default)]
pub struct Control {
    pub calls: Vec<Call>,
    /// Writes that were carried out, by verb and kind.
    pub writes: BTreeMap<(&'static str, String), usize>,
    orders: Vec<Order>,
    /// Groups that are there although they are optional.
    pub installed: BTreeSet<&'static str>,
    /// Verb (`*` for any) and `plural.group`, with `/status` where that is meant.
    pub denied: BTreeSet<(String, String)>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("calls", &self.calls.len()).finish_non_exhaustive()
    }
}

impl Control {
    /// The fault that strikes this call.
    pub fn strike(&mut self, call: &Call) -> Option<Fault> {
        let order = self.orders.iter_mut().find(|order| order.times > 0 && (order.matches)(call))?;
        if order.skip > 0 {
            order.skip -= 1;
            return None;
        }
        order.times -= 1;
        Some(order.fault.clone())
    }

    pub fn order(&mut self, matches: Matcher, skip: usize, times: usize, fault: Fault) {
        self.orders.retain(|order| order.times > 0);
        self.orders.push(Order { matches, skip, times, fault });
    }

    pub fn calm(&mut self) {
        self.orders.clear();
    }

    /// Whether a permission was taken away.
    pub fn denies(&self, verb: &str, resource: &str) -> bool {
        ["*", verb].iter().any(|verb| self.denied.contains(&((*verb).to_owned(), resource.to_owned())))
    }
}

/// One client of the API server, which can die like a process.
#[derive(Debug, Clone)]
pub struct Session(Arc<Life>);

#[derive(Debug)]
struct Life {
    cluster: Cluster,
    name: String,
    calls: AtomicUsize,
    /// At which call it dies, and whether that call is still carried out.
    end: Mutex<Option<(usize, bool)>>,
    dead: CancellationToken,
}

/// What becomes of a call of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Lives,
    /// It is dead before the call.
    Dies,
    /// It is dead before the answer.
    DiesAfter,
}

impl Session {
    pub fn new(cluster: &Cluster, name: &str) -> Self {
        Self(Arc::new(Life {
            cluster: cluster.clone(),
            name: name.to_owned(),
            calls: AtomicUsize::new(0),
            end: Mutex::new(None),
            dead: CancellationToken::new(),
        }))
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn cluster(&self) -> &Cluster {
        &self.0.cluster
    }

    /// Lets it die at its nth write (from 0): before that is carried out, or after.
    pub fn kill_at(&self, write: usize, after: bool) {
        *self.0.end.lock().unwrap() = Some((write, after));
    }

    /// Lets it die now: no answer comes any more.
    pub fn kill(&self) {
        self.0.dead.cancel();
    }

    /// When it is dead.
    pub async fn dead(&self) {
        self.0.dead.cancelled().await;
    }

    pub fn is_dead(&self) -> bool {
        self.0.dead.is_cancelled()
    }

    /// Resolves when it dies; for its watches.
    pub fn death(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.dead.clone().cancelled_owned()
    }

    /// How many writes it asked for.
    pub fn writes(&self) -> usize {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// Counts a write of its own.
    pub fn fate(&self, writes: bool) -> Fate {
        if self.is_dead() {
            return Fate::Dies;
        }
        if !writes {
            return Fate::Lives;
        }
        let number = self.0.calls.fetch_add(1, Ordering::Relaxed);
        match *self.0.end.lock().unwrap() {
            Some((at, after)) if number == at => {
                self.kill();
                if after { Fate::DiesAfter } else { Fate::Dies }
            }
            _ => Fate::Lives,
        }
    }
}
