//! What the API server fills in where an object says nothing, and how it rewrites quantities.

use serde_json::{Map, Value, json};

use super::resources::Resource;

/// Fills in the defaults of a kind.
pub fn fill(resource: &Resource, object: &mut Value) {
    match resource.kind {
        "Deployment" => deployment(&mut object["spec"]),
        "Job" => job(object),
        "Pod" => {
            pod_spec(&mut object["spec"]);
            default(&mut object["spec"], json!({ "enableServiceLinks": true, "serviceAccountName": "default" }));
            default(&mut object["status"], json!({ "phase": "Pending" }));
        }
        "Service" => service(object),
        "PersistentVolume" => {
            default(
                &mut object["spec"],
                json!({ "volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Retain" }),
            );
            each(&mut object["spec"], "hostPath", |path| default(path, json!({ "type": "" })));
        }
        "PersistentVolumeClaim" => default(&mut object["spec"], json!({ "volumeMode": "Filesystem" })),
        "NetworkPolicy" => network_policy(&mut object["spec"]),
        "Secret" => secret(object),
        "Workbench" => workbench(object),
        "Workspace" => {
            for service in values(object.pointer_mut("/spec/services")) {
                default(service, json!({ "state": "Running" }));
            }
        }
        _ => return,
    }
    if !resource.group.contains("chorus") {
        quantities(object, false);
    }
}

/// Puts what is absent in `object` there from `defaults`, deeply.
fn default(object: &mut Value, defaults: Value) {
    match (object, defaults) {
        (Value::Object(object), Value::Object(defaults)) => {
            for (name, value) in defaults {
                match object.get_mut(&name) {
                    Some(there) if there.is_object() && value.is_object() => default(there, value),
                    Some(_) => {}
                    None => drop(object.insert(name, value)),
                }
            }
        }
        (object @ Value::Null, defaults) => *object = defaults,
        _ => {}
    }
}

fn each(object: &mut Value, field: &str, change: impl Fn(&mut Value)) {
    match object.get_mut(field) {
        Some(Value::Array(list)) => list.iter_mut().for_each(change),
        Some(value @ Value::Object(_)) => change(value),
        _ => {}
    }
}

fn values(map: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    map.and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
}

fn deployment(spec: &mut Value) {
    default(spec, json!({ "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600 }));
    default(&mut spec["strategy"], json!({ "type": "RollingUpdate" }));
    if spec["strategy"]["type"] == "RollingUpdate" {
        default(&mut spec["strategy"], json!({ "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } }));
    }
    pod_spec(&mut spec["template"]["spec"]);
}

fn job(job: &mut Value) {
    let (uid, name) = (job["metadata"]["uid"].clone(), job["metadata"]["name"].clone());
    default(
        &mut job["spec"],
        json!({ "parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": false,
            "manualSelector": false, "podReplacementPolicy": "TerminatingOrFailed",
            "selector": { "matchLabels": { "batch.kubernetes.io/controller-uid": uid } },
            "template": { "metadata": { "labels": { "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name,
                "controller-uid": uid, "job-name": name } } } }),
    );
    pod_spec(&mut job["spec"]["template"]["spec"]);
    // a Job without labels gets those of its pods
    let labels = job["spec"]["template"]["metadata"]["labels"].clone();
    if job["metadata"].get("labels").is_none() {
        job["metadata"]["labels"] = labels;
    }
}

fn pod_spec(spec: &mut Value) {
    default(
        spec,
        json!({ "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "securityContext": {}, "schedulerName": "default-scheduler" }),
    );
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        spec["serviceAccount"] = account;
    }
    each(spec, "initContainers", container);
    each(spec, "containers", container);
    each(spec, "volumes", |volume| {
        each(volume, "hostPath", |path| default(path, json!({ "type": "" })));
        for files in ["secret", "configMap", "projected", "downwardAPI"] {
            each(volume, files, |source| default(source, json!({ "defaultMode": 420 })));
        }
    });
}

fn container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let tag = image.rsplit('/').next().and_then(|last| last.split_once(':')).map_or("latest", |(_, tag)| tag);
    let pull = if tag == "latest" { "Always" } else { "IfNotPresent" };
    default(
        container,
        json!({ "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "imagePullPolicy": pull, "resources": {} }),
    );
    each(container, "ports", |port| default(port, json!({ "protocol": "TCP" })));
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        each(container, probe, |probe| {
            default(
                probe,
                json!({ "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3 }),
            );
            each(probe, "httpGet", |get| default(get, json!({ "path": "/", "scheme": "HTTP" })));
        });
    }
    each(container, "env", |env| {
        if let Some(field) = env.pointer_mut("/valueFrom/fieldRef") {
            default(field, json!({ "apiVersion": "v1" }));
        }
    });
}

fn service(service: &mut Value) {
    // one address for each uid, so that it is the same whenever it is asked for
    let number = service["metadata"]["uid"]
        .as_str()
        .and_then(|uid| u64::from_str_radix(&uid[uid.len().saturating_sub(12)..], 16).ok());
    let number = number.unwrap_or_default();
    let address = format!("10.{}.{}.{}", 96 + (number >> 16) % 16, (number >> 8) % 256, number % 256);
    let spec = &mut service["spec"];
    default(
        spec,
        json!({ "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack", "clusterIP": address }),
    );
    let address = spec["clusterIP"].clone();
    default(spec, json!({ "clusterIPs": [address] }));
    each(spec, "ports", |port| {
        let number = port["port"].clone();
        default(port, json!({ "protocol": "TCP", "targetPort": number }));
    });
    default(&mut service["status"], json!({ "loadBalancer": {} }));
}

fn network_policy(spec: &mut Value) {
    for direction in ["ingress", "egress"] {
        each(spec, direction, |rule| each(rule, "ports", |port| default(port, json!({ "protocol": "TCP" }))));
    }
    let types = if spec.get("egress").is_some() { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    default(spec, json!({ "policyTypes": types }));
}

fn secret(secret: &mut Value) {
    default(secret, json!({ "type": "Opaque" }));
    let Some(Value::Object(texts)) = secret.as_object_mut().and_then(|map| map.remove("stringData")) else { return };
    for (name, text) in texts {
        let bytes = k8s_openapi::ByteString(text.as_str().unwrap_or_default().as_bytes().to_vec());
        secret["data"][name] = serde_json::to_value(bytes).unwrap_or_default();
    }
}

/// The defaults of the schema of running clusters.
fn workbench(workbench: &mut Value) {
    let Some(spec) = workbench.get_mut("spec") else { return };
    default(spec, json!({ "serviceAccountName": "default" }));
    each(spec, "server", |server| {
        default(server, json!({ "version": "latest", "user": "chorus", "userid": 1001, "clipboard": "disabled" }));
    });
    each(spec, "initContainer", |init| default(init, json!({ "version": "latest" })));
    each(spec, "storage", |storage| default(storage, json!({ "s3": true, "nfs": true, "local": false })));
    for app in values(spec.get_mut("apps")) {
        default(app, json!({ "state": "Running", "image": { "tag": "latest" } }));
    }
}

/// Writes every quantity in its canonical form.
fn quantities(value: &mut Value, amounts: bool) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let one = name == "sizeLimit" || (amounts && !value.is_object());
                if one && (value.is_string() || value.is_number()) {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    *value = canonical(&text).unwrap_or(text).into();
                } else {
                    quantities(value, matches!(name.as_str(), "limits" | "requests" | "capacity"));
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|item| quantities(item, false)),
        _ => {}
    }
}

const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];

/// A quantity in billionths.
pub fn billionths(text: &str) -> Option<i128> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let scale = match BINARY.iter().position(|one| *one == suffix) {
        Some(power) => 1_000_000_000 * 1024_i128.pow(u32::try_from(power).ok()?),
        None => 1000_i128.pow(u32::try_from(DECIMAL.iter().position(|one| *one == suffix)?).ok()?),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{part}").parse().ok()?;
    Some(digits * scale / 10_i128.pow(u32::try_from(part.len()).ok()?))
}

/// The shortest way to write a quantity without a fraction, in the family of its suffix.
fn canonical(text: &str) -> Option<String> {
    let amount = billionths(text)?;
    let unit = 1_000_000_000;
    let binary = text.ends_with('i') && amount.abs() >= 1024 * unit;
    let (mut left, mut power, step, names) =
        if binary { (amount / unit, 0, 1024, &BINARY[..]) } else { (amount, 0, 1000, &DECIMAL[..]) };
    if left == 0 {
        return Some("0".to_owned());
    }
    while left % step == 0 && power + 1 < names.len() {
        left /= step;
        power += 1;
    }
    Some(format!("{left}{}", names[power]))
}

#[cfg(test)]
mod tests {
    use super::{super::resources::by_kind, *};

    #[test]
    fn quantities_are_canonical() {
        for (given, stored) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("500m", "500m"),
            ("2", "2"),
            ("1000", "1k"),
            ("1Ki", "1Ki"),
            ("0", "0"),
            ("0.5Ki", "512"),
            ("100Mi", "100Mi"),
            ("3M", "3M"),
        ] {
            assert_eq!(canonical(given).as_deref(), Some(stored), "{given}");
        }
    }

    #[test]
    fn what_is_filled_in() {
        let pod = json!({ "containers": [{ "name": "a", "image": "h:5000/x" }] });
        for (kind, given, path, filled) in [
            (
                "Deployment",
                json!({ "spec": { "template": { "spec": pod } } }),
                "/spec/strategy/rollingUpdate/maxSurge",
                json!("25%"),
            ),
            (
                "Deployment",
                json!({ "spec": { "strategy": { "type": "Recreate" } } }),
                "/spec/strategy/rollingUpdate",
                Value::Null,
            ),
            (
                "Deployment",
                json!({ "spec": { "template": { "spec": pod } } }),
                "/spec/template/spec/containers/0/imagePullPolicy",
                json!("Always"),
            ),
            (
                "Job",
                json!({ "metadata": { "uid": "u" }, "spec": {} }),
                "/spec/template/metadata/labels/controller-uid",
                json!("u"),
            ),
            ("Job", json!({ "spec": { "suspend": true } }), "/spec/suspend", json!(true)),
            ("Service", json!({ "spec": { "ports": [{ "port": 80 }] } }), "/spec/ports/0/targetPort", json!(80)),
            ("Service", json!({ "spec": { "clusterIP": "None" } }), "/spec/clusterIPs/0", json!("None")),
            ("NetworkPolicy", json!({ "spec": { "egress": [] } }), "/spec/policyTypes/1", json!("Egress")),
            (
                "PersistentVolumeClaim",
                json!({ "spec": { "resources": { "requests": { "storage": "1024Mi" } } } }),
                "/spec/resources/requests/storage",
                json!("1Gi"),
            ),
            ("Secret", json!({ "stringData": { "a": "b" } }), "/data/a", json!("Yg==")),
            (
                "Workbench",
                json!({ "spec": { "apps": { "a": { "image": {} } } } }),
                "/spec/apps/a/image/tag",
                json!("latest"),
            ),
            ("Workbench", json!({ "spec": {} }), "/spec/server", Value::Null),
        ] {
            let mut object = given.clone();
            fill(by_kind(kind), &mut object);
            assert_eq!(object.pointer(path).cloned().unwrap_or_default(), filled, "{kind} {given} {path}");
        }
    }
}
