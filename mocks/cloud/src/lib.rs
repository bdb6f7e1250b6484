//! A stateful Alibaba Cloud on a laptop, with a data plane of real sockets.
//!
//! It serves the classic load balancer (CLB, product `slb`, version 2014-05-15): it verifies
//! signatures, keeps state over restarts, enforces quotas and states, and every started TCP or HTTP
//! listener is a real socket that forwards to the members of its group.
//!
//! Kept and described, but without an effect on traffic: `Bandwidth`, `EstablishedTimeout`,
//! `SynProxy`, `Gzip`, `StickySession` and UDP listeners as a whole. A `PersistenceTimeout` makes a
//! client keep its member for ever. What the mock does not have at all is refused with
//! `UnsupportedOperation`: HTTPS listeners, certificates, access control lists, forwarding rules,
//! redirects, master-slave groups and prepaid instances.

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
