//! What answers mean.

use gatewright_core::{
    Drain, ErrorClass, ListenerStatus, LoadBalancers, Plan, Port, Protocol, Scheduler, Seconds,
    Setting, plan,
};
use serde_json::{Value, json};

use super::{CLUSTER_TAG, OWNER_TAG, clb, gateway, instance, instances, marked, noon, owner};
use crate::client::tests::{Answer, Script, ok, refuse};

fn tcp_listener(lb: &str, port: u16, name: &str, group: &str) -> Value {
    json!({
        "LoadBalancerId": lb,
        "ListenerPort": port,
        "ListenerProtocol": "tcp",
        "Status": "running",
        "Description": marked(name),
        "Scheduler": "wrr",
        "Bandwidth": -1,
        "VServerGroupId": group,
        "TCPListenerConfig": {
            "ConnectionDrain": "on", "ConnectionDrainTimeout": 45,
            "EstablishedTimeout": 900, "PersistenceTimeout": 0,
            "ProxyProtocolV2Enabled": "false",
            "HealthCheck": "on", "HealthCheckType": "tcp", "HealthCheckConnectPort": -520,
            "HealthCheckConnectTimeout": 5, "HealthCheckInterval": 2,
            "HealthyThreshold": 3, "UnhealthyThreshold": "3",
        },
    })
}

fn members(id: &str, port: u16) -> Answer {
    ok(
        json!({"VServerGroupId": id, "BackendServers": {"BackendServer": [
            {"ServerId": "eni-2", "ServerIp": "10.0.0.2", "Port": port, "Weight": 0, "Type": "eni"},
            {"ServerId": "eni-1", "ServerIp": "10.0.0.1", "Port": port, "Weight": 100, "Type": "eni"},
        ]}}),
    )
}

fn groups(list: &[(&str, &str)]) -> Answer {
    let list: Vec<Value> = list
        .iter()
        .map(|(id, name)| json!({"VServerGroupId": id, "VServerGroupName": name}))
        .collect();
    ok(json!({"VServerGroups": {"VServerGroup": list}}))
}

#[tokio::test(start_paused = true)]
async fn everything_is_read_and_needs_no_change() {
    let script = Script::new([
        instances(&[instance("lb-1")]),
        ok(
            json!({"Listeners": [tcp_listener("lb-1", 443, "https", "rsp-2")], "NextToken": "next"}),
        ),
        ok(json!({"Listeners": [tcp_listener("lb-1", 80, "http", "rsp-1")], "NextToken": ""})),
        groups(&[("rsp-1", &marked("http")), ("rsp-2", &marked("https"))]),
        members("rsp-1", 8080),
        members("rsp-2", 8443),
    ]);
    let observed = clb(&script).observe(&owner()).await.unwrap();
    let calls = script.calls();
    assert_eq!(calls[0]["Tag.1.Key"], OWNER_TAG);
    assert_eq!(calls[0]["Tag.1.Value"], owner().as_str());
    assert_eq!(calls[0]["Tag.2.Key"], CLUSTER_TAG);
    assert_eq!(calls[2]["NextToken"], "next");
    assert_eq!(script.take_actions().len(), 6);

    let lb = observed.load_balancer.as_ref().unwrap();
    assert_eq!(lb.address, Some([192, 0, 2, 1].into()));
    assert!(lb.deletion_protection);
    assert!(lb.tags.is_empty(), "the marks are not among them");
    let listener = lb.listener(Port::new(80).unwrap(), Protocol::Tcp).unwrap();
    assert_eq!(listener.status, ListenerStatus::Running);
    assert_eq!(listener.settings.drain, Some(Drain::For(Seconds(45))));
    assert_eq!(
        listener.settings.scheduler,
        Some(Scheduler::WeightedRoundRobin)
    );
    assert_eq!(listener.settings.health_check.port, None);
    assert_eq!(listener.settings.health_check.unhealthy_threshold, Some(3));
    assert!(listener.unsupported.contains(&Setting::IdleTimeout));

    let mut desired = gateway(&[1]);
    desired.listeners[0].settings = listener.settings.clone();
    let plan = plan(Some(&desired), &observed, noon());
    let drains = plan
        .steps
        .iter()
        .filter(|step| step.reason.contains("no longer wanted"))
        .count();
    assert_eq!(drains, plan.steps.len(), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_without_both_marks_is_not_ours() {
    let mut other = instance("lb-2");
    other["Tags"]["Tag"][1]["TagValue"] = json!("another cluster");
    let mut bare = instance("lb-3");
    bare["Tags"] = json!({});
    let script = Script::new([instances(&[other, bare])]);
    let observed = clb(&script).observe(&owner()).await.unwrap();
    assert!(observed.load_balancer.is_none());
    assert!(observed.duplicates.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_second_instance_is_found_and_the_one_in_use_is_kept() {
    let mut second = instance("lb-2");
    second["CreateTimeStamp"] = json!(1_893_499_900_000_i64);
    let script = Script::new([
        instances(&[instance("lb-1"), second]),
        ok(json!({"Listeners": [tcp_listener("lb-2", 80, "http", "rsp-1")]})),
        groups(&[]),
        groups(&[("rsp-1", &marked("http"))]),
        members("rsp-1", 8080),
    ]);
    let observed = clb(&script).observe(&owner()).await.unwrap();
    assert_eq!(observed.load_balancer.unwrap().id.as_str(), "lb-2");
    assert_eq!(observed.duplicates.len(), 1);
    assert_eq!(observed.duplicates[0].id.as_str(), "lb-1");
    assert!(observed.duplicates[0].bare);
}

#[tokio::test(start_paused = true)]
async fn a_failed_part_fails_the_whole() {
    let script = Script::new([
        instances(&[instance("lb-1")]),
        ok(json!({"Listeners": []})),
        groups(&[("rsp-1", &marked("http"))]),
        refuse(500, "InternalError"),
    ]);
    let error = clb(&script).observe(&owner()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient);
    assert!(error.doing.contains("rsp-1"));
}

#[tokio::test(start_paused = true)]
async fn owned_instances_are_listed_over_all_pages() {
    let page = |from: u32, to: u32| {
        let list: Vec<Value> = (from..to)
            .map(|n| instance(&format!("lb-{n:03}")))
            .collect();
        ok(json!({"LoadBalancers": {"LoadBalancer": list}, "TotalCount": 130}))
    };
    let script = Script::new([page(0, 100), page(100, 130)]);
    let owned = clb(&script).list_owned().await.unwrap();
    assert_eq!(owned.len(), 130);
    assert_eq!(owned[129].id.as_str(), "lb-129");
    assert_eq!(owned[0].owner, owner());
    assert_eq!(script.calls()[1]["PageNumber"], "2");
    assert!(!script.calls()[0].contains_key("Tag.2.Key"));
}

#[tokio::test(start_paused = true)]
async fn what_is_created_reads_back_as_wanted() {
    let mut desired = gateway(&[1, 2]);
    let mut listener = tcp_listener("lb-1", 80, "http", "rsp-1");
    listener["TCPListenerConfig"]["ConnectionDrain"] = json!("off");
    let script = Script::new([
        instances(&[instance("lb-1")]),
        ok(json!({"Listeners": [listener]})),
        groups(&[("rsp-1", &marked("http"))]),
        ok(json!({"BackendServers": {"BackendServer": [
            {"ServerId": "eni-1", "ServerIp": "10.0.0.1", "Port": 8080, "Weight": 100},
            {"ServerId": "eni-2", "ServerIp": "10.0.0.2", "Port": "8080", "Weight": "100"},
        ]}})),
    ]);
    let observed = clb(&script).observe(&owner()).await.unwrap();
    desired.groups.truncate(1);
    desired.listeners.truncate(1);
    let settings = &mut desired.listeners[0].settings;
    settings.drain = Some(Drain::Off);
    settings.established_timeout = Some(Seconds(900));
    settings.proxy_protocol = Some(false);
    settings.health_check.enabled = Some(true);
    settings.health_check.interval = Some(Seconds(2));
    assert_eq!(plan(Some(&desired), &observed, noon()), Plan::default());
}
