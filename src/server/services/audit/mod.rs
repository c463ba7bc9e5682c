//! Reading the audit trail. Records are written where calls happen, see `access::audit`; nothing here changes one.
//!
//! ```text
//! platform ─ auditPlatform ───────────┐
//! workspace, workbench ─ audit… there ┤                                     ┌─► newest first, in pages, with a total
//! user: what was done to him          ├─► Filter ─ AND, own tenant only ────┤
//! actor: what he did ─ auditUser ─────┘                                     └─► after or before an id, uncounted
//! ```
//!
//! What always holds: a list shows records of the caller's tenant only; the id in the path goes before the same condition
//! of the filter; a user who reads what others did to him does not learn their addresses.
//!
//! Choices. The web client asks for a whole list without any parameter and gets the newest 1,000 entries, so the default
//! order is the newest first; `after_id` alone turns it round. The total is counted by an index, and left out when the
//! request says `uncounted`, so that a walk through a million entries is not a million times a million steps. A workspace
//! or user of which nothing is recorded, or which does not exist, has an empty list: a record outlives what it is about.

mod api;
mod store;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

use super::Base;
use crate::{
    proto::v1::{AuditFilter, AuditOutcome, PaginationQuery},
    server::{
        db::{Page, PageQuery, Sortable},
        error::{Error, Result},
    },
};

/// The service.
pub struct AuditTrail {
    base: Base,
}

impl AuditTrail {
    /// The service over this base.
    pub fn new(base: Base) -> Self {
        Self { base }
    }
}

/// The sort names of the lists; the first is the default.
const SORTABLE: &[Sortable] = &[("id", "id"), ("createdat", "created_at")];

/// Which records are wanted; all conditions hold together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Filter {
    actor: Option<i64>,
    actor_username: Option<String>,
    workspace: Option<i64>,
    workbench: Option<i64>,
    user: Option<i64>,
    action: Option<String>,
    outcome: Option<&'static str>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    after: Option<i64>,
    before: Option<i64>,
}

impl Filter {
    /// Reads the message; none, 0 and empty are no condition.
    fn parse(asked: Option<AuditFilter>) -> Result<Self> {
        let asked = asked.unwrap_or_default();
        let text = |text: String| (!text.is_empty()).then_some(text);
        Ok(Self {
            outcome: stored(asked.outcome()),
            actor: id(asked.actor_id),
            actor_username: text(asked.actor_username),
            workspace: id(asked.workspace_id),
            workbench: id(asked.workbench_id),
            user: id(asked.user_id),
            action: text(asked.action),
            from: moment("filter.fromTime", asked.from_time)?,
            to: moment("filter.toTime", asked.to_time)?,
            after: id(asked.after_id),
            before: id(asked.before_id),
        })
    }
}

/// The page of a list: the newest entries first unless the request says otherwise.
fn page(asked: Option<&PaginationQuery>, filter: &Filter) -> Result<Page> {
    let page = PageQuery::parse(asked, SORTABLE)?;
    let stated =
        asked.and_then(|asked| asked.sort.as_ref()).is_some_and(|s| !s.order.is_empty() || !s.r#type.is_empty());
    Ok(Page { descending: if stated { page.descending } else { filter.after.is_none() }, ..page })
}

/// An id to look for. One that no row can have is that of no row, not no condition.
fn id(asked: u64) -> Option<i64> {
    (asked > 0).then(|| i64::try_from(asked).unwrap_or(i64::MAX))
}

fn moment(field: &'static str, asked: Option<Timestamp>) -> Result<Option<DateTime<Utc>>> {
    let Some(asked) = asked else { return Ok(None) };
    let nanos = u32::try_from(asked.nanos).ok();
    let moment = nanos.and_then(|nanos| DateTime::from_timestamp(asked.seconds, nanos));
    // what RFC 3339 can write, and both engines store
    match moment.filter(|moment| (1..=9999).contains(&chrono::Datelike::year(moment))) {
        Some(moment) => Ok(Some(moment)),
        None => Err(Error::field(field, "timestamp", format!("{field} is not a time of the years 1 to 9999."))),
    }
}

/// An outcome as it is stored.
fn stored(outcome: AuditOutcome) -> Option<&'static str> {
    match outcome {
        AuditOutcome::Unspecified => None,
        AuditOutcome::Ok => Some("ok"),
        AuditOutcome::Refused => Some("refused"),
        AuditOutcome::Failed => Some("failed"),
    }
}

/// An outcome as it is sent.
fn outcome(stored: &str) -> AuditOutcome {
    match stored {
        "ok" => AuditOutcome::Ok,
        "refused" => AuditOutcome::Refused,
        "failed" => AuditOutcome::Failed,
        _ => AuditOutcome::Unspecified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::Sort;

    #[test]
    fn nothing_stated_is_no_condition() {
        assert_eq!(Filter::parse(None).unwrap(), Filter::default());
        assert_eq!(Filter::parse(Some(AuditFilter::default())).unwrap(), Filter::default());
        let beyond = AuditFilter { user_id: u64::MAX, ..Default::default() };
        assert_eq!(Filter::parse(Some(beyond)).unwrap().user, Some(i64::MAX));
    }

    #[test]
    fn times_that_no_calendar_has() {
        for (seconds, nanos, fine) in [
            (0, 0, true),
            (-62_135_596_800, 0, true),
            (253_402_300_799, 999_999_999, true),
            (253_402_300_800, 0, false),
            (-62_135_596_801, 0, false),
            (0, -1, false),
            (i64::MAX, 0, false),
        ] {
            let filter = AuditFilter { from_time: Some(Timestamp { seconds, nanos }), ..Default::default() };
            let parsed = Filter::parse(Some(filter));
            assert_eq!(parsed.is_ok(), fine, "{seconds} {nanos}");
            assert!(parsed.is_ok() || parsed.unwrap_err().message().contains("filter.fromTime"));
        }
    }

    #[test]
    fn the_newest_first_unless_stated() {
        let sort = |kind: &str, order: &str| PaginationQuery {
            sort: Some(Sort { r#type: kind.to_owned(), order: order.to_owned() }),
            ..Default::default()
        };
        let after = Filter { after: Some(7), ..Default::default() };
        let none = Filter::default();
        for (asked, filter, column, descending) in [
            (None, &none, "id", true),
            (None, &after, "id", false),
            (Some(PaginationQuery { limit: 5, ..Default::default() }), &none, "id", true),
            (Some(sort("", "")), &none, "id", true),
            (Some(sort("CREATEDAT", "")), &none, "created_at", false),
            (Some(sort("createdat", "desc")), &after, "created_at", true),
            (Some(sort("", "asc")), &none, "id", false),
            (Some(sort("id", "desc")), &after, "id", true),
        ] {
            let page = page(asked.as_ref(), filter).unwrap();
            assert_eq!((page.column, page.descending), (column, descending), "{asked:?}");
        }
        assert_eq!(page(Some(&sort("actor", "")), &none).unwrap_err().reason(), "UNKNOWN_SORT");
    }

    #[test]
    fn outcomes_are_stored_as_they_are_sent() {
        for sent in [AuditOutcome::Ok, AuditOutcome::Refused, AuditOutcome::Failed] {
            assert_eq!(stored(sent).map(outcome), Some(sent));
        }
        assert_eq!((stored(AuditOutcome::Unspecified), outcome("later")), (None, AuditOutcome::Unspecified));
    }
}
