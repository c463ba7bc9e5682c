//! The objects of a file system: volume, claim, and the Job that makes the folders.

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{
            CSIPersistentVolumeSource, Capabilities, Container, HostPathVolumeSource, NFSVolumeSource, ObjectReference,
            PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeSpec,
            PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements, SecretReference, SecurityContext,
            Volume, VolumeMount, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    super::{
        super::{
            api::{MANAGER, Quantity, labels},
            live::Kind,
            plan::Object,
            settings::SecretRef,
        },
        Mount, app, images, names,
        pass::{Pass, object, text_map},
        server::seccomp,
    },
    Apps, Problem, folder,
};

const JUICEFS: &str = "csi.juicefs.com";
const NFS: &str = "nfs.csi.k8s.io";
/// Where the Job that makes folders finds the file system.
const ROOT: &str = "/storage";
/// How long a Job that made folders stays, in seconds: until it has been seen, and until it is tried again.
const SETUP_STAYS: i32 = 300;

/// Where a file system is.
pub enum Source {
    /// JuiceFS: the name of the file system.
    Juicefs { name: String },
    /// NFS: server and export.
    Nfs { server: String, share: String },
    /// A folder of the node.
    Local { path: String },
}

/// Where a file system is, if the cluster can mount it.
pub fn source(pass: &Pass<'_>, mount: Mount) -> Result<Source, Problem> {
    let unusable = |reason, message| Problem { reason, message, apps: Apps::Start };
    let driver = |driver: &str| match pass.facts.drivers.contains(driver) {
        true => Ok(()),
        false => Err(unusable("DriverMissing", format!("Storage {}: no CSI driver {driver}.", mount.name()))),
    };
    let keys = match mount {
        Mount::Archive => pass.facts.juicefs.as_ref(),
        Mount::Scratch => pass.facts.nfs.as_ref(),
        Mount::Local => None,
    };
    let key = |name: &str, secret: &SecretRef| {
        let value = keys.and_then(|keys| keys.get(name)).filter(|value| !value.is_empty());
        value.cloned().ok_or_else(|| {
            let message = format!("Storage {}: Secret {} has no key {name}.", mount.name(), secret.name);
            unusable("SecretMissing", message)
        })
    };
    let settings = pass.settings();
    match mount {
        Mount::Archive => {
            driver(JUICEFS)?;
            Ok(Source::Juicefs { name: key("name", &settings.juicefs_secret)? })
        }
        Mount::Scratch => {
            driver(NFS)?;
            let (server, share) = (key("server", &settings.nfs_secret)?, key("share", &settings.nfs_secret)?);
            Ok(Source::Nfs { server, share })
        }
        Mount::Local => match &settings.local_storage {
            Some(path) => Ok(Source::Local { path: path.trim_end_matches('/').to_owned() }),
            None => Err(unusable("LocalStorageOff", "Storage local is switched off in this cluster.".to_owned())),
        },
    }
}

/// The volume: the folder of the workspace, kept when its claim goes, and for that claim alone.
pub fn volume(pass: &Pass<'_>, mount: Mount, source: &Source) -> Object {
    let namespace = pass.namespace();
    let folder = folder(namespace);
    let csi = |driver: &str, attributes: &[(&str, &str)]| CSIPersistentVolumeSource {
        driver: driver.to_owned(),
        volume_handle: format!("{namespace}-{}", mount.name()),
        volume_attributes: Some(text_map(attributes)),
        ..CSIPersistentVolumeSource::default()
    };
    let mut spec = PersistentVolumeSpec {
        capacity: Some(storage(if mount == Mount::Local { "10Gi" } else { "1Gi" })),
        access_modes: Some(vec!["ReadWriteMany".to_owned()]),
        persistent_volume_reclaim_policy: Some("Retain".to_owned()),
        storage_class_name: Some(String::new()),
        claim_ref: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("PersistentVolumeClaim".to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(names::claim(namespace, mount)),
            ..ObjectReference::default()
        }),
        ..PersistentVolumeSpec::default()
    };
    match source {
        Source::Juicefs { name } => {
            let secret = &pass.settings().juicefs_secret;
            spec.mount_options = Some(vec![format!("subdir=/{folder}")]);
            spec.csi = Some(CSIPersistentVolumeSource {
                node_publish_secret_ref: Some(SecretReference {
                    name: Some(secret.name.clone()),
                    namespace: Some(secret.namespace.clone()),
                }),
                ..csi(JUICEFS, &[("name", name)])
            });
        }
        Source::Nfs { server, share } => {
            spec.csi = Some(csi(NFS, &[("server", server), ("share", share), ("subDir", &folder)]));
        }
        Source::Local { path } => {
            let (path, type_) = (format!("{path}/{folder}"), Some("DirectoryOrCreate".to_owned()));
            spec.host_path = Some(HostPathVolumeSource { path, type_ });
        }
    }
    let labels =
        text_map(&[(labels::MANAGED_BY, MANAGER), ("workbench-namespace", namespace), ("storage-type", mount.name())]);
    let metadata =
        ObjectMeta { name: Some(names::volume(namespace, mount)), labels: Some(labels), ..ObjectMeta::default() };
    object(Kind::PersistentVolume, &PersistentVolume { metadata, spec: Some(spec), status: None })
}

/// The claim that all workbenches of the namespace use.
pub fn claim(pass: &Pass<'_>, mount: Mount) -> Object {
    let mut labels = pass.settings().pvc_labels.clone();
    labels.insert(labels::MANAGED_BY.to_owned(), MANAGER.to_owned());
    if mount == Mount::Archive {
        labels.insert("use-juicefs".to_owned(), "true".to_owned());
    }
    let metadata = ObjectMeta {
        name: Some(names::claim(pass.namespace(), mount)),
        namespace: Some(pass.namespace().to_owned()),
        labels: Some(labels),
        ..ObjectMeta::default()
    };
    let spec = PersistentVolumeClaimSpec {
        access_modes: Some(vec!["ReadWriteMany".to_owned()]),
        resources: Some(VolumeResourceRequirements { requests: Some(storage("1Gi")), limits: None }),
        volume_name: Some(names::volume(pass.namespace(), mount)),
        // none, not the default class: nothing is provisioned
        storage_class_name: Some(String::new()),
        ..PersistentVolumeClaimSpec::default()
    };
    object(Kind::PersistentVolumeClaim, &PersistentVolumeClaim { metadata, spec: Some(spec), status: None })
}

/// The Job that makes the folders of the workspace; none where the driver makes them.
///
/// It runs as root, since the top of a file system belongs to root, but with no right except to write there. Its group is that
/// of the users, so the folders are theirs from the start, also on a server that takes root for nobody.
pub fn setup(pass: &Pass<'_>, mount: Mount, source: &Source) -> Option<Object> {
    let (volume, folders) = match source {
        Source::Juicefs { .. } => return None,
        Source::Nfs { server, share } => {
            let nfs = NFSVolumeSource { server: server.clone(), path: share.clone(), read_only: None };
            (Volume { nfs: Some(nfs), ..Volume::default() }, vec!["data"])
        }
        Source::Local { path } => {
            let host = HostPathVolumeSource { path: path.clone(), type_: Some("DirectoryOrCreate".to_owned()) };
            (Volume { host_path: Some(host), ..Volume::default() }, vec!["data", "app_data"])
        }
    };
    let namespace = pass.namespace();
    let folders = folders.iter().map(|below| format!("{ROOT}/{}/{below}", folder(namespace))).collect();
    let metadata = ObjectMeta {
        name: Some(names::setup(namespace, mount)?),
        namespace: Some(namespace.to_owned()),
        labels: Some(text_map(&[(labels::MANAGED_BY, MANAGER), (labels::STORAGE, mount.name())])),
        ..ObjectMeta::default()
    };
    let pod = PodSpec {
        restart_policy: Some("Never".to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: pass.pull_secrets(),
        security_context: Some(PodSecurityContext { seccomp_profile: seccomp(), ..PodSecurityContext::default() }),
        volumes: Some(vec![Volume { name: "storage".to_owned(), ..volume }]),
        containers: vec![mkdir(pass, folders)],
        ..PodSpec::default()
    };
    let spec = JobSpec {
        ttl_seconds_after_finished: Some(SETUP_STAYS),
        backoff_limit: Some(2),
        template: PodTemplateSpec { metadata: None, spec: Some(pod) },
        ..JobSpec::default()
    };
    Some(object(Kind::Job, &Job { metadata, spec: Some(spec), status: None }))
}

fn mkdir(pass: &Pass<'_>, folders: Vec<String>) -> Container {
    let image = pass.settings().setup_image.clone();
    let group = app::GROUP;
    let script =
        format!(r#"set -e; for folder; do mkdir -p "$folder"; chgrp {group} "$folder"; chmod 2770 "$folder"; done"#);
    let quantities = |cpu: &str, memory: &str| {
        let pair = |name: &str, amount: &str| (name.to_owned(), Quantity(amount.to_owned()));
        Some([pair("cpu", cpu), pair("memory", memory)].into())
    };
    Container {
        name: "mkdir".to_owned(),
        image_pull_policy: Some(images::pull_policy(&image)),
        image: Some(image),
        command: Some([vec!["sh".to_owned(), "-c".to_owned(), script, "mkdir".to_owned()], folders].concat()),
        security_context: Some(SecurityContext {
            run_as_user: Some(0),
            run_as_group: Some(group),
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: Some(vec!["DAC_OVERRIDE".to_owned()]),
            }),
            ..SecurityContext::default()
        }),
        resources: Some(ResourceRequirements {
            limits: quantities("100m", "64Mi"),
            requests: quantities("10m", "16Mi"),
            claims: None,
        }),
        volume_mounts: Some(vec![VolumeMount {
            name: "storage".to_owned(),
            mount_path: ROOT.to_owned(),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

fn storage(amount: &str) -> std::collections::BTreeMap<String, Quantity> {
    [("storage".to_owned(), Quantity(amount.to_owned()))].into()
}
