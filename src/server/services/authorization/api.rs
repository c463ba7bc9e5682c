//! The RPCs of roles and permissions.

use super::Authorization;
use crate::{
    proto::v1,
    server::{
        access::{
            catalogue::{Dimension, Permission},
            decide::Role,
        },
        error::Result,
        pipeline::{Authorized, generated::AuthorizationHandlers},
    },
};

impl AuthorizationHandlers for Authorization {
    async fn list_roles(&self, call: Authorized, _: v1::ListRolesRequest) -> Result<v1::ListRolesReply> {
        let mut roles: Vec<_> = call.roles().iter().map(role).collect();
        roles.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(v1::ListRolesReply { result: Some(v1::ListRolesResult { roles }) })
    }

    async fn list_permissions(&self, _: Authorized, _: v1::ListPermissionsRequest) -> Result<v1::ListPermissionsReply> {
        let permissions = Permission::ALL.iter().copied().map(permission).collect();
        Ok(v1::ListPermissionsReply { result: Some(v1::ListPermissionsResult { permissions }) })
    }
}

fn role(role: &Role) -> v1::AuthorizationRole {
    let binds = |dimension: &Dimension| role.binds().iter().any(|(bound, _)| bound == dimension);
    v1::AuthorizationRole {
        name: (**role.name()).to_owned(),
        description: role.description().to_owned(),
        context: Dimension::ALL.iter().filter(|d| binds(d)).map(|d| d.as_str().to_owned()).collect(),
        permissions: role.permissions().iter().map(|p| p.name().to_owned()).collect(),
        scope: role.scope().as_str().to_owned(),
        dynamic: role.is_dynamic(),
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
        let shown = role(roles.get("SuperAdmin").unwrap());
        assert_eq!(shown.context, ["workspace", "workbench", "user"]);
        assert_eq!(
            (shown.permissions.len(), shown.scope.as_str(), shown.dynamic),
            (Permission::ALL.len(), "system", false)
        );
        assert!(role(roles.get("Public").unwrap()).context.is_empty());
    }

    #[test]
    fn permissions_name_their_dimension() {
        assert_eq!(permission(Permission::GetWorkspace).context, ["workspace"]);
        assert!(permission(Permission::CreateUser).context.is_empty());
    }
}
