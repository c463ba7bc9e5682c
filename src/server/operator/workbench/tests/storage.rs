//! File systems: providers, states and failures.

use super::*;

fn usable() -> World {
    let mut world = World::with_app();
    world.workbench.spec.storage = None;
    world.drivers = ["csi.juicefs.com", "nfs.csi.k8s.io"].map(str::to_owned).into();
    world.juicefs = Some(super::super::pass::text_map(&[("name", "jfs")]));
    world.nfs = Some(super::super::pass::text_map(&[("server", "nfs.example"), ("share", "/export")]));
    world
}

fn local() -> World {
    let mut world = usable();
    world.workbench.spec.storage = Some(Asked { s3: Some(false), nfs: Some(false), local: Some(true) });
    world.settings.local_storage = Some("/srv/chorus".to_owned());
    world
}

fn setup_ends(world: &mut World, mount: Mount, kind: &str) {
    let job = world.volume(mount).setup.as_mut().expect("a Job");
    change(job, |job| job.status.conditions = vec![condition(kind, "True", "")]);
}

fn mounts(job: &Value) -> Vec<(String, String)> {
    let containers = ["initContainers", "containers"].map(|list| &job["spec"]["template"]["spec"][list][0]);
    let read = |container: &Value| {
        let mounts = container["volumeMounts"].as_array().unwrap().iter();
        let pair =
            |mount: &Value| Some((mount["mountPath"].as_str()?.to_owned(), mount["subPath"].as_str()?.to_owned()));
        mounts.filter_map(pair).collect::<Vec<_>>()
    };
    assert_eq!(read(containers[0]), read(containers[1]));
    read(containers[0])
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(path, below)| ((*path).to_owned(), (*below).to_owned())).collect()
}

#[test]
fn from_nothing_to_mounts() {
    let mut world = usable();
    let steps = short(&world.pass().steps);
    assert_eq!(
        steps,
        [
            "create PersistentVolume workspace1-archive-pv",
            "create PersistentVolumeClaim workspace1-archive-pvc",
            "create Job nfs-mkdir-workspace1",
        ]
    );
    world.settle();
    is(&world.record(), AppHealth::Progressing, "WaitingForStorage");
    assert_eq!(world.condition("StorageReady"), ("False".to_owned(), "VolumePending".to_owned()));
    world.bind(Mount::Archive);
    world.settle();
    assert_eq!(world.condition("StorageReady").1, "SettingUp");

    setup_ends(&mut world, Mount::Scratch, "Complete");
    assert_eq!(
        short(&world.pass().steps),
        ["create PersistentVolume workspace1-scratch-pv", "create PersistentVolumeClaim workspace1-scratch-pvc"]
    );
    // the finished Job goes by itself, and is not missed
    world.volume(Mount::Scratch).setup = None;
    world.settle();
    world.bind(Mount::Scratch);
    let plan = world.pass();
    assert_eq!(short(&plan.steps), ["create Job workbench1-a-term"]);
    let job = made(&plan, Kind::Job);
    let expected =
        [("/mnt/workspace-archive", "data"), ("/mnt/app_data", "app_data/chorus"), ("/mnt/workspace-scratch", "data")];
    assert_eq!(mounts(&job), pairs(&expected));
    let volumes = &job["spec"]["template"]["spec"]["volumes"];
    assert_eq!(volumes[1]["persistentVolumeClaim"]["claimName"], "workspace1-archive-pvc");
    assert_eq!((&volumes[1]["name"], &volumes[2]["name"]), (&json!("workspace-archive"), &json!("workspace-scratch")));
    assert_eq!(world.condition("StorageReady"), ("True".to_owned(), "Bound".to_owned()));
}

#[test]
fn volumes_are_folders_of_their_workspace() {
    let world = usable();
    let volume = made(&world.plan(), Kind::PersistentVolume);
    let spec = &volume["spec"];
    assert_eq!(spec["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(spec["storageClassName"], "");
    assert_eq!(spec["mountOptions"], json!(["subdir=/workspaces/workspace1"]));
    assert_eq!(
        spec["csi"],
        json!({
            "driver": "csi.juicefs.com",
            "volumeHandle": "workspace1-archive",
            "volumeAttributes": { "name": "jfs" },
            "nodePublishSecretRef": { "name": "juicefs-secret", "namespace": "kube-system" }
        })
    );
    let claim = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "workspace1", "name": "workspace1-archive-pvc" });
    assert_eq!(spec["claimRef"], claim);
    assert!(volume["metadata"]["ownerReferences"].is_null());
    let claim = made(&world.plan(), Kind::PersistentVolumeClaim);
    assert_eq!(
        (&claim["spec"]["volumeName"], &claim["spec"]["storageClassName"]),
        (&json!("workspace1-archive-pv"), &json!(""))
    );
    assert_eq!(claim["metadata"]["labels"]["use-juicefs"], "true");
    assert!(claim["metadata"]["ownerReferences"].is_null());

    let mut world = usable();
    world.settings.pvc_labels = super::super::pass::text_map(&[("backup", "no")]);
    world.pass();
    setup_ends(&mut world, Mount::Scratch, "Complete");
    let plan = world.pass();
    let attributes = json!({ "server": "nfs.example", "share": "/export", "subDir": "workspaces/workspace1" });
    assert_eq!(made(&plan, Kind::PersistentVolume)["spec"]["csi"]["volumeAttributes"], attributes);
    assert_eq!(made(&plan, Kind::PersistentVolumeClaim)["metadata"]["labels"]["backup"], "no");

    let mut world = local();
    world.pass();
    setup_ends(&mut world, Mount::Local, "Complete");
    let path = json!({ "path": "/srv/chorus/workspaces/workspace1", "type": "DirectoryOrCreate" });
    assert_eq!(made(&world.pass(), Kind::PersistentVolume)["spec"]["hostPath"], path);
    world.bind(Mount::Local);
    let job = made(&world.pass(), Kind::Job);
    let expected = [("/mnt/workspace-local", "data"), ("/mnt/app_data", "app_data/chorus")];
    assert_eq!(mounts(&job), pairs(&expected));
}

#[test]
fn folders_are_made_with_few_rights() {
    for (mut world, folders, volume) in [
        (usable(), vec!["/storage/workspaces/workspace1/data"], json!({ "server": "nfs.example", "path": "/export" })),
        (
            local(),
            vec!["/storage/workspaces/workspace1/data", "/storage/workspaces/workspace1/app_data"],
            json!({ "path": "/srv/chorus", "type": "DirectoryOrCreate" }),
        ),
    ] {
        let plan = world.pass();
        let job = made(&plan, Kind::Job);
        assert_eq!((&job["spec"]["ttlSecondsAfterFinished"], &job["spec"]["backoffLimit"]), (&json!(300), &json!(2)));
        let labels = job["metadata"]["labels"].as_object().unwrap();
        assert!(labels.contains_key(labels::STORAGE) && !labels.contains_key(labels::WORKBENCH));
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let source = &pod["volumes"][0];
        assert!(source["nfs"] == volume || source["hostPath"] == volume, "{source}");
        let container = &pod["containers"][0];
        assert_eq!(container["image"], world.settings.setup_image.as_str());
        assert_eq!(container["command"].as_array().unwrap()[4..], folders);
        let rights = &container["securityContext"];
        assert_eq!(rights["capabilities"], json!({ "drop": ["ALL"], "add": ["DAC_OVERRIDE"] }));
        assert_eq!((&rights["runAsGroup"], &rights["allowPrivilegeEscalation"]), (&json!(1001), &json!(false)));
    }
}

#[test]
fn what_a_provider_lacks() {
    type Change = fn(&mut World);
    let nameless = |world: &mut World| world.juicefs = Some(BTreeMap::from([("name".to_owned(), String::new())]));
    let cases: [(Mount, Change, &str, &str); 7] = [
        (Mount::Archive, |world| world.drivers.clear(), "DriverMissing", "csi.juicefs.com"),
        (Mount::Archive, |world| world.juicefs = None, "SecretMissing", "juicefs-secret has no key name"),
        (Mount::Archive, nameless, "SecretMissing", "juicefs-secret has no key name"),
        (Mount::Scratch, |world| world.drivers.clear(), "DriverMissing", "nfs.csi.k8s.io"),
        (Mount::Scratch, |world| world.nfs = None, "SecretMissing", "nfs-secret has no key server"),
        (Mount::Scratch, |world| lose(world, "server"), "SecretMissing", "nfs-secret has no key server"),
        (Mount::Scratch, |world| lose(world, "share"), "SecretMissing", "nfs-secret has no key share"),
    ];
    for (mount, change, reason, text) in cases {
        let mut world = usable();
        let asked = |of: Mount| Some(mount == of);
        world.workbench.spec.storage =
            Some(Asked { s3: asked(Mount::Archive), nfs: asked(Mount::Scratch), local: None });
        change(&mut world);
        let plan = world.pass();
        assert_eq!(world.condition("StorageReady"), ("False".to_owned(), reason.to_owned()));
        let told: Vec<_> = plan.notices.iter().filter(|notice| notice.reason == "StorageNotReady").collect();
        assert!(told.len() == 1 && told[0].note.contains(text), "{told:?}");
        // apps start without
        assert_eq!(short(&plan.steps), ["create Job workbench1-a-term"]);
        assert!(mounts(&made(&plan, Kind::Job)).is_empty());
        world.settle();
    }
}

/// The Secret of the NFS server loses a key.
fn lose(world: &mut World, key: &str) {
    world.nfs.as_mut().unwrap().retain(|name, _| name != key);
}

#[test]
fn what_is_asked_for() {
    for (storage, archive, scratch) in [
        (None, true, true),
        (Some(Asked::default()), true, true),
        (Some(Asked { s3: Some(false), ..Asked::default() }), false, true),
        (Some(Asked { nfs: Some(false), ..Asked::default() }), true, false),
    ] {
        let mut world = usable();
        world.workbench.spec.storage = storage;
        let steps = short(&world.plan().steps);
        assert_eq!(steps.iter().any(|step| step.contains("archive")), archive);
        assert_eq!(steps.iter().any(|step| step.contains("nfs-mkdir")), scratch);
    }
    let mut world = World::with_app();
    world.settle();
    assert_eq!(world.condition("StorageReady"), ("True".to_owned(), "NotRequested".to_owned()));

    let mut world = local();
    world.settings.local_storage = None;
    world.pass();
    assert_eq!(world.condition("StorageReady").1, "LocalStorageOff");
    is(&world.record(), AppHealth::Progressing, "Starting");
}

#[test]
fn object_storage_and_a_local_folder_exclude_each_other() {
    let mut world = local();
    world.workbench.spec.storage = Some(Asked { local: Some(true), ..Asked::default() });
    let status = world.settle();
    assert_eq!(world.condition("StorageReady"), ("False".to_owned(), "StorageConflict".to_owned()));
    is(&status.apps["a"], AppHealth::Failed, "StorageConflict");
    assert!(world.seen.volumes.is_empty());
    world.workbench.spec.storage = Some(Asked { s3: Some(false), nfs: Some(false), local: None });
    world.pass();
    is(&world.record(), AppHealth::Progressing, "Starting");
}

#[test]
fn states_of_volumes_and_claims() {
    type Change = fn(&mut World);
    let cases: [(Change, &str); 5] = [
        (|_| {}, "VolumePending"),
        (|world| set_phase(world, "Released"), "VolumeReleased"),
        (|world| set_phase(world, "Failed"), "VolumeFailed"),
        (
            |world| {
                let volume = world.volume(Mount::Archive).volume.as_mut().unwrap();
                let patch = json!({ "spec": { "claimRef": { "namespace": "other" } } });
                change(volume, |volume| merge(&mut volume.body, &patch));
            },
            "VolumeTaken",
        ),
        (
            |world| {
                let claim = world.volume(Mount::Archive).claim.as_mut().unwrap();
                change(claim, |claim| claim.status.phase = "Lost".to_owned());
            },
            "ClaimLost",
        ),
    ];
    for (change, reason) in cases {
        let mut world = usable();
        world.workbench.spec.storage = Some(Asked { nfs: Some(false), ..Asked::default() });
        world.pass();
        change(&mut world);
        let status = world.settle();
        assert_eq!(world.condition("StorageReady"), ("False".to_owned(), reason.to_owned()));
        is(&status.apps["a"], AppHealth::Progressing, "WaitingForStorage");
        // one of its own that is bound is used, whatever the volume says
        world.volume(Mount::Archive).volume = None;
        let claim = world.volume(Mount::Archive).claim.as_mut().unwrap();
        super::change(claim, |claim| claim.status.phase = "Bound".to_owned());
        world.pass();
        is(&world.record(), AppHealth::Progressing, "Starting");
    }
}

fn set_phase(world: &mut World, phase: &str) {
    let volume = world.volume(Mount::Archive).volume.as_mut().unwrap();
    change(volume, |volume| volume.status.phase = phase.to_owned());
}

#[test]
fn no_claim_is_made_for_a_volume_that_cannot_be_used() {
    let mut world = usable();
    world.workbench.spec.storage = Some(Asked { nfs: Some(false), ..Asked::default() });
    world.pass();
    world.volume(Mount::Archive).claim = None;
    set_phase(&mut world, "Released");
    world.settle();
    assert!(world.volume(Mount::Archive).claim.is_none());
    set_phase(&mut world, "Available");
    assert_eq!(short(&world.pass().steps), ["create PersistentVolumeClaim workspace1-archive-pvc"]);
}

#[test]
fn folders_that_cannot_be_made_are_tried_again_when_the_job_is_gone() {
    let mut world = usable();
    world.workbench.spec.storage = Some(Asked { s3: Some(false), ..Asked::default() });
    world.pass();
    setup_ends(&mut world, Mount::Scratch, "Failed");
    world.settle();
    assert_eq!(world.condition("StorageReady").1, "SetupFailed");
    is(&world.record(), AppHealth::Progressing, "WaitingForStorage");
    world.volume(Mount::Scratch).setup = None;
    assert_eq!(short(&world.pass().steps), ["create Job nfs-mkdir-workspace1"]);
}

#[test]
fn volumes_of_the_former_operator_stay_the_root() {
    let mut world = usable();
    world.workbench.spec.storage = None;
    let volume = |source: Value| {
        let mut spec = json!({ "persistentVolumeReclaimPolicy": "Delete" });
        json_patch::merge(&mut spec, &source);
        let status = VolumeStatus { phase: "Bound".to_owned() };
        let meta = Meta { name: "former".to_owned(), uid: "former".to_owned(), ..Meta::default() };
        Some(Arc::new(Child { meta, body: Body::new(&json!({ "spec": spec })), status }))
    };
    let attributes = |attributes: Value| json!({ "csi": { "volumeAttributes": attributes } });
    for (mount, source) in [
        (Mount::Archive, attributes(json!({ "name": "jfs", "path": "/" }))),
        (Mount::Scratch, attributes(json!({ "server": "nfs.example", "share": "/export" }))),
    ] {
        world.volume(mount).volume = volume(source);
        world.volume(mount).claim = volume(json!({}));
    }
    let plan = world.pass();
    let retain = r#"{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}"#;
    // the data outlives the claim from now on
    assert_eq!(short(&plan.steps)[0], format!("patch PersistentVolume former {retain}"));
    let expected = [
        ("/mnt/workspace-archive", "workspaces/workspace1/data"),
        ("/mnt/app_data", "workspaces/workspace1/app_data/chorus"),
        ("/mnt/workspace-scratch", "workspaces/workspace1/data"),
    ];
    assert_eq!(mounts(&made(&plan, Kind::Job)), pairs(&expected));
}

#[test]
fn what_the_api_server_refuses_stops_nothing_else() {
    let mut world = usable();
    let target = Target {
        kind: Kind::PersistentVolume,
        namespace: String::new(),
        name: "workspace1-archive-pv".to_owned(),
        uid: None,
    };
    world.seen.refused.insert(target, "forbidden".to_owned());
    let steps = short(&world.pass().steps);
    assert_eq!(steps, ["create Job nfs-mkdir-workspace1"]);
    assert_eq!(world.condition("StorageReady").1, "Refused");
}
