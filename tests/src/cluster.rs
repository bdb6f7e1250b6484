//! The loop on a real control plane: Kubernetes' own programs, Pebble as the certificate authority,
//! the mock cloud over its socket, and the daemon as the program that a cluster would run.

mod control_plane;
mod gate;
mod pebble;
mod process;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use gatewright::laptop::{NAMESPACE, REGION, Slot, apply_object, apply_yaml};
use gatewright::runner::Runner;
use gatewright_crds::cert_manager::{Certificate, names};
use gatewright_crds::conditions;
use gatewright_crds::istio_gateway::IstioGateway;
use gatewright_seams::{AddressMap, Clock, Random, Tasks};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use mock_cloud::{AccessKey, DataPlane, MockCloud};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

pub use control_plane::ControlPlane;
pub use gate::Gate;
pub use pebble::Pebble;
use process::Directory;
pub use process::{Process, gatewright, tool};

use crate::stages::{Ground, quickstart_document};
use crate::{ACCESS_KEY, Client, EXAMPLES, INTERNAL, Load, LoadOptions, PUBLIC, envoy, log};

/// Added to the ports of load balancers.
const PORT_SHIFT: u16 = 8000;
const XDS_PORT: u16 = 15012;
const CHALLENGE_PORT: u16 = 8089;
const ADMIN_PORT: u16 = 8088;
/// The user that the daemon is to the API server.
const DAEMON_USER: &str = "system:serviceaccount:gatewright-system:gatewright";
const NODES: [&str; 2] = ["node-a", "node-b"];
/// What may be slow on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);

/// A cluster with two nodes, a cloud, a certificate authority and the daemon. Everything ends when
/// it is dropped.
pub struct Cluster {
    pub clock: Clock,
    pub control_plane: ControlPlane,
    pub cloud: MockCloud,
    pub pebble: Pebble,
    pub daemon: Process,
    /// Between the daemon and the API server.
    pub gate: Gate,
    /// What of the daemon's log is written.
    log_filter: String,
    /// How often a daemon was started.
    lives: usize,
    /// Where the cloud is.
    endpoint: SocketAddr,
    tasks: Tasks,
    _directory: Directory,
    slot: Slot,
}

impl Cluster {
    /// Starts it all, with our kinds installed and no object of ours.
    ///
    /// # Panics
    /// A part does not start within two minutes.
    pub async fn start() -> Self {
        Self::start_logging("info,gatewright=debug").await
    }

    /// As [`Cluster::start`], with what the daemon is to log.
    ///
    /// # Panics
    /// As [`Cluster::start`].
    pub async fn start_logging(filter: &str) -> Self {
        log();
        let slot = Slot::find().expect("a free range of loopback addresses");
        let directory = Directory::make("cluster", slot.number());
        let (clock, random, tasks) = (Clock::system(), Random::system(), Tasks::new());

        let control_plane = ControlPlane::start_at(
            clock,
            beside(&slot, 2),
            directory.join("control-plane"),
            &[DAEMON_USER],
        )
        .await;
        let kube = control_plane.client();
        prepare(&kube, clock).await;

        let (id, secret) = ACCESS_KEY;
        let cloud = MockCloud::start(mock_cloud::Options {
            storage: mock_cloud::Storage::Memory,
            clock,
            random: random.clone(),
            tasks: tasks.clone(),
            region: REGION.into(),
            access_keys: vec![AccessKey {
                id: id.into(),
                secret: secret.into(),
            }],
            data_plane: DataPlane::Sockets {
                network: slot.load_balancers(),
                port_shift: PORT_SHIFT,
                addresses: AddressMap::Loopback,
            },
        })
        .await
        .expect("a cloud");
        let listener = TcpListener::bind((beside(&slot, 4), 0))
            .await
            .expect("a socket");
        let endpoint = listener.local_addr().expect("an address");
        let serving = cloud.clone();
        tasks.spawn("mock-cloud", async move {
            // It ends with the tasks; before that, the daemon's calls would fail loudly.
            drop(serving.serve(listener).await);
        });

        let runner = Runner {
            kube,
            clock,
            random,
            tasks: tasks.clone(),
            envoy: envoy(),
            directory: directory.join("pods"),
            first_address: slot.first_pod(),
        };
        runner.start_kubelets(&NODES);
        let pebble = Pebble::start(
            clock,
            beside(&slot, 3),
            PORT_SHIFT + 80,
            directory.join("pebble"),
        )
        .await;
        let gate = Gate::start(clock, beside(&slot, 2), control_plane.api_server()).await;
        let log = daemon_log_file(&control_plane, 1);
        let command = daemon(&control_plane, &gate, &pebble, &slot, endpoint, filter);
        let daemon = Process::start(command, log);
        Self {
            clock,
            control_plane,
            cloud,
            pebble,
            daemon,
            gate,
            log_filter: filter.into(),
            lives: 1,
            endpoint,
            tasks,
            _directory: directory,
            slot,
        }
    }

    /// Kills the daemon where it stands.
    pub async fn kill_daemon(&mut self) {
        self.daemon.kill().await;
    }

    /// Starts the daemon again, as a cluster does with one that ended.
    pub fn start_daemon(&mut self) {
        self.lives += 1;
        let (slot, filter) = (&self.slot, &self.log_filter);
        let command = daemon(
            &self.control_plane,
            &self.gate,
            &self.pebble,
            slot,
            self.endpoint,
            filter,
        );
        self.daemon = Process::start(command, daemon_log_file(&self.control_plane, self.lives));
    }

    /// All that daemons have said, over all lives.
    pub fn daemon_log(&self) -> String {
        let lives = (1..=self.lives).map(|life| daemon_log_file(&self.control_plane, life));
        lives
            .map(|file| std::fs::read_to_string(file).expect("a log"))
            .collect()
    }

    /// The daemon's requests so far, as the API server has them in its audit log.
    pub fn daemon_requests(&self) -> Vec<Value> {
        let log = self.control_plane.audit_log();
        let events = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap_or_default());
        let mut seen = BTreeSet::new();
        events
            .filter(|event| event["user"]["username"] == DAEMON_USER)
            // A watch is told twice: when it is answered and when it ends.
            .filter(|event| seen.insert(event["auditID"].to_string()))
            .collect()
    }

    pub fn kube(&self) -> kube::Client {
        self.control_plane.client()
    }

    /// This cluster as a ground for scenarios that are written once for all.
    pub fn ground(&self) -> Ground {
        Ground {
            kube: self.kube(),
            clock: self.clock,
            cloud: self.cloud.clone(),
            limit: LIMIT,
            writes: false,
        }
    }

    /// Applies the quickstart with Pebble as its ACME server, and waits until the certificate is
    /// seen served. The names lead to the public load balancer as soon as it has an address, which
    /// is what a person would enter at their DNS provider.
    ///
    /// # Panics
    /// An object is refused, or nothing is served in time.
    pub async fn quickstart(&mut self) {
        let directory = self.pebble.directory_url();
        let rest = &EXAMPLES[2..];
        self.apply_gateway().await;
        let public = self.address(PUBLIC, 80).await;
        self.pebble.resolve_everything_to(public.ip()).await;
        let rest: Vec<String> = rest
            .iter()
            .map(|yaml| yaml.replace("https://acme.gatewright.test/directory", &directory))
            .collect();
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        self.apply(&rest).await;
        self.wait_served("shop").await;
    }

    /// Applies those objects of the quickstart that make load balancers and proxies.
    ///
    /// # Panics
    /// One is refused.
    pub async fn apply_gateway(&self) {
        self.apply(&EXAMPLES[..2]).await;
    }

    async fn apply(&self, documents: &[&str]) {
        for yaml in documents {
            let yaml = quickstart_document(yaml);
            apply_yaml(&self.kube(), &yaml)
                .await
                .expect("an object of the quickstart");
        }
    }

    /// Waits until `look` finds something, at most two minutes.
    ///
    /// # Panics
    /// It did not, or the daemon ended.
    pub async fn wait<T, F: Future<Output = Option<T>>>(
        &mut self,
        what: &str,
        mut look: impl FnMut() -> F,
    ) -> T {
        let end = self.clock.elapsed() + LIMIT;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            if let Some(status) = self.daemon.ended() {
                panic!("the daemon ended ({status}):\n{}", self.daemon.last_words());
            }
            assert!(
                self.clock.elapsed() < end,
                "not within {LIMIT:?}: {what}; the daemon says\n{}",
                self.daemon.last_words()
            );
            self.clock.sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the Certificate `name` is stored and seen served; returns its revision.
    ///
    /// # Panics
    /// Not in time.
    pub async fn wait_served(&mut self, name: &str) -> i32 {
        let api: Api<Certificate> = Api::namespaced(self.kube(), "istio-system");
        let served = || async {
            let status = api.get_opt(name).await.ok()??.status?;
            let rotating = conditions::is_true(&status.conditions, names::ISSUING);
            let served = conditions::is_true(&status.conditions, gatewright::certificate::SERVED);
            (served && !rotating).then_some(status.revision?)
        };
        self.wait(&format!("certificate {name} served"), served)
            .await
    }

    /// The address of the load balancer of Service `name`, with `port` as it is really listened on.
    ///
    /// # Panics
    /// It has none in time.
    pub async fn address(&mut self, name: &str, port: u16) -> SocketAddr {
        let api: Api<Service> = Api::namespaced(self.kube(), "istio-system");
        let address = || async {
            let ingress = api
                .get_opt(name)
                .await
                .ok()??
                .status?
                .load_balancer?
                .ingress?;
            let ip: IpAddr = ingress.first()?.ip.as_ref()?.parse().ok()?;
            Some(SocketAddr::new(ip, port + PORT_SHIFT))
        };
        self.wait(&format!("address of {name}"), address).await
    }

    /// Both load balancers' addresses for `port`: public, internal.
    ///
    /// # Panics
    /// One has none in time.
    pub async fn addresses(&mut self, port: u16) -> [SocketAddr; 2] {
        [
            self.address(PUBLIC, port).await,
            self.address(INTERNAL, port).await,
        ]
    }

    /// A load through both load balancers that is small enough to share two cores with a control
    /// plane. It flows when this returns.
    ///
    /// # Panics
    /// It does not flow in time.
    pub async fn small_load(&mut self) -> Load {
        let client = Client::trusting(&self.pebble.root_pem().await).expect("a root");
        let addresses = self.addresses(443).await;
        let mut options = LoadOptions::new("shop.example.com");
        options.rate = 40;
        options.limit = Duration::from_mins(10);
        let load = Load::start(self.clock, &client, &addresses, options);
        load.wait_good(40).await;
        load
    }

    /// Runs `gatewright` as an administrator with `arguments`; returns what it printed.
    ///
    /// # Panics
    /// It fails, or does not end within two minutes.
    pub async fn gatewright(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(gatewright());
        command
            .args(arguments)
            .arg("--kubeconfig")
            .arg(self.control_plane.kubeconfig());
        command
            .kill_on_drop(true)
            .stdin(std::process::Stdio::null());
        let output = self.clock.timeout(LIMIT, command.output()).await;
        let output = output.expect("an end in time").expect("a process");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "gatewright {arguments:?}: {said}{why}"
        );
        said
    }

    /// Ends everything in order, and waits for it.
    pub async fn stop(mut self) {
        self.daemon.end(self.clock).await;
        self.tasks.stop(Duration::from_secs(20)).await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.tasks.cancel();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.daemon.last_words());
        }
    }
}

/// An address beside the daemon's, for something that is not of the cluster's own.
fn beside(slot: &Slot, last: u8) -> Ipv4Addr {
    let [a, b, c, _] = slot.daemon().octets();
    Ipv4Addr::new(a, b, c, last)
}

/// What `kubectl apply -f deploy/` would do, and the namespaces.
async fn prepare(kube: &kube::Client, clock: Clock) {
    for definition in gatewright_crds::all().expect("the kinds") {
        let name = definition.metadata.name.clone();
        let object = serde_json::to_value(definition).expect("an object");
        if let Err(error) = apply_object(kube, object).await {
            panic!("{name:?}: {error}");
        }
    }
    for namespace in [NAMESPACE, "istio-system"] {
        let object =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
        apply_object(kube, object).await.expect("a namespace");
    }
    apply_yaml(kube, include_str!("../../deploy/rbac.yaml"))
        .await
        .expect("the daemon's role");
    let end = clock.elapsed() + LIMIT;
    let gateways: Api<IstioGateway> = Api::all(kube.clone());
    while gateways
        .list(&kube::api::ListParams::default())
        .await
        .is_err()
    {
        assert!(clock.elapsed() < end, "our kinds are not served");
        clock.sleep(Duration::from_millis(50)).await;
    }
}

/// A kubeconfig of the daemon's user that leads through `gate`.
fn kubeconfig_through(gate: &Gate, control_plane: &ControlPlane) -> PathBuf {
    let direct = std::fs::read_to_string(control_plane.kubeconfig_of(DAEMON_USER));
    let direct = direct.expect("a kubeconfig");
    let server = control_plane.api_server().to_string();
    let through = direct.replace(&server, &gate.address().to_string());
    assert_ne!(through, direct, "{server} is not in the kubeconfig");
    let path = control_plane.directory().join("gate.kubeconfig");
    std::fs::write(&path, through).expect("a kubeconfig");
    path
}

fn daemon_log_file(control_plane: &ControlPlane, life: usize) -> PathBuf {
    let directory = control_plane.directory();
    directory.join(format!("gatewright-{life}.log"))
}

/// The daemon as a cluster would run it.
fn daemon(
    control_plane: &ControlPlane,
    gate: &Gate,
    pebble: &Pebble,
    slot: &Slot,
    cloud: SocketAddr,
    filter: &str,
) -> Command {
    let own = |port: u16| SocketAddr::new(slot.daemon().into(), port).to_string();
    let mut command = Command::new(gatewright());
    command
        .arg("run")
        .arg("--kubeconfig")
        .arg(kubeconfig_through(gate, control_plane))
        .args(["--cluster-name", "real"])
        .arg("--cloud-endpoint")
        .arg(format!("http://{cloud}"))
        .args(["--pod-addresses", "loopback"])
        .args(["--load-balancer-port-shift", &PORT_SHIFT.to_string()])
        .arg("--acme-root")
        .arg(pebble.root_file())
        .args([
            "--xds-listen",
            &own(XDS_PORT),
            "--xds-address",
            &own(XDS_PORT),
        ])
        .args(["--challenge-listen", &own(CHALLENGE_PORT)])
        .args(["--challenge-address", &own(CHALLENGE_PORT)])
        .args(["--admin-listen", &own(ADMIN_PORT)])
        .args(["--log", filter])
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", ACCESS_KEY.0)
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", ACCESS_KEY.1);
    command
}
