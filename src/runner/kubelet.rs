//! Watches Pods and gives each its task.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use gatewright_seams::Tasks;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt};
use tokio::sync::watch;

use super::leftovers;
use super::pod::{self, Exit};
use super::{NODE, Runner};
use crate::kubernetes::is_ready;

/// How long Pods get to stop when the runner itself stops; they do not drain then.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// The Pod addresses in use, so that each Pod has its own.
#[derive(Clone)]
pub(super) struct Addresses {
    first: Ipv4Addr,
    used: Arc<Mutex<BTreeSet<u32>>>,
}

impl Addresses {
    fn new(first: Ipv4Addr) -> Self {
        Self {
            first,
            used: Arc::default(),
        }
    }

    /// The address the Pod had before, if it is free, else the lowest that no Pod holds: a restart
    /// of this program then changes no load balancer's backends.
    pub(super) fn take(&self, before: Option<Ipv4Addr>) -> Ipv4Addr {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = before.filter(|before| *before >= self.first)
            && used.insert(before.into())
        {
            return before;
        }
        let mut bits = u32::from(self.first);
        while !used.insert(bits) {
            bits += 1;
        }
        bits.into()
    }

    pub(super) fn give_back(&self, address: Ipv4Addr) {
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&u32::from(address));
    }
}

struct Running {
    exit: watch::Sender<Exit>,
    /// Whether the API server holds the Pod as ready.
    held: watch::Sender<bool>,
    tasks: Tasks,
}

/// Which Pods are this runner's.
pub(super) enum Bound {
    /// Those of the laptop's node, and those of no node: nobody else would choose one.
    Laptop,
    /// Those that a scheduler bound to one of these nodes.
    To(BTreeSet<String>),
}

impl Bound {
    fn has(&self, node: Option<&str>) -> bool {
        match self {
            Self::Laptop => node.is_none_or(|node| node == NODE),
            Self::To(nodes) => node.is_some_and(|node| nodes.contains(node)),
        }
    }
}

/// Runs Pods until the tasks are cancelled, then stops them all.
pub(super) async fn run(runner: Runner, bound: Bound) {
    leftovers::sweep(&runner.directory);
    let addresses = Addresses::new(runner.first_address);
    let mut pods: BTreeMap<String, Running> = BTreeMap::new();
    // Pods outlive the cancel signal by the moment it takes to stop them.
    let group = Tasks::new();
    let api: Api<Pod> = Api::all(runner.kube.clone());
    let mut events = watcher::watcher(api, watcher::Config::default()).boxed();
    loop {
        let event = match runner.tasks.until_cancelled(events.try_next()).await {
            Err(_cancelled) => break,
            Ok(Ok(Some(event))) => event,
            Ok(Ok(None)) => break,
            Ok(Err(error)) => {
                tracing::debug!(%error, "watching pods");
                runner.clock.sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        match event {
            Event::Apply(pod) | Event::InitApply(pod) => {
                let Some(uid) = pod.uid() else { continue };
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
                if !bound.has(node) {
                    continue;
                }
                if pod.metadata.deletion_timestamp.is_some() {
                    if let Some(running) = pods.get(&uid) {
                        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
                        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
                        running.exit.send_replace(Exit::Drain(grace));
                        continue;
                    }
                } else if let Some(running) = pods.get(&uid) {
                    running.held.send_replace(is_ready(&pod));
                    continue;
                }
                let (exit, told) = watch::channel(Exit::No);
                let (held, seen) = watch::channel(is_ready(&pod));
                let tasks = group.child();
                let task = pod::run(
                    runner.clone(),
                    addresses.clone(),
                    pod,
                    tasks.clone(),
                    seen,
                    told,
                );
                tasks.spawn_graceful("pod", task);
                pods.insert(uid, Running { exit, held, tasks });
            }
            Event::Delete(pod) => {
                if let Some(running) = pod.uid().and_then(|uid| pods.remove(&uid)) {
                    running.exit.send_replace(Exit::Now);
                }
            }
            Event::Init | Event::InitDone => {}
        }
    }
    for running in pods.values() {
        running.exit.send_replace(Exit::Now);
    }
    for running in pods.into_values() {
        running.tasks.stop(SHUTDOWN).await;
    }
}
