//! The roles of this server and the permissions that they hold, for everybody to read.

mod api;
mod store;

/// The room of roles and permissions.
pub struct Authorization;

pub use store::find;
