//! Existing clients fit: field numbers, types, JSON names and routes are those of the compatibility fixtures
//! (`tests/it/data/wire-*`). What we add is listed here, one by one.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{Cardinality, FieldDescriptor, Kind};

use super::{camel, enums, local, messages, none};
use crate::support::contract::rpcs;

const MESSAGES: &str = include_str!("../data/wire-messages.txt");
const METHODS: &str = include_str!("../data/wire-methods.tsv");

/// Messages and enums of our own.
const NEW_TYPES: &[&str] = &[
    "Access",
    "AllOf",
    "ApiToken",
    "AppInstanceEventKind",
    "Audit",
    "Audit.When",
    "AuditDetail",
    "AuditOutcome",
    "CreateServiceAccountReply",
    "CreateServiceAccountRequest",
    "CreateServiceAccountResult",
    "CreateStreamTicketReply",
    "CreateStreamTicketRequest",
    "CreateStreamTicketResult",
    "CreateTokenReply",
    "CreateTokenRequest",
    "CreateTokenResult",
    "Custom",
    "DeleteDynamicRoleReply",
    "DeleteDynamicRoleRequest",
    "DeleteDynamicRoleResult",
    "FieldClass",
    "GetAppInstanceLogsReply",
    "GetAppInstanceLogsRequest",
    "GetAppInstanceLogsResult",
    "GetServerStatusReply",
    "GetServerStatusRequest",
    "Grant",
    "ListRule",
    "ListSessionsReply",
    "ListSessionsRequest",
    "ListSessionsResult",
    "ListTokensReply",
    "ListTokensRequest",
    "ListTokensResult",
    "Request",
    "RestartAppInstanceReply",
    "RestartAppInstanceRequest",
    "RestartAppInstanceResult",
    "RevokeSessionReply",
    "RevokeSessionRequest",
    "RevokeSessionResult",
    "RevokeSessionsReply",
    "RevokeSessionsRequest",
    "RevokeSessionsResult",
    "RevokeTokenReply",
    "RevokeTokenRequest",
    "RevokeTokenResult",
    "ServerStatus",
    "ServerStatusDetails",
    "Session",
    "StartWorkbenchReply",
    "StartWorkbenchRequest",
    "StartWorkbenchResult",
    "StopWorkbenchReply",
    "StopWorkbenchRequest",
    "StopWorkbenchResult",
    "TokenScope",
    "UpdateDynamicRoleReply",
    "UpdateDynamicRoleRequest",
    "UpdateDynamicRoleResult",
    "WatchAppInstancesReply",
    "WatchAppInstancesRequest",
    "WatchWorkbenchesReply",
    "WatchWorkbenchesRequest",
    "WorkbenchEventKind",
];

/// Fields that we add to messages that clients know; they ignore what they do not know.
const NEW_FIELDS: &[&str] = &[
    "AuditEntry: 12 AuditOutcome outcome",
    "AuditEntry: 13 uint32 grpcCode",
    "AuditEntry: 14 string address",
    "AuditEntry: 15 string rpc",
    "AuditEntry: 16 uint32 repeats",
    "AuditFilter: 8 AuditOutcome outcome",
    "AuditFilter: 9 string actorUsername",
    "AuditFilter: 10 uint64 afterId",
    "AuditFilter: 11 uint64 beforeId",
    "AuthenticationMode: 5 string IconURL",
    "AuthorizationRole: 7 optional uint64 workspaceId",
    "ErrorDetail: 7 string reason",
    "ListEntityAuditRequest: 4 bool uncounted",
    "ListPlatformAuditRequest: 3 bool uncounted",
    "ResetPasswordResult: 1 string temporaryPassword",
    "ResetTotpRequest: 2 string totp",
];

/// Types that clients know by shape only: no request or reply holds them.
const LEFT_OUT: &[&str] = &["SortOrder"];

/// RPCs of our own.
const NEW_RPCS: &[&str] = &[
    "AuthenticationService ListSessions ListSessionsRequest ListSessionsReply auth GET /api/rest/v1/authentication/sessions -",
    "AuthenticationService RevokeSession RevokeSessionRequest RevokeSessionReply auth DELETE /api/rest/v1/authentication/sessions/{id} -",
    "AuthenticationService RevokeSessions RevokeSessionsRequest RevokeSessionsReply auth POST /api/rest/v1/authentication/sessions/revoke *",
    "AuthorizationService DeleteDynamicRole DeleteDynamicRoleRequest DeleteDynamicRoleReply auth DELETE /api/rest/v1/authorization/roles/{name} -",
    "AuthorizationService UpdateDynamicRole UpdateDynamicRoleRequest UpdateDynamicRoleReply auth PUT /api/rest/v1/authorization/roles/{name} *",
    "HealthService GetServerStatus GetServerStatusRequest GetServerStatusReply auth GET /api/rest/v1/server/status -",
    "TokenService CreateToken CreateTokenRequest CreateTokenReply auth POST /api/rest/v1/tokens *",
    "TokenService ListTokens ListTokensRequest ListTokensReply auth GET /api/rest/v1/tokens -",
    "TokenService RevokeToken RevokeTokenRequest RevokeTokenReply auth DELETE /api/rest/v1/tokens/{id} -",
    "UserService CreateServiceAccount CreateServiceAccountRequest CreateServiceAccountReply auth POST \
     /api/rest/v1/service-accounts *",
    "AppInstanceService GetAppInstanceLogs GetAppInstanceLogsRequest GetAppInstanceLogsReply auth GET /api/rest/v1/app-instances/{id}/logs -",
    "AppInstanceService RestartAppInstance RestartAppInstanceRequest RestartAppInstanceReply auth POST /api/rest/v1/app-instances/{id}/restart *",
    "AppInstanceService WatchAppInstances WatchAppInstancesRequest WatchAppInstancesReply auth GET /api/rest/v1/app-instances/watch -",
    "WorkbenchService CreateStreamTicket CreateStreamTicketRequest CreateStreamTicketReply auth POST /api/rest/v1/workbenches/{id}/stream-tickets *",
    "WorkbenchService StartWorkbench StartWorkbenchRequest StartWorkbenchReply auth POST /api/rest/v1/workbenches/{id}/start *",
    "WorkbenchService StopWorkbench StopWorkbenchRequest StopWorkbenchReply auth POST /api/rest/v1/workbenches/{id}/stop *",
    "WorkbenchService WatchWorkbenches WatchWorkbenchesRequest WatchWorkbenchesReply auth GET /api/rest/v1/workbenches/watch -",
];

#[test]
fn messages_are_those_of_the_wire() {
    let wire = types(MESSAGES);
    let mut ours = BTreeMap::new();
    for message in messages() {
        let fields = message.fields().map(|f| signature(&f)).collect::<BTreeSet<_>>();
        ours.insert(local(message.full_name()).to_owned(), fields);
    }
    for e in enums() {
        let values = e.values().map(|v| format!("{} {}", v.number(), v.name())).collect();
        ours.insert(local(e.full_name()).to_owned(), values);
    }

    let mut found = Vec::new();
    for (name, fields) in &wire {
        let Some(mine) = ours.remove(name) else {
            if !LEFT_OUT.contains(&name.as_str()) {
                found.push(format!("{name} is missing"));
            }
            continue;
        };
        found.extend(fields.difference(&mine).map(|f| format!("{name}: {f} is missing")));
        let added = mine.difference(fields).map(|f| format!("{name}: {f}"));
        found.extend(added.filter(|f| !NEW_FIELDS.contains(&f.as_str())).map(|f| format!("{f} is new")));
    }
    let new: BTreeSet<_> = ours.keys().map(String::as_str).collect();
    let listed: BTreeSet<_> = NEW_TYPES.iter().copied().collect();
    found
        .extend(new.symmetric_difference(&listed).map(|name| format!("{name}: in one of contract and NEW_TYPES only")));
    none(found);
}

/// Every listed addition exists: the list does not outlive what it names.
#[test]
fn additions_exist() {
    let ours: BTreeSet<_> = messages()
        .iter()
        .flat_map(|m| m.fields().map(|f| format!("{}: {}", local(m.full_name()), signature(&f))).collect::<Vec<_>>())
        .collect();
    none(NEW_FIELDS.iter().filter(|f| !ours.contains(**f)).map(|f| (*f).to_owned()).collect());
}

#[test]
fn rpcs_and_routes_are_those_of_the_wire() {
    let wire: BTreeSet<String> =
        METHODS.lines().skip(1).map(|line| line.replace(" (also)", "").replace('\t', " ")).collect();
    let mut ours = BTreeSet::new();
    for rpc in rpcs() {
        for binding in &rpc.http {
            let body = if binding.body.is_empty() { "-" } else { &binding.body };
            ours.insert(format!(
                "{} {} {} {} {} {} {} {body}",
                rpc.service,
                rpc.name,
                local(rpc.descriptor.input().full_name()),
                local(rpc.descriptor.output().full_name()),
                if rpc.public { "public" } else { "auth" },
                binding.verb,
                json_path(&binding.path),
            ));
        }
    }
    for new in NEW_RPCS {
        assert!(ours.remove(*new), "{new} does not exist");
    }
    let missing = wire.difference(&ours).map(|line| format!("missing {line}"));
    none(missing.chain(ours.difference(&wire).map(|line| format!("new     {line}"))).collect());
}

/// `Name { 1 uint64 id; 2 optional string text; 3 X x (oneof content) }` a line, with JSON names.
fn types(fixture: &str) -> BTreeMap<String, BTreeSet<String>> {
    let lines = fixture.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed = lines.map(|line| {
        let (name, rest) = line.split_once(" { ").unwrap();
        let fields = rest.strip_suffix('}').unwrap().split(';').map(str::trim).filter(|f| !f.is_empty());
        (name.to_owned(), fields.map(normal).collect())
    });
    parsed.collect()
}

/// A field of the fixture with its JSON name; an enum value stays.
fn normal(field: &str) -> String {
    let (field, oneof) = match field.split_once(" (oneof ") {
        Some((field, oneof)) => (field, format!(" in {}", camel(oneof.trim_end_matches(')')))),
        None => (field, String::new()),
    };
    match field.rsplit_once(' ') {
        Some((kind, name)) if kind.contains(' ') => format!("{kind} {}{oneof}", camel(name)),
        _ => field.to_owned(),
    }
}

/// A field of the contract in the form of the fixture.
fn signature(field: &FieldDescriptor) -> String {
    let optional = field.field_descriptor_proto().proto3_optional();
    let kind = match field.kind() {
        Kind::Message(entry) if entry.is_map_entry() => {
            format!(
                "map<{},{}>",
                kind(&entry.map_entry_key_field().kind()),
                kind(&entry.map_entry_value_field().kind())
            )
        }
        other if field.cardinality() == Cardinality::Repeated => format!("repeated {}", kind(&other)),
        other if optional => format!("optional {}", kind(&other)),
        other => kind(&other),
    };
    let oneof = field.containing_oneof().filter(|o| !o.is_synthetic());
    let oneof = oneof.map(|o| format!(" in {}", camel(o.name()))).unwrap_or_default();
    format!("{} {kind} {}{oneof}", field.number(), field.json_name())
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Message(m) => local(m.full_name()).to_owned(),
        Kind::Enum(e) => local(e.full_name()).to_owned(),
        other => format!("{other:?}"),
    }
}

/// A route with its placeholders in JSON names.
fn json_path(path: &str) -> String {
    path.split('/')
        .map(|part| if part.starts_with('{') { camel(part) } else { part.to_owned() })
        .collect::<Vec<_>>()
        .join("/")
}
