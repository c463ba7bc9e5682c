//! The network policy of a desktop: who may connect to its server pods.
//!
//! A plain NetworkPolicy, so that it holds with and without Cilium. Policies add up, and the policy of the workspace admits
//! nobody to server pods; so this is all that reaches them: the display (6080) from the desktop's own apps, the page (8080)
//! from the gateways. X11 has no authentication here, so 6080 is as good as the user's keyboard and screen.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kube::{Resource, ResourceExt};

use super::super::{
    api::{MANAGER, Workbench, labels},
    live::Kind,
    plan::Object,
    settings::Settings,
    workspace::name::with_suffix,
};

/// The port of the desktop's page.
const PAGE: i32 = 8080;
/// The port of its display.
const DISPLAY: i32 = 6080;

/// The name of the policy of this workbench. The suffix differs from those of workspaces, so a workbench that is called
/// like its workspace shares no object with it.
pub fn name(workbench: &str) -> String {
    with_suffix(workbench, "-netpol-server")
}

/// The policy of this workbench. `former_jobs` are the names of Jobs of the former operator that still run: their pods have
/// no label of ours.
pub fn workbench_policy(workbench: &Workbench, settings: &Settings, former_jobs: &[String]) -> Object {
    let name_of = workbench.name_any();
    let policy = NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(name(&name_of)),
            namespace: workbench.namespace(),
            labels: Some(BTreeMap::from([
                (labels::WORKBENCH.to_owned(), name_of.clone()),
                (labels::MANAGED_BY.to_owned(), MANAGER.to_owned()),
            ])),
            owner_references: workbench.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(with_label(labels::WORKBENCH, &name_of)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(ingress(&name_of, settings, former_jobs)),
            egress: None,
        }),
    };
    let (api_version, kind, _) = Kind::NetworkPolicy.names();
    let mut value = serde_json::to_value(policy).unwrap_or_default();
    value["apiVersion"] = api_version.into();
    value["kind"] = kind.into();
    Object { kind: Kind::NetworkPolicy, value }
}

/// Who may connect. A rule without peers would admit everybody, so there is none for an empty list of gateways.
fn ingress(workbench: &str, settings: &Settings, former_jobs: &[String]) -> Vec<NetworkPolicyIngressRule> {
    let gateways: Vec<_> = settings.ingress_namespaces.iter().map(|namespace| pods_of(namespace)).collect();
    let mut apps = vec![own(with_label(labels::POD_OF, workbench))];
    if !former_jobs.is_empty() {
        let mut names = former_jobs.to_vec();
        names.sort_unstable();
        apps.push(own(LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "batch.kubernetes.io/job-name".to_owned(),
                operator: "In".to_owned(),
                values: Some(names),
            }]),
            match_labels: None,
        }));
    }
    [(gateways, PAGE), (apps, DISPLAY)]
        .into_iter()
        .filter(|(from, _)| !from.is_empty())
        .map(|(from, number)| NetworkPolicyIngressRule { from: Some(from), ports: Some(vec![port(number)]) })
        .collect()
}

/// Pods of the policy's own namespace.
fn own(pods: LabelSelector) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(pods), ..NetworkPolicyPeer::default() }
}

/// All pods of a namespace.
fn pods_of(namespace: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(with_label("kubernetes.io/metadata.name", namespace)),
        ..NetworkPolicyPeer::default()
    }
}

fn with_label(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
        ..LabelSelector::default()
    }
}

fn port(number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    }
}
