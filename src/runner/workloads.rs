//! Deployments become Pods, with rolling updates.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{MANAGER, NODE, Runner};
use crate::kubernetes::apply_status;

const TEMPLATE_HASH: &str = "pod-template-hash";

/// Reconciles Deployments until dropped.
pub(super) async fn run(runner: Runner) {
    let deployments: Api<Deployment> = Api::all(runner.kube.clone());
    let pods: Api<Pod> = Api::all(runner.kube.clone());
    Controller::new(deployments, watcher::Config::default())
        .owns(pods, watcher::Config::default())
        .run(reconcile, retry, Arc::new(runner))
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "local runner: deployment");
            }
        })
        .await;
}

fn retry(_: Arc<Deployment>, _: &kube::Error, _: Arc<Runner>) -> Action {
    Action::requeue(Duration::from_secs(1))
}

/// What a rolling update does next.
#[derive(Debug, PartialEq, Eq, Default)]
struct Rollout {
    /// How many Pods of the current template to create.
    create: usize,
    /// Names of Pods to delete.
    delete: Vec<String>,
}

struct PodState {
    name: String,
    current: bool,
    ready: bool,
    created: Option<Time>,
}

/// One step of a rolling update: at most `surge` Pods above `wanted`, at most `unavailable` below it
/// ready. Unready Pods and old templates leave first, then the youngest.
fn plan(wanted: usize, surge: usize, unavailable: usize, mut pods: Vec<PodState>) -> Rollout {
    let current = pods.iter().filter(|pod| pod.current).count();
    let room = (wanted + surge).saturating_sub(pods.len());
    let create = wanted.saturating_sub(current).min(room);
    let mut ready = pods.iter().filter(|pod| pod.ready).count();
    pods.sort_by(|a, b| {
        (a.current, a.ready)
            .cmp(&(b.current, b.ready))
            .then(b.created.cmp(&a.created))
    });
    let needed_ready = wanted.saturating_sub(unavailable);
    let mut delete = Vec::new();
    let mut surplus_current = current.saturating_sub(wanted);
    for pod in pods {
        let surplus = if pod.current {
            surplus_current > 0
        } else {
            true
        };
        if !surplus || (pod.ready && ready <= needed_ready) {
            continue;
        }
        ready -= usize::from(pod.ready);
        surplus_current -= usize::from(pod.current);
        delete.push(pod.name);
    }
    Rollout { create, delete }
}

fn share(value: Option<&IntOrString>, of: usize, round_up: bool) -> usize {
    match value {
        Some(IntOrString::Int(n)) => usize::try_from(*n).unwrap_or(0),
        Some(IntOrString::String(text)) => {
            let percent: usize = text.trim_end_matches('%').parse().unwrap_or(25);
            (of * percent + if round_up { 99 } else { 0 }) / 100
        }
        None => (of + if round_up { 3 } else { 0 }) / 4,
    }
}

async fn reconcile(deployment: Arc<Deployment>, runner: Arc<Runner>) -> kube::Result<Action> {
    let spec = &deployment.spec;
    let namespace = deployment.namespace().unwrap_or_default();
    if deployment.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let uid = deployment.uid();
    let template = serde_json::to_vec(&spec.template).map_err(kube::Error::SerdeError)?;
    let mut hash = format!("{:x}", Sha256::digest(&template));
    hash.truncate(10);
    let api: Api<Pod> = Api::namespaced(runner.kube.clone(), &namespace);
    let all: Vec<Pod> = api
        .list(&ListParams::default())
        .await?
        .items
        .into_iter()
        .filter(|pod| {
            pod.owner_references()
                .iter()
                .any(|owner| Some(&owner.uid) == uid.as_ref())
        })
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .collect();
    let states: Vec<PodState> = all
        .iter()
        .map(|pod| PodState {
            name: pod.name_any(),
            current: pod.labels().get(TEMPLATE_HASH) == Some(&hash),
            ready: is_ready(pod),
            created: pod.metadata.creation_timestamp.clone(),
        })
        .collect();
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    let rolling = spec
        .strategy
        .as_ref()
        .and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = share(rolling.and_then(|r| r.max_surge.as_ref()), wanted, true);
    let unavailable = share(
        rolling.and_then(|r| r.max_unavailable.as_ref()),
        wanted,
        false,
    );
    // Kubernetes refuses both to be zero; a share that rounds to zero would stop the rollout.
    let surge = if surge + unavailable == 0 { 1 } else { surge };
    let ready = states.iter().filter(|pod| pod.ready).count();
    let updated = states.iter().filter(|pod| pod.current).count();
    let status = json!({
        "observedGeneration": deployment.metadata.generation,
        "replicas": states.len(),
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": wanted.saturating_sub(ready),
        "conditions": conditions(&deployment, ready >= wanted.saturating_sub(unavailable), updated >= wanted && ready >= wanted, &runner),
    });
    apply_status(&runner.kube, MANAGER, deployment.as_ref(), &status).await?;
    let step = plan(wanted, surge, unavailable, states);
    for _ in 0..step.create {
        let pod = new_pod(&deployment, &hash, &runner.random.name_suffix(5));
        api.create(&PostParams::default(), &pod).await?;
    }
    for name in step.delete {
        match api.delete(&name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Action::await_change())
}

fn conditions(
    deployment: &Deployment,
    available: bool,
    complete: bool,
    runner: &Runner,
) -> serde_json::Value {
    let held = deployment
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let is = |held: &Option<String>, text: &str| held.as_deref() == Some(text);
    let condition = |kind: &str, on: bool, reason: &str| {
        let status = if on { "True" } else { "False" };
        let since = held
            .into_iter()
            .flatten()
            .find(|held| is(&held.type_, kind) && is(&held.status, status))
            .and_then(|held| held.last_transition_time.clone())
            .unwrap_or_else(|| Time(runner.clock.now()));
        json!({ "type": kind, "status": status, "reason": reason, "lastTransitionTime": since, "lastUpdateTime": since })
    };
    json!([
        condition(
            "Available",
            available,
            if available {
                "MinimumReplicasAvailable"
            } else {
                "MinimumReplicasUnavailable"
            }
        ),
        condition(
            "Progressing",
            true,
            if complete {
                "NewReplicaSetAvailable"
            } else {
                "ReplicaSetUpdated"
            }
        ),
    ])
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|c| c.type_ == "Ready" && c.status == "True")
}

fn new_pod(deployment: &Deployment, hash: &str, suffix: &str) -> Pod {
    let template = deployment.spec.template.clone();
    let meta = template.metadata.unwrap_or_default();
    let mut labels = meta.labels.unwrap_or_default();
    labels.insert(TEMPLATE_HASH.into(), hash.into());
    let mut spec = template.spec.unwrap_or_default();
    spec.node_name = Some(NODE.into());
    Pod {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}-{suffix}", deployment.name_any())),
            namespace: deployment.namespace(),
            labels: Some(labels),
            annotations: meta.annotations,
            owner_references: deployment.controller_owner_ref(&()).map(|owner| {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(states: &[(bool, bool)]) -> Vec<PodState> {
        let name = |(i, &(current, ready)): (usize, &(bool, bool))| PodState {
            name: format!("pod-{i}"),
            current,
            ready,
            created: None,
        };
        states.iter().enumerate().map(name).collect()
    }

    #[test]
    fn a_rollout_adds_before_it_removes() {
        let step = plan(2, 1, 0, pods(&[(false, true), (false, true)]));
        assert_eq!(
            step,
            Rollout {
                create: 1,
                delete: vec![]
            }
        );
        let step = plan(
            2,
            1,
            0,
            pods(&[(false, true), (false, true), (true, false)]),
        );
        assert_eq!(step, Rollout::default());
        let step = plan(2, 1, 0, pods(&[(false, true), (false, true), (true, true)]));
        assert_eq!(
            step,
            Rollout {
                create: 0,
                delete: vec!["pod-0".into()]
            }
        );
    }

    #[test]
    fn scale_in_takes_the_unready_first() {
        let step = plan(1, 1, 0, pods(&[(true, true), (true, false)]));
        assert_eq!(
            step,
            Rollout {
                create: 0,
                delete: vec!["pod-1".into()]
            }
        );
    }

    #[test]
    fn scale_to_zero_removes_all() {
        assert_eq!(
            plan(0, 1, 0, pods(&[(true, true), (true, true)]))
                .delete
                .len(),
            2
        );
    }
}
