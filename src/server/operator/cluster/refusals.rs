//! What the API server refused: it is not sent again until the resource changes, or a while has passed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{super::plan::Target, caches::Key};

/// How long a refusal holds: a quota or a rule of the cluster may change.
pub const KEPT: TimeDelta = TimeDelta::minutes(2);

/// The uid of a resource and the generation of its spec.
pub type Generation = (String, i64);

/// Refusals, by resource.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<Key, Refused>>);

#[derive(Debug)]
struct Refused {
    generation: Generation,
    until: DateTime<Utc>,
    children: BTreeMap<Target, String>,
}

impl Refusals {
    /// The children of this resource that need not be sent again.
    pub fn of(&self, key: &Key, generation: Generation, now: DateTime<Utc>) -> BTreeMap<Target, String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(key) {
            Some(refused) if refused.generation == generation && now < refused.until => refused.children.clone(),
            Some(_) => {
                all.remove(key);
                BTreeMap::new()
            }
            None => BTreeMap::new(),
        }
    }

    /// Keeps what was refused.
    pub fn keep(&self, key: &Key, generation: Generation, now: DateTime<Utc>, children: BTreeMap<Target, String>) {
        let refused = Refused { generation, until: now + KEPT, children };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), refused);
    }
}
