//! The network of a simulated world: who answers at which address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use gatewright::daemon::Daemon;
use gatewright::outside::{Probe, ProbeError};
use gatewright_aliyun::clb::{CLUSTER_TAG, OWNER_TAG};
use gatewright_seams::AddressMap;
use mock_acme::{Fetch, Fetched};
use mock_cloud::{ListenerStatus, MockCloud};
use tokio::sync::watch;

use super::proxy::{Answer, ModelProxy};

/// The cluster that leads to the daemon's answers to challenges, as the daemon names it.
const CHALLENGE_CLUSTER: &str = "gatewright-challenges";

/// Where the first replica answers challenges; the next ones have the ports after it.
const CHALLENGE_PORT: u16 = 8089;

/// The cluster whose daemon a laptop's is.
const CLUSTER: &str = "laptop";

/// A listener of one of our load balancers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Front {
    pub(crate) instance: String,
    /// The uid of its Service.
    pub(crate) owner: String,
    pub(crate) port: u16,
}

/// The running replicas of the daemon, by number.
#[derive(Clone, Default)]
pub(super) struct Daemons {
    running: BTreeMap<usize, (u64, Daemon)>,
    started: u64,
}

impl Daemons {
    fn set(&mut self, replica: usize, daemon: Option<Daemon>) {
        self.started += 1;
        match daemon {
            Some(daemon) => drop(self.running.insert(replica, (self.started, daemon))),
            None => drop(self.running.remove(&replica)),
        }
    }

    fn of(&self, replica: usize) -> Option<&Daemon> {
        self.running.get(&replica).map(|(_, daemon)| daemon)
    }

    /// The one that a proxy with the number `turn` connects to, with a number of its own.
    pub(super) fn choose(&self, turn: usize) -> Option<(u64, Daemon)> {
        let index = turn % self.running.len().max(1);
        self.running.values().nth(index).cloned()
    }

    /// Whether the daemon of this number, as [`Daemons::choose`] gave it, still runs.
    pub(super) fn has(&self, life: u64) -> bool {
        self.running.values().any(|(started, _)| *started == life)
    }
}

/// Where a replica's answers to challenges are: host and port.
pub(super) fn answers_of(replica: usize) -> (String, u16) {
    (
        Ipv4Addr::LOCALHOST.to_string(),
        CHALLENGE_PORT + u16::try_from(replica).unwrap_or(0),
    )
}

fn replica_at(port: u16) -> Option<usize> {
    port.checked_sub(CHALLENGE_PORT).map(usize::from)
}

/// Who is there. Both the daemon's probe and the certificate authority look through it.
pub struct World {
    cloud: OnceLock<MockCloud>,
    daemons: watch::Sender<Daemons>,
    proxies: Mutex<BTreeMap<IpAddr, Arc<ModelProxy>>>,
    /// How many connections each listener of a load balancer has taken.
    turns: Mutex<BTreeMap<SocketAddr, usize>>,
}

impl World {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            cloud: OnceLock::new(),
            daemons: watch::Sender::new(Daemons::default()),
            proxies: Mutex::default(),
            turns: Mutex::default(),
        })
    }

    pub(super) fn set_cloud(&self, cloud: MockCloud) {
        // There is one cloud for as long as the world lives.
        drop(self.cloud.set(cloud));
    }

    /// The replica of this number is another one now, or none.
    pub(super) fn set_daemon(&self, replica: usize, daemon: Option<Daemon>) {
        self.daemons
            .send_modify(|daemons| daemons.set(replica, daemon));
    }

    pub(super) fn daemons(&self) -> watch::Receiver<Daemons> {
        self.daemons.subscribe()
    }

    pub(super) fn add(&self, address: IpAddr, proxy: Arc<ModelProxy>) {
        self.with_proxies(|proxies| drop(proxies.insert(address, proxy)));
    }

    pub(super) fn remove(&self, address: IpAddr) {
        self.with_proxies(|proxies| drop(proxies.remove(&address)));
    }

    fn with_proxies<T>(&self, look: impl FnOnce(&mut BTreeMap<IpAddr, Arc<ModelProxy>>) -> T) -> T {
        look(&mut self.proxies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The Pods whose proxies run, by name.
    pub fn proxies(&self) -> Vec<String> {
        self.with_proxies(|proxies| proxies.values().map(|proxy| proxy.pod.clone()).collect())
    }

    /// The proxies that run, by name of their Pods.
    pub(crate) fn running(&self) -> Vec<Arc<ModelProxy>> {
        let mut all = self.with_proxies(|proxies| proxies.values().cloned().collect::<Vec<_>>());
        all.sort_by(|a, b| a.pod.cmp(&b.pod));
        all
    }

    /// The running listeners of our instances, each with the Pods behind it that take connections.
    pub(crate) fn reachable(&self) -> BTreeMap<Front, BTreeSet<String>> {
        let inventory = self
            .cloud
            .get()
            .map(MockCloud::inventory)
            .unwrap_or_default();
        let mut found = BTreeMap::new();
        for instance in inventory.instances.iter().filter(|held| held.active) {
            let Some(owner) = instance.tags.get(OWNER_TAG) else {
                continue;
            };
            let running = instance.listeners.iter();
            // A listener that is being changed goes on serving.
            let serving = [ListenerStatus::Running, ListenerStatus::Configuring];
            for listener in running.filter(|held| serving.contains(&held.status)) {
                let front = Front {
                    instance: instance.id.clone(),
                    owner: owner.clone(),
                    port: listener.port,
                };
                let pods = self.healthy(&listener.members).into_iter();
                found.insert(front, pods.map(|(proxy, _)| proxy.pod.clone()).collect());
            }
        }
        found
    }

    /// Where HTTPS is served: our load balancers' and the proxies' own ports, as the quickstart has
    /// them.
    pub(crate) fn https_addresses(&self) -> Vec<SocketAddr> {
        let inventory = self
            .cloud
            .get()
            .map(MockCloud::inventory)
            .unwrap_or_default();
        let balancers = inventory
            .instances
            .iter()
            .map(|i| SocketAddr::new(i.address, 443));
        let proxies = self.with_proxies(|proxies| proxies.keys().copied().collect::<Vec<IpAddr>>());
        balancers
            .chain(proxies.into_iter().map(|ip| SocketAddr::new(ip, 8443)))
            .collect()
    }

    /// Makes the proxy of `pod` answer nobody, or answer again.
    pub fn set_dark(&self, pod: &str, dark: bool) {
        self.with_proxies(|proxies| {
            for proxy in proxies.values().filter(|proxy| proxy.pod == pod) {
                proxy.set_dark(dark);
            }
        });
    }

    /// The running listeners of instances with `tag` that have no backend which takes connections.
    pub fn without_backend(&self, tag: &str) -> Vec<String> {
        let Some(cloud) = self.cloud.get() else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for instance in cloud.inventory().instances {
            if !instance.tags.contains_key(tag) {
                continue;
            }
            for listener in &instance.listeners {
                let running = listener.status == ListenerStatus::Running;
                if running && self.healthy(&listener.members).is_empty() {
                    found.push(format!("{} port {}", instance.id, listener.port));
                }
            }
        }
        found
    }

    /// The proxies behind `members` that get connections, with their ports.
    fn healthy(&self, members: &[mock_cloud::MemberView]) -> Vec<(Arc<ModelProxy>, u16)> {
        let mut found = Vec::new();
        for member in members.iter().filter(|member| member.weight > 0) {
            let Some(ip) = member.server_ip else { continue };
            let ip = AddressMap::Loopback.dial_ip(ip);
            let proxy = self.with_proxies(|proxies| proxies.get(&ip).cloned());
            found.extend(
                proxy
                    .filter(|proxy| proxy.listens(member.port))
                    .map(|p| (p, member.port)),
            );
        }
        found
    }

    /// Who takes a connection to `address`, and at which port.
    fn dial(&self, address: SocketAddr) -> Result<(Arc<ModelProxy>, u16), String> {
        if let Some(proxy) = self.with_proxies(|proxies| proxies.get(&address.ip()).cloned()) {
            return Ok((proxy, address.port()));
        }
        let inventory = self.cloud.get().ok_or("there is no cloud")?.inventory();
        let mut instances = inventory.instances.iter();
        let instance = instances
            .find(|instance| instance.address == address.ip())
            .ok_or_else(|| format!("nobody has the address {}", address.ip()))?;
        let listener = instance
            .listener(address.port())
            .filter(|listener| instance.active && listener.status == ListenerStatus::Running)
            .ok_or_else(|| format!("connection to {address} refused"))?;
        let backends = self.healthy(&listener.members);
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = turns.entry(address).or_default();
            *turn += 1;
            *turn
        };
        let count = backends.len().max(1);
        let backend = backends.into_iter().nth(turn % count);
        backend.ok_or_else(|| format!("{address} has no healthy backend"))
    }

    fn request(&self, address: SocketAddr, host: &str, path: &str) -> Result<(u16, Bytes), String> {
        let (proxy, port) = self.dial(address)?;
        match proxy.get(port, host, path)? {
            Answer::NotFound => Ok((404, Bytes::new())),
            Answer::Redirect => Ok((301, Bytes::new())),
            Answer::Cluster(name) if !proxy.has_cluster(&name) => Ok((503, Bytes::new())),
            Answer::Cluster(name) if name == CHALLENGE_CLUSTER => {
                let replica = proxy.address_of(&name).and_then(replica_at);
                let daemons = self.daemons.borrow();
                Ok(match replica.and_then(|replica| daemons.of(replica)) {
                    None => (503, Bytes::new()),
                    Some(daemon) => match daemon.challenges.get(path) {
                        Some(answer) => (200, Bytes::from(answer)),
                        None => (404, Bytes::new()),
                    },
                })
            }
            Answer::Cluster(_) => Ok((200, Bytes::from_static(b"hello"))),
        }
    }

    fn validate(&self, host: &str, path: &str) -> Result<Fetched, String> {
        let inventory = self.cloud.get().ok_or("there is no cloud")?.inventory();
        let public = inventory.instances.iter().filter(|instance| {
            let listener = instance.listener(80);
            // Names lead to this cluster's load balancers, whatever else the account has.
            instance.internet
                && instance
                    .tags
                    .get(CLUSTER_TAG)
                    .is_some_and(|cluster| cluster == CLUSTER)
                && listener.is_some_and(|listener| listener.status == ListenerStatus::Running)
        });
        // A name leads to the gateway that serves it, which is the one that knows an answer.
        let mut found = Err(format!("no address is known for {host}"));
        for instance in public {
            let answer = self.request(SocketAddr::new(instance.address, 80), host, path);
            let known = matches!(&answer, Ok((status, _)) if *status != 404);
            if known || found.is_err() {
                found = answer;
            }
            if known {
                break;
            }
        }
        found.map(|(status, body)| Fetched { status, body })
    }
}

/// Looks at model proxies, directly and through model load balancers.
pub(super) struct ModelProbe(pub(super) Arc<World>);

impl Probe for ModelProbe {
    fn leaf<'a>(
        &'a self,
        address: SocketAddr,
        server_name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<u8>, ProbeError>> {
        async move {
            let (proxy, port) = self.0.dial(address).map_err(ProbeError::Connect)?;
            if !proxy.listens(port) {
                return Err(ProbeError::Connect("connection refused".into()));
            }
            proxy.leaf(port, server_name).map_err(ProbeError::Tls)
        }
        .boxed()
    }

    fn get<'a>(
        &'a self,
        address: SocketAddr,
        host: &'a str,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(u16, Bytes), ProbeError>> {
        async move {
            self.0
                .request(address, host, path)
                .map_err(ProbeError::Connect)
        }
        .boxed()
    }
}

/// The certificate authority's view: every name is at the first public load balancer.
pub(super) struct ModelFetch(pub(super) Arc<World>);

impl Fetch for ModelFetch {
    fn get(&self, host: &str, path: &str) -> BoxFuture<'_, Result<Fetched, String>> {
        let answer = self.0.validate(host, path);
        async move { answer }.boxed()
    }
}
