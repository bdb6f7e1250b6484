//! The daemon: controllers, the certificate state machine, the discovery service, and what runs
//! them on a laptop.

pub mod certificate;
pub mod daemon;
mod fronts;
pub mod gateway;
pub mod identity;
pub mod kubernetes;
pub mod laptop;
pub mod load_balancer;
pub mod outside;
pub mod probe;
pub mod proxy;
pub mod retry;
pub mod routing;
pub mod runner;
