use serde_json::{Map, Value};

use super::element;
use super::fieldset::{FieldSet, kind_of};
use crate::schema::{ListKind, NodeKind, SchemaNode};

/// `live` with everything that `config` says.
pub(super) fn merge(live: &Value, config: &Value, node: Option<SchemaNode<'_>>) -> Value {
    match (kind_of(config, node), live, config) {
        (NodeKind::Granular, Value::Object(live), Value::Object(config)) => {
            let mut out = live.clone();
            for (key, value) in config {
                let below = node.and_then(|node| node.field(key));
                let merged = match live.get(key) {
                    Some(live) => merge(live, value, below),
                    None => value.clone(),
                };
                out.insert(key.clone(), merged);
            }
            Value::Object(out)
        }
        (
            NodeKind::List(kind @ (ListKind::Set | ListKind::Map(_))),
            Value::Array(live),
            Value::Array(config),
        ) => Value::Array(merge_lists(
            live,
            config,
            node.and_then(SchemaNode::items),
            &kind,
        )),
        _ => config.clone(),
    }
}

/// The items of `config` in its order, those of `live` alone where they were between them, and before
/// those of `config` alone.
fn merge_lists(
    live: &[Value],
    config: &[Value],
    items: Option<SchemaNode<'_>>,
    kind: &ListKind,
) -> Vec<Value> {
    let key = |item: &Value| match kind {
        ListKind::Map(keys) => element::keyed(item, keys, items).unwrap_or_default(),
        _ => element::value(item),
    };
    let config_keys: std::collections::BTreeSet<String> = config.iter().map(key).collect();
    let live_keys: Vec<String> = live.iter().map(key).collect();
    let places: std::collections::BTreeMap<&str, usize> = live_keys
        .iter()
        .enumerate()
        .map(|(index, key)| (key.as_str(), index))
        .collect();
    let mut out = Vec::new();
    let mut next = 0;
    for item in config {
        let place = places.get(key(item).as_str()).copied();
        // One that both have waits for all of `live` before it, one of `config` alone for those that
        // only `live` has.
        while next < place.unwrap_or(live.len()) {
            let shared = config_keys.contains(&live_keys[next]);
            if shared && place.is_none() {
                break;
            }
            if !shared {
                out.push(live[next].clone());
            }
            next += 1;
        }
        match place {
            Some(place) => {
                next = next.max(place + 1);
                out.push(merge(&live[place], item, items));
            }
            None => out.push(item.clone()),
        }
    }
    for index in next..live.len() {
        if !config_keys.contains(&live_keys[index]) {
            out.push(live[index].clone());
        }
    }
    out
}

/// Removes what is in `last` and in nobody's set any more, with the containers that become empty by it.
pub(super) fn remove_left_out(
    object: &mut Value,
    last: &FieldSet,
    kept: &FieldSet,
    root: Option<SchemaNode<'_>>,
) {
    let mut removed: Vec<Vec<String>> = Vec::new();
    // Outermost first: without its key field, an item of a list could no longer be found.
    for path in last.difference(kept).paths() {
        if kept.touches(&path) || removed.iter().any(|above| path.starts_with(above)) {
            continue;
        }
        remove_at(object, &path, root);
        removed.push(path.clone());
        let mut parent = &path[..path.len() - 1];
        while parent.len() > 1 && !kept.contains(parent) && !kept.touches(parent) {
            if !is_empty_at(object, parent, root) {
                break;
            }
            remove_at(object, parent, root);
            parent = &parent[..parent.len() - 1];
        }
    }
}

fn step<'a, 'n>(
    value: &'a mut Value,
    element: &str,
    node: Option<SchemaNode<'n>>,
) -> Option<(&'a mut Value, Option<SchemaNode<'n>>)> {
    if let Some(name) = element.strip_prefix("f:") {
        return Some((value.get_mut(name)?, node.and_then(|node| node.field(name))));
    }
    let items = node.and_then(SchemaNode::items);
    let list = value.as_array_mut()?;
    let item = list
        .iter_mut()
        .find(|item| element::is(item, element, items))?;
    Some((item, items))
}

fn remove_at(value: &mut Value, path: &[String], node: Option<SchemaNode<'_>>) {
    match path {
        [] => {}
        [last] => {
            if let Some(name) = last.strip_prefix("f:") {
                value.as_object_mut().map(|map| map.shift_remove(name));
            } else if let Some(list) = value.as_array_mut() {
                let items = node.and_then(SchemaNode::items);
                list.retain(|item| !element::is(item, last, items));
            }
        }
        [first, rest @ ..] => {
            if let Some((below, node)) = step(value, first, node) {
                remove_at(below, rest, node);
            }
        }
    }
}

fn is_empty_at(value: &mut Value, path: &[String], node: Option<SchemaNode<'_>>) -> bool {
    match path {
        [] => match value {
            Value::Object(map) => Map::is_empty(map),
            Value::Array(list) => list.is_empty(),
            _ => false,
        },
        [first, rest @ ..] => match step(value, first, node) {
            Some((below, node)) => is_empty_at(below, rest, node),
            None => false,
        },
    }
}
