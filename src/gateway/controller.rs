//! The reconcile loop over IstioGateways.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use gatewright_crds::conditions::{self, Condition, Finding, READY};
use gatewright_crds::istio_gateway::{
    GATEWAY_NAMESPACE, GatewayState, IstioGateway, IstioGatewayStatus,
};
use gatewright_xds::GatewayId;
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::api::{Api, ListParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::controller::{Action, Controller as Runtime};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::children::{self, Children};
use crate::identity::Identity;
use crate::kubernetes::{FIELD_MANAGER, apply, apply_status, is_applied, optional};
use crate::outside::Outside;
use crate::retry::{Failures, kube_class};

/// What is the same for all gateways.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Image of the proxies, with tag.
    pub proxy_image: String,
    /// Where the proxies reach the daemon's discovery service.
    pub xds_host: String,
    pub xds_port: u16,
}

/// Keeps the proxies and Services of IstioGateways as the objects say.
#[derive(Clone)]
pub struct Controller {
    outside: Outside,
    settings: Settings,
    identity: Identity,
    failures: Arc<Failures>,
}

impl Controller {
    pub fn new(outside: Outside, settings: Settings, identity: Identity) -> Self {
        Self {
            outside,
            settings,
            identity,
            failures: Arc::default(),
        }
    }

    /// Reconciles until dropped.
    pub async fn run(self) {
        let kube = self.outside.kube.clone();
        let config = watcher::Config::default;
        let gateways: Api<IstioGateway> = Api::all(kube.clone());
        let runtime = Runtime::new(gateways, config());
        let store = runtime.store();
        runtime
            .trigger_backoff(self.outside.watch_backoff(4))
            .owns(Api::<Deployment>::all(kube.clone()), config())
            .owns(
                Api::<Secret>::all(kube.clone()),
                config().labels(children::IDENTITY_LABEL),
            )
            // Every load balancer Service that selects the proxies is one of the gateway's.
            .watches(Api::<Service>::all(kube), config(), move |service| {
                let all = store.state().into_iter();
                all.filter(move |gateway| reaches(&service, gateway))
                    .map(|gateway| ObjectRef::from_obj(gateway.as_ref()))
                    .collect::<Vec<_>>()
            })
            .run(
                |gateway, this: Arc<Self>| async move { this.reconcile(gateway).await },
                |_, error: &std::convert::Infallible, _| match *error {},
                Arc::new(self),
            )
            .for_each(|result| async move {
                if let Err(error) = result {
                    tracing::debug!(%error, "gateway controller");
                }
            })
            .await;
    }

    async fn reconcile(
        &self,
        gateway: Arc<IstioGateway>,
    ) -> Result<Action, std::convert::Infallible> {
        if gateway.metadata.deletion_timestamp.is_some() {
            // The children are garbage-collected by their owner references.
            return Ok(Action::await_change());
        }
        if gateway.namespace().as_deref() != Some(GATEWAY_NAMESPACE) {
            let message = format!(
                "a gateway must be in the namespace {GATEWAY_NAMESPACE}: its proxies get their \
                 configuration and certificates there alone"
            );
            self.report_failure(&gateway, "WrongNamespace", &message)
                .await;
            return Ok(Action::await_change());
        }
        let key = gateway.uid().unwrap_or_default();
        Ok(match self.pass(&gateway).await {
            Ok(renew_in) => {
                self.failures.succeeded(&key);
                Action::requeue(renew_in)
            }
            Err(error) => {
                tracing::warn!(gateway = gateway.name_any(), %error, "gateway not reconciled");
                let wait = self
                    .failures
                    .failed(&key, kube_class(&error), &self.outside.random);
                self.report_failure(&gateway, "ReconcileFailed", &error.to_string())
                    .await;
                Action::requeue(wait)
            }
        })
    }

    /// One pass; returns when the proxies' client certificate must be renewed.
    async fn pass(&self, gateway: &IstioGateway) -> kube::Result<Duration> {
        let renew_in = self.ensure_identity(gateway).await?;
        let children = Children::of(gateway, &self.settings);
        self.ensure(&children.account).await?;
        self.ensure(&children.bootstrap).await?;
        let deployment = self.ensure(&children.deployment).await?;
        self.ensure(&children.service).await?;
        self.report(gateway, &deployment).await?;
        Ok(renew_in)
    }

    /// Applies `wanted` unless what the server holds already has every field of it.
    ///
    /// A no-op apply would cost a request for each child on every pass.
    async fn ensure<K>(&self, wanted: &K) -> kube::Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug
            + Serialize,
    {
        let meta = wanted.meta();
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.outside.kube.clone(), namespace);
        if let Some(held) = optional(api.get(meta.name.as_deref().unwrap_or_default()).await)?
            && is_applied(
                &serde_json::to_value(&held).map_err(kube::Error::SerdeError)?,
                &serde_json::to_value(wanted).map_err(kube::Error::SerdeError)?,
                FIELD_MANAGER,
            )
        {
            return Ok(held);
        }
        apply(&self.outside.kube, FIELD_MANAGER, wanted).await
    }

    /// The Secret with which the proxies identify themselves, issued anew when it is due.
    async fn ensure_identity(&self, gateway: &IstioGateway) -> kube::Result<Duration> {
        let namespace = gateway.namespace().unwrap_or_default();
        let name = children::identity_name(gateway);
        let api: Api<Secret> = Api::namespaced(self.outside.kube.clone(), &namespace);
        let now = self.outside.clock.now();
        let held = optional(api.get(&name).await)?;
        if let Some(left) = held
            .as_ref()
            .and_then(|held| self.identity.valid_for(held, now))
        {
            return Ok(left);
        }
        let issued = GatewayId::new(&namespace, &gateway.name_any())
            .and_then(|id| self.identity.issue(&id))
            .map_err(|error| kube::Error::Service(error.into()))?;
        let mut metadata = children::metadata(gateway, name);
        metadata
            .labels
            .get_or_insert_default()
            .insert(children::IDENTITY_LABEL.into(), "true".into());
        let data = issued
            .files()
            .map(|(name, content)| (name.to_owned(), ByteString(content)));
        let secret = Secret {
            metadata,
            type_: Some("kubernetes.io/tls".into()),
            data: Some(data.into_iter().collect()),
            ..Secret::default()
        };
        apply(&self.outside.kube, FIELD_MANAGER, &secret).await?;
        Ok(self
            .identity
            .valid_for(&secret, now)
            .unwrap_or(Duration::from_mins(1)))
    }

    async fn report(&self, gateway: &IstioGateway, deployment: &Deployment) -> kube::Result<()> {
        let namespace = gateway.namespace().unwrap_or_default();
        let services: Api<Service> = Api::namespaced(self.outside.kube.clone(), &namespace);
        let mut services = services.list(&ListParams::default()).await?.items;
        services.retain(|service| reaches(service, gateway) && wants_load_balancer(service));
        let addresses: Vec<String> = services.iter().flat_map(addresses).collect();
        let waiting: Vec<_> = services
            .iter()
            .filter(|service| addresses_of(service).next().is_none())
            .map(ResourceExt::name_any)
            .collect();
        let scale = deployment.status.clone().unwrap_or_default();
        let wanted = deployment.spec.replicas.unwrap_or(1);
        let ready = scale.ready_replicas.unwrap_or(0);
        let proxies = Finding::new(
            "ProxiesReady",
            ready >= wanted,
            if ready >= wanted {
                "AllReady"
            } else {
                "Waiting"
            },
            format!("{ready} of {wanted} proxies are ready"),
        );
        let balancers = if waiting.is_empty() {
            Finding::new(
                "LoadBalancersReady",
                true,
                "AddressesKnown",
                addresses.join(", "),
            )
        } else {
            let message = format!("no address yet: {}", waiting.join(", "));
            Finding::new("LoadBalancersReady", false, "Waiting", message)
        };
        let mut ignored: Vec<String> = gateway
            .spec
            .unsupported()
            .iter()
            .map(ToString::to_string)
            .collect();
        ignored.extend(
            gateway
                .unsupported_annotations()
                .iter()
                .map(ToString::to_string),
        );
        let complete = if ignored.is_empty() {
            Finding::new("FullyApplied", true, "EverythingActedOn", "")
        } else {
            let message = format!("accepted but not acted on: {}", ignored.join(", "));
            Finding::new("FullyApplied", false, "FieldsNotActedOn", message)
        };
        let all = ready >= wanted && waiting.is_empty();
        let what = if all {
            "proxies and load balancers are up"
        } else {
            "not all parts are up"
        };
        let summary = Finding::new(READY, all, if all { "Up" } else { "Waiting" }, what);
        let status = IstioGatewayStatus {
            status: Some(if all {
                GatewayState::Available
            } else {
                GatewayState::Reconciling
            }),
            gateway_address: addresses,
            replicas: Some(scale.replicas.unwrap_or(0)),
            ready_replicas: Some(ready),
            ..IstioGatewayStatus::default()
        };
        let told = self
            .write(gateway, status, vec![summary, proxies, balancers, complete])
            .await?;
        if told && !ignored.is_empty() {
            let note = format!("accepted but not acted on: {}", ignored.join(", "));
            let about = gateway.object_ref(&());
            self.outside
                .events
                .warning(&about, "FieldsNotActedOn", "Reconcile", &note)
                .await;
        }
        Ok(())
    }

    async fn report_failure(&self, gateway: &IstioGateway, reason: &'static str, message: &str) {
        let held = gateway.status.clone().unwrap_or_default();
        let status = IstioGatewayStatus {
            status: Some(GatewayState::ReconcileFailed),
            error_message: Some(message.to_owned()),
            ..held
        };
        let finding = Finding::new(READY, false, reason, message);
        match self.write(gateway, status, vec![finding]).await {
            Ok(true) => {
                let about = gateway.object_ref(&());
                let events = &self.outside.events;
                events.warning(&about, reason, "Reconcile", message).await;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(gateway = gateway.name_any(), %error, "status not written");
            }
        }
    }

    /// Writes the status if it differs; says whether it did.
    async fn write(
        &self,
        gateway: &IstioGateway,
        mut status: IstioGatewayStatus,
        findings: Vec<Finding>,
    ) -> kube::Result<bool> {
        let held = gateway.status.clone().unwrap_or_default();
        let mut list: Vec<Condition> = held.conditions.clone();
        for finding in findings {
            conditions::set(
                &mut list,
                finding,
                gateway.metadata.generation,
                self.outside.clock.now(),
            );
        }
        status.conditions = list;
        status.observed_generation = gateway.metadata.generation;
        if status == held {
            return Ok(false);
        }
        apply_status(&self.outside.kube, FIELD_MANAGER, gateway, &status).await?;
        Ok(true)
    }
}

/// Whether `service` selects the proxies of `gateway`.
pub(crate) fn reaches(service: &Service, gateway: &IstioGateway) -> bool {
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref());
    let mut labels = gateway.selector();
    labels.extend(gateway.spec.settings.pod_labels.clone());
    service.namespace() == gateway.namespace()
        && selector.is_some_and(|selector| {
            !selector.is_empty() && selector.iter().all(|(k, v)| labels.get(k) == Some(v))
        })
}

fn wants_load_balancer(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"))
}

/// The addresses in the Service's status.
pub(crate) fn addresses_of(service: &Service) -> impl Iterator<Item = String> {
    let status = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let ingress = status
        .and_then(|status| status.ingress.as_ref())
        .into_iter()
        .flatten();
    ingress.filter_map(|ingress| ingress.ip.clone().or_else(|| ingress.hostname.clone()))
}

fn addresses(service: &Service) -> Vec<String> {
    addresses_of(service).collect()
}

#[cfg(test)]
mod tests;
