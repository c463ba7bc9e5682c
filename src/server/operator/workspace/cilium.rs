//! The network of a workspace as one CiliumNetworkPolicy.
//!
//! Policies add up, so each rule opens no more than it says: DNS answers only for names that the workspace may use, services
//! are those of the namespace, addresses are public ones, names hold for TLS (server name) and for HTTP (host) alike. The
//! first entry of `specs` closes everything (an empty rule admits nobody and still denies by default) and opens what all pods
//! reach; the second opens pods to the namespace and to the gateways, except the servers of desktops, whose own policies open
//! them.
//!
//! Cilium refuses a policy as a whole for one rule that it does not like, which would leave the pods open. Hence: ports in
//! chunks of 40, server names apart from HTTP rules, TLS apart from other ports (the TLS proxy would take over all ports of a
//! rule).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    super::{
        api::{Workspace, labels},
        live::Kind,
        network::{DNS, DNS_NAMESPACE, PUBLIC, WEB},
        plan::Object,
        settings::{InternalService, Settings},
    },
    Reach, child,
    fqdn::is_pattern,
};

/// The most ports in one list, and so the most that Cilium takes.
const MAX_PORTS: usize = 40;
/// How many labels a name may have in front of the cluster's domain. A pod's resolver appends `<namespace>.svc` and the
/// domain to names of up to five labels (`ndots: 5`), and gives up where such a question is refused.
const DEPTH: usize = 7;
/// The port of TLS, whose server name is checked.
const TLS: u16 = 443;
/// The port of HTTP, whose host is checked.
const HTTP: u16 = 80;

/// The policy of a workspace.
pub fn policy(workspace: &Workspace, reach: &Reach, settings: &Settings) -> Object {
    let metadata = child(workspace, "-netpol");
    let namespace = metadata.namespace.clone().unwrap_or_default();
    let (api_version, kind, _) = Kind::CiliumNetworkPolicy.names();
    let mut from = vec![namespace.as_str()];
    from.extend(settings.ingress_namespaces.iter().map(String::as_str).filter(|name| *name != namespace));
    let value = json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": metadata,
        "specs": [
            { "endpointSelector": {}, "ingress": [{}], "egress": egress(&namespace, reach, settings) },
            {
                "endpointSelector": { "matchExpressions": [{ "key": labels::WORKBENCH, "operator": "DoesNotExist" }] },
                "ingress": [{ "fromEndpoints": pods_of(&from) }],
            },
        ],
    });
    Object { kind: Kind::CiliumNetworkPolicy, value }
}

/// What all pods reach.
fn egress(namespace: &str, reach: &Reach, settings: &Settings) -> Vec<Value> {
    let mut rules = dns(reach, settings);
    rules.push(json!({ "toEndpoints": pods_of(&[namespace]) }));
    rules.push(json!({
        "toServices": [{ "k8sServiceSelector": { "selector": { "matchLabels": {} }, "namespace": namespace } }]
    }));
    rules.extend(internal(settings));
    rules.extend(outside(reach));
    rules
}

/// Questions to the cluster's DNS servers, and to those elsewhere that the settings name.
fn dns(reach: &Reach, settings: &Settings) -> Vec<Value> {
    let names = match reach {
        Reach::Web => vec![json!({ "matchPattern": "*" })],
        Reach::Nothing => answered(&[], settings),
        Reach::Names(names) => answered(names, settings),
    };
    let ports = json!([{
        "ports": [{ "port": DNS.to_string(), "protocol": "UDP" }, { "port": DNS.to_string(), "protocol": "TCP" }],
        "rules": { "dns": names },
    }]);
    let mut rules = vec![json!({ "toEndpoints": pods_of(&[DNS_NAMESPACE]), "toPorts": ports })];
    if !settings.dns_addresses.is_empty() {
        rules.push(json!({ "toCIDR": settings.dns_addresses, "toPorts": ports }));
    }
    rules
}

/// The names that are answered where not all are: those of the cluster, of internal services, and the listed ones. A star
/// stands for one label, so there is a pattern for each number of labels.
fn answered(listed: &[String], settings: &Settings) -> Vec<Value> {
    let within =
        |labels: usize| json!({ "matchPattern": format!("{}{}", "*.".repeat(labels), settings.cluster_domain) });
    let services: Vec<&str> = admitted(settings).map(|service| service.fqdn.as_str()).collect();
    let names = unique(services.into_iter().chain(listed.iter().map(String::as_str)));
    (1..=DEPTH).map(within).chain(names.into_iter().map(selector)).collect()
}

/// Internal services that can be reached: with no namespace of a gateway, there is no way to them.
fn admitted(settings: &Settings) -> impl Iterator<Item = &InternalService> {
    settings.internal_services.iter().filter(|_| !settings.egress_namespaces.is_empty())
}

/// The gateways of internal services: first those that listen elsewhere, then the others.
fn internal(settings: &Settings) -> Vec<Value> {
    let (mut tls, mut ports) = (Vec::new(), BTreeSet::new());
    for service in admitted(settings) {
        let named = if service.ports.is_empty() { &[TLS] } else { service.ports.as_slice() };
        if named.contains(&TLS) {
            tls.push(service.fqdn.as_str());
        }
        ports.extend(named.iter().filter(|port| **port != TLS));
    }
    let shifts = |namespace: &&str| settings.envoy_namespaces.iter().any(|name| name == namespace);
    let (envoy, others): (Vec<&str>, Vec<&str>) =
        settings.egress_namespaces.iter().map(String::as_str).partition(shifts);
    let mut rules = Vec::new();
    for (namespaces, shift) in [(envoy, true), (others, false)] {
        let at = |port: u16| if shift && port < 1024 { port + 10_000 } else { port };
        if namespaces.is_empty() {
            continue;
        }
        if !tls.is_empty() {
            let names = unique(tls.iter().copied());
            rules.push(json!({
                "toEndpoints": pods_of(&namespaces),
                "toPorts": [{ "ports": tcp(&[at(TLS)]), "serverNames": names }],
            }));
        }
        let ports: Vec<u16> = ports.iter().copied().map(at).collect::<BTreeSet<_>>().into_iter().collect();
        if !ports.is_empty() {
            let chunks: Vec<_> = ports.chunks(MAX_PORTS).map(|ports| json!({ "ports": tcp(ports) })).collect();
            rules.push(json!({ "toEndpoints": pods_of(&namespaces), "toPorts": chunks }));
        }
    }
    rules
}

/// What is reached outside the cluster.
fn outside(reach: &Reach) -> Vec<Value> {
    match reach {
        Reach::Web => {
            let public = PUBLIC.map(|(cidr, except)| json!({ "cidr": cidr, "except": except }));
            vec![json!({ "toCIDRSet": public, "toPorts": [{ "ports": tcp(&WEB) }] })]
        }
        Reach::Names(names) if !names.is_empty() => {
            let selectors: Vec<_> = names.iter().map(|name| selector(name)).collect();
            let hosts: Vec<_> = names.iter().map(|name| json!({ "host": host(name) })).collect();
            vec![
                json!({ "toFQDNs": selectors, "toPorts": [{ "ports": tcp(&[TLS]), "serverNames": names }] }),
                json!({ "toFQDNs": selectors, "toPorts": [{ "ports": tcp(&[HTTP]), "rules": { "http": hosts } }] }),
            ]
        }
        Reach::Names(_) | Reach::Nothing => Vec::new(),
    }
}

/// A name, or a pattern in which a star stands for one label.
fn selector(name: &str) -> Value {
    if is_pattern(name) { json!({ "matchPattern": name }) } else { json!({ "matchName": name }) }
}

/// The regular expression of the `Host` header; it is matched as a whole.
fn host(name: &str) -> String {
    let name = name.replace('.', r"\.").replace('*', "[-a-zA-Z0-9_]+");
    format!("{name}(:{HTTP})?")
}

fn pods_of(namespaces: &[&str]) -> Vec<Value> {
    let pods = |namespace: &&str| json!({ "matchLabels": { "k8s:io.kubernetes.pod.namespace": namespace } });
    namespaces.iter().map(pods).collect()
}

fn tcp(ports: &[u16]) -> Vec<Value> {
    ports.iter().map(|port| json!({ "port": port.to_string(), "protocol": "TCP" })).collect()
}

/// In their order, each once.
fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| seen.insert(*name)).collect()
}
