//! The token of a web app for a session: what `/kiosk-jwt` does.
//!
//! What always holds: the session is that of the owner of the instance, less as [`access::kiosk`](crate::server::access::kiosk)
//! says; the instance runs, or is about to, in the start that the token names, and its app still has the client that it
//! names; the exchange is recorded with the session that it opens.

use std::{net::IpAddr, sync::Arc};

use sqlx::FromRow;

use super::snapshot::AppSnapshot;
use crate::server::{
    access::{
        audit::{self, Deed},
        caller::{Account, Caller, Credential, Kiosk},
        kiosk::{self, Claims},
        rights::Rights,
        sessions::{self, Opened},
    },
    db::{Db, Json, On, sql},
    error::{Error, Result},
    pipeline::Shared,
    services::roles,
};

/// Where a token is shown.
pub struct Place {
    /// Who is signed in there.
    pub holder: Option<Arc<Caller>>,
    /// The id under which log and audit trail know the request.
    pub request_id: Arc<str>,
    /// The address of the browser.
    pub address: Option<IpAddr>,
    /// The browser's name for itself.
    pub user_agent: String,
}

#[derive(FromRow)]
struct Instance {
    #[sqlx(flatten)]
    account: Account,
    app: Json<AppSnapshot>,
    incarnation: i64,
    started_at: chrono::DateTime<chrono::Utc>,
    workspace_id: i64,
    workbench_id: i64,
}

/// Opens the session that this token is for.
///
/// # Errors
/// 401 `KIOSK_TOKEN_INVALID`, whatever is wrong with it; 409 `SIGNED_IN_ALREADY` in a browser that is a person's.
pub async fn exchange(db: &Db, shared: &Shared, token: &str, place: &Place) -> Result<Opened> {
    let now = shared.clock.now();
    let claims = shared.kiosk.verify(token, now).ok_or_else(invalid)?;
    let owner = find(db, &claims).await?.account.id;
    if place.holder.as_ref().is_some_and(|holder| holder.kiosk().is_none() || holder.id() != owner) {
        let text = "Somebody is signed in in this browser. Sign out first.";
        return Err(Error::exists("SIGNED_IN_ALREADY", text));
    }
    let mut tx = db.transaction().await?;
    // no session opens for an account that is being disabled
    roles::lock_user(&mut tx, owner).await?;
    let instance = find(&mut tx, &claims).await?;
    let id = shared.random.uuid().to_string();
    let address = place.address.map(|address| address.to_string()).unwrap_or_default();
    let from = (place.user_agent.as_str(), address.as_str());
    let opened = shared.sessions.open_kiosk(&mut tx, &instance.account, &id, from, &claims, now).await?;
    let details = vec![("app_instance_id", claims.instance.to_string()), ("client", claims.client)];
    let rights = Rights::new(owner, Vec::new(), shared.sessions.built_in_roles().clone());
    let kiosk = Kiosk { session: id.into(), app_instance: claims.instance };
    let tenant = instance.account.tenant_id;
    let actor = Caller::new(instance.account, Credential::Kiosk(Arc::new(kiosk)), rights);
    let deed = Deed {
        action: "OpenAppSession",
        actor: Some(&actor),
        tenant,
        request_id: place.request_id.clone(),
        address: place.address,
        workspace: Some(instance.workspace_id),
        workbench: Some(instance.workbench_id),
        details,
        at: now,
    };
    audit::insert(&mut tx, &audit::Record::of_deed(deed)).await?;
    tx.commit().await?;
    Ok(opened)
}

/// The instance that a token is for, with its owner.
async fn find(on: impl Into<On<'_>>, claims: &Claims) -> Result<Instance> {
    let found: Option<Instance> =
        sql("SELECT u.id, u.tenant_id, u.first_name, u.last_name, u.username, u.source, u.email, \
         u.status, u.totp_enabled, u.password_changed, u.created_at, u.updated_at, i.app, i.incarnation, i.started_at, \
         i.workspace_id, i.workbench_id FROM app_instances i JOIN users u ON u.id = i.user_id \
         JOIN workbenches w ON w.id = i.workbench_id WHERE u.status = 'active'")
        .and("i.id =", Some(claims.instance))
        .push(" AND ")
        .push(sessions::APP_IS_WANTED)
        .maybe(on)
        .await?;
    let is_its = |found: &Instance| {
        found.incarnation == claims.incarnation
            && found.app.client() == Some(claims.client.as_str())
            && kiosk::expires_at(found.started_at) == claims.expires
    };
    found.filter(is_its).ok_or_else(invalid)
}

fn invalid() -> Error {
    let text = "The token is not valid, or its app has ended. Start the app again.";
    Error::unauthenticated("KIOSK_TOKEN_INVALID", text)
}
