//! What is served: one row a kind. Built-in rows are the table below, custom rows come from definitions.

mod registry;
mod rows;

use std::sync::Arc;

pub(crate) use registry::{CustomKinds, Kinds, Registry, custom as custom_resources};

use crate::schema::Schema;

/// Where a kind's `scale` subresource reads and writes (JSON pointers).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scale {
    pub(crate) replicas: String,
    pub(crate) observed: String,
    /// A label selector, as an object or printed; "" when there is none.
    pub(crate) selector: String,
}

/// A column of `kubectl get` that a definition adds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) description: String,
    pub(crate) priority: i64,
    pub(crate) path: String,
}

/// One kind in one version.
#[derive(Clone)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) status: bool,
    pub(crate) scale: Option<Scale>,
    /// Whether `metadata.generation` counts changes of the desired state.
    pub(crate) generation: bool,
    pub(crate) custom: bool,
    /// The collection that holds the objects: `group/plural`. Versions of one kind share it.
    pub(crate) collection: Arc<str>,
    pub(crate) columns: Vec<Column>,
    /// Fields that may be selected by, besides the name and namespace: label and JSON pointer.
    pub(crate) selectable: Vec<(String, String)>,
    /// The schema of a custom kind. Built-in ones are compiled on first use.
    pub(crate) custom_schema: Option<Arc<Schema>>,
    /// The schema of a custom kind as it was written, for the OpenAPI documents.
    pub(crate) openapi: Option<Arc<serde_json::Value>>,
    /// What a client is told when it uses a deprecated version.
    pub(crate) warning: Option<String>,
}

impl Resource {
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether a text is the version with its group.
    pub(crate) fn is_version(&self, text: &str) -> bool {
        match text.split_once('/') {
            Some((group, version)) => self.group == group && self.version == version,
            None => self.group.is_empty() && self.version == text,
        }
    }

    pub(crate) fn schema(&self) -> Option<Arc<Schema>> {
        if self.custom {
            self.custom_schema.clone()
        } else {
            crate::builtin::schema(&self.group, &self.version, &self.kind)
        }
    }

    /// Whether objects of this kind are what `kind` of the core or another built-in group names.
    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    pub(crate) fn subresources(&self) -> Vec<&'static str> {
        let mut all = Vec::new();
        if self.scale.is_some() {
            all.push("scale");
        }
        if self.status {
            all.push("status");
        }
        if self.is("", "Namespace") {
            all.insert(0, "finalize");
        }
        if self.is("", "Pod") {
            all.insert(0, "eviction");
            all.insert(0, "binding");
        }
        all
    }
}
