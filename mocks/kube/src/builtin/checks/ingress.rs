//! Ingresses and their classes (`pkg/apis/networking/validation`).

use serde_json::{Value, json};

use super::{int, invalid, list, set, word};
use crate::builtin::{metadata, names};
use crate::schema::FieldError;

pub(super) fn check(object: &Value, errors: &mut Vec<FieldError>) {
    let empty = json!({});
    let spec = object.get("spec").unwrap_or(&empty);
    let rules = list(spec, "rules");
    if rules.is_empty() && !set(spec, "defaultBackend") {
        let problem = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid("spec", &json!(rules), problem));
    }
    if let Some(default) = spec.get("defaultBackend").filter(|b| !b.is_null()) {
        backend(default, "spec.defaultBackend", errors);
    }
    for (i, rule) in rules.iter().enumerate() {
        let path = format!("spec.rules[{i}]");
        host(word(rule, "host"), &format!("{path}.host"), errors);
        let Some(http) = rule.get("http").filter(|h| !h.is_null()) else {
            continue;
        };
        let paths = list(http, "paths");
        if paths.is_empty() {
            errors.push(FieldError::required(&format!("{path}.http.paths"), ""));
        }
        for (j, route) in paths.iter().enumerate() {
            self::route(route, &format!("{path}.http.paths[{j}]"), errors);
        }
    }
    for (i, tls) in list(spec, "tls").iter().enumerate() {
        for (j, value) in list(tls, "hosts").iter().enumerate() {
            let path = format!("spec.tls[{i}].hosts[{j}]");
            host(value.as_str().unwrap_or_default(), &path, errors);
        }
    }
    let class = word(spec, "ingressClassName");
    if !class.is_empty() {
        invalid(
            "spec.ingressClassName",
            class,
            names::dns1123_subdomain(class),
            errors,
        );
    }
}

fn host(host: &str, path: &str, errors: &mut Vec<FieldError>) {
    if host.is_empty() {
        return;
    }
    if host.parse::<std::net::IpAddr>().is_ok() {
        let problem = "must be a DNS name, not an IP address";
        errors.push(FieldError::invalid_str(path, host, problem));
    } else if host.contains('*') {
        invalid(path, host, names::wildcard_dns1123_subdomain(host), errors);
    } else {
        invalid(path, host, names::dns1123_subdomain(host), errors);
    }
}

fn route(route: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if !set(route, "pathType") {
        errors.push(FieldError::required(
            &format!("{path}.pathType"),
            "pathType must be specified",
        ));
        return;
    }
    let text = word(route, "path");
    let at = format!("{path}.path");
    match word(route, "pathType") {
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                errors.push(FieldError::invalid_str(
                    &at,
                    text,
                    "must be an absolute path",
                ));
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"] {
                if text.contains(part) {
                    let problem = format!("must not contain '{part}'");
                    errors.push(FieldError::invalid_str(&at, text, &problem));
                }
            }
            for end in ["/..", "/."] {
                if text.ends_with(end) {
                    let problem = format!("cannot end with '{end}'");
                    errors.push(FieldError::invalid_str(&at, text, &problem));
                }
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                errors.push(FieldError::invalid_str(
                    &at,
                    text,
                    "must be an absolute path",
                ));
            }
        }
        other => errors.push(FieldError::not_supported(
            &format!("{path}.pathType"),
            &json!(other),
            &["Exact", "ImplementationSpecific", "Prefix"],
        )),
    }
    let empty = json!({});
    backend(
        route.get("backend").unwrap_or(&empty),
        &format!("{path}.backend"),
        errors,
    );
}

fn backend(backend: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match (
        set(backend, "resource"),
        backend.get("service").filter(|s| !s.is_null()),
    ) {
        (true, Some(_)) => errors.push(FieldError::invalid_str(
            path,
            "",
            "cannot set both resource and service backends",
        )),
        (true, None) => {}
        (false, None) => errors.push(FieldError::invalid_str(
            path,
            "",
            "resource or service backend is required",
        )),
        (false, Some(service)) => {
            let name = word(service, "name");
            let at = format!("{path}.service.name");
            if name.is_empty() {
                errors.push(FieldError::required(&at, ""));
            } else {
                invalid(&at, name, names::dns1035_label(name), errors);
            }
            let empty = json!({});
            let port = service.get("port").unwrap_or(&empty);
            let (port_name, number) = (word(port, "name"), int(port, "number"));
            match (port_name.is_empty(), number) {
                (true, 0) => {
                    errors.push(FieldError::required(
                        path,
                        "port name or number is required",
                    ));
                }
                (false, 0) => {
                    let at = format!("{path}.service.port.name");
                    invalid(&at, port_name, names::port_name(port_name), errors);
                }
                (true, number) => {
                    if let Some(problem) = names::port_number(number) {
                        let at = format!("{path}.service.port.number");
                        errors.push(FieldError::invalid(&at, &json!(number), problem));
                    }
                }
                (false, _) => errors.push(FieldError::invalid_str(
                    path,
                    "",
                    "cannot set both port name & port number",
                )),
            }
        }
    }
}

pub(super) fn class(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let controller = object.pointer("/spec/controller");
    if let Some(old) = old {
        let before = old.pointer("/spec/controller");
        metadata::immutable(controller, before, "spec.controller", errors);
    }
    match controller.and_then(Value::as_str).unwrap_or_default() {
        "" => errors.push(FieldError::required("spec.controller", "")),
        name if !name.contains('/') => {
            let problem = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(FieldError::invalid_str("spec.controller", name, problem));
        }
        _ => {}
    }
}
