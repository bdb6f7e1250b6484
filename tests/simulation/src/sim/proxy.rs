//! A proxy that speaks the delta protocol with the daemon's store and serves what it was told, as
//! Envoy does: it keeps what it has while the daemon is away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gatewright_xds::proto::envoy::config::cluster::v3::Cluster;
use gatewright_xds::proto::envoy::config::core;
use gatewright_xds::proto::envoy::config::core::v3::data_source::Specifier;
use gatewright_xds::proto::envoy::config::core::v3::{
    Node, TransportSocket, address::Address, socket_address::PortSpecifier,
    transport_socket::ConfigType as SocketConfig,
};
use gatewright_xds::proto::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use gatewright_xds::proto::envoy::config::listener::v3::{
    FilterChain, Listener, filter::ConfigType as FilterConfig,
};
use gatewright_xds::proto::envoy::config::route::v3::{
    Route, RouteConfiguration, route::Action, route_action::ClusterSpecifier,
    route_match::PathSpecifier,
};
use gatewright_xds::proto::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use gatewright_xds::proto::envoy::extensions::transport_sockets::tls::v3::{
    DownstreamTlsContext, Secret, secret,
};
use gatewright_xds::proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use gatewright_xds::proto::from_any;
use gatewright_xds::{GatewayId, ProxyStream, Resource, ResourceKey, ResourceType, Response};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::sync::watch;

use super::world::Daemons;

/// What a proxy does with a plain HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It asks this cluster.
    Cluster(String),
    Redirect,
    NotFound,
}

/// The proxy of one Pod.
pub(crate) struct ModelProxy {
    pub(crate) pod: String,
    identity: GatewayId,
    group: GatewayId,
    held: Mutex<BTreeMap<ResourceKey, Resource>>,
    /// The listeners among them, read once: they are looked at far more often than they change.
    listeners: Mutex<Arc<[DecodedListener]>>,
    dark: AtomicBool,
    /// How many responses it has taken.
    responses: AtomicU64,
    live: watch::Sender<bool>,
}

impl ModelProxy {
    /// The proxy of `pod`, which belongs to `identity` and gets the resources of `group`.
    pub(super) fn new(pod: &str, identity: GatewayId, group: GatewayId) -> Self {
        Self {
            pod: pod.to_owned(),
            identity,
            group,
            held: Mutex::default(),
            listeners: Mutex::default(),
            dark: AtomicBool::new(false),
            responses: AtomicU64::new(0),
            live: watch::Sender::new(false),
        }
    }

    /// While `dark`, nobody is answered; the discovery stream goes on.
    pub(super) fn set_dark(&self, dark: bool) {
        self.dark.store(dark, Ordering::SeqCst);
    }

    pub(crate) fn is_dark(&self) -> bool {
        self.dark.load(Ordering::SeqCst)
    }

    /// How many responses it has taken: what it serves changes with these alone.
    pub(crate) fn responses(&self) -> u64 {
        self.responses.load(Ordering::SeqCst)
    }

    /// Waits for the first listeners (maybe none), after which Envoy calls itself live.
    pub(super) async fn live(&self) {
        // Both ends are in this value, so waiting cannot fail.
        drop(self.live.subscribe().wait_for(|live| *live).await);
    }

    /// Follows one of the daemons that there are, and another when that is gone, until dropped.
    pub(super) async fn run(&self, mut daemons: watch::Receiver<Daemons>) {
        let turn = self.pod.bytes().map(usize::from).sum();
        loop {
            let chosen = daemons.borrow_and_update().choose(turn);
            let Some((life, daemon)) = chosen else {
                match daemons.changed().await {
                    Ok(()) => continue,
                    Err(_world_ended) => return,
                }
            };
            let stream = daemon.store.connect_as(&self.identity, &self.group);
            let mut named = Named::default();
            self.open(&stream, &mut named);
            loop {
                tokio::select! {
                    biased;
                    changed = daemons.changed() => match changed {
                        Ok(()) if daemons.borrow_and_update().has(life) => {}
                        Ok(()) => break,
                        Err(_world_ended) => return,
                    },
                    response = stream.next() => self.apply(&stream, &response, &mut named),
                }
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<ResourceKey, Resource>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, stream: &ProxyStream, named: &mut Named) {
        let node = Node {
            id: self.identity.node_id(&self.pod),
            ..Node::default()
        };
        let versions = |kind: ResourceType| {
            let held = self.held();
            held.iter()
                .filter(|((held, _), _)| *held == kind)
                .map(|((_, name), resource)| (name.to_string(), resource.version().to_string()))
                .collect()
        };
        for kind in [ResourceType::Cluster, ResourceType::Listener] {
            let request = DeltaDiscoveryRequest {
                node: Some(node.clone()),
                type_url: kind.type_url().into(),
                initial_resource_versions: versions(kind),
                ..DeltaDiscoveryRequest::default()
            };
            send(stream, request);
        }
        *named = self.wanted();
        for (kind, names) in [
            (ResourceType::Secret, &named.secrets),
            (ResourceType::Route, &named.routes),
        ] {
            if !names.is_empty() {
                let request = DeltaDiscoveryRequest {
                    type_url: kind.type_url().into(),
                    resource_names_subscribe: names.iter().cloned().collect(),
                    initial_resource_versions: versions(kind),
                    ..DeltaDiscoveryRequest::default()
                };
                send(stream, request);
            }
        }
    }

    fn apply(&self, stream: &ProxyStream, response: &Response, named: &mut Named) {
        {
            let mut held = self.held();
            for resource in response.resources() {
                held.insert(resource.key(), resource.clone());
            }
            for name in response.removed() {
                // Envoy does not give up a secret in use.
                if response.kind() != ResourceType::Secret {
                    held.remove(&(response.kind(), name.clone()));
                }
            }
        }
        self.responses.fetch_add(1, Ordering::SeqCst);
        let ack = DeltaDiscoveryRequest {
            type_url: response.kind().type_url().into(),
            response_nonce: response.nonce().to_owned(),
            ..DeltaDiscoveryRequest::default()
        };
        send(stream, ack);
        if response.kind() == ResourceType::Listener {
            let read = self.read_listeners();
            *self
                .listeners
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = read;
            let wanted = self.wanted();
            for (kind, before, now) in [
                (ResourceType::Secret, &named.secrets, &wanted.secrets),
                (ResourceType::Route, &named.routes, &wanted.routes),
            ] {
                if before != now {
                    let request = DeltaDiscoveryRequest {
                        type_url: kind.type_url().into(),
                        resource_names_subscribe: now.difference(before).cloned().collect(),
                        resource_names_unsubscribe: before.difference(now).cloned().collect(),
                        ..DeltaDiscoveryRequest::default()
                    };
                    send(stream, request);
                }
            }
            *named = wanted;
            self.live.send_replace(true);
        }
    }

    /// What the listeners name.
    fn wanted(&self) -> Named {
        let mut named = Named::default();
        for chain in self.listeners().iter().flat_map(|held| &held.chains) {
            named.secrets.extend(chain.secret.clone());
            named.routes.extend(chain.route.clone());
        }
        named
    }

    fn listeners(&self) -> Arc<[DecodedListener]> {
        let listeners = self.listeners.lock();
        Arc::clone(&listeners.unwrap_or_else(PoisonError::into_inner))
    }

    fn read_listeners(&self) -> Arc<[DecodedListener]> {
        let held = self.held();
        let listeners = held
            .iter()
            .filter(|((kind, _), _)| *kind == ResourceType::Listener);
        listeners
            .map(|(_, resource)| DecodedListener::read(&resource.decode().expect("a listener")))
            .collect()
    }

    fn resource<M>(&self, kind: ResourceType, name: &str) -> Option<M>
    where
        M: prost::Message + prost::Name + Default,
    {
        let resource = self.held().get(&(kind, name.into())).cloned()?;
        Some(resource.decode().expect("a resource of its kind"))
    }

    /// Does `look` with the chains of the listener at `port`. Envoy opens it only when its secrets are
    /// there.
    fn with_chains<T>(&self, port: u16, look: impl FnOnce(&[Chain]) -> T) -> Option<T> {
        if self.is_dark() {
            return None;
        }
        let listeners = self.listeners();
        let listener = listeners.iter().find(|held| held.port == Some(port))?;
        let held = self.held();
        let mut secrets = listener
            .chains
            .iter()
            .filter_map(|chain| chain.secret.as_deref());
        let warm = secrets.all(|name| held.contains_key(&(ResourceType::Secret, name.into())));
        drop(held);
        warm.then(|| look(&listener.chains))
    }

    /// Whether connections to `port` are taken.
    pub(crate) fn listens(&self, port: u16) -> bool {
        self.with_chains(port, |_| ()).is_some()
    }

    /// The leaf certificate (DER) that a client sees at `port` when it asks for `server_name`.
    pub(crate) fn leaf(&self, port: u16, server_name: &str) -> Result<Vec<u8>, String> {
        let name = self.with_chains(port, |chains| {
            let chain = chain_for(chains, server_name).ok_or("no filter chain takes the name")?;
            chain.secret.clone().ok_or("not a tls port")
        });
        let name = name.ok_or("connection refused")??;
        let secret: Secret = self
            .resource(ResourceType::Secret, &name)
            .ok_or("no certificate")?;
        let Some(secret::Type::TlsCertificate(certificate)) = secret.r#type else {
            return Err("the secret is no certificate".into());
        };
        let pem = match certificate
            .certificate_chain
            .and_then(|chain| chain.specifier)
        {
            Some(Specifier::InlineBytes(bytes)) => bytes.to_vec(),
            _ => return Err("the chain is not inline".into()),
        };
        CertificateDer::from_pem_slice(&pem)
            .map(|der| der.to_vec())
            .map_err(|error| error.to_string())
    }

    /// What happens with `GET http://host/path` at `port`.
    pub(super) fn get(&self, port: u16, host: &str, path: &str) -> Result<Answer, String> {
        let name = self.with_chains(port, |chains| {
            let chain = chains.first().ok_or("no filter chain")?;
            if chain.secret.is_some() {
                return Err("plain http at a tls port");
            }
            chain.route.clone().ok_or("no routes")
        });
        let name = name.ok_or("connection refused")??;
        let Some(routes) = self.resource::<RouteConfiguration>(ResourceType::Route, &name) else {
            return Ok(Answer::NotFound);
        };
        let hosts = routes.virtual_hosts.iter();
        let mut takes =
            hosts.filter(|held| held.domains.iter().any(|domain| matches(domain, host)));
        let route = takes
            .next()
            .and_then(|held| held.routes.iter().find(|route| takes_path(route, path)));
        Ok(match route.and_then(|route| route.action.as_ref()) {
            Some(Action::Route(action)) => match &action.cluster_specifier {
                Some(ClusterSpecifier::Cluster(cluster)) => Answer::Cluster(cluster.clone()),
                _ => Answer::NotFound,
            },
            Some(Action::Redirect(_)) => Answer::Redirect,
            _ => Answer::NotFound,
        })
    }

    /// Whether the proxy knows the cluster.
    pub(super) fn has_cluster(&self, name: &str) -> bool {
        self.held()
            .contains_key(&(ResourceType::Cluster, name.into()))
    }

    /// The port of the one address that the cluster leads to.
    pub(super) fn address_of(&self, cluster: &str) -> Option<u16> {
        let cluster: Cluster = self.resource(ResourceType::Cluster, cluster)?;
        let group = cluster.load_assignment?.endpoints.into_iter().next()?;
        let endpoint = group.lb_endpoints.into_iter().next()?;
        let Some(HostIdentifier::Endpoint(endpoint)) = endpoint.host_identifier else {
            return None;
        };
        port_of_address(endpoint.address.as_ref()?)
    }
}

/// A listener, read once.
struct DecodedListener {
    port: Option<u16>,
    chains: Vec<Chain>,
}

/// A filter chain of a listener.
struct Chain {
    /// The names for which it is taken; any when there are none.
    names: Vec<String>,
    secret: Option<String>,
    route: Option<String>,
}

impl DecodedListener {
    fn read(listener: &Listener) -> Self {
        let chains = listener.filter_chains.iter().map(|chain| {
            let taken = chain.filter_chain_match.as_ref();
            Chain {
                names: taken
                    .map(|held| held.server_names.clone())
                    .unwrap_or_default(),
                secret: secret_of(chain),
                route: route_of(chain),
            }
        });
        Self {
            port: port_of(listener),
            chains: chains.collect(),
        }
    }
}

/// What is subscribed to by name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    secrets: BTreeSet<String>,
    routes: BTreeSet<String>,
}

fn send(stream: &ProxyStream, request: DeltaDiscoveryRequest) {
    stream
        .request(request)
        .expect("a request that the store takes");
}

fn port_of(listener: &Listener) -> Option<u16> {
    port_of_address(listener.address.as_ref()?)
}

fn port_of_address(address: &core::v3::Address) -> Option<u16> {
    match address.address.as_ref()? {
        Address::SocketAddress(address) => match address.port_specifier.as_ref()? {
            PortSpecifier::PortValue(port) => u16::try_from(*port).ok(),
            PortSpecifier::NamedPort(_) => None,
        },
        _ => None,
    }
}

fn secret_of(chain: &FilterChain) -> Option<String> {
    let TransportSocket {
        config_type: Some(SocketConfig::TypedConfig(config)),
        ..
    } = chain.transport_socket.as_ref()?
    else {
        return None;
    };
    let context: DownstreamTlsContext = from_any(config).expect("a tls context")?;
    let secrets = context
        .common_tls_context?
        .tls_certificate_sds_secret_configs;
    secrets.into_iter().next().map(|config| config.name)
}

fn route_of(chain: &FilterChain) -> Option<String> {
    let Some(FilterConfig::TypedConfig(config)) = &chain.filters.last()?.config_type else {
        return None;
    };
    let manager: HttpConnectionManager = from_any(config).expect("a connection manager")?;
    match manager.route_specifier? {
        RouteSpecifier::Rds(rds) => Some(rds.route_config_name),
        _ => None,
    }
}

/// The chain whose names take `server_name`: an exact one first, then a wildcard, then the one
/// without names.
fn chain_for<'a>(chains: &'a [Chain], server_name: &str) -> Option<&'a Chain> {
    let with = |wanted: &dyn Fn(&[String]) -> bool| chains.iter().find(|held| wanted(&held.names));
    with(&|names| names.iter().any(|name| name == server_name))
        .or_else(|| with(&|names| names.iter().any(|name| matches(name, server_name))))
        .or_else(|| with(&<[String]>::is_empty))
}

fn matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix),
        None => pattern == host,
    }
}

fn takes_path(route: &Route, path: &str) -> bool {
    match route
        .r#match
        .as_ref()
        .and_then(|held| held.path_specifier.as_ref())
    {
        Some(PathSpecifier::Prefix(prefix)) => path.starts_with(prefix.as_str()),
        Some(PathSpecifier::Path(exact)) => path == exact,
        _ => false,
    }
}
