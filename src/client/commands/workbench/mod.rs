//! `chorus workbench`: remote desktops.
//!
//! An update replaces name, short name and description at the server, so the workbench is read first and only what the flags
//! name is changed. Creating, starting and stopping return at once; `--wait` follows what becomes of it.

use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum, builder::PossibleValuesParser};

use super::{member, moment, open, user::shown};
use crate::{
    client::{
        Context,
        connect::{self, Session},
        error::{Error, Result},
        output::{Column, Resource, say},
        paging::Paging,
        prompt,
        resolve::{self, Reference},
        wait::{self, WorkbenchGoal},
    },
    proto::v1::{DeleteWorkbenchRequest, StartWorkbenchRequest, StopWorkbenchRequest, Workbench, WorkbenchFilter},
};

pub mod app;
mod members;
pub mod watching;

/// `chorus workbench`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the workbenches of the workspaces that you may see
    List(List),
    /// Show one workbench; that does not start one that was stopped for idleness
    Get(Target),
    /// Create a workbench and start its desktop; you become its administrator
    Create(Create),
    /// Change name, short name or description of a workbench
    Update(Update),
    /// Delete a workbench with its apps and memberships
    Delete(Delete),
    /// Stop the desktop and its apps; files stay
    Stop(Stop),
    /// Start a desktop that was stopped
    Start(Start),
    /// Open the desktop in a browser
    Open(open::Open),
    /// Tell how workbenches are, and then each change, until interrupted
    Watch(watching::Watch),
    /// Manage who may use a workbench
    #[command(subcommand)]
    Member(member::Command<Target>),
    /// Start, stop and watch the apps in a workbench
    ///
    /// An INSTANCE is the id of an app instance, as in `chorus workbench app list`, or the name of its app if that is clear.
    #[command(subcommand)]
    App(app::Command),
}

/// The workbench to act on.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// Id, name, short name, or WORKSPACE/NAME
    pub workbench: Reference,
    /// The workspace that it is in, by id or name, where its name alone is not enough
    #[arg(long, value_name = "WORKSPACE")]
    pub workspace: Option<Reference>,
}

impl Target {
    /// The workbench itself.
    pub async fn get(&self, session: &Session) -> Result<Workbench> {
        resolve::workbench(session, &self.workbench, self.workspace.as_ref()).await
    }

    /// Its id, and the name for messages.
    pub async fn find(&self, session: &Session) -> Result<(u64, String)> {
        let id = resolve::workbench_id(session, &self.workbench, self.workspace.as_ref()).await?;
        Ok((id, shown(&self.workbench, id)))
    }
}

/// `chorus workbench list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus workbench list --workspace genomics
  chorus workbench list --sort createdat --desc --limit 10 -o wide
  chorus workbench list -o json | jq -r '.[] | select(.serverPodStatus != \"Ready\") | .id'")]
pub struct List {
    /// Only those of this workspace, by id or name; may be repeated
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Vec<Reference>,
    /// Field to sort by
    #[arg(long, default_value = "id", value_name = "FIELD", ignore_case = true, value_parser = PossibleValuesParser::new(
        ["id", "userid", "workspaceid", "name", "shortname", "status", "createdat"]
    ))]
    sort: String,
    #[command(flatten)]
    paging: Paging,
}

/// `chorus workbench create`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus workbench create desk --workspace genomics
  chorus workbench create desk --workspace genomics --resolution 1920x1080 --wait --timeout 5m
  chorus wait $(chorus workbench create desk --workspace genomics -o name) --for ready")]
pub struct Create {
    /// Name of the new workbench
    name: String,
    /// The workspace that it is in, by id or name
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Reference,
    #[command(flatten)]
    texts: Texts,
    /// Size of the desktop in pixels when it starts, such as 1920x1080
    #[arg(long, value_name = "SIZE")]
    resolution: Option<Resolution>,
    #[command(flatten)]
    wait: WaitReady,
}

/// `chorus workbench update`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus workbench update desk --name 'Desk of Ada' --short-name ada
  chorus workbench update genomics/desk --description ''")]
pub struct Update {
    #[command(flatten)]
    target: Target,
    /// New name
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    texts: Texts,
}

/// What people say about a workbench; what is not given stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Args)]
struct Texts {
    /// Short form of the name
    #[arg(long, value_name = "NAME")]
    short_name: Option<String>,
    /// What the workbench is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

/// `chorus workbench delete`.
#[derive(Debug, Args)]
pub struct Delete {
    #[command(flatten)]
    target: Target,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// `chorus workbench stop`.
#[derive(Debug, Args)]
pub struct Stop {
    #[command(flatten)]
    target: Target,
    /// Wait until the desktop has ended; --timeout limits the waiting
    #[arg(long, value_name = "STATE", num_args = 0..=1, require_equals = true, default_missing_value = "stopped")]
    wait: Option<UntilStopped>,
}

/// `chorus workbench start`.
#[derive(Debug, Args)]
pub struct Start {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    wait: WaitReady,
}

/// Whether to wait for the desktop.
#[derive(Debug, Clone, Args)]
pub struct WaitReady {
    /// Wait until the desktop answers; --timeout limits the waiting
    #[arg(long, value_name = "STATE", num_args = 0..=1, require_equals = true, default_missing_value = "ready")]
    wait: Option<UntilReady>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UntilReady {
    Ready,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UntilStopped {
    Stopped,
}

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution {
    /// The width.
    pub width: u32,
    /// The height.
    pub height: u32,
}

impl FromStr for Resolution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let side = |text: &str| text.parse().ok().filter(|side| (1..=32767).contains(side));
        let parsed = text
            .split_once(['x', 'X', '×'])
            .and_then(|(width, height)| Some(Self { width: side(width)?, height: side(height)? }));
        parsed.ok_or_else(|| "write width and height in pixels, such as 1920x1080".to_owned())
    }
}

impl Command {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Get(target) => {
                let workbench = target.get(&context.session).await?;
                context.printer.item(&workbench, &columns())
            }
            Self::Create(create) => create.run(context).await,
            Self::Update(update) => update.run(context).await,
            Self::Delete(delete) => delete.run(context).await,
            Self::Stop(stop) => stop.run(context).await,
            Self::Start(start) => start.run(context).await,
            Self::Open(open) => open.run(context).await,
            Self::Watch(watch) => watch.run(context).await,
            Self::Member(command) => command.run(context).await,
            Self::App(command) => command.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &mut Context) -> Result<()> {
        let workspaces = workspaces(&context.session, &self.workspace).await?;
        let session = &context.session;
        let all = resolve::workbenches(session, "list workbenches", &self.paging, &self.sort, &workspaces).await?;
        context.printer.list(&all, &columns())
    }
}

/// The ids of the workspaces.
async fn workspaces(session: &Session, references: &[Reference]) -> Result<Vec<u64>> {
    let mut ids = Vec::new();
    for reference in references {
        ids.push(resolve::workspace(session, reference).await?);
    }
    Ok(ids)
}

impl Create {
    async fn run(self, context: &mut Context) -> Result<()> {
        let workspace_id = resolve::workspace(&context.session, &self.workspace).await?;
        let workbench = Workbench {
            initial_resolution_width: self.resolution.map_or(0, |size| size.width),
            initial_resolution_height: self.resolution.map_or(0, |size| size.height),
            ..self.texts.apply(Workbench { workspace_id, name: self.name, ..Workbench::default() })
        };
        let what = format!("create workbench {:?}", workbench.name);
        let rpc = "WorkbenchService/CreateWorkbench";
        let call = context.session.call(&what, rpc, workbench, async |channel, request| {
            connect::workbenches(channel).create_workbench(request).await
        });
        let workbench = call.await?.result.and_then(|result| result.workbench);
        let workbench = workbench.ok_or_else(|| resolve::empty_reply(rpc))?;
        let workbench = self.wait.follow(context, workbench).await?;
        context.printer.item(&workbench, &columns())
    }
}

impl Texts {
    /// The workbench with these texts; everything else stays.
    fn apply(self, workbench: Workbench) -> Workbench {
        Workbench {
            short_name: self.short_name.unwrap_or(workbench.short_name),
            description: self.description.unwrap_or(workbench.description),
            ..workbench
        }
    }
}

impl Update {
    async fn run(self, context: &mut Context) -> Result<()> {
        if self.name.is_none() && self.texts == Texts::default() {
            return Err(
                Error::usage("nothing to change").hint("`chorus workbench update --help` lists what can be changed")
            );
        }
        let old = self.target.get(&context.session).await?;
        let what = format!("update workbench {}", shown(&self.target.workbench, old.id));
        let name = self.name.unwrap_or_else(|| old.name.clone());
        let workbench = self.texts.apply(Workbench { name, ..old });
        let rpc = "WorkbenchService/UpdateWorkbench";
        let call = context.session.call(&what, rpc, workbench, async |channel, request| {
            connect::workbenches(channel).update_workbench(request).await
        });
        let workbench = call.await?.result.and_then(|result| result.workbench);
        let workbench = workbench.ok_or_else(|| resolve::empty_reply(rpc))?;
        context.printer.item(&workbench, &columns())
    }
}

impl Delete {
    async fn run(self, context: &mut Context) -> Result<()> {
        let (id, name) = self.target.find(&context.session).await?;
        prompt::confirm(&format!("Delete workbench {name} with its apps and memberships?"), self.yes).await?;
        let what = format!("delete workbench {name}");
        let request = DeleteWorkbenchRequest { id };
        let rpc = "WorkbenchService/DeleteWorkbench";
        let call = context.session.call(&what, rpc, request, async |channel, request| {
            connect::workbenches(channel).delete_workbench(request).await
        });
        call.await?;
        say(&format!("deleted workbench {name}"));
        Ok(())
    }
}

impl Stop {
    async fn run(self, context: &mut Context) -> Result<()> {
        let (id, name) = self.target.find(&context.session).await?;
        let what = format!("stop workbench {name}");
        let rpc = "WorkbenchService/StopWorkbench";
        let call = context.session.call(&what, rpc, StopWorkbenchRequest { id }, async |channel, request| {
            connect::workbenches(channel).stop_workbench(request).await
        });
        let workbench = call.await?.result.and_then(|result| result.workbench);
        let workbench = workbench.ok_or_else(|| resolve::empty_reply(rpc))?;
        let message = match self.wait {
            Some(UntilStopped::Stopped) => format!("workbench {name} is stopped"),
            None => format!("workbench {name} is going to stop"),
        };
        let workbench = match self.wait {
            Some(UntilStopped::Stopped) => follow(context, workbench, WorkbenchGoal::Stopped).await?,
            None => workbench,
        };
        context.printer.changed(&workbench, &message)
    }
}

impl Start {
    async fn run(self, context: &mut Context) -> Result<()> {
        let (id, name) = self.target.find(&context.session).await?;
        let workbench = start(context, id, &name).await?;
        let message = match self.wait.wait {
            Some(UntilReady::Ready) => format!("workbench {name} is ready"),
            None => format!("workbench {name} is going to start"),
        };
        let workbench = self.wait.follow(context, workbench).await?;
        context.printer.changed(&workbench, &message)
    }
}

async fn start(context: &Context, id: u64, name: &str) -> Result<Workbench> {
    let what = format!("start workbench {name}");
    let rpc = "WorkbenchService/StartWorkbench";
    let call = context.session.call(&what, rpc, StartWorkbenchRequest { id }, async |channel, request| {
        connect::workbenches(channel).start_workbench(request).await
    });
    let workbench = call.await?.result.and_then(|result| result.workbench);
    workbench.ok_or_else(|| resolve::empty_reply(rpc))
}

impl WaitReady {
    /// Whether to wait at all.
    pub fn is_asked_for(&self) -> bool {
        self.wait.is_some()
    }

    /// The workbench as it is once it is ready, if that is to be waited for.
    pub async fn follow(&self, context: &Context, workbench: Workbench) -> Result<Workbench> {
        match self.wait {
            Some(UntilReady::Ready) => follow(context, workbench, WorkbenchGoal::Ready).await,
            None => Ok(workbench),
        }
    }
}

/// Waits until the workbench is as it should be.
pub async fn follow(context: &Context, workbench: Workbench, goal: WorkbenchGoal) -> Result<Workbench> {
    let filter = Some(WorkbenchFilter { workspace_ids_in: vec![workbench.workspace_id] });
    let name = title(&workbench);
    let reached = wait::until::<Workbench, _>(context, &name, workbench.id, filter, goal).await?;
    Ok(reached.unwrap_or(workbench))
}

/// The workbench as messages name it.
pub fn title(workbench: &Workbench) -> String {
    format!("workbench {:?} ({})", workbench.name, workbench.id)
}

impl Resource for Workbench {
    const KIND: &'static str = "workbench";
    const MESSAGE: &'static str = "chorus.v1.Workbench";

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// What is shown of workbenches.
pub fn columns() -> Vec<Column<Workbench>> {
    vec![
        Column::new("id", |w: &Workbench| w.id),
        Column::new("name", |w: &Workbench| w.name.clone()),
        Column::new("short name", |w: &Workbench| w.short_name.clone()).wide(),
        Column::new("workspace", |w: &Workbench| w.workspace_id),
        Column::new("status", |w: &Workbench| w.status.clone()),
        Column::new("desktop", |w: &Workbench| w.server_pod_status.clone()),
        Column::new("cluster", |w: &Workbench| w.k8s_status.clone()).wide(),
        Column::new("message", |w: &Workbench| w.server_pod_message.clone()),
        Column::new("owner", |w: &Workbench| w.user_id).wide(),
        Column::new("resolution", |w: &Workbench| match (w.initial_resolution_width, w.initial_resolution_height) {
            (0, 0) => String::new(),
            (width, height) => format!("{width}x{height}"),
        })
        .alone(),
        Column::new("description", |w: &Workbench| w.description.clone()).wide(),
        Column::new("updated", |w: &Workbench| moment(w.updated_at.as_ref())).alone(),
        Column::new("created", |w: &Workbench| moment(w.created_at.as_ref())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::output::{Format, printed};

    fn desk() -> Workbench {
        Workbench {
            id: 3,
            tenant_id: 1,
            user_id: 7,
            workspace_id: 12,
            name: "Desk\n\u{202e}".to_owned(),
            short_name: "d".to_owned(),
            description: "Variants".to_owned(),
            status: "active".to_owned(),
            server_pod_status: "Starting".to_owned(),
            server_pod_message: "waiting for the display".to_owned(),
            k8s_status: "Progressing".to_owned(),
            initial_resolution_width: 1280,
            initial_resolution_height: 800,
            created_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5_000_000 }),
            updated_at: None,
        }
    }

    fn print(format: Format, single: bool) -> String {
        printed(&desk(), &columns(), format, single)
    }

    #[test]
    fn every_form_of_output() {
        insta::assert_snapshot!("table", print(Format::Table, false));
        insta::assert_snapshot!("wide", print(Format::Wide, false));
        insta::assert_snapshot!("one", print(Format::Table, true));
        insta::assert_snapshot!("json", print(Format::Json, false));
    }

    #[test]
    fn an_update_changes_what_is_given_and_nothing_else() {
        let texts = |short_name: Option<&str>, description: Option<&str>| Texts {
            short_name: short_name.map(str::to_owned),
            description: description.map(str::to_owned),
        };
        assert_eq!(texts(None, None).apply(desk()), desk());
        let expected = Workbench { description: String::new(), ..desk() };
        assert_eq!(texts(None, Some("")).apply(desk()), expected);
        let expected = Workbench { short_name: "desk".to_owned(), ..desk() };
        assert_eq!(texts(Some("desk"), None).apply(desk()), expected);
    }

    #[test]
    fn resolutions() {
        for (text, expected) in [
            ("1920x1080", Some((1920, 1080))),
            ("1X1", Some((1, 1))),
            ("32767x32767", Some((32767, 32767))),
            ("0x10", None),
            ("32768x10", None),
            ("1920", None),
            ("x", None),
            ("-1x5", None),
        ] {
            let parsed = text.parse::<Resolution>().ok().map(|size| (size.width, size.height));
            assert_eq!(parsed, expected, "{text}");
        }
    }
}
