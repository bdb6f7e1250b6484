//! Where gateways are reached: every proxy, and every load balancer address.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use gatewright_crds::istio::{Gateway, Protocol, Server};
use gatewright_crds::istio_gateway::IstioGateway;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use crate::gateway::{addresses_of, ports, reaches, service_of};
use crate::kubernetes::is_ready;
use crate::outside::{Network, Outside};

/// One place at which a gateway's port is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Front {
    pub(crate) kind: FrontKind,
    /// The Pod or the Service.
    pub(crate) name: String,
    /// Where to dial it from here.
    pub(crate) address: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FrontKind {
    Proxy,
    LoadBalancer,
}

impl fmt::Display for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            FrontKind::Proxy => "proxy",
            FrontKind::LoadBalancer => "load balancer",
        };
        write!(f, "{kind} {} at {}", self.name, self.address)
    }
}

/// The objects that say where gateways are reached.
pub(crate) struct Fronts {
    gateways: Vec<IstioGateway>,
    servers: Vec<Gateway>,
    services: Vec<Service>,
    pods: Vec<Pod>,
    network: Network,
}

impl Fronts {
    /// Reads them.
    ///
    /// # Errors
    /// What the API server answered.
    pub(crate) async fn read(outside: &Outside) -> kube::Result<Self> {
        let kube = &outside.kube;
        let all = ListParams::default();
        let proxies = ListParams::default().labels("app.kubernetes.io/component=gateway-proxy");
        Ok(Self {
            gateways: Api::all(kube.clone()).list(&all).await?.items,
            servers: Api::all(kube.clone()).list(&all).await?.items,
            services: Api::all(kube.clone()).list(&all).await?.items,
            pods: Api::all(kube.clone()).list(&proxies).await?.items,
            network: outside.network,
        })
    }

    /// Where the HTTPS servers that use the Secret `namespace/secret` are reached.
    pub(crate) fn of_secret(&self, namespace: &str, secret: &str) -> Vec<Front> {
        // A Secret is read in the namespace of the proxies, wherever the Istio Gateway is.
        self.fronts(|gateway, server| {
            gateway.namespace().as_deref() == Some(namespace) && presents(server, secret)
        })
    }

    /// Whether an Istio Gateway uses the Secret of this name, reached or not.
    pub(crate) fn use_secret(&self, secret: &str) -> bool {
        self.servers.iter().any(|servers| uses(servers, secret))
    }

    /// The load balancer addresses where plain HTTP servers are reached that take `host`.
    pub(crate) fn of_http_host(&self, host: &str) -> Vec<Front> {
        let mut fronts = self.fronts(|_, server| {
            server.port.protocol() == Some(Protocol::Http)
                && server.hosts.iter().any(|pattern| takes(pattern, host))
        });
        fronts.retain(|front| front.kind == FrontKind::LoadBalancer);
        fronts
    }

    /// The load balancer Service without address through which plain HTTP servers that take `host`
    /// will be reached, if there is one: maybe a gateway's own that is not made yet.
    pub(crate) fn awaited_for(&self, host: &str) -> Option<String> {
        for gateway in &self.gateways {
            let labels = pod_labels(gateway);
            let servers = self.servers.iter().filter(|held| selects(held, &labels));
            let takes_host = servers.flat_map(|held| &held.spec.servers).any(|server| {
                server.port.protocol() == Some(Protocol::Http)
                    && server.hosts.iter().any(|pattern| takes(pattern, host))
            });
            if !takes_host {
                continue;
            }
            let own = service_of(gateway);
            let known = |name: &str| {
                self.services
                    .iter()
                    .any(|held| held.namespace() == gateway.namespace() && held.name_any() == name)
            };
            if is_balanced(&own) && !known(&own.name_any()) {
                return Some(format!("load balancer {}", own.name_any()));
            }
            let mut reaching = self.services.iter().filter(|held| reaches(held, gateway));
            let awaited =
                reaching.find(|held| is_balanced(held) && addresses_of(held).next().is_none());
            if let Some(service) = awaited {
                return Some(format!("load balancer {}", service.name_any()));
            }
        }
        None
    }

    fn fronts(
        &self,
        wanted: impl Fn(&IstioGateway, &gatewright_crds::istio::Server) -> bool,
    ) -> Vec<Front> {
        let mut fronts = Vec::new();
        for gateway in &self.gateways {
            let labels = pod_labels(gateway);
            let selecting = self
                .servers
                .iter()
                .filter(|servers| selects(servers, &labels));
            let wanted = selecting.flat_map(|servers| {
                servers
                    .spec
                    .servers
                    .iter()
                    .filter(|server| wanted(gateway, server))
            });
            for number in wanted.map(|server| server.port.number) {
                self.of_port(gateway, &labels, number, &mut fronts);
            }
        }
        fronts.sort();
        fronts.dedup();
        fronts
    }

    fn of_port(
        &self,
        gateway: &IstioGateway,
        labels: &BTreeMap<String, String>,
        number: i32,
        fronts: &mut Vec<Front>,
    ) {
        let port = |number: i32| u16::try_from(number).ok();
        for service in self
            .services
            .iter()
            .filter(|service| reaches(service, gateway))
        {
            let spec = service.spec.as_ref();
            let listed = spec
                .and_then(|spec| spec.ports.as_ref())
                .into_iter()
                .flatten();
            if !listed.into_iter().any(|held| held.port == number) {
                continue;
            }
            for ip in addresses_of(service).filter_map(|text| text.parse::<IpAddr>().ok()) {
                let shifted = port(number).and_then(|p| p.checked_add(self.network.port_shift));
                let Some(shifted) = shifted else { continue };
                fronts.push(Front {
                    kind: FrontKind::LoadBalancer,
                    name: service.name_any(),
                    address: SocketAddr::new(ip, shifted),
                });
            }
        }
        let target = listen_port(gateway, number);
        for pod in &self.pods {
            let ours = pod.namespace() == gateway.namespace()
                && labels
                    .iter()
                    .all(|(key, value)| pod.labels().get(key) == Some(value));
            let ip = pod
                .status
                .as_ref()
                .and_then(|status| status.pod_ip.as_ref());
            let ip = ip.and_then(|ip| ip.parse::<IpAddr>().ok());
            if !ours || !is_ready(pod) || pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            if let (Some(ip), Some(target)) = (ip, port(target)) {
                fronts.push(Front {
                    kind: FrontKind::Proxy,
                    name: pod.name_any(),
                    address: self.network.pods.dial(SocketAddr::new(ip, target)),
                });
            }
        }
    }
}

/// The labels that the gateway's Pods carry.
pub(crate) fn pod_labels(gateway: &IstioGateway) -> BTreeMap<String, String> {
    let mut labels = gateway.selector();
    labels.extend(gateway.spec.settings.pod_labels.clone());
    labels
}

/// Whether an Istio Gateway applies to Pods with `labels`. Istio takes an empty selector as all.
pub(crate) fn selects(servers: &Gateway, labels: &BTreeMap<String, String>) -> bool {
    servers
        .spec
        .selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether a server of an Istio Gateway shows the certificate of the Secret of this name.
fn presents(server: &Server, secret: &str) -> bool {
    let tls = server.tls.as_ref();
    tls.and_then(|tls| tls.credential_name.as_deref()) == Some(secret)
}

/// Whether an Istio Gateway uses the Secret of this name.
pub(crate) fn uses(servers: &Gateway, secret: &str) -> bool {
    servers
        .spec
        .servers
        .iter()
        .any(|server| presents(server, secret))
}

/// The port that the proxies open for a server's port: the target of the Service port with that
/// number, else the number itself.
pub(crate) fn listen_port(gateway: &IstioGateway, number: i32) -> i32 {
    let ports = ports(gateway);
    let port = ports.iter().find(|port| port.port == number);
    port.and_then(gatewright_crds::istio_gateway::GatewayPort::target_number)
        .unwrap_or(number)
}

/// Whether the host pattern of a server (`*`, `*.example.com`, with or without `namespace/`) takes
/// `host`.
pub(crate) fn takes(pattern: &str, host: &str) -> bool {
    let pattern = pattern.rsplit('/').next().unwrap_or(pattern);
    match pattern.strip_prefix('*') {
        Some(suffix) => host
            .len()
            .checked_sub(suffix.len())
            .and_then(|start| host.get(start..))
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix)),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

fn is_balanced(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    spec.is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_patterns_match_as_istio_says() {
        assert!(takes("*", "a.example.com") && takes("./a.example.com", "a.example.com"));
        assert!(takes("*.Example.com", "a.eXample.com"));
        assert!(takes("*.example.com", "a.example.com") && !takes("*.example.com", "example.com"));
        assert!(!takes("a.example.com", "b.example.com"));
    }
}
