//! What is expected of RPCs whose rule the contract does not spell out: `custom` handlers that are built, and lists. Written
//! by hand from the rules of who may do what to whom; never derived from the server.

use serde_json::{Value, json};

use super::scene::{Scene, Subject};

/// What is expected of one request of one RPC.
pub struct Expected {
    /// `UserService/ListUsers`.
    pub rpc: &'static str,
    /// What is special about the request.
    pub variant: &'static str,
    /// The request.
    pub request: fn(&Scene<'_>) -> Value,
    /// Who is admitted.
    pub admitted: Who,
}

/// Who is admitted; everybody else who is signed in is denied.
pub enum Who {
    /// Everybody who is signed in.
    SignedIn,
    /// Holders of one of these roles: where they are bound to what the call is about, and wherever they are bound.
    Holders { right: &'static [&'static str], anywhere: &'static [&'static str] },
}

impl Who {
    /// Whether the rule admits the subject, who is signed in.
    pub fn admits(&self, subject: Subject<'_>) -> bool {
        let Self::Holders { right, anywhere } = self else { return true };
        match subject {
            Subject::Visitor | Subject::NoRole => false,
            Subject::Holder { role, right: false } => anywhere.contains(&role.name.as_str()),
            Subject::Holder { role, .. } | Subject::Restricted { role } | Subject::Foreigner { role } => {
                anywhere.contains(&role.name.as_str()) || right.contains(&role.name.as_str())
            }
        }
    }
}

/// Those who see a workspace.
const SEE_WORKSPACE: &[&str] = &[
    "WorkspaceGuest",
    "WorkspaceMember",
    "WorkspaceMaintainer",
    "WorkspaceDataManager",
    "WorkspaceAdmin",
    "PlatformWorkspaceManager",
    "PlatformDataManager",
    "SuperAdmin",
];

/// Those who see a workbench. Administrators of its workspace do not.
const SEE_WORKBENCH: &[&str] = &["WorkbenchViewer", "WorkbenchMember", "WorkbenchAdmin", "SuperAdmin"];

/// Those who see users of the whole tenant: who manages accounts, and who looks for people to invite.
const SEE_USERS: Who = Who::Holders {
    right: &["PlatformUserManager"],
    anywhere: &["WorkspaceMaintainer", "WorkspaceAdmin", "WorkbenchAdmin", "SuperAdmin"],
};

/// Everybody with an account.
const ACCOUNTS: &[&str] = &[
    "Authenticated",
    "WorkspaceGuest",
    "WorkspaceMember",
    "WorkspaceMaintainer",
    "WorkspaceDataManager",
    "WorkspaceAdmin",
    "WorkbenchViewer",
    "WorkbenchMember",
    "WorkbenchAdmin",
    "PlatformSettingsManager",
    "PlatformUserManager",
    "PlatformOrganizationManager",
    "PlatformAuditor",
    "PlatformWorkspaceManager",
    "AppStoreAdmin",
    "PlatformDataManager",
    "SuperAdmin",
];

/// Accounts whose role says nothing of users, so that it holds for the own one wherever it is bound.
const BOUND_TO_NO_USER: &[&str] = &[
    "WorkspaceGuest",
    "WorkspaceMember",
    "WorkspaceMaintainer",
    "WorkspaceDataManager",
    "WorkspaceAdmin",
    "WorkbenchViewer",
    "WorkbenchMember",
    "WorkbenchAdmin",
    "PlatformWorkspaceManager",
    "PlatformDataManager",
];

const EVERY_ACCOUNT: Who = Who::Holders { right: ACCOUNTS, anywhere: ACCOUNTS };
const MANAGE_USERS: Who = Who::Holders { right: &["PlatformUserManager", "SuperAdmin"], anywhere: &[] };

/// `manageDynamicRoles`, which is held for nothing in particular.
const MANAGE_ROLES: Who = Who::Holders { right: &[], anywhere: &["PlatformUserManager", "SuperAdmin"] };
/// The same, or `manageUsersInWorkspace`, wherever it is bound.
const MANAGE_ROLES_SOMEWHERE: Who =
    Who::Holders { right: &[], anywhere: &["PlatformUserManager", "WorkspaceAdmin", "SuperAdmin"] };
const SUPER_ADMIN: Who = Who::Holders { right: &["SuperAdmin"], anywhere: &[] };
const MANAGE_MEMBERS: Who = Who::Holders { right: &["WorkspaceAdmin", "SuperAdmin"], anywhere: &[] };
const APPOINT_DATA_MANAGER: Who =
    Who::Holders { right: &["WorkspaceDataManager", "WorkspaceAdmin", "SuperAdmin"], anywhere: &[] };

/// Everything that is expected by hand.
pub const EXPECTED: &[Expected] = &[
    // lists
    Expected {
        rpc: "WorkspaceService/ListWorkspaces",
        variant: "all",
        request: |_| json!({}),
        admitted: Who::SignedIn,
    },
    Expected {
        rpc: "WorkspaceService/ListWorkspaces",
        variant: "one workspace",
        request: by_workspace,
        admitted: Who::Holders { right: SEE_WORKSPACE, anywhere: &[] },
    },
    Expected {
        rpc: "WorkbenchService/ListWorkbenches",
        variant: "all",
        request: |_| json!({}),
        admitted: Who::SignedIn,
    },
    Expected {
        rpc: "WorkbenchService/ListWorkbenches",
        variant: "one workspace",
        request: by_workspace,
        admitted: Who::Holders { right: SEE_WORKSPACE, anywhere: &[] },
    },
    Expected {
        rpc: "WorkbenchService/WatchWorkbenches",
        variant: "all",
        request: |_| json!({}),
        admitted: Who::SignedIn,
    },
    Expected {
        rpc: "WorkbenchService/WatchWorkbenches",
        variant: "one workspace",
        request: by_workspace,
        admitted: Who::Holders { right: SEE_WORKSPACE, anywhere: &[] },
    },
    Expected {
        rpc: "WorkspaceServiceInstanceService/ListWorkspaceServiceInstances",
        variant: "all",
        request: |_| json!({}),
        admitted: Who::SignedIn,
    },
    Expected {
        rpc: "WorkspaceServiceInstanceService/ListWorkspaceServiceInstances",
        variant: "one workspace",
        request: by_workspace,
        admitted: Who::Holders { right: SEE_WORKSPACE, anywhere: &[] },
    },
    Expected {
        rpc: "AppInstanceService/ListAppInstances",
        variant: "all",
        request: |_| json!({}),
        admitted: Who::Holders { right: ACCOUNTS, anywhere: ACCOUNTS },
    },
    Expected {
        rpc: "AppInstanceService/ListAppInstances",
        variant: "one workbench",
        request: |s| json!({"filter": {"workbenchIdsIn": [s.workbench]}}),
        admitted: Who::Holders { right: SEE_WORKBENCH, anywhere: &[] },
    },
    Expected {
        rpc: "AppInstanceService/WatchAppInstances",
        variant: "all",
        request: |_| json!({}),
        admitted: Who::Holders { right: ACCOUNTS, anywhere: ACCOUNTS },
    },
    Expected {
        rpc: "AppInstanceService/WatchAppInstances",
        variant: "one workbench",
        request: |s| json!({"filter": {"workbenchIdsIn": [s.workbench]}}),
        admitted: Who::Holders { right: SEE_WORKBENCH, anywhere: &[] },
    },
    // sessions
    Expected {
        rpc: "AuthenticationService/ListSessions",
        variant: "one's own",
        request: |_| json!({}),
        admitted: EVERY_ACCOUNT,
    },
    Expected {
        rpc: "AuthenticationService/ListSessions",
        variant: "somebody else's",
        request: |s| json!({"userId": s.other.id}),
        admitted: MANAGE_USERS,
    },
    Expected {
        rpc: "AuthenticationService/RevokeSession",
        variant: "one that is not there",
        request: |_| json!({"id": "nowhere"}),
        admitted: EVERY_ACCOUNT,
    },
    Expected {
        rpc: "AuthenticationService/RevokeSessions",
        variant: "one's own",
        request: |_| json!({}),
        admitted: EVERY_ACCOUNT,
    },
    Expected {
        rpc: "AuthenticationService/RevokeSessions",
        variant: "somebody else's",
        request: |s| json!({"userId": s.other.id}),
        admitted: MANAGE_USERS,
    },
    // users
    Expected { rpc: "UserService/ListUsers", variant: "all", request: |_| json!({}), admitted: SEE_USERS },
    Expected {
        rpc: "UserService/ListUsers",
        variant: "an empty filter",
        request: |_| json!({"filter": {"withNamespaces": true, "search": ""}}),
        admitted: SEE_USERS,
    },
    Expected {
        rpc: "UserService/ListUsers",
        variant: "search",
        request: |_| json!({"filter": {"search": "stranger"}}),
        admitted: SEE_USERS,
    },
    Expected {
        rpc: "UserService/ListUsers",
        variant: "one user",
        request: |s| json!({"filter": {"idsIn": [s.other.id]}}),
        admitted: MANAGE_USERS,
    },
    Expected {
        rpc: "UserService/ListUsers",
        variant: "one workspace",
        request: |s| json!({"filter": {"workspaceIDs": [s.workspace]}}),
        admitted: Who::Holders { right: SEE_WORKSPACE, anywhere: &[] },
    },
    Expected {
        rpc: "UserService/ListUsers",
        variant: "one workbench",
        request: |s| json!({"filter": {"workbenchIDs": [s.workbench]}}),
        admitted: Who::Holders { right: SEE_WORKBENCH, anywhere: &[] },
    },
    Expected {
        rpc: "UserService/CreateUser",
        variant: "without password",
        request: |s| json!({"firstName": "Ada", "lastName": "New", "username": format!("new-{}", s.other.id), "email": "ada@example.org"}),
        admitted: Who::Holders { right: &[], anywhere: &["PlatformUserManager", "SuperAdmin"] },
    },
    Expected {
        rpc: "UserService/UpdateUser",
        variant: "somebody else",
        request: |s| json!({"id": s.other.id, "firstName": "Ada", "lastName": "New", "username": s.other.username, "status": "active"}),
        admitted: MANAGE_USERS,
    },
    Expected {
        rpc: "UserService/UpdateUser",
        variant: "oneself",
        request: |s| {
            let username = s.caller.as_ref().map_or("nobody", |person| &person.username);
            json!({"id": s.own_id().max(1), "firstName": "Ada", "lastName": "New", "username": username, "status": "active"})
        },
        admitted: Who::Holders { right: ACCOUNTS, anywhere: BOUND_TO_NO_USER },
    },
    Expected {
        rpc: "UserService/CreateUserRole",
        variant: "a role in a workspace",
        request: |s| role(s.other.id, "WorkspaceMember", json!({"workspace": s.workspace.to_string()})),
        admitted: MANAGE_USERS,
    },
    Expected {
        rpc: "UserService/CreateUserRole",
        variant: "a role of the platform",
        request: |s| role(s.other.id, "PlatformAuditor", json!({"user": "*"})),
        admitted: MANAGE_USERS,
    },
    Expected {
        rpc: "UserService/CreateUserRole",
        variant: "a role in all workspaces",
        request: |s| role(s.other.id, "PlatformWorkspaceManager", json!({"workspace": "*"})),
        admitted: SUPER_ADMIN,
    },
    Expected {
        rpc: "UserService/CreateUserRole",
        variant: "SuperAdmin",
        request: |s| role(s.other.id, "SuperAdmin", json!({"workspace": "*", "workbench": "*", "user": "*"})),
        admitted: SUPER_ADMIN,
    },
    Expected {
        rpc: "UserService/CreateUserRole",
        variant: "to oneself",
        request: |s| role(s.own_id().max(1), "PlatformAuditor", json!({"user": "*"})),
        admitted: SUPER_ADMIN,
    },
    Expected {
        rpc: "UserService/DeleteUserRole",
        variant: "a role that is not there",
        request: |s| json!({"userId": s.other.id, "roleId": 999_999}),
        admitted: MANAGE_USERS,
    },
    // what was done to a user
    Expected {
        rpc: "AuditService/ListUserAudit",
        variant: "somebody else",
        request: |s| json!({"id": s.other.id}),
        admitted: Who::Holders { right: &["PlatformAuditor", "SuperAdmin"], anywhere: &[] },
    },
    Expected {
        rpc: "AuditService/ListUserAudit",
        variant: "oneself",
        request: |s| json!({"id": s.own_id().max(1)}),
        admitted: Who::Holders { right: ACCOUNTS, anywhere: BOUND_TO_NO_USER },
    },
    Expected {
        rpc: "AuditService/ListUserAudit",
        variant: "in a workspace",
        request: |s| json!({"id": s.own_id().max(1), "filter": {"workspaceId": s.workspace, "workbenchId": s.workbench}}),
        admitted: Who::Holders { right: &["WorkspaceAdmin", "SuperAdmin"], anywhere: &[] },
    },
    // administrators of its workspace hold the permission, but their role names no workbench
    Expected {
        rpc: "AuditService/ListUserAudit",
        variant: "in a workbench",
        request: |s| json!({"id": s.own_id().max(1), "filter": {"workbenchId": s.workbench}}),
        admitted: Who::Holders { right: &["WorkbenchAdmin", "SuperAdmin"], anywhere: &[] },
    },
    // roles that people define
    Expected {
        rpc: "AuthorizationService/CreateDynamicRole",
        variant: "of the platform",
        request: |s| json!({"role": {"name": format!("New {}", s.own_id()), "scope": "platform", "permissions": ["listUsers"]}}),
        admitted: MANAGE_ROLES,
    },
    Expected {
        rpc: "AuthorizationService/CreateDynamicRole",
        variant: "of a workspace",
        request: |s| {
            let role =
                json!({"name": format!("Local {}", s.own_id()), "scope": "workspace", "permissions": ["getWorkspace"]});
            json!({"role": role, "validationContext": {"workspace": s.workspace.to_string()}})
        },
        admitted: MANAGE_MEMBERS,
    },
    Expected {
        rpc: "AuthorizationService/UpdateDynamicRole",
        variant: "of the platform",
        request: |s| json!({"name": s.platform_role, "permissions": ["listUsers"]}),
        admitted: MANAGE_ROLES,
    },
    // who manages roles somewhere hears of a role elsewhere that there is none
    Expected {
        rpc: "AuthorizationService/UpdateDynamicRole",
        variant: "of a workspace",
        request: |s| json!({"name": s.workspace_role, "permissions": ["getWorkspace"]}),
        admitted: MANAGE_ROLES_SOMEWHERE,
    },
    Expected {
        rpc: "AuthorizationService/UpdateDynamicRole",
        variant: "a role that is not there",
        request: |_| json!({"name": "NoSuchRole", "permissions": ["getWorkspace"]}),
        admitted: MANAGE_ROLES_SOMEWHERE,
    },
    Expected {
        rpc: "AuthorizationService/DeleteDynamicRole",
        variant: "a role that is not there",
        request: |_| json!({"name": "NoSuchRole"}),
        admitted: MANAGE_ROLES_SOMEWHERE,
    },
    Expected {
        rpc: "AuthorizationService/DeleteDynamicRole",
        variant: "of the platform",
        request: |s| json!({"name": format!("Inviter {}", s.workspace)}),
        admitted: MANAGE_ROLES,
    },
    // API tokens
    Expected {
        rpc: "TokenService/CreateToken",
        variant: "for oneself",
        request: |_| token(json!({})),
        admitted: Who::Holders { right: ACCOUNTS, anywhere: BOUND_TO_NO_USER },
    },
    // those who may administer the user hear that people make their own
    Expected {
        rpc: "TokenService/CreateToken",
        variant: "for somebody else",
        request: |s| token(json!({"userId": s.other.id, "scopes": [{"permission": "listUsers"}]})),
        admitted: MANAGE_USERS,
    },
    Expected {
        rpc: "TokenService/ListTokens",
        variant: "one's own",
        request: |_| json!({}),
        admitted: Who::Holders { right: ACCOUNTS, anywhere: BOUND_TO_NO_USER },
    },
    Expected {
        rpc: "TokenService/ListTokens",
        variant: "somebody else's",
        request: |s| json!({"userId": s.other.id}),
        admitted: MANAGE_USERS,
    },
    // members of a workbench; those who run its workspace have no say
    Expected {
        rpc: "WorkbenchService/AddUserRoleInWorkbench",
        variant: "viewer",
        request: |s| json!({"id": s.workbench, "userId": s.other.id, "role": {"name": "WorkbenchViewer"}}),
        admitted: Who::Holders { right: &["WorkbenchAdmin", "SuperAdmin"], anywhere: &[] },
    },
    // members of a workspace
    Expected {
        rpc: "WorkspaceService/AddUserRoleInWorkspace",
        variant: "member",
        request: |s| json!({"id": s.workspace, "userId": s.other.id, "role": {"name": "WorkspaceMember"}}),
        admitted: MANAGE_MEMBERS,
    },
    Expected {
        rpc: "WorkspaceService/AddUserRoleInWorkspace",
        variant: "data manager",
        request: |s| json!({"id": s.workspace, "userId": s.other.id, "role": {"name": "WorkspaceDataManager"}}),
        admitted: APPOINT_DATA_MANAGER,
    },
    Expected {
        rpc: "WorkspaceService/RemoveUserRoleInWorkspace",
        variant: "guest",
        request: |s| json!({"id": s.workspace, "userId": s.other.id, "roleName": "WorkspaceGuest"}),
        admitted: MANAGE_MEMBERS,
    },
    Expected {
        rpc: "WorkspaceService/RemoveUserRoleInWorkspace",
        variant: "data manager",
        request: |s| json!({"id": s.workspace, "userId": s.other.id, "roleName": "WorkspaceDataManager"}),
        admitted: APPOINT_DATA_MANAGER,
    },
];

fn by_workspace(scene: &Scene<'_>) -> Value {
    json!({"filter": {"workspaceIdsIn": [scene.workspace]}})
}

fn role(user: i64, name: &str, context: Value) -> Value {
    json!({"userId": user, "role": {"name": name, "context": context}})
}

/// A request for a token, with these fields.
fn token(with: Value) -> Value {
    let mut request =
        json!({"name": "x", "scopes": [{"permission": "getMyOwnUser"}], "expiresAt": "2026-03-02T08:00:00Z"});
    request.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    request
}
