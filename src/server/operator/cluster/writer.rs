//! Requests to the API server: writes under our field manager, and the few looks that a plan asks for.
//!
//! What always holds: a write begins only while this replica leads, every request has a deadline, and what goes wrong is
//! told without values of the object, which may hold a token.

use std::time::Duration;

use kube::{
    Client,
    api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::{Request, Status},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    super::{
        api::{FINALIZER, GROUP, MANAGER, VERSION},
        live::Kind,
        plan::{Object, Target},
    },
    caches::{Key, Resource},
    telemetry,
};

/// How long a request may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// The longest text of the API server that is passed on.
const TEXT: usize = 300;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The API server said no.
    #[error("{}", describe(.0))]
    Api(Box<Status>),
    /// It could not be reached.
    #[error("the API server cannot be reached: {0}")]
    Transport(String),
    /// It did not answer in time.
    #[error("the API server did not answer in time")]
    Deadline,
    /// This replica does not lead any more.
    #[error("another replica leads")]
    NotLeading,
    /// The answer, or the request, cannot be understood.
    #[error("{0}")]
    Unreadable(String),
    /// What was applied does not hold.
    #[error("{0} {1} is changed by somebody else whenever it is applied")]
    Overridden(&'static str, String),
    /// The plan never came to an end.
    #[error("the plan does not come to an end")]
    Endless,
}

impl Fault {
    /// In one word, for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Api(status) => match status.code {
                404 => "not_found",
                409 => "conflict",
                429 => "throttled",
                400..=499 => "refused",
                _ => "server",
            },
            Self::Transport(_) => "transport",
            Self::Deadline => "deadline",
            Self::NotLeading => "not_leading",
            Self::Unreadable(_) => "unreadable",
            Self::Overridden(..) => "overridden",
            Self::Endless => "endless",
        }
    }

    /// The HTTP status, if the API server said no.
    pub fn code(&self) -> u16 {
        if let Self::Api(status) = self { status.code } else { 0 }
    }

    /// Whether the API server will never take this object as it is: it is invalid, or a rule forbids it.
    pub fn refused(&self) -> bool {
        let Self::Api(status) = self else { return false };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let terminating = causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating");
        matches!(status.code, 400 | 403 | 413 | 422) && !terminating
    }
}

impl From<kube::Error> for Fault {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Api(status),
            kube::Error::SerdeError(error) => Self::Unreadable(error.to_string()),
            error => Self::Transport(error.to_string()),
        }
    }
}

/// What the API server said, without values: its messages quote what they object to.
pub fn describe(status: &Status) -> String {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let causes: Vec<String> = causes.map(|cause| format!("{} ({})", cause.field, cause.reason)).collect();
    let text = if status.code == 422 && causes.is_empty() {
        "the object is invalid".to_owned()
    } else if causes.is_empty() || status.code != 422 {
        status.message.chars().take(TEXT).collect()
    } else {
        causes.join(", ").chars().take(TEXT).collect()
    };
    format!("the API server answered {}: {text}", status.code)
}

/// Sends requests.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    leading: watch::Receiver<bool>,
}

type Prepared = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

impl Writer {
    /// Sends requests through this client, writes while this replica leads.
    pub fn new(client: Client, leading: watch::Receiver<bool>) -> Self {
        Self { client, leading }
    }

    /// Server-side apply, forced.
    pub async fn apply(&self, object: &Object) -> Result<String, Fault> {
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&object.value);
        let request = Request::new(path(object.kind, object.namespace())).patch(object.name(), &params, &patch);
        self.write("apply", object.kind.names().1, request).await
    }

    /// Creates an object.
    pub async fn create(&self, object: &Object) -> Result<String, Fault> {
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let data = object.value.to_string().into_bytes();
        let request = Request::new(path(object.kind, object.namespace())).create(&params, data);
        self.write("create", object.kind.names().1, request).await
    }

    /// A merge patch.
    pub async fn merge(&self, target: &Target, patch: &Value) -> Result<String, Fault> {
        let mut patch = patch.clone();
        if let Some(uid) = &target.uid {
            patch["metadata"]["uid"] = json!(uid);
        }
        let request = Request::new(path(target.kind, &target.namespace));
        let request = request.patch(&target.name, &manager(), &Patch::Merge(patch));
        self.write("patch", target.kind.names().1, request).await
    }

    /// A JSON patch.
    pub async fn json_patch(&self, target: &Target, patch: &Value) -> Result<String, Fault> {
        let request = Request::new(path(target.kind, &target.namespace));
        self.write("patch", target.kind.names().1, json_patch(&request, &target.name, patch)).await
    }

    /// Deletes an object, with what belongs to it, in the background.
    pub async fn delete(&self, target: &Target) -> Result<String, Fault> {
        let mut params = DeleteParams::background();
        params.preconditions = target.uid.clone().map(|uid| Preconditions { uid: Some(uid), resource_version: None });
        let request = Request::new(path(target.kind, &target.namespace)).delete(&target.name, &params);
        self.write("delete", target.kind.names().1, request).await
    }

    /// Deletes pods at once.
    pub async fn kill(&self, namespace: &str, selector: &str) -> Result<String, Fault> {
        let params = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        let request = Request::new(format!("/api/v1/namespaces/{namespace}/pods"));
        let request = request.delete_collection(&params, &ListParams::default().labels(selector));
        self.write("deletecollection", "Pod", request).await
    }

    /// Creates an Event in a namespace.
    pub async fn event(&self, namespace: &str, event: &Value) -> Result<String, Fault> {
        let request = Request::new(format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"));
        let request = request.create(&PostParams::default(), event.to_string().into_bytes());
        self.write("create", "Event", request).await
    }

    /// Reads an object; none if there is none.
    pub async fn get(&self, target: &Target) -> Result<Option<String>, Fault> {
        let request = Request::new(path(target.kind, &target.namespace)).get(&target.name, &GetParams::default());
        found(self.send(request).await)
    }

    /// Reads a resource; none if it is gone.
    pub async fn get_resource(&self, key: &Key) -> Result<Option<String>, Fault> {
        found(self.send(Request::new(resource_path(key)).get(&key.name, &GetParams::default())).await)
    }

    /// Adds our finalizer to a resource, provided it is still this version.
    pub async fn add_finalizer(&self, key: &Key, version: &str, some: bool) -> Result<String, Fault> {
        let add = if some {
            json!({ "op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER })
        } else {
            json!({ "op": "add", "path": "/metadata/finalizers", "value": [FINALIZER] })
        };
        self.patch_resource(key, &json!([is_version(version), add])).await
    }

    /// Takes our finalizer away, which is this one of its finalizers.
    pub async fn remove_finalizer(&self, key: &Key, version: &str, index: usize) -> Result<String, Fault> {
        let path = format!("/metadata/finalizers/{index}");
        let ours = json!({ "op": "test", "path": path, "value": FINALIZER });
        self.patch_resource(key, &json!([is_version(version), ours, { "op": "remove", "path": path }])).await
    }

    /// A merge patch of the status of a resource.
    pub async fn status(&self, key: &Key, body: &Value) -> Result<String, Fault> {
        let request = Request::new(resource_path(key));
        let request = request.patch_subresource("status", &key.name, &manager(), &Patch::Merge(body));
        self.write("status", key.resource.name(), request).await
    }

    async fn patch_resource(&self, key: &Key, patch: &Value) -> Result<String, Fault> {
        let request = Request::new(resource_path(key));
        self.write("patch", key.resource.name(), json_patch(&request, &key.name, patch)).await
    }

    async fn write(&self, verb: &'static str, kind: &'static str, request: Prepared) -> Result<String, Fault> {
        if !*self.leading.borrow() {
            return Err(Fault::NotLeading);
        }
        telemetry::write(verb, kind);
        let answer = self.send(request).await;
        if let Err(fault) = &answer {
            telemetry::error(kind, fault.reason());
        }
        answer
    }

    async fn send(&self, request: Prepared) -> Result<String, Fault> {
        let request = request.map_err(|error| Fault::Unreadable(error.to_string()))?;
        let answer = tokio::time::timeout(DEADLINE, self.client.request_text(request)).await;
        Ok(answer.map_err(|_elapsed| Fault::Deadline)??)
    }
}

/// Where the objects of a kind are.
fn path(kind: Kind, namespace: &str) -> String {
    let (version, _, plural) = kind.names();
    let root = if version.contains('/') { "apis" } else { "api" };
    if kind.namespaced() {
        format!("/{root}/{version}/namespaces/{namespace}/{plural}")
    } else {
        format!("/{root}/{version}/{plural}")
    }
}

fn resource_path(key: &Key) -> String {
    let plural = match key.resource {
        Resource::Workspace => "workspaces",
        Resource::Workbench => "workbenches",
    };
    format!("/apis/{GROUP}/{VERSION}/namespaces/{}/{plural}", key.namespace)
}

fn manager() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

/// kube's own JSON patch needs a crate of its own; on the wire it is a merge patch with another content type.
fn json_patch(request: &Request, name: &str, patch: &Value) -> Prepared {
    let mut request = request.patch(name, &manager(), &Patch::Merge(patch))?;
    let json = http::HeaderValue::from_static("application/json-patch+json");
    request.headers_mut().insert(http::header::CONTENT_TYPE, json);
    Ok(request)
}

/// Part of a JSON patch: it applies to this version only.
pub fn is_version(version: &str) -> Value {
    json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version })
}

fn found(answer: Result<String, Fault>) -> Result<Option<String>, Fault> {
    match answer {
        Err(Fault::Api(status)) if status.code == 404 => Ok(None),
        answer => answer.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: Value) -> Status {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn values_of_objects_are_not_passed_on() {
        let message = r#"Job "x" is invalid: spec.template.spec.containers[0].env[3].value: Invalid value: "token""#;
        let cause = json!({ "reason": "FieldValueInvalid", "message": message, "field": "spec.template" });
        for details in [json!({ "causes": [cause] }), json!(null)] {
            let said = describe(&status(json!({ "code": 422, "message": message, "details": details })));
            assert!(!said.contains("token"), "{said}");
        }
        let quota = status(json!({ "code": 403, "message": "exceeded quota: compute" }));
        assert_eq!(describe(&quota), "the API server answered 403: exceeded quota: compute");
    }

    #[test]
    fn what_counts_as_a_refusal() {
        let terminating = json!({ "causes": [{ "reason": "NamespaceTerminating", "field": "", "message": "" }] });
        for (value, refused) in [
            (json!({ "code": 422 }), true),
            (json!({ "code": 403 }), true),
            (json!({ "code": 403, "details": terminating }), false),
            (json!({ "code": 409 }), false),
            (json!({ "code": 429 }), false),
            (json!({ "code": 401 }), false),
            (json!({ "code": 404 }), false),
            (json!({ "code": 500 }), false),
        ] {
            assert_eq!(Fault::Api(Box::new(status(value.clone()))).refused(), refused, "{value}");
        }
        assert!(!Fault::Deadline.refused());
    }

    #[test]
    fn where_objects_are() {
        assert_eq!(path(Kind::Job, "ns"), "/apis/batch/v1/namespaces/ns/jobs");
        assert_eq!(path(Kind::Service, "ns"), "/api/v1/namespaces/ns/services");
        assert_eq!(path(Kind::PersistentVolume, ""), "/api/v1/persistentvolumes");
    }
}
