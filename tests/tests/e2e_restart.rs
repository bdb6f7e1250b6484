//! The daemon is stopped and started anew while the gateways run.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::BTreeMap;
use std::time::Duration;

use gatewright_seams::AddressMap;
use gatewright_tests::{Client, Load, LoadOptions, Rig};
use gatewright_xds::{GatewayId, ProxyStatus};

const HOST: &str = "shop.example.com";

/// How often each proxy had a cluster, a listener or a listener's content changed.
async fn updates(rig: &Rig) -> BTreeMap<String, Vec<u64>> {
    let mut all = BTreeMap::new();
    for (name, proxy) in rig.proxies().await {
        let mut counts = Vec::new();
        for counter in [
            "listener_manager.listener_added",
            "listener_manager.listener_modified",
            "listener_manager.listener_removed",
            "cluster_manager.cluster_modified",
            "cluster_manager.cluster_removed",
        ] {
            counts.push(rig.stat(proxy.admin, counter).await);
        }
        all.insert(name, counts);
    }
    all
}

/// Waits until every proxy is connected to the daemon that runs now, and has all it should have.
async fn wait_connected(rig: &Rig) {
    let gateway = GatewayId::new("istio-system", "ingressgateway").unwrap();
    let connected = || async {
        let pods = rig.proxies().await;
        let in_sync = pods.keys().all(|pod| {
            let group = gatewright::routing::group_of(AddressMap::Loopback, &gateway, pod);
            let proxies = rig.daemon.store.proxies(&group);
            proxies.len() == 1 && proxies.iter().all(ProxyStatus::is_in_sync)
        });
        (pods.len() == 2 && in_sync).then_some(())
    };
    rig.wait("proxies connected anew", Duration::from_secs(30), connected)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_daemon_drops_nothing_and_calls_no_cloud() {
    let mut rig = Rig::quickstart().await;
    wait_connected(&rig).await;
    let before = updates(&rig).await;
    let pods = rig.proxies().await;
    let addresses = rig.addresses(443).await;
    let client = Client::trusting(&rig.root_pem()).unwrap();
    let clock = rig.laptop.clock;
    let load = Load::start(clock, &client, &addresses, LoadOptions::new(HOST));
    load.wait_good(200).await;

    let mark = rig.laptop.cloud.ledger().mark();
    rig.stop_daemon().await;
    // Without a daemon the proxies serve what they have.
    load.wait_good(400).await;
    rig.start_daemon().await;
    wait_connected(&rig).await;
    load.wait_good(400).await;
    let calls = rig.laptop.cloud.ledger().since(mark);
    assert!(calls.is_empty(), "the cloud was called: {calls:#?}");
    assert_eq!(
        updates(&rig).await,
        before,
        "a proxy was given something new"
    );

    let serial = rig.rotate("shop").await;
    let since = clock.elapsed();
    for address in addresses {
        let serials = load.serials_since(since, address, 3).await;
        assert!(serials.iter().all(|seen| *seen == serial), "{serials:?}");
    }
    load.stop().await.assert_nothing_dropped();
    assert_eq!(rig.proxies().await, pods, "a proxy was replaced");
    rig.stop().await;
}
