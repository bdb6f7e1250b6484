use serde_json::Value;

use super::update::Proposed;
use super::{At, WriteOptions, Written, create, update};
use crate::kinds::Resource;
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
        check_apply(&at.resource, config)?;
        let location = at.location();
        let exists = shared
            .store
            .get(&location.collection, &location.key)
            .is_some();
        if !exists {
            if !options.subresource.is_empty() {
                return Err(at.not_found());
            }
            // The caller means an object that was there.
            let revision = meta::text(config, "/metadata/resourceVersion");
            if !matches!(revision, "" | "0") {
                return Err(at.not_found());
            }
            let uid = meta::uid(config);
            if !uid.is_empty() {
                return Err(at.conflict(&format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object \
                     was found"
                )));
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

fn check_apply(resource: &Resource, config: &Value) -> Answer<()> {
    if !config.is_object() {
        return Err(ApiError::bad_request(
            "error decoding YAML: an apply patch must be an object",
        ));
    }
    if config
        .pointer("/metadata/managedFields")
        .is_some_and(|held| !held.is_null())
    {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let (version, kind) = (
        meta::text(config, "/apiVersion"),
        meta::text(config, "/kind"),
    );
    let other = resource.custom && (!resource.is_version(version) || kind != resource.kind);
    if version.is_empty() || kind.is_empty() || other {
        // An empty group and version are printed with the slash between them.
        let version = if version.is_empty() { "/" } else { version };
        return Err(ApiError::bad_request(format!(
            "invalid object type: {version}, Kind={kind}"
        )));
    }
    Ok(())
}
