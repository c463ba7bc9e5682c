//! Reading the audit trail: who sees which part of it, filters, pages, and walks that miss nothing.

use std::sync::atomic::{AtomicI64, Ordering};

use chorus::server::{
    clock::Clock,
    db::{Db, Engine, sql},
};
use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::server::{Person, TestServer, on_each_engine};

/// A record to put into the trail.
#[derive(Debug, Clone)]
struct Row {
    tenant: Option<i64>,
    actor: Option<i64>,
    username: &'static str,
    action: &'static str,
    outcome: &'static str,
    workspace: Option<i64>,
    workbench: Option<i64>,
    user: Option<i64>,
    at: DateTime<Utc>,
}

impl Row {
    fn of(server: &TestServer) -> Self {
        Self {
            tenant: Some(server.tenant),
            actor: Some(server.admin.id),
            username: "chorus",
            action: "CreateWorkspace",
            outcome: "ok",
            workspace: None,
            workbench: None,
            user: None,
            at: server.clock.now(),
        }
    }

    async fn insert(&self, on: impl Into<chorus::server::db::On<'_>>) -> i64 {
        let (id,): (i64,) = sql("INSERT INTO audit_log (tenant_id, actor_id, actor_username, action, outcome, code, \
             workspace_id, workbench_id, user_id, address, details, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '192.0.2.7', '{}', $10) RETURNING id")
        .bind(self.tenant)
        .bind(self.actor)
        .bind(self.username)
        .bind(self.action)
        .bind(self.outcome)
        .bind(if self.outcome == "ok" { 0 } else { 7_i64 })
        .bind(self.workspace)
        .bind(self.workbench)
        .bind(self.user)
        .bind(self.at)
        .one(on)
        .await
        .unwrap();
        id
    }
}

/// The entries that a call returns.
async fn entries(server: &TestServer, by: &Person, rpc: &str, request: Value) -> Vec<Value> {
    let reply = server.call(Some(by), &format!("AuditService/{rpc}"), request).await.unwrap();
    reply["result"]["entries"].as_array().unwrap().clone()
}

async fn ids(server: &TestServer, by: &Person, rpc: &str, request: Value) -> Vec<i64> {
    entries(server, by, rpc, request).await.iter().map(|e| e["id"].as_str().unwrap().parse().unwrap()).collect()
}

async fn clear(db: &Db) {
    sql("DELETE FROM audit_log").run(db).await.unwrap();
}

/// Every filter, and pairs of them, against the same conditions over the rows.
#[tokio::test]
async fn filters_hold_together() {
    on_each_engine(|server| async move {
        clear(&server.db).await;
        let mut rows = Vec::new();
        for n in 0..60_i64 {
            let row = Row {
                actor: (n % 5 != 0).then_some(n % 3 + 1),
                username: ["ada", "bob", "eve"][usize::try_from(n % 3).unwrap()],
                action: ["CreateWorkspace", "DeleteWorkspace"][usize::try_from(n % 2).unwrap()],
                outcome: ["ok", "refused", "failed", "ok"][usize::try_from(n % 4).unwrap()],
                workspace: (n % 2 == 0).then_some(n % 4 + 1),
                workbench: (n % 7 == 0).then_some(9),
                user: (n % 3 == 0).then_some(n % 2 + 5),
                at: server.clock.now() + TimeDelta::seconds(n),
                ..Row::of(&server)
            };
            rows.push((row.insert(&server.db).await, row));
        }
        let at = |n: i64| server.clock.now() + TimeDelta::seconds(n);
        let middle = rows[30].0;
        type Fits = Box<dyn Fn(i64, &Row) -> bool>;
        let (from, to) = (at(20), at(40));
        let conditions: Vec<(Value, Fits)> = vec![
            (json!({}), Box::new(|_, _| true)),
            (json!({"actorId": "2"}), Box::new(|_, r| r.actor == Some(2))),
            (json!({"actorUsername": "eve"}), Box::new(|_, r| r.username == "eve")),
            (json!({"workspaceId": "3"}), Box::new(|_, r| r.workspace == Some(3))),
            (json!({"workbenchId": "9"}), Box::new(|_, r| r.workbench == Some(9))),
            (json!({"userId": "5"}), Box::new(|_, r| r.user == Some(5))),
            (json!({"action": "DeleteWorkspace"}), Box::new(|_, r| r.action == "DeleteWorkspace")),
            (json!({"action": "Nothing"}), Box::new(|_, _| false)),
            (json!({"outcome": "AUDIT_OUTCOME_REFUSED"}), Box::new(|_, r| r.outcome == "refused")),
            (json!({"fromTime": from.to_rfc3339()}), Box::new(move |_, r| r.at >= from)),
            (json!({"toTime": to.to_rfc3339()}), Box::new(move |_, r| r.at <= to)),
            (json!({"afterId": middle.to_string()}), Box::new(move |id, _| id > middle)),
            (json!({"beforeId": middle.to_string()}), Box::new(move |id, _| id < middle)),
            (json!({"userId": u64::MAX.to_string()}), Box::new(|_, _| false)),
        ];
        for (a, fits_a) in &conditions {
            for (b, fits_b) in &conditions {
                let mut filter = a.clone();
                filter.as_object_mut().unwrap().extend(b.as_object().unwrap().clone());
                if a.as_object().unwrap().keys().eq(b.as_object().unwrap().keys()) && a != b {
                    continue;
                }
                let mut expected: Vec<i64> =
                    rows.iter().filter(|(id, r)| fits_a(*id, r) && fits_b(*id, r)).map(|(id, _)| *id).collect();
                if filter.get("afterId").is_none() {
                    expected.reverse();
                }
                let found = ids(&server, &server.admin, "ListPlatformAudit", json!({"filter": filter})).await;
                assert_eq!(found, expected, "{filter}");
            }
        }
        // the path goes before the filter
        for (rpc, field) in [
            ("ListWorkspaceAudit", "workspaceId"),
            ("ListWorkbenchAudit", "workbenchId"),
            ("ListUserAudit", "userId"),
            ("ListActorAudit", "actorId"),
        ] {
            let filter = json!({field: "1", "action": "CreateWorkspace"});
            let id = if field == "actorId" {
                3
            } else if field == "workbenchId" {
                9
            } else {
                5
            };
            let id = if field == "workspaceId" { 3 } else { id };
            let mut alone = json!({"action": "CreateWorkspace"});
            alone[field] = id.into();
            let expected = ids(&server, &server.admin, "ListPlatformAudit", json!({"filter": alone})).await;
            let found = ids(&server, &server.admin, rpc, json!({"id": id, "filter": filter})).await;
            assert!(!found.is_empty() && found == expected, "{rpc}: {found:?} {expected:?}");
        }
        // what breaks a rule is refused in words
        for (filter, field) in [
            (json!({"action": "Create Workspace"}), "filter.action"),
            (json!({"outcome": 9}), "filter.outcome"),
            (json!({"actorUsername": "x".repeat(256)}), "filter.actorUsername"),
        ] {
            let failure = server
                .call(Some(&server.admin), "AuditService/ListPlatformAudit", json!({"filter": filter}))
                .await
                .unwrap_err();
            assert_eq!(failure.code, Code::InvalidArgument, "{field}");
        }
    })
    .await;
}

/// A list without parameters shows the newest thousand and says that it was cut; pages count all.
#[tokio::test]
async fn pages() {
    on_each_engine(|server| async move {
        clear(&server.db).await;
        let first = Row::of(&server).insert(&server.db).await;
        sql("INSERT INTO audit_log (tenant_id, actor_id, actor_username, action, outcome, details, created_at) \
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1204) \
             SELECT a.tenant_id, a.actor_id, a.actor_username, a.action, a.outcome, a.details, a.created_at \
             FROM n, audit_log a WHERE a.id = $1")
        .bind(first)
        .run(&server.db)
        .await
        .unwrap();
        let get = async |query: &str| {
            let reply =
                server.rest(Some(&server.admin), Method::GET, &format!("/api/rest/v1/audit{query}"), None).await;
            assert_eq!(reply.status, 200, "{}", reply.body);
            let ids: Vec<i64> = reply.body["result"]["entries"]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| e["id"].as_str().unwrap().parse::<i64>().unwrap() - first)
                .collect();
            let cut = reply.headers.contains_key("x-chorus-truncated");
            (ids, reply.body["pagination"].clone(), cut)
        };
        let (ids, pagination, cut) = get("").await;
        assert_eq!((ids.len(), ids[0], ids[999], cut), (1000, 1204, 205, true));
        assert_eq!(
            pagination,
            json!({"total": 1205, "offset": 0, "limit": 1000, "sort": {"order": "desc", "type": "id"}})
        );
        let (ids, pagination, cut) = get("?pagination.limit=3&pagination.offset=2").await;
        assert_eq!((ids, &pagination["total"], cut), (vec![1202, 1201, 1200], &json!(1205), false));
        let (ids, pagination, _) = get("?pagination.limit=2&pagination.sort.type=CreatedAt").await;
        assert_eq!((ids, &pagination["sort"]), (vec![0, 1], &json!({"order": "asc", "type": "createdat"})));
        let (ids, pagination, _) = get("?pagination.offset=5000").await;
        assert_eq!((ids.len(), &pagination["total"]), (0, &json!(1205)));
        let (ids, pagination, cut) = get("?uncounted=true").await;
        assert_eq!((ids.len(), ids[0], pagination, cut), (1000, 1204, Value::Null, false));
        let after = format!("?filter.afterId={}&pagination.limit=2", first + 1200);
        assert_eq!(get(&after).await.0, [1201, 1202]);
        let unknown =
            server.rest(Some(&server.admin), Method::GET, "/api/rest/v1/audit?pagination.sort.type=actor", None);
        assert_eq!(unknown.await.reason(), "UNKNOWN_SORT");
    })
    .await;
}

/// Records that arrive while somebody walks through the trail neither shift, nor repeat, nor hide any.
#[tokio::test]
async fn a_walk_is_stable() {
    on_each_engine(|server| async move {
        clear(&server.db).await;
        let mut all = Vec::new();
        for _ in 0..50 {
            all.push(Row::of(&server).insert(&server.db).await);
        }
        let (mut down, mut up, mut at) = (Vec::new(), Vec::new(), 0);
        loop {
            let filter = if at == 0 { json!({}) } else { json!({"beforeId": at}) };
            let request = json!({"pagination": {"limit": 7}, "filter": filter, "uncounted": true});
            let page = ids(&server, &server.admin, "ListPlatformAudit", request).await;
            let Some(last) = page.last() else { break };
            at = *last;
            down.extend(page);
            Row::of(&server).insert(&server.db).await;
        }
        down.reverse();
        assert_eq!(down, all);
        at = 0;
        loop {
            let sort = json!({"type": "id", "order": "asc"});
            let request =
                json!({"pagination": {"limit": 7, "sort": sort}, "filter": {"afterId": at}, "uncounted": true});
            let page = ids(&server, &server.admin, "ListPlatformAudit", request).await;
            let Some(last) = page.last() else { break };
            at = *last;
            up.extend(page);
            if up.len() < 80 {
                Row::of(&server).insert(&server.db).await;
            }
        }
        let (count,): (i64,) = sql("SELECT count(*) FROM audit_log").one(&server.db).await.unwrap();
        assert_eq!(i64::try_from(up.len()).unwrap(), count);
        assert!(up.is_sorted_by(|a, b| a < b));
    })
    .await;
}

/// Ids are drawn in one order and committed in another; who goes on after an id must not lose what was under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_waits_for_what_is_under_way() {
    on_each_engine(|server| async move {
        clear(&server.db).await;
        if server.db.engine() == Engine::Sqlite {
            // one writer after the other: nothing can be under way
            return;
        }
        let mut slow = server.db.transaction().await.unwrap();
        let lower = Row::of(&server).insert(&mut slow).await;
        let higher = Row::of(&server).insert(&server.db).await;
        assert!(lower < higher);
        let request = json!({"pagination": {"sort": {"type": "id", "order": "asc"}}, "uncounted": true});
        let walk = {
            let server = server.clone();
            tokio::spawn(async move { ids(&server, &server.admin, "ListPlatformAudit", request).await })
        };
        // who reads the newest does not wait, and neither does who writes
        for n in 1..=5 {
            let newest = ids(&server, &server.admin, "ListPlatformAudit", json!({})).await;
            assert_eq!((newest.len(), newest.contains(&lower)), (n, false));
            Row::of(&server).insert(&server.db).await;
        }
        assert!(!walk.is_finished(), "the walk went past an open transaction");
        slow.commit().await.unwrap();
        let walked = walk.await.unwrap();
        assert_eq!(walked[..2], [lower, higher]);
    })
    .await;
}

/// Many write while one exports: nothing is missing and nothing comes twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_under_load_misses_nothing() {
    on_each_engine(|server| async move {
        clear(&server.db).await;
        let left = AtomicI64::new(120);
        let write = async || {
            while left.fetch_sub(1, Ordering::Relaxed) > 0 {
                let mut tx = server.db.transaction().await.unwrap();
                Row::of(&server).insert(&mut tx).await;
                tokio::task::yield_now().await;
                tx.commit().await.unwrap();
            }
        };
        let read = async || {
            let (mut read, mut at) = (Vec::new(), 0);
            loop {
                let done = left.load(Ordering::Relaxed) < -3;
                let sort = json!({"type": "id", "order": "asc"});
                let filter = json!({"afterId": at});
                let request = json!({"pagination": {"limit": 9, "sort": sort}, "filter": filter, "uncounted": true});
                let page = ids(&server, &server.admin, "ListPlatformAudit", request).await;
                at = page.last().copied().unwrap_or(at);
                let empty = page.is_empty();
                read.extend(page);
                if done && empty {
                    return read;
                }
            }
        };
        let (read, ..) = tokio::join!(read(), write(), write(), write(), write());
        let all: Vec<(i64,)> = sql("SELECT id FROM audit_log ORDER BY id").all(&server.db).await.unwrap();
        assert_eq!(read, all.into_iter().map(|(id,)| id).collect::<Vec<_>>());
    })
    .await;
}

/// Each reader sees his part, nobody another tenant's, and what belongs to no tenant is shown to nobody.
#[tokio::test]
async fn each_reader_sees_his_part() {
    on_each_engine(|server| async move {
        let elsewhere = server.tenant("elsewhere").await;
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let bound = workspace.to_string();
        let keeper = server.person("keeper", &[("WorkspaceAdmin", &[("workspace", &bound)])]).await;
        let auditor = server.person("auditor", &[("PlatformAuditor", &[("user", "*")])]).await;
        let ada = server.person("ada", &[]).await;
        let everything: &[_] = &[("workspace", "*"), ("workbench", "*"), ("user", "*")];
        let foreign = server.person_of(elsewhere, "foreign", &[("SuperAdmin", everything)]).await;
        clear(&server.db).await;
        let row = Row::of(&server);
        let about_ada = Row { workspace: Some(workspace), user: Some(ada.id), ..row.clone() }.insert(&server.db).await;
        let by_ada = Row { actor: Some(ada.id), username: "ada", ..row.clone() }.insert(&server.db).await;
        let sign_in = Row { actor: None, username: "", user: Some(ada.id), outcome: "refused", ..row.clone() }
            .insert(&server.db)
            .await;
        let other = Row { workspace: Some(workspace + 1), ..row.clone() }.insert(&server.db).await;
        Row { tenant: None, workspace: Some(workspace), ..row.clone() }.insert(&server.db).await;
        // the ids are only what a request of somebody else's said
        let theirs = Row { tenant: Some(elsewhere), workspace: Some(workspace), user: Some(ada.id), ..row };
        let theirs = theirs.insert(&server.db).await;

        let all = vec![other, sign_in, by_ada, about_ada];
        let of = |id: i64| json!({"id": id});
        let within = json!({"id": ada.id, "filter": {"workspaceId": workspace}});
        for (by, rpc, request, expected) in [
            (&auditor, "ListPlatformAudit", json!({}), &all[..]),
            (&server.admin, "ListPlatformAudit", json!({}), &all),
            (&foreign, "ListPlatformAudit", json!({}), &[theirs]),
            (&foreign, "ListWorkspaceAudit", of(workspace), &[theirs]),
            (&foreign, "ListUserAudit", of(ada.id), &[theirs]),
            (&foreign, "ListActorAudit", of(ada.id), &[]),
            (&keeper, "ListWorkspaceAudit", of(workspace), &[about_ada]),
            (&keeper, "ListUserAudit", within.clone(), &[about_ada]),
            (&auditor, "ListUserAudit", of(ada.id), &[sign_in, about_ada]),
            (&auditor, "ListActorAudit", of(ada.id), &[by_ada]),
            (&ada, "ListUserAudit", of(ada.id), &[sign_in, about_ada]),
            (&ada, "ListActorAudit", of(ada.id), &[by_ada]),
        ] {
            assert_eq!(ids(&server, by, rpc, request.clone()).await, expected, "{} {rpc} {request}", by.username);
        }
        // who reads what was done to him learns who it was, not where they sit; but where a sign-in came from, he does
        let seen = entries(&server, &ada, "ListUserAudit", of(ada.id)).await;
        let addresses: Vec<_> = seen.iter().map(|e| e["address"].as_str().unwrap()).collect();
        assert_eq!(addresses, ["192.0.2.7", ""]);
        let seen = entries(&server, &auditor, "ListUserAudit", of(ada.id)).await;
        assert!(seen.iter().all(|e| e["address"] == "192.0.2.7"));
        let own = entries(&server, &ada, "ListActorAudit", of(ada.id)).await;
        assert_eq!(own[0]["address"], "192.0.2.7");

        for (by, rpc, request) in [
            (&keeper, "ListPlatformAudit", json!({})),
            (&keeper, "ListWorkspaceAudit", of(workspace + 1)),
            (&keeper, "ListUserAudit", of(ada.id)),
            (&keeper, "ListUserAudit", json!({"id": ada.id, "filter": {"workspaceId": workspace + 1}})),
            (&auditor, "ListWorkspaceAudit", of(workspace)),
            (&auditor, "ListUserAudit", within),
            (&ada, "ListPlatformAudit", json!({"filter": {"actorId": ada.id}})),
            (&ada, "ListUserAudit", of(keeper.id)),
            (&ada, "ListUserAudit", json!({"id": ada.id, "filter": {"workspaceId": workspace}})),
            (&ada, "ListUserAudit", json!({"id": ada.id, "filter": {"workbenchId": 3}})),
            (&ada, "ListActorAudit", of(keeper.id)),
        ] {
            let failure = server.call(Some(by), &format!("AuditService/{rpc}"), request.clone()).await.unwrap_err();
            assert_eq!(failure.code, Code::PermissionDenied, "{} {rpc} {request}", by.username);
        }
    })
    .await;
}

/// What an entry says of calls that were made for real, and what it does not say.
#[tokio::test]
async fn entries_say_what_happened_and_no_secret() {
    on_each_engine(|server| async move {
        clear(&server.db).await;
        let ada = server.person("ada", &[]).await;
        let secret = "correct horse battery staple 1";
        let sign_in = "AuthenticationService/Authenticate";
        // the password in the wrong field, and a wrong password
        server.call(None, sign_in, json!({"username": secret, "password": "x"})).await.unwrap_err();
        server.call(None, sign_in, json!({"username": "chorus", "password": secret})).await.unwrap_err();
        let made = server.call(Some(&server.admin), "WorkspaceService/CreateWorkspace", json!({"name": "Atlas"})).await;
        let workspace = made.unwrap()["result"]["workspace"]["id"].clone();
        server.call(Some(&ada), "WorkspaceService/DeleteWorkspace", json!({"id": workspace})).await.unwrap_err();
        let password = json!({"currentPassword": secret, "newPassword": "another long and secret sentence"});
        server.call(Some(&ada), "UserService/UpdatePassword", password).await.unwrap_err();

        let all = entries(&server, &server.admin, "ListPlatformAudit", json!({})).await;
        let text = json!(all).to_string();
        assert!(
            !text.contains("correct horse") && !text.contains("another long") && !text.contains(&ada.token),
            "{text}"
        );
        let [changed, refused, made, wrong, unknown] = all.as_slice() else { panic!("{text}") };
        assert_eq!(changed["action"], "ChangeUserPassword");
        assert_eq!(made["outcome"], "AUDIT_OUTCOME_OK");
        assert_eq!((&made["workspaceId"], &made["details"]["workspace_id"]), (&workspace, &workspace));
        assert_eq!((&made["grpcCode"], &made["repeats"]), (&json!(0), &json!(1)));
        assert!(made["details"].get("grpc_status_code").is_none());
        // unset ids are absent, not zero
        assert!(made.get("userId").is_none() && made.get("workbenchId").is_none(), "{made}");
        assert_eq!(made["rpc"], "WorkspaceService/CreateWorkspace");
        assert_eq!((&refused["actorUsername"], &refused["outcome"]), (&json!("ada"), &json!("AUDIT_OUTCOME_REFUSED")));
        assert_eq!((&refused["grpcCode"], &refused["details"]["grpc_status_code"]), (&json!(7), &json!("7")));
        assert!(refused["details"]["error_message"].as_str().unwrap().contains("deleteWorkspace"), "{refused}");
        assert_eq!(refused["details"]["subjects"], "unverified");
        assert_eq!((&refused["address"], &refused["correlationId"]), (&json!("127.0.0.1"), &refused["correlationId"]));
        assert_eq!((&wrong["userId"], &wrong["actorId"]), (&json!(server.admin.id.to_string()), &json!("0")));
        assert_eq!(
            (&wrong["details"]["username"], &wrong["details"]["grpc_status_code"]),
            (&json!("chorus"), &json!("16"))
        );
        assert!(unknown["details"].get("username").is_none(), "{unknown}");
    })
    .await;
}
