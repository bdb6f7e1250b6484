use std::sync::Arc;

use serde_json::{Value, json};

use super::{At, WriteOptions, Written, check_kind, shape, strategy};
use crate::apply::record_update;
use crate::kinds::Resource;
use crate::schema::{FieldError, FieldReason};
use crate::shared::Shared;
use crate::status::{Answer, ApiError};
use crate::store::Object;
use crate::{events, meta};

/// How often a change is computed anew when somebody else wrote in between.
const ATTEMPTS: u32 = 5;

/// What a change makes of an object.
pub(crate) struct Proposed {
    pub(crate) object: Value,
    /// Ownership is written already (server-side apply).
    pub(crate) applied: bool,
    /// The text of the patch, for messages.
    pub(crate) patch: Option<String>,
    /// The object must say which revision it replaces (custom kinds, PUT).
    pub(crate) conditional: bool,
}

impl Proposed {
    /// A whole object that replaces the stored one.
    pub(crate) fn whole(object: Value) -> Self {
        Self {
            object,
            applied: false,
            patch: None,
            conditional: true,
        }
    }
}

/// Changes an object: `change` gets the stored one in the version of the request.
pub(crate) fn update(
    shared: &Shared,
    at: &At,
    options: &WriteOptions,
    change: &mut dyn FnMut(&Value) -> Answer<Proposed>,
) -> Answer<Written> {
    let location = at.location();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let stored = shared
            .store
            .get(&location.collection, &location.key)
            .ok_or_else(|| at.not_found())?;
        let live = events::shown(&at.resource, &stored);
        let proposed = change(&live)?;
        match finish(shared, at, &stored, &live, proposed, options) {
            // The patch itself did not ask for a revision, so it can be computed again.
            Err(error) if error.is_conflict() && attempt < ATTEMPTS => {
                let now = shared.store.get(&location.collection, &location.key);
                if now.is_none_or(|now| meta::revision(&now) == meta::revision(&stored)) {
                    return Err(error);
                }
            }
            result => return result,
        }
    }
}

fn finish(
    shared: &Shared,
    at: &At,
    stored: &Arc<Object>,
    live: &Arc<Object>,
    proposed: Proposed,
    options: &WriteOptions,
) -> Answer<Written> {
    let resource = &*at.resource;
    let mut new = proposed.object;
    check_kind(resource, &mut new)?;
    check_identity(at, live, &mut new, proposed.conditional)?;
    let schema = resource.schema();
    let mut warnings = shape(
        at,
        schema.as_deref(),
        &mut new,
        options,
        proposed.patch.as_deref(),
    )?;
    if options.subresource == "status" {
        new = with_status_of(live, &new);
    } else if resource.status && options.subresource.is_empty() {
        let status = live.get("status").cloned();
        if let Some(map) = new.as_object_mut() {
            meta::put(map, "status", status);
        }
    }
    keep_system_metadata(live, &mut new);
    check_finalizers(at, live, &new)?;
    // What the server itself changes from here on is nobody's.
    if !proposed.applied {
        let root = schema.as_ref().map(|schema| schema.node());
        record_update(resource, root, Some(live), &mut new, &options.writer);
    }
    strategy::prepare_update(shared, resource, live, &mut new, &options.subresource)?;
    if resource.generation
        && options.subresource != "status"
        && desired_differs(resource, live, &new)
    {
        let generation = live
            .pointer("/metadata/generation")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        meta::set_metadata(&mut new, "generation", Some(json!(generation + 1)));
    }
    if let Some(schema) = &schema {
        let errors = schema.validate(&new, Some(live));
        let (ratcheted, errors): (Vec<_>, Vec<_>) = errors
            .into_iter()
            .partition(|error| error.reason == FieldReason::Ratcheted);
        warnings.extend(ratcheted.iter().map(ToString::to_string));
        if !errors.is_empty() {
            return Err(at.invalid(&errors));
        }
    }
    strategy::check_update(shared, at, live, &new)?;
    if same(live, &new) {
        return Ok(Written {
            object: live.clone(),
            created: false,
            warnings,
        });
    }
    if options.dry_run {
        return Ok(Written {
            object: Object::new(new),
            created: false,
            warnings,
        });
    }
    let revision = meta::revision(stored);
    let location = at.location();
    let new = events::stored(resource, new);
    let finished = meta::deleting(&new) && strategy::may_go(resource, &new);
    if finished {
        // The last finalizer is gone, and the object with it: nothing is stored in between.
        let removed = shared
            .store
            .remove(&location, revision)
            .map_err(|r| at.refused(r))?;
        strategy::after_removal(shared, resource, &removed);
        return Ok(Written {
            object: events::shown(resource, &Object::new(new)),
            created: false,
            warnings,
        });
    }
    let result = shared.store.replace(&location, revision, new);
    let written = result.map_err(|refused| at.refused(refused))?;
    strategy::after_write(shared, resource, &written);
    Ok(Written {
        object: events::shown(resource, &written),
        created: false,
        warnings,
    })
}

fn check_identity(at: &At, live: &Value, new: &mut Value, conditional: bool) -> Answer<()> {
    let name = meta::name(new).to_owned();
    if !name.is_empty() && name != at.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            at.name
        )));
    }
    let namespace = meta::namespace(new).to_owned();
    if at.resource.namespaced && !namespace.is_empty() && namespace != at.namespace {
        return Err(ApiError::bad_request(format!(
            "the namespace of the object ({namespace}) does not match the namespace on the URL ({})",
            at.namespace
        )));
    }
    let uid = meta::uid(new);
    if !uid.is_empty() && uid != meta::uid(live) {
        return Err(at.conflict(&format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            meta::uid(live)
        )));
    }
    let version = meta::text(new, "/metadata/resourceVersion");
    if version.is_empty() && conditional && at.resource.custom {
        let errors = [FieldError {
            field: "metadata.resourceVersion".to_owned(),
            reason: FieldReason::Invalid,
            detail: "Invalid value: 0: must be specified for an update".to_owned(),
        }];
        // This refusal names the resource and not the kind.
        let (plural, group) = (&at.resource.plural, &at.resource.group);
        return Err(ApiError::invalid(plural, group, &at.name, &errors));
    }
    if !version.is_empty() && version != meta::text(live, "/metadata/resourceVersion") {
        return Err(at.modified());
    }
    Ok(())
}

/// The stored object with the status (and the record of its owners) of `new`.
fn with_status_of(live: &Value, new: &Value) -> Value {
    let mut out = live.clone();
    if let Some(map) = out.as_object_mut() {
        meta::put(map, "status", new.get("status").cloned());
    }
    meta::set_metadata(
        &mut out,
        "managedFields",
        new.pointer("/metadata/managedFields").cloned(),
    );
    out
}

fn keep_system_metadata(live: &Value, new: &mut Value) {
    for key in [
        "name",
        "namespace",
        "generateName",
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
    ] {
        meta::set_metadata(new, key, live["metadata"].get(key).cloned());
    }
    meta::set_metadata(new, "selfLink", None);
}

fn check_finalizers(at: &At, live: &Value, new: &Value) -> Answer<()> {
    if !meta::deleting(live) {
        return Ok(());
    }
    let before = meta::finalizers(live);
    let mut added = meta::finalizers(new);
    added.retain(|finalizer| !before.contains(finalizer));
    if added.is_empty() {
        return Ok(());
    }
    let added: Vec<_> = added
        .iter()
        .map(|finalizer| format!("{finalizer:?}"))
        .collect();
    Err(at.invalid(&[FieldError {
        field: "metadata.finalizers".to_owned(),
        reason: FieldReason::Forbidden,
        detail: format!(
            "Forbidden: no new finalizers can be added if the object is being deleted, found new \
             finalizers []string{{{}}}",
            added.join(", ")
        ),
    }]))
}

/// Whether anything but metadata and status differs. Kinds whose status is no subresource count it too.
fn desired_differs(resource: &Resource, live: &Value, new: &Value) -> bool {
    let desired = |key: &str| key != "metadata" && !(resource.status && key == "status");
    !alike(live, new, |key, live, new| !desired(key) || live == new)
}

/// Whether a write would change nothing. When ownership was last changed is not a change.
fn same(live: &Value, new: &Value) -> bool {
    alike(live, new, |key, live, new| match (key, live, new) {
        ("metadata", Some(live), Some(new)) => same_metadata(live, new),
        _ => live == new,
    })
}

fn same_metadata(live: &Value, new: &Value) -> bool {
    let timeless =
        |live: &Value, new: &Value| alike(live, new, |key, live, new| key == "time" || live == new);
    alike(live, new, |key, live, new| match (key, live, new) {
        ("managedFields", Some(Value::Array(live)), Some(Value::Array(new))) => {
            live.len() == new.len() && live.iter().zip(new).all(|(live, new)| timeless(live, new))
        }
        _ => live == new,
    })
}

/// Whether `like` holds for what two maps have under each of their keys.
fn alike(
    live: &Value,
    new: &Value,
    like: impl Fn(&str, Option<&Value>, Option<&Value>) -> bool,
) -> bool {
    let (Some(live), Some(new)) = (live.as_object(), new.as_object()) else {
        return live == new;
    };
    let mut keys = live.keys().chain(new.keys());
    keys.all(|key| like(key, live.get(key), new.get(key)))
}
