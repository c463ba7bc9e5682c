//! Configuration files: YAML in, settings with line numbers out.
//!
//! A file is read into a plain tree first, so that every unknown key and every bad value is found in one go, each with its
//! line. Sections may be nested maps or dotted names.

use std::{collections::BTreeSet, fmt, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use super::{
    Origin, Problem, foreign,
    keys::{KEYS, Key, Kind},
    load::{Raw, Setting, setting},
};

/// Reads a file; what is wrong goes to `problems`, the rest is returned.
pub(super) fn read(path: &Path, problems: &mut Vec<Problem>) -> Vec<Setting> {
    let at = |line| Origin::File { path: path.to_owned(), line };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem { origin: at(0), key: None, reason: format!("cannot be read: {error}") });
            return Vec::new();
        }
    };
    let tree = match serde_saphyr::from_str::<Option<Node>>(&without_comments(&text)) {
        Ok(None) => return Vec::new(),
        Ok(Some(Node::Map(entries))) => entries,
        Ok(Some(_)) => {
            problems.push(Problem { origin: at(1), key: None, reason: "must be a map of keys to values".to_owned() });
            return Vec::new();
        }
        Err(error) => {
            let line = error.location().map_or(0, |location| location.line());
            let reason = format!("is not valid YAML: {}", error.without_snippet());
            problems.push(Problem { origin: at(line), key: None, reason });
            return Vec::new();
        }
    };
    let mut walk = Walk { path, problems, seen: BTreeSet::new(), found: Vec::new() };
    walk.entries("", tree);
    walk.found
}

/// The text with the same lines, those that are comments emptied: the parser refuses a long run of them, and a section of
/// which nothing is set is one. A text with block scalars, in which `#` may begin a line, stays as it is.
fn without_comments(text: &str) -> String {
    let begins_block = |line: &str| line.trim_end_matches(['+', '-', '1', '2', '3', '4', ' ']).ends_with(['|', '>']);
    if text.lines().any(begins_block) {
        return text.to_owned();
    }
    let kept = |line: &'_ str| !line.trim_start().starts_with('#');
    text.lines().flat_map(|line| [if kept(line) { line } else { "" }, "\n"]).collect()
}

struct Walk<'a> {
    path: &'a Path,
    problems: &'a mut Vec<Problem>,
    seen: BTreeSet<&'static str>,
    found: Vec<Setting>,
}

impl Walk<'_> {
    fn entries(&mut self, prefix: &str, entries: Vec<(Spanned<String>, Node)>) {
        for (name, node) in entries {
            let line = name.referenced.line();
            let full = if prefix.is_empty() { name.value } else { format!("{prefix}.{}", name.value) };
            self.entry(full, line, node);
        }
    }

    fn entry(&mut self, name: String, line: u64, node: Node) {
        let origin = Origin::File { path: self.path.to_owned(), line };
        if let Some(key) = Key::find(&name) {
            let read = if self.seen.insert(key.name) { raw(key, node) } else { Err("is given twice".to_owned()) };
            match read.and_then(|raw| setting(key, raw, origin.clone())) {
                Ok(setting) => self.found.push(setting),
                Err(reason) => self.problems.push(Problem { origin, key: Some(name), reason }),
            }
            return;
        }
        let is_section = KEYS.iter().any(|key| key.name.strip_prefix(&name).is_some_and(|rest| rest.starts_with('.')));
        match node {
            Node::Null if is_section => {}
            Node::Map(entries) if is_section || (foreign::advice(&name).is_some() && !entries.is_empty()) => {
                self.entries(&name, entries);
            }
            _ if is_section => {
                let reason = "is a section: write its keys below it, indented".to_owned();
                self.problems.push(Problem { origin, key: Some(name), reason });
            }
            _ => {
                let reason = foreign::advice(&name).unwrap_or_else(|| unknown(&name));
                self.problems.push(Problem { origin, key: Some(name), reason });
            }
        }
    }
}

fn unknown(name: &str) -> String {
    let nearest = KEYS.iter().map(|key| (distance(key.name, name), key.name)).min();
    match nearest {
        Some((distance, nearest)) if distance <= name.len().div_ceil(3) => {
            format!("is not a key of this server; did you mean `{nearest}`?")
        }
        _ => "is not a key of this server; `chorus config example` lists them".to_owned(),
    }
}

/// How many letters must be added, dropped or replaced to turn one name into the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// What the file says for a key, in the key's own terms.
fn raw(key: &Key, node: Node) -> Result<Raw, String> {
    let single = |node: Node| match (node, key.kind) {
        (Node::Text(text), Kind::Text(_) | Kind::List(_) | Kind::Choice(_) | Kind::Duration { .. }) => Ok(text),
        (Node::Bool(value), Kind::Bool) => Ok(value.to_string()),
        (Node::Number(number), Kind::Number(..)) => Ok(number),
        (Node::Number(_), Kind::Duration { .. }) => Err("needs a unit, such as 30s, 12h or 7d".to_owned()),
        (Node::Number(_) | Node::Bool(_), Kind::Text(_) | Kind::List(_)) => {
            Err("must be text: put it in quotes".to_owned())
        }
        (_, Kind::Choice(words)) => Err(format!("must be one of {}", words.join(", "))),
        (_, Kind::Bool) => Err("must be true or false".to_owned()),
        (_, Kind::Number(min, max)) => Err(format!("must be a whole number from {min} to {max}")),
        (_, Kind::List(_)) => Err("must be a list of texts".to_owned()),
        (_, Kind::Text(_) | Kind::Duration { .. }) => Err("must be text".to_owned()),
    };
    match (node, key.kind) {
        (Node::Null, _) => Ok(Raw::Nothing),
        (Node::List(items), Kind::List(_)) => items.into_iter().map(single).collect::<Result<_, _>>().map(Raw::Many),
        (node, Kind::List(_)) => single(node).map(|text| Raw::Many(super::load::comma_separated(&text))),
        (node, _) => single(node).map(Raw::One),
    }
}

/// A YAML value, as far as configuration needs it.
enum Node {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Self>),
    Map(Vec<(Spanned<String>, Self)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        Node::deserialize(from)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = from.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}
