use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};

use super::{super::api::crds, *};

/// An API server that answers by path, and notes what it is asked.
#[derive(Clone, Default)]
struct Server {
    objects: BTreeMap<String, Value>,
    forbidden: Vec<&'static str>,
    denied: Vec<&'static str>,
    asked: Arc<Mutex<Vec<(Method, String)>>>,
}

impl Server {
    fn with(mut self, path: &str, object: Value) -> Self {
        self.objects.insert(path.to_owned(), object);
        self
    }

    fn without(mut self, path: &str) -> Self {
        assert!(self.objects.remove(path).is_some(), "{path}");
        self
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let path = parts.uri.path().to_owned();
                server.asked.lock().unwrap().push((parts.method.clone(), path.clone()));
                let (code, answer) = server.answer(&parts.method, &path, &body);
                let response = Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()));
                Ok::<_, std::convert::Infallible>(response.unwrap())
            }
        });
        Client::new(service, "default")
    }

    fn answer(&self, method: &Method, path: &str, body: &[u8]) -> (StatusCode, Value) {
        let failure = |code: StatusCode| {
            (
                code,
                json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "no",
                "reason": if code == StatusCode::NOT_FOUND { "NotFound" } else { "Forbidden" }, "code": code.as_u16() }),
            )
        };
        if self.forbidden.iter().any(|part| path.contains(part)) {
            return failure(StatusCode::FORBIDDEN);
        }
        if path.ends_with("/selfsubjectaccessreviews") {
            let mut review: Value = serde_json::from_slice(body).unwrap();
            let resource = review["spec"]["resourceAttributes"]["resource"].as_str().unwrap().to_owned();
            review["status"] = json!({ "allowed": !self.denied.contains(&resource.as_str()) });
            return (StatusCode::CREATED, review);
        }
        if path.ends_with("/selfsubjectreviews") {
            return (StatusCode::CREATED, json!({ "status": { "userInfo": { "username": "admin" } } }));
        }
        assert_eq!(method, Method::GET, "{path}");
        self.objects.get(path).map_or_else(|| failure(StatusCode::NOT_FOUND), |object| (StatusCode::OK, object.clone()))
    }

    async fn examine(&self, settings: Settings) -> Vec<Row> {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        examine(&self.client(), &Options { namespace: "chorus".to_owned(), settings, now }).await
    }
}

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const DAEMON_SETS: &str = "/apis/apps/v1/daemonsets";
const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";
const OURS: &str = "/apis/apps/v1/namespaces/chorus/deployments/chorus-operator";
const NFS: &str = "/api/v1/namespaces/kube-system/secrets/nfs-secret";
const WORKBENCHES: &str = "/apis/default.chorus-tre.ch/v1alpha1/workbenches";
const WORKSPACES: &str = "/apis/default.chorus-tre.ch/v1alpha1/workspaces";

fn list(items: &[Value]) -> Value {
    json!({ "metadata": { "resourceVersion": "1" }, "items": items })
}

fn daemon_set(name: &str, image: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "selector": {}, "template": { "spec": {
        "containers": [{ "name": "agent", "image": image }] } } } })
}

fn deployment(namespace: &str, image: &str, replicas: i32, ready: i32) -> Value {
    json!({ "metadata": { "name": "d", "namespace": namespace },
        "spec": { "replicas": replicas, "selector": {}, "template": { "spec": { "containers": [{ "name": "c", "image": image }] } } },
        "status": { "readyReplicas": ready } })
}

/// A cluster where nothing is wrong.
fn sound() -> Server {
    let mut server = Server::default()
        .with("/version", json!({ "major": "1", "minor": "33+", "gitVersion": "v1.33.2", "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": "" }))
        .with("/apis/cilium.io/v2", json!({ "groupVersion": "cilium.io/v2", "resources": [{ "name": "ciliumnetworkpolicies",
            "singularName": "", "namespaced": true, "kind": "CiliumNetworkPolicy", "verbs": [] }] }))
        .with(DAEMON_SETS, list(&[daemon_set("cilium", "quay.io/cilium/cilium:v1.18.2@sha256:0")]))
        .with("/apis/storage.k8s.io/v1/csidrivers/csi.juicefs.com", json!({ "metadata": {}, "spec": {} }))
        .with("/apis/storage.k8s.io/v1/csidrivers/nfs.csi.k8s.io", json!({ "metadata": {}, "spec": {} }))
        .with("/api/v1/namespaces/kube-system/secrets/juicefs-secret", json!({ "data": { "name": "c2VjcmV0bmFtZQ==" } }))
        .with(NFS, json!({ "data": { "server": "YQ==", "share": "Yg==" } }))
        .with(OURS, deployment("chorus", "chorus:1", 2, 2))
        .with(DEPLOYMENTS, list(&[]))
        .with("/apis/coordination.k8s.io/v1/namespaces/chorus/leases/744cc179.chorus-tre.ch", json!({ "spec": {
            "holderIdentity": "chorus-operator-1", "renewTime": "1970-01-12T13:46:39.000000Z", "leaseDurationSeconds": 15 } }))
        .with(WORKBENCHES, list(&[]))
        .with(WORKSPACES, list(&[]));
    for crd in crds::crds() {
        let path = format!("{CRDS}/{}", crd.metadata.name.clone().unwrap());
        server = server.with(&path, serde_json::to_value(crd).unwrap());
    }
    server
}

/// Those rows that are not as they should be: `state check: found`.
fn wrong(rows: &[Row]) -> Vec<String> {
    let wrong = rows.iter().filter(|row| row.state > State::Ok);
    wrong.map(|row| format!("{} {}: {}", row.state, row.check, row.found)).collect()
}

#[tokio::test]
async fn a_sound_cluster_and_nothing_is_written() {
    let server = sound();
    let rows = server.examine(Settings::default()).await;
    assert_eq!(wrong(&rows), Vec::<String>::new());
    assert!(is_healthy(&rows) && rows.iter().all(|row| row.todo.is_empty()));
    let text = table(&rows, None);
    assert_eq!(text.lines().count(), rows.len() + 1);
    assert!(text.starts_with("CHECK  ") && text.contains("admin has all "), "{text}");
    assert!(!text.contains("secretname") && !text.contains("c2Vjcm"), "{text}");
    let asked = server.asked.lock().unwrap();
    let writes = asked.iter().filter(|(method, path)| method != Method::GET && !path.contains("selfsubject"));
    assert_eq!(writes.count(), 0);
}

#[tokio::test]
async fn an_empty_cluster() {
    let version = sound().objects["/version"].clone();
    let server = Server { denied: vec!["secrets"], ..Server::default() }
        .with("/version", version)
        .with(DAEMON_SETS, list(&[]))
        .with(DEPLOYMENTS, list(&[]));
    let settings = Settings { workbench_priority_class: Some("low".to_owned()), ..Settings::default() };
    let rows = server.examine(settings).await;
    assert_eq!(
        wrong(&rows),
        [
            "FAIL CRD workbenches.default.chorus-tre.ch: not installed",
            "FAIL CRD workspaces.default.chorus-tre.ch: not installed",
            "FAIL permissions: admin may not get, list, watch secrets juicefs-secret in kube-system (the object storage)",
            "FAIL permissions: admin may not get, list, watch secrets nfs-secret in kube-system (the NFS server)",
            "warn Cilium: not installed",
            "warn network plug-in: none that is known",
            "warn CSI driver csi.juicefs.com: not installed",
            "warn CSI driver nfs.csi.k8s.io: not installed",
            "warn Secret kube-system/juicefs-secret: missing, so the archive is not mounted",
            "warn Secret kube-system/nfs-secret: missing, so the scratch space is not mounted",
            "FAIL priority class low: missing, so its pods are refused",
            "warn operator: no Deployment chorus-operator in chorus",
            "warn lease: held by nobody",
        ]
    );
    assert!(rows.iter().all(|row| (row.state > State::Ok) != row.todo.is_empty()));
    let json = serde_json::to_value(&rows[1]).unwrap();
    assert_eq!((&json["state"], &json["found"]), (&json!("fail"), &json!("not installed")));
}

#[tokio::test]
async fn what_is_wrong_is_found() {
    let crd = format!("{CRDS}/workbenches.default.chorus-tre.ch");
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut object = sound().objects[&crd].clone();
        change(&mut object["spec"]["versions"][0]);
        sound().with(&crd, object)
    };
    let spec = "/schema/openAPIV3Schema/properties/spec/properties";
    let former =
        |namespace: &str| sound().with(DEPLOYMENTS, list(&[deployment(namespace, "r/workbench-operator:0.4", 1, 1)]));
    let workbench = json!({ "metadata": { "name": "w", "namespace": "n" }, "spec": { "apps": { "a": { "name": "a", "image": {},
        "kioskConfig": { "url": "http://token" } } }, "former": 1 } });
    let mut old = sound().objects["/version"].clone();
    old["minor"] = json!("28");
    old["gitVersion"] = json!("v1.28.1");
    for (server, wanted) in [
        (sound().with("/version", old), "FAIL API server: v1.28.1"),
        (
            changed(&|version| drop(version.pointer_mut(spec).unwrap().as_object_mut().unwrap().remove("suspended"))),
            "FAIL CRD workbenches.default.chorus-tre.ch: of another version; fields that are dropped: spec.suspended",
        ),
        (
            changed(&|version| version.pointer_mut(spec).unwrap()["apps"]["maxProperties"] = json!(5)),
            "warn CRD workbenches.default.chorus-tre.ch: has all fields, with other bounds or defaults",
        ),
        (
            changed(&|version| version["served"] = json!(false)),
            "FAIL CRD workbenches.default.chorus-tre.ch: does not serve v1alpha1",
        ),
        (
            sound().with(WORKBENCHES, list(&[workbench])),
            "warn stored workbenches: 1 of 1 do not fit the schema: n/w: spec.apps.a.kioskConfig.url: must match ^https://.*$",
        ),
        (sound().with(DAEMON_SETS, list(&[daemon_set("cilium", "cilium:1.17.0")])), "warn Cilium: 1.17"),
        (
            sound().with(DAEMON_SETS, list(&[daemon_set("cilium", "cilium:1.19")])).without("/apis/cilium.io/v2"),
            "warn Cilium: not installed",
        ),
        (
            sound().with(NFS, json!({ "data": { "server": "YQ==", "share": "" } })),
            "FAIL Secret kube-system/nfs-secret: lacks share, so the scratch space is not mounted",
        ),
        (sound().with(OURS, deployment("chorus", "chorus:1", 2, 0)), "FAIL operator: 0 of 2 ready"),
        (former("chorus"), "warn former operator: chorus/d runs; the lease keeps the two apart"),
        (former("old"), "FAIL former operator: old/d runs, with a lease of its own: both would write"),
        (sound().with(DEPLOYMENTS, list(&[deployment("old", "r/workbench-operator:0.4", 0, 0)])), ""),
        (sound().with(DEPLOYMENTS, list(&[deployment("old", "r/another:0.4", 1, 1)])), ""),
        (
            Server { forbidden: vec!["/daemonsets", "/customresourcedefinitions"], ..sound() },
            "warn CRDs: not allowed to look|warn Cilium: not allowed to look|warn network plug-in: not allowed to look",
        ),
        (
            Server { denied: vec!["leases"], ..sound() },
            "FAIL permissions: admin may not create leases.coordination.k8s.io in chorus (one leader)|\
             FAIL permissions: admin may not get, patch leases.coordination.k8s.io 744cc179.chorus-tre.ch in chorus (one leader)",
        ),
    ] {
        let rows = server.examine(Settings::default()).await;
        assert_eq!(wrong(&rows).join("|"), wanted);
        assert_eq!(is_healthy(&rows), !wanted.contains("FAIL"));
    }
}

#[tokio::test]
async fn network_plug_ins() {
    for (names, wanted) in [
        (["kube-flannel-ds", "kube-proxy"], "FAIL network plug-in: Flannel, which enforces no network policies"),
        (["kube-flannel-ds", "calico-node"], ""),
        (
            ["aws-node", "kube-proxy"],
            "warn network plug-in: Amazon VPC CNI, which enforces network policies if configured so",
        ),
        (["kube-proxy", "x"], "warn network plug-in: none that is known"),
    ] {
        let sets: Vec<_> = names.iter().map(|name| daemon_set(name, "x:v1.20")).collect();
        let rows = sound().with(DAEMON_SETS, list(&sets)).examine(Settings::default()).await;
        assert_eq!(wrong(&rows).join("|"), wanted);
    }
}

#[tokio::test]
async fn no_answer_ends_it() {
    let service =
        tower::service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>(std::io::Error::other("refused")) });
    let options = Options { namespace: String::new(), settings: Settings::default(), now: DateTime::UNIX_EPOCH };
    let rows = examine(&Client::new(service, "default"), &options).await;
    assert_eq!(rows.len(), 1);
    assert!(wrong(&rows)[0].starts_with("FAIL API server: no answer: "), "{rows:?}");
}

#[test]
fn what_comes_from_the_cluster_steers_no_terminal() {
    let rows = [Row::warn("lease", "held by \u{1b}[2J\nx", "")];
    let text = table(&rows, Some(80));
    assert!(!text.contains('\u{1b}') && text.lines().count() == 2, "{text:?}");
}
