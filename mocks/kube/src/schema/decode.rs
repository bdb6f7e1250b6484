//! The first type error of an object of a built-in kind, in the words of Go's JSON decoder.

use serde_json::Value;

use super::node::{Additional, NodeId, Type};
use super::{Quantity, Schema};
use crate::builtin::types::{Scalar, Special, TypeExpr};

/// Where the walk is: the innermost struct and the JSON names from the root, without list positions.
struct Place<'a> {
    structure: &'a str,
    path: String,
}

impl Place<'_> {
    fn mismatch(&self, what: &str, go_type: &str) -> String {
        if self.path.is_empty() {
            return format!("json: cannot unmarshal {what} into Go value of type {go_type}");
        }
        let name = self.structure.rsplit('.').next().unwrap_or_default();
        let path = &self.path;
        format!(
            "json: cannot unmarshal {what} into Go struct field {name}.{path} of type {go_type}"
        )
    }
}

pub(super) fn error(schema: &Schema, object: &Value) -> Option<String> {
    schema.at(schema.root).go.as_ref()?;
    visit(
        schema,
        schema.root,
        object,
        &Place {
            structure: "",
            path: String::new(),
        },
    )
}

/// The Go decoder's word for a value.
fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn visit(schema: &Schema, id: NodeId, value: &Value, place: &Place<'_>) -> Option<String> {
    let node = schema.at(id);
    let go = node.go.as_ref()?;
    if value.is_null() {
        return None;
    }
    match (go, value) {
        (TypeExpr::Struct(name), Value::Object(map)) => map.iter().find_map(|(field, inner)| {
            let next = node.properties.get(field)?;
            let path = super::text::child(&place.path, field);
            visit(
                schema,
                *next,
                inner,
                &Place {
                    structure: name,
                    path,
                },
            )
        }),
        (TypeExpr::Map(..), Value::Object(map)) => map.values().find_map(|inner| {
            let Some(Additional::Schema(next)) = node.additional else {
                return None;
            };
            visit(
                schema,
                next,
                inner,
                &Place {
                    structure: place.structure,
                    path: place.path.clone(),
                },
            )
        }),
        (TypeExpr::List(..), Value::Array(items)) => items.iter().find_map(|inner| {
            let next = node.items?;
            visit(
                schema,
                next,
                inner,
                &Place {
                    structure: place.structure,
                    path: place.path.clone(),
                },
            )
        }),
        (TypeExpr::Scalar(scalar, go_name), _) => self::scalar(*scalar, go_name, value, place),
        (TypeExpr::Special(special), _) => {
            self::special(schema, *special, node.or_schema, value, place)
        }
        (other, _) => Some(place.mismatch(word(value), &other.go_name())),
    }
}

fn scalar(scalar: Scalar, go_name: &str, value: &Value, place: &Place<'_>) -> Option<String> {
    let in_range = |n: &serde_json::Number| match scalar {
        Scalar::Int32 => n.as_i64().is_some_and(|i| i32::try_from(i).is_ok()),
        Scalar::Int64 => n.as_i64().is_some(),
        Scalar::Uint32 => n.as_u64().is_some_and(|u| u32::try_from(u).is_ok()),
        Scalar::Uint64 => n.as_u64().is_some(),
        _ => true,
    };
    match (scalar, value) {
        (Scalar::String, Value::String(_))
        | (Scalar::Bool, Value::Bool(_))
        | (Scalar::Float64, Value::Number(_)) => None,
        (Scalar::Bytes, Value::String(text)) => base64_error(text),
        (Scalar::Int32 | Scalar::Int64 | Scalar::Uint32 | Scalar::Uint64, Value::Number(n)) => {
            if in_range(n) {
                return None;
            }
            Some(place.mismatch(&format!("number {n}"), go_name))
        }
        _ => Some(place.mismatch(word(value), go_name)),
    }
}

fn special(
    schema: &Schema,
    special: Special,
    inner: Option<NodeId>,
    value: &Value,
    place: &Place<'_>,
) -> Option<String> {
    let plain = |go_type: &str| {
        Some(format!(
            "json: cannot unmarshal {} into Go value of type {go_type}",
            word(value)
        ))
    };
    match (special, value) {
        (Special::Time, Value::String(text)) if !text.is_empty() => {
            time_error(text, "2006-01-02T15:04:05Z07:00")
        }
        (Special::MicroTime, Value::String(text)) if !text.is_empty() => {
            time_error(text, "2006-01-02T15:04:05.000000Z07:00")
        }
        (
            Special::Time | Special::MicroTime | Special::Duration | Special::IntOrString,
            Value::String(_),
        )
        | (Special::Quantity, Value::Number(_)) => None,
        (Special::Time | Special::MicroTime | Special::Duration, _) => plain("string"),
        (Special::Quantity, Value::String(text)) => Quantity::parse(text).err(),
        (Special::Quantity, other) => Quantity::parse(&other.to_string()).err(),
        (Special::IntOrString, Value::Number(n)) => {
            let fits = n.as_i64().is_some_and(|i| i32::try_from(i).is_ok());
            if fits {
                None
            } else {
                Some(format!(
                    "json: cannot unmarshal number {n} into Go value of type int32"
                ))
            }
        }
        (Special::IntOrString, _) => plain("int32"),
        (Special::SchemaOrArray | Special::SchemaOrBool, Value::Object(_)) => {
            let place = Place {
                structure: place.structure,
                path: place.path.clone(),
            };
            inner.and_then(|id| visit(schema, id, value, &place))
        }
        _ => None,
    }
}

/// A time that Go does not read in `layout`: RFC 3339, with exactly six digits of a second where the layout has them.
fn time_error(text: &str, layout: &str) -> Option<String> {
    let quoted = super::text::quote(text);
    let failed = |rest: &str, part: &str| {
        let rest = super::text::quote(rest);
        Some(format!(
            "parsing time {quoted} as \"{layout}\": cannot parse {rest} as \"{part}\""
        ))
    };
    if text.parse::<jiff::Timestamp>().is_err() {
        return failed(text, "2006");
    }
    let rest = text.get(19..).unwrap_or_default();
    let digits = rest.strip_prefix('.').unwrap_or_default();
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    if layout.contains(".000000") && count != 6 {
        return failed(rest, ".000000");
    }
    None
}

/// Go names the position of the first byte that is not of the alphabet, or the end of a truncated text.
pub(crate) fn base64_error(text: &str) -> Option<String> {
    use base64::Engine as _;
    let clean: String = text.chars().filter(|c| *c != '\n' && *c != '\r').collect();
    if base64::engine::general_purpose::STANDARD
        .decode(&clean)
        .is_ok()
    {
        return None;
    }
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    let body = text.trim_end_matches('=');
    let position = match body
        .bytes()
        .position(|b| !alphabet(b) && b != b'\n' && b != b'\r')
    {
        Some(position) => position,
        None if !text.len().is_multiple_of(4) && body.len() == text.len() => text.len() / 4 * 4,
        None => text.len(),
    };
    Some(format!("illegal base64 data at input byte {position}"))
}

impl Type {
    /// The types a value may have to pass `type`.
    pub(super) fn accepts(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Object, Value::Object(_))
            | (Self::Array, Value::Array(_))
            | (Self::String, Value::String(_))
            | (Self::Boolean, Value::Bool(_))
            | (Self::Number, Value::Number(_)) => true,
            // 1.0 is an integer, as Go's validator sees it.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "compared with the original"
            )]
            #[expect(clippy::cast_precision_loss, reason = "compared with the original")]
            #[expect(clippy::float_cmp, reason = "exact by intent: no fraction")]
            (Self::Integer, Value::Number(n)) => {
                !n.is_f64()
                    || n.as_f64()
                        .is_some_and(|f| f.trunc() == f && (f as i64) as f64 == f)
            }
            _ => false,
        }
    }
}
