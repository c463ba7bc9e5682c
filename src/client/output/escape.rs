//! Makes text from elsewhere harmless on a terminal.
//!
//! Names and messages may hold escape sequences that repaint the screen, or marks that reverse the reading direction. Both
//! are shown as what they are instead of being obeyed.

use std::{borrow::Cow, fmt::Write as _};

/// The text with control characters and invisible direction marks spelled out.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hidden(c) => {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The same for whole lines, which keep their ends and tabs; the last one gets an end if it has none.
pub fn lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for line in text.lines() {
        let cells: Vec<_> = line.split('\t').map(visible).collect();
        out.push_str(&cells.join("\t"));
        out.push('\n');
    }
    out
}

/// Whether lines of text have nothing that a terminal would obey.
pub fn is_harmless(text: &str) -> bool {
    !text.chars().any(|c| c != '\n' && is_hidden(c))
}

/// JSON text with the same characters as JSON escapes. Characters below U+0020 are escaped in JSON already; the others only
/// occur inside its strings, so replacing them anywhere keeps the meaning.
pub fn json(text: &str) -> Cow<'_, str> {
    let needs_escape = |c: char| c != '\n' && is_hidden(c);
    if is_harmless(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if needs_escape(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Control characters (C0, DEL, C1), line separators, and marks that change the reading direction (UAX #9).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spells_out_what_a_terminal_would_obey() {
        let table = [
            ("plain", "plain"),
            ("Zoë Łukasiewicz 北京", "Zoë Łukasiewicz 北京"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{1b}[31mred\u{7f}", "\\u{1b}[31mred\\u{7f}"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
        ];
        for (text, shown) in table {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn lines_keep_their_ends_and_tabs() {
        assert_eq!(lines("a\tb\r\nc\u{1b}[2J"), "a\tb\nc\\u{1b}[2J\n");
        assert_eq!(lines(""), "");
    }

    proptest! {
        #[test]
        fn nothing_hidden_remains(text in any::<String>()) {
            prop_assert!(!visible(&text).chars().any(is_hidden));
        }

        #[test]
        fn json_keeps_its_meaning(text in any::<String>()) {
            let plain = serde_json::to_string(&text).unwrap();
            let escaped = json(&plain);
            prop_assert!(!escaped.chars().any(is_hidden));
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
        }
    }
}
