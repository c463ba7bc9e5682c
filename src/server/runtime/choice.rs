//! Which runtime a server has, and how it says so.
//!
//! What always holds: the local runtime, which isolates nothing, is never taken by itself where others could come: only with
//! the embedded database, loopback listeners, outside a cluster. Somebody who asks for it beyond loopback has to ask twice.

use std::sync::Arc;

use anyhow::bail;

#[cfg(target_os = "linux")]
use super::local::{self, Local};
use super::{SharedRuntime, none};
use crate::server::config::{self, Config};

/// What the choice depends on.
#[derive(Debug, Clone)]
struct Facts {
    /// What is configured.
    asked: config::Runtime,
    /// The listener that others can reach.
    open_listener: Option<std::net::SocketAddr>,
    /// Whether that is allowed.
    insecure: bool,
    embedded_database: bool,
    in_cluster: bool,
    /// What lacks for the local runtime.
    missing: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Local,
    /// With the reason.
    None(String),
}

/// The decision alone.
fn decide(facts: &Facts) -> anyhow::Result<Choice> {
    let because = |reason: &str| Ok(Choice::None(format!("{reason}. No desktop will start.")));
    match (facts.asked, facts.open_listener, &facts.missing) {
        (config::Runtime::None, ..) => because("it is configured"),
        (config::Runtime::Kubernetes, ..) => bail!("the runtime `kubernetes` is not built yet; use `local` or `none`"),
        (config::Runtime::Local, Some(open), _) if !facts.insecure => bail!(
            "the local runtime isolates nothing, and {open} can be reached by others; listen on 127.0.0.1, or add \
             --insecure-local-runtime if you mean it"
        ),
        (config::Runtime::Local, ..) => Ok(Choice::Local),
        (config::Runtime::Auto, ..) if facts.in_cluster => because("this runs in a cluster"),
        (config::Runtime::Auto, Some(open), _) => because(&format!("{open} can be reached by others")),
        (config::Runtime::Auto, ..) if !facts.embedded_database => because("the database is not the embedded one"),
        (config::Runtime::Auto, _, Some(missing)) => because(missing.trim_end_matches('.')),
        (config::Runtime::Auto, ..) => Ok(Choice::Local),
    }
}

/// The runtime that the configuration asks for. The data directory is there.
///
/// # Errors
/// When it cannot run here; the text says why, and what to do.
pub fn choose(config: &Config) -> anyhow::Result<SharedRuntime> {
    let listeners = [config.listen, config.grpc_listen];
    let facts = Facts {
        asked: config.runtime,
        open_listener: listeners.into_iter().find(|address| !address.ip().is_loopback()),
        insecure: config.insecure_local_runtime,
        embedded_database: config.database_url.is_sqlite(),
        in_cluster: config.in_cluster,
        missing: missing(),
    };
    let asked = facts.asked == config::Runtime::Local;
    match decide(&facts)? {
        Choice::Local => match open_local(config) {
            Ok(runtime) => {
                if let Some(missing) = facts.missing {
                    tracing::warn!(target: "chorus", runtime = "local", "{missing}");
                }
                Ok(runtime)
            }
            Err(error) if asked => Err(error),
            Err(error) => Ok(nothing(&format!("the local runtime cannot run: {error:#}. No desktop will start."))),
        },
        Choice::None(reason) => Ok(nothing(&reason)),
    }
}

fn nothing(reason: &str) -> SharedRuntime {
    tracing::info!(target: "chorus", runtime = "none", "runtime none: {reason}");
    Arc::new(none::Nothing)
}

#[cfg(target_os = "linux")]
fn open_local(config: &Config) -> anyhow::Result<SharedRuntime> {
    let runtime = Local::open(local::Options::of(config)?)?;
    tracing::warn!(
        target: "chorus",
        runtime = "local",
        files = %runtime.files().display(),
        "runtime local: desktops are processes on this host and are NOT isolated, neither from each other nor from this host; \
         use it for evaluation only. A desktop goes on for {} when the server stops.",
        config::duration::format(config.local.unattended_timeout),
    );
    Ok(Arc::new(runtime))
}

#[cfg(target_os = "linux")]
fn missing() -> Option<String> {
    local::missing().map(|(_, text)| text)
}

#[cfg(not(target_os = "linux"))]
fn open_local(_: &Config) -> anyhow::Result<SharedRuntime> {
    bail!("the local runtime needs Linux; use `none`")
}

#[cfg(not(target_os = "linux"))]
fn missing() -> Option<String> {
    Some("The local runtime needs Linux".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Runtime::{Auto, Kubernetes, Local as AskLocal, None as AskNone};

    #[test]
    fn local_is_taken_where_nobody_else_can_come() {
        let open = Some("0.0.0.0:5000".parse().unwrap());
        let best = Facts {
            asked: Auto,
            open_listener: None,
            insecure: false,
            embedded_database: true,
            in_cluster: false,
            missing: None,
        };
        let none = |facts: Facts, word: &str| match decide(&facts).unwrap() {
            Choice::None(reason) => assert!(reason.contains(word), "{reason}"),
            Choice::Local => panic!("local in spite of {word}"),
        };
        let local = |facts: Facts| assert_eq!(decide(&facts).unwrap(), Choice::Local, "{facts:?}");
        let refused = |facts: Facts, word: &str| {
            let text = decide(&facts).unwrap_err().to_string();
            assert!(text.contains(word), "{text}");
        };
        let missing = Some("Install the Debian package xpra.".to_owned());

        local(best.clone());
        none(Facts { asked: AskNone, ..best.clone() }, "configured");
        none(Facts { open_listener: open, ..best.clone() }, "0.0.0.0:5000");
        // what is allowed by hand is not taken by itself
        none(Facts { open_listener: open, insecure: true, ..best.clone() }, "0.0.0.0:5000");
        none(Facts { embedded_database: false, ..best.clone() }, "database");
        none(Facts { in_cluster: true, ..best.clone() }, "cluster");
        none(Facts { missing: missing.clone(), ..best.clone() }, "xpra. No desktop");

        local(Facts { asked: AskLocal, missing, embedded_database: false, in_cluster: true, ..best.clone() });
        refused(Facts { asked: AskLocal, open_listener: open, ..best.clone() }, "--insecure-local-runtime");
        local(Facts { asked: AskLocal, open_listener: open, insecure: true, ..best.clone() });
        refused(Facts { asked: Kubernetes, ..best }, "not built");
    }
}
