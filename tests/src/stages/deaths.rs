//! The life of the quickstart with a daemon that is killed at every kind of call that changes
//! something, before and after its effect: the objects are those of the undisturbed stages, and no
//! call is made while there is nothing to do.
#![expect(clippy::print_stdout, reason = "each death is named in the output")]

use std::time::Duration;

use mock_cloud::Fault;

use super::Ground;
use crate::{Cluster, Sim};

/// What makes a load balancer, in the order in which it happens.
const CREATION: [&str; 4] = [
    "CreateLoadBalancer",
    "CreateVServerGroup",
    "CreateLoadBalancerTCPListener",
    "StartLoadBalancerListener",
];
/// What brings a proxy to its load balancers.
const SCALE_OUT: [&str; 1] = ["AddVServerGroupBackendServers"];
/// What takes a proxy away from its load balancers.
const SCALE_IN: [&str; 2] = [
    "SetVServerGroupAttribute",
    "RemoveVServerGroupBackendServers",
];
/// What removes a load balancer.
const DELETION: [&str; 1] = ["DeleteLoadBalancer"];
/// What the ledger says of a call whose answer was lost.
const LOST: [&str; 2] = ["timeout before", "timeout after"];
/// How long the daemon lives after each wish for a new certificate.
const LIVES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];
/// What a start, or the end of every watch, leads to at least: a watch of each kind.
const REQUESTS_OF_A_START: usize = 10;
/// How long nothing may happen when there is nothing to do.
const QUIET: Duration = Duration::from_secs(5);

/// What only a daemon's own ground can do to it.
pub trait Daemon {
    /// Ends it where it stands.
    fn kill(&mut self) -> impl Future<Output = ()>;

    /// Starts it with nothing but what is in the API server and the cloud.
    fn start(&mut self) -> impl Future<Output = ()>;

    /// Ends all its watches.
    fn cut_watches(&mut self) -> impl Future<Output = ()>;

    /// How many requests it has made to the API server, in all lives; a watch is one.
    fn requests(&self) -> usize;
}

impl Daemon for Sim {
    async fn kill(&mut self) {
        assert_eq!(self.failed(), None, "it did not die of this");
        self.kill_daemon();
    }

    async fn start(&mut self) {
        self.start_daemon().await;
    }

    async fn cut_watches(&mut self) {
        self.resync().await;
    }

    fn requests(&self) -> usize {
        self.kube_calls.count()
    }
}

impl Daemon for Cluster {
    async fn kill(&mut self) {
        if let Some(status) = self.daemon.ended() {
            panic!(
                "it died by itself ({status}):\n{}",
                self.daemon.last_words()
            );
        }
        self.kill_daemon().await;
    }

    async fn start(&mut self) {
        self.start_daemon();
    }

    async fn cut_watches(&mut self) {
        self.gate.cut();
    }

    fn requests(&self) -> usize {
        self.daemon_requests().len()
    }
}

/// Lets the daemon die at the calls that make load balancers, which `apply` asks for.
///
/// # Panics
/// A call is not made in time.
pub async fn create<D: Daemon>(ground: &Ground, daemon: &mut D, apply: impl AsyncFnOnce(&D)) {
    die(ground, daemon, "create", &CREATION, apply).await;
}

/// Goes on from the quickstart to a gateway with one proxy and its second certificate.
///
/// # Panics
/// A step does not end in time, or a stage is not as it is stored.
pub async fn live(ground: &Ground, daemon: &mut impl Daemon) {
    ground.wait_served(0).await;
    ground.wait_balanced(2).await;
    ground.compare_objects("quickstart").await;
    idle(ground, daemon).await;
    ground.compare_objects("quickstart").await;

    let mut at_it = 0;
    for life in LIVES {
        let before = ground.ask_rotation().await;
        ground.clock.sleep(life).await;
        daemon.kill().await;
        let rotating = ground.is_rotating().await;
        at_it += usize::from(rotating);
        println!("rotate: died {life:?} after the wish, at it: {rotating}");
        daemon.start().await;
        ground.wait_served(before).await;
    }
    assert!(at_it >= 3, "{at_it} deaths before the end of a rotation");
    ground.compare_objects("rotated").await;

    let apply = async |_: &_| ground.scale(3).await;
    die(ground, daemon, "scale out", &SCALE_OUT, apply).await;
    ground.wait_balanced(3).await;
    let apply = async |_: &_| ground.scale(1).await;
    die(ground, daemon, "scale in", &SCALE_IN, apply).await;
    ground.wait_balanced(1).await;
    ground.compare_objects("scaled-in").await;
}

/// Deletes what makes load balancers and proxies.
///
/// # Panics
/// As [`live`], or a call that changes the cloud is none of those at which the daemon died.
pub async fn leave(ground: &Ground, daemon: &mut impl Daemon) {
    let apply = async |_: &_| ground.delete().await;
    die(ground, daemon, "delete", &DELETION, apply).await;
    ground.wait_empty_cloud().await;
    ground.compare_objects("deleted-restarted").await;

    let ledger = ground.cloud.ledger();
    for call in ledger.entries().iter().filter(|call| call.write) {
        let known = [&CREATION[..], &SCALE_OUT, &SCALE_IN, &DELETION].concat();
        let action = call.action.as_str();
        assert!(
            known.contains(&action),
            "the daemon did not die at {action}"
        );
    }
}

/// Neither the end of every watch nor a restart leads to a call when there is nothing to do.
async fn idle(ground: &Ground, daemon: &mut impl Daemon) {
    let ledger = ground.cloud.ledger();
    let mark = ledger.mark();
    for restart in [false, true] {
        let before = daemon.requests();
        if restart {
            daemon.kill().await;
            daemon.start().await;
        } else {
            daemon.cut_watches().await;
        }
        looks(ground, daemon, before).await;
        ground.clock.sleep(QUIET).await;
        assert_eq!(
            ledger.since(mark),
            [],
            "calls without anything to do; restarted: {restart}"
        );
    }
}

/// Waits until the daemon watches everything again, which had made `before` requests until then.
async fn looks(ground: &Ground, daemon: &impl Daemon, before: usize) {
    let seen = async || (daemon.requests() >= before + REQUESTS_OF_A_START).then_some(());
    ground.wait("the daemon to watch again", seen).await;
}

/// Kills and starts the daemon before and after the effect of a call of each of `actions`, which
/// `apply` leads to. Calls for two load balancers may be under way when it dies.
async fn die<D: Daemon>(
    ground: &Ground,
    daemon: &mut D,
    phase: &str,
    actions: &[&str],
    apply: impl AsyncFnOnce(&D),
) {
    let (faults, ledger) = (ground.cloud.faults(), ground.cloud.ledger());
    let mark = ledger.mark();
    for action in actions {
        faults.next(action, 1, Fault::TimeoutBefore);
        faults.next(action, 1, Fault::TimeoutAfter);
    }
    apply(daemon).await;
    // The ledger has a call when its effect is there.
    let lost = || {
        let calls = ledger.since(mark).into_iter();
        let lost = calls.filter(|call| LOST.contains(&call.outcome.as_str()));
        lost.collect::<Vec<_>>()
    };
    let mut died = 0;
    while died < 2 * actions.len() {
        let what = format!("{phase}: the next lost call after {died} of {actions:?}");
        let seen = async || (lost().len() > died).then_some(());
        ground.wait(&what, seen).await;
        daemon.kill().await;
        let lost = lost();
        for call in &lost[died..] {
            println!("{phase}: died at {}, {}", call.action, call.outcome);
        }
        died = lost.len();
        daemon.start().await;
    }
}
