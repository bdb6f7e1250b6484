//! Types that Go writes to JSON in a form of their own.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::wire::{self, Field, fields};
use super::{DecodeError, message};
use crate::builtin::types::{JSON_SCHEMA_PROPS, Special};

pub(super) fn decode(special: Special, bytes: &[u8]) -> Result<Value, DecodeError> {
    match special {
        Special::Time | Special::MicroTime => time(bytes, special == Special::MicroTime),
        Special::Duration => duration(bytes),
        Special::Quantity => {
            let mut text = String::new();
            for field in fields(bytes, "Quantity") {
                if let (1, Field::Bytes(inner)) = field? {
                    text = wire::text(inner);
                }
            }
            Ok(json!(if text.is_empty() { "0" } else { &text }))
        }
        Special::IntOrString => int_or_string(bytes),
        Special::Raw => embedded(bytes, "RawExtension"),
        Special::FieldsV1 => embedded(bytes, "FieldsV1"),
        Special::Json => embedded(bytes, "JSON"),
        Special::SchemaOrArray | Special::SchemaOrBool | Special::SchemaOrStrings => {
            schema_or(special, bytes)
        }
    }
}

/// An empty message is the zero time, which JSON writes as null.
#[expect(
    clippy::cast_possible_wrap,
    reason = "negative numbers are their two's complement on the wire"
)]
#[expect(clippy::cast_possible_truncation, reason = "nanoseconds fit")]
fn time(bytes: &[u8], micro: bool) -> Result<Value, DecodeError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    for field in fields(bytes, "Timestamp") {
        match field? {
            (1, Field::Varint(value)) => seconds = value as i64,
            (2, Field::Varint(value)) => nanos = value as i32,
            _ => {}
        }
    }
    let time = Timestamp::new(seconds, nanos).map_err(|_| DecodeError::Malformed("Timestamp"))?;
    let format = if micro {
        "%Y-%m-%dT%H:%M:%S%.6fZ"
    } else {
        "%Y-%m-%dT%H:%M:%SZ"
    };
    Ok(json!(time.strftime(format).to_string()))
}

/// As Go's `Duration.String` writes it: `1h0m0s`, `1.5s`.
#[expect(
    clippy::cast_possible_wrap,
    reason = "negative numbers are their two's complement on the wire"
)]
fn duration(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut nanos = 0;
    for field in fields(bytes, "Duration") {
        if let (1, Field::Varint(value)) = field? {
            nanos = value as i64;
        }
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let total = nanos.unsigned_abs();
    let seconds = total / 1_000_000_000;
    let fraction = format!("{:09}", total % 1_000_000_000);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let text = match (hours, minutes) {
        (0, 0) => format!("{sign}{rest}{dot}{fraction}s"),
        (0, _) => format!("{sign}{minutes}m{rest}{dot}{fraction}s"),
        _ => format!("{sign}{hours}h{minutes}m{rest}{dot}{fraction}s"),
    };
    Ok(json!(text))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a 32-bit number is sign-extended on the wire"
)]
fn int_or_string(bytes: &[u8]) -> Result<Value, DecodeError> {
    let (mut kind, mut number, mut text) = (0, 0, String::new());
    for field in fields(bytes, "IntOrString") {
        match field? {
            (1, Field::Varint(value)) => kind = value,
            (2, Field::Varint(value)) => number = value as i32,
            (3, Field::Bytes(value)) => text = wire::text(value),
            _ => {}
        }
    }
    Ok(if kind == 0 {
        json!(number)
    } else {
        json!(text)
    })
}

/// A message whose first field holds JSON.
fn embedded(bytes: &[u8], name: &'static str) -> Result<Value, DecodeError> {
    let mut raw: &[u8] = &[];
    for field in fields(bytes, name) {
        if let (1, Field::Bytes(inner)) = field? {
            raw = inner;
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(raw).map_err(|_| DecodeError::EmbeddedJson(name))
}

fn schema_or(special: Special, bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut list = Vec::new();
    let mut single = None;
    let mut allows = true;
    for field in fields(bytes, "JSONSchemaPropsOr") {
        match (special, field?) {
            (Special::SchemaOrBool, (1, Field::Varint(value))) => allows = value != 0,
            (Special::SchemaOrBool, (2, Field::Bytes(inner)))
            | (Special::SchemaOrArray | Special::SchemaOrStrings, (1, Field::Bytes(inner))) => {
                single = Some(Value::Object(message::decode(JSON_SCHEMA_PROPS, inner)?));
            }
            (Special::SchemaOrArray, (2, Field::Bytes(inner))) => {
                list.push(Value::Object(message::decode(JSON_SCHEMA_PROPS, inner)?));
            }
            (Special::SchemaOrStrings, (2, Field::Bytes(inner))) => {
                list.push(json!(wire::text(inner)));
            }
            _ => {}
        }
    }
    Ok(match single {
        Some(schema) => schema,
        None if special == Special::SchemaOrBool => json!(allows),
        None => Value::Array(list),
    })
}
