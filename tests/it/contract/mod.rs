//! The contract keeps its own style, says everything of every RPC, and fits the clients that exist.
//!
//! A lint over the descriptors, in the manner of `buf lint`. Each exception is written down with its reason, and an
//! exception that is no longer needed fails as well.

mod options;
mod style;
mod wire;

use chorus::proto;
use prost_reflect::{EnumDescriptor, FileDescriptor, MessageDescriptor};

use crate::support::contract::PACKAGE;

/// The files of the contract.
fn files() -> Vec<FileDescriptor> {
    proto::pool().files().filter(|f| f.package_name() == PACKAGE).collect()
}

/// The messages of the contract, nested ones too, without map entries.
fn messages() -> Vec<MessageDescriptor> {
    proto::pool().all_messages().filter(|m| m.package_name() == PACKAGE && !m.is_map_entry()).collect()
}

/// The enums of the contract, nested ones too.
fn enums() -> Vec<EnumDescriptor> {
    proto::pool().all_enums().filter(|e| e.package_name() == PACKAGE).collect()
}

/// A name without the package.
fn local(full_name: &str) -> &str {
    full_name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('.')).unwrap_or(full_name)
}

/// The name that a field has in JSON unless `json_name` says another.
fn camel(name: &str) -> String {
    let mut camel = String::new();
    let mut upper = false;
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                camel.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => camel.push(c),
        }
    }
    camel
}

/// Fails with every finding, so that one run shows all.
#[track_caller]
fn none(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} findings:\n  {}", findings.len(), findings.join("\n  "));
}

/// Fails unless the findings are exactly the exceptions.
#[track_caller]
fn exactly(mut findings: Vec<String>, exceptions: &[(&str, &str)]) {
    let mut stale = Vec::new();
    for (name, _reason) in exceptions {
        match findings.iter().position(|f| f == name) {
            Some(at) => drop(findings.swap_remove(at)),
            None => stale.push(format!("{name}: the exception is not needed")),
        }
    }
    findings.sort();
    findings.extend(stale);
    none(findings);
}
