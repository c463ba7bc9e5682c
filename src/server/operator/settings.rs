//! What the operator is told: images, timeouts, storage, namespaces. Every field is a key of the section `operator`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;

/// The settings of the operator, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Registry host of server, apps and set-up images; empty for none.
    pub registry: String,
    /// Path in front of the server image in that registry.
    pub apps_repository: String,
    /// Full name of the server image without tag; derived from registry and repository when absent.
    pub xpra_server_image: Option<String>,
    /// Full name of the image that sets up the user of an app, without tag.
    pub init_container_image: Option<String>,
    /// The X11 relay image, with tag.
    pub socat_image: String,
    /// The image of the Jobs that make folders on a file system, with tag.
    pub setup_image: String,
    /// The Secret of the object storage.
    pub juicefs_secret: SecretRef,
    /// The Secret of the NFS server.
    pub nfs_secret: SecretRef,
    /// The folder of the node for local storage; none when that is off.
    pub local_storage: Option<String>,
    /// Containers run privileged, for development only.
    pub debug_mode: bool,
    /// PriorityClass of server pods.
    pub workbench_priority_class: Option<String>,
    /// PriorityClass of app pods.
    pub application_priority_class: Option<String>,
    /// The longest that a server may take to start, in seconds; none for ever.
    pub workbench_startup_timeout: Option<u32>,
    /// The longest that an app may take to start, in seconds; none for ever.
    pub application_startup_timeout: Option<u32>,
    /// Resources of the server container, where the Workbench names none.
    pub server_resources: Option<ResourceRequirements>,
    /// Labels of every claim.
    pub pvc_labels: BTreeMap<String, String>,
    /// Services of the platform that every workspace reaches.
    pub internal_services: Vec<InternalService>,
    /// Namespaces whose pods may connect into workspaces.
    pub ingress_namespaces: Vec<String>,
    /// Namespaces of the gateways through which internal services are reached.
    pub egress_namespaces: Vec<String>,
    /// Those of them whose gateway listens on ports 10000 higher, below 1024.
    pub envoy_namespaces: Vec<String>,
    /// Addresses (CIDR) of DNS servers outside `kube-system`, such as a cache on each node.
    pub dns_addresses: Vec<String>,
    /// The domain of the cluster's own names.
    pub cluster_domain: String,
    /// The Secret with licences, looked up in the namespace of each workbench.
    pub license_secret: Option<String>,
    /// Whether no session starts in a workspace whose network policy is not in force.
    pub require_network_policy: bool,
}

/// Where a Secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A service of the platform that every workspace reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalService {
    /// Its name in the DNS, in lower case.
    pub fqdn: String,
    /// Its TCP ports.
    pub ports: Vec<u16>,
}

impl Default for Settings {
    /// What holds when nothing is configured.
    fn default() -> Self {
        let secret = |name: &str| SecretRef { namespace: "kube-system".to_owned(), name: name.to_owned() };
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        Self {
            registry: "harbor.build.chorus-tre.local".to_owned(),
            apps_repository: "apps".to_owned(),
            xpra_server_image: None,
            init_container_image: None,
            socat_image: "alpine/socat:1.8.0.0".to_owned(),
            setup_image: "busybox:1.37".to_owned(),
            juicefs_secret: secret("juicefs-secret"),
            nfs_secret: secret("nfs-secret"),
            local_storage: None,
            debug_mode: false,
            workbench_priority_class: None,
            application_priority_class: None,
            workbench_startup_timeout: Some(600),
            application_startup_timeout: Some(600),
            server_resources: None,
            pvc_labels: BTreeMap::new(),
            internal_services: Vec::new(),
            ingress_namespaces: list(&["backend", "prometheus"]),
            egress_namespaces: list(&["envoy-gateway-system", "ingress-nginx"]),
            envoy_namespaces: list(&["envoy-gateway-system"]),
            dns_addresses: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            license_secret: None,
            require_network_policy: true,
        }
    }
}
