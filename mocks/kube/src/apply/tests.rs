use serde_json::{Value, json};

use super::*;
use crate::kinds::Registry;

fn writer(manager: &str) -> Writer {
    Writer {
        manager: manager.to_owned(),
        subresource: String::new(),
        api_version: "v1".to_owned(),
        time: "2030-01-01T00:00:00Z".to_owned(),
    }
}

fn fields(object: &Value, manager: &str) -> Value {
    let managers = crate::meta::list(object, "/metadata/managedFields");
    let entry = managers.iter().find(|entry| entry["manager"] == manager);
    entry.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

#[test]
fn sets_are_read_back_as_they_were_written() {
    let written = json!({
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
        "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}},
    });
    assert_eq!(FieldSet::read(&written).write(), written);
}

#[test]
fn an_applied_set_names_items_by_their_keys_with_defaults() {
    let kinds = Registry::new().kinds();
    let service = kinds.find("", "v1", "services").unwrap();
    let schema = service.schema().unwrap();
    let config = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "labels": {"x": "y"}},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "a"}},
    });
    let object = apply(
        &service,
        Some(schema.node()),
        None,
        &config,
        &writer("one"),
        false,
    )
    .unwrap();
    assert_eq!(
        fields(&object, "one"),
        json!({
            "f:metadata": {"f:labels": {"f:x": {}}},
            "f:spec": {
                "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}},
                "f:selector": {},
            },
        })
    );
}

#[test]
fn an_update_takes_what_it_changes_from_its_owner() {
    let kinds = Registry::new().kinds();
    let maps = kinds.find("", "v1", "configmaps").unwrap();
    let schema = maps.schema().unwrap();
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
        "data": {"x": "1", "y": "1"},
    });
    let root = Some(schema.node());
    let live = apply(&maps, root, None, &config, &writer("one"), false).unwrap();
    let mut new = live.clone();
    new["data"]["x"] = "2".into();
    record_update(&maps, root, Some(&live), &mut new, &writer("two"));
    assert_eq!(fields(&new, "one"), json!({"f:data": {"f:y": {}}}));
    assert_eq!(fields(&new, "two"), json!({"f:data": {"f:x": {}}}));
}

#[test]
fn several_conflicts_are_listed_by_manager() {
    let kinds = Registry::new().kinds();
    let maps = kinds.find("", "v1", "configmaps").unwrap();
    let schema = maps.schema().unwrap();
    let body = |x: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
            "data": {"x": x, "y": x},
        })
    };
    let root = Some(schema.node());
    let live = apply(&maps, root, None, &body("1"), &writer("one"), false).unwrap();
    let error = apply(&maps, root, Some(&live), &body("2"), &writer("two"), false).unwrap_err();
    assert_eq!(
        error.message(),
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .data.x\n- .data.y"
    );
}
