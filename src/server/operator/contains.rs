//! Whether an object in the cluster already is what is wanted.
//!
//! What an API server gives back differs from what it was sent: it fills in defaults, leaves out what is empty, writes
//! quantities in another form, and others add labels and annotations. Applying again and again for that would never end, so
//! an apply is only asked for when something that is wanted does not hold. Where more than is wanted changes the meaning (a
//! rule of a network policy, a container beside ours, a selector), more is a difference too.

use serde_json::{Map, Value};

use crate::server::quantity::Quantity;

/// Whether everything that `wanted` says holds in `live`: lists by their merge key, quantities by value, and what is absent
/// from `live` counts as its default. A null in `wanted` says that the field is absent. `live` may lack `apiVersion`, `kind`,
/// `metadata.name` and `metadata.namespace`, by which it was found.
pub fn contains(live: &Value, wanted: &Value) -> bool {
    let metadata = ["labels", "annotations", "ownerReferences"].into_iter().all(|field| {
        let wanted = &wanted["metadata"][field];
        wanted.is_null() || value(&live["metadata"][field], wanted, &At { key: field, ..At::default() })
    });
    let kind = wanted["kind"].as_str().unwrap_or_default();
    let body = match kind {
        "NetworkPolicy" | "CiliumNetworkPolicy" => policy(live, kind) == policy(wanted, kind),
        _ => fields(wanted).all(|(key, wanted)| value(&live[key], wanted, &At { kind, key, ..At::default() })),
    };
    metadata && body
}

/// The fields of an object beside those by which it is found, and its status.
fn fields(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let found_by = |key: &str| matches!(key, "apiVersion" | "kind" | "metadata" | "status");
    object
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value))
        .filter(move |(key, _)| !found_by(key))
}

/// Where a value is, as far as its meaning depends on that.
#[derive(Clone, Copy, Default)]
struct At<'a> {
    /// The kind of the object.
    kind: &'a str,
    /// The field around the one that holds it.
    parent: &'a str,
    /// The field that holds it.
    key: &'a str,
}

fn value(live: &Value, wanted: &Value, at: &At<'_>) -> bool {
    match (live, wanted) {
        (Value::Null, wanted) => dropped(wanted, at),
        (Value::Object(live), Value::Object(wanted)) => object(live, wanted, at),
        (Value::Array(live), Value::Array(wanted)) => list(live, wanted, at),
        (live, wanted) => live == wanted || scalar(live, wanted, at),
    }
}

/// Maps that are replaced as a whole, so that one entry more changes what they select.
fn atomic(at: &At<'_>) -> bool {
    matches!(at.key, "matchLabels" | "nodeSelector") || at.key == "selector" && at.kind == "Service"
}

fn object(live: &Map<String, Value>, wanted: &Map<String, Value>, at: &At<'_>) -> bool {
    let inner = |key| At { kind: at.kind, parent: at.key, key };
    (!atomic(at) || live.len() == wanted.len())
        && wanted.iter().all(|(key, wanted)| value(live.get(key).unwrap_or(&Value::Null), wanted, &inner(key)))
}

fn list(live: &[Value], wanted: &[Value], at: &At<'_>) -> bool {
    let inner = At { parent: at.key, ..*at };
    let Some(keys) = merge_keys(at.key) else {
        return live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| value(live, wanted, &inner));
    };
    // Nobody puts a container or a volume into a pod of ours: that would run beside the user's data.
    let closed = matches!(at.key, "containers" | "initContainers" | "volumes");
    (!closed || live.len() == wanted.len())
        && wanted.iter().all(|wanted| {
            live.iter().any(|live| keys.iter().all(|key| same_key(live, wanted, key)) && value(live, wanted, &inner))
        })
}

/// The fields by which server-side apply tells the elements of a list apart; none for a list that is replaced as a whole.
fn merge_keys(list: &str) -> Option<&'static [&'static str]> {
    Some(match list {
        "containers" | "initContainers" | "volumes" | "env" | "imagePullSecrets" | "claims" => &["name"],
        "volumeMounts" => &["mountPath"],
        "ports" => &["containerPort", "port", "protocol"],
        "ownerReferences" => &["uid"],
        "conditions" => &["type"],
        _ => return None,
    })
}

/// Whether two elements agree in one of their merge keys; the protocol is TCP when absent.
fn same_key(live: &Value, wanted: &Value, key: &str) -> bool {
    let of = |element: &Value| match &element[key] {
        Value::Null if key == "protocol" => "TCP".into(),
        value => value.clone(),
    };
    of(live) == of(wanted)
}

fn scalar(live: &Value, wanted: &Value, at: &At<'_>) -> bool {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let (Some(live), Some(wanted)) = (text(live), text(wanted)) else { return false };
    let is_quantity = at.key == "sizeLimit" || matches!(at.parent, "limits" | "requests" | "capacity");
    let is_port = matches!(at.key, "port" | "targetPort");
    let same_amount = || Quantity::parse(&live).is_some_and(|live| Quantity::parse(&wanted) == Some(live));
    live == wanted && (is_quantity || is_port) || is_quantity && same_amount()
}

/// Whether Kubernetes leaves this value out of what it gives back, or means the same by its absence.
fn dropped(wanted: &Value, at: &At<'_>) -> bool {
    match wanted {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => {
            map.is_empty()
                && matches!(at.key, "labels" | "annotations" | "matchLabels" | "limits" | "requests" | "nodeSelector")
        }
        // Others (`automountServiceAccountToken`, `allowPrivilegeEscalation` …) are true when absent.
        Value::Bool(wanted) => {
            !wanted
                && matches!(
                    at.key,
                    "readOnly" | "stdin" | "stdinOnce" | "tty" | "hostNetwork" | "hostPID" | "hostIPC" | "paused"
                )
        }
        Value::Number(wanted) => {
            wanted.as_i64() == Some(0) && matches!(at.key, "initialDelaySeconds" | "hostPort" | "nodePort")
        }
        Value::String(wanted) => match at.key {
            "value" | "subPath" => wanted.is_empty(),
            // A claim without class gets the default one; a volume without class has none.
            "storageClassName" => wanted.is_empty() && at.kind == "PersistentVolume",
            "protocol" => wanted == "TCP",
            _ => false,
        },
    }
}

/// What a network policy says, in one form, to be compared as a whole: a rule, a peer or a port more admits more.
fn policy(object: &Value, kind: &str) -> Map<String, Value> {
    let said = fields(object).map(|(key, value)| (key.to_owned(), plain(value, kind)));
    said.filter(|(_, value)| !value.is_null()).collect()
}

/// Leaves out what the API server leaves out, and fills in what it fills in.
fn plain(value: &Value, kind: &str) -> Value {
    let of_kubernetes = kind == "NetworkPolicy";
    match value {
        Value::Array(list) => list.iter().map(|value| plain(value, kind)).collect(),
        Value::Object(map) => {
            let mut map: Map<String, Value> = map
                .iter()
                .filter(|(key, value)| {
                    let empty = value.as_array().is_some_and(Vec::is_empty)
                        || *key == "matchLabels" && value.as_object().is_some_and(Map::is_empty);
                    !(value.is_null() || of_kubernetes && empty)
                })
                .map(|(key, value)| (key.clone(), plain(value, kind)))
                .collect();
            if of_kubernetes && map.contains_key("port") {
                map.entry("protocol").or_insert_with(|| "TCP".into());
            }
            Value::Object(map)
        }
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests;
