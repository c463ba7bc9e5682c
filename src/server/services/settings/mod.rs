//! Platform settings: what the start page shows, and how much a user may create.
//!
//! One row a tenant; none means that everything is empty and nothing is limited. Visitors see those of the tenant whose
//! public pages they see. The rooms that create things ask [`limits`] within the transaction that creates them.

mod api;
mod store;

use super::Base;
use crate::{
    proto::v1,
    server::{
        db::On,
        error::{Error, Kind, Result},
    },
};

/// The service.
pub struct Settings {
    base: Base,
}

impl Settings {
    /// The service over this base.
    pub fn new(base: Base) -> Self {
        Self { base }
    }
}

/// How much a user may own; none is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Workspaces that exist at a time.
    pub workspaces: Option<i64>,
    /// Desktop sessions that exist at a time.
    pub sessions: Option<i64>,
    /// App instances that exist at a time.
    pub app_instances: Option<i64>,
}

/// The limits of a tenant.
pub async fn limits(on: impl Into<On<'_>>, tenant: i64) -> Result<Limits> {
    let stored = store::get(on, tenant).await?;
    Ok(stored.map(|row| row.limits()).unwrap_or_default())
}

/// A limit of what a user may own, as refusals name it.
#[derive(Debug)]
pub struct Quota {
    reason: &'static str,
    name: &'static str,
    /// With its article.
    thing: &'static str,
}

impl Quota {
    /// Workspaces.
    pub const WORKSPACES: Self =
        Self { reason: "QUOTA_WORKSPACES", name: "maxWorkspacesPerUser", thing: "a workspace" };
    /// Workbenches.
    pub const SESSIONS: Self = Self { reason: "QUOTA_SESSIONS", name: "maxSessionsPerUser", thing: "a workbench" };
    /// App instances that run, or are about to.
    pub const APP_INSTANCES: Self =
        Self { reason: "QUOTA_APP_INSTANCES", name: "maxAppInstancesPerUser", thing: "an app instance" };

    /// Refuses one more than the limit to somebody who owns so many.
    ///
    /// # Errors
    /// 429 naming the quota.
    pub fn admit(&self, limit: Option<i64>, owned: i64) -> Result<()> {
        let Some(limit) = limit.filter(|limit| owned >= *limit) else { return Ok(()) };
        let Self { reason, name, thing } = self;
        let text = format!(
            "The quota {name} is {limit}, and you own {owned} already. Delete {thing}, or ask an administrator to raise \
             the quota."
        );
        Err(Error::new(Kind::Exhausted, reason, text))
    }
}

/// What an administrator sets.
struct Wanted {
    title: String,
    headline: String,
    tagline: String,
    website_url: String,
    max_workspaces: u32,
    max_sessions: u32,
    max_app_instances: u32,
}

impl From<v1::PlatformSettings> for Wanted {
    fn from(message: v1::PlatformSettings) -> Self {
        Self {
            title: message.title,
            headline: message.headline,
            tagline: message.tagline,
            website_url: message.website_url,
            max_workspaces: message.max_workspaces_per_user,
            max_sessions: message.max_sessions_per_user,
            max_app_instances: message.max_app_instances_per_user,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_counts_what_is_there() {
        for (limit, owned, refused) in
            [(None, 1000, false), (Some(2), 0, false), (Some(2), 1, false), (Some(2), 2, true), (Some(2), 3, true)]
        {
            assert_eq!(Quota::SESSIONS.admit(limit, owned).is_err(), refused, "{limit:?} {owned}");
        }
        let error = Quota::WORKSPACES.admit(Some(2), 2).unwrap_err();
        assert_eq!((error.kind(), error.reason()), (Kind::Exhausted, "QUOTA_WORKSPACES"));
        assert!(error.message().contains("maxWorkspacesPerUser"));
    }
}
