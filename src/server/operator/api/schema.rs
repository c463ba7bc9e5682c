//! Parts of the CRDs' schemas that the Rust types cannot say by themselves: patterns, and the standard shapes of Kubernetes.
//!
//! What always holds: an object that a client of a running cluster legitimately writes passes. Where an empty string means
//! "not given", the pattern takes it.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// The name of an app, and the tag of an image that must be there.
pub const NAME: &str = r"^[a-zA-Z0-9_][a-zA-Z0-9_\-\.]*$";
/// The tag of an image, or nothing.
pub const OPTIONAL_TAG: &str = r"^([a-zA-Z0-9_][a-zA-Z0-9_\-\.]*)?$";
/// A Unix login, or nothing. It becomes part of paths, so it neither holds a slash nor begins with a dot.
pub const OPTIONAL_LOGIN: &str = r"^([a-zA-Z0-9_][a-zA-Z0-9_\-\.]*)?$";
/// The name of an object of Kubernetes (RFC 1123 subdomain), or nothing.
pub const OPTIONAL_OBJECT_NAME: &str = r"^([a-z0-9]([a-z0-9\-\.]*[a-z0-9])?)?$";
/// A page that a browser opens.
pub const HTTPS: &str = r"^https://.*$";
/// A quantity of Kubernetes, as `resource.Quantity` prescribes it.
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// The longest tag of an image (OCI distribution specification).
pub const TAG_LENGTH: usize = 128;
/// The longest name of an object of Kubernetes, and of a host.
pub const NAME_LENGTH: usize = 253;
/// The longest registry or repository (the reference implementation of OCI registries allows no more together), and the
/// longest name in a file system.
pub const PATH_LENGTH: usize = 255;
/// The longest address of a page.
pub const URL_LENGTH: usize = 8192;
/// The longest token, and the longest text of a service.
pub const TEXT_LENGTH: usize = 16384;
/// The greatest uid that a container may run as (`runAsUser`).
pub const MAX_UID: i64 = 2_147_483_647;
/// The greatest width and height of a screen: X11 has 16 bits for them.
pub const MAX_PIXELS: i64 = 65_535;

/// A quantity: an integer, or a string such as `500m`.
pub fn quantity(_: &mut SchemaGenerator) -> Schema {
    let mut schema = quantity_schema();
    schema.insert("description".to_owned(), json!("A quantity: an integer, or a string such as `500m` or `2Gi`."));
    schema
}

/// Its alternatives, an integer or a string, are added by [`super::crds`].
fn quantity_schema() -> Schema {
    json_schema!({
        "pattern": QUANTITY,
        "x-kubernetes-int-or-string": true,
    })
}

/// `core/v1 ResourceRequirements`.
pub fn resources(_: &mut SchemaGenerator) -> Schema {
    let amounts = json!({ "type": "object", "additionalProperties": quantity_schema() });
    json_schema!({
        "description": "Resources of the container, as in a pod.",
        "type": "object",
        "properties": {
            "limits": amounts,
            "requests": amounts,
            "claims": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": { "name": { "type": "string" }, "request": { "type": "string" } },
                    "required": ["name"],
                },
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        },
    })
}

/// A list of `metav1.Condition`, one of each type.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "What holds of the resource, and why.",
        "type": "array",
        "items": condition(),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

fn condition() -> Value {
    json!({
        "type": "object",
        "required": ["lastTransitionTime", "message", "reason", "status", "type"],
        "properties": {
            "lastTransitionTime": { "type": "string", "format": "date-time" },
            "message": { "type": "string", "maxLength": 32768 },
            "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 },
            "reason": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1024,
                "pattern": r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            },
            "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
            "type": {
                "type": "string",
                "maxLength": 316,
                "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
            },
        },
    })
}

/// Anything at all; what it means is checked later.
pub fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "description": "Values for the chart.", "x-kubernetes-preserve-unknown-fields": true })
}

/// Never goes down. A transition rule: it is checked where the field was there before and still is.
pub fn never_decreases() -> Value {
    json!([{ "rule": "self >= oldSelf", "message": "must not decrease" }])
}
