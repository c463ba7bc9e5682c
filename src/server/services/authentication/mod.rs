//! Signing in and out with a password that this server keeps.
//!
//! ```text
//! user name, password ──► row of an active account ──► password ──► second factor ──► session ──► token + cookie
//! ```
//!
//! What always holds:
//!
//! - whatever is wrong (no such user, disabled, deleted, another password) gets one answer, and costs one password hash;
//! - a session opens only while the account is active and has the password that was checked;
//! - a password whose hash is of an older kind is hashed anew in the transaction of the sign-in;
//! - a sign-in clears away the user's sessions that ended more than a day ago, so that their number stays bounded;
//! - a temporary password opens a session that can do nothing but replace it.

mod api;
mod store;

use std::time::Duration;

use secrecy::SecretString;

use super::{Base, roles};
use crate::server::{
    access::{caller::Account, password::Verdict, sessions::Opened},
    db::fold,
    error::{Error, Kind, Result},
    pipeline::Authorized,
};

/// How long the row of a session stays after its end.
const KEPT_AFTER_END: Duration = Duration::from_secs(24 * 60 * 60);

/// The room of sign-ins.
pub struct Authentication {
    base: Base,
}

impl Authentication {
    /// The room over what every room stands on.
    pub fn new(base: Base) -> Self {
        Self { base }
    }

    /// Opens a session for whoever has this user name and password.
    async fn sign_in(&self, call: &Authorized, username: &str, password: SecretString, totp: &str) -> Result<Opened> {
        let found = store::find(&self.base.db, call, &fold(username)).await?;
        if let Some(found) = &found {
            // for the record only: the answer does not tell whether the user exists
            let mut subjects = call.call().subjects();
            subjects.user = Some(found.account.id);
            subjects.tenant = Some(found.account.tenant_id);
            // what matches no account is not kept: people type their password there
            subjects.detail("username", &found.account.username);
            subjects.verified = true;
        }
        let stored = found.as_ref().map(|found| found.password_hash.clone());
        let hasher = &call.call().shared().hasher;
        let (Verdict::Right { outdated }, Some(found)) = (hasher.verify(password.clone(), stored).await?, found) else {
            return Err(wrong());
        };
        if found.account.totp_enabled {
            return Err(second_factor(totp));
        }
        let renewed = match outdated {
            true => Some(hasher.hash(password).await?),
            false => None,
        };
        self.open(call, &found.account, &found.password_hash, renewed.as_deref()).await
    }

    async fn open(&self, call: &Authorized, account: &Account, checked: &str, renewed: Option<&str>) -> Result<Opened> {
        let shared = call.call().shared();
        let mut change = self.base.db.begin(call).await?;
        roles::lock_user(&mut change, account.id).await?;
        // the password was checked outside of the transaction
        if !store::confirm(&mut change, call, account.id, checked, renewed).await? {
            return Err(wrong());
        }
        // what ended lately stays for whoever looks into an incident
        let ended = call.now() - KEPT_AFTER_END;
        let used = ended - self.base.config.session_idle_timeout;
        store::forget_ended(&mut change, call, account.id, ended, used).await?;
        let address = call.call().address.map(|address| address.to_string()).unwrap_or_default();
        let from = (call.call().user_agent.as_str(), address.as_str());
        let id = shared.random.uuid().to_string();
        let opened = shared.sessions.open(&mut change, account, &id, from, call.now()).await?;
        call.call().subjects().actor = Some((account.tenant_id, account.id, account.username.clone()));
        change.commit().await?;
        Ok(opened)
    }
}

/// The one answer to whatever is wrong.
fn wrong() -> Error {
    Error::new(Kind::InvalidCredentials, "INVALID_CREDENTIALS", "The user name or the password is wrong.")
}

/// The password was right, and the account wants more.
fn second_factor(totp: &str) -> Error {
    match totp.is_empty() {
        true => Error::new(
            Kind::TwoFactorRequired,
            "TWO_FACTOR_REQUIRED",
            "This account has a second factor. Repeat the sign-in with the code of your authenticator app.",
        ),
        false => Error::new(
            Kind::Unimplemented,
            "TOTP_NOT_BUILT",
            "This version cannot check codes. An administrator who resets the password turns the second factor off.",
        ),
    }
}
