//! All proxies are replaced under load.

use std::collections::BTreeSet;
use std::time::Duration;

use gatewright_crds::istio_gateway::IstioGateway;
use gatewright_tests::{Client, Load, LoadOptions, Rig, RigOptions};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

const HOST: &str = "shop.example.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_of_all_proxies_fails_no_request() {
    let rig = Rig::quickstart_with(RigOptions {
        drain: Duration::from_secs(10),
        ..RigOptions::default()
    })
    .await;
    let before = rig.proxies().await;
    let addresses = rig.addresses(443).await;
    let client = Client::trusting(&rig.root_pem()).unwrap();
    let load = Load::start(
        rig.laptop.clock,
        &client,
        &addresses,
        LoadOptions::new(HOST),
    );
    load.wait_good(200).await;

    let api: Api<IstioGateway> = Api::namespaced(rig.kube(), "istio-system");
    let patch =
        Patch::Merge(json!({ "spec": { "podAnnotations": { "example.com/rolled": "1" } } }));
    api.patch("ingressgateway", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let replaced = || async {
        let now = rig.proxies().await;
        let all_new = now
            .iter()
            .all(|(name, proxy)| proxy.ready && !before.contains_key(name));
        let wanted: BTreeSet<_> = now.values().map(|proxy| (proxy.ip, 100)).collect();
        let inventory = rig.laptop.cloud.inventory();
        let groups = inventory
            .instances
            .iter()
            .flat_map(|instance| &instance.groups);
        let followed = groups.into_iter().all(|group| {
            let members = group.members.iter();
            let members: BTreeSet<_> = members
                .map(|member| (member.server_ip.unwrap(), member.weight))
                .collect();
            members == wanted
        });
        (now.len() == 2 && all_new && followed).then_some(())
    };
    let limit = Duration::from_mins(1);
    rig.wait(
        "new proxies alone, in the load balancers too",
        limit,
        replaced,
    )
    .await;
    load.wait_good(300).await;
    let report = load.stop().await;
    report.assert_nothing_dropped();
    assert!(report.closed > 0, "no kept-alive connection had to move");
    for (name, old) in &before {
        let left = gatewright_tests::processes_of(&rig.directory.join(&old.uid));
        assert!(left.is_empty(), "{name} left processes: {left:?}");
    }
    rig.stop().await;
}
