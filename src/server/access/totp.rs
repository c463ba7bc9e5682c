//! One-time codes (RFC 6238) and recovery codes: the arithmetic, without clock or store of its own.
//!
//! A code is a number of six digits that authenticator app and server compute from a shared secret and the count of 30
//! second steps since 1970, with HMAC-SHA-1 as every app does. A recovery code replaces it once. What always holds:
//!
//! - a code is good for one step before and after its own, since clocks differ, and only if its step is later than the
//!   last one that was accepted, so that no code is accepted twice;
//! - codes are compared in constant time;
//! - a recovery code has 120 random bits, so that a plain hash of it tells nothing: a slow one is for what people choose.
//!
//! The codes are computed here, on `hmac` and `sha1`, since the crates for it say whether a code is right and not which
//! step it belongs to.

use chrono::{DateTime, Utc};
use data_encoding::BASE32_NOPAD as BASE32;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};
use zeroize::Zeroizing;

use crate::server::random::Random;

/// Seconds for which an app shows a code.
const PERIOD: i64 = 30;
/// So many steps before and after its own a code is good.
const SKEW: i64 = 1;
/// Length of a secret: that of the hash (RFC 4226, section 4, R6).
const SECRET_BYTES: usize = 20;
/// Length of a recovery code: more than the 112 bits from which on a plain hash is enough (OWASP ASVS 5.0, 6.5.2).
const RECOVERY_BYTES: usize = 15;
const RECOVERY_LETTERS: usize = RECOVERY_BYTES * 8 / 5;
/// How many recovery codes somebody gets.
pub const RECOVERY_CODES: usize = 10;

/// What the authenticator app and the server share.
pub struct Secret(Zeroizing<[u8; SECRET_BYTES]>);

impl Secret {
    /// A new one.
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        random.fill(&mut *bytes);
        Self(bytes)
    }

    /// One that was stored; none if it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// The bytes, for storing them sealed.
    pub fn expose(&self) -> &[u8] {
        &*self.0
    }

    /// The form that apps take: base 32 without padding.
    pub fn base32(&self) -> SecretString {
        BASE32.encode(&*self.0).into()
    }

    /// The step at which this code is right: the first after `last` that is near enough to `now`.
    pub fn step_of(&self, code: Code, now: DateTime<Utc>, last: i64) -> Option<i64> {
        let step = now.timestamp().div_euclid(PERIOD);
        let mut found = i64::MIN;
        // all are computed, whichever it is; backwards, so that the first one stays
        for candidate in (step - SKEW..=step + SKEW).rev() {
            let right = code.0.ct_eq(&self.code(candidate)) & subtle::Choice::from(u8::from(candidate > last));
            found.conditional_assign(&candidate, right);
        }
        (found != i64::MIN).then_some(found)
    }

    /// The code of a step (RFC 4226, section 5.3).
    fn code(&self, step: i64) -> u32 {
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&*self.0) else { return u32::MAX };
        mac.update(&step.to_be_bytes());
        let hash = mac.finalize().into_bytes();
        let start = usize::from(hash[19] & 0x0f);
        let bytes = [hash[start] & 0x7f, hash[start + 1], hash[start + 2], hash[start + 3]];
        u32::from_be_bytes(bytes) % 1_000_000
    }
}

/// A code of an authenticator app, as it was typed.
#[derive(Clone, Copy)]
pub struct Code(u32);

/// A code that replaces the app once.
pub struct RecoveryCode(Zeroizing<String>);

impl RecoveryCode {
    /// A new one.
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = Zeroizing::new([0; RECOVERY_BYTES]);
        random.fill(&mut *bytes);
        let mut letters = Zeroizing::new(BASE32.encode(&*bytes));
        letters.make_ascii_lowercase();
        Self(letters)
    }

    /// The form for people: groups of four.
    pub fn shown(&self) -> SecretString {
        let mut text = String::with_capacity(RECOVERY_LETTERS + RECOVERY_LETTERS / 4);
        for (letter, at) in self.0.chars().zip(0..) {
            if at > 0 && at % 4 == 0 {
                text.push('-');
            }
            text.push(letter);
        }
        text.into()
    }

    /// What is stored of the code of this user.
    pub fn hash(&self, user: i64) -> String {
        let digest =
            Sha256::new().chain_update(format!("chorus recovery code 1\0{user}\0")).chain_update(self.0.as_bytes());
        data_encoding::HEXLOWER.encode(&digest.finalize())
    }
}

/// What somebody typed where a code is asked for.
pub enum Typed {
    /// A code of the app.
    App(Code),
    /// A recovery code.
    Recovery(RecoveryCode),
}

impl Typed {
    /// Reads what was typed: blanks, dashes and letter case do not matter, nor letters that look like a digit or the other
    /// way round. None if it is neither kind of code.
    pub fn read(text: &SecretString) -> Option<Self> {
        let kept = text.expose_secret().chars().filter(|c| !c.is_whitespace() && *c != '-');
        // no longer than the text, so that it never moves and leaves copies behind
        let mut letters = Zeroizing::new(String::with_capacity(text.expose_secret().len()));
        letters.extend(kept.map(|c| c.to_ascii_lowercase()));
        if letters.len() == 6 && letters.bytes().all(|b| b.is_ascii_digit()) {
            return letters.parse().ok().map(|number| Self::App(Code(number)));
        }
        let mut code = Zeroizing::new(String::with_capacity(RECOVERY_LETTERS));
        for letter in letters.chars() {
            code.push(match letter {
                '0' => 'o',
                '1' => 'l',
                '8' => 'b',
                'a'..='z' | '2'..='7' => letter,
                _ => return None,
            });
        }
        (code.len() == RECOVERY_LETTERS).then_some(Self::Recovery(RecoveryCode(code)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::server::random::SeededRandom;

    fn rfc() -> Secret {
        Secret::from_bytes(b"12345678901234567890").unwrap()
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn typed(code: u32) -> Code {
        match Typed::read(&format!("{code:06}").into()) {
            Some(Typed::App(code)) => code,
            _ => panic!("{code}"),
        }
    }

    #[test]
    fn the_vectors_of_rfc_6238() {
        // appendix B; its codes have eight digits, of which an app shows the last six
        for (seconds, code) in [
            (59, 94_287_082),
            (1_111_111_109, 7_081_804),
            (1_111_111_111, 14_050_471),
            (1_234_567_890, 89_005_924),
            (2_000_000_000, 69_279_037),
            (20_000_000_000, 65_353_130),
        ] {
            let code = code % 1_000_000;
            assert_eq!(rfc().code(seconds / 30), code);
            assert_eq!(rfc().step_of(typed(code), at(seconds), 0), Some(seconds / 30));
        }
    }

    #[test]
    fn the_vectors_of_rfc_4226() {
        let codes = [755_224, 287_082, 359_152, 969_429, 338_314, 254_676, 287_922, 162_583, 399_871, 520_489];
        for (code, step) in codes.into_iter().zip(0..) {
            assert_eq!(rfc().code(step), code);
        }
    }

    #[test]
    fn one_step_of_skew_and_no_more() {
        let step = 37_037_036;
        let code = typed(rfc().code(step));
        for (seconds, accepted) in
            [(-31, false), (-30, true), (-1, true), (0, true), (29, true), (30, true), (59, true), (60, false)]
        {
            assert_eq!(rfc().step_of(code, at(step * 30 + seconds), 0).is_some(), accepted, "{seconds}");
        }
    }

    #[test]
    fn only_later_steps_than_the_last_one() {
        let step = 37_037_036;
        let (secret, now) = (rfc(), at(step * 30));
        let codes = [-1, 0, 1].map(|skew| typed(secret.code(step + skew)));
        for (last, accepted) in [
            (step - 2, [true, true, true]),
            (step - 1, [false, true, true]),
            (step, [false, false, true]),
            (step + 1, [false, false, false]),
            (i64::MAX, [false, false, false]),
        ] {
            assert_eq!(codes.map(|code| secret.step_of(code, now, last).is_some()), accepted, "{last}");
        }
    }

    #[test]
    fn secrets_read_as_apps_expect() {
        assert_eq!(rfc().base32().expose_secret(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(Secret::from_bytes(b"too short").is_none());
        let secret = Secret::generate(&SeededRandom::new(1));
        assert_eq!(secret.base32().expose_secret().len(), 32);
    }

    #[test]
    fn codes_are_read_as_people_type_them() {
        let is_app = |text: &str| matches!(Typed::read(&text.into()), Some(Typed::App(_)));
        assert!(["123456", "123 456", " 123-456 ", "000000"].into_iter().all(is_app));
        let code = "abcd-efgh-ijkl-mnop-qrst-2345";
        let hash = |text: &str| match Typed::read(&text.into()) {
            Some(Typed::Recovery(code)) => Some(code.hash(3)),
            _ => None,
        };
        assert!(hash(code).is_some());
        for same in ["ABCD EFGH IJKL MNOP QRST 2345", "abcdefghijklmnopqrst2345", "a8cdefghijk1mn0pqrst2345"] {
            assert_eq!(hash(same), hash(code), "{same}");
        }
        for neither in ["", "12345", "1234567", "12345a", "１２３４５６", "abcd-efgh", "abcd-efgh-ijkl-mnop-qrst-234ß"]
        {
            assert!(Typed::read(&neither.into()).is_none(), "{neither}");
        }
    }

    #[test]
    fn a_recovery_code_belongs_to_its_user() {
        let code = RecoveryCode::generate(&SeededRandom::new(1));
        assert_ne!(code.hash(1), code.hash(2));
        assert_eq!(code.hash(1).len(), 64);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(seed: u64, user: i64) {
            let code = RecoveryCode::generate(&SeededRandom::new(seed));
            let shown = code.shown();
            prop_assert_eq!(shown.expose_secret().len(), 29);
            let Some(Typed::Recovery(read)) = Typed::read(&shown) else { panic!("not read") };
            prop_assert_eq!(read.hash(user), code.hash(user));
        }

        #[test]
        fn any_text_reads_or_is_refused(text in ".{0,70}") {
            let _ = Typed::read(&text.into());
        }

        #[test]
        fn a_step_is_accepted_once(seed: u64, seconds in 0..20_000_000_000_i64, skew in -1..=1_i64) {
            let secret = Secret::generate(&SeededRandom::new(seed));
            let code = typed(secret.code(seconds / 30 + skew));
            let step = secret.step_of(code, at(seconds), 0.min(seconds / 30 - 2)).unwrap();
            prop_assert!((step - seconds / 30).abs() <= 1);
            let again = secret.step_of(code, at(seconds), step);
            // two steps share a code once in a million times
            prop_assert!(again.is_none() || again > Some(step));
        }
    }
}
