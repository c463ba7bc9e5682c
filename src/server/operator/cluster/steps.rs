//! Doing what a plan asks for, step by step.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    super::{
        api::{FINALIZER, MANAGER, labels},
        contains::contains,
        live::Kind,
        plan::{Object, Step, Target},
    },
    caches::{Caches, Key},
    writer::{Fault, Writer, is_version},
};

/// What one pass over a resource learned beyond the caches.
#[derive(Debug, Default)]
pub struct Pass {
    /// Children that a look did not find.
    pub absent: BTreeSet<Target>,
    /// Children that the API server refused, and what it said.
    pub refused: BTreeMap<Target, String>,
    /// Whether one was refused in this pass.
    pub learned: bool,
    /// What failed without holding up the rest.
    pub setback: Option<Fault>,
    /// Whether anything but the status was written.
    pub wrote: bool,
    /// Whether the status changed, so that what follows at once can be told together.
    pub rests: bool,
}

/// What is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next step.
    Step,
    /// Something was learned: plan anew.
    Plan,
}

/// The resource that a plan is about, as far as steps on itself need it.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// Its version.
    pub version: String,
    /// Its finalizers.
    pub finalizers: Vec<String>,
}

/// Does steps.
pub struct Hands<'a> {
    /// Where responses go.
    pub caches: &'a Caches,
    /// How requests go out.
    pub writer: &'a Writer,
    /// For which resource.
    pub key: &'a Key,
}

impl Hands<'_> {
    /// Does these steps in order, until one fails or teaches something.
    pub async fn perform(&self, steps: &[Step], subject: &Subject, pass: &mut Pass) -> Result<Next, Fault> {
        for step in steps {
            let outcome = self.step(step, subject, pass).await;
            match self.judge(step, outcome, pass).await? {
                Next::Step => {}
                Next::Plan => return Ok(Next::Plan),
            }
        }
        Ok(Next::Step)
    }

    async fn step(&self, step: &Step, subject: &Subject, pass: &mut Pass) -> Result<Next, Fault> {
        pass.wrote |= !matches!(step, Step::Confirm(_));
        match step {
            Step::AddFinalizer => {
                let some = !subject.finalizers.is_empty();
                let text = self.writer.add_finalizer(self.key, &subject.version, some).await?;
                self.took_resource(&text)?;
            }
            Step::RemoveFinalizer => self.remove_finalizer(subject).await?,
            Step::Apply(object) => self.apply(object).await?,
            Step::Create(object) => self.took(object.kind, &self.writer.create(object).await?)?,
            Step::TakeOver(object) => return self.take_over(object).await,
            Step::Patch { target, patch } => self.took(target.kind, &self.writer.merge(target, patch).await?)?,
            Step::Delete(target) => self.delete(target).await?,
            Step::KillPods { namespace, selector } => drop(self.writer.kill(namespace, selector).await?),
            Step::Confirm(target) => return self.confirm(target, pass).await,
        }
        Ok(Next::Step)
    }

    /// What a failure means: for the object, for the app, or for the whole pass.
    async fn judge(&self, step: &Step, outcome: Result<Next, Fault>, pass: &mut Pass) -> Result<Next, Fault> {
        let fault = match outcome {
            Ok(next) => return Ok(next),
            Err(fault) => fault,
        };
        match (step, fault.code()) {
            // It was written or deleted meanwhile: what is there now decides.
            (Step::Create(object) | Step::TakeOver(object), 409) => self.look(&target_of(object)).await,
            (Step::Patch { target, .. } | Step::Delete(target), 404 | 409) => self.look(target).await,
            (Step::AddFinalizer | Step::RemoveFinalizer, 404 | 409 | 422) => self.look_at_resource().await,
            _ if fault.refused() => self.refused(step, fault, pass),
            _ => Err(fault),
        }
    }

    /// A refusal holds up one child, not the others: the plan is told, and leaves it out.
    fn refused(&self, step: &Step, fault: Fault, pass: &mut Pass) -> Result<Next, Fault> {
        let target = match step {
            Step::Create(object) | Step::Apply(object) | Step::TakeOver(object) => target_of(object),
            Step::Patch { target, .. } | Step::Delete(target) => Target { uid: None, ..target.clone() },
            _ => return Err(fault),
        };
        let (namespace, child) = (&target.namespace, &target.name);
        tracing::warn!(namespace, name = &*self.key.name, child, %fault, "a child was refused");
        if pass.refused.insert(target, fault.to_string()).is_none() {
            pass.learned = true;
            return Ok(Next::Plan);
        }
        // The plan knew and asks for it all the same: planning once more is of no use.
        pass.setback = Some(fault);
        Ok(Next::Step)
    }

    /// Items that others put into a list stay beside ours when we apply: a container that somebody added goes on running,
    /// and two ports of one name make the object invalid. A merge patch replaces the list. What does not hold even then is
    /// changed by somebody else each time (an admission webhook), and trying again at once would never end.
    async fn apply(&self, object: &Object) -> Result<(), Fault> {
        let text = match self.writer.apply(object).await {
            Err(fault) if fault.code() == 422 && self.writer.merge(&target_of(object), &object.value).await.is_ok() => {
                self.writer.apply(object).await?
            }
            answer => answer?,
        };
        self.took(object.kind, &text)?;
        if holds(&text, object) {
            return Ok(());
        }
        let text = self.writer.merge(&target_of(object), &object.value).await?;
        self.took(object.kind, &text)?;
        if holds(&text, object) {
            Ok(())
        } else {
            Err(Fault::Overridden(object.kind.names().1, object.name().to_owned()))
        }
    }

    async fn remove_finalizer(&self, subject: &Subject) -> Result<(), Fault> {
        let Some(index) = subject.finalizers.iter().position(|name| name == FINALIZER) else { return Ok(()) };
        let text = self.writer.remove_finalizer(self.key, &subject.version, index).await?;
        if subject.finalizers.len() == 1 {
            self.caches.forget_resource(self.key);
            return Ok(());
        }
        self.took_resource(&text)
    }

    /// Fields that a former manager owns stay although we do not want them; so they become ours first.
    async fn take_over(&self, object: &Object) -> Result<Next, Fault> {
        let target = target_of(object);
        let Some(text) = self.writer.get(&target).await? else {
            self.caches.forget(&target);
            return Ok(Next::Plan);
        };
        let live: Value = serde_json::from_str(&text).map_err(|error| Fault::Unreadable(error.to_string()))?;
        if let Some(patch) = without_former_managers(&live) {
            self.writer.json_patch(&target, &patch).await?;
        }
        self.apply(object).await?;
        Ok(Next::Step)
    }

    async fn delete(&self, target: &Target) -> Result<(), Fault> {
        let text = self.writer.delete(target).await?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        // An object is answered while something keeps it, a status when it is gone.
        if answer["kind"] == "Status" || !self.caches.feed(target.kind, &text, self.key) {
            self.caches.forget(target);
        }
        Ok(())
    }

    async fn confirm(&self, target: &Target, pass: &mut Pass) -> Result<Next, Fault> {
        if let Some(text) = self.writer.get(target).await? {
            let text = self.labelled(target, text, pass).await?;
            self.took(target.kind, &text)?;
        } else {
            self.caches.forget(target);
            pass.absent.insert(target.clone());
        }
        Ok(Next::Plan)
    }

    /// A child that is there and was not seen has lost the label by which children are found: it gets it back.
    async fn labelled(&self, target: &Target, text: String, pass: &mut Pass) -> Result<String, Fault> {
        let live: Value = serde_json::from_str(&text).map_err(|error| Fault::Unreadable(error.to_string()))?;
        let owners = live["metadata"]["ownerReferences"].as_array();
        let ours = owners.is_some_and(|owners| {
            owners.iter().any(|owner| {
                owner["controller"] == true && owner["kind"] == "Workbench" && owner["name"] == *self.key.name
            })
        });
        if !ours || live["metadata"]["labels"][labels::WORKBENCH] == *self.key.name {
            return Ok(text);
        }
        pass.wrote = true;
        self.writer.merge(target, &json!({ "metadata": { "labels": { labels::WORKBENCH: &*self.key.name } } })).await
    }

    async fn look(&self, target: &Target) -> Result<Next, Fault> {
        match self.writer.get(target).await? {
            Some(text) => self.took(target.kind, &text)?,
            None => self.caches.forget(target),
        }
        Ok(Next::Plan)
    }

    async fn look_at_resource(&self) -> Result<Next, Fault> {
        match self.writer.get_resource(self.key).await? {
            Some(text) => self.took_resource(&text)?,
            None => self.caches.forget_resource(self.key),
        }
        Ok(Next::Plan)
    }

    fn took(&self, kind: Kind, text: &str) -> Result<(), Fault> {
        let understood = self.caches.feed(kind, text, self.key);
        if understood {
            Ok(())
        } else {
            Err(Fault::Unreadable(format!("the API server answered no {}", kind.names().1)))
        }
    }

    fn took_resource(&self, text: &str) -> Result<(), Fault> {
        let understood = self.caches.feed_resource(self.key, text);
        let kind = self.key.resource.name();
        if understood { Ok(()) } else { Err(Fault::Unreadable(format!("the API server answered no {kind}"))) }
    }
}

/// A JSON patch of `metadata.managedFields`: what other managers own of the spec becomes ours, save what they own through
/// subresources; none if there are none. What was theirs and is not wanted goes with our next apply, as nothing would that
/// nobody owns.
fn without_former_managers(live: &Value) -> Option<Value> {
    let entries = live.pointer("/metadata/managedFields")?.as_array()?;
    let of_status = |entry: &Value| !entry["subresource"].as_str().unwrap_or_default().is_empty();
    let (mut rest, former): (Vec<Value>, Vec<Value>) =
        entries.iter().cloned().partition(|entry| entry["manager"] == MANAGER || of_status(entry));
    let time = former.first()?["time"].clone();
    let ours = rest.iter().position(|entry| entry["operation"] == "Apply" && !of_status(entry));
    let mut ours = ours.map(|index| rest.remove(index)).unwrap_or_else(|| {
        json!({ "manager": MANAGER, "operation": "Apply", "apiVersion": live["apiVersion"], "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": {} })
    });
    for entry in &former {
        unite(&mut ours["fieldsV1"]["f:spec"], &entry["fieldsV1"]["f:spec"]);
    }
    rest.push(ours);
    let version = live.pointer("/metadata/resourceVersion")?.as_str()?;
    Some(json!([is_version(version), { "op": "replace", "path": "/metadata/managedFields", "value": rest }]))
}

/// Whether the answer to a write says what was wanted.
fn holds(answer: &str, object: &Object) -> bool {
    serde_json::from_str(answer).is_ok_and(|live: Value| contains(&live, &object.value))
}

/// Adds one set of fields (`fieldsV1`) to another.
fn unite(fields: &mut Value, more: &Value) {
    let Some(more) = more.as_object() else { return };
    if !fields.is_object() {
        *fields = json!({});
    }
    for (name, below) in more {
        unite(&mut fields[name.as_str()], below);
    }
}

fn target_of(object: &Object) -> Target {
    Target { kind: object.kind, namespace: object.namespace().to_owned(), name: object.name().to_owned(), uid: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_former_managers_own_becomes_ours() {
        let entry = |manager: &str, operation: &str, subresource: &str, fields: Value| {
            json!({ "manager": manager, "operation": operation, "apiVersion": "apps/v1", "time": "t", "fieldsType": "FieldsV1",
                "subresource": subresource, "fieldsV1": { "f:spec": fields } })
        };
        let live = |entries: Value| json!({ "apiVersion": "apps/v1", "metadata": { "resourceVersion": "7", "managedFields": entries } });
        let former = entry("manager", "Update", "", json!({ "f:replicas": {}, "f:template": { "f:spec": {} } }));
        let status = entry("manager", "Update", "status", json!({}));
        let ours = entry(MANAGER, "Apply", "", json!({ "f:template": { "f:metadata": {} } }));
        let united =
            entry(MANAGER, "Apply", "", json!({ "f:replicas": {}, "f:template": { "f:metadata": {}, "f:spec": {} } }));
        let mut made = entry(MANAGER, "Apply", "", json!({ "f:replicas": {}, "f:template": { "f:spec": {} } }));
        made.as_object_mut().unwrap().remove("subresource");
        for (entries, rest) in [
            (json!([former, status, ours]), Some(json!([status, united]))),
            (json!([former]), Some(json!([made]))),
            (json!([ours, status]), None),
            (json!([]), None),
        ] {
            let patch = without_former_managers(&live(entries));
            assert_eq!(patch.as_ref().map(|patch| patch[1]["value"].clone()), rest);
            if let Some(patch) = patch {
                assert_eq!(patch[0], is_version("7"));
            }
        }
        assert_eq!(without_former_managers(&json!({})), None);
    }
}
