//! Emits one plain check per field rule. A rule bound to a value that is empty is not looked at: whether a field may be
//! empty is stated per RPC.

use std::fmt::Write;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use crate::contract::{Contract, Result, ident, is_option, rust_type};

/// The implementations of `Check` for every message that a request can hold.
pub fn emit(contract: &Contract) -> Result<String> {
    let mut patterns = Vec::new();
    let mut out = String::new();
    for message in contract.request_messages() {
        let mut body = String::new();
        for field in message.fields() {
            let at = |e| format!("{}: {e}", field.full_name());
            body += &emit_field(contract, &field, &mut patterns).map_err(at)?;
        }
        let ty = rust_type(message.full_name());
        writeln!(out, "impl Check for {ty} {{\n    fn check(&self, v: &mut Violations) {{\n{body}    }}\n}}")?;
    }
    for (i, pattern) in patterns.iter().enumerate() {
        writeln!(out, "static PATTERN_{i}: Pattern = Pattern::new({pattern:?});")?;
    }
    Ok(out)
}

fn emit_field(contract: &Contract, field: &FieldDescriptor, patterns: &mut Vec<String>) -> Result<String> {
    let rules = contract.rules(field)?;
    let name = field.json_name();
    let ident = ident(field);
    if field.is_map() {
        return emit_map(field, rules.as_ref(), patterns);
    }
    if field.is_list() {
        let inner = emit_items(field, rules.as_ref(), patterns)?;
        let bounds = match &rules {
            Some(rules) => {
                let rules = typed(rules, "repeated")?;
                only(&rules, &["min_items", "max_items", "items"])?;
                format!(
                    "        v.items({name:?}, self.{ident}.len(), {}, {});\n",
                    bound(&rules, "min_items"),
                    bound(&rules, "max_items")
                )
            }
            None => String::new(),
        };
        return Ok(bounds + &inner);
    }
    if let Kind::Message(inner) = field.kind() {
        if rules.is_some() {
            return Err("rules of a message stand in the message".into());
        }
        return Ok(match has_check(&inner) {
            true => format!("        if let Some(m) = &self.{ident} {{ v.at({name:?}, |v| m.check(v)); }}\n"),
            false => String::new(),
        });
    }
    let Some(rules) = rules else { return Ok(String::new()) };
    let calls = scalar(&field.kind(), &rules, "value", patterns)?;
    let value = match (is_option(field), matches!(field.kind(), Kind::String | Kind::Bytes)) {
        (true, _) => format!("if let Some(value) = &self.{ident}"),
        (false, _) => format!("let value = &self.{ident};"),
    };
    Ok(match is_option(field) {
        true => format!("        {value} {{ v.at({name:?}, |v| {{ {calls} }}); }}\n"),
        false => format!("        {{ {value} v.at({name:?}, |v| {{ {calls} }}); }}\n"),
    })
}

fn emit_items(field: &FieldDescriptor, rules: Option<&DynamicMessage>, patterns: &mut Vec<String>) -> Result<String> {
    let (name, ident) = (field.json_name(), ident(field));
    if let Kind::Message(inner) = field.kind() {
        return Ok(match has_check(&inner) {
            true => format!("        v.each({name:?}, &self.{ident}, |v, m| m.check(v));\n"),
            false => String::new(),
        });
    }
    let items = rules.map(|r| typed(r, "repeated")).transpose()?.and_then(|r| set_message(&r, "items"));
    let Some(items) = items else { return Ok(String::new()) };
    let calls = scalar(&field.kind(), &items, "value", patterns)?;
    Ok(format!("        v.each({name:?}, &self.{ident}, |v, value| {{ {calls} }});\n"))
}

fn emit_map(field: &FieldDescriptor, rules: Option<&DynamicMessage>, patterns: &mut Vec<String>) -> Result<String> {
    let Some(rules) = rules else { return Ok(String::new()) };
    let (name, ident) = (field.json_name(), ident(field));
    let rules = typed(rules, "map")?;
    only(&rules, &["max_pairs", "keys", "values"])?;
    let entry = field.kind().as_message().cloned().ok_or("a map has entries")?;
    let mut out = format!("        v.pairs({name:?}, self.{ident}.len(), {});\n", bound(&rules, "max_pairs"));
    for (part, iterator, of) in
        [("keys", "keys", entry.map_entry_key_field()), ("values", "values", entry.map_entry_value_field())]
    {
        if let Some(inner) = set_message(&rules, part) {
            let calls = scalar(&of.kind(), &inner, "value", patterns)?;
            writeln!(out, "        v.each({name:?}, self.{ident}.{iterator}(), |v, value| {{ {calls} }});")?;
        }
    }
    Ok(out)
}

/// The calls that check one scalar.
fn scalar(kind: &Kind, rules: &DynamicMessage, value: &str, patterns: &mut Vec<String>) -> Result<String> {
    let mut out = String::new();
    match kind {
        Kind::String => {
            let rules = typed(rules, "string")?;
            for (rule, set) in set_fields(&rules) {
                let call = match (rule.as_str(), &set) {
                    ("min_len" | "max_len" | "max_bytes", Value::U64(n)) => format!("v.{rule}({value}, {n});"),
                    ("pattern", Value::String(text)) => {
                        format!("v.pattern({value}, &PATTERN_{});", pattern(text, patterns)?)
                    }
                    ("in", Value::List(list)) => {
                        let list: Vec<_> = list.iter().filter_map(Value::as_str).collect();
                        format!("v.one_of({value}, &{list:?});")
                    }
                    ("email" | "hostname" | "uri", Value::Bool(true)) => format!("v.{rule}({value});"),
                    _ => return Err(format!("no check for the rule string.{rule}").into()),
                };
                out += &call;
            }
        }
        Kind::Uint32 | Kind::Uint64 => {
            let name = if matches!(kind, Kind::Uint32) { "uint32" } else { "uint64" };
            for (rule, set) in set_fields(&typed(rules, name)?) {
                let n = set.as_u64().or(set.as_u32().map(u64::from)).ok_or("a number")?;
                match rule.as_str() {
                    "lte" | "gte" => write!(out, "v.{rule}(u64::from(*{value}), {n});")?,
                    _ => return Err(format!("no check for the rule {name}.{rule}").into()),
                }
            }
        }
        Kind::Bytes => {
            for (rule, set) in set_fields(&typed(rules, "bytes")?) {
                match (rule.as_str(), set.as_u64()) {
                    ("max_len", Some(n)) => write!(out, "v.byte_len({value}, {n});")?,
                    _ => return Err(format!("no check for the rule bytes.{rule}").into()),
                }
            }
        }
        Kind::Enum(e) => {
            for (rule, set) in set_fields(&typed(rules, "enum")?) {
                match (rule.as_str(), set) {
                    ("defined_only", Value::Bool(true)) => {
                        write!(out, "v.defined({}::try_from(*{value}).is_ok());", rust_type(e.full_name()))?;
                    }
                    _ => return Err(format!("no check for the rule enum.{rule}").into()),
                }
            }
        }
        other => return Err(format!("no checks for fields of type {other:?}").into()),
    }
    Ok(out)
}

/// The index of the pattern, which is anchored and compiles.
fn pattern(text: &str, patterns: &mut Vec<String>) -> Result<usize> {
    regex::Regex::new(text)?;
    if !(text.starts_with('^') && text.ends_with('$')) {
        return Err(format!("the pattern {text:?} is not anchored").into());
    }
    Ok(patterns.iter().position(|p| p == text).unwrap_or_else(|| {
        patterns.push(text.to_owned());
        patterns.len() - 1
    }))
}

/// The rules of this type; an error when the rules are of another type.
fn typed(rules: &DynamicMessage, name: &str) -> Result<DynamicMessage> {
    only(rules, &[name])?;
    set_message(rules, name).ok_or_else(|| format!("no {name} rules").into())
}

fn only(rules: &DynamicMessage, known: &[&str]) -> Result<()> {
    match set_fields(rules).into_iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => Err(format!("no check for the rule {name}").into()),
        None => Ok(()),
    }
}

fn set_fields(m: &DynamicMessage) -> Vec<(String, Value)> {
    m.fields().map(|(f, v)| (f.name().to_owned(), v.clone())).collect()
}

fn set_message(m: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    m.has_field_by_name(name).then(|| m.get_field_by_name(name)?.as_message().cloned()).flatten()
}

fn bound(rules: &DynamicMessage, name: &str) -> String {
    match rules.has_field_by_name(name).then(|| rules.get_field_by_name(name)?.as_u64()).flatten() {
        Some(n) => format!("Some({n})"),
        None => "None".to_owned(),
    }
}

fn has_check(message: &MessageDescriptor) -> bool {
    message.package_name() == crate::contract::PACKAGE
}
