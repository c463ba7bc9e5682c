//! The CRDs, field by field, against tables written by hand: what clients of running clusters rely on, and what we add.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::*;

/// What clients of running clusters rely on. `.*` is any key of a map, `[]` any item of a list.
const WORKBENCH: &str = r#"
spec                                    type=object
spec.server                             type=object
spec.server.version                     type=string default="latest"
spec.server.initialResolutionWidth      type=integer
spec.server.initialResolutionHeight     type=integer
spec.server.user                        type=string default="chorus"
spec.server.userid                      type=integer default=1001 minimum=1001
spec.server.clipboard                   type=string default="disabled" enum=["disabled","to-server","to-client","both"]
spec.server.resources                   RESOURCES
spec.initContainer                      type=object
spec.initContainer.version              type=string default="latest"
spec.apps                               type=object
spec.apps.*                             type=object
spec.apps.*.name                        type=string required minLength=1 maxLength=30
spec.apps.*.state                       type=string default="Running" enum=["Running","Stopped","Killed"]
spec.apps.*.image                       type=object required
spec.apps.*.image.registry              type=string
spec.apps.*.image.repository            type=string
spec.apps.*.image.tag                   type=string default="latest"
spec.apps.*.shmSize                     QUANTITY
spec.apps.*.resources                   RESOURCES
spec.apps.*.kioskConfig                 type=object
spec.apps.*.kioskConfig.url             type=string required
spec.apps.*.kioskConfig.jwtUrl          type=string
spec.apps.*.kioskConfig.jwtToken        type=string
spec.serviceAccountName                 type=string default="default"
spec.imagePullSecrets                   type=array
spec.imagePullSecrets[]                 type=string minLength=1
spec.storage                            type=object
spec.storage.s3                         type=boolean default=true
spec.storage.nfs                        type=boolean default=true
spec.storage.local                      type=boolean default=false
status                                  type=object
status.observedGeneration               type=integer required format="int64"
status.serverDeployment                 type=object required
status.serverDeployment.revision        type=integer required
status.serverDeployment.status          type=string required enum=["Running","Progressing","Failed"]
status.serverDeployment.serverPod       type=object
status.serverDeployment.serverPod.status       type=string required enum=["Waiting","Starting","Ready","Failing","Restarting","Terminating","Terminated","Unknown"]
status.serverDeployment.serverPod.ready        type=boolean required
status.serverDeployment.serverPod.restartCount type=integer required format="int32"
status.serverDeployment.serverPod.message      type=string
status.apps                             type=object
status.apps.*                           type=object
status.apps.*.revision                  type=integer required
status.apps.*.status                    type=string required enum=["Unknown","Running","Complete","Progressing","Failed","Stopping","Stopped","Killing","Killed"]
status.apps.*.message                   type=string
"#;

/// What we add to it: bounds, anchored patterns, fields.
const WORKBENCH_ADDITIONS: &str = r#"
spec.server.version                     maxLength=128 pattern="^([a-zA-Z0-9_][a-zA-Z0-9_\\-\\.]*)?$"
spec.server.initialResolutionWidth      minimum=0 maximum=65535
spec.server.initialResolutionHeight     minimum=0 maximum=65535
spec.server.user                        maxLength=255 pattern="^([a-zA-Z0-9_][a-zA-Z0-9_\\-\\.]*)?$"
spec.server.userid                      maximum=2147483647
spec.initContainer.version              maxLength=128 pattern="^([a-zA-Z0-9_][a-zA-Z0-9_\\-\\.]*)?$"
spec.apps                               maxProperties=64
spec.apps.*.name                        pattern="^[a-zA-Z0-9_][a-zA-Z0-9_\\-\\.]*$"
spec.apps.*.image.registry              maxLength=255
spec.apps.*.image.repository            maxLength=255
spec.apps.*.image.tag                   maxLength=128 pattern="^[a-zA-Z0-9_][a-zA-Z0-9_\\-\\.]*$"
spec.apps.*.kioskConfig.url             maxLength=8192 pattern="^https://.*$"
spec.apps.*.kioskConfig.jwtUrl          maxLength=8192 pattern="^https://.*$"
spec.apps.*.kioskConfig.jwtToken        maxLength=16384
spec.apps.*.browserConfig               type=object
spec.apps.*.browserConfig.url           type=string required maxLength=8192 pattern="^https://.*$"
spec.apps.*.browserConfig.jwtUrl        type=string maxLength=8192 pattern="^https://.*$"
spec.apps.*.browserConfig.jwtToken      type=string maxLength=16384
spec.apps.*.restartGeneration           type=integer minimum=0 x-kubernetes-validations=[{"message":"must_not_decrease","rule":"self_>=_oldSelf"}]
spec.serviceAccountName                 maxLength=253 pattern="^([a-z0-9]([a-z0-9\\-\\.]*[a-z0-9])?)?$"
spec.imagePullSecrets                   maxItems=64
spec.imagePullSecrets[]                 maxLength=253
spec.suspended                          type=boolean
status.apps.*.reason                    type=string
status.apps.*.restartGeneration         type=integer
status.conditions                       CONDITIONS
"#;

/// What clients of running clusters rely on.
const WORKSPACE: &str = r#"
spec                                    type=object
spec.networkPolicy                      type=string required enum=["Open","Airgapped","FQDNAllowlist"]
spec.allowedFQDNs                       type=array maxItems=64 x-kubernetes-list-type="set"
spec.allowedFQDNs[]                     type=string maxLength=253
spec.services                           type=object
spec.services.*                         type=object
spec.services.*.state                   type=string default="Running" enum=["Running","Stopped","Deleted"]
spec.services.*.chart                   type=object required
spec.services.*.chart.registry          type=string
spec.services.*.chart.repository        type=string
spec.services.*.chart.tag               type=string required
spec.services.*.values                  x-kubernetes-preserve-unknown-fields=true
spec.services.*.credentials             type=object
spec.services.*.credentials.secretName  type=string
spec.services.*.credentials.paths       type=array
spec.services.*.credentials.paths[]     type=string
spec.services.*.connectionInfoTemplate  type=string
spec.services.*.computedValues          type=object
spec.services.*.computedValues.*        type=string
status                                  type=object
status.observedGeneration               type=integer format="int64"
status.networkPolicy                    type=object
status.networkPolicy.status             type=string enum=["Progressing","Open","Airgapped","FQDNAllowlist","Error"]
status.networkPolicy.message            type=string
status.conditions                       CONDITIONS
status.services                         type=object
status.services.*                       type=object
status.services.*.status                type=string required enum=["Progressing","Running","Stopped","Deleted","Failed"]
status.services.*.message               type=string
status.services.*.connectionInfo        type=string
status.services.*.secretName            type=string
"#;

/// What we add to it.
const WORKSPACE_ADDITIONS: &str = "
spec.services                           maxProperties=64
spec.services.*.chart.registry          maxLength=255
spec.services.*.chart.repository        maxLength=255
spec.services.*.chart.tag               maxLength=128
spec.services.*.credentials.secretName  maxLength=255
spec.services.*.credentials.paths       maxItems=64
spec.services.*.credentials.paths[]     maxLength=16384
spec.services.*.connectionInfoTemplate  maxLength=16384
spec.services.*.computedValues          maxProperties=256
";

/// `core/v1 ResourceRequirements`, below the field that has it.
const RESOURCES: &str = r#"
            type=object
.limits     type=object
.limits.*   QUANTITY
.requests   type=object
.requests.* QUANTITY
.claims     type=array x-kubernetes-list-type="map" x-kubernetes-list-map-keys=["name"]
.claims[]   type=object
.claims[].name    type=string required
.claims[].request type=string
"#;

/// A list of `metav1.Condition`, below the field that has it.
const CONDITIONS: &str = r#"
                        type=array x-kubernetes-list-type="map" x-kubernetes-list-map-keys=["type"]
[]                      type=object
[].type                 type=string required maxLength=316 pattern="^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
[].status               type=string required enum=["True","False","Unknown"]
[].observedGeneration   type=integer format="int64" minimum=0
[].lastTransitionTime   type=string required format="date-time"
[].reason               type=string required minLength=1 maxLength=1024 pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
[].message              type=string required maxLength=32768
"#;

const QUANTITY: &str = r#"x-kubernetes-int-or-string=true anyOf=[{"type":"integer"},{"type":"string"}] pattern="^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$""#;

/// Path → what is said of it, as `keyword=JSON`.
type Fields = BTreeMap<String, BTreeSet<String>>;

/// Reads a table. Names in capitals stand for shapes.
fn table(text: &str, prefix: &str, fields: &mut Fields) {
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (path, facts) = line.split_once(' ').unwrap();
        let path = format!("{prefix}{path}");
        for fact in facts.split_whitespace() {
            match fact {
                "RESOURCES" => table(RESOURCES, &path, fields),
                "CONDITIONS" => table(CONDITIONS, &path, fields),
                "QUANTITY" => table(&format!(" {QUANTITY}"), &path, fields),
                fact => drop(fields.entry(path.clone()).or_default().insert(fact.to_owned())),
            }
        }
    }
}

/// What a schema says of everything below it.
fn flatten(path: &str, schema: &Value, required: bool, fields: &mut Fields) {
    let mut facts = BTreeSet::from_iter(required.then(|| "required".to_owned()));
    let inner: BTreeSet<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (keyword, value) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "description" | "required" => {}
            "properties" => {
                for (name, schema) in value.as_object().unwrap() {
                    let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    flatten(&below, schema, inner.contains(name.as_str()), fields);
                }
            }
            "additionalProperties" => flatten(&format!("{path}.*"), value, false, fields),
            "items" => flatten(&format!("{path}[]"), value, false, fields),
            keyword => {
                let whole = value.as_f64().filter(|number| number.fract() == 0.0).map(|number| format!("{number:.0}"));
                facts.insert(format!("{keyword}={}", whole.unwrap_or_else(|| value.to_string()).replace(' ', "_")));
            }
        }
    }
    fields.insert(path.to_owned(), facts);
}

fn schemas() -> Vec<(CustomResourceDefinition, Value)> {
    crds()
        .into_iter()
        .map(|crd| {
            let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap()["openAPIV3Schema"].take();
            (crd, schema)
        })
        .collect()
}

#[test]
fn the_schemas_are_those_of_running_clusters_plus_our_additions() {
    let tables = [[WORKBENCH, WORKBENCH_ADDITIONS], [WORKSPACE, WORKSPACE_ADDITIONS]];
    for ((crd, schema), tables) in schemas().into_iter().zip(tables) {
        let mut wanted = Fields::from([(String::new(), BTreeSet::from([r#"type="object""#.to_owned()]))]);
        tables.iter().for_each(|text| table(text, "", &mut wanted));
        // The tables say type=string for type="string".
        let wanted: Fields = wanted
            .into_iter()
            .map(|(path, facts)| (path, facts.iter().map(|fact| fact.replace('"', "")).collect()))
            .collect();
        let mut made = Fields::new();
        flatten("", &schema, false, &mut made);
        for (path, facts) in made.iter_mut() {
            *facts = facts.iter().map(|fact| fact.replace('"', "")).collect();
            assert_eq!(Some(&*facts), wanted.get(path), "{path} of {}", crd.spec.names.kind);
        }
        let missing: Vec<_> = wanted.keys().filter(|path| !made.contains_key(*path)).collect();
        assert!(missing.is_empty(), "{missing:?} of {}", crd.spec.names.kind);
    }
}

#[test]
fn names_versions_and_columns() {
    let columns = [
        "Version string .spec.server.version, Server-Health string .status.serverDeployment.serverPod.status, \
         Age date .metadata.creationTimestamp",
        "Network-Policy string .status.networkPolicy.status, \
         Reason string .status.conditions[?(@.type==\"NetworkPolicyReady\")].reason, Age date .metadata.creationTimestamp",
    ];
    let names = [["Workbench", "workbench", "workbenches"], ["Workspace", "workspace", "workspaces"]];
    for ((crd, columns), [kind, singular, plural]) in crds().into_iter().zip(columns).zip(names) {
        assert_eq!(crd.metadata.name.unwrap(), format!("{plural}.default.chorus-tre.ch"));
        assert_eq!(crd.spec.group, crate::server::operator::api::GROUP);
        assert_eq!(crd.spec.scope, "Namespaced");
        let names = crd.spec.names;
        assert_eq!(
            (names.kind.as_str(), names.plural.as_str(), names.singular.as_deref()),
            (kind, plural, Some(singular))
        );
        assert!(names.short_names.unwrap_or_default().is_empty() && names.categories.unwrap_or_default().is_empty());
        let [version] = crd.spec.versions.as_slice() else { panic!("one version") };
        assert_eq!((version.name.as_str(), version.served, version.storage), ("v1alpha1", true, true));
        let subresources = version.subresources.as_ref().unwrap();
        assert!(subresources.status.is_some() && subresources.scale.is_none());
        let found = version.additional_printer_columns.iter().flatten();
        let found: Vec<_> =
            found.map(|column| format!("{} {} {}", column.name, column.type_, column.json_path)).collect();
        assert_eq!(found.join(", "), columns);
    }
}

/// Every schema with its path, and whether all maps and lists around it are bounded.
fn walk<'a>(path: &str, schema: &'a Value, bounded: bool, visit: &mut dyn FnMut(&str, &'a Value, bool)) {
    visit(path, schema, bounded);
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), schema, bounded, visit);
    }
    for (values, bound, mark) in [("additionalProperties", "maxProperties", ".*"), ("items", "maxItems", "[]")] {
        if schema[values].is_object() {
            walk(&format!("{path}{mark}"), &schema[values], bounded && schema[bound].is_number(), visit);
        }
    }
}

/// The API server refuses a whole CRD when a rule may cost too much, and an operand without a bound costs without a bound.
#[test]
fn the_operands_of_rules_are_bounded_scalars() {
    let scalar = |schema: &Value| match schema["type"].as_str() {
        Some("integer" | "boolean") => true,
        Some("string") => schema["maxLength"].is_number() || schema["enum"].is_array(),
        _ => false,
    };
    let mut rules = 0;
    for (_, schema) in schemas() {
        walk("", &schema, true, &mut |path, schema, bounded| {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                rules += 1;
                assert!(bounded, "a map or a list above {path} has no bound");
                let empty = Map::new();
                let properties = schema["properties"].as_object().unwrap_or(&empty);
                let rule = rule["rule"].as_str().unwrap();
                for operand in rule.split(|c: char| !c.is_alphanumeric() && c != '.' && c != '_') {
                    match operand.split_once('.') {
                        None if matches!(operand, "self" | "oldSelf") => assert!(scalar(schema), "{operand} at {path}"),
                        Some(("self" | "oldSelf", field)) => assert!(scalar(&properties[field]), "{operand} at {path}"),
                        _ => {}
                    }
                }
            }
        });
    }
    assert_eq!(rules, 1);
}

/// Every string of a spec has a bound, and every pattern holds for the whole string.
#[test]
fn strings_are_bounded_and_patterns_anchored() {
    for (_, schema) in schemas() {
        walk("", &schema, true, &mut |path, schema, _| {
            if let Some(pattern) = schema["pattern"].as_str() {
                assert!(pattern.starts_with('^') && pattern.ends_with('$'), "{path}: {pattern}");
                regex::Regex::new(pattern).unwrap();
            }
            let text = schema["type"] == "string" && schema["enum"].is_null();
            // Values of charts and claims of resources have the shapes that Kubernetes gives them.
            let ours =
                path.starts_with(".spec") && !path.contains(".resources.") && !path.ends_with(".computedValues.*");
            assert!(!(text && ours) || schema["maxLength"].is_number(), "{path} has no bound");
        });
    }
}
