//! Which server to talk to, and as whom.
//!
//! `config.yaml` under the XDG configuration folder holds named profiles and which of them is current. Each setting is
//! taken from the first place that states it: flag, environment (`CHORUS_SERVER`, `CHORUS_PROFILE`), profile, default. The
//! file holds no secret; tokens are in [`super::credentials`].

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use etcetera::base_strategy::{BaseStrategy as _, Xdg};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::{
    Globals,
    error::{Error, Result},
};

/// The server when nothing else is said.
const DEFAULT_SERVER: &str = "http://127.0.0.1:5555";
/// The profile when nothing else is said.
const DEFAULT_PROFILE: &str = "default";

/// The content of `config.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profiles {
    /// The profile that is used unless another is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// The profiles by name.
    #[serde(default)]
    pub profiles: BTreeMap<String, Profile>,
}

/// One server, and who signs in there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The address of the gRPC listener.
    pub server: String,
    /// The user name of the last sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The certificates to trust instead of those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl Profiles {
    /// Reads the file; a missing one is empty.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = file(folder);
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => Ok(Self::default()),
            Ok(text) => serde_saphyr::from_str(&text)
                .map_err(|error| Error::usage(format!("cannot read {}: {error}", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::failure(format!("cannot read {}: {error}", path.display()))),
        }
    }

    /// Replaces the file.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let text = serde_saphyr::to_string(self).map_err(|error| Error::failure(error.to_string()))?;
        replace(&file(folder), &text)
    }
}

/// Where the client keeps its files: `$XDG_CONFIG_HOME/chorus`, or `~/.config/chorus`.
pub fn folder() -> Result<PathBuf> {
    match Xdg::new() {
        Ok(folders) => Ok(folders.config_dir().join("chorus")),
        Err(_) => Err(Error::failure("this account has no home folder to keep a configuration in").hint("set HOME")),
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("config.yaml")
}

/// Writes a file in one step, readable for its owner only.
pub(super) fn replace(path: &Path, text: &str) -> Result<()> {
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        create_folder(folder)?;
        // a temporary file has mode 0600, and keeps it under its new name
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error| Error::failure(format!("cannot write {}: {error}", path.display())))
}

/// Keeps other commands of this account from changing the files, until the lock is dropped.
pub fn lock(folder: &Path) -> Result<fs::File> {
    let path = folder.join("lock");
    let lock = || -> io::Result<fs::File> {
        create_folder(folder)?;
        let file = fs::File::create(&path)?;
        file.lock()?;
        Ok(file)
    };
    lock().map_err(|error| Error::failure(format!("cannot lock {}: {error}", path.display())))
}

fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

/// The server that a command talks to, after all places were looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The name of the profile.
    pub profile: String,
    /// The address of the gRPC listener.
    pub server: Url,
    /// The user name of the last sign-in there.
    pub username: Option<String>,
    /// The certificates to trust instead of those of the system.
    pub ca_file: Option<PathBuf>,
}

impl Target {
    /// Looks at `globals` (flags and environment), then at the profile.
    pub fn choose(globals: &Globals, profiles: &Profiles) -> Result<Self> {
        let (named, server) = (globals.profile.clone(), globals.server.as_deref());
        let profile = named.clone().or_else(|| profiles.current.clone()).unwrap_or_else(|| DEFAULT_PROFILE.to_owned());
        let known = profiles.profiles.get(&profile);
        if known.is_none() && named.is_some() && server.is_none() {
            return Err(unknown_profile(&profile, profiles));
        }
        let server = server.or(known.map(|p| p.server.as_str())).unwrap_or(DEFAULT_SERVER);
        let server = parse_server(server)?;
        if server.scheme() == "http" && !is_loopback(&server) && !globals.insecure_plaintext {
            return Err(Error::usage(format!("refusing to send credentials to {server} without encryption"))
                .hint("use https://, or --insecure-plaintext if the network in between is trusted"));
        }
        Ok(Self {
            // what a profile says about its server does not hold for another one
            username: known.filter(|p| same_server(&p.server, &server)).and_then(|p| p.username.clone()),
            ca_file: globals.ca_file.clone().or_else(|| known.and_then(|p| p.ca_file.clone())),
            profile,
            server,
        })
    }

    /// The address without a trailing slash, as people write it; tokens are kept under it.
    pub fn address(&self) -> &str {
        self.server.as_str().trim_end_matches('/')
    }
}

fn unknown_profile(name: &str, profiles: &Profiles) -> Error {
    let known: Vec<_> = profiles.profiles.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
    Error::usage(format!("there is no profile {name}"))
        .hint(format!("`chorus login --profile {name} --server URL` makes it; there are: {known}"))
}

fn same_server(text: &str, server: &Url) -> bool {
    parse_server(text).is_ok_and(|url| url == *server)
}

/// An address of scheme, host and port, nothing else.
fn parse_server(text: &str) -> Result<Url> {
    let refuse = |why: &str| {
        Err(Error::usage(format!("the server address {text:?} {why}"))
            .hint("it looks like http://127.0.0.1:5555 or https://chorus.example.org"))
    };
    let Ok(url) = Url::parse(text) else { return refuse("is not a URL") };
    match url.scheme() {
        "http" | "https" if url.host().is_none() => refuse("has no host"),
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
            Err(Error::usage("the server address must not hold a user name or password")
                .hint("sign in with `chorus login`"))
        }
        "http" | "https" if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => {
            refuse("must end after host and port")
        }
        "http" | "https" => Ok(url),
        _ => refuse("must begin with http:// or https://"),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles() -> Profiles {
        let profile =
            |server: &str| Profile { server: server.to_owned(), username: Some("ada".to_owned()), ca_file: None };
        Profiles {
            current: Some("lab".to_owned()),
            profiles: BTreeMap::from([
                ("lab".to_owned(), profile("https://lab.example.org")),
                ("here".to_owned(), profile("http://localhost:7777")),
            ]),
        }
    }

    fn globals(profile: Option<&str>, server: Option<&str>) -> Globals {
        Globals { profile: profile.map(str::to_owned), server: server.map(str::to_owned), ..Globals::default() }
    }

    #[test]
    fn the_first_place_that_states_it_wins() {
        let table = [
            (None, None, Profiles::default(), "default", "http://127.0.0.1:5555", None),
            (None, None, profiles(), "lab", "https://lab.example.org", Some("ada")),
            (Some("here"), None, profiles(), "here", "http://localhost:7777", Some("ada")),
            (None, Some("https://b.example.org"), profiles(), "lab", "https://b.example.org", None),
            (None, Some("https://LAB.example.org:443/"), profiles(), "lab", "https://lab.example.org", Some("ada")),
            (Some("new"), Some("https://c.example.org"), profiles(), "new", "https://c.example.org", None),
        ];
        for (profile, server, profiles, expected_profile, expected_server, username) in table {
            let target = Target::choose(&globals(profile, server), &profiles).unwrap();
            assert_eq!(target.profile, expected_profile);
            assert_eq!(target.address(), expected_server);
            assert_eq!(target.username.as_deref(), username);
        }
    }

    #[test]
    fn bad_addresses_are_refused() {
        let table = [
            ("chorus.example.org", "is not a URL"),
            ("127.0.0.1:5555", "is not a URL"),
            ("ftp://example.org", "must begin with"),
            ("https://example.org/api", "must end after host and port"),
            ("https://ada:secret@example.org", "must not hold a user name or password"),
            ("http://10.0.0.1:5555", "without encryption"),
            ("http://example.org", "without encryption"),
        ];
        for (server, why) in table {
            let error = Target::choose(&globals(None, Some(server)), &Profiles::default()).unwrap_err();
            assert!(error.to_string().contains(why), "{server}: {error}");
            assert!(!error.to_string().contains("secret@"), "{error}");
        }
        for server in ["http://localhost:1", "http://[::1]:5555", "http://127.9.9.9", "https://example.org"] {
            Target::choose(&globals(None, Some(server)), &Profiles::default()).unwrap();
        }
    }

    #[test]
    fn an_unknown_profile_needs_a_server() {
        let error = Target::choose(&globals(Some("nowhere"), None), &profiles()).unwrap_err();
        assert!(error.to_string().contains("there are: here, lab"), "{error}");
    }

    #[test]
    fn the_file_survives_a_round_trip_and_names_what_it_does_not_know() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Profiles::load(folder.path()).unwrap(), Profiles::default());
        profiles().save(folder.path()).unwrap();
        assert_eq!(Profiles::load(folder.path()).unwrap(), profiles());
        fs::write(file(folder.path()), "curent: lab\n").unwrap();
        assert!(Profiles::load(folder.path()).unwrap_err().to_string().contains("curent"));
    }
}
