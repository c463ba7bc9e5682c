//! Comments and names.

use std::{collections::BTreeSet, fs, path::Path};

use prost_reflect::FileDescriptor;

use super::{camel, enums, exactly, files, local, messages, none};
use crate::support::contract::rpcs;

/// Paths of a `FileDescriptorProto`: where its `syntax` is, whose comment opens the file.
const SYNTAX: [i32; 1] = [12];

const WIRE: &str = "existing clients send and expect this name";
const SHARED: &str = "the resource itself is the request on the wire";
const SHARED_REPLY: &str = "RPCs of the same kind share one message on the wire";

#[test]
fn everything_has_a_comment() {
    let mut found = Vec::new();
    for file in files() {
        let commented = commented(&file);
        let mut need = |path: &[i32], name: &str| {
            if !commented.contains(path) {
                found.push(format!("{}: {name}", file.name()));
            }
        };
        need(&SYNTAX, "the file");
        for service in file.services() {
            need(service.path(), service.name());
            service.methods().for_each(|rpc| need(rpc.path(), rpc.full_name()));
        }
        for extension in file.extensions() {
            need(extension.path(), extension.full_name());
        }
        for message in messages().iter().filter(|m| m.parent_file() == file) {
            need(message.path(), message.full_name());
            message.fields().for_each(|field| need(field.path(), field.full_name()));
            message.oneofs().filter(|o| !o.is_synthetic()).for_each(|oneof| need(oneof.path(), oneof.full_name()));
        }
        for e in enums().iter().filter(|e| e.parent_file() == file) {
            need(e.path(), e.full_name());
            e.values().for_each(|value| need(value.path(), value.full_name()));
        }
    }
    none(found);
}

/// The paths that have a comment that says something.
fn commented(file: &FileDescriptor) -> BTreeSet<Vec<i32>> {
    let info = file.file_descriptor_proto().source_code_info.as_ref().unwrap();
    let locations = info.location.iter().filter(|l| !l.leading_comments().trim().is_empty());
    locations.map(|l| l.path.clone()).collect()
}

#[test]
fn files_hold_one_service_and_are_named_in_lower_case() {
    let mut found = Vec::new();
    for file in files() {
        let stem = Path::new(file.name()).file_stem().unwrap().to_str().unwrap();
        if !is_snake(stem) || Path::new(file.name()).parent() != Some(Path::new("chorus/v1")) {
            found.push(format!("{}: name or folder", file.name()));
        }
        let services: Vec<_> = file.services().map(|s| s.name().to_owned()).collect();
        if services.len() > 1 {
            found.push(format!("{}: {}", file.name(), services.join(", ")));
        }
        if let [service] = services.as_slice()
            && service.strip_suffix("Service").map(str::to_lowercase) != Some(stem.replace('_', ""))
        {
            found.push(format!("{}: holds {service}", file.name()));
        }
    }
    none(found);
}

#[test]
fn names_follow_the_style() {
    let mut found = Vec::new();
    for rpc in rpcs() {
        if !is_pascal(&rpc.name) || !is_pascal(&rpc.service) || !rpc.service.ends_with("Service") {
            found.push(rpc.label());
        }
    }
    for message in messages() {
        if !is_pascal(message.name()) {
            found.push(message.full_name().to_owned());
        }
        found.extend(message.fields().filter(|f| !is_snake(f.name())).map(|f| f.full_name().to_owned()));
        let oneofs = message.oneofs().filter(|o| !o.is_synthetic() && !is_snake(o.name()));
        found.extend(oneofs.map(|o| o.full_name().to_owned()));
    }
    found.extend(enums().iter().filter(|e| !is_pascal(e.name())).map(|e| e.full_name().to_owned()));
    none(found);
}

#[test]
fn enum_values_carry_the_name_of_the_enum() {
    let mut found = Vec::new();
    for e in enums() {
        let prefix = format!("{}_", screaming(e.name()));
        for value in e.values() {
            let name = value.name();
            if !is_screaming(name) || !name.starts_with(&prefix) {
                found.push(local(value.full_name()).to_owned());
            }
        }
        let zero = e.get_value(0).unwrap();
        if zero.name() != format!("{prefix}UNSPECIFIED") {
            found.push(format!("{} = 0", local(zero.full_name())));
        }
    }
    exactly(
        found,
        &[
            ("INVALID_REQUEST", WIRE),
            ("VALIDATION_ERROR", WIRE),
            ("CONVERSION_ERROR", WIRE),
            ("NOT_FOUND", WIRE),
            ("ALREADY_EXISTS", WIRE),
            ("UNAUTHENTICATED", WIRE),
            ("INVALID_CREDENTIALS", WIRE),
            ("TWO_FACTOR_REQUIRED", WIRE),
            ("PERMISSION_DENIED", WIRE),
            ("INTERNAL_ERROR", WIRE),
            ("TERMS_OF_USE_VERSION_STATUS_DRAFT = 0", WIRE),
            ("WORKSPACE_STATUS_ACTIVE = 0", WIRE),
            ("WORKSPACE_VISIBILITY_PRIVATE = 0", WIRE),
        ],
    );
}

#[test]
fn requests_and_replies_carry_the_name_of_the_rpc() {
    let mut found = Vec::new();
    for rpc in rpcs() {
        for (message, suffix) in [(rpc.descriptor.input(), "Request"), (rpc.descriptor.output(), "Reply")] {
            if message.name() != format!("{}{suffix}", rpc.name) {
                found.push(format!("{}: {}", rpc.label(), local(message.full_name())));
            }
        }
    }
    exactly(found, NAMED_OTHERWISE);
}

/// Requests and replies that are not named after their RPC.
const NAMED_OTHERWISE: &[(&str, &str)] = &[
    ("AppInstanceService/CreateAppInstance: AppInstance", SHARED),
    ("AppInstanceService/UpdateAppInstance: AppInstance", SHARED),
    ("AppService/CreateApp: App", SHARED),
    ("AppService/UpdateApp: App", SHARED),
    ("AuditService/ListPlatformAudit: ListAuditReply", SHARED_REPLY),
    ("AuditService/ListWorkspaceAudit: ListEntityAuditRequest", SHARED_REPLY),
    ("AuditService/ListWorkspaceAudit: ListAuditReply", SHARED_REPLY),
    ("AuditService/ListWorkbenchAudit: ListEntityAuditRequest", SHARED_REPLY),
    ("AuditService/ListWorkbenchAudit: ListAuditReply", SHARED_REPLY),
    ("AuditService/ListUserAudit: ListEntityAuditRequest", SHARED_REPLY),
    ("AuditService/ListUserAudit: ListAuditReply", SHARED_REPLY),
    ("AuditService/ListActorAudit: ListEntityAuditRequest", SHARED_REPLY),
    ("AuditService/ListActorAudit: ListAuditReply", SHARED_REPLY),
    ("AuthenticationService/Authenticate: Credentials", SHARED),
    ("AuthenticationService/Authenticate: AuthenticationReply", WIRE),
    ("DevstoreService/ListGlobalEntries: ListEntriesRequest", SHARED_REPLY),
    ("DevstoreService/ListGlobalEntries: ListEntriesReply", SHARED_REPLY),
    ("DevstoreService/GetGlobalEntry: GetEntryRequest", SHARED_REPLY),
    ("DevstoreService/GetGlobalEntry: GetEntryReply", SHARED_REPLY),
    ("DevstoreService/PutGlobalEntry: PutEntryRequest", SHARED_REPLY),
    ("DevstoreService/PutGlobalEntry: PutEntryReply", SHARED_REPLY),
    ("DevstoreService/DeleteGlobalEntry: DeleteEntryRequest", SHARED_REPLY),
    ("DevstoreService/DeleteGlobalEntry: DeleteEntryReply", SHARED_REPLY),
    ("DevstoreService/ListUserEntries: ListEntriesRequest", SHARED_REPLY),
    ("DevstoreService/ListUserEntries: ListEntriesReply", SHARED_REPLY),
    ("DevstoreService/GetUserEntry: GetEntryRequest", SHARED_REPLY),
    ("DevstoreService/GetUserEntry: GetEntryReply", SHARED_REPLY),
    ("DevstoreService/PutUserEntry: PutEntryRequest", SHARED_REPLY),
    ("DevstoreService/PutUserEntry: PutEntryReply", SHARED_REPLY),
    ("DevstoreService/DeleteUserEntry: DeleteEntryRequest", SHARED_REPLY),
    ("DevstoreService/DeleteUserEntry: DeleteEntryReply", SHARED_REPLY),
    ("DevstoreService/ListWorkspaceEntries: ListEntriesReply", SHARED_REPLY),
    ("DevstoreService/GetWorkspaceEntry: GetEntryReply", SHARED_REPLY),
    ("DevstoreService/PutWorkspaceEntry: PutEntryReply", SHARED_REPLY),
    ("DevstoreService/DeleteWorkspaceEntry: DeleteEntryReply", SHARED_REPLY),
    ("NotificationService/CountUnreadNotifications: google.protobuf.Empty", WIRE),
    ("NotificationService/MarkNotificationsAsRead: google.protobuf.Empty", WIRE),
    ("OrganizationService/GetOrganizationLogo: google.api.HttpBody", "the reply is the image, not JSON"),
    ("OrganizationService/CreateOrganization: Organization", SHARED),
    ("OrganizationService/UpdateOrganization: Organization", SHARED),
    ("UserService/UpdateUser: User", SHARED),
    ("UserService/CreateUser: User", SHARED),
    ("WorkbenchService/CreateWorkbench: Workbench", SHARED),
    ("WorkbenchService/UpdateWorkbench: Workbench", SHARED),
    ("WorkspaceServiceInstanceService/CreateWorkspaceServiceInstance: WorkspaceServiceInstance", SHARED),
    ("WorkspaceServiceInstanceService/UpdateWorkspaceServiceInstance: WorkspaceServiceInstance", SHARED),
    ("WorkspaceService/CreateWorkspace: Workspace", SHARED),
    ("WorkspaceService/UpdateWorkspace: Workspace", SHARED),
];

/// A `json_name` that says what holds anyway only misleads.
#[test]
fn json_names_are_stated_only_where_they_differ() {
    let field = regex::Regex::new(r#"(?s)(\w+) = \d+ \[[^\]]*?json_name = "(\w+)""#).unwrap();
    let mut found = Vec::new();
    let mut stated = 0;
    for file in files() {
        let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("proto").join(file.name())).unwrap();
        for field in field.captures_iter(&source) {
            stated += 1;
            if camel(&field[1]) == field[2] {
                found.push(format!("{}: {}", file.name(), &field[1]));
            }
        }
    }
    assert!(stated > 0, "found no json_name at all: has the layout of the files changed?");
    none(found);
}

fn is_snake(name: &str) -> bool {
    let edges = name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.ends_with('_') && !name.contains("__");
    edges && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_screaming(name: &str) -> bool {
    is_snake(&name.to_ascii_lowercase()) && !name.chars().any(|c| c.is_ascii_lowercase())
}

/// `TermsOfUse` as `TERMS_OF_USE`.
fn screaming(pascal: &str) -> String {
    let mut name = String::new();
    for (at, c) in pascal.char_indices() {
        if at > 0 && c.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}
