//! What fails is shown, and tried again ever later.

use chorus::server::{
    db::sql,
    runtime::{PodStatus, RuntimeError, ServerStatus},
};

use super::scene::{on_each_engine, settle};
use crate::support::{runtime::Call, server};

fn transient() -> RuntimeError {
    RuntimeError::transient("Busy", "Too much to do.")
}

#[tokio::test]
async fn a_failure_is_shown_and_tried_again_later_each_time() {
    on_each_engine(|scene| async move {
        let of = scene.workbench(scene.workspace().await).await;
        scene.runtime.fail("apply", [transient(), transient(), RuntimeError::lasting("XpraMissing", "Install xpra.")]);
        scene.reconcile().await;
        let row = scene.row(of).await;
        assert_eq!((row.shown(), &*row.reason), (("Failing", "Progressing", "Too much to do."), "Busy"));
        assert_eq!(row.attempts, 1);
        scene.reconcile().await;
        assert_eq!(scene.row(of).await, row, "not yet");
        scene.advance(1);
        scene.reconcile().await;
        let again = scene.row(of).await;
        assert_eq!((again.attempts, again.version), (2, row.version), "the same words again are no change");
        scene.advance(1);
        scene.reconcile().await;
        assert_eq!(scene.row(of).await.attempts, 2, "it waits for two seconds now");
        scene.advance(1);
        scene.reconcile().await;
        let row = scene.row(of).await;
        assert_eq!((row.shown(), row.attempts), (("Failing", "Failed", "Install xpra."), 3));
        scene.advance(120);
        scene.reconcile().await;
        let row = scene.row(of).await;
        assert_eq!((row.shown(), &*row.reason, row.attempts), (("Ready", "Running", ""), "", 0));
        assert_eq!(row.due_at, None);
    })
    .await;
}

#[tokio::test]
async fn a_workspace_that_fails_holds_up_its_workbenches_only() {
    on_each_engine(|scene| async move {
        let broken = scene.workspace().await;
        scene.runtime.fail("apply_workspace", [transient()]);
        let of = scene.workbench(broken).await;
        scene.reconcile().await;
        let message = "Its workspace is not ready: Too much to do.";
        assert_eq!(scene.row(of).await.shown(), ("Waiting", "Progressing", message));
        let fine = scene.workbench(scene.workspace().await).await;
        scene.reconcile().await;
        assert_eq!(scene.runtime.desktops(), [fine]);
        scene.advance(1);
        scene.reconcile().await;
        assert_eq!(scene.row(of).await.shown(), ("Ready", "Running", ""));
        assert_eq!(scene.row(of).await.attempts, 0);
    })
    .await;
}

#[tokio::test]
async fn deleting_converges_though_the_runtime_was_down() {
    on_each_engine(|scene| async move {
        let workspace = scene.workspace().await;
        let (stopped, deleted) = (scene.workbench(workspace).await, scene.workbench(workspace).await);
        scene.reconcile().await;
        scene.runtime.fail("stop", [transient(), transient()]);
        scene.runtime.fail("delete", [transient(), transient()]);
        scene.runtime.fail("delete_workspace", [transient()]);
        scene.want(stopped, "stopped").await;
        scene.want(deleted, "deleted").await;
        scene.reconcile().await;
        assert_eq!(scene.row(deleted).await.shown(), ("Terminating", "", "Too much to do."));
        let row = scene.row(stopped).await;
        assert_eq!((&*row.reason, &*row.server_pod_message), ("Busy", ""));
        scene.want_workspace(workspace, true).await;
        // whatever its own row says, nothing stays in a workspace that is deleted
        for _ in 0..12 {
            scene.advance(10);
            scene.reconcile().await;
        }
        assert!(scene.runtime.files().is_empty() && scene.runtime.workspaces().is_empty());
        for of in [stopped, deleted] {
            assert!(scene.row(of).await.removed_at.is_some());
        }
        assert_eq!(scene.workspace_row(workspace).await, (None, true));
    })
    .await;
}

#[tokio::test]
async fn a_desktop_that_ends_by_itself_is_started_again_ever_more_seldom() {
    on_each_engine(|scene| async move {
        let of = scene.workbench(scene.workspace().await).await;
        scene.reconcile().await;
        scene.runtime.calls();
        scene.runtime.crash(of);
        scene.reconcile().await;
        let message = "The desktop ended by itself and is started again.";
        assert_eq!(scene.row(of).await.shown(), ("Restarting", "Progressing", message));
        scene.advance(1);
        scene.reconcile().await;
        assert_eq!(scene.runtime.calls(), [Call::Apply(of, 2)]);
        assert_eq!(scene.row(of).await.shown(), ("Ready", "Running", ""));

        // it is there, and says that it cannot
        for time in 1..4 {
            scene.runtime.change(of, |seen| {
                (seen.pod, seen.server) = (PodStatus::Failing, ServerStatus::Failed);
                seen.message = format!("no display, {time}");
            });
            scene.reconcile().await;
            let row = scene.row(of).await;
            assert_eq!((&*row.server_pod_status, &*row.k8s_status), ("Failing", "Failed"));
            assert!(row.due_at.is_some());
            assert_eq!(row.attempts, 1, "it was ready in between");
            scene.advance(1);
            scene.reconcile().await;
            assert_eq!(scene.row(of).await.shown(), ("Ready", "Running", ""));
        }
    })
    .await;
}

#[tokio::test]
async fn a_panic_is_a_failure_of_one_workbench() {
    on_each_engine(|scene| async move {
        let workspace = scene.workspace().await;
        let (broken, fine) = (scene.workbench(workspace).await, scene.workbench(workspace).await);
        scene.runtime.panic_on(broken);
        scene.reconcile().await;
        assert_eq!(scene.row(fine).await.server_pod_status, "Ready");
        let row = scene.row(broken).await;
        assert_eq!((&*row.server_pod_status, &*row.reason, row.attempts), ("Failing", "Internal", 1));
    })
    .await;
}

#[tokio::test]
async fn without_a_runtime_workbenches_wait_and_say_so() {
    server::on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let id = server.workbench(&server.admin, workspace, "desk").await;
        sql("UPDATE workbenches SET due_at = created_at").run(&server.db).await.unwrap();
        let mut reconciler = server.reconciler();
        settle(&mut reconciler).await;
        let row = async || -> (String, String, String, Option<chrono::DateTime<chrono::Utc>>) {
            sql("SELECT server_pod_status, server_pod_message, reason, due_at FROM workbenches WHERE id = $1")
                .bind(id)
                .one(&server.db)
                .await
                .unwrap()
        };
        let (pod, message, reason, due) = row().await;
        assert_eq!((&*pod, &*reason, due), ("Waiting", "NoRuntime", None));
        assert!(message.contains("--runtime local"), "{message}");
        for _ in 0..3 {
            server.clock.advance(chrono::TimeDelta::hours(1));
            assert!(!settle(&mut reconciler).await, "nothing is tried again");
        }
    })
    .await;
}

#[tokio::test]
async fn a_few_rows_at_once_and_none_twice() {
    on_each_engine(|scene| async move {
        let workspace = scene.workspace().await;
        for _ in 0..12 {
            scene.workbench(workspace).await;
        }
        scene.reconcile().await;
        scene.runtime.calls();
        let due = "UPDATE workbenches SET due_at = created_at, generation = generation + 1";
        sql(due).run(&scene.server.db).await.unwrap();
        scene.runtime.hold("apply");
        let mut one = scene.reconciler();
        scene.advance(20);
        let (_, begun) = tokio::join!(settle(&mut one), async {
            let mut begun = Vec::new();
            let mut quiet = 0;
            // as many as may begin, and then no more for as long as nothing ends
            while quiet < 200 {
                tokio::task::yield_now().await;
                let calls = scene.runtime.calls();
                quiet = if calls.is_empty() && !begun.is_empty() { quiet + 1 } else { 0 };
                begun.extend(calls);
            }
            let first = begun.len();
            scene.runtime.release("apply");
            first
        });
        assert_eq!(begun, chorus::server::reconcile::CONCURRENCY);
        let mut calls = scene.runtime.calls();
        calls.sort();
        calls.dedup();
        assert_eq!(calls.len(), 12 - begun, "each was given once");
    })
    .await;
}
