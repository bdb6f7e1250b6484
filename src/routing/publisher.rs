//! Keeps the discovery service's store equal to what the objects say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use gatewright_crds::conditions::{self, Finding};
use gatewright_crds::istio::{Gateway, RoutingStatus, VirtualService};
use gatewright_crds::istio_gateway::IstioGateway;
use gatewright_seams::AddressMap;
use gatewright_xds::{GatewayId, Resource, ResourceType, Store};
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::reflector::{self, store::Writer};
use kube::runtime::{WatchStreamExt, watcher};
use serde::de::DeserializeOwned;

use super::secrets;
use super::translate::{Answers, Input, Problem, translate};
use crate::certificate::Material;
use crate::fronts::pod_labels;
use crate::kubernetes::{FIELD_MANAGER, apply_status};
use crate::outside::Outside;

/// Structural changes that come together are translated together. Certificates do not wait.
const SETTLE: Duration = Duration::from_millis(10);
const CONDITION: &str = "Programmed";
const STRUCTURE: [ResourceType; 4] = [
    ResourceType::Cluster,
    ResourceType::Endpoints,
    ResourceType::Listener,
    ResourceType::Route,
];

/// Which set of resources the proxy `pod` of `gateway` gets.
///
/// In Pods of a cluster, all proxies of a gateway get the same. On a laptop each binds an address of
/// its own, so each has its own listeners.
pub fn group_of(addresses: AddressMap, gateway: &GatewayId, pod: &str) -> GatewayId {
    match addresses {
        AddressMap::Identity => gateway.clone(),
        AddressMap::Loopback => {
            let name = format!("{}.{pod}", gateway.name());
            GatewayId::new(gateway.namespace(), &name).unwrap_or_else(|_| gateway.clone())
        }
    }
}

/// What changed.
enum Change {
    Secret(Box<Secret>),
    Structure,
}

/// The reflectors' stores.
struct Seen {
    gateways: reflector::Store<IstioGateway>,
    servers: reflector::Store<Gateway>,
    virtual_services: reflector::Store<VirtualService>,
    services: reflector::Store<Service>,
    slices: reflector::Store<EndpointSlice>,
    secrets: reflector::Store<Secret>,
    pods: reflector::Store<Pod>,
}

/// Watches the objects and publishes.
pub struct Publisher {
    outside: Outside,
    store: Store,
    answers: Answers,
    /// Which groups of proxies use a Secret, by namespace and name.
    users: BTreeMap<(String, String), BTreeSet<GatewayId>>,
    /// What the last translation found wrong, so that it is written once.
    told: BTreeSet<Problem>,
}

impl Publisher {
    /// `answers`: where the proxies reach the daemon's answers to challenges.
    pub fn new(outside: Outside, store: Store, answers: Answers) -> Self {
        Self {
            outside,
            store,
            answers,
            users: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    /// Publishes until dropped.
    pub async fn run(mut self) {
        let mut changes: SelectAll<BoxStream<'static, Change>> = SelectAll::new();

        let all = watcher::Config::default;
        let tls = all().fields("type=kubernetes.io/tls");
        let proxies = all().labels("app.kubernetes.io/component=gateway-proxy");
        let kube = &self.outside.kube;
        let seen = Seen {
            gateways: reflect(kube, all(), |_| Change::Structure, &mut changes),
            servers: reflect(kube, all(), |_| Change::Structure, &mut changes),
            virtual_services: reflect(kube, all(), |_| Change::Structure, &mut changes),
            services: reflect(kube, all(), |_| Change::Structure, &mut changes),
            slices: reflect(kube, all(), |_| Change::Structure, &mut changes),
            secrets: reflect(
                kube,
                tls,
                |secret| Change::Secret(Box::new(secret)),
                &mut changes,
            ),
            pods: reflect(kube, proxies, |_| Change::Structure, &mut changes),
        };
        let mut dirty = true;
        let clock = self.outside.clock;
        loop {
            let change = if dirty {
                clock.timeout(SETTLE, changes.next()).await.ok()
            } else {
                Some(changes.next().await)
            };
            match change {
                Some(Some(Change::Secret(secret))) => self.publish_secret(&secret),
                Some(Some(Change::Structure)) => dirty = true,
                Some(None) => return,
                // Nothing more came for a while.
                None if !seen.is_complete() => {}
                None => {
                    dirty = false;
                    self.publish(&seen).await;
                }
            }
        }
    }

    /// The path of a rotation: from the watch straight to the streams.
    fn publish_secret(&mut self, secret: &Secret) {
        let key = (secret.namespace().unwrap_or_default(), secret.name_any());
        let Some(users) = self.users.get(&key) else {
            return;
        };
        let Some(resource) = self.usable(secret) else {
            return;
        };
        for user in users {
            self.store.put_secret(user, resource.clone());
        }
    }

    /// The Secret as a resource, unless a proxy could not use it. The proxies then keep the one
    /// they have: an unusable secret must not take good ones down.
    fn usable(&self, secret: &Secret) -> Option<Resource> {
        let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
        let checked = Material::from_secret(secret).and_then(|material| {
            material
                .check_time(self.outside.clock.now())
                .map(|()| material)
        });
        match checked {
            Ok(material) => Some(secrets::resource(&namespace, &name, &material)),
            Err(error) => {
                tracing::warn!(secret = %format_args!("{namespace}/{name}"), %error, "not published");
                None
            }
        }
    }

    async fn publish(&mut self, seen: &Seen) {
        let gateways = seen.gateways.state();
        let mut users: BTreeMap<(String, String), BTreeSet<GatewayId>> = BTreeMap::new();
        let mut problems = BTreeSet::new();
        let mut groups = BTreeSet::new();
        for gateway in &gateways {
            let Ok(id) = GatewayId::new(
                &gateway.namespace().unwrap_or_default(),
                &gateway.name_any(),
            ) else {
                continue;
            };
            for (group, bind) in self.groups(&id, gateway, &seen.pods.state()) {
                let found = self.publish_group(&group, gateway, bind, seen, &mut users);
                problems.extend(found);
                groups.insert(group);
            }
        }
        self.users = users;
        for gone in self
            .store
            .gateways()
            .iter()
            .filter(|held| !groups.contains(held))
        {
            self.store.remove_gateway(gone);
        }
        self.report(seen, problems).await;
    }

    /// The groups of proxies of `gateway`, and the address that each binds.
    fn groups(
        &self,
        id: &GatewayId,
        gateway: &IstioGateway,
        pods: &[Arc<Pod>],
    ) -> Vec<(GatewayId, IpAddr)> {
        let addresses = self.outside.network.pods;
        if addresses == AddressMap::Identity {
            return vec![(id.clone(), Ipv4Addr::UNSPECIFIED.into())];
        }
        let labels = pod_labels(gateway);
        let ours = pods.iter().filter(|pod| {
            pod.namespace() == gateway.namespace()
                && labels
                    .iter()
                    .all(|(key, value)| pod.labels().get(key) == Some(value))
        });
        ours.filter_map(|pod| {
            let ip = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
            Some((
                group_of(addresses, id, &pod.name_any()),
                addresses.dial_ip(ip),
            ))
        })
        .collect()
    }

    fn publish_group(
        &self,
        group: &GatewayId,
        gateway: &IstioGateway,
        bind: IpAddr,
        seen: &Seen,
        users: &mut BTreeMap<(String, String), BTreeSet<GatewayId>>,
    ) -> Vec<Problem> {
        let servers = seen.servers.state();
        let virtual_services = seen.virtual_services.state();
        let services = seen.services.state();
        let slices = seen.slices.state();
        let output = translate(&Input {
            gateway,
            servers: &servers.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
            virtual_services: &virtual_services
                .iter()
                .map(AsRef::as_ref)
                .collect::<Vec<_>>(),
            services: &services.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
            slices: &slices.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
            bind,
            answers: &self.answers,
            addresses: self.outside.network.pods,
            port_shift: self.outside.network.port_shift,
        });
        for (namespace, name) in &output.secrets {
            users
                .entry((namespace.clone(), name.clone()))
                .or_default()
                .insert(group.clone());
            let key = reflector::ObjectRef::<Secret>::new(name).within(namespace);
            let held = seen.secrets.get(&key);
            if let Some(resource) = held.and_then(|secret| self.usable(&secret)) {
                self.store.put_secret(group, resource);
            }
        }
        self.store.set_kinds(group, &STRUCTURE, output.resources);
        self.store.mark_synced(group);
        output.problems
    }

    /// Writes the `Programmed` condition of every Gateway and VirtualService where it differs.
    async fn report(&mut self, seen: &Seen, problems: BTreeSet<Problem>) {
        let of = |kind: &str, namespace: &str, name: &str| {
            let mut ours = problems.iter().filter(|problem| {
                problem.kind == kind && problem.namespace == namespace && problem.name == name
            });
            let first = ours.next()?;
            let message = std::iter::once(first)
                .chain(ours)
                .map(|p| p.message.clone());
            Some((first.reason, message.collect::<Vec<_>>().join("; ")))
        };
        for gateway in seen.servers.state() {
            let held = gateway.status.clone().unwrap_or_default();
            let found = of(
                "Gateway",
                &gateway.namespace().unwrap_or_default(),
                &gateway.name_any(),
            );
            if let Some(status) = self.status(held, found, gateway.metadata.generation) {
                self.write(gateway.as_ref(), &status).await;
            }
        }
        for service in seen.virtual_services.state() {
            let held = service.status.clone().unwrap_or_default();
            let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
            let found = of("VirtualService", &namespace, &name);
            if let Some(status) = self.status(held, found, service.metadata.generation) {
                self.write(service.as_ref(), &status).await;
            }
        }
        for problem in problems.difference(&self.told) {
            tracing::warn!(%problem, "not programmed");
            let about = k8s_openapi::api::core::v1::ObjectReference {
                api_version: Some("networking.istio.io/v1".into()),
                kind: Some(problem.kind.into()),
                namespace: Some(problem.namespace.clone()),
                name: Some(problem.name.clone()),
                ..Default::default()
            };
            let events = &self.outside.events;
            events
                .warning(&about, problem.reason, "Program", &problem.message)
                .await;
        }
        self.told = problems;
    }

    /// The new status, if it differs.
    fn status(
        &self,
        held: RoutingStatus,
        found: Option<(&'static str, String)>,
        generation: Option<i64>,
    ) -> Option<RoutingStatus> {
        let finding = match found {
            Some((reason, message)) => Finding::new(CONDITION, false, reason, message),
            None => Finding::new(
                CONDITION,
                true,
                "Programmed",
                "the proxies are told all of it",
            ),
        };
        let mut status = held;
        let now = self.outside.clock.now();
        let mut changed = conditions::set(&mut status.conditions, finding, generation, now);
        changed |= status.observed_generation != generation;
        status.observed_generation = generation;
        changed.then_some(status)
    }

    async fn write<K>(&self, object: &K, status: &RoutingStatus)
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        if let Err(error) = apply_status(&self.outside.kube, FIELD_MANAGER, object, status).await {
            let name = object.meta().name.as_deref().unwrap_or_default();
            tracing::warn!(name, %error, "status not written");
        }
    }
}

impl Seen {
    /// Every kind has been listed once. Before, a missing object means nothing.
    fn is_complete(&self) -> bool {
        use futures::FutureExt;
        self.gateways.wait_until_ready().now_or_never().is_some()
            && self.servers.wait_until_ready().now_or_never().is_some()
            && self
                .virtual_services
                .wait_until_ready()
                .now_or_never()
                .is_some()
            && self.services.wait_until_ready().now_or_never().is_some()
            && self.slices.wait_until_ready().now_or_never().is_some()
            && self.secrets.wait_until_ready().now_or_never().is_some()
            && self.pods.wait_until_ready().now_or_never().is_some()
    }
}

/// Keeps a store of all objects of a kind, and adds its changes to `changes`.
fn reflect<K>(
    kube: &kube::Client,
    config: watcher::Config,
    change: impl Fn(K) -> Change + Send + Sync + Copy + 'static,
    changes: &mut SelectAll<BoxStream<'static, Change>>,
) -> reflector::Store<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let writer = Writer::default();
    let store = writer.as_reader();
    let events = watcher::watcher(Api::<K>::all(kube.clone()), config)
        .default_backoff()
        .reflect(writer)
        .map(move |event| match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                Some(change(object))
            }
            Ok(watcher::Event::Delete(_) | watcher::Event::InitDone) => Some(Change::Structure),
            Ok(watcher::Event::Init) => None,
            Err(error) => {
                tracing::debug!(kind = %K::kind(&()), %error, "watching");
                None
            }
        })
        .filter_map(|change| async move { change });
    changes.push(events.boxed());
    store
}
