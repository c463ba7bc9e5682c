//! SQL of the audit trail. Every statement asks for the caller's tenant, so records without one are shown to nobody.

use chrono::{DateTime, Utc};

use super::Filter;
use crate::server::{
    db::{Db, FromRow, Json, Listed, Page, Sql, sql},
    error::Result,
    pipeline::Authorized,
};

/// A row of `audit_log`.
#[derive(Debug, FromRow)]
pub(super) struct Entry {
    pub id: i64,
    pub actor_id: Option<i64>,
    pub actor_username: String,
    pub request_id: String,
    pub action: String,
    pub rpc: String,
    pub outcome: String,
    pub code: i64,
    pub workspace_id: Option<i64>,
    pub workbench_id: Option<i64>,
    pub user_id: Option<i64>,
    pub address: String,
    pub description: String,
    pub details: Json<serde_json::Map<String, serde_json::Value>>,
    pub repeats: i64,
    pub created_at: DateTime<Utc>,
}

/// The columns of [`Entry`].
const COLUMNS: &str = "id, actor_id, actor_username, request_id, action, rpc, outcome, code, workspace_id, workbench_id, \
     user_id, address, description, details, repeats, created_at";

/// A page of the records that fit, with the number of all that do.
pub(super) async fn list(db: &Db, by: &Authorized, filter: &Filter, page: &Page) -> Result<Listed<Entry>> {
    let filter = settle(db, filter, page).await?;
    // two statements: counted along with the rows, every row would be read and not only its place in the index
    let rows = entries(db, by, &filter, page).await?;
    let counted = sql("SELECT count(*)").push(FROM).arg(by.tenant());
    let (total,): (i64,) =
        since("created_at >=", "created_at <=", conditions(counted, &filter), &filter).one(db).await?;
    let total = u64::try_from(total).unwrap_or_default().max(rows.len() as u64);
    Ok(Listed { truncated: page.unpaged && (rows.len() as u64) < total, rows, total })
}

/// The same without counting.
pub(super) async fn walk(db: &Db, by: &Authorized, filter: &Filter, page: &Page) -> Result<Vec<Entry>> {
    entries(db, by, &settle(db, filter, page).await?, page).await
}

async fn entries(db: &Db, by: &Authorized, filter: &Filter, page: &Page) -> Result<Vec<Entry>> {
    let select = conditions(sql("SELECT ").push(COLUMNS).push(FROM).arg(by.tenant()), filter);
    let select = match page.column {
        // In the order of the ids the index of the times is of no use, and a planner that takes it nevertheless (SQLite
        // does) sorts the whole time span for each page. An expression keeps it from doing so.
        "id" => since("coalesce(created_at, created_at) >=", "coalesce(created_at, created_at) <=", select, filter),
        _ => since("created_at >=", "created_at <=", select, filter),
    };
    Ok(select.page(page).all(db).await?)
}

/// Who reads from the oldest on gets no further than where nothing is missing, so that he can go on from there later.
async fn settle(db: &Db, filter: &Filter, page: &Page) -> Result<Filter> {
    let mut filter = filter.clone();
    if filter.after.is_some() || (page.column == "id" && !page.descending) {
        let end = db.settled_id("audit_log").await?.saturating_add(1);
        filter.before = Some(filter.before.map_or(end, |before| before.min(end)));
    }
    Ok(filter)
}

const FROM: &str = " FROM audit_log WHERE tenant_id = ";

/// All conditions but those on the time.
fn conditions<'a>(select: Sql<'a>, filter: &'a Filter) -> Sql<'a> {
    select
        .and("actor_id =", filter.actor)
        .and("actor_username =", filter.actor_username.as_deref())
        .and("workspace_id =", filter.workspace)
        .and("workbench_id =", filter.workbench)
        .and("user_id =", filter.user)
        .and("action =", filter.action.as_deref())
        .and("outcome =", filter.outcome)
        .and("id >", filter.after)
        .and("id <", filter.before)
}

fn since<'a>(from: &'static str, to: &'static str, select: Sql<'a>, filter: &Filter) -> Sql<'a> {
    select.and(from, filter.from).and(to, filter.to)
}
