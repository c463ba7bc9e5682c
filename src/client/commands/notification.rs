//! `chorus notification`: what the server has to tell the caller.

use clap::{Args, Subcommand, builder::PossibleValuesParser};

use super::moment;
use crate::{
    client::{
        Context, connect,
        error::Result,
        output::{Column, Resource, say},
        paging::Paging,
    },
    proto::v1::{GetNotificationsRequest, MarkNotificationsAsReadRequest, Notification},
};

/// `chorus notification`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List your notifications, newest first
    List(List),
    /// Mark notifications as read
    Read(Read),
}

/// `chorus notification list`.
#[derive(Debug, Args)]
pub struct List {
    /// Only those that are not read yet
    #[arg(long, conflicts_with = "read")]
    unread: bool,
    /// Only those that are read
    #[arg(long)]
    read: bool,
    /// Field to sort by
    #[arg(long, default_value = "createdat", value_name = "FIELD", ignore_case = true,
        value_parser = PossibleValuesParser::new(["id", "message", "createdat"]))]
    sort: String,
    /// Smallest first, oldest first, A to Z
    #[arg(long)]
    asc: bool,
    /// Show at most this many
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

/// `chorus notification read`.
#[derive(Debug, Args)]
pub struct Read {
    /// Ids, as in `chorus notification list`
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
    ids: Vec<String>,
    /// Mark all of them
    #[arg(long)]
    all: bool,
}

impl Command {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Read(read) => read.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &mut Context) -> Result<()> {
        let is_read = (self.unread || self.read).then_some(self.read);
        let paging = Paging { desc: !self.asc, limit: self.limit };
        let fetch = async |pagination| {
            let request = GetNotificationsRequest { pagination: Some(pagination), is_read };
            let rpc = "NotificationService/GetNotifications";
            let call = context.session.call("list notifications", rpc, request, async |channel, request| {
                connect::notifications(channel).get_notifications(request).await
            });
            Ok(call.await?.result)
        };
        let notifications = paging.collect(&self.sort, fetch).await?;
        context.printer.list(&notifications, &columns())
    }
}

impl Read {
    async fn run(self, context: &mut Context) -> Result<()> {
        let message = match self.ids.len() {
            0 => "all notifications are read now".to_owned(),
            1 => "1 notification is read now".to_owned(),
            n => format!("{n} notifications are read now"),
        };
        let request = MarkNotificationsAsReadRequest { notification_ids: self.ids, mark_all: self.all };
        let rpc = "NotificationService/MarkNotificationsAsRead";
        let call = context.session.call("mark notifications as read", rpc, request, async |channel, request| {
            connect::notifications(channel).mark_notifications_as_read(request).await
        });
        call.await?;
        say(&message);
        Ok(())
    }
}

impl Resource for Notification {
    const KIND: &'static str = "notification";
    const MESSAGE: &'static str = "chorus.v1.Notification";

    fn id(&self) -> String {
        self.id.clone()
    }
}

fn columns() -> Vec<Column<Notification>> {
    vec![
        Column::new("id", |n: &Notification| n.id.clone()),
        Column::new("created", |n: &Notification| moment(n.created_at.as_ref())),
        Column::new("read", |n: &Notification| moment(n.read_at.as_ref())),
        Column::new("message", |n: &Notification| n.message.clone()),
    ]
}
