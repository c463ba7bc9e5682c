//! The API server's HTTP side: a request comes in, an answer or the events of a watch go out.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, Request, Response, StatusCode, header, request::Parts};
use serde_json::{Value, json};

use super::{
    Cluster,
    control::{Call, Fate, Fault, Session},
    failure::Failure,
    fields::{self, Schema},
    resources::{Target, discovery},
    select::Selection,
    store::{Key, Stored},
    watch::{self, Watch},
    writes::{Deletion, Writing, no_such_verb},
};

type Query = BTreeMap<String, String>;
type Answer = Result<(StatusCode, Bytes), Failure>;

/// Answers a request of this session; an error is a connection that breaks.
pub async fn serve(session: &Session, request: Request<Bytes>) -> io::Result<Response<Body>> {
    let cluster = session.cluster();
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let known = |group: &str| cluster.knows(group);
    if session.is_dead() {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    if let Some(document) = discovery(path, known) {
        return Ok(respond(StatusCode::OK, document.to_string().into()));
    }
    let Some(target) = Target::parse(path, known) else {
        return Ok(match path {
            "/healthz" | "/readyz" | "/livez" => respond(StatusCode::OK, "ok".into()),
            _ => refuse(&Failure::no_such_path()),
        });
    };
    let query: Query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let watches = query.get("watch").is_some_and(|watch| watch == "true" || watch == "1");
    let call = Call::new(session.name(), target.verb(&parts.method, watches), &target);
    let (number, fault) = cluster.note(&call);
    let fate = session.fate(call.writes());
    match fault {
        Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
        Some(Fault::Compaction) => cluster.compact(),
        Some(Fault::BreakWatches) => cluster.break_watches(),
        Some(Fault::Answer(code, reason)) => {
            let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            cluster.answered(number, code.as_u16());
            return Ok(refuse(&Failure::new(code, reason, "on order")));
        }
        _ => {}
    }
    if fate == Fate::Dies || matches!(fault, Some(Fault::Reset)) {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let exchange = Exchange { cluster, target, query, parts, body };
    if watches {
        cluster.answered(number, 200);
        return Ok(exchange.watch(session));
    }
    let answer = exchange.answer(&call);
    cluster.answered(number, answer.as_ref().map_or_else(|failure| failure.code, |(code, _)| *code).as_u16());
    if fate == Fate::DiesAfter || matches!(fault, Some(Fault::Lost)) {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    Ok(answer.map_or_else(|failure| refuse(&failure), |(code, body)| respond(code, body)))
}

fn respond(code: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn refuse(failure: &Failure) -> Response<Body> {
    respond(failure.code, failure.status().to_string().into())
}

/// An object without anything but its metadata.
pub fn metadata_only(object: &Stored) -> Bytes {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.value["metadata"] })
        .to_string()
        .into()
}

/// One request about objects.
struct Exchange<'a> {
    cluster: &'a Cluster,
    target: Target,
    query: Query,
    parts: Parts,
    body: Bytes,
}

impl Exchange<'_> {
    fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn metadata_only(&self) -> bool {
        self.header(header::ACCEPT).contains("as=PartialObjectMetadata")
    }

    fn selection(&self) -> Result<Selection, Failure> {
        Selection::new(&self.target.namespace, self.query("labelSelector"), self.query("fieldSelector"))
    }

    fn key(&self) -> Key {
        Key::new(self.target.resource, &self.target.namespace, &self.target.name)
    }

    fn manager(&self) -> String {
        let agent = self.header(header::USER_AGENT).split('/').next().unwrap_or_default();
        let named = Some(self.query("fieldManager")).filter(|name| !name.is_empty());
        named.or(Some(agent).filter(|name| !name.is_empty())).unwrap_or("unknown").to_owned()
    }

    fn json(&self) -> Result<Value, Failure> {
        let mut value: Value = serde_json::from_slice(&self.body).map_err(|e| Failure::bad(&e.to_string()))?;
        if value.is_object() && !value["metadata"].is_object() {
            value["metadata"] = json!({});
        }
        Ok(value)
    }

    fn watch(&self, session: &Session) -> Response<Body> {
        let number = |name: &str| self.query(name).parse::<u64>().ok();
        let watch = self.selection().map(|mut selection| {
            let name = &self.target.name;
            if !name.is_empty() {
                selection =
                    Selection::new(&self.target.namespace, "", &format!("metadata.name={name}")).unwrap_or_default();
            }
            Watch {
                resource: self.target.resource,
                selection,
                since: number("resourceVersion").unwrap_or(0),
                initial: self.query("sendInitialEvents") == "true",
                timeout: number("timeoutSeconds").map(Duration::from_secs),
                metadata: self.metadata_only(),
            }
        });
        let started = watch.and_then(|watch| watch.start(&mut self.cluster.store()));
        match started {
            Ok(events) => {
                let mut response = respond(StatusCode::OK, Bytes::new());
                *response.body_mut() = Body::from_stream(events.take_until(session.death()));
                response
            }
            Err(failure) if failure.code == StatusCode::GONE => respond(StatusCode::OK, watch::error(&failure)),
            Err(failure) => refuse(&failure),
        }
    }

    fn answer(&self, call: &Call) -> Answer {
        let slash = if call.subresource.is_empty() { "" } else { "/" };
        let resource = format!("{}{slash}{}", self.target.resource.full_name(), call.subresource);
        if self.cluster.denies(call.verb, &resource) {
            let message = format!("{resource} is forbidden: cannot {} resource", call.verb);
            return Err(Failure::new(StatusCode::FORBIDDEN, "Forbidden", message));
        }
        if !self.query("dryRun").is_empty() {
            return Err(Failure::bad("dryRun is not offered here"));
        }
        match (&self.parts.method, self.target.name.is_empty()) {
            (&Method::GET, true) => self.list(),
            (&Method::GET, false) => {
                let object = self.writing(|writing| writing.live(&self.key()))?;
                Ok((StatusCode::OK, if self.metadata_only() { metadata_only(&object) } else { object.json() }))
            }
            (&Method::POST, true) if self.target.resource.kind == "SelfSubjectAccessReview" => self.review(),
            (&Method::POST, true) => {
                let (new, manager) = (self.json()?, self.manager());
                self.written(|writing| writing.create(self.target.resource, &self.target.namespace, new, &manager))
            }
            (&Method::PUT, false) => {
                let (new, manager) = (self.json()?, self.manager());
                self.written(|writing| writing.replace(&self.key(), &self.target.subresource, new, &manager))
            }
            (&Method::PATCH, false) => self.patch(),
            (&Method::DELETE, _) => self.delete(),
            _ => Err(no_such_verb()),
        }
    }

    fn writing<T>(&self, act: impl FnOnce(&mut Writing<'_>) -> T) -> T {
        act(&mut Writing { now: self.cluster.timestamp(), store: &mut self.cluster.store() })
    }

    fn written(&self, act: impl FnOnce(&mut Writing<'_>) -> super::writes::Written) -> Answer {
        let (object, new) = self.writing(act)?;
        Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, object.json()))
    }

    fn list(&self) -> Answer {
        let selection = self.selection()?;
        let limit = self.query("limit").parse().ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let store = self.cluster.store();
        let mut version = store.version();
        let mut after = None;
        if let [from, namespace, name] = self.query("continue").split('/').collect::<Vec<_>>().as_slice() {
            version = from.parse().map_err(|_| Failure::bad("continue key is not valid"))?;
            after = Some(((*namespace).to_owned(), (*name).to_owned()));
            if !store.remembers(self.target.resource, version) {
                return Err(Failure::expired());
            }
        }
        let mut page: Vec<Arc<Stored>> =
            store.list(self.target.resource, &selection, after).take(limit.saturating_add(1)).cloned().collect();
        drop(store);
        let mut metadata = json!({ "resourceVersion": version.to_string() });
        if page.len() > limit {
            page.truncate(limit);
            let text = |field: &str| page[limit - 1].value["metadata"][field].as_str().unwrap_or_default();
            metadata["continue"] = format!("{version}/{}/{}", text("namespace"), text("name")).into();
        }
        Ok((StatusCode::OK, self.list_of(&metadata, &page)))
    }

    fn list_of(&self, metadata: &Value, page: &[Arc<Stored>]) -> Bytes {
        let resource = self.target.resource;
        let short = self.metadata_only();
        let (kind, version) = match short {
            true => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
            false => (format!("{}List", resource.kind), resource.api_version()),
        };
        let head = format!(r#"{{"kind":"{kind}","apiVersion":"{version}","metadata":{metadata},"items":["#);
        let mut body = head.into_bytes();
        for (index, object) in page.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&if short { metadata_only(object) } else { object.json() });
        }
        body.extend_from_slice(b"]}");
        body.into()
    }

    fn patch(&self) -> Answer {
        let kind = self.header(header::CONTENT_TYPE);
        let (key, manager, subresource) = (self.key(), self.manager(), &self.target.subresource);
        if kind.starts_with("application/apply-patch") {
            if self.query("fieldManager").is_empty() {
                return Err(Failure::bad("metadata.managedFields: fieldManager is required for apply patch"));
            }
            let (config, force) = (self.json()?, self.query("force") == "true");
            self.check_applied(&config)?;
            return self.written(|writing| writing.apply(&key, subresource, &config, &manager, force));
        }
        let patch: Value = serde_json::from_slice(&self.body).map_err(|e| Failure::bad(&e.to_string()))?;
        self.written(|writing| {
            let mut new = writing.live(&key)?.value.clone();
            let version = new["metadata"]["resourceVersion"].take();
            match kind.split(';').next().unwrap_or_default() {
                "application/json-patch+json" => {
                    new["metadata"]["resourceVersion"] = version;
                    json_patch(&mut new, patch)?;
                }
                "application/merge-patch+json" => json_patch::merge(&mut new, &patch),
                "application/strategic-merge-patch+json" => {
                    fields::merge(&mut new, &patch, Schema::of(key.resource().kind))
                }
                _ => return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", kind)),
            }
            writing.replace(&key, subresource, new, &manager)
        })
    }

    /// What is applied names its kind, and its name is that of the path.
    fn check_applied(&self, config: &Value) -> Result<(), Failure> {
        let resource = self.target.resource;
        if config["kind"] != resource.kind || config["apiVersion"] != resource.api_version() {
            return Err(Failure::bad("invalid object type: apiVersion and kind must be those of the resource"));
        }
        let named = config["metadata"]["name"].as_str().is_none_or(|name| name == self.target.name);
        let placed =
            config["metadata"]["namespace"].as_str().is_none_or(|namespace| namespace == self.target.namespace);
        if config["metadata"].get("managedFields").is_some_and(|fields| !fields.is_null()) {
            return Err(Failure::bad("metadata.managedFields must be nil"));
        }
        if named && placed {
            Ok(())
        } else {
            Err(Failure::bad("the name or namespace of the object does not match the URL"))
        }
    }

    fn delete(&self) -> Answer {
        let options: Value = if self.body.is_empty() {
            json!({})
        } else {
            serde_json::from_slice(&self.body).map_err(|e| Failure::bad(&e.to_string()))?
        };
        let text = |value: &Value, name: &str| {
            let asked = Some(self.query(name)).filter(|value| !value.is_empty());
            value.as_str().or(asked).map(str::to_owned)
        };
        let deletion = Deletion {
            uid: options["preconditions"]["uid"].as_str().map(str::to_owned),
            resource_version: options["preconditions"]["resourceVersion"].as_str().map(str::to_owned),
            grace: options["gracePeriodSeconds"].as_i64().or_else(|| self.query("gracePeriodSeconds").parse().ok()),
            policy: text(&options["propagationPolicy"], "propagationPolicy"),
        };
        let success = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" }).to_string();
        if !self.target.name.is_empty() {
            let (object, gone) = self.writing(|writing| writing.delete(&self.key(), &deletion))?;
            return Ok((StatusCode::OK, if gone { success.into() } else { object.json() }));
        }
        let selection = self.selection()?;
        self.writing(|writing| {
            let resource = self.target.resource;
            let metadata = |object: &Arc<Stored>| object.value["metadata"].clone();
            let all: Vec<_> = writing.store.list(resource, &selection, None).map(metadata).collect();
            for metadata in all {
                let text = |field: &str| metadata[field].as_str().unwrap_or_default();
                let key = Key::new(resource, text("namespace"), text("name"));
                if writing.store.get(&key).is_some() {
                    writing.delete(&key, &deletion)?;
                }
            }
            Ok((StatusCode::OK, success.into()))
        })
    }

    fn review(&self) -> Answer {
        let mut review = self.json()?;
        let asked = &review["spec"]["resourceAttributes"];
        let text = |field: &str| asked[field].as_str().unwrap_or_default();
        let dot = if text("group").is_empty() { "" } else { "." };
        let slash = if text("subresource").is_empty() { "" } else { "/" };
        let resource = format!("{}{dot}{}{slash}{}", text("resource"), text("group"), text("subresource"));
        let denied = self.cluster.denies(text("verb"), &resource);
        review["status"] = json!({ "allowed": !denied });
        Ok((StatusCode::CREATED, review.to_string().into()))
    }
}

fn json_patch(object: &mut Value, patch: Value) -> Result<(), Failure> {
    let mut patch = patch;
    if let Some(steps) = patch.as_array_mut() {
        // a test for null passes where the field is missing
        steps.retain(|step| {
            let missing = step["path"].as_str().is_some_and(|path| object.pointer(path).is_none());
            !(step["op"] == "test" && step["value"].is_null() && missing)
        });
    }
    let patch: json_patch::Patch = serde_json::from_value(patch).map_err(|e| Failure::bad(&e.to_string()))?;
    json_patch::patch(object, &patch)
        .map_err(|e| Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", e.to_string()))
}
