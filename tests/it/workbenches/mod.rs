//! Workbenches, over REST, on both engines: what people want of them, their members, those who watch, and what becomes of
//! those that nobody uses.

mod cascades;
mod cost;
mod idle;
mod members;
mod opening;
mod watch;
mod wishes;

use chorus::server::db::{FromRow, sql};
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::server::{Person, Reply, TestServer};

const WORKBENCHES: &str = "/api/rest/v1/workbenches";

/// What a row says of what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
struct Row {
    wanted: String,
    stopped_because: String,
    generation: i64,
    due_at: Option<DateTime<Utc>>,
    version: i64,
    active_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
}

async fn row(server: &TestServer, id: i64) -> Row {
    sql("SELECT wanted, stopped_because, generation, due_at, version, active_at, deleted_at FROM workbenches WHERE id = $1")
        .bind(id)
        .one(&server.db)
        .await
        .unwrap()
}

/// Changes a row behind the server's back.
async fn set(server: &TestServer, id: i64, change: &'static str) {
    sql("UPDATE workbenches SET ").push(change).push(" WHERE id = ").arg(id).run(&server.db).await.unwrap();
}

/// What the loop would do when it is done with a row.
async fn at_rest(server: &TestServer, id: i64, k8s: &str, pod: &str) {
    sql("UPDATE workbenches SET due_at = NULL, observed_generation = generation, k8s_status = $1, server_pod_status = $2 \
         WHERE id = $3")
    .bind(k8s.to_owned())
    .bind(pod.to_owned())
    .bind(id)
    .run(&server.db)
    .await
    .unwrap();
}

async fn call(server: &TestServer, by: &Person, method: Method, path: &str, body: Option<Value>) -> Reply {
    server.rest(Some(by), method, &format!("{WORKBENCHES}{path}"), body).await
}

async fn create(server: &TestServer, by: &Person, workspace: i64, name: &str) -> Reply {
    call(server, by, Method::POST, "", Some(json!({"workspaceId": workspace.to_string(), "name": name}))).await
}

/// A workbench, made by the RPC.
async fn made(server: &TestServer, by: &Person, workspace: i64, name: &str) -> i64 {
    let reply = create(server, by, workspace, name).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    id(shown(&reply))
}

async fn get(server: &TestServer, by: &Person, id: i64) -> Reply {
    call(server, by, Method::GET, &format!("/{id}"), None).await
}

async fn delete(server: &TestServer, by: &Person, id: i64) -> Reply {
    call(server, by, Method::DELETE, &format!("/{id}"), None).await
}

/// `start` or `stop`.
async fn tell(server: &TestServer, by: &Person, id: i64, what: &str) -> Reply {
    call(server, by, Method::POST, &format!("/{id}/{what}"), Some(json!({}))).await
}

async fn add(server: &TestServer, by: &Person, id: i64, user: i64, role: &str) -> Reply {
    let path = format!("/{id}/user/{user}/role");
    call(server, by, Method::POST, &path, Some(json!({"role": {"name": role}}))).await
}

/// The workbench of a reply.
fn shown(reply: &Reply) -> &Value {
    &reply.body["result"]["workbench"]
}

fn id(workbench: &Value) -> i64 {
    workbench["id"].as_str().unwrap().parse().unwrap()
}

/// What is shown of the desktop: status, k8sStatus, serverPodStatus, serverPodMessage.
fn desktop(workbench: &Value) -> [&str; 4] {
    ["status", "k8sStatus", "serverPodStatus", "serverPodMessage"].map(|name| workbench[name].as_str().unwrap())
}

async fn names(server: &TestServer, by: &Person, query: &str) -> Vec<String> {
    let reply = call(server, by, Method::GET, &format!("?{query}"), None).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let list = reply.body["result"]["workbenches"].as_array().unwrap();
    list.iter().map(|w| w["name"].as_str().unwrap().to_owned()).collect()
}

/// The roles that are bound to a workbench: user, role, and whether to a workspace as well.
async fn roles_in(server: &TestServer, id: i64) -> Vec<(i64, String, bool)> {
    sql("SELECT user_id, role, workspace IS NOT NULL FROM role_assignments WHERE workbench = $1 ORDER BY user_id, role")
        .bind(id.to_string())
        .all(&server.db)
        .await
        .unwrap()
}

async fn messages_to(server: &TestServer, user: i64) -> Vec<String> {
    let rows: Vec<(String,)> = sql("SELECT message FROM notifications WHERE user_id = $1 ORDER BY created_at, id")
        .bind(user)
        .all(&server.db)
        .await
        .unwrap();
    rows.into_iter().map(|row| row.0).collect()
}

/// An app instance that runs in a workbench.
async fn app_instance(server: &TestServer, owner: &Person, workspace: i64, workbench: i64) -> i64 {
    let app = server.app(owner, "Terminal", "apps/xterm", "1").await;
    let now = chorus::server::clock::Clock::now(&*server.clock);
    let (id,): (i64,) =
        sql("INSERT INTO app_instances (tenant_id, user_id, app_id, workspace_id, workbench_id, started_at, \
         created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $6, $6) RETURNING id")
        .bind(owner.tenant)
        .bind(owner.id)
        .bind(app)
        .bind(workspace)
        .bind(workbench)
        .bind(now)
        .one(&server.db)
        .await
        .unwrap();
    id
}

/// A person who may create workbenches in a workspace.
async fn member(server: &TestServer, name: &str, workspace: i64) -> Person {
    server.person(name, &[("WorkspaceMember", &[("workspace", &workspace.to_string())])]).await
}
