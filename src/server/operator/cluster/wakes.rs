//! Who has to act when something changes: keys into the queue.
//!
//! What always holds: who caused a change by a write of its own is not woken by it, and a change that nothing depends on
//! wakes nobody.

use std::{collections::BTreeSet, sync::PoisonError};

use super::{
    super::{
        api::{Workbench, Workspace},
        live::{Child, JobStatus, Pod, VolumeStatus},
        workbench::{Mount, names},
    },
    caches::{Caches, Key, Resource, namespace_of_volume},
    project::{Named, Remembered, Secret, Status},
    store::{self, Change, Text},
};

impl Caches {
    /// Wakes everything.
    pub fn wake_all(&self) {
        let keys = keys(Resource::Workspace, self.workspaces.keys());
        keys.for_each(|key| self.queue.wake(key));
        self.wake_all_workbenches();
    }

    fn wake(&self, key: Key, asker: Option<&Key>) {
        if Some(&key) != asker {
            self.queue.wake(key);
        }
    }

    fn hurry(&self, key: Key, asker: Option<&Key>) {
        if Some(&key) != asker {
            self.queue.hurry(key);
        }
    }

    pub(super) fn workbench_changed(&self, change: &Change<Workbench>, asker: Option<&Key>) {
        let Some(key) = change.either().map(|workbench| Key::of(Resource::Workbench, workbench)) else { return };
        let asked =
            |workbench: &Workbench| (workbench.metadata.generation, workbench.metadata.deletion_timestamp.clone());
        // The echo of a status may come before the answer to it. What somebody asks for does not wait for what is told.
        if change.before.as_deref().map(asked) == change.after.as_deref().map(asked) {
            self.wake(key, asker);
        } else {
            self.hurry(key, asker);
        }
    }

    pub(super) fn workspace_changed(&self, change: &Change<Workspace>, asker: Option<&Key>) {
        if let Some(workspace) = change.either() {
            self.network_changed(workspace.key().0, asker);
        }
    }

    pub(super) fn child_changed<S: Status>(&self, change: &Change<Child<S>>, asker: Option<&Key>) {
        let Some(child) = change.either() else { return };
        for workbench in change.groups() {
            self.wake(Key::workbench(&child.meta.namespace, workbench), asker);
        }
    }

    pub(super) fn job_changed(&self, change: &Change<Child<JobStatus>>, asker: Option<&Key>) {
        self.child_changed(change, asker);
        let Some(job) = change.either() else { return };
        let namespace = &job.meta.namespace;
        if Mount::ALL.iter().any(|&mount| names::setup(namespace, mount).as_ref() == Some(&job.meta.name)) {
            self.wake_workbenches(namespace, asker);
        }
    }

    pub(super) fn pod_changed(&self, change: &Change<Pod>, asker: Option<&Key>) {
        let Some(pod) = change.either() else { return };
        for workbench in change.groups() {
            self.wake(Key::workbench(&pod.meta.namespace, workbench), asker);
        }
    }

    pub(super) fn policy_changed(&self, change: &Change<Child<()>>, asker: Option<&Key>) {
        match (change.either(), change.group.as_deref()) {
            (Some(policy), Some("") | None) => self.network_changed(&policy.meta.namespace, asker),
            _ => self.child_changed(change, asker),
        }
    }

    pub(super) fn volume_changed(&self, change: &Change<Child<VolumeStatus>>, asker: Option<&Key>) {
        if let Some(namespace) = change.either().and_then(|volume| namespace_of_volume(&volume.meta.name)) {
            self.wake_workbenches(namespace, asker);
        }
    }

    pub(super) fn claim_changed(&self, change: &Change<Child<VolumeStatus>>, asker: Option<&Key>) {
        if let Some(claim) = change.either() {
            self.wake_workbenches(&claim.meta.namespace, asker);
        }
    }

    pub(super) fn driver_changed(&self, _change: &Change<Named>, _asker: Option<&Key>) {
        self.wake_all_workbenches();
    }

    pub(super) fn storage_secret_changed(&self, _change: &Change<Secret>, _asker: Option<&Key>) {
        self.wake_all_workbenches();
    }

    pub(super) fn licences_changed(&self, change: &Change<Secret>, asker: Option<&Key>) {
        if let Some(secret) = change.either() {
            self.wake_workbenches(secret.key().0, asker);
        }
    }

    /// Cilium came or went: every policy is another one.
    pub(super) fn cilium_changed(&self) {
        let keys = keys(Resource::Workspace, self.workspaces.keys());
        let namespaces: BTreeSet<Text> = keys.map(|key| key.namespace).collect();
        namespaces.iter().for_each(|namespace| self.network_changed(namespace, None));
    }

    /// The workspace of a namespace or its policies changed. Its workbenches are woken if that means something to them:
    /// most changes, such as those of its status, do not.
    pub(super) fn network_changed(&self, namespace: &str, asker: Option<&Key>) {
        for name in self.workspaces.names(namespace) {
            self.wake(Key::workspace(namespace, &name), asker);
        }
        let forget = || self.known_enforcement.lock().unwrap_or_else(PoisonError::into_inner).remove(namespace);
        let before = forget();
        if !self.synced() || before != Some(self.enforcement(namespace)) {
            self.wake_workbenches(namespace, asker);
        }
    }

    fn wake_workbenches(&self, namespace: &str, asker: Option<&Key>) {
        let names = self.workbenches.names(namespace);
        names.into_iter().for_each(|name| self.wake(Key::workbench(namespace, &name), asker));
    }

    fn wake_all_workbenches(&self) {
        let keys = keys(Resource::Workbench, self.workbenches.keys());
        keys.for_each(|key| self.queue.wake(key));
    }
}

fn keys(resource: Resource, keys: Vec<store::Key>) -> impl Iterator<Item = Key> {
    keys.into_iter().map(move |(namespace, name)| Key { resource, namespace, name })
}
