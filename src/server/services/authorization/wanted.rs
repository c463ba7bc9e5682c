//! What a request asks a role to be, checked as far as the request alone tells.

use std::collections::BTreeMap;

use crate::server::{
    access::{
        catalogue::{Dimension, Permission, ROLES, Scope},
        context::Context,
    },
    db::{fold, is_invisible},
    error::{Error, Result},
};

/// Where a role is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the whole tenant.
    Platform,
    /// In this workspace.
    Workspace(i64),
}

impl Place {
    /// The place of a stored role.
    pub(super) fn of(workspace: Option<i64>) -> Self {
        workspace.map_or(Self::Platform, Self::Workspace)
    }

    /// Reads scope and validation context of a request.
    pub(super) fn parse(scope: &str, context: &BTreeMap<String, String>) -> Result<Self> {
        match (Scope::parse(scope), context.get(Dimension::Workspace.as_str())) {
            (Some(Scope::Platform), None) if context.is_empty() => Ok(Self::Platform),
            (Some(Scope::Platform), _) => Err(Error::field(
                "validationContext",
                "context_absent",
                "A role of scope platform is held in no particular place: leave the validation context out.",
            )),
            (Some(Scope::Workspace), Some(id)) if context.len() == 1 => match id.parse() {
                Ok(id) if id > 0 => Ok(Self::Workspace(id)),
                _ => Err(Error::field("validationContext.workspace", "id", "This is not the id of a workspace.")),
            },
            (Some(Scope::Workspace), Some(_)) => Err(Error::field(
                "validationContext",
                "workspace_only",
                "A role of scope workspace belongs to a workspace and to nothing else: name only that.",
            )),
            (Some(Scope::Workspace), None) => Err(Error::field(
                "validationContext.workspace",
                "required",
                "A role of scope workspace belongs to one workspace: name its id.",
            )),
            _ => Err(Error::field(
                "role.scope",
                "definable_scope",
                "A role is defined with scope platform or workspace.",
            )),
        }
    }

    /// The workspace, if it is one.
    pub(super) fn workspace(self) -> Option<i64> {
        match self {
            Self::Platform => None,
            Self::Workspace(id) => Some(id),
        }
    }

    /// What an assignment of the role binds.
    pub(super) fn context(self) -> Context {
        self.workspace().map_or(Context::NONE, Context::workspace)
    }

    /// The permission that defining roles here takes, and what it is asked for.
    pub(super) fn managed_with(self) -> (Permission, Option<(Dimension, i64)>) {
        match self {
            Self::Platform => (Permission::ManageDynamicRoles, None),
            Self::Workspace(id) => (Permission::ManageUsersInWorkspace, Some((Dimension::Workspace, id))),
        }
    }
}

/// The permissions of these names, each once, in the order of the request. `field` is where the request has them.
pub(super) fn permissions(field: &str, names: &[String], place: Place) -> Result<Vec<Permission>> {
    let mut all = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let refused = |rule, text| Err(Error::field(format!("{field}[{index}]"), rule, text));
        let Some(permission) = Permission::parse(name) else {
            let text = format!("There is no permission {name}. GET /api/rest/v1/authorization/permissions lists them.");
            return refused("known_permission", text);
        };
        match (permission.requires(), place) {
            (None, _) | (Some(Dimension::Workspace), Place::Workspace(_)) => {}
            (Some(dimension), Place::Platform) => {
                let text = format!(
                    "{name} is held for a {}; a role of scope platform holds permissions without context.",
                    dimension.as_str()
                );
                return refused("permission_of_scope", text);
            }
            (Some(dimension), Place::Workspace(_)) => {
                let text = format!("{name} is held for a {}, not for a workspace.", dimension.as_str());
                return refused("permission_of_scope", text);
            }
        }
        if permission == Permission::InitializeTenant {
            return refused("within_tenant", format!("{name} reaches beyond the tenant. Only SuperAdmin holds it."));
        }
        if !all.contains(&permission) {
            all.push(permission);
        }
    }
    Ok(all)
}

/// Refuses names that would be taken for something else: an id, a role in a context, a path.
pub(super) fn check_name(name: &str) -> Result<()> {
    let wrong = if name.trim() != name || key(name).trim().is_empty() {
        "is blank, or has white space at an end"
    } else if name.chars().all(|c| c.is_ascii_digit()) {
        "reads as an id, since it is all digits"
    } else if name == "." || name == ".." {
        "is a step in a path"
    } else if name.contains(['@', '/', '\\', '*']) {
        "has one of @ / \\ *, with which places are written"
    } else {
        return Ok(());
    };
    Err(Error::field("role.name", "role_name", format!("The name of the role {wrong}. Choose another one.")))
}

/// A name as far as people can tell it from others: folded, and without what is not seen.
pub(super) fn key(name: &str) -> String {
    let seen: String = name.chars().filter(|c| !is_invisible(*c)).collect();
    fold(&seen)
}

/// Whether a role that comes with the server has this name, or one that reads the same.
pub(super) fn is_built_in(name: &str) -> bool {
    let key = key(name);
    ROLES.iter().any(|role| fold(role.name) == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::error::detail;

    /// The field and the rule of a refusal.
    fn why<T: std::fmt::Debug>(result: Result<T>) -> (String, String) {
        let status = result.unwrap_err().into_status("/");
        let violation = detail(&status).unwrap().validation_errors.remove(0);
        (violation.field, violation.reason)
    }

    fn refused<T: std::fmt::Debug>(result: Result<T>, field: &str, rule: &str) {
        assert_eq!(why(result), (field.to_owned(), rule.to_owned()));
    }

    fn parse(scope: &str, pairs: &[(&str, &str)]) -> Result<Place> {
        Place::parse(scope, &pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn places() {
        assert_eq!(parse("platform", &[]).unwrap(), Place::Platform);
        assert_eq!(parse("workspace", &[("workspace", "5")]).unwrap(), Place::Workspace(5));
        refused(parse("platform", &[("workspace", "5")]), "validationContext", "context_absent");
        refused(parse("workspace", &[]), "validationContext.workspace", "required");
        for id in ["0", "", "99999999999999999999", "x"] {
            refused(parse("workspace", &[("workspace", id)]), "validationContext.workspace", "id");
        }
        refused(parse("workspace", &[("workbench", "5")]), "validationContext.workspace", "required");
        refused(parse("workspace", &[("workspace", "5"), ("user", "5")]), "validationContext", "workspace_only");
        for scope in ["system", "workbench", "", "Platform"] {
            refused(parse(scope, &[]), "role.scope", "definable_scope");
        }
    }

    #[test]
    fn permissions_fit_the_place() {
        let parse = |names: &[&str], place| {
            let names: Vec<_> = names.iter().map(|n| (*n).to_owned()).collect();
            permissions("role.permissions", &names, place)
        };
        let (here, everywhere) = (Place::Workspace(5), Place::Platform);
        use Permission::{GetWorkspace, ListUsers};
        assert_eq!(parse(&["getWorkspace", "listUsers", "getWorkspace"], here).unwrap(), [GetWorkspace, ListUsers]);
        assert_eq!(parse(&["listUsers"], everywhere).unwrap(), [ListUsers]);
        for (names, place, field, rule) in [
            (&["listUsers", "fly"][..], here, "role.permissions[1]", "known_permission"),
            (&["GetWorkspace"], here, "role.permissions[0]", "known_permission"),
            (&["getWorkspace"], everywhere, "role.permissions[0]", "permission_of_scope"),
            (&["listUsers", "manageUserRoles"], here, "role.permissions[1]", "permission_of_scope"),
            (&["getWorkbench"], here, "role.permissions[0]", "permission_of_scope"),
            (&["updateUser"], everywhere, "role.permissions[0]", "permission_of_scope"),
            (&["initializeTenant"], everywhere, "role.permissions[0]", "within_tenant"),
            (&["initializeTenant"], here, "role.permissions[0]", "within_tenant"),
        ] {
            refused(parse(names, place), field, rule);
        }
    }

    #[test]
    fn names() {
        for good in ["Reader", "Data steward (oncology)", "Лектор", "読者", "1st reader", "a.b-c_d"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", " ", "Reader ", "\u{a0}Reader", "42", "Reader@workspace=5", "a/b", "a\\b", "*", "\u{200b}"] {
            refused(check_name(bad), "role.name", "role_name");
        }
    }

    #[test]
    fn names_that_read_the_same() {
        for same in
            ["SuperAdmin", "superadmin", "ＳｕｐｅｒＡｄｍｉｎ", "Super\u{200b}Admin", "Super\u{ad}Admin\u{fe0f}"]
        {
            assert!(is_built_in(same), "{same}");
        }
        assert!(!is_built_in("Super Admin") && !is_built_in("Reader"));
        assert_eq!(key("Ｒeader"), key("READER\u{feff}"));
        assert_ne!(key("Reader"), key("Readers"));
    }
}
