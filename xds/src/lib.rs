//! Resource store and delta ADS server for Envoy.
//!
//! The daemon puts resources into the [`Store`], one set for each gateway; the [`Server`] hands
//! them to the Envoys that prove, by their client certificate, which gateway they belong to.

pub mod config_source;
mod error;
mod gateway_id;
pub mod identity;
pub mod proto;
mod resource;
mod server;
mod session;
mod status;
mod store;

pub use error::{Error, StreamError};
pub use gateway_id::GatewayId;
pub use resource::{Resource, ResourceKey, ResourceType, Version};
pub use server::{Server, TlsSource, server_tls};
pub use session::Response;
pub use status::{Counters, ProxyStatus, Rejection, ResourceStatus};
pub use store::{Change, ChangeKind, Changes, ProxyStream, Store, Update};
