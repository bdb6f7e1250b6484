//! What the `SetDefaults_…` functions of the real server fill in (`pkg/apis/*/v1/defaults.go`).

use serde_json::{Map, Value, json};

/// Fills in the defaults of a kind.
pub(super) fn apply(group: &str, kind: &str, object: &mut Value) {
    match (group, kind) {
        ("", "Namespace") => namespace(object),
        ("", "Pod") => {
            if let Some(spec) = object.get_mut("spec") {
                pod_spec(spec);
                set(spec, "enableServiceLinks", json!(true));
                for list in ["containers", "initContainers"] {
                    each(spec, list, requests_from_limits);
                }
            }
            pod_status(object);
        }
        ("", "PodTemplate") => template(object, "/template"),
        ("", "Service") => service(object),
        ("", "Secret") => secret(object),
        ("", "Endpoints") => each(object, "subsets", |subset| {
            each(subset, "ports", |port| set(port, "protocol", json!("TCP")));
        }),
        ("", "Node") => {
            if let Some(capacity) = object.pointer("/status/capacity").cloned()
                && let Some(status) = object.get_mut("status")
            {
                set(status, "allocatable", capacity);
            }
        }
        ("apps", "Deployment") => deployment(object),
        ("apps", "ReplicaSet") => {
            set(spec(object), "replicas", json!(1));
            template(object, "/spec/template");
        }
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("batch", "Job") => job(object),
        ("discovery.k8s.io", "EndpointSlice") => {
            each(object, "ports", |port| {
                set(port, "name", json!(""));
                set(port, "protocol", json!("TCP"));
            });
            each(object, "endpoints", |endpoint| {
                set(endpoint, "conditions", json!({}));
            });
        }
        ("autoscaling", "HorizontalPodAutoscaler") => {
            let spec = spec(object);
            set(spec, "minReplicas", json!(1));
            let empty = spec
                .get("metrics")
                .and_then(Value::as_array)
                .is_none_or(Vec::is_empty);
            if empty && spec.get("maxReplicas").is_some() {
                let target = json!({"type": "Utilization", "averageUtilization": 80});
                spec["metrics"] =
                    json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
            }
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => binding(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("networking.k8s.io", "NetworkPolicy") => network_policy(object),
        ("networking.k8s.io", "IngressClass") => {
            if let Some(parameters) = object.pointer_mut("/spec/parameters") {
                set(parameters, "scope", json!("Cluster"));
            }
        }
        ("storage.k8s.io", "StorageClass") => {
            set(object, "reclaimPolicy", json!("Delete"));
            set(object, "volumeBindingMode", json!("Immediate"));
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            set(object, "preemptionPolicy", json!("PreemptLowerPriority"));
        }
        ("", "PersistentVolumeClaim") => {
            if let Some(spec) = object.get_mut("spec") {
                set(spec, "volumeMode", json!("Filesystem"));
            }
        }
        _ => {}
    }
}

/// Sets a field that is missing, null or an empty string.
fn set(object: &mut Value, name: &str, value: Value) {
    let Value::Object(map) = object else { return };
    let missing = map
        .get(name)
        .is_none_or(|v| v.is_null() || v.as_str() == Some(""));
    if missing {
        map.insert(name.to_owned(), value);
    }
}

/// The object at `name`, made when it is missing.
fn within<'a>(object: &'a mut Value, name: &str) -> &'a mut Value {
    set(object, name, Value::Object(Map::new()));
    &mut object[name]
}

fn spec(object: &mut Value) -> &mut Value {
    within(object, "spec")
}

fn each(object: &mut Value, list: &str, mut change: impl FnMut(&mut Value)) {
    if let Some(items) = object.get_mut(list).and_then(Value::as_array_mut) {
        items.iter_mut().for_each(&mut change);
    }
}

fn word<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn namespace(object: &mut Value) {
    let name = object.pointer("/metadata/name").cloned();
    if let Some(name) = name.filter(|n| n.as_str().is_some_and(|n| !n.is_empty())) {
        let labels = within(within(object, "metadata"), "labels");
        labels["kubernetes.io/metadata.name"] = name;
    }
    set(within(object, "status"), "phase", json!("Active"));
}

fn service(object: &mut Value) {
    let spec = spec(object);
    set(spec, "sessionAffinity", json!("None"));
    set(spec, "type", json!("ClusterIP"));
    match word(spec, "sessionAffinity") {
        "None" => {
            if let Value::Object(map) = spec {
                map.shift_remove("sessionAffinityConfig");
            }
        }
        "ClientIP"
            if spec
                .pointer("/sessionAffinityConfig/clientIP/timeoutSeconds")
                .is_none() =>
        {
            spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 10800}});
        }
        _ => {}
    }
    each(spec, "ports", |port| {
        set(port, "protocol", json!("TCP"));
        let number = port.get("port").cloned().unwrap_or_default();
        if port.get("targetPort") == Some(&json!(0)) {
            port["targetPort"] = number;
        } else {
            set(port, "targetPort", number);
        }
    });
    let kind = word(spec, "type").to_owned();
    let external_ips = spec
        .get("externalIPs")
        .and_then(Value::as_array)
        .map_or(0, Vec::len)
        > 0;
    if kind == "LoadBalancer" || kind == "NodePort" || (kind == "ClusterIP" && external_ips) {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if kind != "ExternalName" {
        set(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
        if let Some(balancer) = object.pointer_mut("/status/loadBalancer") {
            each(balancer, "ingress", |ingress| {
                if !word(ingress, "ip").is_empty() {
                    set(ingress, "ipMode", json!("VIP"));
                }
            });
        }
    }
}

fn secret(object: &mut Value) {
    use base64::Engine as _;
    set(object, "type", json!("Opaque"));
    // `stringData` is a way of writing `data` that is never read back.
    let plain = match object {
        Value::Object(map) => map.shift_remove("stringData"),
        _ => None,
    };
    let Some(Value::Object(plain)) = plain.filter(|p| p.as_object().is_some_and(|p| !p.is_empty()))
    else {
        return;
    };
    let data = within(object, "data");
    for (key, value) in plain {
        let text = value.as_str().unwrap_or_default();
        data[key] = json!(base64::engine::general_purpose::STANDARD.encode(text));
    }
}

fn deployment(object: &mut Value) {
    let spec = spec(object);
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "progressDeadlineSeconds", json!(600));
    let strategy = within(spec, "strategy");
    set(strategy, "type", json!("RollingUpdate"));
    if word(strategy, "type") == "RollingUpdate" {
        let rolling = within(strategy, "rollingUpdate");
        set(rolling, "maxUnavailable", json!("25%"));
        set(rolling, "maxSurge", json!("25%"));
    }
    template(object, "/spec/template");
}

fn stateful_set(object: &mut Value) {
    let spec = spec(object);
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "podManagementPolicy", json!("OrderedReady"));
    let strategy = within(spec, "updateStrategy");
    if word(strategy, "type").is_empty() {
        set(strategy, "type", json!("RollingUpdate"));
        set(within(strategy, "rollingUpdate"), "partition", json!(0));
    }
    let retention = within(spec, "persistentVolumeClaimRetentionPolicy");
    set(retention, "whenDeleted", json!("Retain"));
    set(retention, "whenScaled", json!("Retain"));
    template(object, "/spec/template");
}

fn daemon_set(object: &mut Value) {
    let spec = spec(object);
    set(spec, "revisionHistoryLimit", json!(10));
    let strategy = within(spec, "updateStrategy");
    set(strategy, "type", json!("RollingUpdate"));
    if word(strategy, "type") == "RollingUpdate" {
        let rolling = within(strategy, "rollingUpdate");
        set(rolling, "maxUnavailable", json!(1));
        set(rolling, "maxSurge", json!(0));
    }
    template(object, "/spec/template");
}

fn job(object: &mut Value) {
    let spec = spec(object);
    set(spec, "backoffLimit", json!(6));
    set(spec, "completionMode", json!("NonIndexed"));
    set(spec, "suspend", json!(false));
    set(spec, "podReplacementPolicy", json!("TerminatingOrFailed"));
    let set_count = |spec: &Value, name: &str| spec.get(name).is_some_and(|v| !v.is_null());
    if !set_count(spec, "completions") && !set_count(spec, "parallelism") {
        set(spec, "completions", json!(1));
    }
    set(spec, "parallelism", json!(1));
    template(object, "/spec/template");
}

fn template(object: &mut Value, pointer: &str) {
    if let Some(template) = object.pointer_mut(pointer) {
        pod_spec(within(template, "spec"));
    }
}

fn pod_spec(spec: &mut Value) {
    let account = word(spec, "serviceAccountName").to_owned();
    if account.is_empty() {
        if let Some(old) = spec
            .get("serviceAccount")
            .filter(|v| v.is_string())
            .cloned()
        {
            set(spec, "serviceAccountName", old);
        }
    } else {
        spec["serviceAccount"] = json!(account);
    }
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "terminationGracePeriodSeconds", json!(30));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "securityContext", json!({}));
    set(spec, "schedulerName", json!("default-scheduler"));
    let host_network = spec.get("hostNetwork") == Some(&json!(true));
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        each(spec, list, |container| {
            self::container(container, host_network);
        });
    }
    each(spec, "volumes", volume);
}

fn container(container: &mut Value, host_network: bool) {
    let policy = if latest(word(container, "image")) {
        "Always"
    } else {
        "IfNotPresent"
    };
    set(container, "imagePullPolicy", json!(policy));
    set(container, "resources", json!({}));
    set(
        container,
        "terminationMessagePath",
        json!("/dev/termination-log"),
    );
    set(container, "terminationMessagePolicy", json!("File"));
    each(container, "ports", |port| {
        set(port, "protocol", json!("TCP"));
        if host_network {
            let number = port.get("containerPort").cloned().unwrap_or_default();
            set(port, "hostPort", number);
        }
    });
    each(container, "env", |env| {
        if let Some(reference) = env.pointer_mut("/valueFrom/fieldRef") {
            set(reference, "apiVersion", json!("v1"));
        }
    });
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(name).filter(|p| p.is_object()) else {
            continue;
        };
        for (field, value) in [
            ("timeoutSeconds", 1),
            ("periodSeconds", 10),
            ("successThreshold", 1),
            ("failureThreshold", 3),
        ] {
            if probe.get(field) == Some(&json!(0)) {
                probe[field] = json!(value);
            }
            set(probe, field, json!(value));
        }
        http_get(probe);
    }
    for name in ["postStart", "preStop"] {
        if let Some(handler) = container.pointer_mut(&format!("/lifecycle/{name}")) {
            http_get(handler);
        }
    }
}

fn http_get(handler: &mut Value) {
    if let Some(get) = handler.get_mut("httpGet") {
        set(get, "path", json!("/"));
        set(get, "scheme", json!("HTTP"));
    }
}

/// Whether an image has the tag `latest`, named or implied.
fn latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn requests_from_limits(container: &mut Value) {
    let Some(limits) = container
        .pointer("/resources/limits")
        .and_then(Value::as_object)
        .cloned()
    else {
        return;
    };
    let requests = within(within(container, "resources"), "requests");
    for (name, limit) in limits {
        set(requests, &name, limit);
    }
}

fn volume(volume: &mut Value) {
    let Value::Object(map) = volume else { return };
    if map.keys().all(|k| k == "name") {
        map.insert("emptyDir".to_owned(), json!({}));
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        let Some(source) = map.get_mut(name).filter(|s| s.is_object()) else {
            continue;
        };
        set(source, "defaultMode", json!(0o644));
        each(source, "sources", |part| {
            if let Some(token) = part.get_mut("serviceAccountToken") {
                set(token, "expirationSeconds", json!(3600));
            }
        });
    }
    if let Some(path) = map.get_mut("hostPath")
        && let Value::Object(path) = path
    {
        path.entry("type").or_insert(json!(""));
    }
}

fn pod_status(object: &mut Value) {
    let Some(status) = object.get_mut("status") else {
        object["status"] = json!({"phase": "Pending"});
        return;
    };
    set(status, "phase", json!("Pending"));
    let first = status
        .pointer("/podIPs/0/ip")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let ip = word(status, "podIP").to_owned();
    if ip.is_empty() && !first.is_empty() {
        status["podIP"] = json!(first);
    } else if !ip.is_empty() && ip != first {
        status["podIPs"] = json!([{"ip": ip}]);
    }
}

fn binding(object: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if let Some(role) = object.get_mut("roleRef") {
        set(role, "apiGroup", json!(GROUP));
    }
    each(object, "subjects", |subject| {
        if matches!(word(subject, "kind"), "User" | "Group") {
            set(subject, "apiGroup", json!(GROUP));
        }
    });
}

fn definition(object: &mut Value) {
    let spec = spec(object);
    let names = within(spec, "names");
    let kind = word(names, "kind").to_owned();
    if !kind.is_empty() {
        set(names, "singular", json!(kind.to_lowercase()));
        set(names, "listKind", json!(format!("{kind}List")));
    }
    let conversion = within(spec, "conversion");
    set(conversion, "strategy", json!("None"));
    if let Some(service) = conversion.pointer_mut("/webhook/clientConfig/service") {
        set(service, "port", json!(443));
    }
}

fn network_policy(object: &mut Value) {
    let spec = spec(object);
    for direction in ["ingress", "egress"] {
        each(spec, direction, |rule| {
            each(rule, "ports", |port| set(port, "protocol", json!("TCP")));
        });
    }
    let mut types = vec!["Ingress"];
    if spec
        .get("egress")
        .and_then(Value::as_array)
        .is_some_and(|e| !e.is_empty())
    {
        types.push("Egress");
    }
    set(spec, "policyTypes", json!(types));
}
