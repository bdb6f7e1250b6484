//! The network of a simulated world: who answers at which address.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use gatewright::daemon::Daemon;
use gatewright::outside::{Probe, ProbeError};
use gatewright_aliyun::clb::CLUSTER_TAG;
use gatewright_seams::AddressMap;
use mock_acme::{Fetch, Fetched};
use mock_cloud::{ListenerStatus, MockCloud};
use tokio::sync::watch;

use super::proxy::{Answer, ModelProxy};

/// The cluster that leads to the daemon's answers to challenges, as the daemon names it.
const CHALLENGE_CLUSTER: &str = "gatewright-challenges";

/// The cluster whose daemon a laptop's is.
const CLUSTER: &str = "laptop";

/// Who is there. Both the daemon's probe and the certificate authority look through it.
pub struct World {
    cloud: OnceLock<MockCloud>,
    daemon: watch::Sender<Option<Daemon>>,
    proxies: Mutex<BTreeMap<IpAddr, Arc<ModelProxy>>>,
    /// How many connections each listener of a load balancer has taken.
    turns: Mutex<BTreeMap<SocketAddr, usize>>,
}

impl World {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            cloud: OnceLock::new(),
            daemon: watch::Sender::new(None),
            proxies: Mutex::default(),
            turns: Mutex::default(),
        })
    }

    pub(super) fn set_cloud(&self, cloud: MockCloud) {
        // There is one cloud for as long as the world lives.
        drop(self.cloud.set(cloud));
    }

    pub(super) fn set_daemon(&self, daemon: Option<Daemon>) {
        self.daemon.send_replace(daemon);
    }

    pub(super) fn daemons(&self) -> watch::Receiver<Option<Daemon>> {
        self.daemon.subscribe()
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

    /// Where HTTPS is served: our load balancers' and the proxies' own ports, as the quickstart has
    /// them.
    pub(super) fn https_addresses(&self) -> Vec<SocketAddr> {
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
                let daemon = self.daemon.borrow().clone();
                Ok(match daemon {
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
        let mut public = inventory.instances.iter().filter(|instance| {
            let listener = instance.listener(80);
            // Names lead to this cluster's load balancers, whatever else the account has.
            instance.internet
                && instance
                    .tags
                    .get(CLUSTER_TAG)
                    .is_some_and(|cluster| cluster == CLUSTER)
                && listener.is_some_and(|listener| listener.status == ListenerStatus::Running)
        });
        let address = public
            .next()
            .ok_or_else(|| format!("no address is known for {host}"))?;
        let address = SocketAddr::new(address.address, 80);
        let (status, body) = self.request(address, host, path)?;
        Ok(Fetched { status, body })
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
