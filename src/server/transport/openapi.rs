//! OpenAPI 3.0.3 from the bindings that serve REST, so the description cannot differ from what is served. Comments of the
//! contract become its text, validation rules its constraints.
//!
//! What always holds: the same contract gives the same document, byte by byte.

mod rules;
mod schemas;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use prost_reflect::{DescriptorPool, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use self::schemas::{Schemas, is_well_known};
use super::rest::binding::{Binding, Payload, Reply, bindings};

const ERROR_SCHEMA: &str = "#/components/schemas/chorus.v1.ChorusErrorResponse";

const INTRODUCTION: &str = "The control plane of a trusted research environment.\n\n\
    Sign in with `POST /api/rest/v1/authentication/login`; send the token as `Authorization: Bearer …`, or let a browser \
    keep it in the cookie. 64-bit integers are strings. Every failure has the same body, whose one detail names a stable \
    `reason`.";

/// The description of the REST API.
pub fn document(pool: &DescriptorPool, version: &str) -> Result<Value> {
    let mut schemas = Schemas::new(pool)?;
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut tags = BTreeMap::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for binding in bindings(pool)? {
        let service = binding.descriptor.parent_service();
        tags.entry(service.name().to_owned()).or_insert_with(|| comment(&service.parent_file(), service.path()));
        let nth = seen.entry(binding.rpc.name).or_default();
        *nth += 1;
        let operation = operation(&binding, *nth, &mut schemas)?;
        paths.entry(path_of(&binding)).or_default().insert(binding.method.as_str().to_ascii_lowercase(), operation);
    }
    let error = pool.get_message_by_name("chorus.v1.ChorusErrorResponse").context("the contract has no error body")?;
    schemas.message(&error);
    let tags: Vec<_> = tags.into_iter().map(|(name, text)| json!({ "name": name, "description": text })).collect();
    Ok(json!({
        "openapi": "3.0.3",
        "info": { "title": "chorus", "version": version, "description": INTRODUCTION, "license": { "name": "Apache-2.0" } },
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas.into_map(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "cookie": { "type": "apiKey", "in": "cookie", "name": "jwttoken" },
            },
        },
        "security": [{ "bearer": [] }, { "cookie": [] }],
    }))
}

/// The path with `{path=**}` as `{path}`, which is all that OpenAPI knows.
fn path_of(binding: &Binding) -> String {
    let parts = binding.template.text().split('/').map(|part| match part.split_once('=') {
        Some((field, _)) => format!("{field}}}"),
        None => part.to_owned(),
    });
    // parameters carry JSON names, as everywhere else
    let mut path = parts.collect::<Vec<_>>().join("/");
    for fields in &binding.variables {
        let proto = fields.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".");
        path = path.replace(&format!("{{{proto}}}"), &format!("{{{}}}", json_path(fields)));
    }
    path
}

fn json_path(fields: &[FieldDescriptor]) -> String {
    fields.iter().map(FieldDescriptor::json_name).collect::<Vec<_>>().join(".")
}

fn operation(binding: &Binding, nth: usize, schemas: &mut Schemas) -> Result<Value> {
    let method = &binding.descriptor;
    let service = method.parent_service();
    let text = comment(&service.parent_file(), method.path());
    let suffix = if nth > 1 { nth.to_string() } else { String::new() };
    let mut operation = json!({
        "operationId": format!("{}_{}{suffix}", service.name(), method.name()),
        "tags": [service.name()],
        "summary": text.split_terminator(['.', '\n']).next().unwrap_or_default(),
        "description": text,
        "responses": responses(binding, schemas),
    });
    let parameters = parameters(binding, schemas);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(schema) = request_body(binding, schemas) {
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    if binding.rpc.public {
        operation["security"] = json!([]);
    }
    Ok(operation)
}

fn responses(binding: &Binding, schemas: &mut Schemas) -> Value {
    let kind = match (matches!(binding.reply, Reply::Raw), binding.rpc.streaming) {
        (true, _) => "*/*",
        (_, true) => "application/x-ndjson",
        _ => "application/json",
    };
    let reply = schemas.message(&binding.descriptor.output());
    let mut ok = json!({ "description": "Success." });
    if binding.method != http::Method::HEAD {
        ok["content"] = json!({ kind: { "schema": reply } });
    }
    let failure = json!({ "application/json": { "schema": { "$ref": ERROR_SCHEMA } } });
    json!({ "200": ok, "default": { "description": "Failure.", "content": failure } })
}

fn parameters(binding: &Binding, schemas: &mut Schemas) -> Vec<Value> {
    let mut found = Vec::new();
    for fields in &binding.variables {
        let Some(field) = fields.last() else { continue };
        found.push(parameter(&json_path(fields), "path", field, schemas));
    }
    if !matches!(binding.body, Payload::Everything) {
        let without = bound(binding);
        query_parameters(&binding.descriptor.input(), "", &without, &mut Vec::new(), schemas, &mut found);
    }
    found
}

fn parameter(name: &str, place: &str, field: &FieldDescriptor, schemas: &mut Schemas) -> Value {
    let mut parameter = json!({ "name": name, "in": place, "schema": schemas.field(field), "description": doc(field) });
    if place == "path" {
        parameter["required"] = true.into();
    }
    parameter
}

/// The top-level fields that path and body fill.
fn bound(binding: &Binding) -> Vec<FieldDescriptor> {
    let from_path = binding.variables.iter().filter(|fields| fields.len() == 1).flatten().cloned();
    let from_body = match &binding.body {
        Payload::Field(field, _) => Some(field.clone()),
        _ => None,
    };
    from_path.chain(from_body).collect()
}

/// Every scalar that the query can name, as a dotted path.
fn query_parameters(
    message: &MessageDescriptor,
    prefix: &str,
    without: &[FieldDescriptor],
    above: &mut Vec<MessageDescriptor>,
    schemas: &mut Schemas,
    found: &mut Vec<Value>,
) {
    if above.contains(message) {
        return;
    }
    above.push(message.clone());
    for field in message.fields().filter(|field| !without.contains(field) && !field.is_map()) {
        let name = format!("{prefix}{}", field.json_name());
        match field.kind() {
            Kind::Message(inner) if !is_well_known(&inner) => {
                if !field.is_list() {
                    query_parameters(&inner, &format!("{name}."), without, above, schemas, found);
                }
            }
            _ => found.push(parameter(&name, "query", &field, schemas)),
        }
    }
    above.pop();
}

fn request_body(binding: &Binding, schemas: &mut Schemas) -> Option<Value> {
    let without = bound(binding);
    match &binding.body {
        Payload::Nothing => None,
        Payload::Everything if without.is_empty() => Some(schemas.message(&binding.descriptor.input())),
        Payload::Everything => Some(schemas.object(&binding.descriptor.input(), &without)),
        Payload::Field(field, _) => Some(schemas.field(field)),
    }
}

fn doc(field: &FieldDescriptor) -> String {
    comment(&field.parent_file(), field.path())
}

/// The comment above a declaration.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    let text = location.and_then(|l| l.leading_comments.as_deref().or(l.trailing_comments.as_deref()));
    let lines: Vec<_> = text.unwrap_or_default().trim().lines().map(str::trim).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Value {
        document(crate::proto::pool(), "1.0.0").unwrap()
    }

    #[test]
    fn is_the_same_every_time() {
        assert_eq!(made().to_string(), made().to_string());
    }

    #[test]
    fn describes_paths_queries_and_bodies() {
        let document = made();
        let get = &document["paths"]["/api/rest/v1/workspaces/{id}"]["get"];
        assert_eq!(get["operationId"], "WorkspaceService_GetWorkspace");
        assert_eq!(get["parameters"][0]["in"], "path");
        assert!(get.get("security").is_none());
        assert_eq!(document["paths"]["/api/rest/v1/health"]["get"]["security"], json!([]));
        let list = document["paths"]["/api/rest/v1/users"]["get"]["parameters"].as_array().unwrap();
        let limit = list.iter().find(|p| p["name"] == "pagination.limit").unwrap();
        assert_eq!(limit["schema"]["maximum"], 500);
        assert!(list.iter().any(|p| p["name"] == "pagination.sort.order"));
        let file = &document["paths"]["/api/rest/v1/workspaces/{workspaceId}/file/{path}/upload"]["post"];
        assert!(file["requestBody"].is_object(), "{file}");
    }

    #[test]
    fn an_optional_scalar_is_one_parameter() {
        let made = made();
        let parameters = made["paths"]["/api/rest/v1/notifications"]["get"]["parameters"].as_array().unwrap();
        let found = parameters.iter().find(|parameter| parameter["name"] == "isRead").unwrap();
        assert_eq!(found["schema"], json!({ "type": "boolean", "nullable": true }));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = made();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn operation_ids_are_unique() {
        let document = made();
        let mut ids: Vec<_> = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|p| p.as_object().unwrap().values())
            .map(|o| o["operationId"].as_str().unwrap().to_owned())
            .collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}
