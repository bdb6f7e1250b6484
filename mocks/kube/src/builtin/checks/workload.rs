//! Deployments, ReplicaSets and their like (`pkg/apis/apps/validation`).

use serde_json::{Value, json};

use super::{int, int_or_percent, not_negative, pod, set, word};
use crate::builtin::metadata;
use crate::schema::FieldError;

pub(super) fn check(kind: &str, object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if !matches!(
        kind,
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet"
    ) {
        return;
    }
    let empty = json!({});
    let spec = object.get("spec").unwrap_or(&empty);
    for name in [
        "replicas",
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
    ] {
        not_negative(spec, name, "spec", errors);
    }
    match spec.get("selector").filter(|s| !s.is_null()) {
        None => {
            errors.push(FieldError::required("spec.selector", ""));
            // No selector selects nothing.
            let labels = spec.pointer("/template/metadata/labels");
            errors.push(unmatched(labels.filter(|labels| labels.is_object())));
        }
        Some(selector) => {
            metadata::selector(selector, "spec.selector", errors);
            let count = |name: &str| match selector.get(name) {
                Some(Value::Object(map)) => map.len(),
                Some(Value::Array(items)) => items.len(),
                _ => 0,
            };
            let of = match kind {
                "StatefulSet" => "statefulset",
                "DaemonSet" => "daemonset",
                _ => "deployment",
            };
            if count("matchLabels") + count("matchExpressions") == 0 {
                let problem = format!("empty selector is invalid for {of}");
                errors.push(FieldError::invalid("spec.selector", selector, &problem));
            } else {
                matching(spec, selector, errors);
            }
        }
    }
    let template = spec.get("template").unwrap_or(&empty);
    pod::template(template, "spec.template", errors);
    let restart = template
        .pointer("/spec/restartPolicy")
        .cloned()
        .unwrap_or_default();
    if restart.as_str().is_some_and(|r| r != "Always") {
        let path = "spec.template.spec.restartPolicy";
        errors.push(FieldError::not_supported(path, &restart, &["Always"]));
    }
    if kind == "Deployment" {
        strategy(spec, errors);
        let deadline = int(spec, "progressDeadlineSeconds");
        if set(spec, "progressDeadlineSeconds") && deadline <= int(spec, "minReadySeconds") {
            let problem = "must be greater than minReadySeconds";
            let path = "spec.progressDeadlineSeconds";
            errors.push(FieldError::invalid(path, &json!(deadline), problem));
        }
    }
    if let Some(before) = old.and_then(|old| old.pointer("/spec/selector")) {
        metadata::immutable(spec.get("selector"), Some(before), "spec.selector", errors);
    }
}

fn matching(spec: &Value, selector: &Value, errors: &mut Vec<FieldError>) {
    let none = json!({});
    let labels = spec
        .pointer("/template/metadata/labels")
        .filter(|l| l.is_object());
    if !metadata::selects(selector, labels.unwrap_or(&none)) {
        errors.push(unmatched(labels));
    }
}

fn unmatched(labels: Option<&Value>) -> FieldError {
    FieldError::invalid(
        "spec.template.metadata.labels",
        labels.unwrap_or(&Value::Null),
        "`selector` does not match template `labels`",
    )
}

fn strategy(spec: &Value, errors: &mut Vec<FieldError>) {
    let Some(strategy) = spec.get("strategy").filter(|s| s.is_object()) else {
        return;
    };
    let rolling = strategy.get("rollingUpdate").filter(|r| !r.is_null());
    match (word(strategy, "type"), rolling) {
        ("Recreate", Some(_)) => errors.push(FieldError::forbidden(
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        )),
        ("RollingUpdate", Some(rolling)) => {
            let path = "spec.strategy.rollingUpdate";
            int_or_percent(rolling, "maxUnavailable", path, errors);
            int_or_percent(rolling, "maxSurge", path, errors);
            let zero = |name: &str| match rolling.get(name) {
                Some(Value::Number(n)) => n.as_i64() == Some(0),
                Some(Value::String(s)) => s.trim_end_matches('%').parse() == Ok(0),
                _ => false,
            };
            if zero("maxUnavailable") && zero("maxSurge") {
                let value = rolling.get("maxUnavailable").cloned().unwrap_or_default();
                let problem = "may not be 0 when `maxSurge` is 0";
                errors.push(FieldError::invalid(
                    &format!("{path}.maxUnavailable"),
                    &value,
                    problem,
                ));
            }
        }
        ("Recreate" | "RollingUpdate", _) => {}
        _ => errors.push(FieldError::not_supported(
            "spec.strategy",
            strategy,
            &["Recreate", "RollingUpdate"],
        )),
    }
}
