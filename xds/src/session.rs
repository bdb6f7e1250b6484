//! One proxy's stream as a state machine without IO: requests go in, responses come out.
//!
//! Rules it keeps (the protocol: <https://www.envoyproxy.io/docs/envoy/v1.40.0/api-docs/xds_protocol>):
//! - Changes mark names as dirty; a slow proxy finds only the newest content when it is ready again.
//! - Secrets, routes and endpoints travel one to a response, several responses at a time: Envoy stops
//!   applying a response at the first bad resource, so a batch would take innocents down with it.
//!   Clusters and listeners are applied one by one by Envoy itself and travel as a batch, because
//!   Envoy takes the first response for the complete list; one is in flight at a time.
//! - An ACK of content that this proxy refused before means nothing: Envoy does not try bytes again
//!   that it has seen last.
//! - Whatever a pushed listener or cluster names is sent again behind it (`config_source` says why).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::proto::envoy::config::core::v3::{Node, node};
use crate::proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use crate::proto::google::rpc;
use crate::store::Contents;
use crate::{
    Counters, GatewayId, ProxyStatus, Rejection, Resource, ResourceKey, ResourceStatus,
    ResourceType, StreamError, Version,
};

mod column;
mod push;
mod response;

use column::Column;
pub use response::Response;

/// A proxy that has not answered a response for so long is stuck, and other types no longer wait
/// for it. Envoy answers within milliseconds, or 3 s in the worst bulk seen.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Names one stream may subscribe to, for each type: ten times the largest gateway tried.
const MAX_NAMES: usize = 100_000;

/// Characters kept of a refusal's text.
const MAX_MESSAGE: usize = 1024;

pub(crate) struct Session {
    gateway: GatewayId,
    connected_since: Timestamp,
    node_id: Option<Arc<str>>,
    agent: Arc<str>,
    columns: [Column; 5],
    next_nonce: u64,
    counters: Counters,
    /// Names in doubt since this proxy's last stream; see [`Session::doubtful`].
    doubtful: BTreeSet<ResourceKey>,
}

/// What a request did beyond its own stream: names whose refusal by another proxy was lifted.
pub(crate) type Lifted = BTreeSet<ResourceKey>;

impl Session {
    pub(crate) fn new(gateway: GatewayId, connected_since: Timestamp) -> Self {
        Self {
            gateway,
            connected_since,
            node_id: None,
            agent: Arc::from(""),
            columns: Default::default(),
            next_nonce: 1,
            counters: Counters::default(),
            doubtful: BTreeSet::new(),
        }
    }

    /// Takes one request: its answer to a response, then its subscriptions.
    ///
    /// # Errors
    /// The stream has to be ended.
    pub(crate) fn receive(
        &mut self,
        request: DeltaDiscoveryRequest,
        contents: &mut Contents,
    ) -> Result<Lifted, StreamError> {
        self.counters.requests += 1;
        if self.node_id.is_none() {
            self.introduce(request.node, contents)?;
        }
        let kind =
            ResourceType::from_type_url(&request.type_url).ok_or(StreamError::UnknownType {
                type_url: request.type_url,
            })?;
        let lifted = match request.response_nonce.parse() {
            Ok(nonce) => self.answer(kind, nonce, request.error_detail, contents),
            Err(_) => Lifted::new(),
        };
        let column = &mut self.columns[kind.index()];
        let first = !std::mem::replace(&mut column.started, true);
        if first {
            let agent = &self.agent;
            column.resume(request.initial_resource_versions, |name, version| {
                contents.is_rejected(kind, name, version, agent)
            });
            let names = &request.resource_names_subscribe;
            if kind.has_wildcard() && names.is_empty() {
                column.start_wildcard(contents, kind);
            }
        }
        for name in request.resource_names_subscribe {
            if name != "*" {
                column.subscribe(name.into(), first);
            } else if kind.has_wildcard() {
                column.start_wildcard(contents, kind);
            }
        }
        for name in request.resource_names_unsubscribe {
            column.unsubscribe(&name, contents, kind);
        }
        if first {
            if !column.wildcard {
                let subscribed = &column.subscribed;
                column.held.retain(|name, _| subscribed.contains(name));
            }
            for (_, name) in self.doubtful.extract_if(.., |(of, _)| *of == kind) {
                if kind.has_wildcard() {
                    // It may be there without being reported, and then has to be withdrawn.
                    column.held.entry(name.clone()).or_default();
                }
                if let Some(held) = column.held.get_mut(&name) {
                    held.sent = Some(Version::UNKNOWN);
                }
                column.forced.insert(name.clone());
                column.rinsed.insert(name.clone());
                column.urgent.insert(name);
            }
        }
        if column.subscribed.len() > MAX_NAMES {
            return Err(StreamError::TooManyNames {
                type_name: kind.name(),
                limit: MAX_NAMES,
            });
        }
        Ok(lifted)
    }

    /// Keeps what is needed of the node, which is 61 KB in all: it lists every extension.
    fn introduce(
        &mut self,
        node: Option<Node>,
        contents: &mut Contents,
    ) -> Result<(), StreamError> {
        let node = node.unwrap_or_default();
        if !self.gateway.owns_node(&node.id) {
            let node_id = node.id.chars().take(MAX_MESSAGE).collect();
            return Err(StreamError::WrongNode {
                gateway: self.gateway.clone(),
                node_id,
            });
        }
        self.agent = agent(&node).into();
        self.doubtful = contents.take_doubtful(&node.id);
        self.node_id = Some(node.id.into());
        Ok(())
    }

    fn answer(
        &mut self,
        kind: ResourceType,
        nonce: u64,
        error: Option<rpc::Status>,
        contents: &mut Contents,
    ) -> Lifted {
        let mut lifted = Lifted::new();
        let column = &mut self.columns[kind.index()];
        // A nonce that is not known is stale; the subscriptions beside it still count.
        let Some(answered) = column.in_flight.remove(&nonce) else {
            return lifted;
        };
        let Some(error) = error else {
            self.counters.acks += 1;
            for resource in answered.resources {
                column.awaited.remove(resource.name());
                let wanted = contents.get(kind, resource.name()).map(Resource::version);
                if column.accepted(&resource, wanted) && contents.accept(&resource) {
                    lifted.insert(resource.key());
                }
            }
            return lifted;
        };
        self.counters.nacks += 1;
        let message = shorten(&error.message);
        tracing::warn!(
            gateway = %self.gateway,
            node = self.node_id.as_deref().unwrap_or_default(),
            kind = kind.name(),
            resources = answered.resources.len(),
            message = &*message,
            "proxy refused a response"
        );
        let alone = answered.resources.len() == 1;
        let mut unneeded = Vec::new();
        for resource in answered.resources {
            let (name, version) = (resource.name().clone(), resource.version());
            column.awaited.remove(&name);
            if alone {
                contents.reject(kind, &name, version, &self.agent);
                unneeded.extend_from_slice(resource.deps());
            }
            let Some(held) = column.held.get_mut(&name) else {
                continue;
            };
            if alone {
                held.reject(Rejection {
                    version,
                    message: message.clone(),
                });
                column.urgent.insert(name);
            } else {
                // Some of the batch are in use now, some are not.
                held.sent = Some(Version::UNKNOWN);
                column.isolated.insert(name);
            }
        }
        for (kind, name) in unneeded {
            self.columns[kind.index()].awaited.remove(&name);
        }
        lifted
    }

    /// Marks a name whose content changed in the store.
    pub(crate) fn touch(&mut self, kind: ResourceType, name: &Arc<str>) {
        let column = &mut self.columns[kind.index()];
        if column.wants(name) {
            column.dirty.insert(name.clone());
        }
    }

    /// What this proxy was sent and has not answered, now that its stream ends. It may have tried
    /// bytes that it will not try again, or use content that it will not report.
    pub(crate) fn doubtful(&mut self) -> BTreeSet<ResourceKey> {
        let mut keys = std::mem::take(&mut self.doubtful);
        for kind in ResourceType::ALL {
            let column = &self.columns[kind.index()];
            let due = column
                .isolated
                .iter()
                .chain(&column.forced)
                .chain(&column.rinsed);
            keys.extend(due.map(|name| (kind, name.clone())));
            // Refused, unanswered, or in doubt already.
            let unsure = column
                .held
                .iter()
                .filter(|(_, held)| held.sent != held.acked);
            keys.extend(unsure.map(|(name, _)| (kind, name.clone())));
            let sent = column.in_flight.values().flat_map(|each| &each.resources);
            keys.extend(sent.map(Resource::key));
            let removed = column.in_flight.values().flat_map(|each| &each.removed);
            keys.extend(
                removed
                    .chain(&column.removals)
                    .map(|name| (kind, name.clone())),
            );
        }
        keys
    }

    /// Marks everything the proxy has, for a store whose content was replaced unseen.
    pub(crate) fn touch_all(&mut self) {
        for column in &mut self.columns {
            column.dirty.extend(column.held.keys().cloned());
        }
    }

    pub(crate) fn node_id(&self) -> Arc<str> {
        self.node_id.clone().unwrap_or_default()
    }

    pub(crate) fn status(&self, contents: &Contents, now: Duration) -> ProxyStatus {
        let mut resources = Vec::new();
        for kind in ResourceType::ALL {
            let column = &self.columns[kind.index()];
            let mut names: BTreeSet<_> = column.held.keys().collect();
            names.extend(&column.subscribed);
            if column.wildcard {
                names.extend(contents.of_kind(kind).keys());
            }
            resources.extend(
                names
                    .into_iter()
                    .map(|name| self.resource(contents, kind, name)),
            );
        }
        ProxyStatus {
            node_id: self.node_id(),
            agent: self.agent.clone(),
            connected_since: self.connected_since,
            stuck: self.columns.iter().any(|column| column.is_stuck(now)),
            counters: self.counters,
            resources,
        }
    }

    /// The state of one resource on this proxy.
    pub(crate) fn resource(
        &self,
        contents: &Contents,
        kind: ResourceType,
        name: &Arc<str>,
    ) -> ResourceStatus {
        let held = self.columns[kind.index()].held.get(name);
        ResourceStatus {
            kind,
            name: name.clone(),
            wanted: contents.get(kind, name).map(Resource::version),
            sent: held
                .and_then(|held| held.sent)
                .filter(|sent| *sent != Version::UNKNOWN),
            acked: held.and_then(|held| held.acked),
            nacked: held.and_then(|held| held.nacked.clone()),
        }
    }

    /// Whether this proxy asks for the name, by itself or by the wildcard.
    pub(crate) fn wants(&self, kind: ResourceType, name: &str) -> bool {
        self.columns[kind.index()].wants(name)
    }
}

/// Envoy's name and version, such as `envoy 1.40.0`.
fn agent(node: &Node) -> String {
    match &node.user_agent_version_type {
        Some(node::UserAgentVersionType::UserAgentVersion(version)) => {
            format!("{} {version}", node.user_agent_name)
        }
        Some(node::UserAgentVersionType::UserAgentBuildVersion(build)) => {
            let v = build.version.unwrap_or_default();
            format!(
                "{} {}.{}.{}",
                node.user_agent_name, v.major_number, v.minor_number, v.patch
            )
        }
        None => node.user_agent_name.clone(),
    }
}

/// Envoy hides what its API marks as sensitive; a PEM block that slipped through is hidden here.
fn shorten(message: &str) -> Arc<str> {
    if message.contains("PRIVATE KEY") {
        return "message withheld: it holds a private key".into();
    }
    message.chars().take(MAX_MESSAGE).collect::<String>().into()
}
