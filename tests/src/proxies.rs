//! What can be seen of the Envoys of a [`Rig`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use gatewright::proxy::admin_get;
use gatewright_seams::AddressMap;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Resource, ResourceExt};

use crate::Rig;

const ADMIN_PORT: u16 = 15000;

/// One proxy of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyView {
    /// As Kubernetes holds it.
    pub ip: IpAddr,
    pub admin: SocketAddr,
    pub uid: String,
    pub ready: bool,
    pub leaving: bool,
    pub restarts: i32,
    /// The processes that work in the Pod's directory: one Envoy.
    pub processes: Vec<u32>,
}

impl Rig {
    /// The proxies by the name of their Pod.
    ///
    /// # Panics
    /// The API server does not answer.
    pub async fn proxies(&self) -> BTreeMap<String, ProxyView> {
        let api: Api<Pod> = Api::namespaced(self.kube(), "istio-system");
        let proxies = ListParams::default().labels("app.kubernetes.io/component=gateway-proxy");
        let pods = api.list(&proxies).await.expect("pods").items;
        pods.iter()
            .filter_map(|pod| Some((pod.name_any(), self.proxy(pod)?)))
            .collect()
    }

    fn proxy(&self, pod: &Pod) -> Option<ProxyView> {
        let status = pod.status.as_ref()?;
        let ip: IpAddr = status.pod_ip.as_ref()?.parse().ok()?;
        let container = status.container_statuses.as_ref()?.first()?;
        let uid = pod.uid()?;
        Some(ProxyView {
            ip,
            admin: SocketAddr::new(AddressMap::Loopback.dial_ip(ip), ADMIN_PORT),
            ready: container.ready,
            leaving: pod.meta().deletion_timestamp.is_some(),
            restarts: container.restart_count,
            processes: processes_of(&self.directory.join(&uid)),
            uid,
        })
    }

    /// A counter or gauge of the Envoy with this admin address.
    ///
    /// # Panics
    /// Envoy does not answer, or has none of this name.
    pub async fn stat(&self, admin: SocketAddr, name: &str) -> u64 {
        let path = format!("/stats?filter=^{}$", name.replace('.', "\\."));
        let body = admin_get(&self.laptop.clock, admin, &path)
            .await
            .expect("envoy's stats");
        let text = String::from_utf8_lossy(&body).into_owned();
        text.trim()
            .rsplit(": ")
            .next()
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("no counter {name} in {text:?}"))
    }
}

/// The ids of the processes that were started with a path in `directory`, lowest first.
pub fn processes_of(directory: &Path) -> Vec<u32> {
    let wanted = directory.display().to_string();
    let mut found: Vec<u32> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            (id != std::process::id() && String::from_utf8_lossy(&line).contains(&wanted))
                .then_some(id)
        })
        .collect();
    found.sort_unstable();
    found
}
