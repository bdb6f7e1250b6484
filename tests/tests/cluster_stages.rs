//! The life of the quickstart on a real control plane: after each stage the objects are what is
//! stored, which is what the embedded API server has at the same stage (`scenario_stages`).
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed step is a failed test"
)]

use gatewright_tests::Cluster;
use gatewright_tests::stages::{self, Ground};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, DeleteParams, EvictParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

const NAMESPACE: &str = "istio-system";
const BUDGET: &str = "proxies";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_objects_of_every_stage_are_as_stored_on_a_real_control_plane() {
    let mut cluster = Cluster::start().await;
    cluster.quickstart().await;
    let ground = cluster.ground();

    stages::live(&ground).await;
    a_budget_keeps_one_proxy_while_nodes_are_drained(&mut cluster, &ground).await;
    stages::leave(&ground).await;

    assert!(cluster.daemon.ended().is_none(), "the daemon ended");
    cluster.stop().await;
}

/// What `kubectl drain` does to every node at once: nothing new is scheduled and each Pod is evicted.
async fn a_budget_keeps_one_proxy_while_nodes_are_drained(cluster: &mut Cluster, ground: &Ground) {
    let load = cluster.small_load().await;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(cluster.kube(), NAMESPACE);
    let budget = json!({
        "metadata": { "name": BUDGET },
        "spec": {
            "minAvailable": 1,
            "selector": { "matchLabels": { "istio": "ingressgateway" } },
        },
    });
    let budget = serde_json::from_value(budget).unwrap();
    let params = PostParams::default();
    budgets.create(&params, &budget).await.unwrap();
    wait_allowed(ground, &budgets, 1).await;
    cordon(cluster, true).await;

    let pods: Api<Pod> = Api::namespaced(cluster.kube(), NAMESPACE);
    let proxies = ground.proxies().await;
    assert_eq!(proxies.len(), 2, "{proxies:?}");
    let evict = EvictParams::default();
    pods.evict(&proxies[0], &evict).await.unwrap();
    wait_allowed(ground, &budgets, 0).await;
    let refused = pods.evict(&proxies[1], &evict).await.unwrap_err();
    let kube::Error::Api(status) = refused else {
        panic!("no answer: {refused}")
    };
    assert_eq!(status.code, 429, "{status:?}");
    ground.wait_balanced(1).await;
    load.wait_good(80).await;

    cordon(cluster, false).await;
    ground.wait_proxies(2).await;
    ground.wait_balanced(2).await;
    wait_allowed(ground, &budgets, 1).await;
    let report = load.stop().await;
    assert_eq!(report.failed, 0, "of {}: {:#?}", report.good, report.causes);
    let params = DeleteParams::default();
    budgets.delete(BUDGET, &params).await.map(drop).unwrap();
}

/// Waits until Kubernetes says that so many proxies may be taken away now.
async fn wait_allowed(ground: &Ground, budgets: &Api<PodDisruptionBudget>, count: i32) {
    let what = format!("{count} disruptions allowed");
    ground
        .wait(&what, async || {
            let status = budgets.get(BUDGET).await.ok()?.status?;
            (status.disruptions_allowed == Some(count)).then_some(())
        })
        .await;
}

async fn cordon(cluster: &Cluster, on: bool) {
    let nodes: Api<Node> = Api::all(cluster.kube());
    let patch = Patch::Merge(json!({ "spec": { "unschedulable": on } }));
    for node in nodes.list(&ListParams::default()).await.unwrap().items {
        let name = node.metadata.name.unwrap();
        nodes
            .patch(&name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }
}
