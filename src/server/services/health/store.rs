//! SQL of the server's status.

use crate::server::{
    db::{Db, FromRow, sql},
    error::Result,
    pipeline::Authorized,
};

/// Numbers of the schema and of one tenant.
#[derive(Debug, FromRow)]
pub(super) struct Counts {
    pub schema_version: i64,
    pub users: i64,
    pub workspaces: i64,
}

/// The newest migration, and what the caller's tenant has.
pub(super) async fn counts(db: &Db, by: &Authorized) -> Result<Counts> {
    let counts = sql("SELECT (SELECT coalesce(max(version), 0) FROM _sqlx_migrations) AS schema_version, \
         (SELECT count(*) FROM users WHERE tenant_id = $1 AND status <> 'deleted') AS users, \
         (SELECT count(*) FROM workspaces WHERE tenant_id = $2 AND deleted_at IS NULL) AS workspaces")
    .bind(by.tenant())
    .bind(by.tenant())
    .one(db)
    .await?;
    Ok(counts)
}
