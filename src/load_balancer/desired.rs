//! What a Service and its endpoints say about a load balancer, by the annotations that users of the
//! stock controller know (`service.beta.kubernetes.io/alibaba-cloud-loadbalancer-…`).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use gatewright_core::{
    AddressType, Backend, BackendGroup, BackendKey, BackendState, Backends, Desired, Drain,
    GroupName, HealthCheck, IpVersion, Listener, ListenerSettings, OwnerKey, Port, Probe,
    ProbeMethod, Protocol, Scheduler, Seconds, ServerId, SubnetId, Weight,
};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

const PREFIX: &str = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-";
const OLD_PREFIX: &str = "service.beta.kubernetes.io/alicloud-loadbalancer-";

/// Annotations (behind the prefix) that this module acts on.
const KNOWN: &[&str] = &[
    "address-type",
    "additional-resource-tags",
    "bandwidth",
    "connection-drain",
    "connection-drain-timeout",
    "delete-protection",
    "established-timeout",
    "health-check-connect-port",
    "health-check-connect-timeout",
    "health-check-domain",
    "health-check-httpcode",
    "health-check-interval",
    "health-check-method",
    "health-check-switch",
    "health-check-type",
    "health-check-uri",
    "healthy-threshold",
    "ip-version",
    "name",
    "persistence-timeout",
    "protocol-port",
    "proxy-protocol",
    "scheduler",
    "unhealthy-threshold",
    "vswitch-id",
];

/// A part of the Service that cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The annotation's full key, or the path of a field.
    pub field: String,
    pub problem: String,
}

/// Finds the cloud's id of the network interface that holds a Pod address.
pub type InterfaceOf<'a> = &'a dyn Fn(IpAddr) -> Option<ServerId>;

/// Turns `service` and the EndpointSlices that belong to it into what its load balancer should be.
///
/// `slices` is `None` when they could not be read. Also returns the annotations that are present
/// but not acted on, so that nothing is ignored in silence.
///
/// # Errors
/// Every part that cannot be honoured, in the order of the fields.
pub fn desired(
    service: &Service,
    slices: Option<&[EndpointSlice]>,
    interface_of: InterfaceOf<'_>,
) -> Result<(Desired, Vec<String>), Vec<Invalid>> {
    let mut reader = Reader::new(service);
    let settings = reader.listener_settings();
    let protocols = reader.protocols();
    let address_type = reader.choice(
        "address-type",
        &[
            ("internet", AddressType::Internet),
            ("intranet", AddressType::Intranet),
        ],
    );
    let mut desired = Desired::new(
        OwnerKey::new(service.uid().unwrap_or_default()),
        address_type.unwrap_or_default(),
    );
    desired.name = reader.text("name").or_else(|| Some(default_name(service)));
    desired.ip_version = reader
        .choice(
            "ip-version",
            &[("ipv4", IpVersion::Ipv4), ("ipv6", IpVersion::Ipv6)],
        )
        .unwrap_or_default();
    desired.subnet = reader.text("vswitch-id").map(SubnetId::from);
    desired.deletion_protection = reader.switch("delete-protection");
    desired.tags = reader.tags();
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    for port in ports.into_iter().flatten() {
        let Some(number) = u16::try_from(port.port).ok().and_then(Port::new) else {
            reader.refuse_field("spec.ports", format!("{} is not a port", port.port));
            continue;
        };
        let protocol = match (protocols.get(&number), port.protocol.as_deref()) {
            (Some(protocol), _) => *protocol,
            (None, Some("UDP")) => Protocol::Udp,
            (None, None | Some("TCP")) => Protocol::Tcp,
            (None, Some(other)) => {
                reader.refuse_field("spec.ports", format!("protocol {other} of port {number}"));
                continue;
            }
        };
        let group = GroupName::new(number.to_string());
        let backends = slices.map_or(Backends::Unknown, |slices| {
            backends(slices, port, interface_of, &mut |problem| {
                reader.problems.push(Invalid {
                    field: "endpoints".into(),
                    problem,
                });
            })
        });
        desired.groups.push(BackendGroup {
            name: group.clone(),
            backends,
        });
        desired.listeners.push(Listener {
            port: number,
            protocol,
            group,
            description: port
                .name
                .clone()
                .unwrap_or_else(|| format!("{protocol}-{number}")),
            settings: settings.clone(),
        });
    }
    if reader.problems.is_empty() {
        Ok((desired, reader.unused()))
    } else {
        Err(reader.problems)
    }
}

/// `a` and the Service's UID without dashes, cut to 32: the name the stock controller gives.
fn default_name(service: &Service) -> String {
    let uid: String = service
        .uid()
        .unwrap_or_default()
        .chars()
        .filter(|c| *c != '-')
        .collect();
    format!("a{uid}").chars().take(32).collect()
}

fn backends(
    slices: &[EndpointSlice],
    port: &ServicePort,
    interface_of: InterfaceOf<'_>,
    refuse: &mut dyn FnMut(String),
) -> Backends {
    if slices.is_empty() {
        return Backends::Unknown;
    }
    let mut found: BTreeMap<BackendKey, Backend> = BTreeMap::new();
    let mut endpoints = 0usize;
    for slice in slices {
        endpoints += slice.endpoints.as_ref().map_or(0, Vec::len);
        let wanted = port.name.as_deref().unwrap_or_default();
        let slice_port = slice
            .ports
            .iter()
            .flatten()
            .find(|p| p.name.as_deref().unwrap_or_default() == wanted)
            .and_then(|p| u16::try_from(p.port?).ok())
            .and_then(Port::new);
        let Some(slice_port) = slice_port else {
            continue;
        };
        for endpoint in slice.endpoints.iter().flatten() {
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            let ready = conditions.ready.unwrap_or(true);
            let serving = conditions.serving.unwrap_or(ready);
            let terminating = conditions.terminating.unwrap_or(false);
            let state = match (ready, serving && terminating) {
                (true, _) => BackendState::Ready,
                (false, true) => BackendState::Draining,
                // Not yet serving, or no longer: not a backend.
                (false, false) => continue,
            };
            let Some(ip) = endpoint
                .addresses
                .first()
                .and_then(|a| a.parse::<IpAddr>().ok())
            else {
                continue;
            };
            let Some(server) = interface_of(ip) else {
                refuse(format!("no network interface is known for {ip}"));
                continue;
            };
            let key = BackendKey {
                server,
                ip: Some(ip),
                port: slice_port,
            };
            let backend = Backend {
                key: key.clone(),
                weight: Weight::FULL,
                state,
            };
            found.insert(key, backend);
        }
    }
    if endpoints == 0 {
        return Backends::ScaledToZero;
    }
    Backends::Complete(found.into_values().collect())
}

/// Reads annotations, and remembers which are there, were read, and are wrong.
struct Reader<'a> {
    /// By the key behind the prefix: full key and value.
    values: BTreeMap<&'a str, (&'a str, &'a str)>,
    problems: Vec<Invalid>,
}

impl<'a> Reader<'a> {
    fn new(service: &'a Service) -> Self {
        let mut values = BTreeMap::new();
        for prefix in [OLD_PREFIX, PREFIX] {
            for (key, value) in service.annotations() {
                if let Some(name) = key.strip_prefix(prefix) {
                    values.insert(name, (key.as_str(), value.as_str()));
                }
            }
        }
        Self {
            values,
            problems: Vec::new(),
        }
    }

    fn unused(&self) -> Vec<String> {
        let unused = self.values.iter().filter(|(name, _)| !KNOWN.contains(name));
        unused.map(|(_, (key, _))| (*key).to_owned()).collect()
    }

    fn refuse_field(&mut self, field: &str, problem: String) {
        self.problems.push(Invalid {
            field: field.into(),
            problem,
        });
    }

    fn refuse(&mut self, name: &str, problem: String) {
        let field = self
            .values
            .get(name)
            .map_or(name, |(key, _)| key)
            .to_owned();
        self.problems.push(Invalid { field, problem });
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        debug_assert!(KNOWN.contains(&name), "{name} is read but not listed");
        self.values.get(name).map(|(_, value)| *value)
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let value = self.raw(name)?;
        if value.is_empty() {
            self.refuse(name, "is empty".into());
            return None;
        }
        Some(value.to_owned())
    }

    fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.raw(name)?;
        let found = choices
            .iter()
            .find(|(text, _)| *text == value)
            .map(|(_, choice)| *choice);
        if found.is_none() {
            let known: Vec<_> = choices.iter().map(|(text, _)| *text).collect();
            self.refuse(
                name,
                format!("{value:?} is not one of {}", known.join(", ")),
            );
        }
        found
    }

    fn switch(&mut self, name: &str) -> Option<bool> {
        self.choice(name, &[("on", true), ("off", false)])
    }

    fn number<T: FromStr + PartialOrd + Display + Copy>(
        &mut self,
        name: &str,
        low: T,
        high: T,
    ) -> Option<T> {
        let value = self.raw(name)?;
        let number = value
            .parse()
            .ok()
            .filter(|number| (low..=high).contains(number));
        if number.is_none() {
            self.refuse(name, format!("{value:?} is not a number in {low}–{high}"));
        }
        number
    }

    fn seconds(&mut self, name: &str, low: u32, high: u32) -> Option<Seconds> {
        self.number(name, low, high).map(Seconds)
    }

    /// `protocol-port`: `https:443,http:80`.
    fn protocols(&mut self) -> BTreeMap<Port, Protocol> {
        let mut protocols = BTreeMap::new();
        for part in self.raw("protocol-port").unwrap_or_default().split(',') {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let parsed = part.split_once(':').and_then(|(protocol, port)| {
                let protocol = match protocol {
                    "tcp" => Protocol::Tcp,
                    "udp" => Protocol::Udp,
                    _ => return None,
                };
                Some((port.parse().ok().and_then(Port::new)?, protocol))
            });
            match parsed {
                Some((port, protocol)) => drop(protocols.insert(port, protocol)),
                None => {
                    self.refuse(
                        "protocol-port",
                        format!("{part:?} is not tcp:PORT or udp:PORT"),
                    );
                }
            }
        }
        protocols
    }

    /// `additional-resource-tags`: `key=value,other=`.
    fn tags(&mut self) -> BTreeMap<String, String> {
        let text = self.raw("additional-resource-tags").unwrap_or_default();
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        parts
            .map(|part| {
                let (key, value) = part.split_once('=').unwrap_or((part, ""));
                (key.to_owned(), value.to_owned())
            })
            .collect()
    }

    fn listener_settings(&mut self) -> ListenerSettings {
        let drain_time = self.seconds("connection-drain-timeout", 10, 900);
        let drain = match self.switch("connection-drain") {
            Some(true) if drain_time.is_none() => {
                self.refuse("connection-drain", "needs connection-drain-timeout".into());
                None
            }
            Some(true) => drain_time.map(Drain::For),
            Some(false) => Some(Drain::Off),
            None => None,
        };
        ListenerSettings {
            // The API's own default is wrr, the stock controller writes rr; weights, and with them
            // drains, need wrr.
            scheduler: self
                .choice(
                    "scheduler",
                    &[
                        ("wrr", Scheduler::WeightedRoundRobin),
                        ("rr", Scheduler::RoundRobin),
                        ("sch", Scheduler::SourceHash),
                        ("tch", Scheduler::TupleHash),
                    ],
                )
                .or(Some(Scheduler::WeightedRoundRobin)),
            drain,
            established_timeout: self.seconds("established-timeout", 10, 900),
            persistence_timeout: self.seconds("persistence-timeout", 0, 3600),
            bandwidth: self.number("bandwidth", 1, 5120).or(Some(-1)),
            proxy_protocol: self.switch("proxy-protocol"),
            health_check: HealthCheck {
                enabled: self.switch("health-check-switch"),
                probe: self.choice(
                    "health-check-type",
                    &[("tcp", Probe::Tcp), ("http", Probe::Http)],
                ),
                port: self
                    .number("health-check-connect-port", 1, u16::MAX)
                    .and_then(Port::new),
                path: self.text("health-check-uri"),
                host: self.text("health-check-domain"),
                method: self.choice(
                    "health-check-method",
                    &[("head", ProbeMethod::Head), ("get", ProbeMethod::Get)],
                ),
                healthy_codes: self.healthy_codes(),
                interval: self.seconds("health-check-interval", 1, 50),
                timeout: self.seconds("health-check-connect-timeout", 1, 300),
                healthy_threshold: self.number("healthy-threshold", 2, 10),
                unhealthy_threshold: self.number("unhealthy-threshold", 2, 10),
            },
            ..ListenerSettings::default()
        }
    }

    /// `health-check-httpcode`: `http_2xx,http_3xx`.
    fn healthy_codes(&mut self) -> Option<Vec<u8>> {
        let text = self.raw("health-check-httpcode")?;
        let codes: Option<Vec<u8>> = text
            .split(',')
            .map(|code| match code.trim() {
                "http_2xx" => Some(2),
                "http_3xx" => Some(3),
                "http_4xx" => Some(4),
                "http_5xx" => Some(5),
                _ => None,
            })
            .collect();
        if codes.is_none() {
            self.refuse(
                "health-check-httpcode",
                format!("{text:?} is not a list of http_Nxx"),
            );
        }
        codes
    }
}

#[cfg(test)]
mod tests;
