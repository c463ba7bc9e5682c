//! The file systems of a workspace: their volumes, claims, folders, and where apps find them.
//!
//! Volumes and claims belong to the namespace: all its workbenches use them, none owns them, and nothing here deletes one. A
//! volume that is made here is the folder of its workspace; one that the former operator made is the root of the file system, and
//! stays so (its source cannot be changed), with longer paths below it.
//!
//! - NFS: the driver mounts `share/subDir`, which must exist: a Job makes it before the volume.
//! - JuiceFS: with the mount option `subdir` the client mounts only that folder and makes it (mode 0777, as it belongs to root)
//!   where it is missing, so no Job is needed. (The attribute `subPath` would mount the whole file system on the node first, and
//!   bind the folder.) It keeps apps to their files; the metadata of other folders is known to be readable through `.control`.
//! - A folder of the node: `hostPath` of the workspace's folder, made by a Job too, for its group and mode.

use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Volume, VolumeMount};
use serde_json::{Value, json};

use super::{
    super::{
        live::{Child, JobStatus, Kind, VolumeStatus},
        plan::{Object, Step},
    },
    Mount,
    apps::REFUSED,
    check::Refusal,
    names,
    pass::Pass,
    status::{has_completed, has_failed},
};

mod objects;

/// The file systems of a workbench, and what is to be done for them.
#[derive(Debug, Default)]
pub struct Storage {
    /// What to do.
    pub steps: Vec<Step>,
    /// What keeps storage from being complete, worst first: the condition.
    pub problems: Vec<Problem>,
    /// Whether any file system is asked for.
    asked: bool,
    /// Those that apps mount.
    bound: Vec<Bound>,
}

/// Two file systems exclude each other.
pub const CONFLICT: &str = "StorageConflict";

/// What keeps a file system from being used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Why, in one word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// What apps do meanwhile.
    pub apps: Apps,
}

/// What new apps do while a file system cannot be used. The order is that of gravity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Apps {
    /// Start without it: nobody works on it.
    Start,
    /// Wait for it.
    Wait,
    /// Fail: it can never be.
    Fail,
}

#[derive(Debug, Clone, Copy)]
struct Bound {
    mount: Mount,
    /// Whether the volume is the folder of the workspace, not the root of the file system.
    own: bool,
}

/// What is to be done for the file systems that a workbench asks for.
pub fn plan(pass: &Pass<'_>) -> Storage {
    let mounts: Vec<_> = Mount::ALL.into_iter().filter(|&mount| wanted(pass, mount)).collect();
    let mut storage = Storage { asked: !mounts.is_empty(), ..Storage::default() };
    if mounts.contains(&Mount::Archive) && mounts.contains(&Mount::Local) && pass.settings().local_storage.is_some() {
        let message = "s3 and local cannot be used together: both hold the data of apps.";
        storage.problems.push(Problem { reason: CONFLICT, message: message.to_owned(), apps: Apps::Fail });
        return storage;
    }
    for mount in mounts {
        let file_system = FileSystem { pass, mount };
        match file_system.plan(&mut storage.steps) {
            Ok(bound) => storage.bound.push(bound),
            Err(problem) => storage.problems.push(problem),
        }
    }
    storage.problems.sort_by_key(|problem| std::cmp::Reverse(problem.apps));
    storage
}

impl Storage {
    /// Why new apps do not start now, and whether they never will.
    pub fn blocked(&self) -> Option<(bool, Refusal)> {
        let worst = self.problems.first()?;
        match worst.apps {
            Apps::Start => None,
            Apps::Wait => Some((false, Refusal { reason: "WaitingForStorage", message: worst.message.clone() })),
            Apps::Fail => Some((true, Refusal { reason: worst.reason, message: worst.message.clone() })),
        }
    }

    /// Whether all is there, why in one word, and why for people.
    pub fn condition(&self) -> (bool, &'static str, String) {
        match self.problems.first() {
            Some(worst) => {
                let messages: Vec<_> = self.problems.iter().map(|problem| problem.message.as_str()).collect();
                (false, worst.reason, messages.join(" "))
            }
            None if self.asked => (true, "Bound", "All file systems are there.".to_owned()),
            None => (true, "NotRequested", "No file system is asked for.".to_owned()),
        }
    }

    /// The volumes of an app's pod.
    pub fn volumes<'a>(&'a self, pass: &'a Pass<'_>) -> impl Iterator<Item = Volume> + 'a {
        self.bound.iter().map(move |bound| Volume {
            name: volume_name(bound.mount),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: names::claim(pass.namespace(), bound.mount),
                read_only: None,
            }),
            ..Volume::default()
        })
    }

    /// Where an app's containers find them.
    pub fn mounts<'a>(&'a self, pass: &'a Pass<'_>) -> impl Iterator<Item = VolumeMount> + 'a {
        self.bound.iter().flat_map(|bound| bound.mounts(pass.namespace(), pass.user().0))
    }
}

impl Bound {
    fn mounts(self, namespace: &str, user: &str) -> Vec<VolumeMount> {
        let root = if self.own { String::new() } else { format!("{}/", folder(namespace)) };
        let mount = |path: String, below: &str| VolumeMount {
            name: volume_name(self.mount),
            mount_path: path,
            sub_path: Some(format!("{root}{below}")),
            ..VolumeMount::default()
        };
        let data = mount(format!("/mnt/workspace-{}", self.mount.name()), "data");
        match self.mount {
            Mount::Scratch => vec![data],
            Mount::Archive | Mount::Local => {
                vec![data, mount("/mnt/app_data".to_owned(), &format!("app_data/{user}"))]
            }
        }
    }
}

/// One file system in one pass.
#[derive(Clone, Copy)]
struct FileSystem<'a> {
    pass: &'a Pass<'a>,
    mount: Mount,
}

impl FileSystem<'_> {
    /// Brings the volume and the claim about.
    fn plan(self, steps: &mut Vec<Step>) -> Result<Bound, Problem> {
        let source = objects::source(self.pass, self.mount)?;
        let nothing = super::Volume::default();
        let seen = self.pass.seen.volumes.get(&self.mount).unwrap_or(&nothing);
        let (volume, claim) = (seen.volume.as_deref(), seen.claim.as_deref());
        let spec = volume.map(|volume| volume.body.value()["spec"].take()).unwrap_or_default();
        let claimed_here = self.claimed_here(&spec);
        if let Some(volume) = volume.filter(|_| claimed_here && spec["persistentVolumeReclaimPolicy"] != "Retain") {
            // the data outlives the claim, also where the former operator said otherwise
            let target = self.pass.target(Kind::PersistentVolume, &volume.meta);
            let patch = json!({ "spec": { "persistentVolumeReclaimPolicy": "Retain" } });
            steps.extend(self.pass.refused(&target).is_none().then_some(Step::Patch { target, patch }));
        }
        if claim.is_some_and(|claim| claim.status.phase == "Bound") {
            return Ok(Bound { mount: self.mount, own: is_folder_of(&spec, self.pass.namespace()) });
        }
        match volume {
            Some(volume) => self.usable(volume, claimed_here)?,
            None => {
                self.folders(&source, seen.setup.as_deref(), steps)?;
                self.create(objects::volume(self.pass, self.mount, &source), steps)?;
            }
        }
        match claim {
            None => self.create(objects::claim(self.pass, self.mount), steps)?,
            Some(claim) if claim.status.phase == "Lost" => {
                return Err(self.waits("ClaimLost", "has lost its volume."));
            }
            Some(_) => {}
        }
        Err(self.waits("VolumePending", "is being bound."))
    }

    /// Whether an existing volume can be bound by the claim.
    fn usable(self, volume: &Child<VolumeStatus>, claimed_here: bool) -> Result<(), Problem> {
        match volume.status.phase.as_str() {
            _ if !claimed_here => Err(self.waits("VolumeTaken", "has a volume that another claim holds.")),
            "Released" => {
                let message = "has a volume that an earlier claim released. Its data is kept: remove spec.claimRef.uid of the volume to use it again.";
                Err(self.waits("VolumeReleased", message))
            }
            "Failed" => Err(self.waits("VolumeFailed", "has a volume that failed.")),
            _ => Ok(()),
        }
    }

    /// Whether a volume is for the claim of this namespace, or for anyone's.
    fn claimed_here(self, spec: &Value) -> bool {
        let claim = &spec["claimRef"];
        let (namespace, name) = (self.pass.namespace(), names::claim(self.pass.namespace(), self.mount));
        claim.is_null() || (claim["namespace"] == namespace && claim["name"] == name.as_str())
    }

    /// Has the folders made before the volume is, so that a volume always has them.
    fn folders(
        self,
        source: &objects::Source,
        setup: Option<&Child<JobStatus>>,
        steps: &mut Vec<Step>,
    ) -> Result<(), Problem> {
        let Some(job) = objects::setup(self.pass, self.mount, source) else { return Ok(()) };
        match setup {
            Some(setup) if has_completed(&setup.status) => return Ok(()),
            Some(setup) if has_failed(&setup.status).is_some() => {
                return Err(
                    self.waits("SetupFailed", "could not be given its folders; it is tried again in some minutes.")
                );
            }
            Some(_) => {}
            None => self.create(job, steps)?,
        }
        Err(self.waits("SettingUp", "is given its folders."))
    }

    fn create(self, object: Object, steps: &mut Vec<Step>) -> Result<(), Problem> {
        if let Some(message) = self.pass.refusal(&object) {
            return Err(self.waits(REFUSED, &format!("cannot be set up: {message}")));
        }
        steps.push(Step::Create(object));
        Ok(())
    }

    fn waits(self, reason: &'static str, what: &str) -> Problem {
        Problem { reason, message: format!("Storage {} {what}", self.mount.name()), apps: Apps::Wait }
    }
}

/// Whether a workbench asks for a file system. What is absent counts as its default.
fn wanted(pass: &Pass<'_>, mount: Mount) -> bool {
    let storage = pass.workbench.spec.storage.unwrap_or_default();
    match mount {
        Mount::Archive => storage.s3.unwrap_or(true),
        Mount::Scratch => storage.nfs.unwrap_or(true),
        Mount::Local => storage.local.unwrap_or(false),
    }
}

/// The folder of a workspace in a file system that workspaces share.
fn folder(namespace: &str) -> String {
    format!("workspaces/{namespace}")
}

fn volume_name(mount: Mount) -> String {
    format!("workspace-{}", mount.name())
}

/// Whether a volume is the folder of the workspace. Those of the former operator are the root of the file system.
fn is_folder_of(spec: &Value, namespace: &str) -> bool {
    let folder = folder(namespace);
    let ends = |path: &Value| path.as_str().is_some_and(|path| path.ends_with(&format!("/{folder}")));
    let option = format!("subdir=/{folder}");
    let options = spec["mountOptions"].as_array();
    spec["csi"]["volumeAttributes"]["subDir"] == folder.as_str()
        || options.is_some_and(|options| options.iter().any(|given| given == option.as_str()))
        || ends(&spec["hostPath"]["path"])
}
