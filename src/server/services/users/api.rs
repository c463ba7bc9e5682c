//! The RPCs of users.

use secrecy::ExposeSecret as _;

use super::{
    Users,
    accounts::note,
    list::{self, Extent},
    message, not_found, outline, store,
};
use crate::{
    proto::v1,
    server::{
        access::{
            catalogue::{Dimension, Permission},
            decide::Assignment,
        },
        db::{PageQuery, Sortable},
        error::Result,
        pipeline::{Authorized, Pending, generated::UserHandlers},
        services::{paged, roles, row_id, wire_id},
    },
};

impl UserHandlers for Users {
    async fn get_user_me(&self, call: Authorized, _: v1::GetUserMeRequest) -> Result<v1::GetUserMeReply> {
        let me = message(call.account(), call.assignments(), &self.base.config);
        Ok(v1::GetUserMeReply { result: Some(v1::GetUserMeResult { me: Some(me) }) })
    }

    async fn get_user(&self, call: Authorized, request: v1::GetUserRequest) -> Result<v1::GetUserReply> {
        let id = row_id(request.id, "user")?;
        let account = store::find(&self.base.db, &call, id).await?.ok_or_else(|| not_found(id))?;
        let held = roles::of(&self.base.db, id).await?;
        let user = message(&account, &held, &self.base.config);
        Ok(v1::GetUserReply { result: Some(v1::GetUserResult { user: Some(user) }) })
    }

    async fn list_users(&self, call: Pending, request: v1::ListUsersRequest) -> Result<v1::ListUsersReply> {
        let asked = request.filter.unwrap_or_default();
        let (call, extent) = list::admit(&call, &asked)?;
        let page = PageQuery::parse(request.pagination.as_ref(), sortable(extent))?;
        let listed = store::list(&self.base.db, &call, filter(&asked, extent), &page).await?;
        let pagination = paged(&call, &page, &listed);
        let users = match extent {
            Extent::Outline => listed.rows.iter().map(outline).collect(),
            Extent::Full => {
                let ids: Vec<_> = listed.rows.iter().map(|account| account.id).collect();
                let held = roles::of_all(&self.base.db, &ids).await?;
                let held = |id| held.get(&id).map_or(&[] as &[Assignment], Vec::as_slice);
                listed.rows.iter().map(|account| message(account, held(account.id), &self.base.config)).collect()
            }
        };
        Ok(v1::ListUsersReply { result: Some(v1::ListUsersResult { users }), pagination: Some(pagination) })
    }

    async fn create_user(&self, call: Pending, request: v1::User) -> Result<v1::CreateUserReply> {
        let user = self.create(call, request).await?;
        Ok(v1::CreateUserReply { result: Some(v1::CreateUserResult { user: Some(user) }) })
    }

    async fn create_service_account(
        &self,
        call: Authorized,
        request: v1::CreateServiceAccountRequest,
    ) -> Result<v1::CreateServiceAccountReply> {
        let user = self.create_service(&call, request).await?;
        Ok(v1::CreateServiceAccountReply { result: Some(v1::CreateServiceAccountResult { user: Some(user) }) })
    }

    async fn update_user(&self, call: Pending, request: v1::User) -> Result<v1::UpdateUserReply> {
        let id = row_id(request.id, "user")?;
        let user = self.update(call, &request, id).await?;
        Ok(v1::UpdateUserReply { result: Some(v1::UpdateUserResult { user: Some(user) }) })
    }

    async fn delete_user(&self, call: Authorized, request: v1::DeleteUserRequest) -> Result<v1::DeleteUserReply> {
        self.delete(&call, row_id(request.id, "user")?).await?;
        Ok(v1::DeleteUserReply { result: Some(v1::DeleteUserResult {}) })
    }

    async fn update_password(
        &self,
        call: Authorized,
        request: v1::UpdatePasswordRequest,
    ) -> Result<v1::UpdatePasswordReply> {
        self.change_password(&call, request).await?;
        Ok(v1::UpdatePasswordReply { result: Some(v1::UpdateUserResult { user: None }) })
    }

    async fn reset_totp(&self, call: Authorized, request: v1::ResetTotpRequest) -> Result<v1::ResetTotpReply> {
        let made = self.reset_totp_of_caller(&call, request).await?;
        let totp_secret = made.secret.expose_secret().to_owned();
        let totp_recovery_codes = made.recovery_codes.iter().map(|code| code.expose_secret().to_owned()).collect();
        Ok(v1::ResetTotpReply { result: Some(v1::ResetTotpResult { totp_secret, totp_recovery_codes }) })
    }

    async fn enable_totp(&self, call: Authorized, request: v1::EnableTotpRequest) -> Result<v1::EnableTotpReply> {
        self.enable_totp_of_caller(&call, request).await?;
        Ok(v1::EnableTotpReply { result: Some(v1::EnableTotpResult {}) })
    }

    async fn reset_password(
        &self,
        call: Authorized,
        request: v1::ResetPasswordRequest,
    ) -> Result<v1::ResetPasswordReply> {
        let password = self.reset_password_of(&call, row_id(request.id, "user")?).await?;
        let temporary_password = password.expose_secret().to_owned();
        Ok(v1::ResetPasswordReply { result: Some(v1::ResetPasswordResult { temporary_password }) })
    }

    async fn create_user_role(
        &self,
        call: Pending,
        request: v1::CreateUserRoleRequest,
    ) -> Result<v1::CreateUserRoleReply> {
        let id = row_id(request.user_id, "user")?;
        let call = call.require(Permission::ManageUserRoles, Some((Dimension::User, id)))?;
        let role = request.role.unwrap_or_default();
        let context = roles::context(&role)?;

        let mut change = self.base.db.begin(&call).await?;
        roles::lock_bound(&mut change, call.tenant(), &context).await?;
        let role = roles::find(&mut change, &call, &role.name).await?;
        let row = roles::grant(&mut change, &call, id, &role, context).await?;
        let user = self.reread(&mut change, &call, id).await?;
        call.call().subjects().detail("role_id", &row.id.to_string());
        change.commit().await?;
        Ok(v1::CreateUserRoleReply { result: Some(v1::CreateUserRoleResult { user: Some(user) }) })
    }

    async fn delete_user_role(
        &self,
        call: Pending,
        request: v1::DeleteUserRoleRequest,
    ) -> Result<v1::DeleteUserRoleReply> {
        let id = row_id(request.user_id, "user")?;
        let call = call.require(Permission::ManageUserRoles, Some((Dimension::User, id)))?;

        let mut change = self.base.db.begin(&call).await?;
        let held = match store::find(&mut change, &call, id).await? {
            Some(_) => roles::of(&mut change, id).await?,
            None => return Err(not_found(id)),
        };
        let wanted = held.iter().find(|assignment| wire_id(assignment.id) == request.role_id);
        let assignment = wanted.ok_or_else(|| roles::no_assignment(id, request.role_id))?;
        roles::may_revoke(&call, id, assignment)?;
        roles::revoke(&mut change, &call, id, &[assignment.id]).await?;
        let user = self.reread(&mut change, &call, id).await?;
        call.call().subjects().detail("role_name", &assignment.context.label(&assignment.role));
        change.commit().await?;
        Ok(v1::DeleteUserRoleReply { result: Some(v1::DeleteUserRoleResult { user: Some(user) }) })
    }
}

impl Users {
    /// The user as the change leaves it.
    async fn reread(
        &self,
        change: &mut crate::server::pipeline::Change,
        call: &Authorized,
        id: i64,
    ) -> Result<v1::User> {
        let account = store::find(&mut *change, call, id).await?.ok_or_else(|| not_found(id))?;
        let held = roles::of(&mut *change, id).await?;
        note(call, &account);
        Ok(message(&account, &held, &self.base.config))
    }
}

/// What a list may be sorted by: nothing that it does not show.
fn sortable(extent: Extent) -> &'static [Sortable] {
    match (extent, store::SORTABLE) {
        (Extent::Outline, [shown @ .., ("email", _)]) => shown,
        (_, all) => all,
    }
}

fn filter(asked: &v1::UserFilter, extent: Extent) -> store::Filter<'_> {
    // ids beyond i64 belong to no row, and neither does 0
    let ids = |ids: &[u64]| {
        let rows = || ids.iter().map(|id| i64::try_from(*id).unwrap_or_default()).collect();
        (!ids.is_empty()).then(rows)
    };
    store::Filter {
        ids: ids(&asked.ids_in),
        workspaces: ids(&asked.workspace_ids),
        workbenches: ids(&asked.workbench_ids),
        search: list::search(asked),
        source: asked.from_main_source.unwrap_or_default().then_some(super::INTERNAL),
        status: (extent == Extent::Outline).then_some("active"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_is_not_sorted_by_what_it_hides() {
        let names = |extent| sortable(extent).iter().map(|(wire, _)| *wire).collect::<Vec<_>>();
        assert!(names(Extent::Full).contains(&"email"));
        assert!(!names(Extent::Outline).contains(&"email"));
        assert_eq!(names(Extent::Outline).len() + 1, names(Extent::Full).len());
    }

    #[test]
    fn empty_conditions_are_absent() {
        let none = v1::UserFilter { search: Some(String::new()), ..Default::default() };
        let none = filter(&none, Extent::Full);
        assert!(none.ids.is_none() && none.workspaces.is_none() && none.search.is_none() && none.source.is_none());
        let some = v1::UserFilter { ids_in: vec![3, u64::MAX], from_main_source: Some(true), ..Default::default() };
        let some = filter(&some, Extent::Outline);
        assert_eq!((some.ids, some.source, some.status), (Some(vec![3, 0]), Some("internal"), Some("active")));
    }
}
