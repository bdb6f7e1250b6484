//! What the cloud holds. A call works on a copy, so a refused call leaves nothing half done.

mod listener;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use listener::Listener;
pub use listener::{ListenerStatus, Protocol};

pub(crate) type Tags = BTreeMap<String, String>;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) instances: BTreeMap<String, Instance>,
    pub(crate) groups: BTreeMap<String, Group>,
    /// Client tokens of instance creations.
    pub(crate) tokens: BTreeMap<String, Token>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) parameters: String,
    pub(crate) instance: String,
    pub(crate) address: IpAddr,
    pub(crate) used: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    /// `internet` or `intranet`.
    pub(crate) address_type: String,
    /// `vpc` or `classic`.
    pub(crate) network_type: String,
    pub(crate) vpc_id: String,
    pub(crate) vswitch_id: String,
    pub(crate) resource_group_id: String,
    pub(crate) charge_type: String,
    pub(crate) internet_charge_type: String,
    pub(crate) pay_type: String,
    pub(crate) spec: Option<String>,
    pub(crate) bandwidth: i64,
    pub(crate) master_zone: String,
    pub(crate) slave_zone: String,
    /// Not stopped by SetLoadBalancerStatus.
    pub(crate) active: bool,
    pub(crate) delete_protection: bool,
    /// The reason, when modification protection is on.
    pub(crate) modification_protection: Option<String>,
    pub(crate) created: Timestamp,
    pub(crate) tags: Tags,
    /// Sorted by port and protocol.
    pub(crate) listeners: Vec<Listener>,
    pub(crate) default_members: Vec<Member>,
}

/// A vServer group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) instance: String,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) tags: Tags,
    pub(crate) members: Vec<Member>,
}

/// A back-end server. In the default group of an instance the port is 0: the listener has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) server_id: String,
    pub(crate) server_ip: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) weight: u32,
    pub(crate) kind: String,
    pub(crate) description: String,
}

impl Member {
    /// Whether both name the same server and port. An absent address names any address.
    pub(crate) fn same_server(&self, other: &Self) -> bool {
        self.server_id == other.server_id
            && self.port == other.port
            && (self.server_ip.is_none()
                || other.server_ip.is_none()
                || self.server_ip == other.server_ip)
    }
}

impl Instance {
    pub(crate) fn is_internet(&self) -> bool {
        self.address_type == "internet"
    }

    pub(crate) fn add_listener(&mut self, listener: Listener) {
        self.listeners.push(listener);
        self.listeners
            .sort_by_key(|listener| (listener.port, listener.protocol));
    }
}

/// Where instance addresses come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AddressPlan {
    pub(crate) internet: Ipv4Addr,
    pub(crate) intranet: Ipv4Addr,
}

impl AddressPlan {
    /// Both halves of the /16 that holds `network`.
    pub(crate) fn halves_of(network: Ipv4Addr) -> Self {
        let [a, b, ..] = network.octets();
        Self {
            internet: Ipv4Addr::new(a, b, 0, 0),
            intranet: Ipv4Addr::new(a, b, 128, 0),
        }
    }

    /// Whether `address` is in the private range.
    pub(crate) fn is_intranet(self, address: Ipv4Addr) -> bool {
        address.to_bits() & 0xffff_8000 == self.intranet.to_bits()
    }

    /// The lowest address of the range that no instance has.
    pub(crate) fn free(self, state: &State, internet: bool) -> Option<IpAddr> {
        let used: BTreeSet<IpAddr> = state.instances.values().map(|i| i.address).collect();
        let base = if internet {
            self.internet
        } else {
            self.intranet
        };
        (1..=0x7ffe_u32)
            .map(|host| Ipv4Addr::from_bits(base.to_bits() | host))
            .filter(|address| !matches!(address.octets()[3], 0 | 255))
            .map(IpAddr::V4)
            .find(|address| !used.contains(address))
    }

    /// The lowest IPv6 documentation address that no instance has.
    pub(crate) fn free_v6(state: &State) -> IpAddr {
        let used: BTreeSet<IpAddr> = state.instances.values().map(|i| i.address).collect();
        let free = (1..=u16::MAX)
            .map(|host| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host)))
            .find(|address| !used.contains(address));
        free.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internet_and_intranet_addresses_come_from_different_halves() {
        let plan = AddressPlan::halves_of(Ipv4Addr::new(127, 90, 0, 0));
        let state = State::default();
        assert_eq!(plan.free(&state, true), Some("127.90.0.1".parse().unwrap()));
        assert_eq!(
            plan.free(&state, false),
            Some("127.90.128.1".parse().unwrap())
        );
        assert!(plan.is_intranet("127.90.200.7".parse().unwrap()));
        assert!(!plan.is_intranet("127.90.1.7".parse().unwrap()));
    }
}
