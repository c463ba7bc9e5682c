//! Names of policies: the owner's name with a suffix, shortened with a hash where that would be too long.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The longest name of an object (RFC 1123 subdomain).
const MAX: usize = 253;
/// The longest value of a label.
const MAX_LABEL: usize = 63;
/// Hexadecimal digits of the hash.
const DIGITS: usize = 10;

/// `<owner><suffix>`, or, where that is longer than 253 characters, the start of the owner's name, the suffix and the
/// first ten digits of the SHA-256 of the owner's name. Owners that differ get names that differ.
pub fn with_suffix(owner: &str, suffix: &str) -> String {
    if owner.len() + suffix.len() <= MAX {
        return format!("{owner}{suffix}");
    }
    shortened(owner, suffix, MAX)
}

/// The owner's name as the value of a label: itself, or, where it is longer than 63 characters, its start and the hash.
pub fn label(owner: &str) -> String {
    if owner.len() <= MAX_LABEL { owner.to_owned() } else { shortened(owner, "", MAX_LABEL) }
}

fn shortened(owner: &str, suffix: &str, longest: usize) -> String {
    let mut hash = String::with_capacity(DIGITS);
    for byte in Sha256::digest(owner.as_bytes()).iter().take(DIGITS / 2) {
        // Writing into a String never fails.
        let _ = write!(hash, "{byte:02x}");
    }
    let room = longest.saturating_sub(suffix.len() + 1 + DIGITS);
    let start: String = owner.chars().take(room).collect();
    let start = match start.trim_end_matches(['-', '.']) {
        "" => "ws",
        start => start,
    };
    format!("{start}{suffix}-{hash}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{label, with_suffix};

    #[test]
    fn short_names_keep_their_owner_and_long_ones_get_a_hash() {
        let cases = [
            ("w1".to_owned(), 9, "w1-netpol"),
            ("a".repeat(246), 253, "aaa-netpol"),
            ("a".repeat(247), 253, "aaa-netpol-d1c97f05a0"),
            ("a".repeat(253), 253, "aaa-netpol-32859a3ab6"),
            ("a".repeat(300), 253, "aaa-netpol-9835fa6bf4"),
            ("-".repeat(247), 20, "ws-netpol-08d5a76226"),
            (format!("{}{}", "a".repeat(234), ".".repeat(19)), 252, "aaa-netpol-bf34a24138"),
        ];
        for (owner, length, end) in cases {
            let name = with_suffix(&owner, "-netpol");
            assert_eq!(name.len(), length, "{owner}");
            assert!(name.ends_with(end), "{name}");
        }
    }

    #[test]
    fn the_hash_depends_on_the_owner_alone() {
        let name = with_suffix(&"a".repeat(247), "-netpol-ingress");
        assert_eq!(name.len(), 253);
        assert!(name.ends_with("a-netpol-ingress-d1c97f05a0"), "{name}");
    }

    #[test]
    fn labels_are_at_most_63_characters() {
        assert_eq!(label(&"a".repeat(63)), "a".repeat(63));
        assert_eq!(label(&"a".repeat(247)), format!("{}-d1c97f05a0", "a".repeat(52)));
    }

    proptest! {
        #[test]
        fn names_are_names_and_differ(a in "[a-z0-9][a-z0-9.-]{0,298}[a-z0-9]", b in "[a-z0-9][a-z0-9.-]{0,298}[a-z0-9]") {
            for suffix in ["-netpol", "-netpol-ingress"] {
                let name = with_suffix(&a, suffix);
                prop_assert!(name.len() <= 253);
                prop_assert!(name.starts_with(|c: char| c.is_ascii_alphanumeric()));
                prop_assert!(name.ends_with(|c: char| c.is_ascii_alphanumeric()));
                prop_assert_eq!(a == b, name == with_suffix(&b, suffix));
            }
        }
    }
}
