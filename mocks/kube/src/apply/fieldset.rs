use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::element;
use crate::schema::{ListKind, NodeKind, SchemaNode};

/// A set of paths of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet(BTreeMap<String, Entry>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    /// The path that ends here is in the set.
    member: bool,
    below: FieldSet,
}

impl Entry {
    fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

/// How a value merges, given what the schema says of its place. Untyped JSON: objects granular, lists atomic.
pub(super) fn kind_of(value: &Value, node: Option<SchemaNode<'_>>) -> NodeKind {
    match (node.map(SchemaNode::kind), value) {
        (Some(NodeKind::List(kind)), Value::Array(_)) => NodeKind::List(kind),
        (Some(NodeKind::Atomic), Value::Object(_)) => NodeKind::Atomic,
        (_, Value::Object(_)) => NodeKind::Granular,
        (_, Value::Array(_)) => NodeKind::List(ListKind::Atomic),
        _ => NodeKind::Scalar,
    }
}

impl FieldSet {
    pub(super) fn is_empty(&self) -> bool {
        self.0.values().all(Entry::is_empty)
    }

    pub(super) fn insert(&mut self, path: &[String]) {
        if let [last] = path {
            self.0.entry(last.clone()).or_default().member = true;
        } else if let [first, rest @ ..] = path {
            self.0.entry(first.clone()).or_default().below.insert(rest);
        }
    }

    pub(super) fn contains(&self, path: &[String]) -> bool {
        match path {
            [] => false,
            [last] => self.0.get(last).is_some_and(|entry| entry.member),
            [first, rest @ ..] => self
                .0
                .get(first)
                .is_some_and(|entry| entry.below.contains(rest)),
        }
    }

    /// Whether the set holds the path or anything below it.
    pub(super) fn touches(&self, path: &[String]) -> bool {
        match path {
            [] => !self.is_empty(),
            [first, rest @ ..] => self.0.get(first).is_some_and(|entry| {
                (rest.is_empty() && entry.member) || entry.below.touches(rest)
            }),
        }
    }

    pub(super) fn remove_member(&mut self, path: &[&str]) {
        let [first, rest @ ..] = path else { return };
        if let Some(entry) = self.0.get_mut(*first) {
            if rest.is_empty() {
                entry.member = false;
            } else {
                entry.below.remove_member(rest);
            }
            if entry.is_empty() {
                self.0.remove(*first);
            }
        }
    }

    pub(super) fn remove_below(&mut self, path: &[&str]) {
        match path {
            [] => self.0.clear(),
            [first, rest @ ..] => {
                if let Some(entry) = self.0.get_mut(*first) {
                    entry.below.remove_below(rest);
                }
            }
        }
    }

    fn combine(&self, other: &Self, member: impl Fn(bool, bool) -> bool + Copy) -> Self {
        let mut out = BTreeMap::new();
        let nothing = Entry::default();
        for key in self
            .0
            .keys()
            .chain(other.0.keys().filter(|k| !self.0.contains_key(*k)))
        {
            let (a, b) = (
                self.0.get(key).unwrap_or(&nothing),
                other.0.get(key).unwrap_or(&nothing),
            );
            let entry = Entry {
                member: member(a.member, b.member),
                below: a.below.combine(&b.below, member),
            };
            if !entry.is_empty() {
                out.insert(key.clone(), entry);
            }
        }
        Self(out)
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a || b)
    }

    pub(super) fn difference(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && !b)
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && b)
    }

    /// All paths, in order; a path comes before those below it.
    pub(super) fn paths(&self) -> Vec<Vec<String>> {
        fn walk(set: &FieldSet, path: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
            // The members of a level come before what is below them.
            for (key, _) in set.0.iter().filter(|(_, entry)| entry.member) {
                path.push(key.clone());
                out.push(path.clone());
                path.pop();
            }
            for (key, entry) in &set.0 {
                path.push(key.clone());
                walk(&entry.below, path, out);
                path.pop();
            }
        }
        let mut out = Vec::new();
        walk(self, &mut Vec::new(), &mut out);
        out
    }

    /// Reads `FieldsV1`.
    pub(super) fn read(fields: &Value) -> Self {
        let Some(map) = fields.as_object() else {
            return Self::default();
        };
        let entries = map
            .iter()
            .filter(|(key, _)| *key != ".")
            .map(|(key, value)| {
                let below = Self::read(value);
                // A path without anything below it is in the set even where no `.` says so.
                let member = value.get(".").is_some() || below.0.is_empty();
                (key.clone(), Entry { member, below })
            });
        Self(entries.collect())
    }

    /// Writes `FieldsV1`.
    pub(super) fn write(&self) -> Value {
        let mut out = Map::new();
        for (key, entry) in &self.0 {
            let mut below = entry.below.write();
            if entry.member && !entry.below.is_empty() {
                let mut with = json!({".": {}});
                if let (Some(with), Value::Object(below)) = (with.as_object_mut(), below) {
                    with.extend(below);
                }
                below = with;
            }
            out.insert(key.clone(), below);
        }
        Value::Object(out)
    }

    /// The fields that a configuration names.
    ///
    /// # Errors
    /// What cannot be told apart: an item of a list map without its keys, a duplicate in a set.
    pub(super) fn of(object: &Value, root: Option<SchemaNode<'_>>) -> Result<Self, String> {
        let mut set = Self::default();
        collect(object, root, &mut Vec::new(), &mut set)?;
        Ok(set)
    }
}

fn collect(
    value: &Value,
    node: Option<SchemaNode<'_>>,
    path: &mut Vec<String>,
    set: &mut FieldSet,
) -> Result<(), String> {
    let place = |path: &[String]| path.iter().map(|e| element::print(e)).collect::<String>();
    match (kind_of(value, node), value) {
        (NodeKind::Granular, Value::Object(map)) => {
            let preserves = node.is_none_or(SchemaNode::preserves_unknown);
            for (key, value) in map {
                let below = node.and_then(|node| node.field(key));
                path.push(element::field(key));
                let head = path.len() == 1 && matches!(key.as_str(), "apiVersion" | "kind");
                if below.is_none() && !preserves && !head {
                    return Err(format!("{}: field not declared in schema", place(path)));
                }
                collect(value, below, path, set)?;
                // Null, the empty map and keys of plain maps are leaves themselves.
                if value.is_null() || value.as_object().is_some_and(Map::is_empty) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        (NodeKind::List(kind @ (ListKind::Set | ListKind::Map(_))), Value::Array(list)) => {
            let items = node.and_then(SchemaNode::items);
            for (index, item) in list.iter().enumerate() {
                let element = match &kind {
                    ListKind::Map(keys) => element::keyed(item, keys, items)
                        .map_err(|error| format!("{}: element {index}: {error}", place(path)))?,
                    _ => element::value(item),
                };
                path.push(element);
                if set.contains(path) {
                    return Err(format!("{}: duplicate entries for key", place(path)));
                }
                set.insert(path);
                if matches!(kind, ListKind::Map(_)) {
                    collect(item, items, path, set)?;
                }
                path.pop();
            }
        }
        _ => set.insert(path),
    }
    Ok(())
}
