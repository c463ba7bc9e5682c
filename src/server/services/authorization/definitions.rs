//! Creating, changing and deleting roles.
//!
//! Under the locks of the workspace and of the role (in that order, see [`roles`]), so that a role is judged as it is
//! stored, and granted as it was judged.

use super::{
    Authorization, store,
    wanted::{self, Place},
};
use crate::{
    proto::v1,
    server::{
        access::{
            catalogue::{Dimension, Permission},
            decide::{Role, Visible, denied},
        },
        error::{Error, Kind, Result},
        pipeline::{Authorized, Change, Pending},
        services::{roles, workspaces},
    },
};

/// The most roles of the platform, and of each workspace.
const MOST_ROLES: i64 = 100;

impl Authorization {
    /// Creates a role.
    pub(super) async fn create(&self, call: &Pending, request: v1::CreateDynamicRoleRequest) -> Result<Role> {
        let role = request.role.unwrap_or_default();
        let place = Place::parse(&role.scope, &request.validation_context)?;
        let by = admit(call, place)?;
        wanted::check_name(&role.name)?;
        let permissions = wanted::permissions("role.permissions", &role.permissions, place)?;

        let mut change = self.base.db.begin(&by).await?;
        if let Some(workspace) = place.workspace() {
            roles::lock_workspace(&mut change, workspace).await?;
            workspaces::require(&mut change, &by, workspace).await?;
        }
        if wanted::is_built_in(&role.name) {
            return Err(store::exists(&role.name));
        }
        let texts = (&*role.name, &*role.description);
        let role = store::insert(&mut change, &by, texts, place.workspace(), &permissions).await?;
        may_define(&by, &role)?;
        if store::count(&mut change, &by, place.workspace()).await? > MOST_ROLES {
            let text = format!(
                "The platform and each workspace have at most {MOST_ROLES} roles of their own. Delete those nobody needs."
            );
            return Err(Error::new(Kind::Exhausted, "QUOTA_ROLES", text));
        }
        record(&by, &role);
        change.commit().await?;
        Ok(role)
    }

    /// Replaces description and permissions of a role; who holds it is told if that changes what he may do.
    pub(super) async fn update(&self, call: &Pending, request: &v1::UpdateDynamicRoleRequest) -> Result<Role> {
        let (by, found) = self.admit_to(call, &request.name).await?;
        let permissions = wanted::permissions("permissions", &request.permissions, Place::of(found.workspace()))?;

        let mut change = self.base.db.begin(&by).await?;
        let (row, before) = locked(&mut change, &by, &found).await?;
        may_define(&by, &before)?;
        let after = store::update(&mut change, &by, row, &request.description, &permissions).await?;
        may_define(&by, &after)?;
        if !same_permissions(&before, &after) {
            change.access_changed();
            let text = format!("The role {}, which you hold, holds other permissions now.", after.name());
            roles::tell_holders(&mut change, &by, row, &text).await?;
        }
        record(&by, &after);
        by.call().subjects().detail_list("role_permissions_before", &names(&before));
        change.commit().await?;
        Ok(after)
    }

    /// Deletes a role; says from how many users it was taken.
    pub(super) async fn delete(&self, call: &Pending, request: &v1::DeleteDynamicRoleRequest) -> Result<u32> {
        let (by, found) = self.admit_to(call, &request.name).await?;

        let mut change = self.base.db.begin(&by).await?;
        let (row, role) = locked(&mut change, &by, &found).await?;
        may_define(&by, &role)?;
        let holders = roles::count_holders(&mut change, &by, row).await?;
        if holders > 0 {
            if !request.revoke_assignments {
                return Err(in_use(role.name(), holders));
            }
            let text = format!("The role {} was deleted, so you do not hold it any more.", role.name());
            roles::tell_holders(&mut change, &by, row, &text).await?;
            roles::revoke_from_all(&mut change, &by, row).await?;
        }
        store::delete(&mut change, &by, row).await?;
        record(&by, &role);
        by.call().subjects().detail("revoked_from", &holders.to_string());
        change.commit().await?;
        Ok(u32::try_from(holders).unwrap_or(u32::MAX))
    }

    /// Admits a caller who manages the role of this name. Whoever manages none anywhere learns nothing, and the others not
    /// of roles that they do not see.
    async fn admit_to(&self, call: &Pending, name: &str) -> Result<(Authorized, Role)> {
        let nowhere = call.visible(Permission::ManageUsersInWorkspace) == Visible::Ids(Default::default());
        if nowhere && !call.holds(Permission::ManageDynamicRoles, None) {
            return Err(denied(Permission::ManageDynamicRoles, None));
        }
        if call.call().shared().sessions.built_in_roles().get(name).is_some() {
            let text = format!("{name} comes with the server: it is neither changed nor deleted.");
            return Err(Error::invalid("ROLE_BUILT_IN", text));
        }
        let found = store::find(&self.base.db, call.caller().tenant(), name).await?.ok_or_else(|| not_found(name))?;
        let place = Place::of(found.workspace());
        match admit(call, place) {
            Ok(by) => Ok((by, found)),
            Err(_) if place.workspace().is_some_and(|id| !call.holds(Permission::GetWorkspace, workspace(id))) => {
                Err(not_found(name))
            }
            Err(error) => Err(error),
        }
    }
}

fn workspace(id: i64) -> Option<(Dimension, i64)> {
    Some((Dimension::Workspace, id))
}

/// Admits a caller who manages roles in this place.
fn admit(call: &Pending, place: Place) -> Result<Authorized> {
    call.call().subjects().workspace = place.workspace();
    let (permission, target) = place.managed_with();
    call.require(permission, target)
}

/// Locks a role and reads it again: with its row, as it is now.
async fn locked(change: &mut Change, by: &Authorized, found: &Role) -> Result<(i64, Role)> {
    if let Some(workspace) = found.workspace() {
        roles::lock_workspace(change, workspace).await?;
    }
    roles::lock_role(change, by.tenant(), found.name()).await?;
    let role = store::find(&mut *change, by.tenant(), found.name()).await?;
    // another role may have taken the name meanwhile, and the caller was not admitted to that one
    let role = role.filter(|role| role.row() == found.row()).ok_or_else(|| not_found(found.name()))?;
    let row = role.row().ok_or_else(|| not_found(found.name()))?;
    Ok((row, role))
}

/// Whether the caller has everything that the role gives where it is held.
fn may_define(by: &Authorized, role: &Role) -> Result<()> {
    Ok(by.granter().holds_all_of(role, &Place::of(role.workspace()).context())?)
}

fn same_permissions(a: &Role, b: &Role) -> bool {
    a.permissions().len() == b.permissions().len() && a.permissions().iter().all(|p| b.permissions().contains(p))
}

/// Says in the audit record which role it was.
fn record(by: &Authorized, role: &Role) {
    let mut subjects = by.call().subjects();
    subjects.workspace = role.workspace();
    subjects.verified = true;
    subjects.detail("role_name", role.name());
    subjects.detail("role_scope", role.scope().as_str());
    subjects.detail_list("role_permissions", &names(role));
}

fn names(role: &Role) -> Vec<&'static str> {
    role.permissions().iter().map(|permission| permission.name()).collect()
}

fn not_found(name: &str) -> Error {
    let name: String = name.chars().take(80).collect();
    let text = format!("There is no role {name:?}. GET /api/rest/v1/authorization/roles lists the roles.");
    Error::not_found("ROLE_NOT_FOUND", text)
}

fn in_use(name: &str, holders: i64) -> Error {
    let who = if holders == 1 { "1 user holds".to_owned() } else { format!("{holders} users hold") };
    let text = format!("{who} the role {name}. Revoke it first, or set revokeAssignments to take it from everybody.");
    Error::new(Kind::Conflict, "ROLE_IN_USE", text)
}
