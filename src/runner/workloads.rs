//! Deployments become replica sets and these Pods, with rolling updates and a history to go back to.

mod replica_sets;
mod rollout;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::rollout::{Room, SetState, share};
use super::{MANAGER, Runner};
use crate::kubernetes::apply_status;
use crate::retry::WatchBackoff;

const TEMPLATE_HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How many old replica sets a Deployment keeps that does not say it (`apps/v1`
/// `DeploymentSpec.revisionHistoryLimit`).
const HISTORY: usize = 10;

/// Reconciles Deployments and replica sets until dropped.
pub(super) async fn run(runner: Runner) {
    let deployments: Api<Deployment> = Api::all(runner.kube.clone());
    let sets: Api<ReplicaSet> = Api::all(runner.kube.clone());
    let rollouts = Controller::new(deployments, watcher::Config::default())
        .trigger_backoff(WatchBackoff::new(runner.clock, &runner.random, 2))
        .owns(sets, watcher::Config::default())
        .run(reconcile, retry, Arc::new(runner.clone()))
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "local runner: deployment");
            }
        });
    futures::future::join(rollouts, replica_sets::run(runner)).await;
}

fn retry<K>(_: Arc<K>, _: &kube::Error, _: Arc<Runner>) -> Action {
    Action::requeue(Duration::from_secs(1))
}

/// Whether `owner` is among the owners of an object.
fn owned_by<K: Resource, O: Resource>(object: &K, owner: &O) -> bool {
    let uid = owner.meta().uid.as_ref();
    let mut owners = object.owner_references().iter();
    owners.any(|held| Some(&held.uid) == uid)
}

async fn reconcile(deployment: Arc<Deployment>, runner: Arc<Runner>) -> kube::Result<Action> {
    if deployment.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let namespace = deployment.namespace().unwrap_or_default();
    let api: Api<ReplicaSet> = Api::namespaced(runner.kube.clone(), &namespace);
    let mut sets: Vec<ReplicaSet> = api.list(&ListParams::default()).await?.items;
    sets.retain(|set| {
        set.metadata.deletion_timestamp.is_none() && owned_by(set, deployment.as_ref())
    });
    sets.sort_by_key(revision);
    let hash = template_hash(&deployment)?;
    let is_current = |set: &ReplicaSet| set.labels().get(TEMPLATE_HASH) == Some(&hash);
    let paused = deployment.spec.paused.unwrap_or(false);
    let newest = sets.last().map_or(0, revision);
    match sets.iter().position(is_current) {
        Some(at) if at + 1 == sets.len() => {
            tell_revision(&runner, &deployment, newest).await?;
        }
        // A rollout goes back to a template that was there before: it becomes the newest.
        Some(at) if !paused => {
            let change = json!({ "metadata": { "annotations": notes(&deployment, newest + 1) } });
            let name = sets.remove(at).name_any();
            let set = api
                .patch(&name, &PatchParams::default(), &Patch::Merge(&change))
                .await?;
            sets.push(set);
            tell_revision(&runner, &deployment, newest + 1).await?;
        }
        None if !paused => {
            let set = new_set(&deployment, &hash, newest + 1);
            sets.push(api.create(&PostParams::default(), &set).await?);
            tell_revision(&runner, &deployment, newest + 1).await?;
        }
        _ => {}
    }

    let room = room(&deployment);
    let states: Vec<SetState> = sets
        .iter()
        .map(|set| SetState {
            name: set.name_any(),
            current: is_current(set),
            wanted: wanted(set),
            ready: counted(set, |status| status.ready_replicas),
        })
        .collect();
    let status = status(&deployment, &runner, &sets, &states, room);
    apply_status(&runner.kube, MANAGER, deployment.as_ref(), &status).await?;
    for (name, replicas) in rollout::next(room, &states) {
        let change = json!({ "spec": { "replicas": replicas } });
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&change))
            .await?;
    }
    forget(&api, &deployment, &sets, is_current).await?;
    Ok(Action::await_change())
}

/// What tells one template from another.
fn template_hash(deployment: &Deployment) -> kube::Result<String> {
    let template =
        serde_json::to_vec(&deployment.spec.template).map_err(kube::Error::SerdeError)?;
    let mut hash = format!("{:x}", Sha256::digest(&template));
    hash.truncate(10);
    Ok(hash)
}

fn revision(set: &ReplicaSet) -> u64 {
    let held = set.annotations().get(REVISION);
    held.and_then(|held| held.parse().ok()).unwrap_or(0)
}

fn wanted(set: &ReplicaSet) -> usize {
    usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0)
}

fn counted(
    set: &ReplicaSet,
    of: impl Fn(&k8s_openapi::api::apps::v1::ReplicaSetStatus) -> Option<i32>,
) -> usize {
    let count = set.status.as_ref().and_then(of).unwrap_or(0);
    usize::try_from(count).unwrap_or(0)
}

/// What a replica set takes over from its Deployment: `kubectl rollout history` shows its cause.
fn notes(deployment: &Deployment, revision: u64) -> BTreeMap<String, String> {
    let mut notes = deployment.annotations().clone();
    notes.remove(LAST_APPLIED);
    notes.insert(REVISION.to_owned(), revision.to_string());
    notes
}

async fn tell_revision(
    runner: &Runner,
    deployment: &Deployment,
    revision: u64,
) -> kube::Result<()> {
    let revision = revision.to_string();
    if deployment.annotations().get(REVISION) == Some(&revision) {
        return Ok(());
    }
    let namespace = deployment.namespace().unwrap_or_default();
    let api: Api<Deployment> = Api::namespaced(runner.kube.clone(), &namespace);
    let change = json!({ "metadata": { "annotations": { REVISION: revision } } });
    let (name, params) = (deployment.name_any(), PatchParams::default());
    api.patch(&name, &params, &Patch::Merge(&change)).await?;
    Ok(())
}

/// How far the rollout may go now.
fn room(deployment: &Deployment) -> Room {
    let spec = &deployment.spec;
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    let strategy = spec.strategy.as_ref();
    if strategy.is_some_and(|strategy| strategy.type_.as_deref() == Some("Recreate")) {
        return Room {
            wanted,
            surge: 0,
            unavailable: wanted,
        };
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = share(rolling.and_then(|r| r.max_surge.as_ref()), wanted, true);
    let unavailable = share(
        rolling.and_then(|r| r.max_unavailable.as_ref()),
        wanted,
        false,
    );
    // Kubernetes refuses both to be zero; a share that rounds to zero would stop the rollout.
    let surge = if surge + unavailable == 0 { 1 } else { surge };
    Room {
        wanted,
        surge,
        unavailable,
    }
}

/// Removes the oldest replica sets without Pods above the limit of the history.
async fn forget(
    api: &Api<ReplicaSet>,
    deployment: &Deployment,
    sets: &[ReplicaSet],
    is_current: impl Fn(&ReplicaSet) -> bool,
) -> kube::Result<()> {
    let limit = deployment.spec.revision_history_limit;
    let limit = limit.map_or(HISTORY, |limit| usize::try_from(limit).unwrap_or(0));
    let empty = |set: &&ReplicaSet| {
        !is_current(set) && wanted(set) == 0 && counted(set, |status| Some(status.replicas)) == 0
    };
    let old: Vec<&ReplicaSet> = sets.iter().filter(empty).collect();
    for set in &old[..old.len().saturating_sub(limit)] {
        match api
            .delete(&set.name_any(), &DeleteParams::background())
            .await
        {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn new_set(deployment: &Deployment, hash: &str, revision: u64) -> ReplicaSet {
    let mut template = deployment.spec.template.clone();
    let labels = template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default();
    labels.insert(TEMPLATE_HASH.into(), hash.into());
    let labels = labels.clone();
    let mut selector = deployment.spec.selector.clone();
    let selected = selector.match_labels.get_or_insert_default();
    selected.insert(TEMPLATE_HASH.into(), hash.into());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            namespace: deployment.namespace(),
            labels: Some(labels),
            annotations: Some(notes(deployment, revision)),
            owner_references: deployment.controller_owner_ref(&()).map(|owner| {
                vec![OwnerReference {
                    block_owner_deletion: Some(true),
                    ..owner
                }]
            }),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            min_ready_seconds: deployment.spec.min_ready_seconds,
            replicas: Some(0),
            selector,
            template: Some(template),
        },
        status: None,
    }
}

fn status(
    deployment: &Deployment,
    runner: &Runner,
    sets: &[ReplicaSet],
    states: &[SetState],
    room: Room,
) -> Value {
    let replicas = |set: &ReplicaSet| counted(set, |status| Some(status.replicas));
    let total: usize = sets.iter().map(replicas).sum();
    let ready: usize = states.iter().map(|set| set.ready).sum();
    let current = sets.iter().zip(states).find(|(_, state)| state.current);
    let updated = current.map_or(0, |(set, _)| replicas(set));
    let complete = updated >= room.wanted && total <= room.wanted && ready >= room.wanted;
    let available = ready >= room.wanted.saturating_sub(room.unavailable);
    let name = current.map(|(_, state)| state.name.as_str());
    json!({
        "observedGeneration": deployment.metadata.generation,
        "replicas": total,
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": room.wanted.saturating_sub(ready),
        "conditions": [
            if available {
                condition(deployment, runner, "Available", true, "MinimumReplicasAvailable",
                    "Deployment has minimum availability.")
            } else {
                condition(deployment, runner, "Available", false, "MinimumReplicasUnavailable",
                    "Deployment does not have minimum availability.")
            },
            if complete {
                condition(deployment, runner, "Progressing", true, "NewReplicaSetAvailable",
                    &format!("ReplicaSet {:?} has successfully progressed.", name.unwrap_or_default()))
            } else {
                condition(deployment, runner, "Progressing", true, "ReplicaSetUpdated",
                    &format!("ReplicaSet {:?} is progressing.", name.unwrap_or_default()))
            },
        ],
    })
}

fn condition(
    deployment: &Deployment,
    runner: &Runner,
    kind: &str,
    on: bool,
    reason: &str,
    message: &str,
) -> Value {
    let held = deployment
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let status = if on { "True" } else { "False" };
    let since = held
        .into_iter()
        .flatten()
        .find(|held| held.type_.as_deref() == Some(kind) && held.status.as_deref() == Some(status))
        .and_then(|held| held.last_transition_time.clone())
        .unwrap_or_else(|| Time(runner.clock.now()));
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since, "lastUpdateTime": since,
    })
}
