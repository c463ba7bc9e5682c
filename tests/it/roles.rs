//! Roles that administrators define: what they may be, who sees them, and how they live and die.

use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::server::{Failure, Person, TestServer, on_each_engine};

const CREATE: &str = "AuthorizationService/CreateDynamicRole";
const UPDATE: &str = "AuthorizationService/UpdateDynamicRole";
const DELETE: &str = "AuthorizationService/DeleteDynamicRole";

fn of_platform(name: &str, permissions: &[&str]) -> Value {
    json!({"role": {"name": name, "scope": "platform", "permissions": permissions}})
}

fn of_workspace(name: &str, permissions: &[&str], workspace: i64) -> Value {
    let role = json!({"name": name, "scope": "workspace", "permissions": permissions});
    json!({"role": role, "validationContext": {"workspace": workspace.to_string()}})
}

async fn add(server: &TestServer, by: &Person, to: &Person, role: &str, workspace: i64) -> Result<Value, Failure> {
    let request = json!({"id": workspace, "userId": to.id, "role": {"name": role}});
    server.call(Some(by), "WorkspaceService/AddUserRoleInWorkspace", request).await
}

async fn may_see(server: &TestServer, by: &Person, workspace: i64) -> bool {
    server.call(Some(by), "WorkspaceService/GetWorkspace", json!({"id": workspace})).await.is_ok()
}

/// The roles that somebody sees and that did not come with the server.
async fn defined(server: &TestServer, by: Option<&Person>) -> Vec<String> {
    let reply = server.call(by, "AuthorizationService/ListRoles", json!({})).await.unwrap();
    let roles = reply["result"]["roles"].as_array().unwrap();
    let own = roles.iter().filter(|role| role["dynamic"] == true);
    own.map(|role| role["name"].as_str().unwrap().to_owned()).collect()
}

async fn messages(server: &TestServer, of: &Person) -> Vec<String> {
    let reply = server.call(Some(of), "NotificationService/GetNotifications", json!({})).await.unwrap();
    let list = reply["result"]["notifications"].as_array().or_else(|| reply["result"].as_array()).unwrap();
    list.iter().map(|n| n["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_life_of_a_role() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let id = workspace.to_string();
        let boss = server.person("boss", &[("WorkspaceAdmin", &[("workspace", &id)])]).await;
        let ada = server.person("ada", &[]).await;

        let body = of_workspace("Reader", &["getWorkspace", "listUsers", "getWorkspace"], workspace);
        let reply = server.rest(Some(&boss), Method::POST, "/api/rest/v1/authorization/roles", Some(body)).await;
        let role = json!({"name": "Reader", "description": "", "context": ["workspace"], "scope": "workspace",
            "permissions": ["getWorkspace", "listUsers"], "dynamic": true, "workspaceId": id});
        assert_eq!((reply.status, &reply.body["result"]["role"]), (200, &role), "{:?}", reply.body);

        assert!(!may_see(&server, &ada, workspace).await);
        add(&server, &boss, &ada, "Reader", workspace).await.unwrap();
        assert!(may_see(&server, &ada, workspace).await);

        // a change holds at once, and who holds the role is told; a change of words changes nothing for him
        let update = |permissions: &[&str], description: &str| {
            let request = json!({"name": "Reader", "permissions": permissions, "description": description});
            server.call(Some(&boss), UPDATE, request)
        };
        update(&["listUsers", "getWorkspace"], "Reads.").await.unwrap();
        assert_eq!(messages(&server, &ada).await.len(), 1);
        update(&["listUsers"], "Reads.").await.unwrap();
        assert!(!may_see(&server, &ada, workspace).await);
        let told = |text: &'static str| {
            let all = messages(&server, &ada);
            async move { all.await.iter().any(|message| message == text) }
        };
        assert!(told("The role Reader, which you hold, holds other permissions now.").await);
        update(&["getWorkspace"], "Reads.").await.unwrap();
        assert!(may_see(&server, &ada, workspace).await);

        // it does not go while somebody holds it, unless that is wanted
        let path = "/api/rest/v1/authorization/roles/Reader";
        let reply = server.rest(Some(&boss), Method::DELETE, path, None).await;
        assert_eq!((reply.status, reply.reason()), (409, "ROLE_IN_USE"));
        assert!(reply.body["message"].as_str().unwrap().starts_with("1 user holds"), "{}", reply.body);
        assert!(may_see(&server, &ada, workspace).await);
        let reply = server.rest(Some(&boss), Method::DELETE, &format!("{path}?revokeAssignments=true"), None).await;
        assert_eq!((reply.status, &reply.body["result"]["revokedFrom"]), (200, &json!(1)), "{:?}", reply.body);
        assert!(!may_see(&server, &ada, workspace).await);
        assert!(told("The role Reader was deleted, so you do not hold it any more.").await);
        let reply = server.rest(Some(&boss), Method::DELETE, path, None).await;
        assert_eq!((reply.status, reply.reason()), (404, "ROLE_NOT_FOUND"));
    })
    .await;
}

#[tokio::test]
async fn what_a_role_may_be() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let create = |request: Value| server.call(Some(&server.admin), CREATE, request);
        create(of_platform("Inviter", &["listUsers"])).await.unwrap();
        create(of_workspace("Leser", &["getWorkspace"], workspace)).await.unwrap();
        for (request, code, reason) in [
            (json!({}), Code::InvalidArgument, "VALIDATION_FAILED"),
            (of_platform("Nothing", &[]), Code::InvalidArgument, "VALIDATION_FAILED"),
            (of_platform("", &["listUsers"]), Code::InvalidArgument, "VALIDATION_FAILED"),
            (of_platform("  ", &["listUsers"]), Code::InvalidArgument, "VALIDATION_FAILED"),
            (of_platform("a@b", &["listUsers"]), Code::InvalidArgument, "VALIDATION_FAILED"),
            (of_platform("<b>", &["listUsers"]), Code::InvalidArgument, "VALIDATION_FAILED"),
            (of_platform("Flyer", &["fly"]), Code::InvalidArgument, "VALIDATION_FAILED"),
            (of_platform("Seer", &["getWorkspace"]), Code::InvalidArgument, "VALIDATION_FAILED"),
            (of_platform("Founder", &["initializeTenant"]), Code::InvalidArgument, "VALIDATION_FAILED"),
            (of_workspace("Viewer", &["getWorkbench"], workspace), Code::InvalidArgument, "VALIDATION_FAILED"),
            (of_workspace("Lost", &["getWorkspace"], 999_999), Code::NotFound, "WORKSPACE_NOT_FOUND"),
            (
                json!({"role": {"name": "X", "scope": "system", "permissions": ["listUsers"]}}),
                Code::InvalidArgument,
                "VALIDATION_FAILED",
            ),
            (
                json!({"role": {"name": "X", "scope": "workspace", "permissions": ["listUsers"]}}),
                Code::InvalidArgument,
                "VALIDATION_FAILED",
            ),
            (of_platform("Inviter", &["listUsers"]), Code::AlreadyExists, "ROLE_EXISTS"),
            (of_platform("ＩＮＶＩＴＥＲ", &["listUsers"]), Code::AlreadyExists, "ROLE_EXISTS"),
            (of_platform("leser", &["listUsers"]), Code::AlreadyExists, "ROLE_EXISTS"),
            (of_platform("Inviter\u{200b}", &["listUsers"]), Code::AlreadyExists, "ROLE_EXISTS"),
            (of_platform("superadmin", &["listUsers"]), Code::AlreadyExists, "ROLE_EXISTS"),
        ] {
            let result = create(request.clone()).await.map_err(|f| (f.code, f.reason));
            assert_eq!(result, Err((code, reason.to_owned())), "{request}");
        }
        // another tenant has names of its own
        let elsewhere = server.tenant("elsewhere").await;
        let everything: &[_] = &[("workspace", "*"), ("workbench", "*"), ("user", "*")];
        let theirs = server.person_of(elsewhere, "theirs", &[("SuperAdmin", everything)]).await;
        server.call(Some(&theirs), CREATE, of_platform("Inviter", &["listUsers"])).await.unwrap();
        assert_eq!(defined(&server, Some(&theirs)).await, ["Inviter"]);
        // what comes with the server stays
        for (rpc, request) in [
            (UPDATE, json!({"name": "WorkspaceGuest", "permissions": ["getWorkspace"]})),
            (DELETE, json!({"name": "WorkspaceGuest"})),
        ] {
            let result = server.call(Some(&server.admin), rpc, request).await.map_err(|f| (f.code, f.reason));
            assert_eq!(result, Err((Code::InvalidArgument, "ROLE_BUILT_IN".to_owned())), "{rpc}");
        }
    })
    .await;
}

#[tokio::test]
async fn who_sees_a_role() {
    on_each_engine(|server| async move {
        let (atlas, bering) =
            (server.workspace(&server.admin, "Atlas").await, server.workspace(&server.admin, "Bering").await);
        let (a, b) = (atlas.to_string(), bering.to_string());
        let guest = server.person("guest", &[("WorkspaceGuest", &[("workspace", &a)])]).await;
        let holder = server.person("holder", &[]).await;
        let nobody = server.person("nobody", &[]).await;
        let create = |request: Value| server.call(Some(&server.admin), CREATE, request);
        create(of_platform("Everywhere", &["listUsers"])).await.unwrap();
        create(of_workspace("In Atlas", &["getWorkspace"], atlas)).await.unwrap();
        create(of_workspace("In Bering", &["listUsers"], bering)).await.unwrap();
        create(of_workspace("In Bering too", &["listUsers"], bering)).await.unwrap();
        add(&server, &server.admin, &holder, "In Bering", bering).await.unwrap();

        assert_eq!(defined(&server, None).await, [""; 0], "visitors see what comes with the server");
        assert_eq!(defined(&server, Some(&nobody)).await, ["Everywhere"]);
        assert_eq!(defined(&server, Some(&guest)).await, ["Everywhere", "In Atlas"]);
        assert_eq!(
            defined(&server, Some(&holder)).await,
            ["Everywhere", "In Bering"],
            "what he holds, though he does not see the place"
        );
        let all = ["Everywhere", "In Atlas", "In Bering", "In Bering too"];
        assert_eq!(defined(&server, Some(&server.admin)).await, all);
        // who manages roles in one place hears that there are none in another
        let boss = server.person("boss", &[("WorkspaceAdmin", &[("workspace", &b)])]).await;
        let result = server.call(Some(&boss), DELETE, json!({"name": "In Atlas"})).await;
        assert_eq!(result.map_err(|f| f.code), Err(Code::NotFound));
        assert_eq!(defined(&server, Some(&boss)).await, ["Everywhere", "In Bering", "In Bering too"]);

        // the roles of a workspace go with it
        let delete = json!({"id": bering});
        server.call(Some(&server.admin), "WorkspaceService/DeleteWorkspace", delete).await.unwrap();
        assert_eq!(defined(&server, Some(&holder)).await, ["Everywhere"]);
        create(of_platform("In Bering", &["listUsers"])).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn roles_of_ones_own_are_recorded() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let ada = server.person("ada", &[]).await;
        let admin = Some(&server.admin);
        server.call(admin, CREATE, of_workspace("Reader", &["getWorkspace"], workspace)).await.unwrap();
        let update = json!({"name": "Reader", "permissions": ["listUsers"]});
        server.call(admin, UPDATE, update.clone()).await.unwrap();
        assert!(server.call(Some(&ada), UPDATE, update).await.is_err());
        server.call(admin, DELETE, json!({"name": "Reader"})).await.unwrap();
        let rows: Vec<(String, String, Option<i64>, String)> = chorus::server::db::sql(
            "SELECT action, outcome, workspace_id, CAST(details AS TEXT) FROM audit_log WHERE action LIKE '%Role' ORDER BY id",
        )
        .all(&server.db)
        .await
        .unwrap();
        let seen: Vec<_> = rows.iter().map(|(action, outcome, at, _)| (action.as_str(), outcome.as_str(), *at)).collect();
        let at = Some(workspace);
        let refused = ("UpdateRole", "refused", None);
        assert_eq!(seen, [("CreateRole", "ok", at), ("UpdateRole", "ok", at), refused, ("DeleteRole", "ok", at)]);
        for fact in ["Reader", "role_permissions_before", "getWorkspace", "listUsers"] {
            assert!(rows[1].3.contains(fact), "{fact}: {}", rows[1].3);
        }
    })
    .await;
}
