//! Nothing to change means no cloud call, and drift is found all the same.
#![expect(
    clippy::unwrap_used,
    reason = "a failed step is a failed test, and what was tried stands in the output"
)]

use std::time::Duration;

use gatewright_aliyun::clb::Clb;
use gatewright_core::{Action, IdempotencyToken, LoadBalancers, Observed, Port, Protocol, Step};
use gatewright_tests::{PUBLIC, Sim, SimOptions, shape};

#[tokio::test(start_paused = true)]
async fn three_resyncs_and_a_restart_make_no_cloud_call() {
    let mut sim = Sim::quickstart().await;
    sim.pass(Duration::from_mins(2)).await;
    let ledger = sim.laptop.cloud.ledger();
    let mark = ledger.mark();
    let requests = sim.laptop.kube.requests();
    // Each pass over a Service lists its EndpointSlices.
    let passes = || requests.count("list", "endpointslices.discovery.k8s.io");
    for round in 1..=3 {
        let before = passes();
        sim.resync().await;
        sim.pass(Duration::from_mins(1)).await;
        let counts = requests.counts();
        assert!(
            passes() >= before + 2,
            "resync {round} led to no pass: {counts:#?}"
        );
    }
    let before = passes();
    sim.kill_daemon();
    sim.start_daemon().await;
    sim.pass(Duration::from_mins(5)).await;
    assert!(passes() >= before + 2, "the new daemon made no pass");
    assert_eq!(ledger.since(mark), [], "cloud calls without anything to do");
}

/// Does `action` as somebody with the same key does it.
async fn by_hand(clb: &Clb, observed: &mut Observed, action: Action) {
    let token = IdempotencyToken::new(&observed.owner, 0, &action);
    let step = Step {
        action,
        reason: "by hand".into(),
    };
    clb.apply(&step, observed, &token).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_audit_finds_a_deleted_listener_tells_and_mends_it() {
    let audit = Duration::from_mins(30);
    let sim = Sim::quickstart_with(SimOptions {
        audit_interval: audit,
        ..<_>::default()
    })
    .await;
    sim.pass(Duration::from_mins(2)).await;
    let wanted = shape(&sim.laptop.cloud.inventory());
    let clb = sim.by_hand("laptop");
    let mut observed = clb.observe(&sim.owner(PUBLIC).await).await.unwrap();
    let port = Port::new(443).unwrap();
    let action = Action::DeleteListener {
        port,
        protocol: Protocol::Tcp,
    };
    by_hand(&clb, &mut observed, action).await;
    assert_ne!(shape(&sim.laptop.cloud.inventory()), wanted);
    let calls = sim.cloud_calls.count();
    sim.pass(Duration::from_mins(20)).await;
    assert_eq!(
        sim.cloud_calls.count(),
        calls,
        "read before the audit is due"
    );
    // The interval has up to a tenth of jitter.
    sim.until(
        "the listener is back",
        Duration::from_mins(15),
        async || (shape(&sim.laptop.cloud.inventory()) == wanted).then_some(()),
    )
    .await;
    let events = sim.events().await;
    let told: Vec<_> = events
        .iter()
        .filter(|event| event.contains(" Drift: "))
        .collect();
    assert_eq!(told.len(), 1, "{events:#?}");
    assert!(
        told[0].starts_with(&format!("Service/{PUBLIC} ")),
        "{told:?}"
    );
    assert!(told[0].contains("create listener tcp/443"), "{told:?}");
    let names = sim.cloud_calls.names();
    let writes: Vec<_> = names[calls..]
        .iter()
        .filter(|name| !name.starts_with("Describe"))
        .collect();
    assert_eq!(
        writes,
        ["CreateLoadBalancerTCPListener", "StartLoadBalancerListener"]
    );
}
