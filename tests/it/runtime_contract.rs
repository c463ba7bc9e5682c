//! What the loop that reconciles takes for granted of every runtime, written once.
//!
//! A case gets the runtime and a workspace of its own, so the cases run one after the other on the same runtime. Apps have
//! the images of [`support::runtime`](crate::support::runtime), which a real runtime maps to commands.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use chorus::server::runtime::{
    self, AppObservation, AppSpec, AppState, AppStatus, Clipboard, Event, Limits, Observation, PodStatus, Removal,
    ServerStatus, SharedRuntime, WorkbenchRef, WorkbenchSpec, WorkspaceSpec,
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};

use crate::support::runtime::{ENDS, FAILS, STAYS, Scripted};

/// How long a real desktop may take to start or end.
const PATIENCE: Duration = Duration::from_secs(30);

type Body = fn(Case) -> BoxFuture<'static, ()>;

/// The cases, each with its name.
const CASES: &[(&str, Body)] = &[
    ("a desktop starts, is observed and listed, and goes", |case| starts_and_goes(case).boxed()),
    ("orders may be repeated", |case| orders_repeat(case).boxed()),
    ("a stopped desktop starts again", |case| stops_and_starts(case).boxed()),
    ("what is not there is gone", |case| absent_is_gone(case).boxed()),
    ("each order is answered under its generation", |case| generations(case).boxed()),
    ("apps start, end and fail", |case| apps_end(case).boxed()),
    ("an app that ended stays so until it is restarted", |case| ended_apps_stay_ended(case).boxed()),
    ("apps are stopped, killed and left out", |case| apps_are_ended(case).boxed()),
    ("observers see what happens after they were opened", |case| observers(case).boxed()),
    ("a connection to nothing fails for now", |case| connecting(case).boxed()),
];

/// Runs every case on this runtime. Call it within a runtime of tokio.
pub async fn check(runtime: SharedRuntime) {
    for (number, (name, body)) in CASES.iter().enumerate() {
        let case = Case { runtime: runtime.clone(), workspace: 7_000 + i64::try_from(number).unwrap() };
        let workspace = case.workspace;
        case.runtime.apply_workspace(&case.workspace_spec()).await.unwrap();
        let done = AssertUnwindSafe(body(case.clone())).catch_unwind().await;
        assert!(done.is_ok(), "the runtime {} breaks the contract: {name}", runtime.name());
        case.removed().await;
        while runtime.delete_workspace(workspace).await.unwrap() == Removal::Going {
            tokio::task::yield_now().await;
        }
    }
}

/// The runtime under test, and a workspace that no other case uses.
#[derive(Clone)]
struct Case {
    runtime: SharedRuntime,
    workspace: i64,
}

impl Case {
    fn workspace_spec(&self) -> WorkspaceSpec {
        WorkspaceSpec {
            id: self.workspace,
            tenant: 1,
            generation: 1,
            network_policy: "Airgapped".to_owned(),
            allowed_fqdns: Vec::new(),
        }
    }

    /// The one workbench of the case.
    fn of(&self) -> WorkbenchRef {
        WorkbenchRef { workspace: self.workspace, workbench: self.workspace * 10 }
    }

    fn spec(&self, generation: i64, apps: Vec<AppSpec>) -> WorkbenchSpec {
        WorkbenchSpec {
            of: self.of(),
            tenant: 1,
            generation,
            owner: (3, "ada".to_owned()),
            resolution: (1280, 720),
            clipboard: Clipboard::Disabled,
            apps,
        }
    }

    fn app(&self, number: i64, image: &str, state: AppState, incarnation: i64) -> AppSpec {
        AppSpec {
            id: self.workspace * 100 + number,
            name: "Contract".to_owned(),
            state,
            incarnation,
            registry: String::new(),
            image: image.to_owned(),
            tag: "1".to_owned(),
            limits: Limits::default(),
            browser: None,
        }
    }

    async fn listed(&self) -> Option<Observation> {
        let list = self.runtime.list().await.unwrap();
        list.into_iter().find(|seen| seen.of == self.of())
    }

    /// Applies, and waits until this holds.
    async fn apply_until(&self, spec: &WorkbenchSpec, holds: impl Fn(&Observation) -> bool) -> Observation {
        let mut events = self.runtime.observe();
        self.runtime.apply(spec).await.unwrap();
        self.until(&mut events, holds).await
    }

    /// Waits for an observation of the workbench for which this holds.
    async fn until(&self, events: &mut BoxStream<'_, Event>, holds: impl Fn(&Observation) -> bool) -> Observation {
        let mut last = None;
        let wanted = async {
            while let Some(event) = events.next().await {
                let seen = match event {
                    Event::Seen(seen) if seen.of == self.of() => seen,
                    Event::Missed => match self.listed().await {
                        Some(seen) => seen,
                        None => continue,
                    },
                    _ => continue,
                };
                if holds(&seen) {
                    return Some(seen);
                }
                last = Some(seen);
            }
            None
        };
        let seen = tokio::time::timeout(PATIENCE, wanted).await.ok().flatten();
        seen.unwrap_or_else(|| panic!("it did not come so far; last: {last:?}"))
    }

    async fn until_gone(&self, events: &mut BoxStream<'_, Event>) {
        let gone = async {
            while let Some(event) = events.next().await {
                match event {
                    Event::Gone(of) if of == self.of() => return true,
                    Event::Missed if self.listed().await.is_none() => return true,
                    _ => {}
                }
            }
            false
        };
        assert!(tokio::time::timeout(PATIENCE, gone).await.unwrap_or(false), "it was not told that it is gone");
    }

    async fn stopped(&self) {
        self.ended(|| self.runtime.stop(self.of())).await;
    }

    async fn removed(&self) {
        self.ended(|| self.runtime.delete(self.of())).await;
    }

    async fn ended<'a, F>(&'a self, remove: impl Fn() -> F)
    where
        F: Future<Output = runtime::Result<Removal>> + 'a,
    {
        let mut events = self.runtime.observe();
        if remove().await.unwrap() == Removal::Going {
            self.until_gone(&mut events).await;
        }
        assert_eq!(remove().await.unwrap(), Removal::Gone);
        assert_eq!(self.listed().await, None);
    }
}

fn ready(seen: &Observation) -> bool {
    seen.pod == PodStatus::Ready && seen.server == ServerStatus::Running
}

/// Whether the desktop is ready and the app of this id and incarnation is in this status.
fn app_is(id: i64, incarnation: i64, status: AppStatus) -> impl Fn(&Observation) -> bool {
    move |seen| {
        let wanted = |app: &AppObservation| (app.id, app.incarnation, app.status) == (id, incarnation, status);
        ready(seen) && seen.apps.iter().any(wanted)
    }
}

async fn starts_and_goes(case: Case) {
    let seen = case.apply_until(&case.spec(1, Vec::new()), ready).await;
    assert_eq!((seen.generation, seen.apps.len()), (1, 0));
    assert!(case.listed().await.is_some_and(|seen| ready(&seen) && seen.generation == 1));
    let mut events = case.runtime.observe();
    case.removed().await;
    case.until_gone(&mut events).await;
}

async fn orders_repeat(case: Case) {
    let app = case.app(1, STAYS, AppState::Running, 1);
    let spec = case.spec(4, vec![app.clone()]);
    let running = app_is(app.id, 1, AppStatus::Running);
    case.apply_until(&spec, &running).await;
    case.runtime.apply_workspace(&case.workspace_spec()).await.unwrap();
    case.runtime.apply(&spec).await.unwrap();
    case.runtime.apply(&spec).await.unwrap();
    assert!(case.listed().await.is_some_and(|seen| running(&seen)), "it runs on as it was");
    case.stopped().await;
    case.stopped().await;
    case.removed().await;
    case.removed().await;
}

async fn stops_and_starts(case: Case) {
    let app = case.app(1, STAYS, AppState::Running, 1);
    case.apply_until(&case.spec(1, vec![app.clone()]), app_is(app.id, 1, AppStatus::Running)).await;
    case.stopped().await;
    let seen = case.apply_until(&case.spec(3, vec![app.clone()]), app_is(app.id, 1, AppStatus::Running)).await;
    assert_eq!(seen.generation, 3, "an app that did not end comes back with its desktop");
}

async fn absent_is_gone(case: Case) {
    assert_eq!(case.runtime.stop(case.of()).await.unwrap(), Removal::Gone);
    assert_eq!(case.runtime.delete(case.of()).await.unwrap(), Removal::Gone);
    assert_eq!(case.listed().await, None);
    let logs = case.runtime.logs(case.of(), 1, 100).await;
    assert!(logs.is_ok_and(|text| text.is_empty()));
}

async fn generations(case: Case) {
    let app = case.app(1, STAYS, AppState::Running, 1);
    let running = app_is(app.id, 1, AppStatus::Running);
    // a database that was restored has lower ones
    for generation in [1, 2, 9, 3] {
        let of_this = |seen: &Observation| seen.generation == generation && running(seen);
        case.apply_until(&case.spec(generation, vec![app.clone()]), of_this).await;
        assert_eq!(case.listed().await.unwrap().generation, generation);
    }
}

async fn apps_end(case: Case) {
    let stays = case.app(1, STAYS, AppState::Running, 1);
    let ends = case.app(2, ENDS, AppState::Running, 1);
    let fails = case.app(3, FAILS, AppState::Running, 1);
    let spec = case.spec(1, vec![stays.clone(), ends.clone(), fails.clone()]);
    let seen = case
        .apply_until(&spec, |seen| {
            app_is(stays.id, 1, AppStatus::Running)(seen)
                && app_is(ends.id, 1, AppStatus::Complete)(seen)
                && app_is(fails.id, 1, AppStatus::Failed)(seen)
        })
        .await;
    let failed = seen.apps.iter().find(|app| app.id == fails.id).unwrap();
    assert!(failed.message.contains('3') && failed.message.contains("broken"), "it says why: {}", failed.message);
    let logs = case.runtime.logs(case.of(), fails.id, 1000).await.unwrap();
    assert!(logs.contains("broken"), "{logs}");
    assert!(case.runtime.logs(case.of(), fails.id, 3).await.unwrap().len() <= 3);
}

async fn ended_apps_stay_ended(case: Case) {
    let ends = |incarnation, image| case.app(1, image, AppState::Running, incarnation);
    let id = ends(1, ENDS).id;
    let complete = app_is(id, 1, AppStatus::Complete);
    case.apply_until(&case.spec(1, vec![ends(1, ENDS)]), &complete).await;
    // would it be started again, it would stay
    let same = |seen: &Observation| seen.generation == 2 && complete(seen);
    case.apply_until(&case.spec(2, vec![ends(1, STAYS)]), same).await;
    case.apply_until(&case.spec(3, vec![ends(2, STAYS)]), app_is(id, 2, AppStatus::Running)).await;
}

async fn apps_are_ended(case: Case) {
    let app = |number, state| case.app(number, STAYS, state, 1);
    let all = |state| vec![app(1, state), app(2, state), app(3, state)];
    let [one, two, three] = [1, 2, 3].map(|number| app(number, AppState::Running).id);
    let three_runs = app_is(three, 1, AppStatus::Running);
    case.apply_until(&case.spec(1, all(AppState::Running)), |seen| {
        [one, two].iter().all(|id| app_is(*id, 1, AppStatus::Running)(seen)) && three_runs(seen)
    })
    .await;
    let some = vec![app(1, AppState::Stopped), app(2, AppState::Killed), app(3, AppState::Running)];
    case.apply_until(&case.spec(2, some), |seen| {
        app_is(one, 1, AppStatus::Stopped)(seen) && app_is(two, 1, AppStatus::Killed)(seen) && three_runs(seen)
    })
    .await;
    // left out: it runs no longer
    case.apply_until(&case.spec(3, Vec::new()), |seen| {
        seen.generation == 3 && ready(seen) && seen.apps.iter().all(|app| app.status.has_ended())
    })
    .await;
}

async fn observers(case: Case) {
    let (mut early, mut other) = (case.runtime.observe(), case.runtime.observe());
    case.apply_until(&case.spec(1, Vec::new()), ready).await;
    case.removed().await;
    // nobody polled them until now
    for events in [&mut early, &mut other] {
        case.until_gone(events).await;
    }
}

async fn connecting(case: Case) {
    let error = case.runtime.connect(case.of()).await.err().unwrap();
    assert!(error.transient, "{error}");
}

#[tokio::test]
async fn the_scripted_runtime_keeps_it() {
    check(Arc::new(Scripted::default())).await;
}
