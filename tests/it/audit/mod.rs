//! The audit trail: what is recorded of which call, that no change happens without its record, and who reads it.

mod coverage;
mod reading;

use std::collections::BTreeMap;

use chorus::server::db::{Db, sql};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tonic::Code;

use crate::support::{
    contract::rpcs,
    server::{Failure, Person, TestServer, on_each_engine},
};

/// Outcome, code and the number of calls that the record stands for, by RPC.
async fn trail(db: &Db) -> BTreeMap<String, Vec<(String, i64, i64)>> {
    let rows: Vec<(String, String, i64, i64)> =
        sql("SELECT rpc, outcome, code, repeats FROM audit_log ORDER BY id").all(db).await.unwrap();
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (rpc, outcome, code, repeats) in rows {
        all.entry(rpc).or_default().push((outcome, code, repeats));
    }
    all
}

/// Calls every RPC with an empty request and compares the trail with what the contract says is recorded.
async fn every_call_is_recorded_as_stated(server: &TestServer, by: Option<&Person>) {
    sql("DELETE FROM audit_log").run(&server.db).await.unwrap();
    let rpcs = rpcs();
    // signing out would change what the others hear
    let calls = rpcs.iter().filter(|rpc| !rpc.signs_out());
    let results: Vec<_> = stream::iter(calls)
        .map(async |rpc| (rpc, server.call(by, &rpc.label(), json!({})).await))
        .buffer_unordered(16)
        .collect()
        .await;
    let mut trail = trail(&server.db).await;
    let mut findings = Vec::new();
    for (rpc, result) in results {
        let recorded = trail.remove(&rpc.label()).unwrap_or_default();
        let expected = match (rpc.audit.as_ref().unwrap().when, &result) {
            (1, _) | (2, Ok(_)) | (_, Err(Failure { code: Code::Unauthenticated, .. })) => vec![],
            (_, Ok(_)) => vec![("ok".to_owned(), 0, 1)],
            (_, Err(Failure { code: Code::PermissionDenied, .. })) => vec![("refused".to_owned(), 7, 1)],
            (_, Err(failure)) => vec![("failed".to_owned(), failure.code as i64, 1)],
        };
        if recorded != expected {
            findings.push(format!("{}: {result:?} is recorded as {recorded:?}, not {expected:?}", rpc.label()));
        }
    }
    findings.extend(trail.keys().map(|rpc| format!("{rpc}: recorded, although nobody called it")));
    assert!(findings.is_empty(), "{} findings:\n  {}", findings.len(), findings.join("\n  "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_leaves_the_record_that_the_contract_states() {
    on_each_engine(|server| async move {
        every_call_is_recorded_as_stated(&server, None).await;
        let nobody = server.stranger(server.tenant, &[]).await;
        every_call_is_recorded_as_stated(&server, Some(&nobody)).await;
        every_call_is_recorded_as_stated(&server, Some(&server.admin)).await;
    })
    .await;
}

#[tokio::test]
async fn a_record_says_who_did_what_to_what() {
    let server = TestServer::start().await;
    let workspace =
        server.call(Some(&server.admin), "WorkspaceService/CreateWorkspace", json!({"name": "Atlas"})).await.unwrap();
    let id: i64 = workspace["result"]["workspace"]["id"].as_str().unwrap().parse().unwrap();
    let guest = server.stranger(server.tenant, &[]).await;
    server.call(Some(&guest), "WorkspaceService/DeleteWorkspace", json!({"id": id})).await.unwrap_err();

    let rows: Vec<(String, i64, String, i64, String)> =
        sql("SELECT action, actor_id, actor_username, workspace_id, CAST(details AS TEXT) FROM audit_log ORDER BY id")
            .all(&server.db)
            .await
            .unwrap();
    let [made, refused] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((made.0.as_str(), made.1, made.2.as_str(), made.3), ("CreateWorkspace", server.admin.id, "chorus", id));
    assert_eq!((refused.0.as_str(), refused.1, refused.3), ("DeleteWorkspace", guest.id, id));
    // the id is only what the request said
    assert!(refused.4.contains("unverified") && refused.4.contains("PERMISSION_DENIED"), "{}", refused.4);
    assert!(!made.4.contains("unverified"), "{}", made.4);
}

/// Whatever cannot be recorded does not happen.
#[tokio::test]
async fn a_change_without_record_does_not_happen() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        sql("ALTER TABLE audit_log RENAME TO audit_log_away").run(&server.db).await.unwrap();
        for (rpc, request) in [
            ("WorkspaceService/CreateWorkspace", json!({"name": "Bering"})),
            ("WorkspaceService/DeleteWorkspace", json!({"id": workspace})),
        ] {
            assert!(server.call(Some(&server.admin), rpc, request).await.is_err(), "{rpc}");
        }
        let names: Vec<(String, String)> = sql("SELECT name, status FROM workspaces").all(&server.db).await.unwrap();
        assert_eq!(names, [("Atlas".to_owned(), "active".to_owned())]);
        let (notes,): (i64,) = sql("SELECT count(*) FROM notifications").one(&server.db).await.unwrap();
        assert_eq!(notes, 0);
    })
    .await;
}

/// Somebody who knocks without end fills neither the disk nor the trail, and no knock is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_refusals_is_counted() {
    let server = TestServer::start().await;
    let nobody = server.stranger(server.tenant, &[]).await;
    let knock = || server.call(Some(&nobody), "UserService/GetUser", json!({"id": 1}));
    let calls = stream::iter(0..200).map(|_| knock()).buffer_unordered(16);
    calls.for_each(async |result| assert_eq!(result.unwrap_err().code, Code::PermissionDenied)).await;

    let database = server.stop().await.unwrap();
    let db = database.open().await;
    let records = &trail(&db).await["UserService/GetUser"];
    assert!(records.len() < 100, "{} records", records.len());
    assert_eq!(records.iter().map(|(_, _, repeats)| repeats).sum::<i64>(), 200);
}

/// PostgreSQL stores no NUL in JSON. A record with one must neither be lost nor take others with it.
#[tokio::test]
async fn a_request_cannot_make_its_record_unwritable() {
    on_each_engine(|server| async move {
        sql("DELETE FROM audit_log").run(&server.db).await.unwrap();
        let name = format!("a\u{0}{}", "x".repeat(100_000));
        let create = json!({"name": name});
        let failure = server.call(Some(&server.admin), "WorkspaceService/CreateWorkspace", create).await.unwrap_err();
        assert_eq!(failure.code, Code::InvalidArgument);
        let (details,): (String,) = sql("SELECT CAST(details AS TEXT) FROM audit_log WHERE action = 'CreateWorkspace'")
            .one(&server.db)
            .await
            .unwrap();
        assert!(details.contains("a\u{fffd}xxx") && details.len() < 2_000, "{details}");
    })
    .await;
}
