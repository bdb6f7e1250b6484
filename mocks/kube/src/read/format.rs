use std::sync::Arc;

use http::header::ACCEPT;
use serde_json::{Value, json};

use crate::kinds::Resource;
use crate::request::Request;
use crate::shared::Shared;
use crate::status::{Answer, ApiError};
use crate::table;

/// What part of each object the rows of a table carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    Nothing,
    Metadata,
    Object,
}

/// How objects are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Object,
    /// `PartialObjectMetadata`: the metadata alone.
    Partial,
    /// What `kubectl get` prints.
    Table(Include),
}

impl Format {
    /// The first format in `Accept` that can be served. JSON is the only encoding.
    pub(crate) fn of(request: &Request) -> Answer<Self> {
        let accept = request.header(ACCEPT);
        if accept.is_empty() {
            return Ok(Self::Object);
        }
        for part in accept.split(',') {
            let mut parameters = part.split(';').map(str::trim);
            let media = parameters.next().unwrap_or_default();
            if !matches!(media, "application/json" | "*/*" | "application/*") {
                continue;
            }
            let parameters: Vec<&str> = parameters.collect();
            let version = parameters
                .iter()
                .find_map(|p| p.strip_prefix("v="))
                .unwrap_or("v1");
            if version != "v1" {
                continue;
            }
            match parameters.iter().find_map(|p| p.strip_prefix("as=")) {
                None => return Ok(Self::Object),
                Some("Table") => {
                    return Ok(Self::Table(match request.query.get("includeObject") {
                        Some("None") => Include::Nothing,
                        Some("Object") => Include::Object,
                        _ => Include::Metadata,
                    }));
                }
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => {
                    return Ok(Self::Partial);
                }
                Some(_) => {}
            }
        }
        Err(ApiError::not_acceptable(
            "application/json, application/yaml, application/vnd.kubernetes.protobuf",
        ))
    }
}

/// The metadata of an object, as an object of its own.
pub(super) fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

/// Objects as a table; watches show the columns once.
pub(super) fn table(
    shared: &Shared,
    resource: &Resource,
    objects: &[Arc<Value>],
    include: Include,
    columns: bool,
) -> Value {
    let now = shared.clock.now();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut row = json!({"cells": table::cells(resource, object, now)});
            match include {
                Include::Nothing => row["object"] = Value::Null,
                Include::Metadata => row["object"] = partial(object),
                Include::Object => row["object"] = (**object).clone(),
            }
            row
        })
        .collect();
    let revision = match objects {
        [one] => one
            .pointer("/metadata/resourceVersion")
            .cloned()
            .unwrap_or_else(|| json!("")),
        _ => json!(""),
    };
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": revision},
        "columnDefinitions": if columns { table::columns(resource) } else { Value::Null },
        "rows": rows,
    })
}
