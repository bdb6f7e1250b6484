//! Tables: what `kubectl get` prints, column by column.

mod age;
mod builtin;
mod columns;
mod jsonpath;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::kinds::Resource;
use crate::meta;

/// The columns of a kind (`meta/v1` `TableColumnDefinition`).
pub(crate) fn columns(resource: &Resource) -> Value {
    let name = json!({
        "name": "Name", "type": "string", "format": "name", "priority": 0,
        "description": "Name must be unique within a namespace.",
    });
    // An Event's name is its last column.
    let mut columns = if is_event(resource) {
        Vec::new()
    } else {
        vec![name]
    };
    let column = |name: &str, kind: &str, format: &str, priority: i64, description: &str| {
        json!({
            "name": name, "type": kind, "format": format, "priority": priority,
            "description": description,
        })
    };
    if let Some(kind) = columns::of(resource) {
        columns.extend(kind.iter().map(|(name, priority)| {
            let kind = if columns::is_number(&resource.kind, name) {
                "integer"
            } else {
                "string"
            };
            // Only an Event has its name here.
            let format = if *name == "Name" { "name" } else { "" };
            column(name, kind, format, *priority, "")
        }));
    } else if resource.columns.is_empty() {
        columns.push(column("Age", "date", "", 0, "When the object was created."));
    } else {
        columns.extend(
            resource
                .columns
                .iter()
                .map(|c| column(&c.name, &c.kind, &c.format, c.priority, &c.description)),
        );
    }
    Value::Array(columns)
}

fn is_event(resource: &Resource) -> bool {
    resource.kind == "Event" && !resource.custom
}

/// The cells of one object's row.
pub(crate) fn cells(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = if is_event(resource) {
        Vec::new()
    } else {
        vec![Value::String(meta::name(object).to_owned())]
    };
    if columns::of(resource).is_some() {
        cells.extend(builtin::cells(resource, object, now));
    } else if resource.columns.is_empty() {
        cells.push(meta::text(object, "/metadata/creationTimestamp").into());
    } else {
        cells.extend(
            resource
                .columns
                .iter()
                .map(|column| custom(object, column, now)),
        );
    }
    cells
}

/// A cell of an additional printer column.
fn custom(object: &Value, column: &crate::kinds::Column, now: Timestamp) -> Value {
    let found = jsonpath::find(object, &column.path);
    let Some(first) = found.first() else {
        return Value::Null;
    };
    match (column.kind.as_str(), first) {
        ("integer", Value::Number(number)) => number
            .as_i64()
            .map_or_else(|| (*first).clone(), Value::from),
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => (*first).clone(),
        ("date", Value::String(at)) => age::since(at, now).into(),
        ("string", _) => {
            let texts: Vec<String> = found
                .iter()
                .map(|value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                })
                .collect();
            match texts.as_slice() {
                [one] => one.clone().into(),
                many => many.join(",").into(),
            }
        }
        _ => Value::Null,
    }
}
