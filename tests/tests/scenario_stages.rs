//! The life of the quickstart on the embedded API server and a virtual clock: after each stage the
//! objects are what is stored. `cluster_stages` and `cluster_deaths` compare the real control plane
//! with the same files.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::time::Duration;

use gatewright::laptop::apply_yaml;
use gatewright_tests::stages::{self, Ground, deaths};
use gatewright_tests::{EXAMPLES, Sim};

/// Only the undisturbed life says what the stored files are.
fn ground(sim: &Sim, writes: bool) -> Ground {
    Ground {
        kube: sim.kube.clone(),
        clock: *sim.clock(),
        cloud: sim.laptop.cloud.clone(),
        limit: Duration::from_mins(10),
        writes,
    }
}

async fn apply(sim: &Sim, documents: &[&str]) {
    for yaml in documents {
        let yaml = stages::quickstart_document(yaml);
        apply_yaml(&sim.kube, &yaml).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_objects_of_every_stage_are_as_stored_on_the_embedded_server() {
    let mut sim = Sim::start().await;
    apply(&sim, &EXAMPLES).await;
    let ground = ground(&sim, true);
    stages::live(&ground).await;
    stages::leave(&ground).await;
    // The daemon said of the certificate what it saw last; one that starts now looks at once.
    sim.kill_daemon();
    sim.start_daemon().await;
    ground.compare("deleted-restarted").await;
    sim.pass(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn the_objects_are_the_same_when_the_daemon_dies_at_every_call() {
    let mut sim = Sim::start().await;
    let ground = ground(&sim, false);
    deaths::create(&ground, &mut sim, async |sim: &Sim| {
        apply(sim, &EXAMPLES).await;
    })
    .await;
    deaths::live(&ground, &mut sim).await;
    deaths::leave(&ground, &mut sim).await;
    sim.pass(Duration::from_secs(1)).await;
}
