//! Pods on their node: scheduled, started, ready, ended; removed when their time is up.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    super::{store::Key, time::moment, writes::finished},
    Behaviour, Step, condition, is_going,
};

/// What a container is doing.
enum Doing {
    Waits(&'static str, &'static str),
    /// Whether it is ready.
    Runs(bool),
    /// With which code, and why.
    Ended(i32, &'static str),
}

impl Step<'_> {
    pub(super) fn pod(&self, pod: &Value) {
        let behaviour = self.shared.behaviour(pod);
        if is_going(pod) {
            return self.end_pod(pod, behaviour);
        }
        if finished(pod) || behaviour == Behaviour::Ignored {
            return;
        }
        if behaviour == Behaviour::Unschedulable {
            let message = "0/3 nodes are available: 3 Insufficient memory.";
            let scheduled = condition(pod, "PodScheduled", false, "Unschedulable", message, &self.timestamp());
            return self
                .set_status(pod, json!({ "phase": "Pending", "conditions": [scheduled], "qosClass": "Burstable" }));
        }
        if pod["spec"].get("nodeName").is_none() {
            let mut new = pod.clone();
            new["spec"]["nodeName"] = "node-1".into();
            self.replace("", new);
            return;
        }
        let Some(started) = moment(&pod["status"]["startTime"]) else {
            return self.run(pod, "Pending", &Doing::Waits("ContainerCreating", ""), 0);
        };
        use Behaviour as B;
        use Doing::{Ended, Runs, Waits};
        let (phase, doing, restarts) = match behaviour {
            B::Runs | B::Lingers => ("Running", Runs(true), 0),
            B::ReadyAfter(time) => ("Running", Runs(self.in_time(started, time)), 0),
            B::NeverReady => ("Running", Runs(false), 0),
            B::CrashLoop => {
                let restarts = self.restarts(started);
                ("Running", Waits("CrashLoopBackOff", "back-off restarting failed container"), restarts)
            }
            B::ImagePull => ("Pending", Waits("ImagePullBackOff", "Back-off pulling image"), 0),
            B::Completes(time) if self.in_time(started, time) => ("Succeeded", Ended(0, "Completed"), 0),
            B::Fails(time) if self.in_time(started, time) => ("Failed", Ended(1, "Error"), 0),
            B::Completes(_) | B::Fails(_) => ("Running", Runs(true), 0),
            B::Unschedulable | B::Ignored => return,
        };
        self.run(pod, phase, &doing, restarts);
    }

    /// How often a container that ends at once was started again: each time it waits twice as long.
    fn restarts(&self, started: chrono::DateTime<chrono::Utc>) -> i32 {
        let waits = [0, 10, 30, 70, 150, 310, 610, 910];
        let done = waits.iter().take_while(|wait| self.in_time(started, Duration::from_secs(**wait))).count();
        i32::try_from(done).unwrap_or(i32::MAX)
    }

    /// A pod that is being deleted goes at once, or when its grace period is over.
    fn end_pod(&self, pod: &Value, behaviour: Behaviour) {
        let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(0);
        let asked = moment(&pod["metadata"]["deletionTimestamp"]);
        let over = asked.is_none_or(|asked| self.in_time(asked, Duration::from_secs(grace)));
        let finalizers = pod["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
        if (over || behaviour != Behaviour::Lingers) && !finalizers {
            let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
            let key = Key::new(super::super::by_kind("Pod"), text("namespace"), text("name"));
            self.shared.cluster.writing(|writing| writing.remove(&key));
        }
    }

    fn run(&self, pod: &Value, phase: &str, doing: &Doing, restarts: i32) {
        let now = self.timestamp();
        let creating = matches!(doing, Doing::Waits("ContainerCreating", _));
        let ready = matches!(doing, Doing::Runs(true));
        let start = pod["status"]["startTime"].as_str().map_or(now.clone(), Value::from);
        let init: Vec<_> = containers(pod, "initContainers")
            .map(|container| {
                let stays = container["restartPolicy"] == "Always";
                let over = matches!(doing, Doing::Ended(..));
                let doing = match (creating, stays && !over) {
                    (true, _) => &Doing::Waits("PodInitializing", ""),
                    (false, true) => &Doing::Runs(true),
                    (false, false) => &Doing::Ended(0, "Completed"),
                };
                let mut status = container_status(container, doing, 0, &start, pod);
                status["ready"] = (!creating).into();
                status
            })
            .collect();
        let main: Vec<_> = containers(pod, "containers")
            .map(|container| container_status(container, doing, restarts, &start, pod))
            .collect();
        let is = |kind: &str, status: bool| {
            condition(pod, kind, status, if status { "" } else { "ContainersNotReady" }, "", &now)
        };
        let mut status = json!({ "phase": phase, "startTime": start, "qosClass": "Burstable", "containerStatuses": main,
            "conditions": [is("PodScheduled", true), is("Initialized", !creating), is("ContainersReady", ready), is("Ready", ready)] });
        if !init.is_empty() {
            status["initContainerStatuses"] = init.into();
        }
        if !creating {
            status["podIP"] = "10.0.0.1".into();
        }
        self.set_status(pod, status);
    }
}

fn containers<'a>(pod: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    pod["spec"][field].as_array().into_iter().flatten()
}

fn container_status(container: &Value, doing: &Doing, restarts: i32, start: &Value, pod: &Value) -> Value {
    let (state, ready) = match doing {
        Doing::Waits(reason, "") => (json!({ "waiting": { "reason": reason } }), false),
        Doing::Waits(reason, message) => (json!({ "waiting": { "reason": reason, "message": message } }), false),
        Doing::Runs(ready) => (json!({ "running": { "startedAt": start } }), *ready),
        Doing::Ended(code, reason) => (
            json!({ "terminated": { "exitCode": code, "reason": reason, "startedAt": start, "finishedAt": start } }),
            false,
        ),
    };
    let id = format!("containerd://{}", pod["metadata"]["uid"].as_str().unwrap_or_default());
    json!({ "name": container["name"], "image": container["image"], "imageID": container["image"], "containerID": id, "ready": ready,
        "started": matches!(doing, Doing::Runs(_)), "restartCount": restarts, "state": state, "lastState": {} })
}
