//! The rows of an overview.

use gatewright_crds::cert_manager::{Certificate, names};
use gatewright_crds::conditions::{self, Condition, READY};
use gatewright_crds::istio::{Gateway, Server};
use gatewright_crds::istio_gateway::IstioGateway;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;
use serde::Serialize;

use crate::certificate::SERVED;
use crate::fronts::{pod_labels, selects};
use crate::gateway::addresses_of;
use crate::load_balancer::{self, LOAD_BALANCER_CLASS};

const ADDRESS_TYPES: [&str; 2] = [
    "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type",
    "service.beta.kubernetes.io/alicloud-loadbalancer-address-type",
];
/// What is shown where nothing has been said yet.
const PENDING: &str = "Pending";

/// A gateway and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRow {
    pub namespace: String,
    pub name: String,
    /// One word.
    pub state: String,
    /// Why, unless it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `ready/wanted`.
    pub proxies: String,
    pub addresses: Vec<String>,
    pub ready: bool,
}

impl GatewayRow {
    pub(super) fn of(gateway: &IstioGateway) -> Self {
        let status = gateway.status.clone().unwrap_or_default();
        let ready = condition(&status.conditions, READY, gateway.metadata.generation);
        let wanted = status
            .replicas
            .unwrap_or_else(|| gateway.spec.settings.replicas());
        Self {
            namespace: gateway.namespace().unwrap_or_default(),
            name: gateway.name_any(),
            state: status
                .status
                .map_or_else(|| PENDING.to_owned(), |state| format!("{state:?}")),
            message: ready.message,
            proxies: format!("{}/{wanted}", status.ready_replicas.unwrap_or(0)),
            addresses: status.gateway_address,
            ready: ready.holds,
        }
    }
}

/// A Service that is a load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerRow {
    pub namespace: String,
    pub name: String,
    /// `internet` or `intranet`.
    pub address_type: String,
    pub addresses: Vec<String>,
    /// The Service's ports; with a shift `port at shifted`.
    pub ports: Vec<String>,
    /// One word.
    pub state: String,
    /// Why, unless it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub ready: bool,
}

impl LoadBalancerRow {
    /// Nothing for a Service of another class.
    pub(super) fn of(service: &Service, port_shift: u16) -> Option<Self> {
        let spec = service.spec.as_ref()?;
        if spec.load_balancer_class.as_deref() != Some(LOAD_BALANCER_CLASS) {
            return None;
        }
        let status = service.status.as_ref();
        let held = status
            .and_then(|status| status.conditions.as_deref())
            .unwrap_or_default();
        let ready = condition(held, load_balancer::CONDITION, service.metadata.generation);
        let address_type = ADDRESS_TYPES
            .iter()
            .find_map(|key| service.annotations().get(*key));
        let shown = |port: i32| match port_shift {
            0 => port.to_string(),
            shift => format!("{port} at {}", port + i32::from(shift)),
        };
        Some(Self {
            namespace: service.namespace().unwrap_or_default(),
            name: service.name_any(),
            address_type: address_type
                .map_or("internet", |value| value.as_str())
                .to_owned(),
            addresses: addresses_of(service).collect(),
            ports: spec
                .ports
                .iter()
                .flatten()
                .map(|port| shown(port.port))
                .collect(),
            state: ready.state,
            message: ready.message,
            ready: ready.holds,
        })
    }
}

/// A certificate, until when it is good, and whether it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateRow {
    pub namespace: String,
    pub name: String,
    pub secret: String,
    pub names: Vec<String>,
    /// One word.
    pub state: String,
    /// Why, unless it is there and current.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub expires: Option<Timestamp>,
    /// Where it was seen, or why not.
    pub served: String,
    pub ready: bool,
    pub is_served: bool,
}

impl CertificateRow {
    pub(super) fn of(certificate: &Certificate) -> Self {
        let status = certificate.status.clone().unwrap_or_default();
        let generation = certificate.metadata.generation;
        let ready = condition(&status.conditions, READY, generation);
        let issuing = conditions::get(&status.conditions, names::ISSUING)
            .filter(|issuing| issuing.status == "True");
        let served = conditions::get(&status.conditions, SERVED);
        let (state, message) = match issuing {
            Some(issuing) => ("Issuing".to_owned(), Some(reason_and_message(issuing))),
            None => (ready.state, ready.message),
        };
        Self {
            namespace: certificate.namespace().unwrap_or_default(),
            name: certificate.name_any(),
            secret: certificate.spec.secret_name.clone(),
            names: certificate.spec.dns_names.clone(),
            state,
            message,
            expires: status.not_after.map(|at| at.0),
            served: served
                .map(|served| served.message.clone())
                .unwrap_or_default(),
            ready: ready.holds && issuing.is_none(),
            is_served: served.is_some_and(|served| served.status == "True"),
        }
    }
}

/// A proxy and what it was told to serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyRow {
    pub namespace: String,
    pub name: String,
    pub gateway: Option<String>,
    pub address: Option<String>,
    /// One word.
    pub state: String,
    /// The servers of the Gateways that select it: protocol, port and Secret.
    pub serves: Vec<String>,
    pub ready: bool,
}

impl ProxyRow {
    pub(super) fn of(pod: &Pod, gateways: &[IstioGateway], servers: &[Gateway]) -> Self {
        let status = pod.status.as_ref();
        let held = status
            .and_then(|status| status.conditions.as_ref())
            .into_iter()
            .flatten();
        let ready = held
            .into_iter()
            .any(|held| held.type_ == "Ready" && held.status == "True");
        let leaving = pod.metadata.deletion_timestamp.is_some();
        let waiting = status
            .and_then(|status| status.container_statuses.as_ref()?.first()?.state.as_ref())
            .and_then(|state| state.waiting.as_ref()?.reason.clone());
        let phase = status.and_then(|status| status.phase.clone());
        let state = match (leaving, ready, waiting) {
            (true, ..) => "Draining".to_owned(),
            (false, true, _) => "Ready".to_owned(),
            (false, false, Some(reason)) => reason,
            (false, false, None) => phase.unwrap_or_else(|| PENDING.to_owned()),
        };
        let gateway = gateways.iter().find(|gateway| {
            let labels = pod_labels(gateway);
            gateway.namespace() == pod.namespace()
                && labels
                    .iter()
                    .all(|(key, value)| pod.labels().get(key) == Some(value))
        });
        let told = servers
            .iter()
            .filter(|servers| selects(servers, pod.labels()));
        let mut serves: Vec<String> = told
            .flat_map(|servers| &servers.spec.servers)
            .map(served)
            .collect();
        serves.sort();
        serves.dedup();
        Self {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            gateway: gateway.map(kube::ResourceExt::name_any),
            address: status.and_then(|status| status.pod_ip.clone()),
            state,
            serves,
            ready,
        }
    }
}

fn served(server: &Server) -> String {
    let port = format!(
        "{} {}",
        server.port.protocol.to_ascii_uppercase(),
        server.port.number
    );
    let secret = server
        .tls
        .as_ref()
        .and_then(|tls| tls.credential_name.as_deref());
    match secret {
        Some(secret) => format!("{port} with {secret}"),
        None => port,
    }
}

/// A condition as a table shows it.
struct Shown {
    holds: bool,
    state: String,
    message: Option<String>,
}

/// `generation` is the object's: what a controller said of an older one is not the state.
fn condition(list: &[Condition], kind: &str, generation: Option<i64>) -> Shown {
    let Some(found) = conditions::get(list, kind) else {
        return Shown {
            holds: false,
            state: PENDING.to_owned(),
            message: None,
        };
    };
    let current = found.observed_generation >= generation || found.observed_generation.is_none();
    let holds = found.status == "True" && current;
    Shown {
        holds,
        state: if holds {
            "Ready".to_owned()
        } else {
            found.reason.clone()
        },
        message: (!holds)
            .then(|| found.message.clone())
            .filter(|message| !message.is_empty()),
    }
}

fn reason_and_message(condition: &Condition) -> String {
    if condition.message.is_empty() {
        condition.reason.clone()
    } else {
        format!("{}: {}", condition.reason, condition.message)
    }
}
