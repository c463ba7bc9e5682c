//! The names on the list of a workspace: `example.org`, or `*.example.org`.
//!
//! What comes out is in lower case, without blanks around it, and has the shape of a host name, so that it can go into a
//! policy as a name, as a pattern and, escaped, as a regular expression.

use std::{collections::BTreeSet, net::IpAddr};

/// The longest name, a leading `*.` included.
const MAX_NAME: usize = 253;
/// The longest label.
const MAX_LABEL: usize = 63;

/// Why an entry is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Nothing but blanks.
    #[error("an entry is empty")]
    Empty,
    /// It is there twice, whatever the case.
    #[error("\"{0}\" is there twice")]
    Duplicate(String),
    /// More than 253 characters.
    #[error("\"{0}\" is longer than 253 characters")]
    TooLong(String),
    /// Not of the shape of a host name with at least two labels, which may begin with one `*.`.
    #[error("\"{0}\" is not a name such as example.org or *.example.org")]
    Shape(String),
    /// A label of more than 63 characters.
    #[error("\"{0}\" has a part of more than 63 characters")]
    LabelTooLong(String),
    /// An address: names are compared with what a client calls the server, which is no address.
    #[error("\"{0}\" is an address, not a name")]
    Address(String),
}

/// The entries in lower case and in their order.
///
/// # Errors
/// The first rule that the first bad entry breaks, in the order of [`Invalid`].
pub fn names(entries: &[String]) -> Result<Vec<String>, Invalid> {
    let mut seen = BTreeSet::new();
    entries.iter().map(|entry| name(entry, &mut seen)).collect()
}

fn name(entry: &str, seen: &mut BTreeSet<String>) -> Result<String, Invalid> {
    let given = entry.trim();
    let name = given.to_ascii_lowercase();
    if name.is_empty() {
        return Err(Invalid::Empty);
    }
    if !seen.insert(name.clone()) {
        return Err(Invalid::Duplicate(given.to_owned()));
    }
    if name.len() > MAX_NAME {
        return Err(Invalid::TooLong(given.to_owned()));
    }
    let labels: Vec<&str> = name.strip_prefix("*.").unwrap_or(&name).split('.').collect();
    if labels.len() < 2 || !labels.iter().all(|label| is_label(label)) {
        return Err(Invalid::Shape(given.to_owned()));
    }
    if labels.iter().any(|label| label.len() > MAX_LABEL) {
        return Err(Invalid::LabelTooLong(given.to_owned()));
    }
    // A last label that is a number makes a host an IPv4 address (WHATWG URL, "ends in a number"): `10.1`, `127.0x1`.
    let is_hexadecimal = |label: &str| {
        label.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit()) || is_hexadecimal(label);
    let ends_in_number = labels.last().is_some_and(|last| is_number(last));
    if ends_in_number || name.parse::<IpAddr>().is_ok() {
        return Err(Invalid::Address(given.to_owned()));
    }
    Ok(name)
}

/// Letters, digits and hyphens, the latter not at the ends.
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether this is a pattern instead of a name.
pub fn is_pattern(name: &str) -> bool {
    name.contains('*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Invalid, names};

    fn one(entry: &str) -> Result<String, Invalid> {
        names(&[entry.to_owned()]).map(|mut names| names.remove(0))
    }

    #[test]
    fn names_in_lower_case() {
        let label = "a".repeat(63);
        let long = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(long.len(), 253);
        let cases = [
            ("example.com", "example.com"),
            ("  Example.COM\t", "example.com"),
            ("*.a.com", "*.a.com"),
            ("a-b.c-d.e", "a-b.c-d.e"),
            ("1a.com", "1a.com"),
            ("1.example", "1.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            (&long, &long),
        ];
        for (entry, name) in cases {
            assert_eq!(one(entry).as_deref(), Ok(name), "{entry}");
        }
        assert_eq!(names(&[]), Ok(vec![]));
        assert_eq!(names(&["B.com".into(), "a.com".into()]), Ok(vec!["b.com".into(), "a.com".into()]));
    }

    #[test]
    fn the_first_broken_rule() {
        type Class = fn(String) -> Invalid;
        let label = "a".repeat(64);
        let long = format!("{}b", "a.".repeat(127));
        let cases: Vec<(&str, Class)> = vec![
            ("*", Invalid::Shape),
            ("*.com", Invalid::Shape),
            ("*.*.com", Invalid::Shape),
            ("a.*.com", Invalid::Shape),
            ("*a.com", Invalid::Shape),
            ("localhost", Invalid::Shape),
            ("example.com.", Invalid::Shape),
            (".example.com", Invalid::Shape),
            ("a..com", Invalid::Shape),
            ("a_b.com", Invalid::Shape),
            ("-a.com", Invalid::Shape),
            ("a-.com", Invalid::Shape),
            ("bücher.example", Invalid::Shape),
            ("a b.com", Invalid::Shape),
            ("https://a.com", Invalid::Shape),
            ("a.com:443", Invalid::Shape),
            ("a.com/x", Invalid::Shape),
            ("fd00::1", Invalid::Shape),
            ("a.com\n.b.com", Invalid::Shape),
            ("10.0.0.1", Invalid::Address),
            ("169.254.169.254", Invalid::Address),
            ("10.1", Invalid::Address),
            ("127.0X1", Invalid::Address),
            ("\u{212a}.com", Invalid::Shape),
            ("*.0.0.1", Invalid::Address),
            (&long, Invalid::TooLong),
        ];
        for (entry, class) in cases {
            assert_eq!(one(entry), Err(class(entry.to_owned())), "{entry}");
        }
        let entry = format!("{label}.com");
        assert_eq!(one(&entry), Err(Invalid::LabelTooLong(entry.clone())));
        assert_eq!(one(" \t"), Err(Invalid::Empty));
        let twice = ["a.com".to_owned(), " A.com ".to_owned()];
        assert_eq!(names(&twice), Err(Invalid::Duplicate("A.com".to_owned())));
        let both = ["*".to_owned(), "*".to_owned()];
        assert_eq!(names(&both), Err(Invalid::Shape("*".to_owned())), "the first entry first");
    }

    proptest! {
        #[test]
        fn what_passes_is_a_host_name(entry in ".{0,80}") {
            if let Ok(name) = one(&entry) {
                prop_assert!(name.len() <= 253);
                let host = name.strip_prefix("*.").unwrap_or(&name);
                prop_assert!(host.contains('.'));
                prop_assert!(host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.'));
                prop_assert_eq!(one(&name), Ok(name.clone()), "again gives the same");
            }
        }

        #[test]
        fn host_names_pass(entry in r"(\*\.)?([a-zA-Z0-9]([a-zA-Z0-9-]{0,20}[a-zA-Z0-9])?\.){1,5}[a-zA-Z][a-zA-Z0-9]{0,9}") {
            prop_assert_eq!(one(&entry), Ok(entry.to_lowercase()));
        }
    }
}
