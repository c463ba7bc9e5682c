//! The life of the operator in a process: start, lead or stand by, stop in an orderly way.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt;
use kube::Client;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    super::{super::clock::Clock, settings::Settings},
    alarms::Alarms,
    caches::{Caches, Key},
    controller::Controller,
    events::Recorder,
    health::Health,
    leader::{self, Candidate},
    queue::{Pace, Queue},
    refusals::Refusals,
    telemetry, watches,
    writer::Writer,
};

/// How often alarms are looked at.
const TICK: Duration = Duration::from_millis(500);
/// How often figures about everything are counted.
const COUNT: Duration = Duration::from_secs(15);
/// How often it is looked whether the caches are filled.
const FILLING: Duration = Duration::from_millis(50);
/// How long giving back the lease may take.
const RELEASE: Duration = Duration::from_secs(5);

/// How a replica runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespace of the lease: that of the operator's pod.
    pub namespace: String,
    /// The name of this replica: that of its pod.
    pub identity: String,
    /// Whether it stands for election. Without, it leads; there must be no other.
    pub leader_elect: bool,
    /// How long the lease is valid, in seconds; it is renewed when a third of that is left.
    pub lease_seconds: u64,
    /// How many resources are worked on at once.
    pub concurrency: usize,
    /// How long passes under way may take at the end.
    pub stop_within: Duration,
    /// How often it is looked whether Cilium came or went.
    pub discovery: Duration,
    /// Delays of the queue.
    pub pace: Pace,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: "default".to_owned(),
            identity: super::super::api::MANAGER.to_owned(),
            leader_elect: true,
            lease_seconds: 15,
            concurrency: 8,
            stop_within: Duration::from_secs(10),
            discovery: Duration::from_secs(30),
            pace: Pace::default(),
        }
    }
}

/// The operator, before it runs.
pub struct Operator {
    client: Client,
    settings: Settings,
    options: Options,
    clock: Arc<dyn Clock>,
}

/// The operator, while it runs. When this is dropped everything ends at once, as if the process were killed.
pub struct Running {
    health: Health,
    queue: Arc<Queue<Key>>,
    tasks: JoinSet<()>,
    workers: JoinSet<()>,
    election: Option<Election>,
    stopping: watch::Sender<bool>,
    stop_within: Duration,
}

struct Election {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for Election {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Operator {
    /// An operator of this cluster.
    pub fn new(client: Client, settings: Settings, options: Options, clock: Arc<dyn Clock>) -> Self {
        Self { client, settings, options, clock }
    }

    /// Starts it, in tasks of the current runtime.
    pub fn start(self) -> Running {
        let Self { client, settings, options, clock } = self;
        telemetry::describe();
        telemetry::leading(false);
        let queue = Arc::new(Queue::new(options.pace));
        let caches = Arc::new(Caches::new(Arc::new(settings), Arc::clone(&queue)));
        let alarms = Arc::new(Alarms::default());
        let (lead, leading) = watch::channel(false);
        let (activate, active) = watch::channel(false);
        let (stopping, stopped) = watch::channel(false);
        let writer = Writer::new(client.clone(), leading.clone());
        let recorder = Recorder::new(writer.clone(), options.identity.clone(), Arc::clone(&clock));
        let mut tasks = watches::start(&client, &caches, options.discovery);
        tasks.spawn(oversee(Arc::clone(&caches), Arc::clone(&queue), leading.clone(), activate));
        tasks.spawn(ring(Arc::clone(&alarms), Arc::clone(&queue), Arc::clone(&clock)));
        tasks.spawn(count(Arc::clone(&caches), Arc::clone(&queue)));
        let controller = Arc::new(Controller {
            caches: Arc::clone(&caches),
            queue: Arc::clone(&queue),
            alarms,
            writer,
            recorder,
            clock,
            refusals: Refusals::default(),
            postponed: Mutex::default(),
        });
        let mut workers = JoinSet::new();
        for _ in 0..options.concurrency.max(1) {
            workers.spawn(work(Arc::clone(&controller), active.clone(), stopped.clone()));
        }
        let election = elect(client, &options, lead);
        let health = Health { caches, leading, active, stopping: stopped };
        Running { health, queue, tasks, workers, election: Some(election), stopping, stop_within: options.stop_within }
    }
}

impl Running {
    /// Whether this replica does its part.
    pub fn ready(&self) -> bool {
        self.health.ready()
    }

    /// How it fares, to be asked from elsewhere.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Whether this replica leads.
    pub fn leading(&self) -> bool {
        self.health.leading()
    }

    /// Whether it is ready and has nothing to do until something changes or an alarm rings.
    pub fn idle(&self) -> bool {
        self.ready() && self.queue.idle()
    }

    /// Waits until a part of it has ended that never ends by itself, which is a bug. The process should end, too.
    pub async fn broken(&mut self) {
        tokio::select! {
            Some(_) = self.tasks.join_next() => {}
            Some(_) = self.workers.join_next() => {}
            else => std::future::pending().await,
        }
    }

    /// Finishes the passes under way, gives back the lease and ends.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        let workers = async { while self.workers.join_next().await.is_some() {} };
        if timeout(self.stop_within, workers).await.is_err() {
            tracing::warn!("passes were cut short: they took too long");
        }
        self.workers.shutdown().await;
        if let Some(mut election) = self.election.take() {
            election.stop.send_replace(true);
            if timeout(RELEASE, &mut election.task).await.is_err() {
                tracing::warn!("the lease was not given back in time; it runs out");
            }
        }
        self.tasks.shutdown().await;
    }
}

fn elect(client: Client, options: &Options, lead: watch::Sender<bool>) -> Election {
    let (stop, mut stopped) = watch::channel(false);
    let task = if options.leader_elect {
        let candidate = Candidate {
            client,
            namespace: options.namespace.clone(),
            identity: options.identity.clone(),
            valid: options.lease_seconds,
        };
        tokio::spawn(leader::stand(candidate, lead, stopped))
    } else {
        tokio::spawn(async move {
            lead.send_replace(true);
            telemetry::leading(true);
            // An error means that nobody can stop it any more.
            drop(stopped.wait_for(|&stop| stop).await);
            lead.send_replace(false);
        })
    };
    Election { stop, task }
}

/// Lets the workers begin when this replica leads and the caches are filled, and has them look at everything.
async fn oversee(
    caches: Arc<Caches>,
    queue: Arc<Queue<Key>>,
    mut leading: watch::Receiver<bool>,
    active: watch::Sender<bool>,
) {
    while leading.wait_for(|&leads| leads).await.is_ok() {
        while !caches.synced() {
            sleep(FILLING).await;
        }
        queue.clear();
        caches.wake_all();
        active.send_replace(true);
        if leading.wait_for(|&leads| !leads).await.is_err() {
            return;
        }
        active.send_replace(false);
    }
}

/// One worker. It drops what it does at once when this replica no longer leads, and ends after it when told to stop.
async fn work(controller: Arc<Controller>, mut active: watch::Receiver<bool>, mut stopped: watch::Receiver<bool>) {
    loop {
        let key = tokio::select! {
            _ = stopped.wait_for(|&stop| stop) => return,
            key = next(&controller, &mut active) => key,
        };
        let Some(key) = key else { return };
        let pass = AssertUnwindSafe(controller.pass(&key)).catch_unwind();
        let panicked = tokio::select! {
            outcome = pass => outcome.is_err(),
            _ = active.wait_for(|&active| !active) => {
                controller.queue.done(&key, false);
                false
            }
        };
        if panicked {
            telemetry::error(key.resource.name(), "panic");
            tracing::error!(namespace = %key.namespace, name = %key.name, "a pass panicked");
            controller.queue.failed(&key);
        }
    }
}

/// The next key, while this replica acts; none when nobody can tell any more.
async fn next(controller: &Controller, active: &mut watch::Receiver<bool>) -> Option<Key> {
    active.wait_for(|&active| active).await.ok()?;
    Some(controller.queue.next().await)
}

/// Wakes those whose time has come.
async fn ring(alarms: Arc<Alarms<Key>>, queue: Arc<Queue<Key>>, clock: Arc<dyn Clock>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        alarms.due(clock.now()).into_iter().for_each(|key| queue.wake(key));
    }
}

/// Counts what is counted as a whole.
async fn count(caches: Arc<Caches>, queue: Arc<Queue<Key>>) {
    let mut ticks = interval(COUNT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        telemetry::workbenches(&caches.states());
        telemetry::depth(queue.depth());
    }
}
