//! A cluster that does at once whatever a plan asks for.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    super::{
        api::{
            FINALIZER, Workbench, WorkbenchStatus, Workspace, WorkspaceStatus, labels, workbench::AppHealth,
            workspace::ServiceHealth,
        },
        live::{
            Body, Child, Container, ContainerState, DeploymentStatus, JobStatus, Kind, Meta, Pod, SeenCondition,
            VolumeStatus,
        },
        plan::{Object, Plan, Step},
        settings::Settings,
        workbench::{self, Facts, Mount, Volume, names},
        workspace::{self, Enforcement},
    },
    observed::{FileSystem, Observed, Policy, Server},
};

/// More rounds than any plan needs; each does what the one before asked for.
const ROUNDS: usize = 16;

/// What was made so far.
pub struct Pretended<'a> {
    observed: &'a Observed,
    settings: &'a Settings,
    policies: BTreeMap<String, workspace::Seen>,
    volumes: BTreeMap<String, BTreeMap<Mount, Volume>>,
    /// What was applied or created, in order.
    pub made: Vec<Value>,
    /// What else is worth knowing.
    pub remarks: Vec<String>,
}

impl<'a> Pretended<'a> {
    /// Nothing is there but the cluster.
    pub fn new(observed: &'a Observed, settings: &'a Settings) -> Self {
        let (policies, volumes) = (BTreeMap::new(), BTreeMap::new());
        Self { observed, settings, policies, volumes, made: Vec::new(), remarks: Vec::new() }
    }

    /// Does what the plan of a workspace asks for.
    pub fn workspace(&mut self, workspace: &Workspace) {
        let namespace = workspace.metadata.namespace.clone().unwrap_or_default();
        let empty =
            workspace::Seen { cilium_policies: self.observed.cilium.then(Vec::new), ..workspace::Seen::default() };
        let mut seen = self.policies.remove(&namespace).unwrap_or(empty);
        let mut workspace = Arc::new(workspace.clone());
        seen.workspaces.push(Arc::clone(&workspace));
        for _ in 0..ROUNDS {
            let plan = workspace::plan(&workspace, &seen, self.settings, self.observed.time);
            let status: Option<WorkspaceStatus> = plan.status.clone();
            let new = self.objects(plan);
            let current = Arc::new(Workspace { status, ..(*workspace).clone() });
            let done = new.is_empty() && current.status == workspace.status;
            seen.workspaces.retain(|other| !Arc::ptr_eq(other, &workspace));
            seen.workspaces.push(Arc::clone(&current));
            workspace = current;
            for object in new {
                let child = Arc::new(child(&object, ()));
                match (object.kind, &mut seen.cilium_policies) {
                    (Kind::CiliumNetworkPolicy, Some(policies)) => policies.push(child),
                    (Kind::NetworkPolicy, _) => seen.policies.push(child),
                    _ => {}
                }
            }
            if done {
                break;
            }
        }
        let services = workspace.status.iter().flat_map(|status| &status.services);
        for (key, service) in services.filter(|(_, service)| service.status == ServiceHealth::Failed) {
            let message = service.message.as_deref().unwrap_or_default();
            self.remarks.push(format!("Workspace {namespace}, service {key}: Failed: {message}"));
        }
        if let Enforcement::Missing { reason, message } = workspace::enforcement(&seen, self.settings) {
            self.remarks.push(format!("Workspace {namespace}: its policy is not in force ({reason}): {message}"));
        }
        self.policies.insert(namespace, seen);
    }

    /// Does what the plan of a workbench asks for.
    pub fn workbench(&mut self, workbench: &Workbench) {
        let namespace = workbench.metadata.namespace.clone().unwrap_or_default();
        let facts = self.facts(&namespace);
        let mut workbench = workbench.clone();
        let mut seen = workbench::Seen {
            volumes: self.volumes.remove(&namespace).unwrap_or_default(),
            ..workbench::Seen::default()
        };
        for _ in 0..ROUNDS {
            let plan = workbench::plan(&workbench, &seen, &facts, self.observed.time);
            let finalized = plan.steps.contains(&Step::AddFinalizer);
            let absent = plan.steps.iter().filter_map(|step| match step {
                Step::Confirm(target) => Some(target.clone()),
                _ => None,
            });
            let before = seen.absent.len();
            seen.absent.extend(absent);
            let status = plan.status.clone();
            let new = self.objects(plan);
            let same = status == workbench.status && seen.absent.len() == before;
            workbench.status = status;
            if finalized {
                workbench.metadata.finalizers.get_or_insert_default().push(FINALIZER.to_owned());
            }
            let done = new.is_empty() && same && !finalized;
            new.iter().for_each(|object| self.appear(&namespace, object, &mut seen));
            if done {
                break;
            }
        }
        self.remark(&workbench);
        self.volumes.insert(namespace, seen.volumes);
    }

    fn facts(&self, namespace: &str) -> Facts<'a> {
        let network = match (self.policies.get(namespace), self.observed.policy) {
            (Some(seen), _) => workspace::enforcement(seen, self.settings),
            (None, Policy::InForce) => Enforcement::InForce,
            (None, Policy::Missing) => {
                Enforcement::Missing { reason: "NoWorkspace", message: "It is observed to be missing.".to_owned() }
            }
        };
        let secrets = &self.observed.secrets;
        Facts {
            settings: self.settings,
            network,
            drivers: self.observed.drivers.clone(),
            juicefs: secrets.juicefs.clone(),
            nfs: secrets.nfs.clone(),
            licences: secrets.licences.clone(),
        }
    }

    /// The objects that a plan makes and that were not made before, in order.
    fn objects<S>(&mut self, plan: Plan<S>) -> Vec<Object> {
        let mut new = Vec::new();
        for step in plan.steps {
            let (Step::Apply(object) | Step::TakeOver(object) | Step::Create(object)) = step else { continue };
            if !self.made.contains(&object.value) {
                self.made.push(object.value.clone());
                new.push(object);
            }
        }
        new
    }

    /// An object is there, and its controllers have done their work.
    fn appear(&self, namespace: &str, object: &Object, seen: &mut workbench::Seen) {
        match object.kind {
            Kind::Deployment => {
                seen.deployment = Some(Arc::new(child(object, running())));
                seen.pods.retain(|pod| pod.labels.contains_key(labels::APP));
                seen.pods.push(Arc::new(self.server_pod(object)));
            }
            Kind::Service => seen.service = Some(Arc::new(child(object, ()))),
            Kind::NetworkPolicy => seen.policy = Some(Arc::new(child(object, ()))),
            Kind::PersistentVolume => {
                if let Some(mount) = mount_named(object, |mount| Some(names::volume(namespace, mount))) {
                    seen.volumes.entry(mount).or_default().volume = Some(self.storage(object, mount));
                }
            }
            Kind::PersistentVolumeClaim => {
                if let Some(mount) = mount_named(object, |mount| Some(names::claim(namespace, mount))) {
                    seen.volumes.entry(mount).or_default().claim = Some(self.storage(object, mount));
                }
            }
            Kind::Job => match mount_named(object, |mount| names::setup(namespace, mount)) {
                Some(mount) => {
                    seen.volumes.entry(mount).or_default().setup = Some(Arc::new(child(object, completed())))
                }
                None => {
                    seen.jobs.push(Arc::new(child(object, JobStatus { active: 1, ready: 1, ..JobStatus::default() })))
                }
            },
            Kind::CiliumNetworkPolicy => {}
        }
    }

    fn storage(&self, object: &Object, mount: Mount) -> Arc<Child<VolumeStatus>> {
        let phase = match self.observed.storage.of(mount) {
            FileSystem::Bound => "Bound",
            FileSystem::Pending => "Pending",
        };
        Arc::new(child(object, VolumeStatus { phase: phase.to_owned() }))
    }

    /// The pod of a server, as observed.
    fn server_pod(&self, deployment: &Object) -> Pod {
        let ready = self.observed.server == Server::Ready;
        let template = &deployment.value["spec"]["template"];
        let containers = |field: &str, ready: bool| {
            let names = template["spec"][field].as_array().into_iter().flatten();
            let state = ContainerState::Running { since: Some(self.observed.time) };
            let container = |value: &Value| Container {
                name: value["name"].as_str().unwrap_or_default().to_owned(),
                ready,
                restarts: 0,
                state: state.clone(),
            };
            names.map(container).collect()
        };
        let strings = template["metadata"]["labels"].as_object().into_iter().flatten();
        Pod {
            meta: Meta { name: format!("{}-pod", deployment.name()), ..meta(deployment) },
            labels: strings.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect(),
            phase: "Running".to_owned(),
            init: containers("initContainers", true),
            containers: containers("containers", ready),
            ..Pod::default()
        }
    }

    /// What a reader of the YAML would not see: what does not start, and why.
    fn remark(&mut self, workbench: &Workbench) {
        let name = workbench.metadata.name.as_deref().unwrap_or_default();
        let Some(WorkbenchStatus { apps, conditions, .. }) = &workbench.status else { return };
        for condition in
            conditions.iter().filter(|condition| condition.status == "False" && condition.type_ != "Outdated")
        {
            let (kind, reason) = (&condition.type_, &condition.reason);
            self.remarks.push(format!("Workbench {name}: not {kind} ({reason}): {}", condition.message));
        }
        for (id, app) in apps.iter().filter(|(_, app)| app.status != AppHealth::Running) {
            let reason = app.reason.as_deref().unwrap_or("no reason");
            let message = app.message.as_deref().unwrap_or_default();
            self.remarks.push(format!("Workbench {name}, app {id}: {:?} ({reason}): {message}", app.status));
        }
    }
}

fn child<S>(object: &Object, status: S) -> Child<S> {
    let mut body = object.value.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("status");
    }
    Child { meta: meta(object), body: Body::new(&body), status }
}

fn meta(object: &Object) -> Meta {
    let owners = object.value["metadata"]["ownerReferences"].as_array();
    let controller = owners.into_iter().flatten().find(|owner| owner["controller"] == json!(true));
    Meta {
        name: object.name().to_owned(),
        namespace: object.namespace().to_owned(),
        uid: format!("{}/{}", object.kind.names().2, object.name()),
        resource_version: "1".to_owned(),
        controller: controller.and_then(|owner| owner["uid"].as_str()).map(str::to_owned),
        ours: true,
        ..Meta::default()
    }
}

/// The status of a Deployment whose pod is there.
fn running() -> DeploymentStatus {
    let condition = |kind: &str, reason: &str| SeenCondition {
        kind: kind.to_owned(),
        status: "True".to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
    };
    DeploymentStatus {
        revision: Some(1),
        generation: (1, 1),
        replicas: 1,
        conditions: vec![
            condition("Available", "MinimumReplicasAvailable"),
            condition("Progressing", "NewReplicaSetAvailable"),
        ],
    }
}

/// The status of a Job that has done its work.
fn completed() -> JobStatus {
    let complete = SeenCondition { kind: "Complete".to_owned(), status: "True".to_owned(), ..SeenCondition::default() };
    JobStatus { succeeded: 1, conditions: vec![complete], ..JobStatus::default() }
}

/// The file system whose object has this name.
fn mount_named(object: &Object, name: impl Fn(Mount) -> Option<String>) -> Option<Mount> {
    Mount::ALL.into_iter().find(|&mount| name(mount).as_deref() == Some(object.name()))
}
