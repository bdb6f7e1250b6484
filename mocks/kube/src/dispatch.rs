//! From a request to its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::Value;

use crate::faults::{Asked, Fault};
use crate::read::{self, Format};
use crate::request::{Request, ResourcePath, Target};
use crate::service::{ResponseBody, ServiceError};
use crate::shared::Shared;
use crate::status::{Answer, ApiError, success};
use crate::write::{self, At, DeleteOptions, WriteOptions, Written};
use crate::{bodies, discovery, documents, meta, reviews, write_scale};

pub(crate) type Reply = Response<ResponseBody>;

/// An answer of JSON.
pub(crate) fn json(code: StatusCode, value: &Value) -> Reply {
    json_text(code, value.to_string())
}

/// An answer of JSON that is written already.
pub(crate) fn json_text(code: StatusCode, text: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(ResponseBody::full(text));
    *reply.status_mut() = code;
    let headers = reply.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    reply
}

/// An answer of text.
fn plain(code: StatusCode, text: &str) -> Reply {
    let mut reply = Response::new(ResponseBody::full(text.to_owned()));
    *reply.status_mut() = code;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers_mut().insert(header::CONTENT_TYPE, plain);
    reply
}

/// A refusal as an answer.
pub(crate) fn refuse(error: &ApiError) -> Reply {
    let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if error.is_no_page() {
        return plain(code, error.message());
    }
    let mut reply = json(code, &error.to_value());
    if let Some(seconds) = error.retry_after() {
        reply
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    reply
}

/// Answers one request, with the faults that are scripted for it.
pub(crate) async fn handle(
    shared: &Arc<Shared>,
    request: &Request,
    body: Bytes,
) -> Result<Reply, ServiceError> {
    let nothing = ResourcePath::default();
    let (path, label) = match &request.target {
        Target::Resource(path) => (path, path.label()),
        Target::Other(segments) => (&nothing, format!("/{}", segments.join("/"))),
    };
    let verb = request.verb();
    shared.log.record(verb, &label);
    let asked = Asked {
        verb,
        resource: &label,
        namespace: &path.namespace,
        name: &path.name,
    };
    let fault = shared.faults.take(&asked);
    match fault {
        None | Some(Fault::CutAfter) => {}
        Some(Fault::Delay(time)) => shared.clock.sleep(time).await,
        Some(Fault::CutBefore) => return Err(ServiceError::Cut),
        Some(Fault::Conflict) => {
            return Ok(refuse(&ApiError::modified(
                &path.plural,
                &path.group,
                &path.name,
            )));
        }
        Some(Fault::Gone) => {
            let message = "too old resource version: the history was dropped by a scripted fault";
            return Ok(refuse(&ApiError::expired(message)));
        }
        Some(Fault::InternalError) => {
            return Ok(refuse(&ApiError::internal("a scripted fault")));
        }
        Some(Fault::TooManyRequests { retry_after }) => {
            return Ok(refuse(&ApiError::too_many_requests(retry_after)));
        }
    }
    let answer = match &request.target {
        Target::Resource(path) => resource(shared, request, path, &body),
        Target::Other(segments) => other(shared, request, segments),
    };
    let changing = !matches!(request.parts.method, Method::GET | Method::HEAD);
    if changing && !shared.store.durable().await {
        return Ok(refuse(&ApiError::internal(
            "writing to the database failed",
        )));
    }
    if fault == Some(Fault::CutAfter) {
        return Err(ServiceError::Cut);
    }
    Ok(answer.unwrap_or_else(|error| refuse(&error)))
}

fn other(shared: &Arc<Shared>, request: &Request, segments: &[String]) -> Answer<Reply> {
    if !matches!(request.parts.method, Method::GET | Method::HEAD) {
        return Err(ApiError::method_not_allowed());
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["healthz" | "readyz" | "livez", ..] => Ok(plain(StatusCode::OK, "ok")),
        ["version"] => Ok(json(StatusCode::OK, &discovery::version())),
        ["openapi", "v2"] => documents::v2(shared, request),
        ["openapi", "v3", rest @ ..] => documents::v3(shared, request, rest),
        [] | ["api" | "apis", ..] => discovery::answer(shared, request, &segments),
        _ => Err(ApiError::no_page()),
    }
}

fn resource(
    shared: &Arc<Shared>,
    request: &Request,
    path: &ResourcePath,
    body: &Bytes,
) -> Answer<Reply> {
    if let Some(review) = reviews::answer(request, path, body) {
        return review.map(|value| json(StatusCode::CREATED, &value));
    }
    let kinds = shared.registry.kinds();
    let resource = kinds
        .find(&path.group, &path.version, &path.plural)
        .ok_or_else(|| {
            if kinds.is_builtin(&path.group) && kinds.versions(&path.group).contains(&path.version)
            {
                ApiError::no_route()
            } else {
                ApiError::no_page()
            }
        })?;
    // A cluster-scoped kind has no place below a namespace. The other way round only collections are: all namespaces.
    let across = path.namespace.is_empty() && resource.namespaced;
    if (!resource.namespaced && !path.namespace.is_empty()) || (across && !path.name.is_empty()) {
        return Err(ApiError::no_route());
    }
    let sub = path.subresource.as_str();
    let known = sub.is_empty()
        || (sub == "status" && resource.status)
        || (sub == "scale" && resource.scale.is_some())
        || (sub == "finalize" && resource.is("", "Namespace"))
        || (matches!(sub, "binding" | "eviction") && resource.is("", "Pod"));
    let at = At {
        resource: resource.clone(),
        namespace: path.namespace.clone(),
        name: path.name.clone(),
    };
    if !known {
        // A custom kind has both subresources; what lacks is said of the object.
        return Err(if resource.custom && matches!(sub, "status" | "scale") {
            at.not_found()
        } else {
            ApiError::no_route()
        });
    }
    let mut reply = match request.verb() {
        "watch" => {
            let only = (!path.name.is_empty()).then_some(path.name.as_str());
            read::watch(shared, request, &at, only)?
        }
        "list" => read::list(shared, request, &at)?,
        "get" if sub == "scale" => write_scale::get(shared, &at)?,
        "get" if matches!(sub, "binding" | "eviction") => {
            return Err(ApiError::method_not_allowed());
        }
        "get" => read::get(shared, request, &at)?,
        "create" | "deletecollection" if across => return Err(ApiError::method_not_allowed()),
        _ => change(shared, request, path, &at, body)?,
    };
    if let Some(warning) = &resource.warning {
        warn(&mut reply, warning);
    }
    Ok(reply)
}

fn change(
    shared: &Arc<Shared>,
    request: &Request,
    path: &ResourcePath,
    at: &At,
    body: &Bytes,
) -> Answer<Reply> {
    let options = WriteOptions::of(request, path, &at.resource, shared)?;
    let sub = path.subresource.as_str();
    match (request.verb(), sub) {
        ("create", "eviction" | "binding") => write_scale::pod(shared, request, at, sub, body),
        ("create", "") if at.name.is_empty() => {
            let object = bodies::object(request, body)?;
            written(
                shared,
                request,
                at,
                &write::create(shared, at, object, &options, false)?,
            )
        }
        ("update" | "patch" | "apply", "scale") => {
            write_scale::change(shared, request, at, body, &options)
        }
        ("update", "" | "status" | "finalize") if !at.name.is_empty() => {
            let object = bodies::object(request, body)?;
            if sub.is_empty() && write::creates_on_update(shared, at) {
                let result = write::create(shared, at, object, &options, false)?;
                return written(shared, request, at, &result);
            }
            let result = write::update(shared, at, &options, &mut |_| {
                Ok(write::Proposed::whole(object.clone()))
            })?;
            written(shared, request, at, &result)
        }
        ("patch" | "apply", "" | "status") if !at.name.is_empty() => {
            let patch = bodies::patch(request, &at.resource, body)?;
            let text = String::from_utf8_lossy(body);
            written(
                shared,
                request,
                at,
                &write::patch(shared, at, &patch, &text, &options)?,
            )
        }
        ("delete", "") => {
            let object = bodies::delete_options(request, body)?;
            let options = DeleteOptions::read(object.as_ref(), &request.query)?;
            let deleted = write::delete(shared, at, &options)?;
            if deleted.gone && !shows_deleted(at) {
                let (resource, uid) = (&at.resource, meta::uid(&deleted.object));
                let status = success(&resource.plural, &resource.group, &at.name, uid);
                return Ok(json(StatusCode::OK, &status));
            }
            read::object(shared, request, at, &deleted.object, StatusCode::OK)
        }
        ("deletecollection", "") => delete_collection(shared, request, at, body),
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// Kinds whose deletion is answered with the object.
fn shows_deleted(at: &At) -> bool {
    at.resource.group.is_empty()
        && matches!(
            at.resource.kind.as_str(),
            "Pod" | "Service" | "ServiceAccount"
        )
}

fn written(shared: &Arc<Shared>, request: &Request, at: &At, written: &Written) -> Answer<Reply> {
    let code = if written.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut reply = read::object(shared, request, at, &written.object, code)?;
    for warning in &written.warnings {
        warn(&mut reply, warning);
    }
    Ok(reply)
}

/// Adds a `Warning` header (RFC 7234 section 5.5, code 299).
fn warn(reply: &mut Reply, text: &str) {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
        reply.headers_mut().append(header::WARNING, value);
    }
}

fn delete_collection(
    shared: &Arc<Shared>,
    request: &Request,
    at: &At,
    body: &Bytes,
) -> Answer<Reply> {
    let object = bodies::delete_options(request, body)?;
    let options = DeleteOptions::read(object.as_ref(), &request.query)?;
    let objects = read::matching(shared, request, at)?;
    let mut deleted = Vec::new();
    for object in objects {
        let at = At {
            resource: at.resource.clone(),
            namespace: meta::namespace(&object).to_owned(),
            name: meta::name(&object).to_owned(),
        };
        match write::delete(shared, &at, &options) {
            Ok(one) => deleted.push(one.object),
            // Somebody else deleted it in between.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    let format = Format::of(request)?;
    let metadata = serde_json::json!({"resourceVersion": shared.store.revision().to_string()});
    let text = read::list_text(shared, &at.resource, format, &deleted, metadata);
    Ok(json_text(StatusCode::OK, text))
}
