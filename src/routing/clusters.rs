//! Clusters and endpoints of the services that routes lead to.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use gatewright_xds::Resource;
use gatewright_xds::config_source::ads_config_source;
use gatewright_xds::proto::envoy::config::cluster::v3::Cluster;
use gatewright_xds::proto::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig,
};
use gatewright_xds::proto::envoy::config::core::v3::{Address, Http2ProtocolOptions};
use gatewright_xds::proto::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use gatewright_xds::proto::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use gatewright_xds::proto::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
};
use gatewright_xds::proto::{any, duration};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use kube::ResourceExt;

use super::CHALLENGE_CLUSTER;
use super::translate::{Answers, Input, named_address, socket_address};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A service's port that a route leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Destination {
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) port: u16,
}

impl Destination {
    /// The cluster's name, as Istio builds it, so that dashboards and filters keep working.
    pub(super) fn cluster(&self) -> String {
        format!(
            "outbound|{}||{}.{}.svc.cluster.local",
            self.port, self.service, self.namespace
        )
    }
}

fn lb_endpoint(address: Address) -> LbEndpoint {
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(address),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    }
}

fn assignment(cluster: &str, endpoints: Vec<LbEndpoint>) -> ClusterLoadAssignment {
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: endpoints,
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    }
}

/// The cluster that leads to the daemon's challenge answers.
pub(super) fn challenges((host, port): &Answers) -> Resource {
    let kind = if host.parse::<IpAddr>().is_ok() {
        DiscoveryType::Static
    } else {
        DiscoveryType::StrictDns
    };
    Resource::cluster(&Cluster {
        name: CHALLENGE_CLUSTER.to_owned(),
        connect_timeout: Some(duration(CONNECT_TIMEOUT)),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
        load_assignment: Some(assignment(
            CHALLENGE_CLUSTER,
            vec![lb_endpoint(named_address(host, *port))],
        )),
        ..Cluster::default()
    })
}

/// The cluster of `destination` and its endpoints. A service that does not exist has none, and
/// requests for it get 503.
pub(super) fn of(destination: &Destination, input: &Input<'_>) -> [Resource; 2] {
    let service = input.services.iter().find(|service| {
        service.namespace().as_deref() == Some(&destination.namespace)
            && service.name_any() == destination.service
    });
    let port = service.and_then(|service| port_of(service, destination.port));
    let name = destination.cluster();
    let mut cluster = Cluster {
        name: name.clone(),
        connect_timeout: Some(duration(CONNECT_TIMEOUT)),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(ads_config_source()),
            ..EdsClusterConfig::default()
        }),
        ..Cluster::default()
    };
    if port.is_some_and(speaks_http2) {
        let options = HttpProtocolOptions {
            upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(
                ExplicitHttpConfig {
                    protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(
                        Http2ProtocolOptions::default(),
                    )),
                },
            )),
            ..HttpProtocolOptions::default()
        };
        cluster.typed_extension_protocol_options.insert(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".into(),
            any(&options),
        );
    }
    let endpoints = port.map_or_else(Vec::new, |port| endpoints(destination, port, input));
    [
        Resource::cluster(&cluster),
        Resource::endpoints(&assignment(&name, endpoints)),
    ]
}

fn port_of(service: &Service, number: u16) -> Option<&ServicePort> {
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    ports.iter().find(|port| port.port == i32::from(number))
}

/// By `appProtocol`, else by the port name's prefix, as Istio selects protocols.
fn speaks_http2(port: &ServicePort) -> bool {
    let name = port.name.as_deref().and_then(|name| name.split('-').next());
    match port.app_protocol.as_deref().or(name) {
        Some("kubernetes.io/h2c") => true,
        Some(protocol) => ["http2", "grpc", "h2c"]
            .iter()
            .any(|held| protocol.eq_ignore_ascii_case(held)),
        None => false,
    }
}

fn endpoints(destination: &Destination, port: &ServicePort, input: &Input<'_>) -> Vec<LbEndpoint> {
    let mut addresses = Vec::new();
    let slices = input.slices.iter().filter(|slice| {
        slice.namespace().as_deref() == Some(&destination.namespace)
            && slice.labels().get("kubernetes.io/service-name") == Some(&destination.service)
    });
    for slice in slices {
        let wanted = port.name.as_deref().unwrap_or_default();
        let held = slice.ports.iter().flatten();
        let held = held
            .into_iter()
            .find(|p| p.name.as_deref().unwrap_or_default() == wanted);
        let Some(number) = held.and_then(|p| u16::try_from(p.port?).ok()) else {
            continue;
        };
        for endpoint in slice.endpoints.iter().flatten() {
            if endpoint
                .conditions
                .as_ref()
                .is_some_and(|c| c.ready == Some(false))
            {
                continue;
            }
            let ip = endpoint
                .addresses
                .first()
                .and_then(|text| text.parse::<IpAddr>().ok());
            addresses.extend(ip.map(|ip| input.addresses.dial(SocketAddr::new(ip, number))));
        }
    }
    addresses.sort();
    addresses.dedup();
    addresses
        .into_iter()
        .map(socket_address)
        .map(lb_endpoint)
        .collect()
}
