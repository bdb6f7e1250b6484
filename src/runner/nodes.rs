//! Nodes as a kubelet keeps them: registered with capacity, and alive by their Leases.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use serde_json::json;

use super::{MANAGER, Runner};
use crate::kubernetes::apply;

/// Where the Leases of nodes are (k8s.io/api/core/v1 NamespaceNodeLease).
const NAMESPACE: &str = "kube-node-lease";
/// A kubelet's own figures: it renews four times in the life of a Lease.
const LEASE: Duration = Duration::from_secs(40);
const RENEWAL: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(500);

/// Registers the node `name` and keeps it alive until the tasks are cancelled.
pub(super) async fn run(runner: Runner, name: String) {
    loop {
        let pause = match keep(&runner, &name).await {
            Ok(()) => RENEWAL,
            Err(error) => {
                tracing::debug!(node = name, %error, "local runner: node");
                RETRY
            }
        };
        if runner
            .tasks
            .until_cancelled(runner.clock.sleep(pause))
            .await
            .is_err()
        {
            return;
        }
    }
}

/// One beat. Kubernetes takes a node that it has not heard of for a while for dead, and leaves it to
/// the kubelet to say otherwise: with the API server away, its controllers may notice that only after
/// the node is heard of again.
async fn keep(runner: &Runner, name: &str) -> kube::Result<()> {
    let nodes: Api<Node> = Api::all(runner.kube.clone());
    if !nodes.get_opt(name).await?.is_some_and(|node| is_up(&node)) {
        register(runner, name).await?;
    }
    renew(runner, name).await
}

fn is_up(node: &Node) -> bool {
    let conditions = node
        .status
        .iter()
        .filter_map(|status| status.conditions.as_ref());
    let mut ready = conditions.flatten().filter(|held| held.type_ == "Ready");
    ready.any(|held| held.status == "True")
}

async fn register(runner: &Runner, name: &str) -> kube::Result<()> {
    let nodes: Api<Node> = Api::all(runner.kube.clone());
    let params = PatchParams::apply(MANAGER).force();
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name, "labels": {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
        }},
    });
    nodes.patch(name, &params, &Patch::Apply(&node)).await?;
    let now = Time(runner.clock.now());
    let resources = json!({ "cpu": "8", "memory": "16Gi", "pods": "110" });
    let status = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name },
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "addresses": [{ "type": "Hostname", "address": name }],
            "conditions": [{
                "type": "Ready",
                "status": "True",
                "reason": "KubeletReady",
                "message": "the local runner runs pods",
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }],
        },
    });
    nodes
        .patch_status(name, &params, &Patch::Apply(&status))
        .await?;
    Ok(())
}

async fn renew(runner: &Runner, name: &str) -> kube::Result<()> {
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(NAMESPACE.into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.to_owned()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            renew_time: Some(MicroTime(runner.clock.now())),
            ..LeaseSpec::default()
        }),
    };
    apply(&runner.kube, MANAGER, &lease).await?;
    Ok(())
}
