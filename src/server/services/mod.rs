//! The rooms of the house: one folder per noun.
//!
//! In each room `mod.rs` holds the service and its rules, `api.rs` the handlers of its RPCs and the conversions from and
//! to messages, `store.rs` its SQL. A handler is called by the pipeline with a caller who is authorized; a change goes
//! through [`Db::begin`](crate::server::db::Db), which commits it together with its audit record.

pub mod app_instances;
pub mod apps;
pub mod audit;
pub mod authentication;
pub mod authorization;
pub mod devstore;
pub mod feed;
pub mod health;
pub mod notifications;
pub mod roles;
pub mod second_factor;
pub mod settings;
pub mod tokens;
mod unbuilt;
pub mod users;
pub mod workbenches;
pub mod workspaces;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderName, HeaderValue};
use prost_types::Timestamp;
use tonic::service::Routes;

use self::unbuilt::Unbuilt;
use super::{
    access::stream_pass,
    config::Config,
    db::{Db, Listed, Page},
    error::{Error, Result},
    pipeline::{Authorized, Gate, Shared, generated as guards},
    runtime::SharedRuntime,
    upkeep::Job,
};
use crate::proto::v1::PaginationResult;

/// What every room stands on.
#[derive(Clone)]
pub struct Base {
    /// The database.
    pub db: Db,
    /// The configuration.
    pub config: Arc<Config>,
    /// What runs the desktops.
    pub runtime: SharedRuntime,
    /// Tells those who watch desktops what changed.
    pub feed: Arc<feed::Feed>,
}

/// Every service of the contract, each behind the gate.
pub fn routes(gate: &Arc<Gate>, base: &Base, started_at: DateTime<Utc>) -> Routes {
    let base = || base.clone();
    let mut all = Routes::builder();
    all.add_service(guards::AppServiceGuard::server(gate, apps::Apps::new(base())))
        .add_service(guards::AppInstanceServiceGuard::server(gate, app_instances::AppInstances::new(base())))
        .add_service(guards::ApprovalRequestServiceGuard::server(gate, Unbuilt))
        .add_service(guards::AuditServiceGuard::server(gate, audit::AuditTrail::new(base())))
        .add_service(guards::AuthenticationServiceGuard::server(gate, authentication::Authentication::new(base())))
        .add_service(guards::AuthorizationServiceGuard::server(gate, authorization::Authorization::new(base())))
        .add_service(guards::DevstoreServiceGuard::server(gate, devstore::Devstore::new(base())))
        .add_service(guards::HealthServiceGuard::server(gate, health::Health::new(base(), started_at)))
        .add_service(guards::NotificationServiceGuard::server(gate, notifications::Notifications::new(base())))
        .add_service(guards::OrganizationServiceGuard::server(gate, Unbuilt))
        .add_service(guards::PlatformSettingsServiceGuard::server(gate, settings::Settings::new(base())))
        .add_service(guards::StewardServiceGuard::server(gate, Unbuilt))
        .add_service(guards::TermsOfUseServiceGuard::server(gate, Unbuilt))
        .add_service(guards::TokenServiceGuard::server(gate, tokens::Tokens::new(base())))
        .add_service(guards::UserServiceGuard::server(gate, users::Users::new(base())))
        .add_service(guards::WorkbenchServiceGuard::server(gate, workbenches::Workbenches::new(base())))
        .add_service(guards::WorkspaceServiceGuard::server(gate, workspaces::Workspaces::new(base())))
        .add_service(guards::WorkspaceFileServiceGuard::server(gate, Unbuilt))
        .add_service(guards::WorkspaceServiceInstanceServiceGuard::server(gate, Unbuilt));
    all.routes()
}

/// What is done every so often, by one replica.
pub fn jobs(shared: &Arc<Shared>, base: &Base) -> Vec<Job> {
    let hourly = TimeDelta::hours(1);
    let of = shared.clone();
    let sessions = Job::new("remove ended sessions", hourly, move |now| {
        let shared = of.clone();
        async move { shared.sessions.remove_ended(now).await }
    });
    let of = base.db.clone();
    let tokens = Job::new("remove ended API tokens", hourly, move |now| {
        let db = of.clone();
        async move { tokens::remove_ended(&db, now).await }
    });
    let of = shared.clone();
    let tries = Job::new("remove old tries to sign in", TimeDelta::minutes(1), move |now| {
        let shared = of.clone();
        async move { shared.throttle.remove_quiet(now).await }
    });
    let of = base.db.clone();
    let passes = Job::new("remove ended passes to desktops", TimeDelta::minutes(10), move |now| {
        let db = of.clone();
        async move { stream_pass::remove_ended(&db, now).await }
    });
    [sessions, tokens, tries, passes].into_iter().chain(workbenches::jobs(shared, base)).collect()
}

/// The id of a request field as rows have it. No row has an id beyond `i64`, so such an id is not found.
pub fn row_id(id: u64, what: &'static str) -> Result<i64> {
    i64::try_from(id).map_err(|_| Error::not_found("NOT_FOUND", format!("There is no {what} {id}.")))
}

/// The id of a row as messages have it. Rows have positive ids.
pub fn wire_id(id: i64) -> u64 {
    u64::try_from(id).unwrap_or_default()
}

/// A time as messages have it.
pub fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: at.timestamp(), nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default() }
}

/// Tells that a list was cut although nobody asked for a page.
const TRUNCATED: HeaderName = HeaderName::from_static("x-chorus-truncated");

/// What the reply says about its page of a list.
pub fn paged<T>(call: &Authorized, page: &Page, listed: &Listed<T>) -> PaginationResult {
    if listed.truncated {
        call.call().reply_header(TRUNCATED, HeaderValue::from_static("true"));
    }
    page.reply(listed.total)
}
