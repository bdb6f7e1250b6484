//! A whole world in one thread on tokio's paused clock: the embedded API server, the mock cloud and
//! the mock certificate authority in memory, model proxies in place of Envoys, and the daemon.
//!
//! The same seed gives the same history.

mod crossing;
mod kubelet;
mod network;
mod proxy;
mod shape;
mod waits;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use gatewright::daemon::{Daemon, StartError};
use gatewright::kubernetes::Events;
use gatewright::laptop::{Laptop, Layout, NAMESPACE, REGION, Storage, apply_object, apply_yaml};
use gatewright::leader::Election;
use gatewright::outside::{Outside, Probe};
use gatewright::runner::Runner;
use gatewright_aliyun::clb::{Clb, ClbOptions};
use gatewright_aliyun::{Client, ClientOptions, Credentials};
use gatewright_core::{
    AddressType, ClusterName, Desired, IdempotencyToken, LoadBalancers, OwnerKey, plan,
};
use gatewright_crds::cert_manager::{Certificate, names};
use gatewright_crds::conditions;
use gatewright_seams::{Clock, Random, Tasks};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use local_kube::Snapshot;
use mock_cloud::AccessKey;
use serde_json::{Value, json};

use crate::quickstart::{EXAMPLES, INTERNAL, PUBLIC};
use network::Network;
use world::{ModelFetch, ModelProbe};

pub use crossing::{Crossings, KubeFault, Side, Switch};
pub use shape::{OWNER_TAG, shape};
pub(crate) use world::Front;
pub use world::World;

/// The key pair of every simulated world. The secret is one that a search of logs finds.
pub const ACCESS_KEY: (&str, &str) = ("sim-key-id", "sim-secret-7c9e2f41b8");
/// Where the quickstart's objects are.
pub const GATEWAY_NAMESPACE: &str = "istio-system";

/// Writes the daemon's log to the test's output when `GATEWRIGHT_LOG` is set (e.g. `info`).
pub fn log() {
    if let Ok(filter) = std::env::var("GATEWRIGHT_LOG") {
        let made = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
        // Another test of this program was first.
        drop(made);
    }
}

/// How a [`Sim`] differs from the usual.
#[derive(Clone, Debug)]
pub struct SimOptions {
    pub seed: u64,
    pub audit_interval: Duration,
    pub certificate_lifetime: Duration,
    /// How many daemons there may be. Of several, one is chosen to write.
    pub replicas: usize,
    /// Whether requests take their time, each its own: without, all arrive at once.
    pub network: bool,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            // Far away: calls of an audit are no part of what most tests count.
            audit_interval: Duration::from_hours(24 * 365),
            certificate_lifetime: mock_acme::DEFAULT_LIFETIME,
            replicas: 1,
            network: false,
        }
    }
}

/// What a replica of the daemon sends, over all its lives.
#[derive(Clone, Debug, Default)]
pub struct Gates {
    /// To the cloud.
    pub cloud: Crossings,
    /// To ACME servers.
    pub acme: Crossings,
    /// To the API server.
    pub kube: Crossings,
}

impl Gates {
    fn over(replica: usize, network: Option<&Network>) -> Self {
        let gate = || Crossings::over(&format!("replica {replica}"), network);
        Self {
            cloud: gate(),
            acme: gate(),
            kube: gate(),
        }
    }
}

/// A simulated world. Everything stops when it is dropped.
pub struct Sim {
    pub laptop: Laptop,
    pub kube: kube::Client,
    pub world: Arc<World>,
    /// The first replica's calls to the cloud.
    pub cloud_calls: Crossings,
    /// Its requests to ACME servers.
    pub acme_calls: Crossings,
    /// Its requests to the API server.
    pub kube_calls: Crossings,
    /// What each replica sends; the first one's are those above.
    pub gates: Vec<Gates>,
    /// The load balancers of [`Sim::add_foreign`].
    pub(crate) foreign: BTreeSet<String>,
    /// Which cloud the daemon reaches.
    pub cloud: Switch,
    /// What the daemon reaches as the internet.
    pub internet: Switch,
    running: BTreeMap<usize, (Outside, Daemon)>,
}

async fn laptop(options: &SimOptions, storage: Storage, world: &Arc<World>) -> Laptop {
    let layout = Layout {
        storage,
        port_shift: 0,
        access_key: AccessKey {
            id: ACCESS_KEY.0.into(),
            secret: ACCESS_KEY.1.into(),
        },
        certificate_lifetime: options.certificate_lifetime,
        audit_interval: options.audit_interval,
    };
    let clock = Clock::starting_at("2030-01-01T00:00:00Z".parse().expect("a time"));
    let seams = (clock, Random::seeded(options.seed), Tasks::new());
    let fetch = Arc::new(ModelFetch(world.clone()));
    let laptop = Laptop::start(layout, None, Some(fetch), seams).await;
    laptop.expect("a world")
}

/// Makes the replicas' Lease, held by nobody: without one, the first waits to be sure of that.
async fn free_lease(kube: &kube::Client) {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": "gatewright", "namespace": NAMESPACE },
    });
    apply_object(kube, lease).await.expect("a Lease");
}

/// What every world's API server has at first: the kinds and namespaces. It is made once, in a thread
/// with a clock of its own: to define the kinds costs a quarter of a history.
fn prepared() -> Snapshot {
    static PREPARED: OnceLock<Snapshot> = OnceLock::new();
    let make = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let options = SimOptions::default();
            let laptop = laptop(&options, Storage::Memory, &World::new()).await;
            laptop.prepare().await.expect("kinds and namespaces");
            laptop.kube.snapshot()
        })
    };
    let made = || thread::scope(|scope| scope.spawn(make).join());
    PREPARED
        .get_or_init(|| made().expect("an API server"))
        .clone()
}

impl Sim {
    /// A world with a daemon and no objects.
    pub async fn start() -> Self {
        Self::start_with(SimOptions::default()).await
    }

    pub async fn start_with(options: SimOptions) -> Self {
        let mut sim = Self::without_daemon(options).await;
        sim.start_daemon().await;
        sim
    }

    /// A world whose daemon is not there yet.
    pub async fn without_daemon(options: SimOptions) -> Self {
        log();
        let world = World::new();
        let laptop = laptop(&options, Storage::Prepared(prepared()), &world).await;
        let clock = laptop.clock;
        world.set_cloud(laptop.cloud.clone());
        if options.replicas > 1 {
            free_lease(&laptop.client()).await;
        }
        let network = options.network.then(|| Network::new(clock, options.seed));
        if let Some(network) = network.clone() {
            laptop.tasks.spawn("network", network.run());
        }
        let gates = 0..options.replicas.max(1);
        let gates: Vec<Gates> = gates
            .map(|replica| Gates::over(replica, network.as_ref()))
            .collect();
        let kube = laptop.client();
        let world_kube =
            Crossings::over("world", network.as_ref()).client(laptop.kube.service(), clock);
        let tasks = laptop.tasks.clone();
        let controllers = Runner {
            kube: world_kube.clone(),
            clock,
            random: laptop.random.child("runner"),
            tasks: tasks.clone(),
            envoy: PathBuf::new(),
            directory: PathBuf::new(),
            first_address: [10, 65, 0, 1].into(),
        };
        controllers.start_controllers();
        let kubelet = kubelet::Kubelet::new(world_kube, clock, tasks.clone(), world.clone());
        tasks.spawn("model kubelet", kubelet.run());
        Self {
            cloud: Switch::new(laptop.cloud_transport()),
            internet: Switch::new(laptop.acme_transport()),
            cloud_calls: gates[0].cloud.clone(),
            acme_calls: gates[0].acme.clone(),
            kube_calls: gates[0].kube.clone(),
            gates,
            laptop,
            kube,
            world,
            foreign: BTreeSet::new(),
            running: BTreeMap::new(),
        }
    }

    /// The world of the quickstart, up and served.
    pub async fn quickstart() -> Self {
        Self::quickstart_with(SimOptions::default()).await
    }

    pub async fn quickstart_with(options: SimOptions) -> Self {
        let sim = Self::start_with(options).await;
        sim.apply_quickstart().await;
        sim.wait_balanced(2).await;
        sim.wait_served().await;
        sim
    }

    /// Starts the daemon, as a process that knows nothing of an earlier one.
    pub async fn start_daemon(&mut self) {
        self.start_replica(0).await.expect("a daemon");
    }

    /// Starts a replica of the daemon, as a process that knows nothing of an earlier one.
    ///
    /// # Errors
    /// It does not start: the API server does not answer it.
    pub async fn start_replica(&mut self, replica: usize) -> Result<(), StartError> {
        let gates = &self.gates[replica];
        let probe = Arc::new(ModelProbe(self.world.clone()));
        let cloud = gates.cloud.through(&self.cloud, crossing::action);
        let mut outside = self
            .laptop
            .outside_through(Tasks::new(), cloud, probe)
            .expect("ways outside");
        outside.acme = gates.acme.through(&self.internet, crossing::resource);
        outside.kube = gates.kube.client(self.laptop.kube.service(), *self.clock());
        outside.events = Events::new(outside.kube.clone(), outside.clock);
        let mut config = self.laptop.config();
        config.challenge_address = world::answers_of(replica);
        config.election = (self.gates.len() > 1).then(|| Election {
            // A virtual day is cheaper with few renewals.
            duration: Duration::from_secs(30),
            deadline: Duration::from_secs(20),
            retry: Duration::from_secs(5),
            ..Election::new(format!("replica-{replica}"))
        });
        let daemon = Daemon::start(&outside, &config, None).await?;
        self.world.set_daemon(replica, Some(daemon.clone()));
        self.running.insert(replica, (outside, daemon));
        Ok(())
    }

    /// Ends the daemon where it stands. What it has sent arrives; what was to come back is lost.
    pub fn kill_daemon(&mut self) {
        self.kill_replica(0);
    }

    /// Ends a replica where it stands, if it runs.
    pub fn kill_replica(&mut self, replica: usize) {
        if let Some((outside, _)) = self.running.remove(&replica) {
            outside.tasks.cancel();
        }
        self.world.set_daemon(replica, None);
    }

    /// Whether the replica runs.
    pub fn runs(&self, replica: usize) -> bool {
        self.running.contains_key(&replica)
    }

    /// The running daemon.
    pub fn daemon(&self) -> &Daemon {
        let (_, daemon) = self.running.get(&0).expect("a running daemon");
        daemon
    }

    pub fn clock(&self) -> &Clock {
        &self.laptop.clock
    }

    /// Lets virtual time pass.
    pub async fn pass(&self, time: Duration) {
        self.clock().sleep(time).await;
        self.check_tasks();
    }

    /// Lets virtual time pass at once, as for a machine that was asleep: what would have happened
    /// several times meanwhile happens once. Costs next to no real time.
    pub async fn leap(&self, time: Duration) {
        tokio::time::advance(time).await;
        self.pass(Duration::from_secs(1)).await;
    }

    /// The part of the world or of a replica that panicked, if one did.
    pub fn failed(&self) -> Option<&'static str> {
        let mut daemons = self.running.values();
        let daemon = daemons.find_map(|(outside, _)| outside.tasks.failed());
        daemon.or_else(|| self.laptop.tasks.failed())
    }

    fn check_tasks(&self) {
        let failed = self.failed();
        assert!(failed.is_none(), "task {failed:?} panicked");
    }

    /// Cuts every watch and forgets the history, so that every watcher has to list again.
    pub async fn resync(&self) {
        // A watcher that has seen the newest revision could resume: there has to be a newer one.
        let now = self.clock().now().to_string();
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": "unrelated", "namespace": "default" },
            "data": { "now": now },
        });
        self.apply(object).await.expect("a newer revision");
        self.laptop.kube.faults().expire_history();
        self.laptop.kube.faults().cut_watches();
    }

    /// Applies the objects of the quickstart that make load balancers and proxies.
    pub async fn apply_gateway(&self) {
        for yaml in &EXAMPLES[..2] {
            apply_yaml(&self.kube, yaml)
                .await
                .expect("an object of the quickstart");
        }
    }

    /// Applies all objects of the quickstart.
    pub async fn apply_quickstart(&self) {
        for yaml in EXAMPLES {
            apply_yaml(&self.kube, yaml)
                .await
                .expect("an object of the quickstart");
        }
    }

    /// Applies any object as a user does.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn apply(&self, object: Value) -> kube::Result<()> {
        apply_object(&self.kube, object).await.map(drop)
    }

    /// Sets the number of proxies of the quickstart's gateway.
    pub async fn scale(&self, replicas: i32) {
        let api: Api<gatewright_crds::IstioGateway> =
            Api::namespaced(self.kube.clone(), GATEWAY_NAMESPACE);
        let patch = Patch::Merge(json!({ "spec": { "replicaCount": replicas } }));
        api.patch("ingressgateway", &PatchParams::default(), &patch)
            .await
            .expect("a scaled gateway");
    }

    /// Deletes what [`Sim::apply_gateway`] applied.
    pub async fn delete_gateway(&self) {
        let gateways: Api<gatewright_crds::IstioGateway> =
            Api::namespaced(self.kube.clone(), GATEWAY_NAMESPACE);
        let services: Api<Service> = Api::namespaced(self.kube.clone(), GATEWAY_NAMESPACE);
        let params = DeleteParams::default();
        gateways
            .delete("ingressgateway", &params)
            .await
            .map(drop)
            .expect("a deleted gateway");
        services
            .delete(INTERNAL, &params)
            .await
            .map(drop)
            .expect("a deleted service");
    }

    /// The owner key of a Service of the quickstart's namespace: its UID.
    pub async fn owner(&self, service: &str) -> OwnerKey {
        let api: Api<Service> = Api::namespaced(self.kube.clone(), GATEWAY_NAMESPACE);
        let held = api.get(service).await.expect("the service");
        OwnerKey::new(held.metadata.uid.expect("a uid"))
    }

    /// Another cluster's load balancer, which is nobody's business here.
    pub async fn add_foreign(&mut self) {
        let owner = OwnerKey::from("0b51c1c8-6f0e-4d6e-9a5c-1f2f3f4f5f6f");
        let clb = self.by_hand("another");
        let mut observed = clb.observe(&owner).await.expect("a look");
        let wanted = Desired::new(owner, AddressType::Internet);
        for step in plan(Some(&wanted), &observed, self.clock().now()).steps {
            let token = IdempotencyToken::new(&observed.owner, 0, &step.action);
            clb.apply(&step, &mut observed, &token)
                .await
                .expect("a load balancer");
        }
        let all = self.laptop.cloud.inventory().instances;
        self.foreign.extend(all.into_iter().map(|held| held.id));
    }

    /// Whether there is the quickstart's IstioGateway.
    pub(crate) async fn gateway_exists(&self) -> bool {
        let api: Api<gatewright_crds::IstioGateway> =
            Api::namespaced(self.kube.clone(), GATEWAY_NAMESPACE);
        let held = api.get_opt("ingressgateway").await.expect("an answer");
        held.is_some()
    }

    /// The leaf (DER) that a client sees at `address`; none when it is not answered.
    pub(crate) async fn leaf_at(&self, address: SocketAddr, server_name: &str) -> Option<Vec<u8>> {
        ModelProbe(self.world.clone())
            .leaf(address, server_name)
            .await
            .ok()
    }

    /// The cloud as somebody else with the same key reaches it, for cluster `cluster`. Its calls are
    /// in the cloud's ledger and not among [`Sim::cloud_calls`].
    pub fn by_hand(&self, cluster: &str) -> Clb {
        let credentials = Credentials::new(ACCESS_KEY.0, ACCESS_KEY.1);
        let endpoint = "http://slb.gatewright.test".parse().expect("a url");
        let options = ClientOptions::new(credentials, REGION, endpoint);
        // Each of its own: the cloud refuses a nonce that it has seen.
        let random = self.laptop.random.child(&self.laptop.random.hex(8));
        let client = Client::new(
            options,
            self.laptop.cloud_transport(),
            *self.clock(),
            random,
        );
        Clb::new(client, ClbOptions::new(ClusterName::from(cluster)))
    }

    /// The serials (lower-case hex) that clients see at every load balancer and every proxy that
    /// listens on the HTTPS port, one connection each.
    pub async fn leaf_everywhere(&self, server_name: &str) -> Vec<String> {
        let probe = ModelProbe(self.world.clone());
        let mut serials = Vec::new();
        for address in self.world.https_addresses() {
            let der = probe.leaf(address, server_name).await;
            let der = der.unwrap_or_else(|error| panic!("{address}: {error}"));
            let leaf = gatewright::certificate::Leaf::from_der(&der).expect("a certificate");
            serials.push(leaf.serial);
        }
        serials
    }

    /// All events: kind and name of the object, reason, note.
    pub async fn events(&self) -> Vec<String> {
        let events: Api<Event> = Api::all(self.kube.clone());
        let events = events.list(&ListParams::default()).await.expect("events");
        let words = events.items.into_iter().map(|event| {
            let about = event.regarding.unwrap_or_default();
            format!(
                "{}/{} {}: {}",
                about.kind.unwrap_or_default(),
                about.name.unwrap_or_default(),
                event.reason.unwrap_or_default(),
                event.note.unwrap_or_default()
            )
        });
        words.collect()
    }

    /// Asks for a new certificate, as cmctl does: by the condition `Issuing`.
    pub async fn force_rotation(&self) {
        let api: Api<Certificate> = Api::namespaced(self.kube.clone(), GATEWAY_NAMESPACE);
        let held = api.get("shop").await.expect("the certificate");
        let mut list = held
            .status
            .map(|status| status.conditions)
            .unwrap_or_default();
        let reason = "ManuallyTriggered";
        let finding = conditions::Finding::new(names::ISSUING, true, reason, "asked for by a test");
        conditions::set(
            &mut list,
            finding,
            held.metadata.generation,
            self.clock().now(),
        );
        let patch = Patch::Merge(json!({ "status": { "conditions": list } }));
        api.patch_status("shop", &PatchParams::default(), &patch)
            .await
            .expect("the condition");
    }

    /// What there is, for the message of a test that fails.
    pub async fn describe(&self) -> String {
        let mut lines = vec![shape(&self.laptop.cloud.inventory())];
        for name in [PUBLIC, INTERNAL] {
            lines.push(format!(
                "service {name}: {:?}",
                self.service_condition(name).await
            ));
        }
        let status = self.certificate().await.and_then(|held| held.status);
        lines.push(format!("certificate: {status:?}"));
        lines.push(format!("proxies: {:?}", self.world.proxies()));
        lines.push(format!("calls: {:?}", self.laptop.cloud.ledger().counts()));
        lines.extend(self.events().await);
        lines.join("\n")
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        for replica in 0..self.gates.len() {
            self.kill_replica(replica);
        }
        self.laptop.tasks.cancel();
    }
}
