//! The watches that fill the caches: one task a kind, which never gives up.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::{
    Api, Client,
    api::ApiResource,
    runtime::watcher::{self, Event},
};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::sleep,
};

use super::{
    super::{
        api::{GROUP, MANAGER, VERSION, labels},
        live::Kind,
        settings::SecretRef,
    },
    caches::{Caches, Key, is_claim, namespace_of_volume},
    project::{Kinds, Remembered},
    shared::Shared,
    store::{Change, Store},
    telemetry,
    wire::Wire,
};

/// The first and the longest wait after a failure of a watch.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// How many objects a page of the first list holds: what is parsed and not yet projected is in memory at once.
const PAGE: u32 = 250;

/// One kind to watch.
struct Watch<T: Remembered> {
    caches: Arc<Caches>,
    kind: Kinds,
    /// For logs and metrics.
    name: &'static str,
    store: fn(&Caches) -> &Shared<T>,
    changed: fn(&Caches, &Change<T>, Option<&Key>),
    /// What is remembered at all.
    keep: fn(&T) -> bool,
    /// What to do when the first list is complete.
    complete: fn(&Caches),
}

/// Starts all watches. They end with the set.
pub fn start(client: &Client, caches: &Arc<Caches>, discovery: Duration) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let workbenches = watch(caches, "Workbench", |caches| &caches.workbenches, Caches::workbench_changed);
    tasks.spawn(workbenches.run(custom(client, "Workbench", "workbenches"), all()));
    let workspaces = watch(caches, "Workspace", |caches| &caches.workspaces, Caches::workspace_changed);
    tasks.spawn(workspaces.run(custom(client, "Workspace", "workspaces"), all()));
    children(client, caches, &mut tasks);
    storage(client, caches, &mut tasks);
    tasks.spawn(discover(client.clone(), Arc::clone(caches), discovery));
    tasks
}

fn children(client: &Client, caches: &Arc<Caches>, tasks: &mut JoinSet<()>) {
    let deployments = watch(caches, "Deployment", |caches| &caches.deployments, Caches::child_changed);
    tasks.spawn(deployments.run_kind(client, Kind::Deployment, all().labels(labels::WORKBENCH)));
    let services = watch(caches, "Service", |caches| &caches.services, Caches::child_changed);
    tasks.spawn(services.run_kind(client, Kind::Service, all().labels(labels::WORKBENCH)));
    let jobs = watch(caches, "Job", |caches| &caches.jobs, Caches::job_changed);
    tasks.spawn(jobs.run_kind(client, Kind::Job, all().labels(labels::WORKBENCH)));
    let setups = watch(caches, "Job", |caches| &caches.setups, Caches::job_changed);
    tasks.spawn(setups.run_kind(client, Kind::Job, all().labels(labels::STORAGE)));
    let policies = watch(caches, "NetworkPolicy", |caches| &caches.policies, Caches::policy_changed);
    let ours = format!("{}={MANAGER}", labels::MANAGED_BY);
    tasks.spawn(policies.run_kind(client, Kind::NetworkPolicy, all().labels(&ours)));
    let servers = watch(caches, "Pod", |caches| &caches.server_pods, Caches::pod_changed);
    tasks.spawn(servers.run(core(client, "Pod", "pods"), all().labels(labels::WORKBENCH)));
    let apps = watch(caches, "Pod", |caches| &caches.app_pods, Caches::pod_changed);
    tasks.spawn(apps.run(core(client, "Pod", "pods"), all().labels(labels::APP)));
}

fn storage(client: &Client, caches: &Arc<Caches>, tasks: &mut JoinSet<()>) {
    let mut volumes = watch(caches, "PersistentVolume", |caches| &caches.volumes, Caches::volume_changed);
    volumes.keep = |volume| namespace_of_volume(&volume.meta.name).is_some();
    tasks.spawn(volumes.run_kind(client, Kind::PersistentVolume, all()));
    let mut claims = watch(caches, "PersistentVolumeClaim", |caches| &caches.claims, Caches::claim_changed);
    claims.keep = |claim| is_claim(&claim.meta.namespace, &claim.meta.name);
    tasks.spawn(claims.run_kind(client, Kind::PersistentVolumeClaim, all()));
    let drivers = watch(caches, "CSIDriver", |caches| &caches.drivers, Caches::driver_changed);
    tasks.spawn(
        drivers.run(Api::all_with(client.clone(), &resource("storage.k8s.io", "v1", "CSIDriver", "csidrivers")), all()),
    );
    let settings = &caches.settings;
    let juicefs = watch(caches, "Secret", |caches| &caches.juicefs, Caches::storage_secret_changed);
    let (api, config) = secret(client, &settings.juicefs_secret);
    tasks.spawn(juicefs.run(api, config));
    let nfs = watch(caches, "Secret", |caches| &caches.nfs, Caches::storage_secret_changed);
    let (api, config) = secret(client, &settings.nfs_secret);
    tasks.spawn(nfs.run(api, config));
    if let Some(name) = &settings.license_secret {
        let licences = watch(caches, "Secret", |caches| &caches.licences, Caches::licences_changed);
        tasks.spawn(licences.run(core(client, "Secret", "secrets"), all().fields(&format!("metadata.name={name}"))));
    }
}

/// Looks every so often whether the cluster has the policies of Cilium, and watches them while it has.
async fn discover(client: Client, caches: Arc<Caches>, every: Duration) {
    let mut watching = Watching(None);
    let mut failures = 0_u32;
    loop {
        match has_cilium(&client).await {
            Ok(there) => {
                failures = 0;
                if there && watching.0.is_none() {
                    tracing::info!("the cluster has the network policies of Cilium");
                    let mut watch =
                        watch(&caches, "CiliumNetworkPolicy", |caches| &caches.cilium_policies, Caches::policy_changed);
                    watch.complete = Caches::cilium_changed;
                    caches.cilium.store(true, Ordering::Release);
                    let config = all().labels(labels::WORKSPACE);
                    watching = Watching(Some(
                        tokio::spawn(watch.run_kind(&client, Kind::CiliumNetworkPolicy, config)).abort_handle(),
                    ));
                } else if !there && watching.0.is_some() {
                    tracing::warn!("the network policies of Cilium are gone from the cluster");
                    watching = Watching(None);
                    caches.cilium.store(false, Ordering::Release);
                    caches.cilium_policies.change(Store::clear);
                    caches.cilium_changed();
                }
                caches.discovered.store(true, Ordering::Release);
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                tracing::warn!(%error, "cannot ask which kinds the cluster has");
            }
        }
        sleep(if failures == 0 { every } else { wait(failures).min(every) }).await;
    }
}

/// A task that ends with its owner.
struct Watching(Option<AbortHandle>);

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

async fn has_cilium(client: &Client) -> kube::Result<bool> {
    let (version, _, plural) = Kind::CiliumNetworkPolicy.names();
    let request = http::Request::get(format!("/apis/{version}")).body(Vec::new()).map_err(kube::Error::HttpError)?;
    match client.request::<APIResourceList>(request).await {
        Ok(list) => Ok(list.resources.iter().any(|resource| resource.name == plural)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

fn watch<T: Remembered>(
    caches: &Arc<Caches>,
    name: &'static str,
    store: fn(&Caches) -> &Shared<T>,
    changed: fn(&Caches, &Change<T>, Option<&Key>),
) -> Watch<T> {
    Watch { caches: Arc::clone(caches), kind: Kinds::Other, name, store, changed, keep: |_| true, complete: |_| () }
}

impl<T: Remembered> Watch<T> {
    fn run_kind(mut self, client: &Client, kind: Kind, config: watcher::Config) -> impl Future<Output = ()> + use<T> {
        self.kind = Kinds::Child(kind);
        let (api_version, name, plural) = kind.names();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.run(Api::all_with(client.clone(), &resource(group, version, name, plural)), config)
    }

    async fn run(self, api: Api<Wire<T::Wire>>, config: watcher::Config) {
        let mut events = std::pin::pin!(watcher::watcher(api, config));
        let mut failures = 0_u32;
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if failures > 0 && !matches!(event, Event::Init) {
                        tracing::info!(kind = self.name, "watching again");
                        failures = 0;
                    }
                    self.take(event);
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    self.complain(&error, failures);
                    sleep(wait(failures)).await;
                }
            }
        }
    }

    fn take(&self, event: Event<Wire<T::Wire>>) {
        let store = (self.store)(&self.caches);
        let mut changes = Vec::new();
        match event {
            Event::Init => store.change(Store::begin),
            Event::InitApply(wire) | Event::Apply(wire) => {
                if let Some(object) = T::project(self.kind, wire.object).filter(|(object, _)| (self.keep)(object)) {
                    changes.extend(store.change(|store| store.deliver(object)));
                }
            }
            Event::Delete(wire) => {
                let meta = kube::Resource::meta(&wire);
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                let (namespace, name) = (text(&meta.namespace), text(&meta.name));
                let version = text(&meta.resource_version);
                changes.extend(store.change(|store| store.gone(&namespace, &name, &version)));
            }
            Event::InitDone => {
                let first = !store.synced();
                changes = store.change(Store::complete);
                tracing::debug!(kind = self.name, objects = store.len(), "listed");
                if first {
                    (self.complete)(&self.caches);
                }
            }
        }
        for change in changes.iter().filter(|change| change.matters()) {
            (self.changed)(&self.caches, change, None);
        }
    }

    /// The first failure and every tenth are told aloud.
    fn complain(&self, error: &watcher::Error, failures: u32) {
        telemetry::error(self.name, "watch");
        if failures % 10 != 1 {
            tracing::debug!(kind = self.name, %error, failures, "watch");
        } else if matches!(self.name, "Workbench" | "Workspace") && is_missing(error) {
            tracing::error!(
                kind = self.name,
                "the resource definitions are not installed; `chorus operator crds` prints them"
            );
        } else {
            tracing::warn!(kind = self.name, %error, failures, "watch failed, trying again");
        }
    }
}

fn is_missing(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}

fn wait(failures: u32) -> Duration {
    RETRY.0.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(RETRY.1)
}

fn all() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

fn custom<W>(client: &Client, kind: &str, plural: &str) -> Api<Wire<W>> {
    Api::all_with(client.clone(), &resource(GROUP, VERSION, kind, plural))
}

fn core<W>(client: &Client, kind: &str, plural: &str) -> Api<Wire<W>> {
    Api::all_with(client.clone(), &resource("", "v1", kind, plural))
}

fn secret<W>(client: &Client, secret: &SecretRef) -> (Api<Wire<W>>, watcher::Config) {
    let api = Api::namespaced_with(client.clone(), &secret.namespace, &resource("", "v1", "Secret", "secrets"));
    (api, all().fields(&format!("metadata.name={}", secret.name)))
}
