//! SQL of platform settings.

use chrono::{DateTime, Utc};

use super::{Limits, Wanted};
use crate::server::{
    db::{FromRow, On, sql},
    error::Result,
    pipeline::{Authorized, Change},
};

/// A row of `platform_settings`.
#[derive(Debug, FromRow)]
pub(super) struct Row {
    pub id: i64,
    pub tenant_id: i64,
    pub title: String,
    pub headline: String,
    pub tagline: String,
    pub website_url: String,
    pub max_workspaces_per_user: i64,
    pub max_sessions_per_user: i64,
    pub max_app_instances_per_user: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The columns of [`Row`].
const COLUMNS: &str = "id, tenant_id, title, headline, tagline, website_url, max_workspaces_per_user, \
     max_sessions_per_user, max_app_instances_per_user, created_at, updated_at";

impl Row {
    pub fn limits(&self) -> Limits {
        let limit = |n: i64| (n > 0).then_some(n);
        Limits {
            workspaces: limit(self.max_workspaces_per_user),
            sessions: limit(self.max_sessions_per_user),
            app_instances: limit(self.max_app_instances_per_user),
        }
    }
}

/// The row of a tenant.
pub(super) async fn get(on: impl Into<On<'_>>, tenant: i64) -> Result<Option<Row>> {
    Ok(sql("SELECT ").push(COLUMNS).push(" FROM platform_settings WHERE tenant_id = ").arg(tenant).maybe(on).await?)
}

/// Replaces the settings of the caller's tenant.
pub(super) async fn put(change: &mut Change, by: &Authorized, wanted: &Wanted) -> Result<Row> {
    let row = sql(
        "INSERT INTO platform_settings (tenant_id, title, headline, tagline, website_url, max_workspaces_per_user, \
         max_sessions_per_user, max_app_instances_per_user, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (tenant_id) DO UPDATE SET title = excluded.title, headline = excluded.headline, \
         tagline = excluded.tagline, website_url = excluded.website_url, \
         max_workspaces_per_user = excluded.max_workspaces_per_user, \
         max_sessions_per_user = excluded.max_sessions_per_user, \
         max_app_instances_per_user = excluded.max_app_instances_per_user, updated_at = excluded.updated_at \
         RETURNING ",
    )
    .push(COLUMNS)
    .bind(by.tenant())
    .bind(&*wanted.title)
    .bind(&*wanted.headline)
    .bind(&*wanted.tagline)
    .bind(&*wanted.website_url)
    .bind(i64::from(wanted.max_workspaces))
    .bind(i64::from(wanted.max_sessions))
    .bind(i64::from(wanted.max_app_instances))
    .bind(by.now())
    .bind(by.now())
    .one(change)
    .await?;
    Ok(row)
}
