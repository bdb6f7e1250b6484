//! Keeps the discovery service's store equal to what the objects say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use gatewright_crds::istio_gateway::{GATEWAY_NAMESPACE, IstioGateway};
use gatewright_seams::AddressMap;
use gatewright_xds::{GatewayId, Resource, ResourceType, Store};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::watch;

use super::problem::{Problem, Refusal};
use super::secrets;
use super::translate::{Input, Key, translate};
use crate::certificate::Material;
use crate::fronts::{pod_labels, selects};
use crate::leader::Standing;
use crate::outside::Outside;
use reporter::Reporter;
use seen::{Change, Seen, in_order};

mod reporter;
mod seen;

/// Structural changes that come together are translated together. Certificates do not wait.
const SETTLE: Duration = Duration::from_millis(10);
/// How long a structural change waits at most, however many come.
const LONGEST_SETTLE: Duration = Duration::from_millis(500);
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

/// Watches the objects and publishes.
pub struct Publisher {
    outside: Outside,
    store: Store,
    standing: watch::Receiver<Standing>,
    /// Who uses a Secret.
    users: BTreeMap<Key, Users>,
    /// The Secrets in use that no proxy could use, and why.
    unusable: BTreeMap<Key, Refusal>,
    /// What the last translation found wrong.
    problems: BTreeSet<Problem>,
}

/// Writes what was found into the objects, for as long as this replica is the one that writes: what
/// is under way when it is no more ends there.
async fn report_while_leading(
    outside: &Outside,
    seen: &Seen,
    mut standing: watch::Receiver<Standing>,
    told: watch::Receiver<Option<BTreeSet<Problem>>>,
) {
    loop {
        if standing.wait_for(|held| held.leads).await.is_err() {
            return std::future::pending().await;
        }
        let reporter = Reporter::new(outside.clone(), seen);
        let lost = async {
            if standing.wait_for(|held| !held.leads).await.is_err() {
                // Nobody tells any more: it leads for ever.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = lost => {}
            () = reporter.run(told.clone()) => return,
        }
    }
}

/// The changes of who writes, and where challenges are answered with it.
fn changes_of(standing: watch::Receiver<Standing>) -> impl Stream<Item = Change> + Send {
    futures::stream::unfold(standing, |mut standing| async move {
        standing.changed().await.ok()?;
        Some((Change::Structure, standing))
    })
}

/// Who uses a Secret.
#[derive(Default)]
struct Users {
    groups: BTreeSet<GatewayId>,
    /// Istio Gateways.
    gateways: BTreeSet<Key>,
}

/// What is to be done when nothing more comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Nothing,
    Report,
    Translation,
}

impl Publisher {
    /// `standing`: where the proxies reach the answers to challenges, and whether this replica writes
    /// what it finds wrong into the objects.
    pub fn new(outside: Outside, store: Store, standing: watch::Receiver<Standing>) -> Self {
        Self {
            outside,
            store,
            standing,
            users: BTreeMap::new(),
            unusable: BTreeMap::new(),
            problems: BTreeSet::new(),
        }
    }

    /// Publishes until dropped.
    pub async fn run(self) {
        let mut changes: SelectAll<BoxStream<'static, Change>> = SelectAll::new();
        let seen = Seen::watch(&self.outside, &mut changes);
        let (tell, told) = watch::channel(None);
        changes.push(changes_of(self.standing.clone()).boxed());
        let (outside, standing) = (self.outside.clone(), self.standing.clone());
        // Beside each other: a rotation does not wait for an API server that is slow to take a
        // status.
        tokio::select! {
            biased;
            () = self.publish_changes(&seen, changes, tell) => {}
            () = report_while_leading(&outside, &seen, standing, told) => {}
        }
    }

    async fn publish_changes(
        mut self,
        seen: &Seen,
        mut changes: SelectAll<BoxStream<'static, Change>>,
        tell: watch::Sender<Option<BTreeSet<Problem>>>,
    ) {
        let clock = self.outside.clock;
        let mut due = Due::Translation;
        let mut since = clock.elapsed();
        loop {
            let change = if due == Due::Nothing {
                let change = changes.next().await;
                since = clock.elapsed();
                Some(change)
            } else {
                clock.timeout(SETTLE, changes.next()).await.ok()
            };
            match &change {
                Some(Some(Change::Secret(secret))) => due = due.max(self.publish_secret(secret)),
                Some(Some(Change::Structure)) => due = Due::Translation,
                Some(None) => return,
                None => {}
            }
            let settled =
                change.is_none() || clock.elapsed().saturating_sub(since) >= LONGEST_SETTLE;
            if due == Due::Nothing || !settled || !seen.is_complete() {
                continue;
            }
            if due == Due::Translation {
                self.publish(seen);
            }
            due = Due::Nothing;
            since = clock.elapsed();
            tell.send_replace(Some(self.all_problems()));
        }
    }

    /// The path of a rotation: from the watch straight to the streams. A verdict on the Secret that
    /// is another than before is to be reported.
    fn publish_secret(&mut self, secret: &Secret) -> Due {
        let key = (secret.namespace().unwrap_or_default(), secret.name_any());
        let Some(users) = self.users.get(&key) else {
            return Due::Nothing;
        };
        let changed = match self.usable(&key, Some(secret)) {
            Ok(resource) => {
                for user in &users.groups {
                    self.store.put_secret(user, resource.clone());
                }
                self.unusable.remove(&key).is_some()
            }
            Err(cause) => self.unusable.insert(key, cause.clone()) != Some(cause),
        };
        if changed { Due::Report } else { Due::Nothing }
    }

    /// The Secret as a resource, unless a proxy could not use it. The proxies then keep the one
    /// they have: an unusable secret must not take good ones down.
    fn usable(
        &self,
        (namespace, name): &Key,
        secret: Option<&Secret>,
    ) -> Result<Resource, Refusal> {
        let Some(secret) = secret else {
            let message = format!("there is no secret {namespace}/{name}");
            return Err(("SecretNotFound", message));
        };
        let now = self.outside.clock.now();
        Material::from_secret(secret)
            .and_then(|material| material.check_time(now).map(|()| material))
            .map(|material| secrets::resource(namespace, name, &material))
            .map_err(|error| {
                let message = format!(
                    "secret {namespace}/{name} is not used: {error}; the proxies keep what they have"
                );
                ("InvalidSecret", message)
            })
    }

    fn publish(&mut self, seen: &Seen) {
        self.users.clear();
        let mut problems = BTreeSet::new();
        let mut ready = BTreeMap::new();
        self.unusable.clear();
        // The others have no proxies.
        let mut gateways = in_order(&seen.gateways);
        gateways.retain(|gateway| gateway.namespace().as_deref() == Some(GATEWAY_NAMESPACE));
        let mut groups = BTreeSet::new();
        for gateway in &gateways {
            let Ok(id) = GatewayId::new(GATEWAY_NAMESPACE, &gateway.name_any()) else {
                continue;
            };
            for (group, bind) in self.groups(&id, gateway, &in_order(&seen.pods)) {
                problems.extend(self.publish_group(&group, gateway, bind, seen, &mut ready));
                groups.insert(group);
            }
        }
        for held in seen.servers.state() {
            if !gateways.iter().any(|g| selects(&held, &pod_labels(g))) {
                let message = "its selector matches no IstioGateway".to_owned();
                problems.insert(Problem::of(
                    held.as_ref(),
                    "Gateway",
                    ("NotSelected", message),
                ));
            }
        }
        self.problems = problems;
        for gone in self
            .store
            .gateways()
            .iter()
            .filter(|held| !groups.contains(held))
        {
            self.store.remove_gateway(gone);
        }
    }

    /// What the last translation and the Secrets seen since have against the objects.
    fn all_problems(&self) -> BTreeSet<Problem> {
        let unusable = self.unusable.iter().flat_map(|(key, (reason, message))| {
            let gateways = self.users.get(key).map(|users| &users.gateways);
            let gateways = gateways.into_iter().flatten();
            gateways.map(|(namespace, name)| Problem {
                kind: "Gateway",
                namespace: namespace.clone(),
                name: name.clone(),
                reason,
                message: message.clone(),
            })
        });
        self.problems.iter().cloned().chain(unusable).collect()
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
        &mut self,
        group: &GatewayId,
        gateway: &IstioGateway,
        bind: IpAddr,
        seen: &Seen,
        ready: &mut BTreeMap<Key, Option<Resource>>,
    ) -> Vec<Problem> {
        let answers = self.standing.borrow().answers.clone();
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
            answers: &answers,
            addresses: self.outside.network.pods,
            port_shift: self.outside.network.port_shift,
        });
        for (key, gateways) in output.secrets {
            let resource = if let Some(resource) = ready.get(&key) {
                resource.clone()
            } else {
                let held = seen.secrets.get(&ObjectRef::new(&key.1).within(&key.0));
                let judged = self.usable(&key, held.as_deref());
                let resource = judged
                    .map_err(|cause| self.unusable.insert(key.clone(), cause))
                    .ok();
                ready.insert(key.clone(), resource.clone());
                resource
            };
            if let Some(resource) = resource {
                self.store.put_secret(group, resource);
            }
            let users = self.users.entry(key).or_default();
            users.groups.insert(group.clone());
            users.gateways.extend(gateways);
        }
        self.store.set_kinds(group, &STRUCTURE, output.resources);
        self.store.mark_synced(group);
        output.problems
    }
}

#[cfg(test)]
mod tests;
