//! Custom kinds as components: the schema as it was written, with the fields that every object has.

use serde_json::{Map, Value, json};

use super::Row;
use crate::builtin::{API_VERSION, KIND, list_properties};

const OBJECT_META: &str = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

pub(super) fn component(row: &Row, schema: &Value) -> Value {
    let mut out = schema.as_object().cloned().unwrap_or_default();
    let mut properties = match out.shift_remove("properties") {
        Some(Value::Object(properties)) => properties,
        _ => Map::new(),
    };
    properties.insert(
        "apiVersion".to_owned(),
        json!({"type": "string", "description": API_VERSION}),
    );
    properties.insert(
        "kind".to_owned(),
        json!({"type": "string", "description": KIND}),
    );
    properties.insert(
        "metadata".to_owned(),
        json!({"allOf": [{"$ref": OBJECT_META}], "description": "Standard object's metadata."}),
    );
    let mut sorted: Vec<(String, Value)> = properties.into_iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    out.insert(
        "properties".to_owned(),
        Value::Object(sorted.into_iter().collect()),
    );
    out.insert("type".to_owned(), json!("object"));
    out.insert(
        "x-kubernetes-group-version-kind".to_owned(),
        json!([row.gvk(&row.kind)]),
    );
    Value::Object(out)
}

pub(super) fn list(row: &Row, item: &str) -> Value {
    let list = format!("{}List", row.kind);
    let item = json!({"allOf": [{"$ref": format!("#/components/schemas/{item}")}]});
    json!({
        "description": format!("{list} is a list of {}.", row.kind),
        "type": "object",
        "required": ["items"],
        "properties": list_properties(&item),
        "x-kubernetes-group-version-kind": [row.gvk(&list)],
    })
}
