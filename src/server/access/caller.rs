//! Who calls: the account, its session and its roles, as they stood when they were last read.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{
    catalogue::{self, Permission},
    context::Context,
    decide::{Assignment, Roles, Target, Visible, decide, visible},
};

/// The row of a user, without what only sign-in needs.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Account {
    /// The user's id.
    pub id: i64,
    /// The tenant that the user belongs to.
    pub tenant_id: i64,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// The name to sign in with.
    pub username: String,
    /// Where the account comes from: `internal`, or the id of an identity provider.
    pub source: String,
    /// E-mail address; may be empty.
    pub email: String,
    /// `active`, `disabled` or `deleted`.
    pub status: String,
    /// Whether signing in takes a second factor.
    pub totp_enabled: bool,
    /// Whether the password is the user's own choice; a temporary one must be changed.
    pub password_changed: bool,
    /// When the account was created.
    pub created_at: DateTime<Utc>,
    /// When the account was last changed.
    pub updated_at: DateTime<Utc>,
}

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    account: Account,
    session: Option<Arc<str>>,
    restricted: bool,
    assignments: Vec<Assignment>,
}

impl Caller {
    /// Somebody who is signed in. A restricted session may only change its password.
    pub fn signed_in(account: Account, session: Arc<str>, restricted: bool, assignments: Vec<Assignment>) -> Self {
        Self { account, session: Some(session), restricted, assignments }
    }

    /// Somebody who is not signed in: holds the role `Public`, in the tenant of public pages.
    pub fn visitor(tenant_id: i64) -> Self {
        let nobody = Account {
            id: 0,
            tenant_id,
            first_name: String::new(),
            last_name: String::new(),
            username: String::new(),
            source: String::new(),
            email: String::new(),
            status: String::new(),
            totp_enabled: false,
            password_changed: false,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        };
        let public = Assignment { id: 0, role: catalogue::PUBLIC.into(), context: Context::NONE };
        Self { account: nobody, session: None, restricted: false, assignments: vec![public] }
    }

    /// The row of the user.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The user's id; 0 for a visitor, which no row has.
    pub fn id(&self) -> i64 {
        self.account.id
    }

    /// The tenant.
    pub fn tenant(&self) -> i64 {
        self.account.tenant_id
    }

    /// The id of the session; nothing for a visitor.
    pub fn session(&self) -> Option<&Arc<str>> {
        self.session.as_ref()
    }

    /// Whether nobody is signed in.
    pub fn is_visitor(&self) -> bool {
        self.session.is_none()
    }

    /// Whether the session can only change a temporary password.
    pub fn is_restricted(&self) -> bool {
        self.restricted
    }

    /// The roles that the caller holds.
    pub fn assignments(&self) -> &[Assignment] {
        &self.assignments
    }

    /// Whether the caller holds the permission for the target.
    pub fn may(&self, roles: &Roles, permission: Permission, target: Target) -> bool {
        decide(roles, &self.assignments, self.id(), permission, target)
    }

    /// The ids for which the caller holds the permission.
    pub fn visible(&self, roles: &Roles, permission: Permission) -> Visible {
        visible(roles, &self.assignments, self.id(), permission)
    }
}
