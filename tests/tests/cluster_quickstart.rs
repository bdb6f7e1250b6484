//! The quickstart on a real control plane, with the daemon as the program that a cluster would run.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::BTreeSet;

use gatewright_crds::istio_gateway::IstioGateway;
use gatewright_tests::{Client, Cluster, Load};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

const HOST: &str = "shop.example.com";
const NAMESPACE: &str = "istio-system";
const PODS: &str = "istio=ingressgateway";

/// One control plane serves the whole story: its start costs more than any step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quickstart_lives_from_apply_to_delete_on_a_real_control_plane() {
    let mut cluster = Cluster::start().await;
    cluster.quickstart().await;

    traffic_flows_through_both_load_balancers(&mut cluster).await;
    a_rotation_is_served_everywhere(&mut cluster).await;
    a_replica_leaves_without_a_failed_request(&mut cluster).await;
    a_rolling_update_fails_no_request(&mut cluster).await;
    deletion_leaves_nothing(&mut cluster).await;
    the_daemon_was_refused_nothing(&cluster);

    cluster.stop().await;
}

async fn traffic_flows_through_both_load_balancers(cluster: &mut Cluster) {
    let client = Client::trusting(&cluster.pebble.root_pem().await).unwrap();
    for address in cluster.addresses(443).await {
        let answer = client.get(address, HOST, "/basket").await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.starts_with(b"hello from hello-"), "{answer:?}");
    }
    for address in cluster.addresses(80).await {
        let answer = client.get_plain(address, HOST, "/basket").await.unwrap();
        assert_eq!(answer.status, 301, "{answer:?}");
    }
    let pods: Api<Pod> = Api::namespaced(cluster.kube(), NAMESPACE);
    let pods = pods
        .list(&ListParams::default().labels(PODS))
        .await
        .unwrap()
        .items;
    assert_eq!(pods.len(), 2);
    let nodes: BTreeSet<_> = pods
        .iter()
        .map(|pod| pod.spec.clone().unwrap().node_name)
        .collect();
    assert_eq!(
        nodes.len(),
        2,
        "the scheduler spreads the proxies over the nodes: {nodes:?}"
    );
}

async fn a_rotation_is_served_everywhere(cluster: &mut Cluster) {
    let client = Client::trusting(&cluster.pebble.root_pem().await).unwrap();
    let addresses = cluster.addresses(443).await;
    let before = client.get(addresses[0], HOST, "/").await.unwrap().serial;
    cluster
        .gatewright(&["rotate", "shop", "--namespace", NAMESPACE])
        .await;
    let mut after = BTreeSet::new();
    for address in addresses {
        after.insert(client.get(address, HOST, "/").await.unwrap().serial);
    }
    assert_eq!(after.len(), 1, "{after:?}");
    assert!(
        !after.contains(&before),
        "the old certificate is still served"
    );
}

async fn nothing_failed(load: Load) {
    load.wait_good(80).await;
    let report = load.stop().await;
    assert_eq!(report.failed, 0, "of {}: {:#?}", report.good, report.causes);
}

async fn a_replica_leaves_without_a_failed_request(cluster: &mut Cluster) {
    let load = cluster.small_load().await;

    let gateways: Api<IstioGateway> = Api::namespaced(cluster.kube(), NAMESPACE);
    let one = Patch::Merge(json!({ "spec": { "replicaCount": 1 } }));
    gateways
        .patch("ingressgateway", &PatchParams::default(), &one)
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.kube(), NAMESPACE);
    let params = ListParams::default().labels(PODS);
    let alone = || async {
        let pods = pods.list(&params).await.ok()?.items;
        (pods.len() == 1).then_some(())
    };
    cluster.wait("one proxy is left", alone).await;
    let cloud = cluster.cloud.clone();
    let followed = || async {
        let inventory = cloud.inventory();
        let mut groups = inventory
            .instances
            .iter()
            .flat_map(|instance| &instance.groups);
        groups.all(|group| group.members.len() == 1).then_some(())
    };
    cluster
        .wait("every backend group has one member", followed)
        .await;
    nothing_failed(load).await;
}

async fn a_rolling_update_fails_no_request(cluster: &mut Cluster) {
    let pods: Api<Pod> = Api::namespaced(cluster.kube(), NAMESPACE);
    let params = ListParams::default().labels(PODS);
    let before = pods.list(&params).await.unwrap().items;
    let before: BTreeSet<_> = before
        .into_iter()
        .filter_map(|pod| pod.metadata.name)
        .collect();
    let load = cluster.small_load().await;

    let gateways: Api<IstioGateway> = Api::namespaced(cluster.kube(), NAMESPACE);
    let marked = Patch::Merge(json!({ "spec": { "podAnnotations": { "example.com/try": "2" } } }));
    gateways
        .patch("ingressgateway", &PatchParams::default(), &marked)
        .await
        .unwrap();
    let replaced = || async {
        let pods = pods.list(&params).await.ok()?.items;
        let new = |pod: &Pod| !before.contains(pod.metadata.name.as_deref().unwrap_or_default());
        (pods.len() == 1 && pods.iter().all(new)).then_some(())
    };
    cluster.wait("the proxy is replaced", replaced).await;
    nothing_failed(load).await;
}

/// `deploy/rbac.yaml` is enough: no request of the daemon was answered with 403, but the one that
/// would create its own namespace. And none was not valid, as only a real server may find.
fn the_daemon_was_refused_nothing(cluster: &Cluster) {
    let requests = cluster.daemon_requests();
    for event in &requests {
        let code = &event["responseStatus"]["code"];
        assert_ne!(code, 422, "not valid: {}", event["requestURI"]);
        let refused = *code == 403;
        let namespace = event["verb"] == "create" && event["objectRef"]["resource"] == "namespaces";
        assert!(!refused || namespace, "{}", event["requestURI"]);
    }
    let told = requests.iter().any(|event| {
        event["objectRef"]["resource"] == "events" && event["responseStatus"]["code"] == 201
    });
    assert!(told, "the daemon wrote no event");
    let count = requests.len();
    assert!(
        count > 50,
        "the audit log has {count} requests of the daemon"
    );
}

async fn deletion_leaves_nothing(cluster: &mut Cluster) {
    let kube = cluster.kube();
    let gateways: Api<IstioGateway> = Api::namespaced(kube.clone(), NAMESPACE);
    let services: Api<Service> = Api::namespaced(kube.clone(), NAMESPACE);
    gateways
        .delete("ingressgateway", &DeleteParams::default())
        .await
        .unwrap();
    services
        .delete("istio-ingressgateway-internal", &DeleteParams::default())
        .await
        .unwrap();
    let cloud = cluster.cloud.clone();
    let empty = || async { cloud.inventory().is_empty().then_some(()) };
    cluster.wait("the cloud is empty", empty).await;

    // The children go by Kubernetes' own garbage collection.
    let deployments: Api<Deployment> = Api::namespaced(kube.clone(), NAMESPACE);
    let pods: Api<Pod> = Api::namespaced(kube.clone(), NAMESPACE);
    let slices: Api<EndpointSlice> = Api::namespaced(kube.clone(), NAMESPACE);
    let maps: Api<ConfigMap> = Api::namespaced(kube.clone(), NAMESPACE);
    let secrets: Api<Secret> = Api::namespaced(kube.clone(), NAMESPACE);
    let all = ListParams::default();
    let gone = || async {
        let left = deployments.list(&all).await.ok()?.items.len()
            + services.list(&all).await.ok()?.items.len()
            + pods.list(&all).await.ok()?.items.len()
            + slices.list(&all).await.ok()?.items.len();
        let bootstrap = maps.get_opt("istio-ingressgateway-bootstrap").await.ok()?;
        let identity = secrets
            .get_opt("istio-ingressgateway-identity")
            .await
            .ok()?;
        (left == 0 && bootstrap.is_none() && identity.is_none()).then_some(())
    };
    cluster.wait("the children are collected", gone).await;
}
