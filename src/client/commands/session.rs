//! `chorus session`: where somebody is signed in, and ending that.

use clap::{Args, Subcommand, builder::PossibleValuesParser};

use super::{moment, user::shown};
use crate::{
    client::{
        Context, connect,
        error::Result,
        output::{Column, Resource, say},
        paging::Paging,
        prompt,
        resolve::{self, Reference},
    },
    proto::v1::{ListSessionsRequest, RevokeSessionRequest, RevokeSessionsRequest, Session},
};

/// `chorus session`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the sessions that are open, yours or those of a user
    List(List),
    /// End sessions: who uses them has to sign in again
    Revoke(Revoke),
}

/// `chorus session list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus session list
  chorus session list --user ada --sort lastseenat --desc
  chorus session list -o json | jq -r '.[] | select(.current | not) | .id'")]
pub struct List {
    /// Whose sessions: id or user name; yours without it
    #[arg(long, value_name = "USER")]
    user: Option<Reference>,
    /// Field to sort by
    #[arg(long, default_value = "createdat", value_name = "FIELD", ignore_case = true,
        value_parser = PossibleValuesParser::new(["createdat", "lastseenat", "expiresat", "id"]))]
    sort: String,
    #[command(flatten)]
    paging: Paging,
}

/// `chorus session revoke`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus session revoke 0b6f3d4e-7d0f-4f43-9f0e-1f8a2a2d9c11
  chorus session revoke --others
  chorus session revoke --user ada --all")]
pub struct Revoke {
    /// Ids, as in `chorus session list`
    #[arg(value_name = "ID", required_unless_present_any = ["all", "others"], conflicts_with_all = ["all", "others", "user"])]
    ids: Vec<String>,
    /// Whose sessions: id or user name; yours without it
    #[arg(long, value_name = "USER", requires = "all")]
    user: Option<Reference>,
    /// End all of them; yours include the one of this command
    #[arg(long)]
    all: bool,
    /// End all of yours but the one of this command
    #[arg(long, conflicts_with_all = ["all", "user"])]
    others: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Command {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Revoke(revoke) => revoke.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &mut Context) -> Result<()> {
        let (user_id, theirs) = find(context, self.user.as_ref()).await?;
        let what = format!("list {theirs}");
        let fetch = async |pagination| {
            let request = ListSessionsRequest { pagination: Some(pagination), user_id };
            let rpc = "AuthenticationService/ListSessions";
            let call = context.session.call(&what, rpc, request, async |channel, request| {
                connect::authentication(channel).list_sessions(request).await
            });
            Ok(call.await?.result.unwrap_or_default().sessions)
        };
        let sessions = self.paging.collect(&self.sort, fetch).await?;
        context.printer.list(&sessions, &columns())
    }
}

impl Revoke {
    async fn run(self, context: &mut Context) -> Result<()> {
        if !self.ids.is_empty() {
            for id in &self.ids {
                revoke(context, id).await?;
            }
            return Ok(());
        }
        let (user_id, theirs) = find(context, self.user.as_ref()).await?;
        let theirs = if self.others { "your other sessions".to_owned() } else { theirs };
        prompt::confirm(&format!("End {theirs}?"), self.yes).await?;
        let what = format!("end {theirs}");
        let request = RevokeSessionsRequest { user_id, except_current: self.others };
        let rpc = "AuthenticationService/RevokeSessions";
        let call = context.session.call(&what, rpc, request, async |channel, request| {
            connect::authentication(channel).revoke_sessions(request).await
        });
        match call.await?.result.unwrap_or_default().revoked {
            1 => say("ended 1 session"),
            n => say(&format!("ended {n} sessions")),
        }
        Ok(())
    }
}

async fn revoke(context: &Context, id: &str) -> Result<()> {
    let what = format!("end session {id}");
    let request = RevokeSessionRequest { id: id.to_owned() };
    let rpc = "AuthenticationService/RevokeSession";
    let call = context.session.call(&what, rpc, request, async |channel, request| {
        connect::authentication(channel).revoke_session(request).await
    });
    call.await?;
    say(&format!("ended session {id}"));
    Ok(())
}

/// The id of the user, 0 for oneself, and the sessions in words.
async fn find(context: &Context, user: Option<&Reference>) -> Result<(u64, String)> {
    match user {
        None | Some(Reference::Me) => Ok((0, "your sessions".to_owned())),
        Some(reference) => {
            let id = resolve::user(&context.session, reference).await?;
            Ok((id, format!("the sessions of user {}", shown(reference, id))))
        }
    }
}

impl Resource for Session {
    const KIND: &'static str = "session";
    const MESSAGE: &'static str = "chorus.v1.Session";

    fn id(&self) -> String {
        self.id.clone()
    }
}

fn columns() -> Vec<Column<Session>> {
    vec![
        Column::new("id", |s: &Session| s.id.clone()),
        Column::new("user", |s: &Session| s.username.clone()),
        Column::new("device", |s: &Session| s.device.clone()),
        Column::new("address", |s: &Session| s.address.clone()),
        Column::new("signed in", |s: &Session| moment(s.created_at.as_ref())),
        Column::new("last used", |s: &Session| moment(s.last_seen_at.as_ref())),
        Column::new("this one", |s: &Session| s.current),
        Column::new("ends", |s: &Session| moment(s.expires_at.as_ref())).wide(),
        Column::new("restricted", |s: &Session| s.restricted).wide(),
        Column::new("user agent", |s: &Session| s.user_agent.clone()).wide(),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        command: Command,
    }

    #[test]
    fn it_is_said_which_sessions_end() {
        let parses = |line: &str| Cli::try_parse_from(line.split(' ')).map(|cli| cli.command).is_ok();
        for good in ["x revoke a b", "x revoke --all", "x revoke --others -y", "x revoke --user ada --all --yes"] {
            assert!(parses(good), "{good}");
        }
        for bad in [
            "x revoke",
            "x revoke --user ada",
            "x revoke a --all",
            "x revoke --all --others",
            "x revoke --others --user b",
            "x revoke a --user b",
        ] {
            assert!(!parses(bad), "{bad}");
        }
    }
}
