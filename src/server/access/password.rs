//! Password hashes: argon2id for new ones, bcrypt understood for accounts that come from elsewhere.
//!
//! A password enters as a [`SecretString`] and leaves as a hash in PHC string format. What always holds:
//!
//! - a hash costs what OWASP asks of argon2id (19 MiB, 2 passes, 1 lane), and an unknown user costs the same as a
//!   known one, so that the time of an answer does not tell who has an account;
//! - hashes run in a pool (`hash_pool.rs`) that a flood of sign-ins can fill without slowing anybody else;
//! - what is compared is compared in constant time, and no password appears in errors or logs.

use std::sync::Arc;

use argon2::{
    ARGON2ID_IDENT, Algorithm, Argon2, Params, PasswordHash, Version,
    password_hash::phc::{Output, ParamsString, Salt},
};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::{
    hash_pool::{Memory, Pool, Turn},
    password_policy,
};
use crate::server::{
    error::{Error, Result},
    random::Random,
};

pub use super::hash_pool::Rank;

/// Length of a salt in bytes (RFC 9106, section 3.1).
const SALT_BYTES: usize = 16;
const PARAMS: Params = Params::DEFAULT;

const _: () = assert!(
    PARAMS.m_cost() == 19 * 1024 && PARAMS.t_cost() == 2 && PARAMS.p_cost() == 1,
    "the OWASP parameters of argon2id"
);

/// The outcome of comparing a password with a stored hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another password, or nothing to compare with.
    Wrong,
    /// The password.
    Right {
        /// Whether the hash is of an older kind and should be replaced now that the password is at hand.
        outdated: bool,
    },
}

/// The bytes that are hashed: in one Unicode form, since keyboards differ in how they compose letters (NIST SP
/// 800-63B, section 5.1.1.2).
fn normalise(password: &str) -> Zeroizing<String> {
    Zeroizing::new(password.nfkc().collect())
}

/// The hash of a password, in PHC string format.
fn hash(password: &str, random: &dyn Random, memory: &mut Memory) -> Result<String> {
    let mut salt = [0; SALT_BYTES];
    random.fill(&mut salt);
    let mut output = Zeroizing::new([0; Params::DEFAULT_OUTPUT_LEN]);
    compute(Algorithm::Argon2id, Version::V0x13, PARAMS, password, &salt, &mut *output, memory)?;
    let hash = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&PARAMS).map_err(Error::internal)?,
        salt: Some(Salt::new(&salt).map_err(Error::internal)?),
        hash: Some(Output::new(&*output).map_err(Error::internal)?),
    };
    Ok(hash.to_string())
}

/// Compares a password with a stored hash. Without one, or with one that cannot be read, it does the work of one hash
/// and says wrong.
fn verify(password: &str, stored: Option<&str>, memory: &mut Memory) -> Verdict {
    match stored.map(Stored::read) {
        Some(Stored::Argon2(hash)) => match matches(password, &hash, memory) {
            true => Verdict::Right { outdated: is_outdated(&hash) },
            false => Verdict::Wrong,
        },
        // bcrypt cuts at 72 bytes, and those hashes were made of the bytes as they were typed
        Some(Stored::Bcrypt(hash)) => match bcrypt::verify(password, hash) {
            Ok(true) => Verdict::Right { outdated: true },
            Ok(false) | Err(_) => Verdict::Wrong,
        },
        Some(Stored::Unknown) | None => {
            let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
            let salt = [0; SALT_BYTES];
            // its result is of no interest, its duration is
            let _ = compute(Algorithm::Argon2id, Version::V0x13, PARAMS, password, &salt, &mut output, memory);
            std::hint::black_box(output);
            Verdict::Wrong
        }
    }
}

/// Whether the password has this hash. One that lacks a part matches nothing.
fn matches(password: &str, stored: &PasswordHash, memory: &mut Memory) -> bool {
    let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else { return false };
    let algorithm = Algorithm::try_from(stored.algorithm.as_str());
    let version = stored.version.map_or(Ok(Version::V0x13), Version::try_from);
    let (Ok(algorithm), Ok(version), Ok(params)) = (algorithm, version, Params::try_from(stored)) else { return false };
    let mut output = Zeroizing::new(vec![0; expected.as_bytes().len()]);
    compute(algorithm, version, params, password, salt, &mut output, memory).is_ok()
        && bool::from(output.ct_eq(expected.as_bytes()))
}

fn compute(
    algorithm: Algorithm,
    version: Version,
    params: Params,
    password: &str,
    salt: &[u8],
    output: &mut [u8],
    memory: &mut Memory,
) -> Result<()> {
    let blocks = memory.blocks(params.block_count());
    let argon2 = Argon2::new(algorithm, version, params);
    argon2.hash_password_into_with_memory(normalise(password).as_bytes(), salt, output, blocks).map_err(Error::internal)
}

enum Stored<'a> {
    Argon2(Box<PasswordHash>),
    Bcrypt(&'a str),
    Unknown,
}

impl<'a> Stored<'a> {
    fn read(text: &'a str) -> Self {
        if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            return Self::Bcrypt(text);
        }
        match PasswordHash::new(text) {
            Ok(hash) if Algorithm::try_from(hash.algorithm.as_str()).is_ok() => Self::Argon2(hash.into()),
            _ => Self::Unknown,
        }
    }
}

fn is_outdated(hash: &PasswordHash) -> bool {
    let Ok(params) = Params::try_from(hash) else { return true };
    hash.algorithm != ARGON2ID_IDENT || params.m_cost() < PARAMS.m_cost() || params.t_cost() < PARAMS.t_cost()
}

/// Computes hashes, a few at a time, away from the threads that serve calls.
pub struct Hasher {
    random: Arc<dyn Random>,
    pool: Pool,
}

/// A place in the line for one comparison.
pub struct Comparison(Turn);

impl Hasher {
    /// A hasher that takes its salts from this source.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(random: Arc<dyn Random>) -> std::io::Result<Self> {
        Ok(Self { random, pool: Pool::start()? })
    }

    /// The hash of a password that was checked before.
    pub async fn hash(&self, password: SecretString) -> Result<String> {
        let random = self.random.clone();
        self.pool.queue(Rank::Known)?.run(move |memory| hash(password.expose_secret(), &*random, memory)).await?
    }

    /// The hash of a new password, if the policy accepts it. `field` is its JSON path; `names` are the user's names and
    /// e-mail address.
    pub async fn accept(&self, field: &'static str, password: SecretString, names: Vec<String>) -> Result<String> {
        let random = self.random.clone();
        let work = move |memory: &mut Memory| {
            password_policy::check(field, password.expose_secret(), &names)?;
            hash(password.expose_secret(), &*random, memory)
        };
        self.pool.queue(Rank::Known)?.run(work).await?
    }

    /// A temporary password and its hash.
    pub async fn temporary(&self, names: Vec<String>) -> Result<(SecretString, String)> {
        let random = self.random.clone();
        let work = move |memory: &mut Memory| {
            let password = password_policy::temporary(&*random, &names);
            let hash = hash(password.expose_secret(), &*random, memory)?;
            Ok((password, hash))
        };
        self.pool.queue(Rank::Known)?.run(work).await?
    }

    /// Takes a place in the line for a comparison: before the try is counted, since there may be none.
    ///
    /// # Errors
    /// `SIGN_IN_BUSY` when there is none.
    pub fn queue(&self, rank: Rank) -> Result<Comparison> {
        self.pool.queue(rank).map(Comparison)
    }
}

impl Comparison {
    /// Compares a password with the stored hash, if there is one; the work is done in either case.
    pub async fn verify(self, password: SecretString, stored: Option<String>) -> Result<Verdict> {
        self.0.run(move |memory| verify(password.expose_secret(), stored.as_deref(), memory)).await
    }
}

#[cfg(test)]
mod tests {
    use argon2::{PasswordHasher as _, PasswordVerifier as _};

    use super::*;
    use crate::server::{error::Kind, random::SeededRandom};

    const PASSWORD: &str = "a heron eats wet clocks";

    fn made() -> String {
        hash(PASSWORD, &SeededRandom::new(1), &mut Memory::default()).unwrap()
    }

    fn verify(password: &str, stored: Option<&str>) -> Verdict {
        super::verify(password, stored, &mut Memory::default())
    }

    #[test]
    fn hashes_say_how_they_were_made() {
        let hash = made();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(
            hash,
            super::hash(PASSWORD, &SeededRandom::new(2), &mut Memory::default()).unwrap(),
            "the salt differs"
        );
    }

    #[test]
    fn passwords_verify() {
        let hash = made();
        assert_eq!(verify(PASSWORD, Some(&hash)), Verdict::Right { outdated: false });
        for wrong in ["", "A heron eats wet clocks", "a heron eats wet clocks ", "x"] {
            assert_eq!(verify(wrong, Some(&hash)), Verdict::Wrong);
        }
    }

    #[test]
    fn letters_compare_in_one_form() {
        let hash = hash("Zu\u{308}rich, e\u{301}t\u{e9}", &SeededRandom::new(1), &mut Memory::default()).unwrap();
        assert_eq!(verify("Z\u{fc}rich, \u{e9}te\u{301}", Some(&hash)), Verdict::Right { outdated: false });
    }

    #[test]
    fn bcrypt_verifies_and_is_outdated() {
        let parts = bcrypt::hash_with_result(PASSWORD, 4).unwrap();
        for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
            let hash = parts.format_for_version(version);
            assert_eq!(verify(PASSWORD, Some(&hash)), Verdict::Right { outdated: true });
            assert_eq!(verify("something else", Some(&hash)), Verdict::Wrong);
        }
    }

    #[test]
    fn weaker_argon2_is_outdated() {
        for (algorithm, m, t) in [
            (Algorithm::Argon2id, 8 * 1024, 2),
            (Algorithm::Argon2id, 19 * 1024, 1),
            (Algorithm::Argon2i, 19 * 1024, 2),
        ] {
            let weak = Argon2::new(algorithm, Version::V0x13, Params::new(m, t, 1, None).unwrap());
            let hash = weak.hash_password_with_salt(PASSWORD.as_bytes(), &[7; 16]).unwrap().to_string();
            assert_eq!(verify(PASSWORD, Some(&hash)), Verdict::Right { outdated: true });
        }
    }

    #[test]
    fn nothing_to_compare_with_is_wrong() {
        for stored in
            [None, Some(""), Some("x"), Some("$2b$"), Some("$argon2id$v=19$m=19456,t=2,p=1$"), Some("$pbkdf2$x")]
        {
            assert_eq!(verify(PASSWORD, stored), Verdict::Wrong, "{stored:?}");
            assert_eq!(verify("", stored), Verdict::Wrong, "{stored:?}");
        }
    }

    fn secret() -> SecretString {
        PASSWORD.into()
    }

    /// What is computed in memory of our own is what the crate itself computes.
    #[test]
    fn hashes_are_those_of_the_crate() {
        let ours = PasswordHash::new(&made()).unwrap();
        assert!(Argon2::default().verify_password(PASSWORD.as_bytes(), &ours).is_ok());
        let mut salt = [0; SALT_BYTES];
        SeededRandom::new(1).fill(&mut salt);
        let theirs = Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMS);
        assert_eq!(theirs.hash_password_with_salt(PASSWORD.as_bytes(), &salt).unwrap().to_string(), made());
        // a larger hash and a smaller one in the memory of the one before
        let mut memory = Memory::default();
        for m in [64 * 1024, 8 * 1024, 19 * 1024] {
            let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(m, 1, 1, None).unwrap());
            let hash = hasher.hash_password_with_salt(PASSWORD.as_bytes(), &salt).unwrap().to_string();
            assert!(matches!(super::verify(PASSWORD, Some(&hash), &mut memory), Verdict::Right { .. }), "{m}");
            assert_eq!(super::verify("another", Some(&hash), &mut memory), Verdict::Wrong);
        }
    }

    #[tokio::test]
    async fn new_passwords_pass_the_policy_first() {
        let hasher = Hasher::start(Arc::new(SeededRandom::new(1))).unwrap();
        let hash = hasher.accept("password", secret(), vec!["Ada".into()]).await.unwrap();
        assert_eq!(
            hasher.queue(Rank::Known).unwrap().verify(secret(), Some(hash)).await.unwrap(),
            Verdict::Right { outdated: false }
        );
        let error = hasher.accept("password", "short".into(), Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Validation);
        let (temporary, hash) = hasher.temporary(vec!["ada".into()]).await.unwrap();
        assert_eq!(
            hasher.queue(Rank::Known).unwrap().verify(temporary, Some(hash)).await.unwrap(),
            Verdict::Right { outdated: false }
        );
    }
}
