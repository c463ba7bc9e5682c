//! Which replica acts: the one that holds the Lease.
//!
//! What always holds: whoever cannot renew stands down before others may take over, and stands for election anew.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::{sync::watch, time::sleep};

use super::{
    super::api::{LEASE, MANAGER},
    client::impatient,
    telemetry,
};

/// The wait after a failure.
const RETRY: Duration = Duration::from_millis(500);
/// How often who stands by looks whether the lease was given back.
const LOOK: Duration = Duration::from_secs(2);

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
        let leases = Api::<Lease>::namespaced(client.clone(), &namespace);
        let error = match manager.await {
            Ok(manager) => hold(&manager, &leases, &leading, &mut stop).await,
            Err(error) => Some(error),
        };
        set(&leading, false);
        let Some(error) = error else {
            failures = 0;
            continue;
        };
        failures = failures.saturating_add(1);
        telemetry::error("Lease", "election");
        if failures % 20 == 1 {
            tracing::warn!(%error, "the lease cannot be held or looked at");
        }
        tokio::select! { () = sleep(RETRY) => {}, () = told(&mut stop) => {} }
    }
}

/// Follows one lease until a failure, until it is found to be given back by who held it, or until told to stop.
async fn hold(
    manager: &LeaseManager,
    leases: &Api<Lease>,
    leading: &watch::Sender<bool>,
    stop: &mut watch::Receiver<bool>,
) -> Option<LeaseManagerError> {
    tokio::select! {
        error = follow(manager, leading) => return Some(error),
        () = vacated(leases, leading) => return None,
        () = told(stop) => set(leading, false),
    }
    // What the manager was doing is dropped by now, with its lock.
    if let Err(error) = manager.release().await {
        tracing::warn!(%error, "the lease was not given back; it runs out");
    }
    None
}

/// Takes the lease when it is free and renews it.
async fn follow(manager: &LeaseManager, leading: &watch::Sender<bool>) -> LeaseManagerError {
    loop {
        match manager.changed().await {
            Ok(leads) => set(leading, leads),
            Err(error) => return error,
        }
    }
}

/// Waits until who stands by finds that nobody holds the lease. The manager itself sleeps until what it knows of runs out.
async fn vacated(leases: &Api<Lease>, leading: &watch::Sender<bool>) {
    loop {
        sleep(LOOK).await;
        if *leading.borrow() {
            continue;
        }
        if let Ok(Some(lease)) = leases.get_opt(LEASE).await
            && lease.spec.and_then(|spec| spec.holder_identity).is_none_or(|holder| holder.is_empty())
        {
            return;
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
