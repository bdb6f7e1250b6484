//! Making answers plain, so that those of two servers can be compared.

use serde_json::{Map, Value};

/// Fields whose values no two servers agree on, wherever they are. An empty one stays empty: whether
/// there is a value is compared.
const OPAQUE: [(&str, &str); 9] = [
    ("uid", "UID"),
    ("resourceVersion", "VERSION"),
    ("continue", "TOKEN"),
    ("creationTimestamp", "TIME"),
    ("deletionTimestamp", "TIME"),
    ("lastTransitionTime", "TIME"),
    ("lastUpdateTime", "TIME"),
    ("time", "TIME"),
    ("selfLink", "LINK"),
];

/// Makes a body plain.
pub(super) fn plain(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.retain(|item| !is_idle_bookmark(item));
            items.iter_mut().for_each(plain);
        }
        Value::Object(fields) => {
            ungenerate(fields);
            if let Some(Value::Array(cells)) = fields.get_mut("cells") {
                cells.iter_mut().for_each(ageless);
            }
            for (name, stands_for) in OPAQUE {
                if let Some(Value::String(text)) = fields.get_mut(name)
                    && !text.is_empty()
                {
                    stands_for.clone_into(text);
                }
            }
            anonymous(fields);
            fields.values_mut().for_each(plain);
        }
        _ => {}
    }
}

/// A bookmark of a watch in which nothing happens: a server sends one when it likes. That of the end of
/// the first events is another matter.
fn is_idle_bookmark(event: &Value) -> bool {
    event["type"] == "BOOKMARK" && event.pointer("/object/metadata/annotations").is_none()
}

/// An age in a table, such as `5s` or `2m10s`.
fn ageless(cell: &mut Value) {
    if let Value::String(text) = cell
        && text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(['s', 'm', 'h', 'd'])
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || "smhd".contains(c))
    {
        "AGE".clone_into(text);
    }
}

/// Managed fields name the elements of lists by their keys, and owners are told apart by identity.
fn anonymous(fields: &mut Map<String, Value>) {
    const OWNER: &str = "k:{\"uid\":\"";
    let owners: Vec<String> = fields
        .keys()
        .filter(|key| key.starts_with(OWNER))
        .cloned()
        .collect();
    for owner in owners {
        if let Some(value) = fields.remove(&owner) {
            fields.insert(format!("{OWNER}UID\"}}"), value);
        }
    }
}

/// A generated name keeps its beginning.
fn ungenerate(fields: &mut Map<String, Value>) {
    let Some(prefix) = fields
        .get("generateName")
        .and_then(Value::as_str)
        .map(str::to_owned)
    else {
        return;
    };
    if let Some(Value::String(name)) = fields.get_mut("name")
        && let Some(suffix) = name.strip_prefix(&prefix)
    {
        *name = format!("{prefix}{}", "x".repeat(suffix.len()));
    }
}

/// Takes out what a path of a step's `ignore` names.
pub(super) fn remove(value: &mut Value, path: &str) {
    let (word, rest) = match path.split_once('.') {
        Some((word, rest)) => (word, Some(rest)),
        None => (path, None),
    };
    match (value, rest) {
        (Value::Array(items), Some(rest)) if word == "*" => {
            for item in items {
                remove(item, rest);
            }
        }
        (Value::Array(items), Some(rest)) => {
            if let Some(item) = word
                .parse()
                .ok()
                .and_then(|index: usize| items.get_mut(index))
            {
                remove(item, rest);
            }
        }
        (Value::Object(fields), None) => drop(fields.remove(word)),
        (Value::Object(fields), Some(rest)) => {
            if let Some(field) = fields.get_mut(word) {
                remove(field, rest);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_by_nature_is_made_plain_and_what_is_missing_stays_missing() {
        let mut body = json!({ "items": [{ "metadata": {
            "generateName": "a-", "name": "a-x7k2p", "uid": "1", "resourceVersion": "",
        }}]});
        plain(&mut body);
        let meta = &body["items"][0]["metadata"];
        assert_eq!(meta["name"], "a-xxxxx");
        assert_eq!(meta["uid"], "UID");
        assert_eq!(meta["resourceVersion"], "");
        assert!(meta.get("creationTimestamp").is_none());
    }

    #[test]
    fn a_path_is_taken_out_of_each_element() {
        let mut body = json!({ "items": [{ "a": { "b": 1, "c": 2 } }, { "a": { "b": 3 } }] });
        remove(&mut body, "items.*.a.b");
        assert_eq!(body, json!({ "items": [{ "a": { "c": 2 } }, { "a": {} }] }));
    }
}
