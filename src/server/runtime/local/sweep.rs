//! Ends every process of a desktop, also those that left their process group or lost their parent.
//!
//! ```text
//! marked in the environment ─┐
//! recorded (pid and start) ──┼─► and all their descendants ─► TERM, a moment, KILL until none is left
//! ```
//!
//! What always holds: only processes of the desktops' user are touched; a process is signalled through a descriptor that was
//! opened before it was looked at, so a number that the system gave to another process meanwhile hits nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The variable that marks the processes of a desktop; its value is the desktop's folder for sockets, which no two share.
pub const MARK: &str = "CHORUS_DESKTOP";
/// The variable that marks the processes of an app; its value is the id of the instance.
pub const APP_MARK: &str = "CHORUS_APP_INSTANCE";
/// The file in that folder with the processes that the supervisor started. Xpra or a browser may write over its environment.
pub const RECORD: &str = "processes";

/// How long processes have between the request to end and the end.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it is tried altogether. What survives a KILL for so long hangs in the kernel.
const MOST: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// A process, told from later ones with the same number by its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// The number.
    pub pid: i32,
    /// When it started, in ticks since the system did.
    pub start: u64,
}

impl Process {
    /// The process that has this number now.
    pub fn of(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        stat(pid).map(|stat| Self { pid, start: stat.start })
    }
}

/// Which processes are meant.
#[derive(Debug, Clone)]
pub struct Whose<'a> {
    /// The desktop's folder for sockets.
    pub run: &'a Path,
    /// Of this app only.
    pub app: Option<i64>,
    /// The user they run as.
    pub uid: u32,
    /// Recorded ones.
    pub recorded: Vec<Process>,
    /// The supervisor itself, if it asks: it stays, and its descendants count, marked or not.
    pub but: Option<u32>,
}

impl<'a> Whose<'a> {
    /// Everything of a desktop, its supervisor included.
    pub fn desktop(run: &'a Path, uid: u32) -> Self {
        Self { run, app: None, uid, recorded: read_record(run, uid), but: None }
    }

    /// Those that live.
    fn living(&self) -> Vec<Process> {
        let all = processes(self.uid);
        let children: BTreeMap<i32, Vec<i32>> = all.iter().fold(BTreeMap::new(), |mut children, (pid, stat)| {
            children.entry(stat.parent).or_insert_with(Vec::new).push(*pid);
            children
        });
        let but = self.but.and_then(|pid| i32::try_from(pid).ok());
        let marked = |pid: &i32| Some(*pid) != but && self.marks(*pid);
        let recorded = self.recorded.iter().filter(|one| all.get(&one.pid).is_some_and(|stat| stat.start == one.start));
        let roots: Vec<i32> = all.keys().copied().filter(marked).chain(recorded.map(|one| one.pid)).collect();
        let (mut found, mut look) = (BTreeSet::new(), roots);
        look.extend(but.and_then(|pid| children.get(&pid)).into_iter().flatten());
        while let Some(pid) = look.pop() {
            if Some(pid) != but && found.insert(pid) {
                look.extend(children.get(&pid).into_iter().flatten());
            }
        }
        let living = |pid: i32| all.get(&pid).filter(|stat| !stat.dead).map(|stat| Process { pid, start: stat.start });
        found.into_iter().filter_map(living).collect()
    }

    fn marks(&self, pid: i32) -> bool {
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
        let has = |name: &str, value: &[u8]| {
            environment.split(|byte| *byte == 0).any(|one| {
                one.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")).is_some_and(|it| it == value)
            })
        };
        has(MARK, self.run.as_os_str().as_bytes())
            && self.app.is_none_or(|app| has(APP_MARK, app.to_string().as_bytes()))
    }

    /// Asks those that live to end and returns how many they were.
    fn signal(&self, signal: Signal) -> usize {
        let living = self.living();
        for process in &living {
            let pid = Pid::from_raw(process.pid);
            let Some(Ok(handle)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else { continue };
            // the descriptor stands for whoever has the number now: is it still the one that was looked at?
            if stat(process.pid).is_some_and(|stat| stat.start == process.start) {
                // it may have ended by itself
                let _ = pidfd_send_signal(&handle, signal);
            }
        }
        living.len()
    }

    /// Ends them at once, without waiting.
    pub fn kill(&self) -> usize {
        self.signal(Signal::KILL)
    }

    /// Ends them: first in good order, then at once.
    ///
    /// # Errors
    /// When some do not end at all.
    pub async fn end(&self) -> io::Result<()> {
        let started = tokio::time::Instant::now();
        let mut left = self.signal(Signal::TERM);
        while left > 0 {
            tokio::time::sleep(PAUSE).await;
            left = if started.elapsed() < PATIENCE { self.living().len() } else { self.kill() };
            if left > 0 && started.elapsed() > MOST {
                return Err(io::Error::other(format!("{left} processes do not end")));
            }
        }
        Ok(())
    }
}

/// Writes down what the supervisor started.
///
/// # Errors
/// When the file cannot be written.
pub fn write_record(run: &Path, processes: impl IntoIterator<Item = Process>) -> io::Result<()> {
    let lines: String = processes.into_iter().map(|one| format!("{} {}\n", one.pid, one.start)).collect();
    let (file, fresh) = (run.join(RECORD), run.join(format!("{RECORD}.new")));
    fs::write(&fresh, lines)?;
    fs::rename(fresh, file)
}

/// What was written down. The folder belongs to the desktop's user, so the file may be anything: it is read only if it is a
/// short plain file of that user, and what it names is checked again before it counts.
fn read_record(run: &Path, uid: u32) -> Vec<Process> {
    let path = run.join(RECORD);
    let plain = fs::symlink_metadata(&path).is_ok_and(|it| it.is_file() && it.uid() == uid && it.len() < 1 << 20);
    let text = if plain { fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
    let process = |line: &str| {
        let (pid, start) = line.split_once(' ')?;
        Some(Process { pid: pid.parse().ok().filter(|pid| *pid > 1)?, start: start.parse().ok()? })
    };
    text.lines().filter_map(process).collect()
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The parent.
    pub parent: i32,
    /// When it started.
    pub start: u64,
    /// Whether it ended, and only waits for its parent to notice.
    pub dead: bool,
}

/// What there is to know of a process; none when there is none.
pub fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name of the program is in parentheses and may hold anything, also parentheses and blanks.
fn parse(text: &str) -> Option<Stat> {
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let start = fields.nth(17)?.parse().ok()?;
    Some(Stat { parent, start, dead: matches!(state, "Z" | "X") })
}

/// Every process of a user.
pub fn processes(uid: u32) -> BTreeMap<i32, Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let process = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let own = entry.metadata().ok()?.uid() == uid;
        own.then(|| stat(pid)).flatten().map(|stat| (pid, stat))
    };
    entries.filter_map(process).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_line_of_a_process_is_read_whatever_its_name() {
        let rest = "S 7 8 9 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 2";
        for name in ["sh", "a b", ") (", "x) S 1 2"] {
            let stat = parse(&format!("12 ({name}) {rest}")).unwrap();
            assert_eq!(stat, Stat { parent: 7, start: 4711, dead: false }, "{name}");
        }
        assert!(parse("12 (x) Z 7 8 9 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 2").unwrap().dead);
        assert_eq!([parse(""), parse("1 (x"), parse("1 (x) S 1"), parse("1 (x) S y 2")], [None; 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_left_its_group_and_what_is_only_recorded_end_and_strangers_live() {
        let folder = tempfile::tempdir().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let spawn = |script: &str, mark: &Path| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]).env(MARK, mark).stdout(Stdio::piped());
            command.spawn().unwrap()
        };
        // ignores TERM, and its child is in a session of its own
        let mut tough = spawn("trap '' TERM; setsid sleep 300 & sleep 301; sleep 302", folder.path());
        let mut stranger = spawn("exec sleep 300", Path::new("/elsewhere"));
        let mut recorded = spawn("exec sleep 300", Path::new("/elsewhere"));
        let real = Process::of(recorded.id()).unwrap();
        // the number of somebody else with another start: as after the number came round
        let reused = Process { start: 1, ..Process::of(stranger.id()).unwrap() };
        write_record(folder.path(), [real, reused]).unwrap();
        // the shell has to come to its second command
        let whose = Whose::desktop(folder.path(), uid);
        while whose.living().len() < 4 {
            tokio::task::yield_now().await;
        }
        whose.end().await.unwrap();
        assert!(!tough.wait().unwrap().success() && !recorded.wait().unwrap().success());
        assert_eq!(whose.living(), []);
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
