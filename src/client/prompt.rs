//! Questions to the person at the terminal, and secrets from standard input.
//!
//! Nothing is ever asked without a terminal or in CI: the command then fails and says which flag answers the question.

use std::{
    io::{self, IsTerminal as _},
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use dialoguer::{Confirm, Input, Password, console::Term};
use secrecy::SecretString;
use tokio::sync::oneshot;

use super::{
    error::{Error, Result},
    output::say,
};

/// Whether a prompt has changed the terminal: it hides the cursor, or what is typed.
static ASKING: AtomicBool = AtomicBool::new(false);

/// Whether somebody can answer.
pub fn possible() -> bool {
    let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    io::stdin().is_terminal() && io::stderr().is_terminal() && !ci
}

/// Asks for a line; `instead` names the flag that would have answered.
pub async fn line(prompt: &str, default: Option<String>, instead: &str) -> Result<String> {
    ask_with(instead)?;
    let prompt = prompt.to_owned();
    blocking(move || {
        let input = Input::<String>::new().with_prompt(prompt);
        match default {
            Some(default) => input.default(default).interact_text(),
            None => input.interact_text(),
        }
    })
    .await
}

/// Asks for a secret, without echo.
pub async fn secret(prompt: &str, instead: &str) -> Result<SecretString> {
    ask_with(instead)?;
    let prompt = prompt.to_owned();
    hidden(move || Password::new().with_prompt(prompt).interact()).await
}

/// Asks for a new secret, twice.
pub async fn new_secret(prompt: &str, instead: &str) -> Result<SecretString> {
    ask_with(instead)?;
    let (prompt, again) = (prompt.to_owned(), format!("{prompt} (again)"));
    hidden(move || Password::new().with_prompt(prompt).with_confirmation(again, "They differ.").interact()).await
}

/// Goes on only if `yes`, or if the person at the terminal agrees to `question`.
pub async fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !possible() {
        return Err(Error::usage(format!("this needs a confirmation: {question}"))
            .hint("there is no terminal to ask on; repeat the command with --yes"));
    }
    let question = question.to_owned();
    match blocking(move || Confirm::new().with_prompt(question).default(false).interact()).await? {
        true => Ok(()),
        false => Err(Error::failure("nothing was changed")),
    }
}

/// The next line of standard input, without its line end.
pub fn stdin_secret() -> Result<SecretString> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let secret = line.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(Error::usage("standard input lacks a line: the password, or the code after it"));
    }
    Ok(secret.into())
}

/// Makes the terminal show its cursor and what is typed again, after a prompt was interrupted.
pub fn restore_terminal() {
    if ASKING.swap(false, Ordering::Relaxed) {
        let _ = Term::stderr().show_cursor();
        let _ = std::process::Command::new("stty").arg("echo").stdin(Stdio::inherit()).status();
        say("");
    }
}

fn ask_with(instead: &str) -> Result<()> {
    if possible() {
        return Ok(());
    }
    Err(Error::usage("an answer is needed, and there is no terminal to ask on").hint(format!("use {instead}")))
}

async fn hidden(ask: impl FnOnce() -> dialoguer::Result<String> + Send + 'static) -> Result<SecretString> {
    blocking(ask).await.map(SecretString::from)
}

/// Prompts block, so they get a thread of their own: Ctrl-C must get through, and the process must not wait for it.
async fn blocking<T: Send + 'static>(ask: impl FnOnce() -> dialoguer::Result<T> + Send + 'static) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    ASKING.store(true, Ordering::Relaxed);
    thread::spawn(move || sender.send(ask()).is_ok());
    let answer = receiver.await;
    ASKING.store(false, Ordering::Relaxed);
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(dialoguer::Error::IO(error))) => Err(error.into()),
        Err(_) => Err(Error::interrupted()),
    }
}
