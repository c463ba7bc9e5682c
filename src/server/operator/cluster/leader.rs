//! Which replica acts: the one that holds the Lease.
//!
//! What always holds: whoever cannot renew stands down before others may take over, and stands for election anew.

use std::time::Duration;

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio::{sync::watch, time::sleep};

use super::{
    super::api::{LEASE, MANAGER},
    client::impatient,
    telemetry,
};

/// The wait after a failure.
const RETRY: Duration = Duration::from_millis(500);

/// Who stands for election.
pub struct Candidate {
    /// How to reach the API server.
    pub client: Client,
    /// Where the lease is.
    pub namespace: String,
    /// Its name.
    pub identity: String,
    /// How long a lease is valid, in seconds.
    pub valid: u64,
}

/// Stands for election until told to stop, and then gives the lease back.
pub async fn stand(candidate: Candidate, leading: watch::Sender<bool>, mut stop: watch::Receiver<bool>) {
    let Candidate { client, namespace, identity, valid } = candidate;
    let valid = valid.max(2);
    let margin = (valid / 3).max(1);
    // A renewal is two requests, and has to fail before the lease runs out.
    let client = impatient(&client, Duration::from_secs(margin) * 2 / 5);
    let mut failures = 0_u32;
    while !*stop.borrow() {
        let manager = LeaseManagerBuilder::new(client.clone(), LEASE)
            .with_namespace(&namespace)
            .with_identity(&identity)
            .with_field_manager(format!("{MANAGER}-{identity}"))
            .with_duration(valid)
            .with_grace(margin)
            .build();
        let error = match manager.await {
            Ok(manager) => hold(&manager, &leading, &mut stop, &mut failures).await,
            Err(error) => Some(error),
        };
        set(&leading, false);
        if let Some(error) = error {
            failures = failures.saturating_add(1);
            telemetry::error("Lease", "election");
            if failures % 20 == 1 {
                tracing::warn!(%error, "the lease cannot be held or looked at");
            }
            tokio::select! { () = sleep(RETRY) => {}, () = told(&mut stop) => {} }
        }
    }
}

/// Follows one lease until a failure, or until told to stop.
async fn hold(
    manager: &LeaseManager,
    leading: &watch::Sender<bool>,
    stop: &mut watch::Receiver<bool>,
    failures: &mut u32,
) -> Option<kube_lease_manager::LeaseManagerError> {
    loop {
        tokio::select! {
            changed = manager.changed() => match changed {
                Ok(leads) => {
                    *failures = 0;
                    set(leading, leads);
                }
                Err(error) => return Some(error),
            },
            () = told(stop) => {
                set(leading, false);
                if let Err(error) = manager.release().await {
                    tracing::warn!(%error, "the lease was not given back; it runs out");
                }
                return None;
            }
        }
    }
}

/// Waits until told to stop; nobody left who could tell means the same.
async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|&stop| stop).await);
}

fn set(leading: &watch::Sender<bool>, leads: bool) {
    let changed = leading.send_if_modified(|before| std::mem::replace(before, leads) != leads);
    if changed {
        tracing::info!(leads, "leadership");
        telemetry::leading(leads);
    }
}
