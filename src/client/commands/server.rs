//! `chorus server`: how the server is.

use clap::Subcommand;

use super::moment;
use crate::{
    client::{
        Context, connect,
        error::Result,
        output::{Column, Resource},
        resolve,
    },
    proto::v1::{GetHealthCheckRequest, GetServerStatusRequest, ServerStatus, ServerStatusDetails},
};

/// `chorus server`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show version, database and runtime of the server; details take the role Healthchecker
    Status,
}

impl Command {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        match self {
            Self::Status => {
                // this one needs no sign-in, so "unreachable" and "not signed in" are told apart
                context
                    .session
                    .call(
                        "reach the server",
                        "HealthService/GetHealthCheck",
                        GetHealthCheckRequest {},
                        async |channel, request| connect::health(channel).get_health_check(request).await,
                    )
                    .await?;
                let reply = context
                    .session
                    .call(
                        "ask for the server's status",
                        "HealthService/GetServerStatus",
                        GetServerStatusRequest {},
                        async |channel, request| connect::health(channel).get_server_status(request).await,
                    )
                    .await?;
                let status = reply.result.ok_or_else(|| resolve::empty_reply("HealthService/GetServerStatus"))?;
                context.printer.item(&status, &columns(context.session.target().address()))
            }
        }
    }
}

impl Resource for ServerStatus {
    const KIND: &'static str = "server";
    const MESSAGE: &'static str = "chorus.v1.ServerStatus";

    fn id(&self) -> String {
        self.version.clone()
    }
}

fn columns(address: &str) -> Vec<Column<ServerStatus>> {
    let address = address.to_owned();
    vec![
        Column::new("server", move |_: &ServerStatus| address.clone()),
        Column::new("health", |_: &ServerStatus| "serving"),
        Column::new("version", |s: &ServerStatus| s.version.clone()),
        Column::new("commit", |s: &ServerStatus| s.commit.clone()),
        Column::new("database", |s: &ServerStatus| s.database.clone()),
        Column::new("runtime", |s: &ServerStatus| s.runtime.clone()),
        Column::new("started", |s: &ServerStatus| moment(s.started_at.as_ref())),
        detail("database version", |d| d.database_version.clone()),
        detail("schema version", |d| d.schema_version.to_string()),
        detail("uptime", |d| format!("{} s", d.uptime_seconds)),
        detail("connections", |d| d.open_connections.to_string()),
        detail("users", |d| d.users.to_string()),
        detail("workspaces", |d| d.workspaces.to_string()),
    ]
}

fn detail(title: &'static str, value: fn(&ServerStatusDetails) -> String) -> Column<ServerStatus> {
    Column::new(title, move |status: &ServerStatus| status.details.as_ref().map(value).unwrap_or_default())
}
