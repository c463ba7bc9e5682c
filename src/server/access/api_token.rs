//! How an API token is written, and what of it is stored.
//!
//! ```text
//! chorus_4fGk09sLzTq2_Vb…(43)…x7Q1a2B
//! prefix └─ id, 12 ─┘ └ secret ─┘└ checksum, 6
//! ```
//!
//! All parts are letters and digits, and the prefix is ours alone, so that scanners for leaked secrets find a token by
//! `chorus_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}`. The id is stored in clear and names the row. The secret has 256 random bits;
//! nobody guesses its SHA-256 any sooner than itself, so that is what is stored, without the cost of a password hash. The
//! checksum (the first bytes of the SHA-256 of everything in front of it) tells a mistyped or made-up token without a query.

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::server::random::Random;

/// How every API token begins.
pub const PREFIX: &str = "chorus_";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 71 bits: unique, not secret.
const ID: usize = 12;
/// 256 bits.
const SECRET: usize = 43;
/// 32 bits.
const CHECKSUM: usize = 6;

/// What is stored of the secret.
pub type SecretHash = [u8; 32];

/// A token that was just made.
pub struct Fresh {
    /// The id in its text, which names its row.
    pub public_id: String,
    /// What is stored of its secret.
    pub secret_hash: SecretHash,
    /// The token. Told once.
    pub text: SecretString,
}

impl Fresh {
    /// Makes a token.
    pub fn new(random: &dyn Random) -> Self {
        let public_id = letters(random, ID);
        let secret = SecretString::from(letters(random, SECRET));
        let secret_hash = hash(secret.expose_secret());
        let text = assemble(&public_id, secret.expose_secret()).into();
        Self { public_id, secret_hash, text }
    }
}

/// The text of the token with this id and this secret.
pub fn assemble(public_id: &str, secret: &str) -> String {
    let mut text = format!("{}_{secret}", shown_part(public_id));
    text.push_str(&checksum(&text));
    text
}

/// A token that a caller shows, well formed.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// The id, which names the row.
    pub public_id: &'a str,
    secret: &'a str,
}

impl<'a> Shown<'a> {
    /// Takes a token apart; nothing if it is not one.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (public_id, rest) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let alphanumeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if public_id.len() != ID || rest.len() != SECRET + CHECKSUM || !alphanumeric(public_id) || !alphanumeric(rest) {
            return None;
        }
        let (body, shown) = text.split_at(text.len() - CHECKSUM);
        // no secret is compared here: anybody can compute a checksum
        (checksum(body) == shown).then_some(Self { public_id, secret: &rest[..SECRET] })
    }

    /// Whether this is the secret of which the hash was stored. Takes the same time wherever they differ.
    pub fn is(&self, stored: &SecretHash) -> bool {
        hash(self.secret).ct_eq(stored).into()
    }
}

/// The part of a token that may be shown: how it begins.
pub fn shown_part(public_id: &str) -> String {
    format!("{PREFIX}{public_id}")
}

/// Letters and digits, all equally likely.
fn letters(random: &dyn Random, count: usize) -> String {
    let mut text = String::with_capacity(count);
    let mut bytes = zeroize::Zeroizing::new([0; 64]);
    while text.len() < count {
        random.fill(&mut *bytes);
        // the largest multiple of 62 that a byte holds: what is above would make the first letters likelier
        let fair = bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        text.extend(fair.take(count - text.len()));
    }
    text
}

fn hash(secret: &str) -> SecretHash {
    Sha256::digest(secret).into()
}

fn checksum(body: &str) -> String {
    let [a, b, c, d, ..] = hash(body);
    let mut rest = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or_default();
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % ALPHABET.len()];
        rest /= ALPHABET.len();
    }
    digits.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::server::random::SeededRandom;

    fn fresh(seed: u64) -> Fresh {
        Fresh::new(&SeededRandom::new(seed))
    }

    #[test]
    fn a_token_reads_back() {
        let token = fresh(1);
        let text = token.text.expose_secret();
        let scanner = regex::Regex::new("^chorus_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}$").unwrap();
        assert!(scanner.is_match(text), "{text}");
        let shown = Shown::parse(text).unwrap();
        assert_eq!(shown.public_id, token.public_id);
        assert!(shown.is(&token.secret_hash) && !shown.is(&fresh(2).secret_hash) && !shown.is(&[0; 32]));
        assert!(text.starts_with(&shown_part(&token.public_id)));
    }

    #[test]
    fn no_two_are_alike() {
        let random = SeededRandom::new(1);
        let all: std::collections::BTreeSet<_> =
            (0..1000).map(|_| Fresh::new(&random).text.expose_secret().to_owned()).collect();
        assert_eq!(all.len(), 1000);
    }

    #[test]
    fn every_letter_is_as_likely() {
        let text = letters(&SeededRandom::new(3), 62_000);
        for letter in ALPHABET {
            let count = text.bytes().filter(|byte| byte == letter).count();
            assert!((850..1150).contains(&count), "{} {count}", char::from(*letter));
        }
    }

    #[test]
    fn what_is_no_token() {
        let text = fresh(1).text.expose_secret().to_owned();
        let upper = text.replacen("chorus_", "CHORUS_", 1);
        for bad in ["", "chorus_", "chorus__", &text[1..], &text[..text.len() - 1], &format!("{text}0"), &upper] {
            assert!(Shown::parse(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        /// One wrong letter anywhere is told without a query.
        #[test]
        fn a_mistyped_token_is_refused(seed: u64, at in 0usize..69, letter in proptest::sample::select(&ALPHABET[..])) {
            let text = fresh(seed).text.expose_secret().to_owned();
            let at = at % text.len();
            let mut bytes = text.clone().into_bytes();
            bytes[at] = letter;
            let typed = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(Shown::parse(&typed).is_some(), typed == text);
        }

        #[test]
        fn anything_is_read_without_a_panic(text in any::<String>()) {
            let prefixed = format!("{PREFIX}{text}");
            prop_assert!(Shown::parse(&text).is_none());
            let _ = Shown::parse(&prefixed);
        }
    }
}
