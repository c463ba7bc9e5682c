//! The schemas of messages, as `prost-reflect` and the JSON of this server write them.

use std::collections::BTreeMap;

use anyhow::Result;
use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::{comment, doc, rules::Rules};
use crate::server::transport::rest::query::wrapped;

/// Collects the schemas that the document refers to.
pub struct Schemas {
    done: BTreeMap<String, Value>,
    rules: Rules,
}

impl Schemas {
    /// Of the contract in this pool.
    pub fn new(pool: &DescriptorPool) -> Result<Self> {
        Ok(Self { done: BTreeMap::new(), rules: Rules::new(pool)? })
    }

    /// All schemas, by name.
    pub fn into_map(self) -> BTreeMap<String, Value> {
        self.done
    }

    /// The schema of a field, with the constraints of its rules.
    pub fn field(&mut self, field: &FieldDescriptor) -> Value {
        let mut schema = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                json!({ "type": "object", "additionalProperties": self.kind(&entry.map_entry_value_field().kind()) })
            }
            kind if field.is_list() => json!({ "type": "array", "items": self.kind(&kind) }),
            kind => self.kind(&kind),
        };
        self.rules.constrain(field, &mut schema);
        schema
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Message(message) => self.message(message),
            Kind::Enum(kind) => self.enumeration(kind),
            Kind::String => json!({ "type": "string" }),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::Bytes => json!({ "type": "string", "format": "byte" }),
            Kind::Float => json!({ "type": "number", "format": "float" }),
            Kind::Double => json!({ "type": "number", "format": "double" }),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "type": "string", "format": "int64" }),
            Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "format": "uint64" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
            Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "format": "int64", "minimum": 0 }),
        }
    }

    /// A reference to the schema of a message.
    pub fn message(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(schema) = well_known(message) {
            return schema;
        }
        if let Some(scalar) = wrapped(message) {
            let mut schema = self.kind(&scalar.kind());
            schema["nullable"] = true.into();
            return schema;
        }
        let name = message.full_name().to_owned();
        if !self.done.contains_key(&name) {
            // a placeholder ends the recursion of messages that hold themselves
            self.done.insert(name.clone(), Value::Null);
            let object = self.object(message, &[]);
            self.done.insert(name.clone(), object);
        }
        reference(&name)
    }

    /// The schema of a message without some of its fields.
    pub fn object(&mut self, message: &MessageDescriptor, without: &[FieldDescriptor]) -> Value {
        let mut properties = Map::new();
        for field in message.fields().filter(|field| !without.contains(field)) {
            let schema = described(self.field(&field), doc(&field));
            properties.insert(field.json_name().to_owned(), schema);
        }
        let text = comment(&message.parent_file(), message.path());
        json!({ "type": "object", "description": text, "properties": properties })
    }

    fn enumeration(&mut self, kind: &EnumDescriptor) -> Value {
        let name = kind.full_name().to_owned();
        self.done.entry(name.clone()).or_insert_with(|| {
            let file = kind.parent_file();
            let values: Vec<_> = kind.values().map(|value| value.name().to_owned()).collect();
            let lines =
                kind.values().map(|v| format!("- `{}`: {}", v.name(), comment(&file, v.path()).replace('\n', " ")));
            let text = format!("{}\n\n{}", comment(&file, kind.path()), lines.collect::<Vec<_>>().join("\n"));
            json!({ "type": "string", "description": text, "enum": values })
        });
        reference(&name)
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A reference may have no siblings in OpenAPI 3.0, so a described one is wrapped.
fn described(mut schema: Value, text: String) -> Value {
    if text.is_empty() {
        return schema;
    }
    if schema.get("$ref").is_some() {
        return json!({ "allOf": [schema], "description": text });
    }
    schema["description"] = text.into();
    schema
}

/// Whether a message has a JSON form of its own.
pub fn is_well_known(message: &MessageDescriptor) -> bool {
    well_known(message).is_some() || wrapped(message).is_some()
}

fn well_known(message: &MessageDescriptor) -> Option<Value> {
    Some(match message.full_name() {
        "google.protobuf.Timestamp" => json!({ "type": "string", "format": "date-time", "nullable": true }),
        "google.protobuf.Duration" | "google.protobuf.FieldMask" => json!({ "type": "string" }),
        "google.protobuf.Empty" | "google.protobuf.Struct" | "google.protobuf.Any" => json!({ "type": "object" }),
        "google.protobuf.Value" => json!({}),
        "google.api.HttpBody" => json!({ "type": "string", "format": "binary" }),
        _ => return None,
    })
}
