//! Platform settings: what the start page shows, and how much a user may create.
//!
//! One row a tenant; none means that everything is empty and nothing is limited. Visitors see those of the tenant whose
//! public pages they see. The rooms that create things ask [`limits`] within the transaction that creates them.

mod api;
mod store;

use super::Base;
use crate::{
    proto::v1,
    server::{db::On, error::Result},
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
