//! Notifications: short messages from the platform to one user.
//!
//! ```text
//! a change in another room ── notify() in its transaction ──► one row ──► the user's list, count and "read" mark
//! ```
//!
//! What always holds: a notification exists exactly when the change that it tells of was committed; the RPCs read and
//! mark rows of the caller only, since no request names a user.

mod api;
mod store;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Base;
use crate::{
    proto::v1::PaginationQuery,
    server::{
        db::{On, Page, PageQuery, Sortable, Tx},
        error::{Error, Result},
    },
};

/// The service.
pub struct Notifications {
    base: Base,
}

impl Notifications {
    /// The service over this base.
    pub fn new(base: Base) -> Self {
        Self { base }
    }
}

/// Whom a notification is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient {
    /// The tenant of the user.
    pub tenant_id: i64,
    /// The user.
    pub user_id: i64,
}

/// What a notification is about, for programs; the message is for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Content {
    /// The user's roles changed: a client should read the user again.
    RolesChanged,
    /// An approval request, made or decided.
    ApprovalRequest {
        /// The id of the request.
        approval_request_id: i64,
        /// Approved without a decision, because the requester could have decided it alone.
        autoapproved: bool,
    },
    /// Nothing but the message.
    #[default]
    Plain,
}

impl Content {
    /// Reads what is stored. Whatever is not known here, such as what a newer replica stored, is no reason to hide the
    /// message.
    fn read(stored: serde_json::Value) -> Self {
        serde_json::from_value(stored).unwrap_or_default()
    }
}

/// Tells a user something, as a part of the change that it is about.
pub async fn notify(
    on: impl Into<On<'_>>,
    to: Recipient,
    id: Uuid,
    message: &str,
    content: Content,
    now: DateTime<Utc>,
) -> Result<()> {
    store::insert(on, to, id, message, content, now).await
}

/// Tells everybody who holds the role of this row the same, in one statement; each gets an id made of this one.
pub async fn notify_holders(
    on: impl Into<On<'_>>,
    tenant: i64,
    role: i64,
    id: Uuid,
    message: &str,
    content: Content,
    now: DateTime<Utc>,
) -> Result<()> {
    store::insert_for_holders(on, (tenant, role), id, message, content, now).await
}

/// Tells each of these users something, some hundreds at most, in one statement; each message gets an id made of this one.
pub async fn notify_each(
    on: impl Into<On<'_>>,
    messages: &[(Recipient, String)],
    id: Uuid,
    content: Content,
    now: DateTime<Utc>,
) -> Result<()> {
    store::insert_each(on, messages, id, content, now).await
}

/// The sort names of the list; the first is the default.
const SORTABLE: &[Sortable] = &[("CREATEDAT", "created_at"), ("ID", "id"), ("MESSAGE", "message")];

/// The page of a list: the newest first, and 20 entries also for a request that states nothing. Clients poll this list.
fn page(asked: Option<&PaginationQuery>) -> Result<Page> {
    let asked = asked.map(PageQuery::from).unwrap_or_default();
    let order = if asked.order.is_empty() { "desc" } else { asked.order };
    PageQuery { order, ..asked }.check(SORTABLE)
}

/// Removes the notifications of a user who is being deleted.
pub async fn forget_user(tx: &mut Tx, user: i64) -> Result<()> {
    store::clear(tx, user).await
}

/// Which notifications to mark.
#[derive(Debug, PartialEq, Eq)]
enum Marked {
    All,
    These(Vec<String>),
}

impl Marked {
    fn parse(ids: Vec<String>, all: bool) -> Result<Self> {
        if all {
            return Ok(Self::All);
        }
        if ids.is_empty() {
            let text = "Name the notifications in notificationIds, or set markAll.";
            return Err(Error::field("notificationIds", "required", text));
        }
        match ids.iter().position(String::is_empty) {
            Some(i) => {
                Err(Error::field(format!("notificationIds[{i}]"), "required", "The id of a notification is not empty."))
            }
            None => Ok(Self::These(ids)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proto::v1::Sort;

    #[test]
    fn the_newest_come_first() {
        let asked = |limit, by: &str, order: &str| {
            let sort = Some(Sort { r#type: by.to_owned(), order: order.to_owned() });
            page(Some(&PaginationQuery { limit, sort, ..Default::default() }))
        };
        for (limit, by, order, expected) in [
            (0, "", "", (20, "created_at", true)),
            (0, "MESSAGE", "", (20, "message", true)),
            (0, "", "asc", (20, "created_at", false)),
            (100, "createdat", "DESC", (100, "created_at", true)),
            (1, "id", "Asc", (1, "id", false)),
        ] {
            let page = asked(limit, by, order).unwrap();
            assert_eq!((page.limit, page.column, page.descending), expected, "{limit} {by} {order}");
        }
        assert_eq!(page(None).unwrap(), asked(0, "", "").unwrap());
        assert_eq!(asked(0, "user_id", "").unwrap_err().reason(), "UNKNOWN_SORT");
        assert_eq!(asked(0, "", "up").unwrap_err().reason(), "UNKNOWN_ORDER");
    }

    #[test]
    fn marking_says_what() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(Marked::parse(ids(&[""]), true).unwrap(), Marked::All, "ids are not looked at");
        assert_eq!(Marked::parse(ids(&["a", "b"]), false).unwrap(), Marked::These(ids(&["a", "b"])));
        for bad in [&[] as &[&str], &["a", ""]] {
            let error = Marked::parse(ids(bad), false).unwrap_err();
            assert_eq!(error.reason(), "VALIDATION_FAILED", "{bad:?}");
        }
    }

    #[test]
    fn content_is_stored_as_json() {
        let request = Content::ApprovalRequest { approval_request_id: 7, autoapproved: true };
        for (content, text) in [
            (Content::RolesChanged, r#"{"type":"rolesChanged"}"#),
            (request, r#"{"type":"approvalRequest","approvalRequestId":7,"autoapproved":true}"#),
        ] {
            assert_eq!(serde_json::to_string(&content).unwrap(), text);
            assert_eq!(Content::read(serde_json::from_str(text).unwrap()), content);
        }
        for unknown in [json!({}), json!(null), json!({"type": "somethingNewer", "x": 1})] {
            assert_eq!(Content::read(unknown.clone()), Content::Plain, "{unknown}");
        }
    }
}
