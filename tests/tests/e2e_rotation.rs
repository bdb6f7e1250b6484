//! Certificates are rotated under load, and nobody notices.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gatewright_tests::{Client, Load, LoadOptions, Rig};

const HOST: &str = "shop.example.com";
const ROTATIONS: usize = 20;

/// What must not change: restarts, processes, listener updates, of each proxy.
async fn fixed(rig: &Rig) -> BTreeMap<String, (i32, Vec<u32>, u64)> {
    let mut fixed = BTreeMap::new();
    for (name, proxy) in rig.proxies().await {
        let modified = rig
            .stat(proxy.admin, "listener_manager.listener_modified")
            .await;
        fixed.insert(name, (proxy.restarts, proxy.processes, modified));
    }
    fixed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_rotations_under_load_fail_no_request_and_update_no_listener() {
    let rig = Rig::quickstart().await;
    let clock = rig.laptop.clock;
    let before = fixed(&rig).await;
    assert_eq!(before.len(), 2, "{before:?}");
    assert!(
        before.values().all(|(_, ids, _)| ids.len() == 1),
        "{before:?}"
    );
    let addresses = rig.addresses(443).await;
    let client = Client::trusting(&rig.root_pem()).unwrap();
    let mut shown = BTreeSet::from([rig.serial("shop-tls").await]);
    let load = Load::start(clock, &client, &addresses, LoadOptions::new(HOST));
    load.wait_good(200).await;

    // From when the new certificate was said to be served until the next one was asked for.
    let mut periods: Vec<(Duration, Duration, String)> = Vec::new();
    for _ in 0..ROTATIONS {
        let serial = rig.rotate("shop").await;
        let since = clock.elapsed();
        for address in addresses {
            let serials = load.serials_since(since, address, 5).await;
            assert!(
                serials.iter().all(|seen| *seen == serial),
                "{address} shows {serials:?}, not {serial}"
            );
        }
        periods.push((since, clock.elapsed(), serial.clone()));
        assert!(shown.insert(serial), "the serial is not a new one");
    }

    let report = load.stop().await;
    report.assert_nothing_dropped();
    report.assert_rate(200.0);
    for (since, until, serial) in &periods {
        let began_in = |seen: &&gatewright_tests::Handshake| (*since..*until).contains(&seen.began);
        for seen in report.handshakes.iter().filter(began_in) {
            assert_eq!(seen.serial, *serial, "{seen:?}");
        }
    }
    assert!(
        report
            .handshakes
            .iter()
            .all(|seen| shown.contains(&seen.serial)),
        "a certificate was shown that was never stored"
    );
    assert_eq!(
        fixed(&rig).await,
        before,
        "a proxy restarted or a listener was updated"
    );
    rig.stop().await;
}
