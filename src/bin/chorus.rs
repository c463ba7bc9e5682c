//! The binary `chorus`: parse, dispatch, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    chorus::cli::main()
}
