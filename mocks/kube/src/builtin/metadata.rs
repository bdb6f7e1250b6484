//! ObjectMeta of all kinds (`k8s.io/apimachinery/pkg/api/validation/objectmeta.go`).

use serde_json::{Value, json};

use super::names;
use crate::schema::FieldError;

/// The syntax of a kind's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// A DNS name, as most kinds have it.
    Subdomain,
    /// A DNS label.
    Label,
    /// A path segment (RBAC).
    Path,
}

impl NameRule {
    fn problems(self, name: &str) -> Vec<String> {
        match self {
            Self::Subdomain => names::dns1123_subdomain(name),
            Self::Label => names::dns1123_label(name),
            Self::Path => names::path_segment(name),
        }
    }
}

/// ObjectMeta of a custom resource, whose scope the schema does not know: all but the namespace.
pub(crate) fn check_any_scope(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    if object.get("metadata").is_none() {
        return Vec::new();
    }
    check(object, old, NameRule::Subdomain)
}

/// ObjectMeta; with `old`, what an update may not change.
pub(crate) fn check(object: &Value, old: Option<&Value>, rule: NameRule) -> Vec<FieldError> {
    let meta = object.get("metadata").unwrap_or(&Value::Null);
    let mut errors = Vec::new();
    let word = |name: &str| meta.get(name).and_then(Value::as_str).unwrap_or_default();
    if let Some(before) = old.and_then(|old| old.get("metadata")) {
        unchanged(meta, before, &mut errors);
    } else {
        let prefix = word("generateName");
        if !prefix.is_empty() {
            // The prefix may end in a hyphen, as a suffix follows: that and what is before it are
            // looked at as one letter.
            let masked = match prefix.strip_suffix('-') {
                Some(rest) if !rest.is_empty() => {
                    let mut kept = rest.to_owned();
                    kept.pop();
                    kept + "a"
                }
                _ => prefix.to_owned(),
            };
            for problem in rule.problems(&masked) {
                errors.push(FieldError::invalid_str(
                    "metadata.generateName",
                    prefix,
                    &problem,
                ));
            }
        }
        let name = word("name");
        if name.is_empty() {
            let problem = "name or generateName is required";
            errors.push(FieldError::required("metadata.name", problem));
        }
        for problem in rule.problems(name).into_iter().filter(|_| !name.is_empty()) {
            errors.push(FieldError::invalid_str("metadata.name", name, &problem));
        }
        let namespace = word("namespace");
        if !namespace.is_empty() {
            for problem in names::dns1123_label(namespace) {
                errors.push(FieldError::invalid_str(
                    "metadata.namespace",
                    namespace,
                    &problem,
                ));
            }
        }
    }
    labels(meta.get("labels"), "metadata.labels", &mut errors);
    annotations(meta.get("annotations"), &mut errors);
    owners(meta.get("ownerReferences"), &mut errors);
    if old.is_none() {
        let finalizers = meta.get("finalizers").and_then(Value::as_array);
        for finalizer in finalizers.into_iter().flatten().filter_map(Value::as_str) {
            for problem in names::qualified_name(finalizer) {
                errors.push(FieldError::invalid_str(
                    "metadata.finalizers",
                    finalizer,
                    &problem,
                ));
            }
        }
    }
    errors
}

fn unchanged(meta: &Value, before: &Value, errors: &mut Vec<FieldError>) {
    let deleting = before
        .get("deletionTimestamp")
        .is_some_and(|d| !d.is_null());
    if deleting {
        let list = |v: &Value| v.get("finalizers").and_then(Value::as_array).cloned();
        let held = list(before).unwrap_or_default();
        let mut added: Vec<String> = list(meta)
            .unwrap_or_default()
            .iter()
            .filter(|f| !held.contains(f))
            .map(ToString::to_string)
            .collect();
        added.sort();
        added.dedup();
        if !added.is_empty() {
            errors.push(FieldError::forbidden(
                "metadata.finalizers",
                &format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    added.join(", ")
                ),
            ));
        }
    }
    for name in ["name", "namespace", "uid", "creationTimestamp"] {
        let (new, old) = (meta.get(name), before.get(name));
        let changed = new.is_some_and(|v| !v.is_null()) && old.is_some() && new != old;
        if changed {
            let value = new.cloned().unwrap_or_default();
            let at = format!("metadata.{name}");
            errors.push(FieldError::invalid(&at, &value, "field is immutable"));
        }
    }
}

/// Labels, also of selectors and templates.
pub(crate) fn labels(labels: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        for problem in names::qualified_name(key) {
            errors.push(FieldError::invalid_str(path, key, &problem));
        }
        let value = value.as_str().unwrap_or_default();
        for problem in names::label_value(value) {
            errors.push(FieldError::invalid_str(path, value, &problem));
        }
    }
}

/// The limit of the keys and values of all annotations together, in bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;

fn annotations(annotations: Option<&Value>, errors: &mut Vec<FieldError>) {
    let Some(map) = annotations.and_then(Value::as_object) else {
        return;
    };
    let mut size = 0;
    for (key, value) in map {
        for problem in names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid_str(
                "metadata.annotations",
                key,
                &problem,
            ));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(
            "metadata.annotations",
            ANNOTATIONS_MAX as u64,
        ));
    }
}

fn owners(owners: Option<&Value>, errors: &mut Vec<FieldError>) {
    let mut controller = String::new();
    let list = owners.and_then(Value::as_array);
    for (i, owner) in list.into_iter().flatten().enumerate() {
        let path = format!("metadata.ownerReferences[{i}]");
        let word = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or_default();
        for name in ["apiVersion", "kind", "name", "uid"] {
            if word(name).is_empty() {
                errors.push(FieldError::required(
                    &format!("{path}.{name}"),
                    "must not be empty",
                ));
            }
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            let this = format!("{}/{}", word("kind"), word("name"));
            if controller.is_empty() {
                controller = this;
            } else {
                let problem = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {controller} and {this}"
                );
                let all = owners.cloned().unwrap_or_default();
                errors.push(FieldError::invalid(
                    "metadata.ownerReferences",
                    &all,
                    &problem,
                ));
            }
        }
    }
}

/// A label selector.
pub(crate) fn selector(selector: &Value, path: &str, errors: &mut Vec<FieldError>) {
    labels(
        selector.get("matchLabels"),
        &format!("{path}.matchLabels"),
        errors,
    );
    let list = selector.get("matchExpressions").and_then(Value::as_array);
    for (i, requirement) in list.into_iter().flatten().enumerate() {
        let path = format!("{path}.matchExpressions[{i}]");
        let values = requirement.get("values").and_then(Value::as_array);
        let count = values.map_or(0, Vec::len);
        let operator = requirement
            .get("operator")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match operator {
            "In" | "NotIn" if count == 0 => errors.push(FieldError::required(
                &format!("{path}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if count > 0 => errors.push(FieldError::forbidden(
                &format!("{path}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid_str(
                &format!("{path}.operator"),
                other,
                "not a valid selector operator",
            )),
        }
        let key = requirement
            .get("key")
            .and_then(Value::as_str)
            .unwrap_or_default();
        for problem in names::qualified_name(key) {
            errors.push(FieldError::invalid_str(
                &format!("{path}.key"),
                key,
                &problem,
            ));
        }
        for (j, value) in values.into_iter().flatten().enumerate() {
            let value = value.as_str().unwrap_or_default();
            for problem in names::label_value(value) {
                errors.push(FieldError::invalid_str(
                    &format!("{path}.values[{j}]"),
                    value,
                    &problem,
                ));
            }
        }
    }
}

/// Whether `labels` satisfy `selector`.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector.get("matchLabels").and_then(Value::as_object);
    let equal = wanted
        .into_iter()
        .flatten()
        .all(|(k, v)| labels.get(k) == Some(v));
    let list = selector.get("matchExpressions").and_then(Value::as_array);
    let holds = list.into_iter().flatten().all(|requirement| {
        let key = requirement
            .get("key")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let value = labels.get(key);
        let listed = || {
            let values = requirement.get("values").and_then(Value::as_array);
            values
                .zip(value)
                .is_some_and(|(values, value)| values.contains(value))
        };
        match requirement.get("operator").and_then(Value::as_str) {
            Some("In") => listed(),
            Some("NotIn") => !listed(),
            Some("Exists") => value.is_some(),
            Some("DoesNotExist") => value.is_none(),
            _ => false,
        }
    });
    equal && holds
}

/// A value that may not change.
pub(crate) fn immutable(
    new: Option<&Value>,
    old: Option<&Value>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if new != old {
        let value = new.cloned().unwrap_or_else(|| json!(""));
        errors.push(FieldError::invalid(path, &value, "field is immutable"));
    }
}
