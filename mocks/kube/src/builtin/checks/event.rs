use serde_json::Value;

use super::{set, word};
use crate::builtin::names;
use crate::schema::FieldError;

/// What may not change, in the words of the core's kind, under which both kinds are stored.
const FIXED: &[(&str, &str)] = &[
    ("eventTime", "eventTime"),
    ("reportingController", "reportingController"),
    ("reportingInstance", "reportingInstance"),
    ("action", "action"),
    ("reason", "reason"),
    ("type", "type"),
    ("note", "message"),
];

/// Events of the newer kind (`ValidateEventCreate` and `ValidateEventUpdate` of `pkg/apis/core/validation`).
pub(super) fn check(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if let Some(old) = old {
        for (field, named) in FIXED {
            let (before, now) = (&old[*field], &object[*field]);
            if before != now {
                errors.push(FieldError::invalid(named, now, "field is immutable"));
            }
        }
        return;
    }
    if !set(object, "eventTime") {
        errors.push(FieldError::required("eventTime", ""));
        return;
    }
    let controller = word(object, "reportingController");
    if controller.is_empty() {
        errors.push(FieldError::required("reportingController", ""));
    }
    super::invalid(
        "reportingController",
        controller,
        names::qualified_name(controller),
        errors,
    );
    for field in ["reportingInstance", "action", "reason"] {
        if word(object, field).is_empty() {
            errors.push(FieldError::required(field, ""));
        }
    }
    let kind = word(object, "type");
    if !matches!(kind, "Normal" | "Warning") {
        let problem = format!("has invalid value: {kind}");
        errors.push(FieldError::invalid_str("type", "", &problem));
    }
}
