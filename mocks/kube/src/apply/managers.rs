use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::element;
use super::fieldset::FieldSet;
use crate::meta;
use crate::status::{Answer, ApiError};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// What tells one entry of `managedFields` from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    operation: Operation,
    manager: String,
    subresource: String,
    /// Updates of two versions are two entries; an applier has one.
    api_version: String,
}

/// Who writes, and when.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) manager: String,
    pub(crate) subresource: String,
    pub(crate) api_version: String,
    /// RFC 3339, whole seconds. Empty where the real server writes no time.
    pub(crate) time: String,
}

impl Writer {
    pub(super) fn key(&self, operation: Operation) -> Key {
        let api_version = match operation {
            Operation::Apply => String::new(),
            Operation::Update => self.api_version.clone(),
        };
        Key {
            operation,
            manager: self.manager.clone(),
            subresource: self.subresource.clone(),
            api_version,
        }
    }
}

#[derive(Clone, Debug)]
struct Managed {
    set: FieldSet,
    api_version: String,
    time: String,
}

/// The entries of an object's `managedFields`.
#[derive(Clone, Debug, Default)]
pub(super) struct Managers(BTreeMap<Key, Managed>);

impl Managers {
    pub(super) fn read(object: &Value) -> Self {
        let entries = meta::list(object, "/metadata/managedFields")
            .iter()
            .map(|entry| {
                let text = |pointer: &str| meta::text(entry, pointer).to_owned();
                let operation = match meta::text(entry, "/operation") {
                    "Apply" => Operation::Apply,
                    _ => Operation::Update,
                };
                let api_version = text("/apiVersion");
                let key = Key {
                    operation,
                    manager: text("/manager"),
                    subresource: text("/subresource"),
                    api_version: match operation {
                        Operation::Apply => String::new(),
                        Operation::Update => api_version.clone(),
                    },
                };
                let set = FieldSet::read(&entry["fieldsV1"]);
                (
                    key,
                    Managed {
                        set,
                        api_version,
                        time: text("/time"),
                    },
                )
            });
        Self(entries.collect())
    }

    pub(super) fn write(&self, object: &mut Value) {
        let mut entries: Vec<(&Key, &Managed)> = self.0.iter().collect();
        // Appliers first, then by time, as the real server sorts them.
        let order = |(key, held): &(&Key, &Managed)| {
            (
                key.operation,
                held.time.clone(),
                key.manager.clone(),
                held.api_version.clone(),
                key.subresource.clone(),
            )
        };
        entries.sort_by_cached_key(order);
        let entries: Vec<Value> = entries
            .into_iter()
            .map(|(key, managed)| {
                let mut entry = json!({
                    "manager": key.manager,
                    "operation": match key.operation {
                        Operation::Apply => "Apply",
                        Operation::Update => "Update",
                    },
                    "apiVersion": managed.api_version,
                });
                if !managed.time.is_empty() {
                    entry["time"] = managed.time.clone().into();
                }
                entry["fieldsType"] = "FieldsV1".into();
                entry["fieldsV1"] = managed.set.write();
                if !key.subresource.is_empty() {
                    entry["subresource"] = key.subresource.clone().into();
                }
                entry
            })
            .collect();
        let entries = (!entries.is_empty()).then_some(Value::Array(entries));
        meta::set_metadata(object, "managedFields", entries);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives what nobody owns to the manager of that name, as the real server does for an object that
    /// has no record.
    pub(super) fn before_first_apply(&mut self, set: FieldSet, writer: &Writer) {
        let before = Writer {
            manager: "before-first-apply".to_owned(),
            subresource: String::new(),
            ..writer.clone()
        };
        self.assign(before.key(Operation::Update), set, &before);
    }

    pub(super) fn set(&self, key: &Key) -> FieldSet {
        self.0
            .get(key)
            .map(|managed| managed.set.clone())
            .unwrap_or_default()
    }

    /// Gives `key` this set; the time changes only when the set does.
    pub(super) fn assign(&mut self, key: Key, set: FieldSet, writer: &Writer) {
        if self
            .0
            .get(&key)
            .is_some_and(|m| m.set == set && m.api_version == writer.api_version)
        {
            return;
        }
        if set.is_empty() {
            self.0.remove(&key);
            return;
        }
        let (api_version, time) = (writer.api_version.clone(), writer.time.clone());
        self.0.insert(
            key,
            Managed {
                set,
                api_version,
                time,
            },
        );
    }

    /// Takes the time from an entry that is another than `before`.
    pub(super) fn forget_time(&mut self, key: &Key, before: &FieldSet) {
        if let Some(managed) = self.0.get_mut(key).filter(|managed| managed.set != *before) {
            managed.time.clear();
        }
    }

    /// Gives an entry the time that it lacks.
    pub(super) fn give_time(&mut self, key: &Key, writer: &Writer) {
        if let Some(managed) = self
            .0
            .get_mut(key)
            .filter(|managed| managed.time.is_empty())
        {
            managed.time.clone_from(&writer.time);
        }
    }

    /// All that anybody owns.
    pub(super) fn union(&self) -> FieldSet {
        self.0
            .values()
            .fold(FieldSet::default(), |all, managed| all.union(&managed.set))
    }

    /// Takes from everybody but `mine` what `mine` changed or removed.
    pub(super) fn take_from_others(&mut self, mine: &Key, changed: &FieldSet, removed: &FieldSet) {
        let both = changed.union(removed);
        for (key, managed) in &mut self.0 {
            let lost = if key == mine { removed } else { &both };
            if !lost.is_empty() {
                managed.set = managed.set.difference(lost);
            }
        }
        self.0.retain(|_, managed| !managed.set.is_empty());
    }

    /// Refuses when others own something of `changed`.
    pub(super) fn check(&self, mine: &Key, changed: &FieldSet) -> Answer<()> {
        let mut conflicts: Vec<(String, String)> = Vec::new();
        for (key, managed) in self.0.iter().filter(|(key, _)| *key != mine) {
            for path in managed.set.intersection(changed).paths() {
                let field: String = path.iter().map(|e| element::print(e)).collect();
                conflicts.push((describe(key, managed), field));
            }
        }
        // The fields of one manager stay in the order of the set.
        conflicts.sort_by(|a, b| a.0.cmp(&b.0));
        let message = match conflicts.as_slice() {
            [] => return Ok(()),
            [(manager, field)] => {
                format!("Apply failed with 1 conflict: conflict with {manager}: {field}")
            }
            many => {
                let mut lines = Vec::new();
                let mut before = "";
                for (manager, field) in many {
                    if manager != before {
                        lines.push(format!("conflicts with {manager}:"));
                        before = manager;
                    }
                    lines.push(format!("- {field}"));
                }
                format!(
                    "Apply failed with {} conflicts: {}",
                    many.len(),
                    lines.join("\n")
                )
            }
        };
        let causes = conflicts
            .into_iter()
            .map(|(manager, field)| (format!("conflict with {manager}"), field))
            .collect();
        Err(ApiError::apply_conflict(message, causes))
    }
}

fn describe(key: &Key, managed: &Managed) -> String {
    let mut words = vec![format!("{:?}", key.manager)];
    if !key.subresource.is_empty() {
        words.push(format!("with subresource {:?}", key.subresource));
    }
    if key.operation == Operation::Update {
        words.push(format!("using {}", managed.api_version));
        if !managed.time.is_empty() {
            words.push(format!("at {}", managed.time));
        }
    }
    words.join(" ")
}
