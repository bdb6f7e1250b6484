//! What the server does to particular kinds besides what their schema says.

mod definition;
mod service;

use serde_json::{Value, json};

use super::At;
use crate::kinds::Resource;
use crate::meta;
use crate::shared::Shared;
use crate::status::{Answer, ApiError};
pub(crate) use definition::{CLEANUP, restore as restore_definition};

/// Namespaces that may not be deleted.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// The default grace of Pods (`spec.terminationGracePeriodSeconds`).
const POD_GRACE_SECONDS: i64 = 30;

/// Whether a PUT makes the object, as that of a few old kinds does: it is not there.
pub(crate) fn creates_on_update(shared: &Shared, at: &At) -> bool {
    let resource = &*at.resource;
    let allowed = matches!(
        (resource.group.as_str(), resource.kind.as_str()),
        ("", "Endpoints" | "Event" | "Service")
            | ("events.k8s.io", "Event")
            | ("coordination.k8s.io", "Lease")
            | (
                "rbac.authorization.k8s.io",
                "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding"
            )
    );
    let location = at.location();
    allowed
        && shared
            .store
            .get(&location.collection, &location.key)
            .is_none()
}

/// A new object has no status of its own where status is a subresource.
pub(super) fn reset_status(resource: &Resource, object: &mut Value) {
    if resource.status && !resource.is("", "Node") {
        meta::remove(object, "status");
    }
}

/// Completes a new object: first status, values that the server assigns.
pub(super) fn prepare_create(
    shared: &Shared,
    resource: &Resource,
    object: &mut Value,
    dry_run: bool,
) -> Answer<()> {
    if resource.custom {
        return Ok(());
    }
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => {
            let name = meta::name(object).to_owned();
            if let Some(labels) = labels(object) {
                labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
            }
            if let Some(spec) = meta::map_in(object, "spec") {
                spec.insert("finalizers".to_owned(), json!(["kubernetes"]));
            }
            object["status"] = json!({"phase": "Active"});
        }
        ("", "Pod") => {
            admit_pod(object);
            object["status"] = json!({"phase": "Pending", "qosClass": qos_class(object)});
        }
        ("", "Service") => {
            object["status"] = json!({"loadBalancer": {}});
            service::allocate(shared, None, object, dry_run)?;
        }
        ("", "Secret") => merge_string_data(object),
        ("rbac.authorization.k8s.io" | "coordination.k8s.io", _) => show_absent(resource, object),
        ("apps", "Deployment" | "ReplicaSet") => {
            let status = if resource.kind == "ReplicaSet" {
                json!({"replicas": 0})
            } else {
                json!({})
            };
            object["status"] = status;
        }
        ("networking.k8s.io", "Ingress") => object["status"] = json!({"loadBalancer": {}}),
        ("autoscaling", "HorizontalPodAutoscaler") => {
            object["status"] = json!({"currentMetrics": null, "desiredReplicas": 0});
            meta::drop_nulls(object);
        }
        ("policy", "PodDisruptionBudget") => {
            object["status"] = json!({
                "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
            });
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            definition::prepare_create(shared, object);
        }
        _ => {}
    }
    Ok(())
}

/// Fields that are never left out, even where there is nothing in them.
fn show_absent(resource: &Resource, object: &mut Value) {
    let (field, nothing) = match resource.kind.as_str() {
        "Role" | "ClusterRole" => ("rules", Value::Null),
        "Lease" => ("spec", json!({})),
        _ => return,
    };
    if let Some(map) = object.as_object_mut() {
        map.entry(field).or_insert(nothing);
    }
}

/// What the admission of the real server adds to every Pod: the priority of Pods without a class, and
/// how long it stays on a node that fails (`DefaultTolerationSeconds`).
fn admit_pod(object: &mut Value) {
    const PATIENCE_SECONDS: i64 = 300;
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    meta::fill(spec, "priority", json!(0));
    meta::fill(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
    meta::fill(spec, "tolerations", json!([]));
    let Some(tolerations) = spec["tolerations"].as_array_mut() else {
        return;
    };
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let tolerated = tolerations.iter().any(|held| {
            let effect = meta::text(held, "/effect");
            matches!(meta::text(held, "/key"), "" | "*")
                && meta::text(held, "/operator") == "Exists"
                || meta::text(held, "/key") == key && matches!(effect, "" | "NoExecute")
        });
        if !tolerated {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": PATIENCE_SECONDS,
            }));
        }
    }
}

/// Completes a changed object.
pub(super) fn prepare_update(
    shared: &Shared,
    resource: &Resource,
    live: &Value,
    new: &mut Value,
    subresource: &str,
) -> Answer<()> {
    if resource.custom {
        return Ok(());
    }
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => {
            // They are changed through their subresource alone.
            if subresource != "finalize"
                && let Some(held) = live.pointer("/spec/finalizers").cloned()
                && let Some(spec) = meta::map_in(new, "spec")
            {
                spec.insert("finalizers".to_owned(), held);
            }
            let name = meta::name(new).to_owned();
            if let Some(labels) = labels(new) {
                labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
            }
        }
        ("", "Service") => {
            service::allocate(shared, Some(live), new, false)?;
            if subresource.is_empty() && meta::text(new, "/spec/type") != "LoadBalancer" {
                new["status"]["loadBalancer"] = json!({});
            }
        }
        ("", "Secret") => merge_string_data(new),
        ("rbac.authorization.k8s.io" | "coordination.k8s.io", _) => show_absent(resource, new),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            definition::prepare_update(shared, new);
        }
        _ => {}
    }
    Ok(())
}

/// Checks of a new object that need more than the object.
pub(super) fn check_create(shared: &Shared, at: &At, object: &Value) -> Answer<()> {
    if at
        .resource
        .is("apiextensions.k8s.io", "CustomResourceDefinition")
    {
        definition::check(shared, at, object)?;
    }
    Ok(())
}

pub(super) fn check_update(shared: &Shared, at: &At, live: &Value, new: &Value) -> Answer<()> {
    if at
        .resource
        .is("apiextensions.k8s.io", "CustomResourceDefinition")
    {
        definition::check(shared, at, new)?;
        definition::check_change(at, live, new)?;
    }
    Ok(())
}

pub(super) fn check_delete(at: &At) -> Answer<()> {
    if at.resource.is("", "Namespace") && IMMORTAL.contains(&at.name.as_str()) {
        return Err(ApiError::forbidden(
            "namespaces",
            "",
            &at.name,
            "this namespace may not be deleted",
        ));
    }
    Ok(())
}

/// What follows a write that is stored: definitions start to be served, namespaces get their account.
pub(super) fn after_write(shared: &Shared, resource: &Resource, stored: &Value) {
    if resource.is("", "Namespace") && !meta::deleting(stored) {
        default_account(shared, meta::name(stored));
    }
    if resource.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        definition::serve(shared, stored);
    }
}

/// Every namespace has a service account named `default`.
fn default_account(shared: &Shared, namespace: &str) {
    let Some(resource) = shared.registry.kinds().find("", "v1", "serviceaccounts") else {
        return;
    };
    let at = At {
        resource: resource.clone(),
        namespace: namespace.to_owned(),
        name: "default".to_owned(),
    };
    let location = at.location();
    if shared
        .store
        .get(&location.collection, &location.key)
        .is_some()
    {
        return;
    }
    let options = super::WriteOptions::internal(shared, &resource, "");
    if let Err(error) = super::create(shared, &at, json!({}), &options, false) {
        tracing::warn!(
            namespace,
            error = error.message(),
            "making the default account failed"
        );
    }
}

pub(super) fn after_removal(shared: &Shared, resource: &Resource, removed: &Value) {
    if resource.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        shared.registry.set_custom(meta::name(removed), Vec::new());
    }
}

/// Writes into an object that is being deleted what says so.
pub(super) fn mark_terminating(shared: &Shared, resource: &Resource, object: &mut Value) {
    if resource.is("", "Namespace") {
        if let Some(status) = meta::map_in(object, "status") {
            status.insert("phase".to_owned(), "Terminating".into());
        }
    } else if resource.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        definition::mark_terminating(shared, object);
    }
}

/// Whether nothing holds an object that is being deleted.
pub(super) fn may_go(resource: &Resource, object: &Value) -> bool {
    let grace = object
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64);
    let namespace_held =
        resource.is("", "Namespace") && !meta::list(object, "/spec/finalizers").is_empty();
    meta::finalizers(object).is_empty() && grace.unwrap_or(0) == 0 && !namespace_held
}

/// How long an object may take to end. Only Pods take time: those that run somewhere.
pub(super) fn grace_seconds(resource: &Resource, live: &Value, asked: Option<i64>) -> i64 {
    if !resource.is("", "Pod") || meta::text(live, "/spec/nodeName").is_empty() {
        return 0;
    }
    if matches!(meta::text(live, "/status/phase"), "Succeeded" | "Failed") {
        return 0;
    }
    let own = live
        .pointer("/spec/terminationGracePeriodSeconds")
        .and_then(Value::as_i64);
    asked.or(own).unwrap_or(POD_GRACE_SECONDS).max(0)
}

fn labels(object: &mut Value) -> Option<&mut serde_json::Map<String, Value>> {
    meta::map_in(object.get_mut("metadata")?, "labels")
}

/// `stringData` is a convenience for writers: it is stored as `data` and never shown.
fn merge_string_data(object: &mut Value) {
    use base64::Engine as _;
    if let Some(Value::Object(text)) = meta::remove(object, "stringData")
        && let Some(data) = meta::map_in(object, "data")
    {
        for (key, value) in text {
            let value = value.as_str().unwrap_or_default();
            data.insert(
                key,
                base64::engine::general_purpose::STANDARD
                    .encode(value)
                    .into(),
            );
        }
    }
    meta::fill(object, "type", "Opaque".into());
}

/// What the real server warns of in a new object besides unknown fields: certificates that are no PEM.
pub(super) fn warning(resource: &Resource, object: &Value) -> Option<String> {
    use base64::Engine as _;
    if !resource.is("", "Secret") || meta::text(object, "/type") != "kubernetes.io/tls" {
        return None;
    }
    let is_pem = |key: &str| {
        let text = object["data"][key].as_str().unwrap_or_default();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        let bytes = bytes.unwrap_or_default();
        bytes.windows(10).any(|window| window == b"-----BEGIN")
    };
    let which = match (is_pem("tls.crt"), is_pem("tls.key")) {
        (false, _) => "certificate",
        (true, false) => "key",
        (true, true) => return None,
    };
    Some(format!("tls: failed to find any PEM data in {which} input"))
}

/// The quality of service class of a Pod.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>
fn qos_class(pod: &Value) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    let containers = meta::list(pod, "/spec/containers")
        .iter()
        .chain(meta::list(pod, "/spec/initContainers"));
    for container in containers {
        for resource in ["cpu", "memory"] {
            let limit = container.pointer(&format!("/resources/limits/{resource}"));
            let request = container.pointer(&format!("/resources/requests/{resource}"));
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
