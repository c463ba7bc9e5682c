//! Seeing and ending sessions: one's own, and those of others.
//!
//! Whoever may sign out may see and end all of his own sessions. Those of somebody else take the right to change that
//! account (`updateUser` there), with the rule of all changes of accounts: who holds a role that only a SuperAdmin grants
//! is administered by SuperAdmins. An id of a session that the caller may not end answers like one that does not exist.

use super::{Authentication, store};
use crate::server::{
    access::{
        caller::Account,
        catalogue::{Dimension, Permission},
    },
    db::On,
    error::{Error, Result},
    pipeline::{Authorized, Pending},
    services::{roles, row_id, users},
};

/// Admits the caller to the sessions of this user; 0 stands for himself.
pub(super) fn admit(call: &Pending, user: u64) -> Result<Authorized> {
    match i64::try_from(user) {
        Ok(id) if id == 0 || id == call.caller().id() => call.require(Permission::Logout, None),
        // an id that no row can have is within reach of those alone who administer everybody
        id => call.require(Permission::UpdateUser, Some((Dimension::User, id.unwrap_or_default()))),
    }
}

/// The account whose sessions an admitted caller asks for.
pub(super) async fn account(on: impl Into<On<'_>>, call: &Authorized, user: u64) -> Result<Account> {
    match row_id(user, "user")? {
        id if id == 0 || id == call.id() => Ok(call.account().clone()),
        id => administered(on, call, id).await,
    }
}

/// Somebody else, whose account the caller administers.
async fn administered(on: impl Into<On<'_>>, call: &Authorized, id: i64) -> Result<Account> {
    let mut on = on.into();
    let account = users::account(on.again(), call, id).await?;
    let held = roles::of(on, id).await?;
    roles::may_administer(call, id, &held)?;
    Ok(account)
}

impl Authentication {
    /// Ends one session; returns the caller who was admitted.
    pub(super) async fn end_session(&self, call: &Pending, id: &str) -> Result<Authorized> {
        let own = call.require(Permission::Logout, None)?;
        let mut change = self.base.db.begin(&own).await?;
        let session = store::session(&mut change, &own, id).await?.ok_or_else(no_session)?;
        let (by, account) = match session.user_id == own.id() {
            true => (own.clone(), own.account().clone()),
            false => {
                let target = Some((Dimension::User, session.user_id));
                let by = call.require(Permission::UpdateUser, target).map_err(|_| no_session())?;
                let account = administered(&mut change, &by, session.user_id).await?;
                (by, account)
            }
        };
        by.call().shared().sessions.revoke(&mut change, id, by.now()).await?;
        change.access_changed();
        note(&by, &account);
        change.commit().await?;
        Ok(by)
    }

    /// Ends the sessions of a user, all or all but that of the call; returns whose and how many.
    pub(super) async fn end_sessions(&self, by: &Authorized, user: u64, but_current: bool) -> Result<(i64, usize)> {
        let mut change = self.base.db.begin(by).await?;
        let account = account(&mut change, by, user).await?;
        // a sign-in that is under way either ends here too or comes after
        roles::lock_user(&mut change, account.id).await?;
        let kept = by.session().map(|session| &**session).filter(|_| but_current);
        let open = store::ids(&mut change, by, account.id).await?;
        let ended = open.iter().filter(|id| Some(id.as_str()) != kept).count();
        by.call().shared().sessions.revoke_of_user(&mut change, account.id, kept, by.now()).await?;
        change.access_changed();
        note(by, &account);
        by.call().subjects().detail("revoked", &ended.to_string());
        change.commit().await?;
        Ok((account.id, ended))
    }
}

/// Says in the audit record whose sessions the call was about.
fn note(call: &Authorized, account: &Account) {
    let mut subjects = call.call().subjects();
    subjects.user = Some(account.id);
    subjects.verified = true;
    subjects.detail("username", &account.username);
}

fn no_session() -> Error {
    let text = "There is no open session with this id. List the sessions to see which there are.";
    Error::not_found("SESSION_NOT_FOUND", text)
}
