//! Whether an apply would change anything.

use serde_json::Value;

/// Whether `held`, as the server gives it, is what an apply of `wanted` by `manager` would make of
/// it: it has every field of `wanted` with the same value, and `manager` owns none that `wanted` has
/// no more. The server's defaults and other managers' fields are not looked at.
pub fn is_applied(held: &Value, wanted: &Value, manager: &str) -> bool {
    contains(held, wanted) && owns_nothing_else(held, wanted, manager)
}

/// Lists must be of equal length.
fn contains(held: &Value, wanted: &Value) -> bool {
    match (held, wanted) {
        (Value::Object(held), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| {
            let empty = wanted.as_object().is_some_and(serde_json::Map::is_empty)
                || wanted.as_array().is_some_and(Vec::is_empty);
            match held.get(key) {
                Some(held) => contains(held, wanted),
                None => wanted.is_null() || empty,
            }
        }),
        (Value::Array(held), Value::Array(wanted)) => {
            held.len() == wanted.len() && held.iter().zip(wanted).all(|(h, w)| contains(h, w))
        }
        _ => held == wanted,
    }
}

/// `metadata.managedFields` has an entry a manager, with the set of its fields (`FieldsV1`).
fn owns_nothing_else(held: &Value, wanted: &Value, manager: &str) -> bool {
    let entries = held["metadata"]["managedFields"].as_array();
    let mut ours = entries.into_iter().flatten().filter(|entry| {
        entry["manager"] == manager
            && entry["operation"] == "Apply"
            && entry.get("subresource").is_none_or(Value::is_null)
    });
    ours.all(|entry| covers(wanted, &entry["fieldsV1"]))
}

/// Whether `wanted` has every field of `fields`: `f:NAME` is a field, `k:KEYS` the item of a list
/// that has these keys, `v:VALUE` an item that is this value, and `.` the thing itself.
fn covers(wanted: &Value, fields: &Value) -> bool {
    let fields = fields.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| *name != ".")
        .all(|(name, inner)| {
            let found = match name.split_once(':') {
                Some(("f", field)) => wanted.get(field),
                Some(("k", keys)) => item(wanted, keys),
                Some(("v", value)) => {
                    let value: Value = serde_json::from_str(value).unwrap_or_default();
                    let mut items = wanted.as_array().into_iter().flatten();
                    items.find(|item| **item == value)
                }
                _ => None,
            };
            found.is_some_and(|found| covers(found, inner))
        })
}

/// The item of a list with these keys. One that is left out may be filled in by the server.
fn item<'a>(list: &'a Value, keys: &str) -> Option<&'a Value> {
    let keys: serde_json::Map<String, Value> = serde_json::from_str(keys).ok()?;
    list.as_array()?.iter().find(|item| {
        keys.iter()
            .all(|(key, value)| item.get(key).is_none_or(|held| held == value))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn held() -> Value {
        json!({
            "metadata": {
                "annotations": { "a": "1", "theirs": "2" },
                "managedFields": [
                    { "manager": "gatewright", "operation": "Apply", "fieldsV1": {
                        "f:metadata": { "f:annotations": { ".": {}, "f:a": {} } },
                        "f:spec": { "f:ports": { "k:{\"port\":80,\"protocol\":\"TCP\"}": {
                            ".": {}, "f:port": {},
                        } } },
                    } },
                    { "manager": "gatewright", "operation": "Apply", "subresource": "status",
                      "fieldsV1": { "f:status": { "f:phase": {} } } },
                    { "manager": "theirs", "operation": "Apply",
                      "fieldsV1": { "f:metadata": { "f:annotations": { "f:theirs": {} } } } },
                ],
            },
            "spec": { "ports": [{ "port": 80, "protocol": "TCP" }] },
        })
    }

    fn wanted() -> Value {
        json!({
            "metadata": { "annotations": { "a": "1" } },
            "spec": { "ports": [{ "port": 80 }] },
        })
    }

    #[test]
    fn defaults_of_the_server_are_no_difference() {
        let wanted = json!({ "spec": { "ports": [{ "port": 80 }], "empty": {} } });
        let held = json!({ "spec": { "ports": [{ "port": 80, "protocol": "TCP" }], "type": "X" } });
        assert!(contains(&held, &wanted));
        assert!(!contains(
            &held,
            &json!({ "spec": { "ports": [{ "port": 81 }] } })
        ));
        assert!(!contains(&held, &json!({ "spec": { "ports": [] } })));
    }

    #[test]
    fn what_is_there_need_not_be_applied() {
        assert!(is_applied(&held(), &wanted(), "gatewright"));
    }

    #[test]
    fn a_field_that_differs_or_is_missing_has_to_be_applied() {
        let mut other = wanted();
        other["metadata"]["annotations"]["a"] = "2".into();
        assert!(!is_applied(&held(), &other, "gatewright"));
        let mut more = wanted();
        more["metadata"]["annotations"]["b"] = "1".into();
        assert!(!is_applied(&held(), &more, "gatewright"));
    }

    #[test]
    fn a_field_that_is_wanted_no_more_has_to_be_given_up() {
        let mut less = wanted();
        less["metadata"]["annotations"] = json!({});
        assert!(!is_applied(&held(), &less, "gatewright"));
        assert!(is_applied(&held(), &less, "nobody"), "unless others own it");
    }
}
