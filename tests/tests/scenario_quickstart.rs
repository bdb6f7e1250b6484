//! The quickstart on the virtual clock: it converges, renews by itself, and replays.
#![expect(
    clippy::print_stdout,
    reason = "a failed step is a failed test, and what was tried stands in the output"
)]

use std::time::Duration;

use gatewright_tests::{Sim, SimOptions};
use jiff::SignedDuration;
use mock_cloud::Fault;

const DAY: Duration = Duration::from_hours(24);

#[tokio::test(start_paused = true)]
async fn the_quickstart_converges_and_is_served_everywhere() {
    let sim = Sim::quickstart().await;
    assert_eq!(sim.wait_served().await, 1);
    let served = sim.certificate_condition("Served").await.unwrap();
    // Two proxies, two load balancers.
    assert!(
        served.message.ends_with("was seen at 4 places"),
        "{served:?}"
    );
    assert_eq!(sim.laptop.acme.ledger().certificates.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_authority_is_not_asked_before_an_answer_can_arrive() {
    let sim = Sim::start().await;
    let slow = Fault::Delay(Duration::from_secs(15));
    sim.laptop
        .cloud
        .faults()
        .next("CreateLoadBalancer", 2, slow);
    sim.apply_quickstart().await;
    sim.wait_balanced(2).await;
    assert_eq!(sim.wait_served().await, 1);
    let ledger = sim.laptop.acme.ledger();
    let failed: Vec<_> = ledger
        .validations
        .iter()
        .filter(|tried| tried.failure.is_some())
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(ledger.orders, 1);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_by_itself_after_two_thirds_of_its_life() {
    let sim = Sim::quickstart().await;
    let first = sim.laptop.acme.ledger().certificates[0].clone();
    // Renewal is due after 60 of 90 days, counted from an hour before the issue.
    while sim.clock().now() < first.issued_at + SignedDuration::from_hours(59 * 24 + 12) {
        sim.leap(Duration::from_hours(12)).await;
    }
    assert_eq!(
        sim.laptop.acme.ledger().certificates.len(),
        1,
        "renewed too early"
    );
    let started = real_time();
    sim.pass(DAY).await;
    println!("a virtual day took {:?}", started.elapsed());
    assert_eq!(sim.wait_served().await, 2);
    let issued = sim.laptop.acme.ledger().certificates;
    assert_eq!(issued.len(), 2);
    let age = issued[1].issued_at.duration_since(first.issued_at);
    let due = SignedDuration::from_hours(59 * 24 + 23);
    assert!(
        (age - due).abs() < SignedDuration::from_mins(1),
        "renewed after {age:?}"
    );
    let serial = issued[1].serial.trim_start_matches('0');
    assert_ne!(serial, first.serial.trim_start_matches('0'));
    let served = sim.certificate_condition("Served").await.unwrap();
    assert_eq!(
        served.message,
        format!("serial {serial} was seen at 4 places")
    );
    let seen = sim.leaf_everywhere("shop.example.com").await;
    assert!(
        seen.len() == 4 && seen.iter().all(|leaf| leaf == serial),
        "{seen:?}"
    );
}

#[expect(
    clippy::disallowed_methods,
    reason = "the speed of the simulation is real time"
)]
fn real_time() -> std::time::Instant {
    std::time::Instant::now()
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_history() {
    let mut histories = Vec::new();
    for _ in 0..2 {
        let sim = Sim::quickstart_with(SimOptions {
            seed: 42,
            ..SimOptions::default()
        })
        .await;
        sim.force_rotation().await;
        sim.until("a second certificate", Duration::from_mins(5), async || {
            (sim.laptop.acme.ledger().certificates.len() == 2).then_some(())
        })
        .await;
        sim.wait_served().await;
        let calls = sim.laptop.cloud.ledger().entries().into_iter();
        let calls: Vec<_> = calls
            .map(|call| (call.time, call.action, call.outcome))
            .collect();
        let acme = sim.laptop.acme.ledger();
        let counts = (
            acme.total(),
            acme.orders,
            acme.accounts,
            acme.validations.len(),
        );
        histories.push((calls, sim.acme_calls.names(), counts));
    }
    assert_eq!(histories[0], histories[1]);
}
