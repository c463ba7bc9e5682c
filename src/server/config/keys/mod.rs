//! The table of every configuration key.
//!
//! All that is said about a key is said here once: its name, kind, default, help. Files, environment, flags, `chorus config
//! show` and `chorus config example` all read this table; the typed [`Config`](super::Config) has one field per row, and
//! tests hold the two together.

use std::sync::LazyLock;

use super::{
    duration,
    values::{AppCommand, CorsOrigin, DatabaseUrl, Listen, LogFilter, Network, PublicUrl, UserName, check},
};

mod operator;

/// A rule on the text of a value; its error completes the sentence "the value …".
pub type Rule = fn(&str) -> Result<(), String>;

/// One configuration key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name in files; a dot separates a section from its keys.
    pub name: &'static str,
    /// The flag, without the dashes.
    pub flag: &'static str,
    /// What a value may look like.
    pub kind: Kind,
    /// The value when nothing is configured.
    pub default: DefaultValue,
    /// Whether the value may hold a secret, so that no message may repeat it.
    pub secret: bool,
    /// The rule beyond the kind, applied to the text of the value (of each element, for a list).
    pub rule: Option<Rule>,
    /// One or two sentences for `--help` and the example file.
    pub help: &'static str,
}

/// The kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text; the word names it in help, as in `--listen <ADDRESS>`.
    Text(&'static str),
    /// A list of texts: a YAML list, a repeated flag, or text with commas.
    List(&'static str),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// A whole number in this range, ends included.
    Number(u32, u32),
    /// A length of time such as `30s`; `0s` is refused unless the flag says otherwise.
    Duration {
        /// Whether `0s` makes sense.
        zero: bool,
    },
}

/// What holds when nothing is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// This value, written as on the command line.
    Value(&'static str),
    /// Computed from another key; the text says how.
    Derived(&'static str),
    /// Nothing.
    Unset,
}

impl Key {
    /// The environment variable: `operator.leader_elect` → `CHORUS_OPERATOR_LEADER_ELECT`.
    pub fn variable(&self) -> String {
        format!("CHORUS_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// The section in front of the last dot, and the name behind it.
    pub fn split(&self) -> (Option<&'static str>, &'static str) {
        match self.name.rsplit_once('.') {
            Some((section, name)) => (Some(section), name),
            None => (None, self.name),
        }
    }

    /// Whether it is of the operator, whose flags `chorus operator` has. That which switches it on is a flag of `serve`.
    pub fn is_of_operator(&self) -> bool {
        self.name.starts_with("operator.") && self.name != "operator.enabled"
    }

    /// The key of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    const fn new(
        name: &'static str,
        flag: &'static str,
        kind: Kind,
        default: DefaultValue,
        help: &'static str,
    ) -> Self {
        Self { name, flag, kind, default, secret: false, rule: None, help }
    }

    const fn rule(mut self, rule: Rule) -> Self {
        self.rule = Some(rule);
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

use DefaultValue::{Derived, Unset, Value};
use Kind::{Bool, Choice, Duration, List, Number, Text};

/// Every key, in the order in which people read them. Top-level keys come before the sections, as YAML wants it.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| [SERVER, operator::KEYS].concat());

/// All but those of the operator.
static SERVER: &[Key] = &[
    // where it listens
    Key::new(
        "listen",
        "listen",
        Text("ADDRESS"),
        Value("127.0.0.1:5000"),
        "Address and port of the HTTP listener: REST, gRPC-web, documentation, metrics, health.",
    )
    .rule(check::<Listen>),
    Key::new(
        "grpc_listen",
        "grpc-listen",
        Text("ADDRESS"),
        Value("127.0.0.1:5555"),
        "Address and port of the gRPC listener.",
    )
    .rule(check::<Listen>),
    Key::new(
        "public_url",
        "public-url",
        Text("URL"),
        Unset,
        "The URL under which browsers reach the HTTP listener, when a proxy stands in front of it.",
    )
    .rule(check::<PublicUrl>),
    Key::new(
        "cors_origins",
        "cors-origin",
        List("ORIGIN"),
        Value(""),
        "Origins (scheme, host and port, compared exactly) whose pages may call the API with the user's cookie.",
    )
    .rule(check::<CorsOrigin>),
    Key::new(
        "trusted_proxies",
        "trusted-proxy",
        List("NETWORK"),
        Value(""),
        "Networks of the reverse proxies whose forwarding headers are believed, such as 10.0.0.0/8.",
    )
    .rule(check::<Network>),
    Key::new(
        "request_timeout",
        "request-timeout",
        Duration { zero: false },
        Value("30s"),
        "The longest that a call may take; streams are exempt.",
    ),
    Key::new(
        "shutdown_timeout",
        "shutdown-timeout",
        Duration { zero: true },
        Value("20s"),
        "How long a stopping server waits for the calls that still run.",
    ),
    // where it keeps things
    Key::new(
        "data_dir",
        "data-dir",
        Text("DIRECTORY"),
        Value("./chorus-data"),
        "Where the embedded database and the keyring live. Made with mode 0700 when it does not exist.",
    )
    .rule(not_empty),
    Key::new(
        "keys",
        "keys",
        Text("FILE"),
        Derived("the file `keys` in data_dir"),
        "The keyring with the keys that sign tokens and seal secrets. Back it up: sealed data is lost with it.",
    )
    .rule(not_empty),
    Key::new(
        "database_url",
        "database-url",
        Text("URL"),
        Derived("the SQLite file `chorus.db` in data_dir"),
        "The database: postgres://USER:PASSWORD@HOST/NAME, or sqlite:FILE.",
    )
    .rule(check::<DatabaseUrl>)
    .secret(),
    Key::new(
        "database_max_connections",
        "database-max-connections",
        Number(1, 1000),
        Value("10"),
        "The most connections to the database that this process opens.",
    ),
    Key::new("migrate", "migrate", Bool, Value("true"), "Bring the database schema up to date at start."),
    // the first administrator
    Key::new(
        "admin_username",
        "admin-username",
        Text("NAME"),
        Value("chorus"),
        "User name of the administrator that the first start creates.",
    )
    .rule(check::<UserName>),
    Key::new(
        "admin_password_file",
        "admin-password-file",
        Text("FILE"),
        Unset,
        "File with the password of that administrator. Without it, a random one is printed once.",
    )
    .rule(not_empty),
    // sign-in
    Key::new(
        "session_idle_timeout",
        "session-idle-timeout",
        Duration { zero: false },
        Value("12h"),
        "A session ends when it was not used for this long.",
    ),
    Key::new(
        "session_max_lifetime",
        "session-max-lifetime",
        Duration { zero: false },
        Value("7d"),
        "A session ends this long after the sign-in, however much it is used. At most 366 days.",
    ),
    Key::new(
        "token_max_lifetime",
        "token-max-lifetime",
        Duration { zero: false },
        Value("365d"),
        "The longest that an API token may be made for. Tokens that exist keep the end that they were made with.",
    ),
    Key::new(
        "cookie_secure",
        "cookie-secure",
        Choice(&["auto", "always", "never"]),
        Value("auto"),
        "Whether browsers send the session cookie over TLS only. `auto`: yes, unless the listener is plain HTTP on loopback.",
    ),
    Key::new(
        "cookie_same_site",
        "cookie-same-site",
        Choice(&["lax", "strict", "none"]),
        Value("lax"),
        "The SameSite attribute of the session cookie.",
    ),
    Key::new(
        "public_registration",
        "public-registration",
        Bool,
        Value("false"),
        "Whether anybody may create an account without being signed in.",
    ),
    Key::new(
        "registration_tenant",
        "registration-tenant",
        Text("TENANT"),
        Unset,
        "Tenant of accounts that register themselves; the default tenant when not set.",
    )
    .rule(not_empty),
    Key::new("require_email", "require-email", Bool, Value("false"), "Whether every user needs an e-mail address."),
    // who may do what
    Key::new(
        "workspace_admin_can_assign_data_manager",
        "workspace-admin-can-assign-data-manager",
        Bool,
        Value("true"),
        "Whether the administrator of a workspace may appoint its data manager.",
    ),
    // what runs the desktops
    Key::new(
        "runtime",
        "runtime",
        Choice(&["auto", "none", "local", "kubernetes"]),
        Value("auto"),
        "What runs the desktops. `local`: processes on this host, without isolation, for evaluation. `auto`: local with the \
         embedded database, loopback listeners, outside a cluster and with xpra installed; none otherwise.",
    )
    .rule(runtime_is_built),
    Key::new(
        "insecure_local_runtime",
        "insecure-local-runtime",
        Bool,
        Value("false"),
        "Let the local runtime run although this server listens beyond loopback. Its desktops are not isolated.",
    ),
    // what it tells
    Key::new(
        "log_format",
        "log-format",
        Choice(&["auto", "human", "json"]),
        Value("auto"),
        "Shape of the log on standard error. `auto`: human on a terminal, JSON otherwise.",
    ),
    Key::new(
        "log_level",
        "log-level",
        Text("FILTER"),
        Value("info"),
        "What is logged: off, error, warn, info, debug, trace, or a filter such as info,chorus::server=debug.",
    )
    .rule(check::<LogFilter>),
    Key::new("metrics", "metrics", Bool, Value("true"), "Whether the HTTP listener answers /metrics for Prometheus."),
    // sections
    Key::new(
        "local.dir",
        "local-dir",
        Text("DIRECTORY"),
        Derived("`desktops` in the data directory; for root a folder in /var/lib/chorus-desktops"),
        "Where the local runtime keeps the files of desktops. Those of root's desktops, which do not run as root, are not in \
         the data directory, which is closed to them.",
    )
    .rule(not_empty),
    Key::new(
        "local.user",
        "local-user",
        Text("NAME"),
        Value("nobody"),
        "The Unix user that the local runtime's desktops run as when the server runs as root. They never run as root.",
    )
    .rule(not_empty),
    Key::new(
        "local.apps",
        "local-app",
        List("IMAGE=COMMAND"),
        Value(""),
        "Which command an app runs in the local runtime, by the name of its image: apps/editor=mousepad. A command with \
         arguments is split at white space.",
    )
    .rule(check::<AppCommand>),
    Key::new(
        "local.unattended_timeout",
        "local-unattended-timeout",
        Duration { zero: false },
        Value("10m"),
        "A desktop of the local runtime ends when no server asked for it for this long.",
    ),
    Key::new(
        "workbench.idle_timeout",
        "workbench-idle-timeout",
        Duration { zero: true },
        Value("24h"),
        "A workbench that nobody used for this long is stopped; its files stay. `0s`: never.",
    ),
    Key::new(
        "workbench.idle_warning",
        "workbench-idle-warning",
        Duration { zero: true },
        Value("1h"),
        "How long before that its owner is told. `0s`: not at all.",
    ),
    Key::new(
        "workbench.max_age",
        "workbench-max-age",
        Duration { zero: true },
        Value("0s"),
        "A workbench that was created this long ago is deleted with its files. `0s`: never.",
    ),
    Key::new(
        "workbench.wake_on_open",
        "workbench-wake-on-open",
        Bool,
        Value("true"),
        "Whether opening a workbench starts it again when it was stopped because nobody used it.",
    ),
    Key::new(
        "workspace.creator_is_admin",
        "workspace-creator-is-admin",
        Bool,
        Value("true"),
        "Whether who creates a workspace becomes its administrator.",
    ),
    Key::new(
        "workspace.creator_is_data_manager",
        "workspace-creator-is-data-manager",
        Bool,
        Value("true"),
        "Whether who creates a workspace becomes its data manager.",
    ),
    Key::new(
        "workspace.gid_offset",
        "workspace-gid-offset",
        Number(0, 2_000_000_000),
        Value("0"),
        "Added to the id of a workspace to form its Unix group id.",
    ),
    Key::new(
        "user.uid_offset",
        "user-uid-offset",
        Number(0, 2_000_000_000),
        Value("0"),
        "Added to the id of a user to form the Unix user id.",
    ),
];

fn not_empty(text: &str) -> Result<(), String> {
    if text.trim().is_empty() { Err("must not be empty".to_owned()) } else { Ok(()) }
}

fn runtime_is_built(text: &str) -> Result<(), String> {
    match text {
        "kubernetes" => Err("is not built yet; use `local` for evaluation, or `none`".to_owned()),
        _ => Ok(()),
    }
}

impl Kind {
    /// Checks the text of a value of this kind.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Text(_) | Self::List(_) => Ok(()),
            Self::Choice(words) if words.contains(&text) => Ok(()),
            Self::Choice(words) => Err(format!("is not one of {}", words.join(", "))),
            Self::Bool => text.parse::<bool>().map(drop).map_err(|_| "is neither true nor false".to_owned()),
            Self::Number(min, max) => match text.parse::<u32>() {
                Ok(number) if (min..=max).contains(&number) => Ok(()),
                _ => Err(format!("is not a whole number from {min} to {max}")),
            },
            Self::Duration { zero } => match duration::parse(text)? {
                length if length.is_zero() && !zero => Err("must be longer than nothing".to_owned()),
                _ => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_flags_and_variables_are_unique_and_well_formed() {
        let names: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        let flags: BTreeSet<_> = KEYS.iter().map(|key| key.flag).collect();
        let variables: BTreeSet<_> = KEYS.iter().map(Key::variable).collect();
        assert_eq!((names.len(), flags.len(), variables.len()), (KEYS.len(), KEYS.len(), KEYS.len()));
        for key in KEYS.iter() {
            assert!(key.name.chars().all(|c| matches!(c, 'a'..='z' | '_' | '.')), "{}", key.name);
            let derived = key.name.trim_start_matches("operator.").replace(['.', '_'], "-");
            let derived = if key.name == "operator.enabled" { "operator".to_owned() } else { derived };
            assert_eq!(key.flag, if let Kind::List(_) = key.kind { singular(&derived) } else { derived });
            assert!(key.help.ends_with('.'), "the help of {} is not a sentence", key.name);
        }
    }

    fn singular(name: &str) -> String {
        name.strip_suffix("ies").map_or_else(|| name.trim_end_matches('s').to_owned(), |stem| format!("{stem}y"))
    }

    #[test]
    fn variables_are_the_name_in_capitals() {
        let variable = |name| Key::find(name).unwrap().variable();
        assert_eq!(variable("data_dir"), "CHORUS_DATA_DIR");
        assert_eq!(variable("workspace.creator_is_data_manager"), "CHORUS_WORKSPACE_CREATOR_IS_DATA_MANAGER");
    }

    #[test]
    fn a_section_is_not_interrupted() {
        let mut sections: Vec<_> = KEYS.iter().map(|key| key.split().0).collect();
        sections.dedup();
        let distinct: BTreeSet<_> = sections.iter().collect();
        assert_eq!(distinct.len(), sections.len());
        assert_eq!(sections.first(), Some(&None), "top-level keys come first");
    }
}
