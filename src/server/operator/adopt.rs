//! `chorus operator adopt`: servers that a former operator started, and whose pods are left alone until they stop.
//!
//! Without a restart it says which these are. With one it sets an annotation, and the operator rolls the server at once: who
//! works on it loses what is not saved. Nothing else is written.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::api::{GROUP, VERSION, labels, rfc3339};

/// How many workbenches are read at a time.
const PAGE: u32 = 500;
/// The condition of a server that does not run as it would be started today.
const OUTDATED: &str = "Outdated";

/// A workbench by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Name {
    /// Its namespace.
    pub namespace: String,
    /// Its name in there.
    pub name: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Text that is no `NAMESPACE/NAME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not NAMESPACE/NAME")]
pub struct BadName;

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let fits = |part: &&str| {
            let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
            !part.is_empty() && part.bytes().all(inner)
        };
        let (namespace, name) = text.split_once('/').ok_or(BadName)?;
        let [namespace, name] = [namespace, name].map(|part| Some(part).filter(fits).map(str::to_owned));
        Ok(Self { namespace: namespace.ok_or(BadName)?, name: name.ok_or(BadName)? })
    }
}

/// A workbench whose server is outdated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outdated {
    /// Which.
    pub workbench: Name,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}

/// Which workbenches are to be restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All that are outdated.
    All,
    /// These, whether they are outdated or not.
    These(Vec<Name>),
}

/// What happened to a workbench.
#[derive(Debug)]
pub struct Restarted {
    /// Which.
    pub workbench: Name,
    /// Whether the operator was told, or why not.
    pub outcome: Result<(), kube::Error>,
}

/// The workbenches whose server is outdated, by name.
///
/// # Errors
/// What the API server says.
pub async fn outdated(client: &Client) -> Result<Vec<Outdated>, kube::Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource());
    let (mut found, mut next) = (Vec::new(), None);
    loop {
        let mut page = ListParams::default().limit(PAGE);
        page.continue_token = next;
        let list = api.list(&page).await?;
        found.extend(list.items.into_iter().filter_map(is_outdated));
        next = list.metadata.continue_.filter(|token| !token.is_empty());
        if next.is_none() {
            found.sort_by(|one, other| one.workbench.cmp(&other.workbench));
            return Ok(found);
        }
    }
}

fn is_outdated(object: DynamicObject) -> Option<Outdated> {
    let conditions = object.data["status"]["conditions"].as_array();
    let condition = conditions.into_iter().flatten().find(|one| one["type"] == OUTDATED && one["status"] == "True")?;
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let workbench = Name {
        namespace: object.metadata.namespace.unwrap_or_default(),
        name: object.metadata.name.unwrap_or_default(),
    };
    Some(Outdated { workbench, reason: text("reason"), message: text("message") })
}

/// Tells the operator to roll the servers of these workbenches. One that cannot be told stops no other.
///
/// # Errors
/// What the API server says when it is asked which are outdated.
pub async fn restart(client: &Client, which: Which, now: DateTime<Utc>) -> Result<Vec<Restarted>, kube::Error> {
    let names = match which {
        Which::These(names) => names,
        Which::All => outdated(client).await?.into_iter().map(|outdated| outdated.workbench).collect(),
    };
    let patch = Patch::Merge(annotation(now));
    let mut restarted = Vec::new();
    for workbench in names {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &workbench.namespace, &resource());
        let outcome = api.patch(&workbench.name, &PatchParams::default(), &patch).await.map(drop);
        restarted.push(Restarted { workbench, outcome });
    }
    Ok(restarted)
}

fn annotation(now: DateTime<Utc>) -> Value {
    json!({ "metadata": { "annotations": { (labels::ADOPT): rfc3339(now) } } })
}

fn resource() -> ApiResource {
    ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: format!("{GROUP}/{VERSION}"),
        kind: "Workbench".to_owned(),
        plural: "workbenches".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use http_body_util::BodyExt as _;
    use kube::client::Body;

    use super::*;

    #[test]
    fn names() {
        assert_eq!("w1/b2".parse::<Name>().unwrap().to_string(), "w1/b2");
        for text in ["w1", "/b", "w/", "w/b/c", "W/b", "w/../b"] {
            assert_eq!(text.parse::<Name>(), Err(BadName), "{text}");
        }
    }

    /// Answers with two pages of workbenches, and notes what is patched.
    fn server(patches: &Arc<Mutex<Vec<(String, Value)>>>) -> Client {
        let patches = Arc::clone(patches);
        let workbench = |name: &str, status: &str| {
            json!({ "apiVersion": "default.chorus-tre.ch/v1alpha1", "kind": "Workbench",
                "metadata": { "name": name, "namespace": "w" }, "status": { "conditions": [
                    { "type": "Ready", "status": "True" },
                    { "type": OUTDATED, "status": status, "reason": "TakenOver", "message": "m" } ] } })
        };
        let service = tower::service_fn(move |request: Request<Body>| {
            let patches = Arc::clone(&patches);
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let (code, answer) = match (parts.method.as_str(), parts.uri.query().unwrap_or_default()) {
                    ("GET", query) if query.contains("continue=more") => {
                        (200, json!({ "metadata": {}, "items": [workbench("a", "True")] }))
                    }
                    ("GET", _) => {
                        let items = [workbench("b", "True"), workbench("c", "False")];
                        (200, json!({ "metadata": { "continue": "more" }, "items": items }))
                    }
                    _ if parts.uri.path().ends_with("/gone") => (
                        404,
                        json!({ "kind": "Status", "apiVersion": "v1",
                        "metadata": {}, "status": "Failure", "message": "none", "reason": "NotFound", "code": 404 }),
                    ),
                    (method, _) => {
                        let patch = serde_json::from_slice(&body).unwrap();
                        patches.lock().unwrap().push((format!("{method} {}", parts.uri.path()), patch));
                        (200, workbench("x", "True"))
                    }
                };
                let response = Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()));
                Ok::<_, std::convert::Infallible>(response.unwrap())
            }
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn outdated_servers_are_listed_and_restarted() {
        let patches = Arc::default();
        let client = server(&patches);
        let found = outdated(&client).await.unwrap();
        let names: Vec<_> =
            found.iter().map(|outdated| format!("{} {}", outdated.workbench, outdated.reason)).collect();
        assert_eq!(names, ["w/a TakenOver", "w/b TakenOver"]);
        assert!(patches.lock().unwrap().is_empty());

        let now = DateTime::from_timestamp(1_000_000_000, 5).unwrap();
        let restarted = restart(&client, Which::All, now).await.unwrap();
        assert!(restarted.iter().all(|restarted| restarted.outcome.is_ok()));
        let patch = json!({ "metadata": { "annotations": { "chorus-tre.ch/adopt": "2001-09-09T01:46:40Z" } } });
        let path = |name: &str| format!("PATCH /apis/default.chorus-tre.ch/v1alpha1/namespaces/w/workbenches/{name}");
        assert_eq!(*patches.lock().unwrap(), [(path("a"), patch.clone()), (path("b"), patch)]);

        let these = ["w/gone", "w/b"].map(|name| name.parse().unwrap());
        let restarted = restart(&client, Which::These(these.into()), now).await.unwrap();
        assert!(restarted[0].outcome.is_err() && restarted[1].outcome.is_ok());
    }
}
