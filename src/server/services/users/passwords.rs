//! Passwords: changing one's own, and giving somebody a temporary one.
//!
//! Hashes are made and compared before the transaction begins: they take long, and on SQLite everybody else who writes
//! would wait.
//!
//! A new password of one's own ends all other sessions (ASVS 5.0, 7.4.3) and keeps the one of the call under its id and
//! token: the reply that clients know has no place for a new one, and a web client with two calls under way would take the
//! refusal of the second for the end of its session. A new token comes with every sign-in (7.2.4). So whoever fears that
//! this very session was copied ends it too, by signing out.

use secrecy::SecretString;

use super::{INTERNAL, SERVICE, Users, accounts::note, names, not_found, store};
use crate::{
    proto::v1,
    server::{
        access::password::{Rank, Verdict},
        db::fold,
        error::{Error, Kind, Result},
        pipeline::Authorized,
        services::{roles, second_factor},
    },
};

impl Users {
    /// Replaces the caller's password. The session of the call stays and may do everything from now on; all others end.
    pub(super) async fn change_password(&self, call: &Authorized, request: v1::UpdatePasswordRequest) -> Result<()> {
        let user = store::caller_with_password(&self.base.db, call).await?.ok_or_else(|| not_found(call.id()))?;
        let v1::UpdatePasswordRequest { current_password, new_password } = request;
        let same = current_password == new_password;
        let hasher = &call.call().shared().hasher;
        let turn = hasher.queue(Rank::Known)?;
        let attempt = call.attempt().await?;
        let verdict = turn.verify(current_password.into(), user.password_hash.clone()).await?;
        let (Verdict::Right { .. }, Some(old)) = (verdict, user.password_hash) else {
            let text = "The current password is wrong.";
            return Err(Error::new(Kind::InvalidCredentials, "INVALID_CREDENTIALS", text));
        };
        let accepted = match same {
            true => Err(same_password()),
            false => hasher.accept("newPassword", new_password.into(), names(&user.account)).await,
        };
        let new = match accepted {
            Ok(new) => new,
            Err(error) => {
                attempt.give_back(&self.base.db).await?;
                return Err(error);
            }
        };

        let mut change = self.base.db.begin(call).await?;
        roles::lock_user(&mut change, call.id()).await?;
        if !store::replace_password(&mut change, call, &old, &new).await? {
            return Err(changed_meanwhile());
        }
        let sessions = &call.call().shared().sessions;
        let session = call.session().map(|session| &**session);
        sessions.revoke_of_user(&mut change, call.id(), session, call.now()).await?;
        if let Some(session) = session {
            sessions.lift_restriction(&mut change, session).await?;
        }
        attempt.succeeded(&mut change).await?;
        change.access_changed();
        note(call, &user.account);
        change.commit().await
    }

    /// Gives somebody else a temporary password, which is returned once and stored nowhere.
    pub(super) async fn reset_password_of(&self, call: &Authorized, id: i64) -> Result<SecretString> {
        if id == call.id() {
            let text = "You cannot reset your own password. Change it with UpdatePassword (PUT /api/rest/v1/users/me/password).";
            return Err(Error::invalid("USER_IS_ONESELF", text));
        }
        let account = store::find(&self.base.db, call, id).await?.ok_or_else(|| not_found(id))?;
        if account.source != INTERNAL {
            let text = match account.source.as_str() {
                SERVICE => format!("User {id} is a service account: it has no password. Make an API token for it."),
                provider => {
                    format!("User {id} signs in at the identity provider {provider}. Reset the password there.")
                }
            };
            return Err(Error::invalid("USER_HAS_NO_PASSWORD", text));
        }
        let (password, hash) = call.call().shared().hasher.temporary(names(&account)).await?;

        let mut change = self.base.db.begin(call).await?;
        roles::lock_user(&mut change, id).await?;
        let held = roles::of(&mut change, id).await?;
        roles::may_administer(call, id, &held)?;
        if !store::reset_password(&mut change, call, id, &hash).await? {
            return Err(not_found(id));
        }
        second_factor::remove(&mut change, id).await?;
        self.sign_out(&mut change, call, id).await?;
        // who was kept waiting by others' guesses gets in with the new one
        call.call().shared().throttle.forgive(&mut change, &fold(&account.username), call.now()).await?;
        change.access_changed();
        note(call, &account);
        change.commit().await?;
        Ok(password)
    }
}

/// The password that was checked is not the stored one any more.
pub(super) fn changed_meanwhile() -> Error {
    let text = "The password was changed by somebody else meanwhile. Sign in again.";
    Error::new(Kind::Conflict, "PASSWORD_CHANGED_MEANWHILE", text)
}

fn same_password() -> Error {
    Error::field("newPassword", "password.same", "This is the password that you have. Choose another.")
}
