//! The RPCs of the devstore: the same four for each scope.

use super::{Devstore, Scope, no_entry, store, within};
use crate::{
    proto::v1,
    server::{
        error::Result,
        pipeline::{Authorized, Change, generated::DevstoreHandlers},
        services::{roles, row_id, workspaces},
    },
};

impl Devstore {
    async fn list(&self, call: &Authorized, scope: Scope) -> Result<v1::ListEntriesReply> {
        let entries = store::list(&self.base.db, call, scope).await?;
        Ok(v1::ListEntriesReply { result: Some(v1::ListEntriesResult { entries }) })
    }

    async fn get(&self, call: &Authorized, scope: Scope, key: String) -> Result<v1::GetEntryReply> {
        let value = store::get(&self.base.db, call, scope, &key).await?.ok_or_else(no_entry)?;
        Ok(v1::GetEntryReply { result: Some(v1::GetEntryResult { key, value }) })
    }

    async fn put(&self, call: &Authorized, scope: Scope, key: String, value: String) -> Result<v1::PutEntryReply> {
        let mut change = self.begin(call, scope).await?;
        store::put(&mut change, call, scope, &key, &value).await?;
        within(store::held(&mut change, call, scope).await?)?;
        change.commit().await?;
        Ok(v1::PutEntryReply { result: Some(v1::PutEntryResult { key, value }) })
    }

    async fn delete(&self, call: &Authorized, scope: Scope, key: &str) -> Result<v1::DeleteEntryReply> {
        let mut change = self.begin(call, scope).await?;
        store::delete(&mut change, call, scope, key).await?;
        change.commit().await?;
        Ok(v1::DeleteEntryReply { result: Some(v1::DeleteEntryResult {}) })
    }

    /// Begins a change of a scope that is there. Changes of one scope wait for each other, so that two at once do not
    /// both find room below the limit, and for the end of whom or what the scope belongs to.
    async fn begin(&self, call: &Authorized, scope: Scope) -> Result<Change> {
        let mut change = self.base.db.begin(call).await?;
        match scope {
            Scope::Global => change.lock(&format!("chorus.devstore.{}", call.tenant())).await?,
            // the caller's own entries, see the handlers
            Scope::User(_) => roles::lock_active(&mut change, call).await?,
            Scope::Workspace(id) => {
                roles::lock_workspace(&mut change, id).await?;
                workspaces::require(&mut change, call, id).await?;
            }
        }
        Ok(change)
    }

    /// The scope of a workspace that is there.
    async fn workspace(&self, call: &Authorized, id: u64) -> Result<Scope> {
        let id = row_id(id, "workspace")?;
        workspaces::require(&self.base.db, call, id).await?;
        Ok(Scope::Workspace(id))
    }
}

impl DevstoreHandlers for Devstore {
    async fn list_global_entries(&self, call: Authorized, _: v1::ListEntriesRequest) -> Result<v1::ListEntriesReply> {
        self.list(&call, Scope::Global).await
    }

    async fn get_global_entry(&self, call: Authorized, request: v1::GetEntryRequest) -> Result<v1::GetEntryReply> {
        self.get(&call, Scope::Global, request.key).await
    }

    async fn put_global_entry(&self, call: Authorized, request: v1::PutEntryRequest) -> Result<v1::PutEntryReply> {
        self.put(&call, Scope::Global, request.key, request.value).await
    }

    async fn delete_global_entry(
        &self,
        call: Authorized,
        request: v1::DeleteEntryRequest,
    ) -> Result<v1::DeleteEntryReply> {
        self.delete(&call, Scope::Global, &request.key).await
    }

    async fn list_user_entries(&self, call: Authorized, _: v1::ListEntriesRequest) -> Result<v1::ListEntriesReply> {
        self.list(&call, Scope::User(call.id())).await
    }

    async fn get_user_entry(&self, call: Authorized, request: v1::GetEntryRequest) -> Result<v1::GetEntryReply> {
        self.get(&call, Scope::User(call.id()), request.key).await
    }

    async fn put_user_entry(&self, call: Authorized, request: v1::PutEntryRequest) -> Result<v1::PutEntryReply> {
        self.put(&call, Scope::User(call.id()), request.key, request.value).await
    }

    async fn delete_user_entry(
        &self,
        call: Authorized,
        request: v1::DeleteEntryRequest,
    ) -> Result<v1::DeleteEntryReply> {
        self.delete(&call, Scope::User(call.id()), &request.key).await
    }

    async fn list_workspace_entries(
        &self,
        call: Authorized,
        request: v1::ListWorkspaceEntriesRequest,
    ) -> Result<v1::ListEntriesReply> {
        let scope = self.workspace(&call, request.id).await?;
        self.list(&call, scope).await
    }

    async fn get_workspace_entry(
        &self,
        call: Authorized,
        request: v1::GetWorkspaceEntryRequest,
    ) -> Result<v1::GetEntryReply> {
        let scope = self.workspace(&call, request.id).await?;
        self.get(&call, scope, request.key).await
    }

    async fn put_workspace_entry(
        &self,
        call: Authorized,
        request: v1::PutWorkspaceEntryRequest,
    ) -> Result<v1::PutEntryReply> {
        let scope = Scope::Workspace(row_id(request.id, "workspace")?);
        self.put(&call, scope, request.key, request.value).await
    }

    async fn delete_workspace_entry(
        &self,
        call: Authorized,
        request: v1::DeleteWorkspaceEntryRequest,
    ) -> Result<v1::DeleteEntryReply> {
        let scope = Scope::Workspace(row_id(request.id, "workspace")?);
        self.delete(&call, scope, &request.key).await
    }
}
