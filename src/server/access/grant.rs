//! Who may grant which role to whom, and who may take it back.
//!
//! These rules come on top of the permission of the RPC (`manageUserRoles`, `manageUsersInWorkspace` …), which says
//! that the caller manages roles there at all. What always holds:
//!
//! - an assignment binds exactly the dimensions that its role asks for;
//! - whatever reaches all workspaces or all workbenches, and the role that may do everything, comes from a SuperAdmin;
//! - nobody but a SuperAdmin makes anybody more powerful than himself, except a PlatformUserManager, who does so for
//!   others only;
//! - an API token grants and revokes nothing that its owner could not, no role beyond its own scopes (unless it is meant
//!   to manage everybody's), and nothing that takes a SuperAdmin.
//!
//! That the bound things exist in the tenant, and that one SuperAdmin stays, is checked where the rows are.

use super::{
    catalogue::{Dimension, Permission, Quantifier, SUPER_ADMIN, Scope, WORKSPACE_DATA_MANAGER},
    context::{Bound, Context},
    decide::{Assignment, Role, Target, label},
    rights::Rights,
    scope::Scopes,
};
use crate::server::error::Error;

/// Why a role may not be granted or revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such role.
    UnknownRole(String),
    /// The context does not fit the role.
    Context {
        /// The dimension that is wrong.
        dimension: Dimension,
        /// What the role asks of it.
        rule: ContextRule,
    },
    /// The role belongs to another workspace.
    Elsewhere,
    /// Only a SuperAdmin may.
    NeedsSuperAdmin,
    /// A PlatformUserManager does not manage his own roles.
    Oneself,
    /// The role would give what the caller does not have.
    Exceeds(Permission, Target),
}

/// What a role asks of a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextRule {
    /// It must not be bound.
    Absent,
    /// It must be bound.
    Required,
    /// It must be `*`.
    MustBeAny,
    /// It must be the id of the user who gets the role.
    MustBeGrantee,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownRole(name) => Self::field(
                "role.name",
                "known_role",
                format!("There is no role {name:?}. GET /api/rest/v1/authorization/roles lists the roles."),
            ),
            Refusal::Context { dimension, rule } => {
                let name = dimension.as_str();
                let (id, text) = match rule {
                    ContextRule::Absent => {
                        ("context_absent", format!("This role is not bound to a {name}: leave it out."))
                    }
                    ContextRule::Required => ("context_required", format!("This role must be bound to a {name}.")),
                    ContextRule::MustBeAny => {
                        ("context_any", format!("This role is bound to every {name}: use \"*\"."))
                    }
                    ContextRule::MustBeGrantee => (
                        "context_grantee",
                        "This role is bound to the user who gets it: use the user's own id.".to_owned(),
                    ),
                };
                Self::field(format!("role.context.{name}"), id, text)
            }
            Refusal::Elsewhere => Self::field(
                "role.name",
                "role_of_workspace",
                "This role belongs to another workspace, and is held there only.",
            ),
            Refusal::NeedsSuperAdmin => {
                Self::denied("ROLE_NEEDS_SUPER_ADMIN", "Only a SuperAdmin grants or revokes this role in this context.")
            }
            Refusal::Oneself => Self::denied(
                "ROLE_OF_ONESELF",
                "You manage the roles of others. Ask another administrator to change yours.",
            ),
            Refusal::Exceeds(permission, target) => Self::denied(
                "ROLE_EXCEEDS_OWN",
                format!("This role includes {}, which you do not have yourself.", label(permission, target)),
            ),
        }
    }
}

/// Somebody who grants or revokes.
#[derive(Debug, Clone, Copy)]
pub struct Granter<'a> {
    /// What the caller's account may do.
    pub rights: &'a Rights,
    /// What the caller's API token is for; nothing for a session.
    pub scopes: Option<&'a Scopes>,
}

impl Granter<'_> {
    /// Whether the caller may give this role in this context to the grantee.
    pub fn may_grant(&self, grantee: i64, role: &Role, context: &Context) -> Result<(), Refusal> {
        check_context(role, context, grantee)?;
        if let Some(owner) = self.owner() {
            owner.may_grant(grantee, role, context)?;
        }
        if self.is_super_admin() {
            return Ok(());
        }
        if reaches_everything(role, context) {
            return Err(Refusal::NeedsSuperAdmin);
        }
        if self.manages_all_users() {
            return if grantee == self.rights.user() { Err(Refusal::Oneself) } else { Ok(()) };
        }
        if self.appoints_data_manager(role, context) {
            return Ok(());
        }
        self.holds_all_of(role, context)
    }

    /// Whether the caller, who manages roles there, may take this assignment from its holder. A role that is not built in
    /// reaches one workspace at most, or grants nothing any more.
    pub fn may_revoke(&self, holder: i64, assignment: &Assignment) -> Result<(), Refusal> {
        if let Some(owner) = self.owner() {
            owner.may_revoke(holder, assignment)?;
        }
        if self.is_super_admin() {
            return Ok(());
        }
        let role = self.rights.roles().get(&assignment.role);
        if role.is_some_and(|role| reaches_everything(role, &assignment.context)) {
            return Err(Refusal::NeedsSuperAdmin);
        }
        if self.manages_all_users() && holder == self.rights.user() {
            return Err(Refusal::Oneself);
        }
        Ok(())
    }

    /// Whether the caller holds the role that may do everything, for everything. Through an API token nobody does.
    pub fn is_super_admin(&self) -> bool {
        self.scopes.is_none() && self.rights.assignments().iter().any(is_super_admin)
    }

    /// The owner of the API token, as if signed in.
    fn owner(&self) -> Option<Self> {
        self.scopes.map(|_| Self { scopes: None, ..*self })
    }

    fn holds(&self, permission: Permission, target: Target) -> bool {
        self.scopes.is_none_or(|scopes| scopes.allow(permission, target)) && self.rights.may(permission, target)
    }

    /// A PlatformUserManager, by permission.
    fn manages_all_users(&self) -> bool {
        self.holds(Permission::ManageUserRoles, None)
    }

    /// A WorkspaceAdmin appoints the data manager without being one, if the setting says so: then the role holds this
    /// permission.
    fn appoints_data_manager(&self, role: &Role, context: &Context) -> bool {
        match context.get(Dimension::Workspace) {
            Some(Bound::Id(id)) if &**role.name() == WORKSPACE_DATA_MANAGER => {
                self.holds(Permission::ManageUsersDataRoleInWorkspace, Some((Dimension::Workspace, id)))
            }
            _ => false,
        }
    }

    /// Whether the caller has everything that the role gives in this context.
    pub fn holds_all_of(&self, role: &Role, context: &Context) -> Result<(), Refusal> {
        for permission in role.effective(context).iter() {
            let target = permission.requires().and_then(|dimension| match context.get(dimension) {
                Some(Bound::Id(id)) => Some((dimension, id)),
                // without a target only somebody who may do it to all passes
                Some(Bound::Any) | None => None,
            });
            if !self.holds(permission, target) {
                return Err(Refusal::Exceeds(permission, target));
            }
        }
        Ok(())
    }
}

/// Whether this assignment makes its holder a SuperAdmin: the role, bound to everything.
pub fn is_super_admin(assignment: &Assignment) -> bool {
    &*assignment.role == SUPER_ADMIN
        && Dimension::ALL.into_iter().all(|dimension| assignment.context.get(dimension) == Some(Bound::Any))
}

/// Whether only a SuperAdmin hands this out.
fn reaches_everything(role: &Role, context: &Context) -> bool {
    let any = |dimension| context.get(dimension) == Some(Bound::Any);
    role.scope() == Scope::System || any(Dimension::Workspace) || any(Dimension::Workbench)
}

/// Whether the context binds exactly what the role asks for. A built-in role of one workspace or workbench may also be
/// bound to all of them, one that belongs to a workspace to that only; a role of one user is the grantee's own.
pub fn check_context(role: &Role, context: &Context, grantee: i64) -> Result<(), Refusal> {
    for dimension in Dimension::ALL {
        let asked = role.binds().iter().find(|(bound, _)| *bound == dimension).map(|(_, quantifier)| *quantifier);
        let rule = match (asked, context.get(dimension)) {
            (None, None) | (Some(Quantifier::Any), Some(Bound::Any)) => continue,
            (None, Some(_)) => ContextRule::Absent,
            (Some(_), None) => ContextRule::Required,
            (Some(Quantifier::Any), Some(Bound::Id(_))) => ContextRule::MustBeAny,
            (Some(Quantifier::One), Some(Bound::Id(id))) if dimension == Dimension::User && id == grantee => continue,
            (Some(Quantifier::One), Some(_)) if dimension == Dimension::User => ContextRule::MustBeGrantee,
            (Some(Quantifier::One), Some(_)) => continue,
        };
        return Err(Refusal::Context { dimension, rule });
    }
    if role.fits(context) { Ok(()) } else { Err(Refusal::Elsewhere) }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, LazyLock};

    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::server::access::{
        catalogue::ROLES,
        decide::{Roles, decide},
        scope::Scope,
    };

    const CALLER: i64 = 1;
    const OTHER: i64 = 2;

    fn all(dimension: Dimension) -> Context {
        Context::NONE.with(dimension, Bound::Any)
    }

    fn everything() -> Context {
        Dimension::ALL.into_iter().fold(Context::NONE, |c, d| c.with(d, Bound::Any))
    }

    fn held(role: &str, context: Context) -> Assignment {
        Assignment { id: 1, role: role.into(), context }
    }

    fn roles() -> Arc<Roles> {
        static ROLES: LazyLock<Arc<Roles>> = LazyLock::new(|| Arc::new(Roles::built_in(true)));
        ROLES.clone()
    }

    /// What the caller may do who holds these.
    fn rights(holds: &[Assignment]) -> Rights {
        Rights::new(CALLER, holds.to_vec(), roles())
    }

    fn grant(setting: bool, holds: &[Assignment], grantee: i64, role: &str, context: Context) -> Result<(), Refusal> {
        let roles = if setting { roles() } else { Arc::new(Roles::built_in(false)) };
        let rights = Rights::new(CALLER, holds.to_vec(), roles.clone());
        Granter { rights: &rights, scopes: None }.may_grant(grantee, roles.get(role).unwrap(), &context)
    }

    /// Who holds what, and what he may give to somebody else.
    #[test]
    fn granting_to_others() {
        let account = || held("Authenticated", Context::user(CALLER));
        let manager = [account(), held("PlatformUserManager", all(Dimension::User))];
        let super_admin = [account(), held("SuperAdmin", everything())];
        let admin = [account(), held("WorkspaceAdmin", Context::workspace(5))];
        let data = [account(), held("WorkspaceDataManager", Context::workspace(5))];
        let member = [account(), held("WorkspaceMember", Context::workspace(5))];
        let bench = [account(), held("WorkbenchAdmin", Context::workbench(7))];
        let (w5, w6, b7, b8) =
            (Context::workspace(5), Context::workspace(6), Context::workbench(7), Context::workbench(8));
        let (any_user, any_workspace) = (all(Dimension::User), all(Dimension::Workspace));
        let rows: &[(&str, &[Assignment], &str, Context, bool)] = &[
            ("a SuperAdmin makes another", &super_admin, "SuperAdmin", everything(), true),
            ("a SuperAdmin gives wildcards", &super_admin, "WorkspaceAdmin", any_workspace, true),
            ("a manager gives platform roles", &manager, "PlatformAuditor", any_user, true),
            ("a manager makes managers", &manager, "PlatformUserManager", any_user, true),
            ("a manager gives roles in one workspace", &manager, "WorkspaceAdmin", w5, true),
            ("a manager gives roles in one workbench", &manager, "WorkbenchAdmin", b7, true),
            ("a manager gives accounts their role", &manager, "Authenticated", Context::user(OTHER), true),
            ("a manager gives no wildcard", &manager, "WorkspaceAdmin", any_workspace, false),
            ("a manager gives no wildcard role", &manager, "PlatformWorkspaceManager", any_workspace, false),
            ("a manager makes no SuperAdmin", &manager, "SuperAdmin", everything(), false),
            ("an admin adds members", &admin, "WorkspaceMember", w5, true),
            ("an admin adds guests", &admin, "WorkspaceGuest", w5, true),
            ("an admin adds admins", &admin, "WorkspaceAdmin", w5, true),
            ("an admin appoints the data manager", &admin, "WorkspaceDataManager", w5, true),
            ("an admin stays in the own workspace", &admin, "WorkspaceMember", w6, false),
            ("an admin stays in the own workspace", &admin, "WorkspaceDataManager", w6, false),
            ("an admin gives no workbench", &admin, "WorkbenchViewer", b7, false),
            ("an admin gives no wildcard", &admin, "WorkspaceMember", any_workspace, false),
            ("an admin gives no platform role", &admin, "PlatformAuditor", any_user, false),
            ("a data manager appoints another", &data, "WorkspaceDataManager", w5, true),
            ("a data manager makes no admin", &data, "WorkspaceAdmin", w5, false),
            ("a member makes no maintainer", &member, "WorkspaceMaintainer", w5, false),
            ("an admin shares the own workbench", &bench, "WorkbenchMember", b7, true),
            ("an admin shares the own workbench", &bench, "WorkbenchAdmin", b7, true),
            ("an admin shares no other workbench", &bench, "WorkbenchViewer", b8, false),
        ];
        for (what, holds, role, context, expected) in rows {
            assert_eq!(grant(true, holds, OTHER, role, *context).is_ok(), *expected, "{what}: {role}");
        }
        assert_eq!(
            grant(false, &admin, OTHER, "WorkspaceDataManager", w5),
            Err(Refusal::Exceeds(Permission::ManageUsersDataRoleInWorkspace, Some((Dimension::Workspace, 5)))),
            "without the setting an admin appoints no data manager"
        );
    }

    type Row<'a> = (&'a str, &'a [Assignment], Scopes, i64, &'a str, Context, bool);

    /// Who holds what, what the API token is for, and to whom which role may be given through it.
    #[test]
    fn granting_through_a_token() {
        let account = || held("Authenticated", Context::user(CALLER));
        let manager = [account(), held("PlatformUserManager", all(Dimension::User))];
        let super_admin = [account(), held("SuperAdmin", everything())];
        let admin = [account(), held("WorkspaceAdmin", Context::workspace(5))];
        let (w5, w6) = (Context::workspace(5), Context::workspace(6));
        let roles = roles();
        let guest = roles.get("WorkspaceGuest").unwrap().effective(&w5);
        let guest: Vec<_> = guest.iter().map(|p| Scope::new(p, &context_of(p, 5)).unwrap()).collect();
        let manage = |ids: &str| Scope::parse(&format!("manageUserRoles@user={ids}")).unwrap();
        let members = Scope::parse("manageUsersInWorkspace@workspace=5").unwrap();
        let appoints = Scope::parse("manageUsersDataRoleInWorkspace@workspace=5").unwrap();
        let with = |more: Scope| guest.iter().copied().chain([more]).collect::<Scopes>();
        let only = |scope: Scope| [scope].into_iter().collect::<Scopes>();
        let rows: &[Row<'_>] = &[
            ("what the scopes hold", &admin, with(members), OTHER, "WorkspaceGuest", w5, true),
            ("more than the scopes hold", &admin, with(members), OTHER, "WorkspaceMaintainer", w5, false),
            ("elsewhere", &admin, with(members), OTHER, "WorkspaceGuest", w6, false),
            ("members without their rights", &admin, only(members), OTHER, "WorkspaceGuest", w5, false),
            ("the data manager, where it is said", &admin, only(appoints), OTHER, "WorkspaceDataManager", w5, true),
            ("the data manager, where it is not", &admin, with(members), OTHER, "WorkspaceDataManager", w5, false),
            ("for everybody", &manager, only(manage("*")), OTHER, "WorkspaceAdmin", w5, true),
            ("for everybody but oneself", &manager, only(manage("*")), CALLER, "WorkspaceAdmin", w5, false),
            (
                "for oneself by a narrower token",
                &manager,
                only(manage("1")),
                CALLER,
                "Authenticated",
                Context::user(CALLER),
                false,
            ),
            ("for one user", &manager, only(manage("2")), OTHER, "WorkspaceAdmin", w5, false),
            ("for one user, by who may all", &super_admin, with(manage("2")), OTHER, "WorkspaceGuest", w5, true),
            (
                "like a manager, by who may all",
                &super_admin,
                only(manage("*")),
                OTHER,
                "PlatformAuditor",
                all(Dimension::User),
                true,
            ),
            (
                "never a wildcard",
                &super_admin,
                only(manage("*")),
                OTHER,
                "WorkspaceAdmin",
                all(Dimension::Workspace),
                false,
            ),
            ("never another SuperAdmin", &super_admin, only(manage("*")), OTHER, "SuperAdmin", everything(), false),
            ("nothing without scopes", &super_admin, Scopes::default(), OTHER, "WorkspaceGuest", w5, false),
            ("nothing that the owner lost", &[account()], with(members), OTHER, "WorkspaceGuest", w5, false),
        ];
        for (what, holds, scopes, grantee, role, context, expected) in rows {
            let granter = Granter { rights: &rights(holds), scopes: Some(scopes) };
            let granted = granter.may_grant(*grantee, roles.get(role).unwrap(), context);
            assert_eq!(granted.is_ok(), *expected, "{what}: {role}");
        }
        let scopes = only(manage("*"));
        let rights = rights(&super_admin);
        let granter = Granter { rights: &rights, scopes: Some(&scopes) };
        assert_eq!(granter.may_revoke(OTHER, &held("SuperAdmin", everything())), Err(Refusal::NeedsSuperAdmin));
        assert_eq!(granter.may_revoke(OTHER, &held("WorkspaceAdmin", w5)), Ok(()));
    }

    /// The context in which a permission is held in one workspace.
    fn context_of(permission: Permission, workspace: i64) -> Context {
        match permission.requires() {
            Some(_) => Context::workspace(workspace),
            None => Context::NONE,
        }
    }

    #[test]
    fn a_manager_leaves_the_own_roles_alone() {
        let holds = [held("PlatformUserManager", all(Dimension::User))];
        assert_eq!(grant(true, &holds, CALLER, "WorkspaceAdmin", Context::workspace(5)), Err(Refusal::Oneself));
        let own = rights(&holds);
        let granter = Granter { rights: &own, scopes: None };
        assert_eq!(granter.may_revoke(CALLER, &holds[0]), Err(Refusal::Oneself));
        assert_eq!(granter.may_revoke(OTHER, &holds[0]), Ok(()));
        assert_eq!(granter.may_revoke(OTHER, &held("NoSuchRole", Context::NONE)), Ok(()));
        assert_eq!(granter.may_revoke(OTHER, &held("SuperAdmin", everything())), Err(Refusal::NeedsSuperAdmin));
        let wild = held("WorkspaceMember", all(Dimension::Workspace));
        assert_eq!(granter.may_revoke(OTHER, &wild), Err(Refusal::NeedsSuperAdmin));
        let super_admin = [held("SuperAdmin", everything())];
        let own = rights(&super_admin);
        let granter = Granter { rights: &own, scopes: None };
        assert_eq!(granter.may_revoke(OTHER, &wild), Ok(()));
        assert_eq!(granter.may_revoke(CALLER, &super_admin[0]), Ok(()), "that one stays is checked at the rows");
    }

    #[test]
    fn contexts_must_fit_the_role() {
        use ContextRule::{Absent, MustBeAny, MustBeGrantee, Required};
        use Dimension::{User, Workbench, Workspace};
        let super_admin = [held("SuperAdmin", everything())];
        for (role, context, dimension, rule) in [
            ("WorkspaceMember", Context::NONE, Workspace, Required),
            ("WorkspaceMember", Context::workbench(5), Workspace, Required),
            ("WorkspaceMember", Context::workspace(5).with(User, Bound::Id(OTHER)), User, Absent),
            ("WorkbenchMember", Context::workbench(5).with(Workspace, Bound::Id(5)), Workspace, Absent),
            ("Public", Context::user(OTHER), User, Absent),
            ("PlatformAuditor", Context::user(OTHER), User, MustBeAny),
            ("PlatformDataManager", Context::workspace(5), Workspace, MustBeAny),
            ("Authenticated", all(User), User, MustBeGrantee),
            ("Authenticated", Context::user(CALLER), User, MustBeGrantee),
            ("SuperAdmin", all(User).with(Workspace, Bound::Any), Workbench, Required),
        ] {
            let refusal = grant(true, &super_admin, OTHER, role, context);
            assert_eq!(refusal, Err(Refusal::Context { dimension, rule }), "{role}");
        }
    }

    #[test]
    fn refusals_are_clear_errors() {
        use crate::server::error::Kind;
        let error = Error::from(Refusal::UnknownRole("Boss".into()));
        assert_eq!(error.kind(), Kind::Validation);
        assert!(error.message().contains("Boss"));
        let exceeds = Refusal::Exceeds(Permission::GetWorkspace, Some((Dimension::Workspace, 5)));
        let error = Error::from(exceeds);
        assert_eq!((error.kind(), error.reason()), (Kind::PermissionDenied, "ROLE_EXCEEDS_OWN"));
        assert!(error.message().contains("getWorkspace@workspace=5"));
    }

    #[test]
    fn a_partial_super_admin_is_none() {
        assert!(is_super_admin(&held("SuperAdmin", everything())));
        assert!(!is_super_admin(&held("SuperAdmin", all(Dimension::User))));
        assert!(!is_super_admin(&held("WorkspaceAdmin", everything())));
    }

    fn fitting() -> impl Strategy<Value = Assignment> {
        (select(ROLES), 1i64..4, any::<bool>()).prop_map(|(def, id, wild)| {
            let context = def.binds.iter().fold(Context::NONE, |context, (dimension, quantifier)| {
                let any = *quantifier == Quantifier::Any || (wild && *dimension != Dimension::User);
                context.with(*dimension, if any { Bound::Any } else { Bound::Id(id) })
            });
            held(def.name, context)
        })
    }

    proptest! {
        /// Nobody below the managers of users can give a right that he does not have, the data manager's apart.
        #[test]
        fn ordinary_grants_never_exceed(holds in vec(fitting(), 0..3), gives in fitting(), target in 1i64..4) {
            let rights = rights(&holds);
            let granter = Granter { rights: &rights, scopes: None };
            let role = rights.roles().get(&gives.role).unwrap();
            let ordinary = !granter.is_super_admin() && !granter.manages_all_users();
            if ordinary
                && &*gives.role != WORKSPACE_DATA_MANAGER
                && granter.may_grant(OTHER, role, &gives.context).is_ok()
            {
                for &permission in Permission::ALL {
                    let target = permission.requires().map(|dimension| (dimension, target));
                    let gained = role.effective(&gives.context).contains(permission)
                        && decide(rights.roles(), std::slice::from_ref(&gives), OTHER, permission, target);
                    prop_assert!(!gained || decide(rights.roles(), &holds, CALLER, permission, target), "{permission:?}");
                }
            }
        }

        /// Nobody gives or takes through an API token what he could not while signed in.
        #[test]
        fn a_token_never_exceeds_its_owner(
            holds in vec(fitting(), 0..3), gives in fitting(), names in vec(select(Permission::ALL), 0..12),
            id in 1i64..4, any in any::<bool>(), grantee in 1i64..3,
        ) {
            let rights = rights(&holds);
            let role = rights.roles().get(&gives.role).unwrap();
            let bound = if any { Bound::Any } else { Bound::Id(id) };
            let scope = |p: &Permission| {
                let context = p.requires().map_or(Context::NONE, |dimension| Context::NONE.with(dimension, bound));
                Scope::new(*p, &context).unwrap()
            };
            let scopes: Scopes = names.iter().map(scope).collect();
            let owner = Granter { rights: &rights, scopes: None };
            let token = Granter { scopes: Some(&scopes), ..owner };
            let grant = |by: Granter<'_>| by.may_grant(grantee, role, &gives.context).is_ok();
            let revoke = |by: Granter<'_>| by.may_revoke(grantee, &gives).is_ok();
            prop_assert!(!grant(token) || grant(owner));
            prop_assert!(!revoke(token) || revoke(owner));
            prop_assert!(!token.is_super_admin());
        }
    }
}
