//! Children that the former operator made: which are taken over, and when.
//!
//! A Deployment of the former operator works as it is. Taking it over changes its pod template, which starts the desktop anew, so
//! that waits until nobody loses work by it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    super::{
        api::labels,
        live::{Child, DeploymentStatus},
        plan::Object,
    },
    images,
    pass::Pass,
    server::SERVER,
};

/// What to do with a Deployment of the former operator.
#[derive(Debug, Clone, PartialEq)]
pub enum Takeover {
    /// Leave its template alone, until this moment if one is set.
    Wait(Option<DateTime<Utc>>),
    /// Make it ours.
    Now(Object),
}

/// What to do with a Deployment that our field manager does not own.
pub fn deployment(pass: &Pass<'_>, live: &Child<DeploymentStatus>, wanted: Object) -> Takeover {
    let body = live.body.value();
    let stopped = body["spec"]["replicas"] == 0;
    let ordered = order(pass);
    let due = ordered.is_some_and(|at| at <= pass.now);
    let stops = wanted.value["spec"]["replicas"] == 0;
    if stopped || stops || due || !same_version(pass, &body) {
        Takeover::Now(recreating(wanted))
    } else {
        Takeover::Wait(ordered)
    }
}

/// Since when, or from when on, the server may be started anew. Whatever else the annotation says means now.
fn order(pass: &Pass<'_>) -> Option<DateTime<Utc>> {
    let text = pass.workbench.metadata.annotations.as_ref()?.get(labels::ADOPT)?;
    Some(DateTime::parse_from_rfc3339(text).map_or(pass.now, |at| at.to_utc()))
}

/// Whether the live server has the tag that is asked for.
fn same_version(pass: &Pass<'_>, body: &Value) -> bool {
    let containers = body["spec"]["template"]["spec"]["containers"].as_array();
    let server = containers.and_then(|containers| containers.iter().find(|c| c["name"] == SERVER));
    let live = server.and_then(|server| server["image"].as_str());
    live.and_then(images::tag) == images::tag(&pass.server_image())
}

/// The API server refuses `Recreate` beside the limits of a rolling update, which it has filled in before.
fn recreating(mut wanted: Object) -> Object {
    wanted.value["spec"]["strategy"] = json!({ "type": "Recreate", "rollingUpdate": null });
    wanted
}
