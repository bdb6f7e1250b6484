//! The objects that the publisher looks at.

use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use gatewright_crds::istio::{Gateway, VirtualService};
use gatewright_crds::istio_gateway::{GATEWAY_NAMESPACE, IstioGateway};
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::runtime::reflector::{self, store::Writer};
use kube::runtime::{WatchStreamExt, watcher};
use serde::de::DeserializeOwned;

use crate::outside::Outside;

/// Secrets that are no certificates, and can be large or many.
const OTHER_SECRETS: &str = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token,\
                             type!=kubernetes.io/dockerconfigjson";

/// What changed.
pub(super) enum Change {
    Secret(Box<Secret>),
    Structure,
}

/// The reflectors' stores.
pub(super) struct Seen {
    pub(super) gateways: reflector::Store<IstioGateway>,
    pub(super) servers: reflector::Store<Gateway>,
    pub(super) virtual_services: reflector::Store<VirtualService>,
    pub(super) services: reflector::Store<Service>,
    pub(super) slices: reflector::Store<EndpointSlice>,
    pub(super) secrets: reflector::Store<Secret>,
    pub(super) pods: reflector::Store<Pod>,
}

impl Seen {
    /// Watches; `changes` must be read for the stores to move.
    pub(super) fn watch(
        outside: &Outside,
        changes: &mut SelectAll<BoxStream<'static, Change>>,
    ) -> Self {
        let kube = &outside.kube;
        let all = watcher::Config::default;
        let proxies = all().labels("app.kubernetes.io/component=gateway-proxy");
        // Secrets of other namespaces cannot be used by a gateway, so they are not even asked for.
        let secrets = Api::namespaced(kube.clone(), GATEWAY_NAMESPACE);
        let secret = |secret| Change::Secret(Box::new(secret));
        Self {
            gateways: reflect(outside, Api::all(kube.clone()), all(), structure, changes),
            servers: reflect(outside, Api::all(kube.clone()), all(), structure, changes),
            virtual_services: reflect(outside, Api::all(kube.clone()), all(), structure, changes),
            services: reflect(outside, Api::all(kube.clone()), all(), structure, changes),
            slices: reflect(outside, Api::all(kube.clone()), all(), structure, changes),
            secrets: reflect(
                outside,
                secrets,
                all().fields(OTHER_SECRETS),
                secret,
                changes,
            ),
            pods: reflect(outside, Api::all(kube.clone()), proxies, structure, changes),
        }
    }

    /// Every kind has been listed once. Before, a missing object means nothing.
    pub(super) fn is_complete(&self) -> bool {
        self.gateways.wait_until_ready().now_or_never().is_some()
            && self.servers.wait_until_ready().now_or_never().is_some()
            && self
                .virtual_services
                .wait_until_ready()
                .now_or_never()
                .is_some()
            && self.services.wait_until_ready().now_or_never().is_some()
            && self.slices.wait_until_ready().now_or_never().is_some()
            && self.secrets.wait_until_ready().now_or_never().is_some()
            && self.pods.wait_until_ready().now_or_never().is_some()
    }
}

/// All objects of `store`, by namespace and name: it keeps them in another order in each process.
pub(super) fn in_order<K>(store: &reflector::Store<K>) -> Vec<Arc<K>>
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    let mut all = store.state();
    all.sort_by(|one, other| place(one.meta()).cmp(&place(other.meta())));
    all
}

fn place(meta: &ObjectMeta) -> (Option<&String>, Option<&String>) {
    (meta.namespace.as_ref(), meta.name.as_ref())
}

fn structure<K>(_: K) -> Change {
    Change::Structure
}

/// Keeps a store of all objects of `api`, and adds their changes to `changes`.
fn reflect<K>(
    outside: &Outside,
    api: Api<K>,
    config: watcher::Config,
    change: impl Fn(K) -> Change + Send + Sync + Copy + 'static,
    changes: &mut SelectAll<BoxStream<'static, Change>>,
) -> reflector::Store<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let writer = Writer::default();
    let store = writer.as_reader();
    let events = watcher::watcher(api, config)
        .backoff(outside.watch_backoff(1))
        .reflect(writer)
        .map(move |event| match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                Some(change(object))
            }
            Ok(watcher::Event::Delete(_) | watcher::Event::InitDone) => Some(Change::Structure),
            Ok(watcher::Event::Init) => None,
            Err(error) => {
                tracing::debug!(kind = %K::kind(&()), %error, "watching");
                None
            }
        })
        .filter_map(|change| async move { change });
    changes.push(events.boxed());
    store
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;

    use super::*;

    #[test]
    fn objects_come_by_namespace_and_name() {
        let mut writer = Writer::<Pod>::default();
        // In the order of a hash these would come right once in 10^18 times.
        let all = (0..20).map(|number| (format!("ns-{}", number % 2), format!("pod-{number:02}")));
        let mut expected: Vec<_> = all.collect();
        for (namespace, name) in &expected {
            let pod = serde_json::json!({ "metadata": { "namespace": namespace, "name": name } });
            let pod = serde_json::from_value(pod).unwrap();
            writer.apply_watcher_event(&watcher::Event::Apply(pod));
        }
        let found = in_order(&writer.as_reader()).into_iter();
        let found = found.map(|pod| (pod.namespace().unwrap(), pod.name_any()));
        expected.sort();
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}
