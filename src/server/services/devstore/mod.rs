//! The devstore: texts by key, which clients keep for everybody, for one user or for one workspace.
//!
//! The server does not look into the values. What always holds: a scope lies within one tenant, that of the caller.
//! Global entries are those of the caller's tenant too; a visitor, who reads them before signing in, sees those of the
//! tenant whose public pages visitors see. Entries of a workspace are out of reach once it is deleted, and go with it, as
//! those of a user do. A scope holds a bounded number and size of entries.

mod api;
mod store;

use super::Base;
use crate::server::{
    db::{FromRow, Tx},
    error::{Error, Kind, Result},
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

/// Removes the entries of a user who is being deleted.
pub async fn forget_user(tx: &mut Tx, tenant: i64, user: i64) -> Result<()> {
    store::clear(tx, tenant, Scope::User(user)).await
}

/// The most entries of a scope.
const MOST_ENTRIES: i64 = 1_000;
/// The most bytes of keys and values of a scope.
const MOST_BYTES: i64 = 16 * 1024 * 1024;

/// What a scope holds.
#[derive(Debug, Clone, Copy, FromRow)]
struct Held {
    entries: i64,
    /// Of keys and values.
    bytes: i64,
}

/// Refuses to let a scope hold more than the quota.
fn within(held: Held) -> Result<()> {
    if held.entries <= MOST_ENTRIES && held.bytes <= MOST_BYTES {
        return Ok(());
    }
    let text = format!(
        "The devstore keeps at most {MOST_ENTRIES} entries and {} MiB of keys and values for each user, each workspace \
         and the platform. Delete entries that nobody needs.",
        MOST_BYTES / (1024 * 1024)
    );
    Err(Error::new(Kind::Exhausted, "QUOTA_DEVSTORE", text))
}

fn no_entry() -> Error {
    Error::not_found("ENTRY_NOT_FOUND", "There is no entry with this key. List the entries to see which there are.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_holds_no_more_than_its_quota() {
        for (entries, bytes, fits) in
            [(0, 0, true), (MOST_ENTRIES, MOST_BYTES, true), (MOST_ENTRIES + 1, 0, false), (1, MOST_BYTES + 1, false)]
        {
            assert_eq!(within(Held { entries, bytes }).is_ok(), fits, "{entries} {bytes}");
        }
        let error = within(Held { entries: 1, bytes: i64::MAX }).unwrap_err();
        assert_eq!((error.kind(), error.reason()), (Kind::Exhausted, "QUOTA_DEVSTORE"));
        assert!(error.message().contains("1000 entries and 16 MiB"), "{}", error.message());
    }
}
