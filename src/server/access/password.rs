//! Password hashes: argon2id for new ones, bcrypt understood for accounts that come from elsewhere.
//!
//! A password enters as a [`SecretString`] and leaves as a hash in PHC string format. What always holds:
//!
//! - a hash costs what OWASP asks of argon2id (19 MiB, 2 passes, 1 lane), and an unknown user costs the same as a
//!   known one, so that the time of an answer does not tell who has an account;
//! - few hashes run at once and few callers wait for them: a flood of sign-ins is turned away early instead of taking
//!   the memory and the threads of everybody else;
//! - what is compared is compared in constant time, and no password appears in errors or logs.

use std::{sync::Arc, time::Duration};

use argon2::{
    ARGON2ID_IDENT, Algorithm, Argon2, Params, PasswordHash, PasswordHasher as _, PasswordVerifier as _, Version,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::password_policy;
use crate::server::{
    error::{Error, Kind, Result},
    random::Random,
};

/// Hashes that run at once.
const RUNNING: usize = 2;
/// Callers that may wait for one of them.
const WAITING: usize = 62;
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

fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMS)
}

/// The bytes that are hashed: in one Unicode form, since keyboards differ in how they compose letters (NIST SP
/// 800-63B, section 5.1.1.2).
fn normalise(password: &str) -> Zeroizing<String> {
    Zeroizing::new(password.nfkc().collect())
}

/// The hash of a password, in PHC string format.
pub fn hash(password: &str, random: &dyn Random) -> Result<String> {
    let mut salt = [0; SALT_BYTES];
    random.fill(&mut salt);
    let hash = argon2().hash_password_with_salt(normalise(password).as_bytes(), &salt).map_err(Error::internal)?;
    Ok(hash.to_string())
}

/// Compares a password with a stored hash. Without one, or with one that cannot be read, it does the work of one hash
/// and says wrong.
pub fn verify(password: &str, stored: Option<&str>) -> Verdict {
    match stored.map(Stored::read) {
        Some(Stored::Argon2(hash)) => {
            if argon2().verify_password(normalise(password).as_bytes(), &*hash).is_ok() {
                Verdict::Right { outdated: is_outdated(&hash) }
            } else {
                Verdict::Wrong
            }
        }
        // bcrypt cuts at 72 bytes, and those hashes were made of the bytes as they were typed
        Some(Stored::Bcrypt(hash)) => match bcrypt::verify(password, hash) {
            Ok(true) => Verdict::Right { outdated: true },
            Ok(false) | Err(_) => Verdict::Wrong,
        },
        Some(Stored::Unknown) | None => {
            let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
            // its result is of no interest, its duration is
            let _ = argon2().hash_password_into(normalise(password).as_bytes(), &[0; SALT_BYTES], &mut out);
            std::hint::black_box(out);
            Verdict::Wrong
        }
    }
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

/// Runs the hashes, a few at a time, away from the threads that serve calls.
pub struct Hasher {
    random: Arc<dyn Random>,
    running: Arc<Semaphore>,
    line: Arc<Semaphore>,
}

impl Hasher {
    /// A hasher that takes its salts from this source.
    pub fn new(random: Arc<dyn Random>) -> Self {
        Self::with_limits(random, RUNNING, WAITING)
    }

    fn with_limits(random: Arc<dyn Random>, running: usize, waiting: usize) -> Self {
        let line = Arc::new(Semaphore::new(running + waiting));
        Self { random, running: Arc::new(Semaphore::new(running)), line }
    }

    /// The hash of a password that was checked before.
    pub async fn hash(&self, password: SecretString) -> Result<String> {
        let random = self.random.clone();
        self.run(move || hash(password.expose_secret(), &*random)).await?
    }

    /// The hash of a new password, if the policy accepts it. `field` is its JSON path; `names` are the user's names and
    /// e-mail address.
    pub async fn accept(&self, field: &'static str, password: SecretString, names: Vec<String>) -> Result<String> {
        let random = self.random.clone();
        self.run(move || {
            password_policy::check(field, password.expose_secret(), &names)?;
            hash(password.expose_secret(), &*random)
        })
        .await?
    }

    /// A temporary password and its hash.
    pub async fn temporary(&self, names: Vec<String>) -> Result<(SecretString, String)> {
        let random = self.random.clone();
        self.run(move || {
            let password = password_policy::temporary(&*random, &names);
            let hash = hash(password.expose_secret(), &*random)?;
            Ok((password, hash))
        })
        .await?
    }

    /// Compares a password with the stored hash, if there is one; the work is done in either case.
    pub async fn verify(&self, password: SecretString, stored: Option<String>) -> Result<Verdict> {
        self.run(move || verify(password.expose_secret(), stored.as_deref())).await
    }

    /// Takes a place in the line, waits for a turn, works. The places are kept until the work is done, also when the
    /// caller goes away, since the thread goes on.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let Ok(place) = self.line.clone().try_acquire_owned() else {
            let text = "Too many people are signing in at this moment. Try again in a second.";
            return Err(Error::new(Kind::Unavailable, "SIGN_IN_BUSY", text).retry_after(Duration::from_secs(1)));
        };
        let turn = self.running.clone().acquire_owned().await.map_err(Error::internal)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop((turn, place));
            result
        });
        done.await.map_err(Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::random::SeededRandom;

    const PASSWORD: &str = "a heron eats wet clocks";

    fn made() -> String {
        hash(PASSWORD, &SeededRandom::new(1)).unwrap()
    }

    #[test]
    fn hashes_say_how_they_were_made() {
        let hash = made();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, super::hash(PASSWORD, &SeededRandom::new(2)).unwrap(), "the salt differs");
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
        let hash = hash("Zu\u{308}rich, e\u{301}t\u{e9}", &SeededRandom::new(1)).unwrap();
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

    #[tokio::test]
    async fn the_line_is_bounded() {
        let hasher = Hasher::with_limits(Arc::new(SeededRandom::new(1)), 1, 1);
        let (first, second, third) =
            tokio::join!(hasher.verify(secret(), None), hasher.verify(secret(), None), hasher.verify(secret(), None));
        assert_eq!((first.unwrap(), second.unwrap()), (Verdict::Wrong, Verdict::Wrong));
        let error = third.unwrap_err();
        assert_eq!((error.kind(), error.reason()), (Kind::Unavailable, "SIGN_IN_BUSY"));
        assert_eq!(hasher.verify(secret(), None).await.unwrap(), Verdict::Wrong, "the places are free again");
    }

    #[tokio::test]
    async fn new_passwords_pass_the_policy_first() {
        let hasher = Hasher::new(Arc::new(SeededRandom::new(1)));
        let hash = hasher.accept("password", secret(), vec!["Ada".into()]).await.unwrap();
        assert_eq!(hasher.verify(secret(), Some(hash)).await.unwrap(), Verdict::Right { outdated: false });
        let error = hasher.accept("password", "short".into(), Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Validation);
        let (temporary, hash) = hasher.temporary(vec!["ada".into()]).await.unwrap();
        assert_eq!(hasher.verify(temporary, Some(hash)).await.unwrap(), Verdict::Right { outdated: false });
    }

    #[tokio::test]
    async fn a_panic_frees_the_places() {
        let hasher = Hasher::with_limits(Arc::new(SeededRandom::new(1)), 1, 0);
        assert_eq!(hasher.run(|| panic!("on purpose")).await.unwrap_err().kind(), Kind::Internal);
        assert_eq!(hasher.run(|| 1).await.unwrap(), 1);
    }
}
