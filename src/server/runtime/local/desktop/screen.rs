//! The screen of a desktop: an X server (Xvfb) of its own, and Xpra, which shows its windows as a page.
//!
//! ```text
//! Xvfb ─ says its number ─► answers with the cookie ─► Xpra on a Unix socket ─► HTTP 200 ─► Ready
//!   ▲ ended: apps are lost,        ▲ ended, or the clipboard's policy changed:
//!   └ everything starts again      └ started again; the apps do not notice
//! ```
//!
//! Xvfb picks a free number itself (`-displayfd`), so no two desktops race for one. Xpra gets the finished display
//! (`--use-display`), hence the apps live longer than Xpra: the policy of the clipboard, which Xpra reads at its start only,
//! takes effect at once.
//!
//! What always holds: the page answers on a Unix socket in a folder of mode 0700, and on no port; `Ready` was seen, not hoped.

use std::{path::Path, time::Duration};

use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    process::{Running, Surroundings, signal_group, told},
    x11::{self, Cookie},
};
use crate::server::runtime::{Clipboard, PodStatus, local::folders::PAGE};

/// The screen is at least this large. A browser makes it smaller, never larger.
const LEAST: (u32, u32) = (3840, 2160);
/// The screen is at most this large.
const MOST: (u32, u32) = (8192, 8192);
/// How long the X server may take to say its number.
const DISPLAY_STARTS: Duration = Duration::from_secs(15);
/// How long Xpra may take to answer.
const PAGE_STARTS: Duration = Duration::from_secs(60);
/// How often the page is asked until it answers.
const ASK: Duration = Duration::from_millis(50);
/// How long Xpra may take to end.
const GRACE: Duration = Duration::from_secs(3);
/// What ran for so long is not failing again and again.
const STEADY: Duration = Duration::from_secs(30);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After so many failures in a row it is called that.
const FAILING: u32 = 3;

/// What the screen is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// Width and height; 0 leaves it to us. Counts when the X server starts.
    pub resolution: (u32, u32),
    /// Where the clipboard may carry text.
    pub clipboard: Clipboard,
}

/// How far the screen is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The word of the wire.
    pub pod: PodStatus,
    /// A word for programs.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
    /// The display on which apps may run.
    pub display: Option<u32>,
}

impl Stage {
    /// Nothing is started yet.
    pub fn first() -> Self {
        Self::new(PodStatus::Starting, "Starting", "The screen of the desktop starts.", None)
    }

    /// Without a screen there is nothing to wait for.
    pub fn bare() -> Self {
        Self::new(PodStatus::Ready, "Ready", "", None)
    }

    fn new(pod: PodStatus, reason: &'static str, message: impl Into<String>, display: Option<u32>) -> Self {
        Self { pod, reason, message: message.into(), display }
    }
}

/// Why something is not there.
struct Failure {
    reason: &'static str,
    message: String,
}

impl Failure {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// Keeps the screen of a desktop.
pub struct Screen {
    of: Surroundings,
    cookie: Cookie,
    wish: watch::Receiver<Wish>,
    stage: watch::Sender<Stage>,
    failures: u32,
}

impl Screen {
    /// A screen that is not started yet.
    pub fn new(of: Surroundings, cookie: Cookie, wish: watch::Receiver<Wish>, stage: watch::Sender<Stage>) -> Self {
        Self { of, cookie, wish, stage, failures: 0 }
    }

    /// Starts it, and starts it again whenever it ends.
    pub async fn keep(mut self) {
        loop {
            let Err(failure) = self.show().await;
            self.failed(failure, None).await;
        }
    }

    /// Tells of a failure and waits before the next try.
    async fn failed(&mut self, failure: Failure, display: Option<u32>) {
        self.failures = self.failures.saturating_add(1);
        let (pod, end) = match self.failures {
            FAILING.. => (PodStatus::Failing, "It is tried again now and then."),
            _ => (PodStatus::Restarting, "It is started again."),
        };
        self.stage.send_replace(Stage::new(pod, failure.reason, format!("{} {end}", failure.message), display));
        sleep(pause(self.failures)).await;
    }

    /// One life of the X server.
    async fn show(&mut self) -> Result<std::convert::Infallible, Failure> {
        let (mut server, display) = self.start_display().await?;
        let shown = tokio::select! {
            status = server.ended() => {
                x11::tidy(display).await;
                let words = last_words(&server);
                Failure::new("DisplayEnded", format!("The X server (Xvfb) {}.{words}", told(&status)))
            }
            never = self.show_page(display) => match never {},
        };
        Err(shown)
    }

    async fn start_display(&mut self) -> Result<(Running, u32), Failure> {
        let failed = |text: &str| Failure::new("DisplayFailed", format!("The X server (Xvfb) {text}"));
        let (width, height) = size(self.wish.borrow_and_update().resolution);
        let arguments = ["-displayfd", "1", "+extension", "Composite", "-nolisten", "tcp", "-noreset", "-screen", "0"]
            .into_iter()
            .map(str::to_owned)
            .chain([format!("{width}x{height}x24+32"), "-auth".to_owned()])
            .chain([self.of.authority().display().to_string()]);
        let mut command = self.of.command("Xvfb", arguments);
        let started = self.of.start(&mut command, self.of.log("xvfb"));
        let mut server = started.map_err(|error| failed(&format!("cannot be started: {error}.")))?;
        let mut line = String::new();
        if let Some(output) = server.child.stdout.take() {
            // longer lines are no number
            let _ = timeout(DISPLAY_STARTS, BufReader::new(output.take(16)).read_line(&mut line)).await;
        }
        let up = match line.trim().parse::<u32>() {
            Ok(display) => x11::answers(display, &self.cookie).await.is_ok().then_some(display),
            Err(_) => None,
        };
        match up {
            Some(display) => Ok((server, display)),
            None => {
                server.end(GRACE).await;
                Err(failed(&format!("did not come up.{}", last_words(&server))))
            }
        }
    }

    /// Shows the display as a page, until the X server ends and this is dropped.
    async fn show_page(&mut self, display: u32) -> std::convert::Infallible {
        let starting = "The page of the desktop starts.";
        self.stage.send_replace(Stage::new(PodStatus::Starting, "Starting", starting, None));
        let mut apps_on = None;
        loop {
            let wish = *self.wish.borrow_and_update();
            let failure = match self.start_page(display, wish.clipboard).await {
                Err(failure) => failure,
                Ok(mut page) => {
                    let since = Instant::now();
                    apps_on = Some(display);
                    self.stage.send_replace(Stage::new(PodStatus::Ready, "Ready", "", apps_on));
                    tokio::select! {
                        status = page.0.ended() => {
                            self.failures = if since.elapsed() > STEADY { 0 } else { self.failures };
                            let words = last_words(&page.0);
                            Failure::new("PageEnded", format!("Xpra, which shows the desktop, {}.{words}", told(&status)))
                        }
                        () = changed(&mut self.wish, wish.clipboard) => {
                            let text = "The page of the desktop starts again with the clipboard's new policy.";
                            self.stage.send_replace(Stage::new(PodStatus::Restarting, "ClipboardChanged", text, apps_on));
                            page.0.end(GRACE).await;
                            continue;
                        }
                    }
                }
            };
            self.failed(failure, apps_on).await;
        }
    }

    async fn start_page(&self, display: u32, clipboard: Clipboard) -> Result<Page, Failure> {
        let failed = |text: &str| Failure::new("PageFailed", format!("Xpra, which shows the desktop, {text}"));
        let socket = self.of.run.join(PAGE);
        // one that Xpra left behind would only be in the way
        let _ = tokio::fs::remove_file(&socket).await;
        let mut command = self.of.command("xpra", arguments(&self.of.run, &socket, display, clipboard));
        // the packaged configuration would start an X session; an empty folder has none. What Xpra writes to its home goes
        // with the desktop.
        let nothing = self.of.run.join("conf");
        command.env("XPRA_SYSTEM_CONF_DIRS", &nothing).env("XPRA_USER_CONF_DIRS", &nothing).env("HOME", &self.of.run);
        let started = self.of.start(&mut command, self.of.log("xpra"));
        let mut page = Page(started.map_err(|error| failed(&format!("cannot be started: {error}.")))?);
        page.0.log_output();
        let answered = tokio::select! {
            answered = timeout(PAGE_STARTS, page_answers(&socket)) => answered.is_ok(),
            status = page.0.ended() => {
                return Err(failed(&format!("{}.{}", told(&status), last_words(&page.0))));
            }
        };
        if !answered {
            page.0.end(GRACE).await;
            return Err(failed(&format!("does not answer.{}", last_words(&page.0))));
        }
        Ok(page)
    }
}

/// Xpra. It ends when nobody waits for it any more: when the X server ended.
struct Page(Running);

impl Drop for Page {
    fn drop(&mut self) {
        if let Some(pid) = self.0.pid() {
            signal_group(pid, Signal::KILL);
        }
    }
}

/// Waits until the clipboard's policy is another.
async fn changed(wish: &mut watch::Receiver<Wish>, clipboard: Clipboard) {
    if wish.wait_for(|wish| wish.clipboard != clipboard).await.is_err() {
        // nobody will ever wish again
        std::future::pending::<()>().await;
    }
}

/// The last lines of a process as the end of a paragraph.
fn last_words(process: &Running) -> String {
    match process.log.last_lines(3, 300) {
        lines if lines.is_empty() => lines,
        lines => format!(" Its last lines: {lines}"),
    }
}

fn pause(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(LONGEST_PAUSE)
}

fn size(wanted: (u32, u32)) -> (u32, u32) {
    (wanted.0.clamp(LEAST.0, MOST.0), wanted.1.clamp(LEAST.1, MOST.1))
}

fn arguments(run: &Path, socket: &Path, display: u32, clipboard: Clipboard) -> Vec<String> {
    let (run, socket) = (run.display(), socket.display());
    let mut arguments = vec!["start".to_owned(), format!(":{display}"), "--use-display".to_owned()];
    arguments.extend([format!("--bind={socket}"), format!("--socket-dir={run}"), format!("--socket-dirs={run}")]);
    arguments.extend(
        match clipboard {
            Clipboard::Disabled => ["--clipboard=no", "--clipboard-direction=disabled"],
            Clipboard::ToServer => ["--clipboard=yes", "--clipboard-direction=to-server"],
            Clipboard::ToClient => ["--clipboard=yes", "--clipboard-direction=to-client"],
            Clipboard::Both => ["--clipboard=yes", "--clipboard-direction=both"],
        }
        .map(str::to_owned),
    );
    arguments.extend(FIXED.iter().map(|argument| (*argument).to_owned()));
    arguments
}

/// Several may look at once; nothing but pixels, keys and the clipboard passes; no helper is started.
const FIXED: &[&str] = &[
    "--html=on",
    "--daemon=no",
    "--sharing=yes",
    "--resize-display=yes",
    "--exit-with-children=no",
    "--start-new-commands=no",
    "--terminate-children=no",
    "--file-transfer=no",
    "--open-files=no",
    "--open-url=no",
    "--printing=no",
    "--webcam=no",
    "--speaker=off",
    "--microphone=off",
    "--pulseaudio=no",
    "--notifications=no",
    "--forward-xdg-open=no",
    "--ssh-upgrade=no",
    "--mdns=no",
    "--mmap=no",
    "--dbus-launch=",
    "--dbus-proxy=no",
    "--dbus-control=no",
    "--systemd-run=no",
    "--session-name=chorus",
];

/// Waits until the page answers.
async fn page_answers(socket: &Path) {
    while !answers(socket).await.unwrap_or_default() {
        sleep(ASK).await;
    }
}

/// Whether the page answers with HTTP 200.
async fn answers(socket: &Path) -> std::io::Result<bool> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut line = String::new();
    BufReader::new(stream.take(64)).read_line(&mut line).await?;
    Ok(line.split(' ').nth(1) == Some("200"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        assert_eq!([1, 2, 3, 7, 99].map(|failures| pause(failures).as_secs()), [1, 2, 4, 60, 60]);
    }

    #[test]
    fn the_screen_has_room_for_large_browsers_and_a_bound() {
        assert_eq!(size((0, 0)), LEAST);
        assert_eq!(size((1280, 99_999)), (3840, 8192));
    }

    #[test]
    fn the_clipboard_is_what_the_workspace_says_and_nothing_else_passes() {
        let of = |clipboard| arguments(Path::new("/r"), Path::new("/r/page"), 7, clipboard).join(" ");
        assert!(of(Clipboard::Disabled).contains("--clipboard=no --clipboard-direction=disabled"));
        assert!(of(Clipboard::ToServer).contains("--clipboard=yes --clipboard-direction=to-server"));
        assert!(of(Clipboard::ToClient).contains("--clipboard-direction=to-client"));
        assert!(of(Clipboard::Both).contains("--clipboard-direction=both"));
        let all = of(Clipboard::Both);
        for closed in ["--file-transfer=no", "--printing=no", "--speaker=off", "--bind=/r/page", "--sharing=yes"] {
            assert!(all.contains(closed), "{closed}");
        }
        assert!(!all.contains("tcp"));
    }
}
