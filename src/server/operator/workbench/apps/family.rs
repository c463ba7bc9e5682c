//! Which Job belongs to which app.

use std::collections::BTreeMap;

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

/// The Jobs of an app.
#[derive(Debug, Default)]
pub struct Family<'a> {
    /// The one that counts.
    pub job: Option<&'a Child<JobStatus>>,
    /// Whether one is being removed.
    pub leaving: bool,
}

/// The Jobs of each app that is asked for, and the removal of all others.
pub fn families<'a>(pass: &Pass<'a>) -> (BTreeMap<&'a str, Family<'a>>, Vec<Step>) {
    let mut families: BTreeMap<&str, Family<'_>> = BTreeMap::new();
    let mut removals = Vec::new();
    for job in pass.seen.jobs.iter().map(AsRef::as_ref).filter(|job| pass.owner(job) == Owner::This) {
        let Some(id) = id(pass, job) else {
            removals.extend((!job.meta.deleting).then(|| remove(pass, job)));
            continue;
        };
        let family = families.entry(id).or_default();
        if job.meta.deleting {
            family.leaving = true;
            continue;
        }
        // the former operator may leave two behind, when an app was renamed
        let (keep, other) = match family.job {
            Some(held) if rank(held) >= rank(job) => (held, Some(job)),
            held => (job, held),
        };
        family.job = Some(keep);
        removals.extend(other.map(|other| remove(pass, other)));
    }
    (families, removals)
}

/// The app whose Job this is, if it is asked for.
fn id<'a>(pass: &Pass<'a>, job: &Child<JobStatus>) -> Option<&'a str> {
    let body = job.body.value();
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
