//! Istio's routing objects become Envoy's resources.
//!
//! [`translate()`] is pure: objects in, resources and problems out. The publisher watches the
//! objects and keeps the discovery service's store equal to what it says.

mod bindings;
mod clusters;
mod headers;
mod listeners;
mod matches;
mod patterns;
mod problem;
mod publisher;
mod routes;
mod secrets;
mod servers;
mod translate;

pub use problem::Problem;
pub use publisher::{Publisher, group_of};
pub use translate::{Answers, Input, Key, Output, translate};

/// The cluster that leads to the daemon's challenge answers.
const CHALLENGE_CLUSTER: &str = "gatewright-challenges";
