//! Files in, resources out: as the API server would store them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    super::api::{GROUP, VERSION, crds, structural, structural::Problem},
    Fault, Input, Resources,
};

/// Stands for the uid that the API server will give.
const UID: &str = "00000000-0000-0000-0000-000000000000";

/// The resources in these files, or everything that is wrong with them.
pub fn read(inputs: &[Input], now: DateTime<Utc>) -> Result<Resources, Vec<Fault>> {
    let schemas = schemas();
    let (mut resources, mut faults) = (Resources::default(), Vec::new());
    for input in inputs {
        match split(&input.text) {
            Ok(documents) => {
                for (index, document) in documents.into_iter().enumerate() {
                    let problems = take(document, &schemas, now, &mut resources);
                    let fault =
                        |problem| Fault { file: input.name.clone(), document: Some(index.saturating_add(1)), problem };
                    faults.extend(problems.into_iter().map(fault));
                }
            }
            Err(problem) => faults.push(Fault { file: input.name.clone(), document: None, problem }),
        }
    }
    if faults.is_empty() { Ok(resources) } else { Err(faults) }
}

/// The schema of each kind.
fn schemas() -> BTreeMap<String, JSONSchemaProps> {
    let schema = |crd: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
        let version = crd.spec.versions.into_iter().next()?;
        Some((crd.spec.names.kind, version.schema?.open_api_v3_schema?))
    };
    crds::crds().into_iter().filter_map(schema).collect()
}

/// The documents of a file; what holds nothing but comments counts for none. Lists of objects are taken apart.
fn split(text: &str) -> Result<Vec<Value>, Problem> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
        let line = error.location().map_or(String::new(), |location| format!("line {}", location.line()));
        // A snippet of the file could hold a token.
        problem(&line, format!("is not valid YAML: {}", error.without_snippet()))
    })?;
    Ok(documents.into_iter().flat_map(items).collect())
}

/// The objects of a list, as `kubectl get -o yaml` writes it; else the object itself.
fn items(document: Value) -> Vec<Value> {
    let list = document["kind"] == "List" && document["apiVersion"] == "v1";
    match document {
        Value::Object(mut fields) if list => match fields.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        document => vec![document],
    }
}

/// Adds a document to the resources; what is wrong with it otherwise.
fn take(
    mut document: Value,
    schemas: &BTreeMap<String, JSONSchemaProps>,
    now: DateTime<Utc>,
    resources: &mut Resources,
) -> Vec<Problem> {
    let kind = document["kind"].as_str().unwrap_or_default().to_owned();
    let Some(schema) = schemas.get(&kind).filter(|_| document["apiVersion"] == json!(format!("{GROUP}/{VERSION}")))
    else {
        return vec![problem("", format!("must be a Workbench or a Workspace of {GROUP}/{VERSION}"))];
    };
    if let Some(fields) = document.as_object_mut() {
        // What happened to it in a cluster is no part of what it asks for.
        fields.remove("status");
        fields.entry("spec").or_insert_with(|| json!({}));
    }
    structural::fill(schema, &mut document);
    let mut problems = metadata(&document["metadata"]);
    problems.extend(structural::check(schema, &document));
    if problems.is_empty() {
        store(&mut document["metadata"], now);
        let added = match kind.as_str() {
            "Workbench" => parse(document).map(|workbench| resources.workbenches.push(workbench)),
            _ => parse(document).map(|workspace| resources.workspaces.push(workspace)),
        };
        problems.extend(added.err());
    }
    problems
}

/// What the API server would refuse in the metadata.
fn metadata(metadata: &Value) -> Vec<Problem> {
    ["name", "namespace"]
        .into_iter()
        .filter(|field| !metadata[field].as_str().is_some_and(is_object_name))
        .map(|field| problem(&format!("metadata.{field}"), "must be there, and a name of Kubernetes".to_owned()))
        .collect()
}

fn is_object_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let ends = |c: char| !matches!(c, '-' | '.');
    (1..=253).contains(&name.len()) && name.chars().all(inner) && name.starts_with(ends) && name.ends_with(ends)
}

/// What the API server adds when it stores an object.
fn store(metadata: &mut Value, now: DateTime<Utc>) {
    let Some(fields) = metadata.as_object_mut() else { return };
    for field in ["managedFields", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        fields.remove(field);
    }
    fields.entry("uid").or_insert_with(|| UID.into());
    fields.entry("generation").or_insert_with(|| 1.into());
    fields.entry("resourceVersion").or_insert_with(|| "1".into());
    fields.entry("creationTimestamp").or_insert_with(|| json!(super::super::api::time(now)));
}

fn parse<T: DeserializeOwned>(document: Value) -> Result<T, Problem> {
    serde_json::from_value(document).map_err(|error| problem("", format!("cannot be read: {error}")))
}

fn problem(path: &str, message: String) -> Problem {
    Problem { path: path.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(texts: &[&str]) -> String {
        let inputs: Vec<_> = texts
            .iter()
            .zip(["a.yaml", "b.yaml"])
            .map(|(text, name)| Input { name: name.to_owned(), text: (*text).to_owned() })
            .collect();
        let faults = read(&inputs, DateTime::UNIX_EPOCH).err().unwrap_or_default();
        super::super::lines(&faults)
    }

    const WORKSPACE: &str =
        "apiVersion: default.chorus-tre.ch/v1alpha1\nkind: Workspace\nmetadata: {name: w, namespace: w}\n";

    #[test]
    fn everything_wrong_is_named_with_file_document_and_field() {
        let named = |spec: &str| format!("{WORKSPACE}spec: {spec}\n");
        let good = named("{networkPolicy: Open}");
        assert_eq!(faults(&[&good, "# nothing\n---\n---\n"]), "");
        assert_eq!(
            faults(&["{}"]),
            "a.yaml, document 1: must be a Workbench or a Workspace of default.chorus-tre.ch/v1alpha1"
        );
        let pod = "kind: Pod\napiVersion: v1\n";
        assert!(faults(&[&format!("{good}---\n{pod}")]).starts_with("a.yaml, document 2: must be"));
        assert_eq!(
            faults(&[
                &named("{networkPolicy: Closed, allowedFqdns: []}"),
                &good.replace("namespace: w", "namespace: W")
            ]),
            "a.yaml, document 1: spec: there is no field allowedFqdns\n\
             a.yaml, document 1: spec.networkPolicy: must be one of Open, Airgapped, FQDNAllowlist\n\
             b.yaml, document 1: metadata.namespace: must be there, and a name of Kubernetes"
        );
        assert_eq!(faults(&[WORKSPACE]), "a.yaml, document 1: spec: networkPolicy is missing");
        let broken = faults(&["a: [1\nsecret: token\n"]);
        assert!(broken.starts_with("a.yaml: line ") && !broken.contains("token"), "{broken}");
    }

    #[test]
    fn json_and_lists_are_read_too() {
        let item = r#"{"apiVersion":"default.chorus-tre.ch/v1alpha1","kind":"Workbench","metadata":{"name":"a","namespace":"w",
            "managedFields":[]},"status":{"observedGeneration":3}}"#;
        let text = format!(r#"{{"apiVersion":"v1","kind":"List","items":[{item},{item}]}}"#);
        let input = Input { name: "l.json".to_owned(), text };
        let resources = read(&[input], DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(resources.workbenches.len(), 2);
        let workbench = &resources.workbenches[0];
        assert_eq!(
            (workbench.status.is_none(), workbench.spec.service_account_name.as_deref()),
            (true, Some("default"))
        );
        assert_eq!(workbench.metadata.uid.as_deref(), Some(UID));
    }
}
