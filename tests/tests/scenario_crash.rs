//! The daemon dies at the requests that hurt most: something was made, and nobody has heard of it.
//! `cargo xtask sim --crashes` lets it die at all of them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed step is a failed test"
)]

use std::time::Duration;

use gatewright_tests::{Crossings, Side, Sim, shape};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

const LIMIT: Duration = Duration::from_mins(10);

/// Kills the daemon after the next request called `name` has its effect, and starts another.
async fn kill_after(sim: &mut Sim, crossings: &Crossings, name: &str) {
    let reached = sim.clock().timeout(LIMIT, crossings.reached()).await;
    reached.unwrap_or_else(|_| panic!("{name} was never asked for"));
    crossings.never_stop();
    sim.kill_daemon();
    sim.pass(Duration::from_secs(1)).await;
    sim.start_daemon().await;
}

#[tokio::test(start_paused = true)]
async fn a_death_after_a_load_balancer_was_made_leads_to_no_second_one() {
    let mut sim = Sim::start().await;
    sim.apply_gateway().await;
    sim.wait_balanced(2).await;
    let wanted = shape(&sim.laptop.cloud.inventory());

    sim = Sim::start().await;
    let crossings = sim.cloud_calls.clone();
    crossings.stop_at_named("CreateLoadBalancer", 0, Side::After);
    sim.apply_gateway().await;
    kill_after(&mut sim, &crossings, "CreateLoadBalancer").await;
    sim.wait_balanced(2).await;
    sim.pass(Duration::from_mins(2)).await;
    let inventory = sim.laptop.cloud.inventory();
    assert_eq!(inventory.instances.len(), 2, "{inventory:#?}");
    assert_eq!(shape(&inventory), wanted);
}

#[tokio::test(start_paused = true)]
async fn a_death_after_a_certificate_was_asked_for_ends_with_one_valid_certificate() {
    let mut sim = Sim::quickstart().await;
    let revision = sim.wait_served().await;
    let crossings = sim.acme_calls.clone();
    crossings.stop_at_named("POST finalize", 0, Side::After);
    sim.force_rotation().await;
    kill_after(&mut sim, &crossings, "finalize").await;
    sim.until("the next revision", LIMIT, async || {
        (sim.wait_served().await > revision).then_some(())
    })
    .await;
    one_valid_certificate(&sim).await;
}

#[tokio::test(start_paused = true)]
async fn a_death_after_the_account_was_opened_leads_to_one_account() {
    let mut sim = Sim::start().await;
    let crossings = sim.acme_calls.clone();
    crossings.stop_at_named("POST new-account", 0, Side::After);
    sim.apply_quickstart().await;
    kill_after(&mut sim, &crossings, "new-account").await;
    sim.wait_balanced(2).await;
    sim.wait_served().await;
    one_valid_certificate(&sim).await;
}

/// The one certificate in the Secret: chain and key fit, as the Served condition shows.
async fn one_valid_certificate(sim: &Sim) {
    let secrets: Api<Secret> = Api::namespaced(sim.kube.clone(), "istio-system");
    let secret = secrets.get("shop-tls").await.unwrap();
    let material = gatewright::certificate::Material::from_secret(&secret).unwrap();
    material.check_time(sim.clock().now()).unwrap();
    let served = sim.certificate_condition("Served").await.unwrap();
    let serial = &material.leaf().serial;
    assert_eq!(
        served.message,
        format!("serial {serial} was seen at 4 places")
    );
    let ledger = sim.laptop.acme.ledger();
    assert_eq!(ledger.accounts, 1, "one account");
    let newest = &ledger.certificates.last().unwrap().serial;
    assert_eq!(newest.trim_start_matches('0'), serial);
}
