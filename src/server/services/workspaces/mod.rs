//! Workspaces: the closed spaces in which people work on data, and who belongs to them.
//!
//! ```text
//! create ──► row + roles of the creator + one notification ─┐
//! update, delete ──► row, assignments, entries ─────────────┼─ one transaction each ──► audit record
//! members ──► role_assignments through services::roles ─────┘
//! ```
//!
//! What always holds:
//! - a workspace is seen and changed within its tenant only, and not at all once it is deleted;
//! - its row stays after deletion for the history, under its name, since names may repeat;
//! - an owner has at most one main workspace, and not more workspaces than the platform settings allow;
//! - membership is nothing but role assignments bound to the workspace: with the last one a member is gone;
//! - what the runtime has to follow (existence, network policy, clipboard) is wanted in the same transaction: of the
//!   workspace, and of the workbenches that are changed or deleted with it;
//! - the public catalogue names the contact of a workspace only while that account is active, since nobody else answers.

mod api;
mod members;
mod store;

use crate::{
    proto::v1,
    server::{
        access::{
            catalogue::{WORKSPACE_ADMIN, WORKSPACE_DATA_MANAGER},
            context::Context,
        },
        config,
        db::{On, Sortable},
        desktops,
        error::{Error, Result},
        pipeline::{Authorized, Change},
        services::{
            Base, authorization, devstore,
            notifications::{Content, Recipient, notify},
            roles,
            settings::{self, Quota},
            workbenches,
        },
    },
};

use store::Workspace;

/// The service.
pub struct Workspaces {
    base: Base,
}

/// The sort names of both lists; the first is the default.
const SORTABLE: &[Sortable] = &[
    ("id", "id"),
    ("name", "name"),
    ("shortname", "short_name"),
    ("description", "description"),
    ("status", "status"),
    ("ismain", "is_main"),
    ("createdat", "created_at"),
];

/// Refuses a workspace that the caller's tenant does not have.
///
/// # Errors
/// 404 `WORKSPACE_NOT_FOUND`.
pub async fn require(on: impl Into<On<'_>>, by: &Authorized, id: i64) -> Result<()> {
    match roles::has_workspace(on, by.tenant(), id).await? {
        true => Ok(()),
        false => Err(not_found()),
    }
}

fn not_found() -> Error {
    Error::not_found("WORKSPACE_NOT_FOUND", "There is no such workspace. List the workspaces to see which there are.")
}

impl Workspaces {
    /// The service over this base.
    pub fn new(base: Base) -> Self {
        Self { base }
    }

    async fn create(&self, by: &Authorized, wanted: &Wanted) -> Result<Workspace> {
        let mut change = self.base.db.begin(by).await?;
        // creates of one owner wait for each other, so that two at once do not both find room below the limit
        roles::lock_active(&mut change, by).await?;
        let limits = settings::limits(&mut change, by.tenant()).await?;
        Quota::WORKSPACES.admit(limits.workspaces, store::count_owned(&mut change, by).await?)?;
        check_contact(&mut change, by, wanted.contact).await?;
        let workspace = store::insert(&mut change, by, wanted).await?;
        self.appoint_creator(&mut change, by, &workspace).await?;
        want(&mut change, by, workspace.id).await?;
        record(by, &workspace);
        change.commit().await?;
        Ok(workspace)
    }

    /// Gives the creator the roles that the configuration names, and tells so once.
    async fn appoint_creator(&self, change: &mut Change, by: &Authorized, workspace: &Workspace) -> Result<()> {
        let context = Context::workspace(workspace.id);
        let mut labels = Vec::new();
        for role in roles_of_creator(&self.base.config.workspace) {
            roles::insert(&mut *change, by.tenant(), by.id(), role, &context, by.now()).await?;
            labels.push(context.label(role));
        }
        if labels.is_empty() {
            return Ok(());
        }
        change.access_changed();
        let message = format!("You created a workspace and were given the roles in it: {}.", labels.join(", "));
        let to = Recipient { tenant_id: by.tenant(), user_id: by.id() };
        let id = by.call().shared().random.uuid();
        notify(change, to, id, &message, Content::RolesChanged, by.now()).await
    }

    async fn update(&self, by: &Authorized, id: i64, wanted: &Wanted) -> Result<Workspace> {
        let mut change = self.base.db.begin(by).await?;
        // whether something changed for the runtime is only known while nobody else changes it
        roles::lock_workspace(&mut change, id).await?;
        let old = store::get(&mut change, by, id).await?.ok_or_else(not_found)?;
        // clients send back what they read: a contact whose account is gone meanwhile must not stop other changes
        if wanted.contact != old.contact_user_id {
            check_contact(&mut change, by, wanted.contact).await?;
        }
        let workspace = store::update(&mut change, by, id, wanted).await?.ok_or_else(not_found)?;
        let network = |w: &Workspace| (w.network_policy.clone(), w.allowed_fqdns.0.clone());
        let clipboard_changed = old.clipboard != workspace.clipboard;
        if clipboard_changed || network(&old) != network(&workspace) {
            want(&mut change, by, id).await?;
        }
        if clipboard_changed {
            workbenches::want_running(&mut change, by, id).await?;
        }
        record(by, &workspace);
        change.commit().await?;
        Ok(workspace)
    }

    /// Members are not told: there is nothing left for them to look at.
    async fn delete(&self, by: &Authorized, id: i64) -> Result<()> {
        let mut change = self.base.db.begin(by).await?;
        roles::lock_workspace(&mut change, id).await?;
        let workspace = store::delete(&mut change, by, id).await?.ok_or_else(not_found)?;
        delete_contents(&mut change, by, id).await?;
        want(&mut change, by, id).await?;
        record(by, &workspace);
        change.commit().await
    }
}

/// Removes what a workspace holds, and then the roles of its own, which nobody holds by then. Whatever a later version puts
/// into workspaces is removed here as well, before the assignments: services, requests.
async fn delete_contents(change: &mut Change, by: &Authorized, id: i64) -> Result<()> {
    workbenches::delete_of_workspace(change, by, id).await?;
    devstore::forget_workspace(change, by.tenant(), id).await?;
    store::delete_assignments(change, id).await?;
    authorization::forget_workspace(change, by, id).await?;
    change.access_changed();
    Ok(())
}

/// The runtime has to follow.
async fn want(change: &mut Change, by: &Authorized, id: i64) -> Result<()> {
    desktops::want_workspace(change, id, by.now()).await?;
    change.touched().workspaces.insert(id);
    Ok(())
}

/// Says in the audit record which workspace it was.
fn record(by: &Authorized, workspace: &Workspace) {
    let mut subjects = by.call().subjects();
    subjects.workspace = Some(workspace.id);
    subjects.verified = true;
    subjects.detail("workspace_id", &workspace.id.to_string());
    subjects.detail("workspace_name", &workspace.name);
}

async fn check_contact(change: &mut Change, by: &Authorized, contact: Option<i64>) -> Result<()> {
    match contact {
        Some(user) if !roles::has_user(change, by.tenant(), user).await? => Err(Error::field(
            "contactUserId",
            "known_user",
            "There is no such user to be the contact. Name an existing user, or 0 for nobody.",
        )),
        _ => Ok(()),
    }
}

fn roles_of_creator(config: &config::Workspace) -> impl Iterator<Item = &'static str> + use<> {
    let admin = config.creator_is_admin.then_some(WORKSPACE_ADMIN);
    let data_manager = config.creator_is_data_manager.then_some(WORKSPACE_DATA_MANAGER);
    admin.into_iter().chain(data_manager)
}

/// What a caller sets of a workspace: all of it, with defaults in place of what is left out.
#[derive(Debug)]
struct Wanted {
    name: String,
    short_name: String,
    description: String,
    status: &'static str,
    is_main: bool,
    network_policy: String,
    /// Kept also while another policy is in force, so that switching back and forth loses nothing.
    allowed_fqdns: Vec<String>,
    clipboard: String,
    visibility: &'static str,
    contact: Option<i64>,
}

impl Wanted {
    /// Checks what goes beyond the contract.
    fn parse(message: v1::Workspace) -> Result<Self> {
        let status = match message.status() {
            v1::WorkspaceStatus::Active => "active",
            v1::WorkspaceStatus::Inactive => "inactive",
            v1::WorkspaceStatus::Deleted => {
                let text = "A workspace is deleted with DELETE /api/rest/v1/workspaces/{id}, not by its status.";
                return Err(Error::field("status", "not_deleted", text));
            }
        };
        let visibility = match message.visibility() {
            v1::WorkspaceVisibility::Private => "private",
            v1::WorkspaceVisibility::Public => "public",
        };
        if message.name.trim().is_empty() {
            return Err(Error::field("name", "not_blank", "The name must have a visible character."));
        }
        if let Some(i) = message.allowed_fqdns.iter().position(String::is_empty) {
            return Err(Error::field(format!("allowedFqdns[{i}]"), "required", "A host name is not empty."));
        }
        let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
        Ok(Self {
            name: message.name,
            short_name: message.short_name,
            description: message.description,
            status,
            is_main: message.is_main,
            network_policy: or(message.network_policy, "Airgapped"),
            allowed_fqdns: message.allowed_fqdns,
            clipboard: or(message.clipboard, "disabled"),
            visibility,
            // an id that no row can have is one that no user has
            contact: (message.contact_user_id > 0).then(|| i64::try_from(message.contact_user_id).unwrap_or(i64::MAX)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(change: impl FnOnce(&mut v1::Workspace)) -> v1::Workspace {
        let mut message = v1::Workspace { name: "Trial".to_owned(), ..Default::default() };
        change(&mut message);
        message
    }

    #[test]
    fn what_is_left_out_has_defaults() {
        let wanted = Wanted::parse(named(|_| {})).unwrap();
        assert_eq!(
            (wanted.status, &*wanted.network_policy, &*wanted.clipboard, wanted.visibility, wanted.contact),
            ("active", "Airgapped", "disabled", "private", None)
        );
    }

    #[test]
    fn what_is_stated_is_kept() {
        let wanted = Wanted::parse(named(|w| {
            w.set_status(v1::WorkspaceStatus::Inactive);
            w.set_visibility(v1::WorkspaceVisibility::Public);
            w.network_policy = "Open".to_owned();
            w.allowed_fqdns = vec!["*.example.org".to_owned()];
            w.clipboard = "both".to_owned();
            w.contact_user_id = 7;
        }))
        .unwrap();
        assert_eq!((wanted.status, wanted.visibility, wanted.contact), ("inactive", "public", Some(7)));
        assert_eq!((&*wanted.network_policy, &*wanted.clipboard), ("Open", "both"));
        assert_eq!(wanted.allowed_fqdns, ["*.example.org"], "kept, though another policy is in force");
    }

    #[test]
    fn refusals_name_the_field() {
        let deleted = named(|w| w.set_status(v1::WorkspaceStatus::Deleted));
        let blank = named(|w| w.name = " \u{2003}".to_owned());
        let nowhere = named(|w| w.allowed_fqdns = vec!["example.org".to_owned(), String::new()]);
        for (message, field) in [(deleted, "status"), (blank, "name"), (nowhere, "allowedFqdns[1]")] {
            let status = Wanted::parse(message).unwrap_err().into_status("/");
            let detail = crate::server::error::detail(&status).unwrap();
            assert_eq!(detail.validation_errors[0].field, field);
        }
    }

    #[test]
    fn the_configuration_says_what_a_creator_becomes() {
        let of = |creator_is_admin, creator_is_data_manager| {
            let config = config::Workspace { creator_is_admin, creator_is_data_manager, gid_offset: 0 };
            roles_of_creator(&config).collect::<Vec<_>>()
        };
        assert_eq!(of(true, true), ["WorkspaceAdmin", "WorkspaceDataManager"]);
        assert_eq!(of(false, true), ["WorkspaceDataManager"]);
        assert!(of(false, false).is_empty());
    }
}
