//! Messages as JSON and YAML.
//!
//! The field names and forms are those of the REST API: 64-bit integers as text, every field present, an unset message as
//! null, unset optional fields left out. Programs rely on them, so they come from the contract and not from the tables.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap as _, SerializeSeq as _},
};

use super::escape;
use crate::{
    client::error::{Error, Result},
    proto,
};

/// The message with its field names; `name` is its full name in the contract.
pub fn reflect(name: &str, message: &impl prost::Message) -> Result<DynamicMessage> {
    let descriptor = proto::pool()
        .get_message_by_name(name)
        .ok_or_else(|| Error::failure(format!("this client does not know the message {name}")))?;
    DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|error| Error::failure(format!("cannot read {name}: {error}")))
}

/// The message as JSON on one line, fit for a terminal.
pub fn line(name: &str, message: &impl prost::Message) -> Result<String> {
    let text = serde_json::to_string(&Rest(&reflect(name, message)?)).map_err(|e| Error::failure(e.to_string()))?;
    Ok(escape::json(&text).into_owned())
}

/// A message in the form of the REST API.
pub struct Rest<'a>(pub &'a DynamicMessage);

impl Serialize for Rest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let descriptor = self.0.descriptor();
        if descriptor.full_name().starts_with("google.protobuf.") {
            return self.0.serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        for field in descriptor.fields() {
            if !field.supports_presence() || self.0.has_field(&field) {
                map.serialize_entry(field.json_name(), &Field(&self.0.get_field(&field), &field))?;
            } else if field.containing_oneof().is_none() {
                map.serialize_entry(field.json_name(), &None::<()>)?;
            }
        }
        map.end()
    }
}

/// A field's value: one, a list or a map.
struct Field<'a>(&'a Value, &'a FieldDescriptor);

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.0, self.1.kind()) {
            (Value::List(values), kind) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(&One(value, &kind))?;
                }
                list.end()
            }
            (Value::Map(values), Kind::Message(entry)) => {
                let kind = entry.map_entry_value_field().kind();
                let sorted: BTreeMap<String, &Value> = values.iter().map(|(key, value)| (text(key), value)).collect();
                let mut map = serializer.serialize_map(Some(sorted.len()))?;
                for (key, value) in sorted {
                    map.serialize_entry(&key, &One(value, &kind))?;
                }
                map.end()
            }
            (value, kind) => One(value, &kind).serialize(serializer),
        }
    }
}

/// A single value.
struct One<'a>(&'a Value, &'a Kind);

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Bool(v) => serializer.serialize_bool(*v),
            Value::I32(v) => serializer.serialize_i32(*v),
            Value::U32(v) => serializer.serialize_u32(*v),
            Value::I64(v) => serializer.collect_str(v),
            Value::U64(v) => serializer.collect_str(v),
            Value::F32(v) => serializer.serialize_f32(*v),
            Value::F64(v) => serializer.serialize_f64(*v),
            Value::String(v) => serializer.serialize_str(v),
            Value::Bytes(v) => serializer.serialize_str(&STANDARD.encode(v)),
            Value::EnumNumber(number) => match self.1.as_enum().and_then(|kind| kind.get_value(*number)) {
                Some(value) => serializer.serialize_str(value.name()),
                None => serializer.serialize_i32(*number),
            },
            Value::Message(message) => Rest(message).serialize(serializer),
            // neither occurs inside a list or a map, and a field of that kind does not come here
            Value::List(_) | Value::Map(_) => serializer.serialize_unit(),
        }
    }
}

fn text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(v) => v.to_string(),
        MapKey::I32(v) => v.to_string(),
        MapKey::I64(v) => v.to_string(),
        MapKey::U32(v) => v.to_string(),
        MapKey::U64(v) => v.to_string(),
        MapKey::String(v) => v.clone(),
    }
}
