use proptest::prelude::*;
use serde_json::{Value, json};

use super::contains;

/// A Deployment, with what is wanted of its first container and of its pod.
fn deployment(container: &Value, pod: &Value) -> Value {
    let mut spec = json!({ "containers": [container] });
    merge(&mut spec, pod);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "d", "namespace": "n" },
        "spec": { "template": { "spec": spec } }
    })
}

fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}

fn check(cases: &[(&str, Value, Value, bool)], object: impl Fn(&Value) -> Value) {
    for (why, live, wanted, expected) in cases {
        assert_eq!(contains(&object(live), &object(wanted)), *expected, "{why}: {live} holds {wanted}");
    }
}

#[test]
fn containers() {
    check(
        &[
            ("the same", json!({"name": "a", "image": "x"}), json!({"name": "a", "image": "x"}), true),
            (
                "defaults",
                json!({"name": "a", "terminationMessagePath": "/dev/termination-log"}),
                json!({"name": "a"}),
                true,
            ),
            ("another image", json!({"name": "a", "image": "x"}), json!({"name": "a", "image": "y"}), false),
            ("another name", json!({"name": "b"}), json!({"name": "a"}), false),
            (
                "order of args",
                json!({"name": "a", "args": ["x", "y"]}),
                json!({"name": "a", "args": ["y", "x"]}),
                false,
            ),
            ("fewer args", json!({"name": "a", "args": ["x", "y"]}), json!({"name": "a", "args": ["x"]}), false),
            ("args absent", json!({"name": "a"}), json!({"name": "a", "args": ["x"]}), false),
            ("args unwanted", json!({"name": "a", "args": ["x"]}), json!({"name": "a", "args": null}), false),
            ("no args", json!({"name": "a"}), json!({"name": "a", "args": []}), true),
            (
                "drop is a list as a whole",
                json!({"name": "a", "securityContext": {"capabilities": {"drop": ["ALL", "X"]}}}),
                json!({"name": "a", "securityContext": {"capabilities": {"drop": ["ALL"]}}}),
                false,
            ),
            (
                "true when absent",
                json!({"name": "a", "securityContext": {}}),
                json!({"name": "a", "securityContext": {"allowPrivilegeEscalation": false}}),
                false,
            ),
            ("false when absent", json!({"name": "a"}), json!({"name": "a", "tty": false}), true),
            ("true, and absent", json!({"name": "a"}), json!({"name": "a", "tty": true}), false),
        ],
        |container| deployment(container, &json!({})),
    );
}

#[test]
fn environment_mounts_and_ports() {
    check(
        &[
            (
                "by name",
                json!([{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]),
                json!([{"name": "A", "value": "1"}]),
                true,
            ),
            ("another value", json!([{"name": "A", "value": "2"}]), json!([{"name": "A", "value": "1"}]), false),
            ("empty values are left out", json!([{"name": "CARD"}]), json!([{"name": "CARD", "value": ""}]), true),
            (
                "and not equal to others",
                json!([{"name": "CARD", "value": "x"}]),
                json!([{"name": "CARD", "value": ""}]),
                false,
            ),
            ("missing", json!([]), json!([{"name": "A", "value": "1"}]), false),
        ],
        |env| deployment(&json!({"name": "a", "env": env}), &json!({})),
    );
    check(
        &[
            (
                "by path",
                json!([{"name": "v", "mountPath": "/b"}, {"name": "v", "mountPath": "/a"}]),
                json!([{"name": "v", "mountPath": "/a"}]),
                true,
            ),
            (
                "another volume",
                json!([{"name": "w", "mountPath": "/a"}]),
                json!([{"name": "v", "mountPath": "/a"}]),
                false,
            ),
            (
                "readOnly false",
                json!([{"name": "v", "mountPath": "/a"}]),
                json!([{"name": "v", "mountPath": "/a", "readOnly": false}]),
                true,
            ),
            (
                "readOnly true",
                json!([{"name": "v", "mountPath": "/a", "readOnly": true}]),
                json!([{"name": "v", "mountPath": "/a", "readOnly": false}]),
                false,
            ),
        ],
        |mounts| deployment(&json!({"name": "a", "volumeMounts": mounts}), &json!({})),
    );
    check(
        &[
            (
                "TCP is the default",
                json!([{"containerPort": 80, "protocol": "TCP"}]),
                json!([{"containerPort": 80}]),
                true,
            ),
            (
                "also the other way",
                json!([{"containerPort": 80}]),
                json!([{"containerPort": 80, "protocol": "TCP"}]),
                true,
            ),
            (
                "UDP is another port",
                json!([{"containerPort": 80, "protocol": "UDP"}]),
                json!([{"containerPort": 80}]),
                false,
            ),
            (
                "by number",
                json!([{"containerPort": 1}, {"containerPort": 2, "name": "x"}]),
                json!([{"containerPort": 2, "name": "x"}]),
                true,
            ),
            ("another number", json!([{"containerPort": 1}]), json!([{"containerPort": 2}]), false),
        ],
        |ports| deployment(&json!({"name": "a", "ports": ports}), &json!({})),
    );
}

#[test]
fn pods() {
    check(
        &[
            ("a container beside", json!({"containers": [{"name": "a"}, {"name": "b"}]}), json!({}), false),
            (
                "an init container",
                json!({"initContainers": [{"name": "b"}]}),
                json!({"initContainers": [{"name": "i"}]}),
                false,
            ),
            (
                "an init container beside",
                json!({"initContainers": [{"name": "i"}, {"name": "j"}]}),
                json!({"initContainers": [{"name": "i"}]}),
                false,
            ),
            (
                "a volume beside",
                json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w"}]}),
                json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
                false,
            ),
            (
                "another sort of volume",
                json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
                json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
                false,
            ),
            (
                "a selector of nodes more",
                json!({"nodeSelector": {"a": "1", "b": "2"}}),
                json!({"nodeSelector": {"a": "1"}}),
                false,
            ),
            ("a token is mounted when absent", json!({}), json!({"automountServiceAccountToken": false}), false),
            (
                "a pull secret more",
                json!({"imagePullSecrets": [{"name": "x"}, {"name": "y"}]}),
                json!({"imagePullSecrets": [{"name": "y"}]}),
                true,
            ),
            ("another service account", json!({"serviceAccountName": "x"}), json!({"serviceAccountName": "y"}), false),
            ("null: absent", json!({}), json!({"priorityClassName": null}), true),
            ("null: present", json!({"priorityClassName": "x"}), json!({"priorityClassName": null}), false),
            (
                "the size of a volume",
                json!({"volumes": [{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}]}),
                json!({"volumes": [{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1024Mi"}}]}),
                true,
            ),
        ],
        |pod| deployment(&json!({"name": "a"}), pod),
    );
}

#[test]
fn quantities_by_value_and_only_where_there_are_some() {
    check(
        &[
            ("cpu", json!({"limits": {"cpu": "500m"}}), json!({"limits": {"cpu": "0.5"}}), true),
            ("a number", json!({"limits": {"cpu": "2"}}), json!({"limits": {"cpu": 2}}), true),
            ("memory", json!({"requests": {"memory": "1Gi"}}), json!({"requests": {"memory": "1073741824"}}), true),
            ("less", json!({"requests": {"memory": "1G"}}), json!({"requests": {"memory": "1Gi"}}), false),
            (
                "one more",
                json!({"requests": {"memory": "1G", "cpu": "1"}}),
                json!({"requests": {"memory": "1G"}}),
                true,
            ),
        ],
        |resources| deployment(&json!({"name": "a", "resources": resources}), &json!({})),
    );
    let arg = |value: &str| deployment(&json!({"name": "a", "args": [value]}), &json!({}));
    assert!(!contains(&arg("1000m"), &arg("1")), "an argument is no quantity");
}

#[test]
fn metadata_counts_as_far_as_it_is_wanted() {
    let object = |meta: &Value| json!({ "kind": "Service", "metadata": meta, "spec": {} });
    check(
        &[
            ("labels of others", json!({"labels": {"a": "1", "b": "2"}}), json!({"labels": {"a": "1"}}), true),
            ("a label missing", json!({"labels": {"b": "2"}}), json!({"labels": {"a": "1"}}), false),
            ("names are how it was found", json!({}), json!({"name": "x", "namespace": "n", "labels": {}}), true),
            (
                "the owner",
                json!({"ownerReferences": [{"uid": "1", "controller": true}, {"uid": "2"}]}),
                json!({"ownerReferences": [{"uid": "1", "controller": true}]}),
                true,
            ),
            (
                "another owner",
                json!({"ownerReferences": [{"uid": "2"}]}),
                json!({"ownerReferences": [{"uid": "1"}]}),
                false,
            ),
            (
                "not its controller",
                json!({"ownerReferences": [{"uid": "1"}]}),
                json!({"ownerReferences": [{"uid": "1", "controller": true}]}),
                false,
            ),
        ],
        object,
    );
}

#[test]
fn services_and_volumes() {
    let service = |spec: &Value| json!({ "kind": "Service", "spec": spec });
    check(
        &[
            (
                "what the cluster gives",
                json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP", "nodePort": 1}]}),
                json!({"ports": [{"port": 80, "targetPort": "http"}]}),
                true,
            ),
            (
                "another target",
                json!({"ports": [{"port": 80, "targetPort": 81}]}),
                json!({"ports": [{"port": 80, "targetPort": 80}]}),
                false,
            ),
            (
                "a number as text",
                json!({"ports": [{"port": 80, "targetPort": 80}]}),
                json!({"ports": [{"port": 80, "targetPort": "80"}]}),
                true,
            ),
            ("a selector more", json!({"selector": {"a": "1", "b": "2"}}), json!({"selector": {"a": "1"}}), false),
        ],
        service,
    );
    for (kind, expected) in [("PersistentVolume", true), ("PersistentVolumeClaim", false)] {
        let wanted = json!({ "kind": kind, "spec": { "storageClassName": "" } });
        assert_eq!(contains(&json!({ "spec": {} }), &wanted), expected, "{kind}");
    }
    let volume = |size: &str| json!({ "kind": "PersistentVolume", "spec": { "capacity": { "storage": size } } });
    assert!(contains(&volume("10Gi"), &volume("10240Mi")));
}

#[test]
fn network_policies_say_no_more_and_no_less() {
    let live = json!({
        "metadata": { "labels": { "x": "y", "z": "" } },
        "spec": {
            "podSelector": {}, "policyTypes": ["Ingress"],
            "ingress": [{ "from": [{ "podSelector": { "matchLabels": { "a": "b" } } }], "ports": [{ "port": 80, "protocol": "TCP" }] }]
        }
    });
    let wanted = json!({
        "kind": "NetworkPolicy", "metadata": { "name": "p", "labels": { "x": "y" } },
        "spec": {
            "podSelector": { "matchLabels": {} }, "policyTypes": ["Ingress"], "egress": [],
            "ingress": [{ "from": [{ "podSelector": { "matchLabels": { "a": "b" } } }], "ports": [{ "port": 80 }] }]
        }
    });
    assert!(contains(&live, &wanted));
    let changes: [(&str, Value); 8] = [
        ("/spec/ingress/0/from/0/namespaceSelector", json!({})),
        ("/spec/ingress/0/from/1", json!({ "podSelector": {} })),
        ("/spec/ingress/0/ports/1", json!({ "port": 81 })),
        ("/spec/ingress/0/ports/0/endPort", json!(90)),
        ("/spec/ingress/1", json!({})),
        ("/spec/podSelector/matchLabels", json!({ "a": "b" })),
        ("/spec/policyTypes/1", json!("Egress")),
        ("/spec/egress", json!([{}])),
    ];
    for (path, value) in changes {
        let mut live = live.clone();
        let patch: json_patch::Patch =
            serde_json::from_value(json!([{ "op": "add", "path": path, "value": value }])).unwrap();
        json_patch::patch(&mut live, &patch).unwrap();
        assert!(!contains(&live, &wanted), "{path}");
    }
}

#[test]
fn cilium_policies_are_compared_as_a_whole() {
    let live = |more: Value| {
        let mut live =
            json!({ "specs": [{ "endpointSelector": {}, "ingress": [{}] }], "status": { "conditions": [] } });
        merge(&mut live, &more);
        live
    };
    let wanted = json!({
        "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
        "specs": [{ "endpointSelector": {}, "ingress": [{}], "egress": null }]
    });
    assert!(contains(&live(json!({})), &wanted));
    let mut without = wanted.clone();
    without["spec"] = Value::Null;
    assert!(contains(&live(json!({})), &without), "null: absent");
    assert!(!contains(&live(json!({ "spec": { "endpointSelector": {} } })), &wanted), "the former form beside ours");
    assert!(!contains(&live(json!({ "specs": [] })), &wanted));
    assert!(!contains(
        &live(json!({ "specs": [{ "endpointSelector": {}, "ingress": [{}], "egress": [{}] }] })),
        &wanted
    ));
    assert!(
        !contains(&live(json!({ "specs": [{ "endpointSelector": {}, "ingress": [] }] })), &wanted),
        "denies nothing"
    );
}

/// Any JSON, of the size of a small object.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0_i64..9000).prop_map(Value::from),
        "[a-zA-Z0-9.]{0,6}".prop_map(Value::from),
    ];
    let key =
        prop_oneof!["[a-z]{1,6}", Just("ports".to_owned()), Just("limits".to_owned()), Just("metadata".to_owned())];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn everything_holds_what_it_is(spec in any_json(), kind in prop_oneof![Just("NetworkPolicy"), Just("Job")]) {
        let object = json!({ "kind": kind, "metadata": { "labels": { "a": "b" } }, "spec": spec });
        prop_assert!(contains(&object, &object));
    }

    #[test]
    fn never_panics(live in any_json(), wanted in any_json()) {
        let _ = contains(&live, &wanted);
    }
}
