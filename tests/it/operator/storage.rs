//! File systems of a workspace: made once, kept for ever, mounted when they are there.

use std::time::Duration;

use chorus::server::operator::settings::Settings;
use serde_json::{Value, json};

use crate::support::cluster::kubelet::Behaviour;

use super::world::{RUNS, World, condition, in_memory, settings};

fn driver(name: &str) -> Value {
    json!({ "apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": { "name": name }, "spec": {} })
}

fn secret(name: &str, data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": "kube-system" }, "stringData": data })
}

fn juicefs() -> Value {
    secret("juicefs-secret", &json!({ "name": "files", "access-key": "SECRET" }))
}

fn nfs() -> Value {
    secret("nfs-secret", &json!({ "server": "nfs.example.org", "share": "/export" }))
}

async fn begin(world: &mut World, settings: Settings) {
    world.memory().kubelet.script("busybox", Behaviour::Completes(Duration::from_secs(2)));
    world.start_with(settings);
    world.workspace("Airgapped").await;
}

async fn workbench(world: &World, name: &str, storage: Value) {
    let mut workbench = world.workbench_object(name, &[("a1", RUNS)]);
    workbench["spec"]["storage"] = storage;
    world.create(workbench).await;
}

async fn until_stored(world: &World, name: &str, stored: bool) {
    let wanted = if stored { "True" } else { "False" };
    world.until("Workbench", name, "stored", |wb| condition(wb, "StorageReady") == wanted).await;
}

/// Where the app's main container mounts what.
async fn mounts(world: &World, workbench: &str) -> Vec<String> {
    let jobs = world.list("Job", &format!("workbench={workbench},chorus-tre.ch/app=a1")).await;
    let mounts =
        jobs[0]["spec"]["template"]["spec"]["containers"][0]["volumeMounts"].as_array().cloned().unwrap_or_default();
    let path = |mount: &Value| mount["mountPath"].as_str().unwrap_or_default().to_owned();
    mounts.iter().map(path).filter(|path| path.starts_with("/mnt")).collect()
}

#[test]
fn both_file_systems() {
    in_memory(async |world| {
        for object in [driver("csi.juicefs.com"), driver("nfs.csi.k8s.io"), juicefs(), nfs()] {
            world.memory().cluster.put(object);
        }
        begin(world, settings()).await;
        // absent means both
        workbench(world, "wb", Value::Null).await;
        world.until_app("wb", "a1", "Running").await;
        until_stored(world, "wb", true).await;
        assert_eq!(mounts(world, "wb").await, ["/mnt/workspace-archive", "/mnt/app_data", "/mnt/workspace-scratch"]);
        for mount in ["archive", "scratch"] {
            let volume = world.get("PersistentVolume", &format!("w1-{mount}-pv")).await;
            assert_eq!(
                (&volume["spec"]["persistentVolumeReclaimPolicy"], &volume["status"]["phase"]),
                (&json!("Retain"), &json!("Bound"))
            );
            assert_eq!(volume["spec"]["claimRef"]["name"], format!("w1-{mount}-pvc"));
            assert!(!volume.to_string().contains("SECRET"));
        }
        world.quiet().await;
        // the next one finds them; they outlive both
        workbench(world, "wb2", json!({ "s3": false })).await;
        world.until_app("wb2", "a1", "Running").await;
        assert_eq!(mounts(world, "wb2").await, ["/mnt/workspace-scratch"]);
        for name in ["wb", "wb2"] {
            world.delete("Workbench", name).await;
            world.until("Workbench", name, "gone", Value::is_null).await;
        }
        assert_eq!(world.get("PersistentVolumeClaim", "w1-archive-pvc").await["status"]["phase"], "Bound");
        world.quiet().await;
    });
}

#[test]
fn drivers_and_secrets_may_come_later() {
    in_memory(async |world| {
        begin(world, settings()).await;
        workbench(world, "wb", json!({ "nfs": false })).await;
        until_stored(world, "wb", false).await;
        world.until_ready("wb").await;
        world.until_app("wb", "a1", "Running").await;
        assert!(mounts(world, "wb").await.is_empty());
        world.quiet().await;
        world.memory().cluster.put(driver("csi.juicefs.com"));
        world.quiet().await;
        until_stored(world, "wb", false).await;
        world.memory().cluster.put(juicefs());
        until_stored(world, "wb", true).await;
        world.quiet().await;
        // an app that starts now has it
        world.set_app("wb", "a1", json!({ "restartGeneration": 1 })).await;
        world
            .until("Workbench", "wb", "again", |wb| {
                wb["status"]["apps"]["a1"]["restartGeneration"] == 1
                    && wb["status"]["apps"]["a1"]["status"] == "Running"
            })
            .await;
        assert_eq!(mounts(world, "wb").await, ["/mnt/workspace-archive", "/mnt/app_data"]);
        world.quiet().await;
    });
}

#[test]
fn a_folder_of_the_node() {
    in_memory(async |world| {
        begin(world, Settings { local_storage: Some("/srv/chorus".to_owned()), ..settings() }).await;
        workbench(world, "wb", json!({ "s3": false, "nfs": false, "local": true })).await;
        world.until_app("wb", "a1", "Running").await;
        until_stored(world, "wb", true).await;
        assert_eq!(mounts(world, "wb").await, ["/mnt/workspace-local", "/mnt/app_data"]);
        // the set-up Job is nobody's app
        assert!(world.get("Workbench", "wb").await["status"]["apps"].as_object().is_some_and(|apps| apps.len() == 1));
        world.quiet().await;
    });
}

#[test]
fn two_that_exclude_each_other() {
    in_memory(async |world| {
        world.memory().cluster.put(driver("csi.juicefs.com"));
        world.memory().cluster.put(juicefs());
        begin(world, Settings { local_storage: Some("/srv/chorus".to_owned()), ..settings() }).await;
        workbench(world, "wb", json!({ "s3": true, "nfs": false, "local": true })).await;
        world
            .until("Workbench", "wb", "refused", |wb| {
                wb["status"]["apps"]["a1"]["status"] == "Failed"
                    && wb["status"]["apps"]["a1"]["reason"] == "StorageConflict"
            })
            .await;
        world.quiet().await;
        world.patch("Workbench", "wb", json!({ "spec": { "storage": { "local": false } } })).await;
        world.until_app("wb", "a1", "Running").await;
        world.quiet().await;
    });
}
