//! One's own second factor: a new secret, and turning it on.
//!
//! What always holds: who turns it off shows the password, and the second factor within the last quarter of an hour; who turns
//! it on shows a code of the app; in both cases all other sessions end, and the user is told. A session that somebody
//! stole is not enough for either.

use chrono::TimeDelta;
use secrecy::{ExposeSecret as _, SecretString};

use super::{INTERNAL, Users, accounts::note, not_found, passwords::changed_meanwhile, store};
use crate::{
    proto::v1,
    server::{
        access::{
            caller::Account,
            password::{Rank, Verdict},
        },
        error::{Error, Kind, Result},
        pipeline::{Authorized, Change},
        services::{
            roles,
            second_factor::{self, SetUp},
        },
    },
};

/// So long after a sign-in its second factor counts as just shown.
const FRESH: TimeDelta = TimeDelta::minutes(15);

impl Users {
    /// Gives the caller a new secret and new recovery codes; the second factor is off until a code is shown.
    pub(super) async fn reset_totp_of_caller(&self, call: &Authorized, request: v1::ResetTotpRequest) -> Result<SetUp> {
        let v1::ResetTotpRequest { password, totp } = request;
        let (password, code) = (SecretString::from(password), SecretString::from(totp));
        let user = store::caller_with_password(&self.base.db, call).await?.ok_or_else(|| not_found(call.id()))?;
        let checked = user.password_hash.filter(|_| user.account.source == INTERNAL);
        let checked = checked.ok_or_else(|| elsewhere(&user.account))?;
        let turn = call.call().shared().hasher.queue(Rank::Known)?;
        let attempt = call.attempt().await?;
        if turn.verify(password, Some(checked.clone())).await? == Verdict::Wrong {
            return Err(Error::new(Kind::InvalidCredentials, "INVALID_CREDENTIALS", "The password is wrong."));
        }

        let mut change = self.base.db.begin(call).await?;
        roles::lock_user(&mut change, call.id()).await?;
        // the password was checked outside of the transaction
        let user = store::caller_with_password(&mut change, call).await?.ok_or_else(|| not_found(call.id()))?;
        if user.password_hash.as_deref() != Some(&checked) {
            return Err(changed_meanwhile());
        }
        if user.account.totp_enabled {
            if code.expose_secret().is_empty() {
                if !signed_in_lately(&mut change, call).await? {
                    drop(change);
                    attempt.give_back(&self.base.db).await?;
                    return Err(code_missing());
                }
            } else if !second_factor::verify(&mut change, call, &user.account, &code).await? {
                let text = "The code is wrong or was used already. Wait for the next one.";
                return Err(Error::new(Kind::InvalidCredentials, "INVALID_CREDENTIALS", text));
            }
            self.switch_totp(&mut change, call, &user.account, false).await?;
        }
        let made = second_factor::set_up(&mut change, call, call.id()).await?;
        attempt.succeeded(&mut change).await?;
        note(call, &user.account);
        change.commit().await?;
        Ok(made)
    }

    /// Turns the caller's second factor on, if this is a code of the app.
    pub(super) async fn enable_totp_of_caller(&self, call: &Authorized, request: v1::EnableTotpRequest) -> Result<()> {
        if call.account().source != INTERNAL {
            return Err(elsewhere(call.account()));
        }
        let code = SecretString::from(request.totp);
        let attempt = call.attempt().await?;
        let mut change = self.base.db.begin(call).await?;
        roles::lock_user(&mut change, call.id()).await?;
        let account = store::find(&mut change, call, call.id()).await?.ok_or_else(|| not_found(call.id()))?;
        note(call, &account);
        if !second_factor::verify_of_app(&mut change, call, account.id, &code).await? {
            let text = "The code is wrong or was used already, or there is no secret yet. Wait for the next code, or get \
                        a secret with ResetTotp (POST /api/rest/v1/users/me/totp/reset).";
            return Err(Error::new(Kind::InvalidCredentials, "INVALID_CREDENTIALS", text));
        }
        if !account.totp_enabled {
            self.switch_totp(&mut change, call, &account, true).await?;
        }
        attempt.succeeded(&mut change).await?;
        change.commit().await
    }

    /// Turns the second factor on or off; all other sessions end.
    async fn switch_totp(&self, change: &mut Change, call: &Authorized, account: &Account, on: bool) -> Result<()> {
        store::switch_totp(change, call, on).await?;
        let session = call.session().map(|session| &**session);
        call.call().shared().sessions.revoke_of_user(&mut *change, account.id, session, call.now()).await?;
        change.access_changed();
        call.call().subjects().detail("second_factor", if on { "on" } else { "off" });
        let message = match on {
            true => "The second factor of your account is on. Your other sessions have ended.",
            false => {
                "The second factor of your account was turned off, and your other sessions have ended. If that was not \
                 you, change your password at once and tell an administrator."
            }
        };
        second_factor::tell(change, call, account, message).await
    }
}

/// Whether the sign-in of this session, and the second factor with it, was a moment ago.
async fn signed_in_lately(change: &mut Change, call: &Authorized) -> Result<bool> {
    let Some(session) = call.session() else { return Ok(false) };
    let opened = call.call().shared().sessions.opened_at(change, session).await?;
    Ok(opened.is_some_and(|opened| call.now() - opened < FRESH))
}

fn code_missing() -> Error {
    let text = "Your second factor is on, and you signed in a while ago. Repeat this with a code of your authenticator \
                app, or a recovery code.";
    Error::new(Kind::TwoFactorRequired, "TWO_FACTOR_REQUIRED", text)
}

fn elsewhere(account: &Account) -> Error {
    let text = match account.source.as_str() {
        INTERNAL => "This account has no password, so it has no second factor.".to_owned(),
        source => format!("You sign in at the identity provider {source}. Set up the second factor there."),
    };
    Error::invalid("USER_HAS_NO_PASSWORD", text)
}
