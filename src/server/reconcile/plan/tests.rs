use super::*;
use crate::server::{
    reconcile::fixtures::{app, at, brief, workbench as row, workspace as workspace_row},
    runtime::WorkbenchRef,
};

fn step(row: &Workbench) -> &'static str {
    match workbench(row, at(0), |_, _| None) {
        Step::Rest => "rest",
        Step::AfterWorkspace => "after the workspace",
        Step::Postpone(_) => "postpone",
        Step::Apply(_) => "apply",
        Step::Stop => "stop",
        Step::Delete => "delete",
    }
}

#[test]
fn what_is_wanted_and_the_workspace_say_what_is_done() {
    for (wanted, workspace, step_wanted) in [
        ("running", "ready", "apply"),
        ("running", "new", "after the workspace"),
        ("running", "due", "after the workspace"),
        ("running", "failed", "postpone"),
        ("running", "deleted", "delete"),
        ("stopped", "ready", "stop"),
        ("stopped", "new", "stop"),
        ("stopped", "deleted", "delete"),
        ("deleted", "ready", "delete"),
        ("deleted", "failed", "delete"),
        ("what is this", "ready", "stop"),
    ] {
        let mut row = row(wanted);
        match workspace {
            "ready" => {}
            "deleted" => row.workspace_deleted_at = Some(at(-5)),
            other => {
                row.workspace_observed_generation = 1;
                row.workspace_due_at = match other {
                    "due" => Some(at(0)),
                    "failed" => Some(at(1)),
                    _ => None,
                };
            }
        }
        assert_eq!(step(&row), step_wanted, "{wanted}, workspace {workspace}");
        row.removed_at = Some(at(-1));
        assert_eq!(step(&row), "rest", "{wanted}, removed");
    }
}

#[test]
fn a_specification_says_all_there_is() {
    let mut row = row("running");
    let mut gone = app(14, "Stopped", "Running");
    gone.deleted_at = Some(at(-1));
    let mut web = app(15, "Running", "Running");
    web.app.0.url = "https://app.example.org".to_owned();
    web.app.0.jwt_oidc_client_id = "jupyter".to_owned();
    let ended = App { k8s_status: "Failed".to_owned(), ..web.clone() };
    row.apps = vec![
        app(10, "Running", "Unknown"),
        app(11, "Stopped", "Running"),
        app(12, "Killed", "Running"),
        app(13, "Running", "Complete"),
        gone,
        web,
        App { id: 16, ..ended },
    ];
    let token = |app: &App, client: &str| Some(format!("{} {} {client}", app.id, app.incarnation).into());
    let Step::Apply(spec) = workbench(&row, at(0), token) else { panic!("it is not applied") };
    assert_eq!(spec.of, WorkbenchRef { workspace: 3, workbench: 7 });
    assert_eq!((spec.tenant, spec.generation, &spec.owner, spec.resolution), (1, 5, &(2, "ada".to_owned()), (1280, 0)));
    assert_eq!(spec.clipboard, Clipboard::ToServer);
    let states: Vec<_> = spec.apps.iter().map(|app| (app.id, app.state, app.incarnation)).collect();
    let (running, stopped, killed) = (AppState::Running, AppState::Stopped, AppState::Killed);
    // those that ended are not started with the desktop
    assert_eq!(
        states,
        [
            (10, running, 2),
            (11, stopped, 2),
            (12, killed, 2),
            (13, stopped, 2),
            (14, stopped, 2),
            (15, running, 2),
            (16, stopped, 2)
        ]
    );
    let token_of = |spec: &AppSpec| {
        use secrecy::ExposeSecret as _;
        spec.browser.as_ref()?.jwt_token.as_ref().map(|token| token.expose_secret().to_owned())
    };
    let tokens: Vec<_> = spec.apps.iter().filter_map(token_of).collect();
    assert_eq!(tokens, ["15 2 jupyter"], "only what runs gets a token");
}

fn error(transient: bool) -> RuntimeError {
    RuntimeError { reason: "Broken", message: "It is broken.".to_owned(), transient }
}

#[test]
fn what_becomes_of_a_workbench() {
    let shown = |outcome: &Outcome| {
        outcome.shown.as_ref().map(|shown| format!("{}/{}/{}", shown.pod, shown.server, shown.message))
    };
    type Row<'a> = (&'a str, Done, Option<i64>, i64, (bool, bool), Option<&'a str>);
    let table: Vec<Row<'_>> = vec![
        // wanted, what happened, due in seconds, attempts, (current, removed), shown
        ("running", Done::Applied, None, 2, (false, false), None),
        ("running", Done::Failed(error(true)), Some(4), 3, (false, false), Some("Failing/Progressing/It is broken.")),
        ("running", Done::Failed(error(false)), Some(120), 3, (false, false), Some("Failing/Failed/It is broken.")),
        (
            "running",
            Done::Postponed(at(9)),
            Some(9),
            2,
            (false, false),
            Some("Waiting/Progressing/Its workspace is not ready yet."),
        ),
        ("stopped", Done::Removal(Removal::Gone), None, 0, (true, false), Some("Terminated//")),
        ("stopped", Done::Removal(Removal::Going), Some(4), 3, (false, false), None),
        ("stopped", Done::Failed(error(true)), Some(4), 3, (false, false), Some("Waiting/Progressing/")),
        ("deleted", Done::Removal(Removal::Gone), None, 0, (true, true), Some("Terminated//")),
        ("deleted", Done::Removal(Removal::Going), Some(4), 3, (false, false), Some("Terminating//")),
        ("deleted", Done::Failed(error(true)), Some(4), 3, (false, false), Some("Terminating//It is broken.")),
        ("deleted", Done::Nothing, None, 0, (false, false), None),
    ];
    for (wanted, done, due, attempts, (current, removed), shown_wanted) in table {
        let mut row = row(wanted);
        row.attempts = 2;
        let label = format!("{wanted}, {done:?}");
        let outcome = after(&row, done, at(0));
        assert_eq!(outcome.due_at, due.map(at), "{label}");
        assert_eq!(outcome.attempts, attempts, "{label}");
        assert_eq!((outcome.current, outcome.removed), (current, removed), "{label}");
        assert_eq!(shown(&outcome).as_deref(), shown_wanted, "{label}");
    }
}

#[test]
fn no_runtime_is_no_failure() {
    let nothing = RuntimeError::lasting(NO_RUNTIME, "Nothing runs here.");
    let outcome = after(&row("running"), Done::Failed(nothing), at(0));
    assert_eq!((outcome.due_at, outcome.attempts), (None, 0), "it is not tried again");
    let shown = outcome.shown.unwrap();
    assert_eq!((&*shown.pod, &*shown.message, &*shown.reason), ("Waiting", "Nothing runs here.", "NoRuntime"));
}

#[test]
fn a_desktop_that_runs_is_not_said_to_fail() {
    let mut row = row("running");
    (row.server_pod_status, row.k8s_status) = ("Ready".to_owned(), "Running".to_owned());
    for transient in [true, false] {
        let shown = after(&row, Done::Failed(error(transient)), at(0)).shown.unwrap();
        let shown = (&*shown.pod, &*shown.server, &*shown.reason, &*shown.message);
        assert_eq!(shown, ("Ready", "Running", "Broken", "It is broken."));
    }
}

#[test]
fn a_failure_that_is_over_is_forgotten() {
    let mut row = row("running");
    assert_eq!(after(&row, Done::Applied, at(0)).shown, None);
    (row.server_pod_status, row.reason) = ("Failing".to_owned(), "Broken".to_owned());
    let shown = after(&row, Done::Applied, at(0)).shown.unwrap();
    assert_eq!((&*shown.pod, &*shown.reason, &*shown.message), ("Waiting", "", ""));
    row.observed_generation = row.generation;
    assert_eq!(after(&row, Done::Applied, at(0)).shown, None, "that is what was observed");
}

#[test]
fn what_a_stopped_one_says_stays() {
    let mut row = row("stopped");
    row.server_pod_message = "stopped: by a person".to_owned();
    for done in [Done::Removal(Removal::Gone), Done::Failed(error(false))] {
        assert_eq!(after(&row, done, at(0)).shown.unwrap().message, "stopped: by a person");
    }
}

#[test]
fn a_workspace_goes_after_its_workbenches() {
    let spec = WorkspaceSpec {
        id: 3,
        tenant: 1,
        generation: 2,
        network_policy: "FQDNAllowlist".to_owned(),
        allowed_fqdns: vec!["example.org".to_owned()],
    };
    let later = at(3);
    for (deleted, removed, workbenches, due, wanted) in [
        (false, false, 0, None, WorkspaceStep::Apply(spec.clone())),
        (false, false, 2, Some(at(0)), WorkspaceStep::Apply(spec)),
        (true, false, 0, None, WorkspaceStep::Delete),
        (true, false, 1, Some(at(0)), WorkspaceStep::AfterWorkbenches),
        (true, false, 1, Some(later), WorkspaceStep::Postpone(later)),
        (true, false, 1, Some(at(900)), WorkspaceStep::Postpone(at(30))),
        (true, false, 1, None, WorkspaceStep::Postpone(at(30))),
        (true, true, 0, None, WorkspaceStep::Rest),
    ] {
        let mut row = workspace_row();
        row.deleted_at = deleted.then(|| at(-9));
        row.removed_at = removed.then(|| at(-1));
        (row.workbenches, row.workbenches_due_at) = (workbenches, due);
        assert_eq!(workspace(&row, at(0)), wanted, "{deleted} {removed} {workbenches} {due:?}");
    }
}

#[test]
fn what_becomes_of_a_workspace() {
    let row = Workspace { attempts: 1, ..workspace_row() };
    for (done, due, attempts, current, removed) in [
        (Done::Applied, None, 0, true, false),
        (Done::Removal(Removal::Gone), None, 0, true, true),
        (Done::Removal(Removal::Going), Some(2), 2, false, false),
        (Done::Postponed(at(7)), Some(7), 1, false, false),
        (Done::Failed(error(true)), Some(2), 2, false, false),
        (Done::Nothing, None, 0, false, false),
    ] {
        let outcome = workspace_after(&row, &done, at(0));
        let have = (outcome.due_at, outcome.attempts, outcome.current, outcome.removed);
        assert_eq!(have, (due.map(at), attempts, current, removed), "{done:?}");
    }
    assert_eq!(trouble(&Done::Failed(error(true))), ("Broken".to_owned(), "It is broken.".to_owned()));
    assert_eq!(trouble(&Done::Applied), Default::default());
}

#[test]
fn each_failure_waits_longer_up_to_an_end() {
    let seconds = |attempts, transient| delay(attempts, transient).num_seconds();
    let transient: Vec<_> = (1..=11).map(|attempts| seconds(attempts, true)).collect();
    assert_eq!(transient, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    let lasting: Vec<_> = (1..=8).map(|attempts| seconds(attempts, false)).collect();
    assert_eq!(lasting, [30, 60, 120, 240, 480, 960, 1800, 1800]);
    for attempts in [i64::MIN, -1, 0] {
        assert_eq!(seconds(attempts, true), 1);
    }
    assert_eq!(seconds(i64::MAX, true), 300);
}

#[test]
fn the_comparison_finds_what_differs() {
    let seen = |generation, pod| Observation {
        of: brief("running").of(),
        generation,
        pod,
        server: ServerStatus::Running,
        reason: String::new(),
        message: String::new(),
        apps: Vec::new(),
    };
    use PodStatus::{Ready, Terminated};
    for (wanted, seen, differing) in [
        ("running", None, true),
        ("running", Some(seen(5, Ready)), false),
        ("running", Some(seen(4, Ready)), true),
        // after a restore the rows are older than what runs
        ("running", Some(seen(9, Ready)), true),
        ("stopped", None, false),
        ("stopped", Some(seen(5, Ready)), true),
        ("stopped", Some(seen(5, Terminated)), false),
        ("deleted", None, true),
    ] {
        assert_eq!(differs(&brief(wanted), seen.as_ref()), differing, "{wanted} {seen:?}");
        let due = Brief { due_at: Some(at(60)), ..brief(wanted) };
        assert!(!differs(&due, seen.as_ref()), "{wanted} {seen:?}: it is looked at anyway");
    }
}
