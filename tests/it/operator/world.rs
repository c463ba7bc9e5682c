//! Where a scenario takes place: a cluster, the operator on it, and a namespace.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chorus::server::{
    clock::{Clock, SystemClock},
    operator::{
        api::crds::crds,
        cluster::{Operator, Options, Running},
        settings::Settings,
    },
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::cluster::{
    Cluster, Session, VirtualClock,
    kubelet::{Behaviour, Kubelet},
};

/// The environment variable that names a real cluster.
const KUBECONFIG: &str = "CHORUS_TEST_KUBECONFIG";
/// How long a condition is awaited. In memory this is virtual.
const DEADLINE: Duration = Duration::from_secs(900);
/// An image that answers on 8080 as anybody, and whose entry point ends well without arguments.
const SERVER_IMAGE: &str = "docker.io/nginxinc/nginx-unprivileged";

/// The settings of the tests: images that a real cluster can pull.
pub fn settings() -> Settings {
    Settings {
        registry: "registry.k8s.io".to_owned(),
        xpra_server_image: Some(SERVER_IMAGE.to_owned()),
        init_container_image: Some(SERVER_IMAGE.to_owned()),
        ..Settings::default()
    }
}

/// The only operator there is.
pub fn alone() -> Options {
    Options { leader_elect: false, ..Options::default() }
}

/// A cluster, the operator on it, and a namespace.
pub struct World {
    /// The client of the scenario.
    pub client: Client,
    pub namespace: String,
    /// None on a real cluster.
    pub memory: Option<Memory>,
    clock: Arc<dyn Clock>,
    operator: Option<Running>,
}

/// What only a cluster in memory has.
pub struct Memory {
    pub cluster: Cluster,
    pub kubelet: Kubelet,
    pub clock: Arc<VirtualClock>,
    /// The operator's connection.
    pub session: Session,
}

/// Runs a scenario in memory, and on a real cluster if there is one.
pub fn anywhere(name: &str, scenario: impl AsyncFn(&mut World)) {
    in_memory(&scenario);
    let Ok(file) = std::env::var(KUBECONFIG) else {
        println!("{name}: not run on a real cluster, since {KUBECONFIG} names none");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::real(&file, name).await;
        scenario(&mut world).await;
        world.clean_up().await;
    });
}

/// Runs a scenario in memory, in virtual time.
pub fn in_memory(scenario: impl AsyncFn(&mut World)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::in_memory();
        scenario(&mut world).await;
    });
}

impl World {
    /// A cluster in memory, with a kubelet and no operator yet.
    pub fn in_memory() -> Self {
        let clock = VirtualClock::new();
        let cluster = Cluster::new(clock.clone());
        let kubelet = Kubelet::start(&cluster);
        kubelet.script("hello-world", Behaviour::Completes(Duration::from_secs(5)));
        let session = cluster.session("operator");
        let memory = Memory { kubelet, session, clock: clock.clone(), cluster };
        Self {
            client: memory.cluster.client(),
            namespace: "w1".to_owned(),
            clock,
            operator: None,
            memory: Some(memory),
        }
    }

    async fn real(file: &str, name: &str) -> Self {
        let kubeconfig = kube::config::Kubeconfig::read_from(file).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let namespace = format!("chorus-test-{name}-{}", std::process::id());
        let world = Self { client, namespace, memory: None, clock: Arc::new(SystemClock), operator: None };
        for crd in crds() {
            let api = Api::all(world.client.clone());
            let name = crd.metadata.name.clone().unwrap();
            api.patch(&name, &PatchParams::apply("chorus-test").force(), &Patch::Apply(&crd)).await.unwrap();
            let established = kube::runtime::conditions::is_crd_established();
            timeout(DEADLINE, await_condition(api, &name, established)).await.unwrap().unwrap();
        }
        world.create(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": world.namespace } })).await;
        world
    }

    /// Removes the namespace of a real cluster, with all that is in it. The resource definitions stay.
    async fn clean_up(mut self) {
        self.delete_all("Workbench").await;
        self.stop().await;
        self.delete("Namespace", &self.namespace.clone()).await;
    }

    pub fn memory(&self) -> &Memory {
        self.memory.as_ref().expect("a scenario in memory")
    }

    /// Starts the operator, or starts it again.
    pub fn start(&mut self) {
        self.start_with(settings());
    }

    /// Starts it with these settings.
    pub fn start_with(&mut self, settings: Settings) {
        // the one before ends here
        self.operator = None;
        let client = match &mut self.memory {
            Some(memory) => {
                memory.session = memory.cluster.session("operator");
                memory.session.client()
            }
            None => self.client.clone(),
        };
        self.operator = Some(Operator::new(client, settings, alone(), self.clock.clone()).start());
    }

    /// Another operator, with a connection of its own; it ends when it is dropped.
    pub fn mortal(&self) -> (Session, Running) {
        let session = self.memory().cluster.session("operator");
        let running = Operator::new(session.client(), settings(), alone(), self.clock.clone()).start();
        (session, running)
    }

    /// Another operator, after the one before has died.
    pub fn successor(&self) -> Running {
        self.mortal().1
    }

    /// Stops the operator in an orderly way.
    pub async fn stop(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.stop().await;
        }
    }

    /// Ends the operator as a process is killed.
    pub fn kill(&mut self) {
        self.memory().session.kill();
        self.operator = None;
    }

    /// The objects of a kind.
    pub fn api(&self, kind: &str) -> Api<DynamicObject> {
        let (group, version) = match kind {
            "Deployment" => ("apps", "v1"),
            "Job" => ("batch", "v1"),
            "NetworkPolicy" => ("networking.k8s.io", "v1"),
            "CiliumNetworkPolicy" => ("cilium.io", "v2"),
            "CSIDriver" => ("storage.k8s.io", "v1"),
            "Workbench" | "Workspace" => ("default.chorus-tre.ch", "v1alpha1"),
            _ => ("", "v1"),
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match kind {
            "Namespace" | "PersistentVolume" | "CSIDriver" => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), &self.namespace, &resource),
        }
    }

    /// An object, or null.
    pub async fn get(&self, kind: &str, name: &str) -> Value {
        json_of(self.api(kind).get_opt(name).await.unwrap().as_ref())
    }

    /// The objects of a kind with these labels.
    pub async fn list(&self, kind: &str, labels: &str) -> Vec<Value> {
        let list = self.api(kind).list(&kube::api::ListParams::default().labels(labels)).await.unwrap();
        list.items.iter().map(|object| json_of(Some(object))).collect()
    }

    /// Creates an object.
    pub async fn create(&self, object: Value) {
        let kind = object["kind"].as_str().unwrap().to_owned();
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        self.api(&kind).create(&PostParams::default(), &object).await.unwrap();
    }

    /// Changes an object, as people do.
    pub async fn patch(&self, kind: &str, name: &str, patch: Value) {
        let params = PatchParams { field_manager: Some("people".to_owned()), ..PatchParams::default() };
        self.api(kind).patch(name, &params, &Patch::Merge(&patch)).await.unwrap();
    }

    /// Deletes an object, with what belongs to it, if it is there.
    pub async fn delete(&self, kind: &str, name: &str) {
        match self.api(kind).delete(name, &DeleteParams::background()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn delete_all(&self, kind: &str) {
        for object in self.list(kind, "").await {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            self.delete(kind, &name).await;
            self.until(kind, &name, "gone", Value::is_null).await;
        }
    }

    /// Waits until something holds of an object; it is null while it is not there.
    pub async fn until(&self, kind: &str, name: &str, what: &str, holds: impl Fn(&Value) -> bool) {
        let wait = async {
            loop {
                let condition = |object: Option<&DynamicObject>| holds(&json_of(object));
                // a watch that breaks is begun again
                if await_condition(self.api(kind), name, condition).await.is_ok() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        if timeout(DEADLINE, wait).await.is_err() {
            let object = self.get(kind, name).await;
            let calls = self.memory.as_ref().map(|memory| memory.cluster.calls()).unwrap_or_default();
            let last: Vec<_> = calls.iter().rev().take(30).rev().map(ToString::to_string).collect();
            panic!("never {what}: {kind} {name}: {object:#}\nlast calls:\n{}", last.join("\n"));
        }
    }

    /// Waits until an app of the workbench fares like this.
    pub async fn until_app(&self, workbench: &str, app: &str, status: &str) {
        let what = format!("{app} {status}");
        self.until("Workbench", workbench, &what, |object| object["status"]["apps"][app]["status"] == status).await;
    }

    /// Waits until the workbench is ready, and its status is about its spec.
    pub async fn until_ready(&self, workbench: &str) {
        self.until("Workbench", workbench, "ready", |object| {
            object["status"]["serverDeployment"]["serverPod"]["ready"] == true
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
                && condition(object, "Ready") == "True"
        })
        .await;
    }

    /// Waits until a label selects no object of a kind.
    pub async fn until_none(&self, kind: &str, labels: &str) {
        for object in self.list(kind, labels).await {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            let uid = object["metadata"]["uid"].clone();
            self.until(kind, &name, "gone", |object| object["metadata"]["uid"] != uid).await;
        }
    }

    /// A workspace of this mode, in force.
    pub async fn workspace(&self, mode: &str) {
        self.create(self.workspace_object(mode)).await;
        self.until("Workspace", &self.namespace, mode, |object| object["status"]["networkPolicy"]["status"] == mode)
            .await;
    }

    pub fn workspace_object(&self, mode: &str) -> Value {
        json!({ "apiVersion": "default.chorus-tre.ch/v1alpha1", "kind": "Workspace", "metadata": { "name": self.namespace, "namespace": self.namespace },
            "spec": { "networkPolicy": mode } })
    }

    /// A workbench with these apps: id and image.
    pub fn workbench_object(&self, name: &str, apps: &[(&str, &str)]) -> Value {
        let apps: BTreeMap<_, _> = apps.iter().map(|&(id, image)| (id, app(image))).collect();
        json!({ "apiVersion": "default.chorus-tre.ch/v1alpha1", "kind": "Workbench", "metadata": { "name": name, "namespace": self.namespace },
            "spec": { "server": { "version": "1.27-alpine", "user": "anna", "userid": 2001 }, "initContainer": { "version": "1.27-alpine" },
                "storage": { "s3": false, "nfs": false }, "apps": apps } })
    }

    pub async fn workbench(&self, name: &str, apps: &[(&str, &str)]) {
        self.create(self.workbench_object(name, apps)).await;
    }

    /// Changes one app.
    pub async fn set_app(&self, workbench: &str, id: &str, change: Value) {
        self.patch("Workbench", workbench, json!({ "spec": { "apps": { id: change } } })).await;
    }

    /// How often the operator has written so far, beside leases.
    pub fn written(&self) -> usize {
        let calls = self.memory().cluster.calls();
        calls.iter().filter(|call| call.client == "operator" && call.writes() && call.kind != "Lease").count()
    }

    /// Waits until the operator has nothing to write any more, and sees that it stays so.
    pub async fn quiet(&self) {
        if self.memory.is_none() {
            return;
        }
        let mut before = usize::MAX;
        for _ in 0..200 {
            if before == self.written() {
                break;
            }
            before = self.written();
            // longer than it waits after any failure
            tokio::time::sleep(Duration::from_secs(310)).await;
        }
        tokio::time::sleep(Duration::from_secs(600)).await;
        let calls = self.memory().cluster.calls();
        let writes: Vec<_> =
            calls.iter().filter(|call| call.client == "operator" && call.writes()).map(ToString::to_string).collect();
        let late = self.written() - before;
        assert_eq!(late, 0, "after convergence: {:#?}", &writes[writes.len() - late..]);
    }

    /// Everything in the namespace, without what differs from run to run.
    pub fn picture(&self) -> BTreeMap<String, Value> {
        let kinds = [
            "Workspace",
            "Workbench",
            "Deployment",
            "Service",
            "Job",
            "NetworkPolicy",
            "CiliumNetworkPolicy",
            "PersistentVolumeClaim",
        ];
        let cluster = &self.memory().cluster;
        let objects = kinds.iter().flat_map(|kind| cluster.list(kind, ""));
        let mut picture: BTreeMap<_, _> = objects.map(picture_of).collect();
        for pod in cluster.list("Pod", "") {
            let image = &pod["spec"]["containers"][0]["image"];
            let of = format!("pods of {} {image}", pod["metadata"]["ownerReferences"][0]["name"]);
            let count = picture.entry(of).or_insert(json!(0));
            *count = (count.as_i64().unwrap_or(0) + 1).into();
        }
        picture
    }
}

/// An app of this image.
pub fn app(image: &str) -> Value {
    let (path, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    let (registry, repository) = path.split_once('/').unwrap_or(("registry.k8s.io", path));
    let name = repository.rsplit('/').next().unwrap_or_default();
    json!({ "name": name, "image": { "registry": registry, "repository": repository, "tag": tag } })
}

/// An app that goes on until it is stopped.
pub const RUNS: &str = "registry.k8s.io/pause:3.10";
/// An app that ends well by itself.
pub const ENDS: &str = "docker.io/library/hello-world:latest";

/// The status of a condition, or nothing.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    find(object, kind)["status"].as_str().unwrap_or_default()
}

/// The reason of a condition, or nothing.
pub fn reason<'a>(object: &'a Value, kind: &str) -> &'a str {
    find(object, kind)["reason"].as_str().unwrap_or_default()
}

fn find<'a>(object: &'a Value, kind: &str) -> &'a Value {
    static NONE: Value = Value::Null;
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or(&NONE)
}

fn json_of(object: Option<&DynamicObject>) -> Value {
    object.map(|object| serde_json::to_value(object).unwrap()).unwrap_or_default()
}

/// An object without uids, versions, times and names that are made up.
fn picture_of(mut object: Value) -> (String, Value) {
    let name = format!("{} {}/{}", object["kind"], object["metadata"]["namespace"], object["metadata"]["name"]);
    let metadata = &object["metadata"];
    object["metadata"] = json!({ "labels": metadata["labels"], "finalizers": metadata["finalizers"],
        "owner": metadata["ownerReferences"][0]["name"], "going": metadata["deletionTimestamp"].is_string() });
    scrub(&mut object);
    if object["kind"] != "Workbench" && object["kind"] != "Workspace" {
        object["status"] = Value::Null;
    }
    (name, object)
}

fn scrub(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, _| {
                !matches!(
                    name.as_str(),
                    "clusterIP"
                        | "clusterIPs"
                        | "lastTransitionTime"
                        | "controller-uid"
                        | "batch.kubernetes.io/controller-uid"
                        | "observedGeneration"
                        | "revision"
                ) && !name.starts_with("chorus-tre.ch/not-ready")
            });
            map.values_mut().for_each(scrub);
        }
        Value::Array(list) => list.iter_mut().for_each(scrub),
        _ => {}
    }
}
