//! From OpenAPI JSON, or from the table of built-in types, to nodes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::merge::ListKind;
use super::node::{Additional, Limits, Node, NodeId, Type};
use super::rules::Rule;
use super::{FieldError, Hooks, Schema, formats, structural, text};
use crate::builtin::types::{FieldRow, JSON_SCHEMA_PROPS, Scalar, Special, TypeExpr, table};

/// The schema of a custom resource.
pub(super) fn custom_resource(openapi: &Value) -> Result<Schema, Vec<FieldError>> {
    let mut errors = structural::check(openapi, "openAPIV3Schema");
    let mut builder = Builder::default();
    let root = builder.json(openapi, "openAPIV3Schema");
    errors.append(&mut builder.errors);
    if errors.is_empty() {
        Ok(Schema {
            nodes: builder.nodes,
            root,
            resource: true,
            hooks: None,
        })
    } else {
        Err(errors)
    }
}

/// The schema of a built-in kind whose root is the struct `type_name`.
pub(crate) fn builtin_kind(type_name: &'static str, hooks: &'static dyn Hooks) -> Option<Schema> {
    let mut schema = builtin_type(type_name)?;
    schema.hooks = Some(hooks);
    Some(schema)
}

/// The schema of a struct of the table.
pub(super) fn builtin_type(type_name: &'static str) -> Option<Schema> {
    table().get(type_name)?;
    let mut builder = Builder::default();
    let root = builder.structure(type_name);
    Some(Schema {
        nodes: builder.nodes,
        root,
        resource: false,
        hooks: None,
    })
}

#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    structs: BTreeMap<&'static str, NodeId>,
    errors: Vec<FieldError>,
}

impl Builder {
    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    fn children(&mut self, schema: &Value, name: &str, path: &str) -> Vec<NodeId> {
        let Some(list) = schema.get(name).and_then(Value::as_array) else {
            return Vec::new();
        };
        let path = text::child(path, name);
        list.iter()
            .enumerate()
            .map(|(i, s)| self.json(s, &text::index(&path, i)))
            .collect()
    }

    fn json(&mut self, schema: &Value, path: &str) -> NodeId {
        let flag = |name: &str| {
            schema
                .get(name)
                .and_then(Value::as_bool)
                .unwrap_or_default()
        };
        let word = |name: &str| {
            schema
                .get(name)
                .and_then(Value::as_str)
                .filter(|s| !s.is_empty())
        };
        let mut node = Node {
            ty: word("type").and_then(Type::parse),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            map_atomic: word("x-kubernetes-map-type") == Some("atomic"),
            default: schema.get("default").filter(|d| !d.is_null()).cloned(),
            ..Node::default()
        };
        node.format = word("format").and_then(|f| formats::supported(node.ty, f));
        node.list = word("x-kubernetes-list-type").and_then(|kind| match kind {
            "set" => Some(ListKind::Set),
            "map" => {
                let keys = schema
                    .get("x-kubernetes-list-map-keys")
                    .and_then(Value::as_array);
                let keys = keys.into_iter().flatten();
                Some(ListKind::Map(
                    keys.filter_map(|k| k.as_str().map(str::to_owned)).collect(),
                ))
            }
            "atomic" => Some(ListKind::Atomic),
            _ => None,
        });
        node.limits = self.limits(schema, path);
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            let path = text::child(path, "properties");
            for (name, inner) in properties {
                let id = self.json(inner, &text::key(&path, name));
                node.properties.insert(name.clone(), id);
            }
        }
        node.additional = match schema.get("additionalProperties") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(true)) => Some(Additional::Any),
            Some(Value::Bool(false)) => Some(Additional::Nothing),
            Some(inner) => Some(Additional::Schema(
                self.json(inner, &text::child(path, "additionalProperties")),
            )),
        };
        node.items = schema
            .get("items")
            .filter(|items| items.is_object())
            .map(|items| self.json(items, &text::child(path, "items")));
        node.all_of = self.children(schema, "allOf", path);
        node.any_of = self.children(schema, "anyOf", path);
        node.one_of = self.children(schema, "oneOf", path);
        node.not = schema
            .get("not")
            .map(|not| self.json(not, &text::child(path, "not")));
        let rules = schema
            .get("x-kubernetes-validations")
            .and_then(Value::as_array);
        for (i, rule) in rules.into_iter().flatten().enumerate() {
            let path = text::index(&text::child(path, "x-kubernetes-validations"), i);
            match Rule::compile(rule, &path) {
                Ok(rule) => node.rules.push(rule),
                Err(mut errors) => self.errors.append(&mut errors),
            }
        }
        self.push(node)
    }

    fn limits(&mut self, schema: &Value, path: &str) -> Limits {
        let float = |name: &str| schema.get(name).and_then(Value::as_f64);
        let count = |name: &str| schema.get(name).and_then(Value::as_u64);
        let flag = |name: &str| {
            schema
                .get(name)
                .and_then(Value::as_bool)
                .unwrap_or_default()
        };
        let strings = |name: &str| {
            let list = schema
                .get(name)
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            list.filter_map(|v| v.as_str().map(str::to_owned)).collect()
        };
        let mut limits = Limits {
            allowed: schema
                .get("enum")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default(),
            maximum: float("maximum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            minimum: float("minimum"),
            exclusive_minimum: flag("exclusiveMinimum"),
            multiple_of: float("multipleOf"),
            max_length: count("maxLength"),
            min_length: count("minLength"),
            pattern: None,
            max_items: count("maxItems"),
            min_items: count("minItems"),
            unique_items: flag("uniqueItems"),
            max_properties: count("maxProperties"),
            min_properties: count("minProperties"),
            required: strings("required"),
        };
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
            match formats::go_regex(pattern) {
                Ok(regex) => limits.pattern = Some((pattern.to_owned(), regex)),
                Err(problem) => self.errors.push(FieldError::invalid_str(
                    &text::child(path, "pattern"),
                    pattern,
                    &format!("must be a valid regular expression, but isn't: {problem}"),
                )),
            }
        }
        limits
    }

    fn structure(&mut self, name: &'static str) -> NodeId {
        if let Some(id) = self.structs.get(name) {
            return *id;
        }
        let atomic = table().get(name).is_some_and(|row| row.atomic);
        let id = self.push(Node {
            ty: Some(Type::Object),
            map_atomic: atomic,
            go: Some(TypeExpr::Struct(name)),
            ..Node::default()
        });
        self.structs.insert(name, id);
        for field in table().json_fields(name) {
            let child = self.field(field);
            self.nodes[id.0]
                .properties
                .insert(field.name.to_owned(), child);
            if field.required {
                self.nodes[id.0].limits.required.push(field.name.to_owned());
            }
        }
        id
    }

    /// A field has a node of its own when it says more than its type does.
    fn field(&mut self, field: &FieldRow) -> NodeId {
        let id = self.expr(&field.ty);
        let plain = field.list.is_none()
            && !field.map_atomic
            && field.patch_strategy.is_none()
            && field.default.is_none();
        if plain {
            return id;
        }
        let of = &self.nodes[id.0];
        let node = Node {
            ty: of.ty,
            format: of.format.clone(),
            int_or_string: of.int_or_string,
            preserve: of.preserve,
            properties: of.properties.clone(),
            additional: of.additional,
            items: of.items,
            go: of.go.clone(),
            or_schema: of.or_schema,
            map_atomic: of.map_atomic || field.map_atomic,
            list: field.list.map(list_kind),
            patch_strategy: field.patch_strategy,
            merge_key: field.merge_key,
            default: field.default.and_then(|d| serde_json::from_str(d).ok()),
            ..Node::default()
        };
        self.push(node)
    }

    fn expr(&mut self, expr: &TypeExpr) -> NodeId {
        let mut node = Node {
            go: Some(expr.pointee().clone()),
            ..Node::default()
        };
        match expr.pointee() {
            TypeExpr::Struct(name) => return self.structure(name),
            TypeExpr::List(inner, _) => {
                node.ty = Some(Type::Array);
                node.items = Some(self.expr(inner));
            }
            TypeExpr::Map(inner, _) => {
                node.ty = Some(Type::Object);
                node.additional = Some(Additional::Schema(self.expr(inner)));
            }
            TypeExpr::Scalar(scalar, _) => {
                let (ty, format) = scalar_type(*scalar);
                node.ty = Type::parse(ty);
                node.format = format.map(str::to_owned);
            }
            TypeExpr::Special(special) => self.special(*special, &mut node),
            TypeExpr::Pointer(_) => {}
        }
        self.push(node)
    }

    fn special(&mut self, special: Special, node: &mut Node) {
        match special {
            Special::Time | Special::MicroTime | Special::Duration | Special::Quantity => {
                node.ty = Some(Type::String);
            }
            Special::IntOrString => node.int_or_string = true,
            Special::Raw | Special::FieldsV1 => {
                node.ty = Some(Type::Object);
                node.preserve = true;
            }
            Special::Json => node.preserve = true,
            // One schema, a list of them, a boolean or strings: where it is an object it is one schema.
            Special::SchemaOrArray | Special::SchemaOrBool | Special::SchemaOrStrings => {
                let id = self.structure(JSON_SCHEMA_PROPS);
                node.items = Some(id);
                node.or_schema = Some(id);
            }
        }
    }
}

fn list_kind(text: &'static str) -> ListKind {
    match text.split_once(':') {
        Some(("map", keys)) => ListKind::Map(keys.split(',').map(str::to_owned).collect()),
        _ if text == "set" => ListKind::Set,
        _ => ListKind::Atomic,
    }
}

/// The OpenAPI type and format of a Go scalar.
pub(crate) fn scalar_type(scalar: Scalar) -> (&'static str, Option<&'static str>) {
    match scalar {
        Scalar::String => ("string", None),
        Scalar::Bool => ("boolean", None),
        Scalar::Int32 => ("integer", Some("int32")),
        Scalar::Int64 | Scalar::Uint32 | Scalar::Uint64 => ("integer", Some("int64")),
        Scalar::Float64 => ("number", Some("double")),
        Scalar::Bytes => ("string", Some("byte")),
    }
}
