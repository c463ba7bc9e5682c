//! Whether network policies are more than paper: the operator sees that they are there, this that something enforces them.

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::{Api, Client, api::ListParams};

use super::{Findings, Row};

/// The first version that takes wildcards as names of TLS servers.
const WILDCARDS: (u32, u32) = (1, 18);

/// Network plug-ins: a part of the name of their DaemonSet, their name, and whether they enforce network policies.
const PLUG_INS: [(&str, &str, Enforces); 12] = [
    ("cilium", "Cilium", Enforces::Yes),
    ("calico-node", "Calico", Enforces::Yes),
    ("canal", "Canal", Enforces::Yes),
    ("antrea-agent", "Antrea", Enforces::Yes),
    ("kube-router", "kube-router", Enforces::Yes),
    ("ovnkube-node", "OVN-Kubernetes", Enforces::Yes),
    ("kube-ovn-cni", "Kube-OVN", Enforces::Yes),
    ("azure-npm", "Azure NPM", Enforces::Yes),
    ("weave-net", "Weave Net", Enforces::Yes),
    ("aws-node", "Amazon VPC CNI", Enforces::Perhaps),
    ("kindnet", "kindnet", Enforces::Perhaps),
    ("kube-flannel", "Flannel", Enforces::No),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Enforces {
    Yes,
    /// It depends on its version or configuration.
    Perhaps,
    No,
}

/// Whether the cluster has CiliumNetworkPolicies, and of which version.
pub async fn cilium(client: &Client) -> Findings {
    const CHECK: &str = "Cilium";
    let resources = match client.list_api_group_resources("cilium.io/v2").await {
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        resources => resources?.resources,
    };
    if !resources.iter().any(|resource| resource.name == "ciliumnetworkpolicies") {
        let todo =
            "install Cilium 1.18 or later for FQDNAllowlist and internal services; Open and Airgapped work without";
        return Ok(vec![Row::warn(CHECK, "not installed", todo)]);
    }
    let sets = daemon_sets(client, "k8s-app=cilium").await?;
    let image = sets.iter().find_map(image_of).unwrap_or_default();
    let row = match version(&image) {
        Some(version) if version < WILDCARDS => {
            let todo = "update to 1.18 or later: older ones do not know wildcards in the names of TLS servers";
            Row::warn(CHECK, format!("{}.{}", version.0, version.1), todo)
        }
        Some((major, minor)) => Row::ok(CHECK, format!("{major}.{minor}")),
        None => Row::warn(CHECK, "installed, in a version that cannot be told", "it should be 1.18 or later"),
    };
    Ok(vec![row])
}

/// Whether there is a network plug-in that enforces policies.
pub async fn plug_in(client: &Client) -> Findings {
    const CHECK: &str = "network plug-in";
    let sets = daemon_sets(client, "").await?;
    let names: Vec<_> = sets.iter().filter_map(|set| set.metadata.name.as_deref()).collect();
    let mut known: Vec<_> =
        PLUG_INS.iter().filter(|(part, ..)| names.iter().any(|name| name.starts_with(part))).collect();
    known.sort_by_key(|(_, _, enforces)| *enforces as u8);
    let todo = "install one that enforces network policies: without, every session is open to the network";
    Ok(vec![match known.first() {
        Some((_, name, Enforces::Yes)) => Row::ok(CHECK, format!("{name}, which enforces network policies")),
        Some((_, name, Enforces::Perhaps)) => {
            Row::warn(CHECK, format!("{name}, which enforces network policies if configured so"), "check that it does")
        }
        Some((_, name, Enforces::No)) => Row::fail(CHECK, format!("{name}, which enforces no network policies"), todo),
        None => Row::warn(CHECK, "none that is known", "check that it enforces network policies"),
    }])
}

async fn daemon_sets(client: &Client, labels: &str) -> Result<Vec<DaemonSet>, kube::Error> {
    let api: Api<DaemonSet> = Api::all(client.clone());
    Ok(api.list(&ListParams::default().labels(labels)).await?.items)
}

fn image_of(set: &DaemonSet) -> Option<String> {
    set.spec.as_ref()?.template.spec.as_ref()?.containers.first()?.image.clone()
}

/// Major and minor version in the tag of an image: `quay.io/cilium/cilium:v1.18.2@sha256:…`.
fn version(image: &str) -> Option<(u32, u32)> {
    let image = image.split('@').next()?;
    let (_, tag) = image.rsplit('/').next()?.split_once(':')?;
    let mut numbers = tag.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next()?.parse().ok()?, numbers.next()?);
    Some((major, minor.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_images() {
        for (image, wanted) in [
            ("quay.io/cilium/cilium:v1.18.2@sha256:abc", Some((1, 18))),
            ("registry:5000/cilium:1.17-rc.1", Some((1, 17))),
            ("registry:5000/cilium", None),
            ("cilium:latest", None),
            ("cilium:v2", None),
            ("", None),
        ] {
            assert_eq!(version(image), wanted, "{image}");
        }
    }
}
