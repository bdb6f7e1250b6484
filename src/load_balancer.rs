//! Services of class `gatewright.dev/clb`: observe, plan, apply, report.

mod controller;
mod desired;
mod record;
mod service;

pub use controller::Controller;
pub use desired::{InterfaceOf, Invalid, desired};
pub use service::{CONDITION, LOAD_BALANCER_CLASS};
