use std::time::Duration;

use gatewright_crds::cert_manager::names;
use gatewright_crds::conditions::{self, Finding};
use gatewright_seams::{Random, Tasks};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use local_kube::{LocalKube, Storage};
use serde_json::json;

use super::*;
use crate::certificate::SERVED;
use crate::kubernetes::{FIELD_MANAGER, apply_status};

const NAMESPACE: &str = "default";
/// Far more than needed; the clock is paused.
const LIMIT: Duration = Duration::from_mins(1);

/// An API server with the Certificate `shop`, issued once.
async fn cluster(tasks: &Tasks, clock: Clock) -> (kube::Client, Certificate) {
    let server = LocalKube::start(local_kube::Options {
        storage: Storage::Memory,
        clock,
        random: Random::seeded(1),
        tasks: tasks.clone(),
    })
    .await
    .unwrap();
    let client = kube::Client::new(server.service(), NAMESPACE);
    let kinds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for kind in gatewright_crds::all().unwrap() {
        if kind.name_any() == "certificates.cert-manager.io" {
            kinds.create(&PostParams::default(), &kind).await.unwrap();
        }
    }
    let api: Api<Certificate> = Api::namespaced(client.clone(), NAMESPACE);
    let certificate: Certificate = serde_json::from_value(json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": { "name": "shop", "namespace": NAMESPACE },
        "spec": {
            "secretName": "shop-tls", "issuerRef": { "name": "acme" },
            "dnsNames": ["shop.example.com"],
        },
    }))
    .unwrap();
    let made = clock
        .timeout(LIMIT, async {
            loop {
                match api.create(&PostParams::default(), &certificate).await {
                    Ok(made) => break made,
                    Err(_not_served_yet) => clock.sleep(Duration::from_millis(10)).await,
                }
            }
        })
        .await
        .unwrap();
    let mut status = made.status.clone().unwrap_or_default();
    status.revision = Some(1);
    let served = Finding::new(
        SERVED,
        true,
        "SeenEverywhere",
        "serial 1 was seen at 4 places",
    );
    conditions::set(&mut status.conditions, served, Some(1), clock.now());
    let held = apply_status(&client, FIELD_MANAGER, &made, &status)
        .await
        .unwrap();
    (client, held)
}

/// Plays the daemon: once asked, does to the status what `steps` say, one write each.
async fn daemon(
    client: kube::Client,
    clock: Clock,
    steps: Vec<fn(&mut gatewright_crds::cert_manager::CertificateStatus, jiff::Timestamp)>,
) {
    let api: Api<Certificate> = Api::namespaced(client.clone(), NAMESPACE);
    let mut steps = steps.into_iter();
    loop {
        clock.sleep(Duration::from_millis(50)).await;
        let held = api.get("shop").await.unwrap();
        let mut status = held.status.clone().unwrap();
        let asked = conditions::is_true(&status.conditions, names::ISSUING);
        if !asked && steps.len() > 0 && status.revision == Some(1) {
            continue;
        }
        let Some(step) = steps.next() else { return };
        step(&mut status, clock.now());
        apply_status(&client, FIELD_MANAGER, &held, &status)
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_followed_until_it_is_served() {
    let (tasks, clock) = (
        Tasks::new(),
        Clock::starting_at("2030-01-01T00:00:00Z".parse().unwrap()),
    );
    let (client, held) = cluster(&tasks, clock).await;
    let acting = daemon(
        client.clone(),
        clock,
        vec![
            |status, now| {
                let served = Finding::new(SERVED, false, "Rotating", "on its way");
                conditions::set(&mut status.conditions, served, Some(1), now);
            },
            |status, _| {
                conditions::remove(&mut status.conditions, names::ISSUING);
                status.revision = Some(2);
            },
            |status, now| {
                let message = "serial 2 was seen at 4 places";
                let served = Finding::new(SERVED, true, "SeenEverywhere", message);
                conditions::set(&mut status.conditions, served, Some(1), now);
            },
        ],
    );
    let mut lines = Vec::new();
    let mut told = |line: String| lines.push(line);
    let rotating = rotate(
        &client,
        Some(NAMESPACE),
        vec![held],
        LIMIT,
        clock,
        &mut told,
    );
    let (outcomes, ()) = tokio::join!(rotating, acting);
    let outcomes = outcomes.unwrap();
    assert_eq!(outcomes[0].ended, Ended::Served { places: Some(4) });
    assert!(outcomes[0].seconds > 0.0 && outcomes[0].is_good());
    assert!(
        lines.first().unwrap().contains("waits for the issuer"),
        "{lines:?}"
    );
    assert_eq!(lines.last().unwrap(), "default/shop is served at 4 places");
    // The wish left no trace that would have it issued again.
    let api: Api<Certificate> = Api::namespaced(client, NAMESPACE);
    let status = api.get("shop").await.unwrap().status.unwrap();
    assert!(
        conditions::get(&status.conditions, names::ISSUING).is_none(),
        "{status:?}"
    );
    tasks.stop(LIMIT).await;
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_nobody_takes_up_ends_at_the_limit() {
    let (tasks, clock) = (
        Tasks::new(),
        Clock::starting_at("2030-01-01T00:00:00Z".parse().unwrap()),
    );
    let (client, held) = cluster(&tasks, clock).await;
    let limit = Duration::from_secs(5);
    let outcomes = rotate(&client, None, vec![held], limit, clock, &mut |_| {})
        .await
        .unwrap();
    assert!(
        matches!(&outcomes[0].ended, Ended::TimedOut { waiting_for } if waiting_for.contains("issuer"))
    );
    assert!(!outcomes[0].is_good() && outcomes[0].seconds >= 5.0);
    tasks.stop(LIMIT).await;
}

#[test]
fn the_table_tells_serials_and_what_is_missing() {
    let outcome = |name: &str, ended| Outcome {
        namespace: "istio-system".into(),
        name: name.into(),
        ended,
        old_serial: Some("5f0c7a9e3b1d4c2a8e6f".into()),
        new_serial: None,
        expires: "2030-03-01T00:00:00Z".parse().ok(),
        seconds: 1.26,
    };
    let text = in_a_table(&[
        outcome("shop", Ended::Served { places: Some(4) }),
        outcome(
            "api",
            Ended::TimedOut {
                waiting_for: "the issuer".into(),
            },
        ),
        outcome(
            "old",
            Ended::Failed {
                why: "RateLimited: too many".into(),
            },
        ),
    ]);
    assert!(text.contains("5f0c7a9e3b..") && text.contains("4 places") && text.contains("1.3"));
    assert!(
        text.contains("istio-system/api waits for: the issuer"),
        "{text}"
    );
    assert!(
        text.contains("istio-system/old failed: RateLimited: too many"),
        "{text}"
    );
    assert!(
        text.lines()
            .all(|line| line.is_ascii() && line.len() <= 100),
        "{text}"
    );
    let json = serde_json::to_value(outcome("shop", Ended::Served { places: Some(4) })).unwrap();
    assert_eq!(
        (&json["result"], &json["seconds"]),
        (&json!("served"), &json!(1.26))
    );
}
