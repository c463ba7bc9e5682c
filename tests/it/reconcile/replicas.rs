//! One leads, the others wait; and what it costs while nothing happens.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use chorus::server::{
    db::{Engine, sql},
    runtime::{WorkbenchRef, WorkbenchSpec},
};
use tracing::{Event, Metadata, Subscriber, span};

use super::scene::{Scene, on_each_engine, settle};
use crate::support::{Database, runtime::Call};

#[tokio::test]
async fn one_replica_leads_until_it_is_silent() {
    on_each_engine(|scene| async move {
        let workspace = scene.workspace().await;
        let (mut one, mut other) = (scene.reconciler(), scene.reconciler());
        assert!(settle(&mut one).await);
        scene.workbench(workspace).await;
        assert!(!settle(&mut other).await, "it does not lead");
        scene.advance(14);
        assert!(!settle(&mut other).await, "not yet");
        assert!(settle(&mut one).await, "it renewed the lease");
        scene.advance(16);
        let second = scene.workbench(workspace).await;
        scene.runtime.calls();
        assert!(settle(&mut other).await, "the first one was silent for too long");
        assert_eq!(scene.runtime.calls(), [Call::Apply(second, 2)]);
        assert!(!settle(&mut one).await);
    })
    .await;
}

#[tokio::test]
async fn it_goes_on_by_itself_and_gives_the_lease_back() {
    on_each_engine(|scene| async move {
        let running = scene.reconciler().start();
        let of = scene.workbench(scene.workspace().await).await;
        let desktops = &scene.server.desktops();
        desktops.tell();
        until(async || scene.row(of).await.server_pod_status == "Ready").await;
        scene.runtime.change(of, |seen| "hello".clone_into(&mut seen.message));
        until(async || scene.row(of).await.server_pod_message == "hello").await;
        scene.want(of, "deleted").await;
        desktops.tell();
        until(async || scene.row(of).await.removed_at.is_some()).await;
        running.stop().await;
        scene.workbench(scene.workspace().await).await;
        assert!(settle(&mut scene.reconciler()).await, "the next one need not wait");
    })
    .await;
}

/// Asks until it is so. It does not take long, and tells when it does.
async fn until(holds: impl AsyncFn() -> bool) {
    let asked = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), asked).await.expect("it never came to that");
}

/// Counts the statements that this thread sends.
struct Statements(Arc<AtomicUsize>);

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// On PostgreSQL, whose driver logs statements on the thread that sends them.
#[tokio::test]
async fn ten_thousand_rows_at_rest_cost_a_query_a_second() {
    let Some(database) = Database::postgres().await else { return };
    let db = database.open().await;
    assert_eq!(db.engine(), Engine::Postgres);
    db.migrate().await.unwrap();
    let scene = Scene::on(db.clone()).await;
    let first = scene.workbench(scene.workspace().await).await;
    scene.reconcile().await;
    let rows: Vec<(i64,)> =
        sql("INSERT INTO workbenches (tenant_id, user_id, workspace_id, name, name_key, generation, \
         observed_generation, server_pod_status, k8s_status, active_at, created_at, updated_at) \
         SELECT tenant_id, user_id, workspace_id, name, name_key, generation, observed_generation, server_pod_status, \
         k8s_status, created_at, created_at, created_at FROM workbenches, generate_series(1, 9999) RETURNING id")
        .all(&db)
        .await
        .unwrap();
    let spec = scene.runtime.spec(first).unwrap();
    for (workbench,) in rows {
        let of = WorkbenchRef { workbench, ..first };
        scene.runtime.plant(&WorkbenchSpec { of, ..spec.clone() });
    }
    assert_eq!(scene.runtime.desktops().len(), 10_000);
    assert_eq!(scene.row(first).await.server_pod_status, "Ready");

    let counted = Arc::new(AtomicUsize::new(0));
    let counting = tracing::subscriber::set_default(Statements(counted.clone()));
    let mut reconciler = scene.reconciler();
    scene.advance(16);
    let seconds = 1200;
    for _ in 0..seconds * 2 / 3 {
        scene.server.clock.advance(chrono::TimeDelta::milliseconds(1500));
        assert_eq!(reconciler.round().await, 0);
    }
    drop(counting);
    let counted = counted.load(Ordering::Relaxed);
    assert!((seconds / 2..=seconds).contains(&counted), "{counted} statements in {seconds} seconds");
}
