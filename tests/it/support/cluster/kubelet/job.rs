//! Jobs: one pod, until it has ended.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{
    super::{
        store::Key,
        time::moment,
        writes::{Deletion, finished},
    },
    Step, condition, is_going, is_ready,
};

impl Step<'_> {
    pub(super) fn job(&self, job: &Value) {
        if is_going(job) {
            return;
        }
        if let Some(ended) = moment(&job["status"]["completionTime"]).or_else(|| failed_at(job)) {
            self.expire(job, ended);
        }
        let pods = self.pods(job);
        let phase = |phase: &str| pods.iter().filter(|pod| pod["status"]["phase"] == phase).count();
        let limit = job["spec"]["backoffLimit"].as_i64().unwrap_or(6);
        let exhausted = usize::from(pods.iter().any(|pod| restarts(pod) > limit));
        let succeeded = phase("Succeeded").max(count(job, "succeeded"));
        let failed = phase("Failed").max(count(job, "failed")).max(exhausted);
        let over = succeeded + failed > 0 || ["Complete", "Failed"].iter().any(|kind| is_true(job, kind));
        let suspended = job["spec"]["suspend"] == true && !over;
        let live: Vec<_> = pods.iter().filter(|pod| !is_going(pod) && !finished(pod)).collect();
        if suspended || over {
            live.iter().for_each(|pod| self.delete_pod(pod));
        } else if live.is_empty() && !pods.iter().any(|pod| !finished(pod)) {
            let name = job["metadata"]["name"].as_str().unwrap_or_default();
            self.make_pod(job, &format!("{name}-"), &BTreeMap::new());
            return;
        }
        let counted = if suspended || over { &[][..] } else { &live[..] };
        let terminating = pods.iter().filter(|pod| !finished(pod)).count() - counted.len();
        self.job_status(job, counted, [terminating, succeeded, failed], suspended);
    }

    fn job_status(&self, job: &Value, live: &[&Value], [terminating, succeeded, failed]: [usize; 3], suspended: bool) {
        let now = self.timestamp();
        let ready = live.iter().filter(|pod| is_ready(pod)).count();
        let mut status = json!({ "ready": ready, "terminating": terminating, "uncountedTerminatedPods": {} });
        for (field, count) in [("active", live.len()), ("succeeded", succeeded), ("failed", failed)] {
            if count > 0 {
                status[field] = count.into();
            }
        }
        let mut conditions: Vec<Value> = Vec::new();
        if suspended {
            conditions.push(condition(job, "Suspended", true, "JobSuspended", "Job suspended", &now));
        } else {
            let started = job["status"]["startTime"].as_str().map_or(now.clone(), Value::from);
            status["startTime"] = started;
            if has(job, "Suspended") {
                conditions.push(condition(job, "Suspended", false, "JobResumed", "Job resumed", &now));
            }
        }
        if succeeded > 0 {
            status["completionTime"] = job["status"]["completionTime"].as_str().map_or(now.clone(), Value::from);
            let message = "Reached expected number of succeeded pods";
            conditions.extend(
                ["SuccessCriteriaMet", "Complete"]
                    .map(|kind| condition(job, kind, true, "CompletionsReached", message, &now)),
            );
        } else if failed > 0 {
            let message = "Job has reached the specified backoff limit";
            conditions.extend(
                ["FailureTarget", "Failed"]
                    .map(|kind| condition(job, kind, true, "BackoffLimitExceeded", message, &now)),
            );
        }
        if !conditions.is_empty() {
            status["conditions"] = conditions.into();
        }
        self.set_status(job, status);
    }

    /// A finished Job goes some time later, if it says so.
    fn expire(&self, job: &Value, ended: chrono::DateTime<chrono::Utc>) {
        let Some(ttl) = job["spec"]["ttlSecondsAfterFinished"].as_u64() else { return };
        if self.in_time(ended, Duration::from_secs(ttl)) {
            let text = |field: &str| job["metadata"][field].as_str().unwrap_or_default();
            let key = Key::new(super::super::by_kind("Job"), text("namespace"), text("name"));
            let deletion = Deletion { policy: Some("Background".to_owned()), ..Deletion::default() };
            let _ = self.shared.cluster.writing(|writing| writing.delete(&key, &deletion));
        }
    }
}

fn conditions(job: &Value) -> impl Iterator<Item = &Value> {
    job["status"]["conditions"].as_array().into_iter().flatten()
}

fn has(job: &Value, kind: &str) -> bool {
    conditions(job).any(|condition| condition["type"] == kind)
}

fn is_true(job: &Value, kind: &str) -> bool {
    conditions(job).any(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn failed_at(job: &Value) -> Option<chrono::DateTime<chrono::Utc>> {
    let failed = conditions(job).find(|condition| condition["type"] == "Failed")?;
    moment(&failed["lastTransitionTime"])
}

/// How often the containers of a pod were started again.
fn restarts(pod: &Value) -> i64 {
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    statuses.filter_map(|status| status["restartCount"].as_i64()).sum()
}

fn count(job: &Value, field: &str) -> usize {
    job["status"][field].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}
