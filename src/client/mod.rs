//! The administrator's command line.
//!
//! ```text
//! chorus user list ─► commands/ ─► resolve (names → ids) ─► connect (token, time limit) ─gRPC─► server
//!                        │                                                │
//!                        ▼                                                ▼
//!                     output (table, JSON, YAML) on stdout             error (text, exit code) on stderr
//! ```
//!
//! Commands that wait or watch read a stream of changes (`watch`), judge each state (`wait`), and show it on standard error
//! (`progress`).
//!
//! It talks gRPC through the stubs of the contract and knows nothing of the server's insides; `server` is never imported
//! here. Data goes to standard output and everything else to standard error. Flags, formats and exit codes are stable, since
//! scripts rely on them.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{ArgAction, Args};

use error::{Error, Exit, Result};
use output::{Format, Printer};

pub use commands::{COVERAGE, Command};

mod commands;
mod connect;
mod credentials;
mod error;
mod moment;
mod output;
mod paging;
mod profile;
mod progress;
mod prompt;
mod resolve;
mod trace;
mod wait;
mod watch;

/// The flags that every command of the client understands.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Client options")]
pub struct Globals {
    /// Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,

    /// Profile to use instead of the current one; else the variable CHORUS_PROFILE
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,

    /// File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Form of the answer
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORM")]
    pub output: Format,

    /// How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen:
    /// how long it waits (2m unless stated)
    #[arg(long, global = true, value_parser = parse_duration, value_name = "TIME")]
    pub timeout: Option<Duration>,

    /// PEM file with the certificates to trust instead of those of the system
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// Talk to another machine without encryption; anybody in between can read the password
    #[arg(long, global = true)]
    pub insecure_plaintext: bool,

    /// Say which calls are made; twice: with what they ask for. Never shows secrets
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

impl Globals {
    /// Fills in what the environment states. An empty value is as good as none.
    ///
    /// Not left to the parser, which would show the variables in usage messages as if they had been typed.
    fn with_environment(self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let stated = |flag: Option<String>, name| flag.or_else(|| variable(name)).filter(|value| !value.is_empty());
        Self { server: stated(self.server, "CHORUS_SERVER"), profile: stated(self.profile, "CHORUS_PROFILE"), ..self }
    }
}

/// Runs a command to its end, and reports a failure on standard error.
pub async fn run(command: Command, globals: Globals) -> ExitCode {
    let globals = globals.with_environment(|name| std::env::var(name).ok());
    let done = tokio::select! {
        biased;
        done = command.run(&globals) => done,
        _ = tokio::signal::ctrl_c() => Err(Error::interrupted()),
    };
    let exit = match done {
        Ok(()) => Exit::Ok,
        Err(error) => {
            prompt::restore_terminal();
            report(&error, globals.output);
            error.exit()
        }
    };
    exit.into()
}

fn report(error: &Error, format: Format) {
    let text = match format {
        _ if error.exit() == Exit::Interrupted => return,
        Format::Json | Format::Ndjson => output::escape::json(&error.json()).into_owned(),
        _ => error.to_string(),
    };
    // every part of it is escaped already; when nobody listens any more, the exit code still tells
    let _ = writeln!(io::stderr(), "{text}");
}

/// What a command works with: where to call and where to print.
struct Context {
    session: connect::Session,
    printer: Printer<'static>,
    /// How long a command waits for something to happen.
    patience: Duration,
}

impl Context {
    fn open(globals: &Globals) -> Result<Self> {
        Ok(Self {
            session: connect::Session::open(globals)?,
            printer: Printer::stdout(globals.output),
            patience: globals.timeout.unwrap_or(wait::PATIENCE),
        })
    }
}

/// A number with a unit; without one, seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| "write a number with a unit, such as 30s".to_owned())?;
    let milliseconds = match &text[digits.len()..] {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        unit => return Err(format!("unknown unit {unit:?}; use ms, s, m or h")),
    };
    match milliseconds {
        // the wire format of a gRPC deadline holds eight digits
        Some(ms @ 1..=86_400_000) => Ok(Duration::from_millis(ms)),
        _ => Err("must be more than nothing and at most 24h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_goes_before_the_environment() {
        let table = [
            (None, None, None),
            (None, Some("e"), Some("e")),
            (Some("f"), Some("e"), Some("f")),
            (Some("f"), None, Some("f")),
            (None, Some(""), None),
            (Some(""), Some("e"), None),
        ];
        for (flag, variable, expected) in table {
            let globals = Globals { server: flag.map(str::to_owned), ..Globals::default() };
            let globals =
                globals.with_environment(|name| variable.filter(|_| name == "CHORUS_SERVER").map(str::to_owned));
            assert_eq!(globals.server.as_deref(), expected, "{flag:?} {variable:?}");
            assert_eq!(globals.profile, None);
        }
    }

    #[test]
    fn durations() {
        let table = [
            ("30", Ok(30_000)),
            ("30s", Ok(30_000)),
            ("500ms", Ok(500)),
            ("2m", Ok(120_000)),
            ("1h", Ok(3_600_000)),
            ("0", Err(())),
            ("25h", Err(())),
            ("1d", Err(())),
            ("s", Err(())),
            ("-1s", Err(())),
            ("99999999999999999999", Err(())),
            ("9999999999999999h", Err(())),
        ];
        for (text, expected) in table {
            assert_eq!(parse_duration(text).map(|d| d.as_millis()).map_err(|_| ()), expected, "{text}");
        }
    }
}
