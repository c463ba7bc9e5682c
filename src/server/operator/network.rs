//! Parts of plain NetworkPolicies, and which addresses are public.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec},
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{live::Kind, plan::Object};

/// The public addresses: networks, each without those inside it that are special (IANA special-purpose registries, RFC 6890).
///
/// Of IPv6 it is the global unicast range alone. So addresses that carry an IPv4 address (mapped, NAT64), unique local,
/// link-local and multicast ones are outside by construction; they could not be listed as exceptions of `::/0` either, since
/// API servers refuse mapped prefixes.
pub const PUBLIC: [(&str, &[&str]); 2] = [
    (
        "0.0.0.0/0",
        &[
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
            // The host's own services at Azure, metadata among them, at a public address.
            "168.63.129.16/32",
        ],
    ),
    // Teredo and other IETF protocols, documentation, 6to4 (carries IPv4 addresses).
    ("2000::/3", &["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"]),
];

/// The ports of the web.
pub const WEB: [u16; 2] = [80, 443];
/// The port of DNS.
pub const DNS: u16 = 53;
/// The namespace of the cluster's DNS servers.
pub const DNS_NAMESPACE: &str = "kube-system";

/// A NetworkPolicy as an object to apply.
pub fn object(metadata: ObjectMeta, spec: NetworkPolicySpec) -> Object {
    let (api_version, kind, _) = Kind::NetworkPolicy.names();
    // The types of Kubernetes are structs and maps with text keys: they always become JSON.
    let mut value = serde_json::to_value(NetworkPolicy { metadata, spec: Some(spec) }).unwrap_or_default();
    value["apiVersion"] = api_version.into();
    value["kind"] = kind.into();
    Object { kind: Kind::NetworkPolicy, value }
}

/// Pods of the policy's own namespace.
pub fn own(pods: LabelSelector) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(pods), ..NetworkPolicyPeer::default() }
}

/// All pods of a namespace.
pub fn pods_of(namespace: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(with_label("kubernetes.io/metadata.name", namespace)),
        ..NetworkPolicyPeer::default()
    }
}

/// What has this label.
pub fn with_label(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
        ..LabelSelector::default()
    }
}

/// What has this label with one of these values, or, for `DoesNotExist`, without any.
pub fn expression(key: &str, operator: &str, values: Option<Vec<String>>) -> LabelSelector {
    LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: key.to_owned(),
            operator: operator.to_owned(),
            values,
        }]),
        ..LabelSelector::default()
    }
}

/// A port.
pub fn port(number: u16, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number.into())),
        protocol: Some(protocol.to_owned()),
        ..NetworkPolicyPort::default()
    }
}
