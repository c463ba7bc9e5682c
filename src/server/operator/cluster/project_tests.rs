//! What is read of objects as API servers send them.

use super::*;

fn read<T: Remembered>(kind: Kinds, value: Value) -> (T, Option<String>) {
    let wire: wire::Wire<T::Wire> = serde_json::from_value(value).unwrap();
    T::project(kind, wire.object).unwrap()
}

fn child<S: Status>(kind: Kind, value: Value) -> (Child<S>, Option<String>) {
    read(Kinds::Child(kind), value)
}

fn metadata(more: Value) -> Value {
    let mut metadata = json!({
        "name": "w1-server", "namespace": "ws1", "uid": "u1", "resourceVersion": "42", "generation": 3,
        "creationTimestamp": "2026-05-01T10:00:00Z",
        "labels": { "workbench": "w1" },
        "annotations": { "deployment.kubernetes.io/revision": "7", LAST_APPLIED: "{\"spec\":{}}" },
        "ownerReferences": [
            { "apiVersion": "v1", "kind": "X", "name": "x", "uid": "other" },
            { "apiVersion": "default.chorus-tre.ch/v1alpha1", "kind": "Workbench", "name": "w1", "uid": "owner", "controller": true }
        ],
        "managedFields": [{ "manager": "someone", "operation": "Update", "fieldsV1": { "f:spec": { "f:replicas": {} } } }]
    });
    json_patch::merge(&mut metadata, &more);
    metadata
}

#[test]
fn a_deployment() {
    let (deployment, workbench) = child::<DeploymentStatus>(
        Kind::Deployment,
        json!({
            "metadata": metadata(json!({})),
            "spec": { "replicas": 1 },
            "status": {
                "observedGeneration": 2, "replicas": 1, "readyReplicas": 1,
                "conditions": [{ "type": "Available", "status": "True", "lastUpdateTime": "2026-05-01T10:00:00Z" }]
            }
        }),
    );
    assert_eq!(workbench.as_deref(), Some("w1"));
    let meta = &deployment.meta;
    assert_eq!((meta.name.as_str(), meta.namespace.as_str(), meta.uid.as_str()), ("w1-server", "ws1", "u1"));
    assert_eq!((meta.resource_version.as_str(), meta.controller.as_deref()), ("42", Some("owner")));
    assert_eq!(meta.created.to_rfc3339(), "2026-05-01T10:00:00+00:00");
    assert!(!meta.ours && !meta.deleting);
    let condition = SeenCondition { kind: "Available".into(), status: "True".into(), ..SeenCondition::default() };
    assert_eq!(
        deployment.status,
        DeploymentStatus { revision: Some(7), generation: (3, 2), replicas: 1, conditions: vec![condition] }
    );
    let body = deployment.body.value();
    assert_eq!((&body["apiVersion"], &body["kind"]), (&json!("apps/v1"), &json!("Deployment")));
    assert_eq!(body["spec"], json!({ "replicas": 1 }));
    assert_eq!(body["metadata"]["annotations"], json!({ "deployment.kubernetes.io/revision": "7" }));
    assert_eq!(body["metadata"]["ownerReferences"].as_array().unwrap().len(), 2);
    assert!(body["metadata"]["managedFields"].is_null() && body["status"].is_null());
}

#[test]
fn who_applied() {
    let entry = |manager: &str, operation: &str, subresource: &str| json!([{ "manager": manager, "operation": operation, "subresource": subresource }]);
    for (fields, ours) in [
        (entry(MANAGER, "Apply", ""), true),
        (json!([{ "manager": MANAGER, "operation": "Apply" }]), true),
        (entry(MANAGER, "Update", ""), false),
        (entry(MANAGER, "Apply", "status"), false),
        (entry("manager", "Apply", ""), false),
        (json!([]), false),
        (json!(null), false),
    ] {
        let metadata = metadata(json!({ "managedFields": fields }));
        let (service, _) = child::<()>(Kind::Service, json!({ "metadata": metadata }));
        assert_eq!(service.meta.ours, ours, "{fields}");
    }
}

#[test]
fn a_job_is_remembered_without_its_pods() {
    let (job, _) = child::<JobStatus>(
        Kind::Job,
        json!({
            "metadata": metadata(json!({ "deletionTimestamp": "2026-05-01T11:00:00Z" })),
            "spec": { "suspend": false, "template": { "spec": { "containers": [{ "env": [{ "value": "secret" }] }] } } },
            "status": { "active": 1, "ready": 1, "terminating": 0, "conditions": [
                { "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "m".repeat(9999) }
            ] }
        }),
    );
    assert!(job.meta.deleting);
    assert_eq!(job.body.value()["spec"], json!({ "suspend": false }));
    assert_eq!((job.status.active, job.status.ready, job.status.terminating), (1, 1, Some(0)));
    assert_eq!(job.status.conditions[0].message.len(), MESSAGE);
}

#[test]
fn policies_are_found_by_what_they_are_of() {
    for (labels, group) in [
        (json!({ "workbench": null, "workspace": "ws1" }), Some("")),
        (json!({ "workbench": "w2", "workspace": null }), Some("w2")),
        (json!({ "workbench": null }), None),
    ] {
        let metadata = metadata(json!({ "labels": labels }));
        let (policy, found) = child::<()>(Kind::CiliumNetworkPolicy, json!({ "metadata": metadata, "specs": [{}] }));
        assert_eq!(found.as_deref(), group);
        assert_eq!(policy.body.value()["specs"], json!([{}]));
    }
}

#[test]
fn a_pod() {
    let labels = json!({ "workbench": null, labels::POD_OF: "w1", labels::APP: "a1", "other": "x" });
    let (pod, workbench) = read::<Pod>(
        Kinds::Other,
        json!({
            "metadata": metadata(json!({ "labels": labels })),
            "spec": { "containers": [] },
            "status": {
                "phase": "Running",
                "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node" }],
                "initContainerStatuses": [
                    { "name": "i", "ready": true, "restartCount": 0, "state": { "terminated": { "exitCode": 3, "reason": "Error" } } }
                ],
                "containerStatuses": [
                    { "name": "a", "ready": false, "restartCount": 2, "state": { "waiting": { "reason": "CrashLoopBackOff" } } },
                    { "name": "b", "ready": true, "restartCount": 0, "state": { "running": { "startedAt": "2026-05-01T10:00:09Z" } } },
                    { "name": "c", "ready": false, "restartCount": 0, "state": {} },
                    { "name": "d", "ready": false, "restartCount": 0 }
                ]
            }
        }),
    );
    assert_eq!(workbench.as_deref(), Some("w1"));
    assert_eq!(pod.labels.keys().collect::<Vec<_>>(), [labels::APP, labels::POD_OF]);
    assert_eq!(pod.unscheduled.unwrap().reason, "Unschedulable");
    let terminated = ContainerState::Terminated { code: 3, reason: "Error".into(), message: String::new() };
    assert_eq!(pod.init[0].state, terminated);
    let states: Vec<_> = pod.containers.iter().map(|container| container.state.clone()).collect();
    let waiting = ContainerState::Waiting { reason: "CrashLoopBackOff".into(), message: String::new() };
    let running = ContainerState::Running { since: "2026-05-01T10:00:09Z".parse().ok() };
    assert_eq!(states, [waiting, running, ContainerState::None, ContainerState::None]);
    assert_eq!((pod.containers[0].restarts, pod.containers[0].ready, pod.containers[1].ready), (2, false, true));
}

#[test]
fn versions_and_managers_are_nothing_to_act_on() {
    let job = |more: Value| child::<JobStatus>(Kind::Job, json!({ "metadata": metadata(more), "spec": {} })).0;
    let before = job(json!({}));
    assert!(before.same(&job(json!({ "resourceVersion": "43", "generation": 4, "managedFields": null }))));
    assert!(!before.same(&job(json!({ "labels": { "more": "x" } }))));
    assert!(!before.same(&job(json!({ "deletionTimestamp": "2026-05-01T11:00:00Z" }))));
    assert!(!before.same(&job(json!({ "uid": "u2" }))));
}

#[test]
fn a_workbench_with_a_status_of_another_time_counts_as_one_without() {
    let value = |server: &str| {
        json!({
            "apiVersion": "default.chorus-tre.ch/v1alpha1", "kind": "Workbench",
            "metadata": metadata(json!({})),
            "spec": { "apps": { "a": { "name": "a", "image": {} } } },
            "status": { "observedGeneration": 1, "serverDeployment": { "revision": 1, "status": server } }
        })
    };
    let (workbench, _) = read::<Workbench>(Kinds::Other, value("Running"));
    assert!(workbench.status.is_some() && workbench.metadata.managed_fields.is_none());
    assert!(!workbench.metadata.annotations.as_ref().unwrap().contains_key(LAST_APPLIED));
    let (workbench, _) = read::<Workbench>(Kinds::Other, value("Dancing"));
    assert_eq!((workbench.status, workbench.spec.apps.len()), (None, 1));
    let mut unreadable = value("Running");
    unreadable["spec"]["apps"]["a"]["name"] = json!(7);
    assert!(Workbench::project(Kinds::Other, wire::Custom(unreadable)).is_none());
}

#[test]
fn secrets_do_not_show() {
    let value = json!({ "metadata": metadata(json!({})), "data": { "name": "dG9rZW4=", "binary": "/w==" } });
    let wire: wire::Wire<wire::Secret> = serde_json::from_value(value).unwrap();
    assert!(!format!("{wire:?}").contains("token"));
    let (secret, _) = Secret::project(Kinds::Other, wire.object).unwrap();
    assert_eq!(secret.0.values, BTreeMap::from([("name".to_owned(), "token".to_owned())]));
}
