//! How the supervisor starts processes, and what it knows of those that run.
//!
//! What always holds: a process starts with the environment written here and nothing else, with standard input closed, in a
//! process group of its own; it is on record before anything waits for it.

use std::{
    collections::BTreeSet,
    io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::log::Log;
use crate::server::runtime::local::{
    apps::{self, PATH},
    sweep::{self, APP_MARK, MARK, Process},
};

/// How long a log may take to tell the last words of a process that ended. A child of it may still hold the pipe.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What all processes of a desktop have around them.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The folder for sockets, cookie and logs.
    pub run: PathBuf,
    /// The home.
    pub home: PathBuf,
    /// The processes that run.
    pub record: Record,
}

/// The processes that the supervisor started and that did not end yet, also in a file, for whoever tidies up after it.
#[derive(Debug, Clone, Default)]
pub struct Record(Arc<Mutex<BTreeSet<Process>>>);

impl Record {
    fn change(&self, run: &Path, change: impl FnOnce(&mut BTreeSet<Process>)) {
        let mut processes = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        change(&mut processes);
        // their environment names them as well
        let _ = sweep::write_record(run, processes.iter().copied());
    }

    /// Whether this process is waited for by whoever started it.
    pub fn knows(&self, pid: i32) -> bool {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).iter().any(|one| one.pid == pid)
    }
}

impl Surroundings {
    /// Where programs find the display's cookie.
    pub fn authority(&self) -> PathBuf {
        self.run.join("cookie")
    }

    /// The file with what a process writes.
    pub fn log(&self, name: &str) -> Log {
        Log::at(self.log_file(name))
    }

    /// The path of that file.
    pub fn log_file(&self, name: &str) -> PathBuf {
        self.run.join(format!("{name}.log"))
    }

    /// A program that is not started yet.
    pub fn command(&self, program: &str, arguments: impl IntoIterator<Item = String>) -> Command {
        let shell = ["/bin/bash", "/bin/sh"].into_iter().find(|shell| apps::find(shell).is_some());
        let mut command = Command::new(apps::find(program).unwrap_or_else(|| PathBuf::from(program)));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("HOME", &self.home)
            .env("SHELL", shell.unwrap_or("/bin/sh"))
            .env("XDG_RUNTIME_DIR", self.run.join("xdg"))
            .env("XAUTHORITY", self.authority())
            .env(MARK, &self.run)
            .current_dir(&self.home)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The same for an app.
    pub fn app_command(&self, id: i64, display: Option<u32>, program: &str, arguments: Vec<String>) -> Command {
        let mut command = self.command(program, arguments);
        command.env(APP_MARK, id.to_string());
        if let Some(display) = display {
            command.env("DISPLAY", format!(":{display}"));
        }
        command
    }

    /// Starts a process.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, command: &mut Command, log: Log) -> io::Result<Running> {
        let mut child = command.spawn()?;
        let process = child.id().and_then(Process::of);
        if let Some(process) = process {
            self.record.change(&self.run, |processes| {
                processes.insert(process);
            });
        }
        let errors = child.stderr.take().map(|errors| log.follow(errors));
        Ok(Running { child, process, errors, log, of: self.clone() })
    }
}

/// A process that was started.
#[derive(Debug)]
pub struct Running {
    /// The process; its standard output is whoever's takes it.
    pub child: Child,
    process: Option<Process>,
    errors: Option<tokio::task::JoinHandle<()>>,
    /// What it writes.
    pub log: Log,
    of: Surroundings,
}

impl Running {
    /// The number of the process, which is that of its group as well.
    pub fn pid(&self) -> Option<i32> {
        self.process.map(|process| process.pid)
    }

    /// Lets the log have its standard output as well.
    pub fn log_output(&mut self) {
        if let Some(output) = self.child.stdout.take() {
            self.log.follow(output);
        }
    }

    /// Waits for its end; the log is complete then.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        if let Some(process) = self.process.take() {
            self.of.record.change(&self.of.run, |processes| {
                processes.remove(&process);
            });
        }
        if let Some(errors) = self.errors.take() {
            let _ = tokio::time::timeout(LAST_WORDS, errors).await;
        }
        status
    }

    /// Ends it: first in good order, then at once.
    pub async fn end(&mut self, grace: Duration) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(grace, self.ended()).await.is_err() {
            self.signal(Signal::KILL);
            // whoever cannot be waited for is gone
            let _ = self.ended().await;
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            signal_group(pid, signal);
        }
    }
}

/// Sends a signal to a process group. The number belongs to our own child, which nobody has waited for yet.
pub fn signal_group(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // it may have ended by itself
        let _ = kill_process_group(pid, signal);
    }
}

/// How a process ended, as the end of a sentence.
pub fn told(status: &io::Result<ExitStatus>) -> String {
    match status.as_ref().map(|status| (status.code(), status.signal())) {
        Ok((Some(code), _)) => format!("ended with exit code {code}"),
        Ok((None, Some(signal))) => format!("was ended by signal {signal}"),
        _ => "ended, and the system cannot tell how".to_owned(),
    }
}
