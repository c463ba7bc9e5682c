//! `chorus operator render`: the children of workbenches and workspaces, without a cluster, for review and CI.
//!
//! ```text
//! files ─► documents ─► defaults and schema of the CRDs ─► plan ─► steps
//!                                                           ▲        │ as if done
//!                                                           └─ seen ◄┘          ─► YAML of everything applied and created
//! ```
//!
//! The plans are those of the operator. What they ask for counts as done at once, as [`Observed`] says, until they ask for
//! nothing new. What always holds: the same input gives the same text; tokens are not shown unless asked for.

use std::fmt;

use serde_json::Value;

use super::{
    api::{Workbench, Workspace, structural},
    settings::Settings,
    yaml,
};
use pretended::Pretended;

mod documents;
mod observed;
mod pretended;
#[cfg(test)]
mod tests;

pub use observed::{FileSystem, Observed, Policy, Secrets, Server, Storage};

/// A file with resources: YAML or JSON, one or more documents.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its name, for messages.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// What rendering comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The children, one document each, in the order in which they are made.
    pub yaml: String,
    /// What else is worth knowing: apps that would not start, policies that would not be in force. One line each.
    pub remarks: Vec<String>,
}

/// Why nothing was rendered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Input that cannot be used; all of it, one line each.
    #[error("{}", lines(.0))]
    Input(Vec<Fault>),
    /// The file that says what is observed.
    #[error("the observed state {0}")]
    Observed(String),
    /// The output.
    #[error("cannot write YAML: {0}")]
    Output(#[from] serde_saphyr::ser::Error),
}

/// A document that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// Which document of the file, from 1; none where the file cannot be split into documents.
    pub document: Option<usize>,
    /// Where in it, and why.
    pub problem: structural::Problem,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(document) = self.document {
            write!(f, ", document {document}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

/// The children of the resources in these files. Each token is replaced by a word, unless `show_secrets`.
///
/// # Errors
/// Documents that are no such resources, or that the schema of the CRDs does not allow.
pub fn render(
    inputs: &[Input],
    observed: &Observed,
    settings: &Settings,
    show_secrets: bool,
) -> Result<Rendered, Error> {
    let resources = documents::read(inputs, observed.time).map_err(Error::Input)?;
    let mut pretended = Pretended::new(observed, settings);
    for workspace in &resources.workspaces {
        pretended.workspace(workspace);
    }
    for workbench in &resources.workbenches {
        pretended.workbench(workbench);
    }
    let Pretended { mut made, remarks, .. } = pretended;
    if !show_secrets {
        let tokens = tokens(&resources.workbenches);
        made.iter_mut().for_each(|object| redact(object, &tokens));
    }
    Ok(Rendered { yaml: yaml::documents(&made)?, remarks })
}

/// The resources of some files.
#[derive(Debug, Default)]
struct Resources {
    workspaces: Vec<Workspace>,
    workbenches: Vec<Workbench>,
}

/// What is written in place of a token.
const REDACTED: &str = "(redacted)";

/// The tokens in these resources, the longest first: one may be a part of another.
fn tokens(workbenches: &[Workbench]) -> Vec<&str> {
    let apps = workbenches.iter().flat_map(|workbench| workbench.spec.apps.values());
    let browsers = apps.flat_map(|app| app.browser_config.iter().chain(&app.kiosk_config));
    let mut tokens: Vec<_> = browsers.filter_map(|browser| browser.jwt_token.as_deref()).collect();
    tokens.retain(|token| !token.is_empty());
    tokens.sort_by_key(|token| std::cmp::Reverse(token.len()));
    tokens
}

/// Wherever it went, a token is not shown.
fn redact(value: &mut Value, tokens: &[&str]) {
    match value {
        Value::String(text) => {
            for token in tokens.iter().filter(|token| text.contains(**token)).collect::<Vec<_>>() {
                *text = text.replace(*token, REDACTED);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, tokens)),
        Value::Object(fields) => fields.values_mut().for_each(|field| redact(field, tokens)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
