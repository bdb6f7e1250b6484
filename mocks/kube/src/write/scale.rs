use serde_json::{Value, json};

use super::At;
use crate::kinds::Scale;
use crate::meta;
use crate::selector::print_selector;

/// The `autoscaling/v1` Scale of an object.
pub(crate) fn scale_of(at: &At, scale: &Scale, object: &Value) -> Value {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let metadata = &object["metadata"];
    let mut out = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata.get("namespace"),
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion"),
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {},
        "status": {"replicas": number(&scale.observed)},
    });
    // `autoscaling/v1` leaves out a zero here, and not in the status.
    if number(&scale.replicas) != 0 {
        out["spec"]["replicas"] = number(&scale.replicas).into();
    }
    if at.namespace.is_empty() {
        meta::set_metadata(&mut out, "namespace", None);
    }
    if let Some(selector) = object
        .pointer(&scale.selector)
        .filter(|_| !scale.selector.is_empty())
    {
        out["status"]["selector"] = print_selector(selector).into();
    }
    out
}
