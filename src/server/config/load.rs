//! From the sources to the [`Config`]: defaults < files < environment < flags.
//!
//! Every value is checked where it comes from, before it is layered, so that a refusal names its source even when a later
//! layer would have hidden it, and so that all refusals are reported together. What is good goes through figment, which
//! layers it and remembers where each value came from.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, sync::LazyLock, time::Duration};

use figment::{
    Figment, Metadata, Profile, Provider,
    value::{Dict, Empty, Map, Tag, Value},
};
use regex::Regex;

use super::{
    Config, CookieSameSite, CookieSecure, Origin, Problem, Problems, file,
    keys::{DefaultValue, KEYS, Key, Kind},
    values::DatabaseUrl,
};

/// Where configuration may come from.
#[derive(Debug, Default)]
pub struct Sources {
    /// YAML files; later ones win.
    pub files: Vec<PathBuf>,
    /// The environment of the process; only names with `CHORUS_` are looked at.
    pub environment: Vec<(OsString, OsString)>,
    /// The flags that were given, with their values.
    pub flags: Vec<(&'static Key, Vec<String>)>,
}

/// The configuration, and what there is to tell about it.
#[derive(Debug)]
pub struct Loaded {
    /// The typed configuration.
    pub config: Config,
    /// Every key with its value and origin, in the order of the key table.
    pub effective: Vec<Effective>,
    /// `CHORUS_*` variables that mean nothing; one warning lists them.
    pub ignored: Vec<String>,
}

/// A key with the value that holds.
#[derive(Debug)]
pub struct Effective {
    /// The key.
    pub key: &'static Key,
    /// The value; `Value::Empty` for a key without one.
    pub value: Value,
    /// Where the value came from.
    pub origin: String,
}

/// Loads the configuration, or tells everything that is wrong with it.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let mut settings: Vec<Setting> = KEYS.iter().filter_map(default).collect();
    for path in &sources.files {
        settings.extend(file::read(path, &mut problems));
    }
    let ignored = environment(&sources.environment, &mut settings, &mut problems);
    for (key, values) in &sources.flags {
        let values = values.iter().map(String::as_str);
        let raw = if let Kind::List(_) = key.kind {
            values.flat_map(comma_separated).collect()
        } else {
            values.map(str::to_owned).collect()
        };
        add(key, raw, Origin::Flag(key.flag), &mut settings, &mut problems);
    }
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    let figment = derive(settings.into_iter().fold(Figment::new(), Figment::merge));
    let mut config =
        figment.extract::<Config>().map_err(|error| Problems(error.into_iter().map(Problem::from).collect()))?;
    // Kubernetes sets this in every container
    config.in_cluster = sources.environment.iter().any(|(name, _)| name == "KUBERNETES_SERVICE_HOST");
    let effective: Vec<_> = KEYS.iter().map(|key| effective(&figment, key)).collect();
    let conflicts = conflicts(&config, &effective);
    if conflicts.is_empty() { Ok(Loaded { config, effective, ignored }) } else { Err(Problems(conflicts)) }
}

/// A value for a key from one source: one provider each, so that figment knows the origin of every single value.
#[derive(Debug)]
pub(super) struct Setting {
    key: &'static Key,
    value: Value,
    origin: Origin,
}

impl Provider for Setting {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.to_string())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let dict = figment::util::nest(self.key.name, self.value.clone()).into_dict().unwrap_or_default();
        Ok(Profile::Default.collect(dict))
    }
}

/// What a source says, before the rules of the key are applied.
pub(super) enum Raw {
    /// Explicitly nothing.
    Nothing,
    /// One text.
    One(String),
    /// The elements of a list.
    Many(Vec<String>),
}

/// Applies the rules of a key. The error completes the sentence "`key` …".
pub(super) fn setting(key: &'static Key, raw: Raw, origin: Origin) -> Result<Setting, String> {
    let check = |text: &str| {
        key.kind
            .check(text)
            .and_then(|()| key.rule.map_or(Ok(()), |rule| rule(text)))
            .map_err(|reason| if key.secret { reason } else { format!("{text:?} {reason}") })
    };
    let value = match raw {
        Raw::Nothing if matches!(key.default, DefaultValue::Value(_)) => {
            return Err("has no value: give one, or remove the line".to_owned());
        }
        Raw::Nothing => Value::Empty(Tag::Default, Empty::None),
        Raw::One(text) => check(&text).map(|()| typed(key.kind, text))?,
        Raw::Many(texts) => {
            texts.iter().try_for_each(|text| check(text))?;
            Value::from(texts)
        }
    };
    Ok(Setting { key, value, origin })
}

fn typed(kind: Kind, text: String) -> Value {
    match kind {
        Kind::Bool => Value::from(text == "true"),
        Kind::Number(..) => text.parse::<u32>().map_or_else(|_| Value::from(text), Value::from),
        Kind::Text(_) | Kind::List(_) | Kind::Choice(_) | Kind::Duration { .. } => Value::from(text),
    }
}

/// The elements of a list that is written as one text; an empty text is an empty list.
pub(super) fn comma_separated(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn default(key: &'static Key) -> Option<Setting> {
    let DefaultValue::Value(text) = key.default else { return None };
    let value = if let Kind::List(_) = key.kind {
        Value::from(comma_separated(text))
    } else {
        typed(key.kind, text.to_owned())
    };
    Some(Setting { key, value, origin: Origin::Default })
}

fn add(
    key: &'static Key,
    values: Vec<String>,
    origin: Origin,
    settings: &mut Vec<Setting>,
    problems: &mut Vec<Problem>,
) {
    let last = values.last().cloned().unwrap_or_default();
    let raw = if let Kind::List(_) = key.kind { Raw::Many(values) } else { Raw::One(last) };
    match setting(key, raw, origin.clone()) {
        Ok(setting) => settings.push(setting),
        Err(reason) => problems.push(Problem { origin, key: Some(key.name.to_owned()), reason }),
    }
}

/// Adds what the environment says and returns the names that mean nothing. An empty variable counts as not set.
fn environment(
    variables: &[(OsString, OsString)],
    settings: &mut Vec<Setting>,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let known: BTreeMap<_, _> = KEYS.iter().map(|key| (key.variable(), key)).collect();
    let mut ignored = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with("CHORUS_")) else { continue };
        let Some(key) = known.get(name).copied() else {
            if !belongs_elsewhere(name) {
                ignored.push(name.to_owned());
            }
            continue;
        };
        let origin = Origin::Variable(name.to_owned());
        match value.to_str() {
            Some("") => {}
            Some(text) if matches!(key.kind, Kind::List(_)) => {
                add(key, comma_separated(text), origin, settings, problems)
            }
            Some(text) => add(key, vec![text.to_owned()], origin, settings, problems),
            None => problems.push(Problem {
                origin,
                key: Some(key.name.to_owned()),
                reason: "is not UTF-8 text".to_owned(),
            }),
        }
    }
    ignored.sort();
    ignored
}

/// Whether a variable is known to be meant for somebody else: our client, our tests, or what Kubernetes sets in every
/// container for a service named `chorus` or `chorus-…`.
fn belongs_elsewhere(name: &str) -> bool {
    const CLIENT: [&str; 5] = ["CHORUS_SERVER", "CHORUS_TOKEN", "CHORUS_PROFILE", "CHORUS_CONFIG", "CHORUS_OUTPUT"];
    static SERVICE_LINK: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let pattern =
            r"^CHORUS_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$";
        Regex::new(pattern).ok()
    });
    CLIENT.contains(&name)
        || name.starts_with("CHORUS_TEST_")
        || SERVICE_LINK.as_ref().is_some_and(|pattern| pattern.is_match(name))
}

/// Fills in the values that follow from other keys.
fn derive(figment: Figment) -> Figment {
    let Ok(data_dir) = figment.extract_inner::<PathBuf>("data_dir") else { return figment };
    let derived = |name: &str| match name {
        "keys" => Some(data_dir.join("keys").display().to_string()),
        "database_url" => Some(DatabaseUrl::sqlite(&data_dir.join("chorus.db")).expose().to_owned()),
        _ => None,
    };
    let missing = |figment: &Figment, key: &Key| matches!(figment.find_value(key.name), Err(_) | Ok(Value::Empty(..)));
    KEYS.iter().filter(|key| matches!(key.default, DefaultValue::Derived(_))).fold(
        figment,
        |figment, key| match derived(key.name) {
            Some(text) if missing(&figment, key) => {
                figment.merge(Setting { key, value: Value::from(text), origin: Origin::Default })
            }
            _ => figment,
        },
    )
}

fn effective(figment: &Figment, key: &'static Key) -> Effective {
    let value = figment.find_value(key.name).unwrap_or(Value::Empty(Tag::Default, Empty::None));
    let origin = figment
        .find_metadata(key.name)
        .map_or_else(|| Origin::Default.to_string(), |metadata| metadata.name.to_string());
    Effective { key, value, origin }
}

/// The longest life of a session. The idle timeout is not longer, so sums with times of this age cannot overflow.
const MAX_SESSION_LIFETIME: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The longest life of an API token.
const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(3660 * 24 * 60 * 60);

/// What the kinds of single values cannot tell: values out of bounds, and combinations that cannot work.
fn conflicts(config: &Config, effective: &[Effective]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |name: &str, reason: &str| {
        let origin =
            effective.iter().find(|one| one.key.name == name).map_or_else(String::new, |one| one.origin.clone());
        problems.push(Problem {
            origin: Origin::Layered(origin),
            key: Some(name.to_owned()),
            reason: reason.to_owned(),
        });
    };
    if config.listen == config.grpc_listen && config.listen.port() != 0 {
        refuse("grpc_listen", "is the same address as `listen`; give each listener its own port");
    }
    if config.session_idle_timeout > config.session_max_lifetime {
        refuse("session_idle_timeout", "is longer than `session_max_lifetime`, which ends the session first");
    }
    if config.session_max_lifetime > MAX_SESSION_LIFETIME {
        refuse("session_max_lifetime", "is longer than 366 days; people have to sign in again some time");
    }
    if config.token_max_lifetime > MAX_TOKEN_LIFETIME {
        refuse(
            "token_max_lifetime",
            "is longer than ten years; a token that nobody renews is a token that nobody knows",
        );
    }
    if config.cookie_same_site == CookieSameSite::None && config.cookie_secure == CookieSecure::Never {
        refuse(
            "cookie_same_site",
            "`none` needs a secure cookie, but `cookie_secure` is `never`; browsers drop such cookies",
        );
    }
    if let Err(conflict) = config.operator.settings() {
        refuse(conflict.key, &conflict.reason);
    }
    problems
}
