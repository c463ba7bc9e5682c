//! Members: who holds which role in a workspace.
//!
//! Appointing and dismissing data managers takes a permission of its own. Only somebody who manages members there learns
//! whether the workspace and the user exist; the rules about which role may be given come last.

use super::{Workspace, Workspaces, not_found, record, store};
use crate::server::{
    access::{
        catalogue::{Dimension, Permission, Scope, WORKSPACE_DATA_MANAGER},
        context::{Bound, Context},
        decide::{Assignment, Role},
    },
    error::{Error, Result},
    pipeline::{Authorized, Change, Pending},
    services::roles,
};

impl Workspaces {
    /// Gives a user a role in a workspace.
    pub(super) async fn add_role(&self, call: &Pending, id: i64, user: i64, role: &str) -> Result<Workspace> {
        let by = manages(call, id, role)?;
        let mut change = self.base.db.begin(&by).await?;
        let workspace = found(&mut change, &by, id, user).await?;
        let role = roles::find(&mut change, &by, role).await?;
        check_scope("role.name", &role)?;
        roles::grant(&mut change, &by, user, &role, Context::workspace(id)).await?;
        change.commit().await?;
        Ok(workspace)
    }

    /// Takes one role in a workspace from a user.
    pub(super) async fn remove_role(&self, call: &Pending, id: i64, user: i64, role: &str) -> Result<Workspace> {
        let by = manages(call, id, role)?;
        by.roles().get(role).map_or(Ok(()), |role| check_scope("roleName", role))?;
        let mut change = self.base.db.begin(&by).await?;
        let workspace = found(&mut change, &by, id, user).await?;
        let mut held = held_in(&mut change, id, user).await?;
        held.retain(|assignment| &*assignment.role == role);
        if held.is_empty() {
            return Err(Error::not_found("ROLE_NOT_HELD", format!("The user does not hold {role} in this workspace.")));
        }
        revoke(&mut change, &by, user, &held).await?;
        change.commit().await?;
        Ok(workspace)
    }

    /// Takes all roles in a workspace from a user. Somebody who has none stays what he is: not a member.
    pub(super) async fn remove_member(&self, by: &Authorized, id: i64, user: i64) -> Result<Workspace> {
        let mut change = self.base.db.begin(by).await?;
        let workspace = found(&mut change, by, id, user).await?;
        let held = held_in(&mut change, id, user).await?;
        if !held.is_empty() {
            revoke(&mut change, by, user, &held).await?;
        }
        change.commit().await?;
        Ok(workspace)
    }
}

/// Admits a caller who gives and takes this role there.
fn manages(call: &Pending, id: i64, role: &str) -> Result<Authorized> {
    call.require(permission_for(role), Some((Dimension::Workspace, id)))
}

fn permission_for(role: &str) -> Permission {
    match role {
        WORKSPACE_DATA_MANAGER => Permission::ManageUsersDataRoleInWorkspace,
        _ => Permission::ManageUsersInWorkspace,
    }
}

/// Refuses a role that is not one of workspaces.
fn check_scope(field: &'static str, role: &Role) -> Result<()> {
    let (name, scope) = (role.name(), role.scope());
    match scope {
        Scope::Workspace => Ok(()),
        _ => Err(Error::field(
            field,
            "workspace_role",
            format!("{name} is a role of scope {}; in a workspace one holds roles of scope workspace.", scope.as_str()),
        )),
    }
}

/// The workspace, if it and the user are in the tenant.
async fn found(change: &mut Change, by: &Authorized, id: i64, user: i64) -> Result<Workspace> {
    roles::lock_workspace(change, id).await?;
    let workspace = store::get(&mut *change, by, id).await?.ok_or_else(not_found)?;
    if !roles::has_user(&mut *change, by.tenant(), user).await? {
        let text = "There is no such user. List the users to see which there are.";
        return Err(Error::not_found("USER_NOT_FOUND", text));
    }
    record(by, &workspace);
    Ok(workspace)
}

/// What a user holds in one workspace.
async fn held_in(change: &mut Change, id: i64, user: i64) -> Result<Vec<Assignment>> {
    let mut held = roles::of(change, user).await?;
    held.retain(|assignment| assignment.context.get(Dimension::Workspace) == Some(Bound::Id(id)));
    Ok(held)
}

async fn revoke(change: &mut Change, by: &Authorized, user: i64, held: &[Assignment]) -> Result<()> {
    for assignment in held {
        roles::may_revoke(by, user, assignment)?;
    }
    let ids: Vec<i64> = held.iter().map(|assignment| assignment.id).collect();
    roles::revoke(change, by, user, &ids).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::access::decide::Roles;

    #[test]
    fn data_managers_have_a_permission_of_their_own() {
        assert_eq!(permission_for("WorkspaceDataManager"), Permission::ManageUsersDataRoleInWorkspace);
        for role in ["WorkspaceMember", "WorkspaceAdmin", "NoSuchRole", ""] {
            assert_eq!(permission_for(role), Permission::ManageUsersInWorkspace, "{role}");
        }
    }

    #[test]
    fn only_roles_of_workspaces() {
        let roles = Roles::built_in(true);
        let check_scope = |role| check_scope("role.name", roles.get(role).unwrap());
        for role in ["WorkspaceGuest", "WorkspaceMember", "WorkspaceAdmin", "WorkspaceDataManager"] {
            assert!(check_scope(role).is_ok(), "{role}");
        }
        for role in ["SuperAdmin", "Authenticated", "WorkbenchMember", "PlatformUserManager"] {
            let status = check_scope(role).unwrap_err().into_status("/");
            let detail = crate::server::error::detail(&status).unwrap();
            assert_eq!(detail.validation_errors[0].field, "role.name", "{role}");
        }
    }
}
