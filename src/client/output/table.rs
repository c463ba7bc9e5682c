//! Rows and columns for people.
//!
//! On a terminal a table is fitted to its width and the headings are bold; piped, every row is one line of unlimited width.
//! There are never borders, so `awk` and `cut` work. Text is escaped here, once, on its way in.

use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Table, presets};

use super::{Format, Printer, escape::visible};
use crate::client::error::Result;

/// The blanks between two columns.
const GAP: u16 = 2;

/// Where a column appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// In every table.
    Always,
    /// With `-o wide`, and when a single thing is shown.
    Wide,
    /// Only when a single thing is shown.
    Alone,
}

/// One column of a table about `T`, or one line when a single `T` is shown.
pub struct Column<T> {
    pub(super) title: &'static str,
    pub(super) shown: Shown,
    value: Box<dyn Fn(&T) -> Text>,
}

impl<T> Column<T> {
    /// A column of every table.
    pub fn new<V: Into<Text>>(title: &'static str, value: impl Fn(&T) -> V + 'static) -> Self {
        Self { title, shown: Shown::Always, value: Box::new(move |item| value(item).into()) }
    }

    /// Only with `-o wide`, or alone.
    pub fn wide(self) -> Self {
        Self { shown: Shown::Wide, ..self }
    }

    /// Only when a single thing is shown.
    pub fn alone(self) -> Self {
        Self { shown: Shown::Alone, ..self }
    }

    /// Whether it has this title.
    pub fn is(&self, title: &str) -> bool {
        self.title == title
    }

    pub(super) fn of(&self, item: &T) -> Text {
        (self.value)(item)
    }
}

/// What stands in a cell: any number of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Vec<String>);

impl Text {
    /// Nothing to show, as opposed to something empty.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(String::is_empty)
    }

    fn joined(&self, separator: &str) -> String {
        if self.is_empty() {
            return "-".to_owned();
        }
        self.0.iter().map(|text| visible(text)).collect::<Vec<_>>().join(separator)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(vec![text])
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(vec![text.to_owned()])
    }
}

impl From<u64> for Text {
    fn from(number: u64) -> Self {
        Self(vec![number.to_string()])
    }
}

impl From<bool> for Text {
    fn from(yes: bool) -> Self {
        Self::from(if yes { "yes" } else { "no" })
    }
}

impl From<Vec<String>> for Text {
    fn from(texts: Vec<String>) -> Self {
        Self(texts)
    }
}

/// How a table is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// The width of the terminal in columns; none when piped.
    pub width: Option<u16>,
    /// Whether headings are bold.
    pub bold: bool,
}

/// One row per item, with headings.
pub fn rows<T>(items: &[T], columns: &[&Column<T>], style: Style) -> String {
    let mut table = empty(style);
    table.set_header(columns.iter().map(|column| heading(&column.title.to_uppercase(), style)));
    for item in items {
        table.add_row(columns.iter().map(|column| column.of(item).joined(", ")));
    }
    if let Some(width) = style.width {
        keep_short_columns(&mut table, usize::from(width));
    }
    draw(table)
}

/// Lets only columns with long texts break their lines, as long as that leaves these room enough.
fn keep_short_columns(table: &mut Table, width: usize) {
    const SHORT: usize = 22;
    const ROOM: usize = 12;
    let widths: Vec<_> = table.column_max_content_widths().into_iter().map(usize::from).collect();
    let needed: usize = widths.iter().map(|w| GAP as usize + if *w <= SHORT { *w } else { ROOM }).sum();
    if needed > width {
        return;
    }
    for (column, width) in table.column_iter_mut().zip(widths) {
        if width <= SHORT {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

/// One line per column, for a single item; empty ones are left out.
pub fn lines<T>(item: &T, columns: &[&Column<T>], style: Style) -> String {
    let mut table = empty(style);
    for column in columns {
        let text = column.of(item);
        if !text.is_empty() {
            table.add_row([heading(column.title, style), Cell::new(text.joined("\n"))]);
        }
    }
    draw(table)
}

/// A table that grows while it is read. A column gets wider when something longer comes, and never narrower.
#[derive(Debug, Default)]
pub struct Rows {
    widths: Vec<usize>,
}

impl Rows {
    /// Prints one more row, the first one under the headings; says whether anybody still reads.
    pub fn print<T>(&mut self, printer: &mut Printer<'_>, item: &T, columns: &[Column<T>]) -> Result<bool> {
        let most = if printer.format() == Format::Wide { Shown::Wide } else { Shown::Always };
        let columns: Vec<_> = columns.iter().filter(|column| column.shown <= most).collect();
        let mut text = String::new();
        let cells: Vec<_> = columns.iter().map(|column| column.of(item).joined(", ")).collect();
        if self.widths.is_empty() {
            let titles: Vec<_> = columns.iter().map(|column| column.title.to_uppercase()).collect();
            self.grow(&cells);
            text.push_str(&self.line(&titles));
        }
        text.push_str(&self.line(&cells));
        printer.pass(&text)
    }

    fn grow(&mut self, cells: &[String]) {
        self.widths.resize(cells.len(), 0);
        for (width, cell) in self.widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }

    fn line(&mut self, cells: &[String]) -> String {
        self.grow(cells);
        let gap = usize::from(GAP);
        let padded = cells.iter().zip(&self.widths).map(|(cell, width)| format!("{cell:<width$}", width = width + gap));
        let mut line = padded.collect::<String>().trim_end().to_owned();
        line.push('\n');
        line
    }
}

fn empty(style: Style) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    match style.width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    if style.bold {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table
}

fn heading(title: &str, style: Style) -> Cell {
    let cell = Cell::new(title);
    if style.bold { cell.add_attribute(Attribute::Bold) } else { cell }
}

fn draw(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw_in(width: Option<u16>) -> String {
        let columns: [Column<(&str, &str)>; 2] = [
            Column::new("created", |item: &(&str, &str)| item.0),
            Column::new("message", |item: &(&str, &str)| item.1),
        ];
        let columns: Vec<_> = columns.iter().collect();
        let items = [("2023-11-14T22:13:20Z", "You were given the role WorkspaceMember."), ("", "Hello")];
        rows(&items, &columns, Style { width, bold: false })
    }

    #[test]
    fn a_table_fits_the_terminal() {
        insta::assert_snapshot!(draw_in(Some(50)), @r"
        CREATED               MESSAGE
        2023-11-14T22:13:20Z  You were given the role
                              WorkspaceMember.
        -                     Hello
        ");
        // too narrow to spare anything
        assert!(draw_in(Some(20)).lines().all(|line| line.len() <= 20), "{}", draw_in(Some(20)));
    }

    #[test]
    fn piped_every_row_is_one_line() {
        insta::assert_snapshot!(draw_in(None), @r"
        CREATED               MESSAGE
        2023-11-14T22:13:20Z  You were given the role WorkspaceMember.
        -                     Hello
        ");
    }

    #[test]
    fn a_table_that_is_read_while_it_grows() {
        let columns = [
            Column::new("id", |item: &(u64, &str)| item.0),
            Column::new("name", |item: &(u64, &str)| item.1),
            Column::new("more", |_: &(u64, &str)| "").wide(),
        ];
        let mut out = Vec::new();
        let mut printer = Printer::to(Format::Table, &mut out);
        let mut rows = Rows::default();
        for item in [(7, "a"), (1234, "b"), (8, "c\u{1b}")] {
            assert!(rows.print(&mut printer, &item, &columns).unwrap());
        }
        drop(printer);
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        ID  NAME
        7   a
        1234  b
        8     c\u{1b}
        ");
    }

    #[test]
    fn headings_are_bold_only_when_asked_for() {
        let columns = [Column::new("id", |id: &u64| *id)];
        let columns: Vec<_> = columns.iter().collect();
        assert_eq!(rows(&[7], &columns, Style { width: None, bold: false }), "ID\n7\n");
        assert!(rows(&[7], &columns, Style { width: None, bold: true }).contains("\u{1b}[1m"));
    }
}
