//! The older form, Swagger 2.0: the same types under `definitions`, with what it cannot say left out.

use serde_json::{Map, Value, json};

use super::{Row, components, paths};

pub(super) fn document(rows: &[&Row]) -> Value {
    let definitions: Map<String, Value> = components(rows)
        .into_iter()
        .map(|(name, schema)| (name, downgrade(schema)))
        .collect();
    let mut all_paths = Map::new();
    for row in rows {
        paths::add(row, &mut all_paths);
    }
    for operations in all_paths.values_mut().filter_map(Value::as_object_mut) {
        for (name, operation) in operations.iter_mut() {
            if name != "parameters" {
                operations_downgrade(operation);
            } else if let Some(list) = operation.as_array_mut() {
                list.iter_mut().for_each(parameter);
            }
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.37.0"},
        "paths": all_paths,
        "definitions": definitions,
    })
}

fn operations_downgrade(operation: &mut Value) {
    let Some(map) = operation.as_object_mut() else {
        return;
    };
    let body = map.shift_remove("requestBody");
    if let Some(list) = map.get_mut("parameters").and_then(Value::as_array_mut) {
        list.iter_mut().for_each(parameter);
        if let Some(schema) = body
            .as_ref()
            .and_then(|b| b.pointer("/content"))
            .and_then(|c| {
                c.as_object()
                    .and_then(|c| c.values().next())
                    .and_then(|c| c.get("schema"))
            })
        {
            list.push(json!({"name": "body", "in": "body", "required": true, "schema": downgrade(schema.clone())}));
        }
    }
    if let Some(ok) = map.get_mut("responses").and_then(|r| r.get_mut("200")) {
        let schema = ok.pointer("/content/application~1json/schema").cloned();
        *ok = json!({"description": "OK", "schema": downgrade(schema.unwrap_or_default())});
    }
}

/// `schema` of a parameter moves up.
fn parameter(parameter: &mut Value) {
    let Some(map) = parameter.as_object_mut() else {
        return;
    };
    if let Some(Value::Object(schema)) = map.shift_remove("schema") {
        map.extend(schema);
    }
}

fn downgrade(schema: Value) -> Value {
    match schema {
        Value::Object(map) => {
            let mut out = Map::new();
            for (name, value) in map {
                match (name.as_str(), value) {
                    ("$ref", Value::String(target)) => {
                        let target = target.replace("#/components/schemas/", "#/definitions/");
                        out.insert(name, json!(target));
                    }
                    // A reference stands for itself here.
                    ("allOf", Value::Array(mut list))
                        if list.len() == 1 && list[0].get("$ref").is_some() =>
                    {
                        if let Value::Object(inner) = downgrade(list.remove(0)) {
                            out.extend(inner);
                        }
                    }
                    ("oneOf" | "anyOf" | "not" | "nullable" | "allOf", _) => {}
                    (_, value) => {
                        out.insert(name, downgrade(value));
                    }
                }
            }
            // What may be two things is a string with a format of its own.
            if out.get("format") == Some(&json!("int-or-string")) {
                out.insert("type".to_owned(), json!("string"));
            }
            Value::Object(out)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(downgrade).collect()),
        other => other,
    }
}
