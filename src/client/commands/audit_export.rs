//! `chorus audit export`: the whole trail, or a part of it, as a file of lines.
//!
//! One page is in memory at a time. What always holds: lines come in the order of the ids, each record once; a file is
//! there whole or not at all, readable for its owner only; whoever is interrupted is told from where to go on.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;
use tempfile::NamedTempFile;

use super::audit::{Conditions, Order, PAGE};
use crate::{
    client::{
        Context,
        error::{Error, Result},
        output::{Format, Printer, Resource as _, data, say},
    },
    proto::v1::AuditEntry,
};

/// `chorus audit export`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus audit export > trail.ndjson
  chorus audit export --since 2026-11-01 --until 2026-12-01 --file november.ndjson
  chorus audit export --after 48211 --file next.ndjson
  chorus audit export --outcome refused | jq -r '[.createdAt, .actorUsername, .action] | @tsv'")]
pub struct Export {
    #[command(flatten)]
    conditions: Conditions,
    /// Only records after the one with this id: go on where an earlier export ended
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: u64,
    /// Write to this file, in one step and readable for you only, instead of standard output
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Export {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        if !matches!(context.printer.format(), Format::Table | Format::Ndjson) {
            return Err(Error::usage("an export is newline-delimited JSON")
                .hint("leave --output out; `chorus audit list` knows other forms"));
        }
        let mut target = Target::open(self.file)?;
        let mut progress = Progress { target: target.name(), last: self.after, count: 0, ended: false };
        let mut reading = self.conditions.reading(&context.session).await?;
        reading.filter.after_id = self.after;
        loop {
            let page = reading.page(&context.session, PAGE, Order::OldestFirst).await?;
            if !target.write(&mut context.printer, &lines(&page)?)? {
                // the reader has seen enough
                progress.ended = true;
                return Ok(());
            }
            progress.count += page.len();
            if let Some(last) = page.last() {
                (progress.last, reading.filter.after_id) = (last.id, last.id);
            }
            if page.len() < PAGE as usize {
                break;
            }
        }
        target.finish()?;
        progress.finish();
        Ok(())
    }
}

fn lines(page: &[AuditEntry]) -> Result<String> {
    let mut text = String::new();
    for entry in page {
        text.push_str(&data::line(AuditEntry::MESSAGE, entry)?);
        text.push('\n');
    }
    Ok(text)
}

/// Where the lines go.
enum Target {
    Stdout,
    File { path: PathBuf, unfinished: Box<NamedTempFile> },
}

impl Target {
    fn open(path: Option<PathBuf>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // a temporary file has mode 0600, and keeps it under its new name
        let unfinished = NamedTempFile::new_in(folder).map_err(|error| cannot_write(&path, &error))?;
        Ok(Self::File { path, unfinished: Box::new(unfinished) })
    }

    fn name(&self) -> Option<String> {
        match self {
            Self::Stdout => None,
            Self::File { path, .. } => Some(path.display().to_string()),
        }
    }

    /// Writes lines; says whether anybody still wants some.
    fn write(&mut self, stdout: &mut Printer<'_>, text: &str) -> Result<bool> {
        match self {
            Self::Stdout => stdout.pass(text),
            Self::File { path, unfinished } => match unfinished.write_all(text.as_bytes()) {
                Ok(()) => Ok(true),
                Err(error) => Err(cannot_write(path, &error)),
            },
        }
    }

    /// Puts the file in its place.
    fn finish(self) -> Result<()> {
        let Self::File { path, unfinished } = self else { return Ok(()) };
        let done = unfinished.as_file().sync_all().and_then(|()| Ok(unfinished.persist(&path)?));
        done.map(drop).map_err(|error| cannot_write(&path, &error))
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Error {
    Error::failure(format!("cannot write {}: {error}", path.display()))
}

/// How far the export is. Dropped before its end (an error, or Ctrl-C) it says how to go on.
struct Progress {
    target: Option<String>,
    last: u64,
    count: usize,
    ended: bool,
}

impl Progress {
    fn finish(mut self) {
        self.ended = true;
        match (self.count, self.last) {
            (0, _) => say("there is nothing to export"),
            (1, last) => say(&format!("exported 1 record; go on later with --after {last}")),
            (count, last) => say(&format!("exported {count} records; go on later with --after {last}")),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        match (&self.target, self.last) {
            _ if self.ended => {}
            (Some(file), _) => say(&format!("the export did not end, so {file} was not written")),
            (None, _) if self.count == 0 => {}
            (None, last) => say(&format!("the export did not end; go on with --after {last}")),
        }
    }
}
