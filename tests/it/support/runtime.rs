//! A runtime in memory that does what a script says: it fails, takes its time, and remembers what it was asked.
//!
//! Left alone it behaves: desktops are ready at once, apps run. The image of an app says what becomes of it, see
//! [`STAYS`], [`ENDS`] and [`FAILS`]. Every order has a point where its future can be dropped before it takes effect, and one
//! after, as if the process had died there.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use chorus::server::runtime::{
    AppObservation, AppSpec, AppState, AppStatus, Event, Observation, PodStatus, Removal, Result, Runtime,
    RuntimeError, ServerStatus, Stream, WorkbenchRef, WorkbenchSpec, WorkspaceSpec,
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use tokio::{
    io::DuplexStream,
    sync::{Notify, mpsc},
    task::yield_now,
};

/// The image of an app that runs until it is ended.
pub const STAYS: &str = "contract/stays";
/// The image of an app that ends at once, with success.
pub const ENDS: &str = "contract/ends";
/// The image of an app that ends at once, with an error.
pub const FAILS: &str = "contract/fails";

/// An order that the runtime was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    ApplyWorkspace(i64),
    DeleteWorkspace(i64),
    /// With the generation.
    Apply(WorkbenchRef, i64),
    Stop(WorkbenchRef),
    Delete(WorkbenchRef),
    List,
}

impl Call {
    /// Which function it is, to script it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApplyWorkspace(_) => "apply_workspace",
            Self::DeleteWorkspace(_) => "delete_workspace",
            Self::Apply(..) => "apply",
            Self::Stop(_) => "stop",
            Self::Delete(_) => "delete",
            Self::List => "list",
        }
    }
}

/// A desktop that runs.
#[derive(Debug, Clone)]
struct Desktop {
    seen: Observation,
    spec: WorkbenchSpec,
}

#[derive(Default)]
struct World {
    workspaces: BTreeMap<i64, WorkspaceSpec>,
    desktops: BTreeMap<WorkbenchRef, Desktop>,
    files: BTreeSet<WorkbenchRef>,
    calls: Vec<Call>,
    failures: Vec<(&'static str, VecDeque<RuntimeError>)>,
    panics: BTreeSet<WorkbenchRef>,
    held: BTreeMap<&'static str, Arc<Notify>>,
    /// How often removals answer `Going` yet.
    going: usize,
    observers: Vec<mpsc::UnboundedSender<Event>>,
    listener: Option<mpsc::UnboundedSender<(WorkbenchRef, DuplexStream)>>,
}

/// The runtime. Clones are the same one.
#[derive(Clone, Default)]
pub struct Scripted {
    world: Arc<Mutex<World>>,
}

impl Scripted {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The next calls of this function fail with these, one after the other.
    pub fn fail(&self, function: &'static str, errors: impl IntoIterator<Item = RuntimeError>) {
        self.world().failures.push((function, errors.into_iter().collect()));
    }

    /// Working on this workbench panics.
    pub fn panic_on(&self, of: WorkbenchRef) {
        self.world().panics.insert(of);
    }

    /// Calls of this function wait until the gate is opened with `notify_one`, once for each.
    pub fn hold(&self, function: &'static str) -> Arc<Notify> {
        self.world().held.entry(function).or_default().clone()
    }

    /// Calls of this function wait no longer.
    pub fn release(&self, function: &'static str) {
        if let Some(gate) = self.world().held.remove(function) {
            gate.notify_waiters();
            gate.notify_one();
        }
    }

    /// The next removals are under way for this many calls.
    pub fn removals_take(&self, calls: usize) {
        self.world().going = calls;
    }

    /// What it was asked since the last look, in order, without looks at the list.
    pub fn calls(&self) -> Vec<Call> {
        let mut calls = std::mem::take(&mut self.world().calls);
        calls.retain(|call| *call != Call::List);
        calls
    }

    /// The workspaces that there are.
    pub fn workspaces(&self) -> Vec<WorkspaceSpec> {
        self.world().workspaces.values().cloned().collect()
    }

    /// The workbenches whose desktops run.
    pub fn desktops(&self) -> Vec<WorkbenchRef> {
        self.world().desktops.keys().copied().collect()
    }

    /// The workbenches that have files.
    pub fn files(&self) -> Vec<WorkbenchRef> {
        self.world().files.iter().copied().collect()
    }

    /// What a running desktop was told last.
    pub fn spec(&self, of: WorkbenchRef) -> Option<WorkbenchSpec> {
        self.world().desktops.get(&of).map(|desktop| desktop.spec.clone())
    }

    /// The apps that run in a desktop, each with its incarnation.
    pub fn running(&self, of: WorkbenchRef) -> Vec<(i64, i64)> {
        let world = self.world();
        let apps = world.desktops.get(&of).into_iter().flat_map(|desktop| &desktop.seen.apps);
        apps.filter(|app| app.status == AppStatus::Running).map(|app| (app.id, app.incarnation)).collect()
    }

    /// An app ends, or changes otherwise, by itself.
    pub fn app_is(&self, of: WorkbenchRef, id: i64, status: AppStatus, message: &str) {
        self.change(of, |seen| {
            let app = seen.apps.iter_mut().find(|app| app.id == id).unwrap();
            app.status = status;
            message.clone_into(&mut app.message);
        });
    }

    /// A desktop changes by itself.
    pub fn change(&self, of: WorkbenchRef, change: impl FnOnce(&mut Observation)) {
        let mut world = self.world();
        let desktop = world.desktops.get_mut(&of).unwrap();
        change(&mut desktop.seen);
        let event = Event::Seen(desktop.seen.clone());
        world.tell(event);
    }

    /// A desktop ends by itself.
    pub fn crash(&self, of: WorkbenchRef) {
        let mut world = self.world();
        world.desktops.remove(&of);
        world.tell(Event::Gone(of));
    }

    /// The host is started anew: no desktop is left, and nobody told.
    pub fn reboot(&self) {
        self.world().desktops.clear();
    }

    /// Tells observers something of the test's choice.
    pub fn tell(&self, event: Event) {
        self.world().tell(event);
    }

    /// A desktop that no row of this test asked for.
    pub fn plant(&self, spec: &WorkbenchSpec) {
        self.world().start(spec);
    }

    /// Ends the streams of all observers.
    pub fn end_observers(&self) {
        self.world().observers.clear();
    }

    /// How many observe.
    pub fn observers(&self) -> usize {
        let mut world = self.world();
        world.observers.retain(|observer| !observer.is_closed());
        world.observers.len()
    }

    /// The desktops' ends of the connections that are opened from now on.
    pub fn listen(&self) -> mpsc::UnboundedReceiver<(WorkbenchRef, DuplexStream)> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.world().listener = Some(sender);
        receiver
    }

    /// Takes an order: first a point to die at, then what the script says, then the effect, then another point.
    async fn order<T>(&self, call: Call, effect: impl FnOnce(&mut World) -> T) -> Result<T> {
        self.world().calls.push(call);
        yield_now().await;
        let gate = self.world().held.get(call.name()).cloned();
        if let Some(gate) = gate {
            gate.notified().await;
        }
        let done = {
            let mut world = self.world();
            if let Call::Apply(of, _) = call
                && world.panics.contains(&of)
            {
                drop(world);
                panic!("the script wants it so");
            }
            match world.failure(call.name()) {
                Some(error) => Err(error),
                None => Ok(effect(&mut world)),
            }
        };
        yield_now().await;
        done
    }
}

impl World {
    fn tell(&mut self, event: Event) {
        self.observers.retain(|observer| observer.send(event.clone()).is_ok());
    }

    fn failure(&mut self, function: &str) -> Option<RuntimeError> {
        self.failures.iter_mut().find(|(name, errors)| *name == function && !errors.is_empty())?.1.pop_front()
    }

    fn start(&mut self, spec: &WorkbenchSpec) {
        let old = self.desktops.get(&spec.of).map(|desktop| desktop.seen.apps.clone()).unwrap_or_default();
        let apps = spec.apps.iter().map(|app| next(old.iter().find(|seen| seen.id == app.id), app)).collect();
        let seen = Observation {
            of: spec.of,
            generation: spec.generation,
            pod: PodStatus::Ready,
            server: ServerStatus::Running,
            reason: String::new(),
            message: String::new(),
            apps,
        };
        self.files.insert(spec.of);
        self.desktops.insert(spec.of, Desktop { seen: seen.clone(), spec: spec.clone() });
        self.tell(Event::Seen(seen));
    }

    fn end(&mut self, of: WorkbenchRef) -> Removal {
        if !self.desktops.contains_key(&of) {
            return Removal::Gone;
        }
        if self.going > 0 {
            self.going -= 1;
            return Removal::Going;
        }
        self.desktops.remove(&of);
        self.tell(Event::Gone(of));
        Removal::Gone
    }
}

/// What becomes of an app.
fn next(seen: Option<&AppObservation>, wanted: &AppSpec) -> AppObservation {
    let kept = seen.filter(|seen| seen.incarnation == wanted.incarnation);
    let (status, message) = match (kept, wanted.state) {
        (Some(seen), _) if seen.status.has_ended() => (seen.status, seen.message.clone()),
        (_, AppState::Stopped) => (AppStatus::Stopped, String::new()),
        (_, AppState::Killed) => (AppStatus::Killed, String::new()),
        (Some(seen), AppState::Running) => (seen.status, seen.message.clone()),
        (None, AppState::Running) => match wanted.image.as_str() {
            ENDS => (AppStatus::Complete, String::new()),
            FAILS => (AppStatus::Failed, "exit code 3: broken".to_owned()),
            _ => (AppStatus::Running, String::new()),
        },
    };
    AppObservation { id: wanted.id, incarnation: wanted.incarnation, status, message }
}

impl Runtime for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn apply_workspace<'a>(&'a self, spec: &'a WorkspaceSpec) -> BoxFuture<'a, Result<()>> {
        let effect = |world: &mut World| drop(world.workspaces.insert(spec.id, spec.clone()));
        self.order(Call::ApplyWorkspace(spec.id), effect).boxed()
    }

    fn delete_workspace(&self, workspace: i64) -> BoxFuture<'_, Result<Removal>> {
        let effect = move |world: &mut World| {
            let inside = world.files.iter().any(|of| of.workspace == workspace);
            assert!(!inside, "workspace {workspace} is deleted before its workbenches");
            world.workspaces.remove(&workspace);
            Removal::Gone
        };
        self.order(Call::DeleteWorkspace(workspace), effect).boxed()
    }

    fn apply<'a>(&'a self, spec: &'a WorkbenchSpec) -> BoxFuture<'a, Result<()>> {
        let effect = |world: &mut World| {
            let ready = world.workspaces.contains_key(&spec.of.workspace);
            assert!(ready, "{} is applied before its workspace", spec.of);
            world.start(spec);
        };
        self.order(Call::Apply(spec.of, spec.generation), effect).boxed()
    }

    fn stop(&self, of: WorkbenchRef) -> BoxFuture<'_, Result<Removal>> {
        self.order(Call::Stop(of), move |world| world.end(of)).boxed()
    }

    fn delete(&self, of: WorkbenchRef) -> BoxFuture<'_, Result<Removal>> {
        let effect = move |world: &mut World| {
            let removal = world.end(of);
            if removal == Removal::Gone {
                world.files.remove(&of);
            }
            removal
        };
        self.order(Call::Delete(of), effect).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Observation>>> {
        let effect = |world: &mut World| world.desktops.values().map(|desktop| desktop.seen.clone()).collect();
        self.order(Call::List, effect).boxed()
    }

    fn observe(&self) -> BoxStream<'static, Event> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.world().observers.push(sender);
        tokio_stream::wrappers::UnboundedReceiverStream::new(receiver).boxed()
    }

    fn connect(&self, of: WorkbenchRef) -> BoxFuture<'_, Result<Box<dyn Stream>>> {
        let not_there = || RuntimeError::transient("NotReady", "The desktop is not there (yet).");
        let connect = async move {
            let world = self.world();
            let listener =
                world.listener.as_ref().filter(|_| world.desktops.contains_key(&of)).ok_or_else(not_there)?;
            let (here, there) = tokio::io::duplex(64 * 1024);
            listener.send((of, there)).map_err(|_| not_there())?;
            Ok(Box::new(here) as Box<dyn Stream>)
        };
        connect.boxed()
    }

    fn logs(&self, of: WorkbenchRef, app: i64, most: usize) -> BoxFuture<'_, Result<String>> {
        let logs = async move {
            let mut world = self.world();
            if let Some(error) = world.failure("logs") {
                return Err(error);
            }
            let apps = world.desktops.get(&of).into_iter().flat_map(|desktop| &desktop.seen.apps);
            let failed = apps.filter(|seen| seen.id == app).any(|seen| seen.status == AppStatus::Failed);
            let text = if failed { "broken\n" } else { "" };
            Ok(text[text.len().saturating_sub(most)..].to_owned())
        };
        logs.boxed()
    }
}
