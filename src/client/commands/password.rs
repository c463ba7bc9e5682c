//! `chorus password`: one's own password.

use clap::Args;
use secrecy::ExposeSecret as _;

use crate::{
    client::{Context, connect, error::Result, output::say, prompt},
    proto::v1::UpdatePasswordRequest,
};

/// `chorus password`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus password
  printf '%s\\n' \"$OLD\" \"$NEW\" | chorus password --password-stdin")]
pub struct Password {
    /// Read the current and the new password from the first two lines of standard input
    #[arg(long)]
    password_stdin: bool,
}

impl Password {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        context.session.require_token("change your password")?;
        let (current, new) = if self.password_stdin {
            (prompt::stdin_secret()?, prompt::stdin_secret()?)
        } else {
            let current = prompt::secret("Current password", "--password-stdin").await?;
            (current, prompt::new_secret("New password", "--password-stdin").await?)
        };
        let request = UpdatePasswordRequest {
            current_password: current.expose_secret().to_owned(),
            new_password: new.expose_secret().to_owned(),
        };
        context
            .session
            .call("change your password", "UserService/UpdatePassword", request, async |channel, request| {
                connect::users(channel).update_password(request).await
            })
            .await?;
        say("your password is changed; your other sessions have ended, your API tokens have not");
        Ok(())
    }
}
