//! Whatever happens, a workbench comes to rest, and nothing that has ended comes back by itself.

use proptest::prelude::*;

use super::*;

/// Something that happens to a workbench or its cluster.
#[derive(Debug, Clone, Copy)]
enum Event {
    Ask(AppState),
    Restart,
    Suspend(bool),
    Network(bool),
    ServerPod(bool),
    JobRuns,
    JobWaits,
    JobEnds(bool),
    PodsGo,
    JobGoes,
    ServerGoes,
    Adopted,
    Later(i64),
    Forget,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        prop_oneof![Just(AppState::Running), Just(AppState::Stopped), Just(AppState::Killed)].prop_map(Event::Ask),
        Just(Event::Restart),
        any::<bool>().prop_map(Event::Suspend),
        any::<bool>().prop_map(Event::Network),
        any::<bool>().prop_map(Event::ServerPod),
        Just(Event::JobRuns),
        Just(Event::JobWaits),
        any::<bool>().prop_map(Event::JobEnds),
        Just(Event::PodsGo),
        Just(Event::JobGoes),
        Just(Event::ServerGoes),
        Just(Event::Adopted),
        (1_i64..2000).prop_map(Event::Later),
        Just(Event::Forget),
    ]
}

fn happen(world: &mut World, event: Event) {
    let has_job = !world.seen.jobs.is_empty();
    match event {
        Event::Ask(state) => world.ask(state),
        Event::Restart => world.app(|app| *app.restart_generation.get_or_insert(0) += 1),
        Event::Suspend(suspended) => world.workbench.spec.suspended = Some(suspended),
        Event::Network(true) => world.network = Enforcement::InForce,
        Event::Network(false) => {
            world.network = Enforcement::Missing { reason: "NoWorkspace", message: "none".to_owned() };
        }
        Event::ServerPod(ready) => {
            world.seen.pods.retain(|pod| pod.labels.contains_key(labels::APP));
            let created = world.now;
            world.seen.pods.push(Arc::new(server_pod("s", ready, created)));
        }
        Event::JobRuns if has_job => world.app_runs(),
        Event::JobWaits if has_job => world.job(|job| job.status = JobStatus { active: 1, ..JobStatus::default() }),
        Event::JobEnds(well) if has_job => world.job(|job| {
            let kind = if well { "Complete" } else { "Failed" };
            job.status = JobStatus { conditions: vec![condition(kind, "True", "Reason")], ..JobStatus::default() };
        }),
        Event::PodsGo => {
            world.seen.pods.retain(|pod| !pod.labels.contains_key(labels::APP));
            if has_job {
                world.job(|job| (job.status.active, job.status.ready) = (0, 0));
            }
        }
        Event::JobGoes => world.seen.jobs.clear(),
        Event::ServerGoes => world.seen.deployment = None,
        Event::Adopted if world.seen.deployment.is_some() => world.deployment(|live| live.meta.ours = false),
        Event::Later(seconds) => world.later(seconds),
        Event::Forget => world.seen.absent.clear(),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn comes_to_rest(events in proptest::collection::vec(event(), 1..24)) {
        let mut world = World::with_app();
        for event in events {
            happen(&mut world, event);
            let status = world.settle();
            prop_assert_eq!(status.observed_generation, world.workbench.metadata.generation.unwrap());
            prop_assert!(world.seen.jobs.len() <= 1);
        }
    }

    #[test]
    fn what_has_ended_stays_so(
        well in any::<bool>(),
        events in proptest::collection::vec(event(), 1..24),
    ) {
        let mut world = World::with_app();
        world.pass();
        happen(&mut world, Event::JobEnds(well));
        let ended = world.settle().apps["a"].status;
        for event in events {
            if matches!(event, Event::Ask(_) | Event::Restart | Event::JobRuns | Event::JobWaits | Event::JobEnds(_)) {
                continue;
            }
            happen(&mut world, event);
            prop_assert_eq!(world.settle().apps["a"].status, ended);
        }
    }

    #[test]
    fn nothing_starts_in_the_open(events in proptest::collection::vec(event(), 1..24)) {
        let mut world = World::with_app();
        for event in events {
            happen(&mut world, event);
            let plan = world.plan();
            let starts = |step: &Step| match step {
                Step::Create(object) => object.kind == Kind::Job,
                Step::Apply(object) | Step::TakeOver(object) => {
                    object.kind == Kind::Deployment && object.value["spec"]["replicas"] == 1
                }
                Step::Patch { patch, .. } => patch["spec"]["suspend"] == false,
                _ => false,
            };
            if world.network != Enforcement::InForce {
                prop_assert!(!plan.steps.iter().any(starts), "{:?}", short(&plan.steps));
            }
            world.settle();
        }
    }
}

/// Writes from nothing to a desktop with three apps, as it goes where nothing goes wrong: at most six for the workbench, and
/// two for each app.
#[test]
fn few_writes() {
    let mut world = World::new();
    world.workbench.metadata.finalizers = None;
    for id in ["a", "b", "c"] {
        world.workbench.spec.apps.insert(id.to_owned(), app(id));
    }
    let mut writes = 0;
    let mut count = |world: &mut World| {
        let before = world.workbench.status.clone();
        let plan = world.pass();
        writes += plan.steps.len() + usize::from(plan.status != before);
    };
    count(&mut world);
    world.deployment(|live| (live.status.revision, live.status.generation) = (Some(1), (1, 1)));
    count(&mut world);
    let waits = |reason: &str| ContainerState::Waiting { reason: reason.to_owned(), message: String::new() };
    let runs = ContainerState::Running { since: Some(world.now) };
    let starts = [
        (waits("PodInitializing"), waits("PodInitializing")),
        (runs.clone(), waits("PodInitializing")),
        (runs.clone(), waits("ContainerCreating")),
        (runs.clone(), runs.clone()),
    ];
    for (relay, server) in starts {
        let mut pod = server_pod("s", false, world.now);
        (pod.init[0].state, pod.containers[0].state) = (relay, server);
        world.seen.pods = vec![Arc::new(pod)];
        count(&mut world);
    }
    world.seen.pods = vec![Arc::new(server_pod("s", true, world.now))];
    world.deployment(|live| live.status.conditions = vec![available()]);
    count(&mut world);
    for status in [(1, 0), (1, 1)] {
        for job in world.seen.jobs.clone() {
            world.job_of(&job.meta.name, |job| (job.status.active, job.status.ready) = status);
        }
        count(&mut world);
    }
    assert_eq!(world.settle().apps["c"].status, AppHealth::Running);
    assert!(writes <= 6 + 2 * 3, "{writes}");
}
