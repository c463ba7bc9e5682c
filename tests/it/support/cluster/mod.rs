//! A Kubernetes cluster in memory, for the tests of the operator: API server, garbage collector, controllers, kubelet.
//!
//! ```text
//! kube::Client ──► serve ──► writes (defaults, rules, apply, generation, finalizers) ──► store ──► watch
//! TCP ───────────────┘              ▲                                                     │
//!                                   └───────────── kubelet (Deployments, Jobs, pods) ◄────┘
//! ```
//!
//! It does what a real server does where the operator could tell the difference, and nothing else: no RBAC but what a test
//! takes away, no admission, no schemas of custom resources beyond our own types. Namespaces need not exist.
//! Everything that it makes up (uids, names, addresses) is counted, and time is the given clock, so a test that fails fails
//! again.

mod apply;
mod control;
mod defaults;
mod failure;
mod fields;
pub mod kubelet;
mod resources;
mod rules;
mod select;
mod serve;
mod store;
mod time;
mod watch;
mod writes;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use chorus::server::clock::Clock;
use serde_json::{Value, json};

use control::Control;
pub use control::{Call, Fault, Session};
use resources::{OPTIONAL, by_kind};
use select::Selection;
use store::{Key, Store, Told};
pub use time::VirtualClock;
use writes::Writing;

/// The cluster. Clones are the same one.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    store: Mutex<Store>,
    control: Mutex<Control>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// An empty cluster with this time.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { store: Mutex::default(), control: Mutex::default(), clock }))
    }

    /// A client of this name, which can die.
    pub fn session(&self, name: &str) -> Session {
        Session::new(self, name)
    }

    /// A client of the test itself.
    pub fn client(&self) -> kube::Client {
        self.session("test").client()
    }

    /// The API server, to be served over TCP. `/-/writes` counts what was written.
    pub fn router(&self) -> Router {
        Router::new().fallback(over_tcp).with_state(self.session("tcp"))
    }

    /// Installs an optional group.
    pub fn install(&self, group: &str) {
        let group = OPTIONAL.iter().find(|known| **known == group).expect("an optional group");
        self.control().installed.insert(group);
    }

    /// Takes an optional group away.
    pub fn uninstall(&self, group: &str) {
        self.control().installed.remove(group);
    }

    fn knows(&self, group: &str) -> bool {
        !OPTIONAL.contains(&group) || self.control().installed.contains(group)
    }

    /// Takes a permission away: verb (`*` for any) and `plural.group[/status]`.
    pub fn deny(&self, verb: &str, resource: &str) {
        self.control().denied.insert((verb.to_owned(), resource.to_owned()));
    }

    /// Gives it back.
    pub fn allow(&self, verb: &str, resource: &str) {
        self.control().denied.remove(&(verb.to_owned(), resource.to_owned()));
    }

    fn denies(&self, verb: &str, resource: &str) -> bool {
        self.control().denies(verb, resource)
    }

    /// Orders a fault: it strikes matching calls, after `skip` of them, `times` times.
    pub fn fault(&self, matches: impl Fn(&Call) -> bool + Send + 'static, skip: usize, times: usize, fault: Fault) {
        self.control().order(Box::new(matches), skip, times, fault);
    }

    /// Cancels all faults on order.
    pub fn calm(&self) {
        self.control().calm();
    }

    /// Forgets history: watches that come with an older version get 410.
    pub fn compact(&self) {
        self.store().compact();
    }

    /// Breaks all watches.
    pub fn break_watches(&self) {
        self.store().tell(None, &Told::Break);
    }

    /// Tells all watches how far they have come.
    pub fn bookmark(&self) {
        let mut store = self.store();
        let version = store.version();
        store.tell(None, &Told::Bookmark(version));
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.control().calls.clone()
    }

    /// Forgets the calls so far, and what they wrote.
    pub fn forget_calls(&self) {
        let mut control = self.control();
        control.calls.clear();
        control.writes.clear();
    }

    /// How often what was written, by verb and kind.
    pub fn writes(&self) -> BTreeMap<(&'static str, String), usize> {
        self.control().writes.clone()
    }

    /// An object as it is.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.store().get(&Key::new(by_kind(kind), namespace, name)).map(|object| object.value.clone())
    }

    /// The objects of a kind in a namespace, or in all.
    pub fn list(&self, kind: &str, namespace: &str) -> Vec<Value> {
        let selection = Selection::new(namespace, "", "").expect("no selector");
        self.store().list(by_kind(kind), &selection, None).map(|object| object.value.clone()).collect()
    }

    /// How many objects of a kind there are of which this holds.
    pub fn count(&self, kind: &str, holds: impl Fn(&Value) -> bool) -> usize {
        let selection = Selection::new("", "", "").expect("no selector");
        self.store().list(by_kind(kind), &selection, None).filter(|object| holds(&object.value)).count()
    }

    /// How many objects of a kind with this label were ever created.
    pub fn births(&self, kind: &str, label: &str, value: &str) -> usize {
        self.store().births(by_kind(kind)).filter(|labels| labels[label] == value).count()
    }

    /// Creates an object as somebody else than the operator, status included. It is no call.
    pub fn put(&self, object: Value) -> Value {
        self.put_as("kubectl", object)
    }

    /// Creates an object as this field manager, status included. It is no call.
    pub fn put_as(&self, manager: &str, object: Value) -> Value {
        let resource = by_kind(object["kind"].as_str().expect("a kind"));
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let status = object["status"].clone();
        self.writing(|writing| {
            let created = writing.create(resource, &namespace, object, manager).expect("a valid object").0;
            if status.is_null() || !resource.status {
                return created.value.clone();
            }
            let mut value = created.value.clone();
            let key = Key::new(resource, &namespace, value["metadata"]["name"].as_str().unwrap_or_default());
            value["status"] = status;
            writing.replace(&key, "status", value, "kubectl").expect("a valid status").0.value.clone()
        })
    }

    /// Changes an object as somebody else than the operator. It is no call.
    pub fn edit(&self, kind: &str, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let key = Key::new(by_kind(kind), namespace, name);
        self.writing(|writing| {
            let mut value = writing.live(&key).expect("an object to edit").value.clone();
            let status = value["status"].clone();
            change(&mut value);
            if value["status"] != status {
                let _ = writing.replace(&key, "status", value.clone(), "kubectl").expect("a valid status");
            }
            value["metadata"]["resourceVersion"] = Value::Null;
            let _ = writing.replace(&key, "", value, "kubectl").expect("a valid change");
        });
    }

    /// Deletes an object as somebody else than the operator. It is no call.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let key = Key::new(by_kind(kind), namespace, name);
        self.writing(|writing| {
            let deletion = writes::Deletion { policy: Some("Background".to_owned()), ..Default::default() };
            let _ = writing.delete(&key, &deletion).expect("an object to delete");
        });
    }

    fn writing<T>(&self, act: impl FnOnce(&mut Writing<'_>) -> T) -> T {
        act(&mut Writing { now: self.timestamp(), store: &mut self.store() })
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap()
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.0.control.lock().unwrap()
    }

    fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    fn timestamp(&self) -> Value {
        time::timestamp(self.clock().now())
    }

    /// Writes a call down; says its number, and the fault that strikes it.
    fn note(&self, call: &Call) -> (usize, Option<Fault>) {
        let mut control = self.control();
        control.calls.push(call.clone());
        (control.calls.len() - 1, control.strike(call))
    }

    fn answered(&self, number: usize, code: u16) {
        let mut control = self.control();
        // the log may have been forgotten meanwhile
        let Some(call) = control.calls.get_mut(number) else { return };
        call.code = code;
        if call.writes() && code < 300 {
            let slash = if call.subresource.is_empty() { "" } else { "/" };
            let written = (call.verb, format!("{}{slash}{}", call.kind, call.subresource));
            *control.writes.entry(written).or_default() += 1;
        }
    }
}

impl Session {
    /// Its client, in this process.
    pub fn client(&self) -> kube::Client {
        let session = self.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let session = session.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.map_err(io::Error::other)?;
                serve::serve(&session, http::Request::from_parts(parts, body)).await
            }
        });
        kube::Client::new(service, "default")
    }
}

async fn over_tcp(State(session): State<Session>, request: Request) -> Response {
    if request.uri().path() == "/-/writes" {
        let writes = session.cluster().writes();
        let writes: BTreeMap<_, _> =
            writes.into_iter().map(|((verb, kind), n)| (format!("{verb} {kind}"), n)).collect();
        return Response::new(Body::from(json!(writes).to_string()));
    }
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 8 << 20).await.unwrap_or_default();
    let broken = |error: io::Error| {
        let stream = futures_util::stream::once(std::future::ready(Err::<Bytes, _>(error)));
        Response::new(Body::from_stream(stream))
    };
    serve::serve(&session, http::Request::from_parts(parts, body)).await.unwrap_or_else(broken)
}
