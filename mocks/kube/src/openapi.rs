//! The OpenAPI documents: `/openapi/v3`, one document a group-version, and a small `/openapi/v2`.
//!
//! kubectl reads them to find out whether the server validates fields (the `fieldValidation` parameter of a kind's PATCH), and for
//! `explain` (components with `x-kubernetes-group-version-kind`). The index names each document with a hash of what it is made
//! from, so that the documents themselves are built when somebody reads them.

mod custom;
mod paths;
mod v2;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::builtin::{component_closure, type_for};

/// A kind that is served, as far as the documents tell of it.
#[derive(Debug, Clone, Copy)]
pub struct ServedKind<'a> {
    /// Empty for the core group.
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
    pub plural: &'a str,
    pub singular: &'a str,
    pub namespaced: bool,
    /// `status`, `scale`, …
    pub subresources: &'a [&'a str],
    pub schema: SchemaSource<'a>,
}

/// Where a kind's schema comes from.
#[derive(Debug, Clone, Copy)]
pub enum SchemaSource<'a> {
    /// The table of built-in types.
    Builtin,
    /// The `openAPIV3Schema` of a definition, as it was written.
    Custom(&'a Arc<Value>),
}

/// What a document is made from.
#[derive(Debug, Clone)]
struct Row {
    group: String,
    version: String,
    kind: String,
    plural: String,
    singular: String,
    namespaced: bool,
    subresources: Vec<String>,
    custom: Option<Arc<Value>>,
}

/// One document: built on first use.
#[derive(Debug)]
pub struct Document {
    rows: Vec<Row>,
    hash: String,
    json: OnceLock<Arc<Vec<u8>>>,
}

impl Document {
    /// The hash in the document's address (`?hash=`) and, in quotes, its ETag.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The document as JSON.
    pub fn json(&self) -> Arc<Vec<u8>> {
        let json = self
            .json
            .get_or_init(|| Arc::new(document(&self.rows).to_string().into_bytes()));
        Arc::clone(json)
    }
}

/// All documents of one set of kinds. Build it anew when a definition changes; documents that stay the same are kept.
#[derive(Debug, Default)]
pub struct Documents {
    by_path: BTreeMap<String, Arc<Document>>,
    v2: OnceLock<Arc<Vec<u8>>>,
}

impl Documents {
    /// Sorts `kinds` into documents, taking over from `previous` what did not change.
    pub fn build(kinds: &[ServedKind<'_>], previous: Option<&Self>) -> Self {
        let mut by_path: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for kind in kinds {
            by_path
                .entry(path(kind.group, kind.version))
                .or_default()
                .push(Row::of(kind));
        }
        let documents = by_path.into_iter().map(|(path, mut rows)| {
            rows.sort_by(|a, b| a.kind.cmp(&b.kind));
            let hash = hash(&rows);
            let kept = previous
                .and_then(|p| p.by_path.get(&path))
                .filter(|d| d.hash == hash);
            let document = kept.cloned().unwrap_or_else(|| {
                Arc::new(Document {
                    rows,
                    hash,
                    json: OnceLock::new(),
                })
            });
            (path, document)
        });
        Self {
            by_path: documents.collect(),
            v2: OnceLock::new(),
        }
    }

    /// The answer to `GET /openapi/v3`.
    pub fn index(&self) -> Value {
        let paths: Map<String, Value> = self
            .by_path
            .iter()
            .map(|(path, document)| {
                let url = format!("/openapi/v3/{path}?hash={}", document.hash);
                (path.clone(), json!({"serverRelativeURL": url}))
            })
            .collect();
        json!({"paths": paths})
    }

    /// The document at `/openapi/v3/{path}`, where `path` is `api/v1` or `apis/GROUP/VERSION`.
    pub fn document(&self, path: &str) -> Option<Arc<Document>> {
        self.by_path.get(path.trim_matches('/')).cloned()
    }

    /// The answer to `GET /openapi/v2` as JSON: definitions and the paths of all kinds.
    pub fn v2(&self) -> Arc<Vec<u8>> {
        let v2 = self.v2.get_or_init(|| {
            let rows: Vec<&Row> = self.by_path.values().flat_map(|d| &d.rows).collect();
            Arc::new(v2::document(&rows).to_string().into_bytes())
        });
        Arc::clone(v2)
    }

    /// A hash over all documents, for the ETag of `/openapi/v3` and `/openapi/v2`.
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        for (path, document) in &self.by_path {
            hasher.update(path);
            hasher.update(&document.hash);
        }
        hex(&hasher.finalize())
    }
}

impl Row {
    fn of(kind: &ServedKind<'_>) -> Self {
        Self {
            group: kind.group.to_owned(),
            version: kind.version.to_owned(),
            kind: kind.kind.to_owned(),
            plural: kind.plural.to_owned(),
            singular: kind.singular.to_owned(),
            namespaced: kind.namespaced,
            subresources: kind.subresources.iter().map(|s| (*s).to_owned()).collect(),
            custom: match kind.schema {
                SchemaSource::Builtin => None,
                SchemaSource::Custom(schema) => Some(Arc::clone(schema)),
            },
        }
    }

    fn gvk(&self, kind: &str) -> Value {
        json!({"group": self.group, "version": self.version, "kind": kind})
    }

    /// The name of the kind's component: that of the built-in type, or the group in reverse, the version and the kind.
    fn component(&self) -> String {
        let builtin = type_for(&self.group, &self.version, &self.kind);
        if let Some(name) = builtin.filter(|_| self.custom.is_none()) {
            name.to_owned()
        } else {
            let mut parts: Vec<&str> = self.group.split('.').rev().collect();
            parts.extend([self.version.as_str(), self.kind.as_str()]);
            parts.join(".")
        }
    }
}

fn path(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

fn hash(rows: &[Row]) -> String {
    let mut hasher = Sha256::new();
    // The built-in types change with this crate only.
    hasher.update(env!("CARGO_PKG_VERSION"));
    for row in rows {
        for part in [
            &row.group,
            &row.version,
            &row.kind,
            &row.plural,
            &row.singular,
        ] {
            hasher.update(part);
            hasher.update([0]);
        }
        hasher.update([u8::from(row.namespaced)]);
        hasher.update(row.subresources.join(","));
        if let Some(schema) = &row.custom {
            hasher.update(schema.to_string());
        }
    }
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a string does not fail.
            let _ = write!(out, "{byte:02X}");
            out
        })
}

/// The components of `rows`: their types, lists, and all these refer to.
fn components(rows: &[&Row]) -> BTreeMap<String, Value> {
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let mut own: BTreeMap<String, Value> = BTreeMap::new();
    for row in rows {
        let name = row.component();
        if let Some(schema) = &row.custom {
            own.insert(format!("{name}List"), custom::list(row, &name));
            own.insert(name, custom::component(row, schema));
            wanted.insert("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta".to_owned());
            wanted.insert("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta".to_owned());
        } else {
            wanted.insert(format!("{name}List"));
            wanted.insert(name);
        }
    }
    for name in ["DeleteOptions", "Status"] {
        wanted.insert(format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"));
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let mut all = component_closure(&wanted);
    all.append(&mut own);
    all
}

fn document(rows: &[Row]) -> Value {
    let rows: Vec<&Row> = rows.iter().collect();
    let mut all_paths = Map::new();
    for row in &rows {
        paths::add(row, &mut all_paths);
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.37.0"},
        "paths": all_paths,
        "components": {"schemas": components(&rows)},
    })
}
