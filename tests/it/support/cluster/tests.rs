//! The cluster itself, rule by rule: what the suites of the operator rely on.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use http::Method;
use kube::{
    Api, Client, ResourceExt as _,
    api::{
        DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, PropagationPolicy, WatchEvent,
        WatchParams,
    },
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use super::{Cluster, Fault, VirtualClock, resources::Target};

fn api(client: &Client, version: &str, kind: &str) -> Api<DynamicObject> {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    Api::namespaced_with(client.clone(), "n", &ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)))
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn pod_spec(restart: &str) -> Value {
    json!({ "restartPolicy": restart, "containers": [{ "name": "main", "image": "r/x:1" }] })
}

pub fn deployment(name: &str) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": "n", "labels": { "app": name } },
        "spec": { "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": pod_spec("Always") } } })
}

pub fn job(name: &str) -> Value {
    json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name, "namespace": "n" },
        "spec": { "template": { "spec": pod_spec("OnFailure") } } })
}

fn code(result: kube::Result<impl Sized>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    }
}

pub fn cluster() -> Cluster {
    Cluster::new(VirtualClock::new())
}

#[test]
fn paths() {
    for (path, parsed) in [
        ("/api/v1/pods", Some(("Pod", "", "", ""))),
        ("/api/v1/namespaces/n/pods/p", Some(("Pod", "n", "p", ""))),
        ("/api/v1/namespaces/n/pods/p/status", Some(("Pod", "n", "p", "status"))),
        ("/api/v1/namespaces", Some(("Namespace", "", "", ""))),
        ("/api/v1/namespaces/n", Some(("Namespace", "", "n", ""))),
        ("/api/v1/persistentvolumes/v", Some(("PersistentVolume", "", "v", ""))),
        ("/apis/batch/v1/namespaces/n/jobs/j", Some(("Job", "n", "j", ""))),
        ("/apis/batch/v1/jobs/j", None),
        ("/apis/batch/v2/jobs", None),
        ("/apis/coordination.k8s.io/v1/namespaces/n/leases/l/status", None),
        ("/metrics", None),
    ] {
        let target = Target::parse(path, |_| true);
        let found =
            target.as_ref().map(|t| (t.resource.kind, t.namespace.as_str(), t.name.as_str(), t.subresource.as_str()));
        assert_eq!(found, parsed, "{path}");
    }
    let pods = Target::parse("/api/v1/pods", |_| true).unwrap();
    assert_eq!((pods.verb(&Method::GET, true), pods.verb(&Method::DELETE, false)), ("watch", "deletecollection"));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused() {
    let cluster = cluster();
    let with = |mut base: Value, path: &str, value: Value| {
        let (at, field) = path.rsplit_once('/').unwrap();
        base.pointer_mut(at).unwrap()[field] = value;
        base
    };
    let template = "/spec/template/spec";
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "s" }, "spec": { "ports": [{ "port": 80 }] } });
    let policy = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": "p" },
        "spec": { "podSelector": {}, "egress": [{ "to": [{ "ipBlock": { "cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"] } }] }] } });
    let long = "x".repeat(64);
    for (number, (object, refused)) in [
        (deployment("a"), None),
        (deployment("A"), Some(422)),
        (deployment(&"a".repeat(254)), Some(422)),
        (
            with(deployment("b"), "/spec/strategy", json!({ "type": "Recreate", "rollingUpdate": { "maxSurge": 1 } })),
            Some(422),
        ),
        (with(deployment("c"), "/spec/template/metadata/labels", json!({})), Some(422)),
        (with(deployment("d"), "/metadata/labels", json!({ "l": long })), Some(422)),
        (with(deployment("e"), "/spec/replica", json!(1)), Some(400)),
        (with(deployment("f"), "/spec/replicas", json!("1")), Some(400)),
        (with(deployment("g"), &format!("{template}/hostname"), json!("a_b")), Some(422)),
        (with(deployment("h"), &format!("{template}/volumes"), json!([{ "name": "v", "emptyDir": {} }])), None),
        (job(&"j".repeat(63)), None),
        (job(&"j".repeat(64)), Some(422)),
        (with(job("k"), &format!("{template}/restartPolicy"), json!("Always")), Some(422)),
        (
            with(
                job("l"),
                &format!("{template}/containers/0/volumeMounts"),
                json!([{ "name": "v", "mountPath": "/a" }]),
            ),
            Some(422),
        ),
        (
            with(
                with(job("m"), &format!("{template}/volumes"), json!([{ "name": "v", "emptyDir": {} }])),
                &format!("{template}/containers/0/volumeMounts"),
                json!([{ "name": "v", "mountPath": "/a" }, { "name": "v", "mountPath": "/a" }]),
            ),
            Some(422),
        ),
        (
            with(
                job("o"),
                &format!("{template}/containers/0/resources"),
                json!({ "limits": { "cpu": "1" }, "requests": { "cpu": "1001m" } }),
            ),
            Some(422),
        ),
        (
            with(
                job("p"),
                &format!("{template}/containers/0/resources"),
                json!({ "limits": { "cpu": "1" }, "requests": { "cpu": "1000m" } }),
            ),
            None,
        ),
        (service.clone(), None),
        (with(service.clone(), "/metadata/name", json!("1s")), Some(422)),
        (with(with(service, "/metadata/name", json!("t")), "/spec/ports", json!([])), Some(422)),
        (policy.clone(), None),
        (
            with(with(policy, "/metadata/name", json!("q")), "/spec/egress/0/to/0/ipBlock/cidr", json!("11.0.0.0/8")),
            Some(422),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
        let result =
            api(&cluster.client(), version, kind).create(&PostParams::default(), &self::object(object.clone())).await;
        assert_eq!(code(result), refused.unwrap_or(200), "case {number}: {object}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_never_changes() {
    let cluster = cluster();
    let volume = json!({ "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "v" },
        "spec": { "accessModes": ["ReadWriteMany"], "capacity": { "storage": "1Gi" }, "csi": { "driver": "d", "volumeHandle": "h" } } });
    let claim = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "c", "namespace": "n" },
        "spec": { "accessModes": ["ReadWriteMany"], "resources": { "requests": { "storage": "1Gi" } }, "volumeName": "v", "storageClassName": "" } });
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "s", "namespace": "n" }, "spec": { "ports": [{ "port": 80 }] } });
    let mut suspended = job("k");
    suspended["spec"]["suspend"] = true.into();
    for object in [deployment("d"), job("j"), suspended, volume, claim, service] {
        cluster.put(object);
    }
    for (version, kind, name, patch, refused) in [
        ("apps/v1", "Deployment", "d", json!({ "spec": { "selector": { "matchLabels": { "x": "y" } } } }), Some(422)),
        ("apps/v1", "Deployment", "d", json!({ "spec": { "replicas": 0 } }), None),
        ("apps/v1", "Deployment", "d", json!({ "spec": { "strategy": { "type": "Recreate" } } }), Some(422)),
        (
            "apps/v1",
            "Deployment",
            "d",
            json!({ "spec": { "strategy": { "type": "Recreate", "rollingUpdate": null } } }),
            None,
        ),
        ("batch/v1", "Job", "j", json!({ "spec": { "suspend": true } }), None),
        ("batch/v1", "Job", "j", json!({ "spec": { "template": { "spec": { "hostname": "h" } } } }), Some(422)),
        ("batch/v1", "Job", "j", json!({ "spec": { "completions": 2 } }), Some(422)),
        ("batch/v1", "Job", "k", json!({ "spec": { "template": { "spec": { "hostname": "h" } } } }), Some(422)),
        (
            "batch/v1",
            "Job",
            "k",
            json!({ "spec": { "template": { "metadata": { "annotations": { "a": "b" } } } } }),
            None,
        ),
        ("v1", "PersistentVolumeClaim", "c", json!({ "spec": { "storageClassName": "x" } }), Some(422)),
        (
            "v1",
            "PersistentVolumeClaim",
            "c",
            json!({ "spec": { "resources": { "requests": { "storage": "1Mi" } } } }),
            Some(422),
        ),
        ("v1", "Service", "s", json!({ "spec": { "clusterIP": "10.0.0.9" } }), Some(422)),
    ] {
        let result =
            api(&cluster.client(), version, kind).patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        assert_eq!(code(result), refused.unwrap_or(200), "{kind} {name} {patch}");
    }
    let volumes: Api<DynamicObject> =
        Api::all_with(cluster.client(), &ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "PersistentVolume")));
    let patch = json!({ "spec": { "csi": { "volumeHandle": "other" } } });
    assert_eq!(code(volumes.patch("v", &PatchParams::default(), &Patch::Merge(&patch)).await), 422);
}

#[tokio::test(start_paused = true)]
async fn server_side_apply() {
    let cluster = cluster();
    let deployments = api(&cluster.client(), "apps/v1", "Deployment");
    let (ours, forced) = (PatchParams::apply("ours"), PatchParams::apply("ours").force());
    // what the former owner wrote by PUT is his
    cluster.put(deployment("d"));
    let mut wanted = deployment("d");
    wanted["spec"]["replicas"] = 3.into();
    assert_eq!(code(deployments.patch("d", &ours, &Patch::Apply(&wanted)).await), 409);
    let applied = deployments.patch("d", &forced, &Patch::Apply(&wanted)).await.unwrap();
    assert_eq!(applied.data["spec"]["replicas"], 3);
    let entries = applied.managed_fields();
    assert!(entries.iter().any(|e| e.manager.as_deref() == Some("ours") && e.operation.as_deref() == Some("Apply")));
    // the same again changes nothing
    let again = deployments.patch("d", &forced, &Patch::Apply(&wanted)).await.unwrap();
    assert_eq!(again.resource_version(), applied.resource_version());
    // what is applied no longer goes, unless somebody else owns it too; a default takes its place
    wanted["spec"]["replicas"].take();
    wanted["metadata"]["labels"] = json!({ "new": "1" });
    let less = deployments.patch("d", &forced, &Patch::Apply(&wanted)).await.unwrap();
    assert_eq!(less.data["spec"]["replicas"], 1);
    assert_eq!(serde_json::to_value(less.labels()).unwrap(), json!({ "app": "d", "new": "1" }));
    // without his entry in managedFields nothing is his
    let theirs = less.managed_fields().iter().position(|e| e.manager.as_deref() == Some("kubectl")).unwrap();
    let patch: json_patch::Patch =
        serde_json::from_value(json!([{ "op": "remove", "path": format!("/metadata/managedFields/{theirs}") }]))
            .unwrap();
    let left = deployments.patch("d", &PatchParams::default(), &Patch::Json::<()>(patch)).await.unwrap();
    assert_eq!(left.managed_fields().len(), 1, "{:?}", left.managed_fields());
    wanted["metadata"]["labels"] = json!({ "app": "d" });
    wanted["spec"]["strategy"] = json!({ "type": "Recreate", "rollingUpdate": null });
    // what nobody owns stays, and an apply with a null does not take it away: a merge patch does
    assert_eq!(code(deployments.patch("d", &ours, &Patch::Apply(&wanted)).await), 422);
    deployments.patch("d", &PatchParams::default(), &Patch::Merge(&wanted)).await.unwrap();
    let last = deployments.patch("d", &ours, &Patch::Apply(&wanted)).await.unwrap();
    assert_eq!(serde_json::to_value(last.labels()).unwrap(), json!({ "app": "d" }));
    assert_eq!(last.data["spec"]["strategy"], json!({ "type": "Recreate" }));
    // what nobody owns when it is first applied belongs to a manager of that name, so it does not go with ours
    let reset: json_patch::Patch =
        serde_json::from_value(json!([{ "op": "replace", "path": "/metadata/managedFields", "value": [{}] }])).unwrap();
    let free = deployments.patch("d", &PatchParams::default(), &Patch::Json::<()>(reset)).await.unwrap();
    assert!(free.managed_fields().is_empty());
    let kept = deployments.patch("d", &forced, &Patch::Apply(&wanted)).await.unwrap();
    assert!(kept.managed_fields().iter().any(|e| e.manager.as_deref() == Some("before-first-apply")));
    // items of lists by their keys: another's container stays
    let sidecar = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "spec": { "template": { "spec": { "containers": [{ "name": "side", "image": "s:1" }] } } } });
    let both = deployments.patch("d", &PatchParams::apply("mesh"), &Patch::Apply(&sidecar)).await.unwrap();
    assert_eq!(both.data["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 2);
    let after = deployments.patch("d", &ours, &Patch::Apply(&wanted)).await.unwrap();
    assert_eq!(after.data["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 2);
    let none = json!({ "apiVersion": "apps/v1", "kind": "Deployment" });
    let alone = deployments.patch("d", &PatchParams::apply("mesh"), &Patch::Apply(&none)).await.unwrap();
    assert_eq!(alone.data["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
    assert_eq!(alone.managed_fields().iter().filter(|e| e.manager.as_deref() == Some("mesh")).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn versions_status_and_generation() {
    let cluster = cluster();
    let deployments = api(&cluster.client(), "apps/v1", "Deployment");
    let mut first = deployments.create(&PostParams::default(), &object(deployment("d"))).await.unwrap();
    assert_eq!((first.metadata.generation, first.data["status"].is_null()), (Some(1), true));
    assert_eq!(code(deployments.create(&PostParams::default(), &object(deployment("d"))).await), 409);
    let status = json!({ "status": { "replicas": 1 }, "spec": { "replicas": 9 } });
    let with_status = deployments.patch_status("d", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    assert_eq!((&with_status.data["spec"]["replicas"], with_status.metadata.generation), (&json!(1), Some(1)));
    let spec = json!({ "status": { "replicas": 5 }, "spec": { "replicas": 2 } });
    let with_spec = deployments.patch("d", &PatchParams::default(), &Patch::Merge(&spec)).await.unwrap();
    assert_eq!((&with_spec.data["status"]["replicas"], with_spec.metadata.generation), (&json!(1), Some(2)));
    first.data["spec"]["replicas"] = 4.into();
    assert_eq!(code(deployments.replace("d", &PostParams::default(), &first).await), 409);
    let stale = json!([{ "op": "test", "path": "/metadata/resourceVersion", "value": "1" }, { "op": "add", "path": "/metadata/labels/x", "value": "y" }]);
    let stale: json_patch::Patch = serde_json::from_value(stale).unwrap();
    assert_eq!(code(deployments.patch("d", &PatchParams::default(), &Patch::Json::<()>(stale)).await), 422);
    let bad =
        json!({ "status": { "serverDeployment": { "revision": 1, "status": "Sleeping" }, "observedGeneration": 1 } });
    cluster.put(json!({ "kind": "Workbench", "metadata": { "name": "w", "namespace": "n" }, "spec": {} }));
    let workbenches = api(&cluster.client(), "default.chorus-tre.ch/v1alpha1", "Workbench");
    assert_eq!(code(workbenches.patch_status("w", &PatchParams::default(), &Patch::Merge(&bad)).await), 422);
}

#[tokio::test(start_paused = true)]
async fn deletion() {
    let cluster = cluster();
    let jobs = api(&cluster.client(), "batch/v1", "Job");
    let pods = api(&cluster.client(), "v1", "Pod");
    let uid = |value: &Value| value["metadata"]["uid"].as_str().unwrap().to_owned();
    let pod_of = |name: &str, owner: &str| {
        json!({ "kind": "Pod", "metadata": { "name": name, "namespace": "n", "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "Job",
            "name": "x", "uid": owner, "controller": true }] }, "spec": pod_spec("Never") })
    };
    // a Job that is deleted without a word leaves its pod, in the background it goes
    for (policy, left) in [
        (None, 1),
        (Some(PropagationPolicy::Background), 0),
        (Some(PropagationPolicy::Foreground), 0),
        (Some(PropagationPolicy::Orphan), 1),
    ] {
        let owner = uid(&cluster.put(job("j")));
        cluster.put(pod_of("p", &owner));
        jobs.delete("j", &DeleteParams { propagation_policy: policy.clone(), ..Default::default() }).await.unwrap();
        assert_eq!((cluster.list("Job", "n").len(), cluster.list("Pod", "n").len()), (0, left), "{policy:?}");
        if left == 1 {
            cluster.delete("Pod", "n", "p");
        }
    }
    // whose owner is gone when it is created goes as well
    cluster.put(pod_of("late", "00000000-0000-4000-8000-ffffffffffff"));
    assert!(cluster.get("Pod", "n", "late").is_none());
    // finalizers hold, and none comes while it goes
    let mut held = job("held");
    held["metadata"]["finalizers"] = json!(["example.org/a"]);
    let held = cluster.put(held);
    let wrong = DeleteParams {
        preconditions: Some(kube::api::Preconditions { uid: Some("other".to_owned()), ..Default::default() }),
        ..Default::default()
    };
    assert_eq!(code(jobs.delete("held", &wrong).await), 409);
    jobs.delete("held", &DeleteParams::background()).await.unwrap();
    let going = jobs.get("held").await.unwrap();
    assert!(
        going.metadata.deletion_timestamp.is_some()
            && going.metadata.generation > held["metadata"]["generation"].as_i64()
    );
    let more = json!({ "metadata": { "finalizers": ["example.org/a", "example.org/b"] } });
    assert_eq!(code(jobs.patch("held", &PatchParams::default(), &Patch::Merge(&more)).await), 422);
    let none = json!({ "metadata": { "finalizers": null } });
    jobs.patch("held", &PatchParams::default(), &Patch::Merge(&none)).await.unwrap();
    assert_eq!(code(jobs.get("held").await), 404);
    // a pod on a node has its grace, unless there is none
    let mut pod = pod_of("q", &uid(&cluster.put(job("y"))));
    pod["spec"]["nodeName"] = "node-1".into();
    cluster.put(pod);
    pods.delete("q", &DeleteParams::default()).await.unwrap();
    assert_eq!(pods.get("q").await.unwrap().metadata.deletion_grace_period_seconds, Some(30));
    pods.delete("q", &DeleteParams { grace_period_seconds: Some(0), ..Default::default() }).await.unwrap();
    assert_eq!(code(pods.get("q").await), 404);
}

#[tokio::test(start_paused = true)]
async fn lists_and_collections() {
    let cluster = cluster();
    let jobs = api(&cluster.client(), "batch/v1", "Job");
    for number in 0..5 {
        let mut job = job(&format!("j{number}"));
        job["metadata"]["labels"] = json!({ "even": (number % 2 == 0).to_string() });
        cluster.put(job);
    }
    let mut page = ListParams::default().limit(2);
    let mut names = Vec::new();
    loop {
        let list = jobs.list(&page).await.unwrap();
        names.extend(list.items.iter().map(kube::ResourceExt::name_any));
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = ListParams::default().limit(2).continue_token(&token),
            None => break,
        }
    }
    assert_eq!(names, ["j0", "j1", "j2", "j3", "j4"]);
    let token = jobs.list(&ListParams::default().limit(2)).await.unwrap().metadata.continue_.unwrap();
    cluster.compact();
    assert_eq!(code(jobs.list(&ListParams::default().continue_token(&token)).await), 410);
    jobs.delete_collection(&DeleteParams::background(), &ListParams::default().labels("even=true")).await.unwrap();
    assert_eq!(jobs.list(&ListParams::default()).await.unwrap().items.len(), 2);
    assert_eq!(jobs.list(&ListParams::default().fields("metadata.name=j3")).await.unwrap().items.len(), 1);
    let made = jobs
        .create(
            &PostParams::default(),
            &object(json!({ "metadata": { "generateName": "g-" }, "spec": job("x")["spec"] })),
        )
        .await
        .unwrap();
    assert!(made.name_any().len() == 7 && made.name_any().starts_with("g-"));
}

#[tokio::test(start_paused = true)]
async fn watches() {
    let cluster = cluster();
    let jobs = api(&cluster.client(), "batch/v1", "Job");
    cluster.put(job("a"));
    let version = jobs.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let label = |name: &str, value: &str| {
        let value = value.to_owned();
        cluster.edit("Job", "n", name, move |job| job["metadata"]["labels"] = json!({ "x": value }));
    };
    label("a", "1");
    let events = jobs.watch(&WatchParams::default().labels("x=1"), &version).await.unwrap();
    label("a", "2");
    cluster.put(job("b"));
    label("b", "1");
    cluster.edit("Job", "n", "b", |job| job["spec"]["suspend"] = true.into());
    cluster.delete("Job", "n", "b");
    cluster.break_watches();
    // an object that leaves the selection is told as deleted
    let told: Vec<_> = events
        .map_ok(|event| match event {
            WatchEvent::Added(job) => format!("+{}", job.name_any()),
            WatchEvent::Modified(job) => format!("~{}", job.name_any()),
            WatchEvent::Deleted(job) => format!("-{}", job.name_any()),
            other => format!("{other:?}"),
        })
        .take_while(|event| std::future::ready(event.is_ok()))
        .map(Result::unwrap)
        .collect()
        .await;
    assert_eq!(told, ["+a", "-a", "+b", "~b", "-b"]);
    cluster.compact();
    let mut late = Box::pin(jobs.watch(&WatchParams::default(), &version).await.unwrap());
    assert!(matches!(late.try_next().await.unwrap(), Some(WatchEvent::Error(status)) if status.code == 410));
    // it ends by itself
    let now = jobs.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let short = jobs.watch(&WatchParams::default().timeout(10), &now).await.unwrap();
    assert_eq!(tokio::time::timeout(Duration::from_secs(11), short.count()).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn faults_and_death() {
    let cluster = cluster();
    let session = cluster.session("operator");
    let jobs = api(&session.client(), "batch/v1", "Job");
    let creates = |call: &super::Call| call.verb == "create";
    let create = async |name: &str| jobs.create(&PostParams::default(), &object(job(name))).await;
    cluster.fault(creates, 1, 1, Fault::Answer(503, "ServiceUnavailable"));
    assert_eq!((code(create("a").await), code(create("b").await), code(create("b").await)), (200, 503, 200));
    cluster.fault(creates, 0, 1, Fault::Lost);
    assert!(create("c").await.is_err() && cluster.get("Job", "n", "c").is_some());
    cluster.fault(creates, 0, 1, Fault::Reset);
    assert!(create("d").await.is_err() && cluster.get("Job", "n", "d").is_none());
    for (after, there) in [(false, false), (true, true)] {
        let session = cluster.session("mortal");
        let jobs = api(&session.client(), "batch/v1", "Job");
        session.kill_at(0, after);
        assert!(jobs.list(&ListParams::default()).await.is_ok());
        let name = format!("last-{after}");
        assert!(jobs.create(&PostParams::default(), &object(job(&name))).await.is_err() && session.is_dead());
        assert_eq!(cluster.get("Job", "n", &name).is_some(), there);
        assert!(jobs.list(&ListParams::default()).await.is_err());
    }
    cluster.deny("create", "jobs.batch");
    assert_eq!(code(create("e").await), 403);
    let written: usize = cluster.writes().values().sum();
    assert_eq!(written, 4, "{:?}", cluster.calls());
}

#[tokio::test(start_paused = true)]
async fn groups_come_and_go() {
    let cluster = cluster();
    let policies = api(&cluster.client(), "cilium.io/v2", "CiliumNetworkPolicy");
    assert_eq!(code(policies.list(&ListParams::default()).await), 404);
    cluster.install("cilium.io");
    assert_eq!(code(policies.list(&ListParams::default()).await), 200);
    let groups = cluster.client().list_api_groups().await.unwrap();
    assert!(groups.groups.iter().any(|group| group.name == "cilium.io"));
    assert_eq!(cluster.client().list_api_group_resources("cilium.io/v2").await.unwrap().resources.len(), 2);
    cluster.uninstall("cilium.io");
    assert_eq!(code(policies.list(&ListParams::default()).await), 404);
}
