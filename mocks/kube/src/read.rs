//! Get, list and watch.

mod format;
mod token;
mod watch;

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

pub(crate) use format::Format;
use token::Continue;
pub(crate) use watch::watch;

use crate::dispatch::{Reply, json_text};
use crate::events;
use crate::kinds::Resource;
use crate::request::Request;
use crate::schema::FieldError;
use crate::selector::Selector;
use crate::shared::Shared;
use crate::status::{Answer, ApiError};
use crate::store::{Filter, Object, ObjectKey, Wanted};
use crate::write::At;

/// The selectors of a request.
fn selector(request: &Request, at: &At) -> Answer<Selector> {
    let get = |key: &str| request.query.get(key).unwrap_or_default();
    Selector::parse(get("labelSelector"), get("fieldSelector"), &at.resource)
}

/// Answers with one object, in the format the request accepts.
pub(crate) fn object(
    shared: &Shared,
    request: &Request,
    at: &At,
    object: &Arc<Object>,
    code: StatusCode,
) -> Answer<Reply> {
    let text = match Format::of(request)? {
        Format::Object => object.text().clone(),
        Format::Partial => {
            let mut out = Vec::new();
            format::put_partial(&mut out, object);
            out.into()
        }
        Format::Table(include) => {
            let objects = std::slice::from_ref(object);
            let table = format::Table::of(shared, &at.resource, objects, include);
            let mut out = Vec::new();
            table.put(&mut out);
            out.into()
        }
    };
    Ok(json_text(code, text))
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
pub(crate) fn matching(shared: &Shared, request: &Request, at: &At) -> Answer<Vec<Arc<Object>>> {
    let selector = selector(request, at)?;
    let filter = filter(&selector, &at.resource);
    let wanted = Wanted {
        namespace: place(at),
        filter: filter.as_deref(),
        ..Wanted::default()
    };
    let page = shared.store.page(&at.resource.collection, &wanted);
    Ok(page.map_err(|_| expired_list())?.objects)
}

/// What a selector says of objects as they are stored; none when it selects everything.
fn filter<'a>(selector: &'a Selector, resource: &'a Resource) -> Option<Box<Filter<'a>>> {
    if selector.is_empty() {
        return None;
    }
    Some(Box::new(|object| {
        selector.matches(&events::shown(resource, object))
    }))
}

fn expired_list() -> ApiError {
    ApiError::expired(
        "The provided continue parameter is too old to display a consistent list result. You can \
         start a new list without the continue parameter, or use the continue token in this \
         response to retrieve the remainder of the results. Continuing with the provided token \
         results in an inconsistent list - objects that were created, modified, or deleted between \
         the time the first chunk was returned and now may show up in the list.",
    )
}

/// The namespace of a collection: "" for kinds that have none, none where all are asked for.
fn place(at: &At) -> Option<&str> {
    (!at.resource.namespaced || !at.namespace.is_empty()).then_some(at.namespace.as_str())
}

/// How the options of a list may be combined (`ValidateListOptions` of `meta/internalversion`).
fn check_list(request: &Request) -> Answer<()> {
    let query = &request.query;
    let (revision, named) = (
        query.get("resourceVersion"),
        query.get("resourceVersionMatch"),
    );
    let going_on = query.get("continue").is_some();
    let mut errors = Vec::new();
    let mut forbid = |field: &str, why: &str| errors.push(FieldError::forbidden(field, why));
    if named.is_some() && revision.is_none() {
        let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
        forbid("resourceVersionMatch", why);
    }
    if named.is_some() && going_on {
        let why = "resourceVersionMatch is forbidden when continue is provided";
        forbid("resourceVersionMatch", why);
    }
    if named == Some("Exact") && revision == Some("0") {
        let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
        forbid("resourceVersionMatch", why);
    }
    if query.get("sendInitialEvents").is_some() {
        let why = "sendInitialEvents is forbidden for list";
        forbid("sendInitialEvents", why);
    }
    if let Some(named) = named.filter(|named| !matches!(*named, "Exact" | "NotOlderThan")) {
        errors.push(FieldError::not_supported(
            "resourceVersionMatch",
            &named.into(),
            &["Exact", "NotOlderThan", ""],
        ));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid("ListOptions", "meta.k8s.io", "", &errors))
}

/// Lists, with `limit` and `continue`: all pages show the objects as they were at one revision.
pub(crate) fn list(shared: &Shared, request: &Request, at: &At) -> Answer<Reply> {
    let query = &request.query;
    let selector = selector(request, at)?;
    let mut limit = query.number("limit")?.filter(|limit| *limit > 0);
    let revision = query.revision()?;
    check_list(request)?;
    let current = shared.store.revision();
    if let Some(wanted) = revision.filter(|wanted| *wanted > current) {
        return Err(ApiError::too_large_version(wanted, current));
    }
    let token = match query.get("continue") {
        Some(token) => Some(Continue::decode(token, place(at))?),
        None => None,
    };
    if token.is_some() && revision.is_some_and(|revision| revision > 0) {
        return Err(ApiError::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    }
    if token.is_none() && revision == Some(0) {
        // Such a list comes from the real server's cache, which knows no pages.
        limit = None;
    }
    let exactly = query.get("resourceVersionMatch") == Some("Exact");
    let filter = filter(&selector, &at.resource);
    let wanted = Wanted {
        namespace: place(at),
        from: token.as_ref().map(Continue::bound),
        at: match &token {
            Some(token) => token.at,
            None => revision.filter(|_| exactly),
        },
        limit,
        filter: filter.as_deref(),
    };
    let page = shared.store.page(&at.resource.collection, &wanted);
    let page = page.map_err(|_| {
        let renewed = token.as_ref().map(|token| token.renewed(place(at)));
        match renewed {
            Some(token) => expired_list().with_continue(token),
            None => expired_list(),
        }
    })?;
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if let Some(last) = page.objects.last().filter(|_| page.remaining > 0) {
        let token = token::encode(&ObjectKey::of(last), place(at), Some(page.revision));
        metadata["continue"] = token.into();
        if selector.is_empty() {
            metadata["remainingItemCount"] = page.remaining.into();
        }
    }
    let resource = &*at.resource;
    let shown: Vec<_> = page
        .objects
        .iter()
        .map(|object| events::shown(resource, object))
        .collect();
    let text = list_text(shared, resource, Format::of(request)?, &shown, metadata);
    Ok(json_text(StatusCode::OK, text))
}

/// A list in the format that is asked for, written from the objects' own texts.
pub(crate) fn list_text(
    shared: &Shared,
    resource: &Resource,
    format: Format,
    objects: &[Arc<Object>],
    mut metadata: Value,
) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        Format::Object => {
            if resource.custom && metadata.get("continue").is_none() {
                // The lists of custom kinds always say it.
                metadata["continue"] = "".into();
            }
            let head = (resource.list_kind.as_str(), resource.api_version());
            format::put_list(&mut out, (head.0, &head.1), &metadata, |out| {
                format::put_items(out, resource, objects);
            });
        }
        Format::Partial => {
            let head = ("PartialObjectMetadataList", "meta.k8s.io/v1");
            format::put_list(&mut out, head, &metadata, |out| {
                format::put_separated(out, objects, |out, object| {
                    format::put_partial(out, object);
                });
            });
        }
        Format::Table(include) => {
            let mut table = format::Table::of(shared, resource, objects, include);
            table.metadata = metadata;
            table.put(&mut out);
        }
    }
    out
}
