//! Ownership of fields and server-side apply.
//!
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>; the sets of fields are written as `FieldsV1`
//! describes (`meta/v1`), and merged as `sigs.k8s.io/structured-merge-diff` does.

mod compare;
mod element;
mod fieldset;
mod managers;
mod merge;

#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::kinds::Resource;
use crate::schema::SchemaNode;
use crate::status::{Answer, ApiError};
use compare::compare;
use fieldset::FieldSet;
pub(crate) use managers::Writer;
use managers::{Managers, Operation};

/// Fields that nobody owns: identity, and what the server itself writes.
const NOT_OWNED: &[&[&str]] = &[
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:deletionTimestamp"],
    &["f:metadata", "f:deletionGracePeriodSeconds"],
    &["f:metadata", "f:selfLink"],
    &["f:metadata", "f:uid"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:managedFields"],
    &["f:metadata", "f:resourceVersion"],
];

fn owned(mut set: FieldSet) -> FieldSet {
    for path in NOT_OWNED {
        set.remove_member(path);
    }
    // A list of one's own versions of these never names what is below them.
    set.remove_below(&["f:metadata", "f:managedFields"]);
    set
}

/// Records what an update, a patch or a creation changed as owned by `writer`, and takes it from others.
/// Returns nothing; `new` gets its `metadata.managedFields`.
pub(crate) fn record_update(
    resource: &Resource,
    root: Option<SchemaNode<'_>>,
    old: Option<&Value>,
    new: &mut Value,
    writer: &Writer,
) {
    let emptied = new
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    // A list of one empty entry stands for "forget it": nothing is recorded until somebody applies.
    let emptied = emptied.is_some_and(|list| {
        let empty = |entry: &Value| entry.as_object().is_some_and(serde_json::Map::is_empty);
        !list.is_empty() && list.iter().all(empty)
    });
    let mut managers = old.map(Managers::read).unwrap_or_default();
    if emptied || (old.is_some() && managers.is_empty()) {
        Managers::default().write(new);
        return;
    }
    let nothing = Value::Object(serde_json::Map::new());
    let difference = compare(old.unwrap_or(&nothing), new, root, !resource.custom);
    let changed = owned(difference.added.union(&difference.modified));
    let removed = owned(difference.removed);
    let mine = writer.key(Operation::Update);
    managers.take_from_others(&mine, &changed, &removed);
    let set = managers.set(&mine).union(&changed).difference(&removed);
    managers.assign(mine, set, writer);
    managers.write(new);
}

/// The part of a configuration that its subresource can write; the rest is ignored, and so not owned.
fn within_subresource(resource: &Resource, config: &Value, subresource: &str) -> Value {
    let mut config = config.clone();
    let Some(map) = config.as_object_mut() else {
        return config;
    };
    if subresource == "status" {
        map.retain(|key, _| matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
    } else if resource.status && !resource.is("", "Node") {
        map.shift_remove("status");
    }
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("managedFields");
        if subresource == "status" {
            let kept = |key: &str| matches!(key, "name" | "namespace" | "resourceVersion" | "uid");
            metadata.retain(|key, _| kept(key));
        }
    }
    config
}

/// Applies `config` to `live` for `writer`.
///
/// Fields that the writer applied before and leaves out now are removed, unless others own them.
///
/// # Errors
/// A conflict (409) when a field that changes is owned by others and `force` is not given.
pub(crate) fn apply(
    resource: &Resource,
    root: Option<SchemaNode<'_>>,
    live: Option<&Value>,
    config: &Value,
    writer: &Writer,
    force: bool,
) -> Answer<Value> {
    let nothing = Value::Object(serde_json::Map::new());
    let base = live.unwrap_or(&nothing);
    let config = within_subresource(resource, config, &writer.subresource);
    let mut managers = live.map(Managers::read).unwrap_or_default();
    let mine = writer.key(Operation::Apply);
    if live.is_some() && managers.is_empty() {
        // What was there before anybody kept a record.
        let held = compare(&nothing, base, root, !resource.custom).added;
        managers.before_first_apply(owned(held), writer);
    }
    let last = managers.set(&mine);
    let set = owned(FieldSet::of(&config, root).map_err(|error| {
        let name = format!(
            "{}/{}; {}/{}, Kind={}",
            crate::meta::namespace(&config),
            crate::meta::name(&config),
            resource.group,
            resource.version,
            resource.kind
        );
        ApiError::plain(format!(
            "failed to create typed patch object ({name}): {error}"
        ))
    })?);
    let mut merged = merge::merge(base, &config, root);
    managers.assign(mine.clone(), set.clone(), writer);
    let kept = managers.union();
    merge::remove_left_out(&mut merged, &last, &kept, root);

    let difference = compare(base, &merged, root, !resource.custom);
    let changed = owned(difference.added.union(&difference.modified));
    if changed.is_empty() && owned(difference.removed.clone()).is_empty() {
        // Who only comes to share what is there already gets no time.
        managers.forget_time(&mine, &last);
    } else {
        managers.give_time(&mine, writer);
    }
    if !force {
        managers.check(&mine, &changed)?;
    }
    managers.take_from_others(&mine, &changed, &owned(difference.removed));
    managers.write(&mut merged);
    Ok(merged)
}
