use serde_json::Value;

use super::element;
use super::fieldset::{FieldSet, kind_of};
use crate::schema::{ListKind, NodeKind, SchemaNode};

/// What differs between two objects.
#[derive(Debug, Default)]
pub(super) struct Difference {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

/// Fields that Go's types of built-in kinds always have, so that nobody owns them for adding them.
const ALWAYS_THERE: &[&str] = &[
    "f:metadata",
    "f:spec",
    "f:status",
    "f:template",
    "f:containers",
    "f:strategy",
    "f:loadBalancer",
];

/// Compares field by field, as far down as the schema lets fields be owned apart.
pub(super) fn compare(
    old: &Value,
    new: &Value,
    root: Option<SchemaNode<'_>>,
    builtin: bool,
) -> Difference {
    let mut walk = Walk {
        difference: Difference::default(),
        path: Vec::new(),
        builtin,
    };
    walk.visit(Some(old), Some(new), root);
    walk.difference
}

struct Walk {
    difference: Difference,
    path: Vec<String>,
    builtin: bool,
}

impl Walk {
    fn visit(&mut self, old: Option<&Value>, new: Option<&Value>, node: Option<SchemaNode<'_>>) {
        let Some(shape) = new.or(old) else { return };
        let empty = |value: Option<&Value>| match value {
            None | Some(Value::Null) => true,
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(_) => false,
        };
        let alike = match (old, new) {
            (Some(old), Some(new)) => std::mem::discriminant(old) == std::mem::discriminant(new),
            _ => true,
        };
        let kind = kind_of(shape, node);
        if !alike || (empty(old) && empty(new)) {
            return self.leaf(old, new);
        }
        match kind {
            NodeKind::Granular => {
                self.container(old, new);
                self.fields(old, new, node);
            }
            NodeKind::List(ListKind::Set | ListKind::Map(_)) => {
                self.container(old, new);
                self.items(old, new, node, &kind);
            }
            _ => self.leaf(old, new),
        }
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) {
        let empty = new
            .and_then(Value::as_object)
            .is_some_and(serde_json::Map::is_empty);
        if self.path.is_empty() || (old.is_none() && empty && self.always_there()) {
            return;
        }
        match (old, new) {
            (None, Some(_)) => self.difference.added.insert(&self.path),
            (Some(_), None) => self.difference.removed.insert(&self.path),
            (Some(old), Some(new)) if old != new => self.difference.modified.insert(&self.path),
            _ => {}
        }
    }

    fn always_there(&self) -> bool {
        let last = self.path.last().map(String::as_str).unwrap_or_default();
        self.builtin && ALWAYS_THERE.contains(&last)
    }

    /// A container that comes or goes is itself added or removed.
    fn container(&mut self, old: Option<&Value>, new: Option<&Value>) {
        if old.is_none() && self.always_there() {
            return;
        }
        if old.is_none() || new.is_none() {
            self.leaf(old, new);
        }
    }

    fn fields(&mut self, old: Option<&Value>, new: Option<&Value>, node: Option<SchemaNode<'_>>) {
        let map = |value: Option<&Value>| value.and_then(Value::as_object).cloned();
        let (old, new) = (map(old).unwrap_or_default(), map(new).unwrap_or_default());
        for key in new
            .keys()
            .chain(old.keys().filter(|key| !new.contains_key(*key)))
        {
            self.path.push(element::field(key));
            self.visit(
                old.get(key),
                new.get(key),
                node.and_then(|node| node.field(key)),
            );
            self.path.pop();
        }
    }

    fn items(
        &mut self,
        old: Option<&Value>,
        new: Option<&Value>,
        node: Option<SchemaNode<'_>>,
        kind: &NodeKind,
    ) {
        let items = node.and_then(SchemaNode::items);
        let element = |item: &Value| match kind {
            NodeKind::List(ListKind::Map(keys)) => element::keyed(item, keys, items).ok(),
            _ => Some(element::value(item)),
        };
        let keyed = |value: Option<&Value>| -> std::collections::BTreeMap<String, Value> {
            let list = value
                .and_then(Value::as_array)
                .map(Vec::as_slice)
                .unwrap_or_default();
            list.iter()
                .filter_map(|item| Some((element(item)?, item.clone())))
                .collect()
        };
        let (old, new) = (keyed(old), keyed(new));
        for key in new
            .keys()
            .chain(old.keys().filter(|key| !new.contains_key(*key)))
        {
            self.path.push(key.clone());
            self.visit(old.get(key), new.get(key), items);
            self.path.pop();
        }
    }
}
