//! What is wrong with one server or one gateway stays there.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use gatewright::laptop::apply_object;
use gatewright::proxy::{Proxy, ProxyOptions, admin_get};
use gatewright_crds::conditions::{self, Condition};
use gatewright_crds::istio::Gateway;
use gatewright_tests::{Client, Rig, envoy};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

const HOST: &str = "shop.example.com";
const LIMIT: Duration = Duration::from_secs(30);
type Data = BTreeMap<String, ByteString>;

async fn data_of(rig: &Rig, secret: &str) -> Data {
    let api: Api<Secret> = Api::namespaced(rig.kube(), "istio-system");
    api.get(secret).await.unwrap().data.unwrap()
}

async fn put_secret(rig: &Rig, name: &str, data: &Data) {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "namespace": "istio-system" },
        "type": "kubernetes.io/tls",
        "data": data,
    });
    apply_object(&rig.kube(), secret).await.unwrap();
}

/// Waits until the Gateway is programmed, or is not because of `cause`.
async fn wait_programmed(rig: &Rig, programmed: bool, cause: &str) -> Condition {
    let api: Api<Gateway> = Api::namespaced(rig.kube(), "istio-system");
    let found = || async {
        let held = api.get("shop").await.ok()?.status?;
        let found = conditions::get(&held.conditions, "Programmed")?.clone();
        let wanted = if programmed { "True" } else { "False" };
        (found.status == wanted && found.message.contains(cause)).then_some(found)
    };
    rig.wait(&format!("Programmed {programmed}, {cause:?}"), LIMIT, found)
        .await
}

async fn assert_serves(rig: &Rig, client: &Client, serial: &str) {
    for address in rig.addresses(443).await {
        let answer = client.get(address, HOST, "/basket").await.unwrap();
        assert_eq!((answer.status, answer.serial.as_str()), (200, serial));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_cannot_be_used_takes_no_other_server_down() {
    let rig = Rig::quickstart().await;
    let client = Client::trusting(&rig.root_pem()).unwrap();
    let old = data_of(&rig, "shop-tls").await;
    let serial = rig.rotate("shop").await;
    let good = data_of(&rig, "shop-tls").await;

    // The certificate of one pair with the key of another.
    let mut mismatched = good.clone();
    mismatched.insert("tls.key".into(), old["tls.key"].clone());
    put_secret(&rig, "other-tls", &mismatched).await;
    let servers: Api<Gateway> = Api::namespaced(rig.kube(), "istio-system");
    let other = json!({
        "hosts": ["other.example.com"],
        "port": { "number": 443, "name": "https-other", "protocol": "HTTPS" },
        "tls": { "mode": "SIMPLE", "credentialName": "other-tls" },
    });
    let add: Patch<Value> = Patch::Json(
        serde_json::from_value(json!([{ "op": "add", "path": "/spec/servers/-", "value": other }]))
            .unwrap(),
    );
    servers
        .patch("shop", &PatchParams::default(), &add)
        .await
        .unwrap();
    let told = wait_programmed(&rig, false, "other-tls").await;
    assert!(!told.message.contains("PRIVATE KEY"), "{told:?}");
    let events: Api<Event> = Api::namespaced(rig.kube(), "istio-system");
    let event = || async {
        let all = events.list(&ListParams::default()).await.ok()?.items;
        let about = |event: &Event| {
            let kind = event.regarding.as_ref()?.kind.as_deref()?;
            Some(kind == "Gateway" && event.note.as_deref()?.contains("other-tls"))
        };
        all.iter()
            .any(|event| about(event) == Some(true))
            .then_some(())
    };
    rig.wait("an event about the secret", LIMIT, event).await;
    assert_serves(&rig, &client, &serial).await;
    let serial = rig.rotate("shop").await;
    assert_serves(&rig, &client, &serial).await;

    let garbage = Data::from([
        ("tls.crt".into(), ByteString(b"not a certificate".to_vec())),
        ("tls.key".into(), ByteString(b"not a key".to_vec())),
    ]);
    put_secret(&rig, "other-tls", &garbage).await;
    wait_programmed(&rig, false, "other-tls").await;
    let serial = rig.rotate("shop").await;
    assert_serves(&rig, &client, &serial).await;

    put_secret(&rig, "other-tls", &good).await;
    wait_programmed(&rig, true, "").await;
    assert_serves(&rig, &client, &serial).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_identity_of_one_gateway_opens_nothing_of_another() {
    let rig = Rig::quickstart().await;
    let clock = rig.laptop.clock;
    let victims = rig.proxies().await;
    let victim = victims.keys().next().unwrap();
    let other = json!({
        "apiVersion": "istio.alibabacloud.com/v1beta1",
        "kind": "IstioGateway",
        "metadata": { "name": "other", "namespace": "istio-system" },
        "spec": { "gatewayType": "ingress", "replicaCount": 1, "serviceType": "ClusterIP" },
    });
    apply_object(&rig.kube(), other).await.unwrap();
    let started = || async {
        let all = rig.proxies().await;
        let mut new = all
            .into_iter()
            .filter(|(name, proxy)| !victims.contains_key(name) && proxy.ready);
        new.next().map(|(_, proxy)| proxy)
    };
    let own = rig.wait("the other gateway's proxy", LIMIT, started).await;
    // As itself it is served.
    assert!(
        rig.stat(own.admin, "listener_manager.lds.update_success")
            .await
            >= 1
    );

    // The other gateway's files, with a node id of the first one.
    let IpAddr::V4(address) = own.admin.ip() else {
        unreachable!("the runner gives IPv4 addresses")
    };
    let [a, b, ..] = address.octets();
    let place = IpAddr::from([a, b, 200, 200]);
    let files = rig.directory.join(&own.uid).join("rendered");
    let bootstrap = std::fs::read_to_string(files.join("envoy.json")).unwrap();
    let directory = rig.directory.join("impostor");
    std::fs::create_dir_all(&directory).unwrap();
    let config = directory.join("envoy.json");
    let bootstrap = bootstrap.replace(&address.to_string(), &place.to_string());
    std::fs::write(&config, bootstrap).unwrap();
    let admin = SocketAddr::new(place, own.admin.port());
    let impostor = Proxy::start(ProxyOptions {
        envoy: envoy(),
        config,
        node: format!("istio-system/ingressgateway/{victim}"),
        cluster: "istio-ingressgateway".into(),
        admin,
        log: Some(directory.join("envoy.log")),
        drain: Duration::from_secs(1),
        concurrency: 1,
    })
    .unwrap();
    let refused = || async {
        admin_get(&clock, admin, "/stats?filter=nothing")
            .await
            .ok()?;
        let tries = rig
            .stat(admin, "cluster.gatewright-xds.upstream_rq_completed")
            .await;
        (tries >= 2).then_some(())
    };
    rig.wait("two refused tries", LIMIT, refused).await;
    for counter in [
        "listener_manager.lds.update_success",
        "cluster_manager.cds.update_success",
        "control_plane.connected_state",
    ] {
        assert_eq!(rig.stat(admin, counter).await, 0, "{counter}");
    }
    let dump = admin_get(&clock, admin, "/config_dump").await.unwrap();
    let dump = String::from_utf8_lossy(&dump).into_owned();
    assert!(!dump.contains("shop"), "{dump}");
    impostor.stop(&clock).await;
    rig.stop().await;
}
