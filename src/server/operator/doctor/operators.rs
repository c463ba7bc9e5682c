//! Who operates: this operator, a former one, and the lease that they share.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::{Lease, LeaseSpec},
};
use kube::{Api, Client, api::ListParams};

use super::{
    super::{api::LEASE, manifests},
    Findings, Options, Row,
};

/// How a former operator is found.
const FORMER_LABELS: &str = "control-plane=controller-manager";
/// A part of the name of its image.
const FORMER_IMAGE: &str = "workbench-operator";
/// A part of the name of its pods, which it writes into the lease.
const FORMER_POD: &str = "controller-manager";

/// Whether this operator runs.
pub async fn ours(client: &Client, options: &Options) -> Findings {
    const CHECK: &str = "operator";
    let api: Api<Deployment> = Api::namespaced(client.clone(), &options.namespace);
    let Some(deployment) = api.get_opt(manifests::NAME).await? else {
        let found = format!("no Deployment {} in {}", manifests::NAME, options.namespace);
        return Ok(vec![Row::warn(CHECK, found, "chorus operator manifests | kubectl apply -f -")]);
    };
    let wanted = replicas(&deployment);
    let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let found = format!("{ready} of {wanted} ready");
    Ok(vec![if ready == 0 {
        Row::fail(CHECK, found, format!("kubectl -n {} logs deploy/{}", options.namespace, manifests::NAME))
    } else {
        Row::ok(CHECK, found)
    }])
}

/// Whether a former operator is still there.
pub async fn former(client: &Client, options: &Options) -> Findings {
    const CHECK: &str = "former operator";
    let api: Api<Deployment> = Api::all(client.clone());
    let found = api.list(&ListParams::default().labels(FORMER_LABELS)).await?.items;
    let running = found.iter().filter(|deployment| is_former(deployment) && replicas(deployment) > 0);
    let rows: Vec<_> = running.map(|deployment| still_there(CHECK, deployment, options)).collect();
    Ok(if rows.is_empty() { vec![Row::ok(CHECK, "none")] } else { rows })
}

fn still_there(check: &str, deployment: &Deployment, options: &Options) -> Row {
    let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let todo = format!("kubectl -n {namespace} scale deploy/{name} --replicas=0");
    if namespace == options.namespace {
        Row::warn(check, format!("{namespace}/{name} runs; the lease keeps the two apart"), todo)
    } else {
        let found = format!("{namespace}/{name} runs, with a lease of its own: both would write");
        Row::fail(check, found, todo)
    }
}

fn is_former(deployment: &Deployment) -> bool {
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let mut images = pod.into_iter().flat_map(|pod| &pod.containers).filter_map(|container| container.image.as_deref());
    images.any(|image| image.contains(FORMER_IMAGE))
}

fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Who leads.
pub async fn lease(client: &Client, options: &Options) -> Findings {
    let api: Api<Lease> = Api::namespaced(client.clone(), &options.namespace);
    let lease = api.get_opt(LEASE).await?;
    Ok(vec![held(lease.and_then(|lease| lease.spec), options.now)])
}

fn held(lease: Option<LeaseSpec>, now: DateTime<Utc>) -> Row {
    const CHECK: &str = "lease";
    let holder = lease.as_ref().and_then(|lease| lease.holder_identity.as_deref()).unwrap_or_default();
    let Some(lease) = lease.as_ref().filter(|_| !holder.is_empty()) else {
        return Row::warn(CHECK, "held by nobody", "start the operator");
    };
    let renewed = lease.renew_time.as_ref().and_then(|time| DateTime::from_timestamp(time.0.as_second(), 0));
    let duration = TimeDelta::seconds(lease.lease_duration_seconds.unwrap_or(15).into());
    let expired = renewed.and_then(|renewed| renewed.checked_add_signed(duration)).is_none_or(|end| end < now);
    if expired {
        Row::warn(CHECK, format!("{holder} held it, and renews it no more"), "start the operator")
    } else if holder.contains(FORMER_POD) {
        Row::warn(CHECK, format!("held by {holder}, a former operator"), "stop that one; this one waits")
    } else {
        Row::ok(CHECK, format!("held by {holder}"))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};

    use super::{super::State, *};

    #[test]
    fn leases() {
        let lease = |holder: &str, renewed: i64| LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        let now = DateTime::from_timestamp(1000, 0).unwrap();
        for (spec, state, found) in [
            (None, State::Warn, "held by nobody"),
            (Some(LeaseSpec::default()), State::Warn, "held by nobody"),
            (Some(lease("chorus-operator-1", 990)), State::Ok, "held by chorus-operator-1"),
            (Some(lease("chorus-operator-1", 984)), State::Warn, "chorus-operator-1 held it, and renews it no more"),
            (
                Some(lease("w-controller-manager-1_u", 990)),
                State::Warn,
                "held by w-controller-manager-1_u, a former operator",
            ),
        ] {
            let row = held(spec, now);
            assert_eq!((row.state, row.found.as_str()), (state, found));
        }
    }
}
