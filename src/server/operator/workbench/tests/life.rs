//! Every edge in the life of an app.

use super::{super::super::plan::Step, *};

/// A workbench whose app `a` runs.
pub fn running() -> World {
    let mut world = World::with_app();
    world.pass();
    world.app_runs();
    world.settle();
    is(&world.record(), AppHealth::Running, "Running");
    world
}

pub fn completed(world: &mut World) {
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
    assert_eq!(plan.notices, [], "what goes well is said by the status");
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
    for (health, revision) in [
        (AppHealth::Progressing, 0),
        (AppHealth::Unknown, 0),
        (AppHealth::Running, 0),
        // it could not even make the Job
        (AppHealth::Failed, -1),
    ] {
        let mut world = World::with_app();
        let record = AppStatus { status: health, revision, ..AppStatus::default() };
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
