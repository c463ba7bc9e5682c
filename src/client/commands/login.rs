//! `chorus login`, `logout` and `whoami`.
//!
//! Signing in makes the profile the current one and keeps the token next to it. The password goes to the server and nowhere
//! else.

use std::path::Path;

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};

use super::user;
use crate::{
    client::{
        Context, Globals,
        connect::{self, Session, TOKEN_VARIABLE},
        credentials::Credentials as Tokens,
        error::{Error, Exit, Result},
        output::say,
        profile::{self, Profile, Profiles, Target},
        prompt, resolve,
    },
    proto::v1::{ChorusErrorCode, Credentials, LogoutRequest, User},
};

/// `chorus login`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus login
  chorus login --server https://chorus.example.org --profile lab --username ada
  chorus login --username ada --password-stdin < password.txt
  printf '%s\\n' \"$PASSWORD\" \"$CODE\" | chorus login --username ada --password-stdin --totp-stdin")]
pub struct Login {
    /// User name; asked for when missing
    #[arg(short, long)]
    username: Option<String>,
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
    /// Read a code of the authenticator app, or a recovery code, from the line after the password; otherwise it is asked for
    /// when the account needs one
    #[arg(long, requires = "password_stdin")]
    totp_stdin: bool,
}

impl Login {
    pub(super) async fn run(self, globals: &Globals) -> Result<()> {
        let folder = profile::folder()?;
        let target = Target::choose(globals, &Profiles::load(&folder)?)?;
        // a damaged or shared file is better noticed before the password is asked for
        Tokens::load(&folder)?;

        let username = match self.username {
            Some(username) => username,
            None => prompt::line("User name", target.username.clone(), "--username and --password-stdin").await?,
        };
        let password = if self.password_stdin {
            prompt::stdin_secret()?
        } else {
            prompt::secret(&format!("Password of {username} at {}", target.address()), "--password-stdin").await?
        };
        let code = match self.totp_stdin {
            true => Some(prompt::stdin_secret()?),
            false => None,
        };
        let session = Session::anonymous(target.clone(), globals);
        let token = sign_in(&session, &username, &password, code.as_ref()).await?;
        remember(&folder, &target, username, token.clone())?;

        let me = resolve::me(&session.with_token(token)).await?;
        say(&format!("signed in to {} as {} (profile {})", target.address(), me.username, target.profile));
        if std::env::var_os(TOKEN_VARIABLE).is_some_and(|token| !token.is_empty()) {
            say(&format!("{TOKEN_VARIABLE} is set and goes before this sign-in; unset it"));
        }
        if globals.token_file.is_some() {
            say("--token-file goes before this sign-in; leave it out from now on");
        }
        if !me.password_changed {
            say("your password is a temporary one: choose your own with `chorus password`");
        }
        Ok(())
    }
}

/// Keeps the token, and makes the profile the current one.
fn remember(folder: &Path, target: &Target, username: String, token: SecretString) -> Result<()> {
    let _lock = profile::lock(folder)?;
    let mut tokens = Tokens::load(folder)?;
    tokens.put(target, token);
    tokens.save(folder)?;
    let mut profiles = Profiles::load(folder)?;
    let known =
        Profile { server: target.address().to_owned(), username: Some(username), ca_file: target.ca_file.clone() };
    profiles.profiles.insert(target.profile.clone(), known);
    profiles.current = Some(target.profile.clone());
    profiles.save(folder)
}

/// Asks for a second factor only when the server wants one.
async fn sign_in(
    session: &Session,
    username: &str,
    password: &SecretString,
    code: Option<&SecretString>,
) -> Result<SecretString> {
    match authenticate(session, username, password, code).await {
        Err(error) if error.chorus_code() == ChorusErrorCode::TwoFactorRequired && code.is_none() => {
            let code = prompt::secret("Code of the authenticator app", "--password-stdin and --totp-stdin").await?;
            authenticate(session, username, password, Some(&code)).await
        }
        answer => answer,
    }
}

async fn authenticate(
    session: &Session,
    username: &str,
    password: &SecretString,
    code: Option<&SecretString>,
) -> Result<SecretString> {
    let credentials = Credentials {
        username: username.to_owned(),
        password: password.expose_secret().to_owned(),
        totp: code.map(|code| code.expose_secret().to_owned()).unwrap_or_default(),
    };
    let what = format!("sign in to {} as {username:?}", session.target().address());
    let reply = session
        .call(&what, "AuthenticationService/Authenticate", credentials, async |channel, request| {
            connect::authentication(channel).authenticate(request).await
        })
        .await?;
    match reply.result {
        Some(result) if !result.token.is_empty() => Ok(result.token.into()),
        _ => Err(resolve::empty_reply("AuthenticationService/Authenticate")),
    }
}

/// `chorus logout`.
#[derive(Debug, Args)]
pub struct Logout {
    /// Only forget the token here; the session stays open at the server until it expires
    #[arg(long)]
    local: bool,
}

impl Logout {
    pub(super) async fn run(self, globals: &Globals) -> Result<()> {
        let session = Session::open(globals)?;
        let address = session.target().address().to_owned();
        if !session.is_signed_in() {
            say(&format!("not signed in to {address}"));
            return Ok(());
        }
        if !self.local {
            revoke(&session).await?;
        }
        if let Some(stated) = session.source().stated_by() {
            say(&format!("{stated} is still stated; leave it out from now on"));
        } else {
            let folder = profile::folder()?;
            let _lock = profile::lock(&folder)?;
            let mut tokens = Tokens::load(&folder)?;
            tokens.remove(session.target());
            tokens.save(&folder)?;
        }
        say(&format!("signed out of {address}"));
        Ok(())
    }
}

async fn revoke(session: &Session) -> Result<()> {
    let call =
        session.call("end the session", "AuthenticationService/Logout", LogoutRequest {}, async |channel, request| {
            connect::authentication(channel).logout(request).await
        });
    match call.await {
        Ok(_) => Ok(()),
        // a session that is over already needs no end; a token that is none ends nothing
        Err(error) if error.exit() == Exit::SignedOut && session.source().stated_by().is_none() => Ok(()),
        Err(error) => Err(forget_instead(error)),
    }
}

fn forget_instead(error: Error) -> Error {
    match error.exit() {
        Exit::Unreachable | Exit::Timeout => error.replace_hint("`chorus logout --local` only forgets the token here"),
        _ => error,
    }
}

/// Show who is signed in.
pub(super) async fn whoami(context: &mut Context) -> Result<()> {
    let me: User = resolve::me(&context.session).await?;
    context.printer.item(&me, &user::columns())
}
