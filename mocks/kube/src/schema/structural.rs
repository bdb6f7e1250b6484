//! What makes a schema structural, which the real server demands of definitions
//! (`apiextensions-apiserver/pkg/apiserver/schema/validation.go` and `…/apis/apiextensions/validation`).

use serde_json::{Value, json};

use super::FieldError;
use super::text::{child, index, key};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// The problems of the schema at `path`, sorted.
pub(super) fn check(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    outer(schema, Level::Root, path, &mut errors);
    errors.sort_by_key(ToString::to_string);
    errors
}

fn word<'a>(schema: &'a Value, name: &str) -> &'a str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn flag(schema: &Value, name: &str) -> bool {
    schema
        .get(name)
        .and_then(Value::as_bool)
        .unwrap_or_default()
}

fn outer(schema: &Value, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    let ty = word(schema, "type");
    let int_or_string = flag(schema, "x-kubernetes-int-or-string");
    let preserve = flag(schema, "x-kubernetes-preserve-unknown-fields");
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    if !ty.is_empty() && super::node::Type::parse(ty).is_none() {
        let names = ["array", "boolean", "integer", "number", "object", "string"];
        errors.push(FieldError::not_supported(
            &child(path, "type"),
            &json!(ty),
            &names,
        ));
    }
    for (name, problem) in FORBIDDEN {
        if schema.get(name).is_some_and(|v| !v.is_null()) {
            errors.push(FieldError::forbidden(&child(path, name), problem));
        }
    }
    if flag(schema, "uniqueItems") {
        let problem =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(&child(path, "uniqueItems"), problem));
    }
    match schema.get("items") {
        Some(Value::Array(_)) => {
            let problem = "items must be a schema object and not an array";
            errors.push(FieldError::forbidden(&child(path, "items"), problem));
        }
        Some(items @ Value::Object(_)) => outer(items, Level::Item, &child(path, "items"), errors),
        _ if ty == "array" => {
            errors.push(FieldError::required(
                &child(path, "items"),
                "must be specified",
            ));
        }
        _ => {}
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, inner) in properties.into_iter().flatten() {
        let at = key(&child(path, "properties"), name);
        let meta = name == "metadata" && level == Level::Root;
        if meta {
            metadata(inner, &at, errors);
        } else {
            outer(inner, Level::Field, &at, errors);
        }
    }
    if let Some(additional) = schema.get("additionalProperties").filter(|a| !a.is_null()) {
        let at = child(path, "additionalProperties");
        if level == Level::Root {
            errors.push(FieldError::forbidden(&at, "must not be used at the root"));
        }
        if properties.is_some_and(|p| !p.is_empty()) && additional != &Value::Bool(false) {
            errors.push(FieldError::forbidden(
                &at,
                "additionalProperties and properties are mutual exclusive",
            ));
        }
        if additional == &Value::Bool(false) {
            errors.push(FieldError::forbidden(
                &at,
                "additionalProperties cannot be set to false",
            ));
        }
        if embedded {
            let problem = "must not be used if x-kubernetes-embedded-resource is set";
            errors.push(FieldError::forbidden(&at, problem));
        }
        if additional.is_object() {
            outer(additional, Level::Field, &at, errors);
        }
    }
    if int_or_string && preserve {
        errors.push(FieldError::invalid(
            &child(path, "x-kubernetes-preserve-unknown-fields"),
            &json!(true),
            "must be false if x-kubernetes-int-or-string is true",
        ));
    }
    if int_or_string && embedded {
        errors.push(FieldError::invalid(
            &child(path, "x-kubernetes-embedded-resource"),
            &json!(true),
            "must be false if x-kubernetes-int-or-string is true",
        ));
    }
    types(schema, level, path, errors);
    lists(schema, path, errors);
    let int_or_string_pattern =
        |s: &Value| s.get("anyOf") == Some(&json!([{"type": "integer"}, {"type": "string"}]));
    let skip_first = schema
        .get("allOf")
        .and_then(|all| all.get(0))
        .is_some_and(&int_or_string_pattern);
    junctors(
        schema,
        int_or_string_pattern(schema),
        skip_first,
        path,
        errors,
    );
}

/// Fields of JSON schema that a definition may not use at all.
const FORBIDDEN: [(&str, &str); 6] = [
    ("definitions", "definitions is not supported"),
    ("dependencies", "dependencies is not supported"),
    ("deprecated", "deprecated is not supported"),
    ("discriminator", "discriminator is not supported"),
    ("patternProperties", "patternProperties is not supported"),
    ("$ref", "$ref is not supported"),
];

fn types(schema: &Value, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    let ty = word(schema, "type");
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    let int_or_string = flag(schema, "x-kubernetes-int-or-string");
    let preserve = flag(schema, "x-kubernetes-preserve-unknown-fields");
    let at = child(path, "type");
    if embedded && ty != "object" {
        let problem = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if ty.is_empty() {
            FieldError::required(&at, problem)
        } else {
            FieldError::invalid_str(&at, ty, problem)
        });
    } else if ty.is_empty() && !int_or_string && !preserve {
        errors.push(FieldError::required(
            &at,
            match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            },
        ));
    }
    if level == Level::Root && !ty.is_empty() && ty != "object" {
        errors.push(FieldError::invalid_str(
            &at,
            ty,
            "must be object at the root",
        ));
    }
    let empty = schema
        .get("properties")
        .and_then(Value::as_object)
        .is_none_or(serde_json::Map::is_empty);
    if embedded && !preserve && empty {
        errors.push(FieldError::required(
            &child(path, "properties"),
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        ));
    }
    if level == Level::Root || embedded {
        for name in ["kind", "apiVersion"] {
            if let Some(inner) = schema.pointer(&format!("/properties/{name}"))
                && word(inner, "type") != "string"
            {
                let at = child(&key(&child(path, "properties"), name), "type");
                errors.push(FieldError::invalid_str(
                    &at,
                    word(inner, "type"),
                    "must be string",
                ));
            }
        }
    }
}

fn metadata(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if word(schema, "type") != "object" {
        errors.push(FieldError::invalid_str(
            &child(path, "type"),
            word(schema, "type"),
            "must be object",
        ));
    }
    let known = ["type", "description", "properties"];
    let extra = schema
        .as_object()
        .is_some_and(|map| map.keys().any(|k| !known.contains(&k.as_str())));
    let fields = schema.get("properties").and_then(Value::as_object);
    let other = fields.is_some_and(|f| f.keys().any(|k| k != "name" && k != "generateName"));
    if extra || other {
        errors.push(FieldError::forbidden(
            path,
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        ));
    }
}

fn lists(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let ty = word(schema, "type");
    let list = word(schema, "x-kubernetes-list-type");
    let at = child(path, "x-kubernetes-list-type");
    if !list.is_empty() {
        if !["atomic", "set", "map"].contains(&list) {
            errors.push(FieldError::not_supported(
                &at,
                &json!(list),
                &["atomic", "map", "set"],
            ));
        }
        if ty != "array" {
            let shown = child(path, "type");
            let problem = "must be array if x-kubernetes-list-type is specified";
            errors.push(if ty.is_empty() {
                FieldError::required(&shown, problem)
            } else {
                FieldError::invalid_str(&shown, ty, problem)
            });
        }
    }
    let map = word(schema, "x-kubernetes-map-type");
    if !map.is_empty() && !["atomic", "granular"].contains(&map) {
        let at = child(path, "x-kubernetes-map-type");
        errors.push(FieldError::not_supported(
            &at,
            &json!(map),
            &["atomic", "granular"],
        ));
    }
    let keys = schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array);
    let keys: Vec<&str> = keys
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let keys_at = child(path, "x-kubernetes-list-map-keys");
    if list != "map" {
        if !keys.is_empty() {
            let problem = "must be map if x-kubernetes-list-map-keys is non-empty";
            errors.push(if list.is_empty() {
                FieldError::required(&at, problem)
            } else {
                FieldError::invalid_str(&at, list, problem)
            });
        }
        return;
    }
    if keys.is_empty() {
        let problem = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(&keys_at, problem));
    }
    let items = schema.get("items").cloned().unwrap_or_default();
    if word(&items, "type") != "object" {
        errors.push(FieldError::invalid_str(
            &child(&child(path, "items"), "type"),
            word(&items, "type"),
            "must be object if parent array's x-kubernetes-list-type is map",
        ));
    }
    let required = items
        .get("required")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for (i, name) in keys.iter().enumerate() {
        let Some(property) = items.pointer(&format!("/properties/{name}")) else {
            let problem = "entries must all be names of item properties";
            errors.push(FieldError::invalid_str(&index(&keys_at, i), name, problem));
            continue;
        };
        let needed = required.iter().any(|r| r.as_str() == Some(name));
        if !needed && property.get("default").is_none() {
            let at = child(
                &key(&child(&child(path, "items"), "properties"), name),
                "default",
            );
            let problem = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(&at, problem));
        }
    }
}

/// The value checks under `allOf`, `anyOf`, `oneOf` and `not`, which may narrow values but not describe structure.
fn junctors(
    schema: &Value,
    skip_any: bool,
    skip_first_all: bool,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    for name in ["anyOf", "allOf", "oneOf"] {
        let Some(list) = schema.get(name).and_then(Value::as_array) else {
            continue;
        };
        for (i, inner) in list.iter().enumerate() {
            if name == "anyOf" && skip_any {
                continue;
            }
            let skip = name == "allOf" && i == 0 && skip_first_all;
            nested(inner, skip, &index(&child(path, name), i), errors);
        }
    }
    if let Some(not) = schema.get("not") {
        nested(not, false, &child(path, "not"), errors);
    }
}

fn nested(schema: &Value, skip_any: bool, path: &str, errors: &mut Vec<FieldError>) {
    junctors(schema, skip_any, false, path, errors);
    if let Some(items @ Value::Object(_)) = schema.get("items") {
        nested(items, false, &child(path, "items"), errors);
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, inner) in properties.into_iter().flatten() {
        let at = key(&child(path, "properties"), name);
        if name == "metadata" {
            errors.push(FieldError::forbidden(
                &at,
                "must not be specified in a nested context",
            ));
        }
        nested(inner, false, &at, errors);
    }
    for (name, problem) in NESTED {
        let set = match schema.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::String(s)) => !s.is_empty(),
            Some(Value::Array(a)) => !a.is_empty(),
            Some(_) => true,
        };
        if set {
            errors.push(FieldError::forbidden(&child(path, name), problem));
        }
    }
}

const NESTED: [(&str, &str); 13] = [
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    (
        "x-kubernetes-preserve-unknown-fields",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-embedded-resource",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-int-or-string",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-list-map-keys",
        "must be empty to be structural",
    ),
    (
        "x-kubernetes-list-type",
        "must be undefined to be structural",
    ),
    (
        "x-kubernetes-map-type",
        "must be undefined to be structural",
    ),
    ("x-kubernetes-validations", "must be empty to be structural"),
];
