//! A message of the table of built-in types, as the JSON that Go would write.

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::wire::{self, Field, fields};
use super::{DecodeError, special};
use crate::builtin::omit::omitted;
use crate::builtin::types::{Scalar, TypeExpr, table};

/// The fields of the struct `name`.
pub(super) fn decode(name: &'static str, bytes: &[u8]) -> Result<Map<String, Value>, DecodeError> {
    let Some(row) = table().get(name) else {
        return Err(DecodeError::Malformed(name));
    };
    let mut found: Vec<Option<Value>> = row.fields.iter().map(|_| None).collect();
    for field in fields(bytes, name) {
        let (number, value) = field?;
        let position = row.fields.iter().position(|f| f.number == Some(number));
        let Some((row, slot)) = position.map(|i| (&row.fields[i], &mut found[i])) else {
            continue;
        };
        add(&row.ty, value, slot, name)?;
    }
    let mut map = Map::new();
    for (row, value) in row.fields.iter().zip(found) {
        let Some(value) = value else { continue };
        match value {
            Value::Object(inner) if row.name.is_empty() => map.extend(inner),
            value if row.omit && omitted(row, &value) => {}
            value => {
                map.insert(row.name.to_owned(), value);
            }
        }
    }
    Ok(map)
}

/// Adds one occurrence of a field.
fn add(
    ty: &TypeExpr,
    field: Field<'_>,
    slot: &mut Option<Value>,
    message: &'static str,
) -> Result<(), DecodeError> {
    match (ty, field) {
        (TypeExpr::Pointer(inner), _) => add(inner, field, slot, message),
        // A named list type is a message of its own where it stands in a map; a plain list repeats the field.
        (TypeExpr::List(inner, _), _) => {
            let list = slot.get_or_insert_with(|| json!([]));
            let Value::Array(items) = list else {
                return Err(DecodeError::Malformed(message));
            };
            if let (TypeExpr::Scalar(scalar, _), Field::Bytes(packed)) = (&**inner, field)
                && !matches!(scalar, Scalar::String | Scalar::Bytes)
            {
                return unpack(*scalar, packed, items, message);
            }
            items.push(single(inner, field, message)?);
            Ok(())
        }
        (TypeExpr::Map(inner, _), Field::Bytes(entry)) => {
            let map = slot.get_or_insert_with(|| json!({}));
            let Value::Object(map) = map else {
                return Err(DecodeError::Malformed(message));
            };
            let mut key = String::new();
            let mut value = None;
            for field in fields(entry, message) {
                match field? {
                    (1, Field::Bytes(text)) => key = wire::text(text),
                    (2, field) => value = Some(map_value(inner, field, message)?),
                    _ => {}
                }
            }
            let value = match value {
                Some(value) => value,
                None => zero(inner),
            };
            map.insert(key, value);
            Ok(())
        }
        // A message that comes twice is merged; the writer of these bodies never splits one.
        _ => {
            *slot = Some(single(ty, field, message)?);
            Ok(())
        }
    }
}

fn unpack(
    scalar: Scalar,
    mut packed: &[u8],
    items: &mut Vec<Value>,
    message: &'static str,
) -> Result<(), DecodeError> {
    while !packed.is_empty() {
        let value = wire::varint(&mut packed).ok_or(DecodeError::Malformed(message))?;
        items.push(number(scalar, value));
    }
    Ok(())
}

fn map_value(ty: &TypeExpr, field: Field<'_>, message: &'static str) -> Result<Value, DecodeError> {
    match (ty, field) {
        // `ExtraValue { repeated string items = 1 }`
        (TypeExpr::List(inner, _), Field::Bytes(bytes)) => {
            let mut items = Vec::new();
            for field in fields(bytes, message) {
                if let (1, field) = field? {
                    items.push(single(inner, field, message)?);
                }
            }
            Ok(Value::Array(items))
        }
        _ => single(ty, field, message),
    }
}

/// The value of a map entry that leaves it out.
fn zero(ty: &TypeExpr) -> Value {
    match ty.pointee() {
        TypeExpr::Scalar(Scalar::String | Scalar::Bytes, _) => json!(""),
        TypeExpr::Scalar(Scalar::Bool, _) => json!(false),
        TypeExpr::Scalar(..) => json!(0),
        TypeExpr::List(..) => json!([]),
        _ => json!({}),
    }
}

fn single(ty: &TypeExpr, field: Field<'_>, message: &'static str) -> Result<Value, DecodeError> {
    let malformed = || DecodeError::Malformed(message);
    Ok(match (ty, field) {
        (TypeExpr::Pointer(inner), _) => return single(inner, field, message),
        (TypeExpr::Struct(name), Field::Bytes(bytes)) => Value::Object(decode(name, bytes)?),
        (TypeExpr::Special(special), Field::Bytes(bytes)) => special::decode(*special, bytes)?,
        (TypeExpr::Scalar(Scalar::String, _), Field::Bytes(bytes)) => json!(wire::text(bytes)),
        (TypeExpr::Scalar(Scalar::Bytes, _), Field::Bytes(bytes)) => {
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        (TypeExpr::Scalar(Scalar::Float64, _), Field::Fixed64(bits)) => float(f64::from_bits(bits)),
        (TypeExpr::Scalar(scalar, _), Field::Varint(value)) => number(*scalar, value),
        _ => return Err(malformed()),
    })
}

#[expect(
    clippy::cast_possible_wrap,
    reason = "negative numbers are their two's complement on the wire"
)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a 32-bit number is sign-extended on the wire"
)]
fn number(scalar: Scalar, value: u64) -> Value {
    match scalar {
        Scalar::Bool => json!(value != 0),
        Scalar::Int32 => json!(value as i32),
        Scalar::Uint32 => json!(value as u32),
        Scalar::Uint64 => json!(value),
        _ => json!(value as i64),
    }
}

/// Go writes a whole number without a fraction.
#[expect(
    clippy::cast_possible_truncation,
    reason = "checked to be whole and small"
)]
fn float(value: f64) -> Value {
    let whole = value.fract() == 0.0 && value.abs() < 1e15;
    if whole {
        json!(value as i64)
    } else {
        json!(value)
    }
}
