//! What an Envoy of a gateway starts with: where the daemon is, and who the proxy is to it.

use std::net::IpAddr;

use serde_json::{Value, json};

/// The cluster of the bootstrap that leads to the daemon.
pub const XDS_CLUSTER: &str = "gatewright-xds";
/// The name in the daemon's certificate for the discovery service.
pub const XDS_SERVER_NAME: &str = "xds.gatewright";
/// Where the bootstrap is mounted.
pub(super) const BOOTSTRAP_PATH: &str = "/etc/gatewright/bootstrap";
/// Where the client certificate is mounted.
pub(super) const IDENTITY_PATH: &str = "/etc/gatewright/identity";
pub(super) const CONFIG_FILE: &str = "envoy.json";
pub(super) const CLIENT_SECRET_FILE: &str = "client.json";
pub(super) const READINESS_PORT: u16 = 15021;
const ADMIN_PORT: u16 = 15000;
/// The ports that the bootstrap itself opens.
pub(crate) const RESERVED_PORTS: [u16; 2] = [ADMIN_PORT, READINESS_PORT];

/// The files of the bootstrap ConfigMap, by name.
///
/// `host` and `port` say where the proxies reach the daemon's discovery service.
pub(super) fn files(host: &str, port: u16) -> [(&'static str, Value); 2] {
    [
        (CONFIG_FILE, config(host, port)),
        (CLIENT_SECRET_FILE, client_secret()),
    ]
}

fn address(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": address, "port_value": port } })
}

fn endpoint(host: &str, port: u16) -> Value {
    json!([{ "lb_endpoints": [{ "endpoint": { "address": address(host, port) } }] }])
}

fn config(host: &str, port: u16) -> Value {
    let discovery = if host.parse::<IpAddr>().is_ok() {
        "STATIC"
    } else {
        "STRICT_DNS"
    };
    json!({
        "admin": { "address": address("127.0.0.1", ADMIN_PORT) },
        "dynamic_resources": {
            "ads_config": {
                // State-of-the-world grows with the square of the number of secrets.
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{ "envoy_grpc": { "cluster_name": XDS_CLUSTER } }],
            },
            "lds_config": { "ads": {}, "resource_api_version": "V3" },
            "cds_config": { "ads": {}, "resource_api_version": "V3" },
        },
        "layered_runtime": { "layers": [{
            "name": "gatewright",
            // Envoy's default of 100 instructions refuses what people write every day, `[a-z]{1,63}`
            // among it, and the rest of the routes with it.
            "static_layer": { "re2.max_program_size.error_level": 32768 },
        }]},
        "static_resources": {
            "clusters": [
                {
                    "name": XDS_CLUSTER,
                    "type": discovery,
                    "connect_timeout": "5s",
                    "load_assignment": { "cluster_name": XDS_CLUSTER, "endpoints": endpoint(host, port) },
                    "transport_socket": transport_socket(),
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": { "http2_protocol_options": {
                                "connection_keepalive": { "interval": "30s", "timeout": "5s" },
                            }},
                        },
                    },
                },
                {
                    "name": "gatewright-admin",
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "load_assignment": {
                        "cluster_name": "gatewright-admin",
                        "endpoints": endpoint("127.0.0.1", ADMIN_PORT),
                    },
                },
            ],
            "listeners": [readiness_listener()],
        },
    })
}

/// A listener of its own for the kubelet, so that the admin interface stays on loopback.
fn readiness_listener() -> Value {
    json!({
        "name": "gatewright-readiness",
        "address": address("0.0.0.0", READINESS_PORT),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "health",
                "route_config": { "virtual_hosts": [{
                    "name": "health",
                    "domains": ["*"],
                    "routes": [{
                        "match": { "path": "/healthz/ready" },
                        "route": { "cluster": "gatewright-admin", "prefix_rewrite": "/ready" },
                    }],
                }]},
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                }],
            },
        }]}],
    })
}

fn transport_socket() -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": XDS_SERVER_NAME,
            "common_tls_context": {
                "alpn_protocols": ["h2"],
                // By file, so that the proxy's own certificate can be renewed while it runs.
                "tls_certificate_sds_secret_configs": [{
                    "name": "client",
                    "sds_config": {
                        "path_config_source": { "path": format!("{BOOTSTRAP_PATH}/{CLIENT_SECRET_FILE}") },
                        "resource_api_version": "V3",
                    },
                }],
                "validation_context": {
                    "trusted_ca": { "filename": format!("{IDENTITY_PATH}/ca.crt") },
                    "match_typed_subject_alt_names": [{
                        "san_type": "DNS",
                        "matcher": { "exact": XDS_SERVER_NAME },
                    }],
                },
            },
        },
    })
}

fn client_secret() -> Value {
    json!({ "resources": [{
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": "client",
        "tls_certificate": {
            "certificate_chain": { "filename": format!("{IDENTITY_PATH}/tls.crt") },
            "private_key": { "filename": format!("{IDENTITY_PATH}/tls.key") },
            "watched_directory": { "path": IDENTITY_PATH },
        },
    }]})
}
