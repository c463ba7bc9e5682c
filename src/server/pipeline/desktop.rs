//! The one way in that is no RPC: the stream of a desktop, which browsers open as a page and as a WebSocket.
//!
//! Its transport finds the caller; here it is admitted and recorded like a call. What always holds: an [`Authorized`] comes
//! from holding `streamWorkbench` for this workbench, in a session that may do more than replace a password.

use std::sync::{Arc, atomic::Ordering};

use http::HeaderMap;

use super::{
    admission::{Wanted, hold},
    call::{Authorized, Call},
    gate::{Shared, closed_to_restricted},
    rpc::{Rpc, When},
};
use crate::server::{
    access::{audit, caller::Caller, catalogue::Permission},
    error::{Error, Kind, Result},
    transport::origin::Origin,
};

/// How opening a desktop is named in the audit trail.
static STREAM: Rpc = Rpc {
    name: "stream",
    path: "",
    public: false,
    planned: false,
    restricted: false,
    session_only: false,
    signs_out: false,
    streaming: true,
    max_bytes: usize::MAX,
    audit: When::Always,
    action: "StreamWorkbench",
};

/// A request for a desktop.
pub fn call(shared: &Arc<Shared>, headers: &HeaderMap, origin: Option<&Origin>, workbench: i64) -> Arc<Call> {
    let call = Call::new(shared.clone(), &STREAM, headers, origin);
    {
        let mut subjects = call.subjects();
        subjects.workbench = Some(workbench).filter(|id| *id > 0);
        subjects.detail("workbench_id", &workbench.to_string());
    }
    Arc::new(call)
}

/// Admits the caller to the desktop.
///
/// # Errors
/// 403 when the session is restricted or the permission is missing.
pub fn admit(call: &Arc<Call>, caller: &Arc<Caller>, workbench: i64) -> Result<Authorized> {
    closed_to_restricted(caller, &STREAM)?;
    let needs = vec![(Permission::StreamWorkbench, Wanted::Id(workbench))];
    for (permission, wanted) in &needs {
        hold(*permission, *wanted, caller)?;
    }
    call.admitted_by(needs);
    Ok(Authorized { call: call.clone(), caller: caller.clone() })
}

/// Records that the desktop was opened, or that it was refused; returns when that is on disk. That a desktop is not there at
/// the moment is not recorded: browsers ask every few seconds.
pub async fn record(call: &Call, caller: &Caller, error: Option<&Error>) {
    let due = match error {
        // waking the desktop has recorded it
        None => !call.recorded.load(Ordering::Acquire),
        Some(error) => matches!(error.kind(), Kind::PermissionDenied | Kind::NotFound),
    };
    if due {
        call.shared().audit.write(audit::Record::of(call, caller, error)).await;
    }
}
