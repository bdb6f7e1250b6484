//! The way of a write: decode, check, default, validate, record ownership, store.

mod create;
mod delete;
mod patch;
mod scale;
mod strategy;
mod update;

use std::sync::Arc;

use serde_json::Value;

pub(crate) use create::create;
pub(crate) use delete::{DeleteOptions, FOREGROUND, ORPHAN, delete};
pub(crate) use patch::{Patch, patch};
pub(crate) use scale::scale_of;
pub(crate) use strategy::{CLEANUP, creates_on_update, restore_definition};
pub(crate) use update::{Proposed, update};

use crate::apply::Writer;
use crate::kinds::Resource;
use crate::meta;
use crate::request::{Request, ResourcePath, options_error};
use crate::schema::{FieldError, FieldReason, Schema};
use crate::shared::Shared;
use crate::status::{Answer, ApiError};
use crate::store::{Location, Object, ObjectKey, Refused};

/// The object a request is about.
#[derive(Clone)]
pub(crate) struct At {
    pub(crate) resource: Arc<Resource>,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl At {
    pub(crate) fn location(&self) -> Location {
        let (namespace, name) = (self.namespace.clone(), self.name.clone());
        Location {
            collection: self.resource.collection.clone(),
            key: ObjectKey { namespace, name },
        }
    }

    pub(crate) fn not_found(&self) -> ApiError {
        ApiError::not_found(&self.resource.plural, &self.resource.group, &self.name)
    }

    pub(crate) fn modified(&self) -> ApiError {
        ApiError::modified(&self.resource.plural, &self.resource.group, &self.name)
    }

    fn conflict(&self, why: &str) -> ApiError {
        ApiError::conflict(&self.resource.plural, &self.resource.group, &self.name, why)
    }

    /// A conflict with a precondition, whose details name the kind and not the resource.
    fn conflict_of_kind(&self, why: &str) -> ApiError {
        self.conflict(why).of_kind(&self.resource.kind)
    }

    fn invalid(&self, errors: &[FieldError]) -> ApiError {
        // Both kinds of events are checked as the older one, which has no group.
        let events = self.resource.is("events.k8s.io", "Event");
        let group = if events { "" } else { &self.resource.group };
        ApiError::invalid(&self.resource.kind, group, &self.name, errors)
    }

    fn refused(&self, refused: Refused) -> ApiError {
        match refused {
            Refused::Absent => self.not_found(),
            Refused::Modified => self.modified(),
            Refused::Exists => {
                ApiError::already_exists(&self.resource.plural, &self.resource.group, &self.name)
            }
        }
    }

    /// There is an object of the name already.
    fn exists(&self, held: &Value) -> ApiError {
        let exists = self.refused(Refused::Exists);
        if meta::deleting(held) {
            exists.with_prefix("object is being deleted")
        } else {
            exists
        }
    }
}

/// What is done about fields that the schema does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// Who writes and how.
#[derive(Clone, Debug)]
pub(crate) struct WriteOptions {
    pub(crate) writer: Writer,
    pub(crate) dry_run: bool,
    pub(crate) validation: FieldValidation,
    pub(crate) subresource: String,
}

impl WriteOptions {
    pub(crate) fn of(
        request: &Request,
        path: &ResourcePath,
        resource: &Resource,
        shared: &Shared,
    ) -> Answer<Self> {
        let validation = match request.query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let detail = format!(
                    "Unsupported value: {other:?}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
                );
                let kind = request.options_kind();
                let reason = FieldReason::NotSupported;
                return Err(options_error(kind, "fieldValidation", reason, detail));
            }
        };
        check_manager(request)?;
        Ok(Self {
            writer: Writer {
                manager: request.manager(),
                subresource: path.subresource.clone(),
                api_version: resource.api_version(),
                time: shared.now(),
            },
            dry_run: request.query.dry_run(request.options_kind())?,
            validation,
            subresource: path.subresource.clone(),
        })
    }

    /// The server's own writes.
    pub(crate) fn internal(shared: &Shared, resource: &Resource, subresource: &str) -> Self {
        Self {
            writer: Writer {
                manager: "local-kube".to_owned(),
                subresource: subresource.to_owned(),
                api_version: resource.api_version(),
                time: shared.now(),
            },
            dry_run: false,
            validation: FieldValidation::Ignore,
            subresource: subresource.to_owned(),
        }
    }
}

/// The longest name of a field manager (`meta/v1` `FieldManagerMaxLength`).
const MANAGER_LIMIT: usize = 128;

fn check_manager(request: &Request) -> Answer<()> {
    let manager = request.query.get("fieldManager").unwrap_or_default();
    if manager.len() <= MANAGER_LIMIT {
        return Ok(());
    }
    let detail = format!("Too long: may not be more than {MANAGER_LIMIT} bytes");
    let (kind, reason) = (request.options_kind(), FieldReason::TooLong);
    Err(options_error(kind, "fieldManager", reason, detail))
}

/// What a write left behind.
pub(crate) struct Written {
    pub(crate) object: Arc<Object>,
    pub(crate) created: bool,
    pub(crate) warnings: Vec<String>,
}

/// Checks that a body is an object of the kind the path names, and writes the kind where it is missing.
fn check_kind(resource: &Resource, object: &mut Value) -> Answer<()> {
    let version = resource.api_version();
    if !object.is_object() {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): it is no JSON object",
            resource.kind
        )));
    }
    if object
        .get("metadata")
        .is_some_and(|m| !m.is_object() && !m.is_null())
    {
        return Err(ApiError::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: metadata must be an object",
            resource.kind, resource.version, resource.kind
        )));
    }
    let (is_kind, is_version) = (
        meta::text(object, "/kind"),
        meta::text(object, "/apiVersion"),
    );
    if !is_kind.is_empty() && is_kind != resource.kind {
        let is_version = is_version.rsplit('/').next().unwrap_or_default();
        let internal = match resource.group.split('.').next() {
            None | Some("") => "core",
            Some(first) => first,
        };
        return Err(ApiError::bad_request(format!(
            "{is_kind} in version {is_version:?} cannot be handled as a {kind}: converting \
             ({is_version}.{is_kind}) to ({internal}.{kind}): unknown conversion",
            kind = resource.kind
        )));
    }
    if !is_version.is_empty() && is_version != version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({is_version}) does not match the expected API version \
             ({version})"
        )));
    }
    let mut with_head = serde_json::Map::new();
    with_head.insert("apiVersion".into(), version.into());
    with_head.insert("kind".into(), resource.kind.clone().into());
    if let Value::Object(map) = std::mem::take(object) {
        for (key, value) in map {
            with_head.entry(key).or_insert(value);
        }
    }
    *object = Value::Object(with_head);
    Ok(())
}

fn invalid_patch(patch: &str, problem: &str) -> ApiError {
    let errors = [FieldError {
        field: "patch".to_owned(),
        reason: FieldReason::Invalid,
        detail: format!("Invalid value: {patch:?}: {problem}"),
    }];
    ApiError::invalid("", "", "", &errors)
}

/// Looks for fields that the schema does not know, drops them, and fills in defaults. Gives warnings.
/// `patch` is the text of the patch that made the object, if one did.
fn shape(
    at: &At,
    schema: Option<&Schema>,
    object: &mut Value,
    options: &WriteOptions,
    patch: Option<&str>,
) -> Answer<Vec<String>> {
    let Some(schema) = schema else {
        return Ok(Vec::new());
    };
    let resource = &*at.resource;
    let handled = format!(
        "{} in version {:?} cannot be handled as a {}",
        resource.kind, resource.version, resource.kind
    );
    if let Some(error) = schema.decode_error(object) {
        // A time that is none is found at another place than a wrong type, when a patch made it.
        if let Some(patch) = patch.filter(|_| error.starts_with("parsing time")) {
            return Err(invalid_patch(patch, &error));
        }
        return Err(ApiError::bad_request(format!("{handled}: {error}")));
    }
    let mut warnings = Vec::new();
    if options.validation != FieldValidation::Ignore {
        let unknown = schema.unknown_fields(object);
        warnings = unknown
            .iter()
            .map(|path| format!("unknown field {path:?}"))
            .collect();
        if options.validation == FieldValidation::Strict && !warnings.is_empty() {
            let strict = format!("strict decoding error: {}", warnings.join(", "));
            return Err(match patch {
                None => ApiError::bad_request(format!("{handled}: {strict}")),
                Some(patch) => invalid_patch(patch, &strict),
            });
        }
    }
    if !resource.custom {
        meta::drop_nulls(object);
    }
    schema.prune(object);
    meta::drop_empty(object);
    schema.default(object);
    Ok(warnings)
}
