//! `chorus workspace member`, `chorus workbench member`: who belongs to a place.
//!
//! A member is a user with at least one role there. What differs between the two places is in [`Place`].

use clap::{Args, Subcommand, builder::PossibleValuesParser};

use super::user::{self, shown};
use crate::{
    client::{
        Context,
        connect::{self, Session},
        error::Result,
        output::{Column, Resource},
        paging::Paging,
        resolve::{self, Reference},
    },
    proto::v1::{
        AddUserRoleInWorkspaceRequest, RemoveUserFromWorkspaceRequest, RemoveUserRoleInWorkspaceRequest, Role, User,
        UserFilter, Workspace,
    },
};

/// Something that has members, as the command line names it.
#[expect(async_fn_in_trait, reason = "the client runs on one thread")]
pub trait Place: Args + std::fmt::Debug {
    /// What it is, in one word; roles there are confined to this dimension.
    const KIND: &'static str;
    /// The role of a member about whom nothing else is said.
    const ROLE: &'static str;
    /// The roles that there are.
    const ROLES: &'static str;
    /// How members are added and removed.
    const EXAMPLES: (&'static str, &'static str);
    /// What can be taken from a member instead of everything.
    type Part: Args + std::fmt::Debug;
    /// What changes say in return.
    type Thing: Resource + Default;

    /// How it was named.
    fn reference(&self) -> &Reference;
    /// Its id.
    async fn id(&self, session: &Session) -> Result<u64>;
    /// Its members.
    fn members(id: u64) -> UserFilter;
    /// Gives a user a role in it.
    async fn add(session: &Session, what: &str, id: u64, user_id: u64, role: Role) -> Result<Option<Self::Thing>>;
    /// Takes this part from a user. Place and user come with their names; so does what to tell of it.
    async fn remove(
        session: &Session,
        part: Self::Part,
        place: (u64, &str),
        user: (u64, &str),
    ) -> Result<(Option<Self::Thing>, String)>;
}

/// `chorus … member`.
#[derive(Debug, Subcommand)]
pub enum Command<P: Place> {
    /// List the members with their roles
    List(List<P>),
    /// Give a user a role
    Add(Add<P>),
    /// Remove a user, or take a role
    Remove(Remove<P>),
}

/// `chorus … member list`.
#[derive(Debug, Args)]
pub struct List<P: Place> {
    #[command(flatten)]
    place: P,
    /// Field to sort by
    #[arg(long, default_value = "id", value_name = "FIELD", ignore_case = true, value_parser = PossibleValuesParser::new(
        ["id", "username", "firstname", "lastname", "email", "status", "createdat"]
    ))]
    sort: String,
    #[command(flatten)]
    paging: Paging,
}

/// `chorus … member add`.
#[derive(Debug, Args)]
#[command(after_help = P::EXAMPLES.0)]
pub struct Add<P: Place> {
    #[command(flatten)]
    place: P,
    /// Id or user name
    user: Reference,
    #[arg(long, default_value = P::ROLE, help = P::ROLES)]
    role: String,
}

/// `chorus … member remove`.
#[derive(Debug, Args)]
#[command(after_help = P::EXAMPLES.1)]
pub struct Remove<P: Place> {
    #[command(flatten)]
    place: P,
    /// Id or user name
    user: Reference,
    #[command(flatten)]
    part: P::Part,
}

impl<P: Place> Command<P> {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Add(add) => add.run(context).await,
            Self::Remove(remove) => remove.run(context).await,
        }
    }
}

impl<P: Place> List<P> {
    async fn run(self, context: &mut Context) -> Result<()> {
        let id = self.place.id(&context.session).await?;
        let members = user::list(context, &self.paging, &self.sort, P::members(id)).await?;
        context.printer.list(&members, &columns(P::KIND, id))
    }
}

impl<P: Place> Add<P> {
    async fn run(self, context: &mut Context) -> Result<()> {
        let session = &context.session;
        let id = self.place.id(session).await?;
        let user_id = resolve::user(session, &self.user).await?;
        let (place, user) = (shown(self.place.reference(), id), shown(&self.user, user_id));
        let what = format!("make user {user} {} of {} {place}", self.role, P::KIND);
        let role = Role { name: self.role.clone(), ..Role::default() };
        let stored = P::add(session, &what, id, user_id, role).await?;
        changed(context, stored, &format!("user {user} is {} of {} {place} now", self.role, P::KIND))
    }
}

impl<P: Place> Remove<P> {
    async fn run(self, context: &mut Context) -> Result<()> {
        let session = &context.session;
        let id = self.place.id(session).await?;
        let user_id = resolve::user(session, &self.user).await?;
        let (place, user) = (shown(self.place.reference(), id), shown(&self.user, user_id));
        let (stored, message) = P::remove(session, self.part, (id, &place), (user_id, &user)).await?;
        changed(context, stored, &message)
    }
}

/// Somebody who leaves a place may not be shown it any more, so the reply can be empty.
fn changed<T: Resource + Default>(context: &mut Context, stored: Option<T>, message: &str) -> Result<()> {
    context.printer.changed(&stored.unwrap_or_default(), message)
}

/// The columns of users, with the roles of this place only.
fn columns(dimension: &'static str, id: u64) -> Vec<Column<User>> {
    let id = id.to_string();
    let mut columns = user::columns();
    columns.retain(|column| !column.is("roles") && !column.is("created"));
    let here = move |user: &User| {
        let roles = user.roles_with_context.iter();
        let here = roles.filter(|role| role.context.get(dimension) == Some(&id));
        here.map(|role| role.name.clone()).collect::<Vec<_>>()
    };
    columns.push(Column::new("roles", here));
    columns
}

/// The workspace whose members are meant.
#[derive(Debug, Args)]
pub struct InWorkspace {
    /// Id, name or short name of the workspace
    workspace: Reference,
}

/// What can be taken from a member of a workspace.
#[derive(Debug, Args)]
pub struct OneRole {
    /// Only this role; without it the user leaves the workspace and its workbenches
    #[arg(long)]
    role: Option<String>,
}

impl Place for InWorkspace {
    const KIND: &'static str = "workspace";
    const ROLE: &'static str = "WorkspaceMember";
    const ROLES: &'static str = "Name of a role of scope workspace, as in `chorus role list --scope workspace`";
    const EXAMPLES: (&'static str, &'static str) = (
        "\
Examples:
  chorus workspace member add genomics ada
  chorus workspace member add genomics ada --role WorkspaceAdmin",
        "\
Examples:
  chorus workspace member remove genomics ada
  chorus workspace member remove genomics ada --role WorkspaceAdmin",
    );
    type Part = OneRole;
    type Thing = Workspace;

    fn reference(&self) -> &Reference {
        &self.workspace
    }

    async fn id(&self, session: &Session) -> Result<u64> {
        resolve::workspace(session, &self.workspace).await
    }

    fn members(id: u64) -> UserFilter {
        UserFilter { workspace_ids: vec![id], ..UserFilter::default() }
    }

    async fn add(session: &Session, what: &str, id: u64, user_id: u64, role: Role) -> Result<Option<Workspace>> {
        let request = AddUserRoleInWorkspaceRequest { id, user_id, role: Some(role) };
        let call = session.call(what, "WorkspaceService/AddUserRoleInWorkspace", request, async |channel, request| {
            connect::workspaces(channel).add_user_role_in_workspace(request).await
        });
        Ok(call.await?.result.and_then(|result| result.workspace))
    }

    async fn remove(
        session: &Session,
        part: OneRole,
        (id, place): (u64, &str),
        (user_id, user): (u64, &str),
    ) -> Result<(Option<Workspace>, String)> {
        let Some(role) = part.role else {
            let what = format!("remove user {user} from workspace {place}");
            let request = RemoveUserFromWorkspaceRequest { id, user_id };
            let rpc = "WorkspaceService/RemoveUserFromWorkspace";
            let call = session.call(&what, rpc, request, async |channel, request| {
                connect::workspaces(channel).remove_user_from_workspace(request).await
            });
            let stored = call.await?.result.and_then(|result| result.workspace);
            return Ok((stored, format!("user {user} has left workspace {place}")));
        };
        let what = format!("take {role} of workspace {place} from user {user}");
        let message = format!("user {user} is not {role} of workspace {place} any more");
        let request = RemoveUserRoleInWorkspaceRequest { id, user_id, role_name: role };
        let rpc = "WorkspaceService/RemoveUserRoleInWorkspace";
        let call = session.call(&what, rpc, request, async |channel, request| {
            connect::workspaces(channel).remove_user_role_in_workspace(request).await
        });
        Ok((call.await?.result.and_then(|result| result.workspace), message))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::client::output::{Format, Printer};

    #[test]
    fn only_roles_in_the_place_are_shown() {
        let role = |name: &str, context: &[(&str, &str)]| Role {
            id: 1,
            name: name.to_owned(),
            context: context.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
        };
        let user = User {
            id: 7,
            username: "ada".to_owned(),
            first_name: "Ada".to_owned(),
            status: "active".to_owned(),
            roles_with_context: vec![
                role("WorkspaceMember", &[("workspace", "3")]),
                role("WorkspaceAdmin", &[("workspace", "4")]),
                role("WorkspaceDataManager", &[("workspace", "3")]),
                role("WorkbenchMember", &[("workspace", "3"), ("workbench", "9")]),
            ],
            ..User::default()
        };
        let print = |dimension, id| {
            let mut out = Vec::new();
            Printer::to(Format::Table, &mut out).list(std::slice::from_ref(&user), &columns(dimension, id)).unwrap();
            String::from_utf8(out).unwrap()
        };
        insta::assert_snapshot!(print("workspace", 3), @r"
        ID  USERNAME  NAME  STATUS  ROLES
        7   ada       Ada   active  WorkspaceMember, WorkspaceDataManager, WorkbenchMember
        ");
        insta::assert_snapshot!(print("workbench", 9), @r"
        ID  USERNAME  NAME  STATUS  ROLES
        7   ada       Ada   active  WorkbenchMember
        ");
    }
}
