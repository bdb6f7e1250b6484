//! Get, list and watch.

mod format;
mod watch;

use std::sync::Arc;

use base64::Engine as _;
use http::StatusCode;
use serde_json::{Value, json};

pub(crate) use format::Format;
pub(crate) use watch::watch;

use crate::dispatch::{Reply, json as json_reply};
use crate::kinds::Resource;
use crate::request::{Request, options_error};
use crate::schema::FieldReason;
use crate::selector::Selector;
use crate::shared::Shared;
use crate::status::{Answer, ApiError};
use crate::store::ObjectKey;
use crate::write::At;
use crate::{events, meta};

/// The selectors of a request.
fn selector(request: &Request, at: &At) -> Answer<Selector> {
    let get = |key: &str| request.query.get(key).unwrap_or_default();
    Selector::parse(get("labelSelector"), get("fieldSelector"), &at.resource)
}

fn namespace_of(at: &At) -> Option<&str> {
    (at.resource.namespaced && !at.namespace.is_empty()).then_some(at.namespace.as_str())
}

/// Answers with one object, in the format the request accepts.
pub(crate) fn object(
    shared: &Shared,
    request: &Request,
    at: &At,
    object: &Arc<Value>,
    code: StatusCode,
) -> Answer<Reply> {
    let format = Format::of(request)?;
    let value = match format {
        Format::Object => return Ok(json_reply(code, object)),
        Format::Partial => format::partial(object),
        Format::Table(include) => format::table(
            shared,
            &at.resource,
            std::slice::from_ref(object),
            include,
            true,
        ),
    };
    Ok(json_reply(code, &value))
}

/// Gets one object.
pub(crate) fn get(shared: &Shared, request: &Request, at: &At) -> Answer<Reply> {
    let location = at.location();
    let stored = shared
        .store
        .get(&location.collection, &location.key)
        .ok_or_else(|| at.not_found())?;
    let shown = events::shown(&at.resource, &stored);
    object(shared, request, at, &shown, StatusCode::OK)
}

/// All objects that a request selects, as they are stored.
pub(crate) fn matching(
    shared: &Shared,
    request: &Request,
    at: &At,
) -> Answer<Vec<(ObjectKey, Arc<Value>)>> {
    let selector = selector(request, at)?;
    let page = shared
        .store
        .page(&at.resource.collection, namespace_of(at), None);
    let page = page.map_err(|_| expired_list())?;
    Ok(page
        .objects
        .into_iter()
        .filter(|(_, object)| {
            selector.is_empty() || selector.matches(&events::shown(&at.resource, object))
        })
        .collect())
}

fn expired_list() -> ApiError {
    ApiError::expired(
        "The provided continue parameter is too old to display a consistent list result. You can \
         start a new list without the continue parameter.",
    )
}

/// Where a list goes on: the last key shown, and the revision of the list.
fn decode_continue(token: &str) -> Answer<(ObjectKey, u64)> {
    let wrong = || ApiError::bad_request("continue key is not valid: it was not made by a list");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| wrong())?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    let text = |key: &str| value[key].as_str().map(str::to_owned).ok_or_else(wrong);
    let key = ObjectKey {
        namespace: text("namespace")?,
        name: text("name")?,
    };
    Ok((key, value["rv"].as_u64().ok_or_else(wrong)?))
}

fn encode_continue(key: &ObjectKey, revision: u64) -> String {
    let value = json!({
        "v": "meta.k8s.io/v1", "rv": revision, "namespace": key.namespace, "name": key.name,
    });
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
}

/// How `resourceVersionMatch` may be used (`ValidateListOptions` of `meta/internalversion`).
fn check_match(request: &Request) -> Answer<()> {
    let Some(named) = request.query.get("resourceVersionMatch") else {
        return Ok(());
    };
    let (reason, detail) = if request.query.get("resourceVersion").is_none() {
        let detail =
            "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
        (FieldReason::Forbidden, detail.to_owned())
    } else if !matches!(named, "Exact" | "NotOlderThan") {
        let detail = format!(
            "Unsupported value: {named:?}: supported values: \"Exact\", \"NotOlderThan\", \"\""
        );
        (FieldReason::NotSupported, detail)
    } else {
        return Ok(());
    };
    Err(options_error(
        "ListOptions",
        "resourceVersionMatch",
        reason,
        detail,
    ))
}

/// Lists, with `limit` and `continue`: all pages show the objects as they were at one revision.
pub(crate) fn list(shared: &Shared, request: &Request, at: &At) -> Answer<Reply> {
    let selector = selector(request, at)?;
    let limit = request.query.number("limit")?.filter(|limit| *limit > 0);
    let wanted = request.query.revision()?;
    check_match(request)?;
    let current = shared.store.revision();
    if let Some(wanted) = wanted.filter(|wanted| *wanted > current) {
        return Err(ApiError::too_large_version(wanted, current));
    }
    let from = match request.query.get("continue") {
        Some(token) => Some(decode_continue(token)?),
        None if request.query.get("resourceVersionMatch") == Some("Exact") => {
            let namespace = at.namespace.clone();
            wanted.map(|wanted| {
                (
                    ObjectKey {
                        namespace,
                        name: String::new(),
                    },
                    wanted,
                )
            })
        }
        None => None,
    };
    let from_ref = from.as_ref().map(|(key, revision)| (key, *revision));
    let page = shared
        .store
        .page(&at.resource.collection, namespace_of(at), from_ref)
        .map_err(|_| expired_list())?;
    let mut shown = Vec::new();
    let mut token = None;
    let mut remaining = 0_u64;
    let mut last = None;
    for (key, object) in page.objects {
        let object = events::shown(&at.resource, &object);
        if !selector.is_empty() && !selector.matches(&object) {
            continue;
        }
        if limit.is_some_and(|limit| shown.len() as u64 >= limit) {
            remaining += 1;
            continue;
        }
        shown.push(object);
        last = Some(key);
    }
    if let Some(key) = last.filter(|_| remaining > 0) {
        let counted = selector.is_empty().then_some(remaining);
        token = Some((encode_continue(&key, page.revision), counted));
    }
    let format = Format::of(request)?;
    let value = list_value(shared, at, format, &shown, page.revision, token);
    Ok(json_reply(StatusCode::OK, &value))
}

/// An object as an item of a list. The lists of built-in kinds are typed, and their items do not say
/// their kind again.
fn item(resource: &Resource, object: &Value) -> Value {
    let mut item = object.clone();
    if !resource.custom {
        meta::remove(&mut item, "apiVersion");
        meta::remove(&mut item, "kind");
    }
    item
}

/// A list in the format that is asked for.
pub(crate) fn list_value(
    shared: &Shared,
    at: &At,
    format: Format,
    objects: &[Arc<Value>],
    revision: u64,
    more: Option<(String, Option<u64>)>,
) -> Value {
    let resource = &*at.resource;
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if resource.custom && matches!(format, Format::Object) {
        // The lists of custom kinds always say it.
        metadata["continue"] = "".into();
    }
    if let Some((token, remaining)) = more {
        metadata["continue"] = token.into();
        if let Some(remaining) = remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    match format {
        Format::Object => json!({
            "kind": resource.list_kind,
            "apiVersion": resource.api_version(),
            "metadata": metadata,
            "items": objects.iter().map(|object| item(resource, object)).collect::<Vec<_>>(),
        }),
        Format::Partial => json!({
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": objects.iter().map(|object| format::partial(object)).collect::<Vec<_>>(),
        }),
        Format::Table(include) => {
            let mut table = format::table(shared, resource, objects, include, true);
            table["metadata"] = metadata;
            table
        }
    }
}
