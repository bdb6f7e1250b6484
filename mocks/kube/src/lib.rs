//! An embedded Kubernetes API server.
//!
//! [`LocalKube`] speaks enough of the Kubernetes API for kube-rs and `kubectl`: discovery, OpenAPI, lists and watches,
//! optimistic locking, all kinds of patches with server-side apply, finalizers, garbage collection, custom resource
//! definitions. It runs no workloads: Deployments make no Pods here, Services no EndpointSlices.
//!
//! There is one user, who may do everything. Everything runs on the clock, the random source and the tasks it is given.

mod access;
mod apply;
mod bell;
mod bodies;
pub mod builtin;
mod collector;
mod discovery;
mod dispatch;
mod documents;
mod error;
mod events;
mod expiry;
mod faults;
mod kinds;
mod local;
mod meta;
pub mod openapi;
mod options;
pub mod protobuf;
mod read;
mod request;
mod requests;
mod reviews;
pub mod schema;
mod selector;
mod serve;
mod service;
mod shared;
mod status;
mod store;
mod strategic;
mod table;
mod write;
mod write_scale;

pub use access::Access;
pub use error::Error;
pub use faults::{Fault, Faults, Matching};
pub use local::LocalKube;
pub use options::{Options, Snapshot, Storage};
pub use requests::RequestLog;
pub use service::{KubeService, ResponseBody, ServiceError};
