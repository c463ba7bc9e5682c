//! Files that are generated from the sources and committed, so that a reader finds them without building anything.

use std::{env, fs, path::Path};

/// Compares a generated file with the committed one; `UPDATE_EXPECT=1` writes it instead. The path is relative to the
/// package.
#[track_caller]
pub fn golden(path: &str, actual: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1") {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        return fs::write(file, actual).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    let Some(line) = first_difference(&committed, actual) else { return };
    panic!(
        "{path} is stale from line {} on:\n  committed: {}\n  generated: {}\nWrite it with: UPDATE_EXPECT=1 cargo test",
        line + 1,
        committed.lines().nth(line).unwrap_or("(end of file)"),
        actual.lines().nth(line).unwrap_or("(end of file)"),
    );
}

/// The number of the first line that differs, from 0.
fn first_difference(a: &str, b: &str) -> Option<usize> {
    if a == b {
        return None;
    }
    let same = a.lines().zip(b.lines()).take_while(|(a, b)| a == b).count();
    Some(same)
}
