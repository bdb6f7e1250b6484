//! Replica sets become Pods.

use std::cmp::Reverse;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::{owned_by, retry};
use crate::kubernetes::{apply_status, is_ready};
use crate::retry::WatchBackoff;
use crate::runner::{MANAGER, NODE, Runner};

/// Reconciles replica sets until dropped.
pub(super) async fn run(runner: Runner) {
    let sets: Api<ReplicaSet> = Api::all(runner.kube.clone());
    let pods: Api<Pod> = Api::all(runner.kube.clone());
    Controller::new(sets, watcher::Config::default())
        .trigger_backoff(WatchBackoff::new(runner.clock, &runner.random, 2))
        .owns(pods, watcher::Config::default())
        .run(reconcile, retry, Arc::new(runner))
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "local runner: replica set");
            }
        })
        .await;
}

async fn reconcile(set: Arc<ReplicaSet>, runner: Arc<Runner>) -> kube::Result<Action> {
    if set.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let api: Api<Pod> = Api::namespaced(runner.kube.clone(), &set.namespace().unwrap_or_default());
    let mut pods: Vec<Pod> = api.list(&ListParams::default()).await?.items;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none() && owned_by(pod, set.as_ref()));
    let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
    for _ in pods.len()..wanted {
        let pod = new_pod(&set, &runner.random.name_suffix(5));
        pods.push(api.create(&PostParams::default(), &pod).await?);
    }
    // Those leave first that are not ready, then the youngest.
    pods.sort_by_key(|pod| {
        (
            Reverse(is_ready(pod)),
            pod.metadata.creation_timestamp.clone(),
        )
    });
    for pod in pods.split_off(wanted.min(pods.len())) {
        match api.delete(&pod.name_any(), &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let status = json!({
        "observedGeneration": set.metadata.generation,
        "replicas": pods.len(),
        "fullyLabeledReplicas": pods.len(),
        "readyReplicas": ready,
        "availableReplicas": ready,
    });
    apply_status(&runner.kube, MANAGER, set.as_ref(), &status).await?;
    Ok(Action::await_change())
}

fn new_pod(set: &ReplicaSet, suffix: &str) -> Pod {
    let template = set.spec.template.clone().unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    let mut spec = template.spec.unwrap_or_default();
    spec.node_name = Some(NODE.into());
    Pod {
        metadata: ObjectMeta {
            name: Some(format!("{}-{suffix}", set.name_any())),
            namespace: set.namespace(),
            labels: meta.labels,
            annotations: meta.annotations,
            owner_references: set.controller_owner_ref(&()).map(|owner| {
                vec![OwnerReference {
                    block_owner_deletion: Some(true),
                    ..owner
                }]
            }),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}
