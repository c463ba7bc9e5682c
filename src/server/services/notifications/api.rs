//! The RPCs of notifications.

use super::{
    Content, Marked, Notifications, page,
    store::{self, Notification},
};
use crate::{
    proto::v1,
    server::{
        error::Result,
        pipeline::{Authorized, generated::NotificationHandlers},
        services::{timestamp, wire_id},
    },
};

impl NotificationHandlers for Notifications {
    async fn count_unread_notifications(&self, call: Authorized, (): ()) -> Result<v1::CountUnreadNotificationsReply> {
        let count = store::count_unread(&self.base.db, &call).await?;
        Ok(v1::CountUnreadNotificationsReply { result: u32::try_from(count).unwrap_or(u32::MAX) })
    }

    async fn mark_notifications_as_read(
        &self,
        call: Authorized,
        request: v1::MarkNotificationsAsReadRequest,
    ) -> Result<()> {
        let marked = Marked::parse(request.notification_ids, request.mark_all)?;
        let mut change = self.base.db.begin(&call).await?;
        store::mark_read(&mut change, &call, marked).await?;
        change.commit().await
    }

    async fn get_notifications(
        &self,
        call: Authorized,
        request: v1::GetNotificationsRequest,
    ) -> Result<v1::GetNotificationsReply> {
        let page = page(request.pagination.as_ref())?;
        let listed = store::list(&self.base.db, &call, request.is_read, &page).await?;
        Ok(v1::GetNotificationsReply {
            total_items: u32::try_from(listed.total).unwrap_or(u32::MAX),
            result: listed.rows.into_iter().map(message).collect(),
        })
    }
}

fn message(row: Notification) -> v1::Notification {
    v1::Notification {
        id: row.id,
        tenant_id: wire_id(row.tenant_id),
        user_id: wire_id(row.user_id),
        message: row.message,
        content: content(Content::read(row.content.0)),
        created_at: Some(timestamp(row.created_at)),
        read_at: row.read_at.map(timestamp),
    }
}

fn content(content: Content) -> Option<v1::NotificationContent> {
    use v1::{notification_content::Content as Kind, system_notification::SystemNotificationContent as System};
    let kind = match content {
        Content::Plain => return None,
        Content::RolesChanged => Kind::SystemNotification(v1::SystemNotification {
            system_notification_content: Some(System::RefreshJwtRequired(true)),
        }),
        Content::ApprovalRequest { approval_request_id, autoapproved } => {
            Kind::ApprovalRequestNotification(v1::ApprovalRequestNotification {
                approval_request_id: wire_id(approval_request_id),
                autoapproved,
            })
        }
    };
    Some(v1::NotificationContent { content: Some(kind) })
}
