//! JSON of dynamic messages: the obvious way, with which the tests compare [`emit`](super::emit).

use std::borrow::Cow;

use base64::{display::Base64Display, prelude::BASE64_STANDARD};
use prost_reflect::{DynamicMessage, Kind, MapKey, ReflectMessage, SerializeOptions, Value};
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};

use super::emit::not_finite;

/// A message as JSON with every field.
pub struct Emitted<'a>(pub &'a DynamicMessage);

impl Serialize for Emitted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let descriptor = self.0.descriptor();
        if descriptor.full_name().starts_with("google.protobuf.") {
            return self.0.serialize_with_options(serializer, &SerializeOptions::new().skip_default_fields(false));
        }
        let mut map = serializer.serialize_map(None)?;
        for field in descriptor.fields() {
            if !field.supports_presence() || self.0.has_field(&field) {
                map.serialize_entry(field.json_name(), &Field(&self.0.get_field(&field), &field.kind()))?;
            } else if field.containing_oneof().is_none() {
                map.serialize_entry(field.json_name(), &())?;
            }
        }
        map.end()
    }
}

/// The value of a field: a list, a map or a single one.
struct Field<'a>(&'a Value, &'a Kind);

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::List(list) => serializer.collect_seq(list.iter().map(|value| Single(value, self.1))),
            Value::Map(entries) => {
                let entry = self.1.as_message().ok_or_else(|| S::Error::custom("a map without entry type"))?;
                let kind = entry.map_entry_value_field().kind();
                // sorted, so that equal answers are equal bytes
                let mut entries: Vec<_> =
                    entries.iter().map(|(key, value)| (key_text(key), Single(value, &kind))).collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                serializer.collect_map(entries)
            }
            value => Single(value, self.1).serialize(serializer),
        }
    }
}

fn key_text(key: &MapKey) -> Cow<'_, str> {
    match key {
        MapKey::String(key) => Cow::Borrowed(key),
        MapKey::Bool(key) => key.to_string().into(),
        MapKey::I32(key) => key.to_string().into(),
        MapKey::I64(key) => key.to_string().into(),
        MapKey::U32(key) => key.to_string().into(),
        MapKey::U64(key) => key.to_string().into(),
    }
}

struct Single<'a>(&'a Value, &'a Kind);

impl Serialize for Single<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::I32(value) => serializer.serialize_i32(*value),
            Value::U32(value) => serializer.serialize_u32(*value),
            Value::I64(value) => serializer.collect_str(value),
            Value::U64(value) => serializer.collect_str(value),
            Value::F32(value) if value.is_finite() => serializer.serialize_f32(*value),
            Value::F32(value) => serializer.serialize_str(not_finite(f64::from(*value))),
            Value::F64(value) if value.is_finite() => serializer.serialize_f64(*value),
            Value::F64(value) => serializer.serialize_str(not_finite(*value)),
            Value::String(value) => serializer.serialize_str(value),
            Value::Bytes(value) => serializer.collect_str(&Base64Display::new(value, &BASE64_STANDARD)),
            Value::EnumNumber(number) => match self.1.as_enum().and_then(|kind| kind.get_value(*number)) {
                Some(value) => serializer.serialize_str(value.name()),
                None => serializer.serialize_i32(*number),
            },
            Value::Message(message) => Emitted(message).serialize(serializer),
            Value::List(_) | Value::Map(_) => Err(S::Error::custom("a list inside a list")),
        }
    }
}
