//! Who sees whom in the list of users, and how much of it.
//!
//! - Ids that are asked for need the permission to read each of them.
//! - A filter by workspaces or workbenches needs the permission to see each of them; their members are shown in full.
//! - Without such a filter, or with a search, everybody is shown to those who may read every user; those who look for
//!   people to invite see the outline of active users.

use crate::{
    proto::v1,
    server::{
        access::{
            catalogue::{Dimension, Permission},
            decide::Visible,
        },
        error::Result,
        pipeline::{Authorized, Pending},
    },
};

/// How much of the users a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All fields of all users.
    Full,
    /// Names, status and source of active users.
    Outline,
}

/// Admits the caller to the list that the filter describes.
///
/// # Errors
/// 403 naming the permission that is missing.
pub fn admit(call: &Pending, filter: &v1::UserFilter) -> Result<(Authorized, Extent)> {
    let mut admitted = None;
    for (ids, permission, dimension) in [
        (&filter.ids_in, Permission::GetUser, Dimension::User),
        (&filter.workspace_ids, Permission::GetWorkspace, Dimension::Workspace),
        (&filter.workbench_ids, Permission::GetWorkbench, Dimension::Workbench),
    ] {
        for id in ids {
            // an id that no row can have is allowed to nobody but those who may see all
            let id = i64::try_from(*id).unwrap_or_default();
            admitted = Some(call.require(permission, Some((dimension, id)))?);
        }
    }
    match admitted {
        Some(call) if search(filter).is_none() => Ok((call, Extent::Full)),
        _ => admit_to_all(call),
    }
}

/// The search text, if there is one.
pub fn search(filter: &v1::UserFilter) -> Option<&str> {
    filter.search.as_deref().filter(|text| !text.is_empty())
}

fn admit_to_all(call: &Pending) -> Result<(Authorized, Extent)> {
    if let Ok(call) = call.require(Permission::GetUser, None) {
        return Ok((call, Extent::Full));
    }
    for (permission, dimension) in [
        (Permission::ManageUsersInWorkspace, Dimension::Workspace),
        (Permission::ManageUsersInWorkbench, Dimension::Workbench),
    ] {
        let somewhere = match call.visible(permission) {
            Visible::All => None,
            Visible::Ids(ids) => match ids.first() {
                Some(id) => Some((dimension, *id)),
                None => continue,
            },
        };
        return Ok((call.require(permission, somewhere)?, Extent::Outline));
    }
    Ok((call.require(Permission::SearchUsers, None)?, Extent::Outline))
}
