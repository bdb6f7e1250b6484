//! What the scenario and end-to-end tests have in common: a world with a daemon in it.
#![expect(
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::expect_used,
    reason = "only tests use this"
)]

mod client;
mod cluster;
pub mod corpus;
mod load;
mod proxies;
mod rig;
mod sim;

pub use client::{Answer, Client, Connection};
pub use cluster::{Cluster, ControlPlane, DAEMON_USER, Pebble, Process, gatewright, tool};
pub use load::{Handshake, Load, LoadOptions, Report};
pub use proxies::{ProxyView, processes_of};
pub use rig::{EXAMPLES, INTERNAL, PUBLIC, Rig, RigOptions, envoy, log};
pub use sim::{
    ACCESS_KEY, Crossings, GATEWAY_NAMESPACE, OWNER_TAG, Side, Sim, SimOptions, Switch, World,
    shape,
};
