//! A daemon that dies at every kind of call that changes the cloud, on a real control plane: after
//! each stage the objects are what is stored, and no secret is in what all its lives have said.

use gatewright_tests::stages::deaths;
use gatewright_tests::{ACCESS_KEY, Cluster, Needles};

const EVERYTHING: &str = "info,gatewright=trace,gatewright_aliyun=trace,gatewright_core=trace,\
                          gatewright_xds=trace";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_change_nothing_and_no_secret_is_told_on_a_real_control_plane() {
    let mut needles = Needles::default();
    needles.add(ACCESS_KEY.1, "the access key secret");
    let mut cluster = Cluster::start_logging(EVERYTHING).await;
    let ground = cluster.ground();

    deaths::create(&ground, &mut cluster, async |cluster: &Cluster| {
        cluster.apply_gateway().await;
    })
    .await;
    cluster.quickstart().await;
    needles.add_keys(&ground.kube).await;
    deaths::live(&ground, &mut cluster).await;
    needles.add_keys(&ground.kube).await;
    needles
        .are_nowhere(&cluster.daemon_log(), &ground.kube)
        .await;
    deaths::leave(&ground, &mut cluster).await;

    assert!(needles.count() > 10, "only {} secrets", needles.count());
    let log = cluster.daemon_log();
    for expected in ["DEBUG", "issuing", "applying"] {
        assert!(log.contains(expected), "the log has no {expected:?}");
    }
    needles.are_nowhere(&log, &ground.kube).await;
    assert!(cluster.daemon.ended().is_none(), "the daemon ended");
    cluster.stop().await;
}
