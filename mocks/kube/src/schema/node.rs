//! The compiled form: a list of nodes that refer to each other by position, so that a type may contain itself.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::merge::ListKind;
use super::rules::Rule;
use crate::builtin::types::TypeExpr;

/// The position of a node in its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeId(pub(super) usize);

/// The types of OpenAPI v3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// What keys outside `properties` may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Additional {
    /// `additionalProperties: true`.
    Any,
    /// `additionalProperties: false` (only in nested validation; structural schemas prune instead).
    Nothing,
    Schema(NodeId),
}

/// One place of an object.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) ty: Option<Type>,
    pub(super) format: Option<String>,
    pub(super) nullable: bool,
    pub(super) int_or_string: bool,
    pub(super) preserve: bool,
    pub(super) embedded: bool,
    pub(super) properties: BTreeMap<String, NodeId>,
    pub(super) additional: Option<Additional>,
    pub(super) items: Option<NodeId>,
    pub(super) default: Option<Value>,
    pub(super) limits: Limits,
    pub(super) all_of: Vec<NodeId>,
    pub(super) any_of: Vec<NodeId>,
    pub(super) one_of: Vec<NodeId>,
    pub(super) not: Option<NodeId>,
    pub(super) rules: Vec<Rule>,
    pub(super) list: Option<ListKind>,
    pub(super) map_atomic: bool,
    pub(super) patch_strategy: Option<&'static str>,
    pub(super) merge_key: Option<&'static str>,
    /// For the built-in types that are a schema or something else, the node of the schema.
    pub(super) or_schema: Option<NodeId>,
    /// The Go type, for built-in kinds.
    pub(super) go: Option<TypeExpr>,
}

/// The value checks of one node.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) allowed: Vec<Value>,
    pub(super) maximum: Option<f64>,
    pub(super) exclusive_maximum: bool,
    pub(super) minimum: Option<f64>,
    pub(super) exclusive_minimum: bool,
    pub(super) multiple_of: Option<f64>,
    pub(super) max_length: Option<u64>,
    pub(super) min_length: Option<u64>,
    pub(super) pattern: Option<(String, Regex)>,
    pub(super) max_items: Option<u64>,
    pub(super) min_items: Option<u64>,
    pub(super) unique_items: bool,
    pub(super) max_properties: Option<u64>,
    pub(super) min_properties: Option<u64>,
    pub(super) required: Vec<String>,
}
