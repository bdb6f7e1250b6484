//! Listeners: one for each port that the proxies open.

use std::net::{IpAddr, SocketAddr};

use gatewright_crds::istio::{Protocol, TlsVersion};
use gatewright_xds::config_source::{ads_config_source, sds_secret_config};
use gatewright_xds::proto::any;
use gatewright_xds::proto::envoy::config::core::v3::{
    TransportSocket, transport_socket::ConfigType as SocketConfig,
};
use gatewright_xds::proto::envoy::config::listener::v3::{
    Filter, FilterChain, FilterChainMatch, Listener, ListenerFilter, filter,
    listener_filter::ConfigType as ListenerFilterConfig,
};
use gatewright_xds::proto::envoy::extensions::filters::http::router::v3::Router;
use gatewright_xds::proto::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use gatewright_xds::proto::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_connection_manager::RouteSpecifier,
    http_connection_manager::UpgradeConfig, http_filter,
};
use gatewright_xds::proto::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, TlsParameters, tls_parameters::TlsProtocol,
};
use gatewright_xds::proto::google::protobuf::{BoolValue, UInt32Value};

use super::secrets::resource_name;
use super::servers::Opened;
use super::translate::socket_address;

/// How much a connection may buffer: Envoy's advice for an edge proxy.
const BUFFER_BYTES: u32 = 32 * 1024;

/// The cipher suites of TLS 1.2 that Envoy's BoringSSL has for certificates with RSA and ECDSA keys,
/// in OpenSSL's names. One that it does not have makes it refuse the listener.
const CIPHER_SUITES: [&str; 17] = [
    "AES128-GCM-SHA256",
    "AES128-SHA",
    "AES256-GCM-SHA384",
    "AES256-SHA",
    "DES-CBC3-SHA",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// Whether the proxies have the cipher suite.
pub(super) fn knows_cipher(suite: &str) -> bool {
    CIPHER_SUITES.contains(&suite)
}

/// The listener at `bind`:`port`. Its name depends on the port alone, and its content on nothing
/// that a certificate rotation changes.
pub(super) fn listener(bind: IpAddr, port: u16, servers: &[&Opened<'_>]) -> Listener {
    let tls = servers
        .iter()
        .any(|server| server.protocol == Protocol::Https);
    let filter_chains = if tls {
        servers.iter().map(|server| tls_chain(server)).collect()
    } else {
        let route = servers
            .first()
            .map(|server| server.route_name())
            .unwrap_or_default();
        vec![FilterChain {
            filters: vec![http(port, &route)],
            ..FilterChain::default()
        }]
    };
    let inspector = ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".into(),
        config_type: Some(ListenerFilterConfig::TypedConfig(any(
            &TlsInspector::default(),
        ))),
        ..ListenerFilter::default()
    };
    Listener {
        name: format!("port-{port}"),
        address: Some(socket_address(SocketAddr::new(bind, port))),
        filter_chains,
        listener_filters: tls.then_some(inspector).into_iter().collect(),
        per_connection_buffer_limit_bytes: Some(UInt32Value {
            value: BUFFER_BYTES,
        }),
        ..Listener::default()
    }
}

/// One chain for each server, with one secret: a rotation then costs the same whatever the number
/// of servers.
fn tls_chain(opened: &Opened<'_>) -> FilterChain {
    let patterns = opened.patterns();
    // Envoy says "any name" by an empty list.
    let names = if patterns.contains("*") {
        Vec::new()
    } else {
        patterns.into_iter().map(str::to_owned).collect()
    };
    let tls = opened.server.tls.as_ref();
    let version = |version: Option<TlsVersion>, default: TlsProtocol| {
        i32::from(match version {
            None | Some(TlsVersion::Auto) => default,
            Some(TlsVersion::V1_0) => TlsProtocol::TlSv10,
            Some(TlsVersion::V1_1) => TlsProtocol::TlSv11,
            Some(TlsVersion::V1_2) => TlsProtocol::TlSv12,
            Some(TlsVersion::V1_3) => TlsProtocol::TlSv13,
        })
    };
    let secrets = opened
        .secret
        .as_ref()
        .map(|(namespace, name)| sds_secret_config(&resource_name(namespace, name)));
    let suites = tls.map(|tls| tls.cipher_suites.clone()).unwrap_or_default();
    let context = DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(TlsParameters {
                tls_minimum_protocol_version: version(
                    tls.and_then(|tls| tls.min_protocol_version),
                    TlsProtocol::TlSv12,
                ),
                tls_maximum_protocol_version: version(
                    tls.and_then(|tls| tls.max_protocol_version),
                    TlsProtocol::TlSv13,
                ),
                cipher_suites: suites
                    .into_iter()
                    .filter(|suite| knows_cipher(suite))
                    .collect(),
                ..TlsParameters::default()
            }),
            tls_certificate_sds_secret_configs: secrets.into_iter().collect(),
            alpn_protocols: vec!["h2".into(), "http/1.1".into()],
            ..CommonTlsContext::default()
        }),
        ..DownstreamTlsContext::default()
    };
    FilterChain {
        name: opened.route_name(),
        filter_chain_match: Some(FilterChainMatch {
            server_names: names,
            ..FilterChainMatch::default()
        }),
        filters: vec![http(opened.port, &opened.route_name())],
        transport_socket: Some(TransportSocket {
            name: "envoy.transport_sockets.tls".into(),
            config_type: Some(SocketConfig::TypedConfig(any(&context))),
        }),
        ..FilterChain::default()
    }
}

fn http(port: u16, route: &str) -> Filter {
    let router = HttpFilter {
        name: "envoy.filters.http.router".into(),
        config_type: Some(http_filter::ConfigType::TypedConfig(
            any(&Router::default()),
        )),
        ..HttpFilter::default()
    };
    let manager = HttpConnectionManager {
        stat_prefix: format!("port_{port}"),
        http_filters: vec![router],
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(ads_config_source()),
            route_config_name: route.to_owned(),
        })),
        // An edge proxy: the client is the peer, and headers about it are not believed.
        use_remote_address: Some(BoolValue { value: true }),
        normalize_path: Some(BoolValue { value: true }),
        merge_slashes: true,
        upgrade_configs: vec![UpgradeConfig {
            upgrade_type: "websocket".into(),
            ..UpgradeConfig::default()
        }],
        ..HttpConnectionManager::default()
    };
    Filter {
        name: "envoy.filters.network.http_connection_manager".into(),
        config_type: Some(filter::ConfigType::TypedConfig(any(&manager))),
    }
}
