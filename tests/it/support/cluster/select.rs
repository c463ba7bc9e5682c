//! Label and field selectors of lists and watches.

use serde_json::Value;

use super::failure::Failure;

/// Which objects of a kind a list or a watch is about.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Empty for all.
    pub namespace: String,
    labels: Vec<Term>,
    fields: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq)]
enum Term {
    Exists(String),
    Absent(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

impl Selection {
    /// The selection of a request.
    pub fn new(namespace: &str, labels: &str, fields: &str) -> Result<Self, Failure> {
        Ok(Self { namespace: namespace.to_owned(), labels: terms(labels)?, fields: terms(fields)? })
    }

    /// Whether it is about this object.
    pub fn takes(&self, object: &Value) -> bool {
        let label = |name: &str| object["metadata"]["labels"][name].as_str();
        let field = |path: &str| path.split('.').fold(object, |at, part| &at[part]).as_str();
        (self.namespace.is_empty() || object["metadata"]["namespace"] == self.namespace.as_str())
            && self.labels.iter().all(|term| term.holds(label))
            // an absent field counts as empty, an absent label does not
            && self.fields.iter().all(|term| term.holds(|path| Some(field(path).unwrap_or_default())))
    }
}

impl Term {
    fn holds<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        match self {
            Self::Exists(name) => get(name).is_some(),
            Self::Absent(name) => get(name).is_none(),
            Self::In(name, values) => get(name).is_some_and(|value| values.iter().any(|one| one == value)),
            Self::NotIn(name, values) => !get(name).is_some_and(|value| values.iter().any(|one| one == value)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let key = |text: &str| text.trim().to_owned();
        if let Some(list) = text.strip_suffix(')') {
            let (left, values) = list.split_once('(')?;
            let values = values.split(',').map(|value| value.trim().to_owned()).collect();
            let left = left.trim();
            return match left.strip_suffix(" notin") {
                Some(name) => Some(Self::NotIn(key(name), values)),
                None => Some(Self::In(key(left.strip_suffix(" in")?), values)),
            };
        }
        Some(match (text.split_once("!="), text.split_once("==").or_else(|| text.split_once('='))) {
            (Some((name, value)), _) => Self::NotIn(key(name), vec![key(value)]),
            (None, Some((name, value))) => Self::In(key(name), vec![key(value)]),
            (None, None) => match text.strip_prefix('!') {
                Some(name) => Self::Absent(key(name)),
                None if text.contains(char::is_whitespace) => return None,
                None => Self::Exists(key(text)),
            },
        })
    }
}

fn terms(text: &str) -> Result<Vec<Term>, Failure> {
    let (mut terms, mut depth, mut term) = (Vec::new(), 0, String::new());
    for c in text.chars().chain([',']) {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if c == ',' && depth == 0 {
            let part = std::mem::take(&mut term);
            match part.trim() {
                "" => {}
                part => terms.push(Term::parse(part).ok_or_else(|| Failure::bad(&format!("selector {part:?}")))?),
            }
        } else {
            term.push(c);
        }
    }
    Ok(terms)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors() {
        let object = json!({ "metadata": { "name": "a", "namespace": "n", "labels": { "x": "1", "y/z": "2" } }, "status": { "phase": "Running" } });
        for (labels, fields, taken) in [
            ("", "", true),
            ("x", "", true),
            ("!x", "", false),
            ("x=1,y/z==2", "", true),
            ("x!=1", "", false),
            ("q!=1", "", true),
            ("x in (0, 1),y/z", "", true),
            ("x notin (0,2)", "", true),
            ("x notin (1)", "", false),
            ("q in (1)", "", false),
            ("", "metadata.name=a", true),
            ("", "metadata.name=b", false),
            ("", "status.phase!=Running", false),
            ("", "spec.nodeName=", true),
        ] {
            let selection = Selection::new("n", labels, fields).unwrap();
            assert_eq!(selection.takes(&object), taken, "{labels:?} {fields:?}");
        }
        assert!(!Selection::new("m", "", "").unwrap().takes(&object));
        assert!(Selection::new("", "a b", "").is_err());
    }
}
