//! Strategic merge patch, for built-in kinds.
//!
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md>

use serde_json::{Map, Value};

use crate::schema::SchemaNode;
use crate::status::{Answer, ApiError};

/// `live` changed by `patch`; `node` says how lists merge.
pub(crate) fn patch(live: &Value, patch: &Value, node: Option<SchemaNode<'_>>) -> Answer<Value> {
    match (live, patch) {
        (Value::Object(live), Value::Object(patch)) => {
            Ok(Value::Object(merge_maps(live.clone(), patch, node)?))
        }
        _ => Err(ApiError::bad_request(
            "a strategic merge patch must be an object",
        )),
    }
}

fn merge_maps(
    mut live: Map<String, Value>,
    patch: &Map<String, Value>,
    node: Option<SchemaNode<'_>>,
) -> Answer<Map<String, Value>> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => live.clear(),
        Some("delete") => return Ok(Map::new()),
        _ => {}
    }
    if let Some(keep) = patch.get("$retainKeys").and_then(Value::as_array) {
        live.retain(|key, _| keep.iter().any(|kept| kept == key));
    }
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(list), Some(gone)) = (
                live.get_mut(field).and_then(Value::as_array_mut),
                value.as_array(),
            ) {
                list.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if key.starts_with('$') {
            continue;
        }
        let below = node.and_then(|node| node.field(key));
        let merges = below
            .and_then(SchemaNode::patch_strategy)
            .unwrap_or_default();
        let merges = merges.split(',').any(|strategy| strategy == "merge");
        match (live.get(key), value) {
            (_, Value::Null) => {
                live.shift_remove(key);
            }
            (Some(Value::Object(old)), Value::Object(new)) => {
                let merged = merge_maps(old.clone(), new, below)?;
                live.insert(key.clone(), Value::Object(merged));
            }
            (old, Value::Array(new)) if merges => {
                let old = old.and_then(Value::as_array).cloned().unwrap_or_default();
                let merge_key = below.and_then(SchemaNode::patch_merge_key);
                let items = below.and_then(SchemaNode::items);
                live.insert(
                    key.clone(),
                    Value::Array(merge_lists(old, new, merge_key, items)?),
                );
            }
            (_, Value::Object(new)) => {
                live.insert(
                    key.clone(),
                    Value::Object(merge_maps(Map::new(), new, below)?),
                );
            }
            (_, new) => {
                live.insert(key.clone(), new.clone());
            }
        }
    }
    for (key, order) in patch {
        if let Some(field) = key.strip_prefix("$setElementOrder/")
            && let (Some(list), Some(order)) = (
                live.get_mut(field).and_then(Value::as_array_mut),
                order.as_array(),
            )
        {
            let merge_key = node
                .and_then(|n| n.field(field))
                .and_then(SchemaNode::patch_merge_key);
            sort(list, order, merge_key);
        }
    }
    Ok(live)
}

fn merge_lists(
    mut live: Vec<Value>,
    patch: &[Value],
    merge_key: Option<&str>,
    items: Option<SchemaNode<'_>>,
) -> Answer<Vec<Value>> {
    let Some(merge_key) = merge_key else {
        for item in patch {
            if !live.contains(item) {
                live.push(item.clone());
            }
        }
        return Ok(live);
    };
    let directive = |item: &Value| item["$patch"].as_str().unwrap_or_default().to_owned();
    if patch.iter().any(|item| directive(item) == "replace") {
        live.clear();
    }
    for item in patch {
        let Some(map) = item.as_object() else {
            return Err(ApiError::bad_request(
                "items of a merged list must be objects",
            ));
        };
        let key = map.get(merge_key);
        match (directive(item).as_str(), key) {
            ("replace", None) => {}
            (_, None) => {
                return Err(ApiError::bad_request(format!(
                    "map: {item} does not contain declared merge key: {merge_key}"
                )));
            }
            ("delete", Some(key)) => live.retain(|old| old.get(merge_key) != Some(key)),
            (_, Some(key)) => {
                let place = live.iter().position(|old| old.get(merge_key) == Some(key));
                let old = place.and_then(|place| live[place].as_object().cloned());
                let merged = Value::Object(merge_maps(old.unwrap_or_default(), map, items)?);
                match place {
                    Some(place) => live[place] = merged,
                    None => live.push(merged),
                }
            }
        }
    }
    Ok(live)
}

/// Brings the items that `order` names into its order; others stay behind what they stood behind.
fn sort(list: &mut Vec<Value>, order: &[Value], merge_key: Option<&str>) {
    let key = |item: &Value| match merge_key {
        Some(merge_key) => item.get(merge_key).cloned().unwrap_or(Value::Null),
        None => item.clone(),
    };
    let places: Vec<Value> = order.iter().map(key).collect();
    let mut groups: Vec<(usize, Vec<Value>)> = vec![(0, Vec::new())];
    for item in list.drain(..) {
        match places.iter().position(|place| *place == key(&item)) {
            Some(place) => groups.push((place + 1, vec![item])),
            None => {
                if let Some((_, group)) = groups.last_mut() {
                    group.push(item);
                }
            }
        }
    }
    groups.sort_by_key(|(place, _)| *place);
    list.extend(groups.into_iter().flat_map(|(_, group)| group));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_merge_by_name_and_follow_the_given_order() {
        let schema = crate::builtin::schema("apps", "v1", "Deployment").unwrap();
        let live = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"},
        ]}}}});
        let change = json!({"spec": {"template": {"spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}],
            "containers": [
                {"name": "b", "image": "b:2"}, {"name": "c", "image": "c:1"},
                {"name": "a", "$patch": "delete"},
            ],
        }}}});
        let merged = patch(&live, &change, Some(schema.node())).unwrap();
        assert_eq!(
            merged.pointer("/spec/template/spec/containers").unwrap(),
            &json!([{"name": "b", "image": "b:2"}, {"name": "c", "image": "c:1"}])
        );
    }

    #[test]
    fn finalizers_are_a_set_and_lists_without_a_strategy_are_replaced() {
        let schema = crate::builtin::schema("", "v1", "Pod").unwrap();
        let live = json!({"metadata": {"finalizers": ["x/a"]}, "spec": {"containers": [
            {"name": "a", "args": ["1", "2"]},
        ]}});
        let change = json!({"metadata": {"finalizers": ["x/b"]}, "spec": {"containers": [
            {"name": "a", "args": ["3"]},
        ]}});
        let merged = patch(&live, &change, Some(schema.node())).unwrap();
        assert_eq!(merged["metadata"]["finalizers"], json!(["x/a", "x/b"]));
        assert_eq!(merged["spec"]["containers"][0]["args"], json!(["3"]));
        let change = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/a"]}});
        let merged = patch(&merged, &change, Some(schema.node())).unwrap();
        assert_eq!(merged["metadata"]["finalizers"], json!(["x/b"]));
    }
}
