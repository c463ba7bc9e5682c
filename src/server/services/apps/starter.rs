//! The first apps of a server that runs desktops itself: without any, its desktops would be empty.
//!
//! What always holds: they are added once, to a tenant that never had an app, so what an administrator changes or deletes
//! stays as it was left.

use chrono::{DateTime, Utc};

use super::{
    store,
    wanted::{self, Wanted},
};
use crate::{
    proto::v1,
    server::{
        access::catalogue::SUPER_ADMIN,
        db::{Db, sql},
        error::Result,
    },
};

/// The tag of their images, of which there is one version: what is installed.
const TAG: &str = "installed";
/// The heading in the catalogue.
const CATEGORY: &str = "On this host";

/// An app to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Starter {
    /// The image by which the runtime finds the program.
    pub image: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub description: &'static str,
}

impl Starter {
    fn wanted(self) -> Result<Wanted> {
        Wanted::parse(v1::App {
            name: self.name.to_owned(),
            description: self.description.to_owned(),
            docker_image_name: self.image.to_owned(),
            docker_image_tag: TAG.to_owned(),
            category: CATEGORY.to_owned(),
            stability_status: wanted::READY.to_owned(),
            ..v1::App::default()
        })
    }
}

/// Adds these apps to a tenant that never had one, owned by its first administrator. Returns how many were added.
pub async fn seed(db: &Db, tenant: i64, starters: &[Starter], now: DateTime<Utc>) -> Result<usize> {
    // the usual start: nothing to do, and nothing is locked to find out
    if starters.is_empty() || store::had_any(db, tenant).await? {
        return Ok(0);
    }
    let mut tx = db.transaction().await?;
    tx.lock("chorus.starter_apps").await?;
    let owner: Option<(i64,)> = sql("SELECT u.id FROM users u JOIN role_assignments a ON a.user_id = u.id \
         WHERE u.tenant_id = $1 AND u.status = 'active' AND a.role = $2 AND a.workspace = '*' ORDER BY u.id LIMIT 1")
    .bind(tenant)
    .bind(SUPER_ADMIN)
    .maybe(&mut tx)
    .await?;
    let Some((owner,)) = owner else { return Ok(0) };
    if store::had_any(&mut tx, tenant).await? {
        return Ok(0);
    }
    for starter in starters {
        store::insert(&mut tx, tenant, owner, &starter.wanted()?, now).await?;
    }
    tx.commit().await?;
    Ok(starters.len())
}
