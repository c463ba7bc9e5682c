//! Members: who holds which role in a workspace.
//!
//! Who loses the last role in a workspace loses those in its workbenches with it: the data is the same.
//! Appointing and dismissing data managers takes a permission of its own. Only somebody who manages members there learns
//! whether the workspace and the user exist; the rules about which role may be given come last.

use super::{Workspace, Workspaces, not_found, record, store};
use crate::server::{
    access::catalogue::{Dimension, Permission, WORKSPACE_DATA_MANAGER},
    error::{Error, Result},
    pipeline::{Authorized, Change, Pending},
    services::roles::{
        self,
        members::{self, Place},
    },
};

impl Workspaces {
    /// Gives a user a role in a workspace.
    pub(super) async fn add_role(&self, call: &Pending, id: i64, user: i64, role: &str) -> Result<Workspace> {
        let by = manages(call, id, role)?;
        let mut change = self.base.db.begin(&by).await?;
        let workspace = found(&mut change, &by, id, user).await?;
        let role = roles::find(&mut change, &by, role).await?;
        Place::workspace(id).takes("role.name", &role)?;
        Place::workspace(id).give(&mut change, &by, user, &role).await?;
        change.commit().await?;
        Ok(workspace)
    }

    /// Takes one role in a workspace from a user.
    pub(super) async fn remove_role(&self, call: &Pending, id: i64, user: i64, role: &str) -> Result<Workspace> {
        let by = manages(call, id, role)?;
        by.roles().get(role).map_or(Ok(()), |role| Place::workspace(id).takes("roleName", role))?;
        let mut change = self.base.db.begin(&by).await?;
        let workspace = found(&mut change, &by, id, user).await?;
        let held = Place::workspace(id).held_by(&mut change, user).await?;
        let (taken, left): (Vec<_>, Vec<_>) = held.into_iter().partition(|assignment| &*assignment.role == role);
        if taken.is_empty() {
            return Err(Error::not_found("ROLE_NOT_HELD", format!("The user does not hold {role} in this workspace.")));
        }
        if left.is_empty() {
            members::remove(&mut change, &by, id, user, &taken).await?;
        } else {
            members::take(&mut change, &by, user, &taken).await?;
        }
        change.commit().await?;
        Ok(workspace)
    }

    /// Takes all roles in a workspace, and in its workbenches, from a user. Somebody who has none stays what he is: not a member.
    pub(super) async fn remove_member(&self, by: &Authorized, id: i64, user: i64) -> Result<Workspace> {
        let mut change = self.base.db.begin(by).await?;
        let workspace = found(&mut change, by, id, user).await?;
        let held = Place::workspace(id).held_by(&mut change, user).await?;
        members::remove(&mut change, by, id, user, &held).await?;
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

/// The workspace, if it and the user are in the tenant.
async fn found(change: &mut Change, by: &Authorized, id: i64, user: i64) -> Result<Workspace> {
    roles::lock_workspace(change, id).await?;
    let workspace = store::get(&mut *change, by, id).await?.ok_or_else(not_found)?;
    members::require_user(change, by, user).await?;
    record(by, &workspace);
    Ok(workspace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_managers_have_a_permission_of_their_own() {
        assert_eq!(permission_for("WorkspaceDataManager"), Permission::ManageUsersDataRoleInWorkspace);
        for role in ["WorkspaceMember", "WorkspaceAdmin", "NoSuchRole", ""] {
            assert_eq!(permission_for(role), Permission::ManageUsersInWorkspace, "{role}");
        }
    }
}
