//! Who calls: the account, the credential that it showed and its roles, as they stood when they were last read.
//!
//! Every decision passes here, so what an API token takes away is taken away everywhere.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, Utc};

use super::{
    catalogue::{self, Permission},
    context::Context,
    decide::{Assignment, Roles, Target, Visible, denied, label},
    grant::Granter,
    kiosk,
    rights::Rights,
    scope::Scopes,
};
use crate::server::error::Error;

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

/// How a caller showed who he is.
#[derive(Debug, Clone)]
pub enum Credential {
    /// Not at all.
    Visitor,
    /// By the token of a session, which a sign-in opened.
    Session {
        /// The id of the session.
        id: Arc<str>,
        /// It can only change a temporary password.
        restricted: bool,
    },
    /// By the session that an app instance opened with its token: less than its owner may, see [`super::kiosk`].
    Kiosk(Arc<Kiosk>),
    /// By an API token: less than its owner may.
    Token(Arc<ApiToken>),
}

/// A session that an app instance opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kiosk {
    /// The id of the session.
    pub session: Arc<str>,
    /// The app instance.
    pub app_instance: i64,
}

/// An API token, as far as calls need to know it.
#[derive(Debug, Clone)]
pub struct ApiToken {
    /// Its row.
    pub id: i64,
    /// The id in its text.
    pub public_id: Arc<str>,
    /// The name that its maker gave it.
    pub name: String,
    /// What it may be used for.
    pub scopes: Scopes,
}

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    account: Account,
    credential: Credential,
    rights: Rights,
}

impl Caller {
    /// The owner of a credential.
    pub fn new(account: Account, credential: Credential, rights: Rights) -> Self {
        Self { account, credential, rights }
    }

    /// Somebody who is not signed in: holds the role `Public`, in the tenant of public pages.
    pub fn visitor(tenant_id: i64, built_in: Arc<Roles>) -> Self {
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
        let rights = Rights::new(nobody.id, vec![public], built_in);
        Self { account: nobody, credential: Credential::Visitor, rights }
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

    /// How the caller showed who he is.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The id of the session that a person opened; nothing for a visitor, an app instance and an API token.
    pub fn session(&self) -> Option<&Arc<str>> {
        match &self.credential {
            Credential::Session { id, .. } => Some(id),
            Credential::Visitor | Credential::Kiosk(_) | Credential::Token(_) => None,
        }
    }

    /// The session of an app instance, if it is one.
    pub fn kiosk(&self) -> Option<&Kiosk> {
        match &self.credential {
            Credential::Kiosk(kiosk) => Some(kiosk),
            Credential::Visitor | Credential::Session { .. } | Credential::Token(_) => None,
        }
    }

    /// The API token, if it is one.
    pub fn token(&self) -> Option<&ApiToken> {
        match &self.credential {
            Credential::Token(token) => Some(token),
            Credential::Visitor | Credential::Session { .. } | Credential::Kiosk(_) => None,
        }
    }

    /// Whether nobody is behind the call that we know.
    pub fn is_visitor(&self) -> bool {
        matches!(self.credential, Credential::Visitor)
    }

    /// Whether the session can only change a temporary password.
    pub fn is_restricted(&self) -> bool {
        matches!(self.credential, Credential::Session { restricted: true, .. })
    }

    /// What the caller's account may do. Whoever decides asks [`Self::may`], [`Self::visible`] or [`Self::granter`],
    /// which know what an API token takes away.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// The roles that the caller's account holds.
    pub fn assignments(&self) -> &[Assignment] {
        self.rights.assignments()
    }

    /// The built-in roles, and those of the tenant's own that the caller holds: one state for the whole call.
    pub fn roles(&self) -> &Arc<Roles> {
        self.rights.roles()
    }

    /// Whether the caller holds the permission for the target.
    pub fn may(&self, permission: Permission, target: Target) -> bool {
        let left = match &self.credential {
            Credential::Visitor | Credential::Session { .. } => true,
            Credential::Kiosk(_) => kiosk::allows(permission),
            Credential::Token(token) => token.scopes.allow(permission, target),
        };
        left && self.rights.may(permission, target)
    }

    /// The ids for which the caller holds the permission.
    pub fn visible(&self, permission: Permission) -> Visible {
        let held = self.rights.visible(permission);
        match &self.credential {
            Credential::Visitor | Credential::Session { .. } => held,
            Credential::Kiosk(_) if kiosk::allows(permission) => held,
            Credential::Kiosk(_) => Visible::Ids(BTreeSet::new()),
            Credential::Token(token) => held.and(token.scopes.visible(permission)),
        }
    }

    /// The refusal that names what the caller lacks.
    pub fn denied(&self, permission: Permission, target: Target) -> Error {
        match self.token() {
            None => denied(permission, target),
            Some(_) => {
                let label = label(permission, target);
                let text =
                    format!("You need the permission {label}, in a scope of the API token and in a role of its owner.");
                Error::denied("PERMISSION_DENIED", text)
            }
        }
    }

    /// The caller as somebody who grants and revokes roles.
    pub fn granter(&self) -> Granter<'_> {
        Granter { rights: &self.rights, scopes: self.token().map(|token| &token.scopes) }
    }
}
