//! `docs/security.md` names tests. What it names is there, and each requirement has one row.

use std::{collections::BTreeSet, fs, path::Path};

use chorus::server::config::keys::Key;
use regex::Regex;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names of all test functions below a folder.
fn tests(folder: &Path, names: &mut BTreeSet<String>) {
    let test = Regex::new(r"#\[(?:tokio::)?test[^\n]*\]\s*(?:#\[[^\n]*\]\s*)*(?:async )?fn ([a-z0-9_]+)").unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            names.extend(test.captures_iter(&text).map(|found| found[1].to_owned()));
        }
    }
}

#[test]
fn every_test_that_the_paper_names_exists() {
    let paper = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let mut known = BTreeSet::from(["a_test_with_this_name".to_owned(), "unsafe_code".to_owned()]);
    tests(&root().join("src"), &mut known);
    tests(&root().join("tests"), &mut known);
    let names = Regex::new(r"`([a-z0-9]+(?:_[a-z0-9]+)+)`").unwrap();
    let unknown: BTreeSet<_> = names
        .captures_iter(&paper)
        .map(|found| found.get(1).unwrap().as_str())
        .filter(|name| !known.contains(*name) && Key::find(name).is_none() && *name != "audit_log")
        .collect();
    assert!(unknown.is_empty(), "no such tests: {unknown:#?}");
}

#[test]
fn every_requirement_has_one_row() {
    let paper = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let row = Regex::new(r"(?m)^\| (V\d+\.\d+\.\d+) \| (yes|no|not yet|yours) \| (.+) \|$").unwrap();
    let rows: Vec<_> = row.captures_iter(&paper).map(|found| found[1].to_owned()).collect();
    let lines = paper.lines().filter(|line| line.starts_with("| V")).count();
    assert_eq!(rows.len(), lines, "a row without verdict or reason");
    assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), rows.len(), "a requirement with two rows");
}
