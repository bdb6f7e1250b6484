//! Lists that are sets or maps hold nothing twice (`apiextensions-apiserver/pkg/apiserver/schema/listtype`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::merge::ListKind;
use super::node::{Additional, NodeId};
use super::{FieldError, Schema, text};

/// The items that appear twice, and items of list maps that are no objects.
pub(super) fn duplicates(schema: &Schema, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    visit(schema, schema.root, object, "", &mut errors);
    errors
}

fn visit(schema: &Schema, id: NodeId, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let node = schema.at(id);
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                if let Some(next) = node.properties.get(name) {
                    visit(schema, *next, inner, &text::child(path, name), errors);
                } else if let Some(Additional::Schema(next)) = node.additional {
                    visit(schema, next, inner, &text::key(path, name), errors);
                }
            }
        }
        Value::Array(items) => {
            match &node.list {
                Some(ListKind::Set) => {
                    for i in repeated(items.iter()) {
                        errors.push(FieldError::duplicate(&text::index(path, i), &items[i]));
                    }
                }
                Some(ListKind::Map(keys)) => map_list(keys, items, path, errors),
                _ => {}
            }
            if let Some(next) = node.items {
                for (i, item) in items.iter().enumerate() {
                    visit(schema, next, item, &text::index(path, i), errors);
                }
            }
        }
        _ => {}
    }
}

fn map_list(keys: &[String], items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    if let Some((i, item)) = items
        .iter()
        .enumerate()
        .find(|(_, item)| !item.is_object() && !item.is_null())
    {
        let problem = "must be an object for an array of list-type map";
        errors.push(FieldError::invalid(&text::index(path, i), item, problem));
        return;
    }
    let identities: Vec<Value> = items.iter().map(|item| identity(keys, item)).collect();
    for i in repeated(identities.iter()) {
        errors.push(FieldError::duplicate(&text::index(path, i), &identities[i]));
    }
}

/// The key fields of an item of a list map, as an object.
pub(super) fn identity(keys: &[String], item: &Value) -> Value {
    let mut id = Map::new();
    for key in keys {
        if let Some(value) = item.get(key) {
            id.insert(key.clone(), value.clone());
        }
    }
    Value::Object(id)
}

/// The positions of the first repetition of each value.
fn repeated<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<usize> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for (i, value) in values.enumerate() {
        let times = seen.entry(text::json(value)).or_default();
        if *times == 1 {
            found.push(i);
        }
        *times += 1;
    }
    found
}
