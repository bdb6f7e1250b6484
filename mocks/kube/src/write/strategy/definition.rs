use serde_json::{Value, json};

use super::At;
use crate::kinds::custom_resources;
use crate::meta;
use crate::schema::{FieldError, FieldReason};
use crate::shared::Shared;
use crate::status::Answer;

/// Holds a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

pub(super) fn prepare_create(shared: &Shared, object: &mut Value) {
    default_names(object);
    let mut finalizers: Vec<String> = meta::finalizers(object)
        .into_iter()
        .map(str::to_owned)
        .collect();
    if !finalizers.iter().any(|finalizer| finalizer == CLEANUP) {
        finalizers.push(CLEANUP.to_owned());
    }
    meta::set_metadata(object, "finalizers", Some(json!(finalizers)));
    let now = shared.now();
    let names = object.pointer("/spec/names").cloned().unwrap_or_default();
    object["status"] = json!({
        "conditions": [
            {
                "type": "NamesAccepted", "status": "True", "lastTransitionTime": now,
                "reason": "NoConflicts", "message": "no conflicts found",
            },
            {
                "type": "Established", "status": "True", "lastTransitionTime": now,
                "reason": "InitialNamesAccepted",
                "message": "the initial names have been accepted",
            },
        ],
        "acceptedNames": names,
        "storedVersions": storage_versions(object),
    });
}

pub(super) fn prepare_update(_shared: &Shared, object: &mut Value) {
    default_names(object);
    let names = object.pointer("/spec/names").cloned().unwrap_or_default();
    let storage = storage_versions(object);
    if let Some(status) = meta::map_in(object, "status") {
        status.insert("acceptedNames".to_owned(), names);
        let stored = status.entry("storedVersions").or_insert_with(|| json!([]));
        if let Some(stored) = stored.as_array_mut() {
            for version in storage {
                if !stored.contains(&Value::String(version.clone())) {
                    stored.push(version.into());
                }
            }
        }
    }
}

fn default_names(object: &mut Value) {
    if let Some(names) = object.pointer_mut("/spec/names") {
        let kind = meta::text(names, "/kind").to_owned();
        meta::fill(names, "singular", kind.to_lowercase().into());
        meta::fill(names, "listKind", format!("{kind}List").into());
    }
    if let Some(spec) = object.get_mut("spec") {
        meta::fill(spec, "conversion", json!({"strategy": "None"}));
    }
}

fn storage_versions(object: &Value) -> Vec<String> {
    meta::list(object, "/spec/versions")
        .iter()
        .filter(|version| version["storage"] == Value::Bool(true))
        .map(|version| meta::text(version, "/name").to_owned())
        .collect()
}

fn error(field: &str, reason: FieldReason, detail: String) -> FieldError {
    FieldError {
        field: field.to_owned(),
        reason,
        detail,
    }
}

/// What cannot be served is refused.
pub(super) fn check(shared: &Shared, at: &At, object: &Value) -> Answer<()> {
    let group = meta::text(object, "/spec/group");
    let plural = meta::text(object, "/spec/names/plural");
    let mut errors = Vec::new();
    if at.name != format!("{plural}.{group}") {
        errors.push(error(
            "metadata.name",
            FieldReason::Invalid,
            format!(
                "Invalid value: {:?}: must be spec.names.plural+\".\"+spec.group",
                at.name
            ),
        ));
    }
    if storage_versions(object).len() != 1 {
        errors.push(error(
            "spec.versions",
            FieldReason::Invalid,
            format!(
                "Invalid value: {}: must have exactly one version marked as storage version",
                object.pointer("/spec/versions").unwrap_or(&Value::Null)
            ),
        ));
    }
    if meta::text(object, "/spec/conversion/strategy") == "Webhook" {
        errors.push(error(
            "spec.conversion.strategy",
            FieldReason::NotSupported,
            "Unsupported value: \"Webhook\": supported values: \"None\"".to_owned(),
        ));
    }
    let kinds = shared.registry.kinds();
    let taken = kinds.all().iter().find(|other| {
        other.group == group
            && other.plural != plural
            && other.kind == meta::text(object, "/spec/names/kind")
    });
    if let Some(taken) = taken {
        errors.push(error(
            "spec.names.kind",
            FieldReason::Invalid,
            format!(
                "Invalid value: {:?}: {:?} is already in use",
                taken.kind, taken.kind
            ),
        ));
    }
    let builtin = kinds
        .all()
        .iter()
        .any(|other| !other.custom && other.group == group);
    if builtin {
        errors.push(error(
            "spec.group",
            FieldReason::Invalid,
            format!("Invalid value: {group:?}: the group is served by the server itself"),
        ));
    }
    if errors.is_empty()
        && let Err(mut found) = custom_resources(object)
    {
        errors.append(&mut found);
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(at.invalid(&errors))
    }
}

pub(super) fn check_change(at: &At, live: &Value, new: &Value) -> Answer<()> {
    let mut errors = Vec::new();
    for (field, pointer) in [
        ("spec.group", "/spec/group"),
        ("spec.names.kind", "/spec/names/kind"),
        ("spec.names.plural", "/spec/names/plural"),
        ("spec.scope", "/spec/scope"),
    ] {
        let value = meta::text(new, pointer);
        if value != meta::text(live, pointer) {
            let detail = format!("Invalid value: {value:?}: field is immutable");
            errors.push(error(field, FieldReason::Invalid, detail));
        }
    }
    for (index, stored) in meta::strings(new, "/status/storedVersions")
        .iter()
        .enumerate()
    {
        let versions = meta::list(new, "/spec/versions");
        if !versions
            .iter()
            .any(|version| meta::text(version, "/name") == *stored)
        {
            errors.push(error(
                &format!("status.storedVersions[{index}]"),
                FieldReason::Invalid,
                format!("Invalid value: {stored:?}: must appear in spec.versions"),
            ));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(at.invalid(&errors))
    }
}

/// Serves what a stored definition says.
pub(super) fn serve(shared: &Shared, definition: &Value) {
    let name = meta::name(definition);
    if let Ok(resources) = custom_resources(definition) {
        shared.registry.set_custom(name, resources);
    } else {
        // It was checked before it was stored.
        tracing::error!(definition = name, "a stored definition cannot be served");
    }
}

/// Serves a definition that was read from the file. False when it is not valid.
pub(crate) fn restore(shared: &Shared, definition: &Value) -> bool {
    match custom_resources(definition) {
        Ok(resources) => {
            shared
                .registry
                .set_custom(meta::name(definition), resources);
            true
        }
        Err(_) => false,
    }
}

pub(super) fn mark_terminating(shared: &Shared, object: &mut Value) {
    let now = shared.now();
    let condition = json!({
        "type": "Terminating", "status": "True", "lastTransitionTime": now,
        "reason": "InstanceDeletionInProgress",
        "message": "CustomResource deletion is in progress",
    });
    let Some(status) = meta::map_in(object, "status") else {
        return;
    };
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if let Some(conditions) = conditions.as_array_mut()
        && !conditions
            .iter()
            .any(|c| meta::text(c, "/type") == "Terminating")
    {
        conditions.push(condition);
    }
}
