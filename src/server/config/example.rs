//! The commented example file, for `chorus config example`.
//!
//! Each key stands there with its default behind a `#`: a file made from it says only what its owner decided.

use std::fmt::Write as _;

use super::keys::{DefaultValue, KEYS, Key, Kind};

/// The example file, made from the key table.
pub fn example() -> String {
    let mut out = String::from(
        "# Configuration of chorus. Later wins: defaults, --config files, environment, flags.\n\
         # Each key shows its default; remove the `#` in front of the key to change it.\n",
    );
    let mut open = None;
    for key in KEYS.iter() {
        let (section, name) = key.split();
        if section != open
            && let Some(section) = section
        {
            let _ = write!(out, "\n{section}:\n");
        }
        open = section;
        let indent = if section.is_some() { "  " } else { "" };
        if section.is_none() || !out.ends_with(":\n") {
            out.push('\n');
        }
        for line in comment(key) {
            let _ = writeln!(out, "{indent}# {line}");
        }
        let _ = writeln!(out, "{indent}#{name}: {}", default(key));
    }
    out
}

fn comment(key: &Key) -> Vec<String> {
    let mut lines = vec![key.help.to_owned()];
    match key.kind {
        Kind::Choice(words) => lines.push(format!("One of {}.", words.join(", "))),
        Kind::Number(min, max) => lines.push(format!("From {min} to {max}.")),
        Kind::Text(_) | Kind::List(_) | Kind::Bool | Kind::Duration { .. } => {}
    }
    if let DefaultValue::Derived(how) = key.default {
        lines.push(format!("Default: {how}."));
    }
    lines.push(format!("--{}, {}", key.flag, key.variable()));
    lines
}

fn default(key: &Key) -> String {
    let DefaultValue::Value(text) = key.default else { return "null".to_owned() };
    match key.kind {
        Kind::List(_) => format!("[{text}]"),
        Kind::Bool | Kind::Number(..) | Kind::Duration { .. } => text.to_owned(),
        Kind::Text(_) | Kind::Choice(_) => super::show::yaml(&text.into()),
    }
}
