//! Members: who holds which role in a workbench.
//!
//! A member has one role there, so a new one takes the place of the old one. Only somebody who manages members there learns
//! whether the workbench and the user exist; the rules about which role may be given come last.

use super::{
    Workbenches, not_found, record,
    store::{self, Workbench},
};
use crate::server::{
    access::catalogue::{Dimension, Permission},
    error::Result,
    pipeline::{Authorized, Change, Pending},
    services::roles::{
        self,
        members::{self, Place},
    },
};

impl Workbenches {
    /// Gives a user a role in a workbench, in place of those held there. Who has it already keeps it.
    pub(super) async fn add_role(&self, call: &Pending, id: i64, user: i64, role: &str) -> Result<Workbench> {
        let by = call.require(Permission::ManageUsersInWorkbench, Some((Dimension::Workbench, id)))?;
        let place = Place::workbench(id);
        let mut change = self.base.db.begin(&by).await?;
        let workbench = found(&mut change, &by, id, user).await?;
        let role = roles::find(&mut change, &by, role).await?;
        place.takes("role.name", &role)?;
        let (same, others): (Vec<_>, Vec<_>) =
            place.held_by(&mut change, user).await?.into_iter().partition(|held| held.role == *role.name());
        members::take(&mut change, &by, user, &others).await?;
        if same.is_empty() {
            place.give(&mut change, &by, user, &role).await?;
        }
        change.commit().await?;
        Ok(workbench)
    }

    /// Takes all roles in a workbench from a user. Somebody who has none stays what he is: not a member.
    pub(super) async fn remove_member(&self, by: &Authorized, id: i64, user: i64) -> Result<Workbench> {
        let mut change = self.base.db.begin(by).await?;
        let workbench = found(&mut change, by, id, user).await?;
        let held = Place::workbench(id).held_by(&mut change, user).await?;
        members::take(&mut change, by, user, &held).await?;
        change.commit().await?;
        Ok(workbench)
    }
}

/// The workbench, if it and the user are in the tenant; it stays there to the end of the transaction.
async fn found(change: &mut Change, by: &Authorized, id: i64, user: i64) -> Result<Workbench> {
    roles::lock_bound(change, by.tenant(), &Place::workbench(id).context()).await?;
    let workbench = store::get(&mut *change, by.tenant(), id).await?.ok_or_else(not_found)?;
    members::require_user(change, by, user).await?;
    record(by, &workbench);
    Ok(workbench)
}
