//! The catalogue of permissions and roles: what may be asked for, and what each role answers.
//!
//! Pure data and nothing else: the build script includes this file as well, so that an access option that names an
//! unknown permission fails the build. What always holds:
//!
//! - a permission needs no context or exactly one [`Dimension`];
//! - names are part of the wire contract, of stored roles and of the audit trail, hence never change;
//! - *self-service* permissions (a user's own profile, session and notifications) stay bound to the holder's own id in
//!   whatever role they are inherited. Who administers other users holds that as a grant of the role itself.

use Dimension::{User, Workbench, Workspace};
use Permission as P;

/// A kind of thing to which a permission can be confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// A workspace, by id.
    Workspace,
    /// A workbench, by id.
    Workbench,
    /// A user, by id.
    User,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 3] = [Self::Workspace, Self::Workbench, Self::User];

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Workbench => "workbench",
            Self::User => "user",
        }
    }

    /// The dimension of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.as_str() == name)
    }
}

/// One line of the table of permissions.
struct Row {
    permission: Permission,
    variant: &'static str,
    name: &'static str,
    requires: Option<Dimension>,
    description: &'static str,
}

/// Declares the variants and their table from one list, so that neither can miss an entry of the other.
macro_rules! permissions {
    ($($variant:ident $name:literal $requires:expr, $description:literal;)*) => {
        /// Something a caller may be allowed to do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Permission {
            $(#[doc = $description] $variant,)*
        }

        /// The table, in the order of the variants.
        const TABLE: &[Row] = &[$(Row {
            permission: Permission::$variant,
            variant: stringify!($variant),
            name: $name,
            requires: $requires,
            description: $description,
        },)*];

        impl Permission {
            /// Every permission, in the order in which they are listed to clients.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
        }
    };
}

permissions! {
    Authenticate "authenticate" None, "Sign in with a user name and a password.";
    Logout "logout" None, "End the own session.";
    RefreshToken "refreshToken" None, "Renew the token of the own session.";
    GetListOfPossibleWayToAuthenticate "getListOfPossibleWayToAuthenticate" None, "See the ways to sign in.";
    AuthenticateUsingAuth20 "authenticateUsingAuth2.0" None, "Start to sign in at an identity provider.";
    AuthenticateRedirectUsingAuth20 "authenticateRedirectUsingAuth2.0" None, "Come back from an identity provider.";
    GetHealthCheck "getHealthCheck" None, "See whether the server is healthy.";
    InitializeTenant "initializeTenant" None, "Create a tenant.";
    ListNotifications "listNotifications" Some(User), "Read the notifications of a user.";
    CountUnreadNotifications "countUnreadNotifications" Some(User), "Count the unread notifications of a user.";
    MarkNotificationAsRead "markNotificationAsRead" Some(User), "Mark notifications of a user as read.";
    ListUsers "listUsers" None, "List the users of the tenant.";
    SearchUsers "searchUsers" None, "Find users by a part of their name.";
    CreateUser "createUser" None, "Create an account for somebody else.";
    UpdateUser "updateUser" Some(User), "Change the account of a user.";
    GetMyOwnUser "getMyOwnUser" Some(User), "Read the own account and the own stored entries.";
    UpdatePassword "updatePassword" Some(User), "Change the own password.";
    EnableTotp "enableTotp" Some(User), "Turn on one-time codes for the own account.";
    ResetTotp "resetTotp" Some(User), "Replace the secret of the own one-time codes.";
    GetUser "getUser" Some(User), "Read the account of a user.";
    DeleteUser "deleteUser" Some(User), "Delete a user.";
    ResetPassword "resetPassword" Some(User), "Give a user a temporary password.";
    ManageUserRoles "manageUserRoles" Some(User), "Grant roles to a user and revoke them.";
    AuditUser "auditUser" Some(User), "Read the audit records of a user.";
    GetPlatformSettings "getPlatformSettings" None, "Read the settings of the platform.";
    SetPlatformSettings "setPlatformSettings" None, "Change the settings and the global entries of the platform.";
    AuditPlatform "auditPlatform" None, "Read the audit records of the whole tenant.";
    ManageDynamicRoles "manageDynamicRoles" None, "Define roles for the platform.";
    ListAppInstances "listAppInstances" None, "List running apps.";
    CreateAppInstance "createAppInstance" Some(Workbench), "Start an app in a workbench.";
    UpdateAppInstance "updateAppInstance" Some(Workbench), "Change an app of a workbench.";
    GetAppInstance "getAppInstance" Some(Workbench), "Read an app of a workbench.";
    DeleteAppInstance "deleteAppInstance" Some(Workbench), "Stop and remove an app of a workbench.";
    ListWorkbenches "listWorkbenches" Some(Workbench), "See a workbench in lists.";
    CreateWorkbench "createWorkbench" Some(Workspace), "Create a workbench in a workspace.";
    UpdateWorkbench "updateWorkbench" Some(Workbench), "Change a workbench.";
    GetWorkbench "getWorkbench" Some(Workbench), "Read a workbench.";
    StreamWorkbench "streamWorkbench" Some(Workbench), "Open the desktop of a workbench.";
    DeleteWorkbench "deleteWorkbench" Some(Workbench), "Delete a workbench.";
    AuditWorkbench "auditWorkbench" Some(Workbench), "Read the audit records of a workbench.";
    ManageUsersInWorkbench "manageUsersInWorkbench" Some(Workbench), "Add members to a workbench and remove them.";
    ListWorkspaces "listWorkspaces" Some(Workspace), "See a workspace in lists.";
    ListPublicWorkspaces "listPublicWorkspaces" None, "Read the catalogue of public workspaces.";
    CreateWorkspace "createWorkspace" None, "Create workspaces.";
    UpdateWorkspace "updateWorkspace" Some(Workspace), "Change a workspace and its stored entries.";
    GetWorkspace "getWorkspace" Some(Workspace), "Read a workspace.";
    DeleteWorkspace "deleteWorkspace" Some(Workspace), "Delete a workspace.";
    ManageUsersInWorkspace "manageUsersInWorkspace" Some(Workspace), "Add members to a workspace and remove them.";
    ManageUsersDataRoleInWorkspace "manageUsersDataRoleInWorkspace" Some(Workspace),
        "Appoint the data managers of a workspace.";
    ListFilesInWorkspace "listFilesInWorkspace" Some(Workspace), "List the file stores and files of a workspace.";
    UploadFilesToWorkspace "uploadFilesToWorkspace" Some(Workspace), "Bring files into a workspace.";
    DownloadFilesFromWorkspace "downloadFilesFromWorkspace" Some(Workspace), "Take files out of a workspace.";
    ModifyFilesInWorkspace "modifyFilesInWorkspace" Some(Workspace), "Move, rename and delete files of a workspace.";
    AuditWorkspace "auditWorkspace" Some(Workspace), "Read the audit records of a workspace.";
    ListWorkspaceServiceInstances "listWorkspaceServiceInstances" Some(Workspace),
        "See the services of a workspace in lists.";
    CreateWorkspaceServiceInstance "createWorkspaceServiceInstance" Some(Workspace), "Add a service to a workspace.";
    UpdateWorkspaceServiceInstance "updateWorkspaceServiceInstance" Some(Workspace), "Change a service of a workspace.";
    GetWorkspaceServiceInstance "getWorkspaceServiceInstance" Some(Workspace), "Read a service of a workspace.";
    GetWorkspaceServiceInstanceSecret "getWorkspaceServiceInstanceSecret" Some(Workspace),
        "Read the credentials of a service of a workspace.";
    DeleteWorkspaceServiceInstance "deleteWorkspaceServiceInstance" Some(Workspace),
        "Remove a service from a workspace.";
    ListApps "listApps" None, "List the app catalogue.";
    CreateApp "createApp" None, "Add apps to the catalogue.";
    UpdateApp "updateApp" None, "Change an app of the catalogue.";
    GetApp "getApp" None, "Read an app of the catalogue.";
    DeleteApp "deleteApp" None, "Remove an app from the catalogue.";
    ListRequests "listRequests" Some(Workspace), "List the approval requests of a workspace.";
    ListMyRequests "listMyRequests" None, "List the own approval requests.";
    GetRequest "getRequest" Some(Workspace), "Read an approval request of a workspace.";
    CreateRequest "createRequest" Some(Workspace), "Ask for files to leave a workspace.";
    ApproveRequest "approveRequest" Some(Workspace), "Decide approval requests of a workspace.";
    DeleteRequest "deleteRequest" Some(Workspace), "Delete an approval request of a workspace.";
    CreateTermsOfUseVersion "createTermsOfUseVersion" None, "Draft a version of the terms of use.";
    UpdateTermsOfUseVersion "updateTermsOfUseVersion" None, "Edit a draft of the terms of use.";
    PublishTermsOfUseVersion "publishTermsOfUseVersion" None, "Publish a version of the terms of use.";
    GetTermsOfUseVersion "getTermsOfUseVersion" None, "Read any version of the terms of use.";
    ListTermsOfUseVersions "listTermsOfUseVersions" None, "List the versions of the terms of use.";
    GetCurrentTermsOfUseVersion "getCurrentTermsOfUseVersion" None, "Read the terms of use in force.";
    ListTermsOfUseAcceptances "listTermsOfUseAcceptances" None, "List who accepted the terms of use.";
    GetMyTermsOfUseStatus "getMyTermsOfUseStatus" Some(User), "See whether the own acceptance is up to date.";
    AcceptTermsOfUse "acceptTermsOfUse" Some(User), "Accept the terms of use for oneself.";
    ListOrganizations "listOrganizations" None, "List organizations.";
    GetOrganization "getOrganization" None, "Read an organization and its logo.";
    CreateOrganization "createOrganization" None, "Create organizations.";
    UpdateOrganization "updateOrganization" None, "Change an organization.";
    DeleteOrganization "deleteOrganization" None, "Delete an organization.";
}

impl Permission {
    const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The name on the wire, in stored roles and in messages.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The name of the variant, for generated code.
    pub const fn variant_name(self) -> &'static str {
        self.row().variant
    }

    /// What it allows, as a sentence for people.
    pub const fn description(self) -> &'static str {
        self.row().description
    }

    /// The dimension a check of it must bind, if any.
    pub const fn requires(self) -> Option<Dimension> {
        self.row().requires
    }

    /// Whether everybody with an account has it for the own account.
    pub fn is_self_service(self) -> bool {
        self.requires() == Some(User) && role(AUTHENTICATED).is_some_and(|role| role.adds.contains(&self))
    }

    /// The permission of this wire name.
    pub fn parse(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.permission)
    }
}

/// How far a role reaches, which decides who may grant it and where it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everything.
    System,
    /// The tenant, without its workspaces' content.
    Platform,
    /// One workspace, or all of them.
    Workspace,
    /// One workbench.
    Workbench,
}

impl Scope {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Platform => "platform",
            Self::Workspace => "workspace",
            Self::Workbench => "workbench",
        }
    }

    /// The scope of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::System, Self::Platform, Self::Workspace, Self::Workbench]
            .into_iter()
            .find(|scope| scope.as_str() == name)
    }
}

/// What an assignment of a role must bind a dimension to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quantifier {
    /// One id.
    One,
    /// All of them.
    Any,
}

/// The definition of a built-in role.
#[derive(Debug, Clone, Copy)]
pub struct RoleDef {
    /// The name, on the wire and in assignments.
    pub name: &'static str,
    /// What it is for, as a sentence for people.
    pub description: &'static str,
    /// How far it reaches.
    pub scope: Scope,
    /// The dimensions its assignments bind: exactly these.
    pub binds: &'static [(Dimension, Quantifier)],
    /// The roles whose permissions it has as well.
    pub inherits: &'static [&'static str],
    /// The permissions it adds.
    pub adds: &'static [Permission],
}

/// A permission in a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The permission.
    pub permission: Permission,
    /// Whether it is self-service, that is, bound to the holder's own id whatever the role binds.
    pub own_only: bool,
}

/// The role of somebody who is not signed in.
pub const PUBLIC: &str = "Public";
/// The role of every account.
pub const AUTHENTICATED: &str = "Authenticated";
/// The role that may do everything.
pub const SUPER_ADMIN: &str = "SuperAdmin";
/// The role that manages accounts and their roles.
pub const PLATFORM_USER_MANAGER: &str = "PlatformUserManager";
/// The role that runs a workspace.
pub const WORKSPACE_ADMIN: &str = "WorkspaceAdmin";
/// The role that answers for the data of a workspace.
pub const WORKSPACE_DATA_MANAGER: &str = "WorkspaceDataManager";
/// The role that runs a workbench.
pub const WORKBENCH_ADMIN: &str = "WorkbenchAdmin";

const ONE_USER: &[(Dimension, Quantifier)] = &[(User, Quantifier::One)];
const ANY_USER: &[(Dimension, Quantifier)] = &[(User, Quantifier::Any)];
const ONE_WORKSPACE: &[(Dimension, Quantifier)] = &[(Workspace, Quantifier::One)];
const ANY_WORKSPACE: &[(Dimension, Quantifier)] = &[(Workspace, Quantifier::Any)];
const ONE_WORKBENCH: &[(Dimension, Quantifier)] = &[(Workbench, Quantifier::One)];
const ANYTHING: &[(Dimension, Quantifier)] =
    &[(Workspace, Quantifier::Any), (Workbench, Quantifier::Any), (User, Quantifier::Any)];

/// The built-in roles. A role stands after those it inherits.
pub const ROLES: &[RoleDef] = &[
    RoleDef {
        name: PUBLIC,
        description: "Visitors before they sign in.",
        scope: Scope::Platform,
        binds: &[],
        inherits: &[],
        adds: &[
            P::Authenticate,
            P::GetListOfPossibleWayToAuthenticate,
            P::AuthenticateUsingAuth20,
            P::AuthenticateRedirectUsingAuth20,
            P::GetPlatformSettings,
        ],
    },
    RoleDef {
        name: AUTHENTICATED,
        description: "Every account: the own session, profile and notifications.",
        scope: Scope::Platform,
        binds: ONE_USER,
        inherits: &[PUBLIC],
        adds: &[
            P::ListNotifications,
            P::CountUnreadNotifications,
            P::MarkNotificationAsRead,
            P::Logout,
            P::RefreshToken,
            P::UpdateUser,
            P::GetMyOwnUser,
            P::UpdatePassword,
            P::EnableTotp,
            P::ResetTotp,
            P::ResetPassword,
            P::ListWorkspaces,
            P::ListPublicWorkspaces,
            P::ListWorkbenches,
            P::ListApps,
            P::ListAppInstances,
            P::ListMyRequests,
            P::AuditUser,
            P::GetCurrentTermsOfUseVersion,
            P::GetMyTermsOfUseStatus,
            P::AcceptTermsOfUse,
            P::ListOrganizations,
            P::GetOrganization,
        ],
    },
    RoleDef {
        name: "WorkspaceGuest",
        description: "Sees a workspace and files requests.",
        scope: Scope::Workspace,
        binds: ONE_WORKSPACE,
        inherits: &[AUTHENTICATED],
        adds: &[P::GetWorkspace, P::ListUsers, P::CreateRequest, P::ListWorkspaceServiceInstances],
    },
    RoleDef {
        name: "WorkspaceMember",
        description: "Works in a workspace: desktops, the list of its files, the credentials of its services.",
        scope: Scope::Workspace,
        binds: ONE_WORKSPACE,
        inherits: &["WorkspaceGuest"],
        adds: &[
            P::CreateWorkbench,
            P::ListFilesInWorkspace,
            P::GetWorkspaceServiceInstance,
            P::GetWorkspaceServiceInstanceSecret,
        ],
    },
    RoleDef {
        name: "WorkspaceMaintainer",
        description: "A member who also changes the workspace and its files.",
        scope: Scope::Workspace,
        binds: ONE_WORKSPACE,
        inherits: &["WorkspaceMember"],
        adds: &[P::UpdateWorkspace, P::UploadFilesToWorkspace, P::ModifyFilesInWorkspace, P::SearchUsers],
    },
    RoleDef {
        name: WORKSPACE_DATA_MANAGER,
        description: "A member who brings data in and lets data out.",
        scope: Scope::Workspace,
        binds: ONE_WORKSPACE,
        inherits: &["WorkspaceMember"],
        adds: &[
            P::UploadFilesToWorkspace,
            P::ModifyFilesInWorkspace,
            P::DownloadFilesFromWorkspace,
            P::ManageUsersDataRoleInWorkspace,
            P::ListRequests,
        ],
    },
    RoleDef {
        name: WORKSPACE_ADMIN,
        description: "Runs a workspace: its members, requests and services.",
        scope: Scope::Workspace,
        binds: ONE_WORKSPACE,
        inherits: &["WorkspaceMaintainer"],
        adds: &[
            P::UpdateWorkbench,
            P::GetWorkbench,
            P::StreamWorkbench,
            P::DeleteWorkbench,
            P::AuditWorkbench,
            P::ManageUsersInWorkbench,
            P::DeleteWorkspace,
            P::AuditWorkspace,
            P::ManageUsersInWorkspace,
            P::ListRequests,
            P::GetRequest,
            P::ApproveRequest,
            P::DeleteRequest,
            P::CreateWorkspaceServiceInstance,
            P::UpdateWorkspaceServiceInstance,
            P::DeleteWorkspaceServiceInstance,
        ],
    },
    RoleDef {
        name: "WorkbenchViewer",
        description: "Watches a workbench.",
        scope: Scope::Workbench,
        binds: ONE_WORKBENCH,
        inherits: &[AUTHENTICATED],
        adds: &[P::GetWorkbench, P::StreamWorkbench, P::ListUsers],
    },
    RoleDef {
        name: "WorkbenchMember",
        description: "Works in a workbench: starts and stops its apps.",
        scope: Scope::Workbench,
        binds: ONE_WORKBENCH,
        inherits: &["WorkbenchViewer"],
        adds: &[
            P::CreateAppInstance,
            P::UpdateAppInstance,
            P::GetAppInstance,
            P::DeleteAppInstance,
            P::UpdateWorkbench,
        ],
    },
    RoleDef {
        name: WORKBENCH_ADMIN,
        description: "Runs a workbench: shares it, reads its audit records, deletes it.",
        scope: Scope::Workbench,
        binds: ONE_WORKBENCH,
        inherits: &["WorkbenchMember"],
        adds: &[P::DeleteWorkbench, P::ManageUsersInWorkbench, P::SearchUsers, P::AuditWorkbench],
    },
    RoleDef {
        name: "Healthchecker",
        description: "Monitoring.",
        scope: Scope::Platform,
        binds: ANY_USER,
        inherits: &[],
        adds: &[P::GetHealthCheck],
    },
    RoleDef {
        name: "PlatformSettingsManager",
        description: "Changes the platform's settings and its terms of use.",
        scope: Scope::Platform,
        binds: ANY_USER,
        inherits: &[AUTHENTICATED],
        adds: &[
            P::SetPlatformSettings,
            P::ListTermsOfUseVersions,
            P::GetTermsOfUseVersion,
            P::CreateTermsOfUseVersion,
            P::UpdateTermsOfUseVersion,
            P::PublishTermsOfUseVersion,
        ],
    },
    RoleDef {
        name: PLATFORM_USER_MANAGER,
        description: "Manages accounts and their roles.",
        scope: Scope::Platform,
        binds: ANY_USER,
        inherits: &[AUTHENTICATED],
        adds: &[
            P::ListUsers,
            P::CreateUser,
            P::UpdateUser,
            P::ResetPassword,
            P::ManageUserRoles,
            P::ManageDynamicRoles,
            P::GetUser,
            P::DeleteUser,
            P::ListTermsOfUseAcceptances,
        ],
    },
    RoleDef {
        name: "PlatformOrganizationManager",
        description: "Manages organizations.",
        scope: Scope::Platform,
        binds: ANY_USER,
        inherits: &[AUTHENTICATED],
        adds: &[P::CreateOrganization, P::UpdateOrganization, P::DeleteOrganization],
    },
    RoleDef {
        name: "PlatformAuditor",
        description: "Reads the audit records of the tenant and of every user.",
        scope: Scope::Platform,
        binds: ANY_USER,
        inherits: &[AUTHENTICATED],
        adds: &[P::AuditPlatform, P::AuditUser],
    },
    RoleDef {
        name: "PlatformWorkspaceManager",
        description: "Creates workspaces, and changes or deletes any of them.",
        scope: Scope::Platform,
        binds: ANY_WORKSPACE,
        inherits: &[AUTHENTICATED],
        adds: &[P::CreateWorkspace, P::GetWorkspace, P::UpdateWorkspace, P::DeleteWorkspace],
    },
    RoleDef {
        name: "AppStoreAdmin",
        description: "Manages the app catalogue.",
        scope: Scope::Platform,
        binds: ANY_USER,
        inherits: &[AUTHENTICATED],
        adds: &[P::CreateApp, P::UpdateApp, P::GetApp, P::DeleteApp],
    },
    RoleDef {
        name: "PlatformDataManager",
        description: "Brings data into every workspace and lets data out.",
        scope: Scope::Platform,
        binds: ANY_WORKSPACE,
        inherits: &[AUTHENTICATED],
        adds: &[
            P::GetWorkspace,
            P::ListFilesInWorkspace,
            P::UploadFilesToWorkspace,
            P::ModifyFilesInWorkspace,
            P::DownloadFilesFromWorkspace,
        ],
    },
    RoleDef {
        name: SUPER_ADMIN,
        description: "May do everything.",
        scope: Scope::System,
        binds: ANYTHING,
        inherits: &[
            AUTHENTICATED,
            "PlatformSettingsManager",
            PLATFORM_USER_MANAGER,
            "PlatformOrganizationManager",
            "PlatformAuditor",
            "PlatformWorkspaceManager",
            "AppStoreAdmin",
            "PlatformDataManager",
            WORKSPACE_ADMIN,
            WORKSPACE_DATA_MANAGER,
            WORKBENCH_ADMIN,
            "Healthchecker",
        ],
        adds: &[P::InitializeTenant],
    },
];

/// The built-in role of this name.
pub fn role(name: &str) -> Option<&'static RoleDef> {
    ROLES.iter().find(|role| role.name == name)
}

impl RoleDef {
    /// Every permission of the role with those inherited, each once: the inherited ones first, in the order of the
    /// definition. `admin_appoints_data_manager` is the setting `workspace_admin_can_assign_data_manager`.
    pub fn holdings(&self, admin_appoints_data_manager: bool) -> Vec<Holding> {
        let mut all: Vec<Holding> = Vec::new();
        let mut add = |holding: Holding| match all.iter_mut().find(|known| known.permission == holding.permission) {
            Some(known) => known.own_only &= holding.own_only,
            None => all.push(holding),
        };
        for parent in self.inherits.iter().filter_map(|name| role(name)) {
            parent.holdings(admin_appoints_data_manager).into_iter().for_each(&mut add);
        }
        for &permission in self.adds {
            let own_only = self.name == AUTHENTICATED && permission.is_self_service();
            add(Holding { permission, own_only });
        }
        if self.name == WORKSPACE_ADMIN && admin_appoints_data_manager {
            add(Holding { permission: P::ManageUsersDataRoleInWorkspace, own_only: false });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// The compatibility contract: names, dimensions and role contents.
    fn matrix() -> serde_json::Value {
        serde_json::from_str(include_str!("../../../tests/it/data/authz-matrix.json")).unwrap()
    }

    #[test]
    fn table_is_in_the_order_of_the_variants() {
        assert_eq!(Permission::ALL.len(), 85);
        for (index, &permission) in Permission::ALL.iter().enumerate() {
            assert_eq!(permission as usize, index);
            assert_eq!(permission.row().permission, permission);
            assert_eq!(Permission::parse(permission.name()), Some(permission));
            assert_eq!(permission.variant_name(), format!("{permission:?}"));
        }
        assert_eq!(Permission::parse("GetWorkspace"), None);
        assert_eq!(Permission::GetWorkspace.variant_name(), "GetWorkspace");
        assert_eq!(Permission::AuthenticateUsingAuth20.name(), "authenticateUsingAuth2.0");
    }

    #[test]
    fn permissions_are_those_of_the_contract() {
        let matrix = matrix();
        let contract: Vec<(&str, Vec<&str>)> = matrix["permissions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| {
                let requires = p["requires"].as_array().unwrap().iter().map(|d| d.as_str().unwrap()).collect();
                (p["name"].as_str().unwrap(), requires)
            })
            .collect();
        let ours: Vec<_> = Permission::ALL
            .iter()
            .map(|p| (p.name(), p.requires().map(Dimension::as_str).into_iter().collect()))
            .collect();
        assert_eq!(ours, contract);
    }

    #[test]
    fn roles_are_those_of_the_contract() {
        let matrix = matrix();
        let contract = matrix["roles"].as_array().unwrap();
        assert_eq!(contract.len(), ROLES.len());
        for (theirs, ours) in contract.iter().zip(ROLES) {
            assert_eq!(theirs["name"], ours.name);
            assert_eq!(theirs["scope"], ours.scope.as_str());
            let binds: BTreeMap<_, _> =
                ours.binds.iter().map(|(d, q)| (d.as_str(), if *q == Quantifier::Any { "*" } else { "x" })).collect();
            assert_eq!(theirs["context"], serde_json::to_value(binds).unwrap(), "{}", ours.name);
            let theirs: BTreeSet<_> =
                theirs["permissions"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
            let flat: Vec<_> = ours.holdings(false).iter().map(|h| h.permission.name()).collect();
            assert_eq!(flat.len(), flat.iter().collect::<BTreeSet<_>>().len(), "{} repeats itself", ours.name);
            assert_eq!(flat.into_iter().collect::<BTreeSet<_>>(), theirs, "{}", ours.name);
        }
    }

    /// The one intended difference from the contract: user-scoped permissions that come from `Authenticated` do not
    /// become wildcards in the roles that bind `user=*`.
    #[test]
    fn self_service_stays_with_the_own_id() {
        let self_service = [
            P::ListNotifications,
            P::CountUnreadNotifications,
            P::MarkNotificationAsRead,
            P::UpdateUser,
            P::GetMyOwnUser,
            P::UpdatePassword,
            P::EnableTotp,
            P::ResetTotp,
            P::ResetPassword,
            P::AuditUser,
            P::GetMyTermsOfUseStatus,
            P::AcceptTermsOfUse,
        ];
        let administers: BTreeMap<&str, &[P]> = BTreeMap::from([
            (PLATFORM_USER_MANAGER, &[P::UpdateUser, P::ResetPassword][..]),
            ("PlatformAuditor", &[P::AuditUser][..]),
            (SUPER_ADMIN, &[P::UpdateUser, P::ResetPassword, P::AuditUser][..]),
        ]);
        assert!(Permission::ALL.iter().all(|p| p.is_self_service() == self_service.contains(p)));
        for role in ROLES {
            let granted = administers.get(role.name).copied().unwrap_or_default();
            for holding in role.holdings(true) {
                let expected = self_service.contains(&holding.permission) && !granted.contains(&holding.permission);
                assert_eq!(holding.own_only, expected, "{} {}", role.name, holding.permission.name());
            }
        }
    }

    #[test]
    fn a_workspace_admin_appoints_data_managers_by_setting() {
        for setting in [false, true] {
            let admin = role(WORKSPACE_ADMIN).unwrap().holdings(setting);
            let appoints = admin.iter().any(|h| h.permission == P::ManageUsersDataRoleInWorkspace);
            assert_eq!(appoints, setting);
        }
    }

    #[test]
    fn names_read_back() {
        assert!(Dimension::ALL.into_iter().all(|d| Dimension::parse(d.as_str()) == Some(d)));
        assert!(ROLES.iter().all(|r| Scope::parse(r.scope.as_str()) == Some(r.scope)));
        assert_eq!(Dimension::parse(""), None);
        assert_eq!(Scope::parse("request"), None);
    }

    #[test]
    fn a_role_stands_after_those_it_inherits() {
        for (index, role) in ROLES.iter().enumerate() {
            for parent in role.inherits {
                assert!(ROLES[..index].iter().any(|r| r.name == *parent), "{} inherits {parent}", role.name);
            }
        }
    }
}
