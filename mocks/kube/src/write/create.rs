use std::sync::Arc;

use serde_json::{Value, json};

use super::{At, WriteOptions, Written, check_kind, shape, strategy};
use crate::apply::record_update;
use crate::schema::{FieldError, FieldReason};
use crate::shared::Shared;
use crate::status::{Answer, ApiError};
use crate::store::{Location, Object, ObjectKey};
use crate::{events, meta};

/// Generated names are cut so that the random part fits into a label value.
const GENERATED_BASE: usize = 58;

/// Creates an object. `at.name` is "" unless the path names it (server-side apply).
pub(crate) fn create(
    shared: &Shared,
    at: &At,
    mut object: Value,
    options: &WriteOptions,
    applied: bool,
) -> Answer<Written> {
    let resource = &*at.resource;
    check_kind(resource, &mut object)?;
    let mut at = at.clone();
    identify(shared, &mut at, &mut object)?;
    let schema = resource.schema();
    let mut warnings = shape(&at, schema.as_deref(), &mut object, options, None)?;
    check_namespace(shared, &at)?;
    system_metadata(shared, &at, &mut object, applied);
    strategy::reset_status(resource, &mut object);
    // What the server assigns from here on belongs to nobody.
    if !applied {
        let root = schema.as_ref().map(|schema| schema.node());
        record_update(resource, root, None, &mut object, &options.writer);
    }
    strategy::prepare_create(shared, resource, &mut object, options.dry_run)?;
    if let Some(schema) = &schema {
        let errors = schema.validate(&object, None);
        if !errors.is_empty() {
            return Err(at.invalid(&errors));
        }
    }
    strategy::check_create(shared, &at, &object)?;
    warnings.extend(strategy::warning(resource, &object));
    let location = at.location();
    if let Some(held) = shared.store.get(&location.collection, &location.key) {
        return Err(at.exists(&held));
    }
    if options.dry_run {
        return Ok(Written {
            object: Object::new(object),
            created: true,
            warnings,
        });
    }
    let stored = shared
        .store
        .create(&location, events::stored(resource, object))
        .map_err(|refused| at.refused(refused))?;
    strategy::after_write(shared, resource, &stored);
    Ok(Written {
        object: events::shown(resource, &stored),
        created: true,
        warnings,
    })
}

/// Settles the name and the namespace.
fn identify(shared: &Shared, at: &mut At, object: &mut Value) -> Answer<()> {
    let resource = at.resource.clone();
    let name = meta::name(object).to_owned();
    if !at.name.is_empty() && !name.is_empty() && name != at.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            at.name
        )));
    }
    if at.name.is_empty() {
        at.name = name;
    }
    let base = meta::text(object, "/metadata/generateName");
    if at.name.is_empty() && !base.is_empty() {
        let base: String = base.chars().take(GENERATED_BASE).collect();
        at.name = format!("{base}{}", shared.random.name_suffix(5));
    }
    if at.name.is_empty() {
        return Err(at.invalid(&[FieldError {
            field: "metadata.name".to_owned(),
            reason: FieldReason::Required,
            detail: "Required value: name or generateName is required".to_owned(),
        }]));
    }
    meta::set_metadata(object, "name", Some(at.name.clone().into()));
    if !matches!(meta::text(object, "/metadata/resourceVersion"), "" | "0") {
        return Err(ApiError::plain(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    check_name(at)?;
    let namespace = meta::namespace(object).to_owned();
    if resource.namespaced {
        if !namespace.is_empty() && namespace != at.namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the \
                 request",
            ));
        }
        meta::set_metadata(object, "namespace", Some(at.namespace.clone().into()));
    } else {
        meta::set_metadata(object, "namespace", None);
    }
    Ok(())
}

/// The names of custom objects are DNS subdomains; those of built-in kinds are checked with their schema.
fn check_name(at: &At) -> Answer<()> {
    let valid = |part: &str| {
        let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        !part.is_empty()
            && part.chars().all(|c| alphanumeric(c) || c == '-')
            && part.starts_with(alphanumeric)
            && part.ends_with(alphanumeric)
    };
    let too_long = at.name.len() > 253;
    if !at.resource.custom || (!too_long && at.name.split('.').all(valid)) {
        return Ok(());
    }
    let why = if too_long {
        "must be no more than 253 characters".to_owned()
    } else {
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
         '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used \
         for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            .to_owned()
    };
    Err(at.invalid(&[FieldError {
        field: "metadata.name".to_owned(),
        reason: FieldReason::Invalid,
        detail: format!("Invalid value: {:?}: {why}", at.name),
    }]))
}

fn check_namespace(shared: &Shared, at: &At) -> Answer<()> {
    if !at.resource.namespaced {
        return Ok(());
    }
    let key = ObjectKey {
        namespace: String::new(),
        name: at.namespace.clone(),
    };
    let location = Location {
        collection: Arc::from("/namespaces"),
        key,
    };
    match shared.store.get(&location.collection, &location.key) {
        None => Err(ApiError::not_found("namespaces", "", &at.namespace)),
        Some(namespace) if meta::deleting(&namespace) => Err(ApiError::terminating(
            &at.resource.plural,
            &at.resource.group,
            &at.name,
            &at.namespace,
        )),
        Some(_) => Ok(()),
    }
}

/// What the server writes into the metadata of a new object.
fn system_metadata(shared: &Shared, at: &At, object: &mut Value, applied: bool) {
    for key in [
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
    ] {
        meta::set_metadata(object, key, None);
    }
    if !applied {
        meta::set_metadata(object, "managedFields", None);
    }
    meta::set_metadata(object, "uid", Some(shared.random.uuid().into()));
    meta::set_metadata(object, "creationTimestamp", Some(shared.now().into()));
    let generation = at.resource.generation.then(|| json!(1));
    meta::set_metadata(object, "generation", generation);
}
