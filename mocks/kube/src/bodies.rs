//! Reading the bodies of requests.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::kinds::Resource;
use crate::request::{Request, options_error};
use crate::schema::FieldReason;
use crate::status::{Answer, ApiError};
use crate::write::Patch;
use crate::{meta, protobuf};

const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

fn media_type(request: &Request) -> &str {
    request
        .header(CONTENT_TYPE)
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
}

fn from_json(body: &Bytes) -> Answer<Value> {
    serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request(format!(
            "couldn't get version/kind; json parse error: {error}"
        ))
    })
}

/// YAML, which JSON is part of.
fn from_yaml(body: &Bytes) -> Answer<Value> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let text = std::str::from_utf8(body)
        .map_err(|_| ApiError::bad_request("error decoding YAML: it is not UTF-8"))?;
    serde_saphyr::from_str(text)
        .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))
}

/// The object that a creation or an update sends.
pub(crate) fn object(request: &Request, body: &Bytes) -> Answer<Value> {
    match media_type(request) {
        "" | "application/json" | "text/json" => from_json(body),
        "application/yaml" | "application/x-yaml" | "text/yaml" => from_yaml(body),
        "application/vnd.kubernetes.protobuf" => from_protobuf(body),
        _ => Err(ApiError::unsupported_media(ACCEPTED)),
    }
}

fn from_protobuf(body: &Bytes) -> Answer<Value> {
    protobuf::decode(body)
        .map_err(|error| ApiError::bad_request(format!("decoding the protobuf body: {error}")))
}

/// `DeleteOptions`, when there are any.
pub(crate) fn delete_options(request: &Request, body: &Bytes) -> Answer<Option<Value>> {
    if body.is_empty() {
        return Ok(None);
    }
    let options = object(request, body)?;
    match meta::text(&options, "/kind") {
        "" | "DeleteOptions" => Ok(Some(options)),
        other => Err(ApiError::bad_request(format!(
            "no kind {other:?} is registered for options of a deletion"
        ))),
    }
}

/// The patch that a request sends.
pub(crate) fn patch(request: &Request, resource: &Resource, body: &Bytes) -> Answer<Patch> {
    let not_json = |_| ApiError::bad_request("invalid JSON patch");
    if request.query.get("force").is_some() && media_type(request) != "application/apply-patch+yaml"
    {
        let detail = "Forbidden: may not be specified for non-apply patch".to_owned();
        return Err(options_error(
            "PatchOptions",
            "force",
            FieldReason::Forbidden,
            detail,
        ));
    }
    match media_type(request) {
        "application/json-patch+json" => serde_json::from_slice(body)
            .map(Patch::Json)
            .map_err(not_json),
        "application/merge-patch+json" => serde_json::from_slice(body)
            .map(Patch::Merge)
            .map_err(not_json),
        "application/strategic-merge-patch+json" if !resource.custom => {
            serde_json::from_slice(body)
                .map(Patch::Strategic)
                .map_err(not_json)
        }
        "application/apply-patch+yaml" => {
            if request.query.get("fieldManager").is_none() {
                let detail = "Required value: is required for apply patch".to_owned();
                let reason = FieldReason::Required;
                return Err(options_error(
                    "PatchOptions",
                    "fieldManager",
                    reason,
                    detail,
                ));
            }
            let config = from_yaml(body)?;
            Ok(Patch::Apply {
                config,
                force: request.query.flag("force"),
            })
        }
        "application/strategic-merge-patch+json" => Err(ApiError::unsupported_media(
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        )),
        _ => Err(ApiError::unsupported_patch()),
    }
}
