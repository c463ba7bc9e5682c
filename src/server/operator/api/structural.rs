//! The structural schemas of CRDs, applied as the API server applies them: defaults are filled in, and what does not fit is
//! named with its path. For tools that work without a cluster, or look at what an older schema let in.
//!
//! Rules in CEL are left to the API server: they compare with an older object, which there is none of here.

use std::fmt;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::{Map, Value};

/// A place in an object that its schema does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `spec.apps.a.name`.
    pub path: String,
    /// What is wrong. It never quotes the value, which may be a secret.
    pub message: String,
}

impl Problem {
    /// Whether it is a field that the schema does not have. The API server drops such fields instead of refusing them.
    pub fn is_unknown_field(&self) -> bool {
        self.message.starts_with(UNKNOWN)
    }
}

/// How the message about a field begins that the schema does not have.
const UNKNOWN: &str = "there is no field";

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

/// Fills in the defaults of absent fields; fields that are null count as absent.
pub fn fill(schema: &JSONSchemaProps, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, property) in schema.properties.iter().flatten() {
                if fields.get(name).is_some_and(Value::is_null) {
                    fields.remove(name);
                }
                if let (None, Some(default)) = (fields.get(name), &property.default) {
                    fields.insert(name.clone(), default.0.clone());
                }
                if let Some(field) = fields.get_mut(name) {
                    fill(property, field);
                }
            }
            if let Some(values) = map_values(schema) {
                fields.values_mut().for_each(|field| fill(values, field));
            }
        }
        Value::Array(items) => {
            if let Some(schema) = list_items(schema) {
                items.iter_mut().for_each(|item| fill(schema, item));
            }
        }
        _ => {}
    }
}

/// Everything in the value that the schema does not allow. The metadata of objects is not looked at.
pub fn check(schema: &JSONSchemaProps, value: &Value) -> Vec<Problem> {
    let mut found = Check { at: Vec::new(), problems: Vec::new() };
    found.value(schema, value);
    found.problems
}

struct Check {
    /// The path so far, in pieces that are joined without anything between them.
    at: Vec<String>,
    problems: Vec<Problem>,
}

impl Check {
    fn problem(&mut self, message: impl Into<String>) {
        let path = self.at.concat().trim_start_matches('.').to_owned();
        self.problems.push(Problem { path, message: message.into() });
    }

    fn below(&mut self, piece: String, schema: &JSONSchemaProps, value: &Value) {
        self.at.push(piece);
        self.value(schema, value);
        self.at.pop();
    }

    fn value(&mut self, schema: &JSONSchemaProps, value: &Value) {
        if let Some(wanted) = wrong_type(schema, value) {
            return self.problem(format!("must be {wanted}, is {}", kind_of(value)));
        }
        if let Some(allowed) = schema.enum_.as_ref().filter(|allowed| !allowed.iter().any(|one| one.0 == *value)) {
            let names: Vec<_> = allowed.iter().filter_map(|one| one.0.as_str()).collect();
            return self.problem(format!("must be one of {}", names.join(", ")));
        }
        match value {
            Value::String(text) => self.text(schema, text),
            Value::Number(_) => self.number(schema, value.as_f64().unwrap_or_default()),
            Value::Array(items) => self.list(schema, items),
            Value::Object(fields) => self.object(schema, fields),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn text(&mut self, schema: &JSONSchemaProps, text: &str) {
        let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        if schema.min_length.is_some_and(|least| length < least) {
            self.problem("must not be empty");
        }
        if let Some(most) = schema.max_length.filter(|most| length > *most) {
            self.problem(format!("must not be longer than {most} characters, is {length} long"));
        }
        let fits = |pattern: &String| Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text));
        if let Some(pattern) = schema.pattern.as_ref().filter(|pattern| !fits(pattern)) {
            self.problem(format!("must match {pattern}"));
        }
    }

    fn number(&mut self, schema: &JSONSchemaProps, number: f64) {
        if let Some(least) = schema.minimum.filter(|least| number < *least) {
            self.problem(format!("must be at least {least}"));
        }
        if let Some(most) = schema.maximum.filter(|most| number > *most) {
            self.problem(format!("must be at most {most}"));
        }
    }

    fn list(&mut self, schema: &JSONSchemaProps, items: &[Value]) {
        self.size(schema.max_items, items.len(), "items");
        if let Some(item) = list_items(schema) {
            for (index, value) in items.iter().enumerate() {
                self.below(format!("[{index}]"), item, value);
            }
        }
        let keys = schema.x_kubernetes_list_map_keys.as_deref().unwrap_or_default();
        let key = |item: &Value| keys.iter().map(|key| item[key].clone()).collect::<Vec<_>>();
        let same = |one: &Value, other: &Value| if keys.is_empty() { one == other } else { key(one) == key(other) };
        let marked = matches!(schema.x_kubernetes_list_type.as_deref(), Some("set" | "map"));
        let repeated =
            |(index, item): (usize, &Value)| items.iter().take(index).any(|other| same(item, other)).then_some(index);
        if let Some(index) = items.iter().enumerate().find_map(repeated).filter(|_| marked) {
            self.problem(format!("item {index} is there already"));
        }
    }

    fn object(&mut self, schema: &JSONSchemaProps, fields: &Map<String, Value>) {
        self.size(schema.max_properties, fields.len(), "entries");
        for name in schema.required.iter().flatten().filter(|name| !fields.contains_key(*name)) {
            self.problem(format!("{name} is missing"));
        }
        let root = self.at.is_empty();
        for (name, value) in fields {
            let property = schema.properties.as_ref().and_then(|properties| properties.get(name));
            match property.or_else(|| map_values(schema)) {
                Some(schema) => self.below(format!(".{name}"), schema, value),
                None if root && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") => {}
                None if schema.x_kubernetes_preserve_unknown_fields == Some(true) => {}
                None => self.problem(format!("{UNKNOWN} {name}")),
            }
        }
    }

    fn size(&mut self, most: Option<i64>, size: usize, what: &str) {
        if let Some(most) = most.filter(|most| i64::try_from(size).unwrap_or(i64::MAX) > *most) {
            self.problem(format!("must not have more than {most} {what}, has {size}"));
        }
    }
}

/// What the value should be, if it is something else.
fn wrong_type<'a>(schema: &'a JSONSchemaProps, value: &Value) -> Option<&'a str> {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return (!whole(value) && !value.is_string()).then_some("integer or string");
    }
    let wanted = schema.type_.as_deref()?;
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => whole(value),
        "number" => value.is_number(),
        _ => true,
    };
    (!fits).then_some(wanted)
}

fn whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64()
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if whole(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn map_values(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => Some(values),
        _ => None,
    }
}

fn list_items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::crds::crds, *};

    fn schema(kind: &str) -> JSONSchemaProps {
        let crd = crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
        crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap()
    }

    #[test]
    fn defaults_of_what_is_there() {
        let mut workbench = json!({ "kind": "Workbench", "spec": {
            "server": { "user": null }, "storage": { "s3": false }, "apps": { "a": { "name": "a", "image": {} } },
        } });
        fill(&schema("Workbench"), &mut workbench);
        assert_eq!(
            workbench["spec"],
            json!({
                "server": { "version": "latest", "user": "chorus", "userid": 1001, "clipboard": "disabled" },
                "serviceAccountName": "default",
                "storage": { "s3": false, "nfs": true, "local": false },
                "apps": { "a": { "name": "a", "state": "Running", "image": { "tag": "latest" } } },
            })
        );
        let mut empty = json!({ "kind": "Workbench" });
        fill(&schema("Workbench"), &mut empty);
        assert_eq!(empty, json!({ "kind": "Workbench" }));
    }

    #[test]
    fn problems_are_named_with_their_path() {
        let app = json!({ "name": "a", "image": {} });
        let apps = |count: usize| (0..count).map(|n| (n.to_string(), app.clone())).collect::<Map<_, _>>();
        let workbench = |spec: Value| ("Workbench", json!({ "metadata": { "any": 1 }, "spec": spec }));
        let workspace = |spec: Value| ("Workspace", json!({ "spec": spec }));
        let cases = [
            (workbench(json!({})), ""),
            (workbench(json!({ "apps": apps(64) })), ""),
            (workbench(json!({ "apps": apps(65) })), "spec.apps: must not have more than 64 entries, has 65"),
            (workbench(json!({ "apps": { "a": {} } })), "spec.apps.a: image is missing; spec.apps.a: name is missing"),
            (workbench(json!({ "server": { "userid": 1000 } })), "spec.server.userid: must be at least 1001"),
            (workbench(json!({ "server": { "userid": "1001" } })), "spec.server.userid: must be integer, is string"),
            (workbench(json!({ "server": { "user": "" } })), ""),
            (
                workbench(json!({ "server": { "user": "../other" } })),
                r"spec.server.user: must match ^([a-zA-Z0-9_][a-zA-Z0-9_\-\.]*)?$",
            ),
            (
                workbench(json!({ "server": { "clipboard": "all" } })),
                "spec.server.clipboard: must be one of disabled, to-server, to-client, both",
            ),
            (workbench(json!({ "serverr": {} })), "spec: there is no field serverr"),
            (workbench(json!({ "imagePullSecrets": ["a", ""] })), "spec.imagePullSecrets[1]: must not be empty"),
            (
                workbench(
                    json!({ "server": { "resources": { "limits": { "cpu": 1, "memory": "1Gi", "gpu": true } } } }),
                ),
                "spec.server.resources.limits.gpu: must be integer or string, is boolean",
            ),
            (
                workbench(
                    json!({ "server": { "resources": { "claims": [{ "name": "a" }, { "name": "a", "request": "b" }] } } }),
                ),
                "spec.server.resources.claims: item 1 is there already",
            ),
            (workspace(json!({})), "spec: networkPolicy is missing"),
            (
                workspace(json!({ "networkPolicy": "Open", "allowedFQDNs": ["a.b", "a.b"] })),
                "spec.allowedFQDNs: item 1 is there already",
            ),
            (
                workspace(json!({ "networkPolicy": "Open", "services": { "s": {
                    "chart": { "tag": "1" }, "values": { "any": [1, { "thing": null }] } } } })),
                "",
            ),
        ];
        for ((kind, object), wanted) in cases {
            let found: Vec<_> = check(&schema(kind), &object).iter().map(ToString::to_string).collect();
            assert_eq!(found.join("; "), wanted, "{object}");
        }
    }

    /// What a backend of a running cluster sends passes, for the least and the greatest that it may send.
    #[test]
    fn what_clients_send_passes() {
        for (user, uid, app) in [
            ("", 1001, "unknown-1"),
            (&*"u".repeat(64), 2_000_000_000, &*format!("{}-{}", "a".repeat(15), "9".repeat(14))),
        ] {
            let workbench = json!({ "spec": {
                "server": { "version": "6.3-1", "initialResolutionWidth": 0, "initialResolutionHeight": 16_384, "user": user,
                    "userid": uid, "clipboard": "both" },
                "apps": { "app-instance-1": { "name": app, "state": "Running",
                    "image": { "registry": "registry.example.org:5000", "repository": "apps/kiosk", "tag": "1.2_3-rc.1" },
                    "shmSize": "1Gi",
                    "kioskConfig": { "url": "https://example.org/?a=b c", "jwtUrl": "https://x", "jwtToken": "" },
                    "browserConfig": { "url": "https://example.org" } } },
                "serviceAccountName": "",
                "imagePullSecrets": ["regcred"],
            } });
            assert_eq!(check(&schema("Workbench"), &workbench), []);
        }
    }
}
