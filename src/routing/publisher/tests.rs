use std::time::Duration;

use gatewright_crds::conditions;
use gatewright_crds::istio::{Gateway, VirtualService};
use gatewright_xds::{ResourceType, Store};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, ListParams};
use local_kube::{Fault, Matching};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::json;

use super::*;
use crate::kubernetes::apply;
use crate::laptop::Laptop;
use crate::outside::Network;

/// Of a paused clock: far more than anything here needs.
const LIMIT: Duration = Duration::from_mins(1);
const NAME: &str = "kubernetes://istio-system/shop-tls";

/// An API server with a gateway, an HTTPS server that uses `shop-tls`, and a publisher.
struct World {
    laptop: Laptop,
    store: Store,
    id: GatewayId,
}

impl World {
    async fn start() -> Self {
        let laptop = Laptop::in_memory().await;
        let world = Self {
            store: Store::new(laptop.clock),
            id: GatewayId::new("istio-system", "edge").unwrap(),
            laptop,
        };
        let gateway = json!({
            "metadata": { "name": "edge", "namespace": "istio-system" }, "spec": {},
        });
        world.apply::<IstioGateway>(gateway).await;
        let server = json!({
            "port": { "number": 443, "name": "https", "protocol": "HTTPS" },
            "hosts": ["shop.example.com"],
            "tls": { "mode": "SIMPLE", "credentialName": "shop-tls" },
        });
        world.apply_gateway("edge", &json!([server])).await;
        let mut outside = world.laptop.outside(world.laptop.tasks.child()).unwrap();
        // As in a cluster: one set of resources for all proxies.
        outside.network = Network::default();
        let standing = Standing {
            leads: true,
            answers: ("127.0.0.1".to_owned(), 8089),
        };
        let standing = watch::channel(standing).1;
        let publisher = Publisher::new(outside, world.store.clone(), standing);
        world.laptop.tasks.spawn("publisher", publisher.run());
        world
    }

    async fn apply<K>(&self, object: serde_json::Value) -> K
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + serde::de::DeserializeOwned
            + serde::Serialize
            + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(object).unwrap();
        apply(&self.laptop.client(), "test", &object).await.unwrap()
    }

    async fn apply_gateway(&self, selected: &str, servers: &serde_json::Value) {
        self.apply::<Gateway>(json!({
            "metadata": { "name": "web", "namespace": "istio-system" },
            "spec": { "selector": { "istio": selected }, "servers": servers },
        }))
        .await;
    }

    /// Writes the Secret `shop-tls`; returns the private key as it stands there.
    async fn write_secret(&self, kind: &str, names: [&str; 2], pair: &(String, String)) {
        let secret = json!({
            "metadata": { "name": "shop-tls", "namespace": "istio-system" },
            "type": kind,
            "stringData": { names[0]: pair.0, names[1]: pair.1 },
        });
        self.apply::<Secret>(secret).await;
    }

    async fn rotate(&self, pair: &(String, String)) {
        self.write_secret("kubernetes.io/tls", ["tls.crt", "tls.key"], pair)
            .await;
    }

    /// The chain that the proxies are given.
    fn published(&self) -> Option<String> {
        use gatewright_xds::proto::envoy::config::core::v3::data_source::Specifier;
        use gatewright_xds::proto::envoy::extensions::transport_sockets::tls::v3 as tls;
        let resource = self.store.get(&self.id, ResourceType::Secret, NAME)?;
        let secret: tls::Secret = resource.decode().unwrap();
        let Some(tls::secret::Type::TlsCertificate(certificate)) = secret.r#type else {
            panic!("not a certificate");
        };
        match certificate.certificate_chain?.specifier? {
            Specifier::InlineBytes(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    async fn wait<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let clock = self.laptop.clock;
        let found = clock.timeout(LIMIT, async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                clock.sleep(Duration::from_millis(1)).await;
            }
        });
        found.await.unwrap_or_else(|_| panic!("not seen: {what}"))
    }

    async fn wait_published(&self, chain: &str) {
        self.wait("the chain", async || {
            (self.published().as_deref() == Some(chain)).then_some(())
        })
        .await;
    }

    /// Waits until the Gateway's `Programmed` condition has `reason`; returns its message.
    async fn wait_reason(&self, reason: &str) -> String {
        let api: Api<Gateway> = Api::namespaced(self.laptop.client(), "istio-system");
        self.wait(reason, async || {
            let status = api.get("web").await.ok()?.status?;
            let condition = conditions::get(&status.conditions, "Programmed")?;
            let holds = if reason == "Programmed" {
                "True"
            } else {
                "False"
            };
            (condition.reason == reason && condition.status == holds)
                .then(|| condition.message.clone())
        })
        .await
    }

    async fn wait_event(&self, reason: &str) -> Event {
        let api: Api<Event> = Api::all(self.laptop.client());
        self.wait(&format!("an event {reason}"), async || {
            let events = api.list(&ListParams::default()).await.ok()?.items;
            events
                .into_iter()
                .find(|event| event.reason.as_deref() == Some(reason))
        })
        .await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.laptop.tasks.cancel();
    }
}

/// Chain and key, valid until the first day of `year`.
fn pair(year: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["shop.example.com".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(year, 1, 1);
    let chain = params.self_signed(&key).unwrap().pem();
    (chain, key.serialize_pem())
}

#[tokio::test(start_paused = true)]
async fn a_rotation_goes_straight_to_the_store() {
    let world = World::start().await;
    let clock = world.laptop.clock;
    let first = pair(2031);
    world.rotate(&first).await;
    world.wait_published(&first.0).await;
    world.wait_reason("Programmed").await;
    let listeners = world.store.list(&world.id, ResourceType::Listener);

    let mut changes = world.store.subscribe(&world.id);
    for _ in 0..3 {
        let next = pair(2031);
        world.rotate(&next).await;
        let before = clock.elapsed();
        clock.timeout(LIMIT, changes.next()).await.unwrap();
        assert_eq!(world.published().as_deref(), Some(next.0.as_str()));
        // A translation comes only after SETTLE.
        assert!(clock.elapsed() < before + SETTLE, "it waited");
    }
    let after = world.store.list(&world.id, ResourceType::Listener);
    let version = |all: &[Resource]| all.iter().map(Resource::version).collect::<Vec<_>>();
    assert_eq!(version(&after), version(&listeners));
}

#[tokio::test(start_paused = true)]
async fn an_unusable_secret_leaves_the_last_good_one_and_is_named_on_the_gateway() {
    let world = World::start().await;
    let good = pair(2031);
    world.rotate(&good).await;
    world.wait_published(&good.0).await;
    world.wait_reason("Programmed").await;

    let foreign = (pair(2031).0, pair(2031).1);
    world.rotate(&foreign).await;
    let message = world.wait_reason("InvalidSecret").await;
    assert!(
        message.contains("istio-system/shop-tls")
            && message.contains("the key does not belong to the certificate"),
        "{message}"
    );
    assert!(!message.contains("PRIVATE"), "{message}");
    let event = world.wait_event("InvalidSecret").await;
    let about = event.regarding.unwrap();
    assert_eq!(
        (about.kind.unwrap(), about.name.unwrap()),
        ("Gateway".into(), "web".into())
    );
    assert_eq!(event.note.unwrap(), message);
    assert_eq!(world.published().as_deref(), Some(good.0.as_str()));

    world.rotate(&pair(2029)).await;
    let message = world
        .wait("the other cause", async || {
            let message = world.wait_reason("InvalidSecret").await;
            message.contains("expired").then_some(message)
        })
        .await;
    assert!(message.contains("2029-01-01"), "{message}");
    assert_eq!(world.published().as_deref(), Some(good.0.as_str()));

    let repaired = pair(2031);
    world.rotate(&repaired).await;
    world.wait_published(&repaired.0).await;
    world.wait_reason("Programmed").await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_is_named_until_it_comes() {
    let world = World::start().await;
    let message = world.wait_reason("SecretNotFound").await;
    assert_eq!(message, "there is no secret istio-system/shop-tls");
    world.wait_event("SecretNotFound").await;
    let good = pair(2031);
    world.rotate(&good).await;
    world.wait_published(&good.0).await;
    world.wait_reason("Programmed").await;

    let api: Api<Secret> = Api::namespaced(world.laptop.client(), "istio-system");
    api.delete("shop-tls", &DeleteParams::default())
        .await
        .unwrap();
    world.wait_reason("SecretNotFound").await;
    assert_eq!(world.published().as_deref(), Some(good.0.as_str()));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_does_not_wait_for_a_status_that_hangs() {
    let world = World::start().await;
    let clock = world.laptop.clock;
    let good = pair(2031);
    world.rotate(&good).await;
    world.wait_published(&good.0).await;
    world.wait_reason("Programmed").await;

    let faults = world.laptop.kube.faults();
    let writes = Matching {
        resource: Some("gateways.networking.istio.io/status".into()),
        ..Matching::any()
    };
    faults.next(writes, Fault::Delay(Duration::from_hours(1)), 1);
    world.rotate(&(pair(2031).0, pair(2031).1)).await;
    world
        .wait("the status being written", async || {
            (faults.pending() == 0).then_some(())
        })
        .await;
    let mut changes = world.store.subscribe(&world.id);
    let next = pair(2031);
    world.rotate(&next).await;
    let before = clock.elapsed();
    clock.timeout(LIMIT, changes.next()).await.unwrap();
    assert_eq!(world.published().as_deref(), Some(next.0.as_str()));
    assert!(clock.elapsed() < before + SETTLE, "it waited");
}

#[tokio::test(start_paused = true)]
async fn secrets_of_any_type_with_istio_s_names_are_used() {
    for names in [["tls.crt", "tls.key"], ["cert", "key"]] {
        let world = World::start().await;
        let pair = pair(2031);
        world.write_secret("Opaque", names, &pair).await;
        world.wait_published(&pair.0).await;
        world.wait_reason("Programmed").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_selects_no_proxies_is_told_so() {
    let world = World::start().await;
    world.apply_gateway("elsewhere", &json!([])).await;
    world.wait_reason("NotSelected").await;
    world.apply_gateway("edge", &json!([])).await;
    world.wait_reason("Programmed").await;
}

#[tokio::test(start_paused = true)]
async fn a_route_that_cannot_be_made_is_named_on_its_virtual_service() {
    let world = World::start().await;
    world
        .apply::<VirtualService>(json!({
            "metadata": { "name": "shop", "namespace": "istio-system" },
            "spec": {
                "hosts": ["shop.example.com"], "gateways": ["web"],
                "http": [{
                    "match": [{ "uri": { "regex": "/(?=a)" } }],
                    "directResponse": { "status": 200 },
                }],
            },
        }))
        .await;
    let api: Api<VirtualService> = Api::namespaced(world.laptop.client(), "istio-system");
    let message = world
        .wait("the condition", async || {
            let status = api.get("shop").await.ok()?.status?;
            let condition = conditions::get(&status.conditions, "Programmed")?.clone();
            (condition.reason == "InvalidRegex").then_some(condition.message)
        })
        .await;
    assert!(message.starts_with("spec.http[0]: match[0]: "), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_in_another_namespace_gets_no_resources() {
    let world = World::start().await;
    world
        .apply::<IstioGateway>(json!({
            "metadata": { "name": "edge", "namespace": "default" }, "spec": {},
        }))
        .await;
    world.wait_reason("SecretNotFound").await;
    assert_eq!(world.store.gateways(), std::slice::from_ref(&world.id));
}
