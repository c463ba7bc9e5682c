//! Validation rules of the contract (`buf.validate`) as constraints of JSON Schema.

use anyhow::{Context as _, Result};
use prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Value as Set};
use serde_json::{Value, json};

/// Reads the rules of fields.
pub struct Rules(ExtensionDescriptor);

/// Numeric rules and what they are called in JSON Schema.
const NUMBERS: [(&str, &str, &str); 9] = [
    ("string", "min_len", "minLength"),
    ("string", "max_len", "maxLength"),
    ("uint32", "gte", "minimum"),
    ("uint32", "lte", "maximum"),
    ("bytes", "max_len", "x-maxBytes"),
    ("repeated", "min_items", "minItems"),
    ("repeated", "max_items", "maxItems"),
    ("map", "max_pairs", "maxProperties"),
    ("string", "max_bytes", "x-maxBytes"),
];

/// Formats with a name.
const FORMATS: [(&str, &str); 3] = [("email", "email"), ("hostname", "hostname"), ("uri", "uri")];

impl Rules {
    /// Of the contract in this pool.
    pub fn new(pool: &DescriptorPool) -> Result<Self> {
        Ok(Self(pool.get_extension_by_name("buf.validate.field").context("the contract has no buf.validate.field")?))
    }

    /// Adds the constraints of a field to its schema.
    pub fn constrain(&self, field: &FieldDescriptor, schema: &mut Value) {
        let options = field.options();
        let rules = options.get_extension(&self.0);
        if let Some(rules) = rules.as_message().filter(|_| options.has_extension(&self.0)) {
            apply(rules, schema);
        }
    }
}

fn apply(rules: &DynamicMessage, schema: &mut Value) {
    if schema.get("$ref").is_some() {
        return;
    }
    for (kind, rule, name) in NUMBERS {
        if let Some(number) = get(rules, kind).and_then(|rules| get_set(&rules, rule)).as_ref().and_then(number) {
            schema[name] = number.into();
        }
    }
    if let Some(strings) = get(rules, "string") {
        apply_strings(&strings, schema);
    }
    for (list, inner, within) in [("repeated", "items", "items"), ("map", "values", "additionalProperties")] {
        let inner = get(rules, list).and_then(|rules| get(&rules, inner));
        if let (Some(inner), Some(schema)) = (inner, schema.get_mut(within)) {
            apply(&inner, schema);
        }
    }
}

fn apply_strings(rules: &DynamicMessage, schema: &mut Value) {
    if let Some(pattern) = get_set(rules, "pattern").as_ref().and_then(Set::as_str) {
        schema["pattern"] = pattern.into();
    }
    let allowed = get_set(rules, "in");
    let allowed: Vec<_> =
        allowed.as_ref().and_then(Set::as_list).into_iter().flatten().filter_map(Set::as_str).collect();
    if !allowed.is_empty() {
        schema["enum"] = json!(allowed);
    }
    for (rule, format) in FORMATS {
        if get_set(rules, rule).as_ref().and_then(Set::as_bool) == Some(true) {
            schema["format"] = format.into();
        }
    }
}

fn get(message: &DynamicMessage, field: &str) -> Option<DynamicMessage> {
    get_set(message, field)?.as_message().cloned()
}

fn get_set(message: &DynamicMessage, field: &str) -> Option<Set> {
    message.has_field_by_name(field).then(|| message.get_field_by_name(field).map(|value| value.into_owned()))?
}

fn number(value: &Set) -> Option<u64> {
    value.as_u64().or_else(|| value.as_u32().map(u64::from))
}
