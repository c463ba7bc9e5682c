//! Giving roles and taking them.
//!
//! A role is granted in a context: WorkspaceMember of one workspace, PlatformAuditor of everything. The role's definition at
//! the server says which context it needs, so the flags are checked against it before anything is granted.

use std::collections::BTreeMap;

use clap::Args;

use super::definition;
use crate::{
    client::{
        Context,
        commands::user,
        connect,
        connect::Session,
        error::{Error, Result},
        resolve::{self, Reference},
    },
    proto::v1::{AuthorizationRole, CreateUserRoleRequest, DeleteUserRoleRequest, Role, User},
};

/// `chorus role grant`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus role grant ada WorkspaceMember --workspace genomics
  chorus role grant ada PlatformUserManager
  chorus role grant ada WorkbenchViewer --workbench genomics/desk")]
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
    /// Workbench in which the role applies, by id, name, or WORKSPACE/NAME
    #[arg(long, value_name = "WORKBENCH", conflicts_with = "all_workbenches")]
    workbench: Option<Reference>,
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
        if let Some(workbench) = &self.workbench {
            let id = resolve::workbench_id(session, workbench, None).await?;
            context.insert("workbench".to_owned(), id.to_string());
        }
        for (all, dimension) in [(self.all_workspaces, "workspace"), (self.all_workbenches, "workbench")] {
            if all {
                context.insert(dimension.to_owned(), ANY.to_owned());
            }
        }
        Ok(context)
    }
}

impl Grant {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
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
        let value = match (given.remove(dimension), role.workspace_id) {
            (Some(value), _) => value,
            // there is only one place for a role that belongs to a workspace
            (None, Some(id)) if dimension == "workspace" => id.to_string(),
            // the one platform role that is about a single user: everybody's own
            (None, _) if role.name == "Authenticated" => user_id.to_string(),
            (None, _) if matches!(role.scope.as_str(), "platform" | "system") => ANY.to_owned(),
            (None, _) => {
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
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
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
        let here = AuthorizationRole { workspace_id: Some(5), ..role("Reader", "workspace", &["workspace"]) };
        let table = [
            (&member, map(&[("workspace", "5")]), Some(map(&[("workspace", "5")]))),
            (&member, map(&[("workspace", "*")]), Some(map(&[("workspace", "*")]))),
            (&member, map(&[]), None),
            (&member, map(&[("workspace", "5"), ("workbench", "6")]), None),
            (&manager, map(&[]), Some(map(&[("user", "*")]))),
            (&manager, map(&[("workspace", "5")]), None),
            (&everything, map(&[]), Some(map(&[("user", "*"), ("workspace", "*"), ("workbench", "*")]))),
            (&own, map(&[]), Some(map(&[("user", "7")]))),
            (&here, map(&[]), Some(map(&[("workspace", "5")]))),
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
