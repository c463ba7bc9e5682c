//! Fields from text: query parameters and path variables.
//!
//! A parameter names its field as a dotted path, in JSON or proto names, and is repeated for a list. Names that the
//! request does not have are ignored, as clients add their own; a value that does not fit its field is an error.

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD, Engine as _};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};

use crate::server::error::{Error, Result};

/// Sets every field that the query names.
pub fn set_all(message: &mut DynamicMessage, query: &str) -> Result<()> {
    for (name, text) in form_urlencoded::parse(query.as_bytes()) {
        set(message, &name, &text).map_err(|expected| bad_value(&name, expected))?;
    }
    Ok(())
}

/// Sets the field at the end of these, which a path variable names.
pub fn set_variable(message: &mut DynamicMessage, fields: &[FieldDescriptor], text: &str) -> Result<()> {
    let Some((field, parents)) = fields.split_last() else { return Ok(()) };
    let value = scalar(&field.kind(), text).map_err(|expected| bad_value(field.json_name(), expected))?;
    let mut message = message;
    for parent in parents {
        match message.get_field_mut(parent).as_message_mut() {
            Some(inner) => message = inner,
            None => return Ok(()),
        }
    }
    message.set_field(field, value);
    Ok(())
}

fn bad_value(name: &str, expected: &str) -> Error {
    Error::invalid("INVALID_PARAMETER", format!("`{name}` must be {expected}."))
}

/// The error is what the field expects.
fn set(message: &mut DynamicMessage, path: &str, text: &str) -> Result<(), &'static str> {
    let (name, tail) = path.split_once('.').map_or((path, None), |(name, tail)| (name, Some(tail)));
    let descriptor = message.descriptor();
    let field = descriptor.get_field_by_json_name(name).or_else(|| descriptor.get_field_by_name(name));
    let Some(field) = field.filter(|field| !field.is_map()) else { return Ok(()) };
    match (field.kind(), tail) {
        (Kind::Message(_), Some(tail)) if !field.is_list() => match knows(&field, tail) {
            true => message.get_field_mut(&field).as_message_mut().map_or(Ok(()), |inner| set(inner, tail, text)),
            false => Ok(()),
        },
        (_, Some(_)) => Ok(()),
        (kind, None) => {
            let value = scalar(&kind, text)?;
            match message.get_field_mut(&field).as_list_mut().filter(|_| field.is_list()) {
                Some(list) => list.push(value),
                None => message.set_field(&field, value),
            }
            Ok(())
        }
    }
}

/// Whether a message field has this field; an unknown name must not even create the message.
fn knows(field: &FieldDescriptor, path: &str) -> bool {
    let name = path.split('.').next().unwrap_or(path);
    let kind = field.kind();
    kind.as_message().is_some_and(|m| m.get_field_by_json_name(name).or_else(|| m.get_field_by_name(name)).is_some())
}

fn scalar(kind: &Kind, text: &str) -> Result<Value, &'static str> {
    const WHOLE_32: &str = "a whole number of 32 bits";
    const WHOLE_64: &str = "a whole number of 64 bits";
    const POSITIVE_32: &str = "a whole number from 0 to 4294967295";
    const POSITIVE_64: &str = "a whole number from 0 to 18446744073709551615";
    Ok(match kind {
        Kind::String => Value::String(text.to_owned()),
        Kind::Bool => Value::Bool(match text {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => return Err("true or false"),
        }),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(text.parse().map_err(|_| WHOLE_32)?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(text.parse().map_err(|_| WHOLE_64)?),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(text.parse().map_err(|_| POSITIVE_32)?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(text.parse().map_err(|_| POSITIVE_64)?),
        Kind::Float => Value::F32(text.parse().map_err(|_| "a number")?),
        Kind::Double => Value::F64(text.parse().map_err(|_| "a number")?),
        Kind::Enum(kind) => match kind.get_value_by_name(text) {
            Some(value) => Value::EnumNumber(value.number()),
            None => Value::EnumNumber(text.parse().map_err(|_| "one of the names in the API description")?),
        },
        Kind::Bytes => {
            let engines = [BASE64_STANDARD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD];
            Value::Bytes(engines.iter().find_map(|engine| engine.decode(text).ok()).ok_or("base64")?.into())
        }
        Kind::Message(kind) => {
            if let Some(value) = wrapped(kind) {
                let mut message = DynamicMessage::new(kind.clone());
                message.set_field(&value, scalar(&value.kind(), text)?);
                return Ok(Value::Message(message));
            }
            // other well-known types read their own JSON text
            let quoted = serde_json::Value::String(text.to_owned());
            let expected = match kind.full_name() {
                "google.protobuf.Timestamp" => "a time such as 2026-01-31T12:00:00Z",
                "google.protobuf.Duration" => "a duration such as 1.5s",
                _ => "the JSON text of its message",
            };
            Value::Message(DynamicMessage::deserialize(kind.clone(), quoted).map_err(|_| expected)?)
        }
    })
}

/// The field of a message that only makes a value optional, such as `google.protobuf.BoolValue`: it is written as the
/// value alone.
pub fn wrapped(message: &MessageDescriptor) -> Option<FieldDescriptor> {
    let wraps = message.parent_file().name() == "google/protobuf/wrappers.proto";
    message.get_field_by_name("value").filter(|_| wraps)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{proto, server::transport::rest::emitted::Emitted};

    fn read(message: &str, query: &str) -> Result<Json> {
        let descriptor = proto::pool().get_message_by_name(&format!("chorus.v1.{message}")).unwrap();
        let mut message = DynamicMessage::new(descriptor);
        set_all(&mut message, query)?;
        Ok(serde_json::to_value(Emitted(&message)).unwrap())
    }

    #[test]
    fn sets_nested_and_repeated_fields_by_either_name() {
        let json = read("ListUsersRequest", "pagination.offset=5&pagination.limit=20&pagination.sort.type=name&pagination.query=a&pagination.query=b+c&filter.workspaceIDs=1&filter.workspace_ids=18446744073709551615&filter.search=x%20y").unwrap();
        assert_eq!(json["pagination"]["offset"], 5);
        assert_eq!(json["pagination"]["sort"], json!({ "order": "", "type": "name" }));
        assert_eq!(json["pagination"]["query"], json!(["a", "b c"]));
        assert_eq!(json["filter"]["workspaceIDs"], json!(["1", "18446744073709551615"]));
        assert_eq!(json["filter"]["search"], "x y");
    }

    #[test]
    fn an_empty_value_is_a_value() {
        let json = read("ListUsersRequest", "filter.search=").unwrap();
        assert_eq!(json["filter"]["search"], "");
    }

    #[test]
    fn enums_booleans_and_times() {
        let query = "filter.statusesIn=2&filter.pendingApproval=true&filter.workspaceId=9";
        let json = read("ListApprovalRequestsRequest", query).unwrap();
        assert_eq!(json["filter"]["pendingApproval"], true);
        assert_eq!(json["filter"]["workspaceId"], "9");
        assert_eq!(json["filter"]["statusesIn"].as_array().unwrap().len(), 1);
        let json = read("ListPlatformAuditRequest", "filter.fromTime=2024-01-02T03:04:05Z").unwrap();
        assert_eq!(json["filter"]["fromTime"], "2024-01-02T03:04:05Z");
    }

    #[test]
    fn optional_values_are_written_plainly() {
        for (query, read_only) in [("isRead=true", json!(true)), ("isRead=0", json!(false)), ("", Json::Null)] {
            assert_eq!(read("GetNotificationsRequest", query).unwrap()["isRead"], read_only, "{query}");
        }
        let error = read("GetNotificationsRequest", "isRead=maybe").unwrap_err();
        assert_eq!(error.message(), "`isRead` must be true or false.");
    }

    #[test]
    fn unknown_names_are_ignored_and_bad_values_named() {
        let json = read("ListUsersRequest", "x=1&filter.nope=2&pagination.limit.deep=3&pagination.sort.x.y=1").unwrap();
        assert_eq!(json["filter"], read("ListUsersRequest", "").unwrap()["filter"]);
        for (query, field) in
            [("pagination.limit=many", "pagination.limit"), ("filter.workspaceIDs=-1", "filter.workspaceIDs")]
        {
            let error = read("ListUsersRequest", query).unwrap_err();
            assert_eq!(error.reason(), "INVALID_PARAMETER");
            assert!(error.message().contains(&format!("`{field}` must be")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(query in "[a-zA-Z.=&%0-9_]{0,60}") {
            let _ = read("ListApprovalRequestsRequest", &query);
            let _ = read("ListUsersRequest", &format!("pagination.{query}"));
        }
    }
}
