//! What the web client must find in an answer: it checks every object, and one bad row loses it a whole list.

use chrono::DateTime;
use serde_json::Value;

/// A 64-bit id, which is a string of digits.
#[track_caller]
pub fn id(value: &Value) -> &str {
    let id = value.as_str().unwrap_or_else(|| panic!("{value} is no string"));
    assert!(id.parse::<u64>().is_ok_and(|id| id > 0), "{id:?} is no id");
    id
}

/// A time, RFC 3339.
#[track_caller]
pub fn time(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no time"));
    assert!(text.ends_with('Z') && DateTime::parse_from_rfc3339(text).is_ok(), "{text:?} is no time");
}

/// A text with something in it.
#[track_caller]
pub fn text(value: &Value) -> &str {
    value.as_str().filter(|text| !text.is_empty()).unwrap_or_else(|| panic!("{value} is no text"))
}

/// A list, also when it is empty.
#[track_caller]
pub fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

/// An object with exactly these fields.
#[track_caller]
pub fn fields(value: &Value, names: &[&str]) {
    let mut have: Vec<_> = value.as_object().unwrap_or_else(|| panic!("{value} is no object")).keys().collect();
    let mut want: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    have.sort();
    want.sort();
    assert_eq!(have, want.iter().collect::<Vec<_>>());
}

#[track_caller]
fn one_of(value: &Value, allowed: &[&str]) {
    assert!(value.as_str().is_some_and(|text| allowed.contains(&text)), "{value} is none of {allowed:?}");
}

/// An entry of the audit trail.
#[track_caller]
pub fn audit_entry(entry: &Value) -> &Value {
    let always = ["id", "actorId", "actorUsername", "correlationId", "action", "description", "details", "createdAt"];
    let ours = ["outcome", "grpcCode", "address", "rpc", "repeats"];
    let about = ["workspaceId", "workbenchId", "userId"];
    let about = about.into_iter().filter(|name| entry.get(name).is_some_and(|id| !self::id(id).is_empty()));
    fields(entry, &always.into_iter().chain(ours).chain(about).collect::<Vec<_>>());
    id(&entry["id"]);
    text(&entry["action"]);
    text(&entry["description"]);
    time(&entry["createdAt"]);
    let details = entry["details"].as_object().unwrap_or_else(|| panic!("{entry}"));
    assert!(details.values().all(Value::is_string), "{entry}");
    entry
}

/// A user.
#[track_caller]
pub fn user(user: &Value) -> &Value {
    fields(
        user,
        &[
            "id",
            "firstName",
            "lastName",
            "username",
            "source",
            "password",
            "status",
            "roles",
            "totpEnabled",
            "passwordChanged",
            "createdAt",
            "updatedAt",
            "rolesWithContext",
            "email",
            "namespaces",
            "uid",
            "gids",
        ],
    );
    id(&user["id"]);
    for name in ["firstName", "lastName", "username", "source"] {
        text(&user[name]);
    }
    assert_eq!(user["password"], "", "passwords do not leave the server");
    one_of(&user["status"], &["active", "disabled"]);
    time(&user["createdAt"]);
    time(&user["updatedAt"]);
    assert!(user["totpEnabled"].is_boolean() && user["passwordChanged"].is_boolean());
    for name in ["roles", "namespaces", "gids"] {
        list(&user[name]);
    }
    for role in list(&user["rolesWithContext"]) {
        fields(role, &["id", "name", "context"]);
        id(&role["id"]);
        text(&role["name"]);
        for bound in role["context"].as_object().unwrap().values() {
            text(bound);
        }
    }
    user
}

/// A workspace.
#[track_caller]
pub fn workspace(workspace: &Value) -> &Value {
    fields(
        workspace,
        &[
            "id",
            "tenantId",
            "userId",
            "name",
            "shortName",
            "description",
            "status",
            "isMain",
            "appInstanceIds",
            "appInstances",
            "namespace",
            "networkPolicy",
            "allowedFqdns",
            "networkPolicyStatus",
            "networkPolicyMessage",
            "clipboard",
            "gid",
            "visibility",
            "contactUserId",
            "createdAt",
            "updatedAt",
        ],
    );
    for name in ["id", "tenantId", "userId", "gid"] {
        id(&workspace[name]);
    }
    text(&workspace["name"]);
    assert!(workspace["shortName"].is_string() && workspace["contactUserId"].is_string());
    assert_eq!(workspace["namespace"], format!("workspace{}", id(&workspace["id"])));
    one_of(&workspace["status"], &["WORKSPACE_STATUS_ACTIVE", "WORKSPACE_STATUS_INACTIVE"]);
    one_of(&workspace["visibility"], &["WORKSPACE_VISIBILITY_PRIVATE", "WORKSPACE_VISIBILITY_PUBLIC"]);
    one_of(&workspace["networkPolicy"], &["Open", "Airgapped", "FQDNAllowlist"]);
    one_of(&workspace["clipboard"], &["disabled", "to-server", "to-client", "both"]);
    for name in ["appInstanceIds", "appInstances", "allowedFqdns"] {
        list(&workspace[name]);
    }
    time(&workspace["createdAt"]);
    time(&workspace["updatedAt"]);
    workspace
}

/// A workbench, which the client calls a session.
#[track_caller]
pub fn workbench(workbench: &Value) -> &Value {
    for name in ["id", "tenantId", "userId", "workspaceId"] {
        id(&workbench[name]);
    }
    text(&workbench["name"]);
    assert!(workbench["serverPodMessage"].is_string());
    one_of(&workbench["status"], &["", "active", "inactive", "deleted"]);
    one_of(&workbench["k8sStatus"], &["", "Running", "Progressing", "Failed"]);
    let pod = ["", "Waiting", "Starting", "Ready", "Running", "Progressing", "Failing", "Restarting", "Terminating"];
    let ended = ["Terminated", "Failed", "Unknown"];
    one_of(&workbench["serverPodStatus"], &pod.into_iter().chain(ended).collect::<Vec<_>>());
    for name in ["initialResolutionWidth", "initialResolutionHeight"] {
        assert!(workbench[name].is_u64(), "{workbench}");
    }
    time(&workbench["createdAt"]);
    time(&workbench["updatedAt"]);
    workbench
}

/// An app.
#[track_caller]
pub fn app(app: &Value) -> &Value {
    for name in ["id", "tenantId", "userId"] {
        id(&app[name]);
    }
    for name in ["name", "dockerImageName", "dockerImageTag"] {
        text(&app[name]);
    }
    one_of(&app["status"], &["active", "inactive"]);
    for version in list(&app["groupedVersions"]) {
        fields(version, &["id", "dockerImageTag"]);
        id(&version["id"]);
        text(&version["dockerImageTag"]);
    }
    let is_number = |text: &str, units: &[&str]| {
        let unit = units.iter().find_map(|unit| text.strip_suffix(unit));
        text.is_empty() || unit.is_some_and(|number| number.parse::<f64>().is_ok())
    };
    for name in ["maxCPU", "minCPU"] {
        assert!(is_number(app[name].as_str().unwrap(), &["m", ""]), "{name} {app}");
    }
    for name in ["shmSize", "maxMemory", "minMemory", "maxEphemeralStorage", "minEphemeralStorage"] {
        assert!(is_number(app[name].as_str().unwrap(), &["Mi", "Gi", "M", "G"]), "{name} {app}");
    }
    for name in ["browserConfigURL", "browserConfigJWTURL", "iconURL"] {
        let text = app[name].as_str().unwrap();
        assert!(text.is_empty() || text.starts_with("http") || text.starts_with("data:image/"), "{name} {app}");
    }
    time(&app["createdAt"]);
    time(&app["updatedAt"]);
    app
}

/// An app instance.
#[track_caller]
pub fn app_instance(instance: &Value) -> &Value {
    for name in ["id", "tenantId", "userId", "workspaceId", "workbenchId", "appId"] {
        id(&instance[name]);
    }
    one_of(&instance["status"], &["active", "inactive", "deleted", "unknown"]);
    one_of(&instance["k8sState"], &["Running", "Stopped", "Killed", ""]);
    let seen =
        ["Running", "Complete", "Progressing", "Failed", "Stopping", "Stopped", "Killing", "Killed", "Unknown", ""];
    one_of(&instance["k8sStatus"], &seen);
    assert!(instance["k8sMessage"].is_string(), "{instance}");
    time(&instance["createdAt"]);
    time(&instance["updatedAt"]);
    instance
}

/// A notification: content and time of reading are there, null when there is nothing to say.
#[track_caller]
pub fn notification(notification: &Value) -> &Value {
    fields(notification, &["id", "tenantId", "userId", "message", "content", "createdAt", "readAt"]);
    text(&notification["id"]);
    id(&notification["userId"]);
    text(&notification["message"]);
    time(&notification["createdAt"]);
    if !notification["readAt"].is_null() {
        time(&notification["readAt"]);
    }
    if let Some(content) = notification["content"].as_object() {
        assert!(content.len() <= 1, "never both kinds");
    }
    notification
}

/// The list of users in an answer, and how many there are.
#[track_caller]
pub fn users(reply: &Value) -> (&[Value], u64) {
    let users = list(&reply["result"]["users"]);
    for each in users {
        user(each);
    }
    fields(&reply["pagination"], &["total", "offset", "limit", "sort"]);
    (users, reply["pagination"]["total"].as_u64().unwrap())
}

/// The names of these users, sorted.
#[track_caller]
pub fn usernames(reply: &Value) -> Vec<&str> {
    let mut names: Vec<_> = users(reply).0.iter().map(|user| text(&user["username"])).collect();
    names.sort_unstable();
    names
}

/// The body of every failure, from which the web client makes its message.
#[track_caller]
pub fn failure(body: &Value) {
    fields(body, &["code", "message", "details"]);
    assert!(body["code"].as_u64().is_some_and(|code| (1..=16).contains(&code)), "{body}");
    let [detail] = list(&body["details"]) else { panic!("{body} has not one detail") };
    for name in ["chorusCode", "instance", "title", "message", "reason"] {
        text(&detail[name]);
    }
    assert_eq!(body["message"], detail["message"]);
    for violation in detail.get("validationErrors").map(list).unwrap_or_default() {
        fields(violation, &["field", "reason"]);
        text(&violation["field"]);
        text(&violation["reason"]);
    }
}
