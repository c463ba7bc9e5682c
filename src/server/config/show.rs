//! The effective configuration as YAML, for `chorus config show`.
//!
//! What it prints can be used as a configuration file, except for redacted secrets. Passwords never appear.

use std::fmt::Write as _;

use figment::value::Value;

use super::{DatabaseUrl, Effective};

/// Writes every key with its value; with `sources`, also where each value came from.
pub fn show(effective: &[Effective], sources: bool) -> String {
    let mut out = String::new();
    let mut open = None;
    for one in effective {
        let (section, name) = one.key.split();
        if section != open
            && let Some(section) = section
        {
            let _ = writeln!(out, "{section}:");
        }
        open = section;
        let indent = if section.is_some() { "  " } else { "" };
        let _ = write!(out, "{indent}{name}: {}", yaml(&shown(one)));
        let _ = if sources { writeln!(out, "  # {}", one.origin) } else { writeln!(out) };
    }
    out
}

fn shown(one: &Effective) -> Value {
    match one.value.as_str() {
        Some(text) if one.key.secret => {
            Value::from(text.parse::<DatabaseUrl>().map_or_else(|_| "<redacted>".to_owned(), |url| url.to_string()))
        }
        _ => one.value.clone(),
    }
}

/// A value on one line, as YAML reads it back.
pub(super) fn yaml(value: &Value) -> String {
    match value {
        Value::String(_, text) => scalar(text),
        Value::Bool(_, value) => value.to_string(),
        Value::Num(_, number) => number.to_u128().map_or_else(|| "null".to_owned(), |number| number.to_string()),
        Value::Array(_, items) => format!("[{}]", items.iter().map(yaml).collect::<Vec<_>>().join(", ")),
        Value::Char(..) | Value::Empty(..) | Value::Dict(..) => "null".to_owned(),
    }
}

/// Plain where that is safe in YAML 1.1 and 1.2 alike, quoted as JSON otherwise.
fn scalar(text: &str) -> String {
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '.' | '/'))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_' | '-'));
    let special = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", ".nan", ".inf"];
    let length = super::duration::parse(text).is_ok();
    if length || (word && !special.contains(&text.to_ascii_lowercase().as_str())) {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}
