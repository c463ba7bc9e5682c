//! One count of wrong tries, and what tries and time make of it. Pure: the module above says what is counted where.
//!
//! A bucket admits tries in rounds of `limit`. A full round closes it for [`wait`]; it stays as full as it is until a
//! success empties it or nobody tried for [`QUIET`]. So no minute sees more than `limit` tries, however they are spread,
//! and whoever goes on waits longer each round:
//!
//! | Round that ended | 1 | 2 | 3 | 4 | 5 and later |
//! |---|---|---|---|---|---|
//! | Closed for | 1 min | 2 min | 4 min | 8 min | 15 min |

use chrono::{DateTime, TimeDelta, Utc};

/// How long the first full round closes a bucket.
pub const FIRST_WAIT: TimeDelta = TimeDelta::minutes(1);
/// No round closes a bucket for longer.
pub const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(15);
/// A bucket that was left alone this long is empty. Longer than the longest wait, so that waiting it out every time gains
/// nothing.
pub const QUIET: TimeDelta = TimeDelta::hours(1);

/// Tries that count until they turn out to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Bucket {
    /// How many, since the last success or quiet time.
    pub wrong: i64,
    /// When the latest one came.
    pub last_at: DateTime<Utc>,
    /// When the next one is admitted.
    pub opens_at: DateTime<Utc>,
}

impl Bucket {
    /// A bucket without tries.
    pub const fn empty(now: DateTime<Utc>) -> Self {
        Self { wrong: 0, last_at: now, opens_at: now }
    }

    /// The bucket with one more try, or how long to wait for it.
    pub fn admit(self, limit: i64, now: DateTime<Utc>) -> Result<Self, TimeDelta> {
        let before = if now - self.last_at >= QUIET { Self::empty(now) } else { self };
        if now < before.opens_at {
            return Err(before.opens_at - now);
        }
        let wrong = before.wrong.saturating_add(1);
        let opens_at = if wrong % limit == 0 { now + wait(wrong / limit) } else { before.opens_at };
        // clocks of replicas differ a little; the latest try stays the latest
        Ok(Self { wrong, last_at: now.max(before.last_at), opens_at })
    }

    /// The bucket without one of its tries, which was right. If that one ended a round, the round goes on.
    pub fn give_back(self, limit: i64, now: DateTime<Utc>) -> Self {
        match self.wrong {
            0 => self,
            wrong if wrong % limit == 0 => Self { wrong: wrong - 1, opens_at: self.opens_at.min(now), ..self },
            wrong => Self { wrong: wrong - 1, ..self },
        }
    }
}

/// How long the end of a round, counted from 1, closes a bucket.
fn wait(round: i64) -> TimeDelta {
    let doublings = u32::try_from(round - 1).unwrap_or_default().min(16);
    (FIRST_WAIT * (1 << doublings)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: i64 = 5;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn rounds_close_for_longer_and_longer() {
        let (mut bucket, mut now, mut waits) = (Bucket::empty(at(0)), 0, Vec::new());
        for _ in 0..7 {
            for _ in 0..LIMIT {
                bucket = bucket.admit(LIMIT, at(now)).unwrap();
            }
            let wait = bucket.admit(LIMIT, at(now)).unwrap_err().num_seconds();
            assert!(bucket.admit(LIMIT, at(now + wait - 1)).is_err());
            waits.push(wait);
            now += wait;
        }
        assert_eq!(waits, [60, 120, 240, 480, 900, 900, 900]);
    }

    #[test]
    fn a_quiet_hour_empties_and_a_quiet_minute_does_not() {
        let mut bucket = Bucket::empty(at(0));
        for _ in 0..LIMIT - 1 {
            bucket = bucket.admit(LIMIT, at(0)).unwrap();
        }
        let closed = bucket.admit(LIMIT, at(3599)).unwrap();
        assert_eq!(closed.admit(LIMIT, at(3599)), Err(FIRST_WAIT));
        assert_eq!(bucket.admit(LIMIT, at(3600)).unwrap().wrong, 1);
    }

    #[test]
    fn a_right_try_is_given_back_and_reopens_what_it_closed() {
        let mut bucket = Bucket::empty(at(0));
        for _ in 0..LIMIT {
            bucket = bucket.admit(LIMIT, at(0)).unwrap();
        }
        let open = bucket.give_back(LIMIT, at(1));
        assert_eq!(open.wrong, LIMIT - 1);
        let closed = open.admit(LIMIT, at(1)).unwrap();
        assert_eq!(closed.admit(LIMIT, at(1)), Err(FIRST_WAIT), "one more, not a round more");
        // in the second round the first one is remembered
        let second = closed.admit(LIMIT, at(61)).unwrap();
        assert_eq!(second.give_back(LIMIT, at(62)).admit(LIMIT, at(62)).unwrap().wrong, LIMIT + 1);
        assert_eq!(Bucket::empty(at(0)).give_back(LIMIT, at(0)), Bucket::empty(at(0)));
    }

    /// Seconds until the next try, and whether the try is right.
    fn tries() -> impl Strategy<Value = Vec<(i64, bool)>> {
        proptest::collection::vec((prop_oneof![0..3_i64, 0..90_i64, 0..1000_i64], prop::bool::weighted(0.1)), 1..300)
    }

    proptest! {
        #[test]
        fn no_minute_has_more_wrong_tries_than_the_limit(tries in tries(), limit in 1..8_i64) {
            let (mut bucket, mut now, mut wrong) = (Bucket::empty(at(0)), 0, Vec::new());
            for (gap, right) in tries {
                now += gap;
                match bucket.admit(limit, at(now)) {
                    Ok(next) if right => bucket = next.give_back(limit, at(now)),
                    Ok(next) => {
                        bucket = next;
                        wrong.push(now);
                    }
                    Err(wait) => prop_assert!(wait > TimeDelta::zero() && wait <= LONGEST_WAIT),
                }
            }
            for window in wrong.windows(limit as usize + 1) {
                prop_assert!(window[limit as usize] - window[0] >= 60, "{window:?}");
            }
        }

        #[test]
        fn going_on_is_slow(tries in tries()) {
            // whoever never stops for an hour gets five rounds in the first half of it, then one each quarter
            let (mut bucket, mut now, mut admitted) = (Bucket::empty(at(0)), 0, 0);
            for (gap, _) in tries {
                now += gap;
                if let Ok(next) = bucket.admit(LIMIT, at(now)) {
                    bucket = next;
                    admitted += 1;
                }
            }
            prop_assert!(admitted <= LIMIT * (5 + now / 900), "{admitted} in {now} s");
        }

        #[test]
        fn after_the_wait_it_is_open(wrong in 0..10_000_i64, limit in 1..40_i64, gap in 0..10_000_i64) {
            let mut bucket = Bucket { wrong, ..Bucket::empty(at(0)) };
            bucket = bucket.admit(limit, at(gap)).unwrap();
            if let Err(wait) = bucket.admit(limit, at(gap)) {
                prop_assert!(bucket.admit(limit, at(gap) + wait).is_ok());
            }
        }
    }
}
