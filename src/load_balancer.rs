//! Services of class `gatewright.dev/clb`: observe, plan, apply, report.

mod controller;
mod desired;
mod record;

pub use controller::{CONDITION, Controller, LOAD_BALANCER_CLASS};
pub use desired::{InterfaceOf, Invalid, desired};
