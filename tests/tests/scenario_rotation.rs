//! Rotations that are asked for.
#![expect(
    clippy::unwrap_used,
    reason = "a failed step is a failed test, and what was tried stands in the output"
)]

use std::time::Duration;

use gatewright_crds::cert_manager::Certificate;
use gatewright_crds::conditions;
use gatewright_crds::istio::Gateway;
use gatewright_tests::{GATEWAY_NAMESPACE, Sim};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use local_kube::{Fault as KubeFault, Matching};
use mock_acme::{Endpoint, RequestFault};
use serde_json::json;

const LIMIT: Duration = Duration::from_mins(10);

fn newest_serial(sim: &Sim) -> String {
    let ledger = sim.laptop.acme.ledger();
    // The daemon tells serials as numbers: without leading zeros.
    ledger
        .certificates
        .last()
        .unwrap()
        .serial
        .trim_start_matches('0')
        .to_owned()
}

/// Waits until the daemon has asked for the certificate of its first order.
async fn handed_in(sim: &Sim) {
    sim.until("the request", LIMIT, async || {
        let handed_in = sim.laptop.acme.ledger().count(Endpoint::Finalize);
        (handed_in == 1).then_some(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_rotation_asked_for_by_the_issuing_condition_ends_served_with_the_new_serial() {
    let sim = Sim::quickstart().await;
    let mut serials = vec![newest_serial(&sim)];
    for revision in 2..=6 {
        sim.force_rotation().await;
        sim.until("the next revision", LIMIT, async || {
            (sim.wait_served().await == revision).then_some(())
        })
        .await;
        let serial = newest_serial(&sim);
        let served = sim.certificate_condition("Served").await.unwrap();
        assert_eq!(
            served.message,
            format!("serial {serial} was seen at 4 places")
        );
        assert!(!serials.contains(&serial), "{serial} was served before");
        serials.push(serial);
    }
    sim.pass(Duration::from_mins(30)).await;
    assert_eq!(sim.wait_served().await, 6, "one wish, one certificate");
    assert_eq!(sim.laptop.acme.ledger().certificates.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_with_a_silent_proxy_names_it_and_is_served_when_it_is_back() {
    let sim = Sim::quickstart().await;
    let silent = sim.world.proxies().remove(0);
    sim.world.set_dark(&silent, true);
    sim.force_rotation().await;
    let told = sim
        .until("Served is false because of a proxy", LIMIT, async || {
            let served = sim.certificate_condition("Served").await?;
            (served.reason == "NotServed").then_some(served)
        })
        .await;
    assert_eq!(told.status, "False");
    assert!(
        told.message.contains(&format!("proxy {silent} at ")),
        "{}",
        told.message
    );
    assert!(
        told.message.contains(&newest_serial(&sim)),
        "{}",
        told.message
    );
    // The load balancers have another proxy.
    assert!(!told.message.contains("load balancer"), "{}", told.message);
    let events = sim.events().await;
    let event = "Certificate/shop NotServed: ";
    assert!(
        events
            .iter()
            .any(|held| held.starts_with(event) && held.contains(&silent)),
        "{events:#?}"
    );
    let ready = sim.certificate_condition("Ready").await.unwrap();
    assert_eq!(
        ready.status, "True",
        "the certificate itself is fine: {ready:?}"
    );

    sim.world.set_dark(&silent, false);
    assert_eq!(sim.wait_served().await, 2);
    let served = sim.certificate_condition("Served").await.unwrap();
    assert!(
        served.message.ends_with("was seen at 4 places"),
        "{}",
        served.message
    );
}

#[tokio::test(start_paused = true)]
async fn a_rotation_does_not_wait_for_the_look_at_the_one_before() {
    let sim = Sim::quickstart().await;
    let silent = sim.world.proxies().remove(0);
    sim.world.set_dark(&silent, true);
    for wanted in [2, 3] {
        sim.force_rotation().await;
        let limit = Duration::from_secs(5);
        sim.until("the next revision", limit, async || {
            let status = sim.certificate().await?.status?;
            (status.revision == Some(wanted)).then_some(())
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_old_certificate_stays_served_while_the_new_one_cannot_be_had() {
    let sim = Sim::quickstart().await;
    let old = newest_serial(&sim);
    sim.laptop.acme.faults().refuse_name("www.shop.example.com");
    sim.force_rotation().await;
    let issuing = sim
        .until("the refusal is told", LIMIT, async || {
            let issuing = sim.certificate_condition("Issuing").await?;
            (issuing.reason == "OrderRejected").then_some(issuing)
        })
        .await;
    assert!(
        issuing.message.contains("www.shop.example.com"),
        "{}",
        issuing.message
    );
    let ready = sim.certificate_condition("Ready").await.unwrap();
    assert_eq!(ready.status, "True", "{ready:?}");
    let leaf = sim.leaf_everywhere("shop.example.com").await;
    assert!(
        leaf.iter().all(|serial| *serial == old),
        "{leaf:?}, not {old}"
    );
    sim.laptop.acme.faults().clear();
    assert_eq!(sim.wait_served().await, 2);
}

/// Authorities count certificates, also those that nobody could store.
#[tokio::test(start_paused = true)]
async fn a_secret_that_cannot_be_written_is_told_and_its_certificate_kept_until_it_can() {
    for killed in [false, true] {
        let mut sim = Sim::start().await;
        let faults = sim.laptop.kube.faults();
        let write = Matching::new("apply", "secrets").named("shop-tls");
        faults.next(write, KubeFault::InternalError, 10_000);
        sim.apply_quickstart().await;
        sim.pass(Duration::from_mins(30)).await;
        assert_eq!(sim.laptop.acme.ledger().certificates.len(), 1);
        let issuing = sim.certificate_condition("Issuing").await.unwrap();
        assert_eq!(issuing.reason, "SecretNotWritten", "{issuing:?}");
        assert!(issuing.message.contains("shop-tls"), "{issuing:?}");
        let status = sim.certificate().await.unwrap().status.unwrap();
        assert_eq!(status.failed_issuance_attempts, Some(1), "one was made");
        if killed {
            sim.kill_daemon();
            sim.start_daemon().await;
        }
        sim.laptop.kube.faults().clear();
        sim.pass(Duration::from_mins(3)).await;
        // Who died has lost it, and waits: authorities count by the week.
        assert_eq!(
            sim.certificate_condition("Ready").await.unwrap().status == "True",
            !killed
        );
        sim.pass(Duration::from_mins(75)).await;
        assert_eq!(sim.wait_served().await, 1);
        let made = sim.laptop.acme.ledger().certificates.len();
        assert_eq!(made, 1 + usize::from(killed));
    }
}

/// The authority is asked again for what it has issued: another order would be counted again.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_after_the_request_was_handed_in_costs_no_certificate() {
    let lost = RequestFault::TimeoutAfter {
        wait: Duration::from_secs(5),
    };
    let down = RequestFault::ServerError { status: 503 };
    let busy = RequestFault::RateLimited {
        retry_after: Duration::from_secs(30),
    };
    for (endpoint, fault, times) in [
        // The next look at the order shows that it arrived.
        (Endpoint::Finalize, lost, 1),
        (Endpoint::Order, down, 3),
        (Endpoint::Certificate, lost, 3),
        (Endpoint::Certificate, busy, 3),
    ] {
        let sim = Sim::start().await;
        let faults = sim.laptop.acme.faults();
        if endpoint == Endpoint::Order {
            faults.processing(Duration::from_secs(5));
        } else {
            faults.request(endpoint, fault, times);
        }
        sim.apply_quickstart().await;
        if endpoint == Endpoint::Order {
            // Before the request is handed in, the order is asked for as well.
            handed_in(&sim).await;
            faults.request(endpoint, fault, times);
        }
        assert_eq!(sim.wait_served().await, 1, "{endpoint:?}");
        let ledger = sim.laptop.acme.ledger();
        let made = (ledger.orders, ledger.certificates.len());
        assert_eq!(made, (1, 1), "{endpoint:?} {fault:?}");
        assert_eq!(faults.pending(), 0, "the faults were met");
    }
}

/// And when it says nothing for long, the next order waits as if the certificate had been lost.
#[tokio::test(start_paused = true)]
async fn a_certificate_that_cannot_be_fetched_is_told_and_costs_no_other_for_an_hour() {
    let sim = Sim::start().await;
    let faults = sim.laptop.acme.faults();
    let fault = RequestFault::ServerError { status: 503 };
    faults.request(Endpoint::Certificate, fault, 100_000);
    sim.apply_quickstart().await;
    sim.pass(Duration::from_mins(30)).await;
    assert_eq!(sim.laptop.acme.ledger().certificates.len(), 1);
    let issuing = sim.certificate_condition("Issuing").await.unwrap();
    assert_eq!(issuing.reason, "CertificateNotFetched", "{issuing:?}");
    faults.clear();
    sim.pass(Duration::from_mins(45)).await;
    assert_eq!(sim.wait_served().await, 1);
    assert_eq!(sim.laptop.acme.ledger().certificates.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_the_authority_gives_up_is_told_at_once_with_its_words() {
    let sim = Sim::start().await;
    let faults = sim.laptop.acme.faults();
    faults.fail_issuance(1);
    sim.apply_quickstart().await;
    let issuing = sim
        .until("the failure is told", LIMIT, async || {
            let issuing = sim.certificate_condition("Issuing").await?;
            (issuing.reason == "OrderInvalid").then_some(issuing)
        })
        .await;
    assert!(issuing.message.contains("told to fail"), "{issuing:?}");
    let asked = sim.laptop.acme.ledger().count(Endpoint::Order);
    assert!(asked < 10, "asked {asked} times for an order that is over");
    assert_eq!(sim.wait_served().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_not_ordered_again_because_a_status_could_not_be_written() {
    let sim = Sim::quickstart().await;
    let faults = sim.laptop.kube.faults();
    sim.force_rotation().await;
    sim.until("the second certificate", LIMIT, async || {
        (sim.laptop.acme.ledger().certificates.len() == 2).then_some(())
    })
    .await;
    let status = Matching::new("apply", "certificates.cert-manager.io/status");
    // More than it is tried in one pass.
    faults.next(status, KubeFault::InternalError, 12);
    sim.until("the next revision", LIMIT, async || {
        (sim.wait_served().await == 2).then_some(())
    })
    .await;
    sim.pass(Duration::from_mins(5)).await;
    assert_eq!(faults.pending(), 0, "the faults were met");
    assert_eq!(sim.laptop.acme.ledger().certificates.len(), 2);
}

/// What a user mends while an attempt is under way does not wait for what the attempt comes to.
#[tokio::test(start_paused = true)]
async fn a_spec_that_changes_during_an_attempt_that_fails_is_tried_at_once() {
    let sim = Sim::start().await;
    let faults = sim.laptop.acme.faults();
    let fault = RequestFault::ServerError { status: 503 };
    faults.request(Endpoint::Certificate, fault, 100_000);
    sim.apply_quickstart().await;
    handed_in(&sim).await;
    let spec = json!({ "spec": { "privateKey": { "algorithm": "ECDSA", "size": 384 } } });
    let api: Api<Certificate> = Api::namespaced(sim.kube.clone(), GATEWAY_NAMESPACE);
    let params = PatchParams::default();
    api.patch("shop", &params, &Patch::Merge(spec))
        .await
        .unwrap();
    sim.until("another order", LIMIT, async || {
        (sim.laptop.acme.ledger().orders == 2).then_some(())
    })
    .await;
    let status = api.get("shop").await.unwrap().status.unwrap();
    assert_eq!(status.failed_issuance_attempts, None, "counted anew");
    faults.clear();
    assert_eq!(sim.wait_served().await, 1);
}

/// Authorities count orders, and those of one account for all of its certificates.
#[tokio::test(start_paused = true)]
async fn a_challenge_that_is_not_routed_costs_one_order_however_long_it_is_not() {
    let sim = Sim::start().await;
    sim.apply_gateway().await;
    sim.wait_balanced(2).await;
    for pod in sim.world.proxies() {
        sim.world.set_dark(&pod, true);
    }
    sim.apply_quickstart().await;
    sim.pass(Duration::from_hours(3)).await;
    let issuing = sim.certificate_condition("Issuing").await.unwrap();
    assert_eq!(issuing.reason, "ChallengeNotRouted", "{issuing:?}");
    assert_eq!(sim.laptop.acme.ledger().orders, 1);
    for pod in sim.world.proxies() {
        sim.world.set_dark(&pod, false);
    }
    sim.pass(Duration::from_mins(3)).await;
    assert_eq!(sim.wait_served().await, 1);
    assert_eq!(sim.laptop.acme.ledger().orders, 2);
}

/// A Certificate that is deleted and made anew is another one.
#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_made_anew_during_an_attempt_that_fails_is_tried_at_once() {
    let sim = Sim::start().await;
    let faults = sim.laptop.acme.faults();
    let fault = RequestFault::ServerError { status: 503 };
    faults.request(Endpoint::Certificate, fault, 100_000);
    sim.apply_quickstart().await;
    handed_in(&sim).await;
    let api: Api<Certificate> = Api::namespaced(sim.kube.clone(), GATEWAY_NAMESPACE);
    api.delete("shop", &DeleteParams::default()).await.unwrap();
    sim.apply_quickstart().await;
    sim.until("another order", LIMIT, async || {
        (sim.laptop.acme.ledger().orders == 2).then_some(())
    })
    .await;
}

/// That an attempt failed, and has to wait, is not forgotten because nobody took it.
#[tokio::test(start_paused = true)]
async fn a_failure_that_cannot_be_told_is_told_later_and_costs_no_order_until_then() {
    let sim = Sim::start().await;
    let fault = RequestFault::ServerError { status: 503 };
    let authority = sim.laptop.acme.faults();
    authority.request(Endpoint::Certificate, fault, 100_000);
    sim.apply_quickstart().await;
    handed_in(&sim).await;
    let faults = sim.laptop.kube.faults();
    let status = Matching::new("apply", "certificates.cert-manager.io/status");
    faults.next(status, KubeFault::InternalError, 10_000);
    sim.pass(Duration::from_mins(20)).await;
    faults.clear();
    sim.pass(Duration::from_mins(20)).await;
    let issuing = sim.certificate_condition("Issuing").await.unwrap();
    assert_eq!(issuing.reason, "CertificateNotFetched", "{issuing:?}");
    assert_eq!(sim.laptop.acme.ledger().orders, 1);
}

/// Each would order what the other overwrites, for ever.
#[tokio::test(start_paused = true)]
async fn of_two_certificates_with_one_secret_one_is_ordered_and_the_other_told() {
    let sim = Sim::quickstart().await;
    let leaf = sim.leaf_everywhere("shop.example.com").await;
    let copy = json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": { "name": "copy", "namespace": GATEWAY_NAMESPACE },
        "spec": {
            "secretName": "shop-tls",
            "dnsNames": ["shop.example.com", "copy.example.com"],
            "issuerRef": { "name": "acme" },
        },
    });
    sim.apply(copy).await.unwrap();
    sim.pass(Duration::from_mins(30)).await;
    let api: Api<Certificate> = Api::namespaced(sim.kube.clone(), GATEWAY_NAMESPACE);
    let copy = api.get("copy").await.unwrap().status.unwrap();
    let issuing = conditions::get(&copy.conditions, "Issuing").unwrap();
    assert_eq!(issuing.reason, "DuplicateSecretName", "{issuing:?}");
    assert!(
        issuing.message.contains("Certificate shop has"),
        "{issuing:?}"
    );
    assert_eq!(sim.laptop.acme.ledger().orders, 1);
    assert_eq!(sim.leaf_everywhere("shop.example.com").await, leaf);
    // The Secret is the other's as soon as nobody else wants it.
    api.delete("shop", &DeleteParams::default()).await.unwrap();
    sim.until("another order", LIMIT, async || {
        (sim.laptop.acme.ledger().orders == 2).then_some(())
    })
    .await;
}

/// A look costs requests, and most certificates in a cluster are no gateway's.
#[tokio::test(start_paused = true)]
async fn a_certificate_that_no_gateway_uses_is_looked_for_less_and_less_until_one_does() {
    let sim = Sim::start().await;
    sim.apply_quickstart().await;
    sim.wait_served().await;
    let api: Api<Gateway> = Api::namespaced(sim.kube.clone(), GATEWAY_NAMESPACE);
    let held = api.get("shop").await.unwrap();
    api.delete("shop", &DeleteParams::default()).await.unwrap();
    sim.pass(Duration::from_hours(6)).await;
    let served = sim.certificate_condition("Served").await.unwrap();
    assert_eq!(served.reason, "NotReferenced");
    let looks = || {
        let names = sim.kube_calls.names();
        let look = "GET /apis/networking.istio.io/v1/gateways";
        names.iter().filter(|name| *name == look).count()
    };
    let before = looks();
    sim.pass(Duration::from_hours(1)).await;
    let made = looks() - before;
    // Two watches of five minutes are among them. Every five seconds were 720.
    assert!(made <= 40, "{made} looks in an hour");
    let again = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": { "name": "shop", "namespace": GATEWAY_NAMESPACE },
        "spec": held.spec,
    });
    sim.apply(again).await.unwrap();
    // The cloud's health checks take their time.
    sim.pass(Duration::from_secs(10)).await;
    let served = sim.certificate_condition("Served").await.unwrap();
    assert_eq!(served.reason, "SeenEverywhere", "{served:?}");
}
