//! Every edge in the life of an app.

use super::{super::super::plan::Step, *};

/// A workbench whose app `a` runs.
fn running() -> World {
    let mut world = World::with_app();
    world.pass();
    world.app_runs();
    world.settle();
    is(&world.record(), AppHealth::Running, "Running");
    world
}

fn completed(world: &mut World) {
    world.seen.pods.retain(|pod| !pod.labels.contains_key(labels::APP));
    world.job(|job| {
        job.status =
            JobStatus { succeeded: 1, conditions: vec![condition("Complete", "True", "")], ..JobStatus::default() };
    });
}

fn failed(world: &mut World) {
    world.job(|job| {
        let mut failed = condition("Failed", "True", "BackoffLimitExceeded");
        failed.message = "too many".to_owned();
        job.status = JobStatus { failed: 1, conditions: vec![failed], ..JobStatus::default() };
    });
}

fn gone(world: &mut World) {
    world.seen.jobs.clear();
    world.seen.pods.retain(|pod| !pod.labels.contains_key(labels::APP));
}

#[test]
fn from_nothing_to_running() {
    let mut world = World::new();
    world.workbench.metadata.finalizers = None;
    world.workbench.spec.apps.insert("a".to_owned(), app("term"));
    let plan = world.pass();
    assert_eq!(
        short(&plan.steps),
        [
            "finalizer",
            "apply NetworkPolicy workbench1-netpol-server",
            "apply Service workbench1",
            "apply Deployment workbench1-server"
        ]
    );
    is(&world.record(), AppHealth::Progressing, "WaitingForServer");
    assert_eq!(world.record().revision, -1);
    assert_eq!(plan.status.unwrap().observed_generation, 1);
    world.settle();

    world.ready();
    let plan = world.pass();
    assert_eq!(short(&plan.steps), ["create Job workbench1-a-term"]);
    is(&world.record(), AppHealth::Progressing, "Starting");
    assert_eq!(plan.wake, Some(world.now + TimeDelta::seconds(600)));
    world.settle();

    world.app_runs();
    let plan = world.pass();
    is(&world.record(), AppHealth::Running, "Running");
    assert_eq!(plan.wake, None);
    assert!(plan.notices.iter().any(|notice| notice.reason == "AppRunning"));
    world.settle();
}

#[test]
fn what_the_job_says() {
    for (status, health, reason) in [
        (JobStatus { active: 1, ready: 1, ..JobStatus::default() }, AppHealth::Running, "Running"),
        (JobStatus { active: 1, ready: 0, ..JobStatus::default() }, AppHealth::Progressing, "Starting"),
        (JobStatus { succeeded: 1, ..JobStatus::default() }, AppHealth::Complete, "Completed"),
        (
            JobStatus { conditions: vec![condition("Failed", "True", "")], failed: 1, ..JobStatus::default() },
            AppHealth::Failed,
            "JobFailed",
        ),
        (
            JobStatus {
                conditions: vec![condition("Failed", "True", "DeadlineExceeded")],
                failed: 1,
                ..JobStatus::default()
            },
            AppHealth::Failed,
            "DeadlineExceeded",
        ),
        // a pod failed: the Job makes another
        (JobStatus { failed: 1, ..JobStatus::default() }, AppHealth::Progressing, "Restarting"),
        (JobStatus::default(), AppHealth::Progressing, "Starting"),
    ] {
        let mut world = World::with_app();
        world.pass();
        world.job(|job| job.status = status.clone());
        world.pass();
        is(&world.record(), health, reason);
    }
}

#[test]
fn suspended_jobs_say_what_was_asked_for() {
    for (state, active, terminating, health) in [
        (AppState::Stopped, 1, None, AppHealth::Stopping),
        (AppState::Stopped, 0, Some(1), AppHealth::Stopping),
        (AppState::Stopped, 0, Some(0), AppHealth::Stopped),
        (AppState::Stopped, 0, None, AppHealth::Stopped),
        (AppState::Killed, 1, None, AppHealth::Killing),
        (AppState::Killed, 0, Some(1), AppHealth::Killing),
        (AppState::Killed, 0, None, AppHealth::Killed),
    ] {
        let mut world = running();
        world.ask(state);
        world.job(|job| {
            merge(&mut job.body, &json!({ "spec": { "suspend": true } }));
            job.status = JobStatus { active, terminating, ..JobStatus::default() };
        });
        world.seen.pods.retain(|pod| !pod.labels.contains_key(labels::APP));
        let plan = world.pass();
        assert_eq!(world.record().status, health, "{state:?} {active} {terminating:?}");
        let kills = plan.steps.iter().any(|step| matches!(step, Step::KillPods { .. }));
        assert_eq!(kills, health == AppHealth::Killing);
    }
}

#[test]
fn stop_and_go_on() {
    let mut world = running();
    world.ask(AppState::Stopped);
    let plan = world.pass();
    assert_eq!(short(&plan.steps), [r#"patch Job workbench1-a-term {"spec":{"suspend":true}}"#]);
    is(&world.record(), AppHealth::Stopping, "Stopping");
    assert_eq!(plan.status.unwrap().observed_generation, 2);

    // the Job counts it no more, its pod is still there
    world.job(|job| job.status = JobStatus::default());
    world.pass();
    is(&world.record(), AppHealth::Stopping, "Stopping");
    world.seen.pods.retain(|pod| !pod.labels.contains_key(labels::APP));
    world.settle();
    is(&world.record(), AppHealth::Stopped, "Stopped");

    world.later(10_000);
    world.ask(AppState::Running);
    let plan = world.pass();
    let [step] = short(&plan.steps).try_into().unwrap();
    assert!(step.contains(r#""suspend":false"#) && step.contains("not-ready-since"), "{step}");
    is(&world.record(), AppHealth::Progressing, "Starting");
    // the clock starts anew
    assert_eq!(plan.wake, Some(world.now + TimeDelta::seconds(600)));
    world.settle();
}

#[test]
fn kill() {
    let mut world = running();
    world.ask(AppState::Killed);
    let plan = world.pass();
    assert_eq!(
        short(&plan.steps),
        [
            r#"patch Job workbench1-a-term {"spec":{"suspend":true}}"#,
            "kill batch.kubernetes.io/job-name=workbench1-a-term"
        ]
    );
    is(&world.record(), AppHealth::Killing, "Killing");
    world.job(|job| job.status = JobStatus::default());
    world.settle();
    is(&world.record(), AppHealth::Killed, "Killed");
}

#[test]
fn ends_are_ends() {
    for end in [completed, failed] {
        let mut world = running();
        end(&mut world);
        world.settle();
        let record = world.record();
        world.later(100_000);
        assert_eq!(world.settle().apps["a"], record, "no time-out");
        gone(&mut world);
        world.later(100_000);
        assert_eq!(world.settle().apps["a"], record, "a Job that is gone means nothing");

        // asked to stop, and then to run again
        world.ask(AppState::Stopped);
        world.settle();
        is(&world.record(), AppHealth::Stopped, "Stopped");
        world.ask(AppState::Running);
        assert_eq!(short(&world.pass().steps), ["create Job workbench1-a-term"]);
    }
}

#[test]
fn a_finished_job_goes_when_its_app_is_stopped() {
    for (state, health) in [(AppState::Stopped, AppHealth::Stopped), (AppState::Killed, AppHealth::Killed)] {
        let mut world = running();
        completed(&mut world);
        world.settle();
        world.ask(state);
        assert_eq!(short(&world.pass().steps), ["delete Job workbench1-a-term"]);
        assert_eq!(world.settle().apps["a"].status, health);
    }
}

#[test]
fn a_greater_restart_generation_starts_again() {
    for end in [completed, failed, |_: &mut World| {}] {
        let mut world = running();
        end(&mut world);
        world.settle();
        world.app(|app| app.restart_generation = Some(3));
        assert_eq!(short(&world.pass().steps), ["delete Job workbench1-a-term"]);
        is(&world.record(), AppHealth::Progressing, "WaitingForRemoval");
        let plan = world.pass();
        assert_eq!(short(&plan.steps), ["create Job workbench1-a-term"]);
        assert_eq!(world.record().restart_generation, Some(3));
        let annotations = &made(&plan, Kind::Job)["metadata"]["annotations"];
        assert_eq!(annotations[labels::RESTART_GENERATION], "3");
        world.app_runs();
        world.settle();
        // a smaller one is none
        world.app(|app| app.restart_generation = Some(2));
        world.settle();
        is(&world.record(), AppHealth::Running, "Running");
    }
}

#[test]
fn an_ended_app_without_its_job_starts_again_too() {
    let mut world = running();
    completed(&mut world);
    world.settle();
    gone(&mut world);
    world.app(|app| app.restart_generation = Some(1));
    assert_eq!(short(&world.pass().steps), ["create Job workbench1-a-term"]);
    world.settle();
}

#[test]
fn while_the_old_job_goes_no_new_one_is_made() {
    let mut world = running();
    completed(&mut world);
    world.settle();
    world.job(|job| job.meta.deleting = true);
    world.app(|app| app.restart_generation = Some(1));
    world.settle();
    is(&world.record(), AppHealth::Progressing, "WaitingForRemoval");
    gone(&mut world);
    assert_eq!(short(&world.pass().steps), ["create Job workbench1-a-term"]);
}

#[test]
fn a_lost_job_is_confirmed_first() {
    let mut world = running();
    gone(&mut world);
    let plan = world.plan();
    assert_eq!(short(&plan.steps), ["confirm Job workbench1-a-term"]);
    assert_eq!(plan.status.unwrap().apps["a"], world.record());
    let status = world.settle();
    is(&status.apps["a"], AppHealth::Failed, "JobLost");
}

#[test]
fn what_the_former_operator_left_to_do_is_done() {
    for health in [AppHealth::Progressing, AppHealth::Unknown, AppHealth::Running] {
        let mut world = World::with_app();
        let record = AppStatus { status: health, ..AppStatus::default() };
        world.workbench.status.as_mut().unwrap().apps.insert("a".to_owned(), record);
        assert_eq!(short(&world.pass().steps), ["create Job workbench1-a-term"], "{health:?}");
    }
    for health in [AppHealth::Complete, AppHealth::Failed] {
        let mut world = World::with_app();
        let record = AppStatus { status: health, ..AppStatus::default() };
        world.workbench.status.as_mut().unwrap().apps.insert("a".to_owned(), record.clone());
        assert_eq!(world.settle().apps["a"], record, "{health:?}");
    }
}

#[test]
fn an_app_that_does_not_start_in_time_fails_once() {
    let mut world = World::with_app();
    world.pass();
    world.job(|job| job.status.active = 1);
    let reason = "ImagePullBackOff".to_owned();
    world.app_pod(ContainerState::Waiting { reason, message: "no such image".to_owned() });
    world.settle();
    is(&world.record(), AppHealth::Progressing, "ImagePullBackOff");
    let wake = world.plan().wake.unwrap();
    world.now = wake - TimeDelta::seconds(1);
    world.settle();

    world.now = wake;
    let plan = world.pass();
    let [step] = short(&plan.steps).try_into().unwrap();
    assert!(step.contains(r#""suspend":true"#) && step.contains("timed-out-at"), "{step}");
    is(&world.record(), AppHealth::Failed, "StartupTimeout");
    let message = world.record().message.unwrap();
    assert!(message.contains("600 s") && message.contains("no such image"), "{message}");
    world.job(|job| job.status = JobStatus::default());
    world.seen.pods.retain(|pod| !pod.labels.contains_key(labels::APP));
    world.later(10_000);
    assert_eq!(world.settle().apps["a"].message, Some(message));

    // the record is lost: the Job still says so
    world.workbench.status.as_mut().unwrap().apps.clear();
    is(&world.settle().apps["a"], AppHealth::Failed, "StartupTimeout");

    // asked for again
    world.ask(AppState::Stopped);
    assert_eq!(short(&world.pass().steps), ["delete Job workbench1-a-term"]);
    world.ask(AppState::Running);
    assert_eq!(short(&world.pass().steps), ["create Job workbench1-a-term"]);
}

#[test]
fn no_timeout_after_the_first_start() {
    let mut world = running();
    world.later(10_000);
    world.job(|job| job.status = JobStatus { active: 1, ..JobStatus::default() });
    world.seen.pods.retain(|pod| !pod.labels.contains_key(labels::APP));
    world.settle();
    is(&world.record(), AppHealth::Progressing, "Restarting");
    world.later(10_000);
    world.settle();
    is(&world.record(), AppHealth::Progressing, "Restarting");
    world.app_runs();
    world.settle();
    is(&world.record(), AppHealth::Running, "Running");

    // it has started, but was never seen to be ready
    let mut world = World::with_app();
    world.pass();
    world.job(|job| job.status.active = 1);
    world.app_pod(ContainerState::Terminated { code: 1, reason: "Error".to_owned(), message: String::new() });
    world.later(10_000);
    world.settle();
    is(&world.record(), AppHealth::Progressing, "Restarting");
}

#[test]
fn no_timeout_where_none_is_set() {
    for timeout in [None, Some(0)] {
        let mut world = World::with_app();
        world.settings.application_startup_timeout = timeout;
        world.settle();
        world.later(1_000_000);
        assert_eq!(world.plan().wake, None);
        is(&world.settle().apps["a"], AppHealth::Progressing, "Starting");
    }
}

#[test]
fn stopped_from_the_start() {
    let mut world = World::with_app();
    world.workbench.status = None;
    world.ask(AppState::Stopped);
    let status = world.settle();
    is(&status.apps["a"], AppHealth::Stopped, "Stopped");
    assert_eq!(status.apps["a"].revision, -1);
    world.ask(AppState::Running);
    assert_eq!(short(&world.pass().steps), ["create Job workbench1-a-term"]);
}

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
    world.seen.refused.insert(target, "it is invalid".to_owned());
    let status = world.settle();
    is(&status.apps["refused"], AppHealth::Failed, "Refused");
    assert!(status.apps["refused"].message.as_ref().unwrap().contains("it is invalid"));

    // put right
    world.seen.refused.clear();
    world.workbench.spec.apps.get_mut("bad").unwrap().name = "good".to_owned();
    assert_eq!(short(&world.pass().steps), ["create Job workbench1-bad-good", "create Job workbench1-refused-refused"]);
}

#[test]
fn the_first_message_of_a_failure_stays() {
    let mut world = running();
    failed(&mut world);
    world.app_pod(ContainerState::Terminated { code: 3, reason: "Error".to_owned(), message: "no disk".to_owned() });
    world.settle();
    is(&world.record(), AppHealth::Failed, "BackoffLimitExceeded");
    let message = world.record().message.unwrap();
    assert!(
        message.contains("too many") && message.contains("exit code 3") && message.contains("no disk"),
        "{message}"
    );
    world.seen.pods.retain(|pod| !pod.labels.contains_key(labels::APP));
    assert_eq!(world.settle().apps["a"].message, Some(message));
}
