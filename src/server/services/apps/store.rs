//! SQL of apps. Whatever reads or writes a row asks for the tenant and passes over deleted ones.

use chrono::{DateTime, Utc};

use super::Wanted;
use crate::server::{
    db::{Db, FromRow, Listed, On, Page, Sql, Tx, fold, sql},
    error::Result,
    pipeline::{Authorized, Change},
};

/// A row of `apps`.
#[derive(Debug, Clone, FromRow)]
pub(super) struct App {
    pub id: i64,
    pub tenant_id: i64,
    pub user_id: i64,
    pub name: String,
    pub name_key: String,
    pub description: String,
    pub status: String,
    pub docker_image_registry: String,
    pub docker_image_name: String,
    pub docker_image_tag: String,
    pub shm_size: String,
    pub max_cpu: String,
    pub min_cpu: String,
    pub max_memory: String,
    pub min_memory: String,
    pub max_ephemeral_storage: String,
    pub min_ephemeral_storage: String,
    pub browser_config_url: String,
    pub browser_config_jwt_url: String,
    pub browser_config_jwt_oidc_client_id: String,
    pub icon_url: String,
    pub icon_background_color: String,
    pub stability_status: String,
    pub category: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The columns of [`App`].
const COLUMNS: &str = "id, tenant_id, user_id, name, name_key, description, status, docker_image_registry, \
     docker_image_name, docker_image_tag, shm_size, max_cpu, min_cpu, max_memory, min_memory, max_ephemeral_storage, \
     min_ephemeral_storage, browser_config_url, browser_config_jwt_url, browser_config_jwt_oidc_client_id, icon_url, \
     icon_background_color, stability_status, category, created_at, updated_at";

/// What makes two apps versions of one: the image. One image serves all web apps that run in its browser; those are told
/// apart by their names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, FromRow)]
pub(super) struct Group {
    docker_image_name: String,
    kiosk_name: String,
}

/// The columns of [`Group`].
const GROUP: &str =
    "docker_image_name, CASE WHEN docker_image_name = 'apps/kiosk' THEN name_key ELSE '' END AS kiosk_name";

/// The same, to divide by.
const BY_GROUP: &str = "docker_image_name, CASE WHEN docker_image_name = 'apps/kiosk' THEN name_key ELSE '' END";

impl App {
    /// The group that the app belongs to.
    pub fn group(&self) -> Group {
        let kiosk_name = if self.docker_image_name == "apps/kiosk" { self.name_key.clone() } else { String::new() };
        Group { docker_image_name: self.docker_image_name.clone(), kiosk_name }
    }
}

/// A version of an app.
#[derive(Debug, FromRow)]
pub(super) struct Version {
    pub id: i64,
    pub docker_image_tag: String,
    #[sqlx(flatten)]
    pub group: Group,
}

/// The apps of a tenant.
fn select<'a>(tenant: i64) -> Sql<'a> {
    sql("SELECT ").push(COLUMNS).push(" FROM apps WHERE deleted_at IS NULL").and("tenant_id =", Some(tenant))
}

/// One app.
pub(super) async fn get(on: impl Into<On<'_>>, by: &Authorized, id: i64) -> Result<Option<App>> {
    Ok(select(by.tenant()).and("id =", Some(id)).maybe(on).await?)
}

/// A page of all apps, each version for itself.
pub(super) async fn list(db: &Db, by: &Authorized, page: &Page) -> Result<Listed<App>> {
    Ok(select(by.tenant()).list(db, page).await?)
}

/// A page of apps of which each stands for all versions of it: the one with the highest id does. Reads the apps of the
/// tenant once, in memory of the database.
pub(super) async fn list_grouped(db: &Db, by: &Authorized, page: &Page) -> Result<Listed<App>> {
    let listed = sql("SELECT ")
        .push(COLUMNS)
        .push(" FROM (SELECT ")
        .push(COLUMNS)
        .push(", row_number() OVER (PARTITION BY ")
        .push(BY_GROUP)
        .push(" ORDER BY id DESC) AS place FROM apps WHERE deleted_at IS NULL")
        .and("tenant_id =", Some(by.tenant()))
        .push(") AS versions WHERE place = 1")
        .list(db, page)
        .await?;
    Ok(listed)
}

/// All versions of the apps with these images, the newest first.
pub(super) async fn versions<'a>(
    db: &Db,
    by: &Authorized,
    images: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<Version>> {
    let versions = sql("SELECT id, docker_image_tag, ")
        .push(GROUP)
        .push(" FROM apps WHERE deleted_at IS NULL")
        .and("tenant_id =", Some(by.tenant()))
        .and_in("docker_image_name", Some(images))
        .push(" ORDER BY id DESC")
        .all(db)
        .await?;
    Ok(versions)
}

/// Stores an app.
pub(super) async fn insert(tx: &mut Tx, tenant: i64, owner: i64, wanted: &Wanted, now: DateTime<Utc>) -> Result<App> {
    let app = &wanted.app;
    let row = sql("INSERT INTO apps (tenant_id, user_id, created_at, updated_at, name, name_key, description, status, \
         docker_image_registry, docker_image_name, docker_image_tag, shm_size, max_cpu, min_cpu, max_memory, min_memory, \
         max_ephemeral_storage, min_ephemeral_storage, browser_config_url, browser_config_jwt_url, \
         browser_config_jwt_oidc_client_id, icon_url, icon_background_color, stability_status, category) \
         VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, \
         $23, $24) RETURNING ")
    .push(COLUMNS)
    .bind(tenant)
    .bind(owner)
    .bind(now);
    Ok(values(row, app).one(tx).await?)
}

/// Replaces what callers set of an app.
pub(super) async fn update(change: &mut Change, by: &Authorized, id: i64, wanted: &Wanted) -> Result<Option<App>> {
    let row = sql("UPDATE apps SET updated_at = $3, name = $4, name_key = $5, description = $6, status = $7, \
         docker_image_registry = $8, docker_image_name = $9, docker_image_tag = $10, shm_size = $11, max_cpu = $12, \
         min_cpu = $13, max_memory = $14, min_memory = $15, max_ephemeral_storage = $16, min_ephemeral_storage = $17, \
         browser_config_url = $18, browser_config_jwt_url = $19, browser_config_jwt_oidc_client_id = $20, icon_url = $21, \
         icon_background_color = $22, stability_status = $23, category = $24 \
         WHERE id = $1 AND tenant_id = $2 AND deleted_at IS NULL RETURNING ")
    .push(COLUMNS)
    .bind(id)
    .bind(by.tenant())
    .bind(by.now());
    Ok(values(row, &wanted.app).maybe(change).await?)
}

/// Binds `$4` and what follows: everything that callers set.
fn values<'a>(statement: Sql<'a>, app: &'a crate::proto::v1::App) -> Sql<'a> {
    statement
        .bind(&*app.name)
        .bind(fold(&app.name))
        .bind(&*app.description)
        .bind(&*app.status)
        .bind(&*app.docker_image_registry)
        .bind(&*app.docker_image_name)
        .bind(&*app.docker_image_tag)
        .bind(&*app.shm_size)
        .bind(&*app.max_cpu)
        .bind(&*app.min_cpu)
        .bind(&*app.max_memory)
        .bind(&*app.min_memory)
        .bind(&*app.max_ephemeral_storage)
        .bind(&*app.min_ephemeral_storage)
        .bind(&*app.browser_config_url)
        .bind(&*app.browser_config_jwt_url)
        .bind(&*app.browser_config_jwt_oidc_client_id)
        .bind(&*app.icon_url)
        .bind(&*app.icon_background_color)
        .bind(&*app.stability_status)
        .bind(&*app.category)
}

/// Marks an app as deleted. It keeps its name, since names may repeat.
pub(super) async fn delete(change: &mut Change, by: &Authorized, id: i64) -> Result<Option<App>> {
    let deleted = sql("UPDATE apps SET status = 'deleted', deleted_at = $1, updated_at = $1 \
         WHERE id = $2 AND tenant_id = $3 AND deleted_at IS NULL RETURNING ")
    .push(COLUMNS)
    .bind(by.now())
    .bind(id)
    .bind(by.tenant())
    .maybe(change)
    .await?;
    Ok(deleted)
}

/// Whether the tenant ever had an app.
pub(super) async fn had_any(on: impl Into<On<'_>>, tenant: i64) -> Result<bool> {
    let row: Option<(i64,)> = sql("SELECT id FROM apps WHERE tenant_id = $1 LIMIT 1").bind(tenant).maybe(on).await?;
    Ok(row.is_some())
}
