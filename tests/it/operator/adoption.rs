//! A cluster in which the former operator ran: its desktops go on, and become ours when nobody loses work by it.

use serde_json::{Value, json};

use crate::support::cluster::kubelet::Behaviour;

use super::world::{RUNS, World, condition, in_memory, reason};

/// The field manager of the former operator.
const FORMER: &str = "manager";
const IMAGE: &str = "docker.io/nginxinc/nginx-unprivileged";

fn meta(name: &str, owner: &Value) -> Value {
    json!({ "name": name, "namespace": "w1", "labels": { "workbench": "wb" }, "ownerReferences": [{
        "apiVersion": "default.chorus-tre.ch/v1alpha1", "kind": "Workbench", "name": "wb", "uid": owner["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true }] })
}

fn deployment(owner: &Value) -> Value {
    let probe = |port: &str| json!({ "httpGet": { "path": "/", "port": port }, "initialDelaySeconds": 1, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 10 });
    let socket = json!({ "tcpSocket": { "port": "x11-socket" }, "initialDelaySeconds": 1, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 10 });
    let mount = json!([{ "name": "x11-unix", "mountPath": "/tmp/.X11-unix" }]);
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("wb-server", owner), "spec": {
        "selector": { "matchLabels": { "workbench": "wb" } }, "progressDeadlineSeconds": 600,
        "template": { "metadata": { "labels": { "workbench": "wb" } }, "spec": {
            "serviceAccountName": "default", "volumes": [{ "name": "x11-unix", "emptyDir": {} }],
            "initContainers": [{ "name": "xpra-server-bind", "image": "alpine/socat:1.8.0.0", "restartPolicy": "Always",
                "args": ["TCP-LISTEN:6080,fork,bind=0.0.0.0", "UNIX-CONNECT:/tmp/.X11-unix/X80"],
                "ports": [{ "name": "x11-socket", "containerPort": 6080 }], "volumeMounts": mount, "livenessProbe": socket, "readinessProbe": socket }],
            "containers": [{ "name": "xpra-server", "image": format!("{IMAGE}:1.27-alpine"), "ports": [{ "name": "http", "containerPort": 8080 }],
                "env": [{ "name": "CARD", "value": "" }, { "name": "XPRA_CLIPBOARD_DIRECTION", "value": "disabled" }, { "name": "OF_FORMER", "value": "1" }],
                "volumeMounts": mount, "livenessProbe": probe("http"), "readinessProbe": probe("http") }] } } } })
}

fn job(owner: &Value, name: &str, image: &str, suspend: bool) -> Value {
    json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": meta(name, owner), "spec": {
        "ttlSecondsAfterFinished": 86400, "suspend": suspend, "template": { "spec": { "restartPolicy": "OnFailure", "hostname": "pause",
            "containers": [{ "name": "pause", "image": image }] } } } })
}

fn service(owner: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": meta("wb", owner), "spec": { "selector": { "workbench": "wb" }, "ports": [
        { "name": "http", "port": 8080, "targetPort": "http" }, { "name": "x11-socket", "port": 6080, "targetPort": 6080 }] } })
}

fn policy(workspace: &Value) -> Value {
    let namespace = json!({ "matchLabels": { "k8s:io.kubernetes.pod.namespace": "w1" } });
    json!({ "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": { "name": "w1-netpol", "namespace": "w1",
        "labels": { "workspace": "w1" }, "ownerReferences": [{ "apiVersion": "default.chorus-tre.ch/v1alpha1", "kind": "Workspace",
            "name": "w1", "uid": workspace["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true }] },
        "spec": { "endpointSelector": { "matchLabels": {} }, "egress": [{ "toEndpoints": [namespace] }], "ingress": [{ "fromEndpoints": [namespace] }] } })
}

fn volume() -> [Value; 2] {
    let source = json!({ "driver": "csi.juicefs.com", "volumeHandle": "w1-archive", "volumeAttributes": { "name": "files", "path": "/" },
        "nodePublishSecretRef": { "name": "juicefs-secret", "namespace": "kube-system" } });
    [
        json!({ "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "w1-archive-pv" }, "spec": {
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteMany"], "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "", "csi": source } }),
        json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "w1-archive-pvc", "namespace": "w1" }, "spec": {
            "accessModes": ["ReadWriteMany"], "resources": { "requests": { "storage": "1Gi" } }, "volumeName": "w1-archive-pv", "storageClassName": "" } }),
    ]
}

/// A desktop of the former operator: a1 runs, a2 has ended and its Job is gone, a3 was stopped.
async fn former(world: &World) {
    let cluster = &world.memory().cluster;
    cluster.install("cilium.io");
    world.memory().kubelet.script("slow-end", Behaviour::Lingers);
    let workspace = cluster.put_as(FORMER, world.workspace_object("Airgapped"));
    let mut workbench = world.workbench_object("wb", &[("a1", RUNS), ("a2", RUNS), ("a3", RUNS)]);
    workbench["metadata"]["finalizers"] = json!(["default.k8s.chorus-tre.ch/finalizer"]);
    workbench["spec"]["apps"]["a3"]["state"] = "Stopped".into();
    workbench["spec"]["storage"] = json!({ "s3": true, "nfs": false });
    workbench["status"] = json!({ "observedGeneration": 1, "serverDeployment": { "revision": 1, "status": "Running",
            "serverPod": { "status": "Ready", "ready": true, "restartCount": 0 } },
        "apps": { "a1": { "revision": 0, "status": "Running" }, "a2": { "revision": 0, "status": "Complete", "message": "Job completed" },
            "a3": { "revision": 0, "status": "Stopped" } } });
    let owner = cluster.put_as(FORMER, workbench);
    let objects = [
        deployment(&owner),
        service(&owner),
        job(&owner, "wb-a1-pause", RUNS, false),
        job(&owner, "wb-a3-pause", RUNS, true),
        policy(&workspace),
    ];
    for object in objects.into_iter().chain(volume()) {
        cluster.put_as(FORMER, object);
    }
    for object in [
        json!({ "kind": "CSIDriver", "metadata": { "name": "csi.juicefs.com" }, "spec": {} }),
        json!({ "kind": "Secret", "metadata": { "name": "juicefs-secret", "namespace": "kube-system" }, "stringData": { "name": "files" } }),
    ] {
        cluster.put(object);
    }
    world.until("Deployment", "wb-server", "running before", |d| d["status"]["readyReplicas"] == 1).await;
    world.until("Job", "wb-a1-pause", "running before", |job| job["status"]["ready"] == 1).await;
}

fn pods(world: &World) -> Vec<Value> {
    world.memory().cluster.list("Pod", "w1").iter().map(|pod| pod["metadata"]["uid"].clone()).collect()
}

fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let own = entries.filter(|entry| entry["subresource"].as_str().is_none());
    own.map(|entry| {
        format!("{} {}", entry["manager"].as_str().unwrap_or_default(), entry["operation"].as_str().unwrap_or_default())
    })
    .collect()
}

#[test]
fn desktops_go_on() {
    in_memory(async |world| {
        former(world).await;
        let (pods_before, server) = (pods(world), world.get("Deployment", "wb-server").await);
        world.start();
        world
            .until("Workbench", "wb", "adopted", |wb| {
                condition(wb, "Outdated") == "True" && reason(wb, "Outdated") == "FormerOperator"
            })
            .await;
        world.until_ready("wb").await;
        world.quiet().await;
        assert_eq!(pods(world), pods_before);
        let spec = &world.get("Deployment", "wb-server").await["spec"];
        assert_eq!(*spec, server["spec"]);
        let apps = world.get("Workbench", "wb").await["status"]["apps"].clone();
        let statuses = ["a1", "a2", "a3"].map(|app| apps[app]["status"].clone());
        assert_eq!(statuses, ["Running", "Complete", "Stopped"], "{apps:#}");
        // what was ended stays so, and the data
        assert_eq!(world.list("Job", "workbench=wb").await.len(), 2);
        assert_eq!(
            world.get("PersistentVolume", "w1-archive-pv").await["spec"]["persistentVolumeReclaimPolicy"],
            "Retain"
        );
        // the hole towards displays is closed at once: policies add up
        let policy = world.memory().cluster.get("CiliumNetworkPolicy", "w1", "w1-netpol").unwrap();
        assert!(policy.get("spec").is_none() && policy["specs"].is_array(), "{policy:#}");
        let own = world.get("NetworkPolicy", "wb-netpol-server").await;
        assert!(own.to_string().contains("wb-a1-pause"), "apps of the former operator are shut out");
        // a new app beside them
        world.set_app("wb", "a4", super::world::app(RUNS)).await;
        world.until_app("wb", "a4", "Running").await;
        // an app of the former operator stops, starts and goes
        let uid = world.get("Job", "wb-a1-pause").await["metadata"]["uid"].clone();
        for (state, status) in [("Stopped", "Stopped"), ("Running", "Running")] {
            world.set_app("wb", "a1", json!({ "state": state })).await;
            world.until_app("wb", "a1", status).await;
        }
        assert_eq!(world.get("Job", "wb-a1-pause").await["metadata"]["uid"], uid);
        world.set_app("wb", "a3", json!({ "state": "Running" })).await;
        world.until_app("wb", "a3", "Running").await;
        world.set_app("wb", "a3", Value::Null).await;
        world.until("Job", "wb-a3-pause", "gone", Value::is_null).await;
        world.quiet().await;
    });
}

#[test]
fn servers_become_ours_when_they_may_restart() {
    let ways: [(&str, Value); 3] = [
        ("a new version", json!({ "spec": { "server": { "version": "1.28-alpine" } } })),
        ("on order", json!({ "metadata": { "annotations": { "chorus-tre.ch/adopt": "2020-01-01T00:00:00Z" } } })),
        ("suspended", json!({ "spec": { "suspended": true } })),
    ];
    for (way, patch) in ways {
        in_memory(async |world| {
            former(world).await;
            world.start();
            world.until("Workbench", "wb", "adopted", |wb| condition(wb, "Outdated") == "True").await;
            let uid = world.get("Job", "wb-a1-pause").await["metadata"]["uid"].clone();
            world.patch("Workbench", "wb", patch.clone()).await;
            world
                .until("Deployment", "wb-server", way, |d| {
                    managers(d).iter().any(|manager| manager == "chorus-operator Apply")
                })
                .await;
            world.until("Workbench", "wb", way, |wb| condition(wb, "Outdated") == "False").await;
            world.quiet().await;
            let server = world.get("Deployment", "wb-server").await;
            assert!(
                !managers(&server).iter().any(|manager| manager.starts_with(FORMER)),
                "{way}: {:?}",
                managers(&server)
            );
            assert_eq!(server["spec"]["strategy"], json!({ "type": "Recreate" }), "{way}");
            let env = server["spec"]["template"]["spec"]["containers"][0]["env"].to_string();
            assert!(!env.contains("OF_FORMER"), "{way}: what the former operator wanted stays: {env}");
            if way == "suspended" {
                world.patch("Workbench", "wb", json!({ "spec": { "suspended": false } })).await;
            }
            world.until_ready("wb").await;
            world.until_app("wb", "a1", "Running").await;
            assert_eq!(world.get("Job", "wb-a1-pause").await["metadata"]["uid"], uid, "{way}");
            world.delete("Workbench", "wb").await;
            world.until("Workbench", "wb", "gone", Value::is_null).await;
            assert!(world.memory().cluster.list("Pod", "w1").is_empty());
            assert_eq!(world.get("PersistentVolumeClaim", "w1-archive-pvc").await["status"]["phase"], "Bound");
            world.quiet().await;
        });
    }
}
