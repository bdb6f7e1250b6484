use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gatewright::daemon::Daemon;
use gatewright::laptop::{Laptop, Layout, Slot, Storage, apply_yaml};
use gatewright::outside::Outside;
use gatewright_crds::cert_manager::{Certificate, names};
use gatewright_crds::conditions;
use gatewright_seams::{Clock, Random, Tasks};
use gatewright_simulation::{EXAMPLES, INTERNAL, PUBLIC, log};
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::Api;
use kube::api::PostParams;
use mock_cloud::AccessKey;

/// The Envoy that `cargo xtask tools` put in place.
///
/// # Panics
/// It is not there.
pub fn envoy() -> PathBuf {
    let tools = std::env::var_os("GATEWRIGHT_TOOLS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools")),
        PathBuf::from,
    );
    let path = tools.join("bin/envoy");
    assert!(
        path.exists(),
        "no Envoy at {}: run `cargo xtask tools`",
        path.display()
    );
    path
}

/// How a [`Rig`] differs from the usual.
#[derive(Clone, Debug)]
pub struct RigOptions {
    pub certificate_lifetime: Duration,
    pub audit_interval: Duration,
    /// How long the quickstart's load balancers and proxies let connections finish.
    pub drain: Duration,
}

impl Default for RigOptions {
    fn default() -> Self {
        Self {
            certificate_lifetime: mock_acme::DEFAULT_LIFETIME,
            audit_interval: Duration::from_mins(30),
            drain: Duration::from_secs(30),
        }
    }
}

/// A world with sockets, a daemon and real Envoys. Stops everything when dropped.
pub struct Rig {
    pub laptop: Laptop,
    pub outside: Outside,
    pub daemon: Daemon,
    /// Where the Pods have their files.
    pub directory: PathBuf,
    drain: Duration,
}

impl Rig {
    /// Starts it all, with an empty API server.
    pub async fn start() -> Self {
        Self::start_with(RigOptions::default()).await
    }

    pub async fn start_with(options: RigOptions) -> Self {
        log();
        let slot = Slot::find().expect("a free range of loopback addresses");
        let name = format!("gatewright-test-{}-{}", std::process::id(), slot.number());
        let directory = std::env::temp_dir().join(name);
        drop(std::fs::remove_dir_all(&directory));
        let layout = Layout {
            storage: Storage::Memory,
            port_shift: 8000,
            access_key: AccessKey {
                id: "test-key".into(),
                secret: "test-secret".into(),
            },
            certificate_lifetime: options.certificate_lifetime,
            audit_interval: options.audit_interval,
        };
        let seams = (Clock::system(), Random::system(), Tasks::new());
        let laptop = Laptop::start(layout, Some(slot), None, seams)
            .await
            .expect("a world");
        laptop.prepare().await.expect("kinds and namespaces");
        let outside = laptop.outside(Tasks::new()).expect("ways outside");
        let daemon = laptop.start_daemon(&outside).await.expect("a daemon");
        laptop.start_runner(&envoy(), &directory);
        Self {
            laptop,
            outside,
            daemon,
            directory,
            drain: options.drain,
        }
    }

    /// Starts it all with the quickstart, and waits until it serves.
    pub async fn quickstart() -> Self {
        Self::quickstart_with(RigOptions::default()).await
    }

    pub async fn quickstart_with(options: RigOptions) -> Self {
        let rig = Self::start_with(options).await;
        rig.apply_examples().await;
        rig.wait_served("shop").await;
        rig
    }

    pub async fn apply_examples(&self) {
        const DRAIN: &str = "connection-drain-timeout: \"30\"";
        let drain = format!("connection-drain-timeout: \"{}\"", self.drain.as_secs());
        for yaml in EXAMPLES {
            apply_yaml(&self.kube(), &yaml.replace(DRAIN, &drain))
                .await
                .expect("an object of the quickstart");
        }
    }

    pub fn kube(&self) -> kube::Client {
        self.laptop.client()
    }

    pub fn certificates(&self) -> Api<Certificate> {
        Api::namespaced(self.kube(), "istio-system")
    }

    /// Waits until `look` finds something, at most `limit`.
    ///
    /// # Panics
    /// It did not.
    pub async fn wait<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut() -> F,
    ) -> T {
        let clock = &self.laptop.clock;
        let end = clock.elapsed() + limit;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(clock.elapsed() < end, "not within {limit:?}: {what}");
            clock.sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the Certificate `name` is stored and seen served; returns its revision.
    pub async fn wait_served(&self, name: &str) -> i32 {
        let api = self.certificates();
        let served = || async {
            let status = api.get_opt(name).await.ok()??.status?;
            let rotating = conditions::is_true(&status.conditions, names::ISSUING);
            let served = conditions::is_true(&status.conditions, gatewright::certificate::SERVED);
            (served && !rotating).then_some(status.revision?)
        };
        let limit = Duration::from_mins(1);
        self.wait(&format!("certificate {name} served"), limit, served)
            .await
    }

    /// Asks for a new certificate as cert-manager's `cmctl renew` does: condition `Issuing` on the
    /// status. Returns the revision that it is to replace.
    ///
    /// # Panics
    /// The API server does not take it within ten seconds.
    pub async fn force_rotation(&self, name: &str) -> i32 {
        let api = self.certificates();
        let ask = || async {
            let mut certificate = api.get(name).await.ok()?;
            let now = self.laptop.clock.now();
            let generation = certificate.metadata.generation;
            let status = certificate.status.get_or_insert_default();
            let finding = conditions::Finding::new(
                names::ISSUING,
                true,
                "ManuallyTriggered",
                "asked for by a test",
            );
            conditions::set(&mut status.conditions, finding, generation, now);
            let revision = status.revision.unwrap_or(0);
            let params = PostParams::default();
            // Somebody else may write at the same time: then it is read anew.
            api.replace_status(name, &params, &certificate).await.ok()?;
            Some(revision)
        };
        self.wait("a rotation asked for", Duration::from_secs(10), ask)
            .await
    }

    /// Gets a new certificate, waits until it is seen served, and returns its serial in hex.
    ///
    /// # Panics
    /// It is not within a minute.
    pub async fn rotate(&self, name: &str) -> String {
        let before = self.force_rotation(name).await;
        let limit = Duration::from_mins(1);
        let api = self.certificates();
        let issued = || async {
            let revision = api.get_opt(name).await.ok()??.status?.revision?;
            (revision > before).then_some(())
        };
        self.wait(&format!("certificate {name} issued"), limit, issued)
            .await;
        self.wait_served(name).await;
        let secret = self.certificates().get(name).await;
        let secret = secret.expect("the certificate").spec.secret_name;
        self.serial(&secret).await
    }

    /// The serial in hex of the leaf in a Secret.
    ///
    /// # Panics
    /// There is no such Secret, or no certificate in it.
    pub async fn serial(&self, secret: &str) -> String {
        let api: Api<Secret> = Api::namespaced(self.kube(), "istio-system");
        let secret = api.get(secret).await.expect("the secret");
        let chain = secret.data.unwrap_or_default().remove("tls.crt");
        let chain = chain.expect("tls.crt").0;
        let (_, pem) = x509_parser::pem::parse_x509_pem(&chain).expect("a pem");
        let leaf = pem.parse_x509().expect("a certificate");
        format!("{:x}", leaf.tbs_certificate.serial)
    }

    /// Stops the daemon alone: the proxies, the load balancers and the API server go on.
    ///
    /// # Panics
    /// It does not end within ten seconds.
    pub async fn stop_daemon(&self) {
        let stopped = self.outside.tasks.stop(Duration::from_secs(10)).await;
        assert!(stopped, "the daemon did not stop");
    }

    /// Starts a new daemon after [`Rig::stop_daemon`]; it knows nothing but what is stored.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start_daemon(&mut self) {
        self.outside = self.laptop.outside(Tasks::new()).expect("ways outside");
        self.daemon = self
            .laptop
            .start_daemon(&self.outside)
            .await
            .expect("a daemon");
    }

    /// The address of the load balancer of Service `name`, with `port` as it is really listened on.
    pub async fn address(&self, name: &str, port: u16) -> SocketAddr {
        let api: Api<Service> = Api::namespaced(self.kube(), "istio-system");
        let shift = self.outside.network.port_shift;
        let address = || async {
            let status = api.get_opt(name).await.ok()??.status?;
            let ingress = status.load_balancer?.ingress?;
            let ip = ingress.first()?.ip.as_ref()?.parse().ok()?;
            Some(SocketAddr::new(ip, port + shift))
        };
        self.wait(
            &format!("address of {name}"),
            Duration::from_secs(30),
            address,
        )
        .await
    }

    /// Both load balancers' addresses for `port`: public, internal.
    pub async fn addresses(&self, port: u16) -> [SocketAddr; 2] {
        [
            self.address(PUBLIC, port).await,
            self.address(INTERNAL, port).await,
        ]
    }

    /// Stops everything, Envoys included, and waits for it.
    pub async fn stop(self) {
        self.outside.tasks.stop(Duration::from_secs(10)).await;
        self.laptop.tasks.stop(Duration::from_secs(20)).await;
    }

    /// The root of the mock certificate authority, as PEM.
    pub fn root_pem(&self) -> String {
        self.laptop.acme.root_pem()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.outside.tasks.cancel();
        self.laptop.tasks.cancel();
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// Shares a [`Rig`]'s parts with tasks.
impl Rig {
    pub fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }
}
