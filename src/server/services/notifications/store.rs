//! SQL of notifications.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Content, Marked, Recipient};
use crate::server::{
    db::{Db, FromRow, Json, Listed, On, Page, Tx, sql},
    error::Result,
    pipeline::{Authorized, Change},
};

/// A row of `notifications`.
#[derive(Debug, FromRow)]
pub(super) struct Notification {
    pub id: String,
    pub tenant_id: i64,
    pub user_id: i64,
    pub message: String,
    pub content: Json<serde_json::Value>,
    pub created_at: DateTime<Utc>,
    pub read_at: Option<DateTime<Utc>>,
}

/// Stores a notification.
pub(super) async fn insert(
    on: impl Into<On<'_>>,
    to: Recipient,
    id: Uuid,
    message: &str,
    content: Content,
    now: DateTime<Utc>,
) -> Result<()> {
    sql("INSERT INTO notifications (id, tenant_id, user_id, message, content, created_at) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(id.to_string())
        .bind(to.tenant_id)
        .bind(to.user_id)
        .bind(message)
        .bind(Json(content))
        .bind(now)
        .run(on)
        .await?;
    Ok(())
}

/// Stores a message for each of these recipients.
pub(super) async fn insert_each(
    on: impl Into<On<'_>>,
    messages: &[(Recipient, String)],
    id: Uuid,
    content: Content,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut rows = sql("INSERT INTO notifications (id, tenant_id, user_id, message, content, created_at) VALUES ");
    for (index, (to, message)) in messages.iter().enumerate() {
        rows = rows.push(if index == 0 { "(" } else { ", (" }).arg(format!("{id}-{index}")).push(", ");
        rows = rows.arg(to.tenant_id).push(", ").arg(to.user_id).push(", ").arg(&**message).push(", ");
        rows = rows.arg(Json(content)).push(", ").arg(now).push(")");
    }
    if !messages.is_empty() {
        rows.run(on).await?;
    }
    Ok(())
}

/// Stores the same notification for everybody in the tenant who holds a role.
pub(super) async fn insert_for_holders(
    on: impl Into<On<'_>>,
    (tenant, role): (i64, i64),
    id: Uuid,
    message: &str,
    content: Content,
    now: DateTime<Utc>,
) -> Result<()> {
    sql("INSERT INTO notifications (id, tenant_id, user_id, message, content, created_at) \
         SELECT $1 || '-' || CAST(u.id AS TEXT), u.tenant_id, u.id, $2, $3, $4 FROM users u WHERE u.tenant_id = $5 \
         AND u.id IN (SELECT user_id FROM role_assignments WHERE dynamic_role_id = $6)")
    .bind(id.to_string())
    .bind(message)
    .bind(Json(content))
    .bind(now)
    .bind(tenant)
    .bind(role)
    .run(on)
    .await?;
    Ok(())
}

/// Removes the notifications of a user.
pub(super) async fn clear(tx: &mut Tx, user: i64) -> Result<()> {
    sql("DELETE FROM notifications WHERE user_id = $1").bind(user).run(tx).await?;
    Ok(())
}

/// How many notifications the caller has not read.
pub(super) async fn count_unread(db: &Db, by: &Authorized) -> Result<i64> {
    let (count,): (i64,) =
        sql("SELECT count(*) FROM notifications WHERE user_id = $1 AND read_at IS NULL").bind(by.id()).one(db).await?;
    Ok(count)
}

/// A page of the caller's notifications: the read ones, the unread ones, or both.
pub(super) async fn list(db: &Db, by: &Authorized, read: Option<bool>, page: &Page) -> Result<Listed<Notification>> {
    let all = sql(
        "SELECT id, tenant_id, user_id, message, content, created_at, read_at FROM notifications WHERE user_id = $1",
    )
    .bind(by.id());
    let some = match read {
        None => all,
        Some(true) => all.push(" AND read_at IS NOT NULL"),
        Some(false) => all.push(" AND read_at IS NULL"),
    };
    Ok(some.list(db, page).await?)
}

/// Marks notifications of the caller as read. Those that are read already keep their time.
pub(super) async fn mark_read(change: &mut Change, by: &Authorized, marked: Marked) -> Result<()> {
    let ids = match marked {
        Marked::All => None,
        Marked::These(ids) => Some(ids),
    };
    sql("UPDATE notifications SET read_at = $1 WHERE user_id = $2 AND read_at IS NULL")
        .bind(by.now())
        .bind(by.id())
        .and_in("id", ids)
        .run(change)
        .await?;
    Ok(())
}
