//! Making, changing and deleting accounts.

use super::{INTERNAL, SERVICE, Users, check_email, check_names, message, not_found, store};
use crate::{
    proto::v1,
    server::{
        access::{
            api_tokens,
            caller::Account,
            catalogue::{AUTHENTICATED, Dimension, Permission},
            context::Context,
            decide::Assignment,
        },
        error::{Error, Result},
        pipeline::{Authorized, Change, Pending},
        services::{
            devstore,
            notifications::{self, Recipient},
            roles, second_factor, workbenches,
        },
    },
};

const ACTIVE: &str = "active";

impl Users {
    /// Makes an account: for somebody else by an administrator, or a visitor's own.
    pub(super) async fn create(&self, call: Pending, mut user: v1::User) -> Result<v1::User> {
        let (call, tenant) = match call.caller().is_visitor() {
            true => self.admit_visitor(&call, &mut user).await?,
            false => {
                let call = call.require(Permission::CreateUser, None)?;
                let tenant = call.tenant();
                (call, tenant)
            }
        };
        check_names(&user)?;
        check_email(&user.email, INTERNAL, &self.base.config)?;
        let status = initial_status(&user.status)?;
        let hash = accept_password(&call, &mut user).await?;

        let mut change = self.base.db.begin(&call).await?;
        let fields = store::Fields {
            first_name: &user.first_name,
            last_name: &user.last_name,
            username: &user.username,
            email: &user.email,
            status,
        };
        let origin = store::Origin::Internal { password_hash: &hash };
        let account = store::insert(&mut change, tenant, &fields, &origin, call.now()).await?;
        let to = Recipient { tenant_id: tenant, user_id: account.id };
        let held = roles::grant_to(&mut change, &call, to, AUTHENTICATED, Context::user(account.id)).await?;
        note(&call, &account);
        if call.is_visitor() {
            // whoever registers acts for the account that comes of it
            call.call().subjects().actor = Some((tenant, account.id, account.username.clone()));
        }
        change.commit().await?;
        Ok(message(&account, &[held.assignment()], &self.base.config))
    }

    /// Admits a visitor who registers, where the server allows that; the names lose white space at their ends.
    async fn admit_visitor(&self, call: &Pending, user: &mut v1::User) -> Result<(Authorized, i64)> {
        if call.call().bad_credential() {
            // somebody who acts for an account, and means to make one for somebody else
            return Err(Error::unauthenticated("SESSION_ENDED", "The session has ended. Sign in again."));
        }
        if !self.base.config.public_registration {
            let text = "This server does not let people register themselves. Ask an administrator for an account.";
            return Err(Error::denied("REGISTRATION_CLOSED", text));
        }
        let call = call.require(Permission::Authenticate, None)?;
        for name in [&mut user.first_name, &mut user.last_name, &mut user.username, &mut user.email] {
            *name = name.trim().to_owned();
        }
        if user.username.is_empty() {
            return Err(Error::field("username", "required", "The user name is only white space. Choose one."));
        }
        user.status.clear();
        let tenant = match &self.base.config.registration_tenant {
            None => call.tenant(),
            Some(name) => store::tenant(&self.base.db, name).await?.ok_or_else(|| {
                // a mistake in the configuration, which is none of the visitor's business
                Error::internal(format!("registration_tenant names {name:?}, and there is no such tenant"))
            })?,
        };
        Ok((call, tenant))
    }

    /// Changes what people choose of an account: one's own names and e-mail address, everything for administrators.
    pub(super) async fn update(&self, call: Pending, user: &v1::User, id: i64) -> Result<v1::User> {
        let administers = call.holds(Permission::UpdateUser, None);
        let call = call.require(Permission::UpdateUser, Some((Dimension::User, id)))?;
        check_names(user)?;
        if !user.password.is_empty() {
            let text =
                "A password is not set this way. Use ResetPassword for somebody else's, UpdatePassword for your own.";
            return Err(Error::field("password", "not_allowed", text));
        }

        let mut change = self.base.db.begin(&call).await?;
        if user.status != ACTIVE {
            roles::lock_super_admins(&mut change, call.tenant()).await?;
        }
        roles::lock_user(&mut change, id).await?;
        let before = store::find(&mut change, &call, id).await?.ok_or_else(|| not_found(id))?;
        check_email(&user.email, &before.source, &self.base.config)?;
        let held = roles::of(&mut change, id).await?;
        check_update(&call, administers, &before, user, &held)?;

        let fields = store::Fields {
            first_name: &user.first_name,
            last_name: &user.last_name,
            username: &user.username,
            email: &user.email,
            status: &user.status,
        };
        let account = match fields.differ_from(&before) {
            true => {
                change.access_changed();
                store::update(&mut change, &call, id, &fields).await?.ok_or_else(|| not_found(id))?
            }
            false => before.clone(),
        };
        if account.status != ACTIVE && before.status == ACTIVE {
            self.sign_out(&mut change, &call, id).await?;
            roles::keep_super_admin(&mut change, call.tenant(), &held).await?;
        }
        note(&call, &account);
        change.commit().await?;
        Ok(message(&account, &held, &self.base.config))
    }

    /// Deletes an account with what was kept for it. What it owns stays, but its workbenches stop. Its row stays for the history, under a name that leaves the old one
    /// free.
    pub(super) async fn delete(&self, call: &Authorized, id: i64) -> Result<()> {
        if id == call.id() {
            let text = "This is your own account. Ask another administrator to delete it.";
            return Err(Error::invalid("USER_IS_ONESELF", text));
        }
        let mut change = self.base.db.begin(call).await?;
        roles::lock_super_admins(&mut change, call.tenant()).await?;
        roles::lock_user(&mut change, id).await?;
        let account = store::find(&mut change, call, id).await?.ok_or_else(|| not_found(id))?;
        let held = roles::of(&mut change, id).await?;
        roles::may_administer(call, id, &held)?;

        let renamed = format!("{}-{}", account.username, call.call().shared().random.uuid());
        store::delete(&mut change, call, id, &renamed).await?;
        second_factor::remove(&mut change, id).await?;
        roles::remove_all(&mut change, id).await?;
        devstore::forget_user(&mut change, call.tenant(), id).await?;
        notifications::forget_user(&mut change, id).await?;
        workbenches::stop_owned(&mut change, call, id).await?;
        self.sign_out(&mut change, call, id).await?;
        roles::keep_super_admin(&mut change, call.tenant(), &held).await?;
        change.access_changed();
        note(call, &account);
        change.commit().await
    }

    /// Ends every session and every API token of a user.
    pub(super) async fn sign_out(&self, change: &mut Change, by: &Authorized, user: i64) -> Result<()> {
        by.call().shared().sessions.revoke_of_user(&mut *change, user, None, by.now()).await?;
        api_tokens::revoke_of_user(&mut *change, user, by.now()).await
    }
}

/// Says in the audit record whom the call was about.
pub(super) fn note(call: &Authorized, account: &Account) {
    let mut subjects = call.call().subjects();
    subjects.user = Some(account.id);
    subjects.verified = true;
    subjects.detail("user_id", &account.id.to_string());
    subjects.detail("username", &account.username);
}

/// A new account is active unless stated.
fn initial_status(asked: &str) -> Result<&'static str> {
    match asked {
        "" | ACTIVE => Ok(ACTIVE),
        "disabled" => Ok("disabled"),
        _ => Err(Error::field("status", "in", "A new user is active or disabled.")),
    }
}

/// Takes the password out of the request; its hash, if the policy accepts it.
async fn accept_password(call: &Authorized, user: &mut v1::User) -> Result<String> {
    let password = std::mem::take(&mut user.password);
    if password.is_empty() {
        let text = "Choose a password: this server sends no e-mail, so nobody would learn one that it makes up.";
        return Err(Error::field("password", "required", text));
    }
    let names = [&user.first_name, &user.last_name, &user.username, &user.email].map(Clone::clone).to_vec();
    call.call().shared().hasher.accept("password", password.into(), names).await
}

/// Whether the caller may make this change, which is compared with the stored values: clients send whole objects.
fn check_update(
    call: &Authorized,
    administers: bool,
    before: &Account,
    after: &v1::User,
    held: &[Assignment],
) -> Result<()> {
    if !administers {
        let changed = [("username", before.username != after.username), ("status", before.status != after.status)];
        let changed: Vec<_> = changed.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect();
        if !changed.is_empty() {
            let fields = changed.join(" and ");
            let text = format!("You change your own names and e-mail address. For {fields}, ask an administrator.");
            return Err(Error::denied("FIELD_NEEDS_ADMINISTRATOR", text));
        }
    }
    if after.status == "deleted" {
        let text = "A user is not deleted by a change of status. Use DeleteUser (DELETE /api/rest/v1/users/{id}).";
        return Err(Error::field("status", "not_deleted", text));
    }
    if ![INTERNAL, SERVICE].contains(&before.source.as_str()) && before.username != after.username {
        let text = "The identity provider chose this user name. Change it there.";
        return Err(Error::field("username", "source", text));
    }
    roles::may_administer(call, before.id, held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_users_are_active_unless_stated() {
        for (asked, given) in
            [("", Some("active")), ("active", Some("active")), ("disabled", Some("disabled")), ("deleted", None)]
        {
            assert_eq!(initial_status(asked).ok(), given, "{asked}");
        }
    }
}
