//! `chorus workbench watch`, and what both watch commands share: events as rows, or as data one per line.

use clap::Args;
use tonic::Streaming;

use super::{columns, workspaces};
use crate::{
    client::{
        Context,
        connect::{self, Session},
        error::{Error, Result},
        output::{Column, Format, Resource, Rows},
        resolve::{self, Reference},
        watch::{Event, Feed, Watched},
    },
    proto::v1::{WatchWorkbenchesReply, WatchWorkbenchesRequest, Workbench, WorkbenchEventKind, WorkbenchFilter},
};

/// `chorus workbench watch`.
#[derive(Debug, Args)]
#[command(after_help = "\
As data (-o json, ndjson) there is one event a line: SEEN for each workbench that there is and for each change, CURRENT
once after the first ones, DELETED.

Examples:
  chorus workbench watch --workspace genomics
  chorus workbench watch genomics/desk
  chorus workbench watch -o ndjson | jq -r 'select(.workbench.serverPodStatus == \"Failing\") | .workbench.name'")]
pub struct Watch {
    /// Only this one: id, name, short name, or WORKSPACE/NAME
    workbench: Option<Reference>,
    /// Only those of this workspace, by id or name; may be repeated
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Vec<Reference>,
}

impl Watch {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        let session = &context.session;
        let (only, workspaces) = match (self.workbench, self.workspace.as_slice()) {
            (None, named) => (None, workspaces(session, named).await?),
            (Some(_), [_, _, ..]) => {
                return Err(Error::usage("a single workbench is in one workspace; name --workspace once"));
            }
            (Some(workbench), within) => {
                let found = resolve::workbench(session, &workbench, within.first()).await?;
                (Some(found.id), vec![found.workspace_id])
            }
        };
        let filter = Some(WorkbenchFilter { workspace_ids_in: workspaces }).filter(|f| !f.workspace_ids_in.is_empty());
        let is_shown = move |workbench: &Workbench| only.is_none_or(|id| id == workbench.id);
        print_events(context, "watch workbenches", filter, is_shown, &columns()).await
    }
}

/// Something whose events can be printed.
pub trait Shown: Watched {
    /// The event as the contract has it.
    type Message: Resource;

    /// Puts the event into its message.
    fn message(event: Event<Self>) -> Self::Message;
    /// The same thing, marked as gone.
    fn gone(self) -> Self;
}

/// Prints what a feed tells until nobody reads any more.
pub async fn print_events<T: Shown>(
    context: &mut Context,
    what: &str,
    filter: T::Filter,
    is_shown: impl Fn(&T) -> bool,
    columns: &[Column<T>],
) -> Result<()> {
    let mut feed = Feed::<T>::open(&context.session, what, filter).await?;
    let mut rows = Rows::default();
    loop {
        let event = feed.next().await?;
        if let Event::Seen(item) | Event::Gone(item) = &event
            && !is_shown(item)
        {
            continue;
        }
        let goes_on = match (context.printer.format(), event) {
            (Format::Table | Format::Wide, Event::Seen(item)) => rows.print(&mut context.printer, &item, columns)?,
            (Format::Table | Format::Wide, Event::Gone(item)) => {
                rows.print(&mut context.printer, &item.gone(), columns)?
            }
            (Format::Name, Event::Seen(item) | Event::Gone(item)) => context.printer.event(&item)?,
            (Format::Table | Format::Wide | Format::Name, Event::Current) => true,
            (_, event) => context.printer.event(&T::message(event))?,
        };
        if !goes_on {
            return Ok(());
        }
    }
}

impl Watched for Workbench {
    type Filter = Option<WorkbenchFilter>;
    type Reply = WatchWorkbenchesReply;

    async fn open(session: &Session, what: &str, filter: Self::Filter) -> Result<Streaming<Self::Reply>> {
        let request = WatchWorkbenchesRequest { filter };
        let open = session.open_stream(what, "WorkbenchService/WatchWorkbenches", request, async |channel, request| {
            connect::workbenches(channel).watch_workbenches(request).await
        });
        open.await
    }

    fn event(reply: Self::Reply) -> Option<Event<Self>> {
        match (reply.kind(), reply.workbench) {
            (WorkbenchEventKind::Seen, Some(workbench)) => Some(Event::Seen(workbench)),
            (WorkbenchEventKind::Deleted, Some(workbench)) => Some(Event::Gone(workbench)),
            (WorkbenchEventKind::Current, _) => Some(Event::Current),
            _ => None,
        }
    }
}

impl Shown for Workbench {
    type Message = WatchWorkbenchesReply;

    fn message(event: Event<Self>) -> Self::Message {
        let (kind, workbench) = match event {
            Event::Seen(workbench) => (WorkbenchEventKind::Seen, Some(workbench)),
            Event::Gone(workbench) => (WorkbenchEventKind::Deleted, Some(workbench)),
            Event::Current => (WorkbenchEventKind::Current, None),
        };
        WatchWorkbenchesReply { kind: kind.into(), workbench }
    }

    fn gone(self) -> Self {
        Self { status: "deleted".to_owned(), server_pod_status: String::new(), ..self }
    }
}

impl Resource for WatchWorkbenchesReply {
    const KIND: &'static str = "workbench";
    const MESSAGE: &'static str = "chorus.v1.WatchWorkbenchesReply";

    fn id(&self) -> String {
        self.workbench.as_ref().map(|workbench| workbench.id.to_string()).unwrap_or_default()
    }
}
