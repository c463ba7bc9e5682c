use super::*;
use crate::server::reconcile::fixtures::{app, at, workbench as row};

fn observation(generation: i64, pod: PodStatus, server: ServerStatus, apps: Vec<AppObservation>) -> Observation {
    Observation {
        of: row("running").of(),
        generation,
        pod,
        server,
        reason: "Why".to_owned(),
        message: "So.".to_owned(),
        apps,
    }
}

fn ready(apps: Vec<AppObservation>) -> Observation {
    observation(5, PodStatus::Ready, ServerStatus::Running, apps)
}

fn app_seen_as(incarnation: i64, status: AppStatus) -> AppObservation {
    AppObservation { id: 10, incarnation, status, message: "words".to_owned() }
}

#[test]
fn an_observation_counts_under_its_generation() {
    for generation in [4, 6] {
        let late = observation(generation, PodStatus::Failing, ServerStatus::Failed, Vec::new());
        assert_eq!(seen(&row("running"), &late, at(0)), None);
    }
    let change = seen(&row("running"), &ready(Vec::new()), at(0)).unwrap();
    let shown = change.shown.unwrap();
    assert_eq!((&*shown.pod, &*shown.server, &*shown.reason, &*shown.message), ("Ready", "Running", "Why", "So."));
    assert!(change.first && change.schedule.is_none());
}

#[test]
fn the_same_again_changes_nothing() {
    let mut row = row("running");
    row.observed_generation = 5;
    row.server_pod_status = "Ready".to_owned();
    row.server_pod_message = "So.".to_owned();
    (row.k8s_status, row.reason) = ("Running".to_owned(), "Why".to_owned());
    let mut shown = app(10, "Running", "Running");
    (shown.status, shown.k8s_message) = ("active".to_owned(), "words".to_owned());
    row.apps = vec![shown];
    assert_eq!(seen(&row, &ready(vec![app_seen_as(2, AppStatus::Running)]), at(0)), None);
}

#[test]
fn what_is_wanted_wins() {
    for wanted in ["stopped", "deleted"] {
        let mut row = row(wanted);
        row.apps = vec![app(10, "Running", "Running")];
        let runs = ready(vec![app_seen_as(2, AppStatus::Complete)]);
        assert_eq!(seen(&row, &runs, at(0)), None, "{wanted}: it is due");
        row.due_at = None;
        let change = seen(&row, &runs, at(0)).unwrap();
        assert_eq!((change.schedule, change.shown, change.apps), (Some((Some(at(0)), 0)), None, Vec::new()));
        let ends = observation(5, PodStatus::Terminating, ServerStatus::None, Vec::new());
        assert_eq!(seen(&row, &ends, at(0)), None);
    }
}

#[test]
fn a_desktop_that_gave_up_is_tried_again() {
    let failed = observation(5, PodStatus::Failing, ServerStatus::Failed, Vec::new());
    for (due, attempts, schedule) in [
        (None, 0, Some((Some(at(1)), 1))),
        (None, 3, Some((Some(at(8)), 4))),
        (Some(at(0)), 0, Some((Some(at(1)), 1))),
        (Some(at(5)), 2, None),
    ] {
        let row = Workbench { due_at: due, attempts, ..row("running") };
        assert_eq!(seen(&row, &failed, at(0)).unwrap().schedule, schedule, "{due:?} {attempts}");
    }
    let row = Workbench { due_at: None, attempts: 3, ..row("running") };
    assert_eq!(seen(&row, &ready(Vec::new()), at(0)).unwrap().schedule, Some((None, 0)), "ready: it counts anew");
}

#[test]
fn what_runs_has_a_status_on_the_wire() {
    let starts = observation(5, PodStatus::Starting, ServerStatus::None, Vec::new());
    assert_eq!(seen(&row("running"), &starts, at(0)).unwrap().shown.unwrap().server, "Progressing");
}

#[test]
fn apps_follow_what_is_observed() {
    use AppStatus::{Complete, Failed, Killed, Killing, Progressing, Running, Stopped, Stopping, Unknown};
    for (wanted, observed, status, stored, wanted_then) in [
        ("Running", Unknown, "unknown", Unknown, AppState::Running),
        ("Running", Progressing, "unknown", Progressing, AppState::Running),
        ("Running", Running, "active", Running, AppState::Running),
        ("Running", Stopping, "unknown", Stopping, AppState::Running),
        ("Running", Complete, "deleted", Complete, AppState::Stopped),
        ("Running", Failed, "deleted", Failed, AppState::Running),
        ("Running", Stopped, "deleted", Stopped, AppState::Running),
        ("Running", Killed, "deleted", Killed, AppState::Running),
        ("Stopped", Running, "unknown", Stopping, AppState::Stopped),
        ("Stopped", Unknown, "unknown", Stopping, AppState::Stopped),
        ("Stopped", Complete, "deleted", Complete, AppState::Stopped),
        ("Stopped", Stopped, "deleted", Stopped, AppState::Stopped),
        ("Killed", Running, "unknown", Killing, AppState::Killed),
        ("Killed", Killed, "deleted", Killed, AppState::Killed),
    ] {
        let mut row = row("running");
        row.apps = vec![app(10, wanted, "Unknown")];
        let change = seen(&row, &ready(vec![app_seen_as(2, observed)]), at(0)).unwrap();
        let app = &change.apps[0];
        let have = (app.status, app.observed, app.wanted, &*app.message, app.incarnation);
        assert_eq!(have, (status, stored, wanted_then, "words", 2), "{wanted}, seen {observed:?}");
    }
}

#[test]
fn an_app_that_ended_stays_so_until_it_is_restarted() {
    let apps_after = |stored: &str, incarnation, observed| {
        let mut row = row("running");
        row.apps = vec![app(10, "Running", stored)];
        seen(&row, &ready(vec![app_seen_as(incarnation, observed)]), at(0)).unwrap().apps.len()
    };
    for ended in ["Complete", "Failed", "Stopped", "Killed"] {
        for observed in [AppStatus::Running, AppStatus::Unknown, AppStatus::Failed] {
            assert_eq!(apps_after(ended, 2, observed), 0, "{ended}, then {observed:?}");
        }
    }
    assert_eq!(apps_after("Unknown", 1, AppStatus::Complete), 0, "that was the start before");
    assert_eq!(apps_after("Unknown", 3, AppStatus::Running), 0, "that is not wanted");
    assert_eq!(apps_after("Unknown", 2, AppStatus::Running), 1);
}

#[test]
fn a_deleted_app_stays_deleted() {
    let mut row = row("running");
    row.apps = vec![App { status: "deleted".to_owned(), deleted_at: Some(at(-3)), ..app(10, "Stopped", "Running") }];
    let change = seen(&row, &ready(vec![app_seen_as(2, AppStatus::Running)]), at(0)).unwrap();
    assert_eq!((change.apps[0].status, change.apps[0].observed), ("deleted", AppStatus::Stopping));
}

#[test]
fn a_desktop_that_is_gone_is_started_again() {
    let mut running = Workbench { due_at: None, observed_generation: 5, ..row("running") };
    running.apps = vec![app(10, "Running", "Running"), app(11, "Running", "Failed")];
    let change = gone(&running, at(0)).unwrap();
    assert_eq!(change.schedule, Some((Some(at(1)), 1)));
    assert_eq!(change.shown.unwrap().pod, "Restarting");
    let apps: Vec<_> = change.apps.iter().map(|app| (app.id, app.observed)).collect();
    assert_eq!(apps, [(10, AppStatus::Unknown)]);

    running.observed_generation = 4;
    let change = gone(&running, at(0)).unwrap();
    assert!(change.shown.is_none() && change.apps.is_empty(), "that was the one before");
}

#[test]
fn a_removal_that_waits_goes_on_when_it_is_gone() {
    for wanted in ["stopped", "deleted"] {
        for (due, schedule) in [(None, None), (Some(at(0)), None), (Some(at(20)), Some((Some(at(0)), 4)))] {
            let row = Workbench { due_at: due, attempts: 4, ..row(wanted) };
            assert_eq!(gone(&row, at(0)).and_then(|change| change.schedule), schedule, "{wanted} {due:?}");
        }
    }
}

#[test]
fn apps_without_a_desktop() {
    use AppStatus::{Killed, Stopped, Unknown};
    for (wanted, app_wanted, deleted, becomes) in [
        ("stopped", "Running", false, Some(Unknown)),
        ("stopped", "Stopped", false, Some(Stopped)),
        ("stopped", "Killed", false, Some(Killed)),
        ("stopped", "Stopped", true, Some(Stopped)),
        ("deleted", "Running", false, Some(Stopped)),
        ("deleted", "Killed", true, Some(Killed)),
    ] {
        let mut row = row(wanted);
        let mut running = app(10, app_wanted, "Running");
        running.deleted_at = deleted.then(|| at(-2));
        row.apps = vec![running, app(11, "Running", "Complete")];
        let apps = apps_without_desktop(&row);
        let observed = apps.iter().find(|app| app.id == 10).map(|app| app.observed);
        assert_eq!((observed, apps.len()), (becomes, 1), "{wanted} {app_wanted} {deleted}");
    }
}

#[test]
fn messages_have_an_end() {
    assert_eq!(tidy("  a\u{1b}[31mb\nc\r\n"), "a [31mb\nc");
    assert_eq!(tidy(&"é".repeat(5000)).chars().count(), 1000);
}
