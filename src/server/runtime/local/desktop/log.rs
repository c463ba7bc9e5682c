//! What a process writes, in a file that does not grow without end, and its last lines for people who ask why it ended.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rustix::fs::OFlags;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    task::JoinHandle,
};

/// A file that is larger than twice this is cut to its last part of this size.
const KEPT: u64 = 128 * 1024;
/// How much of the end is kept in memory.
const TAIL: usize = 4 * 1024;

/// The log of one process. Clones write to the same.
#[derive(Debug, Clone)]
pub struct Log(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    tail: Vec<u8>,
}

impl Log {
    /// A log in this file, which grows if it is there.
    pub fn at(path: PathBuf) -> Self {
        Self(Arc::new(Mutex::new(Inner { path, tail: Vec::new() })))
    }

    /// Writes down what comes, until its end.
    pub fn follow(&self, mut from: impl AsyncRead + Unpin + Send + 'static) -> JoinHandle<()> {
        let log = self.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 8 * 1024];
            while let Ok(read @ 1..) = from.read(&mut buffer).await {
                log.write(buffer.get(..read).unwrap_or_default());
            }
        })
    }

    fn write(&self, bytes: &[u8]) {
        let mut inner = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        inner.tail.extend_from_slice(bytes);
        let surplus = inner.tail.len().saturating_sub(TAIL);
        inner.tail.drain(..surplus);
        // a full disk loses lines of a log, not the desktop
        let _ = append(&inner.path, bytes);
    }

    /// Its last lines for people: no control characters, at most so many lines and characters.
    pub fn last_lines(&self, lines: usize, characters: usize) -> String {
        let inner = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        last_lines(&String::from_utf8_lossy(&inner.tail), lines, characters)
    }
}

fn last_lines(text: &str, lines: usize, characters: usize) -> String {
    let mut last: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(lines).collect();
    last.reverse();
    let shown: Vec<char> = last.join("\n").chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    shown.iter().skip(shown.len().saturating_sub(characters)).collect()
}

fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = open(OpenOptions::new().read(true).append(true).create(true), path)?;
    file.write_all(bytes)?;
    if file.metadata()?.len() > 2 * KEPT {
        let kept = last(&mut file, KEPT)?;
        file.set_len(0)?;
        file.write_all(&kept)?;
    }
    Ok(())
}

/// The last bytes of a file.
///
/// # Errors
/// When it cannot be read.
pub fn end_of(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    last(&mut open(OpenOptions::new().read(true), path)?, most)
}

fn last(file: &mut File, most: u64) -> io::Result<Vec<u8>> {
    let start = file.metadata()?.len().saturating_sub(most);
    file.seek(SeekFrom::Start(start))?;
    let mut end = Vec::new();
    file.take(most).read_to_end(&mut end)?;
    Ok(end)
}

/// Opens a log. The apps of the desktop can put something else in its place: neither a link is followed nor a pipe waited for.
fn open(how: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = how.mode(0o600).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("the log is no file")),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn what_is_no_file_is_no_log() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, link) = (folder.path().join("pipe"), folder.path().join("link"));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        fs::write(folder.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret"), &link).unwrap();
        for path in [pipe, link] {
            assert!(end_of(&path, 100).is_err(), "{path:?}");
            assert!(append(&path, b"forged").is_err(), "{path:?}");
        }
        assert_eq!(fs::read_to_string(folder.path().join("secret")).unwrap(), "secret");
    }

    #[test]
    fn a_log_keeps_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::at(path.clone());
        for number in 0..40_000 {
            log.write(format!("line {number}\n").as_bytes());
        }
        assert!(fs::metadata(&path).unwrap().len() <= 2 * KEPT);
        assert!(fs::read_to_string(&path).unwrap().ends_with("line 39999\n"));
        assert_eq!(log.last_lines(2, 100), "line 39998\nline 39999");
    }

    #[test]
    fn last_lines_are_short_and_plain() {
        let cases = [
            ("", 3, 9, ""),
            ("a\n\n  \nb\n", 5, 9, "a\nb"),
            ("one\ntwo\nthree", 2, 99, "two\nthree"),
            ("\u{1b}[31mred\u{7}", 1, 99, "[31mred"),
            ("abcdef", 1, 3, "def"),
        ];
        for (text, lines, characters, expected) in cases {
            assert_eq!(last_lines(text, lines, characters), expected, "{text:?}");
        }
    }
}
