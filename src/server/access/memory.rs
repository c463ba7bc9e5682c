//! What was read about credentials, kept in memory while nobody's access changed.
//!
//! What always holds: what was read before [`Memory::forget`] does not come back in after it.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// More entries than this are not kept.
const MOST_KEPT: usize = 10_000;

/// Entries by the id that a credential names.
pub struct Memory<T> {
    kept: RwLock<HashMap<Arc<str>, Arc<T>>>,
    /// Raised whenever memory is forgotten.
    generation: AtomicU64,
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self { kept: RwLock::default(), generation: AtomicU64::new(0) }
    }
}

impl<T> Memory<T> {
    /// The entry of this id.
    pub fn get(&self, id: &str) -> Option<Arc<T>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// To be asked before an entry is read from the database.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Keeps an entry that was read in this generation; one of an earlier generation is dropped.
    pub fn keep(&self, generation: u64, id: Arc<str>, entry: Arc<T>) {
        let mut all = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if self.generation() != generation {
            return;
        }
        if all.len() >= MOST_KEPT {
            all.clear();
        }
        all.insert(id, entry);
    }

    /// Drops everything.
    pub fn forget(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.kept.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_does_not_come_back() {
        let memory = Memory::default();
        let before = memory.generation();
        memory.keep(before, "a".into(), Arc::new(1));
        assert_eq!(memory.get("a").as_deref(), Some(&1));
        memory.forget();
        assert_eq!(memory.get("a"), None);
        memory.keep(before, "a".into(), Arc::new(1));
        assert_eq!(memory.get("a"), None);
        memory.keep(memory.generation(), "a".into(), Arc::new(2));
        assert_eq!(memory.get("a").as_deref(), Some(&2));
    }

    #[test]
    fn memory_is_bounded() {
        let memory = Memory::default();
        for id in 0..=MOST_KEPT {
            memory.keep(0, id.to_string().into(), Arc::new(()));
        }
        assert!(memory.get("0").is_none() && memory.get(&MOST_KEPT.to_string()).is_some());
    }
}
