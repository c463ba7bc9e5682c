//! From being wanted to being there, and back.

use chorus::server::{
    db::sql,
    runtime::{AppStatus, Clipboard, Event, Observation, PodStatus, ServerStatus, WorkbenchRef},
};
use serde_json::json;

use super::scene::on_each_engine;
use crate::support::runtime::{Call, ENDS, FAILS, STAYS};

#[tokio::test]
async fn a_workbench_lives_and_goes_with_its_workspace() {
    on_each_engine(|scene| async move {
        let workspace = scene.workspace().await;
        let text = "UPDATE workspaces SET clipboard = 'both' WHERE id = $1";
        sql(text).bind(workspace).run(&scene.server.db).await.unwrap();
        let of = scene.workbench(workspace).await;
        scene.reconcile().await;
        assert_eq!(scene.runtime.calls(), [Call::ApplyWorkspace(workspace), Call::Apply(of, 2)]);
        let spec = scene.runtime.spec(of).unwrap();
        assert_eq!((&*spec.owner.1, spec.clipboard), (&*scene.server.admin.username, Clipboard::Both));
        let row = scene.row(of).await;
        assert_eq!((row.shown(), row.observed_generation, row.due_at), (("Ready", "Running", ""), 2, None));

        let admin = scene.server.admin.clone();
        let call = async |rpc: &str, request| scene.server.call(Some(&admin), rpc, request).await.unwrap();
        call("WorkbenchService/StopWorkbench", json!({"id": of.workbench})).await;
        scene.reconcile().await;
        assert_eq!(scene.runtime.calls(), [Call::Stop(of)]);
        assert_eq!((scene.runtime.desktops().len(), scene.runtime.files()), (0, vec![of]));
        let row = scene.row(of).await;
        assert_eq!((row.shown(), row.observed_generation, row.due_at), (("Terminated", "", ""), 3, None));

        call("WorkbenchService/StartWorkbench", json!({"id": of.workbench})).await;
        scene.reconcile().await;
        assert_eq!(scene.runtime.calls(), [Call::Apply(of, 4)]);
        assert_eq!(scene.row(of).await.shown(), ("Ready", "Running", ""));

        call("WorkspaceService/DeleteWorkspace", json!({"id": workspace})).await;
        scene.runtime.removals_take(1);
        scene.reconcile().await;
        assert_eq!(scene.runtime.calls(), [Call::Delete(of)]);
        assert_eq!(scene.row(of).await.server_pod_status, "Terminating");
        scene.advance(1);
        scene.reconcile().await;
        assert_eq!(scene.runtime.calls(), [Call::Delete(of), Call::DeleteWorkspace(workspace)]);
        assert!(scene.runtime.workspaces().is_empty() && scene.runtime.files().is_empty());
        let row = scene.row(of).await;
        assert!(row.removed_at.is_some() && row.due_at.is_none());
        assert_eq!(scene.workspace_row(workspace).await, (None, true));
        scene.advance(3600);
        scene.reconcile().await;
        assert!(scene.runtime.calls().is_empty(), "it stays gone");
    })
    .await;
}

#[tokio::test]
async fn apps_start_end_and_come_back() {
    on_each_engine(|scene| async move {
        let of = scene.workbench(scene.workspace().await).await;
        let [stays, ends, fails] = [scene.app(of, STAYS).await, scene.app(of, ENDS).await, scene.app(of, FAILS).await];
        scene.reconcile().await;
        let row = async |id| {
            let (status, observed, wanted, message) = scene.app_row(id).await;
            format!("{status} {observed} {wanted} {message}").trim_end().to_owned()
        };
        assert_eq!(row(stays).await, "active Running Running");
        assert_eq!(row(ends).await, "deleted Complete Stopped");
        assert_eq!(row(fails).await, "deleted Failed Running exit code 3: broken");

        scene.want_app(of, fails, "Running", 2).await;
        scene.want(of, "stopped").await;
        scene.reconcile().await;
        assert_eq!(row(stays).await, "unknown Unknown Running");
        assert_eq!(row(ends).await, "deleted Complete Stopped");
        scene.want(of, "running").await;
        scene.reconcile().await;
        // what ended is not started with the desktop; what was restarted meanwhile is
        assert_eq!(scene.runtime.running(of), [(stays, 1)]);
        assert_eq!(row(fails).await, "deleted Failed Running exit code 3: broken");
        assert_eq!(row(ends).await, "deleted Complete Stopped");

        scene.want_app(of, ends, "Running", 2).await;
        scene.want_app(of, stays, "Stopped", 1).await;
        scene.reconcile().await;
        assert_eq!(row(ends).await, "deleted Complete Stopped");
        assert_eq!(row(stays).await, "deleted Stopped Stopped");
        let incarnations: Vec<_> = scene.runtime.spec(of).unwrap().apps.iter().map(|app| app.incarnation).collect();
        assert_eq!(incarnations, [1, 2, 2]);
        // an observation that comes too late
        scene.runtime.app_is(of, stays, AppStatus::Running, "");
        scene.reconcile().await;
        assert_eq!(row(stays).await, "deleted Stopped Stopped");
    })
    .await;
}

#[tokio::test]
async fn what_is_wanted_wins_over_what_was_seen() {
    on_each_engine(|scene| async move {
        let of = scene.workbench(scene.workspace().await).await;
        scene.reconcile().await;
        let before = scene.row(of).await;
        scene.want(of, "running").await;
        let late = |generation| Observation {
            of,
            generation,
            pod: PodStatus::Failing,
            server: ServerStatus::Failed,
            reason: "Late".to_owned(),
            message: String::new(),
            apps: Vec::new(),
        };
        scene.runtime.tell(Event::Seen(late(before.generation)));
        scene.reconcile().await;
        let row = scene.row(of).await;
        assert_eq!((row.shown(), row.observed_generation), (("Ready", "Running", ""), before.generation + 1));

        scene.want(of, "stopped").await;
        scene.reconcile().await;
        scene.runtime.calls();
        scene.runtime.tell(Event::Seen(late(before.generation + 1)));
        scene.reconcile().await;
        assert_eq!(scene.row(of).await.server_pod_status, "Terminated");
        assert_eq!(scene.runtime.calls(), [Call::Stop(of)], "it looks again, to be sure");
    })
    .await;
}

#[tokio::test]
async fn only_what_changes_is_written() {
    on_each_engine(|scene| async move {
        let of = scene.workbench(scene.workspace().await).await;
        scene.reconcile().await;
        let before = scene.row(of).await;
        scene.runtime.change(of, |_| {});
        scene.runtime.tell(Event::Gone(WorkbenchRef { workspace: 1, workbench: 99_999 }));
        scene.advance(301);
        scene.reconcile().await;
        assert_eq!(scene.row(of).await, before);
        for message in ["one", "two", "three"] {
            scene.runtime.change(of, |seen| message.clone_into(&mut seen.message));
        }
        scene.reconcile().await;
        let row = scene.row(of).await;
        assert_eq!((row.shown(), row.version), (("Ready", "Running", "three"), before.version + 1), "written once");
    })
    .await;
}

#[tokio::test]
async fn workspaces_from_before_are_prepared_when_they_are_needed() {
    on_each_engine(|scene| async move {
        let workspace = scene.server.workspace(&scene.server.admin, "Old").await;
        let of = scene.workbench(workspace).await;
        scene.reconcile().await;
        assert_eq!(scene.runtime.calls(), [Call::ApplyWorkspace(workspace), Call::Apply(of, 2)]);
    })
    .await;
}

#[tokio::test]
async fn the_comparison_repairs_what_nobody_told() {
    on_each_engine(|scene| async move {
        let workspace = scene.workspace().await;
        let (kept, stopped) = (scene.workbench(workspace).await, scene.workbench(workspace).await);
        scene.want(stopped, "stopped").await;
        scene.reconcile().await;
        // desktops without a row: one that never had one, one whose row says that it is gone, one of a workbench elsewhere
        let spec = scene.runtime.spec(kept).unwrap();
        let planted = |of| chorus::server::runtime::WorkbenchSpec { of, ..spec.clone() };
        let unknown = WorkbenchRef { workspace, workbench: 99_999 };
        let elsewhere = WorkbenchRef { workspace: 99_999, workbench: kept.workbench };
        for of in [unknown, elsewhere, stopped] {
            scene.runtime.plant(&planted(of));
        }
        scene.runtime.end_observers();
        scene.runtime.calls();
        scene.advance(301);
        scene.reconcile().await;
        assert_eq!(scene.runtime.desktops(), [kept]);
        let mut calls = scene.runtime.calls();
        calls.sort();
        assert_eq!(calls, [Call::Stop(stopped), Call::Delete(unknown), Call::Delete(elsewhere)]);
        assert_eq!(scene.runtime.observers(), 1, "it observes again");

        scene.runtime.reboot();
        scene.advance(301);
        scene.reconcile().await;
        assert_eq!(scene.runtime.desktops(), [kept], "the host was started anew, and so is the desktop");
        assert_eq!(scene.row(kept).await.shown(), ("Ready", "Running", ""));

        scene.runtime.reboot();
        scene.runtime.tell(Event::Missed);
        scene.reconcile().await;
        assert_eq!(scene.runtime.desktops(), [kept], "it does not wait where it knows that it missed something");
    })
    .await;
}
