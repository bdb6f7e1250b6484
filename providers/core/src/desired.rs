//! A load balancer as it should be.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::backend::Backends;
use crate::id::{GroupName, OwnerKey, Port, SubnetId};
use crate::listener::{ListenerSettings, Protocol};

/// Who can reach a load balancer's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressType {
    #[default]
    Internet,
    /// The cloud's private network only.
    Intranet,
}

impl fmt::Display for AddressType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Internet => "internet",
            Self::Intranet => "intranet",
        })
    }
}

/// The family of a load balancer's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpVersion {
    #[default]
    Ipv4,
    Ipv6,
}

impl fmt::Display for IpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

/// A load balancer as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    pub owner: OwnerKey,
    /// Name of the instance; unset keeps the cloud's.
    pub name: Option<String>,
    /// Fixed at creation.
    pub address_type: AddressType,
    /// Fixed at creation.
    pub ip_version: IpVersion,
    /// Where an internal address is taken; fixed at creation.
    pub subnet: Option<SubnetId>,
    /// Tags beside the ownership marks. Others that people put on are left alone.
    pub tags: BTreeMap<String, String>,
    /// Whether the cloud refuses to delete it; unset keeps what is.
    pub deletion_protection: Option<bool>,
    pub listeners: Vec<Listener>,
    pub groups: Vec<BackendGroup>,
}

impl Desired {
    /// An IPv4 load balancer without listeners.
    pub fn new(owner: OwnerKey, address_type: AddressType) -> Self {
        Self {
            owner,
            name: None,
            address_type,
            ip_version: IpVersion::Ipv4,
            subnet: None,
            tags: BTreeMap::new(),
            deletion_protection: None,
            listeners: Vec::new(),
            groups: Vec::new(),
        }
    }
}

/// A listener as it should be. Port and protocol are its identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    pub port: Port,
    pub protocol: Protocol,
    /// The group of [`Desired::groups`] that it forwards to.
    pub group: GroupName,
    /// What it is for, without the ownership mark, e.g. `https`.
    pub description: String,
    #[serde(default)]
    pub settings: ListenerSettings,
}

/// A group of backends as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendGroup {
    /// Unique in the load balancer; at most 32 characters, so that the mark fits in front.
    pub name: GroupName,
    pub backends: Backends,
}
