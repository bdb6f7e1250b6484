//! Roles and bindings (`pkg/apis/rbac/validation`).

use serde_json::{Value, json};

use super::{invalid, list, word};
use crate::builtin::names;
use crate::schema::FieldError;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn check(kind: &str, object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    match kind {
        "Role" | "ClusterRole" => {
            for (i, rule) in list(object, "rules").iter().enumerate() {
                self::rule(rule, kind == "Role", &format!("rules[{i}]"), errors);
            }
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            binding(kind, object, errors);
            if let Some(before) = old.and_then(|old| old.get("roleRef"))
                && object.get("roleRef") != Some(before)
            {
                let value = object.get("roleRef").cloned().unwrap_or_default();
                errors.push(FieldError::invalid("roleRef", &value, "field is immutable"));
            }
        }
        _ => {}
    }
}

fn rule(rule: &Value, namespaced: bool, path: &str, errors: &mut Vec<FieldError>) {
    if list(rule, "verbs").is_empty() {
        errors.push(FieldError::required(&format!("{path}.verbs"), ""));
    }
    let urls = list(rule, "nonResourceURLs");
    if !urls.is_empty() {
        let at = format!("{path}.nonResourceURLs");
        if namespaced {
            let problem = "namespaced rules cannot apply to non-resource URLs";
            errors.push(FieldError::invalid(&at, &json!(urls), problem));
        }
        let mixed = ["apiGroups", "resources", "resourceNames"];
        if mixed.iter().any(|name| !list(rule, name).is_empty()) {
            let problem = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(FieldError::invalid(&at, &json!(urls), problem));
        }
        return;
    }
    if list(rule, "apiGroups").is_empty() {
        let problem = "resource rules must supply at least one api group";
        errors.push(FieldError::required(&format!("{path}.apiGroups"), problem));
    }
    if list(rule, "resources").is_empty() {
        let problem = "resource rules must supply at least one resource";
        errors.push(FieldError::required(&format!("{path}.resources"), problem));
    }
}

fn binding(kind: &str, object: &Value, errors: &mut Vec<FieldError>) {
    let empty = json!({});
    let role = object.get("roleRef").unwrap_or(&empty);
    let group = word(role, "apiGroup");
    if group != GROUP {
        errors.push(FieldError::not_supported(
            "roleRef.apiGroup",
            &json!(group),
            &[GROUP],
        ));
    }
    let kinds: &[&str] = if kind == "RoleBinding" {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    let role_kind = word(role, "kind");
    if !kinds.contains(&role_kind) {
        errors.push(FieldError::not_supported(
            "roleRef.kind",
            &json!(role_kind),
            kinds,
        ));
    }
    let name = word(role, "name");
    if name.is_empty() {
        errors.push(FieldError::required("roleRef.name", ""));
    } else {
        invalid("roleRef.name", name, names::path_segment(name), errors);
    }
    for (i, subject) in list(object, "subjects").iter().enumerate() {
        self::subject(
            subject,
            kind == "RoleBinding",
            &format!("subjects[{i}]"),
            errors,
        );
    }
}

fn subject(subject: &Value, namespaced: bool, path: &str, errors: &mut Vec<FieldError>) {
    let name = word(subject, "name");
    if name.is_empty() {
        errors.push(FieldError::required(&format!("{path}.name"), ""));
    }
    let group = word(subject, "apiGroup");
    let at = format!("{path}.apiGroup");
    match word(subject, "kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                invalid(
                    &format!("{path}.name"),
                    name,
                    names::dns1123_subdomain(name),
                    errors,
                );
            }
            if !group.is_empty() {
                errors.push(FieldError::not_supported(&at, &json!(group), &[""]));
            }
            if !namespaced && word(subject, "namespace").is_empty() {
                errors.push(FieldError::required(&format!("{path}.namespace"), ""));
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.push(FieldError::not_supported(&at, &json!(group), &[GROUP]));
            }
        }
        other => errors.push(FieldError::not_supported(
            &format!("{path}.kind"),
            &json!(other),
            &["ServiceAccount", "User", "Group"],
        )),
    }
}
