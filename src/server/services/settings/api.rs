//! The RPCs of platform settings.

use super::{
    Settings, Wanted,
    store::{self, Row},
};
use crate::{
    proto::v1,
    server::{
        error::Result,
        pipeline::{Authorized, generated::PlatformSettingsHandlers},
        services::{timestamp, wire_id},
    },
};

impl PlatformSettingsHandlers for Settings {
    async fn get_platform_settings(
        &self,
        call: Authorized,
        _: v1::GetPlatformSettingsRequest,
    ) -> Result<v1::GetPlatformSettingsReply> {
        let settings = match store::get(&self.base.db, call.tenant()).await? {
            Some(row) => message(row),
            None => v1::PlatformSettings { tenant_id: wire_id(call.tenant()), ..Default::default() },
        };
        let result = v1::GetPlatformSettingsResult { platform_settings: Some(settings) };
        Ok(v1::GetPlatformSettingsReply { result: Some(result) })
    }

    async fn update_platform_settings(
        &self,
        call: Authorized,
        request: v1::UpdatePlatformSettingsRequest,
    ) -> Result<v1::UpdatePlatformSettingsReply> {
        let wanted = Wanted::from(request.platform_settings.unwrap_or_default());
        let mut change = self.base.db.begin(&call).await?;
        let row = store::put(&mut change, &call, &wanted).await?;
        change.commit().await?;
        let result = v1::UpdatePlatformSettingsResult { platform_settings: Some(message(row)) };
        Ok(v1::UpdatePlatformSettingsReply { result: Some(result) })
    }
}

fn message(row: Row) -> v1::PlatformSettings {
    let limit = |n: i64| u32::try_from(n).unwrap_or_default();
    v1::PlatformSettings {
        id: wire_id(row.id),
        tenant_id: wire_id(row.tenant_id),
        title: row.title,
        headline: row.headline,
        tagline: row.tagline,
        website_url: row.website_url,
        max_workspaces_per_user: limit(row.max_workspaces_per_user),
        max_sessions_per_user: limit(row.max_sessions_per_user),
        max_app_instances_per_user: limit(row.max_app_instances_per_user),
        created_at: Some(timestamp(row.created_at)),
        updated_at: Some(timestamp(row.updated_at)),
    }
}
