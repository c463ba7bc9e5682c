//! `chorus open`: the desktop in a browser, without another sign-in.
//!
//! The server makes a ticket, which opens the desktop once within half a minute. What always holds: the ticket is in no
//! argument of a process, where everybody on this machine could read it. The browser is given a page that only this account
//! can read, and that leads on to the desktop; the page is removed when the command ends.

use std::{io::Write as _, process::Stdio, time::Duration};

use clap::Args;
use tempfile::NamedTempFile;
use tokio::time;

use super::workbench::{Target, WaitReady};
use crate::{
    client::{
        Context, connect,
        error::{Error, Exit, Result},
        output::{Resource, say},
        resolve,
    },
    proto::v1::{CreateStreamTicketRequest, CreateStreamTicketResult},
};

/// How long a browser has to read the page, from when it was started.
const READING: Duration = Duration::from_secs(10);
/// What opens a page in the browser that people prefer.
const OPENER: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };

/// `chorus open`.
#[derive(Debug, Args)]
#[command(after_help = "\
The browser is the one that `xdg-open` (on macOS `open`) takes. It is given a file that leads to the desktop, and the command
stays for ten seconds to let it read that file. A browser that may not read files of yours, as some packages confine it,
needs --print-url.

Examples:
  chorus open desk
  chorus open genomics/desk --wait
  chorus open desk --print-url")]
pub struct Open {
    #[command(flatten)]
    target: Target,
    /// Print the address instead of opening it; it works once, within 30 seconds, and for everybody who has it
    #[arg(long)]
    print_url: bool,
    #[command(flatten)]
    wait: WaitReady,
}

impl Open {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        let session = &context.session;
        let (id, name) = self.target.find(session).await?;
        if self.wait.is_asked_for() {
            let workbench = self.target.get(session).await?;
            self.wait.follow(context, workbench).await?;
        }
        let what = format!("open workbench {name}");
        let rpc = "WorkbenchService/CreateStreamTicket";
        let call = context.session.call(&what, rpc, CreateStreamTicketRequest { id }, async |channel, request| {
            connect::workbenches(channel).create_stream_ticket(request).await
        });
        let ticket = call.await?.result.ok_or_else(|| resolve::empty_reply(rpc))?;
        if context.printer.is_data() {
            return context.printer.item(&ticket, &[]);
        }
        if ticket.url.is_empty() {
            return Err(unknown_address(&what));
        }
        if self.print_url {
            return context.printer.text(&ticket.url);
        }
        show(&ticket.url, &what, &name).await
    }
}

fn unknown_address(what: &str) -> Error {
    Error::failure(format!("cannot {what}: the server does not know under which address browsers reach it"))
        .hint("its configuration says so with `public_url`")
}

/// Starts the browser, and gives it time to read the page.
async fn show(url: &str, what: &str, name: &str) -> Result<()> {
    let page = page(url)?;
    let mut browser = tokio::process::Command::new(OPENER);
    browser.arg(page.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let failed = |why: String| {
        Error::new(Exit::Failure, format!("cannot {what}: {why}"))
            .hint("`--print-url` prints the address, for a browser of your choice")
    };
    let mut browser = browser.spawn().map_err(|error| failed(format!("{OPENER} does not start: {error}")))?;
    say(&format!("opening workbench {name} in the browser"));
    let reading = time::sleep(READING);
    tokio::pin!(reading);
    tokio::select! {
        ended = browser.wait() => match ended {
            Ok(status) if !status.success() => return Err(failed(format!("{OPENER} found no browser"))),
            _ => {}
        },
        () = &mut reading => {}
    }
    reading.await;
    Ok(())
}

/// A page that leads on, readable for this account only, until it is dropped.
fn page(url: &str) -> Result<NamedTempFile> {
    // a temporary file has mode 0600
    let mut file = tempfile::Builder::new().prefix("chorus-open-").suffix(".html").tempfile()?;
    let address = attribute(url);
    write!(
        file,
        "<!doctype html>\n<meta charset=\"utf-8\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta http-equiv=\"refresh\" content=\"0; url={address}\">\n<title>chorus</title>\n\
         <p><a href=\"{address}\">Open the desktop</a></p>\n"
    )?;
    file.flush()?;
    Ok(file)
}

/// Text inside a quoted attribute.
fn attribute(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

impl Resource for CreateStreamTicketResult {
    const KIND: &'static str = "ticket";
    const MESSAGE: &'static str = "chorus.v1.CreateStreamTicketResult";

    fn id(&self) -> String {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_page_is_private_and_holds_the_address_as_text() {
        use std::os::unix::fs::PermissionsExt as _;
        let page = page("http://127.0.0.1:5000/a?b=c&d='\"><script>").unwrap();
        let text = std::fs::read_to_string(page.path()).unwrap();
        assert_eq!(std::fs::metadata(page.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(text.contains("url=http://127.0.0.1:5000/a?b=c&amp;d=&#39;&quot;&gt;&lt;script&gt;\""), "{text}");
        let path = page.path().to_owned();
        drop(page);
        assert!(!path.exists());
    }
}
