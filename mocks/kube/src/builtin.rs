//! The kinds that Kubernetes itself serves: their schemas, defaults and checks.
//!
//! Types, protobuf numbers and merge rules come from the table in `types`; defaults and checks are what the real server does
//! in Go for the fields a person is likely to get wrong. Checks that need other objects (node ports in use, quotas) are not here.

mod checks;
mod components;
mod defaults;
mod descriptions;
pub(crate) mod metadata;
pub(crate) mod names;
pub(crate) mod omit;
pub(crate) mod types;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock};

use serde_json::Value;

pub(crate) use components::{API_VERSION, KIND, component_closure, list_properties, type_for};

use crate::schema::{FieldError, Hooks, Schema, builtin_kind};

type Row = (&'static KindHooks, OnceLock<Option<Arc<Schema>>>);

static SCHEMAS: LazyLock<BTreeMap<(&'static str, &'static str, &'static str), Row>> =
    LazyLock::new(|| {
        let kinds = types::table().kinds.iter();
        kinds
            .map(|row| {
                let hooks: &'static KindHooks = Box::leak(Box::new(KindHooks {
                    group: row.group,
                    kind: row.kind,
                    type_name: row.type_name,
                }));
                ((row.group, row.version, row.kind), (hooks, OnceLock::new()))
            })
            .collect()
    });

/// The schema of a built-in kind, compiled on first use. `group` is empty for the core group.
pub fn schema(group: &str, version: &str, kind: &str) -> Option<Arc<Schema>> {
    let row = types::table().kind(group, version, kind)?;
    let (hooks, cell) = SCHEMAS.get(&(row.group, row.version, row.kind))?;
    cell.get_or_init(|| builtin_kind(row.type_name, *hooks).map(Arc::new))
        .clone()
}

/// The defaults and checks of one kind.
#[derive(Debug)]
struct KindHooks {
    group: &'static str,
    kind: &'static str,
    type_name: &'static str,
}

impl Hooks for KindHooks {
    fn default(&self, object: &mut Value) {
        omit::apply(self.type_name, object);
        defaults::apply(self.group, self.kind, object);
    }

    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        checks::run(self.group, self.kind, object, old)
    }
}
