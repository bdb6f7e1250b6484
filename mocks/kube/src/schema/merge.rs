//! How a field is merged: by server-side apply (list and map types) and by strategic merge patch (built-in kinds only).

use super::Schema;
use super::node::{Additional, Node, NodeId, Type};

/// How server-side apply treats a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListKind {
    /// Replaced as a whole.
    Atomic,
    /// Scalars, each owned by itself.
    Set,
    /// Objects, told apart by these fields.
    Map(Vec<String>),
}

/// How server-side apply treats a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// An object whose fields are owned each by itself.
    Granular,
    /// An object that is replaced as a whole.
    Atomic,
    List(ListKind),
    /// A leaf, or a place the schema says nothing of (see [`SchemaNode::preserves_unknown`]): there, JSON merges as untyped
    /// JSON does, objects granular and lists atomic.
    Scalar,
}

/// A place in a schema. Cheap to copy.
#[derive(Clone, Copy)]
pub struct SchemaNode<'a> {
    schema: &'a Schema,
    id: NodeId,
}

impl std::fmt::Debug for SchemaNode<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SchemaNode").field(&self.kind()).finish()
    }
}

impl<'a> SchemaNode<'a> {
    pub(super) fn root(schema: &'a Schema) -> Self {
        Self {
            schema,
            id: schema.root,
        }
    }

    fn node(self) -> &'a Node {
        self.schema.at(self.id)
    }

    /// How the place is merged.
    pub fn kind(self) -> NodeKind {
        let node = self.node();
        match node.ty {
            Some(Type::Array) => NodeKind::List(node.list.clone().unwrap_or(ListKind::Atomic)),
            Some(Type::Object) if node.map_atomic => NodeKind::Atomic,
            Some(Type::Object) => NodeKind::Granular,
            _ => NodeKind::Scalar,
        }
    }

    /// The place of a field or map key. `None` where the schema knows nothing: the value merges as untyped JSON (objects
    /// granular, lists atomic).
    pub fn field(self, name: &str) -> Option<Self> {
        let node = self.node();
        // `metadata` of a custom resource is an ObjectMeta whatever its definition says of it.
        let of_resource = self.schema.resource && self.id == self.schema.root;
        if name == "metadata" && (node.embedded || of_resource) {
            return super::prune::object_meta().map(Self::root);
        }
        let additional = match node.additional {
            Some(Additional::Schema(id)) => Some(id),
            _ => None,
        };
        let id = node.properties.get(name).copied().or(additional)?;
        Some(Self {
            schema: self.schema,
            id,
        })
    }

    /// The place of a list's items.
    pub fn items(self) -> Option<Self> {
        self.node().items.map(|id| Self {
            schema: self.schema,
            id,
        })
    }

    /// Unknown fields stay (`x-kubernetes-preserve-unknown-fields`).
    pub fn preserves_unknown(self) -> bool {
        self.node().preserve
    }

    /// The strategy of strategic merge patch for this field (`merge`, `replace`, `merge,retainKeys`). `None` means `replace`
    /// for lists and merging for objects.
    pub fn patch_strategy(self) -> Option<&'static str> {
        self.node().patch_strategy
    }

    /// The field that tells items apart in a strategic merge patch. `None` under `merge` is a list of scalars.
    pub fn patch_merge_key(self) -> Option<&'static str> {
        self.node().merge_key
    }

    /// The default of this place. Server-side apply needs it for keys of list maps: `protocol` of a Service port that does not
    /// name it is `TCP`.
    pub fn default_value(self) -> Option<&'a serde_json::Value> {
        self.node().default.as_ref()
    }
}
