//! What is known of the cluster, and who has to act when it changes.
//!
//! Watches and responses go in; keys into the queue and what plans need come out. Nothing here talks to the API server.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::Value;

use super::{
    super::{
        api::{Workbench, Workspace},
        live::{Child, DeploymentStatus, JobStatus, Kind, Pod, VolumeStatus},
        plan::Target,
        settings::Settings,
        workbench::{self, Facts, Mount, Volume, names, policy},
        workspace::{self, Enforcement},
    },
    project::{Kinds, Named, Remembered, Secret},
    queue::Queue,
    shared::Shared,
    store::{Change, Text},
};

/// The kinds that are reconciled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// First, because workbenches wait for its policy.
    Workspace,
    /// A desktop.
    Workbench,
}

impl Resource {
    /// As metrics say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Workspace => "Workspace",
            Self::Workbench => "Workbench",
        }
    }
}

/// A resource to reconcile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub resource: Resource,
    /// Its namespace.
    pub namespace: Text,
    /// Its name.
    pub name: Text,
}

impl Key {
    /// The key of this resource.
    pub(super) fn of(resource: Resource, object: &impl Remembered) -> Self {
        let (namespace, name) = object.key();
        Self { resource, namespace: namespace.into(), name: name.into() }
    }

    pub(super) fn workbench(namespace: &str, name: &str) -> Self {
        Self { resource: Resource::Workbench, namespace: namespace.into(), name: name.into() }
    }

    pub(super) fn workspace(namespace: &str, name: &str) -> Self {
        Self { resource: Resource::Workspace, namespace: namespace.into(), name: name.into() }
    }
}

/// What is known of the cluster.
pub struct Caches {
    pub(super) settings: Arc<Settings>,
    pub(super) queue: Arc<Queue<Key>>,
    pub(super) workbenches: Shared<Workbench>,
    pub(super) workspaces: Shared<Workspace>,
    pub(super) deployments: Shared<Child<DeploymentStatus>>,
    pub(super) services: Shared<Child<()>>,
    /// Jobs of apps.
    pub(super) jobs: Shared<Child<JobStatus>>,
    /// Jobs that make folders on volumes: they are of no workbench.
    pub(super) setups: Shared<Child<JobStatus>>,
    pub(super) server_pods: Shared<Pod>,
    pub(super) app_pods: Shared<Pod>,
    pub(super) policies: Shared<Child<()>>,
    pub(super) cilium_policies: Shared<Child<()>>,
    pub(super) volumes: Shared<Child<VolumeStatus>>,
    pub(super) claims: Shared<Child<VolumeStatus>>,
    pub(super) drivers: Shared<Named>,
    pub(super) juicefs: Shared<Secret>,
    pub(super) nfs: Shared<Secret>,
    pub(super) licences: Shared<Secret>,
    /// Whether it is known which kinds the cluster has, and whether it has the policies of Cilium.
    pub(super) discovered: AtomicBool,
    pub(super) cilium: AtomicBool,
    /// Whether the policy of a namespace is in force, as workbenches were told.
    pub(super) known_enforcement: Mutex<HashMap<Text, Enforcement>>,
}

impl Caches {
    /// Empty caches.
    pub fn new(settings: Arc<Settings>, queue: Arc<Queue<Key>>) -> Self {
        Self {
            settings,
            queue,
            workbenches: Shared::default(),
            workspaces: Shared::default(),
            deployments: Shared::default(),
            services: Shared::default(),
            jobs: Shared::default(),
            setups: Shared::default(),
            server_pods: Shared::default(),
            app_pods: Shared::default(),
            policies: Shared::default(),
            cilium_policies: Shared::default(),
            volumes: Shared::default(),
            claims: Shared::default(),
            drivers: Shared::default(),
            juicefs: Shared::default(),
            nfs: Shared::default(),
            licences: Shared::default(),
            discovered: AtomicBool::new(false),
            cilium: AtomicBool::new(false),
            known_enforcement: Mutex::default(),
        }
    }

    /// The kinds whose first list is not read yet.
    pub fn missing(&self) -> Vec<&'static str> {
        let licences = self.settings.license_secret.is_none() || self.licences.synced();
        let cilium = !self.cilium.load(Ordering::Acquire) || self.cilium_policies.synced();
        [
            ("workbenches", self.workbenches.synced()),
            ("workspaces", self.workspaces.synced()),
            ("deployments", self.deployments.synced()),
            ("services", self.services.synced()),
            ("jobs", self.jobs.synced()),
            ("jobs of volumes", self.setups.synced()),
            ("pods of servers", self.server_pods.synced()),
            ("pods of apps", self.app_pods.synced()),
            ("networkpolicies", self.policies.synced()),
            ("the kinds of Cilium", self.discovered.load(Ordering::Acquire)),
            ("ciliumnetworkpolicies", cilium),
            ("persistentvolumes", self.volumes.synced()),
            ("persistentvolumeclaims", self.claims.synced()),
            ("csidrivers", self.drivers.synced()),
            ("the Secret of the object storage", self.juicefs.synced()),
            ("the Secret of the NFS server", self.nfs.synced()),
            ("the Secrets with licences", licences),
        ]
        .into_iter()
        .filter_map(|(kind, synced)| (!synced).then_some(kind))
        .collect()
    }

    /// Whether everything was read once.
    pub fn synced(&self) -> bool {
        self.missing().is_empty()
    }

    /// One workbench.
    pub fn workbench(&self, key: &Key) -> Option<Arc<Workbench>> {
        self.workbenches.get(&key.namespace, &key.name)
    }

    /// One workspace.
    pub fn workspace(&self, key: &Key) -> Option<Arc<Workspace>> {
        self.workspaces.get(&key.namespace, &key.name)
    }

    /// What is seen of a workbench.
    pub fn seen(&self, key: &Key) -> workbench::Seen {
        let (namespace, name) = (&*key.namespace, &*key.name);
        let mut pods = self.server_pods.of(namespace, name);
        pods.extend(self.app_pods.of(namespace, name));
        workbench::Seen {
            deployment: self.deployments.get(namespace, &names::server(name)),
            service: self.services.get(namespace, name),
            policy: self.policies.get(namespace, &policy::name(name)),
            jobs: self.jobs.of(namespace, name),
            pods,
            volumes: Mount::ALL.into_iter().filter_map(|mount| Some((mount, self.volume(namespace, mount)?))).collect(),
            ..workbench::Seen::default()
        }
    }

    /// What holds for a workbench.
    pub fn facts(&self, key: &Key) -> Facts<'_> {
        let settings = &*self.settings;
        let secret = |store: &Shared<Secret>, namespace: &str, name: &str, keys: &[&str]| {
            let secret = store.get(namespace, name)?;
            let wanted = |&key: &&str| Some((key.to_owned(), secret.0.values.get(key)?.clone()));
            Some(keys.iter().filter_map(wanted).collect::<BTreeMap<_, _>>())
        };
        let (juicefs, nfs) = (&settings.juicefs_secret, &settings.nfs_secret);
        let licences = settings.license_secret.as_deref();
        let licences = licences.and_then(|name| secret(&self.licences, &key.namespace, name, &[LICENCES]));
        Facts {
            settings,
            network: self.enforcement(&key.namespace),
            drivers: self.drivers.keys().into_iter().map(|(_, name)| name.to_string()).collect(),
            juicefs: secret(&self.juicefs, &juicefs.namespace, &juicefs.name, &["name"]),
            nfs: secret(&self.nfs, &nfs.namespace, &nfs.name, &["server", "share"]),
            licences: licences.and_then(|mut values| values.remove(LICENCES)),
        }
    }

    /// What is seen of a namespace.
    pub fn namespace(&self, namespace: &str) -> workspace::Seen {
        let cilium = self.cilium.load(Ordering::Acquire);
        let cilium_policies = &self.cilium_policies;
        workspace::Seen {
            workspaces: self.workspaces.in_namespace(namespace),
            policies: self.policies.of(namespace, ""),
            cilium_policies: (cilium && cilium_policies.synced()).then(|| cilium_policies.of(namespace, "")),
            ..workspace::Seen::default()
        }
    }

    /// Takes up what the API server answered to a write or a look, and wakes whom it concerns, except who asked. Returns
    /// false if the answer cannot be understood.
    pub fn feed(&self, kind: Kind, text: &str, asker: &Key) -> bool {
        let kinds = Kinds::Child(kind);
        match kind {
            Kind::Deployment => self.feed_into(&self.deployments, parse(kinds, text), asker, Self::child_changed),
            Kind::Service => self.feed_into(&self.services, parse(kinds, text), asker, Self::child_changed),
            Kind::Job => {
                let job = parse(kinds, text);
                let of_app = job.as_ref().is_some_and(|(_, workbench)| workbench.is_some());
                self.feed_into(if of_app { &self.jobs } else { &self.setups }, job, asker, Self::job_changed)
            }
            Kind::NetworkPolicy => self.feed_into(&self.policies, parse(kinds, text), asker, Self::policy_changed),
            Kind::CiliumNetworkPolicy => {
                self.feed_into(&self.cilium_policies, parse(kinds, text), asker, Self::policy_changed)
            }
            Kind::PersistentVolume => self.feed_into(&self.volumes, parse(kinds, text), asker, Self::volume_changed),
            Kind::PersistentVolumeClaim => self.feed_into(&self.claims, parse(kinds, text), asker, Self::claim_changed),
        }
    }

    /// Takes up what the API server answered to a write of a resource.
    pub fn feed_resource(&self, asker: &Key, text: &str) -> bool {
        match asker.resource {
            Resource::Workbench => {
                self.feed_into(&self.workbenches, parse(Kinds::Other, text), asker, Self::workbench_changed)
            }
            Resource::Workspace => {
                self.feed_into(&self.workspaces, parse(Kinds::Other, text), asker, Self::workspace_changed)
            }
        }
    }

    /// A resource is gone.
    pub fn forget_resource(&self, key: &Key) {
        match key.resource {
            Resource::Workbench => drop(self.workbenches.change(|store| store.forget(&key.namespace, &key.name))),
            Resource::Workspace => {
                self.workspaces.change(|store| store.forget(&key.namespace, &key.name));
                self.network_changed(&key.namespace, Some(key));
            }
        }
    }

    /// A child is gone.
    pub fn forget(&self, target: &Target) {
        let (namespace, name) = (target.namespace.as_str(), target.name.as_str());
        match target.kind {
            Kind::Deployment => drop(self.deployments.change(|store| store.forget(namespace, name))),
            Kind::Service => drop(self.services.change(|store| store.forget(namespace, name))),
            Kind::Job => {
                self.jobs.change(|store| store.forget(namespace, name));
                self.setups.change(|store| store.forget(namespace, name));
            }
            Kind::NetworkPolicy => drop(self.policies.change(|store| store.forget(namespace, name))),
            Kind::CiliumNetworkPolicy => drop(self.cilium_policies.change(|store| store.forget(namespace, name))),
            Kind::PersistentVolume => drop(self.volumes.change(|store| store.forget(namespace, name))),
            Kind::PersistentVolumeClaim => drop(self.claims.change(|store| store.forget(namespace, name))),
        }
    }

    /// How many workbenches there are in each state, for metrics.
    pub fn states(&self) -> BTreeMap<&'static str, usize> {
        self.workbenches.states()
    }

    /// Whether the policy of a namespace is in force. Workbenches ask for it in every pass, so it is kept until the
    /// workspace or its policies change.
    pub(super) fn enforcement(&self, namespace: &str) -> Enforcement {
        let mut known = self.known_enforcement.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(enforcement) = known.get(namespace) {
            return enforcement.clone();
        }
        let enforcement = workspace::enforcement(&self.namespace(namespace), &self.settings);
        known.insert(namespace.into(), enforcement.clone());
        enforcement
    }

    fn volume(&self, namespace: &str, mount: Mount) -> Option<Volume> {
        let volume = Volume {
            volume: self.volumes.get("", &names::volume(namespace, mount)),
            claim: self.claims.get(namespace, &names::claim(namespace, mount)),
            setup: names::setup(namespace, mount).and_then(|name| self.setup(namespace, &name)),
        };
        (volume.volume.is_some() || volume.claim.is_some() || volume.setup.is_some()).then_some(volume)
    }

    /// The former operator said a workbench on these Jobs as well.
    fn setup(&self, namespace: &str, name: &str) -> Option<Arc<Child<JobStatus>>> {
        let ours = self.setups.get(namespace, name);
        ours.or_else(|| self.jobs.get(namespace, name))
    }

    fn feed_into<T: Remembered>(
        &self,
        store: &Shared<T>,
        object: Option<(T, Option<String>)>,
        asker: &Key,
        changed: fn(&Self, &Change<T>, Option<&Key>),
    ) -> bool {
        let Some(object) = object else { return false };
        let change = store.change(|store| store.feed(object));
        if let Some(change) = change.filter(Change::matters) {
            changed(self, &change, Some(asker));
        }
        true
    }
}

/// The key of a licence Secret.
const LICENCES: &str = "config.yaml";

/// The namespace of a volume of a workspace; none for any other volume.
pub(super) fn namespace_of_volume(name: &str) -> Option<&str> {
    Mount::ALL.iter().find_map(|&mount| name.strip_suffix(&names::volume("", mount)))
}

/// Whether this is a claim of the workspace in this namespace.
pub(super) fn is_claim(namespace: &str, name: &str) -> bool {
    Mount::ALL.iter().any(|&mount| names::claim(namespace, mount) == name)
}

fn parse<T: Remembered>(kind: Kinds, text: &str) -> Option<(T, Option<String>)> {
    T::project(kind, serde_json::from_str(text).ok()?)
}

/// A label of an object.
pub(super) fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(name)?.as_str()
}
