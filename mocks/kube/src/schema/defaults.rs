//! Defaults (`apiextensions-apiserver/pkg/apiserver/schema/defaulting`): nulls that may not be null go first, then missing
//! fields with a default are filled in, from the outside to the inside.

use serde_json::Value;

use super::Schema;
use super::node::{Additional, NodeId};

pub(super) fn apply(schema: &Schema, object: &mut Value) {
    drop_nulls(schema, schema.root, object);
    fill(schema, schema.root, object);
}

fn next(schema: &Schema, id: NodeId, name: &str) -> Option<NodeId> {
    let node = schema.at(id);
    node.properties
        .get(name)
        .copied()
        .or(match node.additional {
            Some(Additional::Schema(id)) => Some(id),
            _ => None,
        })
}

fn drop_nulls(schema: &Schema, id: NodeId, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, inner| {
                let Some(next) = next(schema, id, name) else {
                    return true;
                };
                let node = schema.at(next);
                !(inner.is_null() && !node.nullable && node.default.is_none())
            });
            for (name, inner) in map.iter_mut() {
                if let Some(next) = next(schema, id, name) {
                    drop_nulls(schema, next, inner);
                }
            }
        }
        Value::Array(items) => {
            if let Some(next) = schema.at(id).items {
                for item in items {
                    drop_nulls(schema, next, item);
                }
            }
        }
        _ => {}
    }
}

fn fill(schema: &Schema, id: NodeId, value: &mut Value) {
    let node = schema.at(id);
    match value {
        Value::Object(map) => {
            for (name, next) in &node.properties {
                let target = schema.at(*next);
                let Some(default) = &target.default else {
                    continue;
                };
                let missing = match map.get(name) {
                    None => true,
                    Some(present) => present.is_null() && !target.nullable,
                };
                if missing {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, inner) in map.iter_mut() {
                if let Some(next) = next(schema, id, name) {
                    fill_null(schema, next, inner);
                    fill(schema, next, inner);
                }
            }
        }
        Value::Array(items) => {
            if let Some(next) = node.items {
                for item in items {
                    fill_null(schema, next, item);
                    fill(schema, next, item);
                }
            }
        }
        _ => {}
    }
}

fn fill_null(schema: &Schema, id: NodeId, value: &mut Value) {
    let node = schema.at(id);
    if let (true, false, Some(default)) = (value.is_null(), node.nullable, &node.default) {
        *value = default.clone();
    }
}
