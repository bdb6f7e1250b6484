use serde_json::Value;

use super::update::Proposed;
use super::{At, WriteOptions, Written, create, update};
use crate::schema::{FieldError, FieldReason};
use crate::shared::Shared;
use crate::status::{Answer, ApiError};
use crate::{apply, meta, strategic};

/// A patch, by its media type.
pub(crate) enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value),
    Apply { config: Value, force: bool },
}

/// Patches an object. Server-side apply makes it when it is not there.
pub(crate) fn patch(
    shared: &Shared,
    at: &At,
    patch: &Patch,
    text: &str,
    options: &WriteOptions,
) -> Answer<Written> {
    let schema = at.resource.schema();
    let root = schema.as_ref().map(|schema| schema.node());
    if let Patch::Apply { config, force } = patch {
        check_apply(at, config)?;
        let mut config = config.clone();
        if at.resource.namespaced && meta::namespace(&config).is_empty() {
            meta::set_metadata(&mut config, "namespace", Some(at.namespace.clone().into()));
        }
        let config = &config;
        let location = at.location();
        let exists = shared
            .store
            .get(&location.collection, &location.key)
            .is_some();
        if !exists {
            if !options.subresource.is_empty() {
                return Err(at.not_found());
            }
            let revision = meta::text(config, "/metadata/resourceVersion");
            if !matches!(revision, "" | "0") || !meta::uid(config).is_empty() {
                // The caller means an object that was there.
                return Err(at.not_found());
            }
            let object = apply::apply(&at.resource, root, None, config, &options.writer, *force)?;
            return create(shared, at, object, options, true);
        }
        return update(shared, at, options, &mut |live| {
            let writer = &options.writer;
            let object = apply::apply(&at.resource, root, Some(live), config, writer, *force)?;
            Ok(Proposed {
                object,
                applied: true,
                patch: None,
                conditional: false,
            })
        });
    }
    update(shared, at, options, &mut |live| {
        let object = match patch {
            Patch::Json(operations) => {
                let mut object = live.clone();
                json_patch::patch(&mut object, operations).map_err(|_| rejected())?;
                object
            }
            Patch::Merge(change) => {
                let mut object = live.clone();
                json_patch::merge(&mut object, change);
                object
            }
            Patch::Strategic(change) => strategic::patch(live, change, root)?,
            // Handled above.
            Patch::Apply { .. } => return Err(ApiError::no_route()),
        };
        Ok(Proposed {
            object,
            applied: false,
            patch: Some(text.to_owned()),
            conditional: false,
        })
    })
}

/// What the real server says of a JSON patch that cannot be applied.
fn rejected() -> ApiError {
    ApiError::unprocessable("the server rejected our request due to an error in our request")
}

fn check_apply(at: &At, config: &Value) -> Answer<()> {
    if !config.is_object() {
        return Err(ApiError::bad_request(
            "error decoding YAML: an apply patch must be an object",
        ));
    }
    if !meta::list(config, "/metadata/managedFields").is_empty() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    for (field, value) in [("apiVersion", "/apiVersion"), ("kind", "/kind")] {
        if meta::text(config, value).is_empty() {
            return Err(at.invalid(&[FieldError {
                field: field.to_owned(),
                reason: FieldReason::Required,
                detail: "Required value: must be set in an apply patch".to_owned(),
            }]));
        }
    }
    Ok(())
}
