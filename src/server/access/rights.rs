//! What somebody may do: the roles held, and what they mean.
//!
//! ```text
//! role_assignments ⋈ dynamic_roles ── one statement ──► Rights ──► may, visible ──► decide (pure)
//!                                                         ▲
//! built-in roles (catalogue) ─────────────────────────────┘
//! ```
//!
//! A caller is one of these and a credential, which may take something away. What always holds:
//!
//! - assignments and definitions of roles are of the same moment, since one statement reads both: nobody holds an old
//!   assignment of a role that means more by now;
//! - rights never change. Who wants to see a change reads them again; [`Sessions`](super::sessions) does so whenever the
//!   access version moved;
//! - an assignment that names no role, built in or of the same tenant, is left out.

use std::sync::Arc;

use sqlx::FromRow;

use super::{
    catalogue::Permission,
    context::Context,
    decide::{Assignment, Role, Roles, Target, Visible, decide, visible},
    sessions::AssignmentRow,
};
use crate::server::{
    db::{Json, On, sql},
    error::Result,
};

/// What somebody may do.
#[derive(Debug, Clone, PartialEq)]
pub struct Rights {
    user: i64,
    assignments: Vec<Assignment>,
    roles: Arc<Roles>,
}

impl Rights {
    /// The rights of a user who holds these roles.
    pub fn new(user: i64, assignments: Vec<Assignment>, roles: Arc<Roles>) -> Self {
        Self { user, assignments, roles }
    }

    /// The rights by those roles alone whose context is as wanted.
    pub fn only(mut self, wanted: impl Fn(&Context) -> bool) -> Self {
        self.assignments.retain(|assignment| wanted(&assignment.context));
        self
    }

    /// Whose they are.
    pub fn user(&self) -> i64 {
        self.user
    }

    /// The roles held.
    pub fn assignments(&self) -> &[Assignment] {
        &self.assignments
    }

    /// The built-in roles, and those of the tenant's own that are held.
    pub fn roles(&self) -> &Arc<Roles> {
        &self.roles
    }

    /// Whether the permission is held for the target.
    pub fn may(&self, permission: Permission, target: Target) -> bool {
        decide(&self.roles, &self.assignments, self.user, permission, target)
    }

    /// The ids for which the permission is held.
    pub fn visible(&self, permission: Permission) -> Visible {
        visible(&self.roles, &self.assignments, self.user, permission)
    }
}

/// A role held, with its definition if an administrator made it.
#[derive(FromRow)]
struct HeldRow {
    #[sqlx(flatten)]
    assignment: AssignmentRow,
    role_row: Option<i64>,
    role_workspace: Option<i64>,
    description: Option<String>,
    permissions: Option<Json<Vec<String>>>,
}

/// Reads what a user may do.
pub async fn read(on: impl Into<On<'_>>, built_in: &Arc<Roles>, user: i64) -> Result<Rights> {
    let rows: Vec<HeldRow> =
        sql("SELECT a.id, a.user_id, a.role, a.workspace, a.workbench, a.user_context, d.id AS role_row, \
         d.workspace_id AS role_workspace, d.description, d.permissions FROM role_assignments a \
         LEFT JOIN dynamic_roles d ON d.id = a.dynamic_role_id AND d.tenant_id = a.tenant_id AND d.name = a.role \
         WHERE a.user_id = $1 ORDER BY a.id")
        .bind(user)
        .all(on)
        .await?;
    let (mut assignments, mut dynamic) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        let assignment = row.assignment.assignment();
        if let Some(id) = row.role_row {
            let permissions = permissions(&row.permissions.unwrap_or_default());
            let description = row.description.unwrap_or_default();
            dynamic.push(Role::dynamic(id, assignment.role.clone(), description, row.role_workspace, permissions));
        } else if built_in.get(&assignment.role).is_none() {
            continue;
        }
        assignments.push(assignment);
    }
    let roles = if dynamic.is_empty() { built_in.clone() } else { Arc::new(built_in.with(dynamic)) };
    Ok(Rights::new(user, assignments, roles))
}

/// Stored permissions. A name that this server does not know, since a newer one wrote it, grants nothing here.
pub fn permissions(stored: &[String]) -> Vec<Permission> {
    stored.iter().filter_map(|name| Permission::parse(name)).collect()
}
