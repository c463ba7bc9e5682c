//! The objects of one kind that one watch delivers, with an index by namespace and workbench.
//!
//! Objects come from two sides: the watch, and the responses to our own writes. The newer resource version wins, so a pass
//! sees its own writes, and neither an old event nor an old response takes anything back.
//!
//! There are many, and few are looked at at a time: they are kept packed ([`super::dictionary`]), and unpacked for who asks.

use std::{
    collections::{HashMap, HashSet},
    marker::PhantomData,
    sync::Arc,
};

use super::{dictionary::Dictionary, project::Remembered};

/// Text that is kept in many places.
pub type Text = Arc<str>;

/// Namespace (empty where there is none) and name.
pub type Key = (Text, Text);

/// What is remembered of a kind.
#[derive(Debug)]
pub struct Store<T> {
    objects: HashMap<Key, Entry>,
    dictionary: Dictionary,
    kind: PhantomData<fn() -> T>,
    /// Names, in order. There are as many of these lists as workbenches, so they are small.
    namespaces: HashMap<Text, Vec<Text>>,
    groups: HashMap<Key, Vec<Text>>,
    /// The list that is being read, if one is.
    listing: Option<Listing>,
    /// The newest version that the watch delivered.
    watched: u64,
    synced: bool,
}

/// A list that is being read.
#[derive(Debug, Default)]
struct Listing {
    /// What it held so far.
    held: HashSet<Key>,
    /// What responses delivered meanwhile: the list may be older.
    fed: HashSet<Key>,
}

#[derive(Debug)]
struct Entry {
    version: u64,
    packed: Box<[u8]>,
    group: Option<Text>,
    state: &'static str,
}

/// What a delivery changed.
#[derive(Debug)]
pub struct Change<T> {
    /// What was remembered.
    pub before: Option<Arc<T>>,
    /// What is remembered now.
    pub after: Option<Arc<T>>,
    /// The workbench that it belongs to.
    pub group: Option<Text>,
    /// The workbench that it no longer belongs to: its label was changed.
    pub left: Option<Text>,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self {
            objects: HashMap::new(),
            dictionary: Dictionary::default(),
            kind: PhantomData,
            namespaces: HashMap::new(),
            groups: HashMap::new(),
            listing: None,
            watched: 0,
            synced: false,
        }
    }
}

impl<T: Remembered> Store<T> {
    /// Whether a whole list was read.
    pub const fn synced(&self) -> bool {
        self.synced
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.objects.get(&(namespace.into(), name.into())).and_then(|entry| self.unpack(entry))
    }

    /// The objects of a namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        let namespace: Text = namespace.into();
        self.pick(&namespace, self.namespaces.get(&namespace))
    }

    /// The names of the objects of a namespace.
    pub fn names(&self, namespace: &str) -> Vec<Text> {
        self.namespaces.get(namespace).into_iter().flatten().cloned().collect()
    }

    /// The objects of a workbench, by name.
    pub fn of(&self, namespace: &str, workbench: &str) -> Vec<Arc<T>> {
        let group: Key = (namespace.into(), workbench.into());
        self.pick(&group.0, self.groups.get(&group))
    }

    /// Namespaces and names of all objects, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.objects.keys()
    }

    /// The states of all objects ([`Remembered::state`]), in no order.
    pub fn states(&self) -> impl Iterator<Item = &'static str> {
        self.objects.values().map(|entry| entry.state)
    }

    /// A list begins.
    pub fn begin(&mut self) {
        self.listing = Some(Listing::default());
    }

    /// The list is complete: what it did not hold is gone, unless it was made meanwhile.
    pub fn complete(&mut self) -> Vec<Change<T>> {
        self.synced = true;
        let Some(listing) = self.listing.take() else { return Vec::new() };
        let newer = |key: &Key, entry: &Entry| listing.fed.contains(key) && entry.version > self.watched;
        let stays = |key: &Key, entry: &Entry| listing.held.contains(key) || newer(key, entry);
        let gone = self.objects.iter().filter(|(key, entry)| !stays(key, entry));
        let gone: Vec<Key> = gone.map(|(key, _)| key.clone()).collect();
        gone.into_iter().filter_map(|key| self.take(&key)).collect()
    }

    /// The watch delivers an object.
    pub fn deliver(&mut self, (object, group): (T, Option<String>)) -> Option<Change<T>> {
        self.watched = self.watched.max(number(object.version()));
        if let Some(listing) = &mut self.listing {
            let (namespace, name) = object.key();
            listing.held.insert((namespace.into(), name.into()));
        }
        self.put(object, group)
    }

    /// The watch says that an object is gone.
    pub fn gone(&mut self, namespace: &str, name: &str, version: &str) -> Option<Change<T>> {
        let version = number(version);
        self.watched = self.watched.max(version);
        let key: Key = (namespace.into(), name.into());
        if self.objects.get(&key).is_some_and(|entry| entry.version > version) {
            return None;
        }
        self.take(&key)
    }

    /// A response to a write of ours, or a look, delivers an object. Where the watch has got past it, the watch knows better.
    pub fn feed(&mut self, (object, group): (T, Option<String>)) -> Option<Change<T>> {
        let (namespace, name) = object.key();
        let key: Key = (namespace.into(), name.into());
        let known = self.objects.contains_key(&key);
        match &mut self.listing {
            Some(listing) => drop(listing.fed.insert(key)),
            None if !known && number(object.version()) <= self.watched => return None,
            None => {}
        }
        self.put(object, group)
    }

    /// A read or a write found that an object is gone.
    pub fn forget(&mut self, namespace: &str, name: &str) -> Option<Change<T>> {
        self.take(&(namespace.into(), name.into()))
    }

    /// Forgets everything: the kind itself is gone.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn pick(&self, namespace: &Text, names: Option<&Vec<Text>>) -> Vec<Arc<T>> {
        let find = |name: &Text| self.objects.get(&(Arc::clone(namespace), Arc::clone(name)));
        names.into_iter().flatten().filter_map(find).filter_map(|entry| self.unpack(entry)).collect()
    }

    fn put(&mut self, object: T, group: Option<String>) -> Option<Change<T>> {
        let (namespace, name) = object.key();
        let key: Key = match self.objects.get_key_value(&(namespace.into(), name.into())) {
            Some((key, _)) => key.clone(),
            None => {
                let namespace = self.namespaces.get_key_value(namespace).map(|(known, _)| Arc::clone(known));
                (namespace.unwrap_or_else(|| object.key().0.into()), name.into())
            }
        };
        let known = self.objects.get(&key);
        let version = number(object.version());
        if known.is_some_and(|known| version != 0 && known.version >= version) {
            return None;
        }
        let before = known.and_then(|known| self.unpack(known));
        let group = group.map(Text::from);
        let moved = self.objects.get(&key).is_some_and(|entry| entry.group != group);
        let left = moved.then(|| self.take(&key)).flatten().and_then(|taken| taken.group);
        insert(self.namespaces.entry(Arc::clone(&key.0)).or_default(), &key.1);
        if let Some(group) = &group {
            insert(self.groups.entry((Arc::clone(&key.0), Arc::clone(group))).or_default(), &key.1);
        }
        let packed = self.dictionary.pack(&serde_json::to_string(&object).unwrap_or_default());
        self.objects.insert(key, Entry { version, packed, group: group.clone(), state: object.state() });
        Some(Change { before, after: Some(Arc::new(object)), group, left })
    }

    fn take(&mut self, key: &Key) -> Option<Change<T>> {
        let entry = self.objects.remove(key)?;
        remove(&mut self.namespaces, &key.0, &key.1);
        if let Some(group) = &entry.group {
            remove(&mut self.groups, &(Arc::clone(&key.0), Arc::clone(group)), &key.1);
        }
        Some(Change { before: self.unpack(&entry), after: None, group: entry.group, left: None })
    }

    fn unpack(&self, entry: &Entry) -> Option<Arc<T>> {
        serde_json::from_str(&self.dictionary.unpack(&entry.packed)).ok().map(Arc::new)
    }
}

impl<T: Remembered> Change<T> {
    /// Whether decisions need what changed.
    pub fn matters(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => !before.same(after),
            _ => true,
        }
    }

    /// The workbenches that it concerns.
    pub fn groups(&self) -> impl Iterator<Item = &Text> {
        self.group.iter().chain(&self.left)
    }

    /// What is remembered now, or was.
    pub fn either(&self) -> Option<&T> {
        self.after.as_deref().or(self.before.as_deref())
    }
}

fn insert(names: &mut Vec<Text>, name: &Text) {
    if let Err(at) = names.binary_search(name) {
        names.insert(at, Arc::clone(name));
    }
}

fn remove<K: std::hash::Hash + Eq>(index: &mut HashMap<K, Vec<Text>>, key: &K, name: &Text) {
    let Some(names) = index.get_mut(key) else { return };
    if let Ok(at) = names.binary_search(name) {
        names.remove(at);
    }
    if names.is_empty() {
        index.remove(key);
    }
}

/// Versions are opaque by the letter and growing numbers in fact; with one that is no number the watch has its way.
fn number(version: &str) -> u64 {
    version.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Thing {
        name: String,
        version: String,
        text: String,
    }

    impl Remembered for Thing {
        type Wire = super::super::wire::Named;

        fn project(_kind: super::super::project::Kinds, _wire: Self::Wire) -> Option<(Self, Option<String>)> {
            None
        }

        fn key(&self) -> (&str, &str) {
            ("ns", &self.name)
        }

        fn version(&self) -> &str {
            &self.version
        }

        fn same(&self, other: &Self) -> bool {
            self.text == other.text
        }
    }

    fn thing(name: &'static str, version: u64, text: &'static str) -> (Thing, Option<String>) {
        (Thing { name: name.to_owned(), version: version.to_string(), text: text.to_owned() }, Some(text.to_owned()))
    }

    fn text(store: &Store<Thing>, name: &str) -> Option<String> {
        store.get("ns", name).map(|thing| thing.text.clone())
    }

    #[test]
    fn the_newer_version_wins_from_either_side() {
        let mut store = Store::default();
        assert!(store.deliver(thing("a", 5, "watched")).unwrap().matters());
        assert!(store.feed(thing("a", 4, "old answer")).is_none());
        assert!(store.feed(thing("a", 8, "answer")).unwrap().matters());
        assert!(store.deliver(thing("a", 7, "late event")).is_none());
        assert!(store.deliver(thing("a", 8, "answer")).is_none(), "its own echo");
        assert!(!store.deliver(thing("a", 9, "answer")).unwrap().matters(), "nothing that counts");
        assert_eq!(text(&store, "a").as_deref(), Some("answer"));
    }

    #[test]
    fn what_is_gone_does_not_come_back_by_a_late_answer() {
        let mut store = Store::default();
        store.deliver(thing("a", 5, "there"));
        assert!(store.gone("ns", "a", "9").is_some());
        assert!(store.feed(thing("a", 7, "late answer")).is_none());
        assert_eq!(text(&store, "a"), None);
        assert!(store.feed(thing("a", 10, "made anew")).is_some());
        assert!(store.gone("ns", "a", "9").is_none(), "that was the one before");
        assert_eq!(text(&store, "a").as_deref(), Some("made anew"));
    }

    #[test]
    fn a_list_replaces_what_it_does_not_hold() {
        let mut store = Store::default();
        for name in ["a", "b", "c"] {
            store.deliver(thing(name, 5, "x"));
        }
        store.feed(thing("e", 9, "made and deleted before the list"));
        assert!(!store.synced());
        store.begin();
        store.deliver(thing("a", 6, "y"));
        store.deliver(thing("b", 5, "x"));
        store.feed(thing("d", 7, "just made"));
        let mut gone: Vec<_> =
            store.complete().iter().map(|change| change.before.as_ref().unwrap().name.clone()).collect();
        gone.sort_unstable();
        assert_eq!(gone, ["c", "e"]);
        assert!(store.synced());
        assert_eq!(store.names("ns"), ["a".into(), "b".into(), "d".into()]);
    }

    #[test]
    fn the_index_follows() {
        let mut store = Store::default();
        store.deliver(thing("a", 1, "one"));
        store.deliver(thing("b", 2, "one"));
        store.deliver(thing("c", 3, "two"));
        let of = |store: &Store<Thing>, group| {
            store.of("ns", group).iter().map(|thing| thing.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(of(&store, "one"), ["a", "b"]);
        store.deliver(thing("a", 4, "two"));
        assert_eq!(
            (of(&store, "one"), of(&store, "two")),
            (vec!["b".to_owned()], vec!["a".to_owned(), "c".to_owned()])
        );
        store.gone("ns", "b", "5");
        assert_eq!(of(&store, "one"), Vec::<String>::new());
        assert_eq!(store.in_namespace("ns").len(), 2);
        assert_eq!(store.in_namespace("other").len(), 0);
        store.clear();
        assert!(store.is_empty() && store.groups.is_empty() && store.namespaces.is_empty());
    }
}
