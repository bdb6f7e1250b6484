use std::net::IpAddr;
use std::time::Duration;

use crate::state::{Instance, Listener, Protocol};

/// How a new connection gets its member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheduler {
    /// By weight in turn.
    Weighted,
    /// In turn, whatever the weight.
    RoundRobin,
    /// The same client address to the same member.
    Source,
    /// The same client address and port to the same member.
    Tuple,
}

/// How members are checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Check {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    /// Successes in a row that make a member healthy again.
    pub(super) rise: u32,
    /// Failures in a row that make a member unhealthy.
    pub(super) fall: u32,
    /// None: the member's own port.
    pub(super) port: Option<u16>,
    /// None: a connection is enough.
    pub(super) http: Option<HttpCheck>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct HttpCheck {
    pub(super) method: &'static str,
    pub(super) uri: String,
    /// None: the member's address.
    pub(super) host: Option<String>,
    /// First digits of the status codes that are good.
    pub(super) good: Vec<u8>,
}

/// What the data plane takes from a listener.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) port: u16,
    pub(super) scheduler: Scheduler,
    /// How long connections of a removed member live on; none: not at all.
    pub(super) drain: Option<Duration>,
    pub(super) proxy_protocol: bool,
    /// None: checks are off.
    pub(super) check: Option<Check>,
    /// None: bytes are forwarded as they come.
    pub(super) http: Option<Http>,
}

/// How an HTTP listener forwards requests.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Http {
    pub(super) instance: String,
    pub(super) address: IpAddr,
    /// How long the answer's head may take.
    pub(super) request_timeout: Duration,
    /// How long a connection may wait for the next request.
    pub(super) idle_timeout: Duration,
    pub(super) forwarded_for: bool,
    pub(super) forwarded_proto: bool,
    pub(super) forwarded_port: bool,
    pub(super) forwarded_source_port: bool,
    pub(super) instance_id: bool,
    pub(super) instance_ip: bool,
}

impl Http {
    fn of(instance: &Instance, listener: &Listener) -> Self {
        Self {
            instance: instance.id.clone(),
            address: instance.address,
            request_timeout: listener.seconds("RequestTimeout", 60),
            idle_timeout: listener.seconds("IdleTimeout", 15),
            forwarded_for: listener.is_on("XForwardedFor"),
            forwarded_proto: listener.is_on("XForwardedFor_proto"),
            forwarded_port: listener.is_on("XForwardedFor_SLBPORT"),
            forwarded_source_port: listener.is_on("XForwardedFor_ClientSrcPort"),
            instance_id: listener.is_on("XForwardedFor_SLBID"),
            instance_ip: listener.is_on("XForwardedFor_SLBIP"),
        }
    }
}

impl Settings {
    pub(super) fn of(instance: &Instance, listener: &Listener) -> Self {
        let scheduler = match listener.text("Scheduler") {
            // A client that keeps its member for a time is here one that keeps it for ever.
            _ if listener
                .number("PersistenceTimeout")
                .is_some_and(|time| time > 0) =>
            {
                Scheduler::Source
            }
            Some("rr") => Scheduler::RoundRobin,
            Some("sch") => Scheduler::Source,
            Some("tch") => Scheduler::Tuple,
            _ => Scheduler::Weighted,
        };
        let proxy_protocol = listener.attributes.get("ProxyProtocolV2Enabled");
        Self {
            port: listener.port,
            scheduler,
            drain: listener.drain(),
            proxy_protocol: proxy_protocol
                .and_then(serde_json::Value::as_bool)
                .unwrap_or(false),
            check: listener.is_on("HealthCheck").then(|| Check::of(listener)),
            http: (listener.protocol == Protocol::Http).then(|| Http::of(instance, listener)),
        }
    }
}

impl Check {
    fn of(listener: &Listener) -> Self {
        let is_http = listener.protocol == Protocol::Http;
        let timeout = if is_http {
            "HealthCheckTimeout"
        } else {
            "HealthCheckConnectTimeout"
        };
        let count = |name: &str| u32::try_from(listener.number(name).unwrap_or(3)).unwrap_or(3);
        let port = listener.number("HealthCheckConnectPort");
        Self {
            interval: listener.seconds("HealthCheckInterval", 2),
            timeout: listener.seconds(timeout, 5),
            rise: count("HealthyThreshold"),
            fall: count("UnhealthyThreshold"),
            port: port.and_then(|port| u16::try_from(port).ok()),
            http: (is_http || listener.text("HealthCheckType") == Some("http"))
                .then(|| HttpCheck::of(listener)),
        }
    }
}

impl HttpCheck {
    fn of(listener: &Listener) -> Self {
        let codes = listener.text("HealthCheckHttpCode").unwrap_or("http_2xx");
        let host = listener
            .text("HealthCheckDomain")
            .filter(|domain| *domain != "$_ip");
        Self {
            method: if listener.text("HealthCheckMethod") == Some("get") {
                "GET"
            } else {
                "HEAD"
            },
            uri: listener.text("HealthCheckURI").unwrap_or("/").to_owned(),
            host: host.map(str::to_owned),
            good: codes
                .split(',')
                .filter_map(|code| code.trim().strip_prefix("http_")?.bytes().next())
                .collect(),
        }
    }
}
