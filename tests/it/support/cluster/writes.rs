//! What happens to an object on its way into the store: metadata of the system, defaults, rules, owners of fields,
//! generation, deletion with finalizers and grace, and the garbage collection that follows.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    apply::{Apply, Owners, Writer},
    defaults,
    failure::Failure,
    fields::{self, Schema},
    resources::Resource,
    rules,
    store::{Key, Store, Stored, owners},
};
/// The answer to a write: what was stored, and whether it is new.
pub type Written = Result<(Arc<Stored>, bool), Failure>;

/// How an object shall go.
#[derive(Debug, Clone, Default)]
pub struct Deletion {
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub grace: Option<i64>,
    /// `Background`, `Foreground` or `Orphan`; what the kind says when absent.
    pub policy: Option<String>,
}

/// What a write knows beside the objects.
#[derive(Debug)]
pub struct Writing<'a> {
    pub store: &'a mut Store,
    /// RFC 3339, whole seconds.
    pub now: Value,
}

/// The fields of metadata that no client sets.
const KEPT: [&str; 5] = ["uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"];

impl Writing<'_> {
    /// POST. The name may be made up.
    pub fn create(&mut self, resource: &'static Resource, namespace: &str, mut new: Value, manager: &str) -> Written {
        let name = match (new["metadata"]["name"].as_str(), new["metadata"]["generateName"].as_str()) {
            (Some(name), _) if !name.is_empty() => name.to_owned(),
            (_, Some(prefix)) if !prefix.is_empty() => self.store.next_name(prefix),
            _ => {
                let why = ("metadata.name".to_owned(), "Required value: name or generateName is required".to_owned());
                return Err(Failure::invalid(resource, "", &[why]));
            }
        };
        let key = Key::new(resource, namespace, &name);
        if self.store.get(&key).is_some() {
            return Err(Failure::exists(resource, &name));
        }
        if resource.status {
            new.as_object_mut().map(|map| map.remove("status"));
        }
        self.insert(&key, new, |new, schema, now| {
            let mut owners = Owners::default();
            owners.updated(&Writer::update(manager, ""), &json!({}), new, schema, now);
            owners
        })
    }

    /// PUT and the patches that are no apply: `new` is the whole object.
    pub fn replace(&mut self, key: &Key, subresource: &str, new: Value, manager: &str) -> Written {
        let old = self.live(key)?;
        let writer = Writer::update(manager, subresource);
        // who edits the record of the owners starts from what he left of it; an empty list means: as it was
        let record = new["metadata"]["managedFields"].as_array().filter(|list| !list.is_empty());
        let edited = record.is_some() && new["metadata"]["managedFields"] != old.value["metadata"]["managedFields"];
        let base = if edited && subresource.is_empty() { Owners::of(&new) } else { Owners::of(&old.value) };
        self.update(key, &old, subresource, new, |old, new, schema, now| {
            let mut owners = base;
            owners.updated(&writer, old, new, schema, now);
            owners
        })
    }

    /// Server-side apply.
    pub fn apply(&mut self, key: &Key, subresource: &str, config: &Value, manager: &str, force: bool) -> Written {
        let resource = key.resource();
        let writer = Writer::apply(manager, subresource);
        let time = self.now.clone();
        let apply = Apply { resource, name: &key.name, writer: &writer, force, time: &time };
        let live = self.store.get(key).cloned();
        match live {
            None if subresource.is_empty() => {
                if config["metadata"]["resourceVersion"].is_string() {
                    return Err(Failure::conflict(resource, &key.name, "the object does not exist"));
                }
                let (new, owners) = apply.to(None, config)?;
                self.insert(key, new, |_, _, _| owners)
            }
            None => Err(Failure::not_found(resource, &key.name)),
            Some(old) => {
                let (mut new, owners) = apply.to(Some(&old.value), config)?;
                for precondition in ["resourceVersion", "uid"] {
                    if let Some(value) = config["metadata"].get(precondition) {
                        new["metadata"][precondition] = value.clone();
                    }
                }
                self.update(key, &old, subresource, new, |_, _, _, _| owners)
            }
        }
    }

    /// The object, or 404.
    pub fn live(&self, key: &Key) -> Result<Arc<Stored>, Failure> {
        self.store.get(key).cloned().ok_or_else(|| Failure::not_found(key.resource(), &key.name))
    }

    fn insert(&mut self, key: &Key, mut new: Value, own: impl FnOnce(&Value, Schema, &Value) -> Owners) -> Written {
        let resource = key.resource();
        let uid = self.store.next_uid();
        stamp(&mut new, key);
        let metadata = &mut new["metadata"];
        metadata["uid"] = uid.into();
        metadata["creationTimestamp"] = self.now.clone();
        if let Some(metadata) = metadata.as_object_mut() {
            for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion"] {
                metadata.remove(field);
            }
        }
        if resource.generation {
            metadata["generation"] = 1.into();
        }
        fields::drop_nulls(&mut new);
        defaults::fill(resource, &mut new);
        rules::check(resource, &key.name, None, &new)?;
        own(&new, Schema::of(resource.kind), &self.now).write(&mut new);
        let stored = self.store.commit(key, Some(new));
        self.collect_if_orphan(key, &stored);
        Ok((stored, true))
    }

    fn update(
        &mut self,
        key: &Key,
        old: &Arc<Stored>,
        subresource: &str,
        mut new: Value,
        own: impl FnOnce(&Value, &Value, Schema, &Value) -> Owners,
    ) -> Written {
        let resource = key.resource();
        for (field, why) in [
            (
                "resourceVersion",
                "the object has been modified; please apply your changes to the latest version and try again",
            ),
            ("uid", "Precondition failed: UID in precondition differs from UID in object meta"),
        ] {
            let wanted = new["metadata"][field].as_str().filter(|wanted| !wanted.is_empty());
            if wanted.is_some_and(|wanted| old.value["metadata"][field] != wanted) {
                return Err(Failure::conflict(resource, &key.name, why));
            }
        }
        if subresource == "status" {
            // of an object that is written through its status, only that counts
            let (status, annotations) = (new["status"].take(), new["metadata"]["annotations"].take());
            new = old.value.clone();
            set(&mut new, "status", status);
            // the revision of a Deployment is written with its status
            if resource.kind == "Deployment" {
                set(&mut new["metadata"], "annotations", annotations);
            }
        } else if resource.status {
            set(&mut new, "status", old.value["status"].clone());
        }
        stamp(&mut new, key);
        for field in KEPT {
            set(&mut new["metadata"], field, old.value["metadata"][field].clone());
        }
        set(&mut new["metadata"], "resourceVersion", old.value["metadata"]["resourceVersion"].clone());
        fields::drop_nulls(&mut new);
        defaults::fill(resource, &mut new);
        rules::check(resource, &key.name, Some(&old.value), &new)?;
        own(&old.value, &new, Schema::of(resource.kind), &self.now).write(&mut new);
        if same(&old.value, &new) {
            return Ok((old.clone(), false));
        }
        if resource.generation && content(&old.value) != content(&new) {
            new["metadata"]["generation"] = (old.value["metadata"]["generation"].as_i64().unwrap_or(1) + 1).into();
        }
        let going =
            new["metadata"]["deletionTimestamp"].is_string() && !has_finalizers(&new) && !lingers(resource, &new);
        if going {
            return Ok((self.remove(key), false));
        }
        Ok((self.store.commit(key, Some(new)), false))
    }

    /// DELETE of one object. Says whether it is gone.
    pub fn delete(&mut self, key: &Key, deletion: &Deletion) -> Result<(Arc<Stored>, bool), Failure> {
        let old = self.live(key)?;
        let resource = key.resource();
        for (field, wanted) in [("uid", &deletion.uid), ("resourceVersion", &deletion.resource_version)] {
            if wanted.as_deref().is_some_and(|wanted| old.value["metadata"][field] != wanted) {
                let why = format!("Precondition failed: {field} in precondition differs from that of the object");
                return Err(Failure::conflict(resource, &key.name, &why));
            }
        }
        // a Job that is deleted without a word leaves its pods behind
        let default = if resource.kind == "Job" { "Orphan" } else { "Background" };
        let policy = deletion.policy.as_deref().unwrap_or(default);
        let mut new = old.value.clone();
        match policy {
            "Orphan" => self.orphan(&old),
            "Foreground" if !self.dependents(&old).is_empty() => add_finalizer(&mut new, "foregroundDeletion"),
            _ => {}
        }
        let grace = match resource.kind {
            "Pod" if new["spec"]["nodeName"].is_string() && !finished(&new) => {
                deletion.grace.or(new["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(30)
            }
            _ => 0,
        };
        if grace == 0 && !has_finalizers(&new) {
            return Ok((self.remove(key), true));
        }
        let metadata = &mut new["metadata"];
        let shorter = metadata["deletionGracePeriodSeconds"].as_i64().is_none_or(|before| grace < before);
        if metadata["deletionTimestamp"].is_null() || shorter {
            if resource.generation && metadata["deletionTimestamp"].is_null() {
                metadata["generation"] = (metadata["generation"].as_i64().unwrap_or(1) + 1).into();
            }
            metadata["deletionTimestamp"] = self.now.clone();
            metadata["deletionGracePeriodSeconds"] = grace.into();
            let stored = self.store.commit(key, Some(new));
            if policy == "Foreground" {
                self.dependents(&old).iter().for_each(|key| self.collect(key));
            }
            return Ok((stored, false));
        }
        Ok((old, false))
    }

    /// Takes an object away, whatever it says, and what belongs to it.
    pub fn remove(&mut self, key: &Key) -> Arc<Stored> {
        let gone = self.store.commit(key, None);
        for dependent in self.dependents(&gone) {
            self.collect(&dependent);
        }
        for owner in owners(&gone.value) {
            self.release(owner);
        }
        gone
    }

    fn dependents(&self, object: &Stored) -> Vec<Key> {
        object.value["metadata"]["uid"].as_str().map(|uid| self.store.dependents(uid)).unwrap_or_default()
    }

    /// The garbage collector's view of an object: it goes when none of its owners is there.
    fn collect(&mut self, key: &Key) {
        let Some(object) = self.store.get(key).cloned() else { return };
        let held = owners(&object.value).any(|uid| self.store.has_uid(uid) && !self.is_going_first(uid));
        if !held {
            // it is there, and nothing is asked of it
            let _ = self.delete(key, &Deletion { policy: Some("Background".to_owned()), ..Deletion::default() });
        }
    }

    fn collect_if_orphan(&mut self, key: &Key, object: &Stored) {
        if owners(&object.value).next().is_some() {
            self.collect(key);
        }
    }

    fn is_going_first(&self, uid: &str) -> bool {
        self.store.by_uid(uid).is_some_and(|owner| finalizers(&owner.value).any(|name| name == "foregroundDeletion"))
    }

    /// Lets an owner go that waits for what belongs to it.
    fn release(&mut self, uid: &str) {
        if !self.is_going_first(uid) || !self.store.dependents(uid).is_empty() {
            return;
        }
        let Some((key, owner)) = self.store.by_uid(uid).map(|o| (self.store.key_of(uid), o.value.clone())) else {
            return;
        };
        let left: Vec<_> = finalizers(&owner).filter(|name| *name != "foregroundDeletion").map(Value::from).collect();
        let (mut owner, last) = (owner.clone(), left.is_empty());
        owner["metadata"]["finalizers"] = left.into();
        let Some(key) = key else { return };
        if last {
            self.remove(&key);
        } else {
            self.store.commit(&key, Some(owner));
        }
    }

    fn orphan(&mut self, owner: &Stored) {
        for key in self.dependents(owner) {
            let Some(object) = self.store.get(&key).cloned() else { continue };
            let mut value = object.value.clone();
            if let Some(references) = value["metadata"]["ownerReferences"].as_array_mut() {
                references.retain(|reference| reference["uid"] != owner.value["metadata"]["uid"]);
            }
            self.store.commit(&key, Some(value));
        }
    }
}

/// Name, namespace, `apiVersion` and `kind` are what the path says.
fn stamp(object: &mut Value, key: &Key) {
    let resource = key.resource();
    object["apiVersion"] = resource.api_version().into();
    object["kind"] = resource.kind.into();
    object["metadata"]["name"] = key.name.clone().into();
    if resource.namespaced {
        object["metadata"]["namespace"] = key.namespace.clone().into();
    }
}

/// Sets a field, or takes it away when the value is null.
pub fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        if value.is_null() {
            map.remove(field)
        } else {
            map.insert(field.to_owned(), value)
        };
    }
}

fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn has_finalizers(object: &Value) -> bool {
    finalizers(object).next().is_some()
}

fn add_finalizer(object: &mut Value, name: &str) {
    match object["metadata"]["finalizers"].as_array_mut() {
        Some(list) => list.push(name.into()),
        None => object["metadata"]["finalizers"] = json!([name]),
    }
}

/// Whether a pod has ended by itself.
pub fn finished(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// Whether an object that is going waits for its node.
fn lingers(resource: &Resource, object: &Value) -> bool {
    resource.kind == "Pod" && object["metadata"]["deletionGracePeriodSeconds"].as_i64().is_some_and(|grace| grace > 0)
}

/// What the generation counts.
fn content(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("metadata");
        map.remove("status");
    }
    object
}

/// Whether two versions differ in nothing but the time at which somebody wrote.
fn same(old: &Value, new: &Value) -> bool {
    let timeless = |object: &Value| {
        let mut object = object.clone();
        for entry in object["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
            set(entry, "time", Value::Null);
        }
        object
    };
    timeless(old) == timeless(new)
}

/// 405
pub fn no_such_verb() -> Failure {
    Failure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    )
}
