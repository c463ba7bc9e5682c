//! Signing in and out with a password that this server keeps.
//!
//! ```text
//! user name, password ──► row of an active account ──► throttle ──► password ──► second factor ──► session ──► token + cookies
//! ```
//!
//! What always holds:
//!
//! - whatever is wrong (no such user, disabled, deleted, another password) gets one answer, and costs one password hash;
//! - a try is counted before the password is looked at, and counts until it turns out to be right, whatever becomes of
//!   the call; who has to wait hears so before any hash, whether or not the account exists or the password is right;
//! - a session opens only while the account is active and has the password and the second factor that were checked; a code
//!   is used up in the transaction that opens it;
//! - a password whose hash is of an older kind is hashed anew in the transaction of the sign-in;
//! - every sign-in has a token of its own, and ends the session that the same browser held until then (ASVS 5.0, 7.2.4):
//!   its cookie is replaced, so nobody could end that session any more. A program that shows its token in a header keeps
//!   the session: it may use both;
//! - a temporary password opens a session that can do nothing but replace it.

mod api;
mod device;
mod sessions;
mod store;

use secrecy::{ExposeSecret as _, SecretString};

use self::store::Found;
use super::{Base, roles, second_factor};
use crate::server::{
    access::{
        caller::Account,
        password::{Rank, Verdict},
        sessions::Opened,
        throttle::{self, Attempt, Device},
    },
    db::fold,
    error::{Error, Kind, Result},
    pipeline::Authorized,
};

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
    async fn sign_in(
        &self,
        call: &Authorized,
        username: &str,
        password: SecretString,
        totp: SecretString,
    ) -> Result<SignedIn> {
        let username = fold(username);
        let found = store::find(&self.base.db, call, &username).await?;
        if let Some(found) = &found {
            note(call, &found.account);
        }
        let (shared, now) = (call.call().shared(), call.now());
        let door = shared.throttle.outside(&username, call.call().address, call.call().device.as_ref());
        let rank = match shared.throttle.look(&door, now).await? {
            true => Rank::Known,
            false => Rank::Stranger,
        };
        let turn = shared.hasher.queue(rank)?;
        let attempt = shared.throttle.admit(door, now).await?;
        let stored = found.as_ref().map(|found| found.password_hash.clone());
        let (Verdict::Right { outdated }, Some(found)) = (turn.verify(password.clone(), stored).await?, found) else {
            return Err(wrong());
        };
        if found.account.totp_enabled && totp.expose_secret().is_empty() {
            attempt.give_back(&self.base.db).await?;
            return Err(second_factor_missing());
        }
        let renewed = match outdated {
            true => Some(shared.hasher.hash(password).await?),
            false => None,
        };
        self.open(call, &found, renewed.as_deref(), &totp, attempt).await
    }

    async fn open(
        &self,
        call: &Authorized,
        found: &Found,
        renewed: Option<&str>,
        totp: &SecretString,
        attempt: Attempt,
    ) -> Result<SignedIn> {
        let (shared, account) = (call.call().shared(), &found.account);
        let mut change = self.base.db.begin(call).await?;
        roles::lock_user(&mut change, account.id).await?;
        // the password was checked outside of the transaction
        if !store::confirm(&mut change, call, found, renewed).await? {
            return Err(wrong());
        }
        if account.totp_enabled && !second_factor::verify(&mut change, call, account, totp).await? {
            return Err(wrong());
        }
        if let Some(replaced) = call.call().cookie_session() {
            shared.sessions.revoke(&mut change, replaced, call.now()).await?;
            change.access_changed();
            call.call().subjects().detail("replaced_session", replaced);
        }
        let address = call.call().address.map(|address| address.to_string()).unwrap_or_default();
        let from = (call.call().user_agent.as_str(), address.as_str());
        let id = shared.random.uuid().to_string();
        let opened = shared.sessions.open(&mut change, account, &id, from, call.now()).await?;
        let device = device(call, &attempt);
        attempt.succeeded_at(&shared.throttle, &mut change, device.as_ref()).await?;
        call.call().subjects().actor = Some((account.tenant_id, account.id, account.username.clone()));
        change.commit().await?;
        Ok(SignedIn { opened, device })
    }
}

/// What a sign-in gives.
struct SignedIn {
    opened: Opened,
    /// What a browser shall show at the next sign-in.
    device: Option<Device>,
}

/// Says for the record who is meant; the answer does not tell whether the user exists. What matches no account is not
/// kept: people type their password there.
fn note(call: &Authorized, account: &Account) {
    let mut subjects = call.call().subjects();
    subjects.user = Some(account.id);
    subjects.tenant = Some(account.tenant_id);
    subjects.detail("username", &account.username);
    subjects.verified = true;
}

/// The device as which a browser is known from now on: a new one, unless the account knows it already. Only where the
/// cookie would come back.
fn device(call: &Authorized, attempt: &Attempt) -> Option<Device> {
    let call = call.call();
    match call.from_browser && call.instance.starts_with(throttle::DEVICE_PATH) {
        true if attempt.by_known_device() => call.device.clone(),
        true => Some(Device::new(&*call.shared().random)),
        false => None,
    }
}

/// The one answer to whatever is wrong.
fn wrong() -> Error {
    Error::new(
        Kind::InvalidCredentials,
        "INVALID_CREDENTIALS",
        "The user name, the password or the code is wrong, or the code was used already.",
    )
}

/// The password was right, and the account wants more.
fn second_factor_missing() -> Error {
    Error::new(
        Kind::TwoFactorRequired,
        "TWO_FACTOR_REQUIRED",
        "This account has a second factor. Repeat the sign-in with the code of your authenticator app, or a recovery code.",
    )
}
