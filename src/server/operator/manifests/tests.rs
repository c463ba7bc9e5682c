use std::collections::BTreeSet;

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Namespace, Service, ServiceAccount},
        rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding},
        scheduling::v1::PriorityClass,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{permissions::Place, *};
use crate::server::operator::settings::SecretRef;

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

/// Reads it as the type of Kubernetes that it is, and nothing is lost by that.
fn typed<T: DeserializeOwned + Serialize>(object: &Value) -> T {
    let typed: T = serde_json::from_value(object.clone()).unwrap();
    let back = serde_json::to_value(&typed).unwrap();
    let kept = |value: &Value| value.to_string().replace(".0,", ",").replace(".0}", "}");
    assert_eq!(kept(&back), kept(object));
    typed
}

fn ids(objects: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let id = |o: &Value| {
        let (kind, name) = (text(&o["kind"]), text(&o["metadata"]["name"]));
        match text(&o["metadata"]["namespace"]).as_str() {
            "" => format!("{kind} {name}"),
            namespace => format!("{kind} {namespace}/{name}"),
        }
    };
    objects.iter().map(id).collect()
}

#[test]
fn everything_is_there_in_an_order_that_works() {
    let objects = documents(&manifests(&Options::default()).unwrap());
    assert_eq!(
        ids(&objects),
        [
            "CustomResourceDefinition workbenches.default.chorus-tre.ch",
            "CustomResourceDefinition workspaces.default.chorus-tre.ch",
            "Namespace chorus",
            "ServiceAccount chorus/chorus-operator",
            "ClusterRole chorus-operator",
            "ClusterRoleBinding chorus-operator",
            "Role chorus/chorus-operator",
            "RoleBinding chorus/chorus-operator",
            "Role kube-system/chorus-operator",
            "RoleBinding kube-system/chorus-operator",
            "ClusterRole chorus-workbench-editor",
            "ClusterRole chorus-workbench-viewer",
            "ClusterRole chorus-workspace-editor",
            "ClusterRole chorus-workspace-viewer",
            "PriorityClass high-priority",
            "PriorityClass low-priority",
            "PriorityClass preemptible",
            "Deployment chorus/chorus-operator",
            "Service chorus/chorus-operator-metrics",
        ]
    );
    for object in &objects {
        match object["kind"].as_str().unwrap() {
            "CustomResourceDefinition" => drop(typed::<CustomResourceDefinition>(object)),
            "Namespace" => drop(typed::<Namespace>(object)),
            "ServiceAccount" => drop(typed::<ServiceAccount>(object)),
            "ClusterRole" => drop(typed::<ClusterRole>(object)),
            "ClusterRoleBinding" => drop(typed::<ClusterRoleBinding>(object)),
            "Role" => drop(typed::<Role>(object)),
            "RoleBinding" => drop(typed::<RoleBinding>(object)),
            "PriorityClass" => drop(typed::<PriorityClass>(object)),
            "Deployment" => drop(typed::<Deployment>(object)),
            "Service" => drop(typed::<Service>(object)),
            kind => panic!("{kind}"),
        }
    }
}

#[test]
fn options_show() {
    let options = Options {
        namespace: "former".to_owned(),
        image: "registry.example.org/chorus:1.2".to_owned(),
        pull_secrets: vec!["regcred".to_owned()],
        replicas: 1,
        service_monitor: true,
        priority_classes: false,
        settings: Settings {
            nfs_secret: SecretRef { namespace: "storage".to_owned(), name: "nfs".to_owned() },
            license_secret: Some("licences".to_owned()),
            ..Settings::default()
        },
    };
    let objects = documents(&operator(&options).unwrap());
    let found = ids(&objects);
    assert!(found.contains(&"ServiceMonitor former/chorus-operator".to_owned()), "{found:?}");
    assert!(found.contains(&"Role storage/chorus-operator".to_owned()), "{found:?}");
    assert!(!found.iter().any(|id| id.starts_with("PriorityClass") || id.starts_with("CustomResource")), "{found:?}");
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["imagePullSecrets"], json!([{ "name": "regcred" }]));
    assert_eq!(pod["containers"][0]["image"], "registry.example.org/chorus:1.2");
    let args = pod["containers"][0]["args"].as_array().unwrap();
    assert!(args.contains(&json!("--nfs-secret-namespace=storage")), "{args:?}");
    let secrets: BTreeSet<_> = all_rules(&objects)
        .into_iter()
        .filter(|(_, rule)| rule.resources.as_deref() == Some(&["secrets".to_owned()]))
        .map(|(place, rule)| format!("{place} {:?}", rule.resource_names.unwrap()))
        .collect();
    let wanted = [r#" ["licences"]"#, r#"kube-system ["juicefs-secret"]"#, r#"storage ["nfs"]"#];
    assert_eq!(secrets, wanted.map(str::to_owned).into());
}

/// The rules that the operator's roles have, with their namespaces; empty for the whole cluster.
fn all_rules(objects: &[Value]) -> Vec<(String, PolicyRule)> {
    let of_operator = |o: &&Value| o["metadata"]["name"] == NAME && !o["rules"].is_null();
    let rules = |o: &Value| {
        let place = o["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let rules: Vec<PolicyRule> = serde_json::from_value(o["rules"].clone()).unwrap();
        rules.into_iter().map(move |rule| (place.clone(), rule))
    };
    objects.iter().filter(of_operator).flat_map(rules).collect()
}

/// Least privilege, said once more by hand.
#[test]
fn nothing_dangerous_is_allowed() {
    let objects = documents(&rbac(&Options::default()).unwrap());
    for (place, rule) in all_rules(&objects) {
        let resources = rule.resources.unwrap();
        let may = |verb: &str| rule.verbs.iter().any(|allowed| allowed == verb);
        assert!(!may("*") && !may("escalate") && !may("bind") && !may("impersonate"), "{resources:?}");
        assert!(!resources.iter().any(|resource| resource.contains('*') || resource.contains("exec")), "{resources:?}");
        for resource in &resources {
            match resource.as_str() {
                "secrets" => {
                    assert!(!place.is_empty() && rule.resource_names.is_some() && !may("create") && !may("patch"))
                }
                "persistentvolumes" | "persistentvolumeclaims" => assert!(!may("delete") && !may("update")),
                "workbenches" | "workspaces" => assert!(!may("create") && !may("delete") && !may("update")),
                "pods" => assert!(!may("create") && !may("get")),
                "leases" => assert_eq!((place.as_str(), may("delete")), ("chorus", false)),
                _ => {}
            }
        }
    }
    let pod = &objects.iter().any(|object| object["kind"] == "Pod");
    assert!(!pod);
}

#[test]
fn the_container_has_no_privileges() {
    let objects = documents(&operator(&Options::default()).unwrap());
    let deployment: Deployment = typed(objects.iter().find(|object| object["kind"] == "Deployment").unwrap());
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    let context = pod.security_context.unwrap();
    assert_eq!((context.run_as_non_root, context.run_as_user), (Some(true), Some(65532)));
    assert_eq!(context.seccomp_profile.unwrap().type_, "RuntimeDefault");
    let context = pod.containers[0].security_context.clone().unwrap();
    assert_eq!(context.read_only_root_filesystem, Some(true));
    assert_eq!(context.allow_privilege_escalation, Some(false));
    assert_eq!(context.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]));
}

/// Every verb that a row of the table names is in exactly the roles that the manifests have, and nothing more.
#[test]
fn roles_and_table_say_the_same() {
    let options = Options::default();
    let objects = documents(&rbac(&options).unwrap());
    let granted: BTreeSet<String> = all_rules(&objects)
        .into_iter()
        .flat_map(|(place, rule)| {
            let (groups, resources) = (rule.api_groups.unwrap().join(","), rule.resources.unwrap().join(","));
            let name = rule.resource_names.unwrap_or_default().join(",");
            rule.verbs.into_iter().map(move |verb| format!("{place}|{groups}|{resources}|{name}|{verb}"))
        })
        .collect();
    let mut wanted = BTreeSet::new();
    for permission in PERMISSIONS.iter().filter(|permission| permission.place != Place::Licences) {
        let Limit { namespace, name } = permission.place.limit(&options.settings, &options.namespace).unwrap();
        let (place, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
        for verb in permission.verbs {
            wanted.insert(format!("{place}|{}|{}|{name}|{verb}", permission.group, permission.resource));
        }
    }
    assert_eq!(granted, wanted);
}

/// Every kind that plans make can be watched and made; what is applied can be patched.
#[test]
fn plans_may_do_what_they_ask_for() {
    use crate::server::operator::live::Kind;
    for kind in [
        Kind::Deployment,
        Kind::Service,
        Kind::Job,
        Kind::PersistentVolume,
        Kind::PersistentVolumeClaim,
        Kind::NetworkPolicy,
        Kind::CiliumNetworkPolicy,
    ] {
        let (api_version, _, plural) = kind.names();
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let row = PERMISSIONS.iter().find(|row| row.group == group && row.resource == plural).unwrap();
        let verbs: &[&str] = match kind {
            // Created only: what is in it cannot be changed.
            Kind::PersistentVolumeClaim => &["get", "list", "watch", "create"],
            // Volumes are told to be retained. Services go with their owner.
            Kind::PersistentVolume | Kind::Service => &["get", "list", "watch", "create", "patch"],
            _ => &["get", "list", "watch", "create", "patch", "delete"],
        };
        assert_eq!((row.place, row.verbs), (Place::Cluster, verbs), "{plural}");
    }
}
