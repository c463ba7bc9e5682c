//! JSON straight from an encoded reply.
//!
//! A reply arrives as protobuf and leaves as JSON. Building a dynamic message in between would cost more than everything
//! else in a call, so the fields are looked up in a [`Layout`] that is made once, and written from the encoded bytes. The
//! rules (the tests compare with `emitted`, which is written the obvious way): every field is written, 64-bit
//! integers as text, enums by name, unset messages as `null`, unset `optional` and `oneof` fields not at all.
//!
//! What always holds: the result is what the obvious way would write, or an error; bytes that are no such message are an error.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, io::Write as _, sync::OnceLock};

use base64::{display::Base64Display, prelude::BASE64_STANDARD};
use chrono::{DateTime, SecondsFormat};
use prost_reflect::{Cardinality, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions};
use tonic::Status;

/// How a message is written.
pub struct Layout {
    descriptor: MessageDescriptor,
    form: Form,
    fields: Vec<Field>,
    /// Index into `fields` by field number.
    by_number: Vec<Option<u16>>,
}

enum Form {
    Fields,
    Timestamp,
    /// Any other well-known type has a form of its own, which prost-reflect knows.
    WellKnown,
}

struct Field {
    /// The name with quotes and colon, such as `"userId":`.
    name: Vec<u8>,
    value: Value,
    shape: Shape,
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// Always written.
    Plain,
    /// `null` when unset.
    Nullable,
    /// Left out when unset.
    Optional,
    List,
    Map,
}

enum Value {
    Bool,
    Int32,
    Uint32,
    Int64,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    Text,
    Bytes,
    Enum(HashMap<i32, Vec<u8>>),
    Message(Box<Nested>),
}

/// A message inside a message. Its layout is made when it is first needed, since messages may hold themselves.
struct Nested {
    descriptor: MessageDescriptor,
    layout: OnceLock<Layout>,
}

impl Nested {
    fn layout(&self) -> &Layout {
        self.layout.get_or_init(|| Layout::new(&self.descriptor))
    }
}

/// One field as it is encoded.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Varint(u64),
    Eight([u8; 8]),
    Four([u8; 4]),
    Bytes(&'a [u8]),
}

/// The JSON of an encoded message.
pub fn to_json(layout: &Layout, encoded: &[u8]) -> Result<Vec<u8>, Status> {
    let mut out = Vec::with_capacity(encoded.len() * 3 + 64);
    message(layout, encoded, &mut out).ok_or_else(|| Status::internal("the reply is malformed"))?;
    Ok(out)
}

impl Layout {
    /// How this message is written.
    pub fn new(descriptor: &MessageDescriptor) -> Self {
        let form = match descriptor.full_name() {
            "google.protobuf.Timestamp" => Form::Timestamp,
            name if name.starts_with("google.protobuf.") => Form::WellKnown,
            _ => Form::Fields,
        };
        let fields: Vec<_> = descriptor.fields().map(|field| Field::new(&field)).collect();
        let mut by_number = Vec::new();
        for (index, field) in descriptor.fields().enumerate() {
            let number = field.number() as usize;
            if by_number.len() <= number {
                by_number.resize(number + 1, None);
            }
            by_number[number] = u16::try_from(index).ok();
        }
        Self { descriptor: descriptor.clone(), form, fields, by_number }
    }

    fn index(&self, number: u64) -> Option<u16> {
        *self.by_number.get(usize::try_from(number).ok()?)?
    }
}

impl std::fmt::Debug for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.descriptor.full_name())
    }
}

impl Field {
    fn new(field: &FieldDescriptor) -> Self {
        let shape = match (field.cardinality(), field.kind()) {
            _ if field.is_map() => Shape::Map,
            (Cardinality::Repeated, _) => Shape::List,
            _ if field.containing_oneof().is_some() => Shape::Optional,
            (_, Kind::Message(_)) => Shape::Nullable,
            _ if field.supports_presence() => Shape::Optional,
            _ => Shape::Plain,
        };
        let mut name = serde_json::to_vec(field.json_name()).unwrap_or_default();
        name.push(b':');
        Self { name, value: Value::new(&field.kind()), shape }
    }
}

impl Value {
    fn new(kind: &Kind) -> Self {
        match kind {
            Kind::Bool => Self::Bool,
            Kind::Int32 => Self::Int32,
            Kind::Uint32 => Self::Uint32,
            Kind::Int64 => Self::Int64,
            Kind::Uint64 => Self::Uint64,
            Kind::Sint32 => Self::Sint32,
            Kind::Sint64 => Self::Sint64,
            Kind::Fixed32 => Self::Fixed32,
            Kind::Fixed64 => Self::Fixed64,
            Kind::Sfixed32 => Self::Sfixed32,
            Kind::Sfixed64 => Self::Sfixed64,
            Kind::Float => Self::Float,
            Kind::Double => Self::Double,
            Kind::String => Self::Text,
            Kind::Bytes => Self::Bytes,
            Kind::Enum(kind) => {
                let names = kind.values().map(|value| (value.number(), format!("\"{}\"", value.name()).into_bytes()));
                Self::Enum(names.collect())
            }
            Kind::Message(message) => {
                Self::Message(Box::new(Nested { descriptor: message.clone(), layout: OnceLock::new() }))
            }
        }
    }

    /// What an unset field of this type holds.
    fn unset(&self) -> Wire<'static> {
        match self {
            Self::Text | Self::Bytes | Self::Message(_) => Wire::Bytes(&[]),
            Self::Fixed32 | Self::Sfixed32 | Self::Float => Wire::Four([0; 4]),
            Self::Fixed64 | Self::Sfixed64 | Self::Double => Wire::Eight([0; 8]),
            _ => Wire::Varint(0),
        }
    }
}

fn message(layout: &Layout, encoded: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match layout.form {
        Form::Fields => fields(layout, encoded, out),
        Form::Timestamp => timestamp(encoded, out),
        Form::WellKnown => {
            let message = DynamicMessage::decode(layout.descriptor.clone(), encoded).ok()?;
            let mut json = serde_json::Serializer::new(out);
            message.serialize_with_options(&mut json, &SerializeOptions::new().skip_default_fields(false)).ok()
        }
    }
}

fn fields(layout: &Layout, encoded: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut found: Vec<(u16, Wire<'_>)> = Vec::with_capacity(layout.fields.len());
    let mut rest = encoded;
    while !rest.is_empty() {
        let (number, wire) = take(&mut rest)?;
        if let Some(index) = layout.index(number) {
            found.push((index, wire));
        }
    }
    // encoders write fields in order, so this only checks
    found.sort_by_key(|(index, _)| *index);
    let mut open = b'{';
    let mut found = found.as_slice();
    for (index, field) in layout.fields.iter().enumerate() {
        let count = found.iter().take_while(|(of, _)| usize::from(*of) == index).count();
        let (values, after) = found.split_at(count);
        found = after;
        if values.is_empty() && field.shape == Shape::Optional {
            continue;
        }
        out.push(open);
        open = b',';
        out.extend_from_slice(&field.name);
        write_field(field, values, out)?;
    }
    if open == b'{' {
        out.push(open);
    }
    out.push(b'}');
    Some(())
}

fn write_field(field: &Field, values: &[(u16, Wire<'_>)], out: &mut Vec<u8>) -> Option<()> {
    match (field.shape, values.last()) {
        (Shape::List, _) => list(&field.value, values, out),
        (Shape::Map, _) => map(&field.value, values, out),
        (Shape::Nullable, None) => {
            out.extend_from_slice(b"null");
            Some(())
        }
        (_, None) => value(&field.value, field.value.unset(), out),
        (_, Some((_, wire))) => value(&field.value, *wire, out),
    }
}

fn list(of: &Value, values: &[(u16, Wire<'_>)], out: &mut Vec<u8>) -> Option<()> {
    let mut open = b'[';
    let mut item = |wire: Wire<'_>, out: &mut Vec<u8>| {
        out.push(open);
        open = b',';
        value(of, wire, out)
    };
    for (_, wire) in values {
        match (of, wire) {
            (Value::Text | Value::Bytes | Value::Message(_), wire) => item(*wire, out)?,
            // numbers come packed
            (_, &Wire::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    item(take_as(of, &mut packed)?, out)?;
                }
            }
            (_, wire) => item(*wire, out)?,
        }
    }
    if open == b'[' {
        out.push(open);
    }
    out.push(b']');
    Some(())
}

/// A map, sorted by key, so that equal answers are equal bytes.
fn map(of: &Value, values: &[(u16, Wire<'_>)], out: &mut Vec<u8>) -> Option<()> {
    let Value::Message(entry) = of else { return None };
    let layout = entry.layout();
    let [key, held] = layout.fields.as_slice() else { return None };
    let mut entries = Vec::with_capacity(values.len());
    for (_, wire) in values {
        let &Wire::Bytes(mut rest) = wire else { return None };
        let (mut key_wire, mut held_wire) = (key.value.unset(), held.value.unset());
        while !rest.is_empty() {
            match take(&mut rest)? {
                (1, wire) => key_wire = wire,
                (2, wire) => held_wire = wire,
                _ => {}
            }
        }
        entries.push((key_text(&key.value, key_wire)?, held_wire));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    let mut open = b'{';
    for (key, wire) in entries {
        out.push(open);
        open = b',';
        serde_json::to_writer(&mut *out, &key).ok()?;
        out.push(b':');
        value(&held.value, wire, out)?;
    }
    if open == b'{' {
        out.push(open);
    }
    out.push(b'}');
    Some(())
}

fn key_text(of: &Value, wire: Wire<'_>) -> Option<String> {
    if let (Value::Text, Wire::Bytes(text)) = (of, wire) {
        return std::str::from_utf8(text).ok().map(str::to_owned);
    }
    let mut number = Vec::new();
    value(of, wire, &mut number)?;
    String::from_utf8(number).ok().map(|text| text.trim_matches('"').to_owned())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "protobuf widens 32-bit values to 64 bits"
)]
fn value(of: &Value, wire: Wire<'_>, out: &mut Vec<u8>) -> Option<()> {
    match (of, wire) {
        (Value::Bool, Wire::Varint(n)) => write!(out, "{}", n != 0).ok(),
        (Value::Int32, Wire::Varint(n)) => write!(out, "{}", n as i32).ok(),
        (Value::Uint32, Wire::Varint(n)) => write!(out, "{}", n as u32).ok(),
        (Value::Sint32, Wire::Varint(n)) => write!(out, "{}", zigzag(u64::from(n as u32)) as i32).ok(),
        (Value::Int64, Wire::Varint(n)) => write!(out, "\"{}\"", n as i64).ok(),
        (Value::Uint64, Wire::Varint(n)) => write!(out, "\"{n}\"").ok(),
        (Value::Sint64, Wire::Varint(n)) => write!(out, "\"{}\"", zigzag(n)).ok(),
        (Value::Fixed32, Wire::Four(b)) => write!(out, "{}", u32::from_le_bytes(b)).ok(),
        (Value::Sfixed32, Wire::Four(b)) => write!(out, "{}", i32::from_le_bytes(b)).ok(),
        (Value::Fixed64, Wire::Eight(b)) => write!(out, "\"{}\"", u64::from_le_bytes(b)).ok(),
        (Value::Sfixed64, Wire::Eight(b)) => write!(out, "\"{}\"", i64::from_le_bytes(b)).ok(),
        (Value::Float, Wire::Four(b)) => match f32::from_le_bytes(b) {
            n if n.is_finite() => serde_json::to_writer(out, &n).ok(),
            n => serde_json::to_writer(out, not_finite(f64::from(n))).ok(),
        },
        (Value::Double, Wire::Eight(b)) => match f64::from_le_bytes(b) {
            n if n.is_finite() => serde_json::to_writer(out, &n).ok(),
            n => serde_json::to_writer(out, not_finite(n)).ok(),
        },
        (Value::Text, Wire::Bytes(text)) => serde_json::to_writer(out, std::str::from_utf8(text).ok()?).ok(),
        (Value::Bytes, Wire::Bytes(bytes)) => write!(out, "\"{}\"", Base64Display::new(bytes, &BASE64_STANDARD)).ok(),
        (Value::Enum(names), Wire::Varint(n)) => match names.get(&(n as i32)) {
            Some(name) => {
                out.extend_from_slice(name);
                Some(())
            }
            None => write!(out, "{}", n as i32).ok(),
        },
        (Value::Message(nested), Wire::Bytes(encoded)) => message(nested.layout(), encoded, out),
        _ => None,
    }
}

/// How JSON names a number that it cannot write.
pub fn not_finite(value: f64) -> &'static str {
    match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

#[expect(clippy::cast_possible_wrap, reason = "the sign is in the lowest bit")]
fn zigzag(n: u64) -> i64 {
    ((n >> 1) as i64) ^ -((n & 1) as i64)
}

/// RFC 3339 in UTC with as many digits as needed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "protobuf widens 32-bit values to 64 bits"
)]
fn timestamp(mut encoded: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (mut seconds, mut nanos) = (0, 0);
    while !encoded.is_empty() {
        match take(&mut encoded)? {
            (1, Wire::Varint(n)) => seconds = n as i64,
            (2, Wire::Varint(n)) => nanos = n as u32,
            _ => {}
        }
    }
    let at = DateTime::from_timestamp(seconds, nanos)?;
    write!(out, "\"{}\"", at.to_rfc3339_opts(SecondsFormat::AutoSi, true)).ok()
}

/// Takes the next field: its number and value.
fn take<'a>(from: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let key = varint(from)?;
    let wire = match key & 7 {
        0 => Wire::Varint(varint(from)?),
        1 => Wire::Eight(take_array(from)?),
        2 => {
            let len = usize::try_from(varint(from)?).ok()?;
            let (bytes, rest) = from.split_at_checked(len)?;
            *from = rest;
            Wire::Bytes(bytes)
        }
        5 => Wire::Four(take_array(from)?),
        _ => return None,
    };
    Some((key >> 3, wire))
}

/// Takes the next packed value.
fn take_as<'a>(of: &Value, from: &mut &'a [u8]) -> Option<Wire<'a>> {
    Some(match of.unset() {
        Wire::Four(_) => Wire::Four(take_array(from)?),
        Wire::Eight(_) => Wire::Eight(take_array(from)?),
        _ => Wire::Varint(varint(from)?),
    })
}

fn varint(from: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(from).ok()
}

fn take_array<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*bytes)
}
