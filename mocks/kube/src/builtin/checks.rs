//! What the real server checks in Go for each kind (`pkg/apis/*/validation`), for the fields a person is likely to get wrong.

mod access;
mod data;
mod definition;
mod endpoints;
mod event;
mod ingress;
mod pod;
mod scaling;
mod service;
mod workload;

use serde_json::Value;

use super::metadata::{self, NameRule};
use crate::schema::FieldError;

/// All checks of a kind; with `old`, as an update.
pub(super) fn run(group: &str, kind: &str, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let rule = match (group, kind) {
        ("", "Namespace" | "Service") => NameRule::Label,
        ("rbac.authorization.k8s.io", _) => NameRule::Path,
        _ => NameRule::Subdomain,
    };
    let mut errors = Vec::new();
    let reviews = matches!(
        group,
        "authentication.k8s.io" | "authorization.k8s.io" | "meta.k8s.io"
    );
    if !reviews && !matches!(kind, "Eviction" | "Binding") {
        errors.append(&mut metadata::check(object, old, rule));
        // Definitions are checked by another part of the real server, which does not ask for this.
        if old.is_none() && group != "apiextensions.k8s.io" {
            finalizers(object, &mut errors);
        }
    }
    match (group, kind) {
        ("", "Service") => service::check(object, old, &mut errors),
        ("", "Secret") => data::secret(object, old, &mut errors),
        ("", "ConfigMap") => data::config_map(object, old, &mut errors),
        ("", "Pod") => pod::check(object, old, &mut errors),
        ("", "Endpoints") => endpoints::endpoints(object, &mut errors),
        ("discovery.k8s.io", "EndpointSlice") => endpoints::slice(object, old, &mut errors),
        ("apps", _) => workload::check(kind, object, old, &mut errors),
        ("events.k8s.io", "Event") => event::check(object, old, &mut errors),
        ("coordination.k8s.io", "Lease") => scaling::lease(object, &mut errors),
        ("autoscaling", "HorizontalPodAutoscaler") => scaling::autoscaler(object, &mut errors),
        ("policy", "PodDisruptionBudget") => scaling::budget(object, &mut errors),
        ("rbac.authorization.k8s.io", _) => access::check(kind, object, old, &mut errors),
        ("networking.k8s.io", "Ingress") => ingress::check(object, &mut errors),
        ("networking.k8s.io", "IngressClass") => ingress::class(object, old, &mut errors),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            definition::check(object, old, &mut errors);
        }
        _ => {}
    }
    errors
}

/// A finalizer has a domain, but for the few that Kubernetes has of its own.
fn finalizers(object: &Value, errors: &mut Vec<FieldError>) {
    let held = object
        .get("metadata")
        .map_or(&[][..], |metadata| list(metadata, "finalizers"));
    for (i, finalizer) in held.iter().enumerate() {
        let finalizer = finalizer.as_str().unwrap_or_default();
        let standard = matches!(finalizer, "kubernetes" | "orphan" | "foregroundDeletion");
        if !standard && !finalizer.contains('/') {
            errors.push(FieldError::invalid_str(
                &format!("metadata.finalizers[{i}]"),
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
}

/// A string field, empty when it is missing.
fn word<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A list field, empty when it is missing.
fn list<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    object
        .get(name)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// An integer field, 0 when it is missing.
fn int(object: &Value, name: &str) -> i64 {
    object.get(name).and_then(Value::as_i64).unwrap_or_default()
}

/// Whether a field is there and not null.
fn set(object: &Value, name: &str) -> bool {
    object.get(name).is_some_and(|v| !v.is_null())
}

/// Problems of one string as errors of one field.
fn invalid(path: &str, value: &str, problems: Vec<String>, errors: &mut Vec<FieldError>) {
    for problem in problems {
        errors.push(FieldError::invalid_str(path, value, &problem));
    }
}

/// A field that may not be negative.
fn not_negative(object: &Value, name: &str, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(value) = object
        .get(name)
        .filter(|v| v.as_i64().is_some_and(|n| n < 0))
    {
        let path = format!("{path}.{name}");
        errors.push(FieldError::invalid(
            &path,
            value,
            "must be greater than or equal to 0",
        ));
    }
}

/// A field of one of a few values.
fn one_of(object: &Value, name: &str, allowed: &[&str], path: &str, errors: &mut Vec<FieldError>) {
    let Some(value) = object.get(name).filter(|v| !v.is_null()) else {
        return;
    };
    if !value.as_str().is_some_and(|v| allowed.contains(&v)) {
        errors.push(FieldError::not_supported(
            &format!("{path}.{name}"),
            value,
            allowed,
        ));
    }
}

/// A count or a percentage.
fn int_or_percent(object: &Value, name: &str, path: &str, errors: &mut Vec<FieldError>) {
    let path = format!("{path}.{name}");
    match object.get(name) {
        Some(value @ Value::String(text)) => {
            if let Some(problem) = super::names::percent(text) {
                errors.push(FieldError::invalid(&path, value, &problem));
            } else if text
                .trim_end_matches('%')
                .parse::<u64>()
                .is_ok_and(|p| p > 100)
            {
                errors.push(FieldError::invalid(
                    &path,
                    value,
                    "must not be greater than 100%",
                ));
            }
        }
        Some(value) if value.as_i64().is_some_and(|n| n < 0) => {
            errors.push(FieldError::invalid(
                &path,
                value,
                "must be greater than or equal to 0",
            ));
        }
        _ => {}
    }
}
