//! What a plan asks for. Plans are pure: resources, what is seen and the time go in, steps come out; the controller does
//! them in order and stops at the first that fails, to plan again.

use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::live::Kind;

/// What one pass over a resource comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan<S> {
    /// What to do, in this order.
    pub steps: Vec<Step>,
    /// The status that holds when all steps are done; none leaves it alone (an object that is going).
    pub status: Option<S>,
    /// When to look again although nothing changes.
    pub wake: Option<DateTime<Utc>>,
    /// What to tell people, as Events on the resource.
    pub notices: Vec<Notice>,
}

/// One write, or one look.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Adds the finalizer to the resource, by a JSON patch of `metadata.finalizers` that tests the resource version.
    AddFinalizer,
    /// Takes the finalizer away; the resource goes.
    RemoveFinalizer,
    /// Server-side apply, forced, under the one field manager.
    Apply(Object),
    /// Server-side apply of an object that a former manager wrote: first its entries leave `metadata.managedFields`. Fields
    /// that are not wanted stay, since nobody owns them; a null in an apply does not remove them either (the merge keeps
    /// the live value). A [`Step::Patch`] removes them.
    TakeOver(Object),
    /// Create, or find that it exists.
    Create(Object),
    /// A merge patch of a child.
    Patch {
        /// The child.
        target: Target,
        /// The patch.
        patch: Value,
    },
    /// Deletes a child, with what belongs to it, in the background.
    Delete(Target),
    /// Deletes the pods of this label selector at once (grace period 0).
    KillPods {
        /// Their namespace.
        namespace: String,
        /// Which.
        selector: String,
    },
    /// The caches miss a child that is recorded: read it, and plan again with what is found. [`super::workbench::Seen::absent`]
    /// says afterwards that it is known to be absent.
    Confirm(Target),
}

/// An object as it shall be. `Debug` says which, and not what it holds: that may be a token.
#[derive(Clone, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// `apiVersion`, `kind`, `metadata`, and what else is wanted.
    pub value: Value,
}

impl Object {
    /// `metadata.name`
    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// `metadata.namespace`; empty where there is none.
    pub fn namespace(&self) -> &str {
        self.value["metadata"]["namespace"].as_str().unwrap_or_default()
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}/{}", self.kind, self.namespace(), self.name())
    }
}

/// A child that is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty where there is none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, when known: a newer object of the same name is left alone.
    pub uid: Option<String>,
}

/// Something to tell people, as an Event. The recorder counts repetitions instead of writing them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether it is a warning.
    pub warning: bool,
    /// Why, in one word.
    pub reason: &'static str,
    /// For people.
    pub note: String,
}
