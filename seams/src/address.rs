use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where an address that Kubernetes holds is dialled.
///
/// Kubernetes refuses loopback addresses in EndpointSlices, and a laptop has only loopback. So a
/// local Pod has the address 10.a.b.c while its process listens on 127.a.b.c.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressMap {
    /// Dial what is written: production.
    #[default]
    Identity,
    /// 10.a.b.c is dialled at 127.a.b.c: simulation, dev and integration.
    Loopback,
}

impl AddressMap {
    /// The address to dial for the Kubernetes address `ip`.
    pub fn dial_ip(self, ip: IpAddr) -> IpAddr {
        match (self, ip) {
            (Self::Loopback, IpAddr::V4(v4)) if v4.octets()[0] == 10 => {
                let [_, a, b, c] = v4.octets();
                Ipv4Addr::new(127, a, b, c).into()
            }
            _ => ip,
        }
    }

    /// The socket address to dial for the Kubernetes address `address`.
    pub fn dial(self, address: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.dial_ip(address.ip()), address.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pod_addresses_move_to_loopback() {
        let pod: SocketAddr = "10.1.2.3:80".parse().unwrap();
        let other: SocketAddr = "192.0.2.1:80".parse().unwrap();
        assert_eq!(
            AddressMap::Loopback.dial(pod),
            "127.1.2.3:80".parse().unwrap()
        );
        assert_eq!(AddressMap::Loopback.dial(other), other);
        assert_eq!(AddressMap::Identity.dial(pod), pod);
    }
}
