//! `chorus role`: what roles there are, and who gets them.
//!
//! A role is granted in a context: WorkspaceMember of one workspace, PlatformAuditor of everything. The role's definition at
//! the server says which context it needs, so the flags are checked against it before anything is granted.

use std::collections::BTreeMap;

use clap::{Args, Subcommand, ValueEnum};

use super::user;
use crate::{
    client::{
        Context, connect,
        connect::Session,
        error::{Error, Result},
        output::{Column, Resource},
        resolve::{self, Reference},
    },
    proto::v1::{
        AuthorizationPermission, AuthorizationRole, CreateUserRoleRequest, DeleteUserRoleRequest,
        ListPermissionsRequest, ListRolesRequest, Role, User,
    },
};

/// `chorus role`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the roles that can be granted
    List(List),
    /// List permissions, all or those of one role
    Permissions(Permissions),
    /// Give a role to a user
    ///
    /// A role about a workspace or a workbench needs to know which one. Platform roles apply to everything.
    Grant(Grant),
    /// Take a role from a user
    ///
    /// The role is named as it was granted, or by the id of the grant, which `chorus user get` shows in brackets.
    Revoke(Revoke),
}

/// `chorus role list`.
#[derive(Debug, Args)]
pub struct List {
    /// Only roles of this scope
    #[arg(long, value_enum)]
    scope: Option<Scope>,
}

/// What a role is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scope {
    System,
    Platform,
    Workspace,
    Workbench,
}

impl Scope {
    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Platform => "platform",
            Self::Workspace => "workspace",
            Self::Workbench => "workbench",
        }
    }
}

/// `chorus role permissions`.
#[derive(Debug, Args)]
pub struct Permissions {
    /// Name of the role
    role: Option<String>,
}

/// `chorus role grant`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus role grant ada WorkspaceMember --workspace genomics
  chorus role grant ada PlatformUserManager
  chorus role grant ada WorkbenchViewer --workbench 12")]
pub struct Grant {
    /// Id or user name
    user: Reference,
    /// Name of the role, as in `chorus role list`
    role: String,
    #[command(flatten)]
    place: Place,
}

/// `chorus role revoke`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus role revoke ada WorkspaceMember --workspace genomics
  chorus role revoke ada 57")]
pub struct Revoke {
    /// Id or user name
    user: Reference,
    /// Name of the role, or id of the grant
    role: String,
    #[command(flatten)]
    place: Place,
}

/// Where a role applies.
#[derive(Debug, Default, Args)]
struct Place {
    /// Workspace in which the role applies, by id or name
    #[arg(long, value_name = "WORKSPACE", conflicts_with = "all_workspaces")]
    workspace: Option<Reference>,
    /// The role applies in every workspace
    #[arg(long)]
    all_workspaces: bool,
    /// Workbench in which the role applies
    #[arg(long, value_name = "ID", conflicts_with = "all_workbenches")]
    workbench: Option<u64>,
    /// The role applies in every workbench
    #[arg(long)]
    all_workbenches: bool,
}

/// Stands for every id.
const ANY: &str = "*";

impl Place {
    /// The context dimensions that the flags state.
    async fn context(&self, session: &Session) -> Result<BTreeMap<String, String>> {
        let mut context = BTreeMap::new();
        if let Some(workspace) = &self.workspace {
            context.insert("workspace".to_owned(), resolve::workspace(session, workspace).await?.to_string());
        }
        if let Some(workbench) = self.workbench {
            context.insert("workbench".to_owned(), workbench.to_string());
        }
        for (all, dimension) in [(self.all_workspaces, "workspace"), (self.all_workbenches, "workbench")] {
            if all {
                context.insert(dimension.to_owned(), ANY.to_owned());
            }
        }
        Ok(context)
    }
}

impl Command {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        match self {
            Self::List(list) => {
                let mut roles = roles(&context.session).await?;
                roles.retain(|role| list.scope.is_none_or(|scope| role.scope == scope.name()));
                context.printer.list(&roles, &role_columns())
            }
            Self::Permissions(command) => command.run(context).await,
            Self::Grant(grant) => grant.run(context).await,
            Self::Revoke(revoke) => revoke.run(context).await,
        }
    }
}

async fn roles(session: &Session) -> Result<Vec<AuthorizationRole>> {
    let call =
        session.call("list roles", "AuthorizationService/ListRoles", ListRolesRequest {}, async |channel, request| {
            connect::authorization(channel).list_roles(request).await
        });
    Ok(call.await?.result.unwrap_or_default().roles)
}

/// Whether a role of the user grants a permission that needs no context.
pub(super) async fn holds(session: &Session, user: &User, permission: &str) -> Result<bool> {
    let granting = |role: &AuthorizationRole| role.permissions.iter().any(|granted| granted == permission);
    let held = |role: &AuthorizationRole| user.roles_with_context.iter().any(|held| held.name == role.name);
    Ok(roles(session).await?.iter().any(|role| granting(role) && held(role)))
}

/// The role with this name, in any letter case.
async fn definition(session: &Session, name: &str) -> Result<AuthorizationRole> {
    let roles = roles(session).await?;
    roles
        .into_iter()
        .find(|role| role.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| Error::not_found(format!("there is no role {name:?}")).hint("`chorus role list` shows them"))
}

impl Permissions {
    async fn run(self, context: &mut Context) -> Result<()> {
        let session = &context.session;
        let call = session.call(
            "list permissions",
            "AuthorizationService/ListPermissions",
            ListPermissionsRequest {},
            async |channel, request| connect::authorization(channel).list_permissions(request).await,
        );
        let mut permissions = call.await?.result.unwrap_or_default().permissions;
        if let Some(name) = &self.role {
            let role = definition(session, name).await?;
            permissions.retain(|permission| role.permissions.contains(&permission.name));
        }
        context.printer.list(&permissions, &permission_columns())
    }
}

impl Grant {
    async fn run(self, context: &mut Context) -> Result<()> {
        let session = &context.session;
        let user_id = resolve::user(session, &self.user).await?;
        let role = definition(session, &self.role).await?;
        let role =
            Role { id: 0, context: complete(&role, self.place.context(session).await?, user_id)?, name: role.name };
        let what = format!("grant {} to user {}", role.name, self.user);
        let granted = format!("user {} has the role {} now", user::shown(&self.user, user_id), describe(&role));
        let request = CreateUserRoleRequest { user_id, role: Some(role) };
        let call = session.call(&what, "UserService/CreateUserRole", request, async |channel, request| {
            connect::users(channel).create_user_role(request).await
        });
        let user = call.await?.result.and_then(|result| result.user);
        let user = user.ok_or_else(|| resolve::empty_reply("UserService/CreateUserRole"))?;
        context.printer.changed(&user, &granted)
    }
}

/// The context with exactly the dimensions that the role needs. What the role is about has to be stated; a platform role
/// applies to everything without a word.
fn complete(
    role: &AuthorizationRole,
    mut given: BTreeMap<String, String>,
    user_id: u64,
) -> Result<BTreeMap<String, String>> {
    let mut context = BTreeMap::new();
    for dimension in &role.context {
        let value = match given.remove(dimension) {
            Some(value) => value,
            // the one platform role that is about a single user: everybody's own
            None if role.name == "Authenticated" => user_id.to_string(),
            None if matches!(role.scope.as_str(), "platform" | "system") => ANY.to_owned(),
            None => {
                return Err(Error::usage(format!("the role {} needs a {dimension}", role.name))
                    .hint(format!("say which one with --{dimension}")));
            }
        };
        context.insert(dimension.clone(), value);
    }
    match given.keys().next() {
        Some(dimension) => Err(Error::usage(format!("the role {} takes no {dimension}", role.name))
            .hint(format!("leave --{dimension} out; `chorus role list` shows what a role applies to"))),
        None => Ok(context),
    }
}

impl Revoke {
    async fn run(self, context: &mut Context) -> Result<()> {
        let user = user::get(context, &self.user).await?;
        let place = self.place.context(&context.session).await?;
        let grant = find_grant(&user, &self.role, &place)?;
        let what = format!("revoke {} from user {:?}", grant.name, user.username);
        let revoked = format!("user {} ({:?}) has lost the role {}", user.id, user.username, describe(grant));
        let request = DeleteUserRoleRequest { user_id: user.id, role_id: grant.id };
        let call = context.session.call(&what, "UserService/DeleteUserRole", request, async |channel, request| {
            connect::users(channel).delete_user_role(request).await
        });
        let user = call.await?.result.and_then(|result| result.user);
        let user = user.ok_or_else(|| resolve::empty_reply("UserService/DeleteUserRole"))?;
        context.printer.changed(&user, &revoked)
    }
}

/// The one grant of the user that fits: by its id, or by role and what is stated of the context.
fn find_grant<'a>(user: &'a User, role: &str, place: &BTreeMap<String, String>) -> Result<&'a Role> {
    let id: Option<u64> = role.parse().ok();
    let fits = |grant: &&Role| match id {
        Some(id) => grant.id == id,
        None => {
            grant.name.eq_ignore_ascii_case(role)
                && place.iter().all(|(dimension, value)| grant.context.get(dimension) == Some(value))
        }
    };
    let fitting: Vec<_> = user.roles_with_context.iter().filter(fits).collect();
    match fitting.as_slice() {
        [one] => Ok(one),
        [] => Err(Error::not_found(format!("user {:?} has no role {role} that fits", user.username))
            .hint(format!("`chorus user get {}` shows the roles", user.id))),
        several => {
            let list: Vec<_> = several.iter().map(|grant| user::role(grant)).collect();
            Err(Error::usage(format!("user {:?} has the role {role} more than once", user.username))
                .hint(format!("say where, or use the id in brackets: {}", list.join(", "))))
        }
    }
}

/// A role with where it applies, without an id.
fn describe(role: &Role) -> String {
    let mut text = role.name.clone();
    for (dimension, value) in &role.context {
        match (dimension.as_str(), value.as_str()) {
            // everybody: that is what being a platform role means
            ("user", ANY) => {}
            ("user", id) => text.push_str(&format!(" for user {id}")),
            (_, ANY) => text.push_str(&format!(" in every {dimension}")),
            (_, id) => text.push_str(&format!(" in {dimension} {id}")),
        }
    }
    text
}

impl Resource for AuthorizationRole {
    const KIND: &'static str = "role";
    const MESSAGE: &'static str = "chorus.v1.AuthorizationRole";

    fn id(&self) -> String {
        self.name.clone()
    }
}

impl Resource for AuthorizationPermission {
    const KIND: &'static str = "permission";
    const MESSAGE: &'static str = "chorus.v1.AuthorizationPermission";

    fn id(&self) -> String {
        self.name.clone()
    }
}

fn role_columns() -> Vec<Column<AuthorizationRole>> {
    vec![
        Column::new("name", |r: &AuthorizationRole| r.name.clone()),
        Column::new("scope", |r: &AuthorizationRole| r.scope.clone()),
        Column::new("context", |r: &AuthorizationRole| r.context.clone()),
        Column::new("dynamic", |r: &AuthorizationRole| r.dynamic).wide(),
        Column::new("description", |r: &AuthorizationRole| r.description.clone()),
        Column::new("permissions", |r: &AuthorizationRole| r.permissions.len() as u64).wide(),
    ]
}

fn permission_columns() -> Vec<Column<AuthorizationPermission>> {
    vec![
        Column::new("name", |p: &AuthorizationPermission| p.name.clone()),
        Column::new("context", |p: &AuthorizationPermission| p.context.clone()),
        Column::new("description", |p: &AuthorizationPermission| p.description.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, scope: &str, context: &[&str]) -> AuthorizationRole {
        AuthorizationRole {
            name: name.to_owned(),
            scope: scope.to_owned(),
            context: context.iter().map(|d| (*d).to_owned()).collect(),
            ..AuthorizationRole::default()
        }
    }

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_context_is_what_the_role_needs() {
        let member = role("WorkspaceMember", "workspace", &["workspace"]);
        let manager = role("PlatformUserManager", "platform", &["user"]);
        let everything = role("SuperAdmin", "system", &["user", "workspace", "workbench"]);
        let own = role("Authenticated", "platform", &["user"]);
        let table = [
            (&member, map(&[("workspace", "5")]), Some(map(&[("workspace", "5")]))),
            (&member, map(&[("workspace", "*")]), Some(map(&[("workspace", "*")]))),
            (&member, map(&[]), None),
            (&member, map(&[("workspace", "5"), ("workbench", "6")]), None),
            (&manager, map(&[]), Some(map(&[("user", "*")]))),
            (&manager, map(&[("workspace", "5")]), None),
            (&everything, map(&[]), Some(map(&[("user", "*"), ("workspace", "*"), ("workbench", "*")]))),
            (&own, map(&[]), Some(map(&[("user", "7")]))),
        ];
        for (role, given, expected) in table {
            assert_eq!(complete(role, given.clone(), 7).ok(), expected, "{} {given:?}", role.name);
        }
        let error = complete(&member, map(&[]), 7).unwrap_err();
        insta::assert_snapshot!(error, @r"
        error: the role WorkspaceMember needs a workspace
        hint: say which one with --workspace
        ");
    }

    #[test]
    fn a_grant_is_found_by_id_or_by_what_it_is() {
        let grant = |id, name: &str, workspace: &str| Role {
            id,
            name: name.to_owned(),
            context: map(&[("workspace", workspace)]),
        };
        let user = User {
            id: 7,
            username: "ada".to_owned(),
            roles_with_context: vec![
                grant(1, "WorkspaceMember", "3"),
                grant(2, "WorkspaceMember", "4"),
                grant(3, "WorkspaceAdmin", "3"),
            ],
            ..User::default()
        };
        let table = [
            ("2", map(&[]), Ok(2)),
            ("workspaceadmin", map(&[]), Ok(3)),
            ("WorkspaceMember", map(&[("workspace", "4")]), Ok(2)),
            ("WorkspaceMember", map(&[]), Err(2)),
            ("WorkspaceMember", map(&[("workspace", "9")]), Err(3)),
            ("9", map(&[]), Err(3)),
        ];
        for (role, place, expected) in table {
            let found = find_grant(&user, role, &place).map(|grant| grant.id).map_err(|e| e.exit() as u8);
            assert_eq!(found, expected, "{role} {place:?}");
        }
        let error = find_grant(&user, "WorkspaceMember", &map(&[])).unwrap_err().to_string();
        assert!(error.contains("WorkspaceMember workspace=3 [1], WorkspaceMember workspace=4 [2]"), "{error}");
    }
}
