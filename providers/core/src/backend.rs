//! Backends: where a load balancer sends connections.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::{Port, ServerId, Weight};

/// What makes a backend the same backend: server, address and port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendKey {
    /// The machine or network interface.
    pub server: ServerId,
    /// Which address of it; nothing means its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    pub port: Port,
}

impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Some(ip) => write!(f, "{ip}:{}", self.port),
            None => write!(f, "{}:{}", self.server, self.port),
        }
    }
}

/// Whether a wanted backend may take new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BackendState {
    /// Takes new connections.
    #[default]
    Ready,
    /// Is going away and still serves what it has: weight 0 for as long as it is listed.
    Draining,
}

/// A backend as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    #[serde(flatten)]
    pub key: BackendKey,
    /// Share of new connections when ready.
    pub weight: Weight,
    #[serde(default)]
    pub state: BackendState,
}

impl Backend {
    /// A ready backend of full weight.
    pub fn ready(server: ServerId, ip: Option<IpAddr>, port: Port) -> Self {
        Self {
            key: BackendKey { server, ip, port },
            weight: Weight::FULL,
            state: BackendState::Ready,
        }
    }
}

/// The wanted backends of a group, and how much is known about them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Backends {
    /// Nothing is known: the group keeps what it has.
    #[default]
    Unknown,
    /// Some are known, others may exist: these are added, nothing leaves.
    Partial(Vec<Backend>),
    /// These and no others. When none of them is ready, the group keeps what it has: an outage of
    /// readiness is no reason to turn connections away.
    Complete(Vec<Backend>),
    /// There are none because the workload was scaled to zero: all leave.
    ScaledToZero,
}

impl Backends {
    /// What is known, whatever state it is in.
    pub fn known(&self) -> &[Backend] {
        match self {
            Self::Partial(list) | Self::Complete(list) => list,
            Self::Unknown | Self::ScaledToZero => &[],
        }
    }
}
