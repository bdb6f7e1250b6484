//! The API server is away and comes back.

use std::time::Duration;

use gatewright_tests::Sim;
use local_kube::{Fault, Matching};

const LIMIT: Duration = Duration::from_mins(5);

#[tokio::test(start_paused = true)]
async fn a_secret_that_cannot_be_read_for_a_moment_is_no_reason_for_a_new_certificate() {
    let sim = Sim::quickstart().await;
    let faults = sim.laptop.kube.faults();
    let read = Matching::new("get", "secrets").named("shop-tls");
    faults.next(read, Fault::InternalError, 1);
    sim.resync().await;
    sim.until("the failed read", LIMIT, async || {
        (faults.pending() == 0).then_some(())
    })
    .await;
    sim.pass(Duration::from_mins(30)).await;
    let status = sim.certificate().await.unwrap().status.unwrap();
    assert_eq!(status.revision, Some(1), "{status:?}");
    assert_eq!(status.failed_issuance_attempts, None, "{status:?}");
    assert_eq!(sim.laptop.acme.ledger().certificates.len(), 1);
    let served = sim.certificate_condition("Served").await.unwrap();
    assert_eq!(served.status, "True", "{served:?}");
}

#[tokio::test(start_paused = true)]
async fn everything_is_seen_within_seconds_after_an_outage_of_two_minutes() {
    let sim = Sim::quickstart().await;
    let faults = sim.laptop.kube.faults();
    faults.next(Matching::any(), Fault::CutBefore, u32::MAX);
    faults.cut_watches();
    sim.pass(Duration::from_mins(2)).await;
    faults.clear();

    let back = sim.clock().elapsed();
    sim.force_rotation().await;
    sim.scale(3).await;
    sim.until("the next revision", LIMIT, async || {
        (sim.wait_served().await == 2).then_some(())
    })
    .await;
    let rotated = sim.clock().elapsed().saturating_sub(back);
    assert!(
        rotated < Duration::from_secs(20),
        "rotated after {rotated:?}"
    );
    sim.wait_balanced(3).await;
    let scaled = sim.clock().elapsed().saturating_sub(back);
    assert!(scaled < Duration::from_secs(40), "scaled after {scaled:?}");
}
