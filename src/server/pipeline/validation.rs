//! The rules of field values, called by the generated checks.
//!
//! A rule binds a value that is not empty; each broken rule becomes one entry with the field's path in JSON names and the
//! rule's id.

use std::sync::OnceLock;

use regex::Regex;

use crate::proto::v1::ValidationError;

/// A message whose field values can be checked.
pub trait Check {
    /// Adds an entry for every broken rule.
    fn check(&self, v: &mut Violations);
}

/// A pattern that is compiled when it is first needed. The build has compiled it before.
pub struct Pattern(&'static str, OnceLock<Option<Regex>>);

impl Pattern {
    /// The pattern with this text.
    pub const fn new(text: &'static str) -> Self {
        Self(text, OnceLock::new())
    }

    fn matches(&self, value: &str) -> bool {
        self.1.get_or_init(|| Regex::new(self.0).ok()).as_ref().is_some_and(|r| r.is_match(value))
    }
}

/// The broken rules of a request.
#[derive(Debug, Default)]
pub struct Violations {
    path: Vec<String>,
    list: Vec<ValidationError>,
}

/// More entries help nobody.
const MOST: usize = 100;

impl Violations {
    /// All entries.
    pub fn into_list(self) -> Vec<ValidationError> {
        self.list
    }

    /// Adds an entry for this field.
    pub fn add(&mut self, field: &str, rule: &str) {
        self.at(field, |v| v.broken(rule));
    }

    /// Runs checks for a field, those of a message inside it too.
    pub fn at(&mut self, field: &str, checks: impl FnOnce(&mut Self)) {
        self.path.push(field.to_owned());
        checks(self);
        self.path.pop();
    }

    /// Runs checks for each item of a field.
    pub fn each<T>(&mut self, field: &str, items: impl IntoIterator<Item = T>, check: impl Fn(&mut Self, T)) {
        for (i, item) in items.into_iter().enumerate() {
            if self.list.len() >= MOST {
                return;
            }
            self.at(&format!("{field}[{i}]"), |v| check(v, item));
        }
    }

    fn broken(&mut self, rule: &str) {
        if self.list.len() < MOST {
            self.list.push(ValidationError { field: self.path.join("."), reason: rule.to_owned() });
        }
    }

    fn expect(&mut self, holds: bool, rule: &str) {
        if !holds {
            self.broken(rule);
        }
    }

    /// Bounds on the number of items.
    pub fn items(&mut self, field: &str, len: usize, min: Option<usize>, max: Option<usize>) {
        self.at(field, |v| {
            v.expect(len == 0 || min.is_none_or(|m| len >= m), "min_items");
            v.expect(max.is_none_or(|m| len <= m), "max_items");
        });
    }

    /// Bounds on the number of entries of a map.
    pub fn pairs(&mut self, field: &str, len: usize, max: Option<usize>) {
        self.at(field, |v| v.expect(max.is_none_or(|m| len <= m), "max_pairs"));
    }

    /// At least this many characters.
    pub fn min_len(&mut self, value: &str, n: usize) {
        self.expect(value.is_empty() || value.chars().take(n).count() >= n, "min_len");
    }

    /// At most this many characters.
    pub fn max_len(&mut self, value: &str, n: usize) {
        self.expect(value.len() <= n || value.chars().take(n + 1).count() <= n, "max_len");
    }

    /// At most this many bytes.
    pub fn max_bytes(&mut self, value: &str, n: usize) {
        self.expect(value.len() <= n, "max_bytes");
    }

    /// At most this many bytes.
    pub fn byte_len(&mut self, value: &[u8], n: usize) {
        self.expect(value.len() <= n, "max_len");
    }

    /// Matches the pattern.
    pub fn pattern(&mut self, value: &str, pattern: &Pattern) {
        self.expect(value.is_empty() || pattern.matches(value), "pattern");
    }

    /// Is one of these.
    pub fn one_of(&mut self, value: &str, of: &[&str]) {
        self.expect(value.is_empty() || of.contains(&value), "in");
    }

    /// At most this.
    pub fn lte(&mut self, value: u64, n: u64) {
        self.expect(value <= n, "lte");
    }

    /// At least this, or zero.
    pub fn gte(&mut self, value: u64, n: u64) {
        self.expect(value == 0 || value >= n, "gte");
    }

    /// The number is one that the enum declares.
    pub fn defined(&mut self, defined: bool) {
        self.expect(defined, "defined_only");
    }

    /// An e-mail address as browsers accept it (HTML living standard, "valid e-mail address").
    pub fn email(&mut self, value: &str) {
        self.expect(value.is_empty() || is_email(value), "email");
    }

    /// A host name (RFC 1034, RFC 1123).
    pub fn hostname(&mut self, value: &str) {
        self.expect(value.is_empty() || is_hostname(value), "hostname");
    }

    /// An absolute URI (RFC 3986).
    pub fn uri(&mut self, value: &str) {
        self.expect(value.is_empty() || is_uri(value), "uri");
    }
}

fn is_email(value: &str) -> bool {
    let Some((local, domain)) = value.rsplit_once('@') else { return false };
    let atom = |c: char| c.is_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c);
    !local.is_empty() && local.chars().all(atom) && domain.split('.').all(is_label) && domain.len() <= 253
}

fn is_hostname(value: &str) -> bool {
    let value = value.strip_suffix('.').unwrap_or(value);
    value.len() <= 253 && value.is_ascii() && value.split('.').all(is_label)
}

/// A label of a host name; letters of any script, since addresses and names may be internationalised.
fn is_label(label: &str) -> bool {
    let ends = !label.starts_with('-') && !label.ends_with('-');
    !label.is_empty() && label.len() <= 63 && ends && label.chars().all(|c| c.is_alphanumeric() || c == '-')
}

fn is_uri(value: &str) -> bool {
    url::Url::parse(value).is_ok() && !value.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(check: impl Fn(&mut Violations)) -> Vec<String> {
        let mut v = Violations::default();
        v.at("field", check);
        v.into_list().into_iter().map(|e| format!("{} {}", e.field, e.reason)).collect()
    }

    #[test]
    fn an_empty_value_breaks_nothing() {
        static NEVER: Pattern = Pattern::new("^a$");
        let all = broken(|v| {
            v.min_len("", 3);
            v.pattern("", &NEVER);
            v.one_of("", &["a"]);
            v.email("");
            v.hostname("");
            v.uri("");
            v.gte(0, 5);
        });
        assert!(all.is_empty(), "{all:?}");
    }

    #[test]
    fn length_counts_characters() {
        assert!(broken(|v| v.max_len("żółć", 4)).is_empty());
        assert_eq!(broken(|v| v.max_len("żółć!", 4)), ["field max_len"]);
        assert_eq!(broken(|v| v.min_len("żó", 3)), ["field min_len"]);
    }

    #[test]
    fn formats() {
        for good in ["a@b", "first.last+tag@example.org", "jürgen@example.org"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["a", "@b", "a@", "a b@c", "a@b..c", "a@-b", "a@b_c"] {
            assert!(!is_email(bad), "{bad}");
        }
        for good in ["localhost", "a.b-c.example.", "1.example"] {
            assert!(is_hostname(good), "{good}");
        }
        for bad in ["", "a..b", "-a", "a_b", "é.example"] {
            assert!(!is_hostname(bad), "{bad}");
        }
        for good in ["https://example.org/x?y#z", "urn:isbn:1"] {
            assert!(is_uri(good), "{good}");
        }
        for bad in ["example.org", "/x", "https://a b", "https://"] {
            assert!(!is_uri(bad), "{bad}");
        }
    }

    #[test]
    fn items_carry_their_index_and_are_capped() {
        let list = broken(|v| v.each("x", ["ok", "bad"], |v, s| v.one_of(s, &["ok"])));
        assert_eq!(list, ["field.x[1] in"]);
        let many = broken(|v| v.each("x", vec!["bad"; 1000], |v, s| v.one_of(s, &["ok"])));
        assert_eq!(many.len(), MOST);
    }
}
