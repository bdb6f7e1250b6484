//! `HOST:PORT`.

use std::fmt;
use std::str::FromStr;

/// A host name or IP address with a port, as a client dials it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Without brackets, for IPv6 too.
    pub host: String,
    pub port: u16,
}

/// A text is no `HOST:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostPortError {
    #[error("no port: write HOST:PORT, and an IPv6 address in brackets")]
    NoPort,
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("{0:?} cannot be in a host name")]
    Host(char),
    #[error("no host before the port")]
    NoHost,
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or(HostPortError::NoPort)?;
        let port = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or(HostPortError::Port)?;
        let host = match host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
        {
            Some(inner) => {
                inner
                    .parse::<std::net::Ipv6Addr>()
                    .map_err(|_| HostPortError::Host('['))?;
                inner
            }
            None if host.contains(':') => return Err(HostPortError::NoPort),
            None => {
                let allowed = |c: &char| c.is_ascii_alphanumeric() || "-._".contains(*c);
                if let Some(bad) = host.chars().find(|c| !allowed(c)) {
                    return Err(HostPortError::Host(bad));
                }
                host
            }
        };
        if host.is_empty() {
            return Err(HostPortError::NoHost);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for text in ["gatewright.example.svc:15012", "127.0.0.1:1", "[::1]:65535"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        for (text, error) in [
            ("host", HostPortError::NoPort),
            ("::1", HostPortError::NoPort),
            ("host:", HostPortError::Port),
            ("host:0", HostPortError::Port),
            ("host:65536", HostPortError::Port),
            (":80", HostPortError::NoHost),
            ("http://host:80", HostPortError::NoPort),
            ("a b:80", HostPortError::Host(' ')),
        ] {
            assert_eq!(text.parse::<HostPort>().unwrap_err(), error, "{text}");
        }
    }
}
