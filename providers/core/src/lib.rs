//! What a load balancer is, how it should be and how it is, and the steps from one to the other.
//!
//! Nothing here knows a cloud, Kubernetes, HTTP or an async runtime. [`plan()`] is a pure function from
//! [`Desired`] and [`Observed`] to a [`Plan`]; a provider ([`LoadBalancers`]) observes and applies.

pub mod backend;
pub mod desired;
pub mod error;
pub mod id;
pub mod listener;
pub mod observed;
pub mod plan;
pub mod provider;
pub mod secret;
pub mod step;
pub mod token;

pub use backend::{Backend, BackendKey, BackendState, Backends};
pub use desired::{AddressType, BackendGroup, Desired, IpVersion, Listener};
pub use error::{Error, ErrorClass};
pub use id::{
    BackendGroupId, CertificateId, ClusterName, GroupName, LoadBalancerId, Mark, OwnerKey, Port,
    Seconds, ServerId, SubnetId, Weight,
};
pub use listener::{
    Drain, HealthCheck, ListenerSettings, Probe, ProbeMethod, Protocol, Scheduler, Setting,
};
pub use observed::{
    Duplicate, ListenerStatus, LoadBalancerStatus, Observed, ObservedBackend, ObservedGroup,
    ObservedListener, ObservedLoadBalancer,
};
pub use plan::plan;
pub use provider::{Found, LoadBalancers, OwnedLoadBalancer};
pub use secret::Secret;
pub use step::{Action, Blocked, Plan, Step};
pub use token::IdempotencyToken;
