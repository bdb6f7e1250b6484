use std::sync::Arc;

use jiff::Timestamp;

use crate::{ResourceType, Version};

/// What one connected proxy has been given and has said about it.
///
/// An ACK is not proof that the resource is in use: only a connection through the proxy is.
#[derive(Clone, Debug)]
pub struct ProxyStatus {
    /// `node.id`; empty until the first request.
    pub node_id: Arc<str>,
    /// Envoy's version as it reports it, such as `envoy 1.40.0`; empty when it does not.
    pub agent: Arc<str>,
    pub connected_since: Timestamp,
    /// A response was not answered within the limit: the proxy hangs or is overloaded.
    pub stuck: bool,
    pub counters: Counters,
    /// Sorted by type and name.
    pub resources: Vec<ResourceStatus>,
}

impl ProxyStatus {
    /// Whether every resource that should be here has been acknowledged.
    pub fn is_in_sync(&self) -> bool {
        self.resources.iter().all(ResourceStatus::is_in_sync)
    }
}

/// One resource on one proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceStatus {
    pub kind: ResourceType,
    pub name: Arc<str>,
    /// What the store holds; `None` when the proxy asks for something that is not there.
    pub wanted: Option<Version>,
    /// What was sent last, or was there when the proxy connected.
    pub sent: Option<Version>,
    /// What the proxy accepted last.
    pub acked: Option<Version>,
    /// What the proxy refused last, unless it accepted something newer.
    pub nacked: Option<Rejection>,
}

impl ResourceStatus {
    pub fn is_in_sync(&self) -> bool {
        self.wanted == self.acked
    }
}

/// A refused resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub version: Version,
    /// Envoy's words, shortened.
    pub message: Arc<str>,
}

/// Since the stream was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub requests: u64,
    pub acks: u64,
    pub nacks: u64,
    pub responses: u64,
    pub resources_sent: u64,
    pub removals_sent: u64,
    pub bytes_sent: u64,
}
