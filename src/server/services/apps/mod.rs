//! The app catalogue: which images can be started in workbenches, and with which limits.
//!
//! ```text
//! create, bulk create, update ──► Wanted (checked) ──► row ──► instances that start from now on
//! delete ──► the row stays, unseen ──► instances that run already go on: they have a copy
//! ```
//!
//! What always holds:
//! - an app is seen and changed within its tenant only, and not at all once it is deleted;
//! - what is stored can be started: quantities, image references and addresses are checked when they are written. The
//!   contract allows fewer forms of quantities than Kubernetes, since one that a web client cannot read empties its whole list;
//! - several apps of one image are versions of one app. The list shows the newest for all of them, and counts and cuts into
//!   pages what it shows.

mod api;
pub mod starter;
mod store;
mod wanted;

use std::collections::HashMap;

use self::{
    store::{App, Group, Version},
    wanted::Wanted,
};
use super::Base;
use crate::server::{
    db::{Listed, On, Page, Sortable},
    error::{Error, Result},
    pipeline::Authorized,
    services::app_instances::snapshot::AppSnapshot,
};

/// The service.
pub struct Apps {
    base: Base,
}

/// The sort names of the list; the first is the default.
const SORTABLE: &[Sortable] = &[
    ("id", "id"),
    ("name", "name"),
    ("status", "status"),
    ("dockerimageregistry", "docker_image_registry"),
    ("dockerimagename", "docker_image_name"),
    ("createdat", "created_at"),
];

/// Refuses an app that the tenant does not have.
pub fn not_found() -> Error {
    Error::not_found("APP_NOT_FOUND", "There is no such app. List the apps to see which there are.")
}

/// An app that an instance may be started of, as it is now; nothing when the tenant has none of this id. The flag says
/// whether it is active.
pub async fn startable(on: impl Into<On<'_>>, by: &Authorized, id: i64) -> Result<Option<(AppSnapshot, bool)>> {
    let app = store::get(on, by, id).await?;
    Ok(app.map(|app| {
        let active = app.status == "active";
        (app.into(), active)
    }))
}

impl Apps {
    /// The service over this base.
    pub fn new(base: Base) -> Self {
        Self { base }
    }

    async fn create(&self, by: &Authorized, wanted: &Wanted) -> Result<App> {
        let mut change = self.base.db.begin(by).await?;
        let app = store::insert(&mut change, by.tenant(), by.id(), wanted, by.now()).await?;
        record(by, &app);
        change.commit().await?;
        Ok(app)
    }

    /// All of them, or none.
    async fn create_all(&self, by: &Authorized, wanted: &[Wanted]) -> Result<Vec<App>> {
        let mut change = self.base.db.begin(by).await?;
        let mut apps = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            apps.push(store::insert(&mut change, by.tenant(), by.id(), wanted, by.now()).await?);
        }
        by.call().subjects().verified = true;
        change.commit().await?;
        Ok(apps)
    }

    async fn update(&self, by: &Authorized, id: i64, wanted: &Wanted) -> Result<App> {
        let mut change = self.base.db.begin(by).await?;
        let app = store::update(&mut change, by, id, wanted).await?.ok_or_else(not_found)?;
        record(by, &app);
        change.commit().await?;
        Ok(app)
    }

    async fn delete(&self, by: &Authorized, id: i64) -> Result<()> {
        let mut change = self.base.db.begin(by).await?;
        let app = store::delete(&mut change, by, id).await?.ok_or_else(not_found)?;
        record(by, &app);
        by.call().subjects().detail("app_name", &app.name);
        change.commit().await
    }

    /// A page of the apps, each with its other versions: two statements, whatever the number of apps.
    async fn list_grouped(&self, by: &Authorized, page: &Page) -> Result<Listed<(App, Vec<Version>)>> {
        let Listed { rows, total, truncated } = store::list_grouped(&self.base.db, by, page).await?;
        let images = rows.iter().map(|app| &*app.docker_image_name);
        let mut versions: HashMap<Group, Vec<Version>> = HashMap::new();
        for version in store::versions(&self.base.db, by, images).await? {
            versions.entry(version.group.clone()).or_default().push(version);
        }
        let of = |app: App| {
            let mut others = versions.remove(&app.group()).unwrap_or_default();
            others.retain(|version| version.id != app.id);
            (app, others)
        };
        Ok(Listed { rows: rows.into_iter().map(of).collect(), total, truncated })
    }
}

/// Says in the audit record which app it was. The rest of it was in the request.
fn record(by: &Authorized, app: &App) {
    let mut subjects = by.call().subjects();
    subjects.verified = true;
    subjects.detail("app_id", &app.id.to_string());
}
