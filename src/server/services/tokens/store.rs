//! The rows of API tokens, as their owners see them.

use chrono::{DateTime, Utc};

use super::Wanted;
use crate::server::{
    access::api_token::Fresh,
    db::{Db, FromRow, Json, Listed, On, Page, Sortable, Tx, fold, sql},
    error::Result,
    pipeline::Authorized,
};

/// Sort names of the list. `name` sorts without regard to letter case.
pub(super) const SORTABLE: &[Sortable] =
    &[("id", "id"), ("name", "name_key"), ("createdat", "created_at"), ("expiresat", "expires_at")];

const COLUMNS: &str = "id, user_id, name, name_key, public_id, scopes, networks, created_by, created_at, expires_at, \
     last_used_at, last_used_address, revoked_at";

/// A row of `api_tokens`, without the hash.
#[derive(Debug, FromRow)]
pub(super) struct TokenRow {
    pub id: i64,
    pub user_id: i64,
    pub name: String,
    pub public_id: String,
    pub scopes: Json<Vec<String>>,
    pub networks: Json<Vec<String>>,
    pub created_by: i64,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub last_used_address: String,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// The token of this tenant.
pub(super) async fn find(on: impl Into<On<'_>>, tenant: i64, id: i64) -> Result<Option<TokenRow>> {
    let row = sql("SELECT ")
        .push(COLUMNS)
        .push(" FROM api_tokens WHERE id = $1 AND tenant_id = $2")
        .bind(id)
        .bind(tenant)
        .maybe(on)
        .await?;
    Ok(row)
}

/// One page of the tokens of a user of the caller's tenant: the active ones, or also those that ended since a moment.
pub(super) async fn list(
    db: &Db,
    by: &Authorized,
    owner: i64,
    ended_since: Option<DateTime<Utc>>,
    page: &Page,
) -> Result<Listed<TokenRow>> {
    let all = sql("SELECT ")
        .push(COLUMNS)
        .push(" FROM api_tokens WHERE user_id = $1 AND tenant_id = $2")
        .bind(owner)
        .bind(by.tenant())
        .and("expires_at >", Some(ended_since.unwrap_or(by.now())));
    let some = match ended_since {
        None => all.push(" AND revoked_at IS NULL"),
        Some(since) => all.push(" AND (revoked_at IS NULL OR revoked_at > ").arg(since).push(")"),
    };
    Ok(some.list(db, page).await?)
}

/// How many tokens of a user are active.
pub(super) async fn count_active(tx: &mut Tx, by: &Authorized, owner: i64) -> Result<i64> {
    let (count,): (i64,) =
        sql("SELECT count(*) FROM api_tokens WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2")
            .bind(owner)
            .bind(by.now())
            .one(tx)
            .await?;
    Ok(count)
}

/// Whether a user has an active token of this name, in any letter case.
pub(super) async fn has_active(tx: &mut Tx, by: &Authorized, owner: i64, name: &str) -> Result<bool> {
    let found: Option<(i64,)> = sql("SELECT id FROM api_tokens WHERE user_id = $1 AND name_key = $2 \
         AND revoked_at IS NULL AND expires_at > $3")
    .bind(owner)
    .bind(fold(name))
    .bind(by.now())
    .maybe(tx)
    .await?;
    Ok(found.is_some())
}

/// Stores a new token of a user of the caller's tenant.
pub(super) async fn insert(
    tx: &mut Tx,
    by: &Authorized,
    owner: i64,
    wanted: &Wanted,
    fresh: &Fresh,
) -> Result<TokenRow> {
    let scopes: Vec<_> = wanted.scopes.iter().map(|scope| scope.to_string()).collect();
    let networks: Vec<_> = wanted.networks.iter().map(ToString::to_string).collect();
    let row =
        sql("INSERT INTO api_tokens (tenant_id, user_id, name, name_key, public_id, secret_hash, scopes, networks, \
         created_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING ")
        .push(COLUMNS)
        .bind(by.tenant())
        .bind(owner)
        .bind(&*wanted.name)
        .bind(fold(&wanted.name))
        .bind(&*fresh.public_id)
        .bind(fresh.secret_hash.to_vec())
        .bind(Json(scopes))
        .bind(Json(networks))
        .bind(by.id())
        .bind(by.now())
        .bind(wanted.expires_at)
        .one(tx)
        .await?;
    Ok(row)
}

/// Ends a token of the caller's tenant, unless it was revoked before.
pub(super) async fn revoke(tx: &mut Tx, by: &Authorized, id: i64) -> Result<()> {
    sql("UPDATE api_tokens SET revoked_at = $1 WHERE id = $2 AND tenant_id = $3 AND revoked_at IS NULL")
        .bind(by.now())
        .bind(id)
        .bind(by.tenant())
        .run(tx)
        .await?;
    Ok(())
}

/// Removes the tokens that ended before this moment.
pub(super) async fn remove_ended(db: &Db, ended: DateTime<Utc>) -> Result<u64> {
    Ok(sql("DELETE FROM api_tokens WHERE expires_at < $1 OR revoked_at < $1").bind(ended).run(db).await?)
}
