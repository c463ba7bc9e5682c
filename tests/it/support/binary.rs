//! The binary as people run it: `chorus serve` as a process of its own, and commands against it as transcripts.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, LazyLock, Mutex},
    thread,
};

use regex::Regex;
use tempfile::TempDir;

/// The binary that the test run built.
const CHORUS: &str = env!("CARGO_BIN_EXE_chorus");
/// The password of the administrator of every test server.
pub const ADMIN_PASSWORD: &str = "nine violet otters juggle";

/// A running server on a data folder of its own; it ends with the value.
pub struct Server {
    process: Child,
    /// The address of the gRPC listener, as `--server` takes it.
    pub grpc: String,
    /// The address of the HTTP listener.
    pub http: String,
    /// What `--database-url` takes.
    pub database: String,
    folder: TempDir,
    flags: Vec<String>,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite:{}", folder.path().join("data/chorus.db").display());
        Self::start_on(folder, database, &[])
    }

    /// The same on this database.
    pub fn on_database(url: &str) -> Self {
        Self::start_on(tempfile::tempdir().unwrap(), url.to_owned(), &[])
    }

    /// The same with further flags; without a database, on a file.
    pub fn with_flags(database: Option<String>, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite:{}", folder.path().join("data/chorus.db").display());
        Self::start_on(folder, database.unwrap_or(file), flags)
    }

    fn start_on(folder: TempDir, database: String, flags: &[&str]) -> Self {
        fs::write(folder.path().join("password"), ADMIN_PASSWORD).unwrap();
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let log = Arc::default();
        let (process, [http, grpc]) = serve(folder.path(), &database, &flags, &log);
        Self { process, grpc, http, database, folder, flags, log }
    }

    /// The folder with everything that the server keeps.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Everything that the server has written to standard error and standard output; complete once it has stopped.
    pub fn output(&self) -> String {
        let stdout = fs::read_to_string(self.folder.path().join("stdout")).unwrap();
        stdout + &*self.log.lock().unwrap()
    }

    /// Sends a signal, such as `TERM` or `KILL`, and waits for the end.
    pub fn stop(&mut self, signal: &str) -> ExitStatus {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.process.id().to_string()).status().unwrap();
        assert!(sent.success());
        self.process.wait().unwrap()
    }

    /// Starts a stopped server again, on other ports.
    pub fn start_again(&mut self) {
        (self.process, [self.http, self.grpc]) = serve(self.folder.path(), &self.database, &self.flags, &self.log);
    }
}

/// A process that is ready, and the addresses of its listeners: HTTP, gRPC.
fn serve(folder: &Path, database: &str, flags: &[String], log: &Arc<Mutex<String>>) -> (Child, [String; 2]) {
    // what happens to be installed here decides nothing
    let runtime: &[_] =
        if flags.iter().any(|flag| flag.starts_with("--runtime")) { &[] } else { &["--runtime", "none"] };
    let mut process = chorus(folder)
        .args(["serve", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--log-format", "json"])
        .args(runtime)
        .args(flags)
        .env("CHORUS_DATABASE_URL", database)
        .args([Path::new("--data-dir"), &folder.join("data")])
        .args([Path::new("--admin-password-file"), &folder.join("password")])
        .stdin(Stdio::null())
        .stdout(fs::File::create(folder.join("stdout")).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let addresses = loop {
        let Some(Ok(line)) = lines.next() else { panic!("the server did not start:\n{}", log.lock().unwrap()) };
        writeln!(log.lock().unwrap(), "{line}").unwrap();
        if let Some(addresses) = ready(&line) {
            break addresses;
        }
    };
    // the log has to be read, or the server would block
    let log = log.clone();
    thread::spawn(move || {
        lines.map_while(Result::ok).for_each(|line| writeln!(log.lock().unwrap(), "{line}").unwrap())
    });
    (process, addresses.map(|address| format!("http://{address}")))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The addresses of the listeners, if this line of the log says that the server is ready.
fn ready(line: &str) -> Option<[String; 2]> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let address = |name: &str| Some(line[name].as_str()?.to_owned());
    if line["message"] == "ready" { Some([address("http")?, address("grpc")?]) } else { None }
}

/// The binary without anything of the environment that would change what it does.
fn chorus(home: &Path) -> Command {
    let mut command = Command::new(CHORUS);
    command.env_clear().env("HOME", home).env("XDG_CONFIG_HOME", home.join("config"));
    for name in ["PATH", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Somebody at a shell: a home folder, and everything that was typed and answered so far.
pub struct Shell {
    home: TempDir,
    server: String,
    transcript: String,
}

/// A command that goes on.
pub struct Running {
    process: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
}

impl Running {
    /// The next line on standard error.
    pub fn told(&mut self) -> String {
        line(&mut self.stderr)
    }

    /// The next line on standard output.
    pub fn printed(&mut self) -> String {
        line(&mut self.stdout)
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&self) {
        let sent = Command::new("kill").arg("-INT").arg(self.process.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end; what was not read yet is the answer.
    pub fn end(mut self) -> Answer {
        let mut answer = Answer { stdout: String::new(), stderr: String::new(), code: 0 };
        self.stderr.read_to_string(&mut answer.stderr).unwrap();
        self.stdout.read_to_string(&mut answer.stdout).unwrap();
        answer.code = self.process.wait().unwrap().code().unwrap();
        answer
    }
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// What a command answered.
pub struct Answer {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code.
    pub code: i32,
}

impl Shell {
    /// A shell that talks to the server.
    pub fn new(server: &str) -> Self {
        Self { home: tempfile::tempdir().unwrap(), server: server.to_owned(), transcript: String::new() }
    }

    /// The folder with the client's files.
    pub fn config(&self) -> PathBuf {
        self.home.path().join("config").join("chorus")
    }

    /// A command that is not run yet, for tests that want to change its surroundings.
    pub fn command(&self, line: &str) -> Command {
        let mut command = chorus(self.home.path());
        command.env("CHORUS_SERVER", &self.server).args(words(line));
        command
    }

    /// Runs a command line, without a terminal and with nothing on standard input.
    pub fn run(&mut self, line: &str) -> Answer {
        self.run_with(line, "")
    }

    /// Runs a command line with something on standard input.
    pub fn run_with(&mut self, line: &str, stdin: &str) -> Answer {
        let mut command = self.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        // a command that does not read its input has gone away already
        let _ = process.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = process.wait_with_output().unwrap();
        let answer = Answer {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code().unwrap(),
        };
        self.record(line, &answer);
        answer
    }

    /// Starts a command that goes on while the test does something else.
    pub fn start(&self, line: &str) -> Running {
        self.start_command(self.command(line))
    }

    /// The same for a command whose surroundings the test changed.
    pub fn start_command(&self, mut command: Command) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let stderr = BufReader::new(process.stderr.take().unwrap());
        Running { process, stdout, stderr }
    }

    /// What was typed and answered, with everything that differs from run to run replaced.
    pub fn transcript(&self) -> String {
        static CHANGING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
            [
                (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>               "),
                (r#""<time> +""#, r#""<time>""#),
                (r"http://127\.0\.0\.1:\d+", "<server>"),
                (
                    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
                    "<uuid>                              ",
                ),
                (r#""<uuid> +""#, r#""<uuid>""#),
                (r"chorus/[0-9.]+ tonic/[0-9.]+", "<user agent>"),
                (r"\b[0-9a-f]{16}\b", "<key id>        "),
                (r"(?m) +$", ""),
                (r"(?m)^(! request id: ).+$", "$1<id>"),
                (r#"("requestId":)"[^"]+""#, r#"$1"<id>""#),
            ]
            .into_iter()
            .map(|(pattern, replacement)| (Regex::new(pattern).unwrap(), replacement))
            .collect()
        });
        CHANGING.iter().fold(self.transcript.clone(), |text, (pattern, replacement)| {
            pattern.replace_all(&text, *replacement).into_owned()
        })
    }

    /// Replaces something that only this run knows, such as a generated password.
    pub fn hide(&mut self, secret: &str, name: &str) {
        self.transcript = self.transcript.replace(secret, name);
    }

    fn record(&mut self, line: &str, answer: &Answer) {
        writeln!(self.transcript, "$ chorus {line}").unwrap();
        self.transcript.push_str(&answer.stdout);
        answer.stderr.lines().for_each(|line| writeln!(self.transcript, "! {line}").unwrap());
        if answer.code != 0 {
            writeln!(self.transcript, "[exit {}]", answer.code).unwrap();
        }
        self.transcript.push('\n');
    }
}

/// Words as a shell splits them; single quotes keep blanks together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}
