//! Bodies in Kubernetes' protobuf form, which kubectl sends for built-in kinds and does not fall back from.
//!
//! The form is the four bytes `k8s\0` and a `runtime.Unknown` message around the object
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>). Field numbers come from the table of
//! built-in types; the JSON is what Go's marshaller would have written for the same object.

mod message;
mod special;
mod wire;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::builtin::types::table;
use wire::{Field, fields};

/// The media type of such bodies.
pub const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";

/// Why a body could not be decoded.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The body does not begin with `k8s\0`.
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    Prefix,
    /// The message is cut off or not well formed.
    #[error("cannot decode protobuf message {0}: malformed field")]
    Malformed(&'static str),
    /// The table has no such kind.
    #[error("no kind {kind:?} is registered for version {version:?}")]
    UnknownKind {
        /// The `apiVersion` of the body.
        version: String,
        /// The `kind` of the body.
        kind: String,
    },
    /// A part that holds JSON does not.
    #[error("cannot decode embedded JSON of protobuf message {0}")]
    EmbeddedJson(&'static str),
}

/// Whether a body is in this form.
pub fn is_protobuf(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The object in `bytes`, as JSON with `apiVersion` and `kind`.
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    let body = bytes.strip_prefix(MAGIC).ok_or(DecodeError::Prefix)?;
    let (mut version, mut kind, mut raw, mut content) =
        (String::new(), String::new(), &[][..], String::new());
    for field in fields(body, "Unknown") {
        match field? {
            (1, Field::Bytes(meta)) => {
                for field in fields(meta, "TypeMeta") {
                    match field? {
                        (1, Field::Bytes(text)) => version = wire::text(text),
                        (2, Field::Bytes(text)) => kind = wire::text(text),
                        _ => {}
                    }
                }
            }
            (2, Field::Bytes(inner)) => raw = inner,
            (4, Field::Bytes(text)) => content = wire::text(text),
            _ => {}
        }
    }
    if content == "application/json" {
        return serde_json::from_slice(raw).map_err(|_| DecodeError::EmbeddedJson("Unknown"));
    }
    let (group, short) = version.split_once('/').unwrap_or(("", &version));
    // Options come in the group they are for.
    let row = if kind == "DeleteOptions" {
        table().kind("meta.k8s.io", "v1", &kind)
    } else {
        table().kind(group, short, &kind)
    };
    let Some(row) = row else {
        return Err(DecodeError::UnknownKind { version, kind });
    };
    let decoded = message::decode(row.type_name, raw)?;
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), Value::String(version));
    object.insert("kind".to_owned(), Value::String(kind));
    for (name, value) in decoded {
        object.insert(name, value);
    }
    Ok(Value::Object(object))
}
