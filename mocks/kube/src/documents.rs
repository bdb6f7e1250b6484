//! The OpenAPI documents, as `kubectl` asks for them: hashed addresses, ETags and 304.

use std::sync::{Arc, PoisonError};

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, VARY};
use http::{HeaderValue, Response, StatusCode};

use crate::dispatch::Reply;
use crate::openapi::{Documents, SchemaSource, ServedKind};
use crate::request::Request;
use crate::service::ResponseBody;
use crate::shared::Shared;
use crate::status::{Answer, ApiError};

/// The documents of the kinds that are served now.
fn current(shared: &Shared) -> Arc<Documents> {
    let kinds = shared.registry.kinds();
    let mut cached = shared
        .documents
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some((generation, documents)) = cached.as_ref()
        && *generation == kinds.generation
    {
        return documents.clone();
    }
    let subresources: Vec<Vec<&str>> = kinds.all().iter().map(|r| r.subresources()).collect();
    let served: Vec<ServedKind<'_>> = kinds
        .all()
        .iter()
        .zip(&subresources)
        .filter_map(|(resource, subresources)| {
            let schema = match &resource.openapi {
                Some(openapi) => SchemaSource::Custom(openapi),
                // A custom kind without a schema has nothing to tell.
                None if resource.custom => return None,
                None => SchemaSource::Builtin,
            };
            Some(ServedKind {
                group: &resource.group,
                version: &resource.version,
                kind: &resource.kind,
                plural: &resource.plural,
                singular: &resource.singular,
                namespaced: resource.namespaced,
                subresources,
                schema,
            })
        })
        .collect();
    let previous = cached.as_ref().map(|(_, documents)| documents.clone());
    let documents = Arc::new(Documents::build(&served, previous.as_deref()));
    *cached = Some((kinds.generation, documents.clone()));
    documents
}

/// JSON is the only form; who accepts only the protobuf form is told so.
fn check_accept(request: &Request) -> Answer<()> {
    let accept = request.header(ACCEPT);
    let json = |part: &str| {
        let media = part.split(';').next().unwrap_or_default().trim();
        matches!(media, "application/json" | "*/*" | "application/*")
    };
    if accept.is_empty() || accept.split(',').any(json) {
        Ok(())
    } else {
        Err(ApiError::not_acceptable("application/json"))
    }
}

fn answer(request: &Request, hash: &str, body: impl FnOnce() -> Vec<u8>) -> Reply {
    let etag = format!("\"{hash}\"");
    let known = request
        .header(IF_NONE_MATCH)
        .split(',')
        .any(|tag| tag.trim() == etag);
    let mut reply = if known {
        let mut reply = Response::new(ResponseBody::full(Vec::new()));
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        reply
    } else {
        Response::new(ResponseBody::full(body()))
    };
    let headers = reply.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(ETAG, etag);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    let cache = if request.query.get("hash").is_some() {
        "public, immutable"
    } else {
        "no-cache, private"
    };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    reply
}

/// The media type of the second version in protobuf, which `kubectl` asks for when it meets an unknown kind.
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The same as a content type: `@` may not stand in one.
const V2_PROTOBUF_CONTENT: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// `/openapi/v2`. In protobuf it is the head of the document alone (`openapiv2.Document`: swagger and info): the paths
/// are in the JSON form and, better, in the third version.
pub(crate) fn v2(shared: &Shared, request: &Request) -> Answer<Reply> {
    if request
        .header(ACCEPT)
        .split(',')
        .any(|part| part.trim() == V2_PROTOBUF)
    {
        let body: &[u8] = b"\x0a\x032.0\x12\x15\x0a\x0aKubernetes\x12\x07v1.37.0";
        let mut reply = Response::new(ResponseBody::full(body));
        reply
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(V2_PROTOBUF_CONTENT));
        return Ok(reply);
    }
    check_accept(request)?;
    let documents = current(shared);
    Ok(answer(request, &documents.hash(), || {
        documents.v2().to_vec()
    }))
}

/// `/openapi/v3` and the documents below it.
pub(crate) fn v3(shared: &Shared, request: &Request, rest: &[&str]) -> Answer<Reply> {
    check_accept(request)?;
    let documents = current(shared);
    if rest.is_empty() {
        let hash = documents.hash();
        return Ok(answer(request, &hash, || {
            documents.index().to_string().into_bytes()
        }));
    }
    let path = rest.join("/");
    let document = documents.document(&path).ok_or_else(ApiError::no_route)?;
    if request
        .query
        .get("hash")
        .is_some_and(|hash| hash != document.hash())
    {
        // An address of an older document leads to the present one.
        let mut reply = Response::new(ResponseBody::full(Vec::new()));
        *reply.status_mut() = StatusCode::MOVED_PERMANENTLY;
        let location = format!("/openapi/v3/{path}?hash={}", document.hash());
        if let Ok(location) = HeaderValue::from_str(&location) {
            reply.headers_mut().insert(LOCATION, location);
        }
        return Ok(reply);
    }
    Ok(answer(request, document.hash(), || {
        document.json().to_vec()
    }))
}
