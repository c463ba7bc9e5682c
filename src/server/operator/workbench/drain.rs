//! Apps end before their display does, so that they can still ask and save; but not for ever.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    super::{api::labels, live::Pod},
    pass::{Owner, Pass},
};

/// How long the server waits for the pods of apps to end: longer than their grace period.
const PATIENCE: TimeDelta = TimeDelta::minutes(2);

/// Until when the server waits for the apps, which are ending since this moment; none when it need not.
pub fn until(pass: &Pass<'_>, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let end = since + PATIENCE;
    (pass.now < end && apps_remain(pass)).then_some(end)
}

fn apps_remain(pass: &Pass<'_>) -> bool {
    let jobs = pass.seen.jobs.iter().filter(|job| pass.owner(job) == Owner::This);
    let active = |active: i32, terminating: Option<i32>| active > 0 || terminating.unwrap_or(0) > 0;
    pass.seen.pods.iter().any(|pod| is_app(pod))
        || jobs.into_iter().any(|job| active(job.status.active, job.status.terminating))
}

fn is_app(pod: &Pod) -> bool {
    pod.labels.contains_key(labels::APP) && !matches!(pod.phase.as_str(), "Succeeded" | "Failed")
}
