//! `chorus operator doctor`: what the operator needs of a cluster, and whether it is there.
//!
//! What always holds: nothing is written but reviews of access, which the API server does not store; no value of a Secret is
//! shown; a check that may not look says so, and stops no other.

use std::fmt;

use chrono::{DateTime, Utc};
use comfy_table::{ContentArrangement, Table, presets};
use kube::Client;
use serde::Serialize;

use super::settings::Settings;

mod access;
mod definitions;
mod needs;
mod network;
mod operators;
#[cfg(test)]
mod tests;

/// What is examined.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespace of the operator.
    pub namespace: String,
    /// The settings it runs with.
    pub settings: Settings,
    /// The time, to tell whether a lease is held.
    pub now: DateTime<Utc>,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What was looked at.
    pub check: String,
    /// Whether it is as it should be.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when there is nothing to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub todo: String,
}

/// Whether something is as it should be. The order is that of gravity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is.
    Ok,
    /// Something does not work as well as it could, or could not be looked at.
    Warn,
    /// The operator cannot do its work.
    Fail,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

impl Row {
    fn ok(check: &str, found: impl Into<String>) -> Self {
        Self { check: check.to_owned(), state: State::Ok, found: found.into(), todo: String::new() }
    }

    fn warn(check: &str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check: check.to_owned(), state: State::Warn, found: found.into(), todo: todo.into() }
    }

    fn fail(check: &str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check: check.to_owned(), state: State::Fail, found: found.into(), todo: todo.into() }
    }
}

/// What a check finds, or why it could not look.
type Findings = Result<Vec<Row>, kube::Error>;

/// Examines a cluster.
pub async fn examine(client: &Client, options: &Options) -> Vec<Row> {
    let mut rows = match definitions::version(client).await {
        Ok(row) => vec![row],
        Err(row) => return vec![row],
    };
    let mut add = |check: &str, findings: Findings| match findings {
        Ok(found) => rows.extend(found),
        Err(error) => rows.push(unknown(check, &error)),
    };
    add("CRDs", definitions::crds(client).await);
    add("stored resources", definitions::stored(client).await);
    add("permissions", access::permissions(client, options).await);
    add("Cilium", network::cilium(client).await);
    add("network plug-in", network::plug_in(client).await);
    add("CSI drivers", needs::drivers(client).await);
    add("Secret of the object storage", needs::juicefs(client, &options.settings).await);
    add("Secret of the NFS server", needs::nfs(client, &options.settings).await);
    add("priority classes", needs::priority_classes(client, &options.settings).await);
    add("operator", operators::ours(client, options).await);
    add("former operator", operators::former(client, options).await);
    add("lease", operators::lease(client, options).await);
    rows
}

/// Whether nothing fails; the exit code says so.
pub fn is_healthy(rows: &[Row]) -> bool {
    rows.iter().all(|row| row.state < State::Fail)
}

/// The findings as a table, fitted to a terminal of this width; without one, each row is one line.
pub fn table(rows: &[Row], width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).force_no_tty();
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.set_header(["CHECK", "STATE", "FOUND", "TO DO"]);
    for row in rows {
        table.add_row([visible(&row.check), row.state.to_string(), visible(&row.found), visible(&row.todo)]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// Names and messages come from the cluster: what would steer a terminal does not reach it.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A check that could not look.
fn unknown(check: &str, error: &kube::Error) -> Row {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            Row::warn(check, "not allowed to look", "run doctor as an administrator of the cluster")
        }
        kube::Error::Api(status) => {
            Row::warn(check, format!("cannot be looked at: {}", status.message), "run doctor again")
        }
        error => Row::warn(check, format!("cannot be looked at: {error}"), "run doctor again"),
    }
}
