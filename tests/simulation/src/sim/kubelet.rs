//! The kubelet of a simulated world: Pods get addresses, model proxies, readiness, and an end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use gatewright::routing::group_of;
use gatewright::runner::PROXY_IMAGE;
use gatewright_seams::{AddressMap, Clock, Tasks};
use gatewright_xds::GatewayId;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::watcher::{self, Event};
use serde_json::json;
use tokio::sync::watch;

use super::proxy::ModelProxy;
use super::world::World;

const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 65, 0, 1);
/// From the Pod's appearance to its process.
const START: Duration = Duration::from_millis(300);
/// Envoy's `initial_fetch_timeout`: a proxy without listeners is live after it.
const INITIAL_FETCH: Duration = Duration::from_secs(15);
/// How long a Pod goes on serving after it was told to end.
const DRAIN: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Kubelet {
    pub(super) kube: kube::Client,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
    pub(super) world: Arc<World>,
    addresses: Arc<Mutex<BTreeSet<Ipv4Addr>>>,
}

impl Kubelet {
    pub(super) fn new(kube: kube::Client, clock: Clock, tasks: Tasks, world: Arc<World>) -> Self {
        Self {
            kube,
            clock,
            tasks,
            world,
            addresses: Arc::default(),
        }
    }

    /// Runs Pods until dropped.
    pub(super) async fn run(self) {
        let mut pods: BTreeMap<String, watch::Sender<bool>> = BTreeMap::new();
        let api: Api<Pod> = Api::all(self.kube.clone());
        let mut events = watcher::watcher(api, watcher::Config::default()).boxed();
        loop {
            match events.try_next().await {
                Ok(Some(Event::Apply(pod) | Event::InitApply(pod))) => {
                    let uid = pod.uid().unwrap_or_default();
                    let ending = pod.metadata.deletion_timestamp.is_some();
                    if let Some(told) = pods.get(&uid) {
                        told.send_if_modified(|told| std::mem::replace(told, ending) != ending);
                    } else {
                        let (told, ends) = watch::channel(ending);
                        pods.insert(uid, told);
                        self.tasks.spawn("model pod", self.clone().live(pod, ends));
                    }
                }
                Ok(Some(Event::Delete(pod))) => drop(pods.remove(&pod.uid().unwrap_or_default())),
                Ok(Some(Event::Init | Event::InitDone)) => {}
                Ok(None) => return,
                Err(_cut) => self.clock.sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn live(self, pod: Pod, mut ends: watch::Receiver<bool>) {
        let address = self.take_address();
        self.clock.sleep(START).await;
        self.report(&pod, address, false).await;
        let tasks = self.tasks.child();
        let local: IpAddr = AddressMap::Loopback.dial_ip(address.into());
        if let Some(identity) = gateway_of(&pod) {
            let group = group_of(AddressMap::Loopback, &identity, &pod.name_any());
            let proxy = Arc::new(ModelProxy::new(&pod.name_any(), identity, group));
            self.world.add(local, proxy.clone());
            let (follower, daemons) = (proxy.clone(), self.world.daemons());
            tasks.spawn("model proxy", async move { follower.run(daemons).await });
            // Without a daemon it is not live either way, but there is nothing to wait for.
            drop(self.clock.timeout(INITIAL_FETCH, proxy.live()).await);
        }
        self.report(&pod, address, true).await;
        // An error is the Pod's object being gone: it ends as well.
        drop(ends.wait_for(|ends| *ends).await);
        self.clock.sleep(DRAIN).await;
        self.world.remove(local);
        tasks.cancel();
        self.remove(&pod).await;
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        addresses.remove(&address);
    }

    fn take_address(&self) -> Ipv4Addr {
        let mut used = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut address = FIRST_ADDRESS;
        while !used.insert(address) {
            address = Ipv4Addr::from(u32::from(address) + 1);
        }
        address
    }

    fn api(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.kube.clone(), &pod.namespace().unwrap_or_default())
    }

    async fn report(&self, pod: &Pod, address: Ipv4Addr, ready: bool) {
        let ready = if ready { "True" } else { "False" };
        let status = json!({
            "metadata": { "uid": pod.uid() },
            "status": {
                "phase": "Running",
                "podIP": address.to_string(),
                "podIPs": [{ "ip": address.to_string() }],
                "conditions": [{ "type": "Ready", "status": ready }],
            },
        });
        let params = PatchParams {
            field_manager: Some("model-kubelet".into()),
            ..<_>::default()
        };
        for _ in 0..20 {
            let api = self.api(pod);
            match api
                .patch_status(&pod.name_any(), &params, &Patch::Merge(&status))
                .await
            {
                Ok(_) => return,
                Err(kube::Error::Api(status)) if status.code == 404 => return,
                Err(_fault) => self.clock.sleep(Duration::from_millis(200)).await,
            }
        }
    }

    async fn remove(&self, pod: &Pod) {
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: pod.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        for _ in 0..20 {
            match self.api(pod).delete(&pod.name_any(), &params).await {
                Ok(_) => return,
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
                Err(_fault) => self.clock.sleep(Duration::from_millis(200)).await,
            }
        }
    }
}

/// The gateway that a proxy's Pod belongs to, as its `--node` argument says; nothing for a Pod of
/// another image.
fn gateway_of(pod: &Pod) -> Option<GatewayId> {
    let container = pod.spec.as_ref()?.containers.first()?;
    let image = container.image.as_deref()?;
    image.strip_prefix(PROXY_IMAGE)?;
    let mut args = container.args.iter().flatten();
    args.find(|arg| *arg == "--node")?;
    let (gateway, _pod) = args.next()?.rsplit_once('/')?;
    gateway.parse().ok()
}
