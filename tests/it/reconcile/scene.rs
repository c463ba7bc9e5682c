//! A server with a scripted runtime, and rows as calls would leave them.

use std::sync::Arc;

use chorus::server::{
    clock::Clock as _,
    db::{FromRow, sql},
    desktops,
    reconcile::Reconciler,
    runtime::WorkbenchRef,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::support::{each_engine, runtime::Scripted, server::TestServer};

pub struct Scene {
    pub server: TestServer,
    pub runtime: Scripted,
    app: i64,
}

/// What the loop writes of a workbench.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Row {
    pub generation: i64,
    pub observed_generation: i64,
    pub server_pod_status: String,
    pub server_pod_message: String,
    pub k8s_status: String,
    pub reason: String,
    pub due_at: Option<DateTime<Utc>>,
    pub attempts: i64,
    pub removed_at: Option<DateTime<Utc>>,
    pub version: i64,
}

impl Row {
    /// Pod, server and message.
    pub fn shown(&self) -> (&str, &str, &str) {
        (&self.server_pod_status, &self.k8s_status, &self.server_pod_message)
    }
}

/// Runs the body on each engine.
pub async fn on_each_engine<F: Future<Output = ()>>(body: impl Fn(Arc<Scene>) -> F) {
    each_engine(|db| async {
        let scene = Arc::new(Scene::on(db).await);
        body(scene.clone()).await;
        if let Ok(scene) = Arc::try_unwrap(scene).map_err(drop) {
            scene.server.stop().await;
        }
    })
    .await;
}

impl Scene {
    pub async fn on(db: chorus::server::db::Db) -> Self {
        let runtime = Scripted::default();
        let server = TestServer::with_runtime(db, &[], Arc::new(runtime.clone())).await;
        let app = server.app(&server.admin, "R", "apps/r", "1").await;
        Self { server, runtime, app }
    }

    pub fn advance(&self, seconds: i64) {
        self.server.clock.advance(TimeDelta::seconds(seconds));
    }

    pub async fn workspace(&self) -> i64 {
        let id = self.server.workspace(&self.server.admin, "Atlas").await;
        self.want_workspace(id, false).await;
        id
    }

    /// Wants a workspace as its row says, or deleted.
    pub async fn want_workspace(&self, id: i64, deleted: bool) {
        let now = self.server.clock.now();
        let mut tx = self.server.db.transaction().await.unwrap();
        if deleted {
            let text = "UPDATE workspaces SET deleted_at = $1, status = 'deleted' WHERE id = $2";
            sql(text).bind(now).bind(id).run(&mut tx).await.unwrap();
        }
        desktops::want_workspace(&mut tx, id, now).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A workbench that is to run.
    pub async fn workbench(&self, workspace: i64) -> WorkbenchRef {
        let id = self.server.workbench(&self.server.admin, workspace, "desk").await;
        let of = WorkbenchRef { workspace, workbench: id };
        self.want(of, "running").await;
        of
    }

    /// Wants a workbench to be like this.
    pub async fn want(&self, of: WorkbenchRef, wanted: &'static str) {
        let now = self.server.clock.now();
        let mut tx = self.server.db.transaction().await.unwrap();
        let text = "UPDATE workbenches SET wanted = $1 WHERE id = $2";
        sql(text).bind(wanted).bind(of.workbench).run(&mut tx).await.unwrap();
        desktops::want_workbench(&mut tx, of.workbench, now).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// An app instance with this image, in the first incarnation.
    pub async fn app(&self, of: WorkbenchRef, image: &str) -> i64 {
        let now = self.server.clock.now();
        let snapshot = chorus::server::db::Json(json!({"name": "R", "image": image, "tag": "1"}));
        let admin = &self.server.admin;
        let (id,): (i64,) =
            sql("INSERT INTO app_instances (tenant_id, user_id, app_id, workspace_id, workbench_id, app, started_at, \
             created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7) RETURNING id")
            .bind(admin.tenant)
            .bind(admin.id)
            .bind(self.app)
            .bind(of.workspace)
            .bind(of.workbench)
            .bind(snapshot)
            .bind(now)
            .one(&self.server.db)
            .await
            .unwrap();
        self.want_app(of, id, "Running", 1).await;
        id
    }

    /// Wants an app instance to be like this.
    pub async fn want_app(&self, of: WorkbenchRef, id: i64, state: &'static str, incarnation: i64) {
        let now = self.server.clock.now();
        let mut tx = self.server.db.transaction().await.unwrap();
        sql("UPDATE app_instances SET k8s_state = $1, k8s_status = CASE WHEN incarnation < $2 THEN 'Unknown' \
             ELSE k8s_status END, incarnation = $3 WHERE id = $4")
        .bind(state)
        .bind(incarnation)
        .bind(incarnation)
        .bind(id)
        .run(&mut tx)
        .await
        .unwrap();
        desktops::want_workbench(&mut tx, of.workbench, now).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn row(&self, of: WorkbenchRef) -> Row {
        sql("SELECT generation, observed_generation, server_pod_status, server_pod_message, k8s_status, reason, due_at, \
             attempts, removed_at, version FROM workbenches WHERE id = $1")
            .bind(of.workbench)
            .one(&self.server.db)
            .await
            .unwrap()
    }

    /// Status, observed and wanted state, message of an app instance.
    pub async fn app_row(&self, id: i64) -> (String, String, String, String) {
        sql("SELECT status, k8s_status, k8s_state, k8s_message FROM app_instances WHERE id = $1")
            .bind(id)
            .one(&self.server.db)
            .await
            .unwrap()
    }

    /// When the workspace is due, and whether it was removed.
    pub async fn workspace_row(&self, id: i64) -> (Option<DateTime<Utc>>, bool) {
        let (due, removed): (Option<DateTime<Utc>>, Option<DateTime<Utc>>) =
            sql("SELECT due_at, removed_at FROM workspaces WHERE id = $1").bind(id).one(&self.server.db).await.unwrap();
        (due, removed.is_some())
    }

    pub async fn reconcile(&self) {
        self.server.reconcile().await;
    }

    /// A loop of another replica.
    pub fn reconciler(&self) -> Reconciler {
        self.server.reconciler()
    }
}

/// Rounds until nothing is due; whether there was anything.
pub async fn settle(reconciler: &mut Reconciler) -> bool {
    for round in 0..1000 {
        if reconciler.round().await == 0 {
            return round > 0;
        }
    }
    panic!("it does not come to rest");
}
