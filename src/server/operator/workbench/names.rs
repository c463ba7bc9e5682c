//! Names of children. Clients, images and running clusters depend on them.
//!
//! What always holds: a name that the API server would refuse is shortened or spelled otherwise, with a hash of the whole behind
//! it, so that two never become one.

use sha2::{Digest, Sha256};

use super::Mount;

/// The longest DNS label; also the longest value of a label, and so the longest useful name of a Job.
const LABEL: usize = 63;
/// Hexadecimal digits of a hash in a name.
const HASH: usize = 10;

/// Deployment of the display server.
pub fn server(workbench: &str) -> String {
    format!("{workbench}-server")
}

/// Job of an app.
pub fn job(workbench: &str, id: &str, app: &str) -> String {
    dns_label(&format!("{}{app}", job_prefix(workbench, id)))
}

/// How the names of an app's Jobs begin, where they are not shortened.
pub fn job_prefix(workbench: &str, id: &str) -> String {
    format!("{workbench}-{id}-")
}

/// Host name of an app's pod.
pub fn hostname(app: &str) -> String {
    let name = spelled(app);
    if name.is_empty() { "app".to_owned() } else { name }
}

/// PersistentVolume of a file system of a workspace.
pub fn volume(namespace: &str, mount: Mount) -> String {
    format!("{namespace}-{}-pv", mount.name())
}

/// PersistentVolumeClaim of a file system of a workspace.
pub fn claim(namespace: &str, mount: Mount) -> String {
    format!("{namespace}-{}-pvc", mount.name())
}

/// Job that makes the folders of a workspace; none where the driver makes them.
pub fn setup(namespace: &str, mount: Mount) -> Option<String> {
    match mount {
        Mount::Archive => None,
        Mount::Scratch => Some(dns_label(&format!("nfs-mkdir-{namespace}"))),
        Mount::Local => Some(dns_label(&format!("local-mkdir-{namespace}"))),
    }
}

/// The text if it is a DNS label, or else one made of it.
pub fn dns_label(text: &str) -> String {
    if is_dns_label(text) {
        return text.to_owned();
    }
    let mut name = spelled(text);
    name.truncate(LABEL - HASH - 1);
    let name = name.trim_end_matches('-');
    let hash: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = hash.get(..HASH).unwrap_or(&hash);
    if name.is_empty() { format!("x-{hash}") } else { format!("{name}-{hash}") }
}

/// Whether this is a DNS label (RFC 1123) as Kubernetes wants it.
pub fn is_dns_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LABEL).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Whether a Service may have this name (RFC 1035).
pub fn is_service_name(text: &str) -> bool {
    is_dns_label(text) && text.starts_with(|first: char| first.is_ascii_lowercase())
}

/// Whether a label may have this value, other than none.
pub fn is_label_value(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= LABEL && bytes.iter().all(|&byte| inner(byte)) && edge(bytes.first()) && edge(bytes.last())
}

/// In lower case, with hyphens for what a DNS label does not take.
fn spelled(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let text: String = text.chars().map(|c| allowed(c.to_ascii_lowercase())).take(LABEL).collect();
    text.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_fit_stay() {
        assert_eq!(server("workbench7"), "workbench7-server");
        assert_eq!(job("workbench7", "app-instance-3", "rstudio-3"), "workbench7-app-instance-3-rstudio-3");
        assert_eq!(volume("workspace1", Mount::Archive), "workspace1-archive-pv");
        assert_eq!(claim("workspace1", Mount::Scratch), "workspace1-scratch-pvc");
        assert_eq!(setup("workspace1", Mount::Scratch).as_deref(), Some("nfs-mkdir-workspace1"));
        assert_eq!(setup("workspace1", Mount::Local).as_deref(), Some("local-mkdir-workspace1"));
        assert_eq!(setup("workspace1", Mount::Archive), None);
    }

    #[test]
    fn others_are_spelled_otherwise_and_stay_apart() {
        let upper = job("w", "a", "RStudio");
        assert!(upper.starts_with("w-a-rstudio-"), "{upper}");
        assert_ne!(upper, job("w", "a", "rSTUDIO"));
        let (one, two) = (job("w", "a", &"x".repeat(80)), job("w", "a", &"x".repeat(81)));
        assert_ne!(one, two);
        assert!(is_dns_label(&one) && is_dns_label(&two));
        assert!(is_dns_label(&setup(&"n".repeat(63), Mount::Scratch).unwrap()));
    }

    #[test]
    fn host_names() {
        for (app, expected) in [("rstudio", "rstudio"), ("R_Studio.4", "r-studio-4"), ("__", "app"), ("_x", "x")] {
            assert_eq!(hostname(app), expected);
        }
    }

    #[test]
    fn what_services_and_labels_take() {
        for (name, service, label) in [
            ("workbench1", true, true),
            ("1workbench", false, true),
            ("", false, false),
            ("a.b", false, true),
            ("a_", false, false),
            ("A", false, true),
            (&"a".repeat(63), true, true),
            (&"a".repeat(64), false, false),
        ] {
            assert_eq!(is_service_name(name), service, "{name}");
            assert_eq!(is_label_value(name), label, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_job_name_is_always_a_label(workbench in ".{0,80}", id in ".{0,80}", app in ".{0,40}") {
            prop_assert!(is_dns_label(&job(&workbench, &id, &app)));
            prop_assert!(is_dns_label(&hostname(&app)));
        }
    }
}
