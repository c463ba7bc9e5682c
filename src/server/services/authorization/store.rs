//! The rows of the roles that administrators defined.

use crate::server::{
    access::{decide::Role, rights},
    db::{FromRow, Json, On, sql},
    error::Result,
};

#[derive(FromRow)]
struct Row {
    id: i64,
    workspace_id: Option<i64>,
    name: String,
    description: String,
    permissions: Json<Vec<String>>,
}

impl From<Row> for Role {
    fn from(row: Row) -> Self {
        Self::dynamic(row.id, row.name, row.description, row.workspace_id, rights::permissions(&row.permissions))
    }
}

/// The role of this name in the tenant.
pub async fn find(on: impl Into<On<'_>>, tenant: i64, name: &str) -> Result<Option<Role>> {
    let row: Option<Row> = sql("SELECT id, workspace_id, name, description, permissions FROM dynamic_roles \
         WHERE tenant_id = $1 AND name = $2")
    .bind(tenant)
    .bind(name)
    .maybe(on)
    .await?;
    Ok(row.map(Role::from))
}
