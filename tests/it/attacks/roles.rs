//! Roles of one's own as a way to more than one has.

use chorus::server::db::sql;
use serde_json::{Value, json};
use tonic::Code;

use super::refused;
use crate::support::server::{Person, TestServer, on_each_engine};

const CREATE: &str = "AuthorizationService/CreateDynamicRole";
const UPDATE: &str = "AuthorizationService/UpdateDynamicRole";
const DELETE: &str = "AuthorizationService/DeleteDynamicRole";
const ADD: &str = "WorkspaceService/AddUserRoleInWorkspace";

fn role(name: &str, permissions: &[&str], workspace: Option<i64>) -> Value {
    let scope = if workspace.is_some() { "workspace" } else { "platform" };
    let context = workspace.map_or(json!({}), |id| json!({"workspace": id.to_string()}));
    json!({"role": {"name": name, "scope": scope, "permissions": permissions}, "validationContext": context})
}

async fn administrator(server: &TestServer, name: &str, workspace: i64) -> Person {
    let id = workspace.to_string();
    server.person(name, &[("WorkspaceAdmin", &[("workspace", &id)])]).await
}

#[tokio::test]
async fn nobody_defines_more_than_he_has() {
    on_each_engine(|server| async move {
        let (own, other) =
            (server.workspace(&server.admin, "Atlas").await, server.workspace(&server.admin, "Bering").await);
        let mallory = administrator(&server, "mallory", own).await;
        let manager = server.person("manager", &[("PlatformUserManager", &[("user", "*")])]).await;
        let create = async |by: &Person, request| server.call(Some(by), CREATE, request).await;

        // a permission that the data manager has and the administrator has not
        let taker = role("Taker", &["getWorkspace", "downloadFilesFromWorkspace"], Some(own));
        refused(&create(&mallory, taker).await, Code::PermissionDenied, "ROLE_EXCEEDS_OWN");
        let inviter = role("Inviter", &["createUser"], Some(own));
        refused(&create(&mallory, inviter).await, Code::PermissionDenied, "ROLE_EXCEEDS_OWN");
        let elsewhere = role("Reader", &["getWorkspace"], Some(other));
        refused(&create(&mallory, elsewhere).await, Code::PermissionDenied, "PERMISSION_DENIED");
        let platform = role("Lister", &["listUsers"], None);
        refused(&create(&mallory, platform).await, Code::PermissionDenied, "PERMISSION_DENIED");
        let settings = role("Setter", &["setPlatformSettings"], None);
        refused(&create(&manager, settings).await, Code::PermissionDenied, "ROLE_EXCEEDS_OWN");

        // a role that he has himself does not grow under his hands, nor does a stronger one become his to change
        create(&mallory, role("Helper", &["getWorkspace"], Some(own))).await.unwrap();
        let add = json!({"id": own, "userId": mallory.id, "role": {"name": "Helper"}});
        server.call(Some(&mallory), ADD, add).await.unwrap();
        let grow = json!({"name": "Helper", "permissions": ["getWorkspace", "downloadFilesFromWorkspace"]});
        refused(&server.call(Some(&mallory), UPDATE, grow).await, Code::PermissionDenied, "ROLE_EXCEEDS_OWN");
        server
            .call(Some(&server.admin), CREATE, role("Egress", &["downloadFilesFromWorkspace"], Some(own)))
            .await
            .unwrap();
        let shrink = json!({"name": "Egress", "permissions": ["getWorkspace"]});
        refused(&server.call(Some(&mallory), UPDATE, shrink).await, Code::PermissionDenied, "ROLE_EXCEEDS_OWN");
        let delete = json!({"name": "Egress"});
        refused(&server.call(Some(&mallory), DELETE, delete).await, Code::PermissionDenied, "ROLE_EXCEEDS_OWN");
        let add = json!({"id": own, "userId": mallory.id, "role": {"name": "Egress"}});
        refused(&server.call(Some(&mallory), ADD, add).await, Code::PermissionDenied, "ROLE_EXCEEDS_OWN");
    })
    .await;
}

#[tokio::test]
async fn a_role_of_one_workspace_is_worth_nothing_in_another() {
    on_each_engine(|server| async move {
        let (own, other) =
            (server.workspace(&server.admin, "Atlas").await, server.workspace(&server.admin, "Bering").await);
        let reader = server.role(server.tenant, "Reader", Some(own), &["getWorkspace"]).await;
        let mallory = administrator(&server, "mallory", other).await;
        let eve = server.person("eve", &[]).await;
        let field = |result: Result<Value, _>| result.map_err(|f: crate::support::server::Failure| f.code);

        let add = json!({"id": other, "userId": eve.id, "role": {"name": "Reader"}});
        assert_eq!(field(server.call(Some(&mallory), ADD, add).await), Err(Code::InvalidArgument));
        for context in [json!({"workspace": other.to_string()}), json!({"workspace": "*"}), json!({})] {
            let grant = json!({"userId": eve.id, "role": {"name": "Reader", "context": context}});
            let result = server.call(Some(&server.admin), "UserService/CreateUserRole", grant).await;
            assert_eq!(field(result), Err(Code::InvalidArgument), "{context}");
        }
        // not even a row that somebody smuggled in
        for workspace in [other.to_string(), "*".to_owned()] {
            sql("INSERT INTO role_assignments (tenant_id, user_id, role, workspace, dynamic_role_id, created_at) \
                 VALUES ($1, $2, 'Reader', $3, $4, $5)")
            .bind(eve.tenant)
            .bind(eve.id)
            .bind(workspace)
            .bind(reader)
            .bind(chorus::server::clock::Clock::now(&*server.clock))
            .run(&server.db)
            .await
            .unwrap();
        }
        server.forget();
        for workspace in [own, other] {
            let result = server.call(Some(&eve), "WorkspaceService/GetWorkspace", json!({"id": workspace})).await;
            refused(&result, Code::PermissionDenied, "PERMISSION_DENIED");
        }
    })
    .await;
}

/// An assignment means a role, not a name: a stray row does not come to life when somebody takes the name.
#[tokio::test]
async fn a_new_role_with_an_old_name_is_held_by_nobody() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let (id, eve) = (workspace.to_string(), server.person("eve", &[]).await);
        server.give(&eve, &[("Reader", &[("workspace", &id)])]).await;
        let admin = Some(&server.admin);
        server.call(admin, CREATE, role("Reader", &["getWorkspace"], Some(workspace))).await.unwrap();
        let sees = json!({"id": workspace});
        let result = server.call(Some(&eve), "WorkspaceService/GetWorkspace", sees.clone()).await;
        refused(&result, Code::PermissionDenied, "PERMISSION_DENIED");

        let friend = server.person("friend", &[]).await;
        let add = json!({"id": workspace, "userId": friend.id, "role": {"name": "Reader"}});
        server.call(admin, ADD, add).await.unwrap();
        server.call(Some(&friend), "WorkspaceService/GetWorkspace", sees.clone()).await.unwrap();
        server.call(admin, DELETE, json!({"name": "Reader", "revokeAssignments": true})).await.unwrap();
        server.call(admin, CREATE, role("Reader", &["getWorkspace"], Some(workspace))).await.unwrap();
        for person in [&eve, &friend] {
            let result = server.call(Some(person), "WorkspaceService/GetWorkspace", sees.clone()).await;
            refused(&result, Code::PermissionDenied, "PERMISSION_DENIED");
        }
    })
    .await;
}

/// While a role is being deleted, somebody is given it: one of both wins, and no grant of nothing stays.
#[tokio::test]
async fn no_grant_outlives_its_role() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let admin = Some(&server.admin);
        for round in 0..8 {
            let name = format!("Reader {round}");
            server.call(admin, CREATE, role(&name, &["getWorkspace"], Some(workspace))).await.unwrap();
            let eve = server.person(&format!("eve-{round}"), &[]).await;
            let add = json!({"id": workspace, "userId": eve.id, "role": {"name": name}});
            let (granted, deleted) = tokio::join!(
                server.call(admin, ADD, add),
                server.call(admin, DELETE, json!({"name": name, "revokeAssignments": round % 2 == 0})),
            );
            match (&granted, &deleted) {
                (Err(failure), Ok(_)) => assert_eq!(failure.code, Code::InvalidArgument),
                (Ok(_), Err(failure)) => assert_eq!(failure.reason, "ROLE_IN_USE"),
                (Ok(_), Ok(reply)) => assert_eq!(reply["result"]["revokedFrom"], 1),
                both => panic!("{both:?}"),
            }
            let orphans: Vec<(i64,)> = sql("SELECT a.id FROM role_assignments a LEFT JOIN dynamic_roles d \
                 ON d.id = a.dynamic_role_id WHERE a.role = $1 AND d.id IS NULL")
            .bind(name)
            .all(&server.db)
            .await
            .unwrap();
            assert_eq!(orphans, []);
        }
    })
    .await;
}

/// Whoever grants while the role grows gives what he knew of, or is refused.
#[tokio::test]
async fn a_role_does_not_grow_between_the_decision_and_the_grant() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let mallory = administrator(&server, "mallory", workspace).await;
        for round in 0..8 {
            let name = format!("Helper {round}");
            server.role(server.tenant, &name, Some(workspace), &["getWorkspace"]).await;
            let eve = server.person(&format!("eve-{round}"), &[]).await;
            let add = json!({"id": workspace, "userId": eve.id, "role": {"name": name}});
            let grow = json!({"name": name, "permissions": ["downloadFilesFromWorkspace"]});
            let (granted, grown) =
                tokio::join!(server.call(Some(&mallory), ADD, add), server.call(Some(&server.admin), UPDATE, grow));
            grown.unwrap();
            // who was given it before learns of the change; who comes after is refused
            let told: Vec<(String,)> = sql("SELECT message FROM notifications WHERE user_id = $1 ORDER BY id")
                .bind(eve.id)
                .all(&server.db)
                .await
                .unwrap();
            match granted {
                Ok(_) => assert_eq!(told.len(), 2, "{told:?}"),
                Err(failure) => assert_eq!((failure.reason.as_str(), told.len()), ("ROLE_EXCEEDS_OWN", 0)),
            }
        }
    })
    .await;
}
