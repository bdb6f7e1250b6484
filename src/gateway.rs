//! IstioGateway objects: their proxies, their Service, their status.

mod bootstrap;
mod children;
mod controller;

pub(crate) use bootstrap::RESERVED_PORTS;
pub use bootstrap::{XDS_CLUSTER, XDS_SERVER_NAME};
pub(crate) use children::ports;
pub use children::service_of;
pub use controller::{Controller, Settings};
pub(crate) use controller::{addresses_of, reaches};
