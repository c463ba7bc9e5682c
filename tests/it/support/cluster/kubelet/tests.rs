//! Deployments, Jobs, pods and claims, as scripts say.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    super::tests::{cluster, deployment, job},
    Behaviour, Kubelet,
};

/// Waits until something holds; timers run as fast as nothing else happens.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {what}");
}

#[tokio::test(start_paused = true)]
async fn deployments_have_pods() {
    let cluster = cluster();
    let kubelet = Kubelet::start(&cluster);
    let mut wanted = deployment("d");
    wanted["spec"]["strategy"] = json!({ "type": "Recreate" });
    cluster.put(wanted);
    let status = |field: &str| cluster.get("Deployment", "n", "d").unwrap()["status"][field].clone();
    let reason = |kind: &str| {
        let deployment = cluster.get("Deployment", "n", "d").unwrap();
        let conditions = deployment["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().find(|c| c["type"] == kind).map_or(Value::Null, |c| c["reason"].clone())
    };
    until("ready", || status("readyReplicas") == 1).await;
    assert_eq!(reason("Progressing"), "NewReplicaSetAvailable");
    // never two at once, and the deadline of a roll-out that fails
    kubelet.script("bad", Behaviour::NeverReady);
    cluster.edit("Deployment", "n", "d", |d| d["spec"]["template"]["spec"]["containers"][0]["image"] = "bad:1".into());
    until("the deadline", || {
        assert!(cluster.list("Pod", "n").len() <= 1);
        reason("Progressing") == "ProgressDeadlineExceeded"
    })
    .await;
    assert_eq!(
        cluster.get("Deployment", "n", "d").unwrap()["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "2"
    );
    cluster.edit("Deployment", "n", "d", |d| d["spec"]["replicas"] = 0.into());
    until("gone", || cluster.list("Pod", "n").is_empty() && status("replicas").is_null()).await;
    cluster.delete("Deployment", "n", "d");
    assert!(cluster.get("Deployment", "n", "d").is_none());
}

#[tokio::test(start_paused = true)]
async fn jobs_have_pods() {
    let cluster = cluster();
    let kubelet = Kubelet::start(&cluster);
    let status = |name: &str, field: &str| cluster.get("Job", "n", name).unwrap()["status"][field].clone();
    let pods = |name: &str| {
        let of = |pod: &Value| pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] == name;
        cluster.list("Pod", "n").into_iter().filter(of).collect::<Vec<_>>()
    };
    let has = |name: &str, kind: &str| {
        let conditions = status(name, "conditions").as_array().cloned().unwrap_or_default();
        conditions.iter().any(|c| c["type"] == kind && c["status"] == "True")
    };
    for (name, behaviour) in [
        ("runs", Behaviour::Runs),
        ("completes", Behaviour::Completes(Duration::from_secs(60))),
        ("fails", Behaviour::Fails(Duration::from_secs(60))),
        ("waits", Behaviour::Unschedulable),
        ("pulls", Behaviour::ImagePull),
        ("crashes", Behaviour::CrashLoop),
        ("lingers", Behaviour::Lingers),
    ] {
        kubelet.script(&format!("n/{name}"), behaviour);
        cluster.put(job(name));
    }
    until("ready", || status("runs", "ready") == 1 && status("completes", "ready") == 1).await;
    until("complete", || has("completes", "Complete")).await;
    until("failed", || has("fails", "Failed") && status("fails", "failed") == 1).await;
    until("waiting", || status("waits", "active") == 1 && status("waits", "ready") == 0).await;
    let waiting = |name: &str| pods(name)[0]["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    assert_eq!((waiting("pulls"), waiting("crashes")), (json!("ImagePullBackOff"), json!("CrashLoopBackOff")));
    let suspend =
        |name: &str, value: bool| cluster.edit("Job", "n", name, move |job| job["spec"]["suspend"] = value.into());
    suspend("runs", true);
    suspend("lingers", true);
    until("suspended", || has("runs", "Suspended") && pods("runs").is_empty() && status("runs", "active").is_null())
        .await;
    assert_eq!((status("lingers", "terminating"), pods("lingers").len()), (json!(1), 1));
    until("ended", || pods("lingers").is_empty() && status("lingers", "terminating") == 0).await;
    suspend("runs", false);
    until("resumed", || status("runs", "ready") == 1 && !has("runs", "Suspended")).await;
    until("given up", || has("crashes", "Failed") && pods("crashes").is_empty()).await;
    cluster.delete("Job", "n", "runs");
    until("collected", || pods("runs").is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn claims_are_bound() {
    let cluster = cluster();
    let _kubelet = Kubelet::start(&cluster);
    let claim = json!({ "kind": "PersistentVolumeClaim", "metadata": { "name": "c", "namespace": "n" },
        "spec": { "accessModes": ["ReadWriteMany"], "resources": { "requests": { "storage": "1Gi" } }, "volumeName": "v", "storageClassName": "" } });
    cluster.put(claim);
    let phase = |kind: &str, namespace: &str, name: &str| {
        cluster.get(kind, namespace, name).map(|o| o["status"]["phase"].clone()).unwrap_or_default()
    };
    until("pending", || phase("PersistentVolumeClaim", "n", "c") == "Pending").await;
    cluster.put(json!({ "kind": "PersistentVolume", "metadata": { "name": "v" }, "spec": { "accessModes": ["ReadWriteMany"],
        "capacity": { "storage": "1Gi" }, "hostPath": { "path": "/x" }, "claimRef": { "namespace": "n", "name": "c" } } }));
    until("bound", || {
        phase("PersistentVolumeClaim", "n", "c") == "Bound" && phase("PersistentVolume", "", "v") == "Bound"
    })
    .await;
    cluster.delete("PersistentVolumeClaim", "n", "c");
    until("released", || phase("PersistentVolume", "", "v") == "Released").await;
}
