//! `completions/`: completions for five shells and a man page per command, generated from the command line.

use std::{collections::BTreeMap, fs, path::Path};

use chorus::cli::Cli;
use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use crate::support::golden::golden;

#[test]
fn completions_and_man_pages_are_current() {
    let files = generated();
    remove_others(&files);
    for (file, text) in &files {
        golden(file, text);
    }
}

/// The files by their path in the package.
fn generated() -> BTreeMap<String, String> {
    // the released version belongs on the pages, the commit does not
    let command = || Cli::command().version(env!("CARGO_PKG_VERSION"));
    let mut files = BTreeMap::new();
    for (shell, file) in [
        (Shell::Bash, "chorus.bash"),
        (Shell::Zsh, "_chorus"),
        (Shell::Fish, "chorus.fish"),
        (Shell::Elvish, "chorus.elv"),
        (Shell::PowerShell, "_chorus.ps1"),
    ] {
        let mut text = Vec::new();
        generate(shell, &mut command(), "chorus", &mut text);
        files.insert(format!("completions/{file}"), String::from_utf8(text).unwrap());
    }
    let mut root = command();
    root.build();
    pages(&root, &mut files);
    files
}

fn pages(command: &Command, files: &mut BTreeMap<String, String>) {
    let page = Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text).unwrap();
    files.insert(format!("completions/man/{}", page.get_filename()), String::from_utf8(text).unwrap());
    command.get_subcommands().filter(|command| !command.is_hide_set()).for_each(|command| pages(command, files));
}

/// Pages of commands that are gone are stale as well.
fn remove_others(files: &BTreeMap<String, String>) {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["completions", "completions/man"] {
        for entry in fs::read_dir(package.join(folder)).into_iter().flatten() {
            let entry = entry.unwrap();
            let file = format!("{folder}/{}", entry.file_name().display());
            if entry.file_type().unwrap().is_dir() || files.contains_key(&file) {
                continue;
            }
            assert!(std::env::var_os("UPDATE_EXPECT").is_some_and(|v| v == "1"), "{file} belongs to no command");
            fs::remove_file(entry.path()).unwrap();
        }
    }
}
