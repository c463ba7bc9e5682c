//! A store that many share.
//!
//! What always holds: a lock ends before a call returns, so nobody ever holds two. A thread that reads twice while another
//! waits to write would wait for itself.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use super::{
    project::Remembered,
    store::{Key, Store, Text},
};

/// A store that many share.
#[derive(Debug)]
pub struct Shared<T>(RwLock<Store<T>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T: Remembered> Shared<T> {
    /// Whether a whole list was read.
    pub fn synced(&self) -> bool {
        self.read().synced()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.read().get(namespace, name)
    }

    /// The objects of a workbench, by name.
    pub fn of(&self, namespace: &str, workbench: &str) -> Vec<Arc<T>> {
        self.read().of(namespace, workbench)
    }

    /// The objects of a namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        self.read().in_namespace(namespace)
    }

    /// The names of the objects of a namespace.
    pub fn names(&self, namespace: &str) -> Vec<Text> {
        self.read().names(namespace)
    }

    /// Namespaces and names of all objects, in no order.
    pub fn keys(&self) -> Vec<Key> {
        self.read().keys().cloned().collect()
    }

    /// How many objects there are in each state.
    pub fn states(&self) -> BTreeMap<&'static str, usize> {
        let mut states = BTreeMap::new();
        for state in self.read().states() {
            *states.entry(state).or_default() += 1;
        }
        states
    }

    /// Changes the store. Whoever panicked before left it as it was.
    pub fn change<R>(&self, change: impl FnOnce(&mut Store<T>) -> R) -> R {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self) -> RwLockReadGuard<'_, Store<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
