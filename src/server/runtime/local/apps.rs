//! Which command an app runs, and the page that its browser opens.
//!
//! ```text
//! image without registry and tag ──► `local.apps` ──► the built-in list, as far as it is installed ──► command
//! ```
//!
//! What always holds: a token is never in the arguments of a process, which every user of the host can read. It is in a page
//! that only the desktop's user can read, and the browser gets the address of that page.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use secrecy::ExposeSecret as _;
use url::Url;
use zeroize::Zeroizing;

use super::protocol::{AppOrder, Page};
use crate::server::{
    config::AppCommand,
    runtime::{AppSpec, Browser},
};

/// Where programs are looked for. It is the `PATH` of desktops as well, and does not depend on who started the server.
pub const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/games";

/// An app that this host may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The name of its image.
    pub image: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub description: &'static str,
    /// Its command.
    pub command: &'static [&'static str],
}

const fn known(
    image: &'static str,
    name: &'static str,
    description: &'static str,
    command: &'static [&'static str],
) -> Known {
    Known { image, name, description, command }
}

/// What the local runtime knows by itself.
pub const KNOWN: &[Known] = &[
    known("local/xterm", "Terminal", "A shell in a window.", &["xterm", "-fa", "Monospace", "-fs", "11"]),
    known("local/mousepad", "Text editor", "Mousepad, a plain text editor.", &["mousepad"]),
    known("local/gedit", "gedit", "A plain text editor.", &["gedit"]),
    known("local/gnumeric", "Spreadsheet", "Gnumeric, a spreadsheet.", &["gnumeric"]),
    known("local/libreoffice", "LibreOffice", "Documents, spreadsheets and slides.", &["libreoffice", "--norestore"]),
    known("local/rstudio", "RStudio", "An environment for R.", &["rstudio"]),
    known("local/spyder", "Spyder", "An environment for Python.", &["spyder"]),
    known("local/firefox", "Firefox", "A web browser.", &["firefox-esr", "--new-instance"]),
    known(
        "local/chromium",
        "Chromium",
        "A web browser.",
        &["chromium", "--no-first-run", "--no-default-browser-check", "--password-store=basic"],
    ),
    known("local/gimp", "GIMP", "An editor for images.", &["gimp"]),
    known("local/xcalc", "Calculator", "A pocket calculator.", &["xcalc"]),
];

/// Those that are installed here.
pub fn installed() -> Vec<Known> {
    KNOWN.iter().copied().filter(|app| app.command.first().is_some_and(|program| find(program).is_some())).collect()
}

/// The file of a program, if it is installed.
pub fn find(program: &str) -> Option<PathBuf> {
    let runs = |path: &PathBuf| fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(runs);
    }
    PATH.split(':').map(|folder| PathBuf::from(folder).join(program)).find(runs)
}

/// The order for an app.
pub fn order(spec: &AppSpec, configured: &[AppCommand]) -> AppOrder {
    let page = spec.browser.as_ref().map(page).transpose();
    let (command, page) = match page {
        Ok(page) => (command(&spec.image, configured), page),
        Err(wrong) => (Err(wrong), None),
    };
    AppOrder { id: spec.id, incarnation: spec.incarnation, state: spec.state, command, page }
}

/// The command of an image, or a sentence that says what to do.
fn command(image: &str, configured: &[AppCommand]) -> Result<Vec<String>, String> {
    let command = match configured.iter().find(|one| one.image == image) {
        Some(one) => one.command.clone(),
        None => match KNOWN.iter().find(|one| one.image == image) {
            Some(one) => one.command.iter().map(|word| (*word).to_owned()).collect(),
            None => {
                return Err(format!(
                    "The local runtime does not run images, and no command is configured for {image:?}. An administrator can \
                     add one to the key `local.apps`: --local-app {image}=COMMAND."
                ));
            }
        },
    };
    match command.first() {
        Some(program) if find(program).is_none() => Err(format!(
            "The program {program:?}, which {image:?} runs, is not installed on this host. Install it, or name another in the \
             key `local.apps`."
        )),
        _ => Ok(command),
    }
}

/// The page that leads a browser to its app, with the token where only the app's own page can read it: behind the `#`,
/// which browsers do not send.
fn page(browser: &Browser) -> Result<Page, String> {
    let address = match (&browser.jwt_token, browser.jwt_url.as_str()) {
        (Some(_), url) if !url.is_empty() => url,
        _ => &browser.url,
    };
    let web = |url: &Url| matches!(url.scheme(), "http" | "https");
    let mut url = Url::parse(address).ok().filter(web).ok_or("The address of the app is not a web address.")?;
    let mut target = Zeroizing::new(String::new());
    if let Some(token) = &browser.jwt_token {
        url.set_fragment(None);
        target.push_str(url.as_str());
        target.push_str("#jwt=");
        target.extend(form_urlencoded::byte_serialize(token.expose_secret().as_bytes()));
    } else {
        target.push_str(url.as_str());
    }
    let escaped = Zeroizing::new(escape(&target));
    // long enough, so that it does not move and leave a copy
    let mut text = String::with_capacity(2 * escaped.len() + 512);
    for part in [
        "<!doctype html><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"no-referrer\"><title>Opening</title>\n\
         <meta http-equiv=\"refresh\" content=\"0;url=",
        &escaped,
        "\">\n<a href=\"",
        &escaped,
        "\">Open the app</a>\n",
    ] {
        text.push_str(part);
    }
    Ok(Page(text))
}

fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::runtime::{AppState, Limits};

    fn spec(image: &str, browser: Option<Browser>) -> AppSpec {
        AppSpec {
            id: 3,
            name: "App".to_owned(),
            state: AppState::Running,
            incarnation: 2,
            registry: String::new(),
            image: image.to_owned(),
            tag: String::new(),
            limits: Limits::default(),
            browser,
        }
    }

    #[test]
    fn configured_commands_come_first_and_gaps_name_the_key() {
        let configured: Vec<AppCommand> = ["apps/echo=sh -c true", "local/xterm=sh", "apps/gone=no-such-program"]
            .map(|it| it.parse().unwrap())
            .into();
        let command = |image: &str| order(&spec(image, None), &configured).command;
        assert_eq!(command("apps/echo").unwrap(), ["sh", "-c", "true"]);
        assert_eq!(command("local/xterm").unwrap(), ["sh"]);
        for image in ["apps/rstudio", "apps/gone", ""] {
            assert!(command(image).unwrap_err().contains("`local.apps`"), "{image}");
        }
        assert!(installed().iter().all(|app| find(app.command[0]).is_some()));
    }

    #[test]
    fn the_token_is_behind_the_number_sign_of_a_page_that_cannot_be_broken_out_of() {
        let browser = |url: &str, jwt_url: &str, token: Option<&str>| Browser {
            url: url.to_owned(),
            jwt_url: jwt_url.to_owned(),
            jwt_token: token.map(|token| token.to_owned().into()),
        };
        let of = |it: Browser| page(&it).map(|page| page.0.clone());
        let text = of(browser("https://a.org/", "https://a.org/in?x=1&y=\"><b>#old", Some("a.b-c_d"))).unwrap();
        assert!(text.contains("https://a.org/in?x=1&amp;y=%22%3E%3Cb%3E#jwt=a.b-c_d"), "{text}");
        assert!(!text.contains("<b>") && !text.contains("#old"));
        assert!(of(browser("https://a.org/p#part", "https://a.org/in", None)).unwrap().contains("a.org/p#part\""));
        assert!(of(browser("https://a.org/", "", Some("t"))).unwrap().contains("https://a.org/#jwt=t\""));
        for bad in ["", "javascript:alert(1)", "file:///etc/passwd"] {
            assert!(order(&spec("local/xterm", Some(browser(bad, "", None))), &[]).command.is_err(), "{bad}");
        }
    }
}
