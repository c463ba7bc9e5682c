//! The supervisor of one desktop: the process `chorus local-desktop`, parent of Xpra and of the apps.
//!
//! ```text
//! serve ──socket──► orders ──► screen (Xvfb, Xpra) ──► stage ─┐
//!       ◄─────────── status ◄── instances (apps) ◄────────────┴─ exits, time
//! ```
//!
//! It runs as the desktops' user and not as root: it reads what untrusted programs write, and it owns nothing that they do
//! not own as well. They can end it; then the server notices and ends them.
//!
//! What always holds:
//! - it answers the server's user and nobody else;
//! - it ends, and with it everything it started, when it is told to, when it gets a TERM, and when no server asked for it
//!   for a configured time;
//! - whatever loses its parent becomes its child (`PR_SET_CHILD_SUBREAPER`), so there are no zombies and no strays.

mod instances;
mod log;
mod process;
mod screen;
mod x11;

use std::{
    fs::{self, DirBuilder},
    io::{Read as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use rustix::{
    fs::Mode,
    process::{WaitOptions, getpid, set_child_subreaper, umask, waitpid},
};
use tokio::{
    net::{UnixListener, UnixStream},
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use self::{
    instances::{Exit, Instances},
    process::Surroundings,
    screen::{Screen, Stage, Wish},
    x11::Cookie,
};
use super::{
    folders::CONTROL,
    protocol::{HELLO, Line, Order, Reply, Request, Setup, Status},
    sweep::{Whose, processes},
};
use crate::server::{random::Random, runtime::PodStatus};

/// The longest setup.
const MAX_SETUP: u64 = 64 * 1024;
/// How long a peer may take to say what it wants.
const PEER_PATIENCE: Duration = Duration::from_secs(5);

/// Supervises a desktop until its end. What is to be done comes from standard input.
///
/// # Errors
/// When the desktop cannot be set up.
pub async fn supervise(random: &dyn Random) -> anyhow::Result<()> {
    let mut setup = Vec::new();
    std::io::stdin().lock().take(MAX_SETUP).read_to_end(&mut setup)?;
    let setup: Setup = serde_json::from_slice(&setup).context("no setup on standard input")?;
    umask(Mode::from_raw_mode(0o077));
    set_child_subreaper(Some(getpid())).context("strays cannot be adopted")?;
    let of = surroundings(&setup)?;
    let listener = UnixListener::bind(setup.run.join(CONTROL)).context("the socket cannot be made")?;
    let cookie = Cookie::generate(random);
    cookie.write(&of.authority()).context("the cookie cannot be written")?;
    let supervisor = Supervisor::new(setup, of, cookie)?;
    // the server waits for this line before it connects
    writeln!(std::io::stdout(), "{HELLO}")?;
    supervisor.run(listener).await
}

fn surroundings(setup: &Setup) -> anyhow::Result<Surroundings> {
    let home = setup.files.join("home");
    for folder in [setup.run.join("xdg"), setup.run.join("conf"), home.clone()] {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.context("the folders of the desktop cannot be made")?;
    }
    let link = home.join("workspace");
    if fs::symlink_metadata(&link).is_err() {
        std::os::unix::fs::symlink(&setup.shared, &link).context("the shared folder cannot be linked")?;
    }
    Ok(Surroundings { run: setup.run.clone(), home, record: process::Record::default() })
}

/// What a peer wants, and where the answer goes.
type Asked = (Request, oneshot::Sender<Reply>);

struct Supervisor {
    setup: Setup,
    of: Surroundings,
    generation: i64,
    instances: Instances,
    exits: mpsc::UnboundedReceiver<Exit>,
    wish: watch::Sender<Wish>,
    stage: watch::Receiver<Stage>,
    status: watch::Sender<Status>,
    screen: Option<Screen>,
    screen_task: Option<JoinHandle<()>>,
    /// Whether an app found that the display has gone, before the screen told.
    display_lost: bool,
    /// Until when everything ends in good order; none: it does not end.
    ending: Option<Instant>,
    /// Peers that are connected.
    peers: usize,
    /// Since when nobody is.
    alone_since: Instant,
}

impl Supervisor {
    fn new(setup: Setup, of: Surroundings, cookie: Cookie) -> anyhow::Result<Self> {
        let (wish, wished) = watch::channel(Wish::default());
        let first = if setup.screen { Stage::first() } else { Stage::bare() };
        let (stages, stage) = watch::channel(first);
        let (exit, exits) = mpsc::unbounded_channel();
        let instances = Instances::new(of.clone(), &setup.files, setup.grace, exit);
        let screen = setup.screen.then(|| Screen::new(of.clone(), cookie, wished, stages));
        let status = Status {
            generation: 0,
            pod: PodStatus::Waiting,
            reason: "Waiting".to_owned(),
            message: String::new(),
            apps: vec![],
        };
        Ok(Self {
            setup,
            of,
            generation: 0,
            instances,
            exits,
            wish,
            stage,
            status: watch::Sender::new(status),
            screen,
            screen_task: None,
            display_lost: false,
            ending: None,
            peers: 0,
            alone_since: Instant::now(),
        })
    }

    async fn run(mut self, listener: UnixListener) -> anyhow::Result<()> {
        let (mut children, mut terminate) = (signal(SignalKind::child())?, signal(SignalKind::terminate())?);
        // the terminal in which the server was started may close
        let mut hangup = signal(SignalKind::hangup())?;
        let (ask, mut asked) = mpsc::channel::<Asked>(16);
        let (leave, mut left) = mpsc::unbounded_channel::<()>();
        while !self.is_over() {
            let due = self.due();
            tokio::select! {
                Ok((stream, _)) = listener.accept() => self.welcome(stream, &ask, &leave),
                Some((request, answer)) = asked.recv() => {
                    // whoever asked may have gone
                    let _ = answer.send(self.answer(request));
                }
                Some(()) = left.recv() => {
                    self.peers = self.peers.saturating_sub(1);
                    self.alone_since = Instant::now();
                }
                Some(mut exit) = self.exits.recv() => {
                    self.display_lost |= exit.lost;
                    exit.lost |= self.ending.is_some();
                    self.instances.exited(exit);
                }
                Ok(()) = self.stage.changed() => self.display_lost = false,
                _ = children.recv() => self.bury(),
                _ = terminate.recv() => self.end(),
                _ = hangup.recv() => {}
                () = sleep_until(due) => {}
            }
            self.drive();
        }
        self.tidy().await
    }

    /// Serves a peer, if it is the server.
    fn welcome(&mut self, stream: UnixStream, ask: &mpsc::Sender<Asked>, leave: &mpsc::UnboundedSender<()>) {
        if stream.peer_cred().is_ok_and(|peer| peer.uid() == self.setup.server) {
            self.peers += 1;
            let (ask, leave, status) = (ask.clone(), leave.clone(), self.status.subscribe());
            tokio::spawn(async move {
                // a peer that says nonsense or goes away ends its own conversation only
                let _ = converse(Line::new(stream), ask, status).await;
                let _ = leave.send(());
            });
        }
    }

    fn answer(&mut self, request: Request) -> Reply {
        match request {
            _ if self.ending.is_some() => Reply::Ending,
            Request::Apply(order) => {
                self.apply(order);
                Reply::Done
            }
            Request::Stop => {
                self.end();
                Reply::Done
            }
            Request::Watch => Reply::Status(self.status.borrow().clone()),
            Request::Logs { app, most } => Reply::Text(self.logs(app, most)),
        }
    }

    fn apply(&mut self, order: Order) {
        self.generation = order.generation;
        let wish = Wish { resolution: order.resolution, clipboard: order.clipboard };
        self.wish.send_if_modified(|now| std::mem::replace(now, wish) != wish);
        self.instances.want(order.apps);
        if let Some(screen) = self.screen.take() {
            self.screen_task = Some(tokio::spawn(screen.keep()));
        }
    }

    fn logs(&self, app: i64, most: usize) -> String {
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        let bytes = log::end_of(&self.of.log_file(&format!("app-{app}")), most.min(1 << 20)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        // a character that was cut became a longer one
        let surplus = text.len().saturating_sub(usize::try_from(most).unwrap_or(usize::MAX));
        let start = (surplus..=text.len()).find(|start| text.is_char_boundary(*start)).unwrap_or_default();
        text.get(start..).unwrap_or_default().to_owned()
    }

    /// Brings everything to what is wanted, and tells how things are.
    fn drive(&mut self) {
        let stage = self.stage.borrow_and_update().clone();
        if self.ending.is_none() {
            if self.peers == 0 && self.alone_since.elapsed() >= self.setup.unattended {
                self.end();
            } else if self.generation > 0 {
                let display = stage.display.is_some() && !self.display_lost;
                self.instances.drive(display || !self.setup.screen, stage.display);
            }
        }
        let (pod, reason, message) = match self.ending {
            Some(_) => (PodStatus::Terminating, "Ending", "The desktop ends.".to_owned()),
            None if self.generation == 0 => {
                (PodStatus::Waiting, "Waiting", "The desktop waits for its order.".to_owned())
            }
            None => (stage.pod, stage.reason, stage.message),
        };
        let status = Status {
            generation: self.generation,
            pod,
            reason: reason.to_owned(),
            message,
            apps: self.instances.seen(),
        };
        self.status.send_if_modified(|now| {
            let other = *now != status;
            *now = status;
            other
        });
    }

    /// Begins to end everything: apps first, so that they can save what they have.
    fn end(&mut self) {
        if self.ending.is_none() {
            self.ending = Some(Instant::now() + self.setup.grace);
            self.instances.end();
        }
    }

    fn is_over(&self) -> bool {
        self.ending.is_some_and(|until| until <= Instant::now() || !self.instances.running())
    }

    /// When to look without being woken.
    fn due(&self) -> Instant {
        let alone = (self.peers == 0).then(|| self.alone_since + self.setup.unattended);
        let far = Instant::now() + Duration::from_secs(24 * 60 * 60);
        match self.ending {
            Some(until) => until,
            None => [alone, self.instances.due()].into_iter().flatten().min().unwrap_or(far),
        }
    }

    /// Waits for processes that were adopted. Our own have somebody who does.
    fn bury(&self) {
        let me = getpid().as_raw_nonzero().get();
        let own = rustix::process::geteuid().as_raw();
        for (pid, _) in processes(own).into_iter().filter(|(_, stat)| stat.dead && stat.parent == me) {
            if !self.of.record.knows(pid)
                && let Some(pid) = rustix::process::Pid::from_raw(pid)
            {
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    }

    /// Ends what is left and removes what is of this desktop's running only.
    async fn tidy(mut self) -> anyhow::Result<()> {
        if let Some(screen) = self.screen_task.take() {
            screen.abort();
            // it stops at once, wherever it is
            let _ = screen.await;
        }
        let own = rustix::process::geteuid().as_raw();
        let all = Whose { but: Some(std::process::id()), ..Whose::desktop(&self.setup.run, own) };
        all.end().await.context("processes of the desktop are left")?;
        self.bury();
        for entry in fs::read_dir(&self.setup.run)?.flatten() {
            remove(entry.path());
        }
        Ok(())
    }
}

/// The server removes the folder itself; what cannot be removed here goes with it.
fn remove(path: PathBuf) {
    let _ = if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

/// Serves one peer: a request at a time; a watch until it hangs up.
async fn converse(mut line: Line, ask: mpsc::Sender<Asked>, mut status: watch::Receiver<Status>) -> anyhow::Result<()> {
    while let Some(request) = timeout(PEER_PATIENCE, line.hear()).await?? {
        if let Request::Watch = request {
            return show(line, &mut status).await;
        }
        let (answer, answered) = oneshot::channel();
        ask.send((request, answer)).await?;
        line.say(&answered.await?).await?;
    }
    Ok(())
}

async fn show(mut line: Line, status: &mut watch::Receiver<Status>) -> anyhow::Result<()> {
    loop {
        let now = status.borrow_and_update().clone();
        line.say(&Reply::Status(now)).await?;
        tokio::select! {
            changed = status.changed() => changed?,
            // it says nothing more: this is its end
            _ = line.hear::<Request>() => return Ok(()),
        }
    }
}
