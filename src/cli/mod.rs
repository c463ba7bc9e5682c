//! The command line: which commands there are, and what runs them.
//!
//! ```text
//! serve, operator, migrate, secrets, config, version ──► here, with the server's configuration
//! local-desktop (started by serve) ──────────► the supervisor of a desktop
//! all others ────────────────────────────────► client
//! ```
//!
//! What always holds: data goes to standard output, everything else to standard error; exit code 0 is success, 1 a failure,
//! 2 wrong usage (the client has finer ones). Only commands that need a runtime or TLS pay for it.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::LazyLock,
};

use clap::{Parser, Subcommand};

use crate::server::config::{self, Loaded, Problems};

mod client_command;
mod config_args;
#[cfg(target_os = "linux")]
mod local_desktop;
mod migrate;
mod operator;
mod secrets;
mod serve;

pub use client_command::ClientCommand;
pub use config_args::ConfigArgs;
pub use operator::OperatorCommand;
pub use secrets::SecretsCommand;

/// Control plane of a trusted research environment: server, operator and admin client in one binary.
#[derive(Debug, Parser)]
#[command(name = "chorus", version = VERSION.as_str(), disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    Serve(ConfigArgs),
    /// Run the Kubernetes operator, or one of its tools
    ///
    /// Without a tool it runs: Workbench and Workspace resources of the cluster become isolated desktops. Of several replicas
    /// one acts, the one that holds the lease.
    Operator(Box<OperatorCommand>),
    /// Bring the database schema up to date, or tell whether it is
    Migrate {
        /// Change nothing; fail when a migration is pending
        #[arg(long)]
        check: bool,
        /// The configuration
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Look after the keyring: rotate keys, see what they seal
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Look at the server's configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the version
    Version,
    /// A command of the client
    #[command(flatten)]
    Client(ClientCommand),
}

/// `chorus config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the configuration that `serve` would use with the same flags, files and environment; passwords are redacted
    Show {
        /// Also say where each value comes from
        #[arg(long)]
        sources: bool,
        /// The configuration
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Tell everything that is wrong with the configuration
    Check(ConfigArgs),
    /// Print a commented configuration file with every key and its default
    Example,
}

/// The version, with the commit when the build was told it (variable `CHORUS_COMMIT`).
static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("CHORUS_COMMIT") {
    Some(commit) if !commit.is_empty() => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
    _ => env!("CARGO_PKG_VERSION").to_owned(),
});

/// Parses the command line of the process and runs the command.
pub fn main() -> ExitCode {
    // the server starts itself as that; it is no command for people, so help and completions do not know it
    #[cfg(target_os = "linux")]
    if std::env::args_os().nth(1).is_some_and(|word| word == local_desktop::NAME) {
        return ended(local_desktop::supervise());
    }
    match Cli::try_parse() {
        Ok(cli) => run(cli.command),
        Err(error) => {
            let usage = error.use_stderr();
            // help into a closed pipe is not an error
            let _ = error.print();
            if usage { ExitCode::from(2) } else { ExitCode::SUCCESS }
        }
    }
}

fn run(command: Command) -> ExitCode {
    let done = match command {
        Command::Serve(args) => serve::serve(&args),
        Command::Operator(command) => command.run(),
        Command::Migrate { check, config } => migrate::migrate(&config, check),
        Command::Secrets(command) => command.run(),
        Command::Config(command) => configuration(command),
        Command::Version => print(&format!("chorus {}\n", VERSION.as_str())),
        Command::Client(command) => command.run(),
    };
    ended(done)
}

fn ended(done: anyhow::Result<ExitCode>) -> ExitCode {
    match done {
        Ok(code) => code,
        Err(error) => {
            // the chain of causes on one line, as `{:#}` writes it
            say(&format!("chorus: {error:#}"));
            let usage = error.downcast_ref::<Problems>().is_some_and(Problems::only_in_flags);
            if usage { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn configuration(command: ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Show { sources, config } => {
            let loaded = load(&config)?;
            print(&config::show(&loaded.effective, sources))
        }
        ConfigCommand::Check(config) => match config::load(&config.sources()) {
            Ok(loaded) => {
                warn_about_ignored(&loaded);
                print("the configuration is valid\n")
            }
            Err(Problems(problems)) => {
                problems.iter().for_each(|problem| say(&problem.to_string()));
                Ok(ExitCode::FAILURE)
            }
        },
        ConfigCommand::Example => print(&config::example()),
    }
}

/// Loads the configuration, with the one warning about variables that mean nothing.
fn load<const OPERATOR: bool>(args: &ConfigArgs<OPERATOR>) -> anyhow::Result<Loaded> {
    let loaded = config::load(&args.sources())?;
    warn_about_ignored(&loaded);
    Ok(loaded)
}

fn warn_about_ignored(loaded: &Loaded) {
    if !loaded.ignored.is_empty() {
        say(&format!("chorus: warning: these variables mean nothing and are ignored: {}", loaded.ignored.join(", ")));
    }
}

/// Writes to standard output; that the reader has gone away is not an error.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Writes a line to standard error; there is nobody left to tell when that fails.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_key_has_a_flag_and_every_flag_a_key() {
        let cli = Cli::command();
        let mut flags = Vec::new();
        for command in ["serve", "operator"] {
            let command = cli.find_subcommand(command).unwrap();
            flags.extend(command.get_arguments().filter_map(|arg| arg.get_long()));
        }
        flags.retain(|flag| !matches!(*flag, "config" | "help" | "version"));
        let mut keys: Vec<_> = config::keys::KEYS.iter().map(|key| key.flag).collect();
        // both commands log
        keys.extend(["log-format", "log-level"]);
        flags.sort_unstable();
        keys.sort_unstable();
        assert_eq!(flags, keys);
    }

    #[test]
    fn flags_reach_the_configuration() {
        let words = "chorus serve --listen 127.0.0.1:9 --metrics=false --migrate --cors-origin http://a.org --cors-origin http://b.org";
        let Command::Serve(args) = Cli::try_parse_from(words.split(' ')).unwrap().command else { panic!("not serve") };
        let given: Vec<_> =
            args.sources().flags.into_iter().map(|(key, values)| (key.name, values.join(" "))).collect();
        let expected = [
            ("listen", "127.0.0.1:9"),
            ("cors_origins", "http://a.org http://b.org"),
            ("migrate", "true"),
            ("metrics", "false"),
        ];
        assert_eq!(given, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
