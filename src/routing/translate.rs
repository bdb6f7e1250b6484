//! From objects to resources, for one gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use gatewright_crds::istio::{Gateway, VirtualService};
use gatewright_crds::istio_gateway::IstioGateway;
use gatewright_seams::AddressMap;
use gatewright_xds::Resource;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use super::problem::Problem;
use super::routes::Routes;
use super::servers::{Opened, opened};
use super::{bindings, clusters, listeners};

/// Where the proxies reach the daemon's answers to HTTP-01 challenges.
pub type Answers = (String, u16);

/// Namespace and name of an object.
pub type Key = (String, String);

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

/// The resources of one gateway, without its secrets.
#[derive(Default)]
pub struct Output {
    /// Clusters, endpoints, listeners, routes; sorted by type and name.
    pub resources: Vec<Resource>,
    /// The Secrets that listeners use, each with the Istio Gateways that name it.
    pub secrets: BTreeMap<Key, BTreeSet<Key>>,
    pub problems: Vec<Problem>,
}

/// Translates; the same input gives the same bytes.
///
/// What an Envoy would refuse becomes a problem and is left out, because it would take the rest of
/// the listener or route configuration with it.
pub fn translate(input: &Input<'_>) -> Output {
    let mut output = Output::default();
    bindings::check(input, &mut output.problems);
    let opened = opened(input, &mut output.problems);
    let mut routes = Routes::new(input);
    for server in &opened {
        routes.add(server, &mut output.problems);
        if let Some(secret) = &server.secret {
            let users = output.secrets.entry(secret.clone()).or_default();
            users.insert((
                server.of.namespace().unwrap_or_default(),
                server.of.name_any(),
            ));
        }
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
