//! The RPCs of workspaces.

use super::{
    SORTABLE, Wanted, Workspaces, not_found,
    store::{self, PublicWorkspace, Workspace},
};
use crate::{
    proto::v1,
    server::{
        access::decide::Visible,
        db::PageQuery,
        error::Result,
        pipeline::{Authorized, Pending, generated::WorkspaceHandlers},
        services::{paged, row_id, timestamp, wire_id},
    },
};

impl WorkspaceHandlers for Workspaces {
    async fn get_workspace(&self, call: Authorized, request: v1::GetWorkspaceRequest) -> Result<v1::GetWorkspaceReply> {
        let id = row_id(request.id, "workspace")?;
        let row = store::get(&self.base.db, &call, id).await?.ok_or_else(not_found)?;
        let result = v1::GetWorkspaceResult { workspace: Some(self.message(row)) };
        Ok(v1::GetWorkspaceReply { result: Some(result) })
    }

    async fn list_workspaces(
        &self,
        call: Authorized,
        visible: Visible,
        request: v1::ListWorkspacesRequest,
    ) -> Result<v1::ListWorkspacesReply> {
        let page = PageQuery::parse(request.pagination.as_ref(), SORTABLE)?;
        let listed = store::list(&self.base.db, &call, visible, &page).await?;
        let pagination = Some(paged(&call, &page, &listed));
        let workspaces = listed.rows.into_iter().map(|row| self.message(row)).collect();
        Ok(v1::ListWorkspacesReply { result: Some(v1::ListWorkspacesResult { workspaces }), pagination })
    }

    async fn list_public_workspaces(
        &self,
        call: Authorized,
        request: v1::ListPublicWorkspacesRequest,
    ) -> Result<v1::ListPublicWorkspacesReply> {
        let page = PageQuery::parse(request.pagination.as_ref(), SORTABLE)?;
        let listed = store::list_public(&self.base.db, &call, &page).await?;
        let pagination = Some(paged(&call, &page, &listed));
        let public_workspaces = listed.rows.into_iter().map(public_message).collect();
        Ok(v1::ListPublicWorkspacesReply {
            result: Some(v1::ListPublicWorkspacesResult { public_workspaces }),
            pagination,
        })
    }

    async fn create_workspace(&self, call: Authorized, request: v1::Workspace) -> Result<v1::CreateWorkspaceReply> {
        let row = self.create(&call, &Wanted::parse(request)?).await?;
        let result = v1::CreateWorkspaceResult { workspace: Some(self.message(row)) };
        Ok(v1::CreateWorkspaceReply { result: Some(result) })
    }

    async fn update_workspace(&self, call: Authorized, request: v1::Workspace) -> Result<v1::UpdateWorkspaceReply> {
        let id = row_id(request.id, "workspace")?;
        let row = self.update(&call, id, &Wanted::parse(request)?).await?;
        let result = v1::UpdateWorkspaceResult { workspace: Some(self.message(row)) };
        Ok(v1::UpdateWorkspaceReply { result: Some(result) })
    }

    async fn add_user_role_in_workspace(
        &self,
        call: Pending,
        request: v1::AddUserRoleInWorkspaceRequest,
    ) -> Result<v1::AddUserRoleInWorkspaceReply> {
        let role = request.role.unwrap_or_default().name;
        let row = self.add_role(&call, id_or_none(request.id), id_or_none(request.user_id), &role).await?;
        let result = v1::AddUserRoleInWorkspaceResult { workspace: Some(self.message(row)) };
        Ok(v1::AddUserRoleInWorkspaceReply { result: Some(result) })
    }

    async fn remove_user_role_in_workspace(
        &self,
        call: Pending,
        request: v1::RemoveUserRoleInWorkspaceRequest,
    ) -> Result<v1::RemoveUserRoleInWorkspaceReply> {
        let (id, user) = (id_or_none(request.id), id_or_none(request.user_id));
        let row = self.remove_role(&call, id, user, &request.role_name).await?;
        let result = v1::RemoveUserRoleInWorkspaceResult { workspace: Some(self.message(row)) };
        Ok(v1::RemoveUserRoleInWorkspaceReply { result: Some(result) })
    }

    async fn remove_user_from_workspace(
        &self,
        call: Authorized,
        request: v1::RemoveUserFromWorkspaceRequest,
    ) -> Result<v1::RemoveUserFromWorkspaceReply> {
        let row = self.remove_member(&call, id_or_none(request.id), id_or_none(request.user_id)).await?;
        let result = v1::RemoveUserFromWorkspaceResult { workspace: Some(self.message(row)) };
        Ok(v1::RemoveUserFromWorkspaceReply { result: Some(result) })
    }

    async fn delete_workspace(
        &self,
        call: Authorized,
        request: v1::DeleteWorkspaceRequest,
    ) -> Result<v1::DeleteWorkspaceReply> {
        self.delete(&call, row_id(request.id, "workspace")?).await?;
        Ok(v1::DeleteWorkspaceReply { result: Some(v1::DeleteWorkspaceResult {}) })
    }
}

/// The id of a request field where permission is decided before existence: an id that no row can have becomes 0, which
/// no row has either.
fn id_or_none(id: u64) -> i64 {
    i64::try_from(id).unwrap_or_default()
}

impl Workspaces {
    fn message(&self, row: Workspace) -> v1::Workspace {
        message(row, self.base.config.workspace.gid_offset)
    }
}

fn message(row: Workspace, gid_offset: u32) -> v1::Workspace {
    let visibility = match &*row.visibility {
        "public" => v1::WorkspaceVisibility::Public,
        _ => v1::WorkspaceVisibility::Private,
    };
    v1::Workspace {
        id: wire_id(row.id),
        tenant_id: wire_id(row.tenant_id),
        user_id: wire_id(row.user_id),
        name: row.name,
        short_name: row.short_name,
        description: row.description,
        status: status(&row.status).into(),
        is_main: row.is_main,
        app_instance_ids: Vec::new(),
        app_instances: Vec::new(),
        namespace: format!("workspace{}", row.id),
        network_policy: row.network_policy,
        allowed_fqdns: row.allowed_fqdns.0,
        network_policy_status: row.network_policy_status,
        network_policy_message: row.network_policy_message,
        clipboard: row.clipboard,
        gid: wire_id(row.id).saturating_add(u64::from(gid_offset)),
        visibility: visibility.into(),
        contact_user_id: row.contact_user_id.map(wire_id).unwrap_or_default(),
        created_at: Some(timestamp(row.created_at)),
        updated_at: Some(timestamp(row.updated_at)),
    }
}

fn public_message(row: PublicWorkspace) -> v1::PublicWorkspace {
    v1::PublicWorkspace {
        id: wire_id(row.id),
        tenant_id: wire_id(row.tenant_id),
        name: row.name,
        short_name: row.short_name,
        description: row.description,
        status: status(&row.status).into(),
        contact_username: row.contact_username,
        contact_first_name: row.contact_first_name,
        contact_last_name: row.contact_last_name,
        contact_email: row.contact_email,
        created_at: Some(timestamp(row.created_at)),
        updated_at: Some(timestamp(row.updated_at)),
    }
}

fn status(stored: &str) -> v1::WorkspaceStatus {
    match stored {
        "inactive" => v1::WorkspaceStatus::Inactive,
        "deleted" => v1::WorkspaceStatus::Deleted,
        _ => v1::WorkspaceStatus::Active,
    }
}
