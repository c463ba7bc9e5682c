//! The RPCs of workbenches.

use super::{
    SORTABLE, Visit, Wanted, Workbenches,
    idle::span,
    not_found, opening,
    store::{self, Workbench},
};
use crate::{
    proto::v1::{self, WorkbenchEventKind as Kind},
    server::{
        access::decide::Visible,
        config,
        db::PageQuery,
        error::Result,
        pipeline::{Authorized, Items, Pending, generated::WorkbenchHandlers},
        runtime::{PodStatus, ServerStatus},
        services::{feed::Event, paged, row_id, timestamp, wire_id},
    },
};

impl WorkbenchHandlers for Workbenches {
    async fn get_workbench(&self, call: Authorized, request: v1::GetWorkbenchRequest) -> Result<v1::GetWorkbenchReply> {
        let id = row_id(request.id, "workbench")?;
        let row = store::get(&self.base.db, call.tenant(), id).await?.ok_or_else(not_found)?;
        let row = match call.call().only_looks {
            true => row,
            false => self.open(&call, &row).await?.unwrap_or(row),
        };
        let result = v1::GetWorkbenchResult { workbench: Some(self.message(row)) };
        Ok(v1::GetWorkbenchReply { result: Some(result) })
    }

    async fn list_workbenches(
        &self,
        call: Authorized,
        visible: Visible,
        request: v1::ListWorkbenchesRequest,
    ) -> Result<v1::ListWorkbenchesReply> {
        let page = PageQuery::parse(request.pagination.as_ref(), SORTABLE)?;
        let listed = store::list(&self.base.db, &call, visible, &page).await?;
        let pagination = Some(paged(&call, &page, &listed));
        let workbenches = listed.rows.into_iter().map(|row| self.message(row)).collect();
        Ok(v1::ListWorkbenchesReply { result: Some(v1::ListWorkbenchesResult { workbenches }), pagination })
    }

    async fn create_workbench(&self, call: Authorized, request: v1::Workbench) -> Result<v1::CreateWorkbenchReply> {
        let workspace = row_id(request.workspace_id, "workspace")?;
        let resolution = (request.initial_resolution_width, request.initial_resolution_height);
        let row = self.create(&call, workspace, resolution, &Wanted::parse(request)?).await?;
        let result = v1::CreateWorkbenchResult { workbench: Some(self.message(row)) };
        Ok(v1::CreateWorkbenchReply { result: Some(result) })
    }

    async fn update_workbench(&self, call: Authorized, request: v1::Workbench) -> Result<v1::UpdateWorkbenchReply> {
        let id = row_id(request.id, "workbench")?;
        let row = self.update(&call, id, &Wanted::parse(request)?).await?;
        let result = v1::UpdateWorkbenchResult { workbench: Some(self.message(row)) };
        Ok(v1::UpdateWorkbenchReply { result: Some(result) })
    }

    async fn add_user_role_in_workbench(
        &self,
        call: Pending,
        request: v1::AddUserRoleInWorkbenchRequest,
    ) -> Result<v1::AddUserRoleInWorkbenchReply> {
        let role = request.role.unwrap_or_default().name;
        let row = self.add_role(&call, id_or_none(request.id), id_or_none(request.user_id), &role).await?;
        let result = v1::AddUserRoleInWorkbenchResult { workbench: Some(self.message(row)) };
        Ok(v1::AddUserRoleInWorkbenchReply { result: Some(result) })
    }

    async fn remove_user_from_workbench(
        &self,
        call: Authorized,
        request: v1::RemoveUserFromWorkbenchRequest,
    ) -> Result<v1::RemoveUserFromWorkbenchReply> {
        let row = self.remove_member(&call, id_or_none(request.id), id_or_none(request.user_id)).await?;
        let result = v1::RemoveUserFromWorkbenchResult { workbench: Some(self.message(row)) };
        Ok(v1::RemoveUserFromWorkbenchReply { result: Some(result) })
    }

    async fn delete_workbench(
        &self,
        call: Authorized,
        request: v1::DeleteWorkbenchRequest,
    ) -> Result<v1::DeleteWorkbenchReply> {
        let row = self.delete(&call, row_id(request.id, "workbench")?).await?;
        let result = v1::DeleteWorkbenchResult { workbench: Some(self.message(row)) };
        Ok(v1::DeleteWorkbenchReply { result: Some(result) })
    }

    async fn create_stream_ticket(
        &self,
        call: Authorized,
        request: v1::CreateStreamTicketRequest,
    ) -> Result<v1::CreateStreamTicketReply> {
        let result = self.create_ticket(&call, row_id(request.id, "workbench")?).await?;
        Ok(v1::CreateStreamTicketReply { result: Some(result) })
    }

    async fn stop_workbench(
        &self,
        call: Authorized,
        request: v1::StopWorkbenchRequest,
    ) -> Result<v1::StopWorkbenchReply> {
        let row = self.stop(&call, row_id(request.id, "workbench")?).await?;
        let result = v1::StopWorkbenchResult { workbench: Some(self.message(row)) };
        Ok(v1::StopWorkbenchReply { result: Some(result) })
    }

    async fn start_workbench(
        &self,
        call: Authorized,
        request: v1::StartWorkbenchRequest,
    ) -> Result<v1::StartWorkbenchReply> {
        let row = self.start(&call, row_id(request.id, "workbench")?).await?;
        let result = v1::StartWorkbenchResult { workbench: Some(self.message(row)) };
        Ok(v1::StartWorkbenchReply { result: Some(result) })
    }

    async fn watch_workbenches(
        &self,
        call: Authorized,
        visible: Visible,
        _request: v1::WatchWorkbenchesRequest,
    ) -> Result<Items<v1::WatchWorkbenchesReply>> {
        let (tenant, config) = (call.tenant(), self.base.config.workbench.clone());
        let rows = move || store::watched(tenant, visible.clone());
        Ok(self.base.feed.watch(rows, move |event| {
            let (kind, row) = match event {
                Event::Seen(row) => (Kind::Seen, Some(row)),
                Event::Deleted(row) => (Kind::Deleted, Some(row)),
                Event::Current => (Kind::Current, None),
            };
            v1::WatchWorkbenchesReply { kind: kind.into(), workbench: row.map(|row| message(row, &config)) }
        }))
    }
}

/// The id of a request field where permission is decided before existence: an id that no row can have becomes 0, which
/// no row has either.
fn id_or_none(id: u64) -> i64 {
    i64::try_from(id).unwrap_or_default()
}

impl Workbenches {
    fn message(&self, row: Workbench) -> v1::Workbench {
        message(row, &self.base.config.workbench)
    }

    async fn open(&self, call: &Authorized, row: &Workbench) -> Result<Option<Workbench>> {
        let of = call.call();
        let visit = Visit { caller: call.caller(), request_id: &of.request_id, address: of.address, now: of.now };
        opening::open(&self.base, of.shared(), &visit, row).await
    }
}

fn message(row: Workbench, config: &config::Workbench) -> v1::Workbench {
    let pixels = |n: i64| u32::try_from(n).unwrap_or_default();
    let (k8s_status, server_pod_status, server_pod_message) = observed(&row, config);
    v1::Workbench {
        id: wire_id(row.id),
        tenant_id: wire_id(row.tenant_id),
        user_id: wire_id(row.user_id),
        workspace_id: wire_id(row.workspace_id),
        status: row.status,
        k8s_status,
        server_pod_status,
        server_pod_message,
        name: row.name,
        short_name: row.short_name,
        description: row.description,
        initial_resolution_width: pixels(row.initial_resolution_width),
        initial_resolution_height: pixels(row.initial_resolution_height),
        created_at: Some(timestamp(row.created_at)),
        updated_at: Some(timestamp(row.updated_at)),
    }
}

/// What is shown of the desktop: that of a stopped workbench is gone as soon as that is wanted, however long it takes. Other
/// values would break the web client's list.
fn observed(row: &Workbench, config: &config::Workbench) -> (String, String, String) {
    if row.status != "inactive" {
        return (row.k8s_status.clone(), row.server_pod_status.clone(), row.server_pod_message.clone());
    }
    let unused = span(config.idle_timeout);
    let why = match (&*row.stopped_because, config.wake_on_open) {
        ("idle", true) => format!("stopped: nobody used it for {unused}; open it to start it again"),
        ("idle", false) => format!("stopped: nobody used it for {unused}; start it to use it again"),
        _ => "stopped: start it to use it again".to_owned(),
    };
    (ServerStatus::None.as_str().to_owned(), PodStatus::Terminated.as_str().to_owned(), why)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;

    use super::*;

    fn row(status: &str, stopped_because: &str) -> Workbench {
        let at = DateTime::UNIX_EPOCH;
        Workbench {
            id: 7,
            tenant_id: 1,
            user_id: 2,
            workspace_id: 3,
            name: "Étude".to_owned(),
            short_name: String::new(),
            description: String::new(),
            initial_resolution_width: 1920,
            initial_resolution_height: 1080,
            status: status.to_owned(),
            stopped_because: stopped_because.to_owned(),
            server_pod_status: "Ready".to_owned(),
            server_pod_message: "fine".to_owned(),
            k8s_status: "Running".to_owned(),
            version: 1,
            active_at: at,
            created_at: at,
            updated_at: at,
            deleted_at: None,
        }
    }

    #[test]
    fn what_is_wanted_comes_before_what_was_observed() {
        let idle = "stopped: nobody used it for 24h; open it to start it again";
        let idle_asleep = "stopped: nobody used it for 24h; start it to use it again";
        let person = "stopped: start it to use it again";
        for (status, because, wakes, shown) in [
            ("active", "", true, ("Running", "Ready", "fine")),
            ("inactive", "idle", true, ("", "Terminated", idle)),
            ("inactive", "idle", false, ("", "Terminated", idle_asleep)),
            ("inactive", "person", true, ("", "Terminated", person)),
            ("deleted", "", true, ("Running", "Ready", "fine")),
        ] {
            let config = config::Workbench {
                idle_timeout: Duration::from_secs(24 * 3600),
                idle_warning: Duration::ZERO,
                max_age: Duration::ZERO,
                wake_on_open: wakes,
            };
            let m = message(row(status, because), &config);
            assert_eq!((&*m.k8s_status, &*m.server_pod_status, &*m.server_pod_message), shown, "{status} {because}");
            assert_eq!(m.status, status);
        }
    }
}
