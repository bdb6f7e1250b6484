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
mod needles;
mod proxies;
mod rig;
pub mod stages;

pub use client::{Answer, Client, Connection};
pub use cluster::{Cluster, ControlPlane, Gate, Pebble, Process, gatewright, tool};
pub use gatewright_simulation::{
    ACCESS_KEY, Crossings, EXAMPLES, GATEWAY_NAMESPACE, INTERNAL, OWNER_TAG, PUBLIC, Side, Sim,
    SimOptions, Switch, World, log, shape,
};
pub use load::{Handshake, Load, LoadOptions, Report};
pub use needles::Needles;
pub use proxies::{ProxyView, processes_of};
pub use rig::{Rig, RigOptions, envoy};
