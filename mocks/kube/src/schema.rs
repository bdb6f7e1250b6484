//! Compiled structural schemas: what an object may hold, what is dropped, what is filled in and how lists and maps merge.
//!
//! A schema comes from a CustomResourceDefinition (`openAPIV3Schema`) or from the table of built-in types. Rules and wording
//! follow kube-apiserver 1.37: `k8s.io/apiextensions-apiserver/pkg/apiserver/schema` for pruning, defaulting and lists,
//! `k8s.io/kube-openapi/pkg/validation` for values, `field.Error` for how a message is put together.

mod cel_library;
mod cel_types;
mod combine;
mod compile;
mod decode;
mod defaults;
mod error;
mod formats;
mod lists;
mod merge;
mod node;
mod prune;
mod quantity;
mod rules;
mod structural;
mod text;
mod validate;

#[cfg(test)]
mod tests;

pub(crate) use compile::{builtin_kind, scalar_type};
pub use error::{FieldError, FieldReason};
pub(crate) use formats::cidr;
pub use merge::{ListKind, NodeKind, SchemaNode};
pub(crate) use quantity::Quantity;

use std::fmt;

use node::{Node, NodeId};
use serde_json::Value;

/// What the real server does in Go code for a built-in kind, beyond what its types say.
pub(crate) trait Hooks: Send + Sync {
    /// Fills in what the kind's `SetDefaults_…` functions fill in.
    fn default(&self, object: &mut Value);
    /// The checks of the kind's `Validate…` and `Validate…Update` functions.
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError>;
}

/// A compiled schema. Cheap to share behind an `Arc`, costly to compile: keep it.
pub struct Schema {
    nodes: Vec<Node>,
    root: NodeId,
    /// The schema is of a whole object with `apiVersion`, `kind` and `metadata`.
    resource: bool,
    hooks: Option<&'static dyn Hooks>,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("nodes", &self.nodes.len())
            .field("builtin", &self.hooks.is_some())
            .finish_non_exhaustive()
    }
}

impl Schema {
    /// Compiles the `openAPIV3Schema` of a CustomResourceDefinition version.
    ///
    /// Fails with what the real server answers to such a definition (structural rules, CEL that does not parse). The paths
    /// start with `openAPIV3Schema`; put `spec.validation.` or `spec.versions[N].schema.` before them.
    pub fn compile(openapi: &Value) -> Result<Self, Vec<FieldError>> {
        compile::custom_resource(openapi)
    }

    /// The fields of `object` that the schema does not know, as the real server prints them in
    /// `unknown field "spec.list[0].bar"`, sorted.
    pub fn unknown_fields(&self, object: &Value) -> Vec<String> {
        prune::unknown_fields(self, object)
    }

    /// Drops the fields that the schema does not know.
    pub fn prune(&self, object: &mut Value) {
        prune::prune(self, object);
    }

    /// Fills in defaults, after dropping nulls that may not be null.
    pub fn default(&self, object: &mut Value) {
        defaults::apply(self, object);
        if let Some(hooks) = self.hooks {
            hooks.default(object);
        }
    }

    /// Checks `object`; with `old`, as an update of it: what was invalid before and did not change passes, and transition
    /// rules (`oldSelf`) run.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        match self.hooks {
            Some(hooks) => match self.decode_error(object) {
                Some(problem) => vec![FieldError::new(
                    "",
                    FieldReason::TypeInvalid,
                    format!("Invalid value: {problem}"),
                )],
                None => hooks.validate(object, old),
            },
            None => validate::object(self, object, old),
        }
    }

    /// For built-in kinds, the error of Go's JSON decoder when a value has the wrong type, for example
    /// `json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32`.
    ///
    /// The real server answers 400 with `Service in version "v1" cannot be handled as a Service: ` before it. Always `None` for
    /// custom resources, whose types are part of [`validate`](Self::validate).
    pub fn decode_error(&self, object: &Value) -> Option<String> {
        decode::error(self, object)
    }

    /// The root, from which merges find out how each field is to be merged.
    pub fn node(&self) -> SchemaNode<'_> {
        SchemaNode::root(self)
    }

    fn at(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }
}
