//! App instances, over REST and gRPC, on both engines.

use std::{sync::Arc, time::Duration};

use chorus::{
    proto::v1::{self, AppInstanceEventKind, app_instance_service_client::AppInstanceServiceClient},
    server::{db::sql, runtime::RuntimeError},
};
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};
use tonic::Streaming;

use crate::support::{
    runtime::Scripted,
    server::{Person, Reply, TestServer, on_each_engine},
};

const INSTANCES: &str = "/api/rest/v1/app-instances";

/// A workbench with an app, and somebody who works there.
struct Desk {
    owner: Person,
    workspace: i64,
    workbench: i64,
    app: i64,
}

impl Desk {
    async fn new(server: &TestServer) -> Self {
        let owner = server.stranger(server.tenant, &[]).await;
        let workspace = server.workspace(&owner, "Atlas").await;
        let workbench = server.workbench(&owner, workspace, "Desk").await;
        let own = owner.id.to_string();
        let at = workbench.to_string();
        let roles: &[(&str, &[(&str, &str)])] =
            &[("Authenticated", &[("user", &own)]), ("WorkbenchAdmin", &[("workbench", &at)])];
        server.give(&owner, roles).await;
        let app = server.app(&server.admin, "RStudio", "apps/rstudio", "4.4").await;
        Self { owner, workspace, workbench, app }
    }

    fn body(&self) -> Value {
        json!({"workbenchId": self.workbench.to_string(), "appId": self.app.to_string(), "status": "active"})
    }

    async fn start(&self, server: &TestServer) -> Value {
        let reply = post(server, &self.owner, "", self.body()).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        shown(&reply).clone()
    }
}

async fn post(server: &TestServer, by: &Person, path: &str, body: Value) -> Reply {
    server.rest(Some(by), Method::POST, &format!("{INSTANCES}{path}"), Some(body)).await
}

async fn put(server: &TestServer, by: &Person, body: Value) -> Reply {
    server.rest(Some(by), Method::PUT, INSTANCES, Some(body)).await
}

async fn get(server: &TestServer, by: &Person, path: &str) -> Reply {
    server.rest(Some(by), Method::GET, &format!("{INSTANCES}{path}"), None).await
}

fn shown(reply: &Reply) -> &Value {
    &reply.body["result"]["appInstance"]
}

fn id(value: &Value) -> i64 {
    value["id"].as_str().unwrap().parse().unwrap()
}

/// What is wanted of an instance: state, and how often it was started.
async fn wanted(server: &TestServer, id: i64) -> (String, i64) {
    sql("SELECT k8s_state, incarnation FROM app_instances WHERE id = $1").bind(id).one(&server.db).await.unwrap()
}

/// How often what is wanted of a workbench changed, and whether the loop is to look.
async fn generation(server: &TestServer, id: i64) -> (i64, bool) {
    sql("SELECT generation, due_at IS NOT NULL FROM workbenches WHERE id = $1").bind(id).one(&server.db).await.unwrap()
}

/// What the loop would write.
async fn observe(server: &TestServer, id: i64, status: &str, k8s_status: &str) {
    sql("UPDATE app_instances SET status = $1, k8s_status = $2, k8s_message = 'seen' WHERE id = $3")
        .bind(status.to_owned())
        .bind(k8s_status.to_owned())
        .bind(id)
        .run(&server.db)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_app_is_started() {
    on_each_engine(|server| async move {
        let desk = Desk::new(&server).await;
        let mut body = desk.body();
        for (field, value) in [
            ("id", json!("77")),
            ("tenantId", json!("99")),
            ("userId", json!("99")),
            ("appName", json!("Forged")),
            ("k8sStatus", json!("Running")),
            ("k8sState", json!("Killed")),
            ("initialResolutionWidth", json!(1920)),
            ("initialResolutionHeight", json!(1080)),
            ("workspaceId", json!(desk.workspace.to_string())),
        ] {
            body[field] = value;
        }
        let before = generation(&server, desk.workbench).await.0;
        let reply = post(&server, &desk.owner, "", body).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        let made = shown(&reply);
        for (field, expected) in [
            ("tenantId", json!(server.tenant.to_string())),
            ("userId", json!(desk.owner.id.to_string())),
            ("workspaceId", json!(desk.workspace.to_string())),
            ("workbenchId", json!(desk.workbench.to_string())),
            ("appId", json!(desk.app.to_string())),
            ("appName", json!("RStudio")),
            ("appDockerImageRegistry", json!("")),
            ("appDockerImageName", json!("apps/rstudio")),
            ("appDockerImageTag", json!("4.4")),
            ("status", json!("unknown")),
            ("k8sState", json!("Running")),
            ("k8sStatus", json!("Unknown")),
            ("k8sMessage", json!("")),
            ("initialResolutionWidth", json!(1920)),
            ("initialResolutionHeight", json!(1080)),
            ("createdAt", json!("2026-03-01T08:00:00Z")),
        ] {
            assert_eq!(made[field], expected, "{field}");
        }
        assert_eq!(wanted(&server, id(made)).await, ("Running".to_owned(), 1));
        assert_eq!(generation(&server, desk.workbench).await, (before + 1, true), "the loop looks at the workbench");
        assert_eq!(shown(&get(&server, &desk.owner, &format!("/{}", made["id"].as_str().unwrap())).await), made);

        let (workspace, workbench, details): (Option<i64>, Option<i64>, String) =
            sql("SELECT workspace_id, workbench_id, CAST(details AS TEXT) FROM audit_log \
                 WHERE action = 'CreateAppInstance' AND outcome = 'ok'")
            .one(&server.db)
            .await
            .unwrap();
        assert_eq!((workspace, workbench), (Some(desk.workspace), Some(desk.workbench)));
        assert!(details.contains("RStudio") && !details.contains("Forged"), "{details}");
    })
    .await;
}

#[tokio::test]
async fn what_is_not_started() {
    on_each_engine(|server| async move {
        let desk = Desk::new(&server).await;
        let try_with = async |field: &str, value: i64| {
            let mut body = desk.body();
            body[field] = json!(value.to_string());
            let reply = post(&server, &server.admin, "", body).await;
            (reply.status, reply.reason().to_owned())
        };
        assert_eq!(try_with("appId", 9999).await, (404, "APP_NOT_FOUND".to_owned()));
        assert_eq!(try_with("workbenchId", 9999).await, (404, "WORKBENCH_NOT_FOUND".to_owned()));
        assert_eq!(try_with("workspaceId", desk.workspace + 1).await, (400, "VALIDATION_FAILED".to_owned()));
        sql("UPDATE apps SET status = 'inactive'").run(&server.db).await.unwrap();
        assert_eq!(try_with("appId", desk.app).await, (400, "APP_INACTIVE".to_owned()));
        sql("UPDATE apps SET status = 'active'").run(&server.db).await.unwrap();

        let stop = "UPDATE workbenches SET wanted = 'stopped', stopped_because = 'person'";
        sql(stop).run(&server.db).await.unwrap();
        assert_eq!(try_with("appId", desk.app).await, (400, "WORKBENCH_STOPPED".to_owned()));
        sql("UPDATE workbenches SET wanted = 'deleted', stopped_because = '', deleted_at = updated_at")
            .run(&server.db)
            .await
            .unwrap();
        assert_eq!(try_with("appId", desk.app).await, (404, "WORKBENCH_NOT_FOUND".to_owned()));
        let (left,): (i64,) = sql("SELECT count(*) FROM app_instances").one(&server.db).await.unwrap();
        assert_eq!(left, 0, "nothing of a refused start stays");
    })
    .await;
}

#[tokio::test]
async fn starting_an_app_wakes_an_idle_workbench() {
    on_each_engine(|server| async move {
        let desk = Desk::new(&server).await;
        sql("UPDATE workbenches SET wanted = 'stopped', stopped_because = 'idle', k8s_status = ''")
            .run(&server.db)
            .await
            .unwrap();
        server.clock.advance(TimeDelta::hours(1));
        desk.start(&server).await;
        let (wanted, status, active): (String, String, chrono::DateTime<chrono::Utc>) =
            sql("SELECT wanted, k8s_status, active_at FROM workbenches").one(&server.db).await.unwrap();
        assert_eq!((&*wanted, &*status), ("running", "Progressing"));
        assert_eq!(active.to_rfc3339(), "2026-03-01T09:00:00+00:00", "that is use of it");
    })
    .await;
}

#[tokio::test]
async fn the_quota_holds_under_a_rush() {
    on_each_engine(|server| async move {
        let desk = Arc::new(Desk::new(&server).await);
        let first = desk.start(&server).await;
        let limit = json!({"platformSettings": {"maxAppInstancesPerUser": 3}});
        let path = "/api/rest/v1/platform-settings";
        assert_eq!(server.rest(Some(&server.admin), Method::PUT, path, Some(limit)).await.status, 200);
        let mut rush = JoinSet::new();
        for _ in 0..8 {
            let (server, desk) = (server.clone(), desk.clone());
            rush.spawn(async move { post(&server, &desk.owner, "", desk.body()).await });
        }
        let replies = rush.join_all().await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 2);
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            assert_eq!((reply.status, reply.reason()), (429, "QUOTA_APP_INSTANCES"));
        }
        // one that ended makes room, and needs room to start again
        observe(&server, id(&first), "deleted", "Complete").await;
        desk.start(&server).await;
        let again = format!("/{}/restart", id(&first));
        assert_eq!(post(&server, &desk.owner, &again, json!({})).await.status, 429);
        assert_eq!(post(&server, &server.admin, "", desk.body()).await.status, 200, "the quota is each owner's own");
    })
    .await;
}

#[tokio::test]
async fn what_is_wanted_changes_and_what_is_seen_cannot_be_set() {
    on_each_engine(|server| async move {
        let desk = Desk::new(&server).await;
        let made = desk.start(&server).await;
        let (id, key) = (id(&made), made["id"].clone());
        observe(&server, id, "active", "Running").await;
        let before = generation(&server, desk.workbench).await.0;
        let same =
            json!({"id": key, "status": "inactive", "k8sStatus": "Failed", "k8sState": "Running", "appName": "x"});
        let reply = put(&server, &desk.owner, same).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        assert_eq!((&shown(&reply)["status"], &shown(&reply)["k8sStatus"]), (&json!("active"), &json!("Running")));
        assert_eq!(put(&server, &desk.owner, json!({"id": key, "status": "active"})).await.status, 200);
        assert_eq!(generation(&server, desk.workbench).await.0, before, "nothing else is wanted");

        for (state, start, steps) in [("Stopped", 1, 1), ("Stopped", 1, 1), ("Killed", 1, 2), ("Running", 2, 3)] {
            let reply = put(&server, &desk.owner, json!({"id": key, "k8sState": state})).await;
            assert_eq!((reply.status, &shown(&reply)["k8sState"]), (200, &json!(state)));
            assert_eq!(wanted(&server, id).await, (state.to_owned(), start), "{state}");
            assert_eq!(generation(&server, desk.workbench).await.0, before + steps, "{state}");
        }
        let again = get(&server, &desk.owner, &format!("/{id}")).await;
        assert_eq!((&shown(&again)["status"], &shown(&again)["k8sStatus"]), (&json!("unknown"), &json!("Unknown")));

        observe(&server, id, "deleted", "Failed").await;
        let reply = put(&server, &desk.owner, json!({"id": key, "k8sState": "Running"})).await;
        assert_eq!((reply.status, wanted(&server, id).await.1), (200, 3), "one that ended is started again");
        let reply = post(&server, &desk.owner, &format!("/{id}/restart"), json!({})).await;
        assert_eq!((reply.status, wanted(&server, id).await.1), (200, 4), "one that runs as well");
        for (field, value) in [("status", "ready"), ("k8sState", "running")] {
            let mut body = json!({"id": key});
            body[field] = json!(value);
            assert_eq!(put(&server, &desk.owner, body).await.status, 400, "{field}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_runs_is_what_was_started() {
    on_each_engine(|server| async move {
        let desk = Desk::new(&server).await;
        let made = desk.start(&server).await;
        let app = json!({"id": desk.app.to_string(), "name": "Other", "dockerImageName": "apps/other", "dockerImageTag": "9"});
        assert_eq!(server.rest(Some(&server.admin), Method::PUT, "/api/rest/v1/apps", Some(app)).await.status, 200);
        let path = format!("/{}", id(&made));
        let restart = format!("{path}/restart");
        assert_eq!(post(&server, &desk.owner, &restart, json!({})).await.status, 200);
        let seen = get(&server, &desk.owner, &path).await;
        assert_eq!((&shown(&seen)["appName"], &shown(&seen)["appDockerImageTag"]), (&json!("RStudio"), &json!("4.4")));

        let path = format!("/api/rest/v1/apps/{}", desk.app);
        assert_eq!(server.rest(Some(&server.admin), Method::DELETE, &path, None).await.status, 200);
        let seen = get(&server, &desk.owner, &format!("/{}", id(&made))).await;
        assert_eq!((&shown(&seen)["appName"], &shown(&seen)["k8sState"]), (&json!("RStudio"), &json!("Running")));
        let reply = post(&server, &desk.owner, &restart, json!({})).await;
        assert_eq!((reply.status, reply.reason()), (404, "APP_NOT_FOUND"), "what is withdrawn is not started again");
    })
    .await;
}

#[tokio::test]
async fn a_deleted_instance_ends() {
    on_each_engine(|server| async move {
        let desk = Desk::new(&server).await;
        let made = desk.start(&server).await;
        let path = format!("{INSTANCES}/{}", id(&made));
        let reply = server.rest(Some(&desk.owner), Method::DELETE, &path, None).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        assert_eq!((&shown(&reply)["id"], &shown(&reply)["k8sState"]), (&made["id"], &json!("Stopped")));
        assert_eq!(wanted(&server, id(&made)).await.0, "Stopped");
        for (method, path, body) in [
            (Method::GET, path.clone(), None),
            (Method::DELETE, path.clone(), None),
            (Method::POST, format!("{path}/restart"), Some(json!({}))),
            (Method::GET, format!("{path}/logs"), None),
            (Method::PUT, INSTANCES.to_owned(), Some(json!({"id": made["id"], "k8sState": "Running"}))),
        ] {
            let reply = server.rest(Some(&desk.owner), method, &path, body).await;
            assert_eq!((reply.status, reply.reason()), (404, "APP_INSTANCE_NOT_FOUND"), "{path}");
        }
        assert_eq!(get(&server, &desk.owner, "").await.body["pagination"]["total"], 0);
    })
    .await;
}

#[tokio::test]
async fn one_sees_the_instances_of_ones_workbenches() {
    on_each_engine(|server| async move {
        let (desk, other) = (Desk::new(&server).await, Desk::new(&server).await);
        let (first, ended) = (desk.start(&server).await, desk.start(&server).await);
        let foreign = other.start(&server).await;
        observe(&server, id(&ended), "deleted", "Failed").await;
        let listed = async |by: &Person, query: &str| {
            let reply = get(&server, by, query).await;
            assert_eq!(reply.status, 200, "{:?}", reply.body);
            let rows = reply.body["result"]["appInstances"].as_array().unwrap();
            let ids: Vec<_> = rows.iter().map(id).collect();
            (ids, reply.body["pagination"]["total"].as_u64().unwrap())
        };
        let own = vec![id(&first), id(&ended)];
        assert_eq!(listed(&desk.owner, "").await, (own.clone(), 2), "one that failed is shown and counted");
        let at = |desk: &Desk| format!("?filter.workbenchIdsIn={}", desk.workbench);
        assert_eq!(listed(&desk.owner, &at(&desk)).await, (own.clone(), 2));
        assert_eq!(get(&server, &desk.owner, &at(&other)).await.status, 403);
        assert_eq!(listed(&server.admin, "").await, (vec![own[0], own[1], id(&foreign)], 3));
        assert_eq!(listed(&server.admin, &at(&other)).await, (vec![id(&foreign)], 1));
        for sort in [
            "id",
            "appid",
            "workspaceid",
            "workbenchid",
            "status",
            "createdat",
            "appname",
            "appdockerimageregistry",
            "appdockerimagename",
        ] {
            let query = format!("?pagination.sort.type={sort}&pagination.sort.order=desc");
            assert_eq!(listed(&desk.owner, &query).await.1, 2, "{sort}");
        }
        let nobody = server.person("norbert", &[]).await;
        assert_eq!(listed(&nobody, "").await, (vec![], 0));

        // what one may not see does not exist; what one may see and not touch says so
        let path = format!("{INSTANCES}/{}", id(&foreign));
        let missing = format!("{INSTANCES}/9999");
        for path in [&path, &missing] {
            for (method, body) in [(Method::GET, None), (Method::DELETE, None)] {
                let reply = server.rest(Some(&desk.owner), method, path, body).await;
                assert_eq!((reply.status, reply.reason()), (404, "APP_INSTANCE_NOT_FOUND"), "{path}");
            }
        }
        let at = other.workbench.to_string();
        let viewer = server.person("vera", &[("WorkbenchViewer", &[("workbench", &at)])]).await;
        assert_eq!(listed(&viewer, "").await, (vec![id(&foreign)], 1));
        assert_eq!(server.rest(Some(&viewer), Method::DELETE, &path, None).await.status, 403);
        let body = json!({"id": foreign["id"], "workbenchId": desk.workbench.to_string(), "k8sState": "Killed"});
        assert_eq!(put(&server, &desk.owner, body).await.status, 404, "the workbench of the body opens nothing");
    })
    .await;
}

#[tokio::test]
async fn logs_come_from_the_runtime() {
    on_each_engine(|server| async move {
        let desk = Desk::new(&server).await;
        let made = desk.start(&server).await;
        let reply = get(&server, &desk.owner, &format!("/{}/logs?maxBytes=100", id(&made))).await;
        assert_eq!((reply.status, &reply.body["result"]), (200, &json!({"text": ""})));
        let reply = get(&server, &desk.owner, &format!("/{}/logs?maxBytes=2000000", id(&made))).await;
        assert_eq!(reply.status, 400);
    })
    .await;
}

#[tokio::test]
async fn a_runtime_that_fails_says_why() {
    let db = chorus::server::db::Db::memory().await.unwrap();
    let runtime = Arc::new(Scripted::default());
    let away = RuntimeError::transient("Away", "The host of the desktop does not answer.");
    runtime.fail("logs", [away.clone()]);
    let server = TestServer::with_runtime(db, &[], runtime).await;
    let desk = Desk::new(&server).await;
    let id = server.app_instance(&desk.owner, desk.workbench, desk.app).await;
    let reply = get(&server, &desk.owner, &format!("/{id}/logs")).await;
    assert_eq!((reply.status, reply.reason()), (503, "LOGS_UNAVAILABLE"));
    assert_eq!(reply.body["message"], away.message);
    server.stop().await;
}

async fn next(stream: &mut Streaming<v1::WatchAppInstancesReply>) -> (AppInstanceEventKind, u64, String) {
    let event = timeout(Duration::from_secs(20), stream.message()).await.expect("no event").unwrap().unwrap();
    let instance = event.app_instance.clone().unwrap_or_default();
    (event.kind(), instance.id, instance.k8s_state)
}

#[tokio::test]
async fn a_watcher_is_told_each_change() {
    on_each_engine(|server| async move {
        let (desk, other) = (Desk::new(&server).await, Desk::new(&server).await);
        let first = desk.start(&server).await;
        let mut request = tonic::Request::new(v1::WatchAppInstancesRequest::default());
        request.metadata_mut().insert("authorization", format!("Bearer {}", desk.owner.token).parse().unwrap());
        let mut client = AppInstanceServiceClient::new(server.channel());
        let mut stream = client.watch_app_instances(request).await.unwrap().into_inner();
        let seen = |value: &Value| u64::try_from(id(value)).unwrap();
        assert_eq!(next(&mut stream).await, (AppInstanceEventKind::Seen, seen(&first), "Running".to_owned()));
        assert_eq!(next(&mut stream).await.0, AppInstanceEventKind::Current);
        other.start(&server).await;
        let second = desk.start(&server).await;
        assert_eq!(next(&mut stream).await, (AppInstanceEventKind::Seen, seen(&second), "Running".to_owned()));
        put(&server, &desk.owner, json!({"id": first["id"], "k8sState": "Stopped"})).await;
        assert_eq!(next(&mut stream).await, (AppInstanceEventKind::Seen, seen(&first), "Stopped".to_owned()));
        server.rest(Some(&desk.owner), Method::DELETE, &format!("{INSTANCES}/{}", id(&second)), None).await;
        assert_eq!(next(&mut stream).await, (AppInstanceEventKind::Deleted, seen(&second), "Stopped".to_owned()));
    })
    .await;
}
