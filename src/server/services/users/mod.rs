//! User accounts: who may sign in, under which names, with which password and roles.
//!
//! ```text
//! api ──► accounts   create, update, delete
//!     ├─► service    accounts for programs
//!     ├─► passwords  one's own, and temporary ones
//!     ├─► totp       one's own second factor
//!     ├─► list       who sees whom, and how much of it
//!     └─► roles      (its own room) grant, revoke
//!            └──► store: the rows
//! bootstrap: the first tenant and its administrator
//! ```
//!
//! What always holds: a user name is unique among all tenants, whatever its letter case; an account has the role
//! `Authenticated` for itself from its first moment; whoever is disabled or deleted, or gets another password, is signed
//! out in the same transaction; disabling, deleting and a reset of the password also revoke every API token; one active
//! SuperAdmin stays. An account is only deleted with `DeleteUser`: a status of `deleted` in an update is refused.

mod accounts;
mod api;
mod bootstrap;
mod list;
mod passwords;
mod service;
mod store;
mod totp;

use std::collections::BTreeSet;

use crate::{
    proto::v1,
    server::{
        access::{caller::Account, catalogue::Dimension, context::Bound, decide::Assignment},
        config::Config,
        db::{On, fold, is_invisible},
        error::{Error, Result},
        pipeline::Authorized,
        services::{Base, roles, timestamp, wire_id},
    },
};

pub use bootstrap::{FirstAdmin, bootstrap};
pub use store::{COLUMNS, find, has_users};

/// The source of accounts whose password is kept here.
pub const INTERNAL: &str = "internal";

/// The source of accounts for programs, which cannot sign in.
pub const SERVICE: &str = "service";

/// The room of users.
pub struct Users {
    base: Base,
}

impl Users {
    /// The room over what every room stands on.
    pub fn new(base: Base) -> Self {
        Self { base }
    }
}

/// The user of the caller's tenant, unless deleted.
///
/// # Errors
/// `USER_NOT_FOUND`.
pub async fn account(on: impl Into<On<'_>>, by: &Authorized, id: i64) -> Result<Account> {
    store::find(on, by, id).await?.ok_or_else(|| not_found(id))
}

/// A user as clients see it, with roles.
pub fn message(account: &Account, held: &[Assignment], config: &Config) -> v1::User {
    let workspaces: BTreeSet<u64> = held.iter().filter_map(workspace_of).collect();
    v1::User {
        email: account.email.clone(),
        totp_enabled: account.totp_enabled,
        password_changed: account.password_changed,
        roles_with_context: held.iter().map(roles::message).collect(),
        namespaces: workspaces.iter().map(|id| format!("workspace{id}")).collect(),
        uid: wire_id(account.id) + u64::from(config.user.uid_offset),
        gids: workspaces.iter().map(|id| id + u64::from(config.workspace.gid_offset)).collect(),
        ..outline(account)
    }
}

/// What of a user is shown to those who only look for people.
fn outline(account: &Account) -> v1::User {
    v1::User {
        id: wire_id(account.id),
        first_name: account.first_name.clone(),
        last_name: account.last_name.clone(),
        username: account.username.clone(),
        source: account.source.clone(),
        status: account.status.clone(),
        created_at: Some(timestamp(account.created_at)),
        updated_at: Some(timestamp(account.updated_at)),
        ..v1::User::default()
    }
}

/// The one workspace that an assignment binds; a role in all workspaces has no namespace and no group.
fn workspace_of(assignment: &Assignment) -> Option<u64> {
    match assignment.context.get(Dimension::Workspace) {
        Some(Bound::Id(id)) => Some(wire_id(id)),
        Some(Bound::Any) | None => None,
    }
}

/// What the password of this user must not resemble.
fn names(account: &Account) -> Vec<String> {
    [&account.first_name, &account.last_name, &account.username, &account.email].map(Clone::clone).to_vec()
}

/// The rules on names that the contract cannot state.
fn check_names(user: &v1::User) -> Result<()> {
    for (field, value) in [("firstName", &user.first_name), ("lastName", &user.last_name)] {
        if value.trim().is_empty() {
            return Err(Error::field(field, "required", format!("{field} is only white space. Write the name.")));
        }
    }
    if user.username.trim() != user.username {
        let text = "The user name has white space at an end. Leave it out: nobody would type it at sign-in.";
        return Err(Error::field("username", "trimmed", text));
    }
    check_username(&user.username)
}

/// Whether an account may be without e-mail address. Programs have none.
fn check_email(email: &str, source: &str, config: &Config) -> Result<()> {
    if config.require_email && email.is_empty() && source != SERVICE {
        return Err(Error::field("email", "required", "Every user of this server needs an e-mail address."));
    }
    Ok(())
}

/// Names that would be taken for something else: an id, oneself, a way to write a name, a path.
fn check_username(name: &str) -> Result<()> {
    // as it is looked up: a full-width digit is a digit
    let name = &*fold(name);
    let wrong = if name.chars().any(|c| c.is_whitespace() || is_invisible(c)) {
        "has white space inside, or a character that nobody sees"
    } else if ["system", "me", ".", ".."].contains(&name) {
        "means something else already"
    } else if name.chars().all(|c| c.is_ascii_digit()) {
        "reads as an id, since it is all digits"
    } else if name.starts_with('@') || name.starts_with("name:") {
        "begins with @ or name:, which mean something on the command line"
    } else if name.contains(['/', '\\']) {
        "has a slash"
    } else {
        return Ok(());
    };
    Err(Error::field("username", "reserved", format!("The user name {wrong}. Choose another one.")))
}

fn not_found(id: impl std::fmt::Display) -> Error {
    Error::not_found("USER_NOT_FOUND", format!("There is no user {id}."))
}

#[cfg(test)]
pub(super) mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::server::access::context::Context;

    #[test]
    fn user_names_that_read_as_something_else() {
        for good in ["ada", "ada.lovelace@example.org", "ada-1", "1a", "łukasz", "доктор"] {
            assert!(check_username(good).is_ok(), "{good}");
        }
        for bad in ["1", "0042", "@me", "name:ada", "a b", "a\u{a0}b", "a/b", "..\\x"] {
            assert!(check_username(bad).is_err(), "{bad}");
        }
    }

    pub(crate) fn config() -> Config {
        crate::server::config::load(&crate::server::config::Sources::default()).unwrap().config
    }

    fn account() -> Account {
        Account {
            id: 3,
            tenant_id: 1,
            first_name: "Zoë".to_owned(),
            last_name: "Łaska".to_owned(),
            username: "zoe".to_owned(),
            source: INTERNAL.to_owned(),
            email: "zoe@example.org".to_owned(),
            status: "active".to_owned(),
            totp_enabled: true,
            password_changed: true,
            created_at: DateTime::from_timestamp_micros(1_000_001).unwrap(),
            updated_at: DateTime::from_timestamp_micros(2_000_000).unwrap(),
        }
    }

    fn held(id: i64, context: Context) -> Assignment {
        Assignment { id, role: "WorkspaceMember".into(), context }
    }

    #[test]
    fn namespaces_and_groups_are_those_of_single_workspaces_in_order() {
        let any = Context::NONE.with(Dimension::Workspace, Bound::Any);
        let roles = [Context::workspace(12), Context::workspace(5), any, Context::workspace(5), Context::workbench(9)];
        let roles: Vec<_> = roles.into_iter().zip(1..).map(|(context, id)| held(id, context)).collect();
        let mut config = config();
        config.user.uid_offset = 2000;
        config.workspace.gid_offset = 1000;
        let user = message(&account(), &roles, &config);
        assert_eq!(user.namespaces, ["workspace5", "workspace12"]);
        assert_eq!(user.gids, [1005, 1012]);
        assert_eq!(user.uid, 2003);
        assert_eq!(user.roles_with_context.len(), 5);
        assert_eq!((user.password.as_str(), user.roles.len()), ("", 0));
    }

    #[test]
    fn an_outline_keeps_the_rest_to_itself() {
        let user = outline(&account());
        assert_eq!((user.id, user.first_name.as_str(), user.username.as_str()), (3, "Zoë", "zoe"));
        assert_eq!(user.created_at, Some(prost_types::Timestamp { seconds: 1, nanos: 1000 }));
        assert!(user.email.is_empty() && !user.totp_enabled && !user.password_changed && user.uid == 0);
        assert!(user.roles_with_context.is_empty() && user.namespaces.is_empty() && user.gids.is_empty());
    }

    #[test]
    fn names_are_checked() {
        let user = |first: &str, name: &str| v1::User {
            first_name: first.to_owned(),
            last_name: "Łaska".to_owned(),
            username: name.to_owned(),
            ..v1::User::default()
        };
        assert!(check_names(&user("Zoë", "zoe")).is_ok());
        assert!(check_names(&user(" ", "zoe")).is_err());
        assert!(check_names(&user("Zoë", "zoe ")).is_err());
        assert!(check_names(&user("Zoë", "\u{a0}zoe")).is_err());
    }

    #[test]
    fn people_may_need_an_address() {
        let mut config = config();
        assert!(check_email("", INTERNAL, &config).is_ok());
        config.require_email = true;
        assert!(check_email("", INTERNAL, &config).is_err());
        assert!(check_email("zoe@example.org", INTERNAL, &config).is_ok());
        assert!(check_email("", SERVICE, &config).is_ok());
    }
}
