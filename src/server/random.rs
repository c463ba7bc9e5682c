//! The source of randomness, as a parameter: ids, salts and passwords are predictable in tests and nowhere else.

use std::sync::Mutex;

use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

/// Fills bytes with randomness fit for keys.
pub trait Random: Send + Sync + 'static {
    /// Fills the whole slice.
    fn fill(&self, to: &mut [u8]);

    /// A fresh version-4 UUID (RFC 9562).
    fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// A generator seeded by the operating system (ChaCha, reseeded per thread by the `rand` crate).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's randomness")]
    fn fill(&self, to: &mut [u8]) {
        rand::rng().fill_bytes(to);
    }
}

/// A generator that repeats itself for a seed. For tests.
#[derive(Debug)]
pub struct SeededRandom(Mutex<StdRng>);

impl SeededRandom {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Random for SeededRandom {
    fn fill(&self, to: &mut [u8]) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).fill_bytes(to);
    }
}
