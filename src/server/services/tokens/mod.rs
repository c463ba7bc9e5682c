//! API tokens: making, listing and ending them. How they are written, stored and used is in `access::api_token` and
//! `access::api_tokens`; what their scopes mean, in `access::scope`.
//!
//! ```text
//! request ──► name, end, networks, scopes ──► scopes ⊆ what the caller may do ──► row, and the token, told once
//! ```
//!
//! What always holds:
//!
//! - people make tokens for themselves, and for service accounts that they administer; never for other people;
//! - a token may do no more than its maker when it is made, and no more than its owner whenever it is used; what an
//!   account may do to itself alone counts as its administrator's to give;
//! - every token ends; its name is unique among the active ones of its owner, of which there are a bounded number;
//! - a token is made by a session that is still open when the row is written, so none slips past a password reset.

mod api;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
use prost_types::Timestamp;

use self::store::TokenRow;
use super::{
    Base, roles,
    users::{self, SERVICE},
};
use crate::{
    proto::v1,
    server::{
        access::{
            api_token::Fresh,
            catalogue::{Dimension, Permission},
            context::{Bound, Context},
            scope::{Scope, ScopeError, Scopes},
        },
        config::{Config, Network, duration},
        db::Db,
        error::{Error, Kind, Result},
        pipeline::{Authorized, Pending},
    },
};

/// The most active tokens of a user.
const MOST_ACTIVE: i64 = 100;
/// How long the row of a token stays after its end.
const KEPT_AFTER_END: TimeDelta = TimeDelta::days(30);

/// The room of API tokens.
pub struct Tokens {
    base: Base,
}

/// What a token is made of.
struct Wanted {
    name: String,
    scopes: Scopes,
    networks: Vec<Network>,
    expires_at: DateTime<Utc>,
}

impl Tokens {
    /// The room over what every room stands on.
    pub fn new(base: Base) -> Self {
        Self { base }
    }

    /// Makes a token for the caller, or for a service account that the caller administers.
    async fn create(&self, call: Pending, request: v1::CreateTokenRequest) -> Result<(TokenRow, Fresh)> {
        let (call, owner) = admit(&call, request.user_id)?;
        let wanted = self.wanted(&call, owner, request)?;

        let mut change = self.base.db.begin(&call).await?;
        roles::lock_user(&mut change, owner).await?;
        call.call().shared().sessions.require_open(&mut change, &call).await?;
        let account = users::find(&mut change, &call, owner).await?.ok_or_else(|| no_user(owner))?;
        if owner != call.id() {
            if account.source != SERVICE {
                let text = "People make their own tokens. For somebody else's program, make a service account.";
                return Err(Error::field("userId", "service_account", text));
            }
            let held = roles::of(&mut change, owner).await?;
            roles::may_administer(&call, owner, &held)?;
        }
        if store::count_active(&mut change, &call, owner).await? >= MOST_ACTIVE {
            let text = format!("A user has at most {MOST_ACTIVE} active tokens. Revoke those that nobody needs.");
            return Err(Error::new(Kind::Exhausted, "QUOTA_TOKENS", text));
        }
        if store::has_active(&mut change, &call, owner, &wanted.name).await? {
            let text =
                format!("There is an active token {:?} already. Revoke it, or choose another name.", wanted.name);
            return Err(Error::exists("TOKEN_NAME_TAKEN", text));
        }
        let fresh = Fresh::new(&*call.call().shared().random);
        let row = store::insert(&mut change, &call, owner, &wanted, &fresh).await?;
        note(&call, &row);
        change.commit().await?;
        Ok((row, fresh))
    }

    /// Ends a token. One that has ended already stays as it is.
    async fn revoke(&self, call: &Authorized, id: i64) -> Result<()> {
        let mut change = self.base.db.begin(call).await?;
        let row = store::find(&mut change, call.tenant(), id).await?.ok_or_else(|| no_token(id))?;
        if row.user_id != call.id() {
            let held = roles::of(&mut change, row.user_id).await?;
            roles::may_administer(call, row.user_id, &held)?;
        }
        store::revoke(&mut change, call, id).await?;
        change.access_changed();
        note(call, &row);
        change.commit().await
    }

    /// What the request asks for, within what the caller may do.
    fn wanted(&self, call: &Authorized, owner: i64, request: v1::CreateTokenRequest) -> Result<Wanted> {
        let name = request.name.trim().to_owned();
        if name.is_empty() {
            return Err(Error::field("name", "required", "The name is only white space. Say what the token is for."));
        }
        let scopes = scopes(&request.scopes, owner)?;
        scopes.within(|permission, target| {
            // what an account may do to itself alone is its administrator's to give
            let own = owner != call.id() && permission.is_self_service() && target == Some((Dimension::User, owner));
            own || call.may(permission, target)
        })?;
        let networks = request.networks.iter().enumerate().map(|(at, text)| {
            text.parse().map_err(|reason| {
                Error::field(format!("networks[{at}]"), "network", format!("The network {text:?} {reason}."))
            })
        });
        let networks = networks.collect::<Result<_>>()?;
        let expires_at = ends(&self.base.config, call.now(), request.expires_at.unwrap_or_default())?;
        Ok(Wanted { name, scopes, networks, expires_at })
    }
}

/// Removes the rows of tokens that ended long ago; returns how many those were.
pub async fn remove_ended(db: &Db, now: DateTime<Utc>) -> Result<u64> {
    store::remove_ended(db, now - KEPT_AFTER_END).await
}

/// Admits the caller to the tokens of this user; of the caller's own when it is 0.
fn admit(call: &Pending, user: u64) -> Result<(Authorized, i64)> {
    let owner = match user {
        0 => call.caller().id(),
        // an id that no row can have is held by nobody but those who hold all
        id => i64::try_from(id).unwrap_or_default(),
    };
    Ok((call.require(Permission::UpdateUser, Some((Dimension::User, owner)))?, owner))
}

/// The scopes of a request.
fn scopes(asked: &[v1::TokenScope], owner: i64) -> Result<Scopes> {
    asked.iter().enumerate().map(|(at, scope)| read_scope(scope, owner).map_err(|error| refused(at, &error))).collect()
}

fn read_scope(asked: &v1::TokenScope, owner: i64) -> Result<Scope, ScopeError> {
    match Permission::parse(&asked.permission) {
        // there is only one account that it can be for
        Some(permission) if asked.context.is_empty() && permission.is_self_service() => {
            Scope::new(permission, &Context::NONE.with(Dimension::User, Bound::Id(owner)))
        }
        _ => Scope::from_pairs(&asked.permission, asked.context.iter().map(|(k, v)| (k.as_str(), v.as_str()))),
    }
}

fn refused(at: usize, error: &ScopeError) -> Error {
    let (field, rule) = match error {
        ScopeError::UnknownPermission(_) => ("permission", "known_permission"),
        ScopeError::Context(_) | ScopeError::Unbound { .. } | ScopeError::Stray { .. } => ("context", "context"),
    };
    Error::field(format!("scopes[{at}].{field}"), rule, format!("In the scopes, {error}."))
}

/// The scope reaches beyond what its maker may do.
impl From<Scope> for Error {
    fn from(beyond: Scope) -> Self {
        let text = format!("The scope {beyond} allows more than you may do yourself. Leave it out, or narrow it.");
        Self::denied("SCOPE_EXCEEDS_OWN", text)
    }
}

/// The end of a token, within what the server allows.
fn ends(config: &Config, now: DateTime<Utc>, asked: Timestamp) -> Result<DateTime<Utc>> {
    let nanos = u32::try_from(asked.nanos).unwrap_or_default();
    // what the calendar does not have is later than any limit, or earlier than now
    let far = if asked.seconds < 0 { DateTime::UNIX_EPOCH } else { DateTime::<Utc>::MAX_UTC };
    let expires_at = DateTime::from_timestamp(asked.seconds, nanos).unwrap_or(far);
    let longest = config.token_max_lifetime;
    if expires_at <= now {
        return Err(Error::field("expiresAt", "future", "The token would have ended already. Choose a later end."));
    }
    if expires_at > now + longest {
        let text =
            format!("A token of this server lasts at most {}. Choose an earlier end.", duration::format(longest));
        return Err(Error::field("expiresAt", "token_max_lifetime", text));
    }
    Ok(expires_at)
}

/// Says in the audit record which token the call was about.
fn note(call: &Authorized, row: &TokenRow) {
    let mut subjects = call.call().subjects();
    subjects.user = Some(row.user_id);
    subjects.verified = true;
    subjects.detail("user_id", &row.user_id.to_string());
    subjects.detail("api_token_id", &row.id.to_string());
    subjects.detail("name", &row.name);
    subjects.detail_list("scopes", &row.scopes.0);
    subjects.detail("expires_at", &row.expires_at.to_rfc3339());
}

fn no_token(id: impl std::fmt::Display) -> Error {
    Error::not_found("TOKEN_NOT_FOUND", format!("There is no API token {id}."))
}

fn no_user(id: i64) -> Error {
    Error::not_found("USER_NOT_FOUND", format!("There is no user {id}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(permission: &str, context: &[(&str, &str)]) -> v1::TokenScope {
        let context = context.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        v1::TokenScope { permission: permission.to_owned(), context }
    }

    #[test]
    fn scopes_of_requests() {
        for (permission, context, expected) in [
            ("getWorkspace", &[("workspace", "5")][..], Ok("getWorkspace@workspace=5")),
            ("createWorkspace", &[], Ok("createWorkspace")),
            // without context, what everybody does for himself is for the owner
            ("getMyOwnUser", &[], Ok("getMyOwnUser@user=7")),
            ("updateUser", &[("user", "*")], Ok("updateUser@user=*")),
            ("getUser", &[], Err("scopes[0].context")),
            ("getWorkspace", &[("user", "7")], Err("scopes[0].context")),
            ("getMyOwnUser", &[("workspace", "5")], Err("scopes[0].context")),
            ("everything", &[], Err("scopes[0].permission")),
        ] {
            let read = scopes(&[asked(permission, context)], 7);
            match (read, expected) {
                (Ok(scopes), Ok(text)) => assert_eq!(scopes.iter().next().unwrap().to_string(), text),
                (Err(error), Err(field)) => {
                    let status = error.into_status("/");
                    let detail = crate::server::error::detail(&status).unwrap();
                    assert_eq!(detail.validation_errors[0].field, field, "{permission}");
                }
                (read, _) => panic!("{permission}: {:?}", read.is_ok()),
            }
        }
    }

    #[test]
    fn every_token_ends() {
        let mut config = users::tests::config();
        config.token_max_lifetime = std::time::Duration::from_secs(24 * 60 * 60);
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let end = |seconds: i64, nanos| ends(&config, now, Timestamp { seconds, nanos });
        assert!(end(1_800_000_001, 0).is_ok() && end(1_800_086_400, 0).is_ok());
        for (seconds, nanos) in [(0, 0), (-1, 0), (1_800_000_000, 0), (1_800_086_400, 1), (i64::MAX, 0), (i64::MIN, 0)]
        {
            assert!(end(seconds, nanos).is_err(), "{seconds}");
        }
    }
}
