//! Who holds which role: granting, revoking, and the rules over several rows.
//!
//! ```text
//! users, workspaces ──► find ──► grant / revoke ──► role_assignments
//!                                   │    └──► one notification
//!                                   └── the pure rules of access::grant
//! ```
//!
//! What always holds: an assignment binds things that exist in the tenant; a user holds a role in a context once; a role is
//! granted as it is defined at that moment; one active SuperAdmin stays in every tenant that has one; who gains or loses a
//! role is told so, in the same transaction. Whether the caller manages roles there at all is the permission of the RPC,
//! checked before.
//!
//! Locks are taken in one order, so that no two transactions wait for each other for ever: workspace, role, super-admins,
//! user.

pub mod members;
mod store;

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::{
    proto::v1,
    server::{
        access::{
            caller::Caller,
            catalogue::Dimension,
            context::{Bound, Context, ContextError},
            decide::{Assignment, Role},
            grant::{self, Refusal},
            sessions::{self, AssignmentRow},
        },
        db::{On, Tx, fold},
        error::{Error, Result},
        pipeline::{Authorized, Change},
        services::{
            authorization,
            notifications::{Content, Recipient, notify, notify_holders},
            wire_id,
        },
    },
};

pub use store::{has_user, has_workspace, remove_all, remove_of_workbenches};

/// The role of this name in the caller's tenant. One that an administrator defined stays as it is to the end of the
/// transaction. Comes after [`lock_workspace`].
///
/// # Errors
/// 400 when there is none.
pub async fn find(change: &mut Change, by: &Authorized, name: &str) -> Result<Role> {
    if let Some(role) = by.call().shared().sessions.built_in_roles().get(name) {
        return Ok(role.clone());
    }
    lock_role(change, by.tenant(), name).await?;
    let role = authorization::find(&mut *change, by.tenant(), name).await?;
    role.ok_or_else(|| Refusal::UnknownRole(name.chars().take(80).collect()).into())
}

/// Whether the caller may take this assignment from its holder.
///
/// # Errors
/// 403 with the rule that forbids it.
pub fn may_revoke(caller: &Caller, holder: i64, assignment: &Assignment) -> Result<()> {
    Ok(caller.granter().may_revoke(holder, assignment)?)
}

/// Whether the caller may administer the account of somebody with these roles. Who could take over the account of
/// somebody more powerful would have that power himself, so holders of roles that only a SuperAdmin hands out are
/// administered by SuperAdmins.
///
/// # Errors
/// 403 `USER_NEEDS_SUPER_ADMIN`.
pub fn may_administer(caller: &Caller, user: i64, held: &[Assignment]) -> Result<()> {
    let granter = caller.granter();
    let out_of_reach = |a: &Assignment| granter.may_revoke(user, a) == Err(Refusal::NeedsSuperAdmin);
    match caller.id() != user && held.iter().any(out_of_reach) {
        true => Err(Error::denied(
            "USER_NEEDS_SUPER_ADMIN",
            "This user holds a role that only a SuperAdmin grants, so only a SuperAdmin administers this account.",
        )),
        false => Ok(()),
    }
}

/// The context of a role in a request.
///
/// # Errors
/// 400 naming the dimension that cannot be read.
pub fn context(role: &v1::Role) -> Result<Context> {
    Context::parse(role.context.iter().map(|(k, v)| (k.as_str(), v.as_str()))).map_err(|error| {
        let dimension = match &error {
            ContextError::UnknownDimension(_) => None,
            ContextError::BadValue(dimension) | ContextError::Repeated(dimension) => Some(dimension),
        };
        let field = dimension.map_or("role.context".to_owned(), |d| format!("role.context.{}", d.as_str()));
        Error::field(field, "context", format!("In the context of the role, {error}."))
    })
}

/// An assignment as clients see it.
pub fn message(assignment: &Assignment) -> v1::Role {
    v1::Role {
        id: wire_id(assignment.id),
        name: (*assignment.role).to_owned(),
        context: assignment.context.bindings().map(|(d, b)| (d.as_str().to_owned(), b.to_string())).collect(),
    }
}

/// The assignments of one user, by id.
pub async fn of(on: impl Into<On<'_>>, user: i64) -> Result<Vec<Assignment>> {
    Ok(sessions::assignments(on, &[user]).await?.iter().map(AssignmentRow::assignment).collect())
}

/// The assignments of these users, by user; each user's by id. One query, whatever their number.
pub async fn of_all(on: impl Into<On<'_>>, users: &[i64]) -> Result<HashMap<i64, Vec<Assignment>>> {
    let mut all: HashMap<i64, Vec<Assignment>> = HashMap::new();
    if users.is_empty() {
        return Ok(all);
    }
    for row in sessions::assignments(on, users).await? {
        all.entry(row.user_id).or_default().push(row.assignment());
    }
    Ok(all)
}

/// Gives a user of the caller's tenant a role, which [`find`] found in this transaction, and tells the user.
///
/// # Errors
/// The rule that forbids it: 400 when role and context do not fit, 403 otherwise; `USER_NOT_FOUND`, or the same for a
/// workspace or workbench of the context; `ROLE_ALREADY_HELD`.
pub async fn grant(
    change: &mut Change,
    by: &Authorized,
    user_id: i64,
    role: &Role,
    context: Context,
) -> Result<AssignmentRow> {
    by.granter().may_grant(user_id, role, &context)?;
    lock_user(change, user_id).await?;
    store::require_user(change, by.tenant(), user_id).await?;
    require_bound(change, by.tenant(), &context).await?;
    give(change, by, Recipient { tenant_id: by.tenant(), user_id }, (role.name(), role.row()), context).await
}

/// Gives a built-in role to a user who was made in this transaction.
pub async fn grant_to(
    change: &mut Change,
    by: &Authorized,
    to: Recipient,
    role: &str,
    context: Context,
) -> Result<AssignmentRow> {
    give(change, by, to, (role, None), context).await
}

async fn give(
    change: &mut Change,
    by: &Authorized,
    to: Recipient,
    role: (&str, Option<i64>),
    context: Context,
) -> Result<AssignmentRow> {
    let label = context.label(role.0);
    let row = store::insert(&mut *change, to.tenant_id, to.user_id, role, &context, by.now()).await?;
    let row = row.ok_or_else(|| {
        Error::exists("ROLE_ALREADY_HELD", format!("The user holds the role {label} already. Nothing is left to do."))
    })?;
    change.access_changed();
    tell(change, by, to, &format!("You were given the role {label}.")).await?;
    Ok(row)
}

/// Stores an assignment of a built-in role, and tells nobody; nothing when the user holds it already.
pub async fn insert(
    on: impl Into<On<'_>>,
    tenant: i64,
    user: i64,
    role: &str,
    context: &Context,
    now: DateTime<Utc>,
) -> Result<Option<AssignmentRow>> {
    store::insert(on, tenant, user, (role, None), context, now).await
}

/// Takes assignments from a user of the caller's tenant, all or none, and tells the user once. That the caller may is
/// checked before, see [`may_revoke`].
///
/// # Errors
/// `ROLE_ASSIGNMENT_NOT_FOUND` when the user does not hold one of them; `LAST_SUPER_ADMIN`.
pub async fn revoke(change: &mut Change, by: &Authorized, user_id: i64, assignment_ids: &[i64]) -> Result<()> {
    lock_super_admins(change, by.tenant()).await?;
    let removed = store::remove(change, by.tenant(), user_id, assignment_ids).await?;
    let missing = assignment_ids.iter().find(|id| removed.iter().all(|row| row.id != **id));
    if let Some(id) = missing {
        return Err(no_assignment(user_id, id));
    }
    let removed: Vec<_> = removed.iter().map(AssignmentRow::assignment).collect();
    keep_super_admin(change, by.tenant(), &removed).await?;
    change.access_changed();
    if removed.is_empty() {
        return Ok(());
    }
    let labels: Vec<_> = removed.iter().map(|a| a.context.label(&a.role)).collect();
    let message = match labels.as_slice() {
        [label] => format!("The role {label} was taken from you."),
        labels => format!("These roles were taken from you: {}.", labels.join(", ")),
    };
    tell(change, by, Recipient { tenant_id: by.tenant(), user_id }, &message).await
}

/// How many users hold a role that an administrator defined.
pub async fn count_holders(change: &mut Change, by: &Authorized, role: i64) -> Result<i64> {
    store::count_holders(change, by.tenant(), role).await
}

/// Tells everybody who holds a role that an administrator defined. One statement, whatever their number.
pub async fn tell_holders(change: &mut Change, by: &Authorized, role: i64, message: &str) -> Result<()> {
    let id = by.call().shared().random.uuid();
    notify_holders(&mut *change, by.tenant(), role, id, message, Content::RolesChanged, by.now()).await
}

/// Takes a role that an administrator defined from everybody. That they are told comes before, see [`tell_holders`].
pub async fn revoke_from_all(change: &mut Change, by: &Authorized, role: i64) -> Result<()> {
    change.access_changed();
    store::remove_role(change, by.tenant(), role).await
}

/// The user does not hold a role under this id.
pub fn no_assignment(user_id: i64, id: impl std::fmt::Display) -> Error {
    Error::not_found(
        "ROLE_ASSIGNMENT_NOT_FOUND",
        format!("User {user_id} has no role assignment {id}. Read the user again: rolesWithContext lists the ids."),
    )
}

async fn tell(change: &mut Change, by: &Authorized, to: Recipient, message: &str) -> Result<()> {
    let id = by.call().shared().random.uuid();
    notify(&mut *change, to, id, message, Content::RolesChanged, by.now()).await
}

/// Makes changes of who belongs to a workspace or to its workbenches, and of what is kept in it, wait for each other and for
/// its deletion, to the end of the transaction: nothing is put into a workspace that is being deleted.
pub async fn lock_workspace(tx: &mut Tx, id: i64) -> Result<()> {
    Ok(tx.lock(&format!("chorus.workspace.{id}")).await?)
}

/// [`lock_workspace`] for the workspace that a context names, or that holds the workbench it names.
pub async fn lock_bound(tx: &mut Tx, tenant: i64, context: &Context) -> Result<()> {
    let workspace = match (context.get(Dimension::Workspace), context.get(Dimension::Workbench)) {
        (Some(Bound::Id(workspace)), _) => Some(workspace),
        (None, Some(Bound::Id(workbench))) => store::workspace_of(&mut *tx, tenant, workbench).await?,
        _ => None,
    };
    match workspace {
        Some(workspace) => lock_workspace(tx, workspace).await,
        None => Ok(()),
    }
}

/// Makes changes of a role that an administrator defined wait for each other and for grants of it, to the end of the
/// transaction: nobody is given more than whoever grants knew of, nor a role that is going.
pub async fn lock_role(tx: &mut Tx, tenant: i64, name: &str) -> Result<()> {
    Ok(tx.lock(&format!("chorus.role.{tenant}.{}", fold(name))).await?)
}

/// Makes changes of one account wait for each other, to the end of the transaction: a role is not granted to somebody
/// who is being deleted, a session does not open with a password that is being replaced.
pub async fn lock_user(tx: &mut Tx, user: i64) -> Result<()> {
    Ok(tx.lock(&format!("chorus.user.{user}")).await?)
}

/// Locks the caller's own account, for what it is about to own.
///
/// # Errors
/// 401 `SESSION_ENDED` when the account was disabled or deleted since the call was admitted.
pub async fn lock_active(change: &mut Change, by: &Authorized) -> Result<()> {
    lock_user(change, by.id()).await?;
    match store::is_active(change, by.id()).await? {
        true => Ok(()),
        false => Err(Error::unauthenticated("SESSION_ENDED", "The session has ended. Sign in again.")),
    }
}

/// Makes changes that could take away the last SuperAdmin wait for each other. Comes before the change.
pub async fn lock_super_admins(tx: &mut Tx, tenant: i64) -> Result<()> {
    Ok(tx.lock(&format!("chorus.super-admins.{tenant}")).await?)
}

/// After a change that took these assignments out of effect: refuses it when no SuperAdmin is left.
///
/// # Errors
/// `LAST_SUPER_ADMIN`.
pub async fn keep_super_admin(tx: &mut Tx, tenant: i64, lost: &[Assignment]) -> Result<()> {
    if !lost.iter().any(grant::is_super_admin) || store::has_super_admin(tx, tenant).await? {
        return Ok(());
    }
    let text = "This is the last active SuperAdmin. Make somebody else SuperAdmin first.";
    Err(Error::invalid("LAST_SUPER_ADMIN", text))
}

/// Refuses a context that binds what the tenant does not have.
async fn require_bound(tx: &mut Tx, tenant: i64, context: &Context) -> Result<()> {
    for (dimension, bound) in context.bindings() {
        let Bound::Id(id) = bound else { continue };
        let (exists, reason) = match dimension {
            Dimension::Workspace => (store::has_workspace(&mut *tx, tenant, id).await?, "WORKSPACE_NOT_FOUND"),
            Dimension::Workbench => (store::workspace_of(&mut *tx, tenant, id).await?.is_some(), "WORKBENCH_NOT_FOUND"),
            Dimension::User => (store::has_user(&mut *tx, tenant, id).await?, "USER_NOT_FOUND"),
        };
        if !exists {
            let text = format!("There is no {} {id} to bind the role to.", dimension.as_str());
            return Err(Error::not_found(reason, text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(pairs: &[(&str, &str)]) -> v1::Role {
        let context = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        v1::Role { id: 0, name: "WorkspaceMember".to_owned(), context }
    }

    #[test]
    fn contexts_of_requests() {
        assert_eq!(context(&role(&[("workspace", "5")])).unwrap(), Context::workspace(5));
        assert_eq!(context(&role(&[])).unwrap(), Context::NONE);
        for (pairs, field) in [
            ([("workspace", "0")], "role.context.workspace"),
            ([("workspace", "99999999999999999999")], "role.context.workspace"),
            ([("request", "5")], "role.context"),
        ] {
            let status = context(&role(&pairs)).unwrap_err().into_status("/");
            let detail = crate::server::error::detail(&status).unwrap();
            assert_eq!(detail.validation_errors[0].field, field, "{pairs:?}");
        }
    }

    #[test]
    fn assignments_as_messages() {
        let context = Context::workspace(5).with(Dimension::User, Bound::Any);
        let shown = message(&Assignment { id: 7, role: "Some".into(), context });
        assert_eq!((shown.id, shown.name.as_str()), (7, "Some"));
        let pairs: Vec<_> = shown.context.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("user", "*"), ("workspace", "5")]);
    }
}
