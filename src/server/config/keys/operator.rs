//! The keys of the operator. On `chorus operator` their flags are without the name of the section, as operators of such
//! clusters know them; `chorus serve` takes them from files and the environment.

use super::{
    DefaultValue::{self, Derived, Unset, Value},
    Key,
    Kind::{self, Bool, List, Number, Text},
    not_empty,
};
use crate::server::{
    config::{
        operator::{Bind, Domain, InternalService, NamespaceName, Pair},
        values::{Network, check},
    },
    quantity::Quantity,
};

const fn key(name: &'static str, flag: &'static str, kind: Kind, default: DefaultValue, help: &'static str) -> Key {
    Key::new(name, flag, kind, default, help)
}

/// The longest timeout in seconds: a week.
const WEEK: u32 = 7 * 24 * 60 * 60;

/// The keys of the section `operator`.
pub static KEYS: &[Key] = &[
    key(
        "operator.enabled",
        "operator",
        Bool,
        Value("false"),
        "Whether `chorus serve` runs the Kubernetes operator in its process.",
    ),
    key(
        "operator.kubeconfig",
        "kubeconfig",
        Text("FILE"),
        Derived("the service account in a cluster, else $KUBECONFIG or ~/.kube/config"),
        "How to reach the API server.",
    )
    .rule(not_empty),
    key(
        "operator.namespace",
        "namespace",
        Text("NAME"),
        Derived("the namespace of the pod, else `chorus`"),
        "The namespace of the operator, where its lease is.",
    )
    .rule(check::<NamespaceName>),
    key(
        "operator.leader_elect",
        "leader-elect",
        Bool,
        Value("true"),
        "Whether the operator acts only while it holds the lease, so that one of several replicas acts.",
    ),
    key(
        "operator.concurrency",
        "concurrency",
        Number(1, 256),
        Value("8"),
        "How many resources the operator works on at a time.",
    ),
    key(
        "operator.health_probe_bind_address",
        "health-probe-bind-address",
        Text("ADDRESS"),
        Value(":8081"),
        "Where `chorus operator` answers /healthz and /readyz. `0`: nowhere.",
    )
    .rule(check::<Bind>),
    key(
        "operator.metrics_bind_address",
        "metrics-bind-address",
        Text("ADDRESS"),
        Value("0"),
        "Where `chorus operator` answers /metrics for Prometheus, without TLS. `0`: nowhere.",
    )
    .rule(check::<Bind>),
    key(
        "operator.registry",
        "registry",
        Text("HOST"),
        Value("harbor.build.chorus-tre.local"),
        "Registry of the images of servers, apps and set-up, where nothing else is said. Empty: none.",
    ),
    key(
        "operator.apps_repository",
        "apps-repository",
        Text("PATH"),
        Value("apps"),
        "Path of the server image in the registry.",
    ),
    key(
        "operator.services_repository",
        "services-repository",
        Text("PATH"),
        Value("services"),
        "Path of the charts of workspace services in the registry. Not used yet: services of workspaces are not built.",
    ),
    key(
        "operator.xpra_server_image",
        "xpra-server-image",
        Text("IMAGE"),
        Derived("`xpra-server` in the registry and repository of apps"),
        "The image of desktop servers, without tag.",
    ),
    key(
        "operator.init_container_image",
        "init-container-image",
        Text("IMAGE"),
        Derived("`apps/app-init` in the registry"),
        "The image that sets up the user of an app, without tag.",
    ),
    key(
        "operator.socat_image",
        "socat-image",
        Text("IMAGE"),
        Value("alpine/socat:1.8.0.0"),
        "The image of the X11 relay, with tag.",
    )
    .rule(not_empty),
    key(
        "operator.setup_image",
        "setup-image",
        Text("IMAGE"),
        Value("busybox:1.37"),
        "The image of the Jobs that make the folders of a workspace on a file system, with tag.",
    )
    .rule(not_empty),
    key(
        "operator.juicefs_secret_name",
        "juicefs-secret-name",
        Text("NAME"),
        Value("juicefs-secret"),
        "The Secret of the object storage (JuiceFS); its key `name` is the file system.",
    )
    .rule(not_empty),
    key(
        "operator.juicefs_secret_namespace",
        "juicefs-secret-namespace",
        Text("NAME"),
        Value("kube-system"),
        "The namespace of that Secret.",
    )
    .rule(check::<NamespaceName>),
    key(
        "operator.nfs_secret_name",
        "nfs-secret-name",
        Text("NAME"),
        Value("nfs-secret"),
        "The Secret of the NFS server; its keys `server` and `share` say which.",
    )
    .rule(not_empty),
    key(
        "operator.nfs_secret_namespace",
        "nfs-secret-namespace",
        Text("NAME"),
        Value("kube-system"),
        "The namespace of that Secret.",
    )
    .rule(check::<NamespaceName>),
    key(
        "operator.local_storage_enabled",
        "local-storage-enabled",
        Bool,
        Value("false"),
        "Whether workbenches may mount a folder of their node. For development only.",
    ),
    key(
        "operator.local_storage_host_path",
        "local-storage-host-path",
        Text("DIRECTORY"),
        Value("/tmp/workbench-local-storage"),
        "That folder.",
    )
    .rule(absolute),
    key(
        "operator.debug_mode_enabled",
        "debug-mode-enabled",
        Bool,
        Value("false"),
        "Run servers and apps as privileged root containers. For development only: it isolates nothing.",
    ),
    key(
        "operator.workbench_priority_class_name",
        "workbench-priority-class-name",
        Text("NAME"),
        Unset,
        "PriorityClass of server pods.",
    ),
    key(
        "operator.application_priority_class_name",
        "application-priority-class-name",
        Text("NAME"),
        Unset,
        "PriorityClass of app pods.",
    ),
    key(
        "operator.workbench_startup_timeout",
        "workbench-startup-timeout",
        Number(0, WEEK),
        Value("600"),
        "Seconds that a server may take to start. 0: for ever.",
    ),
    key(
        "operator.application_startup_timeout",
        "application-startup-timeout",
        Number(0, WEEK),
        Value("600"),
        "Seconds that an app may take to start; then it has failed. 0: for ever.",
    ),
    key(
        "operator.workbench_cpu_limit",
        "workbench-cpu-limit",
        Text("QUANTITY"),
        Unset,
        "CPU limit of server containers, where a Workbench says nothing about resources.",
    )
    .rule(quantity),
    key(
        "operator.workbench_memory_limit",
        "workbench-memory-limit",
        Text("QUANTITY"),
        Unset,
        "Likewise: memory limit.",
    )
    .rule(quantity),
    key("operator.workbench_cpu_request", "workbench-cpu-request", Text("QUANTITY"), Unset, "Likewise: CPU request.")
        .rule(quantity),
    key(
        "operator.workbench_memory_request",
        "workbench-memory-request",
        Text("QUANTITY"),
        Unset,
        "Likewise: memory request.",
    )
    .rule(quantity),
    key("operator.pvc_labels", "pvc-label", List("KEY=VALUE"), Value(""), "Labels of every volume claim.")
        .rule(check::<Pair>),
    key(
        "operator.global_internal_services",
        "global-internal-service",
        List("FQDN:PORT[,PORT]"),
        Value(""),
        "Services of the platform that every workspace reaches, through the gateways.",
    )
    .rule(internal_service),
    key(
        "operator.allowed_ingress_namespaces",
        "allowed-ingress-namespace",
        List("NAME"),
        Value("backend, prometheus"),
        "Namespaces whose pods may connect into workspaces. `none` alone: no namespace.",
    )
    .rule(check::<NamespaceName>),
    key(
        "operator.allowed_egress_namespaces",
        "allowed-egress-namespace",
        List("NAME"),
        Value("envoy-gateway-system, ingress-nginx"),
        "Namespaces of the gateways behind which the internal services are. `none` alone: no namespace.",
    )
    .rule(check::<NamespaceName>),
    key(
        "operator.envoy_gateway_namespaces",
        "envoy-gateway-namespace",
        List("NAME"),
        Derived("envoy-gateway-system, if it is one of the gateways' namespaces"),
        "Those of them whose gateway listens 10000 ports higher, below port 1024. `none` alone: no namespace.",
    )
    .rule(check::<NamespaceName>),
    key(
        "operator.dns_servers",
        "dns-server",
        List("NETWORK"),
        Value(""),
        "Addresses of DNS servers outside kube-system that pods ask, such as the cache of each node.",
    )
    .rule(check::<Network>),
    key("operator.cluster_domain", "cluster-domain", Text("NAME"), Value("cluster.local"), "The cluster's own domain.")
        .rule(check::<Domain>),
    key(
        "operator.license_secret_name",
        "license-secret-name",
        Text("NAME"),
        Unset,
        "The Secret with licences, looked up in the namespace of each workbench.",
    ),
    key(
        "operator.require_network_policy",
        "require-network-policy",
        Bool,
        Value("true"),
        "Whether no session starts in a workspace whose network policy is not in force. Without, sessions may be open to the \
         network.",
    ),
];

fn absolute(text: &str) -> Result<(), String> {
    let whole = text.starts_with('/') && !text.split('/').any(|part| matches!(part, "." | ".."));
    if whole { Ok(()) } else { Err("is not an absolute path".to_owned()) }
}

fn quantity(text: &str) -> Result<(), String> {
    Quantity::parse(text).map(drop).ok_or_else(|| "is not a quantity, such as 500m, 2 or 4Gi".to_owned())
}

/// One element, or further ports of the element before it.
fn internal_service(text: &str) -> Result<(), String> {
    if text.parse::<u16>().is_ok_and(|port| port > 0) { Ok(()) } else { check::<InternalService>(text) }
}
