//! The groups follow the proxies, and no listener is ever without one that answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gatewright_tests::{OWNER_TAG, Sim};
use mock_cloud::Fault;

/// Every member of every group, with its weight.
fn weights(sim: &Sim) -> Vec<u32> {
    let inventory = sim.laptop.cloud.inventory();
    let groups = inventory
        .instances
        .iter()
        .flat_map(|instance| &instance.groups);
    groups
        .flat_map(|group| &group.members)
        .map(|member| member.weight)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn groups_follow_from_two_to_one_to_three_and_are_never_without_a_backend() {
    let sim = Sim::start().await;
    sim.apply_quickstart().await;
    sim.wait_balanced(2).await;
    sim.wait_served().await;
    let failures: Arc<Mutex<Vec<String>>> = Arc::default();
    let (clock, world, seen) = (*sim.clock(), sim.world.clone(), failures.clone());
    sim.laptop
        .tasks
        .spawn("look for listeners without backend", async move {
            loop {
                for listener in world.without_backend(OWNER_TAG) {
                    seen.lock()
                        .unwrap()
                        .push(format!("{listener} at {}", clock.now()));
                }
                clock.sleep(Duration::from_millis(10)).await;
            }
        });

    // Proxies that are new do not count yet as passed by health checks.
    sim.pass(Duration::from_mins(1)).await;
    let mark = sim.laptop.cloud.ledger().mark();
    let began = sim.clock().elapsed();
    sim.scale(1).await;
    sim.until(
        "one member of each group at weight 0",
        Duration::from_mins(1),
        async || {
            let weights = weights(&sim);
            (weights.len() == 8 && weights.iter().filter(|weight| **weight == 0).count() == 4)
                .then_some(())
        },
    )
    .await;
    let lowered = sim.clock().elapsed();
    assert!(
        lowered.saturating_sub(began) < Duration::from_secs(5),
        "the drain began after {:?}",
        lowered.saturating_sub(began)
    );
    sim.until(
        "the drained one removed",
        Duration::from_mins(2),
        async || (weights(&sim) == [100; 4]).then_some(()),
    )
    .await;
    let drained = sim.clock().elapsed().saturating_sub(lowered);
    assert!(
        (Duration::from_secs(29)..Duration::from_secs(35)).contains(&drained),
        "the quickstart asks for 30 s of drain, not {drained:?}"
    );
    sim.wait_balanced(1).await;
    let counts = sim.laptop.cloud.ledger().counts_since(mark);
    let counts: Vec<_> = counts
        .iter()
        .map(|(action, count)| (action.as_str(), *count))
        .collect();
    assert_eq!(
        counts,
        [
            ("DescribeLoadBalancerListeners", 2),
            ("DescribeLoadBalancers", 2),
            ("DescribeVServerGroupAttribute", 4),
            ("DescribeVServerGroups", 2),
            ("RemoveVServerGroupBackendServers", 4),
            ("SetVServerGroupAttribute", 4)
        ],
        "one look at each load balancer, then one write to lower and one to remove, for each of four \
         groups"
    );

    let mark = sim.laptop.cloud.ledger().mark();
    sim.scale(3).await;
    sim.wait_balanced(3).await;
    let counts = sim.laptop.cloud.ledger().counts_since(mark);
    let adds = counts
        .get("AddVServerGroupBackendServers")
        .copied()
        .unwrap_or_default();
    assert_eq!(counts.len(), 1, "{counts:?}");
    // The two proxies may become ready together or one after the other.
    assert!((4..=8).contains(&adds), "{counts:?}");
    sim.wait_served().await;
    assert_eq!(*failures.lock().unwrap(), [""; 0]);
}

/// By the long run of the simulation, seed 5510: the drains of a plan had one end, and the first of
/// its calls took most of that.
#[tokio::test(start_paused = true)]
async fn a_slow_call_takes_nothing_from_the_drain_of_the_next() {
    every_drain_is_whole(&Fault::Delay(Duration::from_secs(18))).await;
}

/// The drain had begun before the cloud took the call that begins it.
#[tokio::test(start_paused = true)]
async fn a_throttled_call_takes_nothing_from_the_drain_that_it_begins() {
    let retry_after = Some(Duration::from_secs(25));
    every_drain_is_whole(&Fault::Throttle { retry_after }).await;
}

/// Scales in while calls that begin drains meet `fault`: each backend has its whole drain.
async fn every_drain_is_whole(fault: &Fault) {
    let sim = Sim::start().await;
    sim.apply_quickstart().await;
    sim.wait_balanced(2).await;
    sim.pass(Duration::from_mins(1)).await;
    let faults = sim.laptop.cloud.faults();
    faults.next("SetVServerGroupAttribute", 4, fault.clone());
    sim.scale(1).await;
    // When each member had weight 0 first, by its group and port.
    let mut lowered: BTreeMap<(String, u16), Duration> = BTreeMap::new();
    let mut shortest = Duration::MAX;
    let end = sim.clock().elapsed() + Duration::from_mins(4);
    while sim.clock().elapsed() < end {
        let inventory = sim.laptop.cloud.inventory();
        let groups = inventory.instances.iter().flat_map(|held| &held.groups);
        let mut there = BTreeSet::new();
        for (group, member) in
            groups.flat_map(|group| group.members.iter().map(move |m| (group, m)))
        {
            if member.weight == 0 {
                let key = (group.id.clone(), member.port);
                lowered.entry(key.clone()).or_insert(sim.clock().elapsed());
                there.insert(key);
            }
        }
        for (key, since) in &lowered {
            if !there.contains(key) {
                shortest = shortest.min(sim.clock().elapsed().saturating_sub(*since));
            }
        }
        lowered.retain(|key, _| there.contains(key));
        sim.pass(Duration::from_millis(100)).await;
    }
    assert!(weights(&sim) == [100; 4], "{:?}", weights(&sim));
    assert!(
        shortest >= Duration::from_secs(29),
        "the quickstart asks for 30 s of drain, and one had {shortest:?}"
    );
}
