//! What outlives the process.

use std::time::Duration;

use gatewright_seams::Tasks;
use mock_cloud::{DataPlane, Error, Storage};
use tokio::net::TcpListener;

use crate::backend::{Backend, who};
use crate::caller::{Caller, TempFile, options, sockets};

async fn stop(tasks: &Tasks) {
    assert!(tasks.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_restart_keeps_everything_and_opens_started_listeners_again() {
    let file = TempFile::new("mock-cloud-restart");
    let storage = || Storage::File(file.0.clone());
    let a = Backend::start("a", "127.1.20.1").await;
    let caller = Caller::start(options(storage(), sockets(120)))
        .await
        .unwrap();
    let token = [
        ("ClientToken", "t"),
        ("Tag.1.Key", "k"),
        ("Tag.1.Value", "v"),
    ];
    let made = caller.call("CreateLoadBalancer", &token).await;
    let instance = made["LoadBalancerId"].as_str().unwrap();
    let group = caller
        .group(instance, &format!("[{}]", a.member(100)))
        .await;
    for port in ["80", "81"] {
        let listener = [
            ("LoadBalancerId", instance),
            ("ListenerPort", port),
            ("Bandwidth", "-1"),
            ("VServerGroupId", group.as_str()),
        ];
        caller
            .call("CreateLoadBalancerTCPListener", &listener)
            .await;
    }
    let started = [("LoadBalancerId", instance), ("ListenerPort", "80")];
    caller.call("StartLoadBalancerListener", &started).await;
    let address = caller.cloud.listen_address(instance, 80).unwrap();
    stop(&caller.tasks).await;
    let after = who(address).await;
    assert!(after.is_err(), "the socket is closed with the cloud");

    let again = Caller::start(options(storage(), sockets(120)))
        .await
        .unwrap();
    assert_eq!(again.cloud.listen_address(instance, 80), Some(address));
    assert_eq!(again.cloud.listen_address(instance, 81), None);
    assert_eq!(who(address).await.unwrap(), 'a');
    let inventory = again.cloud.inventory();
    assert_eq!(
        inventory.tagged("k", "v")[0].groups[0].members[0].server_id,
        "eni-a"
    );
    let repeated = again.call("CreateLoadBalancer", &token).await;
    assert_eq!(repeated["LoadBalancerId"], instance);
    stop(&again.tasks).await;

    let _taken = TcpListener::bind(address).await.unwrap();
    let refused = Caller::start(options(storage(), sockets(120))).await;
    let Err(Error::OpenListener {
        port: 80, reason, ..
    }) = refused
    else {
        panic!("a listener that cannot open again was accepted");
    };
    assert!(reason.contains(&address.to_string()), "{reason}");
}

#[tokio::test]
async fn a_refused_call_leaves_nothing_behind() {
    let file = TempFile::new("mock-cloud-refused");
    let caller = Caller::start(options(Storage::File(file.0.clone()), DataPlane::Off))
        .await
        .unwrap();
    let instance = caller.instance().await;
    let before = (caller.cloud.inventory(), std::fs::read(&file.0).unwrap());
    let resources = [
        ("ResourceType", "instance"),
        ("ResourceId.1", instance.as_str()),
        ("ResourceId.2", "lb-none"),
        ("Tag.1.Key", "k"),
    ];
    assert_eq!(caller.refusal("TagResources", &resources).await.0, 404);
    assert_eq!(
        (caller.cloud.inventory(), std::fs::read(&file.0).unwrap()),
        before
    );
}
