//! The `Status` with which a request is refused.

use http::StatusCode;
use serde_json::{Value, json};

use super::resources::Resource;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub code: StatusCode,
    pub reason: &'static str,
    pub message: String,
    pub details: Value,
}

impl Failure {
    pub fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null }
    }

    /// 400
    pub fn bad(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 404 of an object.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{} {name:?} not found", resource.full_name())).about(
            resource,
            name,
            &[],
        )
    }

    /// 404 of a path.
    pub fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    /// 409 of a name that is taken.
    pub fn exists(resource: &Resource, name: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "AlreadyExists", format!("{} {name:?} already exists", resource.full_name()))
            .about(resource, name, &[])
    }

    /// 409 of a version or a uid that is not that of the object.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.full_name());
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(resource, name, &[])
    }

    /// 410
    pub fn expired() -> Self {
        Self::new(StatusCode::GONE, "Expired", "too old resource version")
    }

    /// 422, with the fields that are wrong and why.
    pub fn invalid(resource: &Resource, name: &str, causes: &[(String, String)]) -> Self {
        let list: Vec<_> = causes.iter().map(|(field, why)| format!("{field}: {why}")).collect();
        let message = format!("{} {name:?} is invalid: {}", resource.kind, list.join(", "));
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).about(resource, name, causes)
    }

    fn about(mut self, resource: &Resource, name: &str, causes: &[(String, String)]) -> Self {
        let causes: Vec<_> = causes
            .iter()
            .map(|(field, why)| json!({ "reason": "FieldValueInvalid", "message": why, "field": field }))
            .collect();
        self.details = json!({ "name": name, "group": resource.group, "kind": resource.plural, "causes": causes });
        self
    }

    /// The body of the answer.
    pub fn status(&self) -> Value {
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
            "reason": self.reason, "details": self.details, "code": self.code.as_u16() })
    }
}
