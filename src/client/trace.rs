//! What `-v` and `-vv` say about calls, on standard error.
//!
//! `-v` names each RPC with its outcome, duration and request id; `-vv` adds the request. Fields that the contract marks as
//! secret or personal are left out, so the output can go into a bug report.

use std::time::Duration;

use prost_reflect::{DynamicMessage, FieldDescriptor, Value};
use tonic::{Response, Status};

use super::output::{data::Rest, say};
use crate::proto;

/// Says that a call begins.
pub fn request(verbose: u8, rpc: &str, message: &impl prost::Message) {
    match verbose {
        0 => {}
        1 => say(&format!("> {rpc}")),
        _ => say(&format!("> {rpc} {}", describe(rpc, message).unwrap_or_default())),
    }
}

/// Says how a call ended.
pub fn response<R>(verbose: u8, rpc: &str, answer: &Result<Response<R>, Status>, took: Duration) {
    if verbose == 0 {
        return;
    }
    let (outcome, metadata) = match answer {
        Ok(response) => ("OK".to_owned(), response.metadata()),
        Err(status) => (format!("{:?}", status.code()), status.metadata()),
    };
    let id = metadata.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("-");
    say(&format!("< {rpc} {outcome} in {} ms, request id {id}", took.as_millis()));
}

/// The request as one line of JSON, without what must not be printed.
fn describe(rpc: &str, message: &impl prost::Message) -> Option<String> {
    let (service, method) = rpc.split_once('/')?;
    let service = proto::pool().get_service_by_name(&format!("chorus.v1.{service}"))?;
    let input = service.methods().find(|m| m.name() == method)?.input();
    let mut message = DynamicMessage::decode(input, message.encode_to_vec().as_slice()).ok()?;
    redact(&mut message);
    let mut set = Vec::new();
    for (field, value) in message.fields() {
        set.push(format!("{}={}", field.json_name(), show(value)));
    }
    Some(set.join(" "))
}

fn show(value: &Value) -> String {
    match value {
        Value::Message(message) => serde_json::to_string(&Rest(message)).unwrap_or_default(),
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

/// Empties every field that is secret or personal, at any depth.
fn redact(message: &mut DynamicMessage) {
    let fields: Vec<FieldDescriptor> = message.fields().map(|(field, _)| field).collect();
    for field in fields {
        if is_sensitive(&field) {
            message.clear_field(&field);
            continue;
        }
        match message.get_field_mut(&field) {
            Value::Message(inner) => redact(inner),
            Value::List(values) => values.iter_mut().for_each(redact_value),
            Value::Map(values) => values.values_mut().for_each(redact_value),
            _ => {}
        }
    }
}

fn redact_value(value: &mut Value) {
    if let Value::Message(inner) = value {
        redact(inner);
    }
}

fn is_sensitive(field: &FieldDescriptor) -> bool {
    let Some(class) = field.parent_pool().get_extension_by_name("chorus.v1.field_class") else {
        // without the option nobody knows, so nothing is shown
        return true;
    };
    field.options().get_extension(&class).as_enum_number().unwrap_or_default() != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{Credentials, ListWorkspacesRequest, PaginationQuery, UpdatePasswordRequest, User};

    #[test]
    fn secrets_and_personal_data_are_left_out() {
        let credentials =
            Credentials { username: "ada".to_owned(), password: "hunter2".to_owned(), totp: "123456".to_owned() };
        assert_eq!(describe("AuthenticationService/Authenticate", &credentials).unwrap(), "");
        let change = UpdatePasswordRequest { current_password: "a".to_owned(), new_password: "b".to_owned() };
        assert_eq!(describe("UserService/UpdatePassword", &change).unwrap(), "");
        let user = User {
            id: 7,
            first_name: "Ada".to_owned(),
            password: "hunter2".to_owned(),
            status: "active".to_owned(),
            ..User::default()
        };
        assert_eq!(describe("UserService/CreateUser", &user).unwrap(), "id=7 status=\"active\"");
    }

    #[test]
    fn the_rest_is_shown() {
        let request = ListWorkspacesRequest {
            pagination: Some(PaginationQuery { limit: 500, ..PaginationQuery::default() }),
            filter: None,
        };
        let text = describe("WorkspaceService/ListWorkspaces", &request).unwrap();
        assert_eq!(text, r#"pagination={"offset":0,"limit":500,"sort":null,"query":[]}"#);
    }
}
