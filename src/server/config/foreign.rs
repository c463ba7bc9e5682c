//! Keys of other control planes of this kind, which people bring along in old configuration files.
//!
//! None of them works here. Instead of calling them unknown, the refusal names the key that replaces them, or says why
//! there is none. Patterns match from the left, part by part; `*` stands for one part, and a pattern also covers everything
//! below it. The first match wins, so the finer patterns come first.

/// What to do instead of a foreign key; `None` for a key that is simply unknown.
pub fn advice(key: &str) -> Option<String> {
    let (_, advice) = TABLE.iter().find(|(pattern, _)| covers(pattern, key))?;
    Some(match advice {
        Advice::Use(own) => format!("is not a key of this server; use `{own}`"),
        Advice::Gone(why) => format!("has no counterpart: {why}; remove it"),
        Advice::Later(what) => format!("has no counterpart yet: {what} not built; remove it"),
    })
}

fn covers(pattern: &str, key: &str) -> bool {
    let mut parts = key.split('.');
    pattern.split('.').all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part))
}

enum Advice {
    Use(&'static str),
    Gone(&'static str),
    Later(&'static str),
}

use Advice::{Gone, Later, Use};

const TABLE: &[(&str, Advice)] = &[
    ("daemon.grpc.host", Use("grpc_listen")),
    ("daemon.grpc.port", Use("grpc_listen")),
    ("daemon.grpc", Gone("the contract limits the size of each call")),
    ("daemon.http.host", Use("listen")),
    ("daemon.http.port", Use("listen")),
    ("daemon.http.header_client_ip", Use("trusted_proxies")),
    ("daemon.http.headers.access_control_allow_origins", Use("cors_origins")),
    ("daemon.http.headers.access_control_allow_origin_wildcard", Gone("origins are always compared exactly")),
    ("daemon.http.headers.access_control_max_age", Gone("the value is fixed")),
    ("daemon.http.headers.cookie_domain", Gone("the session cookie belongs to the host that set it")),
    ("daemon.http", Gone("the contract limits the size of each call")),
    ("daemon.jwt.expiration_time", Use("session_idle_timeout")),
    ("daemon.jwt.max_refresh_time", Use("session_max_lifetime")),
    ("daemon.jwt.secret", Use("keys")),
    ("daemon.private_key", Use("keys")),
    ("daemon.private_key_file", Use("keys")),
    ("daemon.salt", Use("keys")),
    ("daemon.totp", Gone("the number of recovery codes is fixed")),
    ("daemon.jobs", Later("background jobs are")),
    ("daemon.jobber", Later("background jobs are")),
    ("daemon.expose_error_stack_trace", Gone("details of a failure go to the log, under the id of the request")),
    ("daemon.metrics.enabled", Use("metrics")),
    ("daemon.metrics", Gone("guard /metrics in the proxy or by the network")),
    ("log.loggers", Use("log_level")),
    ("log", Use("log_level")),
    ("clients.kubernetes.enabled", Use("runtime")),
    ("clients.kubernetes", Later("the kubernetes runtime is")),
    ("clients.oci", Later("the registry client is")),
    ("clients.harbor", Later("the registry client is")),
    ("storage.datastores.audit", Gone("audit records live in the one database, so that they commit with the change")),
    ("storage.datastores.*.max_connections", Use("database_max_connections")),
    ("storage.datastores", Use("database_url")),
    ("storage.file_stores", Later("workspace files are")),
    ("tenants", Later("settings per tenant are")),
    ("services.audit_service", Gone("auditing is always on")),
    ("services.mailer_service", Later("mail is")),
    ("services.authentication_service.enabled", Gone("authentication is always on")),
    ("services.authentication_service.auth_ui_enabled", Gone("there is no separate sign-in page to switch")),
    ("services.authentication_service.self_service.tenant_id", Use("registration_tenant")),
    ("services.authentication_service.modes.internal.public_registration_enabled", Use("public_registration")),
    ("services.authentication_service.modes.internal", Gone("signing in with a password is always on")),
    ("services.authentication_service.modes", Later("sign-in by OpenID Connect is")),
    ("services.openid_connect_provider", Later("the OpenID Connect provider is")),
    ("services.workbench_service", Later("running desktops is")),
    ("services.workspace_service.creator_is_admin", Use("workspace.creator_is_admin")),
    ("services.workspace_service.creator_is_data_manager", Use("workspace.creator_is_data_manager")),
    ("services.workspace_service.gid_offset", Use("workspace.gid_offset")),
    ("services.workspace_service", Gone("desktops are not stopped at a fixed time")),
    ("services.workspace_file_service", Later("workspace files are")),
    (
        "services.authorization_service.workspace_admin_can_assign_data_manager",
        Use("workspace_admin_can_assign_data_manager"),
    ),
    ("services.approval_request_service", Later("approval requests are")),
    ("services.user_service.require_email", Use("require_email")),
    ("services.user_service.uid_offset", Use("user.uid_offset")),
    ("services.steward.tenant", Gone("the first start creates the tenant `default`")),
    ("services.steward.user.username", Use("admin_username")),
    ("services.steward.user.password", Use("admin_password_file")),
    ("daemon", Gone("this server has no such setting")),
    ("clients", Gone("this server has no such setting")),
    ("storage", Gone("this server has no such setting")),
    ("services", Gone("this server has no such setting")),
];

#[cfg(test)]
mod tests {
    use super::{super::keys::Key, *};

    #[test]
    fn every_replacement_exists() {
        for (pattern, advice) in TABLE {
            if let Use(own) = advice {
                assert!(Key::find(own).is_some(), "{pattern} → {own}");
            }
            assert!(Key::find(pattern).is_none(), "{pattern} is our own");
        }
    }

    #[test]
    fn every_row_can_match() {
        for (index, (pattern, _)) in TABLE.iter().enumerate() {
            let example = pattern.replace('*', "anything");
            let first = TABLE.iter().position(|(pattern, _)| covers(pattern, &example));
            assert_eq!(first, Some(index), "{pattern} is covered by an earlier row");
        }
    }

    #[test]
    fn names_the_replacement() {
        let text = |key| advice(key).unwrap_or_default();
        assert_eq!(text("daemon.http.port"), "is not a key of this server; use `listen`");
        assert_eq!(
            text("storage.datastores.chorus.max_connections"),
            "is not a key of this server; use `database_max_connections`"
        );
        assert_eq!(text("storage.datastores.chorus.host"), "is not a key of this server; use `database_url`");
        assert_eq!(text("clients.oci.host"), "has no counterpart yet: the registry client is not built; remove it");
        assert_eq!(
            text("daemon.metrics.authentication.password"),
            "has no counterpart: guard /metrics in the proxy or by the network; remove it"
        );
        assert_eq!(advice("listn"), None);
        assert_eq!(advice("logs.x"), None);
    }
}
