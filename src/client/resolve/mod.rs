//! Names to ids.
//!
//! Wherever a thing is named, its id or its name will do. Digits only are an id; `name:12` is the thing named 12. A name that
//! fits several things is never guessed: the error lists them.

use std::{fmt, str::FromStr};

use super::{
    connect::{self, Session},
    error::{Error, Result},
    output::plural,
    paging::Paging,
};

pub use desktops::{Version, app, app_instance, app_instances, workbench, workbench_id, workbenches};

mod desktops;

use crate::proto::v1::{GetUserMeRequest, ListUsersRequest, ListWorkspacesRequest, User, UserFilter, Workspace};

/// How many candidates an error lists.
const MOST_CANDIDATES: usize = 10;

/// A thing as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// By its id.
    Id(u64),
    /// By its name.
    Name(String),
    /// The caller: `@me`.
    Me,
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("name:") {
            Some("") => Err("a name is missing after `name:`".to_owned()),
            Some(name) => Ok(Self::Name(name.to_owned())),
            None if text.is_empty() => Err("neither an id nor a name".to_owned()),
            None if text == "@me" => Ok(Self::Me),
            None if text.bytes().all(|b| b.is_ascii_digit()) => match text.parse() {
                Ok(0) | Err(_) => Err(format!("{text} is not an id; if it is a name, write name:{text}")),
                Ok(id) => Ok(Self::Id(id)),
            },
            None => Ok(Self::Name(text.to_owned())),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => write!(f, "{name:?}"),
            Self::Me => f.write_str("@me"),
        }
    }
}

/// The id of a user.
pub async fn user(session: &Session, reference: &Reference) -> Result<u64> {
    match reference {
        Reference::Id(id) => Ok(*id),
        Reference::Me => Ok(me(session).await?.id),
        Reference::Name(name) => {
            let found = search_users(session, name).await?;
            let exact: Vec<_> =
                found.iter().filter(|user| user.username.to_lowercase() == name.to_lowercase()).collect();
            pick("user", name, &exact, |user| user.id, describe_user).map_err(|error| match exact.as_slice() {
                [] if !found.is_empty() => error.hint(format!("similar: {}", list(found.iter().map(describe_user)))),
                _ => error,
            })
        }
    }
}

/// The caller.
pub async fn me(session: &Session) -> Result<User> {
    let reply = session
        .call("read your own account", "UserService/GetUserMe", GetUserMeRequest {}, async |channel, request| {
            connect::users(channel).get_user_me(request).await
        })
        .await?;
    reply.result.and_then(|result| result.me).ok_or_else(|| empty_reply("UserService/GetUserMe"))
}

/// The id of a workspace.
pub async fn workspace(session: &Session, reference: &Reference) -> Result<u64> {
    match reference {
        Reference::Id(id) => Ok(*id),
        Reference::Me => Err(Error::usage("@me is a user, not a workspace")),
        Reference::Name(name) => {
            let all = all_workspaces(session, name).await?;
            let fitting = named(&all, name, |w| [&w.name, &w.short_name]);
            pick("workspace", name, &fitting, |w| w.id, |w| format!("{} {:?}", w.id, w.name))
        }
    }
}

/// The things of that name; the same letters in another case count only when nothing fits as it is written.
fn named<'a, T, const N: usize>(all: &'a [T], name: &str, names: impl Fn(&T) -> [&str; N]) -> Vec<&'a T> {
    if name.is_empty() {
        // not those that have no short name
        return Vec::new();
    }
    let exact: Vec<_> = all.iter().filter(|item| names(item).contains(&name)).collect();
    if !exact.is_empty() {
        return exact;
    }
    let folded = name.to_lowercase();
    all.iter().filter(|item| names(item).iter().any(|text| text.to_lowercase() == folded)).collect()
}

/// A reply without its content, which a server of another make may send.
pub fn empty_reply(rpc: &str) -> Error {
    Error::failure(format!("the server answered {rpc} without content"))
        .hint("compare the versions: `chorus version`, `chorus server status`")
}

async fn search_users(session: &Session, name: &str) -> Result<Vec<User>> {
    let what = format!("find the user {name:?}");
    let paging = Paging::default();
    let found = paging.collect("id", async |pagination| {
        let filter = UserFilter { search: Some(name.to_owned()), ..UserFilter::default() };
        let request = ListUsersRequest { pagination: Some(pagination), filter: Some(filter) };
        let reply = session
            .call(&what, "UserService/ListUsers", request, async |channel, request| {
                connect::users(channel).list_users(request).await
            })
            .await?;
        Ok(reply.result.unwrap_or_default().users)
    });
    found.await.map_err(|error| match error.exit() {
        super::error::Exit::Denied => {
            error.replace_hint("looking up a user by name takes a role that may search; the id works without")
        }
        _ => error,
    })
}

async fn all_workspaces(session: &Session, name: &str) -> Result<Vec<Workspace>> {
    let what = format!("find the workspace {name:?}");
    Paging::default()
        .collect("id", async |pagination| {
            let request = ListWorkspacesRequest { pagination: Some(pagination), filter: None };
            let reply = session
                .call(&what, "WorkspaceService/ListWorkspaces", request, async |channel, request| {
                    connect::workspaces(channel).list_workspaces(request).await
                })
                .await?;
            Ok(reply.result.unwrap_or_default().workspaces)
        })
        .await
}

fn describe_user(user: &User) -> String {
    format!("{} {:?} ({} {}, {})", user.id, user.username, user.first_name, user.last_name, user.source)
}

/// The id of the one thing that fits a name; a name is never guessed.
pub fn pick<T>(
    kind: &str,
    name: &str,
    fitting: &[&T],
    id: impl Fn(&T) -> u64,
    describe: impl Fn(&T) -> String,
) -> Result<u64> {
    match fitting {
        [one] => Ok(id(one)),
        [] => Err(Error::not_found(format!("there is no {kind} named {name:?}, or you may not see it"))),
        several => Err(Error::usage(format!("{} {} are named {name:?}", several.len(), plural(kind)))
            .hint(format!("use the id of one: {}", list(several.iter().map(|item| describe(item)))))),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<_> = items.collect();
    let more = items.len().saturating_sub(MOST_CANDIDATES);
    items.truncate(MOST_CANDIDATES);
    let mut text = items.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_an_id_and_anything_else_a_name() {
        let name = |text: &str| Ok(Reference::Name(text.to_owned()));
        let table: [(&str, Result<Reference, ()>); 12] = [
            ("12", Ok(Reference::Id(12))),
            ("012", Ok(Reference::Id(12))),
            ("name:12", name("12")),
            ("name:name:x", name("name:x")),
            ("name:@me", name("@me")),
            ("@me", Ok(Reference::Me)),
            ("genomics", name("genomics")),
            ("12a", name("12a")),
            ("-1", name("-1")),
            ("", Err(())),
            ("name:", Err(())),
            ("99999999999999999999", Err(())),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Reference>().map_err(|_| ()), expected, "{text:?}");
        }
        assert!("0".parse::<Reference>().unwrap_err().contains("name:0"));
    }

    #[test]
    fn a_name_is_never_guessed() {
        let pick = |fitting: &[&u64]| pick("workspace", "a", fitting, |id| *id, |id| format!("{id} \"a\""));
        assert_eq!(pick(&[&7]).unwrap(), 7);
        insta::assert_snapshot!(pick(&[]).unwrap_err(), @r#"error: there is no workspace named "a", or you may not see it"#);
        let error = pick(&[&7, &9]).unwrap_err();
        insta::assert_snapshot!(error, @r#"
        error: 2 workspaces are named "a"
        hint: use the id of one: 7 "a", 9 "a"
        "#);
        assert_eq!(error.exit() as u8, 2);
        let many: Vec<u64> = (0..13).collect();
        assert!(pick(&many.iter().collect::<Vec<_>>()).unwrap_err().to_string().ends_with("9 \"a\" and 3 more"));
    }
}
