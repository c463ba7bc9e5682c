//! `chorus totp`: one's own second factor.
//!
//! The secret and the recovery codes are printed once, on standard output, and kept nowhere. What always holds: whatever
//! fails after they were made, the last line says whether the second factor is on or off.

use std::io::{self, IsTerminal as _};

use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    client::{
        Context, connect,
        error::Result,
        output::{Column, Resource, qr, say},
        prompt, resolve,
    },
    proto::v1::{ChorusErrorCode, EnableTotpRequest, ResetTotpRequest, ResetTotpResult},
};

/// Who issued the secret, as apps show it.
const ISSUER: &str = "chorus";
const ENABLE: &str = "`chorus totp enable` turns it on with the code that the app shows";

/// `chorus totp`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set up a second factor: a secret for an authenticator app, recovery codes, then a first code
    ///
    /// Prints a QR code for the app, the same as an address and as text, and ten recovery codes, each of which replaces the
    /// app once. All this is shown once. The second factor is on when a code of the app was given; from then on every
    /// sign-in asks for one. A second factor that is on already is replaced: it is off until the first code of the new one.
    Enroll(Enroll),
    /// Turn the second factor on with a code of the app; your other sessions end
    Enable(Enable),
    /// Turn the second factor off; its secret and recovery codes are void, your other sessions end
    Disable(Disable),
}

/// How somebody shows that it is him.
#[derive(Debug, Args)]
struct Proof {
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
    /// Read a code of the second factor that is on, or a recovery code, from the next line of standard input
    #[arg(long, requires = "password_stdin")]
    totp_stdin: bool,
}

/// `chorus totp enroll`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus totp enroll
  chorus totp enroll --password-stdin -o json < password.txt      # then: chorus totp enable --code-stdin")]
pub struct Enroll {
    #[command(flatten)]
    proof: Proof,
    /// Print the QR code also when standard output is no terminal
    #[arg(long)]
    qr: bool,
    /// Replace a second factor that is on without asking
    #[arg(long)]
    yes: bool,
}

/// `chorus totp enable`.
#[derive(Debug, Args)]
pub struct Enable {
    /// Read the code from the first line of standard input
    #[arg(long)]
    code_stdin: bool,
}

/// `chorus totp disable`.
#[derive(Debug, Args)]
pub struct Disable {
    #[command(flatten)]
    proof: Proof,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Command {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        context.session.require_token("manage your second factor")?;
        match self {
            Self::Enroll(command) => command.run(context).await,
            Self::Enable(command) => command.run(context).await,
            Self::Disable(command) => command.run(context).await,
        }
    }
}

impl Enroll {
    async fn run(self, context: &mut Context) -> Result<()> {
        let me = resolve::me(&context.session).await?;
        if me.totp_enabled {
            let question = "Your second factor is on. A new one replaces it, and is off until its first code. Go on?";
            prompt::confirm(question, self.yes).await?;
        }
        let made = reset(context, "set up a second factor", &self.proof).await?;
        show(context, &me.username, &made, self.qr)?;
        say("keep the recovery codes in a safe place: none of this is shown again");
        if context.printer.is_data() || !prompt::possible() {
            say(&format!("the second factor is off: {ENABLE}"));
            return Ok(());
        }
        let code = prompt::secret("Code that the app shows now", "`chorus totp enable --code-stdin`").await?;
        enable(context, &code).await
    }
}

impl Enable {
    async fn run(self, context: &Context) -> Result<()> {
        let code = match self.code_stdin {
            true => prompt::stdin_secret()?,
            false => prompt::secret("Code that the app shows now", "--code-stdin").await?,
        };
        enable(context, &code).await
    }
}

impl Disable {
    async fn run(self, context: &Context) -> Result<()> {
        if !resolve::me(&context.session).await?.totp_enabled {
            say("the second factor is off already");
            return Ok(());
        }
        prompt::confirm("Turn the second factor off?", self.yes).await?;
        // the server makes a new secret with it, which nobody gets to know
        reset(context, "turn the second factor off", &self.proof).await?;
        say("the second factor is off; its secret and recovery codes are void, and your other sessions have ended");
        Ok(())
    }
}

/// Makes a new secret, showing who one is: the password, and a code when the server wants one.
async fn reset(context: &Context, what: &str, proof: &Proof) -> Result<ResetTotpResult> {
    let password = match proof.password_stdin {
        true => prompt::stdin_secret()?,
        false => prompt::secret("Password", "--password-stdin").await?,
    };
    let code = match proof.totp_stdin {
        true => Some(prompt::stdin_secret()?),
        false => None,
    };
    match send_reset(context, what, &password, code.as_ref()).await {
        Err(error) if error.chorus_code() == ChorusErrorCode::TwoFactorRequired && code.is_none() => {
            let code = prompt::secret("Code of the second factor that is on", "--totp-stdin").await?;
            send_reset(context, what, &password, Some(&code)).await
        }
        answer => answer,
    }
}

async fn send_reset(
    context: &Context,
    what: &str,
    password: &SecretString,
    code: Option<&SecretString>,
) -> Result<ResetTotpResult> {
    let request = ResetTotpRequest {
        password: password.expose_secret().to_owned(),
        totp: code.map(|code| code.expose_secret().to_owned()).unwrap_or_default(),
    };
    let call = context.session.call(what, "UserService/ResetTotp", request, async |channel, request| {
        connect::users(channel).reset_totp(request).await
    });
    let reply = call.await.map_err(|error| match error.chorus_code() {
        ChorusErrorCode::InvalidCredentials => error.replace_hint("nothing was changed; try again"),
        _ => error,
    })?;
    reply.result.ok_or_else(|| resolve::empty_reply("UserService/ResetTotp"))
}

async fn enable(context: &Context, code: &SecretString) -> Result<()> {
    let request = EnableTotpRequest { totp: code.expose_secret().to_owned() };
    let what = "turn the second factor on";
    let call = context.session.call(what, "UserService/EnableTotp", request, async |channel, request| {
        connect::users(channel).enable_totp(request).await
    });
    call.await.map_err(|error| {
        error.replace_hint(format!("`chorus whoami` says whether your second factor is on; while it is off, {ENABLE}"))
    })?;
    say("the second factor is on; your other sessions have ended");
    Ok(())
}

/// Prints what was made: as data the message, for people all the ways to get it into an app.
fn show(context: &mut Context, username: &str, made: &ResetTotpResult, always_qr: bool) -> Result<()> {
    if context.printer.is_data() {
        return context.printer.item(made, &[]);
    }
    let address = address(username, &made.totp_secret);
    let terminal = io::stdout().is_terminal();
    if let Some(picture) = qr::render(&address, terminal).filter(|_| terminal || always_qr) {
        context.printer.picture(&picture)?;
    }
    context.printer.text(&address)?;
    let columns = [
        Column::new("secret", |made: &ResetTotpResult| made.totp_secret.clone()),
        Column::new("recovery codes", |made: &ResetTotpResult| made.totp_recovery_codes.clone()),
    ];
    context.printer.item(made, &columns)
}

/// The secret as apps read it from a QR code.
fn address(username: &str, secret: &str) -> String {
    let username = utf8_percent_encode(username, NON_ALPHANUMERIC);
    format!("otpauth://totp/{ISSUER}:{username}?secret={secret}&issuer={ISSUER}&algorithm=SHA1&digits=6&period=30")
}

impl Resource for ResetTotpResult {
    const KIND: &'static str = "totp-secret";
    const MESSAGE: &'static str = "chorus.v1.ResetTotpResult";

    fn id(&self) -> String {
        self.totp_secret.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_any_user_name() {
        let address = address("ada@example.org & söhne", "GEZDGNBV");
        let expected = "otpauth://totp/chorus:ada%40example%2Eorg%20%26%20s%C3%B6hne?secret=GEZDGNBV&issuer=chorus\
                        &algorithm=SHA1&digits=6&period=30";
        assert_eq!(address, expected);
    }
}
