//! The client's commands beside the server's, on one level of the command line.
//!
//! The client's flags (`--server`, `--output` …) are put on its own commands only: `chorus serve --output json` would promise
//! what the server does not do.

use std::process::ExitCode;

use clap::{ArgMatches, Args as _, Command, Error, FromArgMatches, Subcommand, builder::Resettable, error::ErrorKind};

use crate::client::{self, Globals};

/// A command of the client, with the client's flags.
#[derive(Debug)]
pub struct ClientCommand {
    command: client::Command,
    globals: Box<Globals>,
}

impl ClientCommand {
    /// Runs the command on this thread: a client waits for one answer at a time.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(client::run(self.command, *self.globals)))
    }
}

impl Subcommand for ClientCommand {
    fn augment_subcommands(root: Command) -> Command {
        let client = client::Command::augment_subcommands(Command::new("client"));
        client.get_subcommands().cloned().enumerate().map(with_flags).fold(root, Command::subcommand)
    }

    fn augment_subcommands_for_update(root: Command) -> Command {
        Self::augment_subcommands(root)
    }

    fn has_subcommand(name: &str) -> bool {
        client::Command::has_subcommand(name)
    }
}

/// The client's flags bring a description of their own, which must not replace that of the command.
fn with_flags((position, command): (usize, Command)) -> Command {
    let (about, long) = (command.get_about().cloned(), command.get_long_about().cloned());
    let after_the_servers = 100 + position;
    Globals::augment_args(command)
        .about(Resettable::from(about))
        .long_about(Resettable::from(long))
        .display_order(after_the_servers)
}

impl FromArgMatches for ClientCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let (_, flags) = matches.subcommand().ok_or_else(|| Error::new(ErrorKind::MissingSubcommand))?;
        let globals = Box::new(Globals::from_arg_matches(flags)?);
        Ok(Self { command: client::Command::from_arg_matches(matches)?, globals })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::{super::Cli, *};

    #[test]
    fn commands_keep_their_descriptions() {
        let cli = Cli::command();
        assert_eq!(cli.find_subcommand("whoami").unwrap().get_about().unwrap().to_string(), "Show who is signed in");
    }

    fn globals(line: &str) -> Box<Globals> {
        match Cli::try_parse_from(line.split(' ')).unwrap().command {
            super::super::Command::Client(client) => client.globals,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn client_flags_work_at_every_depth() {
        for line in [
            "chorus user --server http://a:1 list -v",
            "chorus user list --server http://a:1 -v",
            "chorus whoami --server http://a:1 --verbose",
            "chorus workspace -v member --server http://a:1 list 1",
        ] {
            let globals = globals(line);
            assert_eq!((globals.server.as_deref(), globals.verbose), (Some("http://a:1"), 1), "{line}");
        }
    }

    #[test]
    fn the_servers_commands_do_not_take_them() {
        for line in ["chorus serve --server http://a:1", "chorus config show -o json", "chorus version -v"] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
        assert!(Cli::command().get_subcommands().any(|command| command.get_name() == "whoami"));
    }
}
