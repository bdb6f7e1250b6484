//! A whole world in one process: the embedded API server, the mock cloud, the mock certificate
//! authority, and the local runner. `dev` runs in it, and so do the scenario and end-to-end tests.
//!
//! The daemon is started in it, not part of it: it can be killed and started anew while the world
//! goes on.

mod slot;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gatewright_aliyun::clb::{Clb, ClbOptions};
use gatewright_aliyun::{Client, ClientOptions, Credentials};
use gatewright_core::ClusterName;
use gatewright_seams::{AddressMap, Clock, Random, Tasks};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::discovery::ApiResource;
use local_kube::LocalKube;
use mock_acme::{HttpFetch, MockAcme};
use mock_cloud::{AccessKey, DataPlane, MockCloud};
use serde_json::json;
use tokio::net::TcpListener;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::daemon::{Config, Daemon, Sockets, StartError};
use crate::kubernetes::Events;
use crate::outside::{Network, Outside, Probe, Transport};
use crate::probe::NetworkProbe;
use crate::runner::{PROXY_IMAGE, Runner};

pub use slot::Slot;

/// The host name under which the mock certificate authority is reached from inside.
pub const ACME_HOST: &str = "acme.gatewright.test";
/// Where the daemon's own objects are.
pub const NAMESPACE: &str = "gatewright-system";
/// The cloud's region.
pub const REGION: &str = "cn-hangzhou";
const XDS_PORT: u16 = 15012;
const CHALLENGE_PORT: u16 = 8089;
const DEFAULT_SUBNET: &str = "vsw-laptop";

/// Where a laptop's state is kept.
#[derive(Clone)]
pub enum Storage {
    /// In memory: gone with the laptop.
    Memory,
    /// In files of this directory.
    Directory(PathBuf),
    /// In memory; the API server begins as this copy of one that was prepared
    /// ([`Laptop::prepare`]).
    Prepared(local_kube::Snapshot),
}

/// How a laptop is laid out.
#[derive(Clone)]
pub struct Layout {
    pub storage: Storage,
    /// Added to the ports of load balancers.
    pub port_shift: u16,
    /// The cloud's key pair, which the daemon signs with.
    pub access_key: AccessKey,
    pub certificate_lifetime: Duration,
    pub audit_interval: Duration,
}

/// Why the world could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaptopError {
    #[error("starting the embedded API server: {0}")]
    Kube(#[from] local_kube::Error),
    #[error("starting the mock cloud: {}", with_source(.0))]
    Cloud(#[from] mock_cloud::Error),
    #[error("starting the mock certificate authority: {0}")]
    Acme(#[from] mock_acme::Error),
    #[error("directory {0}")]
    Directory(PathBuf, #[source] io::Error),
    #[error("listening at {0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("preparing the API server: {0}")]
    Prepare(#[from] kube::Error),
    #[error("reading objects: {0}")]
    Definitions(String),
    #[error("no free range of loopback addresses: {0} are in use")]
    NoSlot(String),
    #[error("{0}")]
    Daemon(#[from] StartError),
    #[error("preparing TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the cloud's endpoint: {0}")]
    Endpoint(#[from] http::uri::InvalidUri),
}

fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The world without the daemon.
#[derive(Clone)]
pub struct Laptop {
    pub clock: Clock,
    pub random: Random,
    /// Everything of the world ends with these; the daemon has its own.
    pub tasks: Tasks,
    pub kube: LocalKube,
    pub cloud: MockCloud,
    pub acme: MockAcme,
    /// The loopback addresses of this world; none without sockets.
    pub slot: Option<Arc<Slot>>,
    layout: Layout,
}

impl Laptop {
    /// Starts the world. With a `slot` it has sockets, without it is all in memory and `validator`
    /// answers the authority's questions.
    ///
    /// # Errors
    /// The state cannot be read, or an address is in use.
    pub async fn start(
        layout: Layout,
        slot: Option<Slot>,
        validator: Option<Arc<dyn mock_acme::Fetch>>,
        (clock, random, tasks): (Clock, Random, Tasks),
    ) -> Result<Self, LaptopError> {
        let directory = match &layout.storage {
            Storage::Directory(directory) => Some(directory),
            Storage::Memory | Storage::Prepared(_) => None,
        };
        let file = |name: &str| directory.map(|directory| directory.join(name));
        if let Some(directory) = directory {
            std::fs::create_dir_all(directory)
                .map_err(|error| LaptopError::Directory(directory.clone(), error))?;
        }
        let kube = LocalKube::start(local_kube::Options {
            storage: match &layout.storage {
                Storage::Prepared(snapshot) => local_kube::Storage::Copy(snapshot.clone()),
                Storage::Memory => local_kube::Storage::Memory,
                Storage::Directory(directory) => {
                    local_kube::Storage::File(directory.join("kube.redb"))
                }
            },
            clock,
            random: random.child("kube"),
            tasks: tasks.clone(),
        })
        .await?;
        let data_plane = slot
            .as_ref()
            .map_or(DataPlane::Off, |slot| DataPlane::Sockets {
                network: slot.load_balancers(),
                port_shift: layout.port_shift,
                addresses: AddressMap::Loopback,
            });
        let cloud = MockCloud::start(mock_cloud::Options {
            storage: file("cloud.json")
                .map_or(mock_cloud::Storage::Memory, mock_cloud::Storage::File),
            clock,
            random: random.child("cloud"),
            tasks: tasks.clone(),
            region: REGION.into(),
            access_keys: vec![layout.access_key.clone()],
            data_plane,
        })
        .await?;
        let resolving = cloud.clone();
        let validator = validator.unwrap_or_else(|| {
            // The laptop's DNS: every name is at the first public load balancer with a port 80.
            Arc::new(HttpFetch {
                resolver: Arc::new(move |_| public_http(&resolving)),
            })
        });
        let acme = MockAcme::start(mock_acme::Options {
            storage: file("acme.json").map_or(mock_acme::Storage::Memory, mock_acme::Storage::File),
            clock,
            random: random.child("acme"),
            tasks: tasks.clone(),
            base_url: format!("https://{ACME_HOST}"),
            validator,
            certificate_lifetime: layout.certificate_lifetime,
        })
        .await?;
        let slot = slot.map(Arc::new);
        Ok(Self {
            clock,
            random,
            tasks,
            kube,
            cloud,
            acme,
            slot,
            layout,
        })
    }

    /// A world for tests of one part: in memory, on a paused clock, the kinds installed.
    #[cfg(test)]
    pub(crate) async fn in_memory() -> Self {
        let layout = Layout {
            storage: Storage::Memory,
            port_shift: 0,
            access_key: AccessKey {
                id: "id".into(),
                secret: "secret".into(),
            },
            certificate_lifetime: Duration::from_hours(24),
            audit_interval: Duration::from_hours(1),
        };
        let start = jiff::Timestamp::from_second(1_893_456_000).unwrap_or_default();
        let seams = (Clock::starting_at(start), Random::seeded(1), Tasks::new());
        let laptop = Self::start(layout, None, None, seams).await;
        let laptop = laptop.expect("a laptop in memory");
        laptop.prepare().await.expect("the kinds");
        laptop
    }

    /// A client of the embedded API server, without a socket.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.kube.service(), "default")
    }

    /// Installs the kinds and what a fresh cluster would have: namespaces and the one node.
    ///
    /// # Errors
    /// The API server refuses, or a kind is not served within ten seconds.
    pub async fn prepare(&self) -> Result<(), LaptopError> {
        let client = self.client();
        let definitions =
            gatewright_crds::all().map_err(|error| LaptopError::Definitions(error.to_string()))?;
        for definition in &definitions {
            let object = serde_json::to_value(definition).map_err(kube::Error::SerdeError)?;
            apply_object(&client, object).await?;
        }
        let named = |kind: &str, name: &str| json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name } });
        for namespace in [NAMESPACE, "istio-system"] {
            apply_object(&client, named("Namespace", namespace)).await?;
        }
        apply_object(&client, named("Node", crate::runner::NODE)).await?;
        let end = self.clock.elapsed() + Duration::from_secs(10);
        loop {
            let gateways: Api<gatewright_crds::istio_gateway::IstioGateway> =
                Api::all(client.clone());
            let services: Api<gatewright_crds::istio::VirtualService> = Api::all(client.clone());
            let list = kube::api::ListParams::default().limit(1);
            let served = (gateways.list(&list).await, services.list(&list).await);
            match served {
                (Ok(_), Ok(_)) => return Ok(()),
                (Err(error), _) | (_, Err(error)) if self.clock.elapsed() >= end => {
                    return Err(error.into());
                }
                _ => self.clock.sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// The configuration of a daemon in this world.
    pub fn config(&self) -> Config {
        let host = self
            .slot
            .as_ref()
            .map_or(Ipv4Addr::LOCALHOST, |slot| slot.daemon())
            .to_string();
        Config {
            namespace: NAMESPACE.into(),
            proxy_image: format!("{PROXY_IMAGE}:{}", env!("CARGO_PKG_VERSION")),
            xds_address: (host.clone(), XDS_PORT),
            challenge_address: (host, CHALLENGE_PORT),
            audit_interval: self.layout.audit_interval,
            manage_certificates: true,
            election: None,
        }
    }

    /// The cloud as a transport, without a socket.
    pub fn cloud_transport(&self) -> Transport {
        BoxCloneSyncService::new(self.cloud.service())
    }

    /// The certificate authority as a transport, without a socket; other hosts are unreachable.
    pub fn acme_transport(&self) -> Transport {
        let acme = self.acme.service();
        BoxCloneSyncService::new(tower::service_fn(
            move |request: http::Request<bytes::Bytes>| {
                let acme = acme.clone();
                async move {
                    match request.uri().host() {
                        Some(ACME_HOST) => acme.oneshot(request).await,
                        host => {
                            let host = host.unwrap_or("no host").to_owned();
                            Err(format!("{host} cannot be reached from this laptop").into())
                        }
                    }
                }
            },
        ))
    }

    /// What a daemon reaches outside through: everything in process, the network real. Its tasks
    /// are its own, so that it can be killed alone.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn outside(&self, tasks: Tasks) -> Result<Outside, LaptopError> {
        let probe = Arc::new(NetworkProbe::new(self.clock)?);
        self.outside_through(tasks, self.cloud_transport(), probe)
    }

    /// As [`Laptop::outside`], with another way to the cloud and another probe: for tests that
    /// stand in between.
    ///
    /// # Errors
    /// The cloud's endpoint is no URL.
    pub fn outside_through(
        &self,
        tasks: Tasks,
        cloud: Transport,
        probe: Arc<dyn Probe>,
    ) -> Result<Outside, LaptopError> {
        let key = &self.layout.access_key;
        let credentials = Credentials::new(key.id.clone(), key.secret.clone());
        let options =
            ClientOptions::new(credentials, REGION, "http://slb.gatewright.test".parse()?);
        // Each life of a daemon has numbers of its own: the cloud refuses a nonce that it has seen.
        let random = self.random.child(&self.random.hex(8));
        let client = Client::new(options, cloud, self.clock, random.child("calls"));
        let mut clb = ClbOptions::new(ClusterName::from("laptop"));
        clb.default_subnet = Some(DEFAULT_SUBNET.into());
        let kube = self.client();
        Ok(Outside {
            clock: self.clock,
            random,
            tasks,
            events: Events::new(kube.clone(), self.clock),
            kube,
            load_balancers: Some(Arc::new(Clb::new(client, clb))),
            acme: self.acme_transport(),
            probe,
            network: Network {
                pods: AddressMap::Loopback,
                port_shift: self.layout.port_shift,
            },
        })
    }

    /// Starts a daemon, with sockets if the world has any.
    ///
    /// # Errors
    /// A socket is in use, or the API server cannot be reached.
    pub async fn start_daemon(&self, outside: &Outside) -> Result<Daemon, LaptopError> {
        let sockets = match &self.slot {
            None => None,
            Some(slot) => Some(Sockets {
                xds: listen(SocketAddr::new(slot.daemon().into(), XDS_PORT)).await?,
                challenges: listen(SocketAddr::new(slot.daemon().into(), CHALLENGE_PORT)).await?,
            }),
        };
        Ok(Daemon::start(outside, &self.config(), sockets).await?)
    }

    /// Starts what turns Deployments into Envoy processes. Needs sockets.
    pub fn start_runner(&self, envoy: &Path, directory: &Path) {
        let Some(slot) = &self.slot else { return };
        let runner = Runner {
            kube: self.client(),
            clock: self.clock,
            random: self.random.clone(),
            tasks: self.tasks.clone(),
            envoy: envoy.to_owned(),
            directory: directory.to_owned(),
            first_address: slot.first_pod(),
        };
        runner.start(true);
    }
}

/// Binds `address`.
///
/// # Errors
/// It is in use or not allowed.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, LaptopError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| LaptopError::Listen(address, error))
}

/// The first public load balancer address with a running listener on port 80.
fn public_http(cloud: &MockCloud) -> Option<SocketAddr> {
    let inventory = cloud.inventory();
    let mut public = inventory
        .instances
        .iter()
        .filter(|instance| instance.internet);
    public.find_map(|instance| instance.listener(80)?.socket)
}

/// Applies any object, as `kubectl apply --server-side` does.
///
/// # Errors
/// The object names no kind, or the API server refuses it.
pub async fn apply_object(
    client: &kube::Client,
    object: serde_json::Value,
) -> kube::Result<DynamicObject> {
    let object: DynamicObject = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    let types = object.types.clone().unwrap_or_default();
    let (group, version) = types
        .api_version
        .split_once('/')
        .unwrap_or(("", &types.api_version));
    let kind = kube::core::GroupVersionKind::gvk(group, version, &types.kind);
    // Every kind in use has a regular plural; discovery would cost a request for each object.
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = match object.metadata.namespace.as_deref() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let name = object.metadata.name.clone().unwrap_or_default();
    let params = PatchParams::apply("gatewright-dev")
        .force()
        .validation_strict();
    api.patch(&name, &params, &Patch::Apply(&object)).await
}

/// Applies every document of `yaml`, in order.
///
/// # Errors
/// The text is no YAML, or the API server refuses an object.
pub async fn apply_yaml(client: &kube::Client, yaml: &str) -> Result<(), LaptopError> {
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(yaml)
        .map_err(|error| LaptopError::Definitions(error.to_string()))?;
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        apply_object(client, document).await?;
    }
    Ok(())
}

/// Where a load balancer of the world is reached: its address and shifted port.
pub fn shifted(address: IpAddr, port: u16, shift: u16) -> SocketAddr {
    SocketAddr::new(address, port.saturating_add(shift))
}
