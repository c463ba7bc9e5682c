//! Service accounts: users for programs. They have no password, so nobody signs in as one; they act through API tokens,
//! and may do what the roles that were granted to them allow.

use super::{Users, accounts::note, check_names, message, store};
use crate::{
    proto::v1,
    server::{
        access::{catalogue::AUTHENTICATED, context::Context},
        error::Result,
        pipeline::Authorized,
        services::{notifications::Recipient, roles},
    },
};

/// What stands for a family name, so that lists of people tell which of them are none.
const LAST_NAME: &str = "(service account)";

impl Users {
    /// Makes a service account in the caller's tenant.
    pub(super) async fn create_service(
        &self,
        call: &Authorized,
        request: v1::CreateServiceAccountRequest,
    ) -> Result<v1::User> {
        let v1::CreateServiceAccountRequest { username, display_name } = request;
        let first_name = if display_name.trim().is_empty() { username.clone() } else { display_name };
        let user = v1::User { first_name, last_name: LAST_NAME.to_owned(), username, ..v1::User::default() };
        check_names(&user)?;

        let mut change = self.base.db.begin(call).await?;
        let fields = store::Fields {
            first_name: &user.first_name,
            last_name: &user.last_name,
            username: &user.username,
            email: "",
            status: "active",
        };
        let account = store::insert(&mut change, call.tenant(), &fields, &store::Origin::Service, call.now()).await?;
        let to = Recipient { tenant_id: call.tenant(), user_id: account.id };
        let held = roles::grant_to(&mut change, call, to, AUTHENTICATED, Context::user(account.id)).await?;
        note(call, &account);
        change.commit().await?;
        Ok(message(&account, &[held.assignment()], &self.base.config))
    }
}
