//! From objects to resources, for one gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use gatewright_crds::istio::{Gateway, Protocol, Server, TlsMode, VirtualService};
use gatewright_crds::istio_gateway::IstioGateway;
use gatewright_seams::AddressMap;
use gatewright_xds::Resource;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use super::routes::Routes;
use super::{clusters, listeners};
use crate::fronts::{listen_port, pod_labels, selects};

/// Where the proxies reach the daemon's answers to HTTP-01 challenges.
pub type Answers = (String, u16);

/// Everything that the resources of one gateway depend on.
pub struct Input<'a> {
    pub gateway: &'a IstioGateway,
    pub servers: &'a [&'a Gateway],
    pub virtual_services: &'a [&'a VirtualService],
    pub services: &'a [&'a Service],
    pub slices: &'a [&'a EndpointSlice],
    /// The address that listeners bind; the wildcard where a Pod has its own network.
    pub bind: IpAddr,
    pub answers: &'a Answers,
    /// How Pod addresses are dialled.
    pub addresses: AddressMap,
    /// Added to the port in a redirect to HTTPS, where load balancers' ports are shifted.
    pub port_shift: u16,
}

/// Something an object asks for that cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// `Gateway` or `VirtualService`.
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
    /// One CamelCase word.
    pub reason: &'static str,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}/{}: {}",
            self.kind, self.namespace, self.name, self.message
        )
    }
}

/// The resources of one gateway, without its secrets.
#[derive(Default)]
pub struct Output {
    /// Clusters, endpoints, listeners, routes; sorted by type and name.
    pub resources: Vec<Resource>,
    /// The Secrets that listeners use, as namespace and name.
    pub secrets: BTreeSet<(String, String)>,
    pub problems: Vec<Problem>,
}

/// One server of one Gateway, with the port that the proxies open for it.
pub(super) struct Opened<'a> {
    pub(super) of: &'a Gateway,
    pub(super) server: &'a Server,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
}

impl Opened<'_> {
    /// The Secret with the certificate, as namespace and name.
    pub(super) fn secret(&self) -> Option<(String, String)> {
        let name = self.server.tls.as_ref()?.credential_name.clone()?;
        Some((self.of.namespace().unwrap_or_default(), name))
    }

    /// Host patterns without the namespace part.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.server
            .hosts
            .iter()
            .map(|host| host.rsplit('/').next().unwrap_or(host))
    }

    /// The name of the route configuration: by port for HTTP, by server for HTTPS, because each
    /// filter chain has its own.
    pub(super) fn route_name(&self) -> String {
        match self.protocol {
            Protocol::Https => {
                let first = self.hosts().next().unwrap_or("*");
                format!("https.{}.{}.{first}", self.port, self.of.name_any())
            }
            _ => format!("http.{}", self.port),
        }
    }
}

/// Translates; the same input gives the same bytes.
pub fn translate(input: &Input<'_>) -> Output {
    let mut output = Output::default();
    let opened = opened(input, &mut output.problems);
    let mut routes = Routes::new(input);
    for server in &opened {
        routes.add(server, &mut output.problems);
        output.secrets.extend(server.secret());
    }
    let (configurations, used) = routes.finish();
    let mut by_port: BTreeMap<u16, Vec<&Opened<'_>>> = BTreeMap::new();
    for server in &opened {
        by_port.entry(server.port).or_default().push(server);
    }
    let mut resources = vec![clusters::challenges(input.answers)];
    for destination in &used {
        resources.extend(clusters::of(destination, input));
    }
    for (port, servers) in by_port {
        resources.push(Resource::listener(&listeners::listener(
            input.bind, port, &servers,
        )));
    }
    resources.extend(configurations.iter().map(Resource::route));
    resources.sort_by_key(Resource::key);
    output.resources = resources;
    output.problems.sort();
    output.problems.dedup();
    output
}

/// The servers that this gateway opens. A port is either plain or TLS: the first server says which.
fn opened<'a>(input: &Input<'a>, problems: &mut Vec<Problem>) -> Vec<Opened<'a>> {
    let labels = pod_labels(input.gateway);
    let mut gateways: Vec<&Gateway> = input.servers.to_vec();
    gateways.retain(|gateway| selects(gateway, &labels));
    gateways.sort_by_key(|gateway| (gateway.namespace(), gateway.name_any()));
    let mut opened: Vec<Opened<'a>> = Vec::new();
    for gateway in gateways {
        let mut refuse = |reason, message: String| {
            problems.push(Problem {
                kind: "Gateway",
                namespace: gateway.namespace().unwrap_or_default(),
                name: gateway.name_any(),
                reason,
                message,
            });
        };
        let unsupported = gateway.spec.unsupported();
        if !unsupported.is_empty() {
            let list: Vec<_> = unsupported.iter().map(ToString::to_string).collect();
            refuse(
                "FieldsNotActedOn",
                format!("accepted but not acted on: {}", list.join(", ")),
            );
        }
        for server in &gateway.spec.servers {
            let number = server.port.number;
            let protocol = match (
                server.port.protocol(),
                server.tls.as_ref().and_then(|t| t.mode),
            ) {
                (Some(Protocol::Http), _) => Protocol::Http,
                (Some(Protocol::Https), Some(TlsMode::Simple)) => Protocol::Https,
                (Some(Protocol::Https), mode) => {
                    let mode = mode.unwrap_or_default();
                    refuse(
                        "ModeNotActedOn",
                        format!("port {number}: TLS mode {mode:?}"),
                    );
                    continue;
                }
                _ => {
                    let protocol = &server.port.protocol;
                    refuse(
                        "ProtocolNotActedOn",
                        format!("port {number}: protocol {protocol}"),
                    );
                    continue;
                }
            };
            let Ok(port) = u16::try_from(listen_port(input.gateway, number)) else {
                continue;
            };
            let other = opened.iter().find(|other| other.port == port);
            if other.is_some_and(|other| other.protocol != protocol) {
                refuse(
                    "PortConflict",
                    format!("port {number} is opened with another protocol"),
                );
                continue;
            }
            opened.push(Opened {
                of: gateway,
                server,
                port,
                protocol,
            });
        }
    }
    opened
}

/// `address:port` as the API wants it.
pub(super) fn socket_address(
    address: SocketAddr,
) -> gatewright_xds::proto::envoy::config::core::v3::Address {
    named_address(&address.ip().to_string(), address.port())
}

pub(super) fn named_address(
    host: &str,
    port: u16,
) -> gatewright_xds::proto::envoy::config::core::v3::Address {
    use gatewright_xds::proto::envoy::config::core::v3::{
        Address, SocketAddress, address, socket_address::PortSpecifier,
    };
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: host.to_owned(),
            port_specifier: Some(PortSpecifier::PortValue(port.into())),
            ..SocketAddress::default()
        })),
    }
}

#[cfg(test)]
mod tests;
