//! No key, signature or credential is in a log line, an event or a status.
#![expect(
    clippy::unwrap_used,
    reason = "a failed step is a failed test, and what was tried stands in the output"
)]

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gatewright_seams::Random;
use gatewright_tests::{ACCESS_KEY, GATEWAY_NAMESPACE, Needles, PUBLIC, Sim};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use mock_acme::RequestFault;
use mock_cloud::{AccessKey, DataPlane, Fault, MockCloud, Options, Storage};
use serde_json::json;
use tower::util::BoxCloneSyncService;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

const LIMIT: Duration = Duration::from_mins(10);

/// Everything that was logged.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The signatures of all calls so far, as they are sent and as they are.
fn add_signatures(needles: &mut Needles, sim: &Sim) {
    for body in sim.cloud_calls.bodies() {
        let body = String::from_utf8_lossy(&body).into_owned();
        let mut pairs = body.split('&').filter_map(|pair| pair.split_once('='));
        if let Some((_, signature)) = pairs.find(|(key, _)| *key == "Signature") {
            needles.add(signature, "a signature");
            let plain = signature
                .replace("%3D", "=")
                .replace("%2B", "+")
                .replace("%2F", "/");
            needles.add(&plain, "a signature");
        }
    }
}

/// A quickstart, a rotation, and each kind of failure on the way.
async fn eventful_life(sim: &Sim, needles: &mut Needles) {
    // A cloud that refuses the signature and quotes what it would have signed.
    let refusing = MockCloud::start(Options {
        storage: Storage::Memory,
        clock: *sim.clock(),
        random: Random::seeded(7),
        tasks: sim.laptop.tasks.clone(),
        region: gatewright::laptop::REGION.into(),
        access_keys: vec![AccessKey {
            id: ACCESS_KEY.0.into(),
            secret: "another-secret".into(),
        }],
        data_plane: DataPlane::Off,
    })
    .await
    .unwrap();
    sim.cloud.set(BoxCloneSyncService::new(refusing.service()));
    let acme = sim.laptop.acme.faults();
    acme.request(None, RequestFault::ServerError { status: 503 }, 1);
    acme.bad_nonce(1);
    sim.apply_quickstart().await;
    sim.until("the key is refused", LIMIT, async || {
        (sim.service_condition(PUBLIC).await?.reason == "CloudRefused").then_some(())
    })
    .await;
    sim.cloud.set(sim.laptop.cloud_transport());
    for (action, fault) in [
        ("CreateLoadBalancer", Fault::TimeoutAfter),
        ("CreateVServerGroup", Fault::Internal),
        (
            "CreateLoadBalancerTCPListener",
            Fault::Throttle { retry_after: None },
        ),
        ("StartLoadBalancerListener", Fault::CutAnswer),
    ] {
        sim.laptop.cloud.faults().next(action, 1, fault);
    }
    sim.wait_balanced(2).await;
    sim.wait_served().await;
    needles.add_keys(&sim.kube).await;
    acme.fail_validation("shop.example.com", 1);
    sim.force_rotation().await;
    sim.until("a failed validation is told", LIMIT, async || {
        let issuing = sim.certificate_condition("Issuing").await?;
        (issuing.reason == "ValidationFailed").then_some(())
    })
    .await;
    sim.wait_served().await;
    needles.add_keys(&sim.kube).await;
    // A Secret that cannot be used, with its key in it.
    let secrets: Api<Secret> = Api::namespaced(sim.kube.clone(), GATEWAY_NAMESPACE);
    let patch = Patch::Merge(json!({ "data": { "tls.crt": "Z2FyYmFnZQ==" } }));
    secrets
        .patch("shop-tls", &PatchParams::default(), &patch)
        .await
        .unwrap();
    sim.until(
        "a certificate in place of the broken one",
        LIMIT,
        async || (sim.wait_served().await == 3).then_some(()),
    )
    .await;
    needles.add_keys(&sim.kube).await;
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_in_a_log_line_an_event_or_a_status() {
    let captured = Captured::default();
    let crates = [
        "gatewright",
        "gatewright_aliyun",
        "gatewright_core",
        "gatewright_xds",
    ];
    let filter = crates.map(|name| format!("{name}=trace")).join(",");
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(captured.clone())
        .with_ansi(false)
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let mut needles = Needles::default();
    needles.add(ACCESS_KEY.1, "the access key secret");
    let sim = Sim::start().await;
    eventful_life(&sim, &mut needles).await;
    add_signatures(&mut needles, &sim);
    drop(guard);
    assert!(
        needles.count() > 20,
        "only {} secrets to look for",
        needles.count()
    );

    let log = captured.text();
    for expected in [
        "SignatureDoesNotMatch",
        "issuing",
        "applying",
        "not issued",
        "DEBUG",
    ] {
        assert!(
            log.contains(expected),
            "the log has no {expected:?}: it was not captured"
        );
    }
    needles.are_nowhere(&log, &sim.kube).await;
}
