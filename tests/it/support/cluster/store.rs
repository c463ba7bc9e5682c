//! Objects, their versions and their history: what lists read, and what watches are told.
//!
//! What always holds: an object is never changed, only replaced; each write has a version of its own, greater than all
//! before; watchers see the writes of their kind in that order. Every reader shares one copy.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{
    failure::Failure,
    resources::{RESOURCES, Resource},
    select::Selection,
};

/// How many writes of a kind can be read again before a watch must list.
const HISTORY: usize = 20_000;

/// A version of an object.
#[derive(Debug)]
pub struct Stored {
    pub value: Value,
    pub version: u64,
    json: OnceLock<Bytes>,
}

impl Stored {
    /// As JSON; made once for all who read it.
    pub fn json(&self) -> Bytes {
        self.json.get_or_init(|| Bytes::from(self.value.to_string())).clone()
    }
}

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The place of its kind in [`RESOURCES`].
    kind: usize,
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(resource: &Resource, namespace: &str, name: &str) -> Self {
        let kind = RESOURCES.iter().position(|known| known == resource).unwrap();
        let namespace = if resource.namespaced { namespace } else { "" };
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub fn resource(&self) -> &'static Resource {
        &RESOURCES[self.kind]
    }
}

/// One write.
#[derive(Debug, Clone)]
pub struct Change {
    pub version: u64,
    pub key: Key,
    /// What was there.
    pub before: Option<Arc<Stored>>,
    /// What is there; an object that went has its last version in `before`.
    pub after: Option<Arc<Stored>>,
}

/// What a watch is told.
#[derive(Debug, Clone)]
pub enum Told {
    Change(Change),
    /// How far the watch has come, although nothing happened.
    Bookmark(u64),
    /// The connection breaks.
    Break,
}

#[derive(Debug, Default)]
struct Table {
    objects: BTreeMap<(String, String), Arc<Stored>>,
    history: VecDeque<Change>,
    /// Watches from an older version are refused.
    oldest: u64,
    watchers: Vec<UnboundedSender<Told>>,
}

/// All objects.
#[derive(Debug)]
pub struct Store {
    version: u64,
    tables: Vec<Table>,
    uids: HashMap<String, Key>,
    dependents: HashMap<String, BTreeSet<Key>>,
    /// Told of every write: the stand-in of the cluster's own controllers.
    pub listeners: Vec<UnboundedSender<Change>>,
    /// How many names and uids were made up so far.
    made_up: u64,
    /// What was ever created, with its labels.
    births: Vec<(Key, Value)>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            version: 1,
            tables: RESOURCES.iter().map(|_| Table::default()).collect(),
            uids: HashMap::new(),
            dependents: HashMap::new(),
            listeners: Vec::new(),
            made_up: 0,
            births: Vec::new(),
        }
    }
}

/// The uids of the owners of an object.
pub fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let references = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    references.filter_map(|reference| reference["uid"].as_str())
}

impl Store {
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Stored>> {
        self.tables[key.kind].objects.get(&(key.namespace.clone(), key.name.clone()))
    }

    /// The objects of a kind that a selection takes, after this place, in order.
    pub fn list<'a>(
        &'a self,
        resource: &Resource,
        selection: &'a Selection,
        after: Option<(String, String)>,
    ) -> impl Iterator<Item = &'a Arc<Stored>> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let table = &self.tables[Key::new(resource, "", "").kind];
        let start = match after {
            Some(place) => Excluded(place),
            None => Included((selection.namespace.clone(), String::new())),
        };
        let of_namespace = |namespace: &str| selection.namespace.is_empty() || namespace == selection.namespace;
        let range = table.objects.range((start, Unbounded));
        range
            .take_while(move |((namespace, _), _)| of_namespace(namespace))
            .filter_map(|(_, object)| selection.takes(&object.value).then_some(object))
    }

    /// Puts an object in its place, or takes it away; the version goes into its metadata.
    pub fn commit(&mut self, key: &Key, new: Option<Value>) -> Arc<Stored> {
        self.version += 1;
        let version = self.version;
        let before = self.get(key).cloned();
        let after = new.map(|mut value| {
            value["metadata"]["resourceVersion"] = version.to_string().into();
            Arc::new(Stored { value, version, json: OnceLock::new() })
        });
        self.index(key, before.as_deref(), after.as_deref());
        if let (None, Some(new)) = (&before, &after) {
            self.births.push((key.clone(), new.value["metadata"]["labels"].clone()));
        }
        let place = (key.namespace.clone(), key.name.clone());
        let table = &mut self.tables[key.kind];
        match &after {
            Some(object) => table.objects.insert(place, object.clone()),
            None => table.objects.remove(&place),
        };
        // an object that goes is told with the version of its going
        let before = match (&before, &after) {
            (Some(gone), None) => {
                let mut value = gone.value.clone();
                value["metadata"]["resourceVersion"] = version.to_string().into();
                Some(Arc::new(Stored { value, version, json: OnceLock::new() }))
            }
            _ => before,
        };
        let answer = after.clone().or(before.clone()).expect("something was or is there");
        let change = Change { version, key: key.clone(), before, after };
        self.listeners.retain(|listener| listener.send(change.clone()).is_ok());
        table.watchers.retain(|watcher| watcher.send(Told::Change(change.clone())).is_ok());
        table.history.push_back(change);
        if table.history.len() > HISTORY {
            table.oldest = table.history.pop_front().map_or(0, |change| change.version);
        }
        answer
    }

    fn index(&mut self, key: &Key, before: Option<&Stored>, after: Option<&Stored>) {
        let uid = |object: &Stored| object.value["metadata"]["uid"].as_str().map(str::to_owned);
        if let Some(old) = before {
            for owner in owners(&old.value) {
                if let Some(keys) = self.dependents.get_mut(owner) {
                    keys.remove(key);
                }
            }
            if after.is_none() {
                uid(old).map(|uid| self.uids.remove(&uid));
            }
        }
        if let Some(new) = after {
            for owner in owners(&new.value) {
                self.dependents.entry(owner.to_owned()).or_default().insert(key.clone());
            }
            uid(new).map(|uid| self.uids.insert(uid, key.clone()));
        }
    }

    /// Whether an object of this uid exists.
    pub fn has_uid(&self, uid: &str) -> bool {
        self.uids.contains_key(uid)
    }

    /// Where the object of this uid is.
    pub fn key_of(&self, uid: &str) -> Option<Key> {
        self.uids.get(uid).cloned()
    }

    /// The object of this uid.
    pub fn by_uid(&self, uid: &str) -> Option<&Arc<Stored>> {
        self.get(self.uids.get(uid)?)
    }

    /// What belongs to an object.
    pub fn dependents(&self, uid: &str) -> Vec<Key> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Begins a watch: what happened since a version, and then what happens.
    pub fn watch(
        &mut self,
        resource: &Resource,
        since: u64,
    ) -> Result<(Vec<Change>, UnboundedReceiver<Told>), Failure> {
        let table = &mut self.tables[Key::new(resource, "", "").kind];
        if since < table.oldest {
            return Err(Failure::expired());
        }
        let past = table.history.iter().rev().take_while(|change| change.version > since).cloned().collect::<Vec<_>>();
        let (sender, receiver) = unbounded_channel();
        table.watchers.push(sender);
        Ok((past.into_iter().rev().collect(), receiver))
    }

    /// Forgets what happened, so that whoever comes with an older version must list again.
    pub fn compact(&mut self) {
        self.version += 1;
        for table in &mut self.tables {
            table.history.clear();
            table.oldest = self.version;
        }
    }

    /// Whether a list that began at this version can still go on.
    pub fn remembers(&self, resource: &Resource, version: u64) -> bool {
        version >= self.tables[Key::new(resource, "", "").kind].oldest
    }

    /// Tells every watch of one kind, or of all.
    pub fn tell(&mut self, resource: Option<&Resource>, told: &Told) {
        let kind = resource.map(|resource| Key::new(resource, "", "").kind);
        for (index, table) in self.tables.iter_mut().enumerate() {
            if kind.is_none_or(|kind| kind == index) {
                table.watchers.retain(|watcher| watcher.send(told.clone()).is_ok());
                if matches!(told, Told::Break) {
                    table.watchers.clear();
                }
            }
        }
    }

    /// The labels of all objects of a kind that were ever created.
    pub fn births(&self, resource: &Resource) -> impl Iterator<Item = &Value> {
        self.births.iter().filter(move |(key, _)| key.resource() == resource).map(|(_, labels)| labels)
    }

    /// A number that was not used before.
    pub fn next_number(&mut self) -> u64 {
        self.made_up += 1;
        self.made_up
    }

    /// A uid that was not used before.
    pub fn next_uid(&mut self) -> String {
        format!("00000000-0000-4000-8000-{:012x}", self.next_number())
    }

    /// A name that was not used before.
    pub fn next_name(&mut self, prefix: &str) -> String {
        // what a server makes up has neither vowels nor what looks like them
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let mut number = usize::try_from(self.next_number()).unwrap_or_default();
        let mut suffix = String::new();
        for _ in 0..5 {
            suffix.push(char::from(LETTERS[number % LETTERS.len()]));
            number /= LETTERS.len();
        }
        format!("{prefix}{suffix}")
    }
}
