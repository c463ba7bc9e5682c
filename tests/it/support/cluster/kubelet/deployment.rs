//! Deployments, without ReplicaSets: their pods carry the hash of the template they were made of.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use serde_json::{Value, json};

use super::{super::time::moment, Step, condition, is_going, is_ready};

const REVISION: &str = "deployment.kubernetes.io/revision";
const HASH: &str = "pod-template-hash";

impl Step<'_> {
    pub(super) fn deployment(&self, deployment: &Value) {
        if is_going(deployment) {
            return;
        }
        let hash = template_hash(deployment);
        let pods = self.pods(deployment);
        let (new, old): (Vec<_>, Vec<_>) =
            pods.iter().partition(|pod| pod["metadata"]["labels"][HASH] == hash.as_str());
        let wanted = usize::try_from(deployment["spec"]["replicas"].as_i64().unwrap_or(1)).unwrap_or_default();
        let live: Vec<_> = new.iter().filter(|pod| !is_going(pod)).copied().collect();

        let recreate = deployment["spec"]["strategy"]["type"] == "Recreate";
        let ready = live.iter().filter(|pod| is_ready(pod)).count();
        if recreate || ready >= wanted {
            old.iter().for_each(|pod| self.delete_pod(pod));
        }
        live.iter().skip(wanted).for_each(|pod| self.delete_pod(pod));
        if !recreate || old.is_empty() {
            let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
            let labels = BTreeMap::from([(HASH.to_owned(), hash.clone())]);
            for _ in live.len()..wanted {
                self.make_pod(deployment, &format!("{name}-{hash}-"), &labels);
            }
        }
        self.count_revision(deployment, &hash);
        self.deployment_status(deployment, wanted, &live, ready, old.len());
    }

    /// The annotation that says how often the template changed.
    fn count_revision(&self, deployment: &Value, hash: &str) {
        let annotations = &deployment["metadata"]["annotations"];
        if annotations["test/template-hash"] == hash {
            return;
        }
        let revision: u64 = annotations[REVISION].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut new = deployment.clone();
        new["metadata"]["annotations"][REVISION] = (revision + 1).to_string().into();
        // a ReplicaSet would remember it
        new["metadata"]["annotations"]["test/template-hash"] = hash.into();
        self.replace("status", new);
    }

    fn deployment_status(&self, deployment: &Value, wanted: usize, live: &[&Value], ready: usize, old: usize) {
        let now = self.timestamp();
        let done = live.len() == wanted && ready == wanted && old == 0;
        let available = if ready >= wanted {
            ("MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        let progress = self.progress(deployment, done, ready);
        let mut status = json!({ "observedGeneration": deployment["metadata"]["generation"] });
        for (field, count) in [
            ("replicas", live.len() + old),
            ("updatedReplicas", live.len()),
            ("readyReplicas", ready),
            ("availableReplicas", ready),
            ("unavailableReplicas", wanted.saturating_sub(ready)),
        ] {
            if count > 0 {
                status[field] = count.into();
            }
        }
        status["conditions"] =
            json!([condition(deployment, "Available", ready >= wanted, available.0, available.1, &now), progress]);
        self.set_status(deployment, status);
    }

    /// The condition `Progressing`: false once the deadline has passed since the last progress.
    fn progress(&self, deployment: &Value, done: bool, ready: usize) -> Value {
        let now = self.timestamp();
        let generation = &deployment["metadata"]["generation"];
        let conditions = deployment["status"]["conditions"].as_array().into_iter().flatten();
        let before =
            conditions.into_iter().find(|condition| condition["type"] == "Progressing").cloned().unwrap_or_default();
        if done {
            let mut new = condition(
                deployment,
                "Progressing",
                true,
                "NewReplicaSetAvailable",
                "ReplicaSet has successfully progressed.",
                &now,
            );
            let kept = before["reason"] == "NewReplicaSetAvailable";
            new["lastUpdateTime"] = if kept { before["lastUpdateTime"].clone() } else { now };
            return new;
        }
        let moved = before.is_null()
            || deployment["status"]["observedGeneration"] != *generation
            || deployment["status"]["readyReplicas"].as_u64().unwrap_or(0) < u64::try_from(ready).unwrap_or(0);
        // a roll-out that was done once does not fail any more
        if !moved && before["reason"] == "NewReplicaSetAvailable" {
            return before;
        }
        let since = if moved { now.clone() } else { before["lastUpdateTime"].clone() };
        let deadline = Duration::from_secs(deployment["spec"]["progressDeadlineSeconds"].as_u64().unwrap_or(600));
        let late = moment(&since).is_some_and(|since| self.in_time(since, deadline));
        let (reason, message) = match late {
            true => ("ProgressDeadlineExceeded", "ReplicaSet has timed out progressing."),
            false => ("ReplicaSetUpdated", "ReplicaSet is progressing."),
        };
        let mut new = condition(deployment, "Progressing", !late, reason, message, &now);
        new["lastUpdateTime"] = since;
        new
    }
}

fn template_hash(deployment: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    deployment["spec"]["template"].to_string().hash(&mut hasher);
    format!("{:08x}", hasher.finish() & 0xffff_ffff)
}
