//! The section `operator`: its values, and the settings that the operator gets from them.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use k8s_openapi::api::core::v1::ResourceRequirements;
use serde::Deserialize;

use super::values::{Network, many, one};
use crate::server::{
    operator::settings::{self, SecretRef, Settings},
    quantity::Quantity,
};

/// Settings of the operator; the key table says what each means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the key table says what each means")]
pub struct Operator {
    pub enabled: bool,
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    #[serde(default)]
    pub namespace: Option<String>,
    pub leader_elect: bool,
    pub concurrency: u32,
    #[serde(deserialize_with = "one")]
    pub health_probe_bind_address: Bind,
    #[serde(deserialize_with = "one")]
    pub metrics_bind_address: Bind,
    pub registry: String,
    pub apps_repository: String,
    pub services_repository: String,
    #[serde(default)]
    pub xpra_server_image: Option<String>,
    #[serde(default)]
    pub init_container_image: Option<String>,
    pub socat_image: String,
    pub setup_image: String,
    pub juicefs_secret_name: String,
    pub juicefs_secret_namespace: String,
    pub nfs_secret_name: String,
    pub nfs_secret_namespace: String,
    pub local_storage_enabled: bool,
    pub local_storage_host_path: String,
    pub debug_mode_enabled: bool,
    #[serde(default)]
    pub workbench_priority_class_name: Option<String>,
    #[serde(default)]
    pub application_priority_class_name: Option<String>,
    pub workbench_startup_timeout: u32,
    pub application_startup_timeout: u32,
    #[serde(default)]
    pub workbench_cpu_limit: Option<String>,
    #[serde(default)]
    pub workbench_memory_limit: Option<String>,
    #[serde(default)]
    pub workbench_cpu_request: Option<String>,
    #[serde(default)]
    pub workbench_memory_request: Option<String>,
    #[serde(deserialize_with = "many")]
    pub pvc_labels: Vec<Pair>,
    pub global_internal_services: Vec<String>,
    pub allowed_ingress_namespaces: Vec<String>,
    pub allowed_egress_namespaces: Vec<String>,
    #[serde(default)]
    pub envoy_gateway_namespaces: Option<Vec<String>>,
    #[serde(deserialize_with = "many")]
    pub dns_servers: Vec<Network>,
    #[serde(deserialize_with = "one")]
    pub cluster_domain: Domain,
    #[serde(default)]
    pub license_secret_name: Option<String>,
    pub require_network_policy: bool,
}

/// A value that does not fit the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The key.
    pub key: &'static str,
    /// Why; completes the sentence that starts with the key.
    pub reason: String,
}

impl Operator {
    /// The settings that the operator gets.
    ///
    /// # Errors
    /// Which value does not fit the others.
    pub fn settings(&self) -> Result<Settings, Conflict> {
        let egress = namespaces(&self.allowed_egress_namespaces, "operator.allowed_egress_namespaces")?;
        Ok(Settings {
            registry: self.registry.trim_end_matches('/').to_owned(),
            apps_repository: self.apps_repository.trim_matches('/').to_owned(),
            xpra_server_image: given(&self.xpra_server_image),
            init_container_image: given(&self.init_container_image),
            socat_image: self.socat_image.clone(),
            setup_image: self.setup_image.clone(),
            juicefs_secret: secret(&self.juicefs_secret_namespace, &self.juicefs_secret_name),
            nfs_secret: secret(&self.nfs_secret_namespace, &self.nfs_secret_name),
            local_storage: self.local_storage_enabled.then(|| self.local_storage_host_path.clone()),
            debug_mode: self.debug_mode_enabled,
            workbench_priority_class: given(&self.workbench_priority_class_name),
            application_priority_class: given(&self.application_priority_class_name),
            workbench_startup_timeout: limit(self.workbench_startup_timeout),
            application_startup_timeout: limit(self.application_startup_timeout),
            server_resources: self.server_resources()?,
            pvc_labels: self.pvc_labels.iter().map(|Pair(key, value)| (key.clone(), value.clone())).collect(),
            internal_services: internal_services(&self.global_internal_services)?,
            ingress_namespaces: namespaces(&self.allowed_ingress_namespaces, "operator.allowed_ingress_namespaces")?,
            envoy_namespaces: self.envoy_namespaces(&egress)?,
            egress_namespaces: egress,
            dns_addresses: self.dns_servers.iter().map(Network::to_string).collect(),
            cluster_domain: self.cluster_domain.0.clone(),
            license_secret: given(&self.license_secret_name),
            require_network_policy: self.require_network_policy,
        })
    }

    fn envoy_namespaces(&self, egress: &[String]) -> Result<Vec<String>, Conflict> {
        const KEY: &str = "operator.envoy_gateway_namespaces";
        let Some(given) = &self.envoy_gateway_namespaces else {
            return Ok(egress.iter().filter(|name| *name == "envoy-gateway-system").cloned().collect());
        };
        let names = namespaces(given, KEY)?;
        match names.iter().find(|name| !egress.contains(name)) {
            Some(name) => {
                let reason = format!("{name:?} is not among `operator.allowed_egress_namespaces`; add it there");
                Err(Conflict { key: KEY, reason })
            }
            None => Ok(names),
        }
    }

    fn server_resources(&self) -> Result<Option<ResourceRequirements>, Conflict> {
        let (mut limits, mut requests) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
        let pairs = [
            ("cpu", "operator.workbench_cpu_request", &self.workbench_cpu_limit, &self.workbench_cpu_request),
            (
                "memory",
                "operator.workbench_memory_request",
                &self.workbench_memory_limit,
                &self.workbench_memory_request,
            ),
        ];
        for (resource, key, limit, request) in pairs {
            let (limit, request) = (given(limit), given(request));
            let amounts = (limit.as_deref().and_then(Quantity::parse), request.as_deref().and_then(Quantity::parse));
            if let (Some(limit), Some(request)) = amounts
                && request > limit
            {
                return Err(Conflict { key, reason: "is more than the limit".to_owned() });
            }
            let quantity = k8s_openapi::apimachinery::pkg::api::resource::Quantity;
            limits.extend(limit.map(|limit| (resource.to_owned(), quantity(limit))));
            requests.extend(request.map(|request| (resource.to_owned(), quantity(request))));
        }
        if limits.is_empty() && requests.is_empty() {
            return Ok(None);
        }
        let some = |map: std::collections::BTreeMap<_, _>| (!map.is_empty()).then_some(map);
        Ok(Some(ResourceRequirements { limits: some(limits), requests: some(requests), claims: None }))
    }
}

/// An empty text counts as nothing.
fn given(text: &Option<String>) -> Option<String> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn limit(seconds: u32) -> Option<u32> {
    (seconds > 0).then_some(seconds)
}

fn secret(namespace: &str, name: &str) -> SecretRef {
    SecretRef { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// The names, without repetition; `none` alone is an empty list.
fn namespaces(names: &[String], key: &'static str) -> Result<Vec<String>, Conflict> {
    if let [only] = names
        && only == "none"
    {
        return Ok(Vec::new());
    }
    let mut all: Vec<String> = Vec::new();
    for name in names {
        if name == "none" {
            return Err(Conflict { key, reason: "`none` stands alone".to_owned() });
        }
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    Ok(all)
}

/// Lists are split at commas, so the further ports of a service are elements of their own.
fn internal_services(texts: &[String]) -> Result<Vec<settings::InternalService>, Conflict> {
    const KEY: &str = "operator.global_internal_services";
    let refused = |reason: &str| Conflict { key: KEY, reason: reason.to_owned() };
    let mut services: Vec<settings::InternalService> = Vec::new();
    for text in texts {
        match (text.parse::<u16>(), services.last_mut()) {
            (Ok(port), Some(service)) => service.ports.push(port),
            (Ok(_), None) => return Err(refused("begins with a port: write FQDN:PORT")),
            (Err(_), _) => {
                let InternalService { fqdn, port } = text.parse().map_err(|reason: String| refused(&reason))?;
                services.push(settings::InternalService { fqdn, ports: vec![port] });
            }
        }
    }
    Ok(services)
}

/// Where a listener binds; `0` is nowhere, and `:8081` every address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind(pub Option<SocketAddr>);

impl FromStr for Bind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "0" {
            return Ok(Self(None));
        }
        if let Some(port) = text.strip_prefix(':').and_then(|port| port.parse().ok()) {
            return Ok(Self(Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port))));
        }
        let shape = "is not an address to listen on: write :PORT, IP:PORT, or 0 for nowhere";
        text.parse().map(|address| Self(Some(address))).map_err(|_| shape.to_owned())
    }
}

/// The name of a namespace, or `none`: a DNS label (RFC 1123).
#[derive(Debug)]
pub struct NamespaceName;

impl FromStr for NamespaceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_label(text) { Ok(Self) } else { Err("is not the name of a namespace".to_owned()) }
    }
}

/// A domain of the DNS, without a dot at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain(pub String);

impl FromStr for Domain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_lowercase();
        let good = text.len() <= 253 && text.split('.').all(is_label);
        if good { Ok(Self(text)) } else { Err("is not the name of a domain".to_owned()) }
    }
}

/// A service of the platform, with its first port: `FQDN:PORT`.
#[derive(Debug, PartialEq, Eq)]
pub struct InternalService {
    fqdn: String,
    port: u16,
}

impl FromStr for InternalService {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || "is not FQDN:PORT, such as git.example.org:443".to_owned();
        let (name, port) = text.rsplit_once(':').ok_or_else(shape)?;
        let name = name.trim().to_ascii_lowercase();
        let plain = name.strip_prefix("*.").unwrap_or(&name);
        let good = plain.contains('.') && name.len() <= 253 && plain.split('.').all(is_label);
        let port = port.trim().parse().ok().filter(|port| *port > 0);
        match port {
            Some(port) if good => Ok(Self { fqdn: name, port }),
            _ => Err(shape()),
        }
    }
}

/// A label of Kubernetes: `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair(pub String, pub String);

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || "is not KEY=VALUE, such as backup=no".to_owned();
        let (key, value) = text.split_once('=').ok_or_else(shape)?;
        let is_name = |name: &str| {
            let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
            let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            name.len() <= 63 && name.chars().all(inner) && ends(name.chars().next()) && ends(name.chars().last())
        };
        let good = match key.split_once('/') {
            Some((prefix, name)) => prefix.split('.').all(is_label) && is_name(name),
            None => is_name(key),
        };
        if good && (value.is_empty() || is_name(value)) {
            Ok(Self(key.to_owned(), value.to_owned()))
        } else {
            Err(shape())
        }
    }
}

/// Whether it is a DNS label (RFC 1123) in lower case.
fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    bytes.len() <= 63 && bytes.iter().all(inner) && ends(bytes.first()) && ends(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config::{Sources, keys::Key, load};

    fn settings(flags: &[(&str, &[&str])]) -> Result<Settings, String> {
        let flag = |(name, values): &(&str, &[&str])| {
            (Key::find(name).unwrap(), values.iter().map(|&value| value.to_owned()).collect())
        };
        let sources = Sources { flags: flags.iter().map(flag).collect(), ..Sources::default() };
        load(&sources).map(|loaded| loaded.config.operator.settings().unwrap()).map_err(|problems| problems.to_string())
    }

    #[test]
    fn nothing_configured_is_the_default() {
        assert_eq!(settings(&[]), Ok(Settings::default()));
    }

    #[test]
    fn lists() {
        let egress = "operator.allowed_egress_namespaces";
        let of = |names: &[&str]| settings(&[(egress, names)]).map(|s| (s.egress_namespaces, s.envoy_namespaces));
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(of(&["none"]), Ok((vec![], vec![])));
        assert_eq!(of(&["gate", "gate"]), Ok((list(&["gate"]), vec![])));
        assert!(of(&["gate", "none"]).unwrap_err().contains("stands alone"));
        let envoy = "operator.envoy_gateway_namespaces";
        let wrong = settings(&[(envoy, &["elsewhere"])]).unwrap_err();
        assert!(wrong.contains("operator.envoy_gateway_namespaces") && wrong.contains("elsewhere"), "{wrong}");
        assert_eq!(settings(&[(envoy, &["ingress-nginx"])]).unwrap().envoy_namespaces, ["ingress-nginx"]);
    }

    #[test]
    fn internal_services_with_several_ports() {
        let key = "operator.global_internal_services";
        let service =
            |fqdn: &str, ports: &[u16]| settings::InternalService { fqdn: fqdn.to_owned(), ports: ports.to_vec() };
        let found = settings(&[(key, &["Git.Int.example:443,22", "wiki.int.example:443"])]).unwrap().internal_services;
        assert_eq!(found, [service("git.int.example", &[443, 22]), service("wiki.int.example", &[443])]);
        for bad in ["443", "git:443", "git.example", "git.example:0", "git.example:x", "git_.example:1"] {
            assert!(settings(&[(key, &[bad])]).unwrap_err().contains(key), "{bad}");
        }
    }

    #[test]
    fn resources_of_servers() {
        let (limit, request) = ("operator.workbench_memory_limit", "operator.workbench_memory_request");
        let resources = settings(&[(limit, &["2Gi"]), (request, &["512Mi"])]).unwrap().server_resources.unwrap();
        assert_eq!(resources.limits.unwrap()["memory"].0, "2Gi");
        assert_eq!(resources.requests.unwrap()["memory"].0, "512Mi");
        assert!(settings(&[(limit, &["1Gi"]), (request, &["2Gi"])]).unwrap_err().contains("more than the limit"));
        assert!(settings(&[(limit, &["lots"])]).unwrap_err().contains("is not a quantity"));
    }

    #[test]
    fn where_listeners_bind() {
        for (text, expected) in [
            ("0", Some(None)),
            (":8081", Some(Some("[::]:8081"))),
            ("127.0.0.1:9", Some(Some("127.0.0.1:9"))),
            ("x", None),
        ] {
            let address = |text: &str| text.parse::<SocketAddr>().unwrap();
            assert_eq!(text.parse().ok(), expected.map(|text: Option<&str>| Bind(text.map(address))), "{text}");
        }
    }

    #[test]
    fn labels_of_claims() {
        for (text, good) in [
            ("velero.io/exclude-from-backup=true", true),
            ("a=", true),
            ("a", false),
            ("-a=b", false),
            ("a=b c", false),
            ("a/b/c=d", false),
        ] {
            assert_eq!(text.parse::<Pair>().is_ok(), good, "{text}");
        }
    }
}
