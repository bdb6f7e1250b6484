//! Ids, names, ports, weights and durations as types of their own.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }
    )*};
}

text_id! {
    /// The cloud's id of a load balancer instance.
    LoadBalancerId;
    /// The cloud's id of a backend group.
    BackendGroupId;
    /// The cloud's id of a certificate that a listener serves.
    CertificateId;
    /// The cloud's id of the machine or network interface behind a backend.
    ServerId;
    /// The cloud's id of the network segment in which an internal address is taken.
    SubnetId;
    /// The object a load balancer belongs to: the UID of a Kubernetes Service.
    OwnerKey;
    /// The cluster whose daemon made a load balancer.
    ClusterName;
    /// Name of a backend group within one load balancer, without the ownership mark.
    GroupName;
}

/// The prefix of the names of listeners and groups that belong to one owner.
///
/// What carries no such prefix is somebody else's and is never changed or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark(String);

impl Mark {
    /// `gatewright/<owner>/`: 48 characters for a UUID, so that 32 are left of the 80 that group
    /// names may have in the clouds known.
    pub fn of(owner: &OwnerKey) -> Self {
        Self(format!("gatewright/{owner}/"))
    }

    /// `name` with the mark in front: what is written to the cloud.
    pub fn put(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }

    /// The name behind the mark; nothing when `full` does not carry it.
    pub fn strip<'a>(&self, full: &'a str) -> Option<&'a str> {
        full.strip_prefix(&self.0)
    }

    pub fn is_on(&self, full: &str) -> bool {
        full.starts_with(&self.0)
    }
}

/// A TCP or UDP port, 1–65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Port(u16);

impl Port {
    /// Nothing for 0.
    pub const fn new(port: u16) -> Option<Self> {
        if port == 0 { None } else { Some(Self(port)) }
    }

    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Port {
    type Error = OutOfRange;

    fn try_from(port: u16) -> Result<Self, OutOfRange> {
        Self::new(port).ok_or(OutOfRange {
            what: "port",
            range: "1–65535",
        })
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> Self {
        port.0
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A backend's share of new connections, 0–100. 0 takes none; open connections stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Weight(u8);

impl Weight {
    pub const ZERO: Self = Self(0);
    pub const FULL: Self = Self(100);

    /// Nothing above 100.
    pub const fn new(weight: u8) -> Option<Self> {
        if weight > 100 {
            None
        } else {
            Some(Self(weight))
        }
    }

    pub const fn get(self) -> u8 {
        self.0
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl TryFrom<u8> for Weight {
    type Error = OutOfRange;

    fn try_from(weight: u8) -> Result<Self, OutOfRange> {
        Self::new(weight).ok_or(OutOfRange {
            what: "weight",
            range: "0–100",
        })
    }
}

impl From<Weight> for u8 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whole seconds: the unit of every timeout that a load balancer has.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seconds(pub u32);

impl From<Seconds> for Duration {
    fn from(seconds: Seconds) -> Self {
        Self::from_secs(seconds.0.into())
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}

/// A number outside of what its type allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be in {range}")]
pub struct OutOfRange {
    pub what: &'static str,
    pub range: &'static str,
}
