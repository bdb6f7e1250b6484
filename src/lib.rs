//! The daemon: controllers, the certificate state machine, the discovery service, and what runs
//! them on a laptop.

pub mod admin;
pub mod certificate;
pub mod cli;
pub mod daemon;
pub mod dev;
mod fronts;
pub mod gateway;
pub mod identity;
pub mod kubernetes;
pub mod laptop;
pub mod leader;
pub mod load_balancer;
pub mod outside;
pub mod probe;
pub mod proxy;
pub mod retry;
pub mod routing;
pub mod runner;
pub mod settings;
pub mod transport;
