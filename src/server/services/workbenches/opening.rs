//! Opening a workbench: somebody who may see its desktop asks for it.
//!
//! That counts as use, so that an idle one is not stopped under his eyes, and it starts one that was stopped because nobody
//! used it (`workbench.wake_on_open`). One that a person stopped stays stopped.

use std::{net::IpAddr, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};

use super::store::{self, Workbench};
use crate::server::{
    access::{
        audit::{self, Deed},
        caller::Caller,
        catalogue::{Dimension, Permission},
    },
    desktops::{self, Touched},
    error::Result,
    pipeline::Shared,
    services::Base,
};

/// Use is written down at most this often, however often somebody asks.
const WRITTEN_EVERY: TimeDelta = TimeDelta::minutes(1);

/// Who opens a workbench, and when.
#[derive(Debug, Clone)]
pub struct Visit<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// The id under which log and audit trail know the request.
    pub request_id: &'a Arc<str>,
    /// The address of the client.
    pub address: Option<IpAddr>,
    /// When.
    pub now: DateTime<Utc>,
}

/// A use of a workbench.
#[derive(Debug, Clone, Copy)]
pub(super) struct Use {
    pub tenant: i64,
    pub id: i64,
    pub now: DateTime<Utc>,
    /// A desktop that failed is tried again at once.
    pub retry: bool,
}

/// Somebody opens the workbench: it counts as used, and starts if it was stopped for idleness. Nothing happens when there is
/// no such workbench in the caller's tenant, or when the caller may not see its desktop.
pub async fn opened(base: &Base, shared: &Shared, visit: &Visit<'_>, id: i64) -> Result<()> {
    match store::get(&base.db, visit.caller.tenant(), id).await? {
        Some(row) => open(base, shared, visit, &row).await.map(drop),
        None => Ok(()),
    }
}

/// The same for a row that was read just now; the row as it is then, if it started.
pub(super) async fn open(
    base: &Base,
    shared: &Shared,
    visit: &Visit<'_>,
    row: &Workbench,
) -> Result<Option<Workbench>> {
    if !visit.caller.may(Permission::StreamWorkbench, Some((Dimension::Workbench, row.id))) {
        return Ok(None);
    }
    if row.status == "active" && row.active_at + WRITTEN_EVERY <= visit.now {
        let of = Use { tenant: row.tenant_id, id: row.id, now: visit.now, retry: false };
        store::used(&base.db, of).await?;
    }
    if base.config.workbench.wake_on_open && row.stopped_because == "idle" {
        return wake(base, shared, visit, row).await;
    }
    Ok(None)
}

async fn wake(base: &Base, shared: &Shared, visit: &Visit<'_>, row: &Workbench) -> Result<Option<Workbench>> {
    let mut tx = base.db.transaction().await?;
    let started = store::start(&mut tx, row.tenant_id, row.id, &["idle"], visit.now).await?;
    let Some(started) = started else { return Ok(None) };
    let deed = Deed {
        action: "StartWorkbench",
        actor: Some(visit.caller),
        tenant: row.tenant_id,
        request_id: visit.request_id.clone(),
        address: visit.address,
        workspace: Some(row.workspace_id),
        workbench: Some(row.id),
        details: started.details("opened"),
        at: visit.now,
    };
    audit::insert(&mut tx, &audit::Record::of_deed(deed)).await?;
    let touched = Touched { workbenches: [row.id].into(), ..Touched::default() };
    desktops::stamp(&mut tx, &touched).await?;
    tx.commit().await?;
    shared.desktops.tell();
    Ok(Some(started))
}
