//! What happens while a command waits, on standard error.
//!
//! On a terminal it is a spinner that goes when the waiting ends; anywhere else one line per change, so that a log of a
//! build tells what happened. Programs that read data get neither.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{escape::visible, say};

/// How often the spinner moves.
const TICK: Duration = Duration::from_millis(100);

/// Shows how far something is. Dropped, it clears what it drew.
pub struct Progress {
    shown: Shown,
    last: String,
}

enum Shown {
    Spinner(ProgressBar),
    Lines,
    Nothing,
}

impl Progress {
    /// Begins to show; `for_programs` says that standard error is read by one as well.
    pub fn begin(for_programs: bool) -> Self {
        let shown = match io::stderr().is_terminal() {
            true => Shown::Spinner(spinner()),
            false if for_programs => Shown::Nothing,
            false => Shown::Lines,
        };
        Self { shown, last: String::new() }
    }

    /// How far it is now. The same text again is not shown twice.
    pub fn show(&mut self, text: &str) {
        if text == self.last {
            return;
        }
        text.clone_into(&mut self.last);
        match &self.shown {
            Shown::Spinner(bar) => bar.set_message(visible(text).into_owned()),
            Shown::Lines => say(text),
            Shown::Nothing => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Spinner(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    // the template is fixed text; were it refused, the default of the library would do
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
    }
    bar.enable_steady_tick(TICK);
    bar
}
