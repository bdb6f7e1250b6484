//! Pods and the templates of workloads (`pkg/apis/core/validation`, `ValidatePodSpec`).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::service::port_or_name;
use super::{int, invalid, list, not_negative, one_of, set, word};
use crate::builtin::{metadata, names};
use crate::schema::{FieldError, Quantity};

pub(super) fn check(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let empty = json!({});
    let new_spec = object.get("spec").unwrap_or(&empty);
    spec(new_spec, "spec", errors);
    let Some(before) = old.and_then(|old| old.get("spec")) else {
        return;
    };
    if changed(new_spec, before) {
        errors.push(FieldError::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
             tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
}

/// Whether anything changed that a Pod may not change after it was made. A node is given once.
fn changed(new: &Value, old: &Value) -> bool {
    let strip = |spec: &Value| {
        let mut spec = spec.clone();
        if let Value::Object(map) = &mut spec {
            for name in [
                "activeDeadlineSeconds",
                "tolerations",
                "ephemeralContainers",
                "schedulingGates",
            ] {
                map.shift_remove(name);
            }
        }
        for name in ["containers", "initContainers"] {
            let items = spec.get_mut(name).and_then(Value::as_array_mut);
            for container in items.into_iter().flatten().filter_map(Value::as_object_mut) {
                container.shift_remove("image");
            }
        }
        spec
    };
    let (mut new, old) = (strip(new), strip(old));
    if word(&old, "nodeName").is_empty()
        && let Value::Object(map) = &mut new
    {
        map.shift_remove("nodeName");
    }
    new != old
}

/// The template of a workload.
pub(super) fn template(template: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let labels = template.pointer("/metadata/labels");
    metadata::labels(labels, &format!("{path}.metadata.labels"), errors);
    let empty = json!({});
    spec(
        template.get("spec").unwrap_or(&empty),
        &format!("{path}.spec"),
        errors,
    );
}

fn spec(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let volumes = volumes(list(spec, "volumes"), path, errors);
    let containers = list(spec, "containers");
    if containers.is_empty() {
        errors.push(FieldError::required(&format!("{path}.containers"), ""));
    }
    let mut seen = BTreeSet::new();
    for name in ["containers", "initContainers"] {
        for (i, container) in list(spec, name).iter().enumerate() {
            let path = format!("{path}.{name}[{i}]");
            self::container(container, &volumes, &path, errors);
            let name = word(container, "name");
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(&format!("{path}.name"), &json!(name)));
            }
        }
    }
    one_of(
        spec,
        "restartPolicy",
        &["Always", "OnFailure", "Never"],
        path,
        errors,
    );
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(spec, "dnsPolicy", &policies, path, errors);
    metadata::labels(
        spec.get("nodeSelector"),
        &format!("{path}.nodeSelector"),
        errors,
    );
    for (name, check) in [
        (
            "serviceAccountName",
            names::dns1123_subdomain as fn(&str) -> Vec<String>,
        ),
        ("nodeName", names::dns1123_subdomain),
        ("hostname", names::dns1123_label),
        ("subdomain", names::dns1123_label),
        ("priorityClassName", names::dns1123_subdomain),
    ] {
        let value = word(spec, name);
        if !value.is_empty() {
            invalid(&format!("{path}.{name}"), value, check(value), errors);
        }
    }
    if let Some(seconds) = spec.get("activeDeadlineSeconds").filter(|v| !v.is_null())
        && !seconds
            .as_i64()
            .is_some_and(|s| (1..=i64::from(i32::MAX)).contains(&s))
    {
        let problem = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(
            &format!("{path}.activeDeadlineSeconds"),
            seconds,
            problem,
        ));
    }
    tolerations(spec, path, errors);
}

fn volumes<'a>(
    volumes: &'a [Value],
    path: &str,
    errors: &mut Vec<FieldError>,
) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    for (i, volume) in volumes.iter().enumerate() {
        let path = format!("{path}.volumes[{i}]");
        let name = word(volume, "name");
        let sources = volume
            .as_object()
            .map_or(0, |m| m.keys().filter(|k| *k != "name").count());
        if sources == 0 {
            errors.push(FieldError::required(&path, "must specify a volume type"));
        }
        for second in volume
            .as_object()
            .into_iter()
            .flat_map(|m| m.keys().filter(|k| *k != "name").skip(1))
        {
            let problem = "may not specify more than 1 volume type";
            errors.push(FieldError::forbidden(&format!("{path}.{second}"), problem));
        }
        let at = format!("{path}.name");
        if name.is_empty() {
            errors.push(FieldError::required(&at, ""));
        } else {
            invalid(&at, name, names::dns1123_label(name), errors);
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&at, &json!(name)));
        }
        for (source, field) in [("secret", "secretName"), ("configMap", "name")] {
            if let Some(source_value) = volume.get(source).filter(|s| word(s, field).is_empty())
                && !source_value.is_null()
            {
                errors.push(FieldError::required(
                    &format!("{path}.{source}.{field}"),
                    "",
                ));
            }
        }
    }
    seen
}

fn container(
    container: &Value,
    volumes: &BTreeSet<&str>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let name = word(container, "name");
    let at = format!("{path}.name");
    if name.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else {
        invalid(&at, name, names::dns1123_label(name), errors);
    }
    let image = word(container, "image");
    let at = format!("{path}.image");
    if image.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else if image.trim() != image {
        let problem = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid_str(&at, image, problem));
    }
    ports(list(container, "ports"), path, errors);
    for (i, env) in list(container, "env").iter().enumerate() {
        let path = format!("{path}.env[{i}]");
        let name = word(env, "name");
        if name.is_empty() {
            errors.push(FieldError::required(&format!("{path}.name"), ""));
        } else if !name.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=') {
            let problem = "a valid environment variable name must consist only of printable ASCII characters other than '='";
            errors.push(FieldError::invalid_str(
                &format!("{path}.name"),
                name,
                problem,
            ));
        }
        if set(env, "valueFrom") && !word(env, "value").is_empty() {
            let problem = "may not be specified when `value` is not empty";
            errors.push(FieldError::invalid_str(
                &format!("{path}.valueFrom"),
                "",
                problem,
            ));
        }
    }
    let mut mounted = BTreeSet::new();
    for (i, mount) in list(container, "volumeMounts").iter().enumerate() {
        let path = format!("{path}.volumeMounts[{i}]");
        let name = word(mount, "name");
        if name.is_empty() {
            errors.push(FieldError::required(&format!("{path}.name"), ""));
        }
        if !volumes.contains(name) {
            errors.push(FieldError::not_found(&format!("{path}.name"), &json!(name)));
        }
        let target = word(mount, "mountPath");
        if target.is_empty() {
            errors.push(FieldError::required(&format!("{path}.mountPath"), ""));
        }
        if !mounted.insert(target) {
            let at = format!("{path}.mountPath");
            errors.push(FieldError::invalid_str(&at, target, "must be unique"));
        }
    }
    one_of(
        container,
        "imagePullPolicy",
        &["Always", "IfNotPresent", "Never"],
        path,
        errors,
    );
    resources(container, path, errors);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(value) = container.get(probe).filter(|p| p.is_object()) {
            self::probe(value, probe, &format!("{path}.{probe}"), errors);
        }
    }
}

fn ports(ports: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let path = format!("{path}.ports[{i}]");
        let name = word(port, "name");
        if !name.is_empty() {
            let at = format!("{path}.name");
            let problems = names::port_name(name);
            if problems.is_empty() && !seen.insert(name) {
                errors.push(FieldError::duplicate(&at, &json!(name)));
            }
            invalid(&at, name, problems, errors);
        }
        let number = int(port, "containerPort");
        let at = format!("{path}.containerPort");
        if number == 0 {
            errors.push(FieldError::required(&at, ""));
        } else if let Some(problem) = names::port_number(number) {
            errors.push(FieldError::invalid(&at, &json!(number), problem));
        }
        let host = int(port, "hostPort");
        if let Some(problem) = names::port_number(host).filter(|_| host != 0) {
            errors.push(FieldError::invalid(
                &format!("{path}.hostPort"),
                &json!(host),
                problem,
            ));
        }
        one_of(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
    }
}

fn resources(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(resources) = container.get("resources") else {
        return;
    };
    let amounts = |name: &str| resources.get(name).and_then(Value::as_object);
    let read = |v: &Value| {
        let text = v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        Quantity::parse(&text).ok()
    };
    for list in ["limits", "requests"] {
        for (name, amount) in amounts(list).into_iter().flatten() {
            if read(amount).is_some_and(|q| q.sign() < 0) {
                let at = format!("{path}.resources.{list}[{name}]");
                errors.push(FieldError::invalid(
                    &at,
                    amount,
                    "must be greater than or equal to 0",
                ));
            }
        }
    }
    for (name, request) in amounts("requests").into_iter().flatten() {
        let limit = amounts("limits").and_then(|l| l.get(name));
        if let (Some(requested), Some(allowed)) = (read(request), limit.and_then(read))
            && requested > allowed
        {
            let shown = limit.and_then(Value::as_str).unwrap_or_default();
            let problem = format!("must be less than or equal to {name} limit of {shown}");
            errors.push(FieldError::invalid(
                &format!("{path}.resources.requests"),
                request,
                &problem,
            ));
        }
    }
}

fn probe(probe: &Value, name: &str, path: &str, errors: &mut Vec<FieldError>) {
    let handlers = ["exec", "httpGet", "tcpSocket", "grpc"];
    let given: Vec<&str> = handlers.into_iter().filter(|h| set(probe, h)).collect();
    if given.is_empty() {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
    for extra in given.iter().skip(1) {
        let problem = "may not specify more than 1 handler type";
        errors.push(FieldError::forbidden(&format!("{path}.{extra}"), problem));
    }
    for handler in ["httpGet", "tcpSocket"] {
        if let Some(handler_value) = probe.get(handler) {
            port_or_name(handler_value, "port", &format!("{path}.{handler}"), errors);
        }
    }
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        not_negative(probe, field, path, errors);
    }
    if name != "readinessProbe" && int(probe, "successThreshold") > 1 {
        let value = json!(int(probe, "successThreshold"));
        errors.push(FieldError::invalid(
            &format!("{path}.successThreshold"),
            &value,
            "must be 1",
        ));
    }
}

fn tolerations(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (i, toleration) in list(spec, "tolerations").iter().enumerate() {
        let path = format!("{path}.tolerations[{i}]");
        let key = word(toleration, "key");
        let operator = word(toleration, "operator");
        if !key.is_empty() {
            invalid(
                &format!("{path}.key"),
                key,
                names::qualified_name(key),
                errors,
            );
        } else if operator != "Exists" {
            let problem = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid_str(
                &format!("{path}.operator"),
                operator,
                problem,
            ));
        }
        if operator == "Exists" && !word(toleration, "value").is_empty() {
            let problem = "value must be empty when `operator` is 'Exists'";
            errors.push(FieldError::invalid(
                &format!("{path}.operator"),
                toleration,
                problem,
            ));
        }
        if !word(toleration, "effect").is_empty() {
            let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            one_of(toleration, "effect", &effects, &path, errors);
        }
    }
}
