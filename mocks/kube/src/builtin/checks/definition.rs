//! CustomResourceDefinitions (`apiextensions-apiserver/pkg/apis/apiextensions/validation`).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{invalid, list, set, word};
use crate::builtin::{metadata, names};
use crate::schema::{FieldError, Schema};

pub(super) fn check(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let empty = json!({});
    let spec = object.get("spec").unwrap_or(&empty);
    let group = word(spec, "group");
    let kinds = spec.get("names").unwrap_or(&empty);
    let wanted = format!("{}.{group}", word(kinds, "plural"));
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if name != wanted {
        let problem = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid_str("metadata.name", name, problem));
    }
    let problems = names::dns1123_subdomain(group);
    if group.is_empty() {
        errors.push(FieldError::required("spec.group", ""));
    } else if !problems.is_empty() {
        errors.push(FieldError::invalid_str(
            "spec.group",
            group,
            &problems.join(","),
        ));
    } else if !group.contains('.') {
        let problem = "should be a domain with at least one dot";
        errors.push(FieldError::invalid_str("spec.group", group, problem));
    }
    let scope = word(spec, "scope");
    if scope.is_empty() {
        errors.push(FieldError::required("spec.scope", ""));
    } else if !["Cluster", "Namespaced"].contains(&scope) {
        let scopes = ["Cluster", "Namespaced"];
        errors.push(FieldError::not_supported(
            "spec.scope",
            &json!(scope),
            &scopes,
        ));
    }
    versions(spec, errors);
    self::kinds(kinds, errors);
    if let Some(before) = old.and_then(|old| old.get("spec")) {
        for field in ["group", "scope"] {
            let path = format!("spec.{field}");
            metadata::immutable(spec.get(field), before.get(field), &path, errors);
        }
        for field in ["plural", "kind"] {
            let before = before.pointer(&format!("/names/{field}"));
            let path = format!("spec.names.{field}");
            metadata::immutable(kinds.get(field), before, &path, errors);
        }
    }
}

fn versions(spec: &Value, errors: &mut Vec<FieldError>) {
    let versions = list(spec, "versions");
    let mut seen = BTreeSet::new();
    let mut unique = true;
    for (i, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{i}]");
        let name = word(version, "name");
        unique &= seen.insert(name);
        let problems = names::dns1035_label(name);
        if !problems.is_empty() {
            let at = format!("{path}.name");
            errors.push(FieldError::invalid_str(&at, name, &problems.join(",")));
        }
        // The real server moves what all versions share to the top, and says so in its paths.
        let schema_path = if versions.len() == 1 {
            "spec.validation".to_owned()
        } else {
            format!("{path}.schema")
        };
        match version
            .pointer("/schema/openAPIV3Schema")
            .filter(|s| !s.is_null())
        {
            None => {
                let at = format!("{path}.schema.openAPIV3Schema");
                errors.push(FieldError::required(&at, ""));
            }
            Some(schema) => {
                if let Err(problems) = Schema::compile(schema) {
                    errors.extend(problems.into_iter().map(|e| e.under(&schema_path)));
                }
            }
        }
        if let Some(warning) = version.get("deprecationWarning").filter(|w| !w.is_null())
            && version.get("deprecated") != Some(&json!(true))
        {
            let problem = "can only be set for deprecated versions";
            let at = format!("{path}.deprecationWarning");
            errors.push(FieldError::invalid(&at, warning, problem));
        }
        columns(version, &path, errors);
        scale(version, &path, errors);
    }
    if !unique {
        let problem = "must contain unique version names";
        errors.push(FieldError::invalid(
            "spec.versions",
            &json!(versions),
            problem,
        ));
    }
    let stored = versions
        .iter()
        .filter(|v| v.get("storage") == Some(&json!(true)))
        .count();
    if stored != 1 {
        let problem = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid(
            "spec.versions",
            &json!(versions),
            problem,
        ));
    }
}

fn columns(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (i, column) in list(version, "additionalPrinterColumns").iter().enumerate() {
        let path = format!("{path}.additionalPrinterColumns[{i}]");
        if word(column, "name").is_empty() {
            errors.push(FieldError::required(&format!("{path}.name"), ""));
        }
        let ty = word(column, "type");
        let types = ["boolean", "date", "integer", "number", "string"];
        if ty.is_empty() {
            let problem = format!("must be one of {}", types.join(","));
            errors.push(FieldError::required(&format!("{path}.type"), &problem));
        } else if !types.contains(&ty) {
            let problem = format!("must be one of {}", types.join(","));
            errors.push(FieldError::invalid_str(
                &format!("{path}.type"),
                ty,
                &problem,
            ));
        }
        if word(column, "jsonPath").is_empty() {
            errors.push(FieldError::required(&format!("{path}.JSONPath"), ""));
        }
    }
}

fn scale(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(scale) = version
        .pointer("/subresources/scale")
        .filter(|s| !s.is_null())
    else {
        return;
    };
    for (field, below) in [
        ("specReplicasPath", ".spec."),
        ("statusReplicasPath", ".status."),
    ] {
        let text = word(scale, field);
        let at = format!("{path}.subresources.scale.{field}");
        if text.is_empty() {
            errors.push(FieldError::required(&at, ""));
        } else if !text.starts_with(below) {
            let problem = format!(
                "should be a json path under {}",
                below.trim_end_matches('.')
            );
            errors.push(FieldError::invalid_str(&at, text, &problem));
        }
    }
}

fn kinds(kinds: &Value, errors: &mut Vec<FieldError>) {
    for field in ["plural", "singular", "kind", "listKind"] {
        if word(kinds, field).is_empty() {
            errors.push(FieldError::required(&format!("spec.names.{field}"), ""));
        }
    }
    let mixed = "may have mixed case, but should otherwise match: ";
    for (field, case) in [
        ("plural", ""),
        ("singular", ""),
        ("kind", mixed),
        ("listKind", mixed),
    ] {
        let text = word(kinds, field);
        let checked = if case.is_empty() {
            text.to_owned()
        } else {
            text.to_lowercase()
        };
        let problems = names::dns1035_label(&checked);
        if !text.is_empty() && !problems.is_empty() {
            let problem = format!("{case}{}", problems.join(","));
            errors.push(FieldError::invalid_str(
                &format!("spec.names.{field}"),
                text,
                &problem,
            ));
        }
    }
    for field in ["shortNames", "categories"] {
        for (i, text) in list(kinds, field).iter().enumerate() {
            let text = text.as_str().unwrap_or_default();
            let path = format!("spec.names.{field}[{i}]");
            invalid(&path, text, names::dns1035_label(text), errors);
        }
    }
    if set(kinds, "kind") && kinds.get("kind") == kinds.get("listKind") {
        let text = word(kinds, "listKind");
        let problem = "kind and listKind may not be the same";
        errors.push(FieldError::invalid_str(
            "spec.names.listKind",
            text,
            problem,
        ));
    }
}
