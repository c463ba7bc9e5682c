//! Workbenches: the desktops in which people work, inside a workspace. Interfaces call them sessions.
//!
//! ```text
//! create, start, stop, delete ──► row (wanted) + assignments + stamp ──► audit record        one transaction each
//!                                   └──► the loop that reconciles, at once
//! watch ◄── feed ◄── stamp          open (get, stream) ──► used; started if it was stopped for idleness
//! upkeep ──► idle: warned, stopped                         old, if so configured: warned, deleted
//! ```
//!
//! What always holds:
//! - a workbench is seen and changed within its tenant only, and not at all once it is deleted; its row stays under its
//!   name, since names may repeat;
//! - nothing here waits for the runtime: rows say what is wanted, and what is shown of a stopped workbench is that;
//! - an owner has not more workbenches, stopped ones included, than the platform settings allow;
//! - whoever creates one holds WorkbenchAdmin there as every other member holds a role: bound to the workbench and to nothing
//!   else, so that members of the workspace are only those who were made its members;
//! - a workbench goes with its app instances and with all roles in it, alone or together with its workspace; it is never
//!   made in a workspace that is inactive or going;
//! - a user who is deleted leaves the workbenches that he owned behind, stopped: they belong to the workspace, whoever shares
//!   one starts it again, and a SuperAdmin deletes it.

mod api;
mod idle;
mod members;
mod opening;
mod store;
mod ticket;

use chrono::{DateTime, Utc};

use crate::{
    proto::v1,
    server::{
        access::{catalogue::WORKBENCH_ADMIN, context::Context},
        db::{Sortable, Tx},
        desktops::Touched,
        error::{Error, Result},
        pipeline::{Authorized, Change},
        services::{
            Base,
            notifications::{Content, Recipient, notify},
            roles,
            settings::{self, Quota},
        },
    },
};

use store::Workbench;

pub use idle::jobs;
pub use opening::{Visit, opened};

/// The service.
pub struct Workbenches {
    base: Base,
}

/// The sort names of the list; the first is the default.
const SORTABLE: &[Sortable] = &[
    ("id", "id"),
    ("userid", "user_id"),
    ("workspaceid", "workspace_id"),
    ("name", "name"),
    ("shortname", "short_name"),
    ("status", "status"),
    ("createdat", "created_at"),
];

/// What a caller sets of a workbench at any time.
#[derive(Debug)]
struct Wanted {
    name: String,
    short_name: String,
    description: String,
}

impl Wanted {
    /// Checks what goes beyond the contract.
    fn parse(message: v1::Workbench) -> Result<Self> {
        if message.name.trim().is_empty() {
            return Err(Error::field("name", "not_blank", "The name must have a visible character."));
        }
        Ok(Self { name: message.name, short_name: message.short_name, description: message.description })
    }
}

fn not_found() -> Error {
    Error::not_found("WORKBENCH_NOT_FOUND", "There is no such workbench. List the workbenches to see which there are.")
}

impl Workbenches {
    /// The service over this base.
    pub fn new(base: Base) -> Self {
        Self { base }
    }

    async fn create(
        &self,
        by: &Authorized,
        workspace: i64,
        resolution: (u32, u32),
        wanted: &Wanted,
    ) -> Result<Workbench> {
        let mut change = self.base.db.begin(by).await?;
        roles::lock_workspace(&mut change, workspace).await?;
        // creates of one owner wait for each other, so that two at once do not both find room below the limit
        roles::lock_active(&mut change, by).await?;
        check_workspace(&mut change, by, workspace).await?;
        let limits = settings::limits(&mut change, by.tenant()).await?;
        Quota::SESSIONS.admit(limits.sessions, store::count_owned(&mut change, by).await?)?;
        let workbench = store::insert(&mut change, by, workspace, resolution, wanted).await?;
        appoint_creator(&mut change, by, &workbench).await?;
        change.touched().workbenches.insert(workbench.id);
        record(by, &workbench);
        change.commit().await?;
        Ok(workbench)
    }

    async fn update(&self, by: &Authorized, id: i64, wanted: &Wanted) -> Result<Workbench> {
        let mut change = self.base.db.begin(by).await?;
        let workbench = store::update(&mut change, by, id, wanted).await?.ok_or_else(not_found)?;
        change.touched().workbenches.insert(id);
        record(by, &workbench);
        change.commit().await?;
        Ok(workbench)
    }

    /// The workbench as it was before. Members are not told: there is nothing left for them to look at.
    async fn delete(&self, by: &Authorized, id: i64) -> Result<Workbench> {
        let mut change = self.base.db.begin(by).await?;
        roles::lock_bound(&mut change, by.tenant(), &Context::workbench(id)).await?;
        let workbench = store::get(&mut change, by.tenant(), id).await?.ok_or_else(not_found)?;
        let (_, touched) = delete_all(&mut change, &[id], by.now()).await?;
        note(&mut change, touched);
        record(by, &workbench);
        change.commit().await?;
        Ok(workbench)
    }

    /// Stops for good what runs, and what was stopped for idleness.
    async fn stop(&self, by: &Authorized, id: i64) -> Result<Workbench> {
        let mut change = self.base.db.begin(by).await?;
        let workbench = match store::stop(&mut change, by, id).await? {
            Some(stopped) => {
                change.touched().workbenches.insert(id);
                stopped
            }
            None => store::get(&mut change, by.tenant(), id).await?.ok_or_else(not_found)?,
        };
        record(by, &workbench);
        change.commit().await?;
        Ok(workbench)
    }

    /// Starts what is stopped. What runs counts as used, and is tried again at once if it failed.
    async fn start(&self, by: &Authorized, id: i64) -> Result<Workbench> {
        let mut change = self.base.db.begin(by).await?;
        let started = store::start(&mut change, by.tenant(), id, &["person", "idle"], by.now()).await?;
        let workbench = match started {
            Some(started) => started,
            None => {
                let of = opening::Use { tenant: by.tenant(), id, now: by.now(), retry: true };
                store::used(&mut *change, of).await?;
                store::get(&mut change, by.tenant(), id).await?.ok_or_else(not_found)?
            }
        };
        change.touched().workbenches.insert(id);
        record(by, &workbench);
        change.commit().await?;
        Ok(workbench)
    }
}

/// Somebody starts an app in a workbench: that is use of it, and starts one that was stopped for idleness. Returns its
/// workspace. Until the end of the transaction the workbench is not stopped or deleted.
///
/// # Errors
/// 404 `WORKBENCH_NOT_FOUND`, and `WORKBENCH_STOPPED` for one that a person stopped.
pub async fn enter(change: &mut Change, by: &Authorized, id: i64) -> Result<i64> {
    let of = opening::Use { tenant: by.tenant(), id, now: by.now(), retry: false };
    if store::used(&mut *change, of).await? == 0
        && store::start(change, by.tenant(), id, &["idle"], by.now()).await?.is_none()
    {
        store::get(&mut *change, by.tenant(), id).await?.ok_or_else(not_found)?;
        let text = "The workbench is stopped. Start it first.";
        return Err(Error::invalid("WORKBENCH_STOPPED", text));
    }
    change.touched().workbenches.insert(id);
    let workbench = store::get(change, by.tenant(), id).await?.ok_or_else(not_found)?;
    Ok(workbench.workspace_id)
}

/// The clipboard of a workspace changed: its running workbenches follow.
pub async fn want_running(change: &mut Change, by: &Authorized, workspace: i64) -> Result<()> {
    store::want_running(change, workspace, by.now()).await
}

/// Deletes the workbenches of a workspace that goes; it is locked.
pub async fn delete_of_workspace(change: &mut Change, by: &Authorized, workspace: i64) -> Result<()> {
    let ids = store::of_workspace(change, workspace).await?;
    let (_, touched) = delete_all(change, &ids, by.now()).await?;
    note(change, touched);
    Ok(())
}

/// Stops the workbenches of a user who goes.
pub async fn stop_owned(change: &mut Change, by: &Authorized, owner: i64) -> Result<()> {
    let stopped = store::stop_owned(change, by, owner).await?;
    change.touched().workbenches.extend(stopped);
    Ok(())
}

/// Deletes workbenches with what belongs to them; what was deleted, and which rows changed. Their workspaces are locked.
async fn delete_all(tx: &mut Tx, ids: &[i64], now: DateTime<Utc>) -> Result<(Vec<Workbench>, Touched)> {
    let deleted = store::delete(tx, ids, now).await?;
    let gone: Vec<i64> = deleted.iter().map(|row| row.id).collect();
    let app_instances = store::delete_app_instances(tx, &gone, now).await?;
    roles::remove_of_workbenches(tx, &gone).await?;
    let touched = Touched {
        workbenches: gone.into_iter().collect(),
        app_instances: app_instances.into_iter().collect(),
        ..Touched::default()
    };
    Ok((deleted, touched))
}

/// Tells at commit what was deleted.
fn note(change: &mut Change, deleted: Touched) {
    change.access_changed();
    change.touched().workbenches.extend(deleted.workbenches);
    change.touched().app_instances.extend(deleted.app_instances);
}

/// Refuses a workspace in which nobody can work.
async fn check_workspace(change: &mut Change, by: &Authorized, id: i64) -> Result<()> {
    match store::is_workspace_active(change, by, id).await? {
        Some(true) => Ok(()),
        Some(false) => {
            let text = "The workspace is inactive. Set its status to active first.";
            Err(Error::invalid("WORKSPACE_INACTIVE", text))
        }
        None => {
            let text = "There is no such workspace. List the workspaces to see which there are.";
            Err(Error::not_found("WORKSPACE_NOT_FOUND", text))
        }
    }
}

async fn appoint_creator(change: &mut Change, by: &Authorized, workbench: &Workbench) -> Result<()> {
    let context = Context::workbench(workbench.id);
    roles::insert(&mut *change, by.tenant(), by.id(), WORKBENCH_ADMIN, &context, by.now()).await?;
    change.access_changed();
    let label = context.label(WORKBENCH_ADMIN);
    let message = format!("You created a workbench and were given the role in it: {label}.");
    let to = Recipient { tenant_id: by.tenant(), user_id: by.id() };
    let id = by.call().shared().random.uuid();
    notify(change, to, id, &message, Content::RolesChanged, by.now()).await
}

/// Says in the audit record which workbench it was, and in which workspace.
fn record(by: &Authorized, workbench: &Workbench) {
    let mut subjects = by.call().subjects();
    subjects.workspace = Some(workbench.workspace_id);
    subjects.workbench = Some(workbench.id);
    subjects.verified = true;
    for (key, value) in workbench.details("") {
        subjects.detail(key, &value);
    }
}

impl Workbench {
    /// What records say of it, and what brought it about if it was no call.
    fn details(&self, trigger: &'static str) -> Vec<(&'static str, String)> {
        vec![
            ("trigger", trigger.to_owned()),
            ("workbench_id", self.id.to_string()),
            ("workbench_name", self.name.clone()),
            ("workspace_id", self.workspace_id.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_read() {
        let named = |name: &str| v1::Workbench { name: name.to_owned(), ..Default::default() };
        assert!(Wanted::parse(named("Étude")).is_ok());
        let status = Wanted::parse(named(" \u{2003}")).unwrap_err().into_status("/");
        assert_eq!(crate::server::error::detail(&status).unwrap().validation_errors[0].field, "name");
    }
}
