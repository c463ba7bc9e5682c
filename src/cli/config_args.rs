//! The flags of the configuration, made from its key table: one flag per key, beside `--config`. The operator has many keys
//! of its own; they are flags of its command, and the server takes them from files and the environment.

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use crate::server::config::{
    Sources,
    keys::{DefaultValue, KEYS, Key, Kind},
};

const FILES: &str = "config";

/// The configuration files and flags that were given. Values are checked with all the others, when they are loaded.
#[derive(Debug, Clone, Default)]
pub struct ConfigArgs<const OPERATOR: bool = false> {
    files: Vec<PathBuf>,
    flags: Vec<(&'static Key, Vec<String>)>,
}

/// The configuration files and flags of the operator.
pub type OperatorArgs = ConfigArgs<true>;

impl<const OPERATOR: bool> ConfigArgs<OPERATOR> {
    /// The keys that are flags here.
    fn keys() -> impl Iterator<Item = &'static Key> {
        let of_both = |key: &Key| matches!(key.name, "log_format" | "log_level");
        KEYS.iter().filter(move |key| key.is_of_operator() == OPERATOR || (OPERATOR && of_both(key)))
    }

    /// All sources: these files and flags, and the environment of the process.
    pub fn sources(&self) -> Sources {
        let environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        Sources { files: self.files.clone(), environment, flags: self.flags.clone() }
    }
}

impl<const OPERATOR: bool> Args for ConfigArgs<OPERATOR> {
    fn augment_args(command: Command) -> Command {
        let files = Arg::new(FILES)
            .long("config")
            .value_name("FILE")
            .action(ArgAction::Append)
            .value_parser(value_parser!(PathBuf))
            .help("Configuration file in YAML; may be repeated, later files win");
        Self::keys().fold(command.arg(files), |command, key| command.arg(flag(key)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const OPERATOR: bool> FromArgMatches for ConfigArgs<OPERATOR> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let files = matches.get_many::<PathBuf>(FILES).into_iter().flatten().cloned().collect();
        let given = |key: &'static Key| {
            let values: Vec<_> = matches.get_many::<String>(key.name)?.cloned().collect();
            Some((key, values))
        };
        Ok(Self { files, flags: Self::keys().filter_map(given).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn flag(key: &'static Key) -> Arg {
    let arg = Arg::new(key.name).long(key.flag).help(help(key)).help_heading("Configuration");
    match key.kind {
        Kind::Text(value) => arg.value_name(value),
        Kind::List(value) => arg.value_name(value).action(ArgAction::Append),
        Kind::Choice(_) => arg.value_name("WORD"),
        Kind::Number(..) => arg.value_name("NUMBER"),
        Kind::Duration { .. } => arg.value_name("DURATION"),
        Kind::Bool => arg.value_name("true|false").num_args(0..=1).require_equals(true).default_missing_value("true"),
    }
}

/// In the manner of clap, which does not check these values: they are checked with those of files and the environment.
fn help(key: &Key) -> String {
    let mut text = key.help.trim_end_matches('.').to_owned();
    if let Kind::Choice(words) = key.kind {
        text += &format!(" [one of: {}]", words.join(", "));
    }
    match key.default {
        DefaultValue::Value("") | DefaultValue::Unset => {}
        DefaultValue::Value(value) | DefaultValue::Derived(value) => text += &format!(" [default: {value}]"),
    }
    text
}
