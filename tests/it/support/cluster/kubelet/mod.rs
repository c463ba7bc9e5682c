//! The cluster's own controllers and its nodes, as a script: Deployments and Jobs get pods, pods run, claims are bound.
//!
//! ```text
//! store ──every write──► queue ──► deployment, job, pod, volume: one step each ──► store
//!                          ▲
//!                          └── timers: by the given clock
//! ```
//!
//! What a pod does is said by scripts: the last that fits its main image, its Deployment or its Job. Without one it runs
//! and is ready at once. Steps come one at a time and in the order of the writes, so a run repeats itself.

mod deployment;
mod job;
mod pod;
mod volume;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::{
    sync::{Notify, mpsc::UnboundedReceiver},
    task::JoinHandle,
};

use super::{
    Cluster,
    store::{Change, Key, Stored},
    writes::{Deletion, Written, set},
};

/// What a pod does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It runs and is ready.
    Runs,
    /// It runs and is ready after this time.
    ReadyAfter(Duration),
    /// It runs and is never ready.
    NeverReady,
    /// It ends at once, again and again.
    CrashLoop,
    /// Its image cannot be pulled.
    ImagePull,
    /// It finds no node.
    Unschedulable,
    /// It is not even looked at, as when no scheduler runs.
    Ignored,
    /// It runs, and ends well after this time.
    Completes(Duration),
    /// It runs, and its Job fails after this time.
    Fails(Duration),
    /// It runs, and takes its whole grace period to end.
    Lingers,
}

#[derive(Debug)]
struct Script {
    /// Part of the main image, or of `namespace/name` of the Deployment or Job.
    fits: String,
    behaviour: Behaviour,
}

#[derive(Debug, Default)]
struct State {
    scripts: Vec<Script>,
    wakes: BTreeSet<(DateTime<Utc>, Key)>,
    /// What shall be looked at although nothing was written.
    again: Vec<Key>,
}

/// The stand-in. It ends when it is dropped.
#[derive(Debug)]
pub struct Kubelet {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    cluster: Cluster,
    state: Mutex<State>,
    poke: Notify,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Kubelet {
    /// Starts it on a cluster.
    pub fn start(cluster: &Cluster) -> Self {
        let shared = Arc::new(Shared { cluster: cluster.clone(), state: Mutex::default(), poke: Notify::new() });
        let (sender, changes) = tokio::sync::mpsc::unbounded_channel();
        cluster.store().listeners.push(sender);
        shared.look_at_all();
        let task = tokio::spawn(run(shared.clone(), changes));
        Self { shared, task }
    }

    /// Says what pods do whose main image, Deployment or Job (`namespace/name`) has this in it; also those that are there.
    pub fn script(&self, fits: &str, behaviour: Behaviour) {
        self.shared.state.lock().unwrap().scripts.push(Script { fits: fits.to_owned(), behaviour });
        self.look_again();
    }

    /// Looks at everything again: after the clock was set.
    pub fn look_again(&self) {
        self.shared.look_at_all();
        self.shared.poke.notify_one();
    }
}

/// One step of a controller: the object it is about, and what it may do.
struct Step<'a> {
    shared: &'a Shared,
    key: &'a Key,
    now: DateTime<Utc>,
}

/// What is to be looked at, each once, in order.
#[derive(Default)]
struct Queue {
    keys: VecDeque<Key>,
    queued: BTreeSet<Key>,
}

impl Queue {
    fn add(&mut self, keys: Vec<Key>) {
        for key in keys {
            if self.queued.insert(key.clone()) {
                self.keys.push_back(key);
            }
        }
    }

    fn next(&mut self) -> Option<Key> {
        let key = self.keys.pop_front()?;
        self.queued.remove(&key);
        Some(key)
    }
}

async fn run(shared: Arc<Shared>, mut changes: UnboundedReceiver<Change>) {
    let mut queue = Queue::default();
    loop {
        queue.add(shared.due());
        while let Ok(change) = changes.try_recv() {
            queue.add(concerned(&shared.cluster, &change));
        }
        if let Some(key) = queue.next() {
            Step { shared: &shared, key: &key, now: shared.cluster.clock().now() }.take();
            // others see each step
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            change = changes.recv() => match change {
                Some(change) => queue.add(concerned(&shared.cluster, &change)),
                None => return,
            },
            () = shared.poke.notified() => {}
            () = tokio::time::sleep(shared.until_due()) => {}
        }
    }
}

/// Whom a write concerns: the object, its owners, and the volume of a claim.
fn concerned(cluster: &Cluster, change: &Change) -> Vec<Key> {
    let store = cluster.store();
    let object = change.after.as_ref().or(change.before.as_ref());
    let owners =
        object.into_iter().flat_map(|object| super::store::owners(&object.value)).filter_map(|uid| store.key_of(uid));
    let mut keys: Vec<_> = owners.collect();
    keys.insert(0, change.key.clone());
    let volume = object.and_then(|object| object.value["spec"]["volumeName"].as_str());
    keys.extend(volume.map(|name| Key::new(super::by_kind("PersistentVolume"), "", name)));
    keys.retain(|key| {
        ["Deployment", "Job", "Pod", "PersistentVolume", "PersistentVolumeClaim"].contains(&key.resource().kind)
    });
    keys
}

impl Shared {
    fn look_at_all(&self) {
        let mut keys = Vec::new();
        for kind in ["Deployment", "Job", "Pod", "PersistentVolume", "PersistentVolumeClaim"] {
            let resource = super::by_kind(kind);
            for object in self.cluster.list(kind, "") {
                let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
                keys.push(Key::new(resource, text("namespace"), text("name")));
            }
        }
        self.state.lock().unwrap().again = keys;
    }

    fn due(&self) -> Vec<Key> {
        let now = self.cluster.clock().now();
        let mut state = self.state.lock().unwrap();
        let mut due = std::mem::take(&mut state.again);
        while state.wakes.first().is_some_and(|(at, _)| *at <= now) {
            due.extend(state.wakes.pop_first().map(|(_, key)| key));
        }
        due
    }

    fn until_due(&self) -> Duration {
        let now = self.cluster.clock().now();
        let next = self.state.lock().unwrap().wakes.first().map(|(at, _)| *at - now);
        next.and_then(|left| left.to_std().ok()).unwrap_or(Duration::from_secs(86_400))
    }

    /// What the pod of this image and owner does.
    fn behaviour(&self, pod: &Value) -> Behaviour {
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        let owner = pod["metadata"]["ownerReferences"][0]["name"].as_str().unwrap_or_default();
        let owner = format!("{}/{owner}", pod["metadata"]["namespace"].as_str().unwrap_or_default());
        let state = self.state.lock().unwrap();
        let script =
            state.scripts.iter().rev().find(|script| image.contains(&script.fits) || owner.contains(&script.fits));
        script.map_or(Behaviour::Runs, |script| script.behaviour)
    }
}

impl Step<'_> {
    fn take(&self) {
        let Some(object) = self.get(self.key) else { return };
        match self.key.resource().kind {
            "Deployment" => self.deployment(&object.value),
            "Job" => self.job(&object.value),
            "Pod" => self.pod(&object.value),
            "PersistentVolume" | "PersistentVolumeClaim" => self.volume(&object.value),
            _ => {}
        }
    }

    fn get(&self, key: &Key) -> Option<Arc<Stored>> {
        self.shared.cluster.store().get(key).cloned()
    }

    /// Looks at the object again at this time.
    fn wake(&self, at: DateTime<Utc>) {
        self.shared.state.lock().unwrap().wakes.insert((at, self.key.clone()));
    }

    fn in_time(&self, since: DateTime<Utc>, time: Duration) -> bool {
        let at = since + TimeDelta::from_std(time).unwrap_or_default();
        if at > self.now {
            self.wake(at);
        }
        at <= self.now
    }

    fn timestamp(&self) -> Value {
        super::time::timestamp(self.now)
    }

    /// The pods of the object, oldest first.
    fn pods(&self, owner: &Value) -> Vec<Value> {
        let store = self.shared.cluster.store();
        let keys = store.dependents(owner["metadata"]["uid"].as_str().unwrap_or_default());
        let mut pods: Vec<_> =
            keys.iter().filter(|key| key.resource().kind == "Pod").filter_map(|key| store.get(key)).collect();
        pods.sort_by_key(|pod| pod.value["metadata"]["uid"].as_str().map(str::to_owned));
        pods.into_iter().map(|pod| pod.value.clone()).collect()
    }

    /// Makes a pod of the object's template, with these labels more.
    fn make_pod(&self, owner: &Value, name: &str, labels: &BTreeMap<String, String>) {
        let (meta, template) = (&owner["metadata"], &owner["spec"]["template"]);
        let mut pod = serde_json::json!({ "metadata": { "generateName": name, "ownerReferences": [{ "apiVersion": owner["apiVersion"],
            "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"], "controller": true, "blockOwnerDeletion": true }] } });
        pod["spec"] = template["spec"].clone();
        pod["metadata"]["annotations"] = template["metadata"]["annotations"].clone();
        pod["metadata"]["labels"] = template["metadata"]["labels"].clone();
        for (name, value) in labels {
            pod["metadata"]["labels"][name] = value.clone().into();
        }
        let namespace = meta["namespace"].as_str().unwrap_or_default();
        let resource = super::by_kind("Pod");
        self.shared
            .cluster
            .writing(|writing| writing.create(resource, namespace, pod, "kube-controller-manager"))
            .expect("a valid pod");
    }

    /// Writes the object's status, if it changed.
    fn set_status(&self, object: &Value, status: Value) {
        if object["status"] != status {
            let mut new = object.clone();
            new["status"] = status;
            self.replace("status", new);
        }
    }

    fn replace(&self, subresource: &str, mut new: Value) {
        // nobody else writes between the read and this, but a test may
        set(&mut new["metadata"], "resourceVersion", Value::Null);
        let manager = if self.key.resource().kind == "Pod" { "kubelet" } else { "kube-controller-manager" };
        let _: Written = self.shared.cluster.writing(|writing| writing.replace(self.key, subresource, new, manager));
    }

    fn delete_pod(&self, pod: &Value) {
        if !is_going(pod) {
            let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
            let key = Key::new(super::by_kind("Pod"), text("namespace"), text("name"));
            // a pod that is gone already is as good
            let _ = self.shared.cluster.writing(|writing| writing.delete(&key, &Deletion::default()));
        }
    }
}

fn is_going(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Whether its condition `Ready` is true.
fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// A condition, with the time of its last change kept.
fn condition(old: &Value, kind: &str, status: bool, reason: &str, message: &str, now: &Value) -> Value {
    let status = if status { "True" } else { "False" };
    let before =
        old["status"]["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == kind);
    let since = before.filter(|before| before["status"] == status).map_or(now, |before| &before["lastTransitionTime"]);
    let mut condition = serde_json::json!({ "type": kind, "status": status, "lastTransitionTime": since });
    for (field, text) in [("reason", reason), ("message", message)] {
        if !text.is_empty() {
            condition[field] = text.into();
        }
    }
    condition
}
