//! The network of a workspace as plain NetworkPolicies, for clusters without Cilium.
//!
//! They know pods and addresses, no names: so an allow-list cannot be expressed, and DNS goes for any name. Policies add up:
//! the first closes everything and opens what all pods reach, the second opens pods to the namespace and to the gateways,
//! except the servers of desktops, whose own policies open them.

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{
    super::{
        api::{Workspace, labels},
        network::{self, DNS, DNS_NAMESPACE, PUBLIC, WEB, expression, own, pods_of, port},
        plan::Object,
        settings::Settings,
    },
    child,
};

/// The suffix of the policy that closes.
const CLOSING: &str = "-netpol";
/// The suffix of the policy that opens pods other than servers.
const OPENING: &str = "-netpol-ingress";

/// The policies of a workspace whose pods reach the web, or nothing outside.
pub fn policies(workspace: &Workspace, web: bool, settings: &Settings) -> Vec<Object> {
    let closing = NetworkPolicySpec {
        pod_selector: Some(LabelSelector::default()),
        policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
        ingress: None,
        egress: Some(egress(web, settings)),
    };
    let gateways = settings.ingress_namespaces.iter().map(|namespace| pods_of(namespace));
    let opening = NetworkPolicySpec {
        pod_selector: Some(expression(labels::WORKBENCH, "DoesNotExist", None)),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(vec![NetworkPolicyIngressRule {
            from: Some(std::iter::once(own(LabelSelector::default())).chain(gateways).collect()),
            ports: None,
        }]),
        egress: None,
    };
    vec![network::object(child(workspace, CLOSING), closing), network::object(child(workspace, OPENING), opening)]
}

/// What all pods reach: DNS, the namespace, and perhaps the web.
fn egress(web: bool, settings: &Settings) -> Vec<NetworkPolicyEgressRule> {
    let block = |cidr: &str, except: &[&str]| NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: cidr.to_owned(),
            except: (!except.is_empty()).then(|| except.iter().map(|&cidr| cidr.to_owned()).collect()),
        }),
        ..NetworkPolicyPeer::default()
    };
    let resolvers = settings.dns_addresses.iter().map(|address| block(address, &[]));
    let dns = NetworkPolicyEgressRule {
        to: Some(std::iter::once(pods_of(DNS_NAMESPACE)).chain(resolvers).collect()),
        ports: Some(vec![port(DNS, "UDP"), port(DNS, "TCP")]),
    };
    let namespace = NetworkPolicyEgressRule { to: Some(vec![own(LabelSelector::default())]), ports: None };
    let public = NetworkPolicyEgressRule {
        to: Some(PUBLIC.iter().map(|(cidr, except)| block(cidr, except)).collect()),
        ports: Some(WEB.iter().map(|&number| port(number, "TCP")).collect()),
    };
    [Some(dns), Some(namespace), web.then_some(public)].into_iter().flatten().collect()
}
