//! Faults of the control plane under load: the API server is away, etcd stands still, watches are
//! cut, a node is taken for dead. Traffic never notices, the daemon asks within bounds, and does what was asked for meanwhile.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed step is a failed test, and the figures stand in the output"
)]

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use control_plane::Role;
use gatewright_tests::stages::Ground;
use gatewright_tests::{Cluster, Load};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

/// How long the daemon's requests are counted at least after the control plane is back.
const AFTERMATH: Duration = Duration::from_secs(20);

/// What a second with many connections or requests may have: each of the daemon's 17 watches opens
/// one at once, and lists once or twice.
const MOST_IN_A_SECOND: usize = 120;
/// What may be opened each second, over the whole time in which nobody answers.
const AWAY_RATE: f64 = 15.0;
/// What may be asked each second after that, with a rotation and a change of scale in it.
const AFTERMATH_RATE: f64 = 25.0;
/// From the return of the control plane until a rotation that was asked for at once is served, on a
/// busy machine.
const ROTATED: Duration = Duration::from_mins(1);
/// Kubernetes' controllers wait up to a minute before they watch again, and once more when the API
/// server does not know their roles yet; twice that, on a busy machine.
const CONTROLLERS: Duration = Duration::from_mins(4);
/// From the endpoints being as many as asked for until the load balancers have them. One that leaves
/// takes ten seconds of drain behind them.
const FOLLOWED: Duration = Duration::from_secs(45);

/// One control plane has all the faults in turn: its start costs more than any of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_of_the_control_plane_is_seen_by_traffic_or_answered_with_a_storm() {
    let mut cluster = Cluster::start().await;
    cluster.quickstart().await;
    cluster.ground().wait_balanced(2).await;

    the_api_server_is_away_for_a_minute(&mut cluster).await;
    etcd_stands_still(&mut cluster).await;
    watches_are_cut(&mut cluster).await;
    a_node_is_taken_for_dead(&mut cluster).await;

    cluster.stop().await;
}

async fn the_api_server_is_away_for_a_minute(cluster: &mut Cluster) {
    let (mut ground, load) = (cluster.ground(), cluster.small_load().await);
    ground.limit = CONTROLLERS;
    let away = cluster.clock.elapsed();
    cluster.control_plane.kill(Role::ApiServer).await;
    // How long it is away is what is tried.
    cluster.clock.sleep(Duration::from_mins(1)).await;
    let opened = Counted::connections(cluster, away);
    cluster.control_plane.start_again(Role::ApiServer).await;
    let back = Moment::now(cluster);
    let before = ground.ask_rotation().await;
    let times = scale_and_wait(&ground, &back, 3, before).await;
    until(cluster, &back, Duration::from_mins(1)).await;
    report(
        "API server away for 60 s",
        cluster,
        load,
        opened,
        back,
        times,
    )
    .await;
}

async fn etcd_stands_still(cluster: &mut Cluster) {
    let (ground, load) = (cluster.ground(), cluster.small_load().await);
    let (clock, away) = (cluster.clock, cluster.clock.elapsed());
    cluster.control_plane.pause(Role::Etcd).await;
    let wish = async {
        clock.sleep(Duration::from_secs(5)).await;
        ground.ask_rotation().await
    };
    let pause = async {
        clock.sleep(Duration::from_secs(20)).await;
        let opened = Counted::connections(cluster, away);
        cluster.control_plane.resume(Role::Etcd).await;
        (opened, Moment::now(cluster))
    };
    let (before, (opened, back)) = futures::join!(wish, pause);
    let times = scale_and_wait(&ground, &back, 2, before).await;
    report("etcd paused for 20 s", cluster, load, opened, back, times).await;
}

async fn watches_are_cut(cluster: &mut Cluster) {
    let (ground, load) = (cluster.ground(), cluster.small_load().await);
    let away = cluster.clock.elapsed();
    for _ in 0..5 {
        cluster.gate.cut();
        cluster.clock.sleep(Duration::from_secs(2)).await;
    }
    let before = ground.ask_rotation().await;
    cluster.gate.cut();
    let opened = Counted::connections(cluster, away);
    let back = Moment::now(cluster);
    let times = scale_and_wait(&ground, &back, 3, before).await;
    report(
        "watches cut 6 times in 10 s",
        cluster,
        load,
        opened,
        back,
        times,
    )
    .await;
}

/// What the node lifecycle controller writes when it has not heard of a node for a while, as it does
/// after an outage that cut it off longer than the node: the kubelet says otherwise.
async fn a_node_is_taken_for_dead(cluster: &mut Cluster) {
    let (ground, load) = (cluster.ground(), cluster.small_load().await);
    let proxy = ground.proxies().await.remove(0);
    let pods: Api<Pod> = Api::namespaced(cluster.kube(), "istio-system");
    let node = pods.get(&proxy).await.unwrap().spec.unwrap().node_name;
    let nodes: Api<Node> = Api::all(cluster.kube());
    let params = PatchParams::default();
    let unready = |status: &str| {
        let condition = json!({ "type": "Ready", "status": status, "reason": "NodeStatusUnknown" });
        Patch::Strategic(json!({ "status": { "conditions": [condition] } }))
    };
    let node = node.unwrap();
    nodes
        .patch_status(&node, &params, &unready("Unknown"))
        .await
        .unwrap();
    pods.patch_status(&proxy, &params, &unready("False"))
        .await
        .unwrap();
    let up = async || {
        let conditions = nodes.get(&node).await.ok()?.status?.conditions?;
        let mut ready = conditions.iter().filter(|held| held.type_ == "Ready");
        ready.any(|held| held.status == "True").then_some(())
    };
    ground.wait("the node up", up).await;
    ground.wait_proxies(3).await;
    ground.wait_endpoints(3).await;
    ground.wait_balanced(3).await;
    load.wait_good(80).await;
    let load = load.stop().await;
    assert_eq!(load.failed, 0, "of {}: {:#?}", load.good, load.causes);
}

/// When something was, on both clocks that tell of it.
struct Moment {
    clock: Duration,
    wall: Timestamp,
}

impl Moment {
    fn now(cluster: &Cluster) -> Self {
        Self {
            clock: cluster.clock.elapsed(),
            wall: cluster.clock.now(),
        }
    }
}

/// How much, in how long, and how much of it in the fullest second.
struct Counted {
    all: usize,
    lasted: Duration,
    most: usize,
}

impl Counted {
    /// `at`: seconds since the beginning.
    fn of(at: impl Iterator<Item = u64>, lasted: Duration) -> Self {
        let mut seconds: BTreeMap<u64, usize> = BTreeMap::new();
        for second in at {
            *seconds.entry(second).or_default() += 1;
        }
        Self {
            all: seconds.values().sum(),
            lasted,
            most: seconds.values().copied().max().unwrap_or(0),
        }
    }

    /// The daemon's connections to the API server since `since`, also those that nobody took.
    fn connections(cluster: &Cluster, since: Duration) -> Self {
        let opened = cluster.gate.opened_since(since);
        let at = opened.iter().map(|at| at.saturating_sub(since).as_secs());
        Self::of(at, cluster.clock.elapsed().saturating_sub(since))
    }

    /// The daemon's requests since `since`, as the API server has them in its audit log.
    fn requests(cluster: &Cluster, since: &Moment) -> Self {
        let mut at = Vec::new();
        for event in cluster.daemon_requests() {
            let received = event["requestReceivedTimestamp"].as_str();
            let received: Option<Timestamp> = received.and_then(|text| text.parse().ok());
            let Some(received) = received.filter(|at| *at >= since.wall) else {
                continue;
            };
            let after = received.duration_since(since.wall).as_secs();
            at.push(u64::try_from(after).unwrap());
        }
        let lasted = cluster.clock.elapsed().saturating_sub(since.clock);
        Self::of(at.into_iter(), lasted)
    }

    fn rate(&self) -> f64 {
        let all = u32::try_from(self.all).unwrap();
        f64::from(all) / self.lasted.as_secs_f64().max(1.0)
    }
}

/// How long things took after the return.
struct Times {
    rotated: Duration,
    /// Kubernetes' own part of a change of scale: as many Pods as asked for, ready and told in
    /// EndpointSlices.
    endpoints: Duration,
    scaled: Duration,
}

/// Asks for `replicas` proxies, and waits until they are there and the certificate after revision
/// `before` is served.
async fn scale_and_wait(ground: &Ground, back: &Moment, replicas: usize, before: i32) -> Times {
    ground.scale(replicas).await;
    let after = async |done: Pin<Box<dyn Future<Output = ()> + '_>>| {
        done.await;
        ground.clock.elapsed().saturating_sub(back.clock)
    };
    let (rotated, endpoints, scaled) = futures::join!(
        after(Box::pin(ground.wait_served(before))),
        after(Box::pin(async {
            ground.wait_proxies(replicas).await;
            ground.wait_endpoints(replicas).await;
        })),
        after(Box::pin(ground.wait_balanced(replicas))),
    );
    Times {
        rotated,
        endpoints,
        scaled,
    }
}

/// Lets the time until `after` the return pass: what the daemon asks in it is counted.
async fn until(cluster: &Cluster, back: &Moment, after: Duration) {
    let passed = cluster.clock.elapsed().saturating_sub(back.clock);
    cluster.clock.sleep(after.saturating_sub(passed)).await;
}

/// Prints the figures and checks them.
async fn report(
    what: &str,
    cluster: &mut Cluster,
    load: Load,
    opened: Counted,
    back: Moment,
    times: Times,
) {
    until(cluster, &back, AFTERMATH).await;
    let ended = cluster.daemon.ended();
    assert!(ended.is_none(), "{what}: the daemon ended: {ended:?}");
    let asked = Counted::requests(cluster, &back);
    load.wait_good(80).await;
    let load = load.stop().await;
    println!(
        "{what}: of {} requests {} failed; the daemon opened {} connections meanwhile ({:.1} a \
         second, at most {} in one), made {} requests in the {:.0?} after ({:.1} a second, at most \
         {} in one); after the return, the rotation was served within {:.1?}, the endpoints were as \
         many as asked for within {:.1?} and in the load balancers within {:.1?}",
        load.good + load.failed,
        load.failed,
        opened.all,
        opened.rate(),
        opened.most,
        asked.all,
        asked.lasted,
        asked.rate(),
        asked.most,
        times.rotated,
        times.endpoints,
        times.scaled,
    );
    assert_eq!(load.failed, 0, "{what}: {:#?}", load.causes);
    for (counted, limit) in [(&opened, AWAY_RATE), (&asked, AFTERMATH_RATE)] {
        assert!(
            counted.rate() <= limit,
            "{what}: {:.1} a second",
            counted.rate()
        );
        assert!(
            counted.most <= MOST_IN_A_SECOND,
            "{what}: {} in a second",
            counted.most
        );
    }
    assert!(
        times.rotated <= ROTATED,
        "{what}: rotated after {:?}",
        times.rotated
    );
    let followed = times.scaled.saturating_sub(times.endpoints);
    assert!(followed <= FOLLOWED, "{what}: followed after {followed:?}");
}
