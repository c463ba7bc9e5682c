//! Who owns which field: server-side apply, and what every other write does to the owners.
//!
//! What always holds: `metadata.managedFields` is the only record of it, so whoever takes an entry out of there takes the
//! ownership away.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    failure::Failure,
    fields::{self, Fields, Schema},
    resources::Resource,
};

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Writer {
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: &'static str,
    /// `status`, or empty.
    pub subresource: String,
}

impl Writer {
    pub fn update(manager: &str, subresource: &str) -> Self {
        Self { manager: manager.to_owned(), operation: "Update", subresource: subresource.to_owned() }
    }

    pub fn apply(manager: &str, subresource: &str) -> Self {
        Self { operation: "Apply", ..Self::update(manager, subresource) }
    }
}

/// The owners of an object's fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Owners(BTreeMap<Writer, Entry>);

#[derive(Debug, Clone, Default, PartialEq)]
struct Entry {
    time: Value,
    fields: Fields,
}

/// What nobody owns.
const SYSTEM: [&str; 11] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
];

/// An object as far as its fields have owners.
fn owned(object: &Value) -> Value {
    let mut object = object.clone();
    strip(&mut object);
    if let Some(map) = object.as_object_mut() {
        map.retain(|name, value| {
            !matches!(name.as_str(), "apiVersion" | "kind") && (name != "metadata" || *value != json!({}))
        });
    }
    object
}

fn strip(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !SYSTEM.contains(&name.as_str()));
    }
}

impl Owners {
    /// Reads `metadata.managedFields`.
    pub fn of(object: &Value) -> Self {
        let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self(
            entries
                .filter(|entry| entry["manager"].is_string())
                .map(|entry| {
                    let writer = Writer {
                        manager: text(&entry["manager"]),
                        operation: if entry["operation"] == "Apply" { "Apply" } else { "Update" },
                        subresource: text(&entry["subresource"]),
                    };
                    (writer, Entry { time: entry["time"].clone(), fields: Fields::parse(&entry["fieldsV1"]) })
                })
                .collect(),
        )
    }

    /// Writes `metadata.managedFields`.
    pub fn write(self, object: &mut Value) {
        let api_version = object["apiVersion"].clone();
        let entry = |(writer, entry): (Writer, Entry)| {
            let mut json = json!({ "manager": writer.manager, "operation": writer.operation, "apiVersion": api_version,
                "time": entry.time, "fieldsType": "FieldsV1", "fieldsV1": entry.fields.json() });
            if !writer.subresource.is_empty() {
                json["subresource"] = writer.subresource.into();
            }
            json
        };
        let entries = self.0.into_iter().filter(|(_, entry)| !entry.fields.is_empty()).map(entry).collect();
        object["metadata"]["managedFields"] = Value::Array(entries);
    }

    /// An ordinary write: what it changed is the writer's alone.
    pub fn updated(&mut self, writer: &Writer, old: &Value, new: &Value, schema: Schema, time: &Value) {
        let (came, went) = fields::changed(&owned(old), &owned(new), schema);
        if came.is_empty() && went.is_empty() {
            return;
        }
        for (other, entry) in &mut self.0 {
            entry.fields.subtract(&went);
            if other != writer {
                entry.fields.subtract(&came);
            }
        }
        if !came.is_empty() {
            let entry = self.0.entry(writer.clone()).or_default();
            entry.fields.add(&came);
            entry.time = time.clone();
        }
    }

    /// What nobody owns when it is first applied belongs to a manager of this name from then on.
    fn before_first_apply(&mut self, live: &Value, resource: &Resource, time: &Value) {
        let mut object = owned(live);
        if let Some(map) = object.as_object_mut().filter(|_| resource.status) {
            map.remove("status");
        }
        let fields = Fields::of(&object, Schema::of(resource.kind));
        self.0.insert(Writer::update("before-first-apply", ""), Entry { time: time.clone(), fields });
    }

    fn others(&self, writer: &Writer) -> Fields {
        let mut all = Fields::default();
        self.0.iter().filter(|(other, _)| *other != writer).for_each(|(_, entry)| all.add(&entry.fields));
        all
    }
}

/// One server-side apply.
#[derive(Debug)]
pub struct Apply<'a> {
    pub resource: &'static Resource,
    pub name: &'a str,
    pub writer: &'a Writer,
    pub force: bool,
    pub time: &'a Value,
}

impl Apply<'_> {
    /// The object as it will be, and who owns its fields then.
    pub fn to(&self, live: Option<&Value>, config: &Value) -> Result<(Value, Owners), Failure> {
        let schema = Schema::of(self.resource.kind);
        let status = self.writer.subresource == "status";
        let mut config = config.clone();
        strip(&mut config);
        if let Some(map) = config.as_object_mut() {
            map.retain(|name, _| match name.as_str() {
                "apiVersion" | "kind" => true,
                "status" => status || !self.resource.status,
                _ => !status,
            });
        }
        let mine = Fields::of(&owned(&config), schema);
        let mut owners = live.map(Owners::of).unwrap_or_default();
        let mut merged = live.cloned().unwrap_or_else(|| json!({ "metadata": {} }));
        if let Some(live) = live.filter(|_| owners.0.is_empty()) {
            owners.before_first_apply(live, self.resource, self.time);
        }
        fields::merge(&mut merged, &config, schema);

        let before = live.map(owned).unwrap_or_else(|| json!({ "metadata": {} }));
        let (came, _) = fields::changed(&before, &owned(&merged), schema);
        let touched = mine.common(&came);
        for (other, entry) in owners.0.iter_mut().filter(|(other, _)| *other != self.writer) {
            let clash = entry.fields.common(&touched);
            if clash.is_empty() {
                continue;
            }
            if !self.force {
                return Err(self.clash(other, &clash));
            }
            entry.fields.subtract(&clash);
        }

        let previous = owners.0.get(self.writer).map(|entry| entry.fields.clone()).unwrap_or_default();
        let others = owners.others(self.writer);
        let mut gone = previous.clone();
        gone.subtract(&mine);
        gone.subtract(&others);
        gone.spare_items(&others);
        fields::remove(&mut merged, &gone, schema);
        fields::drop_nulls(&mut merged);

        let entry = owners.0.entry(self.writer.clone()).or_default();
        if entry.fields != mine || live.is_none() || !touched.is_empty() {
            entry.time = self.time.clone();
        }
        entry.fields = mine;
        Ok((merged, owners))
    }

    fn clash(&self, other: &Writer, fields: &Fields) -> Failure {
        let paths = fields.paths();
        let plural = if paths.len() == 1 { "conflict" } else { "conflicts" };
        let causes: Vec<_> = paths
            .iter()
            .map(|path| {
                let message = format!("conflict with {:?}", other.manager);
                json!({ "reason": "FieldManagerConflict", "message": message, "field": path })
            })
            .collect();
        let message = format!(
            "Apply failed with {} {plural}: conflict with {:?}: {}",
            paths.len(),
            other.manager,
            paths.join(", ")
        );
        let mut failure = Failure::new(StatusCode::CONFLICT, "Conflict", message);
        failure.details = json!({ "name": self.name, "causes": causes });
        failure
    }
}
