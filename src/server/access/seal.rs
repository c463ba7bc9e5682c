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
//! - a value is sealed with the key that the database names as active in the same transaction, so that nothing is sealed
//!   with a key that a rotation has retired;
//! - errors name the key by its id, and nothing else.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use zeroize::Zeroizing;

use super::keyring::{Key, Keys, Purpose, rows};
use crate::server::{
    db::Tx,
    error::{Error, Kind, Result},
    random::Random,
};

const VERSION: &str = "v1";
const NONCE_BYTES: usize = 24;

/// A column of sealed values.
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    /// Its table.
    pub table: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The column, a number, that tells the rows apart.
    pub key: &'static str,
}

/// Secrets of authenticator apps.
pub static TOTP_SECRET: Column = Column { table: "totp_secrets", name: "secret", key: "user_id" };

/// Every column of sealed values: a rotation visits them all.
pub static COLUMNS: [&Column; 1] = [&TOTP_SECRET];

/// Where a sealed value lives. It opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The column.
    pub column: &'static Column,
    /// The key of the row.
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

/// Seals with the active key and opens with all.
pub struct Sealer(Arc<Keys>);

impl Sealer {
    /// Seals with these keys.
    pub fn new(keys: Arc<Keys>) -> Self {
        Self(keys)
    }

    /// The sealed form of a secret, for this place. The transaction must store it: until its end the key stays active.
    ///
    /// # Errors
    /// `KEYRING_OUTDATED` when the keyring was rotated and this server has not got the new file.
    pub async fn seal(&self, tx: &mut Tx, place: Place, secret: &[u8], random: &dyn Random) -> Result<String> {
        rows::lock(tx).await?;
        let id = rows::active(tx).await?.remove(&Purpose::Sealing);
        let id = id.ok_or_else(|| Error::internal("the database names no sealing key"))?;
        let key = self.0.get(Purpose::Sealing, &id).ok_or_else(|| {
            let text =
                "This server lacks the newest key of the installation. Try again later, or tell an administrator.";
            Error::new(Kind::Unavailable, "KEYRING_OUTDATED", text).because(SealError::UnknownKey(id))
        })?;
        seal_with(&key, place, secret, random).map_err(Error::internal)
    }

    /// The secret that was sealed for this place.
    ///
    /// # Errors
    /// `INTERNAL`; the log has the id of the key.
    pub fn open(&self, place: Place, sealed: &str) -> Result<Zeroizing<Vec<u8>>> {
        open(|id| self.0.get(Purpose::Sealing, id), place, sealed).map_err(Error::internal)
    }
}

/// The secret that was sealed for this place, with the key that `find` has for its id.
///
/// # Errors
/// What is wrong with the value, by the id of its key.
pub fn open(
    find: impl FnOnce(&str) -> Option<Key>,
    place: Place,
    sealed: &str,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let id = parts(sealed)?.0;
    let key = find(id).ok_or_else(|| SealError::UnknownKey(id.to_owned()))?;
    open_with(&key, place, sealed)
}

/// How every value begins that is sealed with this key.
pub fn prefix(key: &Key) -> String {
    format!("{VERSION}.{}.", key.id())
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
    Ok(prefix(key) + &BASE64.encode([&nonce[..], &text].concat()))
}

fn open_with(key: &Key, place: Place, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
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
fn bound(key: &str, Place { column: Column { table, name, .. }, row }: Place) -> Vec<u8> {
    format!("chorus sealed {VERSION}\0{key}\0{table}\0{name}\0{row}").into_bytes()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;
    use crate::server::{access::keyring::Keyring, clock::ManualClock, random::SeededRandom};

    const HERE: Place = Place { column: &TOTP_SECRET, row: 7 };

    fn ring(seed: u64) -> Keyring {
        let clock = ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        Keyring::generate(&SeededRandom::new(seed), &clock)
    }

    fn key(seed: u64) -> Key {
        ring(seed).newest(Purpose::Sealing).unwrap().clone()
    }

    fn sealed(secret: &[u8]) -> String {
        seal_with(&key(1), HERE, secret, &SeededRandom::new(2)).unwrap()
    }

    /// Opens with the keyring of this seed.
    fn opened(seed: u64, place: Place, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        open(|id| ring(seed).get(Purpose::Sealing, id).cloned(), place, sealed)
    }

    #[test]
    fn a_value_opens_at_its_place_only() {
        static TABLE: Column = Column { table: "totp_secret", ..TOTP };
        static NAME: Column = Column { name: "secrets", ..TOTP };
        const TOTP: Column = Column { table: "totp_secrets", name: "secret", key: "user_id" };
        let text = sealed(b"secret");
        assert_eq!(**opened(1, HERE, &text).unwrap(), *b"secret");
        let broken = SealError::Broken(key(1).id().to_owned());
        for elsewhere in [
            Place { row: 8, ..HERE },
            Place { row: -7, ..HERE },
            Place { column: &NAME, ..HERE },
            Place { column: &TABLE, ..HERE },
        ] {
            assert_eq!(opened(1, elsewhere, &text).unwrap_err(), broken, "{elsewhere:?}");
        }
    }

    #[test]
    fn another_keyring_names_the_key_that_it_lacks() {
        let error = opened(9, HERE, &sealed(b"secret")).unwrap_err();
        assert_eq!(error.to_string(), format!("the keyring has no sealing key {}", key(1).id()));
    }

    #[test]
    fn a_value_that_claims_another_key_is_broken() {
        let claims = sealed(b"secret").replace(key(1).id(), key(9).id());
        assert_eq!(opened(9, HERE, &claims).unwrap_err(), SealError::Broken(key(9).id().to_owned()));
    }

    #[test]
    fn a_secret_is_never_sealed_the_same_way_twice() {
        let random = SeededRandom::new(2);
        let twice = [(); 2].map(|()| seal_with(&key(1), HERE, b"secret", &random).unwrap());
        assert_ne!(twice[0], twice[1]);
    }

    #[test]
    fn what_is_not_sealed_is_refused() {
        let id = key(1).id().to_owned();
        for text in ["", "v1", "v1.", "secret", &format!("v1.{id}"), &format!("v1.{id}."), &format!("v1.{id}.AAAA")] {
            assert_eq!(opened(1, HERE, text).unwrap_err(), SealError::Form, "{text}");
        }
        assert_eq!(opened(1, HERE, &sealed(b"x").replace("v1.", "v2.")).unwrap_err(), SealError::Form);
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(secret: Vec<u8>, row: i64, seed: u64) {
            let place = Place { row, ..HERE };
            let text = seal_with(&key(1), place, &secret, &SeededRandom::new(seed)).unwrap();
            prop_assert_eq!(&**opened(1, place, &text).unwrap(), &*secret);
        }

        #[test]
        fn whatever_is_changed_is_noticed(at in 0..120_usize, to in 0..=127_u8) {
            let mut bytes = sealed(b"twenty bytes of key.").into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            let text = String::from_utf8(bytes).unwrap();
            prop_assert!(opened(1, HERE, &text).is_err());
        }

        #[test]
        fn any_text_opens_or_is_refused(text in "(v1\\.)?[0-9a-f.]{0,20}\\.?.{0,80}") {
            prop_assert!(opened(1, HERE, &text).is_err());
        }
    }
}
