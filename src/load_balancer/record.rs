//! The record of what was last applied, kept in a ConfigMap that belongs to the Service.
//!
//! With it, nothing to change means no cloud call. It is marked as doubtful before a write and
//! written anew after, so a daemon that died in between reads the cloud instead of trusting it. What
//! no read can tell (since when a backend drains, which tags are ours) it still takes from it.

use std::collections::BTreeSet;

use gatewright_core::Observed;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{Api, DeleteParams, ObjectMeta};
use kube::{Resource, ResourceExt};
use serde::{Deserialize, Serialize};

use crate::kubernetes::{FIELD_MANAGER, apply, optional};

const KEY: &str = "record.json";

/// What was last seen or made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) observed: Observed,
    /// When the cloud itself was last read as a whole.
    pub(super) audited_at: Timestamp,
    /// A write was begun and is not known to have ended.
    #[serde(default)]
    pub(super) doubtful: bool,
    /// How often the load balancer vanished. A creation after that must not repeat the token of the
    /// one before, or the cloud answers with the id of what is gone.
    #[serde(default)]
    pub(super) lost: u32,
    /// While doubtful: keys of the tags that were being put on.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) attempted_tags: BTreeSet<String>,
}

fn name(service: &Service) -> String {
    format!("{}-load-balancer", service.name_any())
}

/// The record of `service`; nothing when there is none, or it is not of this object.
///
/// # Errors
/// What the API server answered.
pub(super) async fn load(kube: &kube::Client, service: &Service) -> kube::Result<Option<Record>> {
    let namespace = service.namespace().unwrap_or_default();
    let api: Api<ConfigMap> = Api::namespaced(kube.clone(), &namespace);
    let Some(map) = optional(api.get(&name(service)).await)? else {
        return Ok(None);
    };
    let ours = map
        .owner_references()
        .iter()
        .any(|owner| Some(&owner.uid) == service.uid().as_ref());
    let text = map
        .data
        .as_ref()
        .and_then(|data| data.get(KEY))
        .filter(|_| ours);
    // A record that cannot be read is no record: the cloud is the truth.
    Ok(text.and_then(|text| serde_json::from_str(text).ok()))
}

/// Deletes the record of `service`, if there is one.
///
/// # Errors
/// What the API server answered.
pub(super) async fn remove(kube: &kube::Client, service: &Service) -> kube::Result<()> {
    if load(kube, service).await?.is_none() {
        return Ok(());
    }
    let namespace = service.namespace().unwrap_or_default();
    let api: Api<ConfigMap> = Api::namespaced(kube.clone(), &namespace);
    optional(api.delete(&name(service), &DeleteParams::default()).await).map(drop)
}

/// Writes the record.
///
/// # Errors
/// What the API server answered.
pub(super) async fn store(
    kube: &kube::Client,
    service: &Service,
    record: &Record,
) -> kube::Result<()> {
    let text = serde_json::to_string(record).map_err(kube::Error::SerdeError)?;
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name(service)),
            namespace: service.namespace(),
            owner_references: service.controller_owner_ref(&()).map(|owner| vec![owner]),
            labels: Some(
                [(
                    "app.kubernetes.io/managed-by".to_owned(),
                    FIELD_MANAGER.to_owned(),
                )]
                .into(),
            ),
            ..ObjectMeta::default()
        },
        data: Some([(KEY.to_owned(), text)].into()),
        ..ConfigMap::default()
    };
    apply(kube, FIELD_MANAGER, &map).await.map(drop)
}
