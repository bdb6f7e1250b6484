//! The ACME server, seen by a client that knows only RFC 8555.

#[cfg(test)]
mod client;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod issuance;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod signing;
#[cfg(test)]
mod sockets;
