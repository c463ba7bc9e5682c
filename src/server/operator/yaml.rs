//! YAML as people and `kubectl` read it: one document per object, lines as long as they are.

use serde_json::{Number, Value};

/// These objects, one document each.
///
/// # Errors
/// A value that YAML cannot hold; none that comes from JSON.
pub fn documents(objects: &[Value]) -> Result<String, serde_saphyr::ser::Error> {
    // Folded lines are hard to compare, and not every reader unfolds them alike.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    let mut text = String::new();
    for object in objects {
        let mut object = object.clone();
        whole_numbers(&mut object);
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string_with_options(&object, options.clone())?);
    }
    Ok(text)
}

/// Bounds in schemas are floating-point numbers: `64.0` is written as 64.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15);
            if let Some(whole) = whole {
                #[expect(clippy::cast_possible_truncation, reason = "a whole number below 9e15")]
                let whole = whole as i64;
                *number = Number::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn one_document_per_object() {
        let long = "a ".repeat(100);
        let text =
            documents(&[json!({ "most": 64.0, "text": long }), json!({ "on": "no", "version": "1.10" })]).unwrap();
        assert_eq!(text, format!("---\nmost: 64\ntext: \"{long}\"\n---\n\"on\": \"no\"\nversion: \"1.10\"\n"));
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "[ -~\n\t]{0,12}",
            "[0-9:.eE+-]{0,6}",
            proptest::sample::select(vec![
                "y",
                "no",
                "null",
                "~",
                "1_000",
                "0o7",
                "2001-01-01",
                "---",
                "- a",
                "#x",
                ".inf"
            ])
            .prop_map(str::to_owned),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-zA-Z0-9./_-]{0,6}|y|no|1", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect()))
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(objects in proptest::collection::vec(value().prop_map(|v| json!({ "v": v })), 1..3)) {
            let text = documents(&objects).unwrap();
            prop_assert_eq!(serde_saphyr::from_multiple::<Value>(&text).unwrap(), objects, "{}", text);
        }
    }
}
