//! Tenants do not see each other: whoever may do everything in one asks for everything of the other, by id, and gets nothing.

use std::collections::BTreeSet;

use chorus::server::db::sql;
use prost_reflect::{Kind, MessageDescriptor};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    contract::{PACKAGE, Rpc, rpcs},
    server::{Failure, Person, TestServer, on_each_engine},
};

/// What there is in the tenant that is asked about.
struct Things {
    workspace: i64,
    workbench: i64,
    member: Person,
    /// The assignment of the member's role.
    role: i64,
    /// The member's session.
    session: String,
    /// A role that the tenant defined for the workspace.
    defined: String,
    /// An API token of the member.
    token: i64,
    /// An app of the tenant.
    app: i64,
    /// An instance of it.
    app_instance: i64,
}

/// One request about a thing of another tenant.
struct Ask {
    rpc: &'static str,
    request: fn(&Things, own: &Things) -> Value,
    answer: Answer,
}

enum Answer {
    NotFound,
    /// A field names something that does not exist.
    Invalid,
    /// Success, without anything of the other tenant.
    Nothing,
}

/// Every built RPC whose request can name a thing by its id.
const ASKS: &[Ask] = &[
    Ask {
        rpc: "AppInstanceService/GetAppInstance",
        request: |t, _| json!({"id": t.app_instance}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "AppInstanceService/DeleteAppInstance",
        request: |t, _| json!({"id": t.app_instance}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "AppInstanceService/RestartAppInstance",
        request: |t, _| json!({"id": t.app_instance}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "AppInstanceService/UpdateAppInstance",
        request: |t, own| json!({"id": t.app_instance, "workbenchId": own.workbench, "k8sState": "Killed"}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "AppInstanceService/GetAppInstanceLogs",
        request: |t, _| json!({"id": t.app_instance}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "AppInstanceService/CreateAppInstance",
        request: |t, own| json!({"workbenchId": t.workbench, "appId": own.app}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "AppInstanceService/CreateAppInstance",
        request: |t, own| json!({"workbenchId": own.workbench, "appId": t.app}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "AppInstanceService/CreateAppInstance",
        request: |t, own| json!({"workspaceId": t.workspace, "workbenchId": own.workbench, "appId": own.app}),
        answer: Answer::Invalid,
    },
    Ask {
        rpc: "AppInstanceService/ListAppInstances",
        request: |t, _| json!({"filter": {"workbenchIdsIn": [t.workbench]}}),
        answer: Answer::Nothing,
    },
    Ask { rpc: "AppInstanceService/ListAppInstances", request: |_, _| json!({}), answer: Answer::Nothing },
    Ask {
        rpc: "AppInstanceService/WatchAppInstances",
        request: |t, _| json!({"filter": {"workbenchIdsIn": [t.workbench]}}),
        answer: Answer::Nothing,
    },
    Ask { rpc: "AppService/GetApp", request: |t, _| json!({"id": t.app}), answer: Answer::NotFound },
    Ask { rpc: "AppService/DeleteApp", request: |t, _| json!({"id": t.app}), answer: Answer::NotFound },
    Ask {
        rpc: "AppService/UpdateApp",
        request: |t, _| json!({"id": t.app, "name": "x", "dockerImageName": "x", "dockerImageTag": "x"}),
        answer: Answer::NotFound,
    },
    Ask { rpc: "AppService/ListApps", request: |_, _| json!({}), answer: Answer::Nothing },
    Ask { rpc: "AppService/ListApps", request: |_, _| json!({"disableGrouping": true}), answer: Answer::Nothing },
    Ask {
        rpc: "AuthenticationService/ListSessions",
        request: |t, _| json!({"userId": t.member.id}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "AuthenticationService/RevokeSession",
        request: |t, _| json!({"id": t.session}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "AuthenticationService/RevokeSessions",
        request: |t, _| json!({"userId": t.member.id}),
        answer: Answer::NotFound,
    },
    Ask { rpc: "UserService/GetUser", request: |t, _| json!({"id": t.member.id}), answer: Answer::NotFound },
    Ask { rpc: "UserService/DeleteUser", request: |t, _| json!({"id": t.member.id}), answer: Answer::NotFound },
    Ask { rpc: "UserService/ResetPassword", request: |t, _| json!({"id": t.member.id}), answer: Answer::NotFound },
    Ask {
        rpc: "UserService/UpdateUser",
        request: |t, _| json!({"id": t.member.id, "firstName": "x", "lastName": "x", "username": "x", "status": "active"}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "UserService/CreateUserRole",
        request: |t, _| json!({"userId": t.member.id, "role": {"name": "PlatformAuditor", "context": {"user": "*"}}}),
        answer: Answer::NotFound,
    },
    // somebody of the own tenant, somewhere in the other
    Ask {
        rpc: "UserService/CreateUserRole",
        request: |t, own| {
            let context = json!({"workbench": t.workbench.to_string()});
            json!({"userId": own.member.id, "role": {"name": "WorkbenchMember", "context": context}})
        },
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "UserService/CreateUserRole",
        request: |t, own| {
            let context = json!({"workspace": t.workspace.to_string()});
            json!({"userId": own.member.id, "role": {"name": "WorkspaceMember", "context": context}})
        },
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "UserService/DeleteUserRole",
        request: |t, _| json!({"userId": t.member.id, "roleId": t.role}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "UserService/DeleteUserRole",
        request: |t, own| json!({"userId": own.member.id, "roleId": t.role}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "UserService/ListUsers",
        request: |t, _| json!({"filter": {"idsIn": [t.member.id]}}),
        answer: Answer::Nothing,
    },
    Ask {
        rpc: "UserService/ListUsers",
        request: |t, _| json!({"filter": {"workspaceIDs": [t.workspace]}}),
        answer: Answer::Nothing,
    },
    Ask {
        rpc: "UserService/ListUsers",
        request: |_, _| json!({"filter": {"search": "rosalind"}}),
        answer: Answer::Nothing,
    },
    Ask { rpc: "WorkbenchService/GetWorkbench", request: |t, _| json!({"id": t.workbench}), answer: Answer::NotFound },
    Ask {
        rpc: "WorkbenchService/DeleteWorkbench",
        request: |t, _| json!({"id": t.workbench}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "WorkbenchService/CreateStreamTicket",
        request: |t, _| json!({"id": t.workbench}),
        answer: Answer::NotFound,
    },
    Ask { rpc: "WorkbenchService/StopWorkbench", request: |t, _| json!({"id": t.workbench}), answer: Answer::NotFound },
    Ask {
        rpc: "WorkbenchService/StartWorkbench",
        request: |t, _| json!({"id": t.workbench}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "WorkbenchService/UpdateWorkbench",
        request: |t, _| json!({"id": t.workbench, "name": "x"}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "WorkbenchService/CreateWorkbench",
        request: |t, _| json!({"workspaceId": t.workspace, "name": "x"}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "WorkbenchService/ListWorkbenches",
        request: |t, _| json!({"filter": {"workspaceIdsIn": [t.workspace]}}),
        answer: Answer::Nothing,
    },
    Ask {
        rpc: "WorkbenchService/WatchWorkbenches",
        request: |t, _| json!({"filter": {"workspaceIdsIn": [t.workspace]}}),
        answer: Answer::Nothing,
    },
    Ask {
        rpc: "WorkbenchService/AddUserRoleInWorkbench",
        request: |t, own| json!({"id": t.workbench, "userId": own.member.id, "role": {"name": "WorkbenchViewer"}}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "WorkbenchService/AddUserRoleInWorkbench",
        request: |t, own| json!({"id": own.workbench, "userId": t.member.id, "role": {"name": "WorkbenchViewer"}}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "WorkbenchService/RemoveUserFromWorkbench",
        request: |t, own| json!({"id": own.workbench, "userId": t.member.id}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "WorkbenchService/RemoveUserFromWorkbench",
        request: |t, _| json!({"id": t.workbench, "userId": t.member.id}),
        answer: Answer::NotFound,
    },
    Ask { rpc: "WorkspaceService/GetWorkspace", request: |t, _| json!({"id": t.workspace}), answer: Answer::NotFound },
    Ask {
        rpc: "WorkspaceService/DeleteWorkspace",
        request: |t, _| json!({"id": t.workspace}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "WorkspaceService/UpdateWorkspace",
        request: |t, _| json!({"id": t.workspace, "name": "x"}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "WorkspaceService/ListWorkspaces",
        request: |t, _| json!({"filter": {"workspaceIdsIn": [t.workspace]}}),
        answer: Answer::Nothing,
    },
    Ask {
        rpc: "WorkspaceService/AddUserRoleInWorkspace",
        request: |t, own| json!({"id": t.workspace, "userId": own.member.id, "role": {"name": "WorkspaceMember"}}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "WorkspaceService/AddUserRoleInWorkspace",
        request: |t, own| json!({"id": own.workspace, "userId": t.member.id, "role": {"name": "WorkspaceMember"}}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "WorkspaceService/RemoveUserRoleInWorkspace",
        request: |t, _| json!({"id": t.workspace, "userId": t.member.id, "roleName": "WorkspaceMember"}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "WorkspaceService/RemoveUserFromWorkspace",
        request: |t, _| json!({"id": t.workspace, "userId": t.member.id}),
        answer: Answer::NotFound,
    },
    // roles that the tenant defined
    Ask {
        rpc: "AuthorizationService/UpdateDynamicRole",
        request: |t, _| json!({"name": t.defined, "permissions": ["listUsers"]}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "AuthorizationService/DeleteDynamicRole",
        request: |t, _| json!({"name": t.defined, "revokeAssignments": true}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "AuthorizationService/CreateDynamicRole",
        request: |t, _| {
            let role = json!({"name": "Spy", "scope": "workspace", "permissions": ["getWorkspace"]});
            json!({"role": role, "validationContext": {"workspace": t.workspace.to_string()}})
        },
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "WorkspaceService/AddUserRoleInWorkspace",
        request: |t, own| json!({"id": own.workspace, "userId": own.member.id, "role": {"name": t.defined}}),
        answer: Answer::Invalid,
    },
    Ask {
        rpc: "UserService/CreateUserRole",
        request: |t, own| {
            let context = json!({"workspace": own.workspace.to_string()});
            json!({"userId": own.member.id, "role": {"name": t.defined, "context": context}})
        },
        answer: Answer::Invalid,
    },
    Ask { rpc: "AuthorizationService/ListRoles", request: |_, _| json!({}), answer: Answer::Nothing },
    Ask {
        rpc: "DevstoreService/ListWorkspaceEntries",
        request: |t, _| json!({"id": t.workspace}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "DevstoreService/GetWorkspaceEntry",
        request: |t, _| json!({"id": t.workspace, "key": "theme"}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "DevstoreService/PutWorkspaceEntry",
        request: |t, _| json!({"id": t.workspace, "key": "theme", "value": "x"}),
        answer: Answer::NotFound,
    },
    Ask {
        rpc: "DevstoreService/DeleteWorkspaceEntry",
        request: |t, _| json!({"id": t.workspace, "key": "theme"}),
        answer: Answer::NotFound,
    },
    // a trail that exists is that of the own tenant
    Ask { rpc: "AuditService/ListPlatformAudit", request: |_, _| json!({}), answer: Answer::Nothing },
    Ask {
        rpc: "AuditService/ListPlatformAudit",
        request: |t, _| json!({"filter": {"userId": t.member.id, "actorUsername": "rosalind"}}),
        answer: Answer::Nothing,
    },
    Ask { rpc: "AuditService/ListWorkspaceAudit", request: |t, _| json!({"id": t.workspace}), answer: Answer::Nothing },
    Ask { rpc: "AuditService/ListWorkbenchAudit", request: |t, _| json!({"id": t.workspace}), answer: Answer::Nothing },
    Ask { rpc: "AuditService/ListUserAudit", request: |t, _| json!({"id": t.member.id}), answer: Answer::Nothing },
    Ask {
        rpc: "AuditService/ListUserAudit",
        request: |t, _| json!({"id": t.member.id, "filter": {"workspaceId": t.workspace}}),
        answer: Answer::Nothing,
    },
    Ask { rpc: "AuditService/ListActorAudit", request: |t, _| json!({"id": t.member.id}), answer: Answer::Nothing },
    Ask {
        rpc: "TokenService/CreateToken",
        request: |t, _| {
            let scopes = json!([{"permission": "createWorkspace"}]);
            json!({"userId": t.member.id, "name": "x", "scopes": scopes, "expiresAt": "2026-03-02T08:00:00Z"})
        },
        answer: Answer::NotFound,
    },
    Ask { rpc: "TokenService/ListTokens", request: |t, _| json!({"userId": t.member.id}), answer: Answer::Nothing },
    Ask { rpc: "TokenService/RevokeToken", request: |t, _| json!({"id": t.token}), answer: Answer::NotFound },
    // a person to ask must be of the own tenant
    Ask {
        rpc: "WorkspaceService/CreateWorkspace",
        request: |t, _| json!({"name": "x", "contactUserId": t.member.id}),
        answer: Answer::Invalid,
    },
    Ask {
        rpc: "NotificationService/MarkNotificationsAsRead",
        request: |_, _| json!({"notificationIds": ["n-rosalind"]}),
        answer: Answer::Nothing,
    },
    Ask { rpc: "NotificationService/GetNotifications", request: |_, _| json!({}), answer: Answer::Nothing },
    Ask { rpc: "DevstoreService/ListUserEntries", request: |_, _| json!({}), answer: Answer::Nothing },
    Ask { rpc: "WorkspaceService/ListPublicWorkspaces", request: |_, _| json!({}), answer: Answer::Nothing },
    Ask { rpc: "WorkspaceService/ListWorkspaces", request: |_, _| json!({}), answer: Answer::Nothing },
    Ask { rpc: "UserService/ListUsers", request: |_, _| json!({}), answer: Answer::Nothing },
];

/// RPCs whose request has a field that looks like an id and names nothing of a tenant.
const NO_IDS: &[&str] = &[
    "AppService/BulkCreateApps",
    "AppService/CreateApp",
    "PlatformSettingsService/UpdatePlatformSettings",
    "UserService/CreateUser",
];

#[tokio::test]
async fn a_tenant_is_closed_to_others() {
    on_each_engine(|server| async move {
        let theirs = things(&server, server.tenant, "rosalind").await;
        let other = server.tenant("other").await;
        let everything: &[_] = &[("workspace", "*"), ("workbench", "*"), ("user", "*")];
        let intruder = server.person_of(other, "intruder", &[("SuperAdmin", everything)]).await;
        let own = things(&server, other, "ottilie").await;

        let before = dump(&server).await;
        let mut findings = Vec::new();
        for ask in ASKS {
            let request = (ask.request)(&theirs, &own);
            let result = server.call(Some(&intruder), ask.rpc, request.clone()).await;
            let fine = matches!(
                (&ask.answer, &result),
                (Answer::NotFound | Answer::Nothing, Err(Failure { code: Code::NotFound, .. }))
                    | (Answer::Invalid, Err(Failure { code: Code::InvalidArgument, .. }))
                    | (Answer::Nothing, Ok(_))
            );
            let text = format!("{result:?}").to_lowercase();
            if !fine || text.contains("rosalind") {
                findings.push(format!("{} {request}: {result:?}", ask.rpc));
            }
        }
        assert!(findings.is_empty(), "{} findings:\n  {}", findings.len(), findings.join("\n  "));
        assert_eq!(dump(&server).await, before, "something of the tenant changed");
    })
    .await;
}

#[test]
fn every_rpc_that_takes_an_id_is_asked() {
    let asked: BTreeSet<_> = ASKS.iter().map(|ask| ask.rpc).chain(NO_IDS.iter().copied()).collect();
    let takes_id = |rpc: &Rpc| ids(&rpc.descriptor.input(), "", 0).iter().any(|path| !rpc.ignored.contains(path));
    let missing: Vec<_> = rpcs()
        .iter()
        .filter(|r| !r.planned && takes_id(r))
        .map(Rpc::label)
        .filter(|r| !asked.contains(r.as_str()))
        .collect();
    assert_eq!(missing, Vec::<String>::new(), "say in matrix/tenants.rs what another tenant hears");
}

/// The paths of the fields that hold ids.
fn ids(message: &MessageDescriptor, prefix: &str, depth: usize) -> Vec<String> {
    let mut all = Vec::new();
    for field in message.fields() {
        let path = format!("{prefix}{}", field.name());
        match field.kind() {
            Kind::Uint64 if field.name().ends_with("id") || field.name().contains("ids") => all.push(path),
            Kind::Message(inner) if inner.package_name() == PACKAGE && !field.is_map() && depth < 3 => {
                all.extend(ids(&inner, &format!("{path}."), depth + 1));
            }
            _ => {}
        }
    }
    all
}

/// A public workspace with a member, an entry, a notification and an audit record; every text names the person.
async fn things(server: &TestServer, tenant: i64, name: &str) -> Things {
    let member = server.person_of(tenant, name, &[]).await;
    let workspace = server.workspace(&member, &format!("Workspace of {name}")).await;
    let workbench = server.workbench(&member, workspace, &format!("Desk of {name}")).await;
    let id = workspace.to_string();
    server.give(&member, &[("WorkbenchAdmin", &[("workbench", &workbench.to_string())])]).await;
    server.give(&member, &[("WorkspaceMember", &[("workspace", &id)])]).await;
    let (role,): (i64,) =
        sql("SELECT max(id) FROM role_assignments WHERE user_id = $1").bind(member.id).one(&server.db).await.unwrap();
    sql("UPDATE workspaces SET visibility = 'public' WHERE id = $1").bind(workspace).run(&server.db).await.unwrap();
    let defined = format!("Reader {workspace}");
    let reader = server.role(tenant, &defined, Some(workspace), &["getWorkspace"]).await;
    sql("UPDATE dynamic_roles SET description = $1 WHERE id = $2")
        .bind(name)
        .bind(reader)
        .run(&server.db)
        .await
        .unwrap();
    let now = chorus::server::clock::Clock::now(&*server.clock);
    for (scope, of) in [("workspace", workspace), ("user", member.id)] {
        sql("INSERT INTO devstore (tenant_id, scope, scope_id, key, value, created_at, updated_at) \
             VALUES ($1, $2, $3, 'theme', $4, $5, $5)")
        .bind(tenant)
        .bind(scope)
        .bind(of)
        .bind(name)
        .bind(now)
        .run(&server.db)
        .await
        .unwrap();
    }
    sql("INSERT INTO notifications (id, tenant_id, user_id, message, created_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(format!("n-{name}"))
        .bind(tenant)
        .bind(member.id)
        .bind(name)
        .bind(now)
        .run(&server.db)
        .await
        .unwrap();
    sql("INSERT INTO audit_log (tenant_id, actor_id, actor_username, action, outcome, workspace_id, workbench_id, user_id, \
         created_at) VALUES ($1, $2, $3, 'CreateWorkspace', 'ok', $4, $4, $2, $5)")
    .bind(tenant)
    .bind(member.id)
    .bind(name)
    .bind(workspace)
    .bind(now)
    .run(&server.db)
    .await
    .unwrap();
    let (session,): (String,) =
        sql("SELECT id FROM sessions WHERE user_id = $1").bind(member.id).one(&server.db).await.unwrap();
    let token = server.api_token(&member, &[]).await.id;
    let app = server.app(&member, name, "apps/rstudio", "4.4").await;
    let app_instance = server.app_instance(&member, workbench, app).await;
    sql("UPDATE app_instances SET k8s_message = $1 WHERE id = $2")
        .bind(name)
        .bind(app_instance)
        .run(&server.db)
        .await
        .unwrap();
    Things { workspace, workbench, member, role, session, defined, token, app, app_instance }
}

/// What the default tenant holds, in words.
async fn dump(server: &TestServer) -> Vec<String> {
    let mut all = Vec::new();
    for query in [
        "SELECT CAST(id AS TEXT), username || status || first_name || coalesce(password_hash, '') FROM users WHERE tenant_id = $1 ORDER BY id",
        "SELECT CAST(id AS TEXT), k8s_state || CAST(incarnation AS TEXT) || coalesce(CAST(deleted_at AS TEXT), '') FROM app_instances WHERE tenant_id = $1 ORDER BY id",
        "SELECT CAST(id AS TEXT), name || status || docker_image_name FROM apps WHERE tenant_id = $1 ORDER BY id",
        "SELECT CAST(id AS TEXT), role || coalesce(workspace, workbench, '-') || CAST(user_id AS TEXT) FROM role_assignments WHERE tenant_id = $1 ORDER BY id",
        "SELECT CAST(id AS TEXT), name || CAST(permissions AS TEXT) FROM dynamic_roles WHERE tenant_id = $1 ORDER BY id",
        "SELECT CAST(id AS TEXT), name || status || coalesce(CAST(deleted_at AS TEXT), '') FROM workspaces WHERE tenant_id = $1 ORDER BY id",
        "SELECT CAST(id AS TEXT), name || wanted || coalesce(CAST(deleted_at AS TEXT), '') FROM workbenches WHERE tenant_id = $1 ORDER BY id",
        "SELECT CAST(id AS TEXT), key || value FROM devstore WHERE tenant_id = $1 ORDER BY id",
        "SELECT id, coalesce(CAST(read_at AS TEXT), 'unread') FROM notifications WHERE tenant_id = $1 ORDER BY id",
        "SELECT CAST(id AS TEXT), actor_username || action FROM audit_log WHERE tenant_id = $1 ORDER BY id",
        "SELECT CAST(id AS TEXT), coalesce(CAST(revoked_at AS TEXT), 'active') FROM api_tokens WHERE tenant_id = $1 ORDER BY id",
        "SELECT id, coalesce(CAST(revoked_at AS TEXT), 'open') FROM sessions WHERE tenant_id = $1 ORDER BY id",
    ] {
        let rows: Vec<(String, String)> = sql(query).bind(server.tenant).all(&server.db).await.unwrap();
        all.extend(rows.into_iter().map(|(id, text)| format!("{id}: {text}")));
    }
    all
}
