//! The RPCs of roles and permissions.

use super::{Authorization, store};
use crate::{
    proto::v1,
    server::{
        access::{
            catalogue::{Dimension, Permission},
            decide::{Role, Visible},
        },
        error::Result,
        pipeline::{Authorized, Pending, generated::AuthorizationHandlers},
        services::wire_id,
    },
};

impl AuthorizationHandlers for Authorization {
    async fn list_roles(&self, call: Authorized, _: v1::ListRolesRequest) -> Result<v1::ListRolesReply> {
        let built_in = call.call().shared().sessions.built_in_roles();
        let mut roles: Vec<_> = built_in.iter().map(message).collect();
        if !call.is_visitor() {
            roles.extend(self.defined(&call).await?.iter().map(message));
        }
        roles.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(v1::ListRolesReply { result: Some(v1::ListRolesResult { roles }) })
    }

    async fn list_permissions(&self, _: Authorized, _: v1::ListPermissionsRequest) -> Result<v1::ListPermissionsReply> {
        let permissions = Permission::ALL.iter().copied().map(permission).collect();
        Ok(v1::ListPermissionsReply { result: Some(v1::ListPermissionsResult { permissions }) })
    }

    async fn create_dynamic_role(
        &self,
        call: Pending,
        request: v1::CreateDynamicRoleRequest,
    ) -> Result<v1::CreateDynamicRoleReply> {
        let role = Some(message(&self.create(&call, request).await?));
        Ok(v1::CreateDynamicRoleReply { result: Some(v1::CreateDynamicRoleResult { role }) })
    }

    async fn update_dynamic_role(
        &self,
        call: Pending,
        request: v1::UpdateDynamicRoleRequest,
    ) -> Result<v1::UpdateDynamicRoleReply> {
        let role = Some(message(&self.update(&call, &request).await?));
        Ok(v1::UpdateDynamicRoleReply { result: Some(v1::UpdateDynamicRoleResult { role }) })
    }

    async fn delete_dynamic_role(
        &self,
        call: Pending,
        request: v1::DeleteDynamicRoleRequest,
    ) -> Result<v1::DeleteDynamicRoleReply> {
        let revoked_from = self.delete(&call, &request).await?;
        Ok(v1::DeleteDynamicRoleReply { result: Some(v1::DeleteDynamicRoleResult { revoked_from }) })
    }
}

impl Authorization {
    /// The roles that administrators defined, as far as the caller sees them.
    async fn defined(&self, call: &Authorized) -> Result<Vec<Role>> {
        let visible = call.visible(Permission::GetWorkspace);
        let held = call.roles().dynamic();
        let asked = match visible.clone() {
            Visible::All => Visible::All,
            Visible::Ids(ids) => Visible::Ids(ids.into_iter().chain(held.iter().filter_map(Role::workspace)).collect()),
        };
        let mut roles = store::list(&self.base.db, call, asked).await?;
        roles.retain(|role| {
            let seen = role.workspace().is_none_or(|id| visible.contains(id));
            seen || held.iter().any(|held| held.row() == role.row())
        });
        Ok(roles)
    }
}

fn message(role: &Role) -> v1::AuthorizationRole {
    let binds = |dimension: &Dimension| role.binds().iter().any(|(bound, _)| bound == dimension);
    v1::AuthorizationRole {
        name: (**role.name()).to_owned(),
        description: role.description().to_owned(),
        context: Dimension::ALL.iter().filter(|d| binds(d)).map(|d| d.as_str().to_owned()).collect(),
        permissions: role.permissions().iter().map(|p| p.name().to_owned()).collect(),
        scope: role.scope().as_str().to_owned(),
        dynamic: role.is_dynamic(),
        workspace_id: role.workspace().map(wire_id),
    }
}

fn permission(permission: Permission) -> v1::AuthorizationPermission {
    v1::AuthorizationPermission {
        name: permission.name().to_owned(),
        description: permission.description().to_owned(),
        context: permission.requires().map(|dimension| dimension.as_str().to_owned()).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::access::decide::Roles;

    #[test]
    fn roles_name_what_they_bind_and_hold() {
        let roles = Roles::built_in(true);
        let shown = message(roles.get("SuperAdmin").unwrap());
        assert_eq!(shown.context, ["workspace", "workbench", "user"]);
        assert_eq!(
            (shown.permissions.len(), shown.scope.as_str(), shown.dynamic, shown.workspace_id),
            (Permission::ALL.len(), "system", false, None)
        );
        assert!(message(roles.get("Public").unwrap()).context.is_empty());
        let own = message(&Role::dynamic(1, "Reader", "Reads.", Some(5), vec![Permission::GetWorkspace]));
        assert_eq!((own.scope.as_str(), own.dynamic, own.workspace_id), ("workspace", true, Some(5)));
        assert_eq!((own.context, own.permissions), (vec!["workspace".to_owned()], vec!["getWorkspace".to_owned()]));
    }

    #[test]
    fn permissions_name_their_dimension() {
        assert_eq!(permission(Permission::GetWorkspace).context, ["workspace"]);
        assert!(permission(Permission::CreateUser).context.is_empty());
    }
}
