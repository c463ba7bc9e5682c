//! Members of a workspace or of a workbench: one way for both rooms.
//!
//! A member is nobody but a holder of roles that are bound to the place. What always holds: somebody gets there only roles of
//! its scope, bound to it alone; what is taken is taken by the rules of granting; a place is locked with the workspace that it
//! is or that holds it, so that nobody becomes a member of what is being deleted.

use super::{grant, has_user, may_revoke, of, revoke, store};
use crate::server::{
    access::{
        catalogue::{Dimension, Scope},
        context::{Bound, Context},
        decide::{Assignment, Role},
    },
    error::{Error, Result},
    pipeline::{Authorized, Change},
};

/// A workspace or a workbench, as somewhere to have members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    dimension: Dimension,
    scope: Scope,
    id: i64,
}

impl Place {
    /// A workspace.
    pub const fn workspace(id: i64) -> Self {
        Self { dimension: Dimension::Workspace, scope: Scope::Workspace, id }
    }

    /// A workbench.
    pub const fn workbench(id: i64) -> Self {
        Self { dimension: Dimension::Workbench, scope: Scope::Workbench, id }
    }

    /// What a role of a member is bound to.
    pub const fn context(self) -> Context {
        Context::NONE.with(self.dimension, Bound::Id(self.id))
    }

    /// Refuses a role of another scope.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn takes(self, field: &'static str, role: &Role) -> Result<()> {
        let (name, scope, here) = (role.name(), role.scope(), self.scope.as_str());
        if scope == self.scope {
            return Ok(());
        }
        let text =
            format!("{name} is a role of scope {}; in a {here} one holds roles of scope {here}.", scope.as_str());
        Err(Error::field(field, format!("{here}_role"), text))
    }

    /// What a user holds there.
    pub async fn held_by(self, change: &mut Change, user: i64) -> Result<Vec<Assignment>> {
        let mut held = of(change, user).await?;
        held.retain(|assignment| assignment.context.get(self.dimension) == Some(Bound::Id(self.id)));
        Ok(held)
    }

    /// Gives a user of the tenant a role there, which [`find`](super::find) found in this transaction.
    ///
    /// # Errors
    /// Those of [`grant()`].
    pub async fn give(self, change: &mut Change, by: &Authorized, user: i64, role: &Role) -> Result<()> {
        grant(change, by, user, role, self.context()).await.map(drop)
    }
}

/// Refuses a user whom the tenant does not have.
///
/// # Errors
/// 404 `USER_NOT_FOUND`.
pub async fn require_user(change: &mut Change, by: &Authorized, user: i64) -> Result<()> {
    if has_user(&mut *change, by.tenant(), user).await? {
        return Ok(());
    }
    Err(Error::not_found("USER_NOT_FOUND", "There is no such user. List the users to see which there are."))
}

/// Takes these roles from a member, all or none.
///
/// # Errors
/// The rule that forbids it for one of them.
pub async fn take(change: &mut Change, by: &Authorized, user: i64, held: &[Assignment]) -> Result<()> {
    take_with(change, by, user, held, Vec::new()).await
}

/// Takes from a member of a workspace the last roles there, and those in its workbenches. For these the caller needs no right
/// of his own: nobody stays at a desktop of a workspace that he has to leave.
///
/// # Errors
/// The rule that forbids it for one of the roles in the workspace.
pub async fn remove(
    change: &mut Change,
    by: &Authorized,
    workspace: i64,
    user: i64,
    held: &[Assignment],
) -> Result<()> {
    let beside = store::held_in_workbenches_of(change, workspace, user).await?;
    take_with(change, by, user, held, beside).await
}

async fn take_with(
    change: &mut Change,
    by: &Authorized,
    user: i64,
    held: &[Assignment],
    beside: Vec<i64>,
) -> Result<()> {
    for assignment in held {
        may_revoke(by, user, assignment)?;
    }
    let ids: Vec<i64> = held.iter().map(|assignment| assignment.id).chain(beside).collect();
    if ids.is_empty() { Ok(()) } else { revoke(change, by, user, &ids).await }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::access::decide::Roles;

    #[test]
    fn a_place_takes_roles_of_its_scope() {
        let roles = Roles::built_in(true);
        for (role, workspace, workbench) in [
            ("WorkspaceGuest", true, false),
            ("WorkspaceMember", true, false),
            ("WorkspaceAdmin", true, false),
            ("WorkspaceDataManager", true, false),
            ("WorkbenchViewer", false, true),
            ("WorkbenchMember", false, true),
            ("WorkbenchAdmin", false, true),
            ("SuperAdmin", false, false),
            ("Authenticated", false, false),
            ("PlatformUserManager", false, false),
        ] {
            for (place, taken) in [(Place::workspace(5), workspace), (Place::workbench(5), workbench)] {
                let result = place.takes("role.name", roles.get(role).unwrap());
                assert_eq!(result.is_ok(), taken, "{role} {place:?}");
                if let Err(error) = result {
                    let detail = crate::server::error::detail(&error.into_status("/")).unwrap();
                    assert_eq!(detail.validation_errors[0].field, "role.name", "{role}");
                }
            }
        }
        assert_eq!(Place::workbench(7).context(), Context::workbench(7), "and to nothing else");
    }
}
