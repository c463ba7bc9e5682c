//! The RPCs of the app catalogue.

use super::{
    Apps, SORTABLE, Wanted, not_found,
    store::{self, App, Version},
};
use crate::{
    proto::v1,
    server::{
        db::PageQuery,
        error::Result,
        pipeline::{Authorized, generated::AppHandlers},
        runtime::Limits,
        services::{app_instances::snapshot::AppSnapshot, paged, row_id, timestamp, wire_id},
    },
};

impl AppHandlers for Apps {
    async fn get_app(&self, call: Authorized, request: v1::GetAppRequest) -> Result<v1::GetAppReply> {
        let id = row_id(request.id, "app")?;
        let app = store::get(&self.base.db, &call, id).await?.ok_or_else(not_found)?;
        Ok(v1::GetAppReply { result: Some(v1::GetAppResult { app: Some(app.into()) }) })
    }

    async fn list_apps(&self, call: Authorized, request: v1::ListAppsRequest) -> Result<v1::ListAppsReply> {
        let page = PageQuery::parse(request.pagination.as_ref(), SORTABLE)?;
        let (apps, pagination) = if request.disable_grouping {
            let listed = store::list(&self.base.db, &call, &page).await?;
            let pagination = paged(&call, &page, &listed);
            (listed.rows.into_iter().map(v1::App::from).collect(), pagination)
        } else {
            let listed = self.list_grouped(&call, &page).await?;
            let pagination = paged(&call, &page, &listed);
            (listed.rows.into_iter().map(grouped).collect(), pagination)
        };
        Ok(v1::ListAppsReply { result: Some(v1::ListAppsResult { apps }), pagination: Some(pagination) })
    }

    async fn create_app(&self, call: Authorized, request: v1::App) -> Result<v1::CreateAppReply> {
        let app = self.create(&call, &Wanted::parse(request)?).await?;
        Ok(v1::CreateAppReply { result: Some(v1::CreateAppResult { app: Some(app.into()) }) })
    }

    async fn bulk_create_apps(
        &self,
        call: Authorized,
        request: v1::BulkCreateAppsRequest,
    ) -> Result<v1::BulkCreateAppsReply> {
        call.call().subjects().detail("app_count", &request.apps.len().to_string());
        let apps = self.create_all(&call, &Wanted::parse_all(request.apps)?).await?;
        Ok(v1::BulkCreateAppsReply { apps: apps.into_iter().map(v1::App::from).collect() })
    }

    async fn update_app(&self, call: Authorized, request: v1::App) -> Result<v1::UpdateAppReply> {
        let id = row_id(request.id, "app")?;
        let app = self.update(&call, id, &Wanted::parse(request)?).await?;
        Ok(v1::UpdateAppReply { result: Some(v1::UpdateAppResult { app: Some(app.into()) }) })
    }

    async fn delete_app(&self, call: Authorized, request: v1::DeleteAppRequest) -> Result<v1::DeleteAppReply> {
        self.delete(&call, row_id(request.id, "app")?).await?;
        Ok(v1::DeleteAppReply { result: Some(v1::DeleteAppResult {}) })
    }
}

fn grouped((app, versions): (App, Vec<Version>)) -> v1::App {
    let versions =
        versions.into_iter().map(|v| v1::AppVersion { id: wire_id(v.id), docker_image_tag: v.docker_image_tag });
    v1::App { grouped_versions: versions.collect(), ..app.into() }
}

impl From<App> for v1::App {
    fn from(app: App) -> Self {
        Self {
            id: wire_id(app.id),
            tenant_id: wire_id(app.tenant_id),
            user_id: wire_id(app.user_id),
            name: app.name,
            description: app.description,
            status: app.status,
            docker_image_registry: app.docker_image_registry,
            docker_image_name: app.docker_image_name,
            docker_image_tag: app.docker_image_tag,
            grouped_versions: Vec::new(),
            shm_size: app.shm_size,
            max_cpu: app.max_cpu,
            min_cpu: app.min_cpu,
            max_memory: app.max_memory,
            min_memory: app.min_memory,
            max_ephemeral_storage: app.max_ephemeral_storage,
            min_ephemeral_storage: app.min_ephemeral_storage,
            browser_config_url: app.browser_config_url,
            browser_config_jwt_url: app.browser_config_jwt_url,
            browser_config_jwt_oidc_client_id: app.browser_config_jwt_oidc_client_id,
            icon_url: app.icon_url,
            icon_background_color: app.icon_background_color,
            stability_status: app.stability_status,
            category: app.category,
            created_at: Some(timestamp(app.created_at)),
            updated_at: Some(timestamp(app.updated_at)),
        }
    }
}

impl From<App> for AppSnapshot {
    fn from(app: App) -> Self {
        Self {
            name: app.name,
            registry: app.docker_image_registry,
            image: app.docker_image_name,
            tag: app.docker_image_tag,
            limits: Limits {
                shm_size: app.shm_size,
                max_cpu: app.max_cpu,
                min_cpu: app.min_cpu,
                max_memory: app.max_memory,
                min_memory: app.min_memory,
                max_ephemeral_storage: app.max_ephemeral_storage,
                min_ephemeral_storage: app.min_ephemeral_storage,
            },
            url: app.browser_config_url,
            jwt_url: app.browser_config_jwt_url,
            jwt_oidc_client_id: app.browser_config_jwt_oidc_client_id,
        }
    }
}
