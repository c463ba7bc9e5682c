//! Which Job belongs to which app.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::{
    super::{
        api::labels,
        live::{Child, JobStatus, Kind},
        plan::Step,
    },
    names,
    pass::{Owner, Pass},
    status::{has_completed, has_failed},
};

/// The Job of an app, read once.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// As it is in the cluster.
    pub live: &'a Child<JobStatus>,
    /// Whether it holds its pods back.
    pub suspended: bool,
    /// The request for which it was made.
    pub generation: Option<i64>,
    /// Since when its app is awaited.
    pub since: DateTime<Utc>,
    /// Whether it was given up.
    pub timed_out: bool,
}

impl<'a> Job<'a> {
    fn read(live: &'a Child<JobStatus>, body: &Value) -> Self {
        let annotation = |key: &str| body["metadata"]["annotations"][key].as_str();
        let since = annotation(labels::NOT_READY_SINCE).and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        Self {
            live,
            suspended: body["spec"]["suspend"] == true,
            generation: annotation(labels::RESTART_GENERATION).and_then(|text| text.parse().ok()),
            since: since.map_or(live.meta.created, |at| at.to_utc()),
            timed_out: annotation(labels::TIMED_OUT).is_some(),
        }
    }
}

/// The Jobs of an app.
#[derive(Debug, Default)]
pub struct Family<'a> {
    /// The one that counts.
    pub job: Option<Job<'a>>,
    /// Whether one is being removed.
    pub leaving: bool,
}

/// The Jobs of each app that is asked for, and the removal of all others.
pub fn families<'a>(pass: &Pass<'a>) -> (BTreeMap<&'a str, Family<'a>>, Vec<Step>) {
    let mut families: BTreeMap<&str, Family<'_>> = BTreeMap::new();
    let mut removals = Vec::new();
    for live in pass.seen.jobs.iter().map(AsRef::as_ref).filter(|job| pass.owner(job) == Owner::This) {
        let body = live.body.value();
        let Some(id) = id(pass, live, &body) else {
            removals.extend((!live.meta.deleting).then(|| remove(pass, live)));
            continue;
        };
        let family = families.entry(id).or_default();
        if live.meta.deleting {
            family.leaving = true;
            continue;
        }
        // the former operator may leave two behind, when an app was renamed
        let other = match family.job {
            Some(held) if rank(held.live) >= rank(live) => Some(live),
            held => {
                family.job = Some(Job::read(live, &body));
                held.map(|held| held.live)
            }
        };
        removals.extend(other.map(|other| remove(pass, other)));
    }
    (families, removals)
}

/// The app whose Job this is, if it is asked for.
fn id<'a>(pass: &Pass<'a>, job: &Child<JobStatus>, body: &Value) -> Option<&'a str> {
    let label = &body["metadata"]["labels"][labels::APP];
    let mut ids = pass.apps().map(|(id, _)| id);
    match label.as_str() {
        Some(label) => ids.find(|&id| id == label),
        // of the former operator: its name says
        None => {
            ids.filter(|id| job.meta.name.starts_with(&names::job_prefix(pass.name(), id))).max_by_key(|id| id.len())
        }
    }
}

/// Which of two Jobs counts: the one that has not ended, then the newer one.
fn rank(job: &Child<JobStatus>) -> impl Ord + use<'_> {
    let over = has_completed(&job.status) || has_failed(&job.status).is_some();
    (!over, job.meta.created, &job.meta.name)
}

fn remove(pass: &Pass<'_>, job: &Child<JobStatus>) -> Step {
    Step::Delete(pass.target(Kind::Job, &job.meta))
}
