//! Every built RPC leaves exactly the record that its audit option states, whether it succeeds, is refused or fails.
//!
//! The RPCs come from the descriptors. One that does not succeed with an empty request, or whose success is recorded,
//! needs a line in [`FIXTURES`]: a request that succeeds, and what its record holds. That is the whole work for a new RPC.

use std::collections::BTreeSet;

use chorus::server::{clock::Clock as _, db::sql};
use serde_json::{Map, Value, json};
use tonic::Code;

use crate::support::{
    contract::{Rpc, rpcs},
    server::{ADMIN_PASSWORD, Failure, Person, TestServer, on_each_engine},
    totp,
};

/// What an RPC is called with, made anew for each.
struct Scene {
    /// SuperAdmin, with [`ADMIN_PASSWORD`].
    caller: Person,
    /// What the caller's authenticator app shows.
    code: String,
    /// A member of the workspace, who may be changed and deleted.
    other: Person,
    /// The id of that member's role.
    grant: i64,
    /// A session of that member.
    session: String,
    /// A workspace, with the entry `theme`, which the platform and the caller have, too. The role `Reader` is there as well.
    workspace: i64,
    /// A workbench in it.
    workbench: i64,
    /// An API token of that member.
    token: i64,
    /// An app of the catalogue.
    app: i64,
    /// An instance of it in the workbench.
    app_instance: i64,
}

/// A request that succeeds.
struct Fixture {
    rpc: &'static str,
    request: fn(&Scene) -> Value,
    /// What the record of success holds: the keys of its details, and `@workspace`, `@workbench`, `@user` where it names
    /// one. Empty when success is not recorded.
    record: &'static str,
}

const fn fixture(rpc: &'static str, request: fn(&Scene) -> Value, record: &'static str) -> Fixture {
    Fixture { rpc, request, record }
}

/// What the record of a change of an app instance holds.
const OF_APP_INSTANCE: &str = "@workbench @workspace app_id app_image_name app_image_tag app_instance_id app_name";

const FIXTURES: &[Fixture] = &[
    fixture(
        "AppInstanceService/CreateAppInstance",
        |s| json!({"workbenchId": s.workbench, "appId": s.app}),
        "@workbench @workspace app_id app_image_name app_image_tag app_instance_id app_name workbench_id",
    ),
    fixture("AppInstanceService/DeleteAppInstance", |s| json!({"id": s.app_instance}), OF_APP_INSTANCE),
    fixture("AppInstanceService/GetAppInstance", |s| json!({"id": s.app_instance}), ""),
    fixture("AppInstanceService/GetAppInstanceLogs", |s| json!({"id": s.app_instance}), OF_APP_INSTANCE),
    fixture("AppInstanceService/RestartAppInstance", |s| json!({"id": s.app_instance}), OF_APP_INSTANCE),
    fixture(
        "AppInstanceService/UpdateAppInstance",
        |s| json!({"id": s.app_instance, "k8sState": "Killed"}),
        OF_APP_INSTANCE,
    ),
    fixture("AppService/BulkCreateApps", |s| json!({"apps": [app(s.app), app(s.app)]}), "app_count"),
    fixture(
        "AppService/CreateApp",
        |s| app(s.app),
        "app_description app_id app_image_name app_image_tag app_max_memory app_name app_registry",
    ),
    fixture("AppService/DeleteApp", |s| json!({"id": s.app}), "app_id app_name"),
    fixture("AppService/GetApp", |s| json!({"id": s.app}), ""),
    fixture(
        "AppService/UpdateApp",
        |s| app(s.app),
        "app_description app_id app_image_name app_image_tag app_max_memory app_name app_registry",
    ),
    fixture("AuditService/ListActorAudit", |s| json!({"id": s.other.id}), ""),
    fixture("AuditService/ListUserAudit", |s| json!({"id": s.other.id}), ""),
    fixture("AuditService/ListWorkbenchAudit", |_| json!({"id": 7}), ""),
    fixture("AuditService/ListWorkspaceAudit", |s| json!({"id": s.workspace}), ""),
    fixture(
        "AuthenticationService/Authenticate",
        |s| json!({"username": s.caller.username, "password": ADMIN_PASSWORD}),
        "@user username",
    ),
    fixture("AuthenticationService/Logout", |_| json!({}), ""),
    fixture("AuthenticationService/RevokeSession", |s| json!({"id": s.session}), "@user session_id username"),
    fixture(
        "AuthenticationService/RevokeSessions",
        |s| json!({"userId": s.other.id}),
        "@user except_current revoked username",
    ),
    fixture(
        "AuthorizationService/CreateDynamicRole",
        |_| json!({"role": {"name": "Finder", "scope": "platform", "permissions": ["listUsers"]}}),
        "role_name role_permissions role_scope",
    ),
    fixture(
        "AuthorizationService/DeleteDynamicRole",
        |_| json!({"name": "Reader"}),
        "revoked_from role_name role_permissions role_scope",
    ),
    fixture(
        "AuthorizationService/UpdateDynamicRole",
        |_| json!({"name": "Reader", "permissions": ["searchUsers"]}),
        "role_name role_permissions role_permissions_before role_scope",
    ),
    fixture("DevstoreService/DeleteGlobalEntry", |_| json!({"key": "theme"}), ""),
    fixture("DevstoreService/DeleteUserEntry", |_| json!({"key": "theme"}), ""),
    fixture("DevstoreService/DeleteWorkspaceEntry", |s| json!({"id": s.workspace, "key": "theme"}), ""),
    fixture("DevstoreService/GetGlobalEntry", |_| json!({"key": "theme"}), ""),
    fixture("DevstoreService/GetUserEntry", |_| json!({"key": "theme"}), ""),
    fixture("DevstoreService/GetWorkspaceEntry", |s| json!({"id": s.workspace, "key": "theme"}), ""),
    fixture("DevstoreService/ListWorkspaceEntries", |s| json!({"id": s.workspace}), ""),
    fixture("DevstoreService/PutGlobalEntry", |_| json!({"key": "theme", "value": "x"}), ""),
    fixture("DevstoreService/PutUserEntry", |_| json!({"key": "theme", "value": "x"}), ""),
    fixture("DevstoreService/PutWorkspaceEntry", |s| json!({"id": s.workspace, "key": "theme", "value": "x"}), ""),
    fixture("NotificationService/MarkNotificationsAsRead", |_| json!({"markAll": true}), ""),
    fixture("PlatformSettingsService/UpdatePlatformSettings", |_| json!({"platformSettings": {"title": "x"}}), ""),
    fixture(
        "TokenService/CreateToken",
        |_| json!({"name": "x", "scopes": [{"permission": "createWorkspace"}], "expiresAt": "2026-03-02T00:00:00Z"}),
        "@user api_token_id expires_at name scopes user_id",
    ),
    fixture(
        "TokenService/RevokeToken",
        |s| json!({"id": s.token}),
        "@user api_token_id expires_at name scopes user_id",
    ),
    fixture(
        "UserService/CreateServiceAccount",
        |s| json!({"username": format!("bot-{}", s.other.id)}),
        "@user user_id username",
    ),
    fixture("UserService/CreateUser", |s| account(0, &format!("new-{}", s.other.id)), "@user user_id username"),
    fixture(
        "UserService/CreateUserRole",
        |s| json!({"userId": s.other.id, "role": {"name": "PlatformAuditor", "context": {"user": "*"}}}),
        "@user role_id role_name user_id username",
    ),
    fixture("UserService/DeleteUser", |s| json!({"id": s.other.id}), "@user user_id username"),
    fixture(
        "UserService/DeleteUserRole",
        |s| json!({"userId": s.other.id, "roleId": s.grant}),
        "@user role_id role_name user_id username",
    ),
    fixture("UserService/EnableTotp", |s| json!({"totp": s.code}), "@user second_factor user_id username"),
    fixture("UserService/GetUser", |s| json!({"id": s.other.id}), ""),
    fixture("UserService/ResetPassword", |s| json!({"id": s.other.id}), "@user user_id username"),
    fixture("UserService/ResetTotp", |_| json!({"password": ADMIN_PASSWORD}), "@user user_id username"),
    fixture(
        "UserService/UpdatePassword",
        |_| json!({"currentPassword": ADMIN_PASSWORD, "newPassword": "seven purple giraffes dance"}),
        "@user user_id username",
    ),
    fixture("UserService/UpdateUser", |s| account(s.other.id, &s.other.username), "@user user_id username"),
    fixture(
        "WorkbenchService/AddUserRoleInWorkbench",
        |s| json!({"id": s.workbench, "userId": s.other.id, "role": {"name": "WorkbenchMember"}}),
        "@user @workbench @workspace role user_id workbench_id workbench_name workspace_id",
    ),
    fixture(
        "WorkbenchService/CreateWorkbench",
        |s| json!({"workspaceId": s.workspace, "name": "Bering"}),
        "@workbench @workspace workbench_id workbench_name workspace_id",
    ),
    fixture(
        "WorkbenchService/DeleteWorkbench",
        |s| json!({"id": s.workbench}),
        "@workbench @workspace workbench_id workbench_name workspace_id",
    ),
    fixture("WorkbenchService/GetWorkbench", |s| json!({"id": s.workbench}), ""),
    fixture(
        "WorkbenchService/RemoveUserFromWorkbench",
        |s| json!({"id": s.workbench, "userId": s.other.id}),
        "@user @workbench @workspace user_id workbench_id workbench_name workspace_id",
    ),
    fixture(
        "WorkbenchService/StartWorkbench",
        |s| json!({"id": s.workbench}),
        "@workbench @workspace workbench_id workbench_name workspace_id",
    ),
    fixture(
        "WorkbenchService/CreateStreamTicket",
        |s| json!({"id": s.workbench}),
        "@workbench @workspace workbench_id workbench_name workspace_id",
    ),
    fixture(
        "WorkbenchService/StopWorkbench",
        |s| json!({"id": s.workbench}),
        "@workbench @workspace workbench_id workbench_name workspace_id",
    ),
    fixture(
        "WorkbenchService/UpdateWorkbench",
        |s| json!({"id": s.workbench, "name": "Bering"}),
        "@workbench @workspace workbench_id workbench_name workspace_id",
    ),
    fixture(
        "WorkspaceService/AddUserRoleInWorkspace",
        |s| json!({"id": s.workspace, "userId": s.other.id, "role": {"name": "WorkspaceGuest"}}),
        "@user @workspace role user_id workspace_id workspace_name",
    ),
    fixture(
        "WorkspaceService/CreateWorkspace",
        |_| json!({"name": "Bering"}),
        "@workspace workspace_id workspace_name",
    ),
    fixture(
        "WorkspaceService/DeleteWorkspace",
        |s| json!({"id": s.workspace}),
        "@workspace workspace_id workspace_name",
    ),
    fixture("WorkspaceService/GetWorkspace", |s| json!({"id": s.workspace}), ""),
    fixture(
        "WorkspaceService/RemoveUserFromWorkspace",
        |s| json!({"id": s.workspace, "userId": s.other.id}),
        "@user @workspace user_id workspace_id workspace_name",
    ),
    fixture(
        "WorkspaceService/RemoveUserRoleInWorkspace",
        |s| json!({"id": s.workspace, "userId": s.other.id, "roleName": "WorkspaceMember"}),
        "@user @workspace role user_id workspace_id workspace_name",
    ),
    fixture(
        "WorkspaceService/UpdateWorkspace",
        |s| json!({"id": s.workspace, "name": "Bering"}),
        "@workspace workspace_id workspace_name",
    ),
];

/// RPCs that record failures, and that neither a stranger, nor an empty request, nor a temporary password makes fail.
const HARD_TO_FAIL: &[&str] = &[];

/// What is read of a record: outcome, code, request id, actor, address, subjects and keys of the details.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    outcome: String,
    code: i64,
    actor: Option<i64>,
    holds: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_built_rpc_leaves_exactly_its_record() {
    on_each_engine(|server| async move {
        let mut findings = Vec::new();
        for rpc in rpcs().iter().filter(|rpc| !rpc.planned) {
            check(&server, rpc, &mut findings).await;
        }
        assert!(findings.is_empty(), "{} findings:\n  {}", findings.len(), findings.join("\n  "));
    })
    .await;
}

#[test]
fn every_line_is_about_a_built_rpc() {
    let built: BTreeSet<_> = rpcs().iter().filter(|rpc| !rpc.planned).map(Rpc::label).collect();
    let lines: Vec<_> = FIXTURES.iter().map(|line| line.rpc).chain(HARD_TO_FAIL.iter().copied()).collect();
    let known: BTreeSet<_> = lines.iter().copied().collect();
    assert_eq!(lines.len(), known.len(), "one line an RPC");
    let unknown: Vec<_> = lines.into_iter().filter(|rpc| !built.contains(*rpc)).collect();
    assert_eq!(unknown, Vec::<&str>::new());
}

/// Calls an RPC so that it succeeds, and in the ways in which it may fail.
async fn check(server: &TestServer, rpc: &Rpc, findings: &mut Vec<String>) {
    let (label, when) = (rpc.label(), rpc.audit.as_ref().unwrap().when);
    let fixture = FIXTURES.iter().find(|fixture| fixture.rpc == label);
    if fixture.is_none() && when == 3 {
        findings.push(format!(
            "{label}: its success is recorded, so add `fixture(\"{label}\", |s| json!({{…}}), \"…\")` to FIXTURES in \
             tests/it/audit/coverage.rs: a request that succeeds, and what the record holds"
        ));
        return;
    }
    let scene = Scene::new(server).await;
    let good = fixture.map_or_else(|| json!({}), |fixture| (fixture.request)(&scene));
    let stranger = server.stranger(server.tenant, &[]).await;
    let newcomer = server.restricted(&[SUPER_ADMIN]).await;
    // what changes something comes last
    let mut failed = false;
    let tries = [("a stranger", &stranger, good.clone()), ("a temporary password", &newcomer, good.clone())];
    for (case, by, request) in tries.into_iter().chain([("an empty request", &scene.caller, json!({}))]) {
        // an RPC that takes an empty request is called in earnest below
        if case == "an empty request" && good == json!({}) {
            continue;
        }
        let (result, records) = call(server, by, &label, request).await;
        failed |= result.is_err();
        // open to everybody, and a success of a kind that is looked at below
        if result.is_err() || when != 3 {
            // where visitors may call, a session that opens less counts as one
            let actor = (!rpc.public || rpc.restricted || by.id != newcomer.id).then_some(by.id);
            judge(&label, case, when, actor, &result, records, None, findings);
        }
    }
    if when != 1 && !failed && !HARD_TO_FAIL.contains(&&*label) {
        findings.push(format!("{label}: nothing made it fail; say so in HARD_TO_FAIL in tests/it/audit/coverage.rs"));
    }
    let by = server.sign_in(&scene.caller).await;
    let (result, records) = call(server, &by, &label, good).await;
    if let Err(failure) = &result {
        findings.push(format!(
            "{label}: {failure:?}; FIXTURES in tests/it/audit/coverage.rs should have a request that succeeds"
        ));
    }
    judge(&label, "success", when, Some(by.id), &result, records, fixture, findings);
}

#[expect(clippy::too_many_arguments, reason = "everything there is to know about one call")]
fn judge(
    label: &str,
    case: &str,
    when: i32,
    by: Option<i64>,
    result: &Result<Value, Failure>,
    records: Vec<Record>,
    fixture: Option<&Fixture>,
    findings: &mut Vec<String>,
) {
    let expected = match (when, result) {
        (1, _) | (2, Ok(_)) => None,
        (_, Ok(_)) => Some(("ok", 0)),
        (_, Err(f)) if f.reason == "INVALID_CREDENTIALS" => Some(("refused", 16)),
        // nobody to record
        (_, Err(Failure { code: Code::Unauthenticated, .. })) => None,
        (_, Err(Failure { code: Code::PermissionDenied, .. })) => Some(("refused", 7)),
        (_, Err(failure)) => Some(("failed", failure.code as i64)),
    };
    let found: Vec<_> = records.iter().map(|r| (r.outcome.as_str(), r.code)).collect();
    if found != expected.into_iter().collect::<Vec<_>>() {
        findings.push(format!("{label}, {case}: {result:?} is recorded as {found:?}, not {expected:?}"));
        return;
    }
    let Some(record) = records.first() else { return };
    if record.actor != by {
        findings.push(format!("{label}, {case}: done by {:?}, not {by:?}", record.actor));
    }
    if let Some(fixture) = fixture.filter(|fixture| fixture.record != record.holds) {
        findings.push(format!("{label}: the record holds `{}`, not `{}`", record.holds, fixture.record));
    }
}

/// Makes one call; its result and everything that was recorded meanwhile.
async fn call(server: &TestServer, by: &Person, rpc: &str, request: Value) -> (Result<Value, Failure>, Vec<Record>) {
    sql("DELETE FROM audit_log").run(&server.db).await.unwrap();
    let result = server.call(Some(by), rpc, request).await;
    type Row = (String, i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>, String, String, String);
    let rows: Vec<Row> = sql("SELECT outcome, code, actor_id, workspace_id, workbench_id, user_id, \
         CAST(details AS TEXT), request_id, address FROM audit_log ORDER BY id")
    .all(&server.db)
    .await
    .unwrap();
    let records =
        rows.into_iter().map(|(outcome, code, actor, workspace, workbench, user, details, request, address)| {
            assert!(!request.is_empty() && address == "127.0.0.1", "{rpc}: {request:?} {address:?}");
            let subjects = [("@user", user), ("@workbench", workbench), ("@workspace", workspace)];
            let subjects = subjects.into_iter().filter(|(_, id)| id.is_some()).map(|(name, _)| name.to_owned());
            let details: Map<String, Value> = serde_json::from_str(&details).unwrap();
            let holds = subjects.chain(details.into_iter().map(|(key, _)| key)).collect::<BTreeSet<_>>();
            Record { outcome, code, actor, holds: holds.into_iter().collect::<Vec<_>>().join(" ") }
        });
    (result, records.collect())
}

const SUPER_ADMIN: (&str, &[(&str, &str)]) = ("SuperAdmin", &[("workspace", "*"), ("workbench", "*"), ("user", "*")]);

impl Scene {
    async fn new(server: &TestServer) -> Self {
        let caller = server.stranger(server.tenant, &[SUPER_ADMIN]).await;
        let own = caller.id.to_string();
        server.give(&caller, &[("Authenticated", &[("user", &own)])]).await;
        sql("UPDATE users SET password_hash = (SELECT password_hash FROM users WHERE id = $1) WHERE id = $2")
            .bind(server.admin.id)
            .bind(caller.id)
            .run(&server.db)
            .await
            .unwrap();
        let password = json!({"password": ADMIN_PASSWORD});
        let made = server.call(Some(&caller), "UserService/ResetTotp", password).await.unwrap();
        let code = totp::code(made["result"]["totpSecret"].as_str().unwrap(), server.clock.now());
        let other = server.stranger(server.tenant, &[]).await;
        let token = server.api_token(&other, &["createWorkspace"]).await.id;
        let workspace = server.workspace(&caller, "Atlas").await;
        let workbench = server.workbench(&caller, workspace, "Desk").await;
        let id = workspace.to_string();
        server.give(&other, &[("WorkspaceMember", &[("workspace", &id)])]).await;
        let (grant,): (i64,) = sql("SELECT max(id) FROM role_assignments").one(&server.db).await.unwrap();
        let reader = json!({"role": {"name": "Reader", "scope": "platform", "permissions": ["listUsers"]}});
        // the role of an earlier scene may be there
        let _ = server.call(Some(&caller), "AuthorizationService/CreateDynamicRole", reader).await;
        let (session,): (String,) =
            sql("SELECT id FROM sessions WHERE user_id = $1").bind(other.id).one(&server.db).await.unwrap();
        for rpc in ["PutGlobalEntry", "PutUserEntry", "PutWorkspaceEntry"] {
            let mut entry = json!({"key": "theme", "value": "dark"});
            if rpc == "PutWorkspaceEntry" {
                entry["id"] = workspace.into();
            }
            server.call(Some(&caller), &format!("DevstoreService/{rpc}"), entry).await.unwrap();
        }
        let app = server.app(&caller, "Inkscape", "apps/inkscape", "1.4").await;
        let app_instance = server.app_instance(&caller, workbench, app).await;
        Self { caller, other, grant, session, code, workspace, workbench, token, app, app_instance }
    }
}

/// A whole app, as callers send it.
fn app(id: i64) -> Value {
    json!({"id": id, "name": "RStudio", "description": "R", "status": "active", "dockerImageRegistry": "registry.example.org",
        "dockerImageName": "apps/rstudio", "dockerImageTag": "4.4", "maxMemory": "4Gi"})
}

/// A whole account, as callers send it.
fn account(id: i64, username: &str) -> Value {
    let password = if id == 0 { "seven purple giraffes dance" } else { "" };
    json!({"id": id, "username": username, "firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.org",
        "status": "active", "password": password})
}
