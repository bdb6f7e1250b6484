//! The life of the quickstart on the embedded API server and a virtual clock: after each stage the
//! objects are what is stored. `cluster_stages` compares the real control plane with the same files.

use std::time::Duration;

use gatewright::laptop::apply_yaml;
use gatewright_tests::stages::{self, Ground};
use gatewright_tests::{EXAMPLES, Sim};

#[tokio::test(start_paused = true)]
async fn the_objects_of_every_stage_are_as_stored_on_the_embedded_server() {
    let sim = Sim::start().await;
    for yaml in EXAMPLES {
        let yaml = stages::quickstart_document(yaml);
        let applied = apply_yaml(&sim.kube, &yaml).await;
        assert!(applied.is_ok(), "{applied:?}");
    }
    let ground = Ground {
        kube: sim.kube.clone(),
        clock: *sim.clock(),
        cloud: sim.laptop.cloud.clone(),
        limit: Duration::from_mins(10),
        writes: true,
    };
    stages::live(&ground).await;
    stages::leave(&ground).await;
    sim.pass(Duration::from_secs(1)).await;
}
