//! The kubelet's stand-in on a laptop.
//!
//! It runs Pods of the gateway image as Envoy processes on loopback addresses and writes their
//! status. Against the embedded API server, which has no controllers, it also plays the workload
//! controllers: Deployments become replica sets and these Pods, Services get EndpointSlices.

mod endpoints;
mod kubelet;
mod leftovers;
mod nodes;
mod pod;
mod sample;
mod volumes;
mod workloads;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use gatewright_seams::{Clock, Random, Tasks};

use self::kubelet::Bound;

/// The image of a gateway Pod.
pub const PROXY_IMAGE: &str = "gatewright/proxy";
/// The image of the sample backend, which runs inside this process.
pub const SAMPLE_IMAGE: &str = "gatewright.dev/sample-backend";
/// The name of the one Node of a laptop.
pub const NODE: &str = "laptop";
const MANAGER: &str = "local-runner";

/// What the local runner needs.
#[derive(Clone)]
pub struct Runner {
    pub kube: kube::Client,
    pub clock: Clock,
    pub random: Random,
    pub tasks: Tasks,
    /// The Envoy program.
    pub envoy: PathBuf,
    /// Where Pods keep their volumes and logs, one directory each.
    pub directory: PathBuf,
    /// The first Pod address, 10.a.b.1: Pods get it and those after it, and listen on 127.a.b.x.
    pub first_address: Ipv4Addr,
}

impl Runner {
    /// Starts the Pod runner; with `controllers`, also what turns Deployments into Pods and
    /// Services into EndpointSlices. Ends when the tasks are cancelled; Pods are stopped then.
    pub fn start(&self, controllers: bool) {
        if controllers {
            self.start_controllers();
        }
        self.tasks
            .spawn_graceful("runner-pods", kubelet::run(self.clone(), Bound::Laptop));
    }

    /// Starts only the Pod runner, as the kubelet of `nodes` in a cluster that has controllers and a
    /// scheduler of its own: registers the nodes, keeps them alive and runs the Pods bound to them.
    pub fn start_kubelets(&self, nodes: &[&str]) {
        let nodes: BTreeSet<String> = nodes.iter().map(|&node| node.to_owned()).collect();
        for node in &nodes {
            self.tasks
                .spawn("runner-node", nodes::run(self.clone(), node.clone()));
        }
        let pods = kubelet::run(self.clone(), Bound::To(nodes));
        self.tasks.spawn_graceful("runner-pods", pods);
    }

    /// Starts only what turns Deployments into Pods and Services into EndpointSlices, for a world
    /// in which somebody else runs the Pods.
    pub fn start_controllers(&self) {
        self.tasks
            .spawn("runner-workloads", workloads::run(self.clone()));
        self.tasks
            .spawn("runner-endpoints", endpoints::run(self.clone()));
    }
}
