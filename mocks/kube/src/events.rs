//! One storage, two kinds: `v1` and `events.k8s.io/v1` Events are views of the same object, which is kept
//! in the form of `v1`. The pairs are those of the conversion in Kubernetes' API reference.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::kinds::Resource;
use crate::meta;
use crate::store::Object;

/// Field of `v1`, field of `events.k8s.io/v1`.
const PAIRS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// The object as it is stored.
pub(crate) fn stored(resource: &Resource, mut object: Value) -> Value {
    if resource.is("events.k8s.io", "Event") {
        for (core, other) in PAIRS {
            if let Some(value) = meta::remove(&mut object, other) {
                object[*core] = value;
            }
        }
        object["apiVersion"] = "v1".into();
    }
    if resource.kind == "Event" && !resource.custom {
        // These fields are never left out: an empty one is written.
        meta::fill(&mut object, "source", json!({}));
        for time in ["firstTimestamp", "lastTimestamp"] {
            if let Some(map) = object.as_object_mut() {
                map.entry(time).or_insert(Value::Null);
            }
        }
    }
    object
}

/// The stored object as a client of `resource` sees it.
pub(crate) fn shown(resource: &Resource, object: &Arc<Object>) -> Arc<Object> {
    if resource.is_version(meta::text(object, "/apiVersion")) {
        return object.clone();
    }
    let version = resource.api_version();
    let mut object = Value::clone(object);
    if resource.is("events.k8s.io", "Event") {
        for (core, other) in PAIRS {
            if let Some(value) = meta::remove(&mut object, core) {
                object[*other] = value;
            }
        }
    }
    object["apiVersion"] = version.into();
    Object::new(object)
}
