//! The loop is dropped at every point where it waits, one after the other. Whoever comes next brings everything to the same
//! end: nothing is forgotten, and nothing runs that no row wants.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use chorus::server::runtime::WorkbenchRef;

use super::scene::{Scene, on_each_engine, settle};
use crate::support::runtime::STAYS;

/// A future that is dropped when it waits for the n-th time; then there is no output.
struct DroppedAt<F> {
    inner: Option<Pin<Box<F>>>,
    left: usize,
}

impl<F: Future> Future for DroppedAt<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        match inner.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.left == 0 => {
                self.inner = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                self.left -= 1;
                Poll::Pending
            }
        }
    }
}

/// What there is before the crash.
struct Before {
    workspace: i64,
    of: WorkbenchRef,
    app: i64,
}

/// Does `act`, lets a loop work on it that dies at the n-th wait, for every n, and checks what the next one makes of it.
async fn survives(
    scene: &Scene,
    prepare: impl AsyncFn(&Before),
    act: impl AsyncFn(&Before),
    check: impl AsyncFn(&Before),
) {
    let mut waits = 0;
    loop {
        let workspace = scene.workspace().await;
        let of = scene.workbench(workspace).await;
        let before = Before { workspace, of, app: scene.app(of, STAYS).await };
        prepare(&before).await;
        act(&before).await;
        let mut dying = scene.reconciler();
        let done = DroppedAt { inner: Some(Box::pin(settle(&mut dying))), left: waits }.await;
        drop(dying);
        // until its lease is over
        scene.advance(16);
        let mut next = scene.reconciler();
        settle(&mut next).await;
        // what was dropped between an order and its record may have left a removal to wait for
        scene.advance(60);
        settle(&mut next).await;
        check(&before).await;
        scene.advance(16);
        if done.is_some() {
            println!("{waits} waits");
            // how many there are depends on how often the machine lets it wait; with none the test would show nothing
            assert!(waits > 3, "it was dropped at {waits} points only");
            return;
        }
        waits += 1;
    }
}

async fn at_rest(scene: &Scene, before: &Before) {
    let row = scene.row(before.of).await;
    assert_eq!((row.due_at, row.observed_generation), (None, row.generation), "{row:?}");
    assert_eq!(scene.workspace_row(before.workspace).await.0, None);
}

async fn runs(scene: &Scene, before: &Before) {
    at_rest(scene, before).await;
    assert_eq!(scene.row(before.of).await.shown(), ("Ready", "Running", ""));
    assert_eq!(scene.runtime.running(before.of), [(before.app, 1)]);
    assert_eq!(scene.app_row(before.app).await.1, "Running");
}

async fn nothing(_: &Before) {}

#[tokio::test]
async fn while_it_creates() {
    on_each_engine(|scene| async move {
        survives(&scene, nothing, nothing, async |before| runs(&scene, before).await).await;
    })
    .await;
}

#[tokio::test]
async fn while_it_starts_and_ends_apps() {
    on_each_engine(|scene| async move {
        let prepare = async |_: &Before| {
            settle(&mut scene.reconciler()).await;
        };
        let act = async |before: &Before| {
            scene.advance(16);
            scene.want_app(before.of, before.app, "Stopped", 1).await;
            scene.app(before.of, STAYS).await;
        };
        let check = async |before: &Before| {
            at_rest(&scene, before).await;
            assert_eq!(scene.app_row(before.app).await.1, "Stopped");
            assert_eq!(scene.runtime.running(before.of).len(), 1);
        };
        survives(&scene, prepare, act, check).await;
    })
    .await;
}

#[tokio::test]
async fn while_it_stops() {
    on_each_engine(|scene| async move {
        let prepare = async |_: &Before| {
            settle(&mut scene.reconciler()).await;
        };
        let act = async |before: &Before| {
            scene.advance(16);
            scene.want(before.of, "stopped").await;
        };
        let check = async |before: &Before| {
            at_rest(&scene, before).await;
            assert_eq!(scene.row(before.of).await.shown(), ("Terminated", "", ""));
            assert!(!scene.runtime.desktops().contains(&before.of) && scene.runtime.files().contains(&before.of));
            assert_eq!(scene.app_row(before.app).await.1, "Unknown");
        };
        survives(&scene, prepare, act, check).await;
    })
    .await;
}

#[tokio::test]
async fn while_it_deletes() {
    on_each_engine(|scene| async move {
        let prepare = async |_: &Before| {
            settle(&mut scene.reconciler()).await;
        };
        let act = async |before: &Before| {
            scene.advance(16);
            scene.runtime.removals_take(1);
            scene.want(before.of, "deleted").await;
        };
        let check = async |before: &Before| {
            at_rest(&scene, before).await;
            assert!(scene.row(before.of).await.removed_at.is_some());
            assert!(!scene.runtime.files().contains(&before.of));
        };
        survives(&scene, prepare, act, check).await;
    })
    .await;
}

#[tokio::test]
async fn while_it_deletes_a_workspace() {
    on_each_engine(|scene| async move {
        let prepare = async |_: &Before| {
            settle(&mut scene.reconciler()).await;
        };
        let act = async |before: &Before| {
            scene.advance(16);
            scene.want_workspace(before.workspace, true).await;
            scene.want(before.of, "deleted").await;
        };
        let check = async |before: &Before| {
            at_rest(&scene, before).await;
            assert_eq!(scene.workspace_row(before.workspace).await, (None, true));
            assert!(scene.runtime.workspaces().iter().all(|workspace| workspace.id != before.workspace));
            assert!(!scene.runtime.files().contains(&before.of));
        };
        survives(&scene, prepare, act, check).await;
    })
    .await;
}
