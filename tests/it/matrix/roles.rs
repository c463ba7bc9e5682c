//! Who holds what, from the compatibility matrix (`tests/it/data/authz-matrix.json`) and the written differences from it.
//! Says the rules once more, without any code of the server.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// What an assignment binds: dimension and value.
pub type Binding = BTreeMap<String, String>;

/// A role of the matrix.
#[derive(Debug, Deserialize)]
pub struct Role {
    pub name: String,
    /// `x` for one id, `*` for all.
    pub context: Binding,
    permissions: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Permission {
    name: String,
    requires: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    permissions: Vec<Permission>,
    roles: Vec<Role>,
}

/// The matrix.
pub struct Matrix {
    pub roles: Vec<Role>,
    requires: BTreeMap<String, Option<String>>,
    /// Permissions that everybody has for himself, and for nobody else.
    self_service: BTreeSet<String>,
}

/// Differences from the file. Self-service does not become a right over others where a role binds `user=*`; these roles
/// hold it as a grant of their own.
const OVER_OTHERS: &[(&str, &str)] = &[
    ("PlatformUserManager", "updateUser"),
    ("PlatformUserManager", "resetPassword"),
    ("PlatformAuditor", "auditUser"),
    ("SuperAdmin", "updateUser"),
    ("SuperAdmin", "resetPassword"),
    ("SuperAdmin", "auditUser"),
];

/// Granted by the setting `workspace_admin_can_assign_data_manager`, which is on unless configured.
const BY_SETTING: (&str, &str) = ("WorkspaceAdmin", "manageUsersDataRoleInWorkspace");

impl Matrix {
    pub fn read() -> Self {
        let file: File = serde_json::from_str(include_str!("../data/authz-matrix.json")).unwrap();
        let mut roles = file.roles;
        let admin = roles.iter_mut().find(|r| r.name == BY_SETTING.0).unwrap();
        admin.permissions.insert(BY_SETTING.1.to_owned());

        let requires: BTreeMap<_, _> =
            file.permissions.into_iter().map(|p| (p.name, p.requires.into_iter().next())).collect();
        let everybody = roles.iter().find(|r| r.name == "Authenticated").unwrap();
        let of_users = everybody.permissions.iter().filter(|p| requires[*p].as_deref() == Some("user"));
        let self_service = of_users.cloned().collect();
        Self { roles, requires, self_service }
    }

    /// The role of this name.
    pub fn role(&self, name: &str) -> &Role {
        self.roles.iter().find(|r| r.name == name).unwrap_or_else(|| panic!("no role {name}"))
    }

    /// Every permission, with the dimension that a check of it binds.
    pub fn permissions(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.requires.iter().map(|(name, dimension)| (name.as_str(), dimension.as_deref()))
    }

    /// The dimension that a check of the permission binds, if any.
    pub fn requires(&self, permission: &str) -> Option<&str> {
        self.requires.get(permission).unwrap_or_else(|| panic!("no permission {permission}")).as_deref()
    }

    /// Whether somebody with this role, bound like this, holds the permission for the target.
    pub fn holds(&self, role: &Role, binding: &Binding, own_id: i64, permission: &str, target: Option<i64>) -> bool {
        if !role.permissions.contains(permission) {
            return false;
        }
        let Some(dimension) = self.requires(permission) else { return true };
        let bound = binding.get(dimension).map(String::as_str);
        let fits = |bound: &str| bound == "*" || target.is_some_and(|id| bound == id.to_string());
        let over_others = OVER_OTHERS.contains(&(role.name.as_str(), permission));
        if self.self_service.contains(permission) && !over_others {
            // an assignment that names somebody else does not help
            let own = bound.is_none_or(|bound| bound == "*" || bound == own_id.to_string());
            return own && target == Some(own_id);
        }
        bound.is_some_and(fits)
    }
}
