//! Sets of fields of objects: what a manager owns, what a write changed, in the format of `fieldsV1`.
//!
//! ```text
//! value ──Fields::of──► set          old, new ──changed──► (set that came or changed, set that went)
//! live + applied ──merge──► merged   merged − set ──remove──► pruned
//! ```

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A set of fields, as a tree whose edges are `f:<field>`, `k:<keys of a list item>` and `v:<item of a set>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// Whether this node itself belongs to the set.
    member: bool,
    below: BTreeMap<String, Fields>,
}

/// What the items of a list are told apart by.
enum Items {
    /// Nothing: the list is one value.
    Whole,
    /// Themselves.
    Themselves,
    /// These fields, with what is meant where one is absent.
    Keys(&'static [(&'static str, &'static str)]),
}

/// How the lists and maps of a kind merge.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Whether the pod fields are known; lists of custom resources and network policies are single values.
    typed: bool,
}

impl Schema {
    /// The schema of a kind.
    pub fn of(kind: &str) -> Self {
        Self { typed: matches!(kind, "Deployment" | "Job" | "Pod" | "Service") }
    }

    fn items(self, field: &str, list: &[Value]) -> Items {
        let typed = self.typed && list.iter().all(Value::is_object);
        match field {
            "finalizers" => Items::Themselves,
            "ownerReferences" => Items::Keys(&[("uid", "")]),
            "conditions" => Items::Keys(&[("type", "")]),
            "containers" | "initContainers" | "env" | "volumes" | "imagePullSecrets" if typed => {
                Items::Keys(&[("name", "")])
            }
            "volumeMounts" if typed => Items::Keys(&[("mountPath", "")]),
            "ports" if typed && list.iter().any(|port| port.get("containerPort").is_some()) => {
                Items::Keys(&[("containerPort", ""), ("protocol", "TCP")])
            }
            "ports" if typed => Items::Keys(&[("port", ""), ("protocol", "TCP")]),
            _ => Items::Whole,
        }
    }

    /// Maps that are one value.
    fn atomic(self, field: &str) -> bool {
        self.typed && matches!(field, "selector" | "nodeSelector" | "secretKeyRef" | "fieldRef" | "labelSelector")
    }
}

fn edge(item: &Value, items: &Items) -> String {
    match items {
        Items::Keys(keys) => {
            let key = |&(name, default): &(&str, &str)| {
                let value = item.get(name).cloned().unwrap_or_else(|| default.into());
                (name.to_owned(), value)
            };
            format!("k:{}", Value::Object(keys.iter().map(key).collect()))
        }
        _ => format!("v:{item}"),
    }
}

impl Fields {
    /// The fields of a value.
    pub fn of(value: &Value, schema: Schema) -> Self {
        Self { member: false, ..Self::collect(value, "", schema) }
    }

    fn collect(value: &Value, field: &str, schema: Schema) -> Self {
        let leaf = Self { member: true, below: BTreeMap::new() };
        match value {
            Value::Object(map) if !map.is_empty() && !schema.atomic(field) => Self {
                member: false,
                below: map
                    .iter()
                    .map(|(name, value)| (format!("f:{name}"), Self::collect(value, name, schema)))
                    .collect(),
            },
            Value::Array(list) if !list.is_empty() => match schema.items(field, list) {
                Items::Whole => leaf,
                items => Self {
                    member: false,
                    below: list
                        .iter()
                        .map(|item| {
                            let below =
                                if item.is_object() { Self::collect(item, "", schema).below } else { BTreeMap::new() };
                            (edge(item, &items), Self { member: true, below })
                        })
                        .collect(),
                },
            },
            _ => leaf,
        }
    }

    /// Reads `fieldsV1`.
    pub fn parse(value: &Value) -> Self {
        let Some(map) = value.as_object() else { return Self::default() };
        Self {
            member: map.is_empty() || map.contains_key("."),
            below: map
                .iter()
                .filter(|(edge, _)| *edge != ".")
                .map(|(edge, v)| (edge.clone(), Self::parse(v)))
                .collect(),
        }
    }

    /// Writes `fieldsV1`.
    pub fn json(&self) -> Value {
        let mut map: Map<_, _> = self.below.iter().map(|(edge, below)| (edge.clone(), below.json())).collect();
        if self.member && !map.is_empty() {
            map.insert(".".to_owned(), json!({}));
        }
        Value::Object(map)
    }

    pub fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }

    /// Adds all of another set.
    pub fn add(&mut self, other: &Self) {
        self.member |= other.member;
        for (edge, below) in &other.below {
            self.below.entry(edge.clone()).or_default().add(below);
        }
    }

    /// Takes all of another set away.
    pub fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        for (edge, below) in &other.below {
            if let Some(mine) = self.below.get_mut(edge) {
                mine.subtract(below);
                if mine.is_empty() {
                    self.below.remove(edge);
                }
            }
        }
    }

    /// What both have.
    pub fn common(&self, other: &Self) -> Self {
        let below = self.below.iter().filter_map(|(edge, mine)| {
            let both = mine.common(other.below.get(edge)?);
            (!both.is_empty()).then(|| (edge.clone(), both))
        });
        Self { member: self.member && other.member, below: below.collect() }
    }

    /// Keeps list items of which another set has something.
    pub fn spare_items(&mut self, others: &Self) {
        for (edge, below) in &mut self.below {
            if let Some(theirs) = others.below.get(edge) {
                below.member = false;
                below.spare_items(theirs);
            }
        }
    }

    /// Its members, for messages.
    pub fn paths(&self) -> Vec<String> {
        let below = self.below.iter().flat_map(|(edge, below)| {
            let edge = edge.strip_prefix("f:").map_or_else(|| format!("[{edge}]"), |field| format!(".{field}"));
            below.paths().into_iter().map(move |path| format!("{edge}{path}"))
        });
        self.member.then(String::new).into_iter().chain(below).collect()
    }
}

/// What came or changed from `old` to `new`, and what went.
pub fn changed(old: &Value, new: &Value, schema: Schema) -> (Fields, Fields) {
    fn walk(old: &Value, new: &Value, field: &str, schema: Schema) -> (Fields, Fields) {
        if old == new {
            return Default::default();
        }
        let (mut came, mut went) = (Fields::default(), Fields::default());
        let mut note = |edge: String, item: bool, old: Option<&Value>, new: Option<&Value>, name: &str| {
            let member = |mut fields: Fields| {
                fields.member |= item;
                fields
            };
            let (in_new, in_old) = match (old, new) {
                (Some(old), Some(new)) => walk(old, new, name, schema),
                (None, Some(new)) => (member(Fields::collect(new, name, schema)), Fields::default()),
                (Some(old), None) => (Fields::default(), member(Fields::collect(old, name, schema))),
                (None, None) => return,
            };
            if !in_new.is_empty() {
                came.below.insert(edge.clone(), in_new);
            }
            if !in_old.is_empty() {
                went.below.insert(edge, in_old);
            }
        };
        match (old, new) {
            (Value::Object(a), Value::Object(b)) if !schema.atomic(field) => {
                for name in a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))) {
                    note(format!("f:{name}"), false, a.get(name), b.get(name), name);
                }
            }
            (Value::Array(a), Value::Array(b))
                if !matches!(schema.items(field, &[&a[..], b].concat()), Items::Whole) =>
            {
                let items = schema.items(field, &[&a[..], b].concat());
                let by_edge = |list: &'_ [Value]| {
                    list.iter().map(|item| (edge(item, &items), item.clone())).collect::<BTreeMap<_, _>>()
                };
                let (a, b) = (by_edge(a), by_edge(b));
                for edge in a.keys().chain(b.keys().filter(|edge| !a.contains_key(*edge))) {
                    note(edge.clone(), true, a.get(edge), b.get(edge), "");
                }
            }
            _ => came = Fields::collect(new, field, schema),
        }
        (came, went)
    }
    walk(old, new, "", schema)
}

/// Puts `applied` over `live`.
pub fn merge(live: &mut Value, applied: &Value, schema: Schema) {
    fn walk(live: &mut Value, applied: &Value, field: &str, schema: Schema) {
        match (live, applied) {
            (Value::Object(live), Value::Object(applied)) if !schema.atomic(field) => {
                for (name, value) in applied {
                    walk(live.entry(name.clone()).or_insert(Value::Null), value, name, schema);
                }
            }
            (Value::Array(live), Value::Array(applied)) => match schema.items(field, &[&live[..], applied].concat()) {
                Items::Whole => applied.clone_into(live),
                items => {
                    for item in applied {
                        match live.iter_mut().find(|one| edge(one, &items) == edge(item, &items)) {
                            Some(one) => walk(one, item, "", schema),
                            None => live.push(item.clone()),
                        }
                    }
                }
            },
            // A null takes away a scalar and what is replaced as a whole, but nothing out of a map or list of fields.
            (Value::Object(live), Value::Null) if !schema.atomic(field) && !live.is_empty() => {}
            (Value::Array(live), Value::Null)
                if !live.is_empty() && !matches!(schema.items(field, live), Items::Whole) => {}
            (live, applied) => *live = applied.clone(),
        }
    }
    walk(live, applied, "", schema);
}

/// Takes the fields of a set out of a value, and what is empty then.
pub fn remove(value: &mut Value, fields: &Fields, schema: Schema) {
    fn walk(value: &mut Value, fields: &Fields, field: &str, schema: Schema) {
        match value {
            Value::Object(map) => {
                for (edge, below) in &fields.below {
                    let Some(name) = edge.strip_prefix("f:") else { continue };
                    let Some(inner) = map.get_mut(name) else { continue };
                    if below.member {
                        map.remove(name);
                        continue;
                    }
                    walk(inner, below, name, schema);
                    if is_hollow(inner) {
                        map.remove(name);
                    }
                }
            }
            Value::Array(list) => {
                let items = schema.items(field, list);
                list.retain_mut(|item| match fields.below.get(&edge(item, &items)) {
                    Some(below) if below.member => false,
                    Some(below) => {
                        walk(item, below, "", schema);
                        true
                    }
                    None => true,
                });
            }
            _ => {}
        }
    }
    walk(value, fields, "", schema);
}

fn is_hollow(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// Takes `null` fields out of objects.
pub fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
