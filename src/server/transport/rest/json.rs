//! Messages from JSON: by JSON or proto names; an unknown or repeated field is an error with its position.

use std::{borrow::Cow, collections::HashSet, fmt};

use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, Value};
use serde::{
    Deserializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};

use crate::server::error::{Error, Result};

/// Reads a message; no bytes are an empty message.
pub fn read(descriptor: MessageDescriptor, json: &[u8]) -> Result<DynamicMessage> {
    if json.is_empty() {
        return Ok(DynamicMessage::new(descriptor));
    }
    parse(json, One(&descriptor))
}

/// Reads a list of messages; no bytes are an empty list.
pub fn read_list(descriptor: &MessageDescriptor, json: &[u8]) -> Result<Vec<Value>> {
    if json.is_empty() {
        return Ok(Vec::new());
    }
    parse(json, Many(descriptor))
}

fn parse<'de, S: DeserializeSeed<'de>>(json: &'de [u8], seed: S) -> Result<S::Value> {
    let malformed =
        |error: serde_json::Error| Error::invalid("MALFORMED_JSON", format!("The body cannot be read: {error}."));
    let mut typed = serde_json::Deserializer::from_slice(json);
    let value = seed.deserialize(&mut typed).and_then(|value| typed.end().map(|()| value)).map_err(malformed)?;
    // second, since the fields are known by now: remembering the keys cannot take more than the message does
    serde_json::Deserializer::from_slice(json).deserialize_any(NoRepeats).map_err(malformed)?;
    Ok(value)
}

struct One<'a>(&'a MessageDescriptor);

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = DynamicMessage;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<DynamicMessage, D::Error> {
        let options = DeserializeOptions::new().deny_unknown_fields(true);
        DynamicMessage::deserialize_with_options(self.0.clone(), deserializer, &options)
    }
}

struct Many<'a>(&'a MessageDescriptor);

impl<'de> DeserializeSeed<'de> for Many<'_> {
    type Value = Vec<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Many<'_> {
    type Value = Vec<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(message) = list.next_element_seed(One(self.0))? {
            values.push(Value::Message(message));
        }
        Ok(values)
    }
}

/// Walks JSON and refuses an object that names a field twice: two readers of the same text could each believe another.
struct NoRepeats;

impl<'de> DeserializeSeed<'de> for NoRepeats {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NoRepeats {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            map.next_value_seed(NoRepeats)?;
            if let Some(key) = seen.replace(key.0) {
                return Err(de::Error::custom(format_args!("field {key:?} is repeated")));
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(NoRepeats)?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// A key, borrowed from the text unless it has escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{proto, server::transport::rest::emitted::Emitted};

    fn descriptor(name: &str) -> MessageDescriptor {
        proto::pool().get_message_by_name(&format!("chorus.v1.{name}")).unwrap()
    }

    fn round(name: &str, json: &str) -> Result<Json> {
        let message = read(descriptor(name), json.as_bytes())?;
        Ok(serde_json::to_value(Emitted(&message)).unwrap())
    }

    #[test]
    fn writes_every_field() {
        let json = round("ApprovalRequest", "").unwrap();
        assert_eq!(json["id"], "0");
        assert_eq!(json["title"], "");
        assert_eq!(json["autoApproved"], false);
        assert_eq!(json["createdAt"], Json::Null);
        assert_eq!(json["stepDecisions"], json!({}));
        assert!(json["status"].is_string());
        let fields = json.as_object().unwrap();
        assert!(!fields.contains_key("approvedAt"), "optional");
        assert!(!fields.contains_key("dataExtraction"), "oneof");
    }

    #[test]
    fn reads_what_it_writes() {
        let text = r#"{"id":"9007199254740993","type":1,"dataTransfer":{"sourceWorkspaceId":3,"files":[{"source_path":"a"}]},
            "approverIdsByStep":{"download":{"ids":["1",2]}},"createdAt":"2023-11-14T22:13:20.5Z","approvedAt":null}"#;
        let json = round("ApprovalRequest", text).unwrap();
        assert_eq!(json["id"], "9007199254740993");
        assert_eq!(json["dataTransfer"]["files"][0], json!({ "sourcePath": "a", "destinationPath": "", "size": "0" }));
        assert_eq!(json["approverIdsByStep"]["download"]["ids"], json!(["1", "2"]));
        assert_eq!(json["createdAt"], "2023-11-14T22:13:20.500Z");
        assert_eq!(round("ApprovalRequest", &json.to_string()).unwrap(), json);
    }

    #[test]
    fn bytes_are_base64() {
        let json = round("DownloadApprovalRequestFileResult", r#"{"content":"aGVsbG8="}"#).unwrap();
        assert_eq!(json, json!({ "file": null, "content": "aGVsbG8=" }));
    }

    #[test]
    fn says_where_a_body_is_wrong() {
        let table = [
            ("{", "line 1 column 1"),
            (r#"{"nope":1}"#, "nope"),
            (r#"{"id":"x"}"#, "line 1 column"),
            (r#"{"title":1}"#, "expected a string"),
            (r#"{"title":"a","title":"b"}"#, "\"title\" is repeated"),
            (r#"{"dataTransfer":{"files":[{"size":1,"size":2}]}}"#, "\"size\" is repeated"),
            ("{} x", "trailing"),
            ("[]", "line 1"),
        ];
        for (json, want) in table {
            let error = round("ApprovalRequest", json).unwrap_err();
            assert_eq!(error.reason(), "MALFORMED_JSON");
            assert!(error.message().contains(want), "{json}: {error}");
        }
    }

    #[test]
    fn lists_are_bodies_too() {
        let list = read_list(&descriptor("ApprovalRequestFile"), br#"[{"size":1},{"size":"2"}]"#).unwrap();
        assert_eq!(list.len(), 2);
        assert!(read_list(&descriptor("ApprovalRequestFile"), b"{}").is_err());
        assert!(read_list(&descriptor("ApprovalRequestFile"), b"").unwrap().is_empty());
    }
}
