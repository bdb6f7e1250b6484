//! From a Rust type to the structural schema the API server takes.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use schemars::generate::SchemaSettings;
use schemars::transform::{AddNullable, Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// Fields whose types are Kubernetes' own. Their texts are cut to the first sentence: in full they
/// would make up nine tenths of the definition, and `kubectl explain pod` has them.
const KUBERNETES_TYPES: [&str; 6] = [
    "affinity",
    "env",
    "lifecycle",
    "resources",
    "tolerations",
    "conditions",
];

/// Schema of an object that is kept as it is, whatever it holds.
pub(crate) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// Schema of a list of objects that are kept as they are, whatever they hold.
pub(crate) fn any_objects(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": any_object(generator) })
}

/// Schema of bytes, which JSON has as base64.
pub(crate) fn bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "byte" })
}

/// The structural schema of a kind with this spec and status.
///
/// The text of the spec's type becomes that of the kind. Beside what schemars makes of the types: no
/// field is nullable (a null would be a value of its own for `has()` and for merges), an enum is one
/// list of values, the text of a field wins over that of its type, and embedded Kubernetes types
/// keep their texts short.
pub(crate) fn structural<Spec, Status>() -> Result<JSONSchemaProps, serde_json::Error>
where
    Spec: JsonSchema,
    Status: JsonSchema,
{
    let mut spec = schema_of::<Spec>();
    let description = spec.get_mut("description").map(Value::take);
    spec["description"] = json!("What is asked for.");
    if let Some(overrides) = spec.pointer_mut("/properties/overrides") {
        plain_overrides(overrides);
    }
    serde_json::from_value(json!({
        "description": description,
        "type": "object",
        "required": ["spec"],
        "properties": { "spec": spec, "status": schema_of::<Status>() },
    }))
}

fn schema_of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::openapi3()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .with_transform(AddNullable::default())
        .with_transform(Plain)
        .into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    shape(&mut schema);
    schema
}

/// Turns "this or null" into "this", and "one of these constants" into a list of values.
#[derive(Clone, Debug)]
struct Plain;

impl Transform for Plain {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(object) = schema.as_object_mut() {
            drop_null(object);
            join_constants(object);
        }
        transform_subschemas(self, schema);
    }
}

/// Takes the null out of `anyOf: [type, null]` and the like. What stands at the field stays.
fn drop_null(object: &mut Map<String, Value>) {
    object.remove("nullable");
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    let inner = match object
        .get("anyOf")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
    {
        Some([Value::Object(inner), null]) if is_null(null) => inner.clone(),
        _ => return,
    };
    object.remove("anyOf");
    for (key, value) in inner {
        object.entry(key).or_insert(value);
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("enum") == Some(&json!([null])) || schema.get("type") == Some(&json!("null"))
}

/// Joins `oneOf` of constants, which is how an enum with described variants looks.
fn join_constants(object: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = object.get("oneOf") else {
        return;
    };
    let mut values = Vec::new();
    for variant in variants {
        match (variant.get("const"), variant.get("enum")) {
            (Some(value), _) => values.push(value.clone()),
            (None, Some(Value::Array(some))) => values.extend(some.iter().cloned()),
            _ => return,
        }
    }
    object.remove("oneOf");
    object.insert("type".to_owned(), json!("string"));
    object.insert("enum".to_owned(), Value::Array(values));
}

/// Takes out what the API server refuses, warns of, or should not act on.
fn shape(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    object.remove("title");
    object.remove("$schema");
    // Only the formats that Kubernetes knows; it warns of others.
    let known = ["int32", "int64", "double", "date-time", "byte"];
    if object
        .get("format")
        .is_some_and(|f| !f.as_str().is_some_and(|f| known.contains(&f)))
    {
        object.remove("format");
    }
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(entries) => entries.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    if object.get("default").is_some_and(empty) {
        object.remove("default");
    }
    if let Some(Value::String(text)) = object.get_mut("description") {
        // A line break inside a paragraph is one of the source file.
        *text = text
            .split("\n\n")
            .map(|paragraph| paragraph.replace('\n', " "))
            .collect::<Vec<_>>()
            .join("\n\n");
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        for (name, property) in properties.iter_mut() {
            if KUBERNETES_TYPES.contains(&name.as_str()) {
                below(property, &mut first_sentence);
            }
        }
    }
    for child in children(object) {
        shape(child);
    }
}

/// The schemas directly below one.
fn children(object: &mut Map<String, Value>) -> Vec<&mut Value> {
    let mut found = Vec::new();
    for (key, value) in object.iter_mut() {
        match (key.as_str(), value) {
            ("properties", Value::Object(properties)) => found.extend(properties.values_mut()),
            ("items" | "additionalProperties", value @ Value::Object(_)) => found.push(value),
            _ => {}
        }
    }
    found
}

/// Applies `change` to each schema below one, not to itself.
fn below(schema: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    for child in children(object) {
        if let Some(object) = child.as_object_mut() {
            change(object);
        }
        below(child, change);
    }
}

fn first_sentence(schema: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = schema.get_mut("description")
        && let Some(end) = text.find(". ").or_else(|| text.find(".\n"))
    {
        text.truncate(end + 1);
    }
}

/// The values of `overrides` have the fields of spec. A default there would win over what spec says,
/// so they have none; and their texts stand at spec.
fn plain_overrides(overrides: &mut Value) {
    if let Some(Value::Object(properties)) =
        overrides.pointer_mut("/additionalProperties/properties")
    {
        for property in properties.values_mut().filter_map(Value::as_object_mut) {
            property.remove("default");
        }
    }
    below(overrides, &mut |schema| {
        schema.remove("description");
    });
}
