//! Bad input and broken surroundings: refused with the field, or told in a condition with the cause
//! and an event, with nothing half made; and mended without a restart.
#![expect(
    clippy::unwrap_used,
    reason = "a failed step is a failed test, and what was tried stands in the output"
)]

use std::time::Duration;

use bytes::Bytes;
use gatewright::laptop::apply_yaml;
use gatewright::outside::Transport;
use gatewright_seams::Random;
use gatewright_tests::{ACCESS_KEY, EXAMPLES, GATEWAY_NAMESPACE, PUBLIC, Sim};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use mock_acme::RequestFault;
use mock_cloud::{AccessKey, DataPlane, MockCloud, Options, Storage};
use serde_json::{Value, json};
use tower::util::BoxCloneSyncService;

const LIMIT: Duration = Duration::from_mins(10);

fn gateway(spec: &Value) -> Value {
    json!({
        "apiVersion": "istio.alibabacloud.com/v1beta1",
        "kind": "IstioGateway",
        "metadata": { "name": "ingressgateway", "namespace": GATEWAY_NAMESPACE },
        "spec": spec,
    })
}

fn certificate(name: &str) -> Value {
    json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": { "name": "shop", "namespace": GATEWAY_NAMESPACE },
        "spec": { "secretName": "shop-tls", "issuerRef": { "name": "acme" }, "dnsNames": [name] },
    })
}

#[tokio::test(start_paused = true)]
async fn the_api_server_refuses_bad_objects_and_names_the_field() {
    let sim = Sim::start().await;
    let balanced =
        json!({ "serviceType": "LoadBalancer", "loadBalancerClass": "gatewright.dev/clb" });
    let with = |key: &str, value: Value| {
        let mut spec = balanced.clone();
        spec[key] = value;
        gateway(&spec)
    };
    for (object, field) in [
        (with("replicaCuont", json!(2)), "spec.replicaCuont"),
        (
            with("ports", json!([{ "name": "https", "port": 70000 }])),
            "spec.ports[0].port",
        ),
        (certificate("not_a_name.."), "spec.dnsNames[0]"),
    ] {
        let error = sim.apply(object.clone()).await.expect_err("refused");
        let kube::Error::Api(status) = &error else {
            panic!("{error}")
        };
        // A field that the schema does not have is a 500 where a server-side apply has it, as it is
        // from the real server.
        assert!((400..=500).contains(&status.code), "{status:?}");
        assert!(
            status.message.contains(field),
            "{field} is not named: {}",
            status.message
        );
    }
    sim.pass(Duration::from_mins(5)).await;
    assert!(sim.laptop.cloud.inventory().is_empty());
    assert_eq!(sim.laptop.cloud.ledger().total(), 0, "no cloud call");
    assert!(sim.world.proxies().is_empty());
    assert!(sim.certificate().await.is_none());
}

async fn secret(sim: &Sim) -> Option<Secret> {
    let secrets: Api<Secret> = Api::namespaced(sim.kube.clone(), GATEWAY_NAMESPACE);
    secrets.get_opt("shop-tls").await.unwrap()
}

/// Nobody answers.
fn unreachable() -> Transport {
    BoxCloneSyncService::new(tower::service_fn(|_: http::Request<Bytes>| async {
        Err::<http::Response<Bytes>, _>("connection refused".into())
    }))
}

/// Waits until Issuer and Certificate say that the server cannot be reached, and looks at the rest.
async fn told_unreachable(sim: &Sim, cause: &str) {
    let (issuer, certificate) = sim
        .until("both say AcmeUnreachable", LIMIT, async || {
            let issuer = sim.issuer_condition("Ready").await?;
            let certificate = sim.certificate_condition("Ready").await?;
            let told =
                issuer.reason == "AcmeUnreachable" && certificate.reason == "AcmeUnreachable";
            told.then_some((issuer, certificate))
        })
        .await;
    for condition in [issuer, certificate] {
        assert_eq!(condition.status, "False", "{condition:?}");
        assert!(condition.message.contains(cause), "{condition:?}");
    }
    let events = sim.events().await;
    for about in ["Issuer/acme", "Certificate/shop"] {
        let told = |event: &&String| event.starts_with(&format!("{about} AcmeUnreachable: "));
        assert!(
            events.iter().any(|event| told(&event)),
            "no event for {about}: {events:#?}"
        );
    }
    assert!(secret(sim).await.is_none(), "a half-made secret");
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_acme_server_is_told_and_recovered_from() {
    let sim = Sim::start().await;
    sim.internet.set(unreachable());
    sim.apply_quickstart().await;
    told_unreachable(&sim, "connection refused").await;
    sim.wait_balanced(2).await;
    let tries = sim.acme_calls.count();
    sim.pass(Duration::from_mins(30)).await;
    // Each try asks for the directory; the Issuer and the Certificate try about once a minute.
    let more = sim.acme_calls.count() - tries;
    assert!((20..=180).contains(&more), "{more} tries in half an hour");
    sim.internet.set(sim.laptop.acme_transport());
    assert_eq!(sim.wait_served().await, 1);
    let issuer = sim.issuer_condition("Ready").await.unwrap();
    assert_eq!(issuer.status, "True", "{issuer:?}");
}

#[tokio::test(start_paused = true)]
async fn an_acme_server_that_does_not_answer_is_told_and_recovered_from() {
    let sim = Sim::start().await;
    sim.laptop
        .acme
        .faults()
        .request(None, RequestFault::NeverAnswer, u32::MAX);
    sim.apply_quickstart().await;
    told_unreachable(&sim, "no answer").await;
    sim.laptop.acme.faults().clear();
    assert_eq!(sim.wait_served().await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_with_an_unknown_host_is_told_and_mended_by_an_edit() {
    let sim = Sim::start().await;
    let issuer = |server: &str| {
        json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "Issuer",
            "metadata": { "name": "acme", "namespace": GATEWAY_NAMESPACE },
            "spec": { "acme": {
                "server": server,
                "email": "ops@example.com",
                "privateKeySecretRef": { "name": "acme-account" },
                "solvers": [{ "http01": { "ingress": { "ingressClassName": "gatewright" } } }],
            }},
        })
    };
    sim.apply(issuer("https://nowhere.gatewright.test/directory"))
        .await
        .unwrap();
    for yaml in EXAMPLES
        .iter()
        .filter(|yaml| !yaml.contains("kind: Issuer\n"))
    {
        apply_yaml(&sim.kube, yaml).await.unwrap();
    }
    told_unreachable(&sim, "nowhere.gatewright.test").await;
    sim.apply(issuer("https://acme.gatewright.test/directory"))
        .await
        .unwrap();
    assert_eq!(sim.wait_served().await, 1);
}

/// A cloud that knows another key pair.
async fn cloud_with_key(sim: &Sim, id: &str, secret: &str) -> MockCloud {
    MockCloud::start(Options {
        storage: Storage::Memory,
        clock: *sim.clock(),
        random: Random::seeded(7),
        tasks: sim.laptop.tasks.clone(),
        region: gatewright::laptop::REGION.into(),
        access_keys: vec![AccessKey {
            id: id.into(),
            secret: secret.into(),
        }],
        data_plane: DataPlane::Off,
    })
    .await
    .unwrap()
}

async fn wrong_key(id: &str, secret: &str, code: &str) {
    let sim = Sim::start().await;
    let refusing = cloud_with_key(&sim, id, secret).await;
    sim.cloud.set(BoxCloneSyncService::new(refusing.service()));
    sim.apply_gateway().await;
    let condition = sim
        .until("the service says CloudRefused", LIMIT, async || {
            let condition = sim.service_condition(PUBLIC).await?;
            (condition.reason == "CloudRefused").then_some(condition)
        })
        .await;
    assert_eq!(condition.status, "False");
    assert!(condition.message.contains(code), "{}", condition.message);
    for never in [ACCESS_KEY.1, "Signature="] {
        assert!(!condition.message.contains(never), "{}", condition.message);
    }
    let events = sim.events().await;
    let told = format!("Service/{PUBLIC} CloudRefused: ");
    assert!(
        events.iter().any(|event| event.starts_with(&told)),
        "no event: {events:#?}"
    );
    sim.pass(Duration::from_mins(10)).await;
    assert!(refusing.inventory().is_empty() && sim.laptop.cloud.inventory().is_empty());
    // What only a person can mend is not hammered: two Services, about one try in two minutes each.
    assert!(
        refusing.ledger().total() <= 30,
        "{} calls",
        refusing.ledger().total()
    );

    sim.cloud.set(sim.laptop.cloud_transport());
    sim.wait_balanced(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_secret_is_told_and_recovered_from() {
    wrong_key(ACCESS_KEY.0, "another-secret", "SignatureDoesNotMatch").await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_told_and_recovered_from() {
    wrong_key("another-key", ACCESS_KEY.1, "InvalidAccessKeyId.NotFound").await;
}
