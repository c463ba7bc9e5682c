//! `chorus workspace member`: who belongs to a workspace.
//!
//! A member is a user with at least one role in the workspace.

use clap::{Args, Subcommand, builder::PossibleValuesParser};

use super::user::{self, shown};
use crate::{
    client::{
        Context, connect,
        error::Result,
        output::Column,
        paging::Paging,
        resolve::{self, Reference},
    },
    proto::v1::{
        AddUserRoleInWorkspaceRequest, RemoveUserFromWorkspaceRequest, RemoveUserRoleInWorkspaceRequest, Role, User,
        UserFilter, Workspace,
    },
};

/// `chorus workspace member`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the members with their roles in the workspace
    List(List),
    /// Give a user a role in the workspace
    Add(Add),
    /// Take one role, or all of them, from a user in the workspace
    Remove(Remove),
}

/// `chorus workspace member list`.
#[derive(Debug, Args)]
pub struct List {
    /// Id, name or short name
    workspace: Reference,
    /// Field to sort by
    #[arg(long, default_value = "id", value_name = "FIELD", ignore_case = true, value_parser = PossibleValuesParser::new(
        ["id", "username", "firstname", "lastname", "email", "status", "createdat"]
    ))]
    sort: String,
    #[command(flatten)]
    paging: Paging,
}

/// `chorus workspace member add`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus workspace member add genomics ada
  chorus workspace member add genomics ada --role WorkspaceAdmin")]
pub struct Add {
    /// Id, name or short name of the workspace
    workspace: Reference,
    /// Id or user name
    user: Reference,
    /// Name of a role of scope workspace, as in `chorus role list --scope workspace`
    #[arg(long, default_value = "WorkspaceMember")]
    role: String,
}

/// `chorus workspace member remove`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus workspace member remove genomics ada
  chorus workspace member remove genomics ada --role WorkspaceAdmin")]
pub struct Remove {
    /// Id, name or short name of the workspace
    workspace: Reference,
    /// Id or user name
    user: Reference,
    /// Only this role; without it the user leaves the workspace and its workbenches
    #[arg(long)]
    role: Option<String>,
}

impl Command {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Add(add) => add.run(context).await,
            Self::Remove(remove) => remove.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &mut Context) -> Result<()> {
        let id = resolve::workspace(&context.session, &self.workspace).await?;
        let filter = UserFilter { workspace_ids: vec![id], ..UserFilter::default() };
        let members = user::list(context, &self.paging, &self.sort, filter).await?;
        context.printer.list(&members, &columns(id))
    }
}

impl Add {
    async fn run(self, context: &mut Context) -> Result<()> {
        let session = &context.session;
        let id = resolve::workspace(session, &self.workspace).await?;
        let user_id = resolve::user(session, &self.user).await?;
        let (workspace, user) = (shown(&self.workspace, id), shown(&self.user, user_id));
        let what = format!("make user {user} {} of workspace {workspace}", self.role);
        let role = Role { name: self.role.clone(), ..Role::default() };
        let request = AddUserRoleInWorkspaceRequest { id, user_id, role: Some(role) };
        let call = session.call(&what, "WorkspaceService/AddUserRoleInWorkspace", request, async |channel, request| {
            connect::workspaces(channel).add_user_role_in_workspace(request).await
        });
        let stored = call.await?.result.and_then(|result| result.workspace);
        changed(context, stored, &format!("user {user} is {} of workspace {workspace} now", self.role))
    }
}

impl Remove {
    async fn run(self, context: &mut Context) -> Result<()> {
        let id = resolve::workspace(&context.session, &self.workspace).await?;
        let user_id = resolve::user(&context.session, &self.user).await?;
        let (workspace, user) = (shown(&self.workspace, id), shown(&self.user, user_id));
        match self.role {
            Some(role) => {
                let what = format!("take {role} of workspace {workspace} from user {user}");
                let stored = remove_role(context, &what, id, user_id, &role).await?;
                changed(context, stored, &format!("user {user} is not {role} of workspace {workspace} any more"))
            }
            None => {
                let what = format!("remove user {user} from workspace {workspace}");
                let stored = remove_user(context, &what, id, user_id).await?;
                changed(context, stored, &format!("user {user} has left workspace {workspace}"))
            }
        }
    }
}

async fn remove_role(context: &Context, what: &str, id: u64, user_id: u64, role: &str) -> Result<Option<Workspace>> {
    let request = RemoveUserRoleInWorkspaceRequest { id, user_id, role_name: role.to_owned() };
    let rpc = "WorkspaceService/RemoveUserRoleInWorkspace";
    let call = context.session.call(what, rpc, request, async |channel, request| {
        connect::workspaces(channel).remove_user_role_in_workspace(request).await
    });
    Ok(call.await?.result.and_then(|result| result.workspace))
}

async fn remove_user(context: &Context, what: &str, id: u64, user_id: u64) -> Result<Option<Workspace>> {
    let request = RemoveUserFromWorkspaceRequest { id, user_id };
    let rpc = "WorkspaceService/RemoveUserFromWorkspace";
    let call = context.session.call(what, rpc, request, async |channel, request| {
        connect::workspaces(channel).remove_user_from_workspace(request).await
    });
    Ok(call.await?.result.and_then(|result| result.workspace))
}

/// Somebody who leaves a workspace may not be shown it any more, so the reply can be empty.
fn changed(context: &mut Context, stored: Option<Workspace>, message: &str) -> Result<()> {
    context.printer.changed(&stored.unwrap_or_default(), message)
}

fn columns(workspace: u64) -> Vec<Column<User>> {
    let workspace = workspace.to_string();
    let mut columns = user::columns();
    columns.retain(|column| !column.is("roles") && !column.is("created"));
    let here = move |user: &User| {
        let roles = user.roles_with_context.iter();
        let here = roles.filter(|role| role.context.get("workspace") == Some(&workspace));
        here.map(|role| role.name.clone()).collect::<Vec<_>>()
    };
    columns.push(Column::new("roles", here));
    columns
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::client::output::{Format, Printer};

    #[test]
    fn only_roles_in_the_workspace_are_shown() {
        let role = |name: &str, workspace: &str| Role {
            id: 1,
            name: name.to_owned(),
            context: BTreeMap::from([("workspace".to_owned(), workspace.to_owned())]),
        };
        let user = User {
            id: 7,
            username: "ada".to_owned(),
            first_name: "Ada".to_owned(),
            status: "active".to_owned(),
            roles_with_context: vec![
                role("WorkspaceMember", "3"),
                role("WorkspaceAdmin", "4"),
                role("WorkspaceDataManager", "3"),
            ],
            ..User::default()
        };
        let mut out = Vec::new();
        Printer::to(Format::Table, &mut out).list(&[user], &columns(3)).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        ID  USERNAME  NAME  STATUS  ROLES
        7   ada       Ada   active  WorkspaceMember, WorkspaceDataManager
        ");
    }
}
