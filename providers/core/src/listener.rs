//! Protocols and settings of listeners.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{CertificateId, Port, Seconds};

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
    Http,
    Https,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Whether two listeners of these protocols exclude each other on one port.
    pub fn shares_port_space_with(self, other: Self) -> bool {
        (self == Self::Udp) == (other == Self::Udp)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a listener spreads connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scheduler {
    WeightedRoundRobin,
    /// Ignores weights, so a backend of weight 0 is not kept free of new connections.
    RoundRobin,
    WeightedLeastConnections,
    /// By the client's address.
    SourceHash,
    /// By addresses and ports of both sides.
    TupleHash,
    /// By QUIC connection id.
    QuicId,
}

impl Scheduler {
    pub fn respects_weights(self) -> bool {
        self != Self::RoundRobin
    }
}

/// What happens to open connections of a backend that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Drain {
    /// Backends leave at once and their connections are cut.
    Off,
    /// Backends stay at weight 0 for this long, and the load balancer lets connections of a removed
    /// backend live for as long where it can.
    For(Seconds),
}

/// What a health check sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    Tcp,
    Http,
}

/// The method of an HTTP probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeMethod {
    Head,
    Get,
}

/// How a listener finds out which backends live. An unset field keeps what the cloud has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthCheck {
    pub enabled: Option<bool>,
    pub probe: Option<Probe>,
    /// Port to probe; unset means the backend's own.
    pub port: Option<Port>,
    /// Path of an HTTP probe, with the leading slash.
    pub path: Option<String>,
    /// Host header of an HTTP probe.
    pub host: Option<String>,
    pub method: Option<ProbeMethod>,
    /// First digits of the status codes that count as healthy, e.g. `[2, 3]`.
    pub healthy_codes: Option<Vec<u8>>,
    /// Time between probes.
    pub interval: Option<Seconds>,
    /// Time to wait for an answer.
    pub timeout: Option<Seconds>,
    /// Successes in a row that make a backend healthy.
    pub healthy_threshold: Option<u8>,
    /// Failures in a row that make it unhealthy.
    pub unhealthy_threshold: Option<u8>,
}

/// Settings of a listener. In what is wanted, an unset field means "leave the cloud's value
/// alone"; in what was observed, "not told".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerSettings {
    pub scheduler: Option<Scheduler>,
    /// Unset: backends that leave wait [`crate::plan::DEFAULT_DRAIN`] at weight 0, and the cloud's
    /// own connection drain is left alone.
    pub drain: Option<Drain>,
    /// How long an idle connection of an HTTP or HTTPS listener is kept.
    pub idle_timeout: Option<Seconds>,
    /// How long an HTTP or HTTPS listener waits for a backend's answer.
    pub request_timeout: Option<Seconds>,
    /// How long an idle TCP connection is kept.
    pub established_timeout: Option<Seconds>,
    /// How long a client stays with its TCP backend; 0 is off.
    pub persistence_timeout: Option<Seconds>,
    /// Mbit/s, −1 for no limit.
    pub bandwidth: Option<i32>,
    /// Whether backends are told the client's address by PROXY protocol version 2.
    pub proxy_protocol: Option<bool>,
    /// The certificate of an HTTPS listener.
    pub certificate: Option<CertificateId>,
    pub health_check: HealthCheck,
}

macro_rules! settings {
    ($($variant:ident $name:literal $($field:ident).+;)*) => {
        /// One setting of a listener.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Setting {
            $($variant,)*
        }

        impl Setting {
            /// The path of the field in [`ListenerSettings`], as JSON spells it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl ListenerSettings {
            /// The settings that are wanted here and are different, or not told, in `found`.
            pub fn differences(&self, found: &Self) -> Vec<Setting> {
                let mut different = Vec::new();
                $(if self.$($field).+.is_some() && self.$($field).+ != found.$($field).+ {
                    different.push(Setting::$variant);
                })*
                different
            }

            /// Takes over every setting that `wanted` sets.
            pub fn adopt(&mut self, wanted: &Self) {
                $(if wanted.$($field).+.is_some() {
                    self.$($field).+.clone_from(&wanted.$($field).+);
                })*
            }

            /// Forgets one setting.
            pub fn clear(&mut self, setting: Setting) {
                match setting {
                    $(Setting::$variant => self.$($field).+ = None,)*
                }
            }

            /// The value of `setting` as JSON text; nothing when it is unset.
            pub fn value_of(&self, setting: Setting) -> Option<String> {
                match setting {
                    $(Setting::$variant => {
                        self.$($field).+.as_ref().and_then(|value| serde_json::to_string(value).ok())
                    })*
                }
            }
        }
    };
}

settings! {
    Scheduler "scheduler" scheduler;
    Drain "drain" drain;
    IdleTimeout "idleTimeout" idle_timeout;
    RequestTimeout "requestTimeout" request_timeout;
    EstablishedTimeout "establishedTimeout" established_timeout;
    PersistenceTimeout "persistenceTimeout" persistence_timeout;
    Bandwidth "bandwidth" bandwidth;
    ProxyProtocol "proxyProtocol" proxy_protocol;
    Certificate "certificate" certificate;
    HealthCheckEnabled "healthCheck.enabled" health_check.enabled;
    HealthCheckProbe "healthCheck.probe" health_check.probe;
    HealthCheckPort "healthCheck.port" health_check.port;
    HealthCheckPath "healthCheck.path" health_check.path;
    HealthCheckHost "healthCheck.host" health_check.host;
    HealthCheckMethod "healthCheck.method" health_check.method;
    HealthCheckCodes "healthCheck.healthyCodes" health_check.healthy_codes;
    HealthCheckInterval "healthCheck.interval" health_check.interval;
    HealthCheckTimeout "healthCheck.timeout" health_check.timeout;
    HealthyThreshold "healthCheck.healthyThreshold" health_check.healthy_threshold;
    UnhealthyThreshold "healthCheck.unhealthyThreshold" health_check.unhealthy_threshold;
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
