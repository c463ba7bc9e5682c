//! The RPCs of the audit trail.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    AuditTrail, Filter, id, outcome, page,
    store::{self, Entry},
};
use crate::{
    proto::v1,
    server::{
        access::catalogue::{Dimension, Permission},
        error::Result,
        pipeline::{Authorized, Pending, generated::AuditHandlers},
        services::{paged, timestamp, wire_id},
    },
};

impl AuditHandlers for AuditTrail {
    async fn list_platform_audit(
        &self,
        call: Authorized,
        request: v1::ListPlatformAuditRequest,
    ) -> Result<v1::ListAuditReply> {
        let filter = Filter::parse(request.filter)?;
        self.list(&call, &filter, request.pagination.as_ref(), request.uncounted).await
    }

    async fn list_workspace_audit(
        &self,
        call: Authorized,
        request: v1::ListEntityAuditRequest,
    ) -> Result<v1::ListAuditReply> {
        let filter = Filter { workspace: id(request.id), ..Filter::parse(request.filter)? };
        self.list(&call, &filter, request.pagination.as_ref(), request.uncounted).await
    }

    async fn list_workbench_audit(
        &self,
        call: Authorized,
        request: v1::ListEntityAuditRequest,
    ) -> Result<v1::ListAuditReply> {
        let filter = Filter { workbench: id(request.id), ..Filter::parse(request.filter)? };
        self.list(&call, &filter, request.pagination.as_ref(), request.uncounted).await
    }

    async fn list_user_audit(&self, call: Pending, request: v1::ListEntityAuditRequest) -> Result<v1::ListAuditReply> {
        let user = id(request.id).unwrap_or_default();
        let filter = Filter { user: Some(user), ..Filter::parse(request.filter)? };
        let (permission, target) = match (filter.workspace, filter.workbench) {
            (Some(workspace), _) => (Permission::AuditWorkspace, (Dimension::Workspace, workspace)),
            (None, Some(workbench)) => (Permission::AuditWorkbench, (Dimension::Workbench, workbench)),
            (None, None) => (Permission::AuditUser, (Dimension::User, user)),
        };
        let call = call.require(permission, Some(target))?;
        let mut reply = self.list(&call, &filter, request.pagination.as_ref(), request.uncounted).await?;
        if permission == Permission::AuditUser {
            hide_addresses(&call, &mut reply);
        }
        Ok(reply)
    }

    async fn list_actor_audit(
        &self,
        call: Authorized,
        request: v1::ListEntityAuditRequest,
    ) -> Result<v1::ListAuditReply> {
        let filter = Filter { actor: id(request.id), ..Filter::parse(request.filter)? };
        self.list(&call, &filter, request.pagination.as_ref(), request.uncounted).await
    }
}

impl AuditTrail {
    async fn list(
        &self,
        call: &Authorized,
        filter: &Filter,
        pagination: Option<&v1::PaginationQuery>,
        uncounted: bool,
    ) -> Result<v1::ListAuditReply> {
        let page = page(pagination, filter)?;
        let (rows, pagination) = if uncounted {
            (store::walk(&self.base.db, call, filter, &page).await?, None)
        } else {
            let listed = store::list(&self.base.db, call, filter, &page).await?;
            let pagination = paged(call, &page, &listed);
            (listed.rows, Some(pagination))
        };
        let entries = rows.into_iter().map(message).collect();
        Ok(v1::ListAuditReply { result: Some(v1::ListAuditResult { entries }), pagination })
    }
}

/// Takes out where others were when they acted: users may know what was done to them, and by whom. Who may audit the
/// actor as well is an auditor and sees it. Without an actor it is somebody who tried to sign in as the user.
fn hide_addresses(call: &Authorized, reply: &mut v1::ListAuditReply) {
    for entry in reply.result.iter_mut().flat_map(|result| &mut result.entries) {
        let actor = i64::try_from(entry.actor_id).unwrap_or_default();
        if actor != 0 && !call.may(Permission::AuditUser, Some((Dimension::User, actor))) {
            entry.address.clear();
        }
    }
}

fn message(row: Entry) -> v1::AuditEntry {
    let code = u32::try_from(row.code).unwrap_or_default();
    let mut details: BTreeMap<_, _> = row.details.0.into_iter().map(|(key, value)| (key, scalar(value))).collect();
    if code != 0 {
        details.insert("grpc_status_code".to_owned(), code.to_string());
    }
    v1::AuditEntry {
        id: wire_id(row.id),
        actor_id: row.actor_id.map(wire_id).unwrap_or_default(),
        actor_username: row.actor_username,
        correlation_id: row.request_id,
        action: row.action,
        workspace_id: row.workspace_id.map(wire_id),
        workbench_id: row.workbench_id.map(wire_id),
        user_id: row.user_id.map(wire_id),
        description: row.description,
        details,
        created_at: Some(timestamp(row.created_at)),
        outcome: outcome(&row.outcome).into(),
        grpc_code: code,
        address: row.address,
        rpc: row.rpc,
        repeats: u32::try_from(row.repeats).unwrap_or(u32::MAX),
    }
}

/// Text as it is, anything else as JSON writes it.
fn scalar(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn details_are_plain() {
        for (stored, shown) in [
            (json!("Atlas"), "Atlas"),
            (json!(1_234_567), "1234567"),
            (json!(1.5), "1.5"),
            (json!(true), "true"),
            (json!(null), "null"),
            (json!([1, "b"]), r#"[1,"b"]"#),
        ] {
            assert_eq!(scalar(stored), shown);
        }
    }
}
