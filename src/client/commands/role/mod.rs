//! `chorus role`: what roles there are, who gets them, and roles of one's own.
//!
//! `grant` gives and takes, `define` creates, changes and deletes; here is what there is to see.

mod define;
mod grant;

use clap::{Args, Subcommand, ValueEnum};

use crate::{
    client::{
        Context, connect,
        connect::Session,
        error::{Error, Result},
        output::{Column, Resource},
    },
    proto::v1::{AuthorizationPermission, AuthorizationRole, ListPermissionsRequest, ListRolesRequest, User},
};

/// `chorus role`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the roles that can be granted
    List(List),
    /// Show one role with its permissions
    #[command(visible_alias = "get")]
    Show(Show),
    /// List permissions, all or those of one role
    Permissions(Permissions),
    /// Give a role to a user
    ///
    /// A role about a workspace or a workbench needs to know which one. Platform roles apply to everything.
    Grant(grant::Grant),
    /// Take a role from a user
    ///
    /// The role is named as it was granted, or by the id of the grant, which `chorus user get` shows in brackets.
    Revoke(grant::Revoke),
    /// Define a role out of permissions that you have
    ///
    /// With --workspace the role belongs to that workspace and can be granted there only. Without, it is a role of the
    /// platform, and holds permissions without context.
    Create(define::Create),
    /// Change a role that was created here
    ///
    /// You need every permission that the role has and every one that it gets. It holds at once for everybody who has the
    /// role.
    Update(define::Update),
    /// Delete a role that was created here
    Delete(define::Delete),
}

/// `chorus role list`.
#[derive(Debug, Args)]
pub struct List {
    /// Only roles of this scope
    #[arg(long, value_enum)]
    scope: Option<Scope>,
}

/// `chorus role show`.
#[derive(Debug, Args)]
pub struct Show {
    /// Name of the role
    role: String,
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

impl Command {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        match self {
            Self::List(list) => {
                let mut roles = roles(&context.session).await?;
                roles.retain(|role| list.scope.is_none_or(|scope| role.scope == scope.name()));
                context.printer.list(&roles, &role_columns())
            }
            Self::Show(show) => {
                let role = definition(&context.session, &show.role).await?;
                context.printer.item(&role, &role_columns())
            }
            Self::Permissions(command) => command.run(context).await,
            Self::Grant(grant) => grant.run(context).await,
            Self::Revoke(revoke) => revoke.run(context).await,
            Self::Create(create) => create.run(context).await,
            Self::Update(update) => update.run(context).await,
            Self::Delete(delete) => delete.run(context).await,
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
        Column::new("workspace", |r: &AuthorizationRole| r.workspace_id.map(|id| id.to_string()).unwrap_or_default())
            .wide(),
        Column::new("permissions", |r: &AuthorizationRole| r.permissions.clone()).alone(),
    ]
}

fn permission_columns() -> Vec<Column<AuthorizationPermission>> {
    vec![
        Column::new("name", |p: &AuthorizationPermission| p.name.clone()),
        Column::new("context", |p: &AuthorizationPermission| p.context.clone()),
        Column::new("description", |p: &AuthorizationPermission| p.description.clone()),
    ]
}
