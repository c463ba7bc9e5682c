//! Who may connect to whom under a set of policies: the additive semantics of NetworkPolicy and CiliumNetworkPolicy, to prove
//! what ours come to. Where implementations differ, it takes the wider reading.

use std::{collections::BTreeMap, net::IpAddr};

use regex::Regex;
use serde_json::Value;

/// An end of a connection.
#[derive(Debug, Clone)]
pub enum Peer {
    /// A pod.
    Pod { namespace: &'static str, labels: BTreeMap<&'static str, &'static str>, address: IpAddr },
    /// Anything else: nodes, the API server, the world outside.
    Address(IpAddr),
    /// A server outside that was found under a name, and is asked for another (server name, `Host`) or the same.
    Site { found_as: &'static str, asked_for: &'static str, address: IpAddr },
}

pub fn pod(namespace: &'static str, labels: &[(&'static str, &'static str)]) -> Peer {
    Peer::Pod { namespace, labels: labels.iter().copied().collect(), address: "10.244.0.7".parse().unwrap() }
}

pub fn address(text: &str) -> Peer {
    Peer::Address(text.parse().unwrap())
}

pub fn site(found_as: &'static str, asked_for: &'static str) -> Peer {
    Peer::Site { found_as, asked_for, address: "93.184.216.34".parse().unwrap() }
}

/// Whether a connection is admitted on both ends.
pub fn allowed(policies: &[Value], from: &Peer, to: &Peer, port: u16, protocol: &str) -> bool {
    let wire = Wire { peer: to, port, protocol, question: None };
    passes(policies, from, "egress", &wire) && passes(policies, to, "ingress", &Wire { peer: from, ..wire })
}

/// Whether a question for a name is passed on to a DNS server.
pub fn answered(policies: &[Value], from: &Peer, server: &Peer, name: &str) -> bool {
    passes(policies, from, "egress", &Wire { peer: server, port: 53, protocol: "UDP", question: Some(name) })
}

#[derive(Clone, Copy)]
struct Wire<'a> {
    peer: &'a Peer,
    port: u16,
    protocol: &'a str,
    question: Option<&'a str>,
}

/// Whether what selects this end closes it in that direction, and if so, whether a rule opens it.
fn passes(policies: &[Value], end: &Peer, direction: &str, wire: &Wire<'_>) -> bool {
    let Peer::Pod { namespace, labels, .. } = end else { return true };
    let (mut closed, mut open) = (false, false);
    for policy in policies.iter().filter(|policy| policy["metadata"]["namespace"] == *namespace) {
        let cilium = policy["kind"] == "CiliumNetworkPolicy";
        let specs = if cilium { policy["specs"].as_array().unwrap().clone() } else { vec![policy["spec"].clone()] };
        for spec in specs {
            let selector = if cilium { &spec["endpointSelector"] } else { &spec["podSelector"] };
            if !selects(selector, labels) {
                continue;
            }
            let rules = spec[direction].as_array().cloned().unwrap_or_default();
            closed |= if cilium { !rules.is_empty() } else { has_type(&spec, direction) };
            open |= rules.iter().any(|rule| match cilium {
                true => cilium_rule(rule, direction, namespace, wire),
                false => plain_rule(rule, direction, namespace, wire),
            });
        }
    }
    !closed || open
}

fn has_type(spec: &Value, direction: &str) -> bool {
    spec["policyTypes"].as_array().unwrap().iter().any(|kind| kind.as_str().unwrap().eq_ignore_ascii_case(direction))
}

fn plain_rule(rule: &Value, direction: &str, own: &str, wire: &Wire<'_>) -> bool {
    let peers = list(rule, if direction == "egress" { "to" } else { "from" });
    let ports = list(rule, "ports");
    let peer = peers.is_empty() || peers.iter().any(|peer| plain_peer(peer, own, wire.peer));
    let number = |port: &Value| port["port"] == wire.port && port["protocol"] == wire.protocol;
    peer && (ports.is_empty() || ports.iter().any(number))
}

fn plain_peer(rule: &Value, own: &str, peer: &Peer) -> bool {
    if rule["ipBlock"].is_object() {
        let except = list(&rule["ipBlock"], "except");
        return within_any(address_of(peer), &rule["ipBlock"]["cidr"], &except);
    }
    let Peer::Pod { namespace, labels, .. } = peer else { return false };
    let of_namespace = match &rule["namespaceSelector"] {
        Value::Null => *namespace == own,
        selector => selects(selector, &BTreeMap::from([("kubernetes.io/metadata.name", *namespace)])),
    };
    of_namespace && (rule["podSelector"].is_null() || selects(&rule["podSelector"], labels))
}

fn cilium_rule(rule: &Value, direction: &str, own: &str, wire: &Wire<'_>) -> bool {
    let known = ["toEndpoints", "toCIDR", "toCIDRSet", "toFQDNs", "toServices", "toPorts", "fromEndpoints"];
    assert!(rule.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{rule}");
    // An empty rule opens nothing; one of ports alone would open them for everybody.
    if rule.as_object().unwrap().is_empty() {
        return false;
    }
    let prefix = if direction == "egress" { "to" } else { "from" };
    let peers: Vec<_> = rule.as_object().unwrap().iter().filter(|(key, _)| *key != "toPorts").collect();
    let peer = peers.is_empty()
        || peers.iter().any(|(key, peers)| {
            let peers = peers.as_array().unwrap();
            peers.iter().any(|peer| cilium_peer(key.strip_prefix(prefix).unwrap(), peer, own, wire.peer))
        });
    let ports = list(rule, "toPorts");
    peer && (ports.is_empty() || ports.iter().any(|entry| cilium_ports(entry, wire)))
}

fn cilium_peer(kind: &str, rule: &Value, own: &str, peer: &Peer) -> bool {
    match (kind, peer) {
        ("Endpoints", Peer::Pod { namespace, labels, .. }) => {
            const NAMESPACE: &str = "k8s:io.kubernetes.pod.namespace";
            let mut labels = labels.clone();
            labels.insert(NAMESPACE, namespace);
            let names_it = !rule["matchLabels"][NAMESPACE].is_null();
            selects(rule, &labels) && (names_it || *namespace == own)
        }
        // Every pod may stand behind a service; without a namespace services of all namespaces are meant.
        ("Services", Peer::Pod { namespace, .. }) => {
            let of = &rule["k8sServiceSelector"]["namespace"];
            of.is_null() || of == namespace
        }
        ("CIDR", Peer::Address(_) | Peer::Site { .. }) => within_any(address_of(peer), rule, &[]),
        ("CIDRSet", Peer::Address(_) | Peer::Site { .. }) => {
            within_any(address_of(peer), &rule["cidr"], &list(rule, "except"))
        }
        ("FQDNs", Peer::Site { found_as, .. }) => dns_matches(rule, found_as),
        _ => false,
    }
}

fn cilium_ports(entry: &Value, wire: &Wire<'_>) -> bool {
    let ports = list(entry, "ports");
    assert!(!ports.is_empty() && ports.len() <= 40, "{entry}");
    let number = |port: &Value| {
        let protocol = &port["protocol"];
        port["port"].as_str().unwrap().parse() == Ok(wire.port) && (protocol == wire.protocol || protocol.is_null())
    };
    let rules = &entry["rules"];
    assert!(rules.is_null() || entry["serverNames"].is_null(), "refused without TLS termination: {entry}");
    let asked_for = match wire.peer {
        Peer::Site { asked_for, .. } => *asked_for,
        _ => "",
    };
    // A pod is asked for by whatever name the client likes.
    let any_name = matches!(wire.peer, Peer::Pod { .. });
    let names = list(entry, "serverNames");
    let named =
        names.is_empty() || any_name || names.iter().any(|name| pattern_matches(name.as_str().unwrap(), asked_for));
    let hosts = list(rules, "http");
    let hosted = hosts.is_empty() || hosts.iter().any(|rule| host_matches(rule["host"].as_str().unwrap(), asked_for));
    let questions = list(rules, "dns");
    let answered =
        questions.is_empty() || wire.question.is_some_and(|name| questions.iter().any(|rule| dns_matches(rule, name)));
    ports.iter().any(number) && named && hosted && answered
}

fn dns_matches(rule: &Value, name: &str) -> bool {
    match (&rule["matchName"], &rule["matchPattern"]) {
        (Value::String(wanted), Value::Null) => wanted == name,
        (Value::Null, Value::String(pattern)) => pattern == "*" || pattern_matches(pattern, name),
        _ => panic!("{rule}"),
    }
}

/// A star stands for any characters of one label.
fn pattern_matches(pattern: &str, name: &str) -> bool {
    let pattern = pattern.replace('.', "[.]").replace('*', "[-a-zA-Z0-9_]*");
    Regex::new(&format!("^{pattern}$")).unwrap().is_match(name)
}

fn host_matches(regex: &str, host: &str) -> bool {
    Regex::new(&format!("^(?:{regex})$")).unwrap().is_match(host)
}

fn selects(selector: &Value, labels: &BTreeMap<&'static str, &'static str>) -> bool {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let mut equal = equal.map(|(key, value)| labels.get(key.as_str()).copied() == value.as_str());
    let expressions = list(selector, "matchExpressions");
    equal.all(|holds| holds)
        && expressions.iter().all(|expression| {
            let value = labels.get(expression["key"].as_str().unwrap());
            match expression["operator"].as_str().unwrap() {
                "DoesNotExist" => value.is_none(),
                "In" => value.is_some_and(|value| list(expression, "values").iter().any(|wanted| wanted == value)),
                other => panic!("{other}"),
            }
        })
}

fn address_of(peer: &Peer) -> IpAddr {
    match peer {
        Peer::Pod { address, .. } | Peer::Address(address) | Peer::Site { address, .. } => *address,
    }
}

fn list(value: &Value, field: &str) -> Vec<Value> {
    value[field].as_array().cloned().unwrap_or_default()
}

fn within_any(address: IpAddr, cidr: &Value, except: &[Value]) -> bool {
    within(address, cidr.as_str().unwrap()) && !except.iter().any(|cidr| within(address, cidr.as_str().unwrap()))
}

/// Whether an address is in a network of its family.
pub fn within(address: IpAddr, cidr: &str) -> bool {
    let (network, length) = network(cidr);
    let shift = |bits: u32| bits - length;
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => u32::from(a).checked_shr(shift(32)) == u32::from(n).checked_shr(shift(32)),
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            u128::from(a).checked_shr(shift(128)) == u128::from(n).checked_shr(shift(128))
        }
        _ => false,
    }
}

/// A network: its first address, and the bits that all its addresses share.
pub fn network(cidr: &str) -> (IpAddr, u32) {
    let (network, length) = cidr.split_once('/').unwrap_or((cidr, if cidr.contains(':') { "128" } else { "32" }));
    (network.parse().unwrap(), length.parse().unwrap())
}
