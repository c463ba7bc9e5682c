//! The configuration of the server.
//!
//! ```text
//! key table ─► defaults ─┐
//! --config files ────────┤  checked one by one,   figment    typed
//! CHORUS_* environment ──┼─ where they come from ─────────► [`Config`]
//! flags ─────────────────┘
//! ```
//!
//! What always holds: an unknown key in a file and a bad value anywhere are refused, with their source and the reason; no
//! message, `Debug` or output repeats a password.

use std::{fmt, fs::DirBuilder, net::SocketAddr, os::unix::fs::DirBuilderExt as _, path::PathBuf, time::Duration};

use anyhow::Context as _;
use serde::{Deserialize, Deserializer};

pub mod duration;
mod example;
mod file;
mod foreign;
pub mod keys;
mod load;
pub mod operator;
mod show;
#[cfg(test)]
mod tests;
mod values;

pub use example::example;
pub use load::{Effective, Loaded, Sources, load};
pub use show::show;
pub use values::{AppCommand, CorsOrigin, DatabaseUrl, LogFilter, Network, PublicUrl};

/// The configuration: one field per row of the key table, which says what each means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address of the HTTP listener.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Address of the gRPC listener.
    #[serde(deserialize_with = "address")]
    pub grpc_listen: SocketAddr,
    /// The URL under which browsers reach the HTTP listener.
    #[serde(default, deserialize_with = "values::maybe")]
    pub public_url: Option<PublicUrl>,
    /// Origins whose pages may call the API with the user's cookie.
    #[serde(deserialize_with = "values::many")]
    pub cors_origins: Vec<CorsOrigin>,
    /// Networks of reverse proxies whose forwarding headers are believed.
    #[serde(deserialize_with = "values::many")]
    pub trusted_proxies: Vec<Network>,
    /// The longest that a call may take.
    #[serde(deserialize_with = "duration::deserialize")]
    pub request_timeout: Duration,
    /// How long a stopping server waits for running calls.
    #[serde(deserialize_with = "duration::deserialize")]
    pub shutdown_timeout: Duration,
    /// Where the embedded database and the keyring live.
    pub data_dir: PathBuf,
    /// The keyring file.
    pub keys: PathBuf,
    /// The database.
    #[serde(deserialize_with = "values::one")]
    pub database_url: DatabaseUrl,
    /// The most connections to the database.
    pub database_max_connections: u32,
    /// Whether migrations run at start.
    pub migrate: bool,
    /// User name of the first administrator.
    pub admin_username: String,
    /// File with the password of the first administrator.
    #[serde(default)]
    pub admin_password_file: Option<PathBuf>,
    /// A session ends when it was not used for this long.
    #[serde(deserialize_with = "duration::deserialize")]
    pub session_idle_timeout: Duration,
    /// A session ends this long after the sign-in.
    #[serde(deserialize_with = "duration::deserialize")]
    pub session_max_lifetime: Duration,
    /// The longest that an API token may be made for.
    #[serde(deserialize_with = "duration::deserialize")]
    pub token_max_lifetime: Duration,
    /// Whether the session cookie travels over TLS only.
    pub cookie_secure: CookieSecure,
    /// The SameSite attribute of the session cookie.
    pub cookie_same_site: CookieSameSite,
    /// Whether anybody may create an account.
    pub public_registration: bool,
    /// Tenant of accounts that register themselves.
    #[serde(default)]
    pub registration_tenant: Option<String>,
    /// Whether every user needs an e-mail address.
    pub require_email: bool,
    /// Whether the administrator of a workspace may appoint its data manager.
    pub workspace_admin_can_assign_data_manager: bool,
    /// What runs the desktops.
    pub runtime: Runtime,
    /// Whether the local runtime may run beyond loopback.
    pub insecure_local_runtime: bool,
    /// Shape of the log.
    pub log_format: LogFormat,
    /// What is logged.
    #[serde(deserialize_with = "values::one")]
    pub log_level: LogFilter,
    /// Whether `/metrics` answers.
    pub metrics: bool,
    /// Settings of the local runtime.
    pub local: Local,
    /// Settings of workbenches.
    pub workbench: Workbench,
    /// Settings of workspaces.
    pub workspace: Workspace,
    /// Settings of users.
    pub user: User,
    /// Settings of the operator.
    pub operator: operator::Operator,
    /// Whether this process runs in a cluster; told by the environment, not configured.
    #[serde(skip)]
    pub in_cluster: bool,
}

/// Settings of the local runtime.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// Where desktops keep their files.
    #[serde(default)]
    pub dir: Option<PathBuf>,
    /// The Unix user of desktops when the server runs as root.
    pub user: String,
    /// Which command an app runs.
    #[serde(deserialize_with = "values::many")]
    pub apps: Vec<AppCommand>,
    /// A desktop ends when no server asked for it for this long.
    #[serde(deserialize_with = "duration::deserialize")]
    pub unattended_timeout: Duration,
}

/// Settings of workbenches.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workbench {
    /// One that nobody used for this long is stopped; zero: never.
    #[serde(deserialize_with = "duration::deserialize")]
    pub idle_timeout: Duration,
    /// How long before that its owner is told; zero: not at all.
    #[serde(deserialize_with = "duration::deserialize")]
    pub idle_warning: Duration,
    /// One that was created this long ago is deleted; zero: never.
    #[serde(deserialize_with = "duration::deserialize")]
    pub max_age: Duration,
    /// Whether opening one starts it when it was stopped for idleness.
    pub wake_on_open: bool,
}

/// Settings of workspaces.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workspace {
    /// Whether the creator becomes administrator.
    pub creator_is_admin: bool,
    /// Whether the creator becomes data manager.
    pub creator_is_data_manager: bool,
    /// Added to the id to form the Unix group id.
    pub gid_offset: u32,
}

/// Settings of users.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Added to the id to form the Unix user id.
    pub uid_offset: u32,
}

/// Whether the session cookie travels over TLS only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CookieSecure {
    /// Unless the listener is plain HTTP on loopback.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The SameSite attribute of the session cookie (RFC 6265bis).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CookieSameSite {
    /// Sent when a link leads here.
    Lax,
    /// Sent from our own pages only.
    Strict,
    /// Always sent; needs a secure cookie.
    None,
}

/// What runs the desktops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// The best that is there.
    Auto,
    /// Nothing: workspaces are managed, no desktop starts.
    None,
    /// Processes on this host.
    Local,
    /// A cluster.
    Kubernetes,
}

/// Shape of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    Auto,
    /// Lines for people.
    Human,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// Whether the session cookie gets the `Secure` attribute: as configured, and by itself unless browsers come by plain
    /// HTTP over loopback.
    pub fn secure_cookie(&self) -> bool {
        match self.cookie_secure {
            CookieSecure::Always => true,
            CookieSecure::Never => false,
            CookieSecure::Auto => {
                let over_tls = self.public_url.as_ref().is_some_and(PublicUrl::is_https);
                over_tls || self.cookie_same_site == CookieSameSite::None || !self.listen.ip().is_loopback()
            }
        }
    }

    /// Makes the data directory, readable by its owner only. One that exists stays as it is.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create_data_dir(&self) -> anyhow::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.data_dir).with_context(|| {
            format!("the data directory {} cannot be made; choose another with --data-dir", self.data_dir.display())
        })
    }
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    values::one::<values::Listen, D>(from).map(|listen| listen.0)
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The key table.
    Default,
    /// A file; line 0 when it is not known.
    File {
        /// The path as given.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
    },
    /// An environment variable.
    Variable(String),
    /// A flag, without the dashes.
    Flag(&'static str),
    /// One of the above, already written out.
    Layered(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Layered(text) => f.write_str(text),
        }
    }
}

/// One thing that is wrong: where, which key, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// Which key, unless it is about the whole source.
    pub key: Option<String>,
    /// Why; completes the sentence that starts with the key.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: `{key}`: {}", self.origin, self.reason),
            None => write!(f, "{}: {}", self.origin, self.reason),
        }
    }
}

impl From<figment::Error> for Problem {
    fn from(error: figment::Error) -> Self {
        let origin = error.metadata.as_ref().map_or_else(String::new, |metadata| metadata.name.to_string());
        Self { origin: Origin::Layered(origin), key: Some(error.path.join(".")), reason: error.kind.to_string() }
    }
}

/// Everything that is wrong with the configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is refused:{}", .0.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Whether the command line alone is to blame.
    pub fn only_in_flags(&self) -> bool {
        self.0.iter().all(|problem| matches!(problem.origin, Origin::Flag(_)))
    }
}
