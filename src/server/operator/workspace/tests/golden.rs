use serde_json::{Value, json};

use super::{settings, workspace};
use crate::server::operator::{
    api::workspace::NetworkMode::{Airgapped, FqdnAllowlist, Open},
    network::PUBLIC,
    settings::Settings,
    workspace::{Reach, cilium, evaluator::network, fqdn, plain},
};

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "namespace": "w1",
        "labels": { "workspace": "w1", "app.kubernetes.io/managed-by": "chorus-operator" },
        "ownerReferences": [{
            "apiVersion": "default.chorus-tre.ch/v1alpha1", "kind": "Workspace", "name": "w1", "uid": "uid-1",
            "controller": true, "blockOwnerDeletion": true
        }],
    })
}

/// The rule for DNS that answers for the cluster's own names and for these.
fn dns(more: Value) -> Value {
    let mut names = vec![
        json!({ "matchPattern": "*.cluster.local" }),
        json!({ "matchPattern": "*.*.cluster.local" }),
        json!({ "matchPattern": "*.*.*.cluster.local" }),
        json!({ "matchPattern": "*.*.*.*.cluster.local" }),
        json!({ "matchPattern": "*.*.*.*.*.cluster.local" }),
        json!({ "matchPattern": "*.*.*.*.*.*.cluster.local" }),
        json!({ "matchPattern": "*.*.*.*.*.*.*.cluster.local" }),
    ];
    names.extend(more.as_array().unwrap().clone());
    dns_rule(json!(names))
}

fn dns_rule(names: Value) -> Value {
    json!({
        "toEndpoints": [{ "matchLabels": { "k8s:io.kubernetes.pod.namespace": "kube-system" } }],
        "toPorts": [{
            "ports": [{ "port": "53", "protocol": "UDP" }, { "port": "53", "protocol": "TCP" }],
            "rules": { "dns": names }
        }]
    })
}

/// The whole policy, with these rules between those of all modes.
fn policy(dns: Value, more: Value) -> Value {
    let mut egress = vec![
        dns,
        json!({ "toEndpoints": [{ "matchLabels": { "k8s:io.kubernetes.pod.namespace": "w1" } }] }),
        json!({ "toServices": [{ "k8sServiceSelector": { "selector": { "matchLabels": {} }, "namespace": "w1" } }] }),
    ];
    egress.extend(more.as_array().unwrap().clone());
    json!({
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": metadata("w1-netpol"),
        "specs": [
            { "endpointSelector": {}, "ingress": [{}], "egress": egress },
            {
                "endpointSelector": { "matchExpressions": [{ "key": "workbench", "operator": "DoesNotExist" }] },
                "ingress": [{ "fromEndpoints": [
                    { "matchLabels": { "k8s:io.kubernetes.pod.namespace": "w1" } },
                    { "matchLabels": { "k8s:io.kubernetes.pod.namespace": "backend" } },
                    { "matchLabels": { "k8s:io.kubernetes.pod.namespace": "prometheus" } }
                ] }]
            }
        ]
    })
}

fn same(found: &Value, wanted: &Value) {
    assert_eq!(found, wanted, "\n{found:#}\n{wanted:#}");
}

fn listed(names: &[&str]) -> Reach {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    Reach::Names(fqdn::names(&names).unwrap())
}

#[test]
fn air_gapped() {
    let workspace = workspace(Airgapped, &[]);
    let wanted = policy(dns(json!([])), json!([]));
    same(&cilium::policy(&workspace, &Reach::Nothing, &Settings::default()).value, &wanted);
    same(&cilium::policy(&workspace, &listed(&[]), &Settings::default()).value, &wanted);
}

#[test]
fn open() {
    let web = json!([{
        "toCIDRSet": [
            { "cidr": "0.0.0.0/0", "except": [
                "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
                "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
                "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"
            ] },
            { "cidr": "2000::/3", "except": ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"] }
        ],
        "toPorts": [{ "ports": [{ "port": "80", "protocol": "TCP" }, { "port": "443", "protocol": "TCP" }] }]
    }]);
    let wanted = policy(dns_rule(json!([{ "matchPattern": "*" }])), web);
    same(&cilium::policy(&workspace(Open, &[]), &Reach::Web, &Settings::default()).value, &wanted);
}

#[test]
fn allow_list() {
    let names = json!([{ "matchName": "example.com" }, { "matchPattern": "*.corp.internal" }]);
    let rules = json!([
        {
            "toFQDNs": names,
            "toPorts": [{
                "ports": [{ "port": "443", "protocol": "TCP" }],
                "serverNames": ["example.com", "*.corp.internal"]
            }]
        },
        {
            "toFQDNs": names,
            "toPorts": [{
                "ports": [{ "port": "80", "protocol": "TCP" }],
                "rules": { "http": [
                    { "host": "example\\.com(:80)?" }, { "host": "[-a-zA-Z0-9_]+\\.corp\\.internal(:80)?" }
                ] }
            }]
        }
    ]);
    let reach = listed(&["Example.com", "*.corp.internal"]);
    let found = cilium::policy(&workspace(FqdnAllowlist, &[]), &reach, &Settings::default());
    same(&found.value, &policy(dns(names), rules));
}

#[test]
fn internal_services_come_before_the_rules_of_the_mode() {
    let gateway = |namespace: &str| json!([{ "matchLabels": { "k8s:io.kubernetes.pod.namespace": namespace } }]);
    let tls = |namespace: &str, port: &str| {
        let ports = json!([{ "port": port, "protocol": "TCP" }]);
        json!({ "toEndpoints": gateway(namespace), "toPorts": [{ "ports": ports, "serverNames": ["git.int.example"] }] })
    };
    let other = |namespace: &str, port: &str| {
        let ports = json!([{ "port": port, "protocol": "TCP" }]);
        json!({ "toEndpoints": gateway(namespace), "toPorts": [{ "ports": ports }] })
    };
    let rules = json!([
        tls("envoy-gateway-system", "10443"),
        other("envoy-gateway-system", "10022"),
        tls("ingress-nginx", "443"),
        other("ingress-nginx", "22"),
    ]);
    let settings = settings(&[("git.int.example", &[443, 22])]);
    let found = cilium::policy(&workspace(Airgapped, &[]), &Reach::Nothing, &settings);
    same(&found.value, &policy(dns(json!([{ "matchName": "git.int.example" }])), rules));
}

/// Per setting: how many egress rules there are, and the ports behind the names of the gateway that listens elsewhere.
#[test]
fn rules_of_internal_services() {
    let egress = |settings: &Settings| {
        let policy = cilium::policy(&workspace(Airgapped, &[]), &Reach::Nothing, settings).value;
        policy["specs"][0]["egress"].as_array().unwrap().clone()
    };
    let many: Vec<u16> = (2000..2100).collect();
    type Services<'a> = &'a [(&'a str, &'a [u16])];
    let cases: [(&str, Services<'_>, usize); 5] = [
        ("none", &[], 3),
        ("no port is 443", &[("a.x", &[])], 5),
        ("names only where TLS is", &[("a.x", &[443]), ("b.x", &[22])], 7),
        ("the same name twice", &[("a.x", &[443]), ("a.x", &[443])], 5),
        ("many ports", &[("a.x", &many)], 5),
    ];
    for (why, services, count) in cases {
        let rules = egress(&settings(services));
        assert_eq!(rules.len(), count, "{why}: {rules:#?}");
        for rule in &rules[3..] {
            for entry in rule["toPorts"].as_array().unwrap() {
                assert!(entry["ports"].as_array().unwrap().len() <= 40, "{why}");
                assert!(entry["serverNames"].is_null() || entry["serverNames"] == json!(["a.x"]), "{why}: {entry}");
            }
        }
    }
    let none = Settings { egress_namespaces: Vec::new(), ..settings(&[("a.x", &[443])]) };
    assert_eq!(egress(&none), egress(&Settings::default()), "no gateway, no rule and no name");
    let envoy =
        Settings { egress_namespaces: vec!["envoy-gateway-system".into()], ..settings(&[("a.x", &[22, 10022, 8443])]) };
    let ports: Vec<_> =
        egress(&envoy)[3]["toPorts"][0]["ports"].as_array().unwrap().iter().map(|p| p["port"].clone()).collect();
    assert_eq!(ports, ["8443", "10022"], "privileged ports are elsewhere, others are not");
}

#[test]
fn dns_servers_elsewhere_answer_for_the_same_names() {
    let settings = Settings {
        dns_addresses: vec!["169.254.20.10/32".to_owned()],
        cluster_domain: "k8s.example".to_owned(),
        ..Settings::default()
    };
    let policy = cilium::policy(&workspace(Airgapped, &[]), &Reach::Nothing, &settings).value;
    let egress = &policy["specs"][0]["egress"];
    assert_eq!(egress[1]["toCIDR"], json!(["169.254.20.10/32"]));
    assert_eq!(egress[1]["toPorts"], egress[0]["toPorts"]);
    assert_eq!(egress[0]["toPorts"][0]["rules"]["dns"][0], json!({ "matchPattern": "*.k8s.example" }));
}

#[test]
fn without_cilium() {
    let of = |namespace: &str| json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } } });
    let opening = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata("w1-netpol-ingress"),
        "spec": {
            "podSelector": { "matchExpressions": [{ "key": "workbench", "operator": "DoesNotExist" }] },
            "policyTypes": ["Ingress"],
            "ingress": [{ "from": [{ "podSelector": {} }, of("backend"), of("prometheus")] }]
        }
    });
    let mut egress = vec![
        json!({ "to": [of("kube-system")], "ports": [{ "port": 53, "protocol": "UDP" }, { "port": 53, "protocol": "TCP" }] }),
        json!({ "to": [{ "podSelector": {} }] }),
    ];
    for web in [false, true] {
        if web {
            let blocks: Vec<_> =
                PUBLIC.iter().map(|(cidr, except)| json!({ "ipBlock": { "cidr": cidr, "except": except } })).collect();
            egress.push(json!({
                "to": blocks, "ports": [{ "port": 80, "protocol": "TCP" }, { "port": 443, "protocol": "TCP" }]
            }));
        }
        let closing = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata("w1-netpol"),
            "spec": { "podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": egress }
        });
        let found = plain::policies(&workspace(Airgapped, &[]), web, &Settings::default());
        assert_eq!(found.len(), 2);
        same(&found[0].value, &closing);
        same(&found[1].value, &opening);
    }
}

/// What API servers and Cilium check: networks begin where they say, and exceptions lie inside, strictly.
#[test]
fn networks_are_well_formed() {
    for (cidr, except) in PUBLIC {
        let (outer, length) = network(cidr);
        for (address, inner) in except.iter().map(|cidr| network(cidr)) {
            assert!(crate::server::operator::workspace::evaluator::within(address, cidr), "{address} in {cidr}");
            assert!(inner > length && address.is_ipv4() == outer.is_ipv4(), "{address}/{inner}");
            let host_bits = match address {
                std::net::IpAddr::V4(a) => u128::from(u32::from(a).checked_shl(inner).unwrap_or(0)),
                std::net::IpAddr::V6(a) => u128::from(a).checked_shl(inner).unwrap_or(0),
            };
            assert_eq!(host_bits, 0, "{address}/{inner}");
        }
    }
}
