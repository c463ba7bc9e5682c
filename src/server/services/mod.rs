//! The rooms of the house: one folder per noun.
//!
//! In each room `mod.rs` holds the service and its rules, `api.rs` the handlers of its RPCs and the conversions from and
//! to messages, `store.rs` its SQL. A handler is called by the pipeline with a caller who is authorized; a change goes
//! through [`Db::begin`](crate::server::db::Db), which commits it together with its audit record.

pub mod authentication;
pub mod authorization;
pub mod notifications;
pub mod roles;
pub mod users;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::{HeaderName, HeaderValue};
use prost_types::Timestamp;

use super::{
    config::Config,
    db::{Db, Listed, Page},
    error::{Error, Result},
    pipeline::Authorized,
};
use crate::proto::v1::PaginationResult;

/// What every room stands on.
#[derive(Clone)]
pub struct Base {
    /// The database.
    pub db: Db,
    /// The configuration.
    pub config: Arc<Config>,
}

/// The id of a request field as rows have it. No row has an id beyond `i64`, so such an id is not found.
pub fn row_id(id: u64, what: &'static str) -> Result<i64> {
    i64::try_from(id).map_err(|_| Error::not_found("NOT_FOUND", format!("There is no {what} {id}.")))
}

/// The id of a row as messages have it. Rows have positive ids.
pub fn wire_id(id: i64) -> u64 {
    u64::try_from(id).unwrap_or_default()
}

/// A time as messages have it.
pub fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: at.timestamp(), nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default() }
}

/// Tells that a list was cut although nobody asked for a page.
const TRUNCATED: HeaderName = HeaderName::from_static("x-chorus-truncated");

/// What the reply says about its page of a list.
pub fn paged<T>(call: &Authorized, page: &Page, listed: &Listed<T>) -> PaginationResult {
    if listed.truncated {
        call.call().reply_header(TRUNCATED, HeaderValue::from_static("true"));
    }
    page.reply(listed.total)
}
