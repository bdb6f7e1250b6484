//! What the scenario and end-to-end tests have in common: a world with a daemon in it.
#![expect(
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::expect_used,
    reason = "only tests use this"
)]

mod client;
mod rig;

pub use client::{Answer, Client, Connection};
pub use rig::{EXAMPLES, INTERNAL, PUBLIC, Rig, RigOptions, envoy, log};
