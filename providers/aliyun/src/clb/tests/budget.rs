//! Exact numbers of calls.

use gatewright_core::{LoadBalancers, Observed, Plan, plan};
use jiff::SignedDuration;
use serde_json::json;

use super::{
    accepted, apply_all, clb, creation, gateway, instance, no_instances, noon, owner, running,
};
use crate::client::tests::{Script, ok};

#[tokio::test(start_paused = true)]
async fn creating_two_ports_takes_eight_calls() {
    let script = Script::new([no_instances()]);
    let clb = clb(&script);
    let mut observed = clb.observe(&owner()).await.unwrap();
    script.add(creation());
    let desired = gateway(&[1, 2]);
    apply_all(
        &clb,
        &plan(Some(&desired), &observed, noon()),
        &mut observed,
    )
    .await;
    let calls = script.calls();
    assert_eq!(
        script.take_actions(),
        [
            "DescribeLoadBalancers",
            "CreateLoadBalancer",
            "CreateVServerGroup",
            "CreateVServerGroup",
            "CreateLoadBalancerTCPListener",
            "CreateLoadBalancerTCPListener",
            "StartLoadBalancerListener",
            "StartLoadBalancerListener",
        ]
    );
    let create = &calls[1];
    assert_eq!(create["LoadBalancerName"], "shop");
    assert_eq!(create["AddressType"], "internet");
    assert_eq!(create["DeleteProtection"], "on");
    assert_eq!(create["Tag.1.Key"], "gatewright.dev/owner");
    assert_eq!(create["Tag.1.Value"], owner().as_str());
    assert_eq!(create["Tag.2.Key"], "gatewright.dev/cluster");
    assert_eq!(create["Tag.2.Value"], "edge");
    assert!(create["ClientToken"].len() <= 64);
    assert_eq!(calls[2]["VServerGroupName"], super::marked("http"));
    assert_eq!(
        calls[2]["BackendServers"],
        json!([
            {"ServerId": "eni-1", "Port": "8080", "Weight": "100", "Type": "eni", "ServerIp": "10.0.0.1"},
            {"ServerId": "eni-2", "Port": "8080", "Weight": "100", "Type": "eni", "ServerIp": "10.0.0.2"},
        ])
        .to_string()
    );
    let listener = &calls[4];
    assert_eq!(listener["VServerGroupId"], "rsp-1");
    assert_eq!(listener["Description"], super::marked("http"));
    assert_eq!(listener["ListenerPort"], "80");
    assert_eq!(listener["Scheduler"], "wrr");
    assert_eq!(listener["Bandwidth"], "-1");

    let later = noon() + SignedDuration::from_mins(1);
    assert_eq!(
        plan(Some(&desired), &observed, later),
        Plan::default(),
        "the record is enough"
    );
}

#[tokio::test(start_paused = true)]
async fn one_pod_replaced_with_drain_takes_three_calls_a_group() {
    let (clb, script, mut observed) = running(&[1, 2]).await;
    let desired = gateway(&[2, 3]);
    let later = noon() + SignedDuration::from_mins(10);
    let first = plan(Some(&desired), &observed, later);
    script.add((0..4).map(|_| accepted()));
    apply_all(&clb, &first, &mut observed).await;
    let calls = script.calls();
    assert_eq!(
        script.take_actions(),
        [
            "AddVServerGroupBackendServers",
            "AddVServerGroupBackendServers",
            "SetVServerGroupAttribute",
            "SetVServerGroupAttribute",
        ]
    );
    assert!(
        calls[2]["BackendServers"].contains(r#""ServerId":"eni-1","Port":"8080","Weight":"0""#)
    );
    let at = first.wake_at.unwrap();
    script.add((0..2).map(|_| accepted()));
    apply_all(&clb, &plan(Some(&desired), &observed, at), &mut observed).await;
    assert_eq!(
        script.take_actions(),
        [
            "RemoveVServerGroupBackendServers",
            "RemoveVServerGroupBackendServers"
        ]
    );
    assert_eq!(plan(Some(&desired), &observed, at), Plan::default());
}

#[tokio::test(start_paused = true)]
async fn deleting_by_the_stored_record_takes_three_calls() {
    let (clb, script, observed) = running(&[1]).await;
    let stored = serde_json::to_string(&observed).unwrap();
    let mut observed: Observed = serde_json::from_str(&stored).unwrap();
    script.add([ok(instance("lb-1")), accepted(), accepted()]);
    apply_all(&clb, &plan(None, &observed, noon()), &mut observed).await;
    assert_eq!(
        script.take_actions(),
        [
            "DescribeLoadBalancerAttribute",
            "SetLoadBalancerDeleteProtection",
            "DeleteLoadBalancer"
        ]
    );
    assert!(observed.load_balancer.is_none());
    assert!(plan(None, &observed, noon()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn backends_are_written_twenty_a_call() {
    let (clb, script, mut observed) = running(&[1]).await;
    let all: Vec<u8> = (1..=46).collect();
    let mut desired = gateway(&all);
    desired.groups[1] = gateway(&[1]).groups[1].clone();
    script.add((0..3).map(|_| accepted()));
    apply_all(
        &clb,
        &plan(Some(&desired), &observed, noon()),
        &mut observed,
    )
    .await;
    let sizes: Vec<usize> = script
        .calls()
        .iter()
        .map(|call| call["BackendServers"].matches("ServerId").count())
        .collect();
    assert_eq!(sizes, [20, 20, 5]);
    assert_eq!(script.take_actions().len(), 3);
}
