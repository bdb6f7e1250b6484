//! Everything outside the process, in one place: the seams of the four ways to run the daemon.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use gatewright_core::LoadBalancers;
use gatewright_seams::{AddressMap, Clock, Random, Tasks};
use tower::BoxError;
use tower::util::BoxCloneSyncService;

use crate::kubernetes::Events;
use crate::retry::WatchBackoff;

/// A transport for whole HTTP messages: to the cloud, to a certificate authority.
pub type Transport = BoxCloneSyncService<http::Request<Bytes>, http::Response<Bytes>, BoxError>;

/// Sees the gateways as a client does.
pub trait Probe: Send + Sync {
    /// Connects to `address`, asks for `server_name`, and returns the leaf certificate as DER.
    ///
    /// Nothing about the certificate is checked: the caller compares it with the one it published.
    fn leaf<'a>(
        &'a self,
        address: SocketAddr,
        server_name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<u8>, ProbeError>>;

    /// `GET http://host/path` at `address`: status and at most a few kilobytes of body.
    fn get<'a>(
        &'a self,
        address: SocketAddr,
        host: &'a str,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(u16, Bytes), ProbeError>>;
}

/// Why a probe saw nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    #[error("connecting: {0}")]
    Connect(String),
    #[error("tls handshake: {0}")]
    Tls(String),
    #[error("http: {0}")]
    Http(String),
    #[error("no answer in {0:?}")]
    TimedOut(std::time::Duration),
}

/// Where things are dialled when they are not where Kubernetes says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network {
    /// Pod addresses.
    pub pods: AddressMap,
    /// Added to the port of a load balancer's listener, where ports below 1024 cannot be bound.
    pub port_shift: u16,
}

/// What the daemon reaches outside through. Cloning is cheap and shares everything.
#[derive(Clone)]
pub struct Outside {
    pub clock: Clock,
    pub random: Random,
    pub tasks: Tasks,
    pub kube: kube::Client,
    pub events: Events,
    /// The Alibaba Cloud CLB instances of this cluster; none when no credentials are configured.
    pub load_balancers: Option<Arc<dyn LoadBalancers>>,
    /// To ACME servers.
    pub acme: Transport,
    pub probe: Arc<dyn Probe>,
    pub network: Network,
}

impl Outside {
    /// For a stream of `watches` watches of the API server.
    pub fn watch_backoff(&self, watches: u32) -> WatchBackoff {
        WatchBackoff::new(self.clock, &self.random, watches)
    }
}
