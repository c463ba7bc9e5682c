//! How the server fares: every row of the notes, and more.

use super::{
    super::super::api::workbench::{Clipboard, DeploymentHealth, PodHealth, Server},
    *,
};

fn message(condition: SeenCondition, message: &str) -> SeenCondition {
    SeenCondition { message: message.to_owned(), ..condition }
}

#[test]
fn what_the_deployment_says() {
    use DeploymentHealth::{Failed, Progressing, Running};
    let progressing = |status: &str, reason: &str| condition("Progressing", status, reason);
    let unavailable = || condition("Available", "False", "MinimumReplicasUnavailable");
    let failure = || condition("ReplicaFailure", "True", "FailedCreate");
    for (conditions, expected) in [
        (vec![], Progressing),
        (vec![available()], Running),
        (vec![unavailable()], Progressing),
        (vec![progressing("True", "NewReplicaSetAvailable"), available()], Running),
        // the order says nothing
        (vec![available(), progressing("True", "NewReplicaSetAvailable")], Running),
        (vec![unavailable(), progressing("False", "ProgressDeadlineExceeded")], Failed),
        (vec![progressing("False", "ProgressDeadlineExceeded"), unavailable()], Failed),
        (vec![progressing("True", "ReplicaSetUpdated"), unavailable()], Progressing),
        (vec![progressing("Unknown", "DeploymentPaused")], Progressing),
        (vec![failure()], Failed),
        (vec![failure(), unavailable()], Failed),
        // a full quota may empty again: the deadline decides
        (vec![failure(), progressing("True", "ReplicaSetUpdated")], Progressing),
        (vec![failure(), available()], Running),
        (vec![condition("SomethingNew", "True", "")], Progressing),
    ] {
        let mut world = World::new();
        world.ready();
        world.deployment(|live| live.status.conditions.clone_from(&conditions));
        let status = world.pass().status.unwrap();
        assert_eq!(status.server_deployment.status, expected, "{conditions:?}");
        // what is said about an earlier generation says nothing
        world.deployment(|live| live.status.generation = (2, 1));
        assert_eq!(world.pass().status.unwrap().server_deployment.status, Progressing);
    }
}

#[test]
fn revisions() {
    for (revision, expected) in [(None, -1), (Some(7), 7)] {
        let mut world = World::new();
        world.ready();
        world.deployment(|live| live.status.revision = revision);
        assert_eq!(world.pass().status.unwrap().server_deployment.revision, expected);
    }
}

#[test]
fn a_deadline_that_passed_is_told_once() {
    let mut world = World::new();
    world.ready();
    world.settle();
    world.seen.pods.clear();
    world.deployment(|live| {
        live.status.conditions =
            vec![message(condition("Progressing", "False", "ProgressDeadlineExceeded"), "too slow")];
    });
    let plan = world.pass();
    assert!(plan.steps.is_empty());
    assert_eq!(plan.notices.iter().filter(|notice| notice.reason == "ServerFailed").count(), 1);
    assert_eq!(world.condition("ServerAvailable"), ("False".to_owned(), "ProgressDeadlineExceeded".to_owned()));
    world.later(10_000);
    world.settle();
}

#[test]
fn conditions_keep_the_time_of_their_transition() {
    let mut world = World::new();
    world.ready();
    let first = world.settle().conditions;
    let times = |conditions: &[super::super::super::api::Condition]| {
        conditions.iter().map(|c| (c.type_.clone(), c.last_transition_time.0.as_second())).collect::<Vec<_>>()
    };
    let kinds: Vec<_> = first.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(kinds, ["Ready", "ServerAvailable", "StorageReady", "NetworkIsolated", "Outdated"]);
    world.later(60);
    world.workbench.metadata.generation = Some(9);
    let second = world.settle().conditions;
    assert_eq!(times(&first), times(&second));
    assert!(second.iter().all(|condition| condition.observed_generation == Some(9)));
    world.later(60);
    world.seen.pods.clear();
    let third = world.settle().conditions;
    let moved: Vec<_> = third
        .iter()
        .filter(|condition| condition.last_transition_time.0.as_second() == world.now.timestamp())
        .map(|condition| condition.type_.as_str())
        .collect();
    assert_eq!(moved, ["Ready", "ServerAvailable"]);
}

#[test]
fn only_server_pods_count_and_the_newest_of_them() {
    let mut world = World::with_app();
    world.pass();
    world.seen.pods.clear();
    world.seen.pods.push(Arc::new(server_pod("old", false, world.now)));
    world.seen.pods.push(Arc::new(server_pod("new", true, world.now + TimeDelta::seconds(9))));
    world.app_runs();
    let pod = world.settle().server_deployment.server_pod.unwrap();
    assert_eq!(pod.status, PodHealth::Ready);
}

#[test]
fn spec_changes_reach_the_server() {
    let mut world = World::new();
    world.ready();
    world.settle();
    let server = |world: &mut World| world.workbench.spec.server.get_or_insert_default().clone();
    for change in [
        |server: &mut Server| server.version = Some("7".to_owned()),
        |server: &mut Server| server.clipboard = Some(Clipboard::Both),
        |server: &mut Server| {
            (server.initial_resolution_width, server.initial_resolution_height) = (Some(800), Some(600))
        },
        // what is no longer wanted, too
        |server: &mut Server| (server.initial_resolution_width, server.initial_resolution_height) = (None, None),
    ] {
        let mut changed = server(&mut world);
        change(&mut changed);
        world.workbench.spec.server = Some(changed);
        let plan = world.pass();
        assert_eq!(short(&plan.steps), ["apply Deployment workbench1-server"]);
        assert!(plan.notices.iter().any(|notice| notice.reason == "UpdatingDeployment"));
        world.settle();
    }
}

#[test]
fn drift_is_healed() {
    let mut world = World::new();
    world.ready();
    world.settle();
    world.deployment(|live| merge(&mut live.body, &json!({ "spec": { "replicas": 3 } })));
    assert_eq!(short(&world.pass().steps), ["apply Deployment workbench1-server"]);
    let service = world.seen.service.as_mut().unwrap();
    change(service, |live| merge(&mut live.body, &json!({ "spec": { "type": "NodePort" } })));
    assert_eq!(short(&world.pass().steps), ["apply Service workbench1"]);
    world.seen.policy = None;
    assert_eq!(short(&world.pass().steps), ["apply NetworkPolicy workbench1-netpol-server"]);
    world.settle();
}

#[test]
fn what_the_api_server_refuses_is_reported() {
    for (kind, name) in [(Kind::Deployment, "workbench1-server"), (Kind::Service, "workbench1")] {
        let mut world = World::new();
        world.workbench.spec.apps.insert("a".to_owned(), app("term"));
        let target = Target { kind, namespace: "workspace1".to_owned(), name: name.to_owned(), uid: None };
        world.seen.refused.insert(target, "never".to_owned());
        let status = world.settle();
        assert_eq!(status.server_deployment.status, DeploymentHealth::Failed);
        assert_eq!(world.condition("ServerAvailable").1, "Refused");
        is(&status.apps["a"], AppHealth::Progressing, "WaitingForServer");
    }
}

#[test]
fn a_server_that_cannot_be_changed_goes_on() {
    let mut world = World::new();
    world.ready();
    world.settle();
    let requests = super::super::pass::text_map(&[("cpu", "2")]);
    let quantity = |(name, text): (String, String)| (name, super::super::super::api::Quantity(text));
    let limits = super::super::pass::text_map(&[("cpu", "1")]);
    world.workbench.spec.server.get_or_insert_default().resources =
        Some(k8s_openapi::api::core::v1::ResourceRequirements {
            requests: Some(requests.into_iter().map(quantity).collect()),
            limits: Some(limits.into_iter().map(quantity).collect()),
            claims: None,
        });
    let status = world.settle();
    assert_eq!(status.server_deployment.status, DeploymentHealth::Running);
    assert_eq!(world.condition("Outdated"), ("True".to_owned(), "InvalidResources".to_owned()));

    world.seen.deployment = None;
    assert_eq!(world.settle().server_deployment.status, DeploymentHealth::Failed);
}

#[test]
fn names_that_no_service_has() {
    for name in ["1workbench", "work.bench", &"w".repeat(64)] {
        let mut world = World::new();
        world.workbench.metadata.name = Some(name.to_owned());
        world.workbench.spec.apps.insert("a".to_owned(), app("term"));
        let status = world.settle();
        assert_eq!(status.server_deployment.status, DeploymentHealth::Failed);
        is(&status.apps["a"], AppHealth::Failed, "InvalidName");
        assert_eq!((status.observed_generation, world.condition("Ready").1.as_str()), (1, "InvalidName"));
    }
}
