//! The keyring: the secret keys of this installation, in one file next to its data.
//!
//! A text file of lines `purpose id created key`, read at start. What always holds:
//!
//! - nobody but the owner can read the file, or the server refuses it;
//! - a keyring is written whole or not at all, and a start never replaces an existing one, so that of several processes
//!   that start at once all end with the same keys; only a rotation does, adding keys before they are used and dropping
//!   them after;
//! - keys leave memory when they are dropped and never reach logs: [`fmt::Debug`] shows their ids only.

use std::{
    fmt, fs, io,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use chrono::{DateTime, SecondsFormat, SubsecRound as _, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::server::{clock::Clock, random::Random};

mod live;
pub mod rows;
#[cfg(test)]
mod tests;

pub use live::Keys;

const HEADER: &str = "chorus-keyring 1";
const NOTE: &str =
    "# Secret keys of this chorus installation. Keep a copy in a safe place: without them sealed data is lost.";
const MAX_FILE_BYTES: u64 = 64 * 1024;
const ID_BYTES: usize = 8;

/// Length of a key in bytes.
pub const KEY_BYTES: usize = 32;

/// What a key is for. A key serves one purpose only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Signs session tokens.
    TokenSigning,
    /// Seals secrets in the database.
    Sealing,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 2] = [Self::TokenSigning, Self::Sealing];

    /// The purpose of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// The name in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenSigning => "token-signing",
            Self::Sealing => "sealing",
        }
    }
}

/// A secret key with its public id.
#[derive(Clone)]
pub struct Key {
    purpose: Purpose,
    id: String,
    created: DateTime<Utc>,
    secret: Zeroizing<[u8; KEY_BYTES]>,
}

impl Key {
    /// A fresh key.
    pub fn generate(purpose: Purpose, random: &dyn Random, now: DateTime<Utc>) -> Self {
        let mut id = [0; ID_BYTES];
        random.fill(&mut id);
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        random.fill(&mut *secret);
        Self { purpose, id: hex(&id), created: now.trunc_subsecs(0), secret }
    }

    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The public id, which tokens and sealed values carry.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When it was made.
    pub fn created(&self) -> DateTime<Utc> {
        self.created
    }

    /// A public value that only the holder of the key can make, and that says nothing about it.
    pub fn fingerprint(&self) -> String {
        hex(&*self.derive(b"chorus keyring fingerprint 1"))
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.secret
    }

    /// A key for another use, named by the label. It says nothing about this one.
    pub fn derive(&self, label: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
        match Hmac::<Sha256>::new_from_slice(&*self.secret) {
            Ok(mut mac) => {
                mac.update(label);
                Zeroizing::new(mac.finalize().into_bytes().into())
            }
            // HMAC takes keys of any length
            Err(_) => Zeroizing::default(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {}, secret withheld)", self.purpose.as_str(), self.id)
    }
}

/// The keys of this installation: at least one for each purpose.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<Key>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keyring").field(&self.keys).finish()
    }
}

/// Why there is no keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file cannot be read or written.
    #[error("the keyring {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others may read the file.
    #[error(
        "the keyring {path} can be read by others (mode {mode:o}): run `chmod 600 {path}`, \
         and make new keys if others had access",
        path = path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not a keyring. The text says where, never what.
    #[error("the keyring {path} is damaged, {what}: restore it from a copy", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: Damage,
    },
}

/// What is wrong with the text of a keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Another file, or one of a later version.
    #[error("its first line is not \"{HEADER}\"")]
    Header,
    /// Not text, or far too long.
    #[error("it is not a text of a few lines")]
    Text,
    /// A line that is no key.
    #[error("line {0} is not a key")]
    Line(usize),
    /// Two keys with one id.
    #[error("line {0} repeats an id")]
    Repeated(usize),
    /// A purpose without key.
    #[error("it has no key for {}", .0.as_str())]
    Missing(Purpose),
}

impl Keyring {
    /// Fresh keys, one for each purpose.
    pub fn generate(random: &dyn Random, clock: &dyn Clock) -> Self {
        let now = clock.now();
        Self { keys: Purpose::ALL.into_iter().map(|purpose| Key::generate(purpose, random, now)).collect() }
    }

    /// Reads the keyring, or `None` if there is no such file.
    pub fn load(path: &Path) -> Result<Option<Self>, KeyringError> {
        let failed = |source| KeyringError::Io { path: path.to_owned(), source };
        let file = match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        // of the open file: the name may mean another one by the time it is read
        let mode = mode(&file.metadata().map_err(failed)?);
        if mode & 0o077 != 0 {
            return Err(KeyringError::Exposed { path: path.to_owned(), mode });
        }
        let damaged = |what| KeyringError::Damaged { path: path.to_owned(), what };
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES as usize + 1));
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(damaged(Damage::Text));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged(Damage::Text))?;
        Self::parse(text).map(Some).map_err(damaged)
    }

    /// Reads the keyring; makes it if there is none. When another process makes it at the same moment, its keys win.
    pub fn load_or_create(path: &Path, random: &dyn Random, clock: &dyn Clock) -> Result<Self, KeyringError> {
        if let Some(found) = Self::load(path)? {
            return Ok(found);
        }
        let failed = |source| KeyringError::Io { path: path.to_owned(), source };
        let made = Self::generate(random, clock);
        if made.write_new(path).map_err(failed)? {
            return Ok(made);
        }
        Self::load(path)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
    }

    /// Writes the keyring unless the file exists; says whether it did. After a crash the file is whole or absent.
    pub fn write_new(&self, path: &Path) -> io::Result<bool> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match self.to_private_file(folder)?.persist_noclobber(path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(error.error),
        }
        // the entry of the folder must be on disk as well
        fs::File::open(folder)?.sync_all()?;
        Ok(true)
    }

    /// The key of a purpose that new things are made with: the newest, the later line of two of the same second.
    pub fn newest(&self, purpose: Purpose) -> Option<&Key> {
        self.all(purpose).max_by_key(|key| key.created)
    }

    /// Every key of a purpose: what older keys made is still good.
    pub fn all(&self, purpose: Purpose) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| key.purpose == purpose)
    }

    /// The key of this purpose and id.
    pub fn get(&self, purpose: Purpose, id: &str) -> Option<&Key> {
        self.all(purpose).find(|key| key.id == id)
    }

    /// Every key.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// Adds a key. It is the newest of its purpose unless another one is younger.
    pub fn add(&mut self, key: Key) {
        self.keys.push(key);
    }

    /// Removes the key of this id; says whether there was one. The last key of a purpose stays.
    pub fn remove(&mut self, id: &str) -> bool {
        let Some(at) = self.keys.iter().position(|key| key.id == id) else { return false };
        let last = self.all(self.keys[at].purpose).count() == 1;
        if !last {
            self.keys.remove(at);
        }
        !last
    }

    /// Replaces the file by this keyring. After a crash the file is the old one or the new one, whole. It keeps its owner;
    /// a link stays a link.
    pub fn replace(&self, path: &Path) -> io::Result<()> {
        let path = fs::canonicalize(path)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let file = self.to_private_file(folder)?;
        keep_owner(&path, file.path())?;
        file.persist(&path).map_err(|error| error.error)?;
        // the entry of the folder must be on disk as well
        fs::File::open(folder)?.sync_all()
    }

    /// The keyring in a file that has no name yet.
    fn to_private_file(&self, folder: &Path) -> io::Result<tempfile::NamedTempFile> {
        let mut file = private_file(folder)?;
        file.write_all(self.to_text().as_bytes())?;
        file.as_file().sync_all()?;
        Ok(file)
    }

    fn to_text(&self) -> Zeroizing<String> {
        // one allocation that is large enough: a string that grows leaves copies behind
        let mut text = Zeroizing::new(String::with_capacity(HEADER.len() + NOTE.len() + 2 + 160 * self.keys.len()));
        text.push_str(HEADER);
        text.push('\n');
        text.push_str(NOTE);
        text.push('\n');
        for key in &self.keys {
            let secret = Zeroizing::new(BASE64.encode(*key.secret));
            let created = key.created.to_rfc3339_opts(SecondsFormat::Secs, true);
            for part in [key.purpose.as_str(), " ", &key.id, " ", &created, " ", &secret, "\n"] {
                text.push_str(part);
            }
        }
        text
    }

    fn parse(text: &str) -> Result<Self, Damage> {
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(Damage::Header);
        }
        let mut keys: Vec<Key> = Vec::new();
        for (line, number) in lines.zip(2..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = parse_key(line).ok_or(Damage::Line(number))?;
            if keys.iter().any(|known| known.id == key.id) {
                return Err(Damage::Repeated(number));
            }
            keys.push(key);
        }
        match Purpose::ALL.into_iter().find(|&purpose| !keys.iter().any(|key| key.purpose == purpose)) {
            Some(purpose) => Err(Damage::Missing(purpose)),
            None => Ok(Self { keys }),
        }
    }
}

fn parse_key(line: &str) -> Option<Key> {
    let mut parts = line.split(' ');
    let (purpose, id, created, encoded) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let purpose = Purpose::named(purpose)?;
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if parts.next().is_some() || id.len() != 2 * ID_BYTES || !id.bytes().all(lower_hex) {
        return None;
    }
    let created = DateTime::parse_from_rfc3339(created).ok()?.to_utc().trunc_subsecs(0);
    let mut secret = Zeroizing::new([0; KEY_BYTES]);
    // the decoder wants room for the longest text of that length
    let mut room = [0; KEY_BYTES + 2];
    let length = BASE64.decode_slice(encoded, &mut room);
    secret.copy_from_slice(&room[..KEY_BYTES]);
    room.zeroize();
    (length == Ok(KEY_BYTES)).then(|| Key { purpose, id: id.to_owned(), created, secret })
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A new file that only the owner can read, to be given its name later.
fn private_file(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".keys-");
    #[cfg(unix)]
    let builder = builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600));
    builder.tempfile_in(folder)
}

/// Gives a file the owner of another one, which only root needs to do.
#[cfg(unix)]
fn keep_owner(of: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let (of, now) = (fs::metadata(of)?, fs::metadata(to)?);
    match (of.uid(), of.gid()) == (now.uid(), now.gid()) {
        true => Ok(()),
        false => std::os::unix::fs::chown(to, Some(of.uid()), Some(of.gid())),
    }
}

#[cfg(not(unix))]
fn keep_owner(_: &Path, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn mode(metadata: &fs::Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777
}

/// Elsewhere the rights of the folder protect the file.
#[cfg(not(unix))]
fn mode(_: &fs::Metadata) -> u32 {
    0o600
}
