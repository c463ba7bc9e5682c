//! One pass over one resource: what is seen, the plan, its steps, the status.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use kube::api::ObjectMeta;
use serde::Serialize;
use serde_json::Value;

use super::{
    super::{
        super::clock::Clock,
        api::{Workbench, WorkbenchStatus, labels, workbench::AppHealth},
        plan::{Notice, Plan},
        workbench, workspace,
    },
    alarms::Alarms,
    caches::{Caches, Key, Resource, label},
    events::Recorder,
    queue::Queue,
    refusals::{self, Generation, Refusals},
    status,
    steps::{Hands, Next, Pass, Subject},
    telemetry,
    writer::{Fault, Writer},
};

/// How often a pass may plan anew before it gives way to others.
const ROUNDS: usize = 16;
/// How often a resource fails in a row before people are told.
const PATIENCE: u32 = 3;

/// Brings resources to where they shall be.
pub struct Controller {
    /// What is known.
    pub caches: Arc<Caches>,
    /// What to work on.
    pub queue: Arc<Queue<Key>>,
    /// When to look again.
    pub alarms: Arc<Alarms<Key>>,
    /// How requests go out.
    pub writer: Writer,
    /// How people are told.
    pub recorder: Recorder,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What was refused, so that it is not sent again in every pass.
    pub refusals: Refusals,
    /// Whose status waits for the next pass.
    pub postponed: Mutex<HashSet<Key>>,
}

/// Plans a resource; none if it is gone.
type Planner<S> = fn(&Controller, &Key, &Pass, DateTime<Utc>) -> Option<Round<S>>;

/// What the plan of one round says.
struct Round<S> {
    plan: Plan<S>,
    metadata: ObjectMeta,
    before: Option<S>,
    /// How long the apps took that run for the first time now.
    starts: Vec<Duration>,
}

impl Controller {
    /// One pass, with everything that follows from how it went.
    pub async fn pass(&self, key: &Key) {
        let start = tokio::time::Instant::now();
        let mut pass =
            Pass { refused: self.refusals.of(key, self.generation(key), self.clock.now()), ..Pass::default() };
        let outcome = match key.resource {
            Resource::Workbench => self.reconcile(key, &mut pass, Self::workbench).await,
            Resource::Workspace => self.reconcile(key, &mut pass, Self::workspace).await,
        };
        if pass.learned {
            self.refusals.keep(key, self.generation(key), self.clock.now(), std::mem::take(&mut pass.refused));
        }
        let outcome = outcome.and_then(|()| pass.setback.take().map_or(Ok(()), Err));
        let result = if outcome.is_ok() { "success" } else { "error" };
        telemetry::reconciled(key.resource.name(), result, start.elapsed());
        match outcome {
            Ok(()) | Err(Fault::NotLeading) => {
                // Our own writes wake nobody, and there may be more to do after them.
                if pass.wrote {
                    self.queue.wake(key.clone());
                }
                self.queue.done(key, pass.rests);
            }
            Err(fault) => self.failed(key, &fault).await,
        }
    }

    fn generation(&self, key: &Key) -> Generation {
        let of =
            |metadata: &ObjectMeta| (metadata.uid.clone().unwrap_or_default(), metadata.generation.unwrap_or_default());
        match key.resource {
            Resource::Workbench => self.caches.workbench(key).map(|object| of(&object.metadata)),
            Resource::Workspace => self.caches.workspace(key).map(|object| of(&object.metadata)),
        }
        .unwrap_or_default()
    }

    async fn failed(&self, key: &Key, fault: &Fault) {
        telemetry::error(key.resource.name(), fault.reason());
        let metadata = match key.resource {
            Resource::Workbench => self.caches.workbench(key).map(|object| object.metadata.clone()),
            Resource::Workspace => self.caches.workspace(key).map(|object| object.metadata.clone()),
        };
        let (failures, wait) = self.queue.failed(key);
        let (kind, namespace, name) = (key.resource.name(), &*key.namespace, &*key.name);
        if failures < PATIENCE {
            tracing::debug!(kind, namespace, name, %fault, failures, ?wait, "trying again");
            return;
        }
        tracing::warn!(kind, namespace, name, %fault, failures, ?wait, "trying again");
        if let Some(metadata) = metadata {
            let notice = Notice { warning: true, reason: "ReconcileFailed", note: fault.to_string() };
            self.recorder.tell(key, &metadata, &notice).await;
        }
    }

    /// Plans and acts until nothing more is learned, then writes the status.
    async fn reconcile<S: Serialize + PartialEq>(
        &self,
        key: &Key,
        pass: &mut Pass,
        plan: Planner<S>,
    ) -> Result<(), Fault> {
        let hands = Hands { caches: &self.caches, writer: &self.writer, key };
        for _ in 0..ROUNDS {
            let now = self.clock.now();
            let Some(round) = plan(self, key, pass, now) else {
                self.alarms.set(key, None);
                self.postpones(key, false);
                return Ok(());
            };
            let subject = Subject {
                version: round.metadata.resource_version.clone().unwrap_or_default(),
                finalizers: round.metadata.finalizers.clone().unwrap_or_default(),
            };
            if hands.perform(&round.plan.steps, &subject, pass).await? == Next::Plan {
                continue;
            }
            let again = (!pass.refused.is_empty()).then(|| now + refusals::KEPT);
            self.alarms.set(key, round.plan.wake.into_iter().chain(again).min());
            return self.conclude(key, round, pass).await;
        }
        Err(Fault::Endless)
    }

    /// Writes the status and tells people, if there is something new.
    async fn conclude<S: Serialize + PartialEq>(
        &self,
        key: &Key,
        round: Round<S>,
        pass: &mut Pass,
    ) -> Result<(), Fault> {
        let Round { plan, metadata, before, starts } = round;
        let changed = plan.status.is_some() && plan.status != before;
        let postponed = self.postpones(key, changed && pass.wrote);
        if changed && !postponed {
            let json = |status: &Option<S>| serde_json::to_value(status).unwrap_or_default();
            let uid = metadata.uid.as_deref().unwrap_or_default();
            self.write_status(key, &status::body(uid, &json(&before), &json(&plan.status))).await?;
            starts.into_iter().for_each(telemetry::app_started);
        }
        pass.rests |= changed;
        // What a pass that changes nothing has to say was said by the one that did.
        if changed || pass.wrote {
            for notice in &plan.notices {
                self.recorder.tell(key, &metadata, notice).await;
            }
        }
        Ok(())
    }

    /// After steps the status waits for the next pass, which follows shortly and knows what came of them; but only once.
    fn postpones(&self, key: &Key, may: bool) -> bool {
        let mut postponed = self.postponed.lock().unwrap_or_else(PoisonError::into_inner);
        if may && postponed.insert(key.clone()) {
            return true;
        }
        postponed.remove(key);
        false
    }

    async fn write_status(&self, key: &Key, body: &Value) -> Result<(), Fault> {
        match self.writer.status(key, body).await {
            Ok(text) => drop(self.caches.feed_resource(key, &text)),
            Err(Fault::Api(status)) if status.code == 404 => self.caches.forget_resource(key),
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    fn workbench(&self, key: &Key, pass: &Pass, now: DateTime<Utc>) -> Option<Round<WorkbenchStatus>> {
        let workbench = self.caches.workbench(key)?;
        let mut seen = self.caches.seen(key);
        seen.absent.clone_from(&pass.absent);
        seen.refused.clone_from(&pass.refused);
        let plan = workbench::plan(&workbench, &seen, &self.caches.facts(key), now);
        let starts = plan.status.as_ref().map(|status| starts(&workbench, &seen, status, now)).unwrap_or_default();
        Some(Round { plan, metadata: workbench.metadata.clone(), before: workbench.status.clone(), starts })
    }

    fn workspace(
        &self,
        key: &Key,
        pass: &Pass,
        now: DateTime<Utc>,
    ) -> Option<Round<super::super::api::WorkspaceStatus>> {
        let workspace = self.caches.workspace(key)?;
        let mut seen = self.caches.namespace(&key.namespace);
        seen.refused.clone_from(&pass.refused);
        let plan = workspace::plan(&workspace, &seen, &self.caches.settings, now);
        Some(Round { plan, metadata: workspace.metadata.clone(), before: workspace.status.clone(), starts: Vec::new() })
    }
}

/// How long the apps took that run for the first time now.
fn starts(
    workbench: &Workbench,
    seen: &workbench::Seen,
    status: &WorkbenchStatus,
    now: DateTime<Utc>,
) -> Vec<Duration> {
    let runs = |status: &WorkbenchStatus, app: &str| {
        status.apps.get(app).is_some_and(|record| record.status == AppHealth::Running)
    };
    let ran = |app: &str| workbench.status.as_ref().is_some_and(|status| runs(status, app));
    let took = |app: &String| {
        let is_its = |body: &Value| label(body, labels::APP) == Some(app);
        let job = seen.jobs.iter().find(|job| is_its(&job.body.value()))?;
        Some((now - job.meta.created).to_std().unwrap_or(Duration::ZERO))
    };
    status.apps.keys().filter(|app| runs(status, app) && !ran(app)).filter_map(took).collect()
}
