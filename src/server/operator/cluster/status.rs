//! Writing a status: a merge patch that also takes away what is no longer there.

use serde_json::{Map, Value, json};

/// The merge patch (RFC 7386) that makes `after` of `before`: `after` as a whole, so that it does not matter whether
/// `before` is a little old, with nulls for the fields that vanished. Fields that neither knows are left alone.
pub fn merge_patch(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return after.clone() };
    let nothing = Value::Null;
    let mut patch: Map<String, Value> = Map::new();
    for (key, value) in after {
        patch.insert(key.clone(), merge_patch(before.get(key).unwrap_or(&nothing), value));
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}

/// The body of a write of the status. It names the object by its uid, so that it never meets one that was made anew.
pub fn body(uid: &str, before: &Value, after: &Value) -> Value {
    json!({ "metadata": { "uid": uid }, "status": merge_patch(before, after) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_vanished_is_taken_away() {
        for (before, after, patch) in [
            (json!(null), json!({ "a": 1 }), json!({ "a": 1 })),
            (json!({ "a": 1, "b": 2 }), json!({ "a": 1 }), json!({ "a": 1, "b": null })),
            (
                json!({ "apps": { "x": { "message": "m", "status": "Running" }, "y": {} } }),
                json!({ "apps": { "x": { "status": "Failed" } } }),
                json!({ "apps": { "x": { "message": null, "status": "Failed" }, "y": null } }),
            ),
            (json!({ "apps": { "x": {} } }), json!({}), json!({ "apps": null })),
            (json!({ "list": [1, 2] }), json!({ "list": [3] }), json!({ "list": [3] })),
            (json!({ "a": { "b": 1 } }), json!({ "a": "text" }), json!({ "a": "text" })),
        ] {
            assert_eq!(merge_patch(&before, &after), patch);
            let mut merged = before.clone();
            json_patch::merge(&mut merged, &patch);
            assert_eq!(merged, after);
        }
    }
}
