//! Roles of one's own: creating, changing and deleting them.
//!
//! An update replaces the permissions at the server, so the role is read first and only what the flags name is changed.

use std::collections::BTreeMap;

use clap::Args;

use super::{definition, role_columns};
use crate::{
    client::{
        Context, connect,
        error::{Error, Result},
        output::say,
        prompt,
        resolve::{self, Reference},
    },
    proto::v1::{AuthorizationRole, CreateDynamicRoleRequest, DeleteDynamicRoleRequest, UpdateDynamicRoleRequest},
};

/// `chorus role create`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus role create Reader --workspace genomics --permission getWorkspace,listFilesInWorkspace
  chorus role create Inviter --permission listUsers --permission searchUsers --description 'Finds people'")]
pub struct Create {
    /// Name of the new role
    name: String,
    /// Permission that the role holds, as in `chorus role permissions`; may be repeated
    #[arg(long = "permission", value_name = "PERMISSION", value_delimiter = ',', required = true)]
    permissions: Vec<String>,
    /// Workspace that the role belongs to, by id or name
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Option<Reference>,
    /// What the role is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
}

/// `chorus role update`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus role update Reader --add-permission createWorkbench
  chorus role update Reader --permission getWorkspace --description 'Looks around'")]
pub struct Update {
    /// Name of the role
    role: String,
    #[command(flatten)]
    permissions: Permissions,
    /// What the role is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

/// What becomes of the permissions of a role.
#[derive(Debug, Clone, Default, PartialEq, Args)]
struct Permissions {
    /// Permission that the role holds; may be repeated, replaces all
    #[arg(long = "permission", value_name = "PERMISSION", value_delimiter = ',', conflicts_with_all = ["add", "remove"])]
    all: Vec<String>,
    /// Permission that the role gets; may be repeated
    #[arg(long = "add-permission", value_name = "PERMISSION", value_delimiter = ',')]
    add: Vec<String>,
    /// Permission that the role loses; may be repeated
    #[arg(long = "remove-permission", value_name = "PERMISSION", value_delimiter = ',')]
    remove: Vec<String>,
}

/// `chorus role delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// Name of the role
    role: String,
    /// Take the role from everybody who holds it
    #[arg(long)]
    revoke_assignments: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Create {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        let mut validation_context = BTreeMap::new();
        if let Some(workspace) = &self.workspace {
            let id = resolve::workspace(&context.session, workspace).await?;
            validation_context.insert("workspace".to_owned(), id.to_string());
        }
        let scope = if self.workspace.is_some() { "workspace" } else { "platform" };
        let what = format!("create role {:?}", self.name);
        let role = AuthorizationRole {
            name: self.name,
            description: self.description,
            permissions: self.permissions,
            scope: scope.to_owned(),
            ..AuthorizationRole::default()
        };
        let request = CreateDynamicRoleRequest { role: Some(role), validation_context };
        let rpc = "AuthorizationService/CreateDynamicRole";
        let call = context.session.call(&what, rpc, request, async |channel, request| {
            connect::authorization(channel).create_dynamic_role(request).await
        });
        let role = call.await?.result.and_then(|result| result.role).ok_or_else(|| resolve::empty_reply(rpc))?;
        context.printer.item(&role, &role_columns())
    }
}

impl Update {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        if self.description.is_none() && self.permissions == Permissions::default() {
            return Err(Error::usage("nothing to change").hint("`chorus role update --help` lists what can be changed"));
        }
        let old = definition(&context.session, &self.role).await?;
        let what = format!("update role {:?}", old.name);
        let request = UpdateDynamicRoleRequest {
            permissions: self.permissions.apply(&old)?,
            description: self.description.unwrap_or(old.description),
            name: old.name,
        };
        let rpc = "AuthorizationService/UpdateDynamicRole";
        let call = context.session.call(&what, rpc, request, async |channel, request| {
            connect::authorization(channel).update_dynamic_role(request).await
        });
        let role = call.await?.result.and_then(|result| result.role).ok_or_else(|| resolve::empty_reply(rpc))?;
        context.printer.item(&role, &role_columns())
    }
}

impl Permissions {
    /// The permissions of the role afterwards.
    fn apply(&self, role: &AuthorizationRole) -> Result<Vec<String>> {
        if !self.all.is_empty() {
            return Ok(self.all.clone());
        }
        if let Some(name) = self.remove.iter().find(|name| !role.permissions.contains(name)) {
            return Err(Error::usage(format!("the role {} does not have the permission {name}", role.name))
                .hint(format!("`chorus role show {}` shows those it has", role.name)));
        }
        let kept = role.permissions.iter().filter(|name| !self.remove.contains(name));
        let new = self.add.iter().filter(|name| !role.permissions.contains(name));
        Ok(kept.chain(new).cloned().collect())
    }
}

impl Delete {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        let name = definition(&context.session, &self.role).await?.name;
        let question = match self.revoke_assignments {
            true => format!("Delete the role {name:?} and take it from everybody who holds it?"),
            false => format!("Delete the role {name:?}?"),
        };
        prompt::confirm(&question, self.yes).await?;
        let what = format!("delete role {name:?}");
        let request = DeleteDynamicRoleRequest { name: name.clone(), revoke_assignments: self.revoke_assignments };
        let rpc = "AuthorizationService/DeleteDynamicRole";
        let call = context.session.call(&what, rpc, request, async |channel, request| {
            connect::authorization(channel).delete_dynamic_role(request).await
        });
        match call.await?.result.unwrap_or_default().revoked_from {
            0 => say(&format!("deleted role {name:?}")),
            1 => say(&format!("deleted role {name:?}, which 1 user held")),
            users => say(&format!("deleted role {name:?}, which {users} users held")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_replaced_added_and_removed() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let role = AuthorizationRole {
            name: "Reader".to_owned(),
            permissions: list(&["getWorkspace", "listUsers"]),
            ..AuthorizationRole::default()
        };
        for ([all, add, remove], expected) in [
            ([&[][..], &[], &[]], &["getWorkspace", "listUsers"][..]),
            ([&["createUser"], &[], &[]], &["createUser"]),
            ([&[], &["createUser", "listUsers"], &[]], &["getWorkspace", "listUsers", "createUser"]),
            ([&[], &["createUser"], &["listUsers"]], &["getWorkspace", "createUser"]),
        ] {
            let change = Permissions { all: list(all), add: list(add), remove: list(remove) };
            assert_eq!(change.apply(&role).unwrap(), expected, "{change:?}");
        }
        let stray = Permissions { remove: list(&["createUser"]), ..Permissions::default() };
        assert!(stray.apply(&role).unwrap_err().to_string().contains("does not have the permission createUser"));
    }
}
