//! The daemon dies at every request of its work, before and after the request has its effect. What
//! a new one makes of it is what an undisturbed one makes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed step is a failed test, and each point is named in the output"
)]

use std::time::Duration;

use gatewright_tests::{Side, Sim, shape};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

const LIMIT: Duration = Duration::from_mins(10);

/// The creation without a crash: what there is in the end, and how many calls it took.
async fn undisturbed() -> (String, usize) {
    let sim = Sim::start().await;
    sim.apply_gateway().await;
    sim.wait_balanced(2).await;
    let calls = sim.cloud_calls.count();
    sim.pass(Duration::from_mins(2)).await;
    assert_eq!(sim.cloud_calls.count(), calls, "it comes to rest");
    (shape(&sim.laptop.cloud.inventory()), calls)
}

/// The same with a death at call `number`.
async fn killed_at(number: usize, side: Side) -> (String, String) {
    let mut sim = Sim::start().await;
    sim.cloud_calls.stop_at(number, side);
    sim.apply_gateway().await;
    let reached = sim.clock().timeout(LIMIT, sim.cloud_calls.reached()).await;
    let point = reached.unwrap_or_else(|_| panic!("call {number} was never made"));
    sim.kill_daemon();
    sim.pass(Duration::from_secs(1)).await;
    sim.start_daemon().await;
    sim.wait_balanced(2).await;
    sim.pass(Duration::from_mins(2)).await;
    let inventory = sim.laptop.cloud.inventory();
    assert_eq!(
        inventory.instances.len(),
        2,
        "killed {point}: {inventory:#?}"
    );
    (point, shape(&inventory))
}

async fn every_point(side: Side) {
    let (wanted, calls) = undisturbed().await;
    assert!(
        calls >= 16,
        "two load balancers take at least 16 calls, not {calls}"
    );
    let mut points = Vec::new();
    for number in 0..calls {
        let (point, found) = killed_at(number, side).await;
        assert_eq!(found, wanted, "killed {point}");
        println!("killed {point}: the same");
        points.push(point);
    }
    assert_eq!(points.len(), calls);
}

#[tokio::test(start_paused = true)]
async fn a_death_before_any_cloud_call_of_the_creation_changes_nothing_in_the_end() {
    every_point(Side::Before).await;
}

#[tokio::test(start_paused = true)]
async fn a_death_after_any_cloud_call_of_the_creation_changes_nothing_in_the_end() {
    every_point(Side::After).await;
}

/// The one certificate in the Secret: chain and key fit, as the Served condition shows.
async fn one_valid_certificate(sim: &Sim, point: &str) {
    let secrets: Api<Secret> = Api::namespaced(sim.kube.clone(), "istio-system");
    let secret = secrets.get("shop-tls").await.unwrap();
    let material = gatewright::certificate::Material::from_secret(&secret);
    let material = material.unwrap_or_else(|error| panic!("killed {point}: {error}"));
    material.check_time(sim.clock().now()).unwrap();
    let served = sim.certificate_condition("Served").await.unwrap();
    let serial = &material.leaf().serial;
    assert_eq!(
        served.message,
        format!("serial {serial} was seen at 4 places"),
        "killed {point}"
    );
    let ledger = sim.laptop.acme.ledger();
    assert_eq!(ledger.accounts, 1, "killed {point}: one account");
    let newest = ledger
        .certificates
        .last()
        .unwrap()
        .serial
        .trim_start_matches('0');
    assert_eq!(newest, serial, "killed {point}");
}

/// Kills the daemon at the request to the ACME server that was set as the last one, and starts
/// another. Gives the point; nothing when there is no such request.
async fn kill_there(sim: &mut Sim) -> Option<String> {
    let reached = sim
        .clock()
        .timeout(Duration::from_mins(5), sim.acme_calls.reached())
        .await;
    sim.acme_calls.never_stop();
    let point = reached.ok()?;
    sim.kill_daemon();
    sim.pass(Duration::from_secs(1)).await;
    sim.start_daemon().await;
    Some(point)
}

#[tokio::test(start_paused = true)]
async fn a_death_at_any_request_of_a_renewal_ends_with_one_valid_certificate() {
    let mut sim = Sim::quickstart().await;
    let mut revision = 1;
    for side in [Side::Before, Side::After] {
        for number in 0.. {
            sim.kill_daemon();
            sim.start_daemon().await;
            sim.acme_calls
                .stop_at(sim.acme_calls.count() + number, side);
            sim.force_rotation().await;
            let point = kill_there(&mut sim).await;
            let next = revision + 1;
            revision = sim
                .until("the next revision", LIMIT, async || {
                    let revision = sim.wait_served().await;
                    (revision >= next).then_some(revision)
                })
                .await;
            let Some(point) = point else {
                assert!(
                    number >= 12,
                    "opening the account and ordering take {number} requests"
                );
                break;
            };
            one_valid_certificate(&sim, &point).await;
            println!("killed {point}: one valid certificate");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_while_the_account_is_opened_leads_to_one_account() {
    for side in [Side::Before, Side::After] {
        // The directory, a nonce, the account.
        for number in 0..3 {
            let mut sim = Sim::start().await;
            sim.acme_calls.stop_at(number, side);
            sim.apply_quickstart().await;
            let point = kill_there(&mut sim).await;
            let point = point.unwrap_or_else(|| panic!("request {number} was never made"));
            sim.wait_balanced(2).await;
            sim.wait_served().await;
            one_valid_certificate(&sim, &point).await;
            println!("killed {point}: one account, one certificate");
        }
    }
}
