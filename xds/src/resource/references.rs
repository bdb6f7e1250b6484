//! Which other resources a listener or a cluster names.

use std::collections::BTreeSet;

use super::{ResourceKey, ResourceType};
use crate::proto::envoy::config::core::v3::{TransportSocket, transport_socket};
use crate::proto::envoy::config::{
    cluster::v3::{Cluster, cluster},
    listener::v3::{FilterChain, Listener, filter},
};
use crate::proto::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use crate::proto::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, UpstreamTlsContext,
    common_tls_context::ValidationContextType, downstream_tls_context::SessionTicketKeysType,
};
use crate::proto::from_any;

pub(super) fn of_listener(listener: &Listener) -> Vec<ResourceKey> {
    let mut found = BTreeSet::new();
    for chain in listener
        .filter_chains
        .iter()
        .chain(&listener.default_filter_chain)
    {
        of_filter_chain(chain, &mut found);
    }
    found.into_iter().collect()
}

pub(super) fn of_cluster(cluster: &Cluster) -> Vec<ResourceKey> {
    let mut found = BTreeSet::new();
    if cluster.cluster_discovery_type
        == Some(cluster::ClusterDiscoveryType::Type(
            cluster::DiscoveryType::Eds.into(),
        ))
    {
        let service = cluster
            .eds_cluster_config
            .as_ref()
            .map(|eds| eds.service_name.as_str());
        let name = service
            .filter(|name| !name.is_empty())
            .unwrap_or(&cluster.name);
        found.insert((ResourceType::Endpoints, name.into()));
    }
    let matches = cluster.transport_socket_matches.iter();
    let sockets = matches.filter_map(|each| each.transport_socket.as_ref());
    for socket in sockets.chain(&cluster.transport_socket) {
        of_transport_socket(socket, &mut found);
    }
    found.into_iter().collect()
}

fn of_filter_chain(chain: &FilterChain, found: &mut BTreeSet<ResourceKey>) {
    if let Some(socket) = &chain.transport_socket {
        of_transport_socket(socket, found);
    }
    for each in &chain.filters {
        let Some(filter::ConfigType::TypedConfig(config)) = &each.config_type else {
            continue;
        };
        // Bytes that do not decode name nothing; Envoy refuses the listener and says why.
        if let Ok(Some(manager)) = from_any::<HttpConnectionManager>(config)
            && let Some(RouteSpecifier::Rds(rds)) = manager.route_specifier
        {
            found.insert((ResourceType::Route, rds.route_config_name.into()));
        }
    }
}

fn of_transport_socket(socket: &TransportSocket, found: &mut BTreeSet<ResourceKey>) {
    let Some(transport_socket::ConfigType::TypedConfig(config)) = &socket.config_type else {
        return;
    };
    let context = if let Ok(Some(context)) = from_any::<DownstreamTlsContext>(config) {
        if let Some(SessionTicketKeysType::SessionTicketKeysSdsSecretConfig(keys)) =
            context.session_ticket_keys_type
        {
            found.insert((ResourceType::Secret, keys.name.into()));
        }
        context.common_tls_context
    } else if let Ok(Some(context)) = from_any::<UpstreamTlsContext>(config) {
        context.common_tls_context
    } else {
        None
    };
    if let Some(context) = context {
        of_tls_context(context, found);
    }
}

fn of_tls_context(context: CommonTlsContext, found: &mut BTreeSet<ResourceKey>) {
    let validation = match context.validation_context_type {
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => Some(config),
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            combined.validation_context_sds_secret_config
        }
        _ => None,
    };
    for config in context
        .tls_certificate_sds_secret_configs
        .into_iter()
        .chain(validation)
    {
        found.insert((ResourceType::Secret, config.name.into()));
    }
}
