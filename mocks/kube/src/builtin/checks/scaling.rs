//! Leases, autoscalers and disruption budgets.

use serde_json::{Value, json};

use super::{int, int_or_percent, not_negative, one_of, set, word};
use crate::builtin::metadata;
use crate::schema::FieldError;

pub(super) fn lease(object: &Value, errors: &mut Vec<FieldError>) {
    let Some(spec) = object.get("spec") else {
        return;
    };
    if let Some(seconds) = spec
        .get("leaseDurationSeconds")
        .filter(|v| v.as_i64().is_some_and(|n| n <= 0))
    {
        let path = "spec.leaseDurationSeconds";
        errors.push(FieldError::invalid(path, seconds, "must be greater than 0"));
    }
    not_negative(spec, "leaseTransitions", "spec", errors);
    if !word(spec, "preferredHolder").is_empty() && word(spec, "strategy").is_empty() {
        let problem = "may only be specified if `strategy` is defined";
        errors.push(FieldError::forbidden("spec.preferredHolder", problem));
    }
}

pub(super) fn autoscaler(object: &Value, errors: &mut Vec<FieldError>) {
    let empty = json!({});
    let spec = object.get("spec").unwrap_or(&empty);
    let (min, max) = (int(spec, "minReplicas"), int(spec, "maxReplicas"));
    if set(spec, "minReplicas") && min < 1 {
        let problem = "must be greater than or equal to 1";
        errors.push(FieldError::invalid(
            "spec.minReplicas",
            &json!(min),
            problem,
        ));
    }
    if max == 0 {
        errors.push(FieldError::required(
            "spec.maxReplicas",
            "must be set and greater than 0",
        ));
    } else if max < 0 {
        let problem = "must be greater than or equal to 1";
        errors.push(FieldError::invalid(
            "spec.maxReplicas",
            &json!(max),
            problem,
        ));
    }
    if set(spec, "minReplicas") && max < min {
        let problem = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid(
            "spec.maxReplicas",
            &json!(max),
            problem,
        ));
    }
    let target = spec.get("scaleTargetRef").unwrap_or(&empty);
    for name in ["kind", "name"] {
        if word(target, name).is_empty() {
            errors.push(FieldError::required(
                &format!("spec.scaleTargetRef.{name}"),
                "",
            ));
        }
    }
}

pub(super) fn budget(object: &Value, errors: &mut Vec<FieldError>) {
    let Some(spec) = object.get("spec") else {
        return;
    };
    if set(spec, "minAvailable") && set(spec, "maxUnavailable") {
        let problem = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid("spec", spec, problem));
    }
    int_or_percent(spec, "minAvailable", "spec", errors);
    int_or_percent(spec, "maxUnavailable", "spec", errors);
    if let Some(selector) = spec.get("selector") {
        metadata::selector(selector, "spec.selector", errors);
    }
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    one_of(
        spec,
        "unhealthyPodEvictionPolicy",
        &policies,
        "spec",
        errors,
    );
}
