//! The flags of `chorus operator` that say what settings say, so that what is printed runs as it was asked for.

use k8s_openapi::api::core::v1::ResourceRequirements;

use super::super::settings::Settings;

/// A flag for every setting that is not the default.
pub fn of(settings: &Settings) -> Vec<String> {
    let mut flags = Flags { given: Vec::new() };
    let default = Settings::default();
    flags.texts(settings, &default);
    flags.switches(settings, &default);
    flags.lists(settings, &default);
    flags.resources(settings.server_resources.as_ref());
    flags.given
}

struct Flags {
    given: Vec<String>,
}

impl Flags {
    fn push(&mut self, name: &str, value: &str) {
        self.given.push(format!("--{name}={value}"));
    }

    fn texts(&mut self, settings: &Settings, default: &Settings) {
        let some = |text: &Option<String>| text.clone().unwrap_or_default();
        let texts = |s: &Settings| {
            [
                ("registry", s.registry.clone()),
                ("apps-repository", s.apps_repository.clone()),
                ("xpra-server-image", some(&s.xpra_server_image)),
                ("init-container-image", some(&s.init_container_image)),
                ("socat-image", s.socat_image.clone()),
                ("setup-image", s.setup_image.clone()),
                ("juicefs-secret-name", s.juicefs_secret.name.clone()),
                ("juicefs-secret-namespace", s.juicefs_secret.namespace.clone()),
                ("nfs-secret-name", s.nfs_secret.name.clone()),
                ("nfs-secret-namespace", s.nfs_secret.namespace.clone()),
                ("workbench-priority-class-name", some(&s.workbench_priority_class)),
                ("application-priority-class-name", some(&s.application_priority_class)),
                ("workbench-startup-timeout", s.workbench_startup_timeout.unwrap_or(0).to_string()),
                ("application-startup-timeout", s.application_startup_timeout.unwrap_or(0).to_string()),
                ("cluster-domain", s.cluster_domain.clone()),
                ("license-secret-name", some(&s.license_secret)),
            ]
        };
        for ((name, value), (_, default)) in texts(settings).into_iter().zip(texts(default)) {
            if value != default {
                self.push(name, &value);
            }
        }
    }

    fn switches(&mut self, settings: &Settings, default: &Settings) {
        if let Some(path) = &settings.local_storage {
            self.push("local-storage-enabled", "true");
            self.push("local-storage-host-path", path);
        }
        if settings.debug_mode != default.debug_mode {
            self.push("debug-mode-enabled", &settings.debug_mode.to_string());
        }
        if settings.require_network_policy != default.require_network_policy {
            self.push("require-network-policy", &settings.require_network_policy.to_string());
        }
    }

    fn lists(&mut self, settings: &Settings, default: &Settings) {
        for (key, value) in &settings.pvc_labels {
            self.push("pvc-label", &format!("{key}={value}"));
        }
        for service in &settings.internal_services {
            let ports: Vec<_> = service.ports.iter().map(u16::to_string).collect();
            self.push("global-internal-service", &format!("{}:{}", service.fqdn, ports.join(",")));
        }
        for address in &settings.dns_addresses {
            self.push("dns-server", address);
        }
        self.namespaces("allowed-ingress-namespace", &settings.ingress_namespaces, &default.ingress_namespaces);
        self.namespaces("allowed-egress-namespace", &settings.egress_namespaces, &default.egress_namespaces);
        // The default of this list depends on the one above, so it is said whenever that is.
        if settings.egress_namespaces != default.egress_namespaces {
            self.namespaces("envoy-gateway-namespace", &settings.envoy_namespaces, &[]);
        } else {
            self.namespaces("envoy-gateway-namespace", &settings.envoy_namespaces, &default.envoy_namespaces);
        }
    }

    fn namespaces(&mut self, name: &str, given: &[String], default: &[String]) {
        if given == default && !given.is_empty() {
            return;
        }
        if given.is_empty() {
            self.push(name, "none");
        }
        given.iter().for_each(|namespace| self.push(name, namespace));
    }

    fn resources(&mut self, resources: Option<&ResourceRequirements>) {
        let Some(resources) = resources else { return };
        for (amounts, what) in [(&resources.limits, "limit"), (&resources.requests, "request")] {
            for (resource, amount) in amounts.iter().flatten() {
                self.push(&format!("workbench-{resource}-{what}"), &amount.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    use super::{
        super::super::settings::{InternalService, SecretRef},
        *,
    };

    #[test]
    fn defaults_need_no_flag() {
        assert_eq!(of(&Settings::default()), Vec::<String>::new());
    }

    #[test]
    fn everything_else_has_one() {
        let some = |text: &str| Some(text.to_owned());
        let secret = |name: &str| SecretRef { namespace: "storage".to_owned(), name: name.to_owned() };
        let amount = |resource: &str, amount: &str| Some([(resource.to_owned(), Quantity(amount.to_owned()))].into());
        let settings = Settings {
            registry: String::new(),
            apps_repository: "desktops".to_owned(),
            xpra_server_image: some("x/server"),
            init_container_image: some("x/init"),
            socat_image: "x/socat:1".to_owned(),
            setup_image: "x/box:1".to_owned(),
            juicefs_secret: secret("j"),
            nfs_secret: secret("n"),
            local_storage: some("/data"),
            debug_mode: true,
            workbench_priority_class: some("low"),
            application_priority_class: some("lower"),
            workbench_startup_timeout: None,
            application_startup_timeout: Some(60),
            server_resources: Some(ResourceRequirements {
                limits: amount("memory", "2Gi"),
                requests: amount("cpu", "500m"),
                claims: None,
            }),
            pvc_labels: [("backup".to_owned(), "no".to_owned())].into(),
            internal_services: vec![InternalService { fqdn: "git.example.org".to_owned(), ports: vec![443, 22] }],
            ingress_namespaces: vec!["web".to_owned()],
            egress_namespaces: Vec::new(),
            envoy_namespaces: Vec::new(),
            dns_addresses: vec!["169.254.20.10/32".to_owned()],
            cluster_domain: "c.example".to_owned(),
            license_secret: some("licences"),
            require_network_policy: false,
        };
        let wanted = "--registry= --apps-repository=desktops --xpra-server-image=x/server --init-container-image=x/init \
             --socat-image=x/socat:1 --setup-image=x/box:1 --juicefs-secret-name=j --juicefs-secret-namespace=storage \
             --nfs-secret-name=n --nfs-secret-namespace=storage --workbench-priority-class-name=low \
             --application-priority-class-name=lower --workbench-startup-timeout=0 --application-startup-timeout=60 \
             --cluster-domain=c.example --license-secret-name=licences --local-storage-enabled=true \
             --local-storage-host-path=/data --debug-mode-enabled=true --require-network-policy=false --pvc-label=backup=no \
             --global-internal-service=git.example.org:443,22 --dns-server=169.254.20.10/32 \
             --allowed-ingress-namespace=web --allowed-egress-namespace=none --envoy-gateway-namespace=none \
             --workbench-memory-limit=2Gi --workbench-cpu-request=500m";
        assert_eq!(of(&settings).join(" "), wanted);
    }
}
