//! Plans as tables, on a world of our own: what a plan asks for happens at once, the rest is set by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    super::{
        api::{
            FINALIZER, Workbench, WorkbenchSpec, WorkbenchStatus, labels,
            workbench::{App, AppHealth, AppState, AppStatus, Image, Storage as Asked},
        },
        live::{
            Body, Child, Container, ContainerState, DeploymentStatus, JobStatus, Kind, Meta, Pod, SeenCondition,
            VolumeStatus,
        },
        plan::{Object, Plan, Step, Target},
        settings::Settings,
        workspace::Enforcement,
    },
    Facts, Mount, Seen, Volume, plan,
};

mod adoption;
mod apps;
mod deletion;
mod isolation;
mod life;
mod objects;
mod pods;
mod server;
mod settling;
mod storage;
mod suspension;

const UID: &str = "11111111-0000-0000-0000-000000000001";

/// A workbench, and the cluster around it.
pub struct World {
    pub workbench: Workbench,
    pub seen: Seen,
    pub settings: Settings,
    pub network: Enforcement,
    pub drivers: BTreeSet<String>,
    pub juicefs: Option<BTreeMap<String, String>>,
    pub nfs: Option<BTreeMap<String, String>>,
    pub licences: Option<String>,
    pub now: DateTime<Utc>,
    made: u32,
}

impl World {
    /// A workbench without apps or storage, in a workspace whose policy is in force.
    pub fn new() -> Self {
        let storage = Asked { s3: Some(false), nfs: Some(false), local: None };
        let spec = WorkbenchSpec { storage: Some(storage), ..WorkbenchSpec::default() };
        let mut workbench = Workbench::new("workbench1", spec);
        workbench.metadata.namespace = Some("workspace1".to_owned());
        workbench.metadata.uid = Some(UID.to_owned());
        workbench.metadata.generation = Some(1);
        workbench.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
        Self {
            workbench,
            seen: Seen::default(),
            settings: Settings { registry: "registry.example".to_owned(), ..Settings::default() },
            network: Enforcement::InForce,
            drivers: BTreeSet::new(),
            juicefs: None,
            nfs: None,
            licences: None,
            now: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            made: 0,
        }
    }

    /// The same with one app `a` named `term`, and a server that is ready.
    pub fn with_app() -> Self {
        let mut world = Self::new();
        world.workbench.spec.apps.insert("a".to_owned(), app("term"));
        world.ready();
        world
    }

    pub fn plan(&self) -> Plan<WorkbenchStatus> {
        let facts = Facts {
            settings: &self.settings,
            network: self.network.clone(),
            drivers: self.drivers.clone(),
            juicefs: self.juicefs.clone(),
            nfs: self.nfs.clone(),
            licences: self.licences.clone(),
        };
        plan(&self.workbench, &self.seen, &facts, self.now)
    }

    /// One pass: what it asks for happens.
    pub fn pass(&mut self) -> Plan<WorkbenchStatus> {
        let plan = self.plan();
        for step in plan.steps.clone() {
            self.perform(step);
        }
        if plan.status.is_some() {
            self.workbench.status.clone_from(&plan.status);
        }
        plan
    }

    /// Passes until nothing is left to do; after that a pass changes nothing at all.
    pub fn settle(&mut self) -> WorkbenchStatus {
        for _ in 0..10 {
            let before = self.workbench.status.clone();
            let plan = self.pass();
            if plan.steps.is_empty() && plan.status == before {
                assert!(plan.notices.is_empty(), "{:?}", plan.notices);
                return plan.status.unwrap();
            }
        }
        panic!("does not settle: {:?}", self.plan().steps)
    }

    pub fn perform(&mut self, step: Step) {
        match step {
            Step::AddFinalizer => self.workbench.metadata.finalizers = Some(vec![FINALIZER.to_owned()]),
            Step::RemoveFinalizer => self.workbench.metadata.finalizers = None,
            Step::Apply(object) | Step::TakeOver(object) => self.write(object, true),
            Step::Create(object) => self.write(object, false),
            Step::Patch { target, patch } => self.patch(&target, &patch),
            Step::Delete(target) => self.delete(&target),
            Step::KillPods { selector, .. } => {
                let job = selector.rsplit('=').next().unwrap();
                self.seen.pods.retain(|pod| pod.labels.get("batch.kubernetes.io/job-name").is_none_or(|of| of != job));
                self.job_of(job, |job| (job.status.active, job.status.ready) = (0, 0));
            }
            Step::Confirm(target) => {
                self.seen.absent.insert(target);
            }
        }
    }

    fn write(&mut self, object: Object, ours: bool) {
        self.made += 1;
        let meta = self.meta(&object, ours);
        let body = Body::new(&object.value);
        let claim = |mount: Mount| object.name().ends_with(&format!("-{}-{}", mount.name(), "pvc"));
        let mount = Mount::ALL.into_iter().find(|&mount| claim(mount) || object.name().contains(mount.name()));
        match object.kind {
            Kind::Deployment => {
                let status = self.seen.deployment.as_ref().map(|live| live.status.clone()).unwrap_or_default();
                self.seen.deployment = Some(Arc::new(Child { meta, body, status }));
            }
            Kind::Service => self.seen.service = Some(Arc::new(Child { meta, body, status: () })),
            Kind::NetworkPolicy => self.seen.policy = Some(Arc::new(Child { meta, body, status: () })),
            Kind::Job => {
                let child = Arc::new(Child { meta, body, status: JobStatus::default() });
                match object.value["metadata"]["labels"][labels::STORAGE].as_str() {
                    Some(name) => {
                        let mount = Mount::ALL.into_iter().find(|mount| mount.name() == name).unwrap();
                        self.volume(mount).setup = Some(child);
                    }
                    None => self.seen.jobs.push(child),
                }
            }
            Kind::PersistentVolume => {
                let status = VolumeStatus { phase: "Available".to_owned() };
                self.volume(mount.unwrap()).volume = Some(Arc::new(Child { meta, body, status }));
            }
            Kind::PersistentVolumeClaim => {
                let status = VolumeStatus { phase: "Pending".to_owned() };
                self.volume(mount.unwrap()).claim = Some(Arc::new(Child { meta, body, status }));
            }
            Kind::CiliumNetworkPolicy => panic!("no workbench has one"),
        }
    }

    fn meta(&self, object: &Object, ours: bool) -> Meta {
        let owners = object.value["metadata"]["ownerReferences"].as_array();
        let controller = owners.and_then(|owners| owners.iter().find(|owner| owner["controller"] == true));
        Meta {
            name: object.name().to_owned(),
            namespace: object.namespace().to_owned(),
            uid: format!("made-{}", self.made),
            resource_version: self.made.to_string(),
            controller: controller.map(|owner| owner["uid"].as_str().unwrap().to_owned()),
            ours,
            created: self.now,
            deleting: false,
        }
    }

    fn patch(&mut self, target: &Target, patch: &Value) {
        if target.kind == Kind::PersistentVolume {
            for volume in self.seen.volumes.values_mut().filter_map(|volume| volume.volume.as_mut()) {
                if volume.meta.name == target.name {
                    change(volume, |child| merge(&mut child.body, patch));
                }
            }
            return;
        }
        self.job_of(&target.name, |job| merge(&mut job.body, patch));
    }

    fn delete(&mut self, target: &Target) {
        match target.kind {
            Kind::Job => self.seen.jobs.retain(|job| job.meta.name != target.name),
            Kind::Deployment => self.seen.deployment = None,
            kind => panic!("{kind:?} is never deleted"),
        }
    }

    pub fn volume(&mut self, mount: Mount) -> &mut Volume {
        self.seen.volumes.entry(mount).or_default()
    }

    /// The claim and the volume are bound to each other.
    pub fn bind(&mut self, mount: Mount) {
        let volume = self.volume(mount);
        change(volume.volume.as_mut().unwrap(), |child| child.status.phase = "Bound".to_owned());
        change(volume.claim.as_mut().unwrap(), |child| child.status.phase = "Bound".to_owned());
    }

    /// Changes the Deployment.
    pub fn deployment(&mut self, what: impl FnOnce(&mut Child<DeploymentStatus>)) {
        change(self.seen.deployment.as_mut().unwrap(), what);
    }

    /// Changes the Job of the app `a`.
    pub fn job(&mut self, what: impl FnOnce(&mut Child<JobStatus>)) {
        let name = self.seen.jobs.first().expect("a Job").meta.name.clone();
        self.job_of(&name, what);
    }

    fn job_of(&mut self, name: &str, what: impl FnOnce(&mut Child<JobStatus>)) {
        let job = self.seen.jobs.iter_mut().find(|job| job.meta.name == name).expect("the Job");
        change(job, what);
    }

    /// The state of the app `a`.
    pub fn ask(&mut self, state: AppState) {
        self.app(|app| app.state = Some(state));
    }

    pub fn app(&mut self, what: impl FnOnce(&mut App)) {
        what(self.workbench.spec.apps.get_mut("a").unwrap());
        *self.workbench.metadata.generation.get_or_insert(0) += 1;
    }

    /// What is recorded about the app `a`.
    pub fn record(&self) -> AppStatus {
        self.workbench.status.clone().unwrap().apps["a"].clone()
    }

    /// The server is made and becomes ready.
    pub fn ready(&mut self) {
        self.pass();
        self.deployment(|live| {
            live.status = DeploymentStatus {
                revision: Some(1),
                generation: (1, 1),
                replicas: 1,
                conditions: vec![condition("Progressing", "True", "NewReplicaSetAvailable"), available()],
            };
        });
        let pod = server_pod("s1", true, self.now);
        self.seen.pods.push(Arc::new(pod));
    }

    /// A pod of the app `a`'s Job whose container does this.
    pub fn app_pod(&mut self, state: ContainerState) {
        let job = self.seen.jobs.first().expect("a Job").meta.name.clone();
        self.seen.pods.retain(|pod| !pod.labels.contains_key(labels::APP));
        self.seen.pods.push(Arc::new(app_pod(&job, state, self.now)));
    }

    /// The app `a` runs.
    pub fn app_runs(&mut self) {
        self.app_pod(ContainerState::Running { since: Some(self.now) });
        self.job(|job| job.status = JobStatus { active: 1, ready: 1, ..JobStatus::default() });
    }

    pub fn later(&mut self, seconds: i64) {
        self.now += TimeDelta::seconds(seconds);
    }

    pub fn condition(&self, kind: &str) -> (String, String) {
        let status = self.workbench.status.clone().unwrap();
        let condition = status.conditions.into_iter().find(|condition| condition.type_ == kind).unwrap();
        (condition.status, condition.reason)
    }
}

pub fn change<S: Clone>(child: &mut Arc<Child<S>>, what: impl FnOnce(&mut Child<S>)) {
    what(Arc::make_mut(child));
}

pub fn merge(body: &mut Body, patch: &Value) {
    let mut value = body.value();
    json_patch::merge(&mut value, patch);
    *body = Body::new(&value);
}

pub fn app(name: &str) -> App {
    let image = Image { repository: Some("apps/term".to_owned()), tag: Some("1".to_owned()), registry: None };
    App { name: name.to_owned(), image, ..App::default() }
}

pub fn condition(kind: &str, status: &str, reason: &str) -> SeenCondition {
    SeenCondition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
    }
}

pub fn available() -> SeenCondition {
    condition("Available", "True", "MinimumReplicasAvailable")
}

pub fn server_pod(name: &str, ready: bool, created: DateTime<Utc>) -> Pod {
    let container = |name: &str| Container {
        name: name.to_owned(),
        ready,
        restarts: 0,
        state: ContainerState::Running { since: Some(created) },
    };
    Pod {
        meta: Meta { name: name.to_owned(), created, ..Meta::default() },
        labels: super::pass::text_map(&[(labels::WORKBENCH, "workbench1"), (labels::POD_OF, "workbench1")]),
        phase: "Running".to_owned(),
        init: vec![Container { ready: true, ..container("xpra-server-bind") }],
        containers: vec![container("xpra-server")],
        ..Pod::default()
    }
}

pub fn app_pod(job: &str, state: ContainerState, created: DateTime<Utc>) -> Pod {
    let ready = matches!(state, ContainerState::Running { .. });
    Pod {
        meta: Meta { name: format!("{job}-x"), created, ..Meta::default() },
        labels: super::pass::text_map(&[
            (labels::POD_OF, "workbench1"),
            (labels::APP, "a"),
            ("batch.kubernetes.io/job-name", job),
        ]),
        phase: "Running".to_owned(),
        containers: vec![Container { name: "term".to_owned(), ready, restarts: 0, state }],
        ..Pod::default()
    }
}

/// The steps in short.
pub fn short(steps: &[Step]) -> Vec<String> {
    let named = |verb: &str, object: &Object| format!("{verb} {:?} {}", object.kind, object.name());
    let step = |step: &Step| match step {
        Step::AddFinalizer => "finalizer".to_owned(),
        Step::RemoveFinalizer => "no finalizer".to_owned(),
        Step::Apply(object) => named("apply", object),
        Step::TakeOver(object) => named("take over", object),
        Step::Create(object) => named("create", object),
        Step::Patch { target, patch } => format!("patch {:?} {} {patch}", target.kind, target.name),
        Step::Delete(target) => format!("delete {:?} {}", target.kind, target.name),
        Step::KillPods { selector, .. } => format!("kill {selector}"),
        Step::Confirm(target) => format!("confirm {:?} {}", target.kind, target.name),
    };
    steps.iter().map(step).collect()
}

pub fn is(record: &AppStatus, status: AppHealth, reason: &str) {
    assert_eq!((record.status, record.reason.as_deref()), (status, Some(reason)), "{record:?}");
}

/// The object that a plan makes of this kind.
pub fn made(plan: &Plan<WorkbenchStatus>, kind: Kind) -> Value {
    let object = plan.steps.iter().find_map(|step| match step {
        Step::Apply(object) | Step::TakeOver(object) | Step::Create(object) if object.kind == kind => Some(object),
        _ => None,
    });
    object.map(|object| object.value.clone()).unwrap_or(json!(null))
}
