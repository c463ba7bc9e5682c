//! The tokens of the sessions that this account opened.
//!
//! `credentials.yaml` lies next to the profiles, with mode 0600; a file that others can read is refused. A token belongs to
//! one profile and one server, and is never sent to another server than the one that issued it. An API token in a file of
//! the caller's choice is read under the same rule.

use std::{
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::{
    error::{Error, Result},
    profile::{Target, replace},
};

/// The content of `credentials.yaml`.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    #[serde(default)]
    sessions: Vec<Session>,
}

/// One session.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Session {
    profile: String,
    server: String,
    #[serde(serialize_with = "expose")]
    token: SecretString,
}

/// The one place where a token is written out.
fn expose<S: serde::Serializer>(token: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose_secret())
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<_> = self.sessions.iter().map(|s| (&s.profile, &s.server)).collect();
        f.debug_tuple("Credentials").field(&places).finish()
    }
}

impl Credentials {
    /// Reads the file; a missing one is empty, one that others can read is refused.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = file(folder);
        let unreadable = |error: io::Error| Error::failure(format!("cannot read {}: {error}", path.display()));
        match fs::metadata(&path) {
            Ok(metadata) => refuse_shared(&path, &metadata, "sign out and in again")?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(error)),
        }
        let text = fs::read_to_string(&path).map_err(unreadable)?;
        // the parser's error would quote the text, and with it a token
        serde_saphyr::from_str(&text).map_err(|_| {
            Error::failure(format!("{} is damaged", path.display()))
                .hint("delete it and sign in again with `chorus login`")
        })
    }

    /// Replaces the file.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let text = serde_saphyr::to_string(self)
            .map_err(|_| Error::failure(format!("cannot write {}", file(folder).display())))?;
        replace(&file(folder), &text)
    }

    /// The token for this profile and this server.
    pub fn token(&self, target: &Target) -> Option<&SecretString> {
        self.sessions.iter().find(|session| session.is_for(target)).map(|session| &session.token)
    }

    /// Keeps a token, in place of an earlier one.
    pub fn put(&mut self, target: &Target, token: SecretString) {
        self.remove(target);
        self.sessions.push(Session { profile: target.profile.clone(), server: target.address().to_owned(), token });
    }

    /// Forgets a token.
    pub fn remove(&mut self, target: &Target) {
        self.sessions.retain(|session| !session.is_for(target));
    }
}

impl Session {
    fn is_for(&self, target: &Target) -> bool {
        self.profile == target.profile && self.server == target.address()
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("credentials.yaml")
}

/// The most that a file with one token may hold; more is another file.
const MAX_TOKEN_FILE: u64 = 16 << 10;

/// Reads the token in a file, which only the owner may read.
pub fn token_file(path: &Path) -> Result<SecretString> {
    let shown = path.display();
    let unreadable = |error: io::Error| Error::failure(format!("cannot read --token-file {shown}: {error}"));
    let metadata = fs::metadata(path).map_err(unreadable)?;
    refuse_shared(path, &metadata, "revoke the token and make another one")?;
    let mut text = zeroize::Zeroizing::new(String::new());
    fs::File::open(path).and_then(|file| file.take(MAX_TOKEN_FILE).read_to_string(&mut text)).map_err(unreadable)?;
    match text.trim() {
        "" => Err(Error::failure(format!("--token-file {shown} is empty"))),
        token if token.contains(|c: char| !c.is_ascii_graphic()) => {
            Err(Error::failure(format!("--token-file {shown} holds more than a token")))
        }
        token => Ok(token.into()),
    }
}

#[cfg(unix)]
fn refuse_shared(path: &Path, metadata: &fs::Metadata, remedy: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::failure(format!("{} can be read by others (mode {mode:04o})", path.display()))
        .hint(format!("run `chmod 600 {}`; if others may have read it, {remedy}", path.display())))
}

#[cfg(not(unix))]
fn refuse_shared(_: &Path, _: &fs::Metadata, _: &str) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(profile: &str, server: &str) -> Target {
        Target { profile: profile.to_owned(), server: server.parse().unwrap(), username: None, ca_file: None }
    }

    #[test]
    fn a_token_is_for_one_profile_and_one_server() {
        let mut credentials = Credentials::default();
        credentials.put(&target("lab", "https://a.example.org"), "t1".into());
        let token = |c: &Credentials, p, s| c.token(&target(p, s)).map(|t| t.expose_secret().to_owned());
        assert_eq!(token(&credentials, "lab", "https://a.example.org/").as_deref(), Some("t1"));
        assert_eq!(token(&credentials, "lab", "https://a.example.org:5555"), None);
        assert_eq!(token(&credentials, "lab", "https://b.example.org"), None);
        assert_eq!(token(&credentials, "other", "https://a.example.org"), None);
        credentials.put(&target("lab", "https://a.example.org"), "t2".into());
        assert_eq!(token(&credentials, "lab", "https://a.example.org").as_deref(), Some("t2"));
        credentials.remove(&target("lab", "https://a.example.org"));
        assert_eq!(token(&credentials, "lab", "https://a.example.org"), None);
    }

    #[test]
    fn the_file_is_private_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let here = target("lab", "https://a.example.org");
        let mut credentials = Credentials::default();
        credentials.put(&here, "s3cret".into());
        credentials.save(folder.path()).unwrap();
        let read = Credentials::load(folder.path()).unwrap();
        assert_eq!(read.token(&here).unwrap().expose_secret(), "s3cret");
        assert!(!format!("{read:?}").contains("s3cret"));
        fs::write(file(folder.path()), "sessions: [{token: s3cret").unwrap();
        let error = Credentials::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is damaged") && !error.contains("s3cret"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        Credentials::default().save(folder.path()).unwrap();
        let path = file(folder.path());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for mode in [0o640, 0o604, 0o660, 0o666, 0o610] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = Credentials::load(folder.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("(mode {mode:04o})")) && error.contains("chmod 600"), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        Credentials::load(folder.path()).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_token_in_a_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let write = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            token_file(&path).map(|token| token.expose_secret().to_owned()).map_err(|error| error.to_string())
        };
        assert!(token_file(&path).unwrap_err().to_string().contains("cannot read --token-file"));
        assert_eq!(write("chorus_x\n", 0o600).as_deref(), Ok("chorus_x"));
        assert!(write("chorus_x\n", 0o640).unwrap_err().contains("revoke the token"));
        assert!(write(" \n", 0o600).unwrap_err().contains("is empty"));
        for text in ["chorus_x\nchorus_y\n", "token: chorus_x", &"x y".repeat(10_000)] {
            let error = write(text, 0o600).unwrap_err();
            assert!(error.contains("more than a token") && !error.contains("chorus_"), "{error}");
        }
    }
}
