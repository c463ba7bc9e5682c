//! What has to be installed for the operator, as YAML: `chorus operator crds`, `rbac` and `manifests`.
//!
//! What always holds: the operator may do what [`permissions::PERMISSIONS`] says and nothing else; its container runs with
//! the settings that its roles were made for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    api::{GROUP, crds},
    settings::Settings,
    yaml,
};
use permissions::{Limit, PERMISSIONS, Permission};

mod flags;
pub mod permissions;

/// The name of the operator's objects.
pub const NAME: &str = "chorus-operator";
/// The port of the metrics.
const METRICS_PORT: u16 = 8080;
/// The port of the probes.
const PROBE_PORT: u16 = 8081;

/// How the operator is installed.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Its namespace. To take over from a former operator, the namespace of that one: they share a lease there.
    pub namespace: String,
    /// Its image, with tag.
    pub image: String,
    /// The names of pull secrets for that image.
    pub pull_secrets: Vec<String>,
    /// How many run. One of them leads.
    pub replicas: u32,
    /// Whether to ask the Prometheus operator to collect the metrics.
    pub service_monitor: bool,
    /// Whether to create the PriorityClasses that are used.
    pub priority_classes: bool,
    /// The settings it runs with.
    pub settings: Settings,
}

impl Default for Options {
    fn default() -> Self {
        let class = |name: &str| Some(name.to_owned());
        Self {
            namespace: "chorus".to_owned(),
            image: concat!("chorus:", env!("CARGO_PKG_VERSION")).to_owned(),
            pull_secrets: Vec::new(),
            replicas: 2,
            service_monitor: false,
            priority_classes: true,
            settings: Settings {
                workbench_priority_class: class("low-priority"),
                application_priority_class: class("preemptible"),
                ..Settings::default()
            },
        }
    }
}

/// YAML could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write YAML: {0}")]
pub struct Error(#[from] serde_saphyr::ser::Error);

/// The CustomResourceDefinitions.
///
/// # Errors
/// YAML that cannot be written.
pub fn crds() -> Result<String, Error> {
    Ok(yaml::documents(&crd_objects())?)
}

/// Namespace, service account, roles and bindings.
///
/// # Errors
/// YAML that cannot be written.
pub fn rbac(options: &Options) -> Result<String, Error> {
    Ok(yaml::documents(&rbac_objects(options))?)
}

/// Everything but the CRDs, which hold all workbenches and so should be removed by nobody in passing.
///
/// # Errors
/// YAML that cannot be written.
pub fn operator(options: &Options) -> Result<String, Error> {
    let mut objects = rbac_objects(options);
    objects.extend(deployment_objects(options));
    Ok(yaml::documents(&objects)?)
}

/// Everything, in the order in which it has to be there.
///
/// # Errors
/// YAML that cannot be written.
pub fn manifests(options: &Options) -> Result<String, Error> {
    let mut objects = crd_objects();
    objects.extend(rbac_objects(options));
    objects.extend(deployment_objects(options));
    Ok(yaml::documents(&objects)?)
}

fn crd_objects() -> Vec<Value> {
    crds::crds().iter().map(|crd| serde_json::to_value(crd).unwrap_or_default()).collect()
}

/// Labels that every object has.
fn labels() -> Value {
    json!({ "app.kubernetes.io/name": NAME, "app.kubernetes.io/component": "operator", "app.kubernetes.io/part-of": "chorus" })
}

/// The labels by which its pods are found.
fn selector() -> Value {
    json!({ "app.kubernetes.io/name": NAME })
}

fn object(api_version: &str, kind: &str, name: &str, namespace: Option<&str>, content: Value) -> Value {
    let mut object =
        json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name, "labels": labels() } });
    if let Some(namespace) = namespace {
        object["metadata"]["namespace"] = namespace.into();
    }
    if let (Value::Object(object), Value::Object(content)) = (&mut object, content) {
        object.extend(content);
    }
    object
}

fn rbac_objects(options: &Options) -> Vec<Value> {
    let namespace = options.namespace.as_str();
    let mut objects = vec![
        object("v1", "Namespace", namespace, None, json!({})),
        object("v1", "ServiceAccount", NAME, Some(namespace), json!({ "automountServiceAccountToken": false })),
    ];
    for (place, rules) in rules(&options.settings, namespace) {
        objects.extend(role_and_binding(place, &rules, namespace));
    }
    objects.extend(roles_for_people());
    objects
}

/// The rules of each namespace; those of the whole cluster first.
fn rules<'a>(settings: &'a Settings, namespace: &'a str) -> BTreeMap<Option<&'a str>, Vec<Value>> {
    let mut rules: BTreeMap<Option<&str>, Vec<Value>> = BTreeMap::new();
    for permission in PERMISSIONS {
        let Some(Limit { namespace, name }) = permission.place.limit(settings, namespace) else { continue };
        let rule = rule(permission, name);
        let place = rules.entry(namespace).or_default();
        if !place.contains(&rule) {
            place.push(rule);
        }
    }
    rules
}

fn rule(permission: &Permission, name: Option<&str>) -> Value {
    let mut rule = json!({
        "apiGroups": [permission.group],
        "resources": [permission.resource],
        "verbs": permission.verbs,
    });
    if let Some(name) = name {
        rule["resourceNames"] = json!([name]);
    }
    rule
}

fn role_and_binding(place: Option<&str>, rules: &[Value], namespace: &str) -> [Value; 2] {
    let prefix = if place.is_some() { "" } else { "Cluster" };
    let kind = format!("{prefix}Role");
    const RBAC: &str = "rbac.authorization.k8s.io";
    const API: &str = "rbac.authorization.k8s.io/v1";
    let binding = json!({
        "roleRef": { "apiGroup": RBAC, "kind": kind, "name": NAME },
        "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": namespace }],
    });
    [
        object(API, &kind, NAME, place, json!({ "rules": rules })),
        object(API, &format!("{kind}Binding"), NAME, place, binding),
    ]
}

/// Roles to bind to people who look after workbenches or workspaces.
fn roles_for_people() -> impl Iterator<Item = Value> {
    let edit = ["create", "delete", "get", "list", "patch", "update", "watch"].as_slice();
    let view = ["get", "list", "watch"].as_slice();
    [("workbench", "workbenches"), ("workspace", "workspaces")].into_iter().flat_map(move |(one, many)| {
        [("editor", edit), ("viewer", view)].map(|(role, verbs)| {
            let rules = json!([
                { "apiGroups": [GROUP], "resources": [many], "verbs": verbs },
                { "apiGroups": [GROUP], "resources": [format!("{many}/status")], "verbs": ["get"] },
            ]);
            let name = format!("chorus-{one}-{role}");
            object("rbac.authorization.k8s.io/v1", "ClusterRole", &name, None, json!({ "rules": rules }))
        })
    })
}

fn deployment_objects(options: &Options) -> Vec<Value> {
    let namespace = Some(options.namespace.as_str());
    let mut objects = Vec::new();
    if options.priority_classes {
        objects.extend(priority_classes(&options.settings));
    }
    objects.push(object("apps/v1", "Deployment", NAME, namespace, deployment(options)));
    let service = json!({ "spec": {
        "selector": selector(),
        "ports": [{ "name": "metrics", "port": METRICS_PORT, "targetPort": "metrics" }],
    } });
    objects.push(object("v1", "Service", "chorus-operator-metrics", namespace, service));
    if options.service_monitor {
        let monitor = json!({ "spec": {
            "selector": { "matchLabels": labels() },
            "endpoints": [{ "port": "metrics", "path": "/metrics" }],
        } });
        objects.push(object("monitoring.coreos.com/v1", "ServiceMonitor", NAME, namespace, monitor));
    }
    objects
}

/// The class of the operator itself.
const HIGH: (&str, i64, &str) = ("high-priority", 1_000_000, "Services that desktops depend on.");
/// The classes that sessions are usually given: apps yield to servers, and both to everything else. Below -10 the cluster
/// autoscaler would not make room for them.
const CLASSES: [(&str, i64, &str); 2] =
    [("low-priority", -5, "Desktop servers."), ("preemptible", -10, "Apps on desktops.")];

/// Those of the usual classes that are used. Others are the cluster's own.
fn priority_classes(settings: &Settings) -> impl Iterator<Item = Value> {
    let used = [&settings.workbench_priority_class, &settings.application_priority_class];
    let used = CLASSES.into_iter().filter(move |(name, ..)| used.iter().any(|class| class.as_deref() == Some(name)));
    std::iter::once(HIGH).chain(used).map(|(name, value, description)| {
        let content = json!({ "value": value, "globalDefault": false, "description": description });
        object("scheduling.k8s.io/v1", "PriorityClass", name, None, content)
    })
}

fn deployment(options: &Options) -> Value {
    let pull_secrets: Vec<_> = options.pull_secrets.iter().map(|name| json!({ "name": name })).collect();
    json!({ "spec": {
        "replicas": options.replicas,
        "selector": { "matchLabels": selector() },
        "template": {
            "metadata": { "labels": labels() },
            "spec": {
                "serviceAccountName": NAME,
                "automountServiceAccountToken": true,
                "enableServiceLinks": false,
                "imagePullSecrets": pull_secrets,
                "priorityClassName": HIGH.0,
                "securityContext": {
                    "runAsNonRoot": true,
                    "runAsUser": 65532,
                    "runAsGroup": 65532,
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "terminationGracePeriodSeconds": 30,
                "topologySpreadConstraints": [{
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": { "matchLabels": selector() },
                }],
                "containers": [container(options)],
            },
        },
    } })
}

fn container(options: &Options) -> Value {
    let mut args = vec![
        "operator".to_owned(),
        "--leader-elect=true".to_owned(),
        format!("--health-probe-bind-address=:{PROBE_PORT}"),
        format!("--metrics-bind-address=:{METRICS_PORT}"),
    ];
    args.extend(flags::of(&options.settings));
    let probe =
        |path: &str, period: u32| json!({ "httpGet": { "path": path, "port": "probes" }, "periodSeconds": period });
    json!({
        "name": "operator",
        "image": options.image,
        "args": args,
        "env": [{
            "name": "CHORUS_OPERATOR_NAMESPACE",
            "valueFrom": { "fieldRef": { "fieldPath": "metadata.namespace" } },
        }],
        "ports": [
            { "name": "metrics", "containerPort": METRICS_PORT },
            { "name": "probes", "containerPort": PROBE_PORT },
        ],
        "livenessProbe": probe("/healthz", 20),
        "readinessProbe": probe("/readyz", 10),
        "resources": { "requests": { "cpu": "50m", "memory": "128Mi" }, "limits": { "memory": "512Mi" } },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
        },
    })
}

#[cfg(test)]
mod tests;
