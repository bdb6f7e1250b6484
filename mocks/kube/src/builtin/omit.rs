//! What Go's encoder leaves out: fields marked `omitempty` that hold nothing.
//!
//! The real server reads what it is sent into structs and writes those, so that an empty list or a
//! zero in a request is gone in the answer.

use serde_json::{Map, Value};

use super::types::{FieldRow, Special, TypeExpr, table};

/// Whether `omitempty` leaves the value out: zero scalars and times, but no pointer and no struct.
pub(crate) fn omitted(row: &FieldRow, value: &Value) -> bool {
    match (&row.ty, value) {
        (TypeExpr::Pointer(_), _) => false,
        (_, Value::Null | Value::Bool(false)) => true,
        (_, Value::Number(n)) => n.as_f64() == Some(0.0) && !is_int_or_string(&row.ty),
        (_, Value::String(s)) => s.is_empty(),
        (_, Value::Array(items)) => items.is_empty(),
        (TypeExpr::Map(..), Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}

fn is_int_or_string(ty: &TypeExpr) -> bool {
    matches!(ty, TypeExpr::Special(Special::IntOrString))
}

/// Removes from an object of the struct `name` what is left out, at every depth.
pub(super) fn apply(name: &str, object: &mut Value) {
    if let Value::Object(map) = object {
        fields(name, map);
    }
}

fn fields(name: &str, map: &mut Map<String, Value>) {
    let Some(row) = table().get(name) else {
        return;
    };
    for field in &row.fields {
        if field.name.is_empty() {
            // An embedded struct stands in the same map.
            if let TypeExpr::Struct(inner) = &field.ty {
                fields(inner, map);
            }
            continue;
        }
        let Some(value) = map.get_mut(field.name) else {
            continue;
        };
        within(&field.ty, value);
        // A type with a form of its own knows by itself what it leaves out.
        let own = matches!(field.ty, TypeExpr::Special(_));
        if field.omit && !own && omitted(field, value) {
            map.shift_remove(field.name);
        }
    }
}

fn within(ty: &TypeExpr, value: &mut Value) {
    match (ty, value) {
        (TypeExpr::Struct(name), Value::Object(map)) => fields(name, map),
        (TypeExpr::Pointer(inner), value) => within(inner, value),
        (TypeExpr::List(inner, _), Value::Array(items)) => {
            for item in items {
                within(inner, item);
            }
        }
        (TypeExpr::Map(inner, _), Value::Object(map)) => {
            for value in map.values_mut() {
                within(inner, value);
            }
        }
        _ => {}
    }
}
