//! How answers are printed.
//!
//! Data goes to standard output, everything else to standard error. A command hands over messages of the contract and the
//! columns that a person wants to see; [`Printer`] turns them into what `--output` asks for. JSON and YAML never depend on
//! the columns. A reader who goes away (`chorus … | head`) is not an error.

use std::io::{self, IsTerminal as _, Write};

use clap::ValueEnum;
use serde::Serialize;

pub use table::{Column, Rows, Shown};

use super::error::{Error, Result};

pub mod data;
pub mod escape;
pub mod qr;
mod table;

/// Tells the person at the terminal something, on standard error. When nobody listens any more, that is no failure.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", escape::visible(text));
}

/// Several of a kind.
pub fn plural(kind: &str) -> String {
    match kind.ends_with("ch") {
        true => format!("{kind}es"),
        false => format!("{kind}s"),
    }
}

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// JSON as the REST API has it; stable, for programs.
    Json,
    /// The same data, one JSON object per line.
    Ndjson,
    /// The same data as YAML.
    Yaml,
    /// One `kind/id` per line.
    Name,
}

/// A message that has an identity.
pub trait Resource: prost::Message + Sized {
    /// What it is, in one word: `workspace`.
    const KIND: &'static str;
    /// Its full name in the contract.
    const MESSAGE: &'static str;
    /// Its id, or the name that serves as one.
    fn id(&self) -> String;
}

/// Writes answers in the chosen form.
pub struct Printer<'a> {
    format: Format,
    style: table::Style,
    out: Box<dyn Write + 'a>,
}

impl Printer<'static> {
    /// Prints to standard output.
    pub fn stdout(format: Format) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let width = terminal.then(terminal_size::terminal_size).flatten().map(|(width, _)| width.0);
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { format, style: table::Style { width, bold: terminal && !plain }, out: Box::new(stdout.lock()) }
    }
}

impl<'a> Printer<'a> {
    /// Prints elsewhere, as into a pipe.
    #[cfg(test)]
    pub fn to(format: Format, out: impl Write + 'a) -> Self {
        Self { format, style: table::Style { width: None, bold: false }, out: Box::new(out) }
    }

    /// Whether programs read the answer: JSON or YAML.
    pub fn is_data(&self) -> bool {
        matches!(self.format, Format::Json | Format::Ndjson | Format::Yaml)
    }

    /// The chosen form.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Prints a list; as data it is a bare array.
    pub fn list<T: Resource>(&mut self, items: &[T], columns: &[Column<T>]) -> Result<()> {
        match self.format {
            Format::Table | Format::Wide if items.is_empty() => {
                say(&format!("no {}", plural(T::KIND)));
                Ok(())
            }
            Format::Table => self.rows(items, columns, Shown::Always),
            Format::Wide => self.rows(items, columns, Shown::Wide),
            Format::Json | Format::Yaml => {
                let messages = items.iter().map(|item| data::reflect(T::MESSAGE, item)).collect::<Result<Vec<_>>>()?;
                self.data(&messages.iter().map(data::Rest).collect::<Vec<_>>())
            }
            Format::Ndjson => {
                let lines = items.iter().map(|item| Ok(data::line(T::MESSAGE, item)? + "\n"));
                let lines = lines.collect::<Result<String>>()?;
                self.write(&lines)
            }
            Format::Name => self.write(&items.iter().map(name).collect::<String>()),
        }
    }

    /// Prints a single thing.
    pub fn item<T: Resource>(&mut self, item: &T, columns: &[Column<T>]) -> Result<()> {
        match self.format {
            Format::Table | Format::Wide => {
                let columns: Vec<_> = columns.iter().collect();
                self.write(&table::lines(item, &columns, self.style))
            }
            Format::Json | Format::Yaml => self.data(&data::Rest(&data::reflect(T::MESSAGE, item)?)),
            Format::Ndjson => self.write(&(data::line(T::MESSAGE, item)? + "\n")),
            Format::Name => self.write(&name(item)),
        }
    }

    /// Prints what a change led to: as data the thing itself, for people one line on standard error.
    pub fn changed<T: Resource>(&mut self, item: &T, message: &str) -> Result<()> {
        match self.format {
            Format::Table | Format::Wide => {
                say(message);
                Ok(())
            }
            _ => self.item(item, &[]),
        }
    }

    /// Prints one of a row of things that never ends; says whether anybody still reads. As YAML it is a document of its own.
    pub fn event<T: Resource>(&mut self, item: &T) -> Result<bool> {
        match self.format {
            Format::Name => self.pass(&name(item)),
            Format::Yaml => {
                let text = self.written(&data::Rest(&data::reflect(T::MESSAGE, item)?))?;
                self.pass(&format!("---\n{text}"))
            }
            _ => self.pass(&(data::line(T::MESSAGE, item)? + "\n")),
        }
    }

    /// Prints a single value as it is.
    pub fn text(&mut self, text: &str) -> Result<()> {
        self.write(&format!("{}\n", escape::visible(text)))
    }

    /// Prints a picture of our own making, in which escape sequences are meant.
    pub fn picture(&mut self, picture: &str) -> Result<()> {
        self.write(picture)
    }

    fn rows<T>(&mut self, items: &[T], columns: &[Column<T>], most: Shown) -> Result<()> {
        let columns: Vec<_> = columns.iter().filter(|column| column.shown <= most).collect();
        self.write(&table::rows(items, &columns, self.style))
    }

    fn data(&mut self, value: &impl Serialize) -> Result<()> {
        let text = self.written(value)?;
        self.write(&text)
    }

    /// The value as JSON or YAML, fit for a terminal.
    fn written(&self, value: &impl Serialize) -> Result<String> {
        let failed = |error: &dyn std::fmt::Display| Error::failure(error.to_string());
        let yaml = match self.format {
            Format::Yaml => Some(serde_saphyr::to_string(value).map_err(|error| failed(&error))?),
            _ => None,
        };
        // YAML leaves marks of the reading direction as they are; JSON is YAML too, and can spell them out
        let text = match yaml.filter(|text| escape::is_harmless(text)) {
            Some(text) => text,
            None => escape::json(&serde_json::to_string_pretty(value).map_err(|error| failed(&error))?).into_owned(),
        };
        Ok(format!("{}\n", text.trim_end_matches('\n')))
    }

    /// Prints text that is fit for a terminal already; says whether anybody still reads.
    pub fn pass(&mut self, text: &str) -> Result<bool> {
        match self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.pass(text).map(drop)
    }
}

fn name<T: Resource>(item: &T) -> String {
    format!("{}/{}\n", T::KIND, escape::visible(&item.id()))
}

/// What is printed of one item, by itself or as a list of one.
#[cfg(test)]
pub fn printed<T: Resource>(item: &T, columns: &[Column<T>], format: Format, single: bool) -> String {
    let mut out = Vec::new();
    let mut printer = Printer::to(format, &mut out);
    let done = if single { printer.item(item, columns) } else { printer.list(std::slice::from_ref(item), columns) };
    done.unwrap();
    drop(printer);
    String::from_utf8(out).unwrap()
}
