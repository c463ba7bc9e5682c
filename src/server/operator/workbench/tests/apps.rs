//! Which Job is whose, and what apps do to each other: nothing.

use super::{life::running, *};

#[test]
fn removed_apps_leave_everything() {
    let mut world = running();
    // also while the server is not ready
    world.seen.pods.clear();
    world.workbench.spec.apps.clear();
    let plan = world.pass();
    assert_eq!(short(&plan.steps), ["delete Job workbench1-a-term"]);
    assert!(plan.status.unwrap().apps.is_empty());
    world.settle();
}

#[test]
fn stopping_needs_no_server() {
    let mut world = running();
    world.seen.pods.clear();
    world.ask(AppState::Stopped);
    let plan = world.pass();
    assert_eq!(short(&plan.steps), [r#"patch Job workbench1-a-term {"spec":{"suspend":true}}"#]);
    assert_eq!(plan.status.unwrap().observed_generation, 2);
}

#[test]
fn renaming_restarts_nothing() {
    let mut world = running();
    world.app(|app| app.name = "other".to_owned());
    world.settle();
    assert_eq!(world.seen.jobs[0].meta.name, "workbench1-a-term");
    is(&world.record(), AppHealth::Running, "Running");
    world.app(|app| app.restart_generation = Some(1));
    world.pass();
    assert_eq!(short(&world.pass().steps), ["create Job workbench1-a-other"]);
}

#[test]
fn of_two_jobs_the_one_that_runs_counts() {
    let mut world = running();
    let mut other = (*world.seen.jobs[0]).clone();
    other.meta.name = "workbench1-a-old".to_owned();
    other.meta.created = world.now + TimeDelta::seconds(5);
    other.status = JobStatus { succeeded: 1, ..JobStatus::default() };
    world.seen.jobs.insert(0, Arc::new(other));
    assert_eq!(short(&world.pass().steps), ["delete Job workbench1-a-old"]);
    world.settle();
    is(&world.record(), AppHealth::Running, "Running");
}

#[test]
fn a_job_of_something_else_is_left_alone() {
    for (controller, owner, health, reason) in [
        ("other", json!({ "kind": "CronJob", "name": "x", "uid": "other" }), AppHealth::Failed, "NotOurs"),
        (
            "before",
            json!({ "kind": "Workbench", "name": "workbench1", "uid": "before" }),
            AppHealth::Progressing,
            "WaitingForRemoval",
        ),
    ] {
        let mut world = World::with_app();
        let mut owner = owner;
        owner["apiVersion"] = "v1".into();
        owner["controller"] = true.into();
        let value = json!({ "metadata": { "ownerReferences": [owner] } });
        let meta =
            Meta { name: "workbench1-a-term".to_owned(), controller: Some(controller.to_owned()), ..Meta::default() };
        world.seen.jobs.push(Arc::new(Child { meta, body: Body::new(&value), status: JobStatus::default() }));
        let status = world.settle();
        is(&status.apps["a"], health, reason);
        world.seen.jobs.clear();
        assert_eq!(short(&world.pass().steps), ["create Job workbench1-a-term"]);
    }
}

#[test]
fn one_bad_app_stops_no_other() {
    let mut world = World::with_app();
    world.workbench.spec.apps.insert("bad".to_owned(), app("no good"));
    let status = world.pass().status.unwrap();
    is(&status.apps["bad"], AppHealth::Failed, "InvalidName");
    is(&status.apps["a"], AppHealth::Progressing, "Starting");
    assert_eq!(world.seen.jobs.len(), 1);

    // refused by the API server
    world.workbench.spec.apps.insert("refused".to_owned(), app("refused"));
    let target = Target {
        kind: Kind::Job,
        namespace: "workspace1".to_owned(),
        name: "workbench1-refused-refused".to_owned(),
        uid: None,
    };
    world.seen.refused.insert(target.clone(), "for another reason".to_owned());
    world.settle();
    world.seen.refused.insert(target, "it is invalid".to_owned());
    let status = world.settle();
    is(&status.apps["refused"], AppHealth::Failed, "Refused");
    assert!(status.apps["refused"].message.as_ref().unwrap().contains("it is invalid"));

    // put right
    world.seen.refused.clear();
    world.workbench.spec.apps.get_mut("bad").unwrap().name = "good".to_owned();
    assert_eq!(short(&world.pass().steps), ["create Job workbench1-bad-good", "create Job workbench1-refused-refused"]);
}
