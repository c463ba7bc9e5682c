//! The RPCs of app instances.

use super::{
    AppInstances, SORTABLE, Wanted, not_found,
    store::{self, AppInstance},
};
use crate::{
    proto::v1::{self, AppInstanceEventKind as Kind},
    server::{
        access::{caller::Caller, decide::Visible},
        db::PageQuery,
        error::Result,
        pipeline::{Authorized, Items, generated::AppInstanceHandlers},
        runtime::AppState,
        services::{feed::Event, paged, row_id, timestamp, wire_id},
    },
};

impl AppInstanceHandlers for AppInstances {
    async fn get_app_instance(
        &self,
        call: Authorized,
        request: v1::GetAppInstanceRequest,
    ) -> Result<v1::GetAppInstanceReply> {
        let row = store::get(&self.base.db, call.tenant(), instance(request.id)?).await?.ok_or_else(not_found)?;
        let result = v1::GetAppInstanceResult { app_instance: Some(row.into()) };
        Ok(v1::GetAppInstanceReply { result: Some(result) })
    }

    async fn list_app_instances(
        &self,
        call: Authorized,
        visible: Visible,
        request: v1::ListAppInstancesRequest,
    ) -> Result<v1::ListAppInstancesReply> {
        let page = PageQuery::parse(request.pagination.as_ref(), SORTABLE)?;
        let listed = store::list(&self.base.db, &call, visible, &page).await?;
        let pagination = Some(paged(&call, &page, &listed));
        let app_instances = listed.rows.into_iter().map(v1::AppInstance::from).collect();
        let result = v1::ListAppInstancesResult { app_instances };
        Ok(v1::ListAppInstancesReply { result: Some(result), pagination })
    }

    async fn create_app_instance(
        &self,
        call: Authorized,
        request: v1::AppInstance,
    ) -> Result<v1::CreateAppInstanceReply> {
        let wanted = Wanted {
            workbench: row_id(request.workbench_id, "workbench")?,
            // an id that no row can have is one that the workbench's workspace has not
            workspace: (request.workspace_id > 0).then(|| i64::try_from(request.workspace_id).unwrap_or(i64::MAX)),
            app: row_id(request.app_id, "app")?,
            resolution: (request.initial_resolution_width, request.initial_resolution_height),
        };
        let row = self.create(&call, wanted).await?;
        let result = v1::CreateAppInstanceResult { app_instance: Some(row.into()) };
        Ok(v1::CreateAppInstanceReply { result: Some(result) })
    }

    async fn update_app_instance(
        &self,
        call: Authorized,
        request: v1::AppInstance,
    ) -> Result<v1::UpdateAppInstanceReply> {
        let row = self.update(&call, instance(request.id)?, AppState::parse(&request.k8s_state)).await?;
        let result = v1::UpdateAppInstanceResult { app_instance: Some(row.into()) };
        Ok(v1::UpdateAppInstanceReply { result: Some(result) })
    }

    async fn delete_app_instance(
        &self,
        call: Authorized,
        request: v1::DeleteAppInstanceRequest,
    ) -> Result<v1::DeleteAppInstanceReply> {
        let row = self.delete(&call, instance(request.id)?).await?;
        let result = v1::DeleteAppInstanceResult { app_instance: Some(row.into()) };
        Ok(v1::DeleteAppInstanceReply { result: Some(result) })
    }

    async fn restart_app_instance(
        &self,
        call: Authorized,
        request: v1::RestartAppInstanceRequest,
    ) -> Result<v1::RestartAppInstanceReply> {
        let row = self.restart(&call, instance(request.id)?).await?;
        let result = v1::RestartAppInstanceResult { app_instance: Some(row.into()) };
        Ok(v1::RestartAppInstanceReply { result: Some(result) })
    }

    async fn get_app_instance_logs(
        &self,
        call: Authorized,
        request: v1::GetAppInstanceLogsRequest,
    ) -> Result<v1::GetAppInstanceLogsReply> {
        let text = self.logs(&call, instance(request.id)?, request.max_bytes).await?;
        Ok(v1::GetAppInstanceLogsReply { result: Some(v1::GetAppInstanceLogsResult { text }) })
    }

    async fn watch_app_instances(
        &self,
        call: Authorized,
        visible: Visible,
        _: v1::WatchAppInstancesRequest,
    ) -> Result<Items<v1::WatchAppInstancesReply>> {
        let tenant = call.tenant();
        Ok(self.base.feed.watch(move || store::watched(tenant, visible.clone()), event))
    }

    async fn app_instance_workbench(&self, caller: &Caller, id: u64) -> Result<i64> {
        self.workbench_of(caller, instance(id)?).await
    }
}

fn instance(id: u64) -> Result<i64> {
    // the same answer as for one that is not there
    row_id(id, "app instance").map_err(|_| not_found())
}

fn event(event: Event<AppInstance>) -> v1::WatchAppInstancesReply {
    let (kind, row) = match event {
        Event::Seen(row) => (Kind::Seen, Some(row)),
        Event::Deleted(row) => (Kind::Deleted, Some(row)),
        Event::Current => (Kind::Current, None),
    };
    v1::WatchAppInstancesReply { kind: kind.into(), app_instance: row.map(v1::AppInstance::from) }
}

impl From<AppInstance> for v1::AppInstance {
    fn from(row: AppInstance) -> Self {
        let pixels = |n: i64| u32::try_from(n).unwrap_or_default();
        let app = row.app.0;
        Self {
            id: wire_id(row.id),
            tenant_id: wire_id(row.tenant_id),
            user_id: wire_id(row.user_id),
            workspace_id: wire_id(row.workspace_id),
            workbench_id: wire_id(row.workbench_id),
            app_id: wire_id(row.app_id),
            app_name: app.name,
            app_docker_image_registry: app.registry,
            app_docker_image_name: app.image,
            app_docker_image_tag: app.tag,
            status: row.status,
            k8s_status: row.k8s_status,
            k8s_message: row.k8s_message,
            k8s_state: row.k8s_state,
            initial_resolution_width: pixels(row.initial_resolution_width),
            initial_resolution_height: pixels(row.initial_resolution_height),
            created_at: Some(timestamp(row.created_at)),
            updated_at: Some(timestamp(row.updated_at)),
        }
    }
}
