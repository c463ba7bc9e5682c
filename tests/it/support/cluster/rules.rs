//! What the API server refuses: names and labels out of form, pods that could not run, changes to what never changes.

use std::{collections::BTreeSet, net::IpAddr};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{defaults::billionths, failure::Failure, resources::Resource};

/// Which field, and why.
type Causes = Vec<(String, String)>;

/// Checks an object that shall be written, over what is there.
pub fn check(resource: &Resource, name: &str, old: Option<&Value>, new: &Value) -> Result<(), Failure> {
    typed(resource, new)?;
    let mut causes = Causes::new();
    metadata(resource, name, old, &new["metadata"], &mut causes);
    let spec = &new["spec"];
    match resource.kind {
        "Deployment" => deployment(spec, &mut causes),
        "Job" => job(name, spec, &mut causes),
        "Pod" => pod("spec", spec, &mut causes),
        "Service" => service(spec, &mut causes),
        "NetworkPolicy" => network_policy(spec, &mut causes),
        "Workbench" | "Workspace" => conditions(&new["status"]["conditions"], &mut causes),
        _ => {}
    }
    if let Some(old) = old {
        unchanged(resource, old, new, &mut causes);
    }
    if causes.is_empty() { Ok(()) } else { Err(Failure::invalid(resource, name, &causes)) }
}

fn refuse(causes: &mut Causes, field: impl Into<String>, why: impl Into<String>) {
    causes.push((field.into(), why.into()));
}

/// Whether the object has the types and no other fields than those of its kind.
fn typed(resource: &Resource, object: &Value) -> Result<(), Failure> {
    use chorus::server::operator::api::{Workbench, Workspace};
    use k8s_openapi::api::{
        apps::v1::Deployment,
        batch::v1::Job,
        core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Service},
        networking::v1::NetworkPolicy,
    };
    match resource.kind {
        "Deployment" => declared::<Deployment>(object),
        "Job" => declared::<Job>(object),
        "Pod" => declared::<Pod>(object),
        "Service" => declared::<Service>(object),
        "PersistentVolume" => declared::<PersistentVolume>(object),
        "PersistentVolumeClaim" => declared::<PersistentVolumeClaim>(object),
        "NetworkPolicy" => declared::<NetworkPolicy>(object),
        "Workbench" => serde_json::from_value::<Workbench>(object.clone()).map(drop).map_err(|e| e.to_string()),
        "Workspace" => serde_json::from_value::<Workspace>(object.clone()).map(drop).map_err(|e| e.to_string()),
        _ => Ok(()),
    }
    .map_err(|why| match resource.group.contains("chorus") {
        true => {
            Failure::invalid(resource, object["metadata"]["name"].as_str().unwrap_or_default(), &[("".to_owned(), why)])
        }
        false => Failure::bad(&why),
    })
}

fn declared<T: Serialize + DeserializeOwned>(object: &Value) -> Result<(), String> {
    let read: T = serde_json::from_value(object.clone()).map_err(|e| format!("{e} in {object}"))?;
    let known = serde_json::to_value(&read).map_err(|e| e.to_string())?;
    match undeclared(object, &known, "") {
        Some(path) => Err(format!("failed to create typed patch object: {path}: field not declared in schema")),
        None => Ok(()),
    }
}

fn undeclared(given: &Value, known: &Value, path: &str) -> Option<String> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            match known.get(name) {
                Some(known) => undeclared(value, known, &path),
                // the types leave out what is empty
                None if matches!(value, Value::Null)
                    || *value == serde_json::json!([])
                    || *value == serde_json::json!({}) =>
                {
                    None
                }
                None if name == "managedFields" => None,
                None => Some(path),
            }
        }),
        (Value::Array(given), Value::Array(known)) => given
            .iter()
            .zip(known)
            .enumerate()
            .find_map(|(i, (given, known))| undeclared(given, known, &format!("{path}[{i}]"))),
        _ => None,
    }
}

fn alphanumeric(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// `a-z`, `0-9` and inner hyphens, at most 63.
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.chars().all(|c| alphanumeric(c) || c == '-')
        && text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
}

fn is_subdomain(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.split('.').all(|part| {
            !part.is_empty()
                && part.chars().all(|c| alphanumeric(c) || c == '-')
                && part.starts_with(alphanumeric)
                && part.ends_with(alphanumeric)
        })
}

/// The second half of a key, and a value that is not empty.
fn is_name(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name(name),
        None => is_name(text),
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn metadata(resource: &Resource, name: &str, old: Option<&Value>, metadata: &Value, causes: &mut Causes) {
    let fits = match resource.kind {
        "Service" => is_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase()),
        "Namespace" => is_label(name),
        _ => is_subdomain(name),
    };
    if !fits {
        refuse(causes, "metadata.name", format!("Invalid value: {name:?}: must be a DNS label or subdomain"));
    }
    labels("metadata.labels", &metadata["labels"], causes);
    for (key, _) in entries(&metadata["annotations"]) {
        if !is_key(&key.to_lowercase()) {
            refuse(causes, "metadata.annotations", format!("Invalid value: {key:?}"));
        }
    }
    let mut controllers = 0;
    for owner in items(&metadata["ownerReferences"]) {
        controllers += i32::from(owner["controller"] == true);
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(&owner[field]).is_empty() {
                refuse(causes, format!("metadata.ownerReferences.{field}"), "Required value");
            }
        }
    }
    if controllers > 1 {
        refuse(causes, "metadata.ownerReferences", "Only one reference can have Controller set to true");
    }
    let going = old.is_some_and(|old| old["metadata"]["deletionTimestamp"].is_string());
    for finalizer in items(&metadata["finalizers"]) {
        let built_in = ["foregroundDeletion", "orphan", "kubernetes"].contains(&text(finalizer));
        let qualified = text(finalizer).contains('/') && is_key(text(finalizer));
        if !built_in && !qualified {
            refuse(
                causes,
                "metadata.finalizers",
                format!(
                    "Invalid value: {finalizer}: name is neither a standard finalizer name nor is it fully qualified"
                ),
            );
        }
        if going && old.is_some_and(|old| !items(&old["metadata"]["finalizers"]).any(|one| one == finalizer)) {
            refuse(
                causes,
                "metadata.finalizers",
                "Forbidden: no new finalizers can be added if the object is being deleted",
            );
        }
    }
}

fn labels(field: &str, labels: &Value, causes: &mut Causes) {
    for (key, value) in entries(labels) {
        if !is_key(key) {
            refuse(causes, field, format!("Invalid value: {key:?}: name part must consist of alphanumeric characters"));
        }
        let value = text(value);
        if !value.is_empty() && !is_name(value) {
            refuse(
                causes,
                field,
                format!("Invalid value: {value:?}: must be no more than 63 characters, alphanumeric at both ends"),
            );
        }
    }
}

fn deployment(spec: &Value, causes: &mut Causes) {
    let strategy = &spec["strategy"];
    if strategy["type"] == "Recreate" && strategy.get("rollingUpdate").is_some() {
        refuse(
            causes,
            "spec.strategy.rollingUpdate",
            "Forbidden: may not be specified when strategy `type` is 'Recreate'",
        );
    }
    let template = &spec["template"]["metadata"]["labels"];
    if entries(&spec["selector"]["matchLabels"]).next().is_none() {
        refuse(causes, "spec.selector", "Required value");
    }
    if entries(&spec["selector"]["matchLabels"]).any(|(key, value)| template[key] != *value) {
        refuse(causes, "spec.template.metadata.labels", "Invalid value: `selector` does not match template `labels`");
    }
    template_of("Deployment", spec, &["Always"], causes);
    if spec["progressDeadlineSeconds"]
        .as_i64()
        .is_some_and(|deadline| deadline <= spec["minReadySeconds"].as_i64().unwrap_or(0))
    {
        refuse(causes, "spec.progressDeadlineSeconds", "Invalid value: must be greater than minReadySeconds");
    }
}

fn job(name: &str, spec: &Value, causes: &mut Causes) {
    if name.len() > 63 {
        refuse(causes, "metadata.name", format!("Invalid value: {name:?}: must be no more than 63 characters"));
    }
    template_of("Job", spec, &["OnFailure", "Never"], causes);
}

fn template_of(kind: &str, spec: &Value, policies: &[&str], causes: &mut Causes) {
    let template = &spec["template"];
    labels("spec.template.metadata.labels", &template["metadata"]["labels"], causes);
    pod("spec.template.spec", &template["spec"], causes);
    if !policies.contains(&text(&template["spec"]["restartPolicy"])) {
        refuse(
            causes,
            "spec.template.spec.restartPolicy",
            format!("Unsupported value in a {kind}: {}", template["spec"]["restartPolicy"]),
        );
    }
}

fn pod(at: &str, spec: &Value, causes: &mut Causes) {
    if items(&spec["containers"]).next().is_none() {
        refuse(causes, format!("{at}.containers"), "Required value");
    }
    if spec["hostname"].as_str().is_some_and(|hostname| !is_label(hostname)) {
        refuse(causes, format!("{at}.hostname"), format!("Invalid value: {}: must be a DNS label", spec["hostname"]));
    }
    let mut volumes = BTreeSet::new();
    for volume in items(&spec["volumes"]) {
        let name = text(&volume["name"]);
        if !is_label(name) || !volumes.insert(name) {
            refuse(causes, format!("{at}.volumes.name"), format!("Invalid or duplicate value: {name:?}"));
        }
    }
    let mut names = BTreeSet::new();
    for field in ["initContainers", "containers"] {
        for (index, container) in items(&spec[field]).enumerate() {
            let at = format!("{at}.{field}[{index}]");
            if !names.insert(text(&container["name"])) {
                refuse(causes, format!("{at}.name"), format!("Duplicate value: {}", container["name"]));
            }
            self::container(&at, container, &volumes, causes);
        }
    }
}

fn container(at: &str, container: &Value, volumes: &BTreeSet<&str>, causes: &mut Causes) {
    if !is_label(text(&container["name"])) {
        refuse(causes, format!("{at}.name"), format!("Invalid value: {}: must be a DNS label", container["name"]));
    }
    let image = text(&container["image"]);
    if image.is_empty() || image.trim() != image {
        refuse(causes, format!("{at}.image"), "Required value");
    }
    let mut paths = BTreeSet::new();
    for mount in items(&container["volumeMounts"]) {
        if !volumes.contains(text(&mount["name"])) {
            refuse(causes, format!("{at}.volumeMounts.name"), format!("Not found: {}", mount["name"]));
        }
        if !paths.insert(text(&mount["mountPath"])) {
            refuse(
                causes,
                format!("{at}.volumeMounts.mountPath"),
                format!("Invalid value: {}: must be unique", mount["mountPath"]),
            );
        }
        let sub_path = text(&mount["subPath"]);
        if sub_path.starts_with('/') || sub_path.split('/').any(|part| part == "..") {
            refuse(
                causes,
                format!("{at}.volumeMounts.subPath"),
                format!("Invalid value: {sub_path:?}: must be a relative path without '..'"),
            );
        }
    }
    for env in items(&container["env"]) {
        let name = text(&env["name"]);
        if name.is_empty() || name.contains('=') {
            refuse(causes, format!("{at}.env.name"), format!("Invalid value: {name:?}"));
        }
        if env.get("valueFrom").is_some() && !text(&env["value"]).is_empty() {
            refuse(
                causes,
                format!("{at}.env.valueFrom"),
                "Invalid value: may not be specified when `value` is not empty",
            );
        }
    }
    for port in items(&container["ports"]) {
        let name = text(&port["name"]);
        if name.len() > 15 || (!name.is_empty() && !is_label(name)) {
            refuse(
                causes,
                format!("{at}.ports.name"),
                format!("Invalid value: {name:?}: must be no more than 15 characters"),
            );
        }
    }
    let resources = &container["resources"];
    for (name, request) in entries(&resources["requests"]) {
        let limit = billionths(text(&resources["limits"][name]));
        if let (Some(request), Some(limit)) = (billionths(text(request)), limit)
            && request > limit
        {
            refuse(
                causes,
                format!("{at}.resources.requests"),
                format!("Invalid value: must be less than or equal to {name} limit"),
            );
        }
    }
    let security = &container["securityContext"];
    if security["privileged"] == true && security["allowPrivilegeEscalation"] == false {
        refuse(
            causes,
            format!("{at}.securityContext"),
            "Invalid value: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        );
    }
}

fn service(spec: &Value, causes: &mut Causes) {
    let ports: Vec<_> = items(&spec["ports"]).collect();
    if ports.is_empty() && spec["clusterIP"] != "None" {
        refuse(causes, "spec.ports", "Required value");
    }
    let mut names = BTreeSet::new();
    for port in &ports {
        let name = text(&port["name"]);
        if (ports.len() > 1 || !name.is_empty()) && (!is_label(name) || !names.insert(name)) {
            refuse(causes, "spec.ports.name", format!("Required, invalid or duplicate value: {name:?}"));
        }
    }
}

fn network_policy(spec: &Value, causes: &mut Causes) {
    for peer in ["ingress", "egress"]
        .iter()
        .flat_map(|direction| items(&spec[*direction]))
        .flat_map(|rule| items(&rule["from"]).chain(items(&rule["to"])))
    {
        let Some(block) = peer.get("ipBlock") else { continue };
        if peer.get("podSelector").is_some() || peer.get("namespaceSelector").is_some() {
            refuse(causes, "spec.ipBlock", "Forbidden: may not specify both ipBlock and another peer");
        }
        let cidr = network(text(&block["cidr"]));
        for except in items(&block["except"]) {
            let inside = cidr
                .zip(network(text(except)))
                .is_some_and(|((a, bits), (b, more))| more > bits && same_network(a, b, bits));
            if !inside {
                refuse(
                    causes,
                    "spec.ipBlock.except",
                    format!("Invalid value: {except}: must be a strict subset of `cidr`"),
                );
            }
        }
        if cidr.is_none() {
            refuse(causes, "spec.ipBlock.cidr", format!("Invalid value: {}", block["cidr"]));
        }
    }
}

fn network(cidr: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = cidr.split_once('/')?;
    let (address, bits): (IpAddr, u32) = (address.parse().ok()?, bits.parse().ok()?);
    (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, bits))
}

fn same_network(a: IpAddr, b: IpAddr, bits: u32) -> bool {
    let prefix = |address: IpAddr| match address {
        IpAddr::V4(a) => (u128::from(u32::from(a)) << 96).checked_shr(128 - bits).unwrap_or_default(),
        IpAddr::V6(a) => u128::from(a).checked_shr(128 - bits).unwrap_or_default(),
    };
    a.is_ipv4() == b.is_ipv4() && prefix(a) == prefix(b)
}

fn conditions(conditions: &Value, causes: &mut Causes) {
    for condition in items(conditions) {
        let reason = text(&condition["reason"]);
        let fits = reason.starts_with(|c: char| c.is_ascii_alphabetic())
            && reason.chars().all(|c| c.is_ascii_alphanumeric() || "_,:".contains(c));
        if !fits {
            refuse(causes, "status.conditions.reason", format!("Invalid value: {reason:?}"));
        }
        if !["True", "False", "Unknown"].contains(&text(&condition["status"])) {
            refuse(causes, "status.conditions.status", format!("Unsupported value: {}", condition["status"]));
        }
        if condition["lastTransitionTime"].as_str().is_none() {
            refuse(causes, "status.conditions.lastTransitionTime", "Required value");
        }
    }
}

/// Changes to what never changes.
fn unchanged(resource: &Resource, old: &Value, new: &Value, causes: &mut Causes) {
    let fields: &[&str] = match resource.kind {
        "Deployment" => &["/spec/selector"],
        "Job" => &["/spec/selector", "/spec/completions", "/spec/completionMode"],
        "Service" => &["/spec/clusterIP"],
        "PersistentVolume" => &["/spec/csi", "/spec/nfs", "/spec/hostPath", "/spec/volumeMode"],
        "PersistentVolumeClaim" => {
            &["/spec/accessModes", "/spec/storageClassName", "/spec/volumeMode", "/spec/selector"]
        }
        _ => &[],
    };
    let mut fixed = fields.to_vec();
    if resource.kind == "PersistentVolumeClaim" && !text(&old["spec"]["volumeName"]).is_empty() {
        fixed.push("/spec/volumeName");
    }
    for field in fixed {
        if old.pointer(field) != new.pointer(field) {
            refuse(causes, field.trim_start_matches('/').replace('/', "."), "Invalid value: field is immutable");
        }
    }
    if resource.kind == "Job" && job_template(old) != job_template(new) {
        refuse(causes, "spec.template", "Invalid value: field is immutable");
    }
    if resource.kind == "PersistentVolumeClaim" {
        let size =
            |claim: &Value| claim.pointer("/spec/resources/requests/storage").and_then(|size| billionths(text(size)));
        if size(new) < size(old) {
            refuse(causes, "spec.resources.requests.storage", "Forbidden: field can not be less than previous value");
        }
    }
}

/// The template of a Job, without what may change while it is suspended and was never started.
fn job_template(job: &Value) -> Value {
    let mut template = job["spec"]["template"].clone();
    if job["spec"]["suspend"] == true && job["status"]["startTime"].is_null() {
        for (at, field) in [
            ("/spec", "nodeSelector"),
            ("/spec", "tolerations"),
            ("/spec", "affinity"),
            ("/spec", "schedulingGates"),
            ("/metadata", "annotations"),
        ] {
            template.pointer_mut(at).and_then(Value::as_object_mut).map(|map| map.remove(field));
        }
    }
    template
}
