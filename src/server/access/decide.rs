//! Decisions: may a caller with these role assignments do this to that?
//!
//! Pure functions over the caller's assignments and the [`Roles`] that these name; they run on every call, so each role
//! is a pair of bit sets. What always holds:
//!
//! - more assignments never take a right away;
//! - a permission with a dimension is held only where the assignment binds that dimension, and an unbound one never
//!   means "any";
//! - self-service permissions reach the caller's own id and nobody else's;
//! - an assignment of a role that is not known grants nothing, and neither does one of a workspace's own role elsewhere.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    catalogue::{self, Dimension, Permission, Quantifier, RoleDef, Scope},
    context::{Bound, Context},
};
use crate::server::error::Error;

/// What a permission is asked for: one thing, or nothing in particular. For a permission that needs a dimension,
/// nothing in particular means all things.
pub type Target = Option<(Dimension, i64)>;

/// A role that somebody holds in a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Its row.
    pub id: i64,
    /// The name of the role.
    pub role: Arc<str>,
    /// What it is bound to.
    pub context: Context,
}

/// A set of permissions, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PermissionSet(u128);

const _: () = assert!(Permission::ALL.len() <= 128, "a permission is a bit of a u128");

impl PermissionSet {
    /// The permissions that need this dimension, or those that need none.
    const fn requiring(dimension: Option<Dimension>) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < Permission::ALL.len() {
            let permission = Permission::ALL[index];
            let same = match (permission.requires(), dimension) {
                (None, None) => true,
                (Some(a), Some(b)) => a as u8 == b as u8,
                _ => false,
            };
            if same {
                bits |= 1 << permission as u32;
            }
            index += 1;
        }
        Self(bits)
    }

    /// Whether the permission is in the set.
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u32) != 0
    }

    /// The permissions in the set, in the order of the catalogue.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |&permission| self.contains(permission))
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |bits, permission| bits | 1 << permission as u32))
    }
}

const WITHOUT_DIMENSION: PermissionSet = PermissionSet::requiring(None);
const BY_DIMENSION: [PermissionSet; 3] = [
    PermissionSet::requiring(Some(Dimension::ALL[0])),
    PermissionSet::requiring(Some(Dimension::ALL[1])),
    PermissionSet::requiring(Some(Dimension::ALL[2])),
];

/// A role as the server runs it, built in or defined by an administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    name: Arc<str>,
    description: String,
    scope: Scope,
    /// The row of a role that an administrator defined.
    row: Option<i64>,
    /// The one workspace in which the role can be held.
    workspace: Option<i64>,
    binds: Vec<(Dimension, Quantifier)>,
    permissions: Vec<Permission>,
    granted: PermissionSet,
    own: PermissionSet,
}

impl Role {
    /// A role that an administrator defined: of one workspace, or of the platform. All its permissions are for others
    /// than the holder; what everybody may do for himself comes with the account.
    pub fn dynamic(
        row: i64,
        name: impl Into<Arc<str>>,
        description: impl Into<String>,
        workspace: Option<i64>,
        permissions: Vec<Permission>,
    ) -> Self {
        let (scope, binds) = match workspace {
            Some(_) => (Scope::Workspace, vec![(Dimension::Workspace, Quantifier::One)]),
            None => (Scope::Platform, Vec::new()),
        };
        Self {
            name: name.into(),
            description: description.into(),
            scope,
            row: Some(row),
            workspace,
            binds,
            granted: permissions.iter().copied().collect(),
            own: PermissionSet::default(),
            permissions,
        }
    }

    fn built_in(def: &RoleDef, admin_appoints_data_manager: bool) -> Self {
        let holdings = def.holdings(admin_appoints_data_manager);
        let set = |own_only| holdings.iter().filter(|h| h.own_only == own_only).map(|h| h.permission).collect();
        Self {
            name: def.name.into(),
            description: def.description.to_owned(),
            scope: def.scope,
            row: None,
            workspace: None,
            binds: def.binds.to_vec(),
            permissions: holdings.iter().map(|h| h.permission).collect(),
            granted: set(false),
            own: set(true),
        }
    }

    /// The name, in assignments and on the wire.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it is for.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// How far it reaches.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The id of its row, if an administrator defined it.
    pub fn row(&self) -> Option<i64> {
        self.row
    }

    /// Whether an administrator defined it.
    pub fn is_dynamic(&self) -> bool {
        self.row.is_some()
    }

    /// The one workspace in which it can be held, if it belongs to one.
    pub fn workspace(&self) -> Option<i64> {
        self.workspace
    }

    /// Whether it can be held in this context at all.
    pub fn fits(&self, context: &Context) -> bool {
        self.workspace.is_none_or(|id| context.get(Dimension::Workspace) == Some(Bound::Id(id)))
    }

    /// The dimensions its assignments bind.
    pub fn binds(&self) -> &[(Dimension, Quantifier)] {
        &self.binds
    }

    /// Its permissions, self-service included, in the order in which clients see them.
    pub fn permissions(&self) -> &[Permission] {
        &self.permissions
    }

    /// The permissions that have an effect in this context: those without a dimension, and those whose dimension the
    /// context binds. Self-service is left out, since everybody has it for himself.
    pub fn effective(&self, context: &Context) -> PermissionSet {
        let bound = Dimension::ALL.into_iter().filter(|&dimension| context.get(dimension).is_some());
        let relevant = bound.fold(WITHOUT_DIMENSION, |set, dimension| set.or(BY_DIMENSION[dimension as usize]));
        self.granted.and(relevant)
    }

    /// Where an assignment of this role holds the permission, for this caller.
    fn reach(&self, context: &Context, caller: i64, permission: Permission) -> Reach {
        if !self.fits(context) {
            return Reach::Nowhere;
        }
        let Some(dimension) = permission.requires() else {
            return if self.granted.contains(permission) { Reach::Everywhere } else { Reach::Nowhere };
        };
        if self.granted.contains(permission) {
            match context.get(dimension) {
                Some(Bound::Any) => return Reach::Everywhere,
                Some(Bound::Id(id)) => return Reach::Only(id),
                None => {}
            }
        }
        // an assignment that names another user is a stray row: it must not help this one
        let for_caller = !matches!(context.get(Dimension::User), Some(Bound::Id(id)) if id != caller);
        if self.own.contains(permission) && for_caller { Reach::Only(caller) } else { Reach::Nowhere }
    }
}

/// Where a permission is held.
enum Reach {
    Nowhere,
    Only(i64),
    Everywhere,
}

/// The roles that a decision knows: the built-in ones, and some that administrators of a tenant defined.
#[derive(Debug, Clone)]
pub struct Roles {
    built_in: Arc<BuiltIn>,
    dynamic: Vec<Role>,
}

#[derive(Debug)]
struct BuiltIn {
    list: Vec<Role>,
    index: HashMap<Arc<str>, usize>,
}

impl Roles {
    /// The built-in roles. `admin_appoints_data_manager` is the setting `workspace_admin_can_assign_data_manager`.
    pub fn built_in(admin_appoints_data_manager: bool) -> Self {
        let list: Vec<_> =
            catalogue::ROLES.iter().map(|def| Role::built_in(def, admin_appoints_data_manager)).collect();
        let index = list.iter().enumerate().map(|(index, role)| (role.name.clone(), index)).collect();
        Self { built_in: Arc::new(BuiltIn { list, index }), dynamic: Vec::new() }
    }

    /// The built-in roles and these. One whose name is taken already is left out.
    pub fn with(&self, dynamic: impl IntoIterator<Item = Role>) -> Self {
        let mut roles = Self { built_in: self.built_in.clone(), dynamic: Vec::new() };
        for role in dynamic {
            if roles.get(&role.name).is_none() {
                roles.dynamic.push(role);
            }
        }
        roles
    }

    /// The role of this name.
    pub fn get(&self, name: &str) -> Option<&Role> {
        match self.built_in.index.get(name) {
            Some(&index) => self.built_in.list.get(index),
            None => self.dynamic.iter().find(|role| &*role.name == name),
        }
    }

    /// Every role: the built-in ones in the order of the catalogue, then the others.
    pub fn iter(&self) -> impl Iterator<Item = &Role> {
        self.built_in.list.iter().chain(&self.dynamic)
    }

    /// The roles that administrators defined.
    pub fn dynamic(&self) -> &[Role] {
        &self.dynamic
    }

    /// The roles that hold this permission for others than the holder.
    pub fn granting(&self, permission: Permission) -> impl Iterator<Item = &Role> {
        self.iter().filter(move |role| role.granted.contains(permission))
    }
}

impl PartialEq for Roles {
    /// The built-in roles of a running server never change.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.built_in, &other.built_in) && self.dynamic == other.dynamic
    }
}

/// What a list may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visible {
    /// Everything in the tenant.
    All,
    /// These ids, perhaps none.
    Ids(BTreeSet<i64>),
}

impl Visible {
    /// Whether it shows this id.
    pub fn contains(&self, id: i64) -> bool {
        match self {
            Self::All => true,
            Self::Ids(ids) => ids.contains(&id),
        }
    }

    /// What both show.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, both) | (both, Self::All) => both,
            (Self::Ids(a), Self::Ids(b)) => Self::Ids(a.intersection(&b).copied().collect()),
        }
    }
}

/// Whether the caller may do this to the target. A target of another dimension than the permission needs is refused,
/// and so is a missing one unless the caller may do it to all.
pub fn decide(roles: &Roles, assignments: &[Assignment], caller: i64, permission: Permission, target: Target) -> bool {
    if target.is_some_and(|(dimension, _)| permission.requires() != Some(dimension)) {
        return false;
    }
    assignments.iter().any(|assignment| match roles.get(&assignment.role) {
        None => false,
        Some(role) => match role.reach(&assignment.context, caller, permission) {
            Reach::Nowhere => false,
            Reach::Everywhere => true,
            Reach::Only(id) => target.is_some_and(|(_, wanted)| wanted == id),
        },
    })
}

/// The ids for which the caller holds the permission: what a list rule may show.
pub fn visible(roles: &Roles, assignments: &[Assignment], caller: i64, permission: Permission) -> Visible {
    let mut ids = BTreeSet::new();
    for assignment in assignments {
        let Some(role) = roles.get(&assignment.role) else { continue };
        match role.reach(&assignment.context, caller, permission) {
            Reach::Nowhere => {}
            Reach::Everywhere => return Visible::All,
            Reach::Only(id) => {
                ids.insert(id);
            }
        }
    }
    Visible::Ids(ids)
}

/// A permission with its target, as messages show it: `getWorkspace@workspace=5`.
pub fn label(permission: Permission, target: Target) -> String {
    let context = target.map_or(Context::NONE, |(dimension, id)| Context::NONE.with(dimension, Bound::Id(id)));
    context.label(permission.name())
}

/// The refusal that names the missing permission and what it is missing for.
pub fn denied(permission: Permission, target: Target) -> Error {
    let label = label(permission, target);
    Error::denied(
        "PERMISSION_DENIED",
        format!("You need the permission {label}. Ask an administrator for a role with it."),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::server::access::catalogue::{PLATFORM_USER_MANAGER, ROLES, SUPER_ADMIN};

    fn bound() -> impl Strategy<Value = Option<Bound>> {
        prop_oneof![Just(None), Just(Some(Bound::Any)), (1i64..4).prop_map(|id| Some(Bound::Id(id)))]
    }

    fn context() -> impl Strategy<Value = Context> {
        [bound(), bound(), bound()].prop_map(|bounds| {
            Dimension::ALL.into_iter().zip(bounds).fold(Context::NONE, |c, (d, b)| match b {
                Some(b) => c.with(d, b),
                None => c,
            })
        })
    }

    fn assignment() -> impl Strategy<Value = Assignment> {
        let names: Vec<&str> = ROLES.iter().map(|r| r.name).chain(["NoSuchRole", ""]).collect();
        (select(names), context()).prop_map(|(role, context)| Assignment { id: 1, role: role.into(), context })
    }

    fn permission() -> impl Strategy<Value = Permission> {
        select(Permission::ALL)
    }

    fn target() -> impl Strategy<Value = Target> {
        prop_oneof![Just(None), (select(&Dimension::ALL[..]), 1i64..4).prop_map(Some)]
    }

    fn roles() -> &'static Roles {
        static ROLES: LazyLock<Roles> = LazyLock::new(|| Roles::built_in(true));
        &ROLES
    }

    fn held(role: &str, context: Context) -> Assignment {
        Assignment { id: 1, role: role.into(), context }
    }

    /// The rules once more, as plainly as they can be said, over the definitions instead of the bit sets.
    fn naive(assignments: &[Assignment], caller: i64, permission: Permission, target: Target) -> bool {
        if let Some((dimension, _)) = target
            && permission.requires() != Some(dimension)
        {
            return false;
        }
        for assignment in assignments {
            let Some(def) = catalogue::role(&assignment.role) else { continue };
            for holding in def.holdings(true).into_iter().filter(|h| h.permission == permission) {
                let allowed = match (permission.requires(), holding.own_only) {
                    (None, _) => true,
                    (Some(dimension), false) => match assignment.context.get(dimension) {
                        None => false,
                        Some(Bound::Any) => true,
                        Some(Bound::Id(id)) => target == Some((dimension, id)),
                    },
                    (Some(dimension), true) => {
                        let user = assignment.context.get(Dimension::User);
                        let mine = matches!(user, None | Some(Bound::Any)) || user == Some(Bound::Id(caller));
                        mine && target == Some((dimension, caller))
                    }
                };
                if allowed {
                    return true;
                }
            }
        }
        false
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn agrees_with_the_plain_rules(
            a in vec(assignment(), 0..4), caller in 1i64..4, p in permission(), t in target(),
        ) {
            prop_assert_eq!(decide(roles(), &a, caller, p, t), naive(&a, caller, p, t));
        }

        #[test]
        fn more_assignments_never_take_a_right_away(
            a in vec(assignment(), 0..3), more in assignment(), at in 0usize..3, p in permission(), t in target(),
        ) {
            let mut longer = a.clone();
            longer.insert(at.min(a.len()), more);
            prop_assert!(!decide(roles(), &a, 1, p, t) || decide(roles(), &longer, 1, p, t));
        }

        #[test]
        fn any_includes_each(
            a in assignment(), d in select(&Dimension::ALL[..]), id in 1i64..4, p in permission(), t in target(),
        ) {
            // a self-service permission does not follow the binding of the user
            let any = Assignment { context: a.context.with(d, Bound::Any), ..a.clone() };
            let one = Assignment { context: a.context.with(d, Bound::Id(id)), ..a };
            prop_assert!(!decide(roles(), &[one], 1, p, t) || decide(roles(), &[any], 1, p, t));
        }

        #[test]
        fn what_is_allowed_for_all_is_allowed_for_each(a in vec(assignment(), 0..3), p in permission(), id in 1i64..4) {
            if let Some(dimension) = p.requires() && decide(roles(), &a, 1, p, None) {
                prop_assert!(decide(roles(), &a, 1, p, Some((dimension, id))));
            }
        }

        #[test]
        fn an_unbound_dimension_grants_nothing(a in assignment(), p in permission(), id in 2i64..4) {
            if let Some(dimension) = p.requires() && a.context.get(dimension).is_none() {
                prop_assert!(!decide(roles(), std::slice::from_ref(&a), 1, p, None));
                prop_assert!(!decide(roles(), &[a], 1, p, Some((dimension, id))));
            }
        }

        #[test]
        fn an_unknown_role_grants_nothing(c in context(), p in permission(), t in target()) {
            prop_assert!(!decide(roles(), &[held("NoSuchRole", c)], 1, p, t));
        }

        #[test]
        fn lists_show_what_decisions_allow(a in vec(assignment(), 0..4), p in permission(), id in 1i64..5) {
            let visible = visible(roles(), &a, 1, p);
            match p.requires() {
                Some(dimension) => {
                    prop_assert_eq!(visible.contains(id), decide(roles(), &a, 1, p, Some((dimension, id))));
                    prop_assert_eq!(visible == Visible::All, decide(roles(), &a, 1, p, None));
                }
                None => prop_assert_eq!(visible == Visible::All, decide(roles(), &a, 1, p, None)),
            }
        }

        #[test]
        fn self_service_reaches_only_the_own_id(a in vec(assignment(), 0..4), id in 2i64..4) {
            use Permission::{EnableTotp, GetMyOwnUser, ListNotifications, UpdatePassword};
            for p in [GetMyOwnUser, UpdatePassword, ListNotifications, EnableTotp] {
                prop_assert!(!decide(roles(), &a, 1, p, Some((Dimension::User, id))));
                prop_assert!(!decide(roles(), &a, 1, p, None));
            }
        }
    }

    #[test]
    fn administrators_of_users_hold_it_as_their_own() {
        let anyone = Context::NONE.with(Dimension::User, Bound::Any);
        let everything = Dimension::ALL.into_iter().fold(Context::NONE, |c, d| c.with(d, Bound::Any));
        let other = Some((Dimension::User, 2));
        for (role, context, permission, expected) in [
            (PLATFORM_USER_MANAGER, anyone, Permission::UpdateUser, true),
            (PLATFORM_USER_MANAGER, anyone, Permission::ResetPassword, true),
            (PLATFORM_USER_MANAGER, anyone, Permission::AuditUser, false),
            (PLATFORM_USER_MANAGER, anyone, Permission::UpdatePassword, false),
            ("PlatformAuditor", anyone, Permission::AuditUser, true),
            ("PlatformAuditor", anyone, Permission::UpdateUser, false),
            ("AppStoreAdmin", anyone, Permission::ResetPassword, false),
            ("AppStoreAdmin", anyone, Permission::UpdateUser, false),
            (SUPER_ADMIN, everything, Permission::AuditUser, true),
            (SUPER_ADMIN, everything, Permission::ResetPassword, true),
            (SUPER_ADMIN, everything, Permission::EnableTotp, false),
        ] {
            let a = [held(role, context)];
            assert_eq!(decide(roles(), &a, 1, permission, other), expected, "{role} {}", permission.name());
        }
    }

    #[test]
    fn effective_permissions_follow_the_context() {
        let roles = roles();
        let admin = roles.get("WorkspaceAdmin").unwrap();
        let in_workspace = admin.effective(&Context::workspace(5));
        assert!(in_workspace.contains(Permission::ManageUsersInWorkspace));
        assert!(in_workspace.contains(Permission::ListUsers));
        assert!(!in_workspace.contains(Permission::DeleteWorkbench), "the role binds no workbench");
        assert!(!in_workspace.contains(Permission::UpdatePassword), "self-service is left out");
        assert!(admin.effective(&Context::NONE).iter().all(|p| p.requires().is_none()));
    }

    #[test]
    fn dynamic_roles_stand_beside_the_others() {
        let role = |name: &str, workspace| Role::dynamic(1, name, "Reads.", workspace, vec![Permission::GetWorkspace]);
        let roles = roles().with([role("Reader", Some(5)), role("Reader", None), role(SUPER_ADMIN, None)]);
        assert_eq!(roles.dynamic().len(), 1, "a name means one role, and the built-in ones come first");
        assert!(!roles.get(SUPER_ADMIN).unwrap().is_dynamic());
        let reader = [held("Reader", Context::workspace(5))];
        let reads = |holds: &[Assignment], id| {
            decide(&roles, holds, 1, Permission::GetWorkspace, Some((Dimension::Workspace, id)))
        };
        assert!(reads(&reader, 5) && !reads(&reader, 6));
        assert!(roles.granting(Permission::GetWorkspace).any(|r| &**r.name() == "Reader"));
        // the role of one workspace is worth nothing in another, whatever the row says
        assert!(!reads(&[held("Reader", Context::workspace(6))], 6));
        let everywhere = [held("Reader", Context::NONE.with(Dimension::Workspace, Bound::Any))];
        assert!(!reads(&everywhere, 5) && !reads(&everywhere, 6));
    }

    #[test]
    fn a_target_of_the_wrong_dimension_is_refused() {
        let everything = Dimension::ALL.into_iter().fold(Context::NONE, |c, d| c.with(d, Bound::Any));
        let admin = [held(SUPER_ADMIN, everything)];
        assert!(decide(roles(), &admin, 1, Permission::CreateUser, None));
        assert!(!decide(roles(), &admin, 1, Permission::CreateUser, Some((Dimension::User, 1))));
        assert!(!decide(roles(), &admin, 1, Permission::GetWorkspace, Some((Dimension::User, 1))));
    }

    #[test]
    fn refusals_name_permission_and_context() {
        let error = denied(Permission::GetWorkspace, Some((Dimension::Workspace, 5)));
        assert!(error.message().contains("getWorkspace@workspace=5"), "{error}");
        assert_eq!(label(Permission::CreateUser, None), "createUser");
    }
}
