//! One step of a path in a set of fields: `f:name`, `k:{"key":"value"}`, `v:"value"`.

use serde_json::{Map, Value};

use crate::schema::SchemaNode;

/// The element of a field.
pub(super) fn field(name: &str) -> String {
    format!("f:{name}")
}

/// The element of a set's value.
pub(super) fn value(value: &Value) -> String {
    format!("v:{value}")
}

/// The element of an item of a list map; the error names a key that is missing.
pub(super) fn keyed(
    item: &Value,
    keys: &[String],
    items: Option<SchemaNode<'_>>,
) -> Result<String, String> {
    let mut found = std::collections::BTreeMap::new();
    for key in keys {
        let default = || {
            items
                .and_then(|n| n.field(key))
                .and_then(SchemaNode::default_value)
        };
        if let Some(value) = item.get(key).filter(|v| !v.is_null()).or_else(default) {
            found.insert(key.as_str(), value.clone());
        }
    }
    if found.is_empty() {
        let keys = keys.join(", ");
        return Err(format!(
            "associative list with keys has an element that omits key field {keys:?}"
        ));
    }
    let found: Map<String, Value> = found.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    Ok(format!("k:{}", Value::Object(found)))
}

/// The keys and values of a `k:` element.
pub(super) fn keys_of(element: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(element.strip_prefix("k:")?).ok()
}

/// How the element is printed in a path: `.name`, `[key="value"]`, `["value"]`.
pub(super) fn print(element: &str) -> String {
    if let Some(name) = element.strip_prefix("f:") {
        return format!(".{name}");
    }
    if let Some(value) = element.strip_prefix("v:") {
        return format!("[{value}]");
    }
    if let Some(index) = element.strip_prefix("i:") {
        return format!("[{index}]");
    }
    let pairs: Vec<_> = keys_of(element)
        .map(|keys| {
            keys.iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect()
        })
        .unwrap_or_default();
    format!("[{}]", pairs.join(","))
}

/// Whether a list's item is the one an element means.
pub(super) fn is(item: &Value, element: &str, items: Option<SchemaNode<'_>>) -> bool {
    if let Some(keys) = keys_of(element) {
        return keys.iter().all(|(key, wanted)| {
            let default = || {
                items
                    .and_then(|n| n.field(key))
                    .and_then(SchemaNode::default_value)
            };
            item.get(key).or_else(default) == Some(wanted)
        });
    }
    element == value(item)
}
