//! A watch: writes of a kind, as the events of a selection.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::json;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{
    failure::Failure,
    resources::Resource,
    select::Selection,
    store::{Change, Store, Stored, Told},
};

/// What a request to watch says.
#[derive(Debug)]
pub struct Watch {
    pub resource: &'static Resource,
    pub selection: Selection,
    /// From which version; 0 for what is there now and what comes.
    pub since: u64,
    /// Whether what is there comes first, and a bookmark says where it ends.
    pub initial: bool,
    /// After which time it ends.
    pub timeout: Option<Duration>,
    /// Whether only metadata is wanted.
    pub metadata: bool,
}

type Line = Result<Bytes, std::io::Error>;

impl Watch {
    /// Begins it.
    pub fn start(self, store: &mut Store) -> Result<impl Stream<Item = Line> + Send + use<>, Failure> {
        let list = self.initial || self.since == 0;
        let now = store.version();
        let (past, live) = store.watch(self.resource, if list { now } else { self.since })?;
        let mut first: Vec<Line> = Vec::new();
        if list {
            first.extend(store.list(self.resource, &self.selection, None).map(|object| Ok(self.line("ADDED", object))));
        }
        if self.initial {
            first.push(Ok(bookmark(self.resource, now, true)));
        }
        first.extend(past.iter().filter_map(|change| self.event(change)).map(Ok));
        let timeout = self.timeout.unwrap_or(Duration::from_secs(1800));
        let live = UnboundedReceiverStream::new(live).filter_map(move |told| {
            std::future::ready(match told {
                Told::Change(change) => self.event(&change).map(Ok),
                Told::Bookmark(version) => Some(Ok(bookmark(self.resource, version, false))),
                Told::Break => Some(Err(std::io::ErrorKind::ConnectionReset.into())),
            })
        });
        Ok(stream::iter(first).chain(live.take_until(tokio::time::sleep(timeout))))
    }

    /// What a write means for the selection: an object that leaves it is as good as deleted.
    fn event(&self, change: &Change) -> Option<Bytes> {
        let takes = |object: &Option<Arc<Stored>>| object.clone().filter(|object| self.selection.takes(&object.value));
        match (takes(&change.before), takes(&change.after)) {
            (None, Some(new)) => Some(self.line("ADDED", &new)),
            (Some(_), Some(new)) => Some(self.line("MODIFIED", &new)),
            (Some(old), None) => Some(self.line("DELETED", change.after.as_ref().unwrap_or(&old))),
            (None, None) => None,
        }
    }

    fn line(&self, kind: &str, object: &Stored) -> Bytes {
        let json = if self.metadata { super::serve::metadata_only(object) } else { object.json() };
        let mut line = Vec::with_capacity(json.len() + 40);
        line.extend_from_slice(br#"{"type":""#);
        line.extend_from_slice(kind.as_bytes());
        line.extend_from_slice(br#"","object":"#);
        line.extend_from_slice(&json);
        line.extend_from_slice(b"}\n");
        line.into()
    }
}

fn bookmark(resource: &Resource, version: u64, end: bool) -> Bytes {
    let mut metadata = json!({ "resourceVersion": version.to_string(), "creationTimestamp": null });
    if end {
        metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    let object = json!({ "kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata });
    format!("{}\n", json!({ "type": "BOOKMARK", "object": object })).into()
}

/// The event that ends a watch which comes too late.
pub fn error(failure: &Failure) -> Bytes {
    format!("{}\n", json!({ "type": "ERROR", "object": failure.status() })).into()
}
