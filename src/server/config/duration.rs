//! Lengths of time as people write them: `30s`, `12h`, `7d`, `1h30m`.
//!
//! A length is a row of whole numbers, each with a unit. A number without unit is refused: nobody should have to guess.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

const UNITS: [(&str, u64); 5] =
    [("d", 24 * 60 * 60 * 1000), ("h", 60 * 60 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];

const SHAPE: &str =
    "is not a length of time: write whole numbers with a unit (ms, s, m, h, d), such as 30s, 12h or 1h30m";

/// Reads a length of time; the error completes the sentence "the value …".
pub fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text;
    let mut total = 0_u64;
    if rest.is_empty() {
        return Err(SHAPE.to_owned());
    }
    while !rest.is_empty() {
        let (number, tail) = split(rest, |c: char| c.is_ascii_digit());
        let (unit, tail) = split(tail, |c: char| c.is_ascii_alphabetic());
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(SHAPE)?;
        if number.is_empty() {
            return Err(SHAPE.to_owned());
        }
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
        total = part.and_then(|part| total.checked_add(part)).ok_or("is longer than can be counted")?;
        rest = tail;
    }
    Ok(Duration::from_millis(total))
}

fn split(text: &str, part: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !part(c)).unwrap_or(text.len()))
}

/// Writes a length of time so that [`parse`] reads it back; finer parts than a millisecond are cut.
pub fn format(length: Duration) -> String {
    let mut rest = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, factor) in UNITS {
        let number = rest / factor;
        rest %= factor;
        if number > 0 {
            text.push_str(&format!("{number}{unit}"));
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// For `#[serde(deserialize_with)]`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).map_err(|reason| D::Error::custom(format!("{text:?} {reason}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, seconds) in
            [("30s", 30.0), ("12h", 43_200.0), ("7d", 604_800.0), ("1h30m", 5400.0), ("250ms", 0.25), ("0s", 0.0)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "30", "s", "1.5h", "-1s", "1 h", "1w", "12H", "٣s", "h1", "1s2"] {
            assert_eq!(parse(text), Err(SHAPE.to_owned()), "{text:?}");
        }
        for text in ["18446744073709551615d", "99999999999999999999s", "18446744073709551615ms1ms"] {
            assert_eq!(parse(text), Err("is longer than can be counted".to_owned()));
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(millis in any::<u64>()) {
            let length = Duration::from_millis(millis);
            prop_assert_eq!(parse(&format(length)), Ok(length));
        }

        #[test]
        fn never_fails_otherwise(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
