//! The devstore: texts by key, which clients keep for everybody, for one user or for one workspace.
//!
//! The server does not look into the values. What always holds: a scope lies within one tenant, that of the caller.
//! Global entries are those of the caller's tenant too; a visitor, who reads them before signing in, sees those of the
//! tenant whose public pages visitors see. Entries of a workspace are out of reach once it is deleted, and go with it.

mod api;
mod store;

use super::Base;
use crate::server::{
    db::Tx,
    error::{Error, Result},
};

/// The service.
pub struct Devstore {
    base: Base,
}

impl Devstore {
    /// The service over this base.
    pub fn new(base: Base) -> Self {
        Self { base }
    }
}

/// Whose entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Everybody's in the tenant.
    Global,
    /// Those of a user.
    User(i64),
    /// Those of a workspace.
    Workspace(i64),
}

impl Scope {
    /// Name and id in the database.
    const fn row(self) -> (&'static str, i64) {
        match self {
            Self::Global => ("global", 0),
            Self::User(id) => ("user", id),
            Self::Workspace(id) => ("workspace", id),
        }
    }
}

/// Removes the entries of a workspace that is being deleted.
pub async fn forget_workspace(tx: &mut Tx, tenant: i64, workspace: i64) -> Result<()> {
    store::clear(tx, tenant, Scope::Workspace(workspace)).await
}

fn no_entry() -> Error {
    Error::not_found("ENTRY_NOT_FOUND", "There is no entry with this key. List the entries to see which there are.")
}
