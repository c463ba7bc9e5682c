//! `chorus audit`: who did what.
//!
//! ```text
//! flags ─► Reading: which RPC the caller may use, and the filter ─► pages by id ─┬─► list: the newest, as a table
//!                                                                               └─► export (audit_export.rs): all
//! ```
//!
//! Five RPCs read the same trail for different readers. Which one is called follows from what the caller may, so that the
//! flags mean the same for everybody: auditors of the platform read all of it, others the part that they name, and who
//! names none reads what he did himself.
//!
//! Pages are asked for by id and not by position: records that arrive meanwhile neither shift nor repeat any.

use clap::{Args, Subcommand, ValueEnum};

use super::{audit_export::Export, moment, role};
use crate::{
    client::{
        Context,
        connect::{self, Session},
        error::Result,
        moment::{self as moments, Moment},
        output::{Column, Resource, say},
        resolve::{self, Reference},
    },
    proto::v1::{
        AuditEntry, AuditFilter, AuditOutcome, ListEntityAuditRequest, ListPlatformAuditRequest, PaginationQuery, Sort,
    },
};

/// The largest page that the server gives out.
pub(super) const PAGE: u32 = 500;

/// `chorus audit`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List records, newest first
    ///
    /// Who may audit the platform reads all records. With --workspace, --workbench or --user, who may audit that one reads
    /// what was done to it. Everybody reads what he did himself (--mine), and what was done to his account (--user @me).
    List(List),
    /// Write all records as newline-delimited JSON, oldest first
    ///
    /// The same readers and conditions as with `chorus audit list`. The memory it takes does not grow with the number of
    /// records. The last line on standard error names the last record; a later export goes on with --after.
    Export(Export),
}

/// `chorus audit list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus audit list --since 24h
  chorus audit list --actor ada --outcome refused --limit 20
  chorus audit list --workspace genomics --action AddWorkspaceMember -o wide
  chorus audit list --mine --since 2026-11-01 --until 2026-12-01
  chorus audit list --user @me -o ndjson | jq -r .action")]
pub struct List {
    #[command(flatten)]
    conditions: Conditions,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Which records; all conditions hold together.
#[derive(Debug, Default, Args)]
pub struct Conditions {
    /// Only records since then: so long ago (90m, 24h, 7d), a day, or a day and a time, in UTC
    #[arg(long, value_name = "WHEN")]
    since: Option<Moment>,
    /// Only records until then
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
    /// Only what this user did: the id, the user name as the records show it, or @me
    #[arg(long, value_name = "USER")]
    actor: Option<Reference>,
    /// Only what you did yourself
    #[arg(long, conflicts_with = "actor")]
    mine: bool,
    /// Only what was done to this user: id, user name, or @me
    #[arg(long, value_name = "USER")]
    user: Option<Reference>,
    /// Only what was done to this workspace: id or name
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Option<Reference>,
    /// Only what was done to this workbench: id, name, or WORKSPACE/NAME
    #[arg(long, value_name = "WORKBENCH")]
    workbench: Option<Reference>,
    /// Only this action, such as CreateWorkspace
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
    /// Only calls that ended like this
    #[arg(long, value_enum, value_name = "HOW")]
    outcome: Option<Outcome>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Outcome {
    /// It was done
    Ok,
    /// The caller may not
    Refused,
    /// It could not be done
    Failed,
}

impl From<Outcome> for AuditOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ok => Self::Ok,
            Outcome::Refused => Self::Refused,
            Outcome::Failed => Self::Failed,
        }
    }
}

impl Command {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Export(export) => export.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &mut Context) -> Result<()> {
        let mut reading = self.conditions.reading(&context.session).await?;
        let wanted = self.limit as usize;
        let mut entries = Vec::new();
        // one more than wanted tells whether there are more
        while entries.len() <= wanted {
            let limit = PAGE.min(u32::try_from(wanted + 1 - entries.len()).unwrap_or(PAGE));
            let page = reading.page(&context.session, limit, Order::NewestFirst).await?;
            let end = page.len() < limit as usize;
            reading.filter.before_id = page.last().map_or(0, |entry| entry.id);
            entries.extend(page);
            if end {
                break;
            }
        }
        let more = entries.len() > wanted;
        entries.truncate(wanted);
        context.printer.list(&entries, &columns())?;
        if more {
            say(&format!("these are the newest {wanted}; --limit shows more, `chorus audit export` all"));
        }
        Ok(())
    }
}

/// From which end the trail is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    NewestFirst,
    OldestFirst,
}

/// A part of the trail that the caller may read, and what of it is wanted.
#[derive(Debug)]
pub(super) struct Reading {
    part: Part,
    /// The conditions; where to go on is among them.
    pub filter: AuditFilter,
}

/// The part of the trail that an RPC is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Platform,
    Workspace(u64),
    Workbench(u64),
    User(u64),
    Actor(u64),
}

impl Conditions {
    /// Finds out what the caller may read, and what the names mean.
    pub(super) async fn reading(self, session: &Session) -> Result<Reading> {
        let now = moments::now();
        let me = resolve::me(session).await?;
        let mut filter = AuditFilter {
            action: self.action.unwrap_or_default(),
            from_time: self.since.map(|since| since.timestamp(now)),
            to_time: self.until.map(|until| until.timestamp(now)),
            outcome: self.outcome.map_or(AuditOutcome::Unspecified, AuditOutcome::from).into(),
            ..AuditFilter::default()
        };
        if let Some(workspace) = &self.workspace {
            filter.workspace_id = resolve::workspace(session, workspace).await?;
        }
        if let Some(workbench) = &self.workbench {
            filter.workbench_id = resolve::workbench_id(session, workbench, None).await?;
        }
        match &self.user {
            Some(Reference::Me) => filter.user_id = me.id,
            Some(user) => filter.user_id = resolve::user(session, user).await?,
            None => {}
        }
        match &self.actor {
            Some(Reference::Name(name)) => filter.actor_username.clone_from(name),
            Some(Reference::Id(id)) => filter.actor_id = *id,
            Some(Reference::Me) => filter.actor_id = me.id,
            None if self.mine => filter.actor_id = me.id,
            None => {}
        }
        if filter.actor_username == me.username {
            filter.actor_id = me.id;
        }
        let part = if filter.actor_id == me.id {
            Part::Actor(me.id)
        } else if role::holds(session, &me, "auditPlatform").await? {
            Part::Platform
        } else {
            part(&filter, self.actor.as_ref(), me.id, session).await?
        };
        Ok(Reading { part, filter })
    }
}

/// The part that the conditions name; without any, the caller's own.
async fn part(filter: &AuditFilter, actor: Option<&Reference>, me: u64, session: &Session) -> Result<Part> {
    Ok(match filter {
        AuditFilter { workspace_id: id @ 1.., .. } => Part::Workspace(*id),
        AuditFilter { workbench_id: id @ 1.., .. } => Part::Workbench(*id),
        AuditFilter { user_id: id @ 1.., .. } => Part::User(*id),
        AuditFilter { actor_id: id @ 1.., .. } => Part::Actor(*id),
        _ => match actor {
            Some(actor) => Part::Actor(resolve::user(session, actor).await?),
            None => {
                say("only what you did yourself: to read the whole trail takes the permission auditPlatform");
                Part::Actor(me)
            }
        },
    })
}

impl Reading {
    /// One page of what the filter leaves.
    pub(super) async fn page(&self, session: &Session, limit: u32, order: Order) -> Result<Vec<AuditEntry>> {
        let order = if order == Order::NewestFirst { "desc" } else { "asc" };
        let sort = Some(Sort { r#type: "id".to_owned(), order: order.to_owned() });
        let pagination = Some(PaginationQuery { limit, sort, ..PaginationQuery::default() });
        let what = "read the audit trail";
        let filter = Some(self.filter.clone());
        let about =
            |id| ListEntityAuditRequest { id, pagination: pagination.clone(), filter: filter.clone(), uncounted: true };
        let reply = match self.part {
            Part::Platform => {
                let request = ListPlatformAuditRequest {
                    pagination: pagination.clone(),
                    filter: filter.clone(),
                    uncounted: true,
                };
                let rpc = "AuditService/ListPlatformAudit";
                session.call(what, rpc, request, async |c, q| connect::audit(c).list_platform_audit(q).await).await?
            }
            Part::Workspace(id) => {
                let rpc = "AuditService/ListWorkspaceAudit";
                session.call(what, rpc, about(id), async |c, q| connect::audit(c).list_workspace_audit(q).await).await?
            }
            Part::Workbench(id) => {
                let rpc = "AuditService/ListWorkbenchAudit";
                session.call(what, rpc, about(id), async |c, q| connect::audit(c).list_workbench_audit(q).await).await?
            }
            Part::User(id) => {
                let rpc = "AuditService/ListUserAudit";
                session.call(what, rpc, about(id), async |c, q| connect::audit(c).list_user_audit(q).await).await?
            }
            Part::Actor(id) => {
                let rpc = "AuditService/ListActorAudit";
                session.call(what, rpc, about(id), async |c, q| connect::audit(c).list_actor_audit(q).await).await?
            }
        };
        Ok(reply.result.unwrap_or_default().entries)
    }
}

impl Resource for AuditEntry {
    const KIND: &'static str = "record";
    const MESSAGE: &'static str = "chorus.v1.AuditEntry";

    fn id(&self) -> String {
        self.id.to_string()
    }
}

fn columns() -> Vec<Column<AuditEntry>> {
    vec![
        Column::new("id", |e: &AuditEntry| e.id),
        Column::new("time", |e: &AuditEntry| moment(e.created_at.as_ref())),
        Column::new("actor", |e: &AuditEntry| e.actor_username.clone()),
        Column::new("action", |e: &AuditEntry| e.action.clone()),
        Column::new("outcome", outcome),
        Column::new("about", about),
        Column::new("address", |e: &AuditEntry| e.address.clone()).wide(),
        Column::new("request", |e: &AuditEntry| e.correlation_id.clone()).wide(),
        Column::new("details", details).wide(),
    ]
}

/// `refused`, or `refused 37 times` where a record stands for many.
fn outcome(entry: &AuditEntry) -> String {
    let outcome = match entry.outcome() {
        AuditOutcome::Unspecified => "",
        AuditOutcome::Ok => "ok",
        AuditOutcome::Refused => "refused",
        AuditOutcome::Failed => "failed",
    };
    match entry.repeats {
        0 | 1 => outcome.to_owned(),
        n => format!("{outcome} {n} times"),
    }
}

fn about(entry: &AuditEntry) -> Vec<String> {
    let things = [("workspace", entry.workspace_id), ("workbench", entry.workbench_id), ("user", entry.user_id)];
    things.into_iter().filter_map(|(kind, id)| Some(format!("{kind} {}", id?))).collect()
}

fn details(entry: &AuditEntry) -> Vec<String> {
    entry.details.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::output::{Format, Printer};

    fn entry() -> AuditEntry {
        AuditEntry {
            id: 7,
            actor_id: 3,
            actor_username: "ada\u{1b}[2J".to_owned(),
            action: "DeleteWorkspace".to_owned(),
            workspace_id: Some(5),
            user_id: Some(4),
            outcome: AuditOutcome::Refused.into(),
            repeats: 37,
            address: "192.0.2.7".to_owned(),
            details: [("workspace_name".to_owned(), "A\u{202e}B\nC".to_owned())].into(),
            ..AuditEntry::default()
        }
    }

    fn print(format: Format) -> String {
        let mut out = Vec::new();
        Printer::to(format, &mut out).list(&[entry()], &columns()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_terminal_obeys_nothing_that_a_record_holds() {
        for format in [Format::Table, Format::Wide, Format::Json, Format::Ndjson, Format::Yaml] {
            let text = print(format);
            assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{format:?}: {text}");
        }
        let table = print(Format::Wide);
        assert!(table.contains(r"workspace_name=A\u{202e}B\nC"), "{table}");
        assert!(table.contains("refused 37 times") && table.contains("workspace 5, user 4"), "{table}");
    }

    #[test]
    fn a_line_a_record() {
        let text = print(Format::Ndjson);
        assert_eq!(text.lines().count(), 1);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&read["id"], &read["details"]["workspace_name"]), (&"7".into(), &"A\u{202e}B\nC".into()));
        assert_eq!((&read["outcome"], &read["userId"]), (&"AUDIT_OUTCOME_REFUSED".into(), &"4".into()));
        assert!(read.get("workbenchId").is_none());
    }
}
