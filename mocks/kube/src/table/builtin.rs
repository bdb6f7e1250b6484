use jiff::Timestamp;
use serde_json::Value;

use super::age;
use crate::kinds::Resource;
use crate::meta::{list, name, strings, text};
use crate::selector::print_selector;

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn or(text: &str, other: &str) -> Value {
    if text.is_empty() {
        other.into()
    } else {
        text.into()
    }
}

fn joined(items: &[String], empty: &str) -> Value {
    if items.is_empty() {
        empty.into()
    } else {
        items.join(",").into()
    }
}

/// At most three, and how many more there are.
fn shortened(items: &[String], empty: &str) -> Value {
    match items.len() {
        0 => empty.into(),
        1..=3 => items.join(",").into(),
        n => format!("{} + {} more...", items[..3].join(","), n - 3).into(),
    }
}

fn count(object: &Value, pointers: &[&str]) -> Value {
    let length = |pointer: &&str| match object.pointer(pointer) {
        Some(Value::Object(map)) => map.len(),
        Some(Value::Array(list)) => list.len(),
        _ => 0,
    };
    pointers.iter().map(length).sum::<usize>().into()
}

fn containers(object: &Value, field: &str) -> Value {
    let all = list(object, "/spec/template/spec/containers");
    let all: Vec<String> = all.iter().map(|c| text(c, field).to_owned()).collect();
    all.join(",").into()
}

fn selector(object: &Value) -> Value {
    let selector = object.pointer("/spec/selector").unwrap_or(&Value::Null);
    or(&print_selector(selector), "<none>")
}

/// The cells after the name.
pub(super) fn cells(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    let at = text(object, "/metadata/creationTimestamp");
    let age: Value = age::since(at, now).into();
    match resource.kind.as_str() {
        "Namespace" => vec![text(object, "/status/phase").into(), age],
        "Pod" => pod(object, age, now),
        "Service" => service(object, age),
        "Secret" => vec![text(object, "/type").into(), count(object, &["/data"]), age],
        "ConfigMap" => vec![count(object, &["/data", "/binaryData"]), age],
        "ServiceAccount" => vec![count(object, &["/secrets"]), age],
        "Event" => event(resource, object, now),
        "Node" => node(object, age),
        "Endpoints" => vec![shortened(&endpoints(object), "<none>"), age],
        "Deployment" => vec![
            format!(
                "{}/{}",
                number(object, "/status/readyReplicas"),
                number(object, "/spec/replicas")
            )
            .into(),
            number(object, "/status/updatedReplicas").into(),
            number(object, "/status/availableReplicas").into(),
            age,
            containers(object, "/name"),
            containers(object, "/image"),
            selector(object),
        ],
        "ReplicaSet" => vec![
            number(object, "/spec/replicas").into(),
            number(object, "/status/replicas").into(),
            number(object, "/status/readyReplicas").into(),
            age,
            containers(object, "/name"),
            containers(object, "/image"),
            selector(object),
        ],
        "EndpointSlice" => {
            let ports: Vec<String> = list(object, "/ports")
                .iter()
                .map(|port| {
                    port["port"]
                        .as_i64()
                        .map_or("*".to_owned(), |port| port.to_string())
                })
                .collect();
            let addresses: Vec<String> = list(object, "/endpoints")
                .iter()
                .flat_map(|endpoint| strings(endpoint, "/addresses"))
                .map(str::to_owned)
                .collect();
            vec![
                text(object, "/addressType").into(),
                shortened(&ports, "<unset>"),
                shortened(&addresses, "<unset>"),
                age,
            ]
        }
        "Lease" => vec![text(object, "/spec/holderIdentity").into(), age],
        "HorizontalPodAutoscaler" => {
            let target = |field: &str| text(object, &format!("/spec/scaleTargetRef/{field}"));
            let least = object.pointer("/spec/minReplicas").and_then(Value::as_i64);
            vec![
                format!("{}/{}", target("kind"), target("name")).into(),
                targets(object),
                least.map_or_else(|| "<unset>".into(), |n| n.to_string().into()),
                number(object, "/spec/maxReplicas").into(),
                number(object, "/status/currentReplicas").into(),
                age,
            ]
        }
        "PodDisruptionBudget" => {
            let shown = |pointer: &str| match object.pointer(pointer) {
                Some(Value::String(text)) => text.clone().into(),
                Some(Value::Number(number)) => number.to_string().into(),
                _ => "N/A".into(),
            };
            vec![
                shown("/spec/minAvailable"),
                shown("/spec/maxUnavailable"),
                number(object, "/status/disruptionsAllowed").into(),
                age,
            ]
        }
        "Role" | "ClusterRole" | "CustomResourceDefinition" => vec![at.into()],
        "RoleBinding" | "ClusterRoleBinding" => {
            let subjects = |kind: &str| {
                let all: Vec<String> = list(object, "/subjects")
                    .iter()
                    .filter(|subject| text(subject, "/kind") == kind)
                    .map(|subject| match text(subject, "/namespace") {
                        "" => text(subject, "/name").to_owned(),
                        namespace => format!("{namespace}/{}", text(subject, "/name")),
                    })
                    .collect();
                joined(&all, "")
            };
            let role = format!(
                "{}/{}",
                text(object, "/roleRef/kind"),
                text(object, "/roleRef/name")
            );
            vec![
                role.into(),
                age,
                subjects("User"),
                subjects("Group"),
                subjects("ServiceAccount"),
            ]
        }
        "Ingress" => ingress(object, age),
        "IngressClass" => {
            let parameters = match object.pointer("/spec/parameters") {
                Some(parameters) => {
                    let kind = text(parameters, "/kind");
                    let group = text(parameters, "/apiGroup");
                    let dot = if group.is_empty() { "" } else { "." };
                    format!("{kind}{dot}{group}/{}", name(parameters)).into()
                }
                None => "<none>".into(),
            };
            vec![text(object, "/spec/controller").into(), parameters, age]
        }
        _ => Vec::new(),
    }
}

fn pod(object: &Value, age: Value, now: Timestamp) -> Vec<Value> {
    let statuses = list(object, "/status/containerStatuses");
    let ready = statuses
        .iter()
        .filter(|status| status["ready"] == Value::Bool(true))
        .count();
    let restarts: i64 = statuses
        .iter()
        .map(|status| number(status, "/restartCount"))
        .sum();
    let total = list(object, "/spec/containers").len();
    let mut reason = text(object, "/status/phase");
    if !text(object, "/status/reason").is_empty() {
        reason = text(object, "/status/reason");
    }
    for status in statuses.iter().rev() {
        for state in ["/state/waiting/reason", "/state/terminated/reason"] {
            if !text(status, state).is_empty() {
                reason = text(status, state);
            }
        }
    }
    if crate::meta::deleting(object) {
        reason = "Terminating";
    }
    let finished = statuses
        .iter()
        .map(|status| text(status, "/lastState/terminated/finishedAt"))
        .filter(|at| !at.is_empty())
        .max();
    let restarts = match finished {
        Some(at) if restarts > 0 => format!("{restarts} ({} ago)", age::since(at, now)),
        _ => restarts.to_string(),
    };
    let gates = list(object, "/spec/readinessGates").len();
    vec![
        format!("{ready}/{total}").into(),
        reason.into(),
        restarts.into(),
        age,
        or(text(object, "/status/podIP"), "<none>"),
        or(text(object, "/spec/nodeName"), "<none>"),
        or(text(object, "/status/nominatedNodeName"), "<none>"),
        if gates == 0 {
            "<none>".into()
        } else {
            format!("0/{gates}").into()
        },
    ]
}

fn service(object: &Value, age: Value) -> Vec<Value> {
    let kind = text(object, "/spec/type");
    let ingress: Vec<String> = list(object, "/status/loadBalancer/ingress")
        .iter()
        .map(|ingress| match text(ingress, "/ip") {
            "" => text(ingress, "/hostname").to_owned(),
            ip => ip.to_owned(),
        })
        .collect();
    let mut external: Vec<String> = strings(object, "/spec/externalIPs")
        .into_iter()
        .map(str::to_owned)
        .collect();
    let external = match kind {
        "LoadBalancer" => {
            external.splice(0..0, ingress);
            joined(&external, "<pending>")
        }
        "ExternalName" => text(object, "/spec/externalName").into(),
        _ => joined(&external, "<none>"),
    };
    let ports: Vec<String> = list(object, "/spec/ports")
        .iter()
        .map(|port| {
            let (number, protocol) = (number(port, "/port"), text(port, "/protocol"));
            match port["nodePort"].as_i64().filter(|port| *port > 0) {
                Some(node) => format!("{number}:{node}/{protocol}"),
                None => format!("{number}/{protocol}"),
            }
        })
        .collect();
    let selector = match object.pointer("/spec/selector").and_then(Value::as_object) {
        Some(labels) => {
            let mut pairs: Vec<String> = labels
                .iter()
                .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
                .collect();
            pairs.sort();
            joined(&pairs, "<none>")
        }
        None => "<none>".into(),
    };
    vec![
        kind.into(),
        or(text(object, "/spec/clusterIP"), "<none>"),
        external,
        joined(&ports, "<none>"),
        age,
        selector,
    ]
}

fn event(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    let core = resource.group.is_empty();
    let pick = |a: &'static str, b: &'static str| if core { a } else { b };
    let about = pick("/involvedObject", "/regarding");
    let of = |field: &str| text(object, &format!("{about}/{field}"));
    let time = |pointers: &[&str]| {
        let found = pointers
            .iter()
            .map(|p| text(object, p))
            .find(|text| !text.is_empty());
        found.map_or_else(|| "<unknown>".to_owned(), |at| age::since(at, now))
    };
    let last = pick("/lastTimestamp", "/deprecatedLastTimestamp");
    let first = pick("/firstTimestamp", "/deprecatedFirstTimestamp");
    let created = "/metadata/creationTimestamp";
    let source = pick("/source", "/deprecatedSource");
    let (component, host) = match text(object, &format!("{source}/component")) {
        "" => (
            text(object, pick("/reportingComponent", "/reportingController")),
            text(object, "/reportingInstance"),
        ),
        component => (component, text(object, &format!("{source}/host"))),
    };
    let from = if host.is_empty() {
        component.to_owned()
    } else {
        format!("{component}, {host}")
    };
    let counted = pick("/count", "/deprecatedCount");
    let series = number(object, "/series/count");
    let count = if series > 0 {
        series
    } else {
        number(object, counted).max(1)
    };
    vec![
        time(&["/series/lastObservedTime", last, "/eventTime", created]).into(),
        text(object, "/type").into(),
        text(object, "/reason").into(),
        format!("{}/{}", of("kind").to_lowercase(), of("name")).into(),
        of("fieldPath").into(),
        from.into(),
        text(object, pick("/message", "/note")).trim().into(),
        time(&[first, "/eventTime", created]).into(),
        count.into(),
        name(object).into(),
    ]
}

fn node(object: &Value, age: Value) -> Vec<Value> {
    let condition = list(object, "/status/conditions")
        .iter()
        .find(|condition| text(condition, "/type") == "Ready")
        .map(|condition| text(condition, "/status"));
    let mut status = match condition {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if object.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    let labels = object
        .pointer("/metadata/labels")
        .and_then(Value::as_object);
    let mut roles: Vec<String> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .map(str::to_owned)
        .collect();
    roles.sort();
    let address = |kind: &str| {
        let addresses = list(object, "/status/addresses");
        let found = addresses
            .iter()
            .find(|address| text(address, "/type") == kind);
        or(
            found
                .map(|address| text(address, "/address"))
                .unwrap_or_default(),
            "<none>",
        )
    };
    let info = |field: &str| {
        or(
            text(object, &format!("/status/nodeInfo/{field}")),
            "<unknown>",
        )
    };
    vec![
        status.into(),
        joined(&roles, "<none>"),
        age,
        text(object, "/status/nodeInfo/kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn endpoints(object: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for subset in list(object, "/subsets") {
        for address in list(subset, "/addresses") {
            let ip = text(address, "/ip");
            let ports = list(subset, "/ports");
            if ports.is_empty() {
                all.push(ip.to_owned());
            }
            all.extend(
                ports
                    .iter()
                    .map(|port| format!("{ip}:{}", number(port, "/port"))),
            );
        }
    }
    all
}

/// Current and wanted values of an autoscaler's metrics; only utilization is printed, others as unknown.
fn targets(object: &Value) -> Value {
    let metrics: Vec<String> = list(object, "/spec/metrics")
        .iter()
        .map(|metric| {
            let wanted = metric.pointer("/resource/target/averageUtilization");
            let wanted = wanted.and_then(Value::as_i64);
            let resource = text(metric, "/resource/name");
            let current = list(object, "/status/currentMetrics")
                .iter()
                .find(|current| text(current, "/resource/name") == resource)
                .and_then(|current| current.pointer("/resource/current/averageUtilization"))
                .and_then(Value::as_i64);
            let percent = |value: Option<i64>| {
                value.map_or_else(|| "<unknown>".to_owned(), |value| format!("{value}%"))
            };
            format!("{resource}: {}/{}", percent(current), percent(wanted))
        })
        .collect();
    joined(&metrics, "<none>")
}

fn ingress(object: &Value, age: Value) -> Vec<Value> {
    let hosts: Vec<String> = list(object, "/spec/rules")
        .iter()
        .map(|rule| text(rule, "/host").to_owned())
        .filter(|host| !host.is_empty())
        .collect();
    let addresses: Vec<String> = list(object, "/status/loadBalancer/ingress")
        .iter()
        .map(|ingress| match text(ingress, "/ip") {
            "" => text(ingress, "/hostname").to_owned(),
            ip => ip.to_owned(),
        })
        .collect();
    let ports = if list(object, "/spec/tls").is_empty() {
        "80"
    } else {
        "80, 443"
    };
    vec![
        or(text(object, "/spec/ingressClassName"), "<none>"),
        shortened(&hosts, "*"),
        joined(&addresses, ""),
        ports.into(),
        age,
    ]
}
