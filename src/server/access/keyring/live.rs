//! The keyring of a running server: it follows a rotation without a restart.
//!
//! Which key new things are made with is said by the database, so that all replicas change over at once; the file has the
//! keys themselves. The file is read again when it has changed and a key is asked for that memory lacks, or when the
//! database says that access changed, which a rotation does. Whoever can write the file could start a server with it, so a
//! running one believes it as well.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};

use super::{
    Key, Keyring, Purpose,
    rows::{self, Known},
};
use crate::server::{db::Db, error::Result};

/// The keys of this server, as they are now.
pub struct Keys {
    path: Option<PathBuf>,
    state: RwLock<State>,
}

struct State {
    ring: Arc<Keyring>,
    /// What the database knows; nothing for keys without a database.
    known: Option<Arc<[Known]>>,
    stamp: Option<Stamp>,
}

/// What tells that a file was replaced.
#[derive(PartialEq, Eq, Clone, Copy)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Keys {
    /// Keys that never change.
    pub fn fixed(ring: Keyring) -> Arc<Self> {
        Self::with(None, ring)
    }

    /// The keys of this file, which were read from it just now.
    pub fn of_file(path: PathBuf, ring: Keyring) -> Arc<Self> {
        Self::with(Some(path), ring)
    }

    fn with(path: Option<PathBuf>, ring: Keyring) -> Arc<Self> {
        let state = RwLock::new(State { ring: Arc::new(ring), known: None, stamp: None });
        Arc::new(Self { path, state })
    }

    /// The key of this purpose and id.
    pub fn get(&self, purpose: Purpose, id: &str) -> Option<Key> {
        let known = |ring: &Keyring| ring.get(purpose, id).cloned();
        known(&self.ring()).or_else(|| {
            self.reread();
            known(&self.ring())
        })
    }

    /// The key that new things are made with: the one that the database names. A server whose file lacks it yet goes on with
    /// the newest that the database knows; one that was idle while all those were dropped, with the newest of the file.
    pub fn active(&self, purpose: Purpose) -> Option<Key> {
        let known = self.state.read().unwrap_or_else(PoisonError::into_inner).known.clone();
        let Some(known) = known else { return self.ring().newest(purpose).cloned() };
        let named = known.iter().find(|row| row.retired_at.is_none() && row.purpose == purpose.as_str());
        let key = named.and_then(|row| self.get(purpose, &row.id).filter(|key| row.is(key)));
        key.or_else(|| {
            let ring = self.ring();
            let vouched = ring.all(purpose).filter(|key| known.iter().any(|row| row.is(key)));
            vouched.max_by_key(|key| key.created()).or_else(|| ring.newest(purpose)).cloned()
        })
    }

    /// Learns from the database which keys are active, and looks at the file.
    pub async fn follow(&self, db: &Db) -> Result<()> {
        let known = rows::all(db).await?;
        self.state.write().unwrap_or_else(PoisonError::into_inner).known = Some(known.into());
        self.reread();
        Ok(())
    }

    fn ring(&self) -> Arc<Keyring> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).ring.clone()
    }

    /// Takes over the keys of the file, if it has changed.
    fn reread(&self) {
        let Some(path) = self.path.as_deref() else { return };
        let Ok(metadata) = fs::metadata(path) else { return };
        let stamp = Some(Stamp::of(&metadata));
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.stamp == stamp {
            return;
        }
        // whatever it holds, it is looked at once
        state.stamp = stamp;
        match Keyring::load(path) {
            Ok(Some(ring)) => state.ring = Arc::new(ring),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(target: "chorus::keyring", %error, "the keyring has changed and cannot be read");
            }
        }
    }
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self { modified: metadata.modified().ok(), length: metadata.len(), inode }
    }
}
