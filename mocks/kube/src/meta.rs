//! Reading and changing the metadata that every object has.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What is at a JSON pointer. It is [`Value::pointer`] without a copy of each word of the pointer: every
/// request asks for dozens.
pub(crate) fn at<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    if pointer.contains('~') {
        return object.pointer(pointer);
    }
    pointer
        .split('/')
        .skip(1)
        .try_fold(object, |value, word| match value {
            Value::Object(map) => map.get(word),
            Value::Array(list) => list.get(word.parse::<usize>().ok()?),
            _ => None,
        })
}

/// The string at a JSON pointer, or "".
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    at(object, pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// The revision the object carries; 0 when it carries none.
pub(crate) fn revision(object: &Value) -> u64 {
    text(object, "/metadata/resourceVersion")
        .parse()
        .unwrap_or(0)
}

pub(crate) fn deleting(object: &Value) -> bool {
    at(object, "/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
}

pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    strings(object, "/metadata/finalizers")
}

/// The strings of the list at a JSON pointer.
pub(crate) fn strings<'a>(object: &'a Value, pointer: &str) -> Vec<&'a str> {
    let list = at(object, pointer).and_then(Value::as_array);
    list.map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

/// The list at a JSON pointer, empty when there is none.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    at(object, pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The uids of the owners.
pub(crate) fn owners(object: &Value) -> Vec<&str> {
    list(object, "/metadata/ownerReferences")
        .iter()
        .filter_map(|owner| owner.get("uid").and_then(Value::as_str))
        .collect()
}

/// The map under `key`, made when it is absent or null; none when something else is there.
pub(crate) fn map_in<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    let slot = object.as_object_mut()?.entry(key).or_insert(Value::Null);
    if slot.is_null() {
        *slot = json!({});
    }
    slot.as_object_mut()
}

/// Writes a field of the metadata, or takes it away. The shape of the metadata is checked where
/// bodies are read.
pub(crate) fn set_metadata(object: &mut Value, key: &str, value: Option<Value>) {
    if let Some(map) = map_in(object, "metadata") {
        put(map, key, value);
    }
}

/// Writes `value` under `key`, or takes the key away when there is no value.
pub(crate) fn put(map: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    match value {
        Some(value) => {
            map.insert(key.to_owned(), value);
        }
        None => {
            map.shift_remove(key);
        }
    }
}

/// Takes a top-level field away.
pub(crate) fn remove(object: &mut Value, key: &str) -> Option<Value> {
    object.as_object_mut()?.shift_remove(key)
}

/// Fills `key` when it is absent or null.
pub(crate) fn fill(object: &mut Value, key: &str, value: Value) {
    if let Some(map) = object.as_object_mut()
        && map.get(key).is_none_or(Value::is_null)
    {
        map.insert(key.to_owned(), value);
    }
}

/// A time as `metav1.Time` prints it: whole seconds, UTC.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Removes collections of the metadata that hold nothing: they are the same as absent ones.
pub(crate) fn drop_empty(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    for key in ["annotations", "finalizers", "labels", "ownerReferences"] {
        let empty = match metadata.get(key) {
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(map)) => map.is_empty(),
            _ => false,
        };
        if empty {
            metadata.shift_remove(key);
        }
    }
}

/// Removes nulls from maps, at every depth: an absent field and a null one are the same.
pub(crate) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
