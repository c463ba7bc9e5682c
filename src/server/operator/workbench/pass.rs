//! What every part of a pass looks at, and what all children have in common.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::{
    api::core::v1::LocalObjectReference,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::Resource;
use serde::Serialize;
use serde_json::Value;

use super::{
    super::{
        api::{self, MANAGER, Workbench, labels, workbench::App},
        live::{Child, Kind, Meta},
        plan::{Object, Target},
        settings::Settings,
    },
    Facts, Seen, images,
};

/// What a pass looks at.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    pub workbench: &'a Workbench,
    pub seen: &'a Seen,
    pub facts: &'a Facts<'a>,
    pub now: DateTime<Utc>,
}

/// Whose child something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// This workbench's.
    This,
    /// Nobody's: it may become this workbench's.
    Nobody,
    /// That of an earlier workbench of the same name: it is about to go.
    Former,
    /// Something else's: it is left alone.
    Other,
}

impl<'a> Pass<'a> {
    pub fn name(&self) -> &'a str {
        self.workbench.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn namespace(&self) -> &'a str {
        self.workbench.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub fn settings(&self) -> &'a Settings {
        self.facts.settings
    }

    pub fn suspended(&self) -> bool {
        self.workbench.spec.suspended.unwrap_or(false)
    }

    /// The apps that are asked for, each with its key.
    pub fn apps(&self) -> impl Iterator<Item = (&'a str, &'a App)> + use<'a> {
        self.workbench.spec.apps.iter().map(|(id, app)| (id.as_str(), app))
    }

    /// Login and uid inside app containers.
    pub fn user(&self) -> (&'a str, i64) {
        let server = self.workbench.spec.server.as_ref();
        let login = server.and_then(|server| server.user.as_deref()).filter(|user| !user.is_empty());
        (login.unwrap_or("chorus"), server.and_then(|server| server.userid).unwrap_or(1001))
    }

    /// The metadata of a child: name, labels and owner.
    pub fn child(&self, name: String, more: &[(&str, &str)]) -> ObjectMeta {
        let mut labels = text_map(&[(labels::WORKBENCH, self.name()), (labels::MANAGED_BY, MANAGER)]);
        labels.extend(text_map(more));
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace().to_owned()),
            labels: Some(labels),
            owner_references: api::owned_by(self.workbench),
            ..ObjectMeta::default()
        }
    }

    /// Annotations that tell of containers with too many rights, where they have them.
    pub fn debug_annotations(&self) -> Option<BTreeMap<String, String>> {
        self.settings().debug_mode.then(|| {
            text_map(&[
                ("chorus-tre.ch/debug-mode", "enabled"),
                (
                    "chorus-tre.ch/debug-warning",
                    "Containers of this pod run privileged and as root. Not for production.",
                ),
            ])
        })
    }

    pub fn service_account(&self) -> Option<String> {
        self.workbench.spec.service_account_name.clone().filter(|name| !name.is_empty())
    }

    pub fn pull_secrets(&self) -> Option<Vec<LocalObjectReference>> {
        let secret = |name: &String| LocalObjectReference { name: name.clone() };
        let secrets: Vec<_> = self.workbench.spec.image_pull_secrets.iter().map(secret).collect();
        (!secrets.is_empty()).then_some(secrets)
    }

    /// The server image as it shall be.
    pub fn server_image(&self) -> String {
        images::server(&self.workbench.spec, self.settings())
    }

    pub fn target(&self, kind: Kind, meta: &Meta) -> Target {
        Target {
            kind,
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: Some(meta.uid.clone()).filter(|uid| !uid.is_empty()),
        }
    }

    /// A child that may be there or not.
    pub fn named(&self, kind: Kind, name: String) -> Target {
        Target { kind, namespace: self.namespace().to_owned(), name, uid: None }
    }

    /// What the API server said when it refused this object, if it did.
    pub fn refusal(&self, object: &Object) -> Option<&'a str> {
        let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
        self.refused(&Target { kind: object.kind, namespace, name, uid: None })
    }

    /// What the API server said when it refused something about this child, if it did.
    pub fn refused(&self, target: &Target) -> Option<&'a str> {
        let unversioned = Target { uid: None, ..target.clone() };
        self.seen.refused.get(&unversioned).map(String::as_str)
    }

    /// Whose child this is.
    pub fn owner<S>(&self, child: &Child<S>) -> Owner {
        let Some(controller) = child.meta.controller.as_deref() else { return Owner::Nobody };
        if self.workbench.metadata.uid.as_deref() == Some(controller) {
            return Owner::This;
        }
        let body = child.body.value();
        let owners: Vec<OwnerReference> =
            serde_json::from_value(body["metadata"]["ownerReferences"].clone()).unwrap_or_default();
        let namesake = |owner: &OwnerReference| {
            owner.uid == controller && owner.kind == Workbench::kind(&()) && owner.name == self.name()
        };
        if owners.iter().any(namesake) { Owner::Former } else { Owner::Other }
    }
}

/// An object as it shall be, of a typed one.
pub fn object(kind: Kind, typed: &impl Serialize) -> Object {
    // the types of Kubernetes are structs and maps with text keys: they always become JSON
    let mut value = serde_json::to_value(typed).unwrap_or_default();
    drop_nulls(&mut value);
    Object { kind, value }
}

/// A map of texts.
pub fn text_map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
