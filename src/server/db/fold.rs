//! The form in which texts are compared, for `*_key` columns and for searches in them.
//!
//! Folding happens here and not in the database, since SQLite's `lower()` knows ASCII only and PostgreSQL's depends on the
//! locale of the cluster. What always holds: folding twice gives the same as folding once.

use unicode_normalization::UnicodeNormalization;

/// Compatibility-normalised (NFKC, UAX #15) and in lower case: `ＡＬＩＣＥ` and `alice` are the same user.
pub fn fold(text: &str) -> String {
    // ASCII, nearly every name, needs no tables
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded = once(text);
    // lower case can need composing, and composing can give a letter with a lower case; two rounds settle every letter known
    loop {
        let next = once(&folded);
        if next == folded {
            return folded;
        }
        folded = next;
    }
}

/// Whether nobody sees this character: soft hyphen, joiners, marks of direction, fillers, selectors of variants. A name
/// with one passes for another name.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Letter by letter, so that a final sigma does not depend on what follows it.
fn once(text: &str) -> String {
    text.nfkc().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c }).nfkc().collect()
}

/// A `LIKE` pattern (with `ESCAPE '\'`) for texts that contain this one, folded.
pub(super) fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in fold(text).chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_same_name() {
        for (left, right) in [
            ("Alice", "alice"),
            ("ＡＬＩＣＥ", "alice"),
            ("ZOË", "zoe\u{308}"),
            ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
            ("ﬁn", "FIN"),
            ("İ", "i\u{307}"),
        ] {
            assert_eq!(fold(left), fold(right), "{left} {right}");
        }
        assert_ne!(fold("zoe"), fold("zoë"));
    }

    #[test]
    fn wildcards_are_plain_characters() {
        assert_eq!(containing(r"50%_A\"), r"%50\%\_a\\%");
    }

    proptest! {
        #[test]
        fn folding_is_idempotent(text in any::<String>()) {
            let folded = fold(&text);
            prop_assert_eq!(fold(&folded), folded);
        }

        #[test]
        fn case_does_not_matter(text in "[\\p{Latin}\\p{Cyrillic}]{0,12}") {
            prop_assert_eq!(fold(&text.to_lowercase()), fold(&fold(&text)));
        }
    }
}
