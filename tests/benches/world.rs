//! A world with a daemon and Envoys in this process, laid out as `gatewright dev` does it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use gatewright::certificate::SERVED;
use gatewright::daemon::Daemon;
use gatewright::laptop::{Laptop, Layout, Slot, Storage, apply_yaml};
use gatewright_crds::cert_manager::{Certificate, names};
use gatewright_crds::conditions;
use gatewright_seams::{AddressMap, Clock, Random, Tasks};
use gatewright_tests::{EXAMPLES, envoy};
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::api::{Api, ListParams};
use mock_cloud::AccessKey;

pub(crate) const NAMESPACE: &str = "istio-system";
pub(crate) const HOST: &str = "shop.example.com";
pub(crate) const SECRET: &str = "shop-tls";
pub(crate) const CERTIFICATE: &str = "shop";
/// The port at which the proxies take HTTPS.
const PROXY_PORT: u16 = 8443;
const SHIFT: u16 = 8000;
/// How often it is looked whether a state was reached: what phases are measured with.
pub(crate) const LOOK: Duration = Duration::from_millis(5);
const LIMIT: Duration = Duration::from_mins(1);

/// Where the embedded API server keeps its objects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// In memory.
    Memory,
    /// In the world's directory, written before a write is answered, as `dev` has it.
    Disk,
}

/// A directory of this process on the disk of the build directory; removed at the end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let name = format!("bench-{}-{name}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left is in the build directory, where it harms nobody.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A started world.
pub(crate) struct World {
    pub(crate) laptop: Laptop,
    pub(crate) daemon: Daemon,
}

impl World {
    /// Starts what `dev` starts before it applies anything. `told` is called after each part.
    pub(crate) async fn start(
        directory: &Path,
        keep: Keep,
        slot: Slot,
        mut told: impl FnMut(&'static str),
    ) -> Result<Self> {
        let layout = Layout {
            storage: match keep {
                Keep::Disk => Storage::Directory(directory.to_owned()),
                Keep::Memory => Storage::Memory,
            },
            port_shift: SHIFT,
            access_key: AccessKey {
                id: "bench-key".into(),
                secret: "bench-secret".into(),
            },
            certificate_lifetime: mock_acme::DEFAULT_LIFETIME,
            audit_interval: Duration::from_mins(30),
        };
        let seams = (Clock::system(), Random::system(), Tasks::new());
        let laptop = Laptop::start(layout, Some(slot), None, seams).await?;
        told("API server, cloud and CA up");
        laptop.prepare().await?;
        told("kinds installed");
        let outside = laptop.outside(laptop.tasks.clone())?;
        let daemon = laptop.start_daemon(&outside).await?;
        laptop.start_runner(&envoy(), &directory.join("pods"));
        told("daemon started");
        Ok(Self { laptop, daemon })
    }

    /// Applies the quickstart; `wanted` says which of its objects, by their text.
    pub(crate) async fn apply(&self, wanted: impl Fn(&str) -> bool) -> Result<()> {
        for yaml in EXAMPLES.into_iter().filter(|yaml| wanted(yaml)) {
            apply_yaml(&self.kube(), yaml).await?;
        }
        Ok(())
    }

    /// The whole quickstart, served.
    pub(crate) async fn quickstart(directory: &Path, keep: Keep) -> Result<Self> {
        let world = Self::start(directory, keep, Slot::find()?, |_| ()).await?;
        world.apply(|_| true).await?;
        world
            .wait("the certificate served", || world.is_served())
            .await?;
        Ok(world)
    }

    pub(crate) fn kube(&self) -> kube::Client {
        self.laptop.client()
    }

    pub(crate) fn clock(&self) -> Clock {
        self.laptop.clock
    }

    /// Looks every few milliseconds until `look` says that it is so.
    pub(crate) async fn wait<F: Future<Output = Option<T>>, T>(
        &self,
        what: &str,
        mut look: impl FnMut() -> F,
    ) -> Result<T> {
        let clock = self.clock();
        let end = clock.elapsed() + LIMIT;
        loop {
            if let Some(found) = look().await {
                return Ok(found);
            }
            if clock.elapsed() >= end {
                bail!("not within {LIMIT:?}: {what}");
            }
            clock.sleep(LOOK).await;
        }
    }

    pub(crate) async fn is_served(&self) -> Option<()> {
        let api: Api<Certificate> = Api::namespaced(self.kube(), NAMESPACE);
        let status = api.get_opt(CERTIFICATE).await.ok()??.status?;
        let held = &status.conditions;
        let done = conditions::is_true(held, SERVED) && !conditions::is_true(held, names::ISSUING);
        done.then_some(())
    }

    pub(crate) async fn is_stored(&self) -> Option<()> {
        let api: Api<Secret> = Api::namespaced(self.kube(), NAMESPACE);
        api.get_opt(SECRET).await.ok()?.map(drop)
    }

    /// Where HTTPS is reached at the load balancer of Service `name`, once it has an address.
    pub(crate) async fn balancer(&self, name: &str) -> Option<SocketAddr> {
        let api: Api<Service> = Api::namespaced(self.kube(), NAMESPACE);
        let ingress = api
            .get_opt(name)
            .await
            .ok()??
            .status?
            .load_balancer?
            .ingress?;
        let ip = ingress.first()?.ip.as_ref()?.parse().ok()?;
        Some(SocketAddr::new(ip, 443 + SHIFT))
    }

    /// Where HTTPS is reached at the proxies that are ready, when there are `count`.
    pub(crate) async fn proxies(&self, count: usize) -> Option<Vec<SocketAddr>> {
        let api: Api<Pod> = Api::namespaced(self.kube(), NAMESPACE);
        let proxies = ListParams::default().labels("app.kubernetes.io/component=gateway-proxy");
        let pods = api.list(&proxies).await.ok()?.items;
        let mut ready: Vec<SocketAddr> = pods.iter().filter_map(address_when_ready).collect();
        ready.sort();
        (ready.len() >= count).then_some(ready)
    }

    /// Stops everything, the Envoys too. True when all ended in time.
    pub(crate) async fn stop(self) -> bool {
        self.laptop.tasks.stop(Duration::from_secs(20)).await
    }
}

fn address_when_ready(pod: &Pod) -> Option<SocketAddr> {
    let status = pod.status.as_ref()?;
    let ready = status.conditions.iter().flatten();
    let ready = ready.filter(|held| held.type_ == "Ready" && held.status == "True");
    let ip = status.pod_ip.as_ref()?.parse().ok()?;
    (ready.count() > 0).then(|| SocketAddr::new(AddressMap::Loopback.dial_ip(ip), PROXY_PORT))
}
