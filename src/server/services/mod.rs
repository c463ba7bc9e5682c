//! The rooms of the house: one folder per noun.
//!
//! In each room `mod.rs` holds the service and its rules, `api.rs` the handlers of its RPCs and the conversions from and
//! to messages, `store.rs` its SQL. A handler is called by the pipeline with a caller who is authorized; a change goes
//! through [`Db::begin`](crate::server::db::Db), which commits it together with its audit record.

use std::sync::Arc;

use super::{
    config::Config,
    db::Db,
    error::{Error, Result},
};

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
