//! Moments as people type them: `24h` ago or from now, a day, or a day and a time.
//!
//! A day begins at midnight and a time without zone counts in UTC, as in everything that the client prints.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use prost_types::Timestamp;

/// A moment, fixed or so long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// So long before now, or after it where what is asked for lies ahead.
    Ago(TimeDelta),
    /// This one.
    At(DateTime<Utc>),
}

impl Moment {
    /// The moment as messages have it.
    pub fn timestamp(self, now: DateTime<Utc>) -> Timestamp {
        message(match self {
            Self::Ago(span) => now.checked_sub_signed(span).unwrap_or(DateTime::UNIX_EPOCH),
            Self::At(at) => at,
        })
    }

    /// The same for something that lies ahead: a length of time counts from now.
    pub fn ahead(self, now: DateTime<Utc>) -> Timestamp {
        message(match self {
            Self::Ago(span) => now.checked_add_signed(span).unwrap_or(DateTime::<Utc>::MAX_UTC),
            Self::At(at) => at,
        })
    }
}

fn message(at: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: at.timestamp(), nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default() }
}

/// The time of this machine, at which the server's clock is taken to be.
#[expect(clippy::disallowed_methods, reason = "a command line is where time comes in")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let moment = match text.contains('-') {
            true => fixed(text).map(Self::At),
            false => ago(text).map(Self::Ago),
        };
        moment.ok_or_else(|| "write a length of time, such as 90m, 24h or 7d, or a day, such as 2026-11-01".to_owned())
    }
}

/// A number with a unit; a century is the longest.
fn ago(text: &str) -> Option<TimeDelta> {
    let unit = match text.char_indices().next_back()? {
        (_, 's') => 1,
        (_, 'm') => 60,
        (_, 'h') => 3_600,
        (_, 'd') => 86_400,
        (_, 'w') => 604_800,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds = digits.parse::<i64>().ok()?.checked_mul(unit)?;
    (seconds <= 100 * 366 * 86_400).then(|| TimeDelta::try_seconds(seconds)).flatten()
}

fn fixed(text: &str) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text)
        .map(|at| at.to_utc())
        .ok()
        .or_else(|| {
            let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];
            formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()).map(|at| at.and_utc())
        })
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0).map(|at| at.and_utc()))?;
    (1..=9999).contains(&chrono::Datelike::year(&at)).then_some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments() {
        let now: DateTime<Utc> = "2026-11-22T18:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("24h", Some("2026-11-21T18:00:00Z")),
            ("7d", Some("2026-11-15T18:00:00Z")),
            ("2w", Some("2026-11-08T18:00:00Z")),
            ("90m", Some("2026-11-22T16:30:00Z")),
            ("30s", Some("2026-11-22T17:59:30Z")),
            ("0s", Some("2026-11-22T18:00:00Z")),
            ("2026-11-01", Some("2026-11-01T00:00:00Z")),
            ("2026-11-01T10:30", Some("2026-11-01T10:30:00Z")),
            ("2026-11-01 10:30:05", Some("2026-11-01T10:30:05Z")),
            ("2026-11-01T10:30:05Z", Some("2026-11-01T10:30:05Z")),
            ("2026-11-01T10:30:05+02:00", Some("2026-11-01T08:30:05Z")),
            ("2026-11-01T10:30:05.250Z", Some("2026-11-01T10:30:05.250Z")),
            ("", None),
            ("d", None),
            ("24", None),
            ("24x", None),
            ("-24h", None),
            ("+24h", None),
            ("1.5h", None),
            ("24 h", None),
            ("99999999999999999999d", None),
            ("9223372036854775807w", None),
            ("36601d", None),
            ("yesterday", None),
            ("2026-13-01", None),
            ("2026-02-30", None),
            ("0000-01-01", None),
            ("12026-01-01T00:00:00Z", None),
            ("2026-11-01T25:00", None),
            ("7ð", None),
        ] {
            let parsed = text.parse::<Moment>().ok().map(|moment| moment.timestamp(now));
            let expected = expected.map(|at| Moment::At(at.parse().unwrap()).timestamp(now));
            assert_eq!(parsed, expected, "{text:?}");
        }
        let ahead = "24h".parse::<Moment>().unwrap().ahead(now);
        assert_eq!(ahead, Moment::At("2026-11-23T18:00:00Z".parse().unwrap()).ahead(now));
    }

    proptest! {
        #[test]
        fn nothing_that_is_typed_panics(text in "\\PC{0,24}") {
            if let Ok(moment) = text.parse::<Moment>() {
                moment.timestamp(now());
            }
        }

        #[test]
        fn what_looks_like_a_moment_does_not_panic(text in "[0-9TZ:. +-]{0,30}[smhdwZ]?") {
            if let Ok(moment) = text.parse::<Moment>() {
                moment.timestamp(now());
            }
        }

        #[test]
        fn a_time_that_is_printed_can_be_typed(seconds in -62_135_596_800_i64..=253_402_300_799) {
            let at = DateTime::from_timestamp(seconds, 0).unwrap();
            prop_assert_eq!(at.to_rfc3339().parse::<Moment>(), Ok(Moment::At(at)));
            prop_assert_eq!(at.format("%Y-%m-%dT%H:%M:%S").to_string().parse::<Moment>(), Ok(Moment::At(at)));
        }

        #[test]
        fn units_are_multiples_of_each_other(n in 0_i64..1_000) {
            let ago = |text: String| text.parse::<Moment>().unwrap();
            prop_assert_eq!(ago(format!("{n}w")), ago(format!("{}d", 7 * n)));
            prop_assert_eq!(ago(format!("{n}d")), ago(format!("{}h", 24 * n)));
            prop_assert_eq!(ago(format!("{n}h")), ago(format!("{}m", 60 * n)));
            prop_assert_eq!(ago(format!("{n}m")), ago(format!("{}s", 60 * n)));
        }
    }
}
