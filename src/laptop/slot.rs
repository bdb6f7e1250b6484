//! Loopback addresses that no other world on this machine uses.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::LaptopError;

/// A range of loopback addresses: 127.N.x.y for load balancers, 127.(N+1).x.y for Pods and the
/// daemon. Held for as long as it lives by a socket in it.
#[derive(Debug)]
pub struct Slot {
    number: u8,
    _held: TcpListener,
}

/// Even numbers, clear of 127.0.x.y, which everybody uses.
const FIRST: u8 = 64;
const LAST: u8 = 222;
const LOCK_PORT: u16 = 15011;

impl Slot {
    /// Takes the range `number`, which an earlier run of the same world had.
    ///
    /// # Errors
    /// Somebody has it.
    pub fn take(number: u8) -> Result<Self, LaptopError> {
        let number = number & !1;
        let address = SocketAddr::new(Ipv4Addr::new(127, number + 1, 255, 1).into(), LOCK_PORT);
        let held =
            TcpListener::bind(address).map_err(|error| LaptopError::Listen(address, error))?;
        Ok(Self {
            number,
            _held: held,
        })
    }

    /// Takes the first free range, starting to look at one that depends on this process.
    ///
    /// # Errors
    /// All are in use.
    pub fn find() -> Result<Self, LaptopError> {
        let count = (LAST - FIRST) / 2 + 1;
        let start = u8::try_from(std::process::id() % u32::from(count)).unwrap_or(0);
        (0..count)
            .map(|offset| FIRST + 2 * ((start + offset) % count))
            .find_map(|number| Self::take(number).ok())
            .ok_or_else(|| LaptopError::NoSlot(format!("127.{FIRST}.0.0 to 127.{LAST}.0.0")))
    }

    pub fn number(&self) -> u8 {
        self.number
    }

    /// The network of load balancers.
    pub fn load_balancers(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.number, 0, 0)
    }

    /// The daemon's address.
    pub fn daemon(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.number + 1, 255, 1)
    }

    /// The first Pod's address, as Kubernetes holds it.
    pub fn first_pod(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number + 1, 0, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_worlds_never_have_the_same_range() {
        let (one, other) = (Slot::find().unwrap(), Slot::find().unwrap());
        assert_ne!(one.number(), other.number());
        assert!(Slot::take(one.number()).is_err());
    }
}
