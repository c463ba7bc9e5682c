//! When to look again although nothing changes. The times are those of the clock, not of a timer: a clock that jumps, or a
//! machine that slept, rings what is due.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, Utc};

/// One alarm a key.
#[derive(Debug)]
pub struct Alarms<K>(Mutex<State<K>>);

#[derive(Debug)]
struct State<K> {
    ordered: BTreeSet<(DateTime<Utc>, K)>,
    set: HashMap<K, DateTime<Utc>>,
}

impl<K: Clone + Ord + Hash> Default for Alarms<K> {
    fn default() -> Self {
        Self(Mutex::new(State { ordered: BTreeSet::new(), set: HashMap::new() }))
    }
}

impl<K: Clone + Ord + Hash> Alarms<K> {
    /// Sets the alarm of a key, or takes it away.
    pub fn set(&self, key: &K, at: Option<DateTime<Utc>>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = state.set.remove(key) {
            state.ordered.remove(&(known, key.clone()));
        }
        if let Some(at) = at {
            state.set.insert(key.clone(), at);
            state.ordered.insert((at, key.clone()));
        }
    }

    /// Takes away what is due, and returns it.
    pub fn due(&self, now: DateTime<Utc>) -> Vec<K> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        while state.ordered.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = state.ordered.pop_first() {
                state.set.remove(&key);
                due.push(key);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let alarms = Alarms::default();
        alarms.set(&"a", Some(at(10)));
        alarms.set(&"b", Some(at(20)));
        alarms.set(&"c", Some(at(15)));
        alarms.set(&"a", Some(at(30)));
        alarms.set(&"c", None);
        assert_eq!(alarms.due(at(9)), Vec::<&str>::new());
        assert_eq!(alarms.due(at(20)), ["b"]);
        assert_eq!(alarms.due(at(3000)), ["a"]);
        assert_eq!(alarms.due(at(3000)), Vec::<&str>::new());
    }
}
