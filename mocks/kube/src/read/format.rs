use std::sync::Arc;

use http::header::ACCEPT;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::kinds::Resource;
use crate::request::Request;
use crate::shared::Shared;
use crate::status::{Answer, ApiError};
use crate::store::Object;
use crate::{meta, table};

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

/// The encodings that the real server names.
const ENCODINGS: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

impl Format {
    /// The first format in `Accept` that can be served. JSON is the only encoding.
    pub(crate) fn of(request: &Request) -> Answer<Self> {
        let accept = request.header(ACCEPT);
        if accept.is_empty() {
            return Ok(Self::Object);
        }
        let mut known = false;
        for part in accept.split(',') {
            let mut parameters = part.split(';').map(str::trim);
            let media = parameters.next().unwrap_or_default();
            if !matches!(media, "application/json" | "*/*" | "application/*") {
                continue;
            }
            known = true;
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
                        None | Some("Metadata") => Include::Metadata,
                        Some("None") => Include::Nothing,
                        Some("Object") => Include::Object,
                        Some(other) => {
                            return Err(ApiError::bad_request(format!(
                                "Unable to convert to Table as requested: includeObject: Invalid \
                                 value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
                            )));
                        }
                    }));
                }
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => {
                    return Ok(Self::Partial);
                }
                Some(_) => {}
            }
        }
        Err(if known {
            ApiError::not_convertible(ENCODINGS)
        } else {
            ApiError::not_acceptable(ENCODINGS)
        })
    }
}

/// Writes a value as JSON.
pub(super) fn put(out: &mut Vec<u8>, value: &Value) {
    // Memory takes whatever is written, and every value has a text.
    drop(serde_json::to_writer(out, value));
}

/// Writes the metadata of an object, as an object of its own.
pub(super) fn put_partial(out: &mut Vec<u8>, object: &Value) {
    out.extend_from_slice(
        br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#,
    );
    put(out, &object["metadata"]);
    out.push(b'}');
}

/// Writes objects one after the other, with commas between them.
pub(super) fn put_separated(
    out: &mut Vec<u8>,
    objects: &[Arc<Object>],
    put: impl Fn(&mut Vec<u8>, &Arc<Object>),
) {
    for (number, object) in objects.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        put(out, object);
    }
}

/// Writes a list; `head` is its kind and API version.
pub(super) fn put_list(
    out: &mut Vec<u8>,
    head: (&str, &str),
    metadata: &Value,
    items: impl FnOnce(&mut Vec<u8>),
) {
    let (kind, version) = head;
    out.extend_from_slice(
        format!(r#"{{"kind":"{kind}","apiVersion":"{version}","metadata":"#).as_bytes(),
    );
    put(out, metadata);
    out.extend_from_slice(br#","items":["#);
    items(out);
    out.extend_from_slice(b"]}");
}

/// Writes objects as items of a list. The lists of built-in kinds are typed, and their items do not say
/// their kind again.
pub(super) fn put_items(out: &mut Vec<u8>, resource: &Resource, objects: &[Arc<Object>]) {
    let size: usize = objects.iter().map(|object| object.text().len() + 1).sum();
    out.reserve(size);
    if resource.custom {
        put_separated(out, objects, |out, object| {
            out.extend_from_slice(object.text());
        });
        return;
    }
    // The server writes them first (`write::check_kind`).
    let (version, kind) = (resource.api_version(), &resource.kind);
    let head = format!(r#"{{"apiVersion":"{version}","kind":"{kind}","#);
    put_separated(out, objects, |out, object| {
        if let Some(rest) = object.text().strip_prefix(head.as_bytes()) {
            out.push(b'{');
            out.extend_from_slice(rest);
        } else {
            let mut item = Value::clone(object);
            meta::remove(&mut item, "apiVersion");
            meta::remove(&mut item, "kind");
            put(out, &item);
        }
    });
}

/// Objects as a table; watches show the columns once.
pub(super) struct Table<'a> {
    resource: &'a Resource,
    objects: &'a [Arc<Object>],
    include: Include,
    now: Timestamp,
    pub(super) metadata: Value,
    pub(super) columns: bool,
}

impl<'a> Table<'a> {
    /// With columns, and the revision of the only object.
    pub(super) fn of(
        shared: &Shared,
        resource: &'a Resource,
        objects: &'a [Arc<Object>],
        include: Include,
    ) -> Self {
        let revision = match objects {
            [one] => meta::text(one, "/metadata/resourceVersion"),
            _ => "",
        };
        Self {
            resource,
            objects,
            include,
            now: shared.clock.now(),
            metadata: json!({ "resourceVersion": revision }),
            columns: true,
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":"#);
        put(out, &self.metadata);
        out.extend_from_slice(br#","columnDefinitions":"#);
        if self.columns {
            put(out, &table::columns(self.resource));
        } else {
            out.extend_from_slice(b"null");
        }
        out.extend_from_slice(br#","rows":["#);
        put_separated(out, self.objects, |out, object| self.put_row(out, object));
        out.extend_from_slice(b"]}");
    }

    fn put_row(&self, out: &mut Vec<u8>, object: &Object) {
        out.extend_from_slice(br#"{"cells":"#);
        let cells = table::cells(self.resource, object, self.now);
        put(out, &Value::Array(cells));
        out.extend_from_slice(br#","object":"#);
        match self.include {
            Include::Nothing => out.extend_from_slice(b"null"),
            Include::Metadata => put_partial(out, object),
            Include::Object => out.extend_from_slice(object.text()),
        }
        out.push(b'}');
    }
}
