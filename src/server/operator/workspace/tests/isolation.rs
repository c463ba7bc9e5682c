use proptest::prelude::*;
use serde_json::Value;

use super::{settings, workspace};
use crate::server::operator::{
    api::{
        Workbench,
        workspace::NetworkMode::{self, Airgapped, FqdnAllowlist, Open},
    },
    settings::Settings,
    workbench::policy::workbench_policy,
    workspace::{
        Reach, cilium,
        evaluator::{Peer, address, allowed, answered, pod, site},
        fqdn, plain,
    },
};

/// The policies of the workspace `w1` with the workbenches `wb1` and `wb2`. Of the latter an app of the former operator runs.
fn world(mode: NetworkMode, names: &[&str], with_cilium: bool, settings: &Settings) -> Vec<Value> {
    let workspace = workspace(mode, names);
    let reach = match mode {
        Open => Reach::Web,
        Airgapped => Reach::Nothing,
        FqdnAllowlist => Reach::Names(fqdn::names(&workspace.spec.allowed_fqdns).unwrap()),
    };
    let mut policies = match with_cilium {
        true => vec![cilium::policy(&workspace, &reach, settings)],
        false => plain::policies(&workspace, reach == Reach::Web, settings),
    };
    for (name, former) in [("wb1", vec![]), ("wb2", vec!["wb2-a-old".to_owned()])] {
        let mut workbench = Workbench::new(name, Default::default());
        workbench.metadata.namespace = Some("w1".to_owned());
        policies.push(workbench_policy(&workbench, settings, &former));
    }
    policies.into_iter().map(|object| object.value).collect()
}

/// Every mode that a cluster with or without Cilium can bring into force.
fn worlds(settings: &Settings) -> Vec<(String, Vec<Value>)> {
    let modes = [(Open, true), (Airgapped, true), (FqdnAllowlist, true), (Open, false), (Airgapped, false)];
    let world = |(mode, with_cilium)| {
        (
            format!("{mode:?}, with Cilium: {with_cilium}"),
            world(mode, &["a.example", "*.b.example"], with_cilium, settings),
        )
    };
    modes.into_iter().map(world).collect()
}

fn server(workbench: &'static str) -> Peer {
    pod("w1", &[("workbench", workbench), ("chorus-tre.ch/workbench", workbench), ("pod-template-hash", "1")])
}

fn app(workbench: &'static str) -> Peer {
    pod(
        "w1",
        &[("chorus-tre.ch/workbench", workbench), ("chorus-tre.ch/app", "a"), ("batch.kubernetes.io/job-name", "j")],
    )
}

fn former_app(job: &'static str) -> Peer {
    pod("w1", &[("batch.kubernetes.io/job-name", job), ("job-name", job)])
}

fn chart() -> Peer {
    pod("w1", &[("app.kubernetes.io/name", "db")])
}

#[test]
fn servers_hear_their_own_apps_and_the_gateways() {
    // who, whether 8080 and 6080 of wb1's server, and of wb2's server
    let table: Vec<(&str, Peer, [bool; 2], [bool; 2])> = vec![
        ("an app of wb1", app("wb1"), [false, true], [false, false]),
        ("an app of wb2", app("wb2"), [false, false], [false, true]),
        ("the server of wb1", server("wb1"), [false, true], [false, false]),
        ("the server of wb2", server("wb2"), [false, false], [false, true]),
        ("an app of wb2 from before", former_app("wb2-a-old"), [false, false], [false, true]),
        ("another Job from before", former_app("wb1-a-old"), [false, false], [false, false]),
        ("a service of the workspace", chart(), [false, false], [false, false]),
        ("the backend", pod("backend", &[]), [true, false], [true, false]),
        (
            "the backend, under false labels",
            pod("backend", &[("chorus-tre.ch/workbench", "wb1")]),
            [true, false],
            [true, false],
        ),
        ("monitoring", pod("prometheus", &[]), [true, false], [true, false]),
        ("another workspace", pod("w2", &[("chorus-tre.ch/workbench", "wb1")]), [false, false], [false, false]),
        ("a system pod", pod("kube-system", &[]), [false, false], [false, false]),
        ("a gateway to services", pod("ingress-nginx", &[]), [false, false], [false, false]),
        ("an address of the cluster", address("10.0.0.1"), [false, false], [false, false]),
        ("an address outside", address("93.184.216.34"), [false, false], [false, false]),
    ];
    for (world, policies) in worlds(&Settings::default()) {
        for (who, peer, first, second) in &table {
            for (workbench, expected) in [("wb1", first), ("wb2", second)] {
                for (port, expected) in [8080, 6080].into_iter().zip(expected) {
                    let found = allowed(&policies, peer, &server(workbench), port, "TCP");
                    assert_eq!(found, *expected, "{who} to {port} of {workbench}; {world}");
                }
                for (port, protocol) in [(22, "TCP"), (80, "TCP"), (8081, "TCP"), (6080, "UDP"), (8080, "UDP")] {
                    let found = allowed(&policies, peer, &server(workbench), port, protocol);
                    assert!(!found, "{who} to {port}/{protocol} of {workbench}; {world}");
                }
            }
        }
    }
}

/// A policy that is not there opens nothing: until a workbench has its own, its server hears nobody.
#[test]
fn a_server_without_a_policy_of_its_own_hears_nobody() {
    for (world, mut policies) in worlds(&Settings::default()) {
        policies.retain(|policy| policy["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("w1-")));
        for peer in [app("wb1"), server("wb1"), chart(), pod("backend", &[]), address("93.184.216.34")] {
            for port in [6080, 8080] {
                assert!(!allowed(&policies, &peer, &server("wb1"), port, "TCP"), "{peer:?} to {port}; {world}");
            }
        }
    }
}

#[test]
fn without_gateways_nobody_reaches_the_page() {
    let settings = Settings { ingress_namespaces: Vec::new(), ..Settings::default() };
    for (world, policies) in worlds(&settings) {
        for peer in [pod("backend", &[]), app("wb1"), chart(), address("93.184.216.34")] {
            assert!(!allowed(&policies, &peer, &server("wb1"), 8080, "TCP"), "{peer:?}; {world}");
            assert_eq!(
                allowed(&policies, &peer, &chart(), 5432, "TCP"),
                matches!(peer, Peer::Pod { namespace: "w1", .. })
            );
        }
    }
}

#[test]
fn a_namespace_is_open_inside_and_closed_towards_others() {
    let inside = [app("wb1"), app("wb2"), chart(), former_app("x")];
    for (world, policies) in worlds(&Settings::default()) {
        for (from, to) in inside.iter().flat_map(|from| inside.iter().map(move |to| (from, to))) {
            assert!(allowed(&policies, from, to, 5432, "TCP"), "{from:?} to {to:?}; {world}");
        }
        for other in ["w2", "default", "monitoring", "ingress-nginx", "envoy-gateway-system", "kube-system"] {
            for inside in inside.iter().chain([&server("wb1")]) {
                for port in [22, 80, 443, 10443, 10250, 6443] {
                    assert!(
                        !allowed(&policies, inside, &pod(other, &[]), port, "TCP"),
                        "to {port} of {other}; {world}"
                    );
                    assert!(
                        !allowed(&policies, &pod(other, &[]), inside, port, "TCP"),
                        "from {other} to {port}; {world}"
                    );
                }
            }
        }
        for gateway in ["backend", "prometheus"] {
            assert!(allowed(&policies, &pod(gateway, &[]), &chart(), 5432, "TCP"), "{world}");
            assert!(!allowed(&policies, &chart(), &pod(gateway, &[]), 443, "TCP"), "the way back is not open; {world}");
        }
    }
}

/// Addresses that no mode reaches, on any port.
const CLOSED: [&str; 31] = [
    // Metadata of clouds.
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
    // Nodes, services, the API server.
    "10.96.0.1",
    "10.0.0.1",
    "172.20.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "127.0.0.1",
    "0.0.0.0",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    // The same as IPv6, mapped, translated, tunnelled.
    "::1",
    "::",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "2002:a00:1::1",
    "2001:0:a00:1::1",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "ff02::1",
];

#[test]
fn what_no_mode_reaches() {
    for (world, policies) in worlds(&Settings::default()) {
        for inside in [app("wb1"), server("wb1"), chart()] {
            for to in CLOSED {
                for port in [22, 53, 80, 443, 6443, 10250] {
                    for protocol in ["TCP", "UDP"] {
                        let found = allowed(&policies, &inside, &address(to), port, protocol);
                        assert!(!found, "{to} {port}/{protocol}; {world}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_web() {
    for (world, policies) in worlds(&Settings::default()) {
        let open = world.starts_with("Open");
        for to in
            ["93.184.216.34", "1.1.1.1", "172.32.0.1", "172.15.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"]
        {
            for (port, expected) in [(80, open), (443, open), (22, false), (53, false), (8443, false)] {
                assert_eq!(
                    allowed(&policies, &app("wb1"), &address(to), port, "TCP"),
                    expected,
                    "{to}:{port}; {world}"
                );
                assert!(!allowed(&policies, &app("wb1"), &address(to), port, "UDP"), "{to}:{port}/UDP; {world}");
            }
        }
    }
}

#[test]
fn listed_names_alone() {
    let policies = world(FqdnAllowlist, &["a.example", "*.b.example"], true, &Settings::default());
    let table = [
        ("a.example", "a.example", true),
        ("x.b.example", "x.b.example", true),
        ("b.example", "b.example", false),
        ("x.y.b.example", "x.y.b.example", false),
        ("x.a.example", "x.a.example", false),
        ("axexample", "axexample", false),
        ("evil.example", "evil.example", false),
        ("a.example.evil", "a.example.evil", false),
        ("a.example", "evil.example", false),
        ("evil.example", "a.example", false),
        ("a.example", "", false),
    ];
    for (found_as, asked_for, expected) in table {
        for port in [80, 443] {
            let found = allowed(&policies, &app("wb1"), &site(found_as, asked_for), port, "TCP");
            assert_eq!(found, expected, "{asked_for} at the address of {found_as}:{port}");
        }
        for port in [22, 53, 8080, 8443] {
            assert!(!allowed(&policies, &app("wb1"), &site(found_as, asked_for), port, "TCP"), "{found_as}:{port}");
        }
    }
    let empty = world(FqdnAllowlist, &[], true, &Settings::default());
    assert_eq!(empty, world(Airgapped, &[], true, &Settings::default()));
}

#[test]
fn dns_answers_for_names_that_may_be_used() {
    let settings =
        Settings { dns_addresses: vec!["169.254.20.10/32".to_owned()], ..settings(&[("git.int.example", &[443])]) };
    let servers = [pod("kube-system", &[("k8s-app", "kube-dns")]), address("169.254.20.10")];
    // name, whether in the modes Open, Airgapped, FQDNAllowlist
    let table = [
        ("wb1.w1.svc.cluster.local", [true, true, true]),
        ("wb1.w1.w1.svc.cluster.local", [true, true, true]),
        ("_http._tcp.wb1.w1.svc.cluster.local", [true, true, true]),
        ("a.b.c.d.example.w1.svc.cluster.local", [true, true, true]),
        ("git.int.example", [true, true, true]),
        ("a.example", [true, false, true]),
        ("x.b.example", [true, false, true]),
        ("x.y.b.example", [true, false, false]),
        ("b.example", [true, false, false]),
        ("secret.evil.example", [true, false, false]),
        ("secret.evil.cluster.local.evil.example", [true, false, false]),
        ("1.0.0.10.in-addr.arpa", [true, false, false]),
        ("local", [true, false, false]),
    ];
    for (number, mode) in [Open, Airgapped, FqdnAllowlist].into_iter().enumerate() {
        let policies = world(mode, &["a.example", "*.b.example"], true, &settings);
        for server in &servers {
            for (name, expected) in &table {
                assert_eq!(answered(&policies, &app("wb1"), server, name), expected[number], "{name} in {mode:?}");
            }
        }
        for other in [address("8.8.8.8"), address("10.0.0.2"), pod("default", &[]), pod("w2", &[])] {
            assert!(!answered(&policies, &app("wb1"), &other, "a.example"), "{other:?} in {mode:?}");
        }
    }
    for (mode, other) in [(Open, address("8.8.8.8")), (Airgapped, pod("default", &[]))] {
        let policies = world(mode, &[], false, &settings);
        assert!(servers.iter().all(|server| answered(&policies, &app("wb1"), server, "wb1.w1.svc.cluster.local")));
        assert!(!answered(&policies, &app("wb1"), &other, "a.example"), "without Cilium, {mode:?}");
    }
}

#[test]
fn internal_services_at_their_gateways() {
    let settings =
        settings(&[("git.int.example", &[443, 22]), ("wiki.int.example", &[443]), ("db.int.example", &[5432])]);
    for (world, policies) in worlds(&settings) {
        let with_cilium = world.ends_with("true");
        let table = [
            ("envoy-gateway-system", vec![10443, 10022, 5432]),
            ("ingress-nginx", vec![443, 22, 5432]),
            ("default", vec![]),
            ("w2", vec![]),
            ("kube-system", vec![]),
        ];
        for (namespace, open) in table {
            for port in [22, 80, 443, 5432, 10022, 10443, 15432, 8080] {
                let found = allowed(&policies, &app("wb1"), &pod(namespace, &[]), port, "TCP");
                assert_eq!(found, with_cilium && open.contains(&port), "{namespace}:{port}; {world}");
            }
        }
    }
}

proptest! {
    /// What is public is decided here by other means than in the policy: by the octets.
    #[test]
    fn open_reaches_no_special_address(bits: u32) {
        let [a, b, c, _] = bits.to_be_bytes();
        let private = matches!(
            (a, b, c),
            (0 | 10 | 127 | 224.., _, _) | (100, 64..=127, _) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _)
                | (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113)
        );
        let to = Peer::Address(std::net::Ipv4Addr::from(bits).into());
        for with_cilium in [true, false] {
            let policies = world(Open, &[], with_cilium, &Settings::default());
            let found = allowed(&policies, &app("wb1"), &to, 443, "TCP");
            prop_assert_eq!(found, !private && bits != 0xA83F_8110, "{:?}", to);
        }
    }

    /// No IPv6 address outside the global unicast range is reached.
    #[test]
    fn open_reaches_global_unicast_alone(bits: u128) {
        let to = Peer::Address(std::net::Ipv6Addr::from(bits).into());
        let policies = world(Open, &[], true, &Settings::default());
        prop_assert!(bits >> 125 == 1 || !allowed(&policies, &app("wb1"), &to, 443, "TCP"));
    }
}
