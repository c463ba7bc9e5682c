//! The network policy of a desktop: who may connect to its server pods.
//!
//! A plain NetworkPolicy, so that it holds with and without Cilium. Policies add up, and the policy of the workspace admits
//! nobody to server pods; so this is all that reaches them: the display (6080) from the desktop's own apps, the page (8080)
//! from the gateways. X11 has no authentication here, so 6080 is as good as the user's keyboard and screen.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{NetworkPolicyIngressRule, NetworkPolicySpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;

use super::super::{
    api::{self, MANAGER, Workbench, labels},
    network::{self, expression, own, pods_of, port, with_label},
    plan::Object,
    settings::Settings,
    workspace::name::with_suffix,
};

/// The port of the desktop's page.
const PAGE: u16 = 8080;
/// The port of its display.
const DISPLAY: u16 = 6080;

/// The name of the policy of this workbench. The suffix differs from those of workspaces, so a workbench that is called
/// like its workspace shares no object with it.
pub fn name(workbench: &str) -> String {
    with_suffix(workbench, "-netpol-server")
}

/// The policy of this workbench. `former_jobs` are the names of Jobs of the former operator that still run: their pods have
/// no label of ours.
pub fn workbench_policy(workbench: &Workbench, settings: &Settings, former_jobs: &[String]) -> Object {
    let name_of = workbench.name_any();
    let metadata = ObjectMeta {
        name: Some(name(&name_of)),
        namespace: workbench.namespace(),
        labels: Some(BTreeMap::from([
            (labels::WORKBENCH.to_owned(), name_of.clone()),
            (labels::MANAGED_BY.to_owned(), MANAGER.to_owned()),
        ])),
        owner_references: api::owned_by(workbench),
        ..ObjectMeta::default()
    };
    let spec = NetworkPolicySpec {
        pod_selector: Some(with_label(labels::WORKBENCH, &name_of)),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(ingress(&name_of, settings, former_jobs)),
        egress: None,
    };
    network::object(metadata, spec)
}

/// Who may connect. A rule without peers would admit everybody, so there is none for an empty list of gateways.
fn ingress(workbench: &str, settings: &Settings, former_jobs: &[String]) -> Vec<NetworkPolicyIngressRule> {
    let gateways: Vec<_> = settings.ingress_namespaces.iter().map(|namespace| pods_of(namespace)).collect();
    let mut apps = vec![own(with_label(labels::POD_OF, workbench))];
    if !former_jobs.is_empty() {
        let mut names = former_jobs.to_vec();
        names.sort_unstable();
        apps.push(own(expression("batch.kubernetes.io/job-name", "In", Some(names))));
    }
    [(gateways, PAGE), (apps, DISPLAY)]
        .into_iter()
        .filter(|(from, _)| !from.is_empty())
        .map(|(from, number)| NetworkPolicyIngressRule { from: Some(from), ports: Some(vec![port(number, "TCP")]) })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{name, workbench_policy};
    use crate::server::operator::{api::Workbench, settings::Settings};

    fn policy(settings: &Settings, former: &[&str]) -> Value {
        let mut workbench = Workbench::new("wb1", Default::default());
        workbench.metadata.namespace = Some("w1".to_owned());
        workbench.metadata.uid = Some("uid-1".to_owned());
        let former: Vec<_> = former.iter().map(|&name| name.to_owned()).collect();
        workbench_policy(&workbench, settings, &former).value
    }

    #[test]
    fn the_whole_object() {
        let of = |namespace: &str| json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } } });
        let wanted = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {
                "name": "wb1-netpol-server",
                "namespace": "w1",
                "labels": { "workbench": "wb1", "app.kubernetes.io/managed-by": "chorus-operator" },
                "ownerReferences": [{
                    "apiVersion": "default.chorus-tre.ch/v1alpha1", "kind": "Workbench", "name": "wb1", "uid": "uid-1",
                    "controller": true, "blockOwnerDeletion": true
                }],
            },
            "spec": {
                "podSelector": { "matchLabels": { "workbench": "wb1" } },
                "policyTypes": ["Ingress"],
                "ingress": [
                    { "from": [of("backend"), of("prometheus")], "ports": [{ "port": 8080, "protocol": "TCP" }] },
                    {
                        "from": [{ "podSelector": { "matchLabels": { "chorus-tre.ch/workbench": "wb1" } } }],
                        "ports": [{ "port": 6080, "protocol": "TCP" }]
                    },
                ],
            },
        });
        assert_eq!(policy(&Settings::default(), &[]), wanted);
    }

    #[test]
    fn jobs_of_the_former_operator_in_one_order() {
        let found = policy(&Settings::default(), &["wb1-b-y", "wb1-a-x"]);
        let wanted =
            json!([{ "key": "batch.kubernetes.io/job-name", "operator": "In", "values": ["wb1-a-x", "wb1-b-y"] }]);
        assert_eq!(found["spec"]["ingress"][1]["from"][1]["podSelector"]["matchExpressions"], wanted);
        assert_eq!(found, policy(&Settings::default(), &["wb1-a-x", "wb1-b-y"]));
    }

    #[test]
    fn no_gateways_no_rule() {
        let settings = Settings { ingress_namespaces: Vec::new(), ..Settings::default() };
        let found = policy(&settings, &[]);
        let rules = found["spec"]["ingress"].as_array().unwrap();
        assert_eq!(rules.len(), 1, "a rule without peers would admit everybody");
        assert_eq!(rules[0]["ports"][0]["port"], 6080);
    }

    #[test]
    fn no_name_is_that_of_a_workspace() {
        use crate::server::operator::workspace::name::with_suffix;
        for owner in ["w1".to_owned(), "a".repeat(250), "a".repeat(300)] {
            for suffix in ["-netpol", "-netpol-ingress"] {
                assert_ne!(name(&owner), with_suffix(&owner, suffix));
            }
        }
    }
}
