//! Unknown fields: found for strict validation, dropped otherwise.
//!
//! Rules of `apiextensions-apiserver/pkg/apiserver/schema/pruning`: `apiVersion`, `kind` and `metadata` of resources and
//! embedded resources always stay; `metadata` is an ObjectMeta.

use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::Schema;
use super::node::{Additional, Node, NodeId};
use super::text;
use crate::builtin::types::OBJECT_META;

static META: LazyLock<Option<Arc<Schema>>> =
    LazyLock::new(|| super::compile::builtin_type(OBJECT_META).map(Arc::new));

/// The schema of ObjectMeta.
pub(super) fn object_meta() -> Option<&'static Schema> {
    META.as_deref()
}

pub(super) fn unknown_fields(schema: &Schema, object: &Value) -> Vec<String> {
    let mut walk = Walk {
        found: Vec::new(),
        drop: false,
    };
    let mut copy = object.clone();
    walk.value(schema, Some(schema.root), &mut copy, "");
    walk.found.sort();
    walk.found
}

pub(super) fn prune(schema: &Schema, object: &mut Value) {
    let mut walk = Walk {
        found: Vec::new(),
        drop: true,
    };
    walk.value(schema, Some(schema.root), object, "");
}

struct Walk {
    found: Vec<String>,
    drop: bool,
}

/// What is known of one field of an object.
enum Known {
    At(NodeId),
    /// An ObjectMeta.
    Meta,
    /// Anything may be here.
    Free,
    Unknown,
}

impl Walk {
    fn value(&mut self, schema: &Schema, id: Option<NodeId>, value: &mut Value, path: &str) {
        match value {
            Value::Object(map) => {
                let mut unknown = Vec::new();
                for (name, inner) in map.iter_mut() {
                    match known(schema, id, name) {
                        Known::At(next) => {
                            self.value(schema, Some(next), inner, &text::child(path, name));
                        }
                        Known::Meta => {
                            if let Some(meta) = object_meta() {
                                let path = text::child(path, name);
                                self.value(meta, Some(meta.root), inner, &path);
                            }
                        }
                        Known::Free => {}
                        Known::Unknown => unknown.push(name.clone()),
                    }
                }
                for name in unknown {
                    self.found.push(text::child(path, &name));
                    if self.drop {
                        map.shift_remove(&name);
                    }
                }
            }
            Value::Array(items) => {
                let node = id.map(|id| schema.at(id));
                let next = node.and_then(|n| n.items);
                if next.is_none() && node.is_some_and(|n| n.preserve) {
                    return;
                }
                for (i, item) in items.iter_mut().enumerate() {
                    self.value(schema, next, item, &text::index(path, i));
                }
            }
            _ => {}
        }
    }
}

fn known(schema: &Schema, id: Option<NodeId>, name: &str) -> Known {
    let Some(id) = id else { return Known::Unknown };
    let node: &Node = schema.at(id);
    if node.or_schema.is_some() {
        return known(schema, node.or_schema, name);
    }
    let resource = node.embedded || (schema.resource && id == schema.root);
    if resource && (name == "apiVersion" || name == "kind") {
        return Known::Free;
    }
    if resource && name == "metadata" {
        return Known::Meta;
    }
    if let Some(next) = node.properties.get(name) {
        return Known::At(*next);
    }
    match node.additional {
        Some(Additional::Schema(next)) => Known::At(next),
        Some(Additional::Any) => Known::Free,
        _ if node.preserve => Known::Free,
        _ => Known::Unknown,
    }
}
