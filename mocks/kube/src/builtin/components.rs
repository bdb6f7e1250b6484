//! Built-in types as OpenAPI v3 components, in the form that kube-apiserver publishes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::descriptions;
use super::types::{FieldRow, JSON_SCHEMA_PROPS, Scalar, Special, TypeExpr, table};
use crate::schema::scalar_type;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/// The OpenAPI name of a built-in kind's type.
pub(crate) fn type_for(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    table().kind(group, version, kind).map(|row| row.type_name)
}

/// The components `names` and all they refer to.
pub(crate) fn component_closure(names: &[&str]) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    let mut queue: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    while let Some(name) = queue.pop() {
        if out.contains_key(&name) {
            continue;
        }
        let Some(component) = component(&name) else {
            continue;
        };
        references(&component, &mut queue);
        out.insert(name, component);
    }
    out
}

fn references(value: &Value, queue: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(Value::as_str) {
                queue.extend(
                    name.strip_prefix("#/components/schemas/")
                        .map(str::to_owned),
                );
            }
            map.values().for_each(|inner| references(inner, queue));
        }
        Value::Array(items) => items.iter().for_each(|inner| references(inner, queue)),
        _ => {}
    }
}

fn component(name: &str) -> Option<Value> {
    if let Some(special) = special_component(name) {
        return Some(special);
    }
    if let Some(list) = list_component(name) {
        return Some(list);
    }
    let row = table().get(name)?;
    let texts = descriptions::of(name);
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in table().json_fields(name) {
        let text =
            texts.and_then(|t| t.pointer(&format!("/properties/{}/description", field.name)));
        properties.insert(field.name.to_owned(), property(field, text));
        if field.required {
            required.push(field.name);
        }
    }
    let mut out = json!({"type": "object"});
    if let Some(text) = texts.and_then(|t| t.get("description")) {
        out["description"] = text.clone();
    }
    out["properties"] = Value::Object(properties);
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    if row.atomic {
        out["x-kubernetes-map-type"] = json!("atomic");
    }
    let kinds: Vec<Value> = table()
        .kinds
        .iter()
        .filter(|kind| kind.type_name == name)
        .map(|kind| json!({"group": kind.group, "version": kind.version, "kind": kind.kind}))
        .collect();
    if !kinds.is_empty() {
        out["x-kubernetes-group-version-kind"] = json!(kinds);
    }
    Some(out)
}

fn property(field: &FieldRow, text: Option<&Value>) -> Value {
    let mut out = expr(&field.ty);
    if let Some(text) = text {
        out["description"] = text.clone();
    }
    if let Some(default) = field.default.and_then(|d| serde_json::from_str(d).ok()) {
        out["default"] = default;
    }
    if let Some(list) = field.list {
        let (kind, keys) = list.split_once(':').unwrap_or((list, ""));
        out["x-kubernetes-list-type"] = json!(kind);
        if !keys.is_empty() {
            out["x-kubernetes-list-map-keys"] = json!(keys.split(',').collect::<Vec<_>>());
        }
    }
    if field.map_atomic {
        out["x-kubernetes-map-type"] = json!("atomic");
    }
    if let Some(strategy) = field.patch_strategy {
        out["x-kubernetes-patch-strategy"] = json!(strategy);
    }
    if let Some(key) = field.merge_key {
        out["x-kubernetes-patch-merge-key"] = json!(key);
    }
    out
}

/// A reference as a property: siblings of `$ref` are ignored, so it stands below `allOf`.
fn reference(name: &str) -> Value {
    json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}]})
}

fn expr(ty: &TypeExpr) -> Value {
    match ty.pointee() {
        TypeExpr::Struct(name) => reference(name),
        TypeExpr::Special(special) => reference(special_name(*special)),
        TypeExpr::List(inner, _) => json!({"type": "array", "items": expr(inner)}),
        TypeExpr::Map(inner, _) => json!({"type": "object", "additionalProperties": expr(inner)}),
        TypeExpr::Scalar(scalar, _) => scalar_schema(*scalar),
        TypeExpr::Pointer(_) => json!({}),
    }
}

fn scalar_schema(scalar: Scalar) -> Value {
    let (ty, format) = scalar_type(scalar);
    match format {
        Some(format) => json!({"type": ty, "format": format}),
        None => json!({"type": ty}),
    }
}

const EXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.";

fn special_name(special: Special) -> &'static str {
    match special {
        Special::Time => "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
        Special::MicroTime => "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
        Special::Duration => "io.k8s.apimachinery.pkg.apis.meta.v1.Duration",
        Special::Quantity => "io.k8s.apimachinery.pkg.api.resource.Quantity",
        Special::IntOrString => "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        Special::Raw => "io.k8s.apimachinery.pkg.runtime.RawExtension",
        Special::FieldsV1 => "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
        Special::Json => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
        Special::SchemaOrArray => {
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray"
        }
        Special::SchemaOrBool => {
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool"
        }
        Special::SchemaOrStrings => {
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray"
        }
    }
}

fn special_component(name: &str) -> Option<Value> {
    let mut out = if let Some(meta) = name.strip_prefix(META) {
        match meta {
            "Time" | "MicroTime" => json!({"type": "string", "format": "date-time"}),
            "Duration" => json!({"type": "string"}),
            "FieldsV1" => json!({"type": "object"}),
            _ => return None,
        }
    } else if let Some(extension) = name.strip_prefix(EXTENSIONS) {
        match extension {
            "JSON" => json!({}),
            "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray" => {
                json!({"description": format!("{extension} is a JSONSchemaProps or another form.")})
            }
            _ => return None,
        }
    } else {
        match name {
            "io.k8s.apimachinery.pkg.api.resource.Quantity" => {
                json!({"oneOf": [{"type": "string"}, {"type": "number"}]})
            }
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => {
                json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"})
            }
            "io.k8s.apimachinery.pkg.runtime.RawExtension" => json!({"type": "object"}),
            _ => return None,
        }
    };
    if let Some(text) = descriptions::of(name).and_then(|t| t.get("description")) {
        out["description"] = text.clone();
    }
    debug_assert_ne!(name, JSON_SCHEMA_PROPS);
    Some(out)
}

/// `…FooList` of a kind `Foo`.
fn list_component(name: &str) -> Option<Value> {
    let item = name.strip_suffix("List")?;
    let row = table().kinds.iter().find(|kind| kind.type_name == item)?;
    let short = row.kind;
    Some(json!({
        "description": format!("{short}List is a list of {short}."),
        "type": "object",
        "required": ["items"],
        "properties": list_properties(&reference(item)),
        "x-kubernetes-group-version-kind":
            [{"group": row.group, "version": row.version, "kind": format!("{short}List")}],
    }))
}

/// The properties of a list of `item`.
pub(crate) fn list_properties(item: &Value) -> Value {
    let mut meta = reference("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta");
    meta["description"] = json!("Standard list metadata.");
    json!({
        "apiVersion": {"type": "string", "description": API_VERSION},
        "kind": {"type": "string", "description": KIND},
        "items": {"type": "array", "items": item, "description": "The items of the list."},
        "metadata": meta,
    })
}

pub(crate) const API_VERSION: &str = "The version of the schema that this object is written in. The server converts known \
                                      versions and refuses unknown ones.";
pub(crate) const KIND: &str = "The name of the REST resource that this object stands for, in CamelCase. It cannot be changed.";
