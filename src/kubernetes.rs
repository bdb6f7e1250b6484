//! How Gatewright writes objects: server-side apply under one field manager, and events.

mod applied;
mod deadline;
mod events;

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::core::{NamespaceResourceScope, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use applied::is_applied;
pub use deadline::client;
pub use events::Events;

/// The field manager of every write of the daemon.
pub const FIELD_MANAGER: &str = "gatewright";

/// Applies `object` (its metadata must name it and its namespace) and returns what the server holds.
///
/// # Errors
/// What the API server answered; a conflict is forced, because every field we apply is ours.
pub async fn apply<K>(client: &kube::Client, manager: &str, object: &K) -> kube::Result<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug
        + Serialize,
{
    let meta = object.meta();
    let namespace = meta.namespace.as_deref().unwrap_or("default");
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let mut body = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
    // The typed objects of k8s-openapi serialise these two themselves; derived kinds do too, but a
    // server-side apply without them is refused, so they are put here for all.
    body["apiVersion"] = Value::from(K::api_version(&()).as_ref());
    body["kind"] = Value::from(K::kind(&()).as_ref());
    let name = meta.name.as_deref().unwrap_or_default();
    api.patch(
        name,
        &PatchParams::apply(manager).force(),
        &Patch::Apply(&body),
    )
    .await
}

/// Applies the status of `object`: `status` is the whole of what this manager says there.
///
/// # Errors
/// What the API server answered.
pub async fn apply_status<K>(
    client: &kube::Client,
    manager: &str,
    object: &K,
    status: &impl Serialize,
) -> kube::Result<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
{
    apply_status_over(client, manager, object, status, None).await
}

/// As [`apply_status`], unless somebody wrote the object since `object` was read: for a status in
/// which others ask for something that must not be overwritten.
///
/// # Errors
/// What the API server answered; a 409 when somebody wrote.
pub async fn apply_status_if_unchanged<K>(
    client: &kube::Client,
    manager: &str,
    object: &K,
    status: &impl Serialize,
) -> kube::Result<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
{
    let version = object.meta().resource_version.as_deref();
    apply_status_over(client, manager, object, status, version).await
}

async fn apply_status_over<K>(
    client: &kube::Client,
    manager: &str,
    object: &K,
    status: &impl Serialize,
    version: Option<&str>,
) -> kube::Result<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
{
    let meta = object.meta();
    let api: Api<K> = Api::namespaced(
        client.clone(),
        meta.namespace.as_deref().unwrap_or("default"),
    );
    let name = meta.name.as_deref().unwrap_or_default();
    let mut body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": name },
        "status": status,
    });
    if let Some(version) = version {
        body["metadata"]["resourceVersion"] = Value::from(version);
    }
    api.patch_status(
        name,
        &PatchParams::apply(manager).force(),
        &Patch::Apply(&body),
    )
    .await
}

/// Whether the Pod's condition `Ready` is true (core/v1 `PodStatus.conditions`).
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|c| c.type_ == "Ready" && c.status == "True")
}

/// `None` for an object that does not exist, instead of an error.
///
/// # Errors
/// Every other answer of the API server.
pub fn optional<T>(result: kube::Result<T>) -> kube::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
