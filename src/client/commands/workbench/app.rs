//! `chorus workbench app`: the apps that run in a workbench.
//!
//! Starting, stopping and restarting return at once; `--wait` follows what becomes of it. An instance that was stopped stays in
//! the list, and can be started again, until it is removed.

use clap::{Args, Subcommand, ValueEnum, builder::PossibleValuesParser};
use tonic::Streaming;

use super::{
    Resolution, Target, moment,
    watching::{Shown, print_events},
};
use crate::{
    client::{
        Context,
        commands::user::shown,
        connect::{self, Session},
        error::{Error, Result},
        output::{Column, Resource, escape, say},
        paging::Paging,
        resolve::{self, Reference, Version},
        wait::{self, AppGoal},
        watch::{Event, Watched},
    },
    proto::v1::{
        AppInstance, AppInstanceEventKind, AppInstanceFilter, DeleteAppInstanceRequest, GetAppInstanceLogsRequest,
        GetAppInstanceLogsResult, GetAppInstanceRequest, RestartAppInstanceRequest, WatchAppInstancesReply,
        WatchAppInstancesRequest,
    },
};

/// `chorus workbench app`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List app instances, those that have ended included
    List(List),
    /// Start an app in a workbench
    Start(Start),
    /// Stop an app
    Stop(Stop),
    /// Start an app again, whether it runs or has ended
    Restart(Restart),
    /// Show the last lines that an app wrote
    Logs(Logs),
    /// Tell how apps are, and then each change, until interrupted
    Watch(Watch),
}

/// The workbenches whose apps are meant.
#[derive(Debug, Args)]
struct Within {
    /// Only those in this workbench: id, name, short name, or WORKSPACE/NAME
    workbench: Option<Reference>,
    /// The workspace that the workbench is in, by id or name, where its name alone is not enough
    #[arg(long, value_name = "WORKSPACE", requires = "workbench")]
    workspace: Option<Reference>,
}

/// `chorus workbench app list`.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    within: Within,
    /// Field to sort by
    #[arg(long, default_value = "id", value_name = "FIELD", ignore_case = true, value_parser = PossibleValuesParser::new([
        "id", "appid", "workspaceid", "workbenchid", "status", "createdat", "appname", "appdockerimageregistry",
        "appdockerimagename"
    ]))]
    sort: String,
    #[command(flatten)]
    paging: Paging,
}

/// `chorus workbench app start`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus workbench app start desk xterm
  chorus workbench app start genomics/desk RStudio --wait --timeout 5m")]
pub struct Start {
    #[command(flatten)]
    target: Target,
    /// Id or name of an app, as in `chorus app list`; of a name, the newest version
    app: Reference,
    /// Size of the screen in pixels that the app should expect, such as 1920x1080
    #[arg(long, value_name = "SIZE")]
    resolution: Option<Resolution>,
    #[command(flatten)]
    wait: WaitRunning,
}

/// The app instance to act on.
#[derive(Debug, Args)]
struct One {
    /// Id, or name of the app
    instance: Reference,
    /// The workbench that it is in, where the name of the app alone is not enough
    #[arg(long, value_name = "WORKBENCH")]
    workbench: Option<Reference>,
}

/// `chorus workbench app stop`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus workbench app stop 12
  chorus workbench app stop RStudio --workbench desk --remove")]
pub struct Stop {
    #[command(flatten)]
    one: One,
    /// End it at once, without giving it time to save anything
    #[arg(long, conflicts_with = "remove")]
    now: bool,
    /// Remove the instance from the list as well
    #[arg(long)]
    remove: bool,
    /// Wait until the app has ended; --timeout limits the waiting
    #[arg(long, value_name = "STATE", num_args = 0..=1, require_equals = true, default_missing_value = "ended",
        conflicts_with = "remove")]
    wait: Option<UntilEnded>,
}

/// `chorus workbench app restart`.
#[derive(Debug, Args)]
pub struct Restart {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    wait: WaitRunning,
}

/// `chorus workbench app logs`.
#[derive(Debug, Args)]
pub struct Logs {
    #[command(flatten)]
    one: One,
    /// At most so many bytes from the end; 64 KiB unless stated
    #[arg(long, value_name = "BYTES", default_value_t = 0, hide_default_value = true,
        value_parser = clap::value_parser!(u32).range(..=1_048_576))]
    tail: u32,
}

/// `chorus workbench app watch`.
#[derive(Debug, Args)]
pub struct Watch {
    #[command(flatten)]
    within: Within,
}

/// Whether to wait for the app.
#[derive(Debug, Args)]
struct WaitRunning {
    /// Wait until the app runs; --timeout limits the waiting
    #[arg(long, value_name = "STATE", num_args = 0..=1, require_equals = true, default_missing_value = "running")]
    wait: Option<UntilRunning>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UntilRunning {
    Running,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UntilEnded {
    Ended,
}

impl Command {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Start(start) => start.run(context).await,
            Self::Stop(stop) => stop.run(context).await,
            Self::Restart(restart) => restart.run(context).await,
            Self::Logs(logs) => logs.run(context).await,
            Self::Watch(watch) => watch.run(context).await,
        }
    }
}

impl Within {
    async fn filter(&self, session: &Session) -> Result<Option<AppInstanceFilter>> {
        let Some(workbench) = &self.workbench else { return Ok(None) };
        let id = resolve::workbench_id(session, workbench, self.workspace.as_ref()).await?;
        Ok(Some(AppInstanceFilter { workbench_ids_in: vec![id] }))
    }
}

impl One {
    /// The id, and the name for messages.
    async fn find(&self, session: &Session) -> Result<(u64, String)> {
        let workbench = match (&self.instance, &self.workbench) {
            (Reference::Name(_), Some(workbench)) => Some(resolve::workbench_id(session, workbench, None).await?),
            _ => None,
        };
        let id = resolve::app_instance(session, &self.instance, workbench).await?;
        Ok((id, shown(&self.instance, id)))
    }
}

impl List {
    async fn run(self, context: &mut Context) -> Result<()> {
        let session = &context.session;
        let filter = self.within.filter(session).await?;
        let all = resolve::app_instances(session, "list app instances", &self.paging, &self.sort, filter).await?;
        context.printer.list(&all, &columns())
    }
}

impl Start {
    async fn run(self, context: &mut Context) -> Result<()> {
        let session = &context.session;
        // the workspace is told along, so the workbench is read even if its id is known
        let workbench = self.target.get(session).await?;
        let app_id = resolve::app(session, &self.app, Version::Newest).await?;
        let instance = AppInstance {
            workspace_id: workbench.workspace_id,
            workbench_id: workbench.id,
            app_id,
            status: "active".to_owned(),
            initial_resolution_width: self.resolution.map_or(0, |size| size.width),
            initial_resolution_height: self.resolution.map_or(0, |size| size.height),
            ..AppInstance::default()
        };
        let place = shown(&self.target.workbench, workbench.id);
        let what = format!("start app {} in workbench {place}", shown(&self.app, app_id));
        let rpc = "AppInstanceService/CreateAppInstance";
        let call = session.call(&what, rpc, instance, async |channel, request| {
            connect::app_instances(channel).create_app_instance(request).await
        });
        let instance = call.await?.result.and_then(|result| result.app_instance);
        let instance = instance.ok_or_else(|| resolve::empty_reply(rpc))?;
        let instance = self.wait.follow(context, instance).await?;
        context.printer.item(&instance, &columns())
    }
}

impl Stop {
    async fn run(self, context: &mut Context) -> Result<()> {
        let (id, name) = self.one.find(&context.session).await?;
        if self.remove {
            return remove(context, id, &name).await;
        }
        let state = if self.now { "Killed" } else { "Stopped" };
        let instance = get(context, id, &name).await?;
        let what = format!("stop app instance {name}");
        let rpc = "AppInstanceService/UpdateAppInstance";
        let wanted = AppInstance { k8s_state: state.to_owned(), ..instance };
        let call = context.session.call(&what, rpc, wanted, async |channel, request| {
            connect::app_instances(channel).update_app_instance(request).await
        });
        let instance = call.await?.result.and_then(|result| result.app_instance);
        let instance = instance.ok_or_else(|| resolve::empty_reply(rpc))?;
        match self.wait {
            Some(UntilEnded::Ended) => {
                let instance = follow(context, instance, AppGoal::Ended).await?;
                context.printer.changed(&instance, &format!("app instance {name} has ended"))
            }
            None => context.printer.changed(&instance, &format!("app instance {name} is going to stop")),
        }
    }
}

async fn get(context: &Context, id: u64, name: &str) -> Result<AppInstance> {
    let what = format!("get app instance {name}");
    let rpc = "AppInstanceService/GetAppInstance";
    let call = context.session.call(&what, rpc, GetAppInstanceRequest { id }, async |channel, request| {
        connect::app_instances(channel).get_app_instance(request).await
    });
    let instance = call.await?.result.and_then(|result| result.app_instance);
    instance.ok_or_else(|| resolve::empty_reply(rpc))
}

async fn remove(context: &mut Context, id: u64, name: &str) -> Result<()> {
    let what = format!("remove app instance {name}");
    let rpc = "AppInstanceService/DeleteAppInstance";
    let call = context.session.call(&what, rpc, DeleteAppInstanceRequest { id }, async |channel, request| {
        connect::app_instances(channel).delete_app_instance(request).await
    });
    call.await?;
    say(&format!("removed app instance {name}"));
    Ok(())
}

impl Restart {
    async fn run(self, context: &mut Context) -> Result<()> {
        let (id, name) = self.one.find(&context.session).await?;
        let what = format!("restart app instance {name}");
        let rpc = "AppInstanceService/RestartAppInstance";
        let call = context.session.call(&what, rpc, RestartAppInstanceRequest { id }, async |channel, request| {
            connect::app_instances(channel).restart_app_instance(request).await
        });
        let instance = call.await?.result.and_then(|result| result.app_instance);
        let instance = instance.ok_or_else(|| resolve::empty_reply(rpc))?;
        let message = match self.wait.wait {
            Some(UntilRunning::Running) => format!("app instance {name} runs again"),
            None => format!("app instance {name} is going to start again"),
        };
        let instance = self.wait.follow(context, instance).await?;
        context.printer.changed(&instance, &message)
    }
}

impl Logs {
    async fn run(self, context: &mut Context) -> Result<()> {
        let (id, name) = self.one.find(&context.session).await?;
        let what = format!("read the output of app instance {name}");
        let rpc = "AppInstanceService/GetAppInstanceLogs";
        let request = GetAppInstanceLogsRequest { id, max_bytes: self.tail };
        let call = context.session.call(&what, rpc, request, async |channel, request| {
            connect::app_instances(channel).get_app_instance_logs(request).await
        });
        let logs = call.await?.result.ok_or_else(|| resolve::empty_reply(rpc))?;
        if context.printer.is_data() {
            return context.printer.item(&logs, &[]);
        }
        context.printer.pass(&escape::lines(&logs.text)).map(drop)
    }
}

impl Watch {
    async fn run(self, context: &mut Context) -> Result<()> {
        let filter = self.within.filter(&context.session).await?;
        print_events::<AppInstance>(context, "watch app instances", filter, |_| true, &columns()).await
    }
}

impl WaitRunning {
    async fn follow(&self, context: &Context, instance: AppInstance) -> Result<AppInstance> {
        match self.wait {
            Some(UntilRunning::Running) => follow(context, instance, AppGoal::Running).await,
            None => Ok(instance),
        }
    }
}

async fn follow(context: &Context, instance: AppInstance, goal: AppGoal) -> Result<AppInstance> {
    let reached = until(context, instance.id, &title(&instance), instance.workbench_id, goal).await?;
    Ok(reached.unwrap_or(instance))
}

/// Waits for the app instance with this id.
pub async fn wait_for(context: &Context, id: u64, goal: AppGoal) -> Result<Option<AppInstance>> {
    match get(context, id, &id.to_string()).await {
        Ok(instance) => until(context, id, &title(&instance), instance.workbench_id, goal).await,
        Err(error) if goal == AppGoal::Ended && is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &Error) -> bool {
    error.exit() == crate::client::error::Exit::NotFound
}

async fn until(
    context: &Context,
    id: u64,
    name: &str,
    workbench_id: u64,
    goal: AppGoal,
) -> Result<Option<AppInstance>> {
    let filter = Some(AppInstanceFilter { workbench_ids_in: vec![workbench_id] });
    wait::until::<AppInstance, _>(context, name, id, filter, goal).await
}

/// The app instance as messages name it.
fn title(instance: &AppInstance) -> String {
    format!("app {:?} ({})", instance.app_name, instance.id)
}

impl Watched for AppInstance {
    type Filter = Option<AppInstanceFilter>;
    type Reply = WatchAppInstancesReply;

    async fn open(session: &Session, what: &str, filter: Self::Filter) -> Result<Streaming<Self::Reply>> {
        let request = WatchAppInstancesRequest { filter };
        let rpc = "AppInstanceService/WatchAppInstances";
        let open = session.open_stream(what, rpc, request, async |channel, request| {
            connect::app_instances(channel).watch_app_instances(request).await
        });
        open.await
    }

    fn event(reply: Self::Reply) -> Option<Event<Self>> {
        match (reply.kind(), reply.app_instance) {
            (AppInstanceEventKind::Seen, Some(instance)) => Some(Event::Seen(instance)),
            (AppInstanceEventKind::Deleted, Some(instance)) => Some(Event::Gone(instance)),
            (AppInstanceEventKind::Current, _) => Some(Event::Current),
            _ => None,
        }
    }
}

impl Shown for AppInstance {
    type Message = WatchAppInstancesReply;

    fn message(event: Event<Self>) -> Self::Message {
        let (kind, app_instance) = match event {
            Event::Seen(instance) => (AppInstanceEventKind::Seen, Some(instance)),
            Event::Gone(instance) => (AppInstanceEventKind::Deleted, Some(instance)),
            Event::Current => (AppInstanceEventKind::Current, None),
        };
        WatchAppInstancesReply { kind: kind.into(), app_instance }
    }

    fn gone(self) -> Self {
        Self { k8s_status: "removed".to_owned(), ..self }
    }
}

impl Resource for WatchAppInstancesReply {
    const KIND: &'static str = "app-instance";
    const MESSAGE: &'static str = "chorus.v1.WatchAppInstancesReply";

    fn id(&self) -> String {
        self.app_instance.as_ref().map(|instance| instance.id.to_string()).unwrap_or_default()
    }
}

impl Resource for AppInstance {
    const KIND: &'static str = "app-instance";
    const MESSAGE: &'static str = "chorus.v1.AppInstance";

    fn id(&self) -> String {
        self.id.to_string()
    }
}

impl Resource for GetAppInstanceLogsResult {
    const KIND: &'static str = "log";
    const MESSAGE: &'static str = "chorus.v1.GetAppInstanceLogsResult";

    fn id(&self) -> String {
        String::new()
    }
}

/// What is shown of app instances.
fn columns() -> Vec<Column<AppInstance>> {
    vec![
        Column::new("id", |a: &AppInstance| a.id),
        Column::new("app", |a: &AppInstance| a.app_name.clone()),
        Column::new("version", |a: &AppInstance| a.app_docker_image_tag.clone()),
        Column::new("image", |a: &AppInstance| a.app_docker_image_name.clone()).wide(),
        Column::new("registry", |a: &AppInstance| a.app_docker_image_registry.clone()).alone(),
        Column::new("workbench", |a: &AppInstance| a.workbench_id),
        Column::new("workspace", |a: &AppInstance| a.workspace_id).wide(),
        Column::new("status", |a: &AppInstance| a.k8s_status.clone()),
        Column::new("wanted", |a: &AppInstance| a.k8s_state.clone()).wide(),
        Column::new("message", |a: &AppInstance| a.k8s_message.clone()),
        Column::new("owner", |a: &AppInstance| a.user_id).wide(),
        Column::new("updated", |a: &AppInstance| moment(a.updated_at.as_ref())).alone(),
        Column::new("created", |a: &AppInstance| moment(a.created_at.as_ref())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::output::{Format, Printer};

    #[test]
    fn every_form_of_output() {
        let xterm = AppInstance {
            id: 9,
            workspace_id: 12,
            workbench_id: 3,
            app_id: 1,
            user_id: 7,
            app_name: "Terminal".to_owned(),
            app_docker_image_name: "xterm".to_owned(),
            app_docker_image_tag: "1".to_owned(),
            k8s_status: "Failed".to_owned(),
            k8s_state: "Running".to_owned(),
            k8s_message: "exit code 1: cannot open display".to_owned(),
            ..AppInstance::default()
        };
        let mut text = String::new();
        for format in [Format::Table, Format::Wide, Format::Name] {
            let mut out = Vec::new();
            Printer::to(format, &mut out).list(std::slice::from_ref(&xterm), &columns()).unwrap();
            text.push_str(&String::from_utf8(out).unwrap());
        }
        insta::assert_snapshot!(text);
    }
}
