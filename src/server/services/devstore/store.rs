//! SQL of the devstore.

use std::collections::BTreeMap;

use super::{Held, Scope};
use crate::server::{
    db::{Db, Tx, sql},
    error::Result,
    pipeline::{Authorized, Change},
};

/// All entries of a scope.
pub(super) async fn list(db: &Db, by: &Authorized, scope: Scope) -> Result<BTreeMap<String, String>> {
    let (name, id) = scope.row();
    let rows: Vec<(String, String)> =
        sql("SELECT key, value FROM devstore WHERE tenant_id = $1 AND scope = $2 AND scope_id = $3")
            .bind(by.tenant())
            .bind(name)
            .bind(id)
            .all(db)
            .await?;
    Ok(rows.into_iter().collect())
}

/// The value of one key.
pub(super) async fn get(db: &Db, by: &Authorized, scope: Scope, key: &str) -> Result<Option<String>> {
    let (name, id) = scope.row();
    let row: Option<(String,)> =
        sql("SELECT value FROM devstore WHERE tenant_id = $1 AND scope = $2 AND scope_id = $3 AND key = $4")
            .bind(by.tenant())
            .bind(name)
            .bind(id)
            .bind(key)
            .maybe(db)
            .await?;
    Ok(row.map(|row| row.0))
}

/// Writes a value, in place of an older one.
pub(super) async fn put(change: &mut Change, by: &Authorized, scope: Scope, key: &str, value: &str) -> Result<()> {
    let (name, id) = scope.row();
    sql("INSERT INTO devstore (tenant_id, scope, scope_id, key, value, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, scope, scope_id, key) \
         DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at")
    .bind(by.tenant())
    .bind(name)
    .bind(id)
    .bind(key)
    .bind(value)
    .bind(by.now())
    .bind(by.now())
    .run(change)
    .await?;
    Ok(())
}

/// What a scope holds now.
pub(super) async fn held(change: &mut Change, by: &Authorized, scope: Scope) -> Result<Held> {
    let (name, id) = scope.row();
    let held =
        sql("SELECT count(*) AS entries, CAST(coalesce(sum(octet_length(key) + octet_length(value)), 0) AS BIGINT) \
         AS bytes FROM devstore WHERE tenant_id = $1 AND scope = $2 AND scope_id = $3")
        .bind(by.tenant())
        .bind(name)
        .bind(id)
        .one(change)
        .await?;
    Ok(held)
}

/// Removes one key, if it is there.
pub(super) async fn delete(change: &mut Change, by: &Authorized, scope: Scope, key: &str) -> Result<()> {
    let (name, id) = scope.row();
    sql("DELETE FROM devstore WHERE tenant_id = $1 AND scope = $2 AND scope_id = $3 AND key = $4")
        .bind(by.tenant())
        .bind(name)
        .bind(id)
        .bind(key)
        .run(change)
        .await?;
    Ok(())
}

/// Removes all entries of a scope.
pub(super) async fn clear(tx: &mut Tx, tenant: i64, scope: Scope) -> Result<()> {
    let (name, id) = scope.row();
    sql("DELETE FROM devstore WHERE tenant_id = $1 AND scope = $2 AND scope_id = $3")
        .bind(tenant)
        .bind(name)
        .bind(id)
        .run(tx)
        .await?;
    Ok(())
}
