//! What pods say, row by row.

use super::{
    super::{super::api::workbench::PodHealth, pods},
    *,
};

fn waiting(reason: &str, message: &str) -> ContainerState {
    ContainerState::Waiting { reason: reason.to_owned(), message: message.to_owned() }
}

fn ended(code: i32, reason: &str, message: &str) -> ContainerState {
    ContainerState::Terminated { code, reason: reason.to_owned(), message: message.to_owned() }
}

fn since(now: DateTime<Utc>, minutes: i64) -> ContainerState {
    ContainerState::Running { since: Some(now - TimeDelta::minutes(minutes)) }
}

type Change = Box<dyn Fn(&mut Pod)>;

fn relay(state: ContainerState) -> Change {
    Box::new(move |pod| {
        let relay = &mut pod.init[0];
        (relay.ready, relay.restarts, relay.state) = (false, 4, state.clone());
    })
}

fn desktop(state: ContainerState, ready: bool, restarts: i32) -> Change {
    Box::new(move |pod| {
        let server = &mut pod.containers[0];
        (server.ready, server.restarts, server.state) = (ready, restarts, state.clone());
    })
}

#[test]
fn server_pods() {
    use PodHealth::{Failing, Ready, Restarting, Starting, Terminated, Terminating, Unknown, Waiting};
    let now = World::new().now;
    let running = || since(now, 60);
    let rows: Vec<(Change, PodHealth, i32, &str)> = vec![
        (Box::new(|pod| pod.meta.deleting = true), Terminating, 0, "being removed"),
        (Box::new(|pod| pod.init.clear()), Unknown, 0, "xpra-server-bind"),
        (Box::new(|pod| pod.containers.clear()), Unknown, 0, "no container xpra-server."),
        (relay(waiting("ImagePullBackOff", "")), Waiting, 4, "waiting: ImagePullBackOff"),
        (relay(waiting("ErrImagePull", "denied")), Waiting, 4, "ErrImagePull - denied"),
        (relay(waiting("PodInitializing", "")), Starting, 4, "starts"),
        (relay(running()), Starting, 4, "starts"),
        (relay(ended(1, "Error", "bind")), Failing, 4, "exit code 1: Error - bind"),
        (relay(ContainerState::None), Unknown, 4, "unknown"),
        (desktop(waiting("CrashLoopBackOff", "detail"), false, 3), Waiting, 3, "Waiting: CrashLoopBackOff"),
        (desktop(waiting("PodInitializing", ""), false, 0), Starting, 0, "starts"),
        (desktop(ended(137, "OOMKilled", ""), false, 1), Terminated, 1, "Terminated: OOMKilled"),
        (desktop(ContainerState::None, false, 0), Unknown, 0, "unknown"),
        (desktop(running(), true, 2), Ready, 2, "answers"),
        (desktop(since(now, 4), false, 2), Restarting, 2, "2 times"),
        (desktop(since(now, 5), false, 2), Failing, 2, "does not answer"),
        (desktop(since(now, 1), false, 0), Starting, 0, "starts"),
        (desktop(since(now, 2), false, 0), Failing, 0, "does not answer"),
        (desktop(ContainerState::Running { since: None }, false, 0), Failing, 0, "does not answer"),
        (
            Box::new(|pod| {
                pod.phase = "Pending".to_owned();
                pod.init.clear();
                pod.containers.clear();
            }),
            Starting,
            0,
            "starts",
        ),
        (
            Box::new(|pod| (pod.phase, pod.reason) = ("Failed".to_owned(), Some("Evicted".to_owned()))),
            Terminated,
            0,
            "Evicted",
        ),
        (
            Box::new(|pod| {
                pod.init.clear();
                pod.containers.clear();
                let mut why = condition("PodScheduled", "False", "Unschedulable");
                why.message = "no nodes".to_owned();
                pod.unscheduled = Some(why);
            }),
            Waiting,
            0,
            "Scheduling: Unschedulable - no nodes",
        ),
    ];
    for (change, health, restarts, text) in rows {
        let mut pod = server_pod("s", true, now);
        change(&mut pod);
        let seen = pods::server(Some(&pod), now).what;
        let message = seen.message.unwrap();
        assert_eq!((seen.status, seen.ready, seen.restart_count), (health, health == Ready, restarts), "{message}");
        assert!(message.contains(text), "{message}");
    }
    let none = pods::server(None, now).what;
    assert_eq!((none.status, none.ready), (Unknown, false));
}

#[test]
fn time_alone_changes_what_is_said() {
    let now = World::new().now;
    for (restarts, minutes, until) in
        [(0, 1, Some(now + TimeDelta::minutes(1))), (1, 1, Some(now + TimeDelta::minutes(4))), (0, 3, None)]
    {
        let mut pod = server_pod("s", true, now);
        desktop(since(now, minutes), false, restarts)(&mut pod);
        assert_eq!(pods::server(Some(&pod), now).until, until);
    }
    let mut world = World::new();
    world.ready();
    let mut pod = server_pod("s", false, world.now);
    pod.meta.created += TimeDelta::seconds(1);
    world.seen.pods.push(Arc::new(pod));
    world.pass();
    let wake = world.plan().wake.unwrap();
    assert_eq!(wake, world.now + TimeDelta::minutes(2));
    world.now = wake;
    world.settle();
    assert_eq!(world.condition("ServerAvailable").1, "Failing");
    assert_eq!(world.plan().wake, None);
}

#[test]
fn app_pods() {
    let now = World::new().now;
    let running = |minutes: i64, ready: bool, restarts: i32| -> Change {
        Box::new(move |pod| {
            let container = &mut pod.containers[0];
            (container.state, container.ready, container.restarts) = (since(now, minutes), ready, restarts);
        })
    };
    let state = |state: ContainerState| -> Change {
        Box::new(move |pod| (pod.containers[0].state, pod.containers[0].ready) = (state.clone(), false))
    };
    let setup = |state: ContainerState| -> Change {
        Box::new(move |pod| {
            pod.init = vec![Container { name: "app-init".to_owned(), state: state.clone(), ..Container::default() }];
            pod.containers[0].state = waiting("PodInitializing", "");
        })
    };
    let rows: Vec<(Change, &str, &str)> = vec![
        (Box::new(|pod| pod.meta.deleting = true), "Terminating", "being removed"),
        (
            Box::new(|pod| {
                pod.containers.clear();
                pod.unscheduled = Some(condition("PodScheduled", "False", "Unschedulable"));
            }),
            "PodPending",
            "Scheduling: Unschedulable",
        ),
        (Box::new(|pod| pod.containers.clear()), "Starting", "starts"),
        (
            Box::new(|pod| (pod.phase, pod.reason) = ("Failed".to_owned(), Some("Evicted".to_owned()))),
            "PodFailed",
            "Evicted",
        ),
        (state(waiting("ImagePullBackOff", "no such image")), "ImagePullBackOff", "ImagePullBackOff - no such image"),
        (state(waiting("CreateContainerConfigError", "")), "CreateContainerConfigError", "Waiting"),
        (state(waiting("ContainerCreating", "")), "Starting", "starts"),
        (state(ended(2, "Error", "boom")), "Terminated", "exit code 2: Error - boom"),
        (state(ContainerState::None), "Unknown", "unknown"),
        (running(60, true, 0), "Starting", "starts"),
        (running(1, false, 0), "Starting", "starts"),
        (running(2, false, 0), "NotReady", "readiness probe"),
        (running(1, false, 1), "NotReady", "readiness probe"),
        // the container that sets up, which the main one waits for
        (setup(waiting("CrashLoopBackOff", "back-off")), "CrashLoopBackOff", "app-init"),
        (setup(ended(1, "Error", "no folder")), "SetupFailed", "no folder"),
        (setup(ended(0, "Completed", "")), "Starting", "starts"),
        (setup(since(now, 1)), "Starting", "starts"),
    ];
    for (change, reason, text) in rows {
        let mut pod = app_pod("j", since(now, 60), now);
        change(&mut pod);
        let delay = pods::app(Some(&pod), now).what;
        assert_eq!(delay.reason, reason, "{}", delay.message);
        assert!(delay.message.contains(text), "{}", delay.message);
    }
    assert_eq!(pods::app(None, now).what.reason, "Starting");
}
