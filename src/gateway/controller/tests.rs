use std::time::Duration;

use gatewright_crds::conditions;
use gatewright_crds::istio_gateway::{GatewayState, IstioGateway};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use serde_json::json;

use super::{Controller, Deployment, READY, Secret, Service, Settings};
use crate::identity::Identity;
use crate::kubernetes::apply;
use crate::laptop::Laptop;

#[tokio::test(start_paused = true)]
async fn a_gateway_outside_of_its_namespace_is_refused_and_gets_no_children() {
    let laptop = Laptop::in_memory().await;
    let clock = laptop.clock;
    let outside = laptop.outside(laptop.tasks.child()).unwrap();
    let settings = Settings {
        proxy_image: "proxy:1".into(),
        xds_host: "127.0.0.1".into(),
        xds_port: 15010,
    };
    let identity = Identity::load_or_create(&outside, "gatewright-system")
        .await
        .unwrap();
    let kube = laptop.client();
    for namespace in ["default", "istio-system"] {
        let gateway: IstioGateway = serde_json::from_value(json!({
            "metadata": { "name": "edge", "namespace": namespace }, "spec": {},
        }))
        .unwrap();
        apply(&kube, "test", &gateway).await.unwrap();
    }
    let controller = Controller::new(outside, settings, identity);
    laptop.tasks.spawn("gateways", controller.run());
    let refused: Api<IstioGateway> = Api::namespaced(kube.clone(), "default");
    let seen = clock.timeout(Duration::from_mins(1), async {
        let status = loop {
            let status = refused.get("edge").await.unwrap().status;
            if let Some(status) = status {
                break status;
            }
            clock.sleep(Duration::from_millis(10)).await;
        };
        // The other one shows that the controller had the time to make children.
        let services: Api<Service> = Api::namespaced(kube.clone(), "istio-system");
        while services.get("istio-edge").await.is_err() {
            clock.sleep(Duration::from_millis(10)).await;
        }
        let events: Api<Event> = Api::namespaced(kube.clone(), "default");
        loop {
            let all = events.list(&ListParams::default()).await.unwrap().items;
            let told = all
                .iter()
                .find(|e| e.reason.as_deref() == Some("WrongNamespace"));
            if let Some(event) = told {
                break (status, event.clone());
            }
            clock.sleep(Duration::from_millis(10)).await;
        }
    });
    let (status, event) = seen.await.unwrap();
    let ready = conditions::get(&status.conditions, READY).unwrap();
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("False", "WrongNamespace")
    );
    assert!(ready.message.contains("istio-system"), "{}", ready.message);
    assert_eq!(status.status, Some(GatewayState::ReconcileFailed));
    assert_eq!(status.error_message.as_ref(), Some(&ready.message));
    assert_eq!(
        event.regarding.unwrap().kind.as_deref(),
        Some("IstioGateway")
    );
    let mut made = children::<Service>(&kube).await;
    made.extend(children::<Deployment>(&kube).await);
    made.extend(children::<Secret>(&kube).await);
    made.extend(children::<ServiceAccount>(&kube).await);
    assert!(made.is_empty(), "{made:?}");
    laptop.tasks.cancel();
}

/// Names of the objects in the namespace `default` that a gateway owns.
async fn children<K>(kube: &kube::Client) -> Vec<String>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(kube.clone(), "default");
    let all = api.list(&ListParams::default()).await.unwrap().items;
    let owned = all.iter().map(kube::Resource::meta).filter(|meta| {
        let owners = meta.owner_references.iter().flatten();
        owners.into_iter().any(|owner| owner.kind == "IstioGateway")
    });
    owned.filter_map(|meta| meta.name.clone()).collect()
}
