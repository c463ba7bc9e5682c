//! A workbench that goes.

use super::{super::super::api::time, *};

fn going() -> World {
    let mut world = World::with_app();
    world.pass();
    world.app_runs();
    world.settle();
    world.workbench.metadata.deletion_timestamp = Some(time(world.now));
    world
}

#[test]
fn apps_go_first_then_the_server_then_the_finalizer() {
    let mut world = going();
    let plan = world.plan();
    assert_eq!(short(&plan.steps), ["delete Job workbench1-a-term"]);
    assert_eq!(plan.status, None);

    world.job(|job| job.meta.deleting = true);
    assert!(world.plan().steps.is_empty(), "the Job is still there");
    world.seen.jobs.clear();
    let plan = world.plan();
    assert!(plan.steps.is_empty(), "the pod of the app is still there");
    assert_eq!(plan.wake, Some(world.now + TimeDelta::minutes(2)));
    world.seen.pods.retain(|pod| !pod.labels.contains_key(labels::APP));

    assert_eq!(short(&world.plan().steps), ["delete Deployment workbench1-server"]);
    world.deployment(|live| live.meta.deleting = true);
    assert!(world.plan().steps.is_empty(), "the Deployment is still there");
    world.seen.deployment = None;
    assert_eq!(short(&world.pass().steps), ["no finalizer"]);
    assert!(world.plan().steps.is_empty());
}

#[test]
fn pods_that_do_not_end_keep_nothing_for_ever() {
    let mut world = going();
    world.seen.jobs.clear();
    world.now = world.plan().wake.unwrap();
    assert_eq!(short(&world.plan().steps), ["delete Deployment workbench1-server"]);
}

#[test]
fn what_belongs_to_others_stays() {
    let mut world = going();
    world.job(|job| job.meta.controller = Some("other".to_owned()));
    world.deployment(|live| live.meta.controller = Some("other".to_owned()));
    world.seen.pods.clear();
    assert_eq!(short(&world.plan().steps), ["no finalizer"]);
}

#[test]
fn a_name_that_cannot_be_goes_all_the_same() {
    let mut world = World::new();
    world.workbench.metadata.name = Some("1".to_owned());
    world.workbench.metadata.deletion_timestamp = Some(time(world.now));
    assert_eq!(short(&world.plan().steps), ["no finalizer"]);
}
