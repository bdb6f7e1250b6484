//! Proxies come and go under load.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use gatewright_crds::istio_gateway::IstioGateway;
use gatewright_tests::{Client, Load, LoadOptions, Rig, RigOptions};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

const HOST: &str = "shop.example.com";
const LIMIT: Duration = Duration::from_secs(40);

/// Address and weight of the members of each group of each instance.
fn groups(rig: &Rig) -> Vec<BTreeSet<(IpAddr, u32)>> {
    let inventory = rig.laptop.cloud.inventory();
    let groups = inventory
        .instances
        .iter()
        .flat_map(|instance| &instance.groups);
    groups
        .map(|group| {
            let members = group.members.iter();
            members
                .map(|member| (member.server_ip.unwrap(), member.weight))
                .collect()
        })
        .collect()
}

async fn wait_groups(rig: &Rig, what: &str, wanted: &BTreeSet<(IpAddr, u32)>) {
    let as_wanted = || async {
        let groups = groups(rig);
        (groups.len() == 4 && groups.iter().all(|group| group == wanted)).then_some(())
    };
    rig.wait(&format!("{what}: {wanted:?}"), LIMIT, as_wanted)
        .await;
}

async fn scale(rig: &Rig, replicas: u32) {
    let api: Api<IstioGateway> = Api::namespaced(rig.kube(), "istio-system");
    let patch = Patch::Merge(json!({ "spec": { "replicaCount": replicas } }));
    api.patch("ingressgateway", &PatchParams::default(), &patch)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_removed_drains_and_one_added_takes_its_share_without_a_failed_request() {
    let rig = Rig::quickstart_with(RigOptions {
        drain: Duration::from_secs(10),
        ..RigOptions::default()
    })
    .await;
    let before = rig.proxies().await;
    let both: BTreeSet<_> = before.values().map(|proxy| (proxy.ip, 100)).collect();
    assert_eq!(both.len(), 2);
    wait_groups(&rig, "both proxies", &both).await;
    let addresses = rig.addresses(443).await;
    let client = Client::trusting(&rig.root_pem()).unwrap();
    let load = Load::start(
        rig.laptop.clock,
        &client,
        &addresses,
        LoadOptions::new(HOST),
    );
    load.wait_good(200).await;

    scale(&rig, 1).await;
    let gone = || async {
        let leaving = rig.proxies().await;
        let mut leaving = leaving.iter().filter(|(_, proxy)| proxy.leaving);
        leaving
            .next()
            .map(|(name, proxy)| (name.clone(), proxy.clone()))
    };
    let (name, gone) = rig.wait("a proxy that leaves", LIMIT, gone).await;
    let drained: BTreeSet<_> = both
        .iter()
        .map(|(ip, weight)| (*ip, if *ip == gone.ip { 0 } else { *weight }))
        .collect();
    wait_groups(&rig, "weight 0 for the one that leaves", &drained).await;
    assert_eq!(
        rig.proxies().await.get(&name).map(|proxy| proxy.leaving),
        Some(true),
        "the proxy ended before the load balancers knew"
    );
    let one: BTreeSet<_> = both
        .iter()
        .filter(|(ip, _)| *ip != gone.ip)
        .copied()
        .collect();
    wait_groups(&rig, "the one that left is removed", &one).await;
    let ended = || async { (!rig.proxies().await.contains_key(&name)).then_some(()) };
    rig.wait("the proxy ended", LIMIT, ended).await;
    assert!(
        gatewright_tests::processes_of(&rig.directory.join(&gone.uid)).is_empty(),
        "its process is still there"
    );

    scale(&rig, 2).await;
    let added = || async {
        let proxies = rig.proxies().await;
        let ready: BTreeSet<_> = proxies
            .values()
            .filter(|proxy| proxy.ready)
            .map(|proxy| (proxy.ip, 100))
            .collect();
        (ready.len() == 2).then_some(ready)
    };
    let added = rig.wait("two proxies", LIMIT, added).await;
    wait_groups(&rig, "the one that was added", &added).await;
    // The new one must carry some of the load, or nothing would be proven about it.
    let carries = || async {
        let new = rig.proxies().await;
        let new = new.iter().find(|(name, _)| !before.contains_key(*name))?.1;
        let total = rig.stat(new.admin, "http.port_8443.downstream_cx_total");
        (total.await >= 50).then_some(())
    };
    rig.wait("connections to the new proxy", LIMIT, carries)
        .await;
    load.wait_good(300).await;
    let report = load.stop().await;
    report.assert_nothing_dropped();
    assert!(report.closed > 0, "no kept-alive connection had to move");
    rig.stop().await;
}
