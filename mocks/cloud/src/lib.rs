//! A stateful Alibaba Cloud on a laptop, with a data plane of real sockets.
//!
//! It serves the classic load balancer (CLB, product `slb`, version 2014-05-15): it verifies
//! signatures, keeps state over restarts, enforces quotas and states, and every started TCP or HTTP
//! listener is a real socket that forwards to the members of its group.

mod answer;
mod call;
mod clb;
mod cloud;
mod faults;
mod gateway;
mod inventory;
mod ledger;
mod options;
mod params;
mod plane;
mod serve;
mod service;
mod state;
mod storage;

pub use cloud::MockCloud;
pub use faults::{Fault, Faults};
pub use inventory::{GroupView, InstanceView, Inventory, ListenerView, MemberView};
pub use ledger::{Ledger, LedgerEntry, Mark};
pub use options::{AccessKey, DataPlane, Error, Options, Quotas, Storage, Timings};
pub use plane::Health;
pub use service::{BoxError, CloudService};
pub use state::{ListenerStatus, Protocol};
