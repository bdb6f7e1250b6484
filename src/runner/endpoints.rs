//! Services with a selector get an EndpointSlice of the Pods they select.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Api, ListParams, ObjectMeta};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};

use super::{MANAGER, NODE, Runner};
use crate::kubernetes::{apply, is_ready};
use crate::retry::WatchBackoff;

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// Reconciles Services until dropped.
pub(super) async fn run(runner: Runner) {
    let services: Api<Service> = Api::all(runner.kube.clone());
    let pods: Api<Pod> = Api::all(runner.kube.clone());
    let controller = Controller::new(services, watcher::Config::default());
    let store = controller.store();
    controller
        .trigger_backoff(WatchBackoff::new(runner.clock, &runner.random, 2))
        .watches(pods, watcher::Config::default(), move |pod| {
            let selected = store
                .state()
                .into_iter()
                .filter(move |service| selects(service, &pod));
            selected
                .map(|service| ObjectRef::from_obj(service.as_ref()))
                .collect::<Vec<_>>()
        })
        .run(reconcile, retry, Arc::new(runner))
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "local runner: endpoints");
            }
        })
        .await;
}

fn retry(_: Arc<Service>, _: &kube::Error, _: Arc<Runner>) -> Action {
    Action::requeue(Duration::from_secs(1))
}

fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| {
        service.namespace() == pod.namespace()
            && !selector.is_empty()
            && selector
                .iter()
                .all(|(key, value)| pod.labels().get(key) == Some(value))
    })
}

async fn reconcile(service: Arc<Service>, runner: Arc<Runner>) -> kube::Result<Action> {
    let Some(spec) = &service.spec else {
        return Ok(Action::await_change());
    };
    if spec
        .selector
        .as_ref()
        .is_none_or(std::collections::BTreeMap::is_empty)
        || service.metadata.deletion_timestamp.is_some()
    {
        return Ok(Action::await_change());
    }
    let namespace = service.namespace().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(runner.kube.clone(), &namespace);
    let mut pods: Vec<Pod> = pods.list(&ListParams::default()).await?.items;
    pods.retain(|pod| selects(&service, pod));
    pods.sort_by_key(ResourceExt::name_any);
    let slice = EndpointSlice {
        metadata: ObjectMeta {
            name: Some(format!("{}-local", service.name_any())),
            namespace: Some(namespace),
            labels: Some(
                [
                    (SERVICE_NAME.to_owned(), service.name_any()),
                    (
                        MANAGED_BY.to_owned(),
                        "local-runner.gatewright.dev".to_owned(),
                    ),
                ]
                .into(),
            ),
            owner_references: service.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".into(),
        endpoints: Some(pods.iter().filter_map(endpoint).collect()),
        ports: Some(ports(&service, pods.first())),
    };
    apply(&runner.kube, MANAGER, &slice).await?;
    Ok(Action::await_change())
}

/// The Pod as an endpoint: `serving` follows readiness, `ready` also needs it not to terminate
/// (discovery.k8s.io/v1 EndpointConditions).
fn endpoint(pod: &Pod) -> Option<Endpoint> {
    let address = pod.status.as_ref()?.pod_ip.clone()?;
    let (serving, terminating) = (is_ready(pod), pod.metadata.deletion_timestamp.is_some());
    Some(Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(serving && !terminating),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        node_name: Some(NODE.into()),
        target_ref: Some(pod.object_ref(&())),
        ..Endpoint::default()
    })
}

fn ports(service: &Service, pod: Option<&Pod>) -> Vec<EndpointPort> {
    let container_ports = pod
        .and_then(|pod| pod.spec.as_ref())
        .into_iter()
        .flat_map(|spec| &spec.containers)
        .flat_map(|container| container.ports.iter().flatten())
        .collect::<Vec<_>>();
    let spec = service.spec.as_ref();
    let ports = spec
        .and_then(|spec| spec.ports.as_ref())
        .into_iter()
        .flatten();
    ports
        .filter_map(|port| {
            let number = match &port.target_port {
                None => port.port,
                Some(IntOrString::Int(number)) => *number,
                Some(IntOrString::String(name)) => {
                    container_ports
                        .iter()
                        .find(|p| p.name.as_ref() == Some(name))?
                        .container_port
                }
            };
            Some(EndpointPort {
                // The API names the port of a one-port Service "", never nothing.
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(number),
                protocol: port.protocol.clone().or_else(|| Some("TCP".into())),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}
