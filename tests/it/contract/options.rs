//! Every RPC says who may call it, what is recorded of it and where it is bound, in names that exist.

use std::collections::BTreeSet;

use chorus::server::access::catalogue::Permission;
use prost_reflect::Kind;

use super::{exactly, local, messages, none};
use crate::support::contract::{Access, Audit, Context, Rpc, class, field_at, rpcs};

#[test]
fn every_rpc_states_access_audit_and_rest_binding() {
    let mut found = Vec::new();
    for rpc in rpcs() {
        if rpc.access.is_none() {
            found.push(format!("{}: no access rule", rpc.label()));
        }
        if rpc.audit.is_none() {
            found.push(format!("{}: not said what is audited", rpc.label()));
        }
        if rpc.http.is_empty() {
            found.push(format!("{}: no REST binding", rpc.label()));
        }
    }
    none(found);
}

/// What visitors reach is a decision of its own: nothing becomes public by an oversight in a `.proto` file.
#[test]
fn public_rpcs_are_exactly_these() {
    let public: BTreeSet<_> = rpcs().iter().filter(|r| r.public).map(Rpc::label).collect();
    let expected = [
        "AuthenticationService/Authenticate",
        "AuthenticationService/AuthenticateOauth",
        "AuthenticationService/AuthenticateOauthRedirect",
        "AuthenticationService/GetAuthenticationModes",
        "AuthorizationService/ListPermissions",
        "AuthorizationService/ListRoles",
        "DevstoreService/GetGlobalEntry",
        "DevstoreService/ListGlobalEntries",
        "HealthService/GetHealthCheck",
        "PlatformSettingsService/GetPlatformSettings",
        "UserService/CreateUser",
    ];
    assert_eq!(public, expected.map(str::to_owned).into());
}

/// What a token must never do is a decision of its own as well: open to tokens is what needs a permission that a scope can
/// hold, apart from these.
#[test]
fn rpcs_about_credentials_are_closed_to_api_tokens() {
    let closed: BTreeSet<_> = rpcs().iter().filter(|r| r.session_only).map(Rpc::label).collect();
    let expected = [
        "AuthenticationService/ListSessions",
        "AuthenticationService/Logout",
        "AuthenticationService/RefreshToken",
        "AuthenticationService/RevokeSession",
        "AuthenticationService/RevokeSessions",
        "TokenService/CreateToken",
        "TokenService/ListTokens",
        "TokenService/RevokeToken",
        "UserService/EnableTotp",
        "UserService/ResetPassword",
        "UserService/ResetTotp",
        "UserService/UpdatePassword",
    ];
    assert_eq!(closed, expected.map(str::to_owned).into());
}

#[test]
fn access_rules_name_permissions_and_fields_that_exist() {
    let mut found = Vec::new();
    for rpc in rpcs() {
        let mut permissions = Vec::new();
        match rpc.access.as_ref().unwrap() {
            Access::Anyone | Access::SignedIn => {}
            Access::Custom(all) => permissions.extend(all.iter().map(|p| (p.clone(), None))),
            Access::Grants(grants) => {
                permissions.extend(grants.iter().map(|g| (g.permission.clone(), Some(&g.context))))
            }
            Access::List { permission, field, also } => {
                permissions.push((permission.clone(), None));
                permissions.extend(also.iter().map(|p| (p.clone(), Some(&Context::None))));
                match field_at(&rpc.descriptor.input(), field) {
                    Some(field) if field.is_list() && field.kind() == Kind::Uint64 => {}
                    _ => found.push(format!("{}: `{field}` is not a list of ids", rpc.label())),
                }
            }
        }
        for (name, context) in permissions {
            let Some(permission) = Permission::parse(&name) else {
                found.push(format!("{}: no permission {name}", rpc.label()));
                continue;
            };
            if context.is_some_and(|c| (*c == Context::None) != permission.requires().is_none()) {
                found.push(format!("{}: {name} and its context do not fit", rpc.label()));
            }
            if let Some(Context::Field(path)) = context
                && field_at(&rpc.descriptor.input(), path).is_none_or(|f| f.is_list() || f.kind() != Kind::Uint64)
            {
                found.push(format!("{}: `{path}` is not an id", rpc.label()));
            }
        }
    }
    none(found);
}

#[test]
fn required_and_ignored_fields_exist() {
    let mut found = Vec::new();
    for rpc in rpcs() {
        for path in rpc.required.iter().chain(&rpc.ignored) {
            if field_at(&rpc.descriptor.input(), path).is_none() {
                found.push(format!("{}: no field `{path}`", rpc.label()));
            }
        }
        for path in rpc.required.iter().filter(|p| rpc.ignored.contains(p)) {
            found.push(format!("{}: `{path}` is required and ignored", rpc.label()));
        }
    }
    none(found);
}

/// A field in the path or the body of a REST call exists, and one in the path is never empty over gRPC either.
#[test]
fn rest_bindings_name_fields_that_exist() {
    let mut found = Vec::new();
    let placeholder = regex::Regex::new(r"\{([a-z_.]+)(=\*\*)?\}").unwrap();
    for rpc in rpcs() {
        for binding in &rpc.http {
            let reads = matches!(binding.verb.as_str(), "GET" | "HEAD" | "DELETE");
            if reads != binding.body.is_empty() {
                found.push(format!("{}: {} and body `{}`", rpc.label(), binding.verb, binding.body));
            }
            if !matches!(binding.body.as_str(), "" | "*") && field_at(&rpc.descriptor.input(), &binding.body).is_none()
            {
                found.push(format!("{}: no field `{}`", rpc.label(), binding.body));
            }
            let known: Vec<_> = placeholder.captures_iter(&binding.path).map(|c| c[1].to_owned()).collect();
            if known.len() != binding.path.matches('{').count() {
                found.push(format!("{}: cannot read {}", rpc.label(), binding.path));
            }
            for path in known {
                if field_at(&rpc.descriptor.input(), &path).is_none() {
                    found.push(format!("{}: no field `{path}`", rpc.label()));
                } else if !rpc.required.contains(&path) {
                    found.push(format!("{}: `{path}` is in the path and not required", rpc.label()));
                }
            }
        }
    }
    none(found);
}

#[test]
fn audit_options_are_complete() {
    let mut found = Vec::new();
    for rpc in rpcs() {
        let Audit { when, action, details, subjects } = rpc.audit.as_ref().unwrap();
        let named =
            action.starts_with(|c: char| c.is_ascii_uppercase()) && action.chars().all(|c| c.is_ascii_alphanumeric());
        if !(1..=3).contains(when) || (*when == 1 && !action.is_empty()) || (*when != 1 && !named) {
            found.push(format!("{}: when {when}, action `{action}`", rpc.label()));
        }
        for (key, path) in details {
            if !key.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                found.push(format!("{}: detail `{key}` is not snake_case", rpc.label()));
            }
            match field_at(&rpc.descriptor.input(), path) {
                None => found.push(format!("{}: no field `{path}`", rpc.label())),
                Some(field) if class(&field) == 1 => found.push(format!("{}: `{path}` is secret", rpc.label())),
                Some(_) => {}
            }
        }
        let bad =
            subjects.iter().filter(|p| field_at(&rpc.descriptor.input(), p).is_none_or(|f| f.kind() != Kind::Uint64));
        found.extend(bad.map(|path| format!("{}: `{path}` is not an id", rpc.label())));
    }
    none(found);
}

/// A change without record would be invisible.
#[test]
fn every_change_is_audited() {
    let reads = ["Get", "List", "Watch", "Count", "Download"];
    let changes = rpcs().into_iter().filter(|r| !reads.iter().any(|prefix| r.name.starts_with(prefix)));
    let silent = changes.filter(|r| r.audit.as_ref().unwrap().when != 3);
    exactly(silent.map(|r| r.label()).collect(), SILENT);
}

const CLIENT_STATE: &str = "what the web client keeps for itself";

/// Changes of which success is not recorded.
const SILENT: &[(&str, &str)] = &[
    ("AuthenticationService/AuthenticateOauth", "only starts a sign-in; its end is recorded"),
    ("AuthenticationService/RefreshToken", "the session that goes on was recorded when it began"),
    ("DevstoreService/DeleteGlobalEntry", CLIENT_STATE),
    ("DevstoreService/DeleteUserEntry", CLIENT_STATE),
    ("DevstoreService/DeleteWorkspaceEntry", CLIENT_STATE),
    ("DevstoreService/PutGlobalEntry", CLIENT_STATE),
    ("DevstoreService/PutUserEntry", CLIENT_STATE),
    ("DevstoreService/PutWorkspaceEntry", CLIENT_STATE),
    ("NotificationService/MarkNotificationsAsRead", "reading one's own messages is no act on the platform"),
    ("WorkspaceFileService/UploadWorkspaceFilePart", "start and end of the upload are recorded"),
];

#[test]
fn secrets_are_marked() {
    let words = ["password", "token", "secret", "totp", "credential", "recovery"];
    let mut found = Vec::new();
    for field in messages().iter().flat_map(|m| m.fields().collect::<Vec<_>>()) {
        let kind = match field.kind() {
            Kind::Message(entry) if entry.is_map_entry() => entry.map_entry_value_field().kind(),
            kind => kind,
        };
        let holds_text = matches!(kind, Kind::String | Kind::Bytes);
        if holds_text && words.iter().any(|word| field.name().contains(word)) && class(&field) != 1 {
            found.push(local(field.full_name()).to_owned());
        }
    }
    exactly(found, NO_SECRETS);
}

/// Fields that sound like a secret and are none.
const NO_SECRETS: &[(&str, &str)] = &[
    ("WorkspaceServiceInstance.credentials_secret_name", "the name of a Kubernetes object"),
    ("WorkspaceServiceInstance.secret_name", "the name of a Kubernetes object"),
    ("WorkspaceServiceInstance.credentials_paths", "where in the values the credentials belong"),
];

#[test]
fn personal_data_is_marked() {
    let names = ["first_name", "last_name", "email", "contact_first_name", "contact_last_name", "contact_email"];
    let fields = messages().into_iter().flat_map(|m| m.fields().collect::<Vec<_>>());
    let unmarked = fields.filter(|f| names.contains(&f.name()) && class(f) != 2);
    none(unmarked.map(|f| f.full_name().to_owned()).collect());
}
