//! The local runtime: desktops are processes on this host. For evaluation and development; it isolates nothing.
//!
//! ```text
//!             ┌─ spawns, detached ─► chorus local-desktop (one per desktop) ─► Xvfb, Xpra, apps
//! [`Local`] ──┤                        ▲
//!             └─ Unix socket ──────────┘  orders; a watch that tells of every change
//! ```
//!
//! A desktop outlives the server: one that starts again finds the sockets and watches on. When a supervisor is gone without
//! tidying up, the server ends what it left (see `sweep`) and tells that the desktop is gone.
//!
//! What always holds:
//! - at most one supervisor per workbench: whatever changes that holds the workbench's slot;
//! - what desktops own is not trusted: a socket counts only if the desktops' user listens on it, so that a desktop cannot
//!   lead the server to somebody else's;
//! - nothing runs as root.

mod account;
pub mod apps;
mod desktop;
mod folders;
mod protocol;
mod sweep;

use std::{
    collections::HashMap,
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use anyhow::{Context as _, bail};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::BoxStream};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    sync::{Mutex as AsyncMutex, OwnedMutexGuard, broadcast, watch},
    time::{Instant, timeout},
};
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};

use self::{
    account::Account,
    folders::{CONTROL, Folders, PAGE},
    protocol::{HELLO, Line, Order, Reply, Request, Setup, Status},
    sweep::{MARK, Whose},
};
use super::{
    AppObservation, Event, Observation, PodStatus, Removal, Result, Runtime, RuntimeError, ServerStatus, Stream,
    WorkbenchRef, WorkbenchSpec, WorkspaceSpec,
};
use crate::server::config::{self, AppCommand};

pub use desktop::supervise;

/// What the runtime starts as supervisor: this very program, also if its file was replaced meanwhile or is in a folder that
/// the desktops' user cannot enter.
const SELF: &str = "/proc/self/exe";
/// The command that makes this program a supervisor. The name of the desktop follows, for people who list processes.
pub const SUPERVISE: &str = "local-desktop";
/// How long a supervisor may take to start or to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest text that a supervisor's words are shown with.
const MOST_CHARACTERS: usize = 2000;
/// How many events may wait for a slow reader before it has to list.
const EVENTS: usize = 1024;
/// How long an app has between the request to end and the end.
const GRACE: Duration = Duration::from_secs(5);

/// What a desktop needs to be there: the program, and its Debian package.
const NEEDED: [(&str, &str, &str); 2] = [("xpra", "xpra", "XpraMissing"), ("Xvfb", "xvfb", "XvfbMissing")];

/// How the local runtime runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder for the files of desktops.
    pub files: PathBuf,
    /// The Unix user of desktops when the server runs as root.
    pub user: String,
    /// Which command an app runs.
    pub apps: Vec<AppCommand>,
    /// A desktop ends when no server asked for it for this long.
    pub unattended: Duration,
    /// How long an app has between the request to end and the end.
    pub grace: Duration,
    /// The program with the command `local-desktop`.
    pub supervisor: PathBuf,
    /// Without: desktops have no screen and are ready at once. For tests of the supervision, which need no X server.
    pub screen: bool,
}

impl Options {
    /// As configured.
    ///
    /// # Errors
    /// When the data directory is not there.
    pub fn of(config: &config::Config) -> anyhow::Result<Self> {
        Ok(Self {
            files: files(config)?,
            user: config.local.user.clone(),
            apps: config.local.apps.clone(),
            unattended: config.local.unattended_timeout,
            grace: GRACE,
            supervisor: PathBuf::from(SELF),
            screen: true,
        })
    }
}

/// Where the files of desktops go. Desktops of a server that runs as root are not root, and the data directory is closed to
/// them: theirs are elsewhere, in a folder named after it.
fn files(config: &config::Config) -> anyhow::Result<PathBuf> {
    use sha2::{Digest as _, Sha256};
    if let Some(folder) = &config.local.dir {
        return Ok(folder.clone());
    }
    if !rustix::process::geteuid().is_root() {
        return Ok(config.data_dir.join("desktops"));
    }
    let data_dir = config.data_dir.canonicalize().context("the data directory is not there")?;
    let digest = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(Path::new("/var/lib/chorus-desktops").join(name))
}

/// The first program that is missing here: its reason and what to do.
pub fn missing() -> Option<(&'static str, String)> {
    let (program, package, reason) = NEEDED.into_iter().find(|(program, ..)| apps::find(program).is_none())?;
    let text = format!(
        "The local runtime needs {program}, which is not installed on this host. Install the Debian package {package}: \
         apt install xpra xvfb xauth xterm"
    );
    Some((reason, text))
}

/// The local runtime.
pub struct Local(Arc<Inner>);

struct Inner {
    options: Options,
    account: Account,
    folders: Folders,
    events: broadcast::Sender<Event>,
    slots: Mutex<HashMap<WorkbenchRef, Arc<AsyncMutex<Slot>>>>,
}

/// What the server knows of a workbench's supervisor.
#[derive(Default)]
struct Slot {
    /// What it last told; none when there is no supervisor, or nobody found it yet.
    watched: Option<watch::Receiver<Status>>,
    /// Since when it is asked to end.
    ending: Option<Instant>,
}

type Held = OwnedMutexGuard<Slot>;

impl Local {
    /// A runtime with these options.
    ///
    /// # Errors
    /// When desktops cannot run here; the text says what to do.
    pub fn open(options: Options) -> anyhow::Result<Self> {
        // whatever started this server may have left files open for it; none of them is for desktops
        close_fds::set_fds_cloexec_threadsafe(3, &[]);
        let account = Account::of_desktops(&options.user)?;
        let folders = Folders::open(&options.files, account)?;
        let (events, _) = broadcast::channel(EVENTS);
        Ok(Self(Arc::new(Inner { options, account, folders, events, slots: Mutex::default() })))
    }

    /// The folder with the files of all desktops.
    pub fn files(&self) -> &Path {
        &self.0.options.files
    }

    /// The folder with the sockets of a desktop, for tests that look at what is left.
    pub fn run_folder(&self, of: WorkbenchRef) -> PathBuf {
        self.0.folders.run_of(of)
    }

    /// The folder with the files of a workbench, for tests.
    pub fn files_folder(&self, of: WorkbenchRef) -> PathBuf {
        self.0.folders.files_of(of)
    }
}

impl Inner {
    /// Holds a workbench: nobody else starts or ends its supervisor meanwhile.
    async fn hold(&self, of: WorkbenchRef) -> Held {
        let slot = self.slots.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).entry(of).or_default().clone();
        slot.lock_owned().await
    }

    /// Watches the supervisor of a workbench; false when there is none.
    async fn find(self: &Arc<Self>, of: WorkbenchRef, held: &mut Held) -> bool {
        let dial = async {
            let mut line = self.dial(of).await?;
            let reply = line.ask(&Request::Watch).await?;
            anyhow::Ok((line, reply))
        };
        if held.watched.is_none()
            && let Ok(Ok((line, Reply::Status(status)))) = timeout(PATIENCE, dial).await
        {
            self.watch(of, held, line, status);
        }
        held.watched.is_some()
    }

    fn watch(self: &Arc<Self>, of: WorkbenchRef, held: &mut Held, line: Line, first: Status) {
        let _ = self.events.send(Event::Seen(observation(of, &first)));
        let (tell, status) = watch::channel(first);
        tokio::spawn(follow(Arc::downgrade(self), of, line, tell));
        held.watched = Some(status);
    }

    /// Opens the supervisor's socket.
    async fn dial(&self, of: WorkbenchRef) -> io::Result<Line> {
        Ok(Line::new(self.open(&self.folders.run_of(of).join(CONTROL)).await?))
    }

    /// Opens a socket on which the desktops' user listens. Its folder is theirs: they could have put a link to another there.
    async fn open(&self, path: &Path) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(path).await?;
        match stream.peer_cred() {
            Ok(peer) if self.account.owns(peer.uid()) => Ok(stream),
            _ => Err(io::Error::other("somebody else listens there")),
        }
    }

    /// Asks the supervisor.
    async fn ask(&self, of: WorkbenchRef, request: &Request) -> anyhow::Result<Reply> {
        let answer = async { self.dial(of).await?.ask(request).await };
        timeout(PATIENCE, answer).await.context("the supervisor of the desktop does not answer")?
    }

    /// Starts a supervisor where there is none.
    async fn start(self: &Arc<Self>, of: WorkbenchRef, held: &mut Held) -> anyhow::Result<()> {
        self.sweep(of).await?;
        held.ending = None;
        self.folders.make_workbench(of).context("the folders of the desktop cannot be made")?;
        timeout(PATIENCE, self.spawn(of)).await.context("the supervisor of the desktop does not start")??;
        if !self.find(of, held).await {
            bail!("the supervisor of the desktop does not answer");
        }
        Ok(())
    }

    async fn spawn(&self, of: WorkbenchRef) -> anyhow::Result<()> {
        let run = self.folders.run_of(of);
        let setup = Setup {
            run: run.clone(),
            files: self.folders.files_of(of),
            shared: self.folders.shared_of(of.workspace),
            server: rustix::process::geteuid().as_raw(),
            unattended: self.options.unattended,
            grace: self.options.grace,
            screen: self.options.screen,
        };
        let mut command = std::process::Command::new(&self.options.supervisor);
        command
            .arg0("chorus")
            .args([SUPERVISE, &of.to_string()])
            .env_clear()
            .env(MARK, &run)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if self.account.foreign {
            // as root this drops all further groups too: see `Command::uid` of the standard library, and the test
            command.gid(self.account.gid).uid(self.account.uid);
        }
        let mut child = tokio::process::Command::from(command).spawn().context("the supervisor cannot be started")?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        // it is not ours to end, but ours to bury
        tokio::spawn(async move { child.wait().await });
        if let Some(mut input) = input {
            input.write_all(&serde_json::to_vec(&setup)?).await?;
        }
        let mut line = String::new();
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut line).await?;
        }
        if line.trim_end() != HELLO {
            bail!("the supervisor of the desktop ended at its start");
        }
        Ok(())
    }

    /// Ends what a supervisor left that is gone, and removes its folder.
    async fn sweep(&self, of: WorkbenchRef) -> anyhow::Result<()> {
        let run = self.folders.run_of(of);
        if run.exists() {
            Whose::desktop(&run, self.account.uid).end().await.context("processes of the desktop do not end")?;
            self.folders.remove_run(of).context("the folder of the desktop cannot be removed")?;
        }
        Ok(())
    }

    /// Ends a desktop.
    async fn end(self: &Arc<Self>, of: WorkbenchRef, held: &mut Held) -> anyhow::Result<Removal> {
        if self.find(of, held).await {
            // one with nothing to end may be gone before it answers; the watch tells when
            let since = *held.ending.get_or_insert_with(Instant::now);
            let stop = async { self.dial(of).await?.ask(&Request::Stop).await };
            let heard = matches!(timeout(PATIENCE, stop).await, Ok(Ok(_)));
            // apps run as the same user: they may have stopped it, and answer in its place
            if !heard || since.elapsed() > self.options.grace + PATIENCE {
                tracing::warn!(target: "chorus", desktop = %of, "its supervisor does not listen and is ended");
                self.sweep(of).await?;
            }
            return Ok(Removal::Going);
        }
        self.sweep(of).await?;
        Ok(Removal::Gone)
    }

    /// The supervisor hung up: it ended, in good order or not.
    async fn lost(&self, of: WorkbenchRef) {
        let mut held = self.hold(of).await;
        held.watched = None;
        let event = if self.tidy(of).await { Event::Gone(of) } else { Event::Missed };
        // nobody may be listening
        let _ = self.events.send(event);
    }

    /// The same as [`Self::sweep`] where nobody waits for the answer: whether nothing is left.
    async fn tidy(&self, of: WorkbenchRef) -> bool {
        let swept = self.sweep(of).await;
        if let Err(error) = &swept {
            tracing::error!(target: "chorus", desktop = %of, "what it left cannot be removed: {error:#}");
        }
        swept.is_ok()
    }

    async fn list(self: &Arc<Self>) -> anyhow::Result<Vec<Observation>> {
        let mut seen = Vec::new();
        for of in self.folders.running().context("the folder of the desktops cannot be read")? {
            let mut held = self.hold(of).await;
            if !self.find(of, &mut held).await {
                self.tidy(of).await;
            }
            seen.extend(held.watched.as_ref().map(|status| observation(of, &status.borrow())));
        }
        Ok(seen)
    }

    async fn apply(self: &Arc<Self>, spec: &WorkbenchSpec) -> Result<()> {
        let mut held = self.hold(spec.of).await;
        if !self.find(spec.of, &mut held).await {
            if let Some((reason, text)) = missing().filter(|_| self.options.screen) {
                return Err(RuntimeError::lasting(reason, text));
            }
            self.start(spec.of, &mut held).await.map_err(failed)?;
        }
        let order = Order {
            generation: spec.generation,
            resolution: spec.resolution,
            clipboard: spec.clipboard,
            apps: spec.apps.iter().map(|app| apps::order(app, &self.options.apps)).collect(),
        };
        match self.ask(spec.of, &Request::Apply(order)).await.map_err(failed)? {
            Reply::Ending => Err(RuntimeError::transient("Ending", "The desktop ends, and starts again after that.")),
            _ => Ok(()),
        }
    }

    async fn delete(self: &Arc<Self>, of: WorkbenchRef) -> anyhow::Result<Removal> {
        let mut held = self.hold(of).await;
        if let Removal::Going = self.end(of, &mut held).await? {
            return Ok(Removal::Going);
        }
        let folders = self.folders.clone();
        tokio::task::spawn_blocking(move || folders.remove_files(of)).await?.context("its files cannot be removed")?;
        // nobody asks for it again; whoever waits for it just now keeps the slot
        let mut slots = self.slots.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if slots.get(&of).is_some_and(|slot| Arc::strong_count(slot) == 2) {
            slots.remove(&of);
        }
        Ok(Removal::Gone)
    }

    async fn delete_workspace(&self, workspace: i64) -> anyhow::Result<Removal> {
        let running = self.folders.running().context("the folder of the desktops cannot be read")?;
        if running.iter().any(|of| of.workspace == workspace) {
            return Ok(Removal::Going);
        }
        let folders = self.folders.clone();
        let removed = tokio::task::spawn_blocking(move || folders.remove_workspace(workspace)).await?;
        removed.context("its files cannot be removed")?;
        Ok(Removal::Gone)
    }
}

/// Tells what a supervisor tells, until it hangs up or the runtime ends.
async fn follow(runtime: Weak<Inner>, of: WorkbenchRef, mut line: Line, tell: watch::Sender<Status>) {
    loop {
        let heard = tokio::select! {
            heard = line.hear::<Reply>() => heard,
            () = tell.closed() => return,
        };
        let (Ok(Some(Reply::Status(status))), Some(runtime)) = (heard, runtime.upgrade()) else { break };
        let _ = runtime.events.send(Event::Seen(observation(of, &status)));
        tell.send_replace(status);
    }
    if let Some(runtime) = runtime.upgrade() {
        runtime.lost(of).await;
    }
}

/// What a supervisor tells, in the words of the trait. It is the desktops' user who tells, so texts are cut.
fn observation(of: WorkbenchRef, status: &Status) -> Observation {
    let server = match status.pod {
        PodStatus::Ready => ServerStatus::Running,
        PodStatus::Failing => ServerStatus::Failed,
        PodStatus::Terminated | PodStatus::Unknown => ServerStatus::None,
        PodStatus::Waiting | PodStatus::Starting | PodStatus::Restarting | PodStatus::Terminating => {
            ServerStatus::Progressing
        }
    };
    let cut = |text: &str| text.chars().take(MOST_CHARACTERS).collect::<String>();
    let app = |app: &protocol::AppSeen| AppObservation {
        id: app.id,
        incarnation: app.incarnation,
        status: app.status,
        message: cut(&app.message),
    };
    Observation {
        of,
        generation: status.generation,
        pod: status.pod,
        server,
        reason: cut(&status.reason),
        message: cut(&status.message),
        apps: status.apps.iter().map(app).collect(),
    }
}

/// What failed on this host may not fail the next time.
fn failed(error: anyhow::Error) -> RuntimeError {
    RuntimeError::transient("LocalRuntimeFailed", format!("The local runtime failed: {error:#}."))
}

impl Runtime for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn apply_workspace<'a>(&'a self, spec: &'a WorkspaceSpec) -> BoxFuture<'a, Result<()>> {
        let made = self.0.folders.make_workspace(spec.id).context("the folders of the workspace cannot be made");
        async move { made.map_err(failed) }.boxed()
    }

    fn delete_workspace(&self, workspace: i64) -> BoxFuture<'_, Result<Removal>> {
        async move { self.0.delete_workspace(workspace).await.map_err(failed) }.boxed()
    }

    fn apply<'a>(&'a self, spec: &'a WorkbenchSpec) -> BoxFuture<'a, Result<()>> {
        self.0.apply(spec).boxed()
    }

    fn stop(&self, of: WorkbenchRef) -> BoxFuture<'_, Result<Removal>> {
        let stop = async move {
            let mut held = self.0.hold(of).await;
            self.0.end(of, &mut held).await.map_err(failed)
        };
        stop.boxed()
    }

    fn delete(&self, of: WorkbenchRef) -> BoxFuture<'_, Result<Removal>> {
        async move { self.0.delete(of).await.map_err(failed) }.boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Observation>>> {
        async move { self.0.list().await.map_err(failed) }.boxed()
    }

    fn observe(&self) -> BoxStream<'static, Event> {
        let event = |event: std::result::Result<Event, BroadcastStreamRecvError>| event.unwrap_or(Event::Missed);
        BroadcastStream::new(self.0.events.subscribe()).map(event).boxed()
    }

    fn connect(&self, of: WorkbenchRef) -> BoxFuture<'_, Result<Box<dyn Stream>>> {
        let connect = async move {
            let stream = self.0.open(&self.0.folders.run_of(of).join(PAGE)).await;
            let not_there = |_| RuntimeError::transient("NotReady", "The desktop does not answer yet.");
            stream.map(|stream| Box::new(stream) as Box<dyn Stream>).map_err(not_there)
        };
        connect.boxed()
    }

    fn logs(&self, of: WorkbenchRef, app: i64, most: usize) -> BoxFuture<'_, Result<String>> {
        let logs = async move {
            if !self.0.folders.run_of(of).exists() {
                return Ok(String::new());
            }
            match self.0.ask(of, &Request::Logs { app, most }).await.map_err(failed)? {
                Reply::Text(text) => Ok(text),
                _ => Ok(String::new()),
            }
        };
        logs.boxed()
    }
}
