//! Services (`pkg/apis/core/validation`, `validateService`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::endpoints::special_address;
use super::{int, invalid, list, one_of, set, word};
use crate::builtin::{metadata, names};
use crate::schema::FieldError;

/// The node ports that the real server hands out by default.
const NODE_PORTS: std::ops::RangeInclusive<i64> = 30000..=32767;

pub(super) fn check(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let empty = json!({});
    let spec = object.get("spec").unwrap_or(&empty);
    let kind = word(spec, "type");
    let headless = word(spec, "clusterIP") == "None";
    let ports = list(spec, "ports");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    if headless && matches!(kind, "LoadBalancer" | "NodePort") {
        let problem = format!("may not be set to 'None' for {kind} services");
        errors.push(FieldError::invalid_str(
            "spec.clusterIPs[0]",
            "None",
            &problem,
        ));
    }
    if kind == "ExternalName" {
        let name = word(spec, "externalName").trim_end_matches('.');
        if name.is_empty() {
            errors.push(FieldError::required("spec.externalName", ""));
        } else {
            invalid(
                "spec.externalName",
                name,
                names::dns1123_subdomain(name),
                errors,
            );
        }
        if !word(spec, "clusterIP").is_empty() {
            let problem = "may not be set for ExternalName services";
            errors.push(FieldError::forbidden("spec.clusterIPs", problem));
        }
    }
    self::ports(ports, kind, errors);
    let ingress = object
        .pointer("/status/loadBalancer/ingress")
        .and_then(Value::as_array);
    if kind != "LoadBalancer" && ingress.is_some_and(|points| !points.is_empty()) {
        let problem = "may only be used when `spec.type` is 'LoadBalancer'";
        errors.push(FieldError::forbidden(
            "status.loadBalancer.ingress",
            problem,
        ));
    }
    for (i, point) in ingress.into_iter().flatten().enumerate() {
        let ip = word(point, "ip");
        if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
            let path = format!("status.loadBalancer.ingress[{i}].ip");
            errors.push(FieldError::invalid_str(&path, ip, INVALID_IP));
        }
    }
    metadata::labels(spec.get("selector"), "spec.selector", errors);
    one_of(
        spec,
        "sessionAffinity",
        &["ClientIP", "None"],
        "spec",
        errors,
    );
    addresses(spec, kind, errors);
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    one_of(spec, "type", &kinds, "spec", errors);
    if set(spec, "allocateLoadBalancerNodePorts") && kind != "LoadBalancer" {
        errors.push(FieldError::forbidden(
            "spec.allocateLoadBalancerNodePorts",
            "may only be used when `type` is 'LoadBalancer'",
        ));
    }
    one_of(
        spec,
        "externalTrafficPolicy",
        &["Cluster", "Local"],
        "spec",
        errors,
    );
    one_of(
        spec,
        "internalTrafficPolicy",
        &["Cluster", "Local"],
        "spec",
        errors,
    );
    load_balancer_class(spec, old, errors);
    if let Some(old) = old {
        let before = old
            .pointer("/spec/clusterIP")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let was_external =
            old.pointer("/spec/type").and_then(Value::as_str) == Some("ExternalName");
        let now = word(spec, "clusterIP");
        if !before.is_empty()
            && !was_external
            && kind != "ExternalName"
            && !now.is_empty()
            && now != before
        {
            let problem = "may not change once set";
            errors.push(FieldError::invalid(
                "spec.clusterIPs[0]",
                &json!([now]),
                problem,
            ));
        }
    }
}

fn ports(ports: &[Value], kind: &str, errors: &mut Vec<FieldError>) {
    let mut seen_names = BTreeSet::new();
    let mut seen_ports = BTreeSet::new();
    let mut seen_node_ports = BTreeSet::new();
    let mut late = Vec::new();
    for (i, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{i}]");
        let name = word(port, "name");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(FieldError::required(&format!("{path}.name"), ""));
            }
        } else {
            let at = format!("{path}.name");
            invalid(&at, name, names::dns1123_label(name), errors);
            if !seen_names.insert(name) {
                errors.push(FieldError::duplicate(&at, &json!(name)));
            }
        }
        let number = int(port, "port");
        if let Some(problem) = names::port_number(number) {
            errors.push(FieldError::invalid(
                &format!("{path}.port"),
                &json!(number),
                problem,
            ));
        }
        one_of(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
        port_or_name(port, "targetPort", &path, errors);
        let protocol = word(port, "appProtocol");
        if !protocol.is_empty() {
            invalid(
                &format!("{path}.appProtocol"),
                protocol,
                names::qualified_name(protocol),
                errors,
            );
        }
        let protocol = word(port, "protocol");
        let node_port = int(port, "nodePort");
        if node_port != 0 {
            let at = format!("{path}.nodePort");
            if kind == "ClusterIP" {
                late.push(FieldError::forbidden(
                    &at,
                    "may not be used when `type` is 'ClusterIP'",
                ));
            } else if !NODE_PORTS.contains(&node_port) {
                late.push(FieldError::invalid(
                    &at,
                    &json!(node_port),
                    "provided port is not in the valid range. The range of valid ports is 30000-32767",
                ));
            }
            if !seen_node_ports.insert((protocol, node_port)) {
                late.push(FieldError::duplicate(&at, &json!(node_port)));
            }
        }
        if !seen_ports.insert((protocol, number)) {
            let shown = json!({
                "Name": "", "Protocol": protocol, "AppProtocol": null, "Port": number, "TargetPort": 0, "NodePort": 0,
            });
            // In the order of the struct, as Go prints it.
            let text = format!("Duplicate value: {shown}");
            late.push(FieldError::new(
                &path,
                crate::schema::FieldReason::Duplicate,
                text,
            ));
        }
    }
    errors.append(&mut late);
}

/// A port by number or by name.
pub(super) fn port_or_name(object: &Value, name: &str, path: &str, errors: &mut Vec<FieldError>) {
    let path = format!("{path}.{name}");
    match object.get(name) {
        Some(Value::String(text)) => invalid(&path, text, names::port_name(text), errors),
        Some(Value::Number(n)) => {
            let number = n.as_i64().unwrap_or_default();
            if let Some(problem) = names::port_number(number) {
                errors.push(FieldError::invalid(&path, &json!(number), problem));
            }
        }
        _ => {}
    }
}

fn addresses(spec: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    for (i, value) in list(spec, "externalIPs").iter().enumerate() {
        let text = value.as_str().unwrap_or_default();
        let path = format!("spec.externalIPs[{i}]");
        match text.parse::<IpAddr>() {
            Ok(address) => special_address(address, text, &path, errors),
            Err(_) => errors.push(FieldError::invalid_str(&path, text, INVALID_IP)),
        }
    }
    let cluster_ip = word(spec, "clusterIP");
    if !cluster_ip.is_empty() && cluster_ip != "None" && cluster_ip.parse::<IpAddr>().is_err() {
        errors.push(FieldError::invalid_str(
            "spec.clusterIPs[0]",
            cluster_ip,
            INVALID_IP,
        ));
    }
    let ranges = list(spec, "loadBalancerSourceRanges");
    if !ranges.is_empty() && kind != "LoadBalancer" {
        let problem = "may only be used when `type` is 'LoadBalancer'";
        errors.push(FieldError::forbidden(
            "spec.LoadBalancerSourceRanges",
            problem,
        ));
    }
    for (i, range) in ranges.iter().enumerate() {
        let text = range.as_str().unwrap_or_default().trim();
        if !crate::schema::cidr(text) {
            errors.push(FieldError::invalid_str(
                &format!("spec.LoadBalancerSourceRanges[{i}]"),
                text,
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ));
        }
    }
}

pub(super) const INVALID_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

fn load_balancer_class(spec: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let balancer = |spec: &Value| word(spec, "type") == "LoadBalancer";
    let class = spec.get("loadBalancerClass").filter(|c| !c.is_null());
    let path = "spec.loadBalancerClass";
    if let Some(before) = old.and_then(|old| old.get("spec")).filter(|s| balancer(s))
        && balancer(spec)
        && before.get("loadBalancerClass").filter(|c| !c.is_null()) != class
    {
        let problem = "may not change once set";
        errors.push(FieldError::invalid(
            path,
            &class.cloned().unwrap_or_default(),
            problem,
        ));
        return;
    }
    let Some(class) = class else { return };
    if !balancer(spec) {
        let problem = "may only be used when `type` is 'LoadBalancer'";
        errors.push(FieldError::forbidden(path, problem));
        return;
    }
    let class = class.as_str().unwrap_or_default();
    invalid(path, class, names::qualified_name(class), errors);
}
