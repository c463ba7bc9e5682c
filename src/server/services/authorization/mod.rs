//! Roles and permissions: those that come with the server, and the roles that administrators define.
//!
//! ```text
//! api ──► definitions   create, update, delete: who may, under which locks
//!     │       └──► wanted   what a request asks for, checked (pure)
//!     └──► store        the rows of `dynamic_roles`
//! ```
//!
//! A role that an administrator defines has scope `platform` or `workspace`. One of the platform holds permissions without
//! context and is managed with `manageDynamicRoles`; one of a workspace holds permissions without context and those of
//! workspaces, belongs to one workspace, goes with it, and is managed by who manages the members there. Its name and its
//! scope never change. What always holds:
//!
//! - nobody defines what he does not have: who creates, changes or deletes a role holds every permission that it had and
//!   every one that it gets, in the context in which the role is held;
//! - a name means one role in a tenant, whatever its letter case; no role has the name of one that comes with the server,
//!   also when that came later ([`Roles::with`](crate::server::access::decide::Roles::with));
//! - no role of a tenant reaches beyond it: none holds `initializeTenant`;
//! - a role and those who hold it are of one tenant, and an assignment means the row of the role, not its name, so a new
//!   role with an old name is held by nobody;
//! - a role that somebody holds goes only together with the assignments of it.
//!
//! Who sees which: visitors see the built-in ones. Whoever is signed in also sees those of the platform, those of the
//! workspaces that he sees, and those that he holds; the rest does not exist for him, save that its name is taken.

mod api;
mod definitions;
mod store;
mod wanted;

use super::Base;
use crate::server::{
    error::Result,
    pipeline::{Authorized, Change},
};

/// The room of roles and permissions.
pub struct Authorization {
    base: Base,
}

impl Authorization {
    /// The room over what every room stands on.
    pub fn new(base: Base) -> Self {
        Self { base }
    }
}

pub use store::find;

/// Removes the roles of a workspace that is being deleted, whose assignments are gone.
pub async fn forget_workspace(change: &mut Change, by: &Authorized, workspace: i64) -> Result<()> {
    store::delete_of_workspace(change, by, workspace).await
}
