//! Sealing: secrets that the database keeps and only the holder of the keyring can read.
//!
//! ```text
//! secret + its place ── seal ──► "v1.<key id>.<base64 of nonce, ciphertext, tag>" ── open, at the same place ──► secret
//! ```
//!
//! XChaCha20-Poly1305 under a sealing key of the keyring, with a random nonce of 24 bytes, which is long enough never to
//! repeat. What always holds:
//!
//! - version, key id and place (table, column, row) are authenticated: a sealed value that was changed, or copied to
//!   another row, does not open;
//! - errors name the key by its id, and nothing else.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use zeroize::Zeroizing;

use super::keyring::{Key, Keyring, Purpose};
use crate::server::random::Random;

const VERSION: &str = "v1";
const NONCE_BYTES: usize = 24;

/// Where a sealed value lives. It opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The primary key of the row.
    pub row: i64,
}

/// Why a value cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It has another form than sealed values have.
    #[error("the value is not sealed, or by a newer version")]
    Form,
    /// The keyring lacks the key.
    #[error("the keyring has no sealing key {0}")]
    UnknownKey(String),
    /// It was changed, or belongs elsewhere, or the key is another one of the same id.
    #[error("the value does not open with the sealing key {0}: it was changed, or sealed for another place")]
    Broken(String),
    /// There is no key to seal with, or the value is far too long.
    #[error("nothing can be sealed")]
    Impossible,
}

/// Seals with one key of the keyring and opens with all.
pub struct Sealer(Keyring);

impl Sealer {
    /// Seals with the newest sealing key.
    pub fn new(keyring: Keyring) -> Self {
        Self(keyring)
    }

    /// The sealed form of a secret, for this place.
    ///
    /// # Errors
    /// [`SealError::Impossible`].
    pub fn seal(&self, place: Place, secret: &[u8], random: &dyn Random) -> Result<String, SealError> {
        seal_with(self.0.newest(Purpose::Sealing).ok_or(SealError::Impossible)?, place, secret, random)
    }

    /// The secret that was sealed for this place.
    ///
    /// # Errors
    /// What is wrong with the value, by the id of its key.
    pub fn open(&self, place: Place, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let id = key_id(sealed)?;
        let key = self.0.get(Purpose::Sealing, id).ok_or_else(|| SealError::UnknownKey(id.to_owned()))?;
        open_with(key, place, sealed)
    }
}

/// The id of the key that a value is sealed with.
///
/// # Errors
/// [`SealError::Form`].
pub fn key_id(sealed: &str) -> Result<&str, SealError> {
    Ok(parts(sealed)?.0)
}

/// Seals with this key.
///
/// # Errors
/// [`SealError::Impossible`].
pub fn seal_with(key: &Key, place: Place, secret: &[u8], random: &dyn Random) -> Result<String, SealError> {
    let mut nonce = [0; NONCE_BYTES];
    random.fill(&mut nonce);
    let payload = Payload { msg: secret, aad: &bound(key.id(), place) };
    let text = cipher(key).encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Impossible)?;
    Ok(format!("{VERSION}.{}.{}", key.id(), BASE64.encode([&nonce[..], &text].concat())))
}

/// Opens with this key.
///
/// # Errors
/// [`SealError::Form`], [`SealError::Broken`].
pub fn open_with(key: &Key, place: Place, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (id, encoded) = parts(sealed)?;
    let bytes = BASE64.decode(encoded).map_err(|_| SealError::Form)?;
    let (nonce, text) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Form)?;
    let payload = Payload { msg: text, aad: &bound(id, place) };
    let opened = cipher(key).decrypt(&XNonce::from(*nonce), payload);
    opened.map(Zeroizing::new).map_err(|_| SealError::Broken(id.to_owned()))
}

fn parts(sealed: &str) -> Result<(&str, &str), SealError> {
    let rest = sealed.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('.')).ok_or(SealError::Form)?;
    rest.split_once('.').ok_or(SealError::Form)
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.expose().into())
}

/// What is authenticated beside the secret. Names of tables, columns and keys hold no zero byte, so no two places read
/// alike.
fn bound(key: &str, Place { table, column, row }: Place) -> Vec<u8> {
    format!("chorus sealed {VERSION}\0{key}\0{table}\0{column}\0{row}").into_bytes()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;
    use crate::server::{clock::ManualClock, random::SeededRandom};

    const HERE: Place = Place { table: "totp_secrets", column: "secret", row: 7 };

    fn ring(seed: u64) -> Keyring {
        let clock = ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        Keyring::generate(&SeededRandom::new(seed), &clock)
    }

    fn sealed(secret: &[u8]) -> String {
        Sealer::new(ring(1)).seal(HERE, secret, &SeededRandom::new(2)).unwrap()
    }

    #[test]
    fn a_value_opens_at_its_place_only() {
        let sealer = Sealer::new(ring(1));
        let text = sealed(b"secret");
        assert_eq!(**sealer.open(HERE, &text).unwrap(), *b"secret");
        let id = key_id(&text).unwrap().to_owned();
        for elsewhere in [
            Place { row: 8, ..HERE },
            Place { row: -7, ..HERE },
            Place { column: "secrets", ..HERE },
            Place { table: "totp_secret", ..HERE },
        ] {
            assert_eq!(sealer.open(elsewhere, &text).unwrap_err(), SealError::Broken(id.clone()), "{elsewhere:?}");
        }
    }

    #[test]
    fn another_keyring_names_the_key_that_it_lacks() {
        let text = sealed(b"secret");
        let error = Sealer::new(ring(9)).open(HERE, &text).unwrap_err();
        assert_eq!(error, SealError::UnknownKey(key_id(&text).unwrap().to_owned()));
        assert_eq!(error.to_string(), format!("the keyring has no sealing key {}", key_id(&text).unwrap()));
    }

    #[test]
    fn a_value_that_claims_another_key_is_broken() {
        let other = ring(9);
        let other = other.newest(Purpose::Sealing).unwrap();
        let text = sealed(b"secret");
        let claims = text.replace(key_id(&text).unwrap(), other.id());
        assert_eq!(open_with(other, HERE, &claims).unwrap_err(), SealError::Broken(other.id().to_owned()));
    }

    #[test]
    fn a_secret_is_never_sealed_the_same_way_twice() {
        let (sealer, random) = (Sealer::new(ring(1)), SeededRandom::new(2));
        let twice = [(); 2].map(|()| sealer.seal(HERE, b"secret", &random).unwrap());
        assert_ne!(twice[0], twice[1]);
    }

    #[test]
    fn what_is_not_sealed_is_refused() {
        let sealer = Sealer::new(ring(1));
        let id = ring(1).newest(Purpose::Sealing).unwrap().id().to_owned();
        for text in ["", "v1", "v1.", "secret", &format!("v1.{id}"), &format!("v1.{id}."), &format!("v1.{id}.AAAA")] {
            assert_eq!(sealer.open(HERE, text).unwrap_err(), SealError::Form, "{text}");
        }
        assert_eq!(sealer.open(HERE, &sealed(b"x").replace("v1.", "v2.")).unwrap_err(), SealError::Form);
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(secret: Vec<u8>, row: i64, seed: u64) {
            let (sealer, place) = (Sealer::new(ring(1)), Place { row, ..HERE });
            let text = sealer.seal(place, &secret, &SeededRandom::new(seed)).unwrap();
            prop_assert_eq!(&**sealer.open(place, &text).unwrap(), &*secret);
        }

        #[test]
        fn whatever_is_changed_is_noticed(at in 0..120_usize, to in 0..=127_u8) {
            let mut bytes = sealed(b"twenty bytes of key.").into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            let text = String::from_utf8(bytes).unwrap();
            prop_assert!(Sealer::new(ring(1)).open(HERE, &text).is_err());
        }

        #[test]
        fn any_text_opens_or_is_refused(text in "(v1\\.)?[0-9a-f.]{0,20}\\.?.{0,80}") {
            prop_assert!(Sealer::new(ring(1)).open(HERE, &text).is_err());
        }
    }
}
