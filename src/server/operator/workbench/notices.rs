//! What people are told: whatever changed between two statuses and matters to them.

use super::super::{
    api::{
        Condition, WorkbenchStatus,
        workbench::{AppHealth, AppStatus, DeploymentHealth},
    },
    plan::Notice,
};

/// What to tell about the step from one status to the next.
pub fn changes(before: &WorkbenchStatus, after: &WorkbenchStatus) -> Vec<Notice> {
    let apps = after.apps.iter().filter_map(|(id, app)| about_app(id, before.apps.get(id), app));
    let conditions = after.conditions.iter().filter_map(|condition| {
        let earlier = before.conditions.iter().find(|earlier| earlier.type_ == condition.type_);
        about_condition(earlier, condition)
    });
    let (was, is) = (before.server_deployment.status, after.server_deployment.status);
    let failed = (was != is && is == DeploymentHealth::Failed).then(|| {
        let why = after.conditions.iter().find(|condition| condition.type_ == "ServerAvailable");
        let why = why.map(|condition| condition.message.as_str()).unwrap_or_default();
        notice(true, "ServerFailed", format!("The server failed. {why}"))
    });
    failed.into_iter().chain(conditions).chain(apps).collect()
}

fn about_app(id: &str, before: Option<&AppStatus>, after: &AppStatus) -> Option<Notice> {
    if before.is_some_and(|before| before.status == after.status && before.reason == after.reason) {
        return None;
    }
    let message = after.message.as_deref().unwrap_or_default();
    let (warning, reason) = match after.status {
        AppHealth::Complete => (false, "AppCompleted"),
        AppHealth::Failed => (true, "AppFailed"),
        AppHealth::Stopped | AppHealth::Killed if before.is_some() => (false, "AppStopped"),
        _ => return None,
    };
    Some(notice(warning, reason, format!("App {id}: {message}")))
}

fn about_condition(before: Option<&Condition>, after: &Condition) -> Option<Notice> {
    if before.is_some_and(|before| before.status == after.status && before.reason == after.reason) {
        return None;
    }
    let holds = after.status == "True";
    let (warning, reason) = match (after.type_.as_str(), holds) {
        ("Ready", true) => (false, "Ready"),
        ("Ready", false) if after.reason == "Suspended" => (false, "Suspended"),
        ("StorageReady", false) if !is_passing(&after.reason) => (true, "StorageNotReady"),
        ("NetworkIsolated", false) => (true, "NotIsolated"),
        ("Outdated", true) => (false, "Outdated"),
        _ => return None,
    };
    Some(notice(warning, reason, after.message.clone()))
}

/// What every new volume goes through.
fn is_passing(reason: &str) -> bool {
    matches!(reason, "SettingUp" | "VolumePending")
}

fn notice(warning: bool, reason: &'static str, note: String) -> Notice {
    Notice { warning, reason, note }
}
