//! A workbench that is suspended, and goes on.

use super::{
    life::{completed, running},
    *,
};

#[test]
fn a_suspended_workbench_keeps_its_apps() {
    let mut world = running();
    world.workbench.spec.apps.insert("b".to_owned(), app("other"));
    world.workbench.spec.suspended = Some(true);
    let plan = world.pass();
    assert_eq!(short(&plan.steps), [r#"patch Job workbench1-a-term {"spec":{"suspend":true}}"#]);
    is(&world.record(), AppHealth::Progressing, "Suspended");
    is(&world.workbench.status.as_ref().unwrap().apps["b"], AppHealth::Progressing, "WaitingForServer");
    assert_eq!(world.condition("Ready"), ("False".to_owned(), "Suspended".to_owned()));
    assert!(world.plan().wake.is_some(), "the server waits for its apps, not for ever");

    world.job(|job| job.status = JobStatus::default());
    world.seen.pods.retain(|pod| !pod.labels.contains_key(labels::APP));
    assert_eq!(short(&world.pass().steps), ["apply Deployment workbench1-server"]);
    world.seen.pods.clear();
    let status = world.settle();
    let pod = status.server_deployment.server_pod.unwrap();
    assert_eq!(format!("{:?}", pod.status), "Terminated");

    // a stop is a stop meanwhile, and an end stays one
    world.ask(AppState::Stopped);
    is(&world.settle().apps["a"], AppHealth::Stopped, "Stopped");
    world.ask(AppState::Running);
    is(&world.settle().apps["a"], AppHealth::Progressing, "Suspended");

    world.workbench.spec.suspended = Some(false);
    assert_eq!(short(&world.pass().steps), ["apply Deployment workbench1-server"]);
    is(&world.record(), AppHealth::Progressing, "WaitingForServer");
    world.seen.pods.push(Arc::new(server_pod("s2", true, world.now)));
    let steps = short(&world.pass().steps);
    assert!(steps[0].contains(r#""suspend":false"#), "{steps:?}");
    assert_eq!(steps[1], "create Job workbench1-b-other");
    world.settle();
}

#[test]
fn apps_that_do_not_end_stop_no_suspension() {
    let mut world = running();
    world.workbench.spec.suspended = Some(true);
    world.settle();
    assert_eq!(world.seen.deployment.as_ref().unwrap().body.value()["spec"]["replicas"], 1);
    world.now = world.plan().wake.unwrap();
    world.settle();
    assert_eq!(world.seen.deployment.as_ref().unwrap().body.value()["spec"]["replicas"], 0);
}

#[test]
fn an_app_that_ended_before_the_suspension_does_not_come_back() {
    let mut world = running();
    completed(&mut world);
    world.settle();
    world.workbench.spec.suspended = Some(true);
    world.settle();
    is(&world.record(), AppHealth::Complete, "Completed");
    world.workbench.spec.suspended = None;
    world.settle();
    is(&world.record(), AppHealth::Complete, "Completed");
}
