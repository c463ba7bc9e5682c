//! Rights that nobody can take for himself.

use chorus::server::db::sql;
use serde_json::{Value, json};
use tonic::Code;

use super::{ME, refused, texts};
use crate::support::server::{Failure, TestServer, on_each_engine};

const EVERYTHING: &[(&str, &str)] = &[("workspace", "*"), ("workbench", "*"), ("user", "*")];

/// A bound value that cannot be read binds nothing: it is neither "any" nor a hole in the filter of a list.
#[tokio::test]
async fn a_blank_or_odd_binding_grants_nothing() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        for (number, value) in ["", " ", "%", "**", "0", "-1", "1 OR 1=1"].into_iter().enumerate() {
            let name = format!("ada{number}");
            let person = server.person(&name, &[("WorkspaceAdmin", &[("workspace", value)])]).await;
            let all = server.call(Some(&person), "WorkspaceService/ListWorkspaces", json!({})).await.unwrap();
            assert_eq!(all["pagination"]["total"], 0, "bound to {value:?}");
            let one = server.call(Some(&person), "WorkspaceService/GetWorkspace", json!({"id": workspace})).await;
            refused(&one, Code::PermissionDenied, "PERMISSION_DENIED");
        }
    })
    .await;
}

#[tokio::test]
async fn nobody_changes_the_own_user_name_status_or_roles() {
    let server = TestServer::start().await;
    let person = server.person("ada", &[]).await;
    let own = json!({"id": person.id, "firstName": "A", "lastName": "L", "username": "ada", "status": "active",
        "email": "a@example.org"});
    for (field, value) in [("username", "root"), ("status", "disabled"), ("status", "deleted")] {
        let mut change = own.clone();
        change[field] = json!(value);
        let result = server.call(Some(&person), "UserService/UpdateUser", change).await;
        refused(&result, Code::PermissionDenied, "FIELD_NEEDS_ADMINISTRATOR");
    }
    let mut change = own.clone();
    change["roles"] = json!(["SuperAdmin"]);
    change["rolesWithContext"] =
        json!([{"name": "SuperAdmin", "context": {"workspace": "*", "workbench": "*", "user": "*"}}]);
    change["uid"] = json!(0);
    server.call(Some(&person), "UserService/UpdateUser", change).await.unwrap();
    let me = server.call(Some(&person), ME, json!({})).await.unwrap();
    let roles = me["result"]["me"]["rolesWithContext"].as_array().unwrap();
    assert_eq!(roles.len(), 1, "the request's roles are ignored: {roles:?}");
    assert_ne!(me["result"]["me"]["uid"], "0");
}

#[tokio::test]
async fn a_manager_of_users_does_not_become_more_powerful() {
    let server = TestServer::start().await;
    let manager = server.person("mallory", &[("PlatformUserManager", &[("user", "*")])]).await;
    let accomplice = server.person("eve", &[]).await;
    let workspace = server.workspace(&server.admin, "Atlas").await.to_string();
    let grant = async |to: i64, role: &str, context: Value| {
        let request = json!({"userId": to, "role": {"name": role, "context": context}});
        server.call(Some(&manager), "UserService/CreateUserRole", request).await.map_err(|f| f.code)
    };
    let everything = json!({"workspace": "*", "workbench": "*", "user": "*"});
    for (to, role, context) in [
        (accomplice.id, "SuperAdmin", everything.clone()),
        (accomplice.id, "PlatformWorkspaceManager", json!({"workspace": "*"})),
        (manager.id, "PlatformAuditor", json!({"user": "*"})),
        (manager.id, "WorkspaceAdmin", json!({"workspace": workspace})),
    ] {
        assert_eq!(grant(to, role, context).await, Err(Code::PermissionDenied), "{role}");
    }
    // a context that the role does not take
    for (role, context) in [
        ("WorkspaceAdmin", json!({"workspace": "*"})),
        ("WorkspaceAdmin", json!({})),
        ("WorkspaceAdmin", json!({"workspace": workspace, "user": "*"})),
        ("PlatformAuditor", json!({"user": accomplice.id.to_string()})),
        ("PlatformAuditor", everything),
        ("NoSuchRole", json!({})),
    ] {
        let result = grant(accomplice.id, role, context.clone()).await;
        assert!(matches!(result, Err(Code::InvalidArgument | Code::PermissionDenied)), "{role} {context}: {result:?}");
    }
    assert_eq!(grant(accomplice.id, "WorkspaceGuest", json!({"workspace": "999999"})).await, Err(Code::NotFound));

    // whoever could take over the account of a SuperAdmin would be one
    let admin = server.admin.id;
    let update = json!({"id": admin, "firstName": "x", "lastName": "x", "username": "x", "status": "disabled"});
    for (rpc, request) in [
        ("UserService/ResetPassword", json!({"id": admin})),
        ("UserService/DeleteUser", json!({"id": admin})),
        ("UserService/UpdateUser", update),
    ] {
        refused(&server.call(Some(&manager), rpc, request).await, Code::PermissionDenied, "USER_NEEDS_SUPER_ADMIN");
    }
}

#[tokio::test]
async fn an_administrator_of_a_workspace_grants_only_there() {
    let server = TestServer::start().await;
    let (own, other) =
        (server.workspace(&server.admin, "Atlas").await, server.workspace(&server.admin, "Bering").await);
    let id = own.to_string();
    let admin = server.person("mallory", &[("WorkspaceAdmin", &[("workspace", &id)])]).await;
    let eve = server.person("eve", &[]).await;
    let add = async |workspace: i64, role: Value| {
        let request = json!({"id": workspace, "userId": eve.id, "role": role});
        server.call(Some(&admin), "WorkspaceService/AddUserRoleInWorkspace", request).await
    };
    let wildcard = json!({"name": "WorkspaceMember", "context": {"workspace": "*", "user": "*"}});
    add(own, wildcard).await.unwrap();
    let held = texts(
        &server.db,
        "SELECT workspace || coalesce(user_context, '') FROM role_assignments WHERE role = 'WorkspaceMember'",
    );
    assert_eq!(held.await, [id.as_str()], "bound to this workspace, whatever the request says");

    refused(&add(other, json!({"name": "WorkspaceMember"})).await, Code::PermissionDenied, "PERMISSION_DENIED");
    for role in ["SuperAdmin", "PlatformUserManager", "WorkbenchAdmin", "Authenticated", "", "NoSuchRole"] {
        let result = add(own, json!({"name": role})).await;
        assert_eq!(result.map_err(|f| f.code), Err(Code::InvalidArgument), "{role}");
    }
    let direct = json!({"userId": eve.id, "role": {"name": "WorkspaceMember", "context": {"workspace": "*"}}});
    let result = server.call(Some(&admin), "UserService/CreateUserRole", direct).await;
    refused(&result, Code::PermissionDenied, "PERMISSION_DENIED");
}

#[tokio::test]
async fn the_last_super_admin_stays() {
    on_each_engine(|server| async move {
        let admin = &server.admin;
        let (role,): (i64,) = sql("SELECT id FROM role_assignments WHERE user_id = $1 AND role = 'SuperAdmin'")
            .bind(admin.id)
            .one(&server.db)
            .await
            .unwrap();
        let revoke = json!({"userId": admin.id, "roleId": role});
        let disable =
            json!({"id": admin.id, "firstName": "x", "lastName": "x", "username": "chorus", "status": "disabled"});
        let result = server.call(Some(admin), "UserService/DeleteUserRole", revoke.clone()).await;
        assert!(
            matches!(result, Err(Failure { code: Code::InvalidArgument | Code::PermissionDenied, .. })),
            "{result:?}"
        );
        refused(
            &server.call(Some(admin), "UserService/UpdateUser", disable).await,
            Code::InvalidArgument,
            "LAST_SUPER_ADMIN",
        );
        refused(
            &server.call(Some(admin), "UserService/DeleteUser", json!({"id": admin.id})).await,
            Code::InvalidArgument,
            "USER_IS_ONESELF",
        );

        // of two, each removes the other at the same time: one of them stays
        let second = server.person("second", &[("SuperAdmin", EVERYTHING)]).await;
        let delete = |id: i64| json!({"id": id});
        let (a, b) = tokio::join!(
            server.call(Some(admin), "UserService/DeleteUser", delete(second.id)),
            server.call(Some(&second), "UserService/DeleteUser", delete(admin.id)),
        );
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    })
    .await;
}

/// Who looks for people to invite learns who they are, not how to reach them or what they may do.
#[tokio::test]
async fn looking_for_users_shows_their_outline() {
    let server = TestServer::start().await;
    let id = server.workspace(&server.admin, "Atlas").await.to_string();
    let admin = server.person("ada", &[("WorkspaceAdmin", &[("workspace", &id)])]).await;
    server.person("bob", &[("PlatformAuditor", &[("user", "*")])]).await;
    for filter in [json!({}), json!({"filter": {"search": "BOB"}}), json!({"filter": {"withNamespaces": true}})] {
        let list = server.call(Some(&admin), "UserService/ListUsers", filter).await.unwrap();
        let users = list["result"]["users"].as_array().unwrap();
        let bob = users.iter().find(|u| u["username"] == "bob").unwrap();
        assert_eq!((&bob["email"], &bob["rolesWithContext"]), (&json!(""), &json!([])), "{bob}");
    }
    // nor does a pattern of the database find everybody
    for search in ["%", "_", "\\", "' OR 1=1 --"] {
        let list =
            server.call(Some(&admin), "UserService/ListUsers", json!({"filter": {"search": search}})).await.unwrap();
        assert_eq!(list["pagination"]["total"], 0, "{search}");
    }
}
