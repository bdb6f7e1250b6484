//! Repeats, busy instances, refusals and spellings.

use std::time::Duration;

use gatewright_core::{
    Action, Drain, ErrorClass, HealthCheck, ListenerSettings, ListenerStatus, LoadBalancers,
    Observed, Port, Probe, ProbeMethod, Protocol, Seconds, plan,
};
use jiff::SignedDuration;
use serde_json::json;

use super::{
    OWNER_TAG, accepted, apply, apply_all, clb, created_group, created_instance, gateway, instance,
    instances, marked, no_instances, noon, owner, pod, running,
};
use crate::client::tests::{Answer, Script, ok, refuse};

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

fn creation_of(desired: &gatewright_core::Desired, observed: &Observed) -> Action {
    plan(Some(desired), observed, noon()).steps[0]
        .action
        .clone()
}

fn listener_status(status: &str, description: &str) -> Answer {
    ok(json!({"Listeners": [{
        "LoadBalancerId": "lb-1", "ListenerPort": 80, "ListenerProtocol": "tcp",
        "Status": status, "Description": description, "VServerGroupId": "rsp-1",
    }]}))
}

#[tokio::test(start_paused = true)]
async fn a_creation_of_unknown_outcome_is_looked_up_and_keeps_its_token() {
    let script = Script::new([no_instances(), Answer::Cut]);
    let clb = clb(&script);
    let mut observed = clb.observe(&owner()).await.unwrap();
    let action = creation_of(&gateway(&[1]), &observed);
    let error = apply(&clb, action.clone(), &mut observed)
        .await
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::UnknownOutcome);
    assert!(observed.load_balancer.is_none());

    // The look-up may lag behind; the token then brings the same instance.
    script.add([no_instances(), created_instance()]);
    apply(&clb, action, &mut observed).await.unwrap();
    let calls = script.calls();
    assert_eq!(calls[1]["ClientToken"], calls[3]["ClientToken"]);
    assert_eq!(
        script.take_actions(),
        [
            "DescribeLoadBalancers",
            "CreateLoadBalancer",
            "DescribeLoadBalancers",
            "CreateLoadBalancer"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_fresh_process_finds_what_an_earlier_one_created() {
    let script = Script::new([
        instances(&[instance("lb-1")]),
        ok(json!({"Listeners": []})),
        ok(json!({"VServerGroups": {"VServerGroup": []}})),
    ]);
    let clb = clb(&script);
    let mut observed = Observed::absent(owner());
    let action = creation_of(&gateway(&[1]), &observed);
    apply(&clb, action, &mut observed).await.unwrap();
    assert_eq!(observed.load_balancer.unwrap().id.as_str(), "lb-1");
    assert!(
        !script
            .take_actions()
            .contains(&"CreateLoadBalancer".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_look_that_is_too_old_is_repeated_before_a_creation() {
    let script = Script::new([no_instances()]);
    let clb = clb(&script);
    let mut observed = clb.observe(&owner()).await.unwrap();
    clb.client.clock().sleep(Duration::from_secs(61)).await;
    script.add([no_instances(), created_instance()]);
    let action = creation_of(&gateway(&[1]), &observed);
    apply(&clb, action, &mut observed).await.unwrap();
    assert_eq!(
        script.take_actions(),
        [
            "DescribeLoadBalancers",
            "DescribeLoadBalancers",
            "CreateLoadBalancer"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_busy_instance_is_asked_again() {
    let (clb, script, mut observed) = running(&[1]).await;
    script.add([
        refuse(400, "ServiceIsConfiguring"),
        refuse(409, "BackendServer.configuring"),
        refuse(449, "SystemBusy"),
        accepted(),
    ]);
    let add = Action::AddBackends {
        group: marked("http"),
        backends: vec![pod(2, 8080)],
    };
    apply(&clb, add, &mut observed).await.unwrap();
    assert_eq!(script.take_actions().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_stays_busy_is_given_up_with_a_conflict() {
    let (clb, script, mut observed) = running(&[1]).await;
    script.add((0..30).map(|_| refuse(400, "ServiceIsConfiguring")));
    let rename = Action::RenameLoadBalancer {
        name: "x".to_owned(),
    };
    let error = apply(&clb, rename, &mut observed).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Conflict);
    assert_eq!(
        observed.load_balancer.unwrap().name,
        "shop",
        "nothing was recorded"
    );
}

#[tokio::test(start_paused = true)]
async fn a_listener_of_an_earlier_try_is_taken_and_of_others_refused() {
    for (description, ours) in [(marked("http"), true), ("by hand".to_owned(), false)] {
        let (clb, script, mut observed) = running(&[1]).await;
        let lb = observed.load_balancer.as_mut().unwrap();
        lb.remove_listener(port(80), Protocol::Tcp);
        script.add([
            refuse(400, "ListenerAlreadyExists"),
            listener_status("stopped", &description),
        ]);
        let create = Action::CreateListener {
            port: port(80),
            protocol: Protocol::Tcp,
            description: marked("http"),
            group: marked("http"),
            settings: ListenerSettings::default(),
        };
        let outcome = apply(&clb, create, &mut observed).await;
        assert_eq!(outcome.is_ok(), ours);
        if let Err(error) = outcome {
            assert_eq!(error.class(), ErrorClass::Conflict);
        }
        script.take_actions();
    }
}

#[tokio::test(start_paused = true)]
async fn starting_waits_for_a_listener_that_is_still_stopping() {
    let (clb, script, mut observed) = running(&[1]).await;
    let lb = observed.load_balancer.as_mut().unwrap();
    lb.listener_mut(port(80), Protocol::Tcp).unwrap().status = ListenerStatus::Stopped;
    script.add([
        refuse(400, "OperationFailed.ListenerStatusNotSupport"),
        listener_status("stopping", &marked("http")),
        refuse(400, "OperationFailed.ListenerStatusNotSupport"),
        listener_status("running", &marked("http")),
    ]);
    let start = Action::StartListener {
        port: port(80),
        protocol: Protocol::Tcp,
    };
    apply(&clb, start, &mut observed).await.unwrap();
    let lb = observed.load_balancer.as_ref().unwrap();
    let status = lb.listener(port(80), Protocol::Tcp).unwrap().status;
    assert_eq!(status, ListenerStatus::Running);
    script.take_actions();
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_deleted() {
    let (clb, script, mut observed) = running(&[1]).await;
    script.add([
        refuse(404, "ListenerNotFound"),
        // "invalid parameter" for a group that is not there any more
        refuse(404, "InvalidParameter"),
        ok(json!({"VServerGroups": {"VServerGroup": []}})),
        refuse(404, "InvalidLoadBalancerId.NotFound"),
    ]);
    observed.read_at = None;
    let delete_listener = Action::DeleteListener {
        port: port(80),
        protocol: Protocol::Tcp,
    };
    apply(&clb, delete_listener, &mut observed).await.unwrap();
    let delete_group = Action::DeleteGroup {
        group: marked("http"),
        id: "rsp-1".into(),
    };
    apply(&clb, delete_group, &mut observed).await.unwrap();
    let lb = observed.load_balancer.as_ref().unwrap();
    assert_eq!((lb.listeners.len(), lb.groups.len()), (1, 1));
    let delete = Action::DeleteLoadBalancer { id: "lb-1".into() };
    apply(&clb, delete, &mut observed).await.unwrap();
    assert!(observed.load_balancer.is_none());
    script.take_actions();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_that_does_not_carry_the_mark() {
    let mut of_another = instance("lb-1");
    of_another["Tags"]["Tag"][0]["TagValue"] = json!("another");
    let mut shared = instance("lb-1");
    shared["ListenerPortsAndProtocol"] = json!({"ListenerPortAndProtocol": [
        {"ListenerPort": 80, "ListenerProtocol": "tcp", "Description": marked("http")},
        {"ListenerPort": 22, "ListenerProtocol": "tcp", "Description": "by hand"},
    ]});
    for (answer, class) in [
        (of_another, ErrorClass::Refused),
        (shared, ErrorClass::Conflict),
    ] {
        let (clb, script, mut observed) = running(&[1]).await;
        observed.read_at = None;
        script.add([ok(answer.clone()), ok(answer)]);
        for step in plan(None, &observed, noon()).steps {
            let error = apply(&clb, step.action, &mut observed).await.unwrap_err();
            assert_eq!(error.class(), class);
        }
        assert_eq!(script.take_actions(), ["DescribeLoadBalancerAttribute"; 2]);
        assert!(observed.load_balancer.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_the_answer_lacks_was_not_added() {
    let (clb, script, mut observed) = running(&[1]).await;
    script.add([ok(
        json!({"VServerGroupId": "rsp-1", "BackendServers": {"BackendServer": [
            {"ServerId": "eni-1", "Port": 8080, "Weight": 100},
        ]}}),
    )]);
    let add = Action::AddBackends {
        group: marked("http"),
        backends: vec![pod(2, 8080)],
    };
    let error = apply(&clb, add, &mut observed).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Conflict);
    assert!(error.message.contains("10.0.0.2:8080"));
    assert_eq!(observed.load_balancer.unwrap().groups[0].backends.len(), 1);
}

/// The cloud can hold a call back for longer than the drain that it begins.
#[tokio::test(start_paused = true)]
async fn what_is_waited_for_begins_when_the_cloud_has_answered() {
    let (clb, script, mut observed) = running(&[1]).await;
    let before = clb.now();
    let held_back = SignedDuration::from_secs(10);
    let busy = || (0..10).map(|_| refuse(400, "ServiceIsConfiguring"));
    script.add(busy().chain([accepted()]));
    let add = Action::AddBackends {
        group: marked("http"),
        backends: vec![pod(2, 8080)],
    };
    apply(&clb, add, &mut observed).await.unwrap();
    let added = clb.now();
    assert!(added >= before + held_back, "{before} {added}");
    script.add(busy().chain([accepted()]));
    let drain = Action::Drain {
        group: marked("http"),
        backends: vec![pod(1, 8080).key],
        time: Seconds(10),
    };
    apply(&clb, drain, &mut observed).await.unwrap();
    let drained = clb.now();
    assert!(drained >= added + held_back, "{added} {drained}");
    let lb = observed.load_balancer.unwrap();
    let [old, new] = &lb.groups[0].backends[..] else {
        panic!("{lb:?}");
    };
    assert_eq!(new.added_at, Some(added));
    assert_eq!(old.drained_at, Some(drained));
}

#[tokio::test(start_paused = true)]
async fn draining_what_has_weight_zero_costs_no_call() {
    let (clb, script, mut observed) = running(&[1, 2]).await;
    let group = &mut observed.load_balancer.as_mut().unwrap().groups[0];
    let key = group.backends[0].key.clone();
    group.backends[0].weight = gatewright_core::Weight::ZERO;
    let now = clb.now();
    let drain = Action::Drain {
        group: marked("http"),
        backends: vec![key],
        time: Seconds(30),
    };
    apply(&clb, drain, &mut observed).await.unwrap();
    assert!(script.take_actions().is_empty());
    let lb = observed.load_balancer.unwrap();
    assert_eq!(lb.groups[0].backends[0].drained_at, Some(now));
}

#[tokio::test(start_paused = true)]
async fn a_group_of_an_earlier_try_is_filled_and_not_made_twice() {
    let (clb, script, mut observed) = running(&[1]).await;
    script.add([accepted()]);
    let create = Action::CreateGroup {
        group: marked("http"),
        backends: vec![pod(1, 8080), pod(2, 8080)],
    };
    apply(&clb, create, &mut observed).await.unwrap();
    assert_eq!(script.take_actions(), ["AddVServerGroupBackendServers"]);
}

#[tokio::test(start_paused = true)]
async fn parameters_are_spelled_as_each_protocol_has_them() {
    // Protocol, Create and Set action, what both must send, what neither may send.
    type Case = (
        Protocol,
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static [&'static str],
    );
    let settings = ListenerSettings {
        drain: Some(Drain::For(Seconds(60))),
        idle_timeout: Some(Seconds(20)),
        established_timeout: Some(Seconds(600)),
        proxy_protocol: Some(true),
        certificate: Some("cert-1".into()),
        health_check: HealthCheck {
            enabled: Some(true),
            probe: Some(Probe::Http),
            path: Some("/ready".to_owned()),
            method: Some(ProbeMethod::Get),
            healthy_codes: Some(vec![2, 3]),
            interval: Some(Seconds(4)),
            timeout: Some(Seconds(6)),
            ..HealthCheck::default()
        },
        ..ListenerSettings::default()
    };
    let cases: [Case; 4] = [
        (
            Protocol::Tcp,
            "CreateLoadBalancerTCPListener",
            "SetLoadBalancerTCPListenerAttribute",
            &[
                ("ConnectionDrain", "on"),
                ("ConnectionDrainTimeout", "60"),
                ("EstablishedTimeout", "600"),
                ("ProxyProtocolV2Enabled", "true"),
                ("HealthCheckSwitch", "on"),
                ("HealthCheckType", "http"),
                ("HealthCheckURI", "/ready"),
                ("HealthCheckHttpCode", "http_2xx,http_3xx"),
                ("HealthCheckConnectTimeout", "6"),
            ],
            &[
                "IdleTimeout",
                "ServerCertificateId",
                "HealthCheckMethod",
                "HealthCheck",
            ],
        ),
        (
            Protocol::Udp,
            "CreateLoadBalancerUDPListener",
            "SetLoadBalancerUDPListenerAttribute",
            &[
                ("HealthCheckSwitch", "on"),
                ("ProxyProtocolV2Enabled", "true"),
            ],
            &[
                "ConnectionDrain",
                "EstablishedTimeout",
                "HealthCheckType",
                "HealthCheckURI",
            ],
        ),
        (
            Protocol::Http,
            "CreateLoadBalancerHTTPListener",
            "SetLoadBalancerHTTPListenerAttribute",
            &[
                ("IdleTimeout", "20"),
                ("HealthCheck", "on"),
                ("HealthCheckMethod", "get"),
                ("HealthCheckTimeout", "6"),
            ],
            &[
                "ConnectionDrain",
                "HealthCheckSwitch",
                "ServerCertificateId",
            ],
        ),
        (
            Protocol::Https,
            "CreateLoadBalancerHTTPSListener",
            "SetLoadBalancerHTTPSListenerAttribute",
            &[("ServerCertificateId", "cert-1"), ("HealthCheck", "on")],
            &["ConnectionDrain", "ProxyProtocolV2Enabled"],
        ),
    ];
    for (protocol, create, set, present, absent) in cases {
        let (clb, script, mut observed) = running(&[1]).await;
        script.add([accepted(), accepted()]);
        let new = Action::CreateListener {
            port: port(9000),
            protocol,
            description: marked("x"),
            group: marked("http"),
            settings: settings.clone(),
        };
        let change = Action::UpdateListener {
            port: port(9000),
            protocol,
            description: marked("x"),
            group: marked("http"),
            settings: settings.clone(),
            changed: Vec::new(),
        };
        apply(&clb, new, &mut observed).await.unwrap();
        apply(&clb, change, &mut observed).await.unwrap();
        let calls = script.calls();
        assert_eq!(script.take_actions(), [create, set]);
        for call in &calls {
            for (name, value) in present {
                assert_eq!(
                    call.get(*name).map(String::as_str),
                    Some(*value),
                    "{protocol} {name}"
                );
            }
            for name in absent {
                assert!(!call.contains_key(*name), "{protocol} {name}");
            }
        }
        let layer4 = matches!(protocol, Protocol::Tcp | Protocol::Udp);
        let spelling = if layer4 {
            "healthCheckInterval"
        } else {
            "HealthCheckInterval"
        };
        assert_eq!(calls[0][spelling], "4");
        assert_eq!(calls[1]["HealthCheckInterval"], "4");
        assert_eq!(calls[1]["VServerGroup"], "on");
    }
}

#[tokio::test(start_paused = true)]
async fn own_tags_are_put_on_and_taken_off() {
    let (clb, script, mut observed) = running(&[1]).await;
    let mut desired = gateway(&[1]);
    desired.tags.insert("team".to_owned(), "a".to_owned());
    script.add([accepted()]);
    apply_all(
        &clb,
        &plan(Some(&desired), &observed, noon()),
        &mut observed,
    )
    .await;
    script.add([accepted()]);
    desired.tags.clear();
    apply_all(
        &clb,
        &plan(Some(&desired), &observed, noon()),
        &mut observed,
    )
    .await;
    let calls = script.calls();
    assert_eq!(calls[0]["Tag.1.Key"], "team");
    assert_eq!(calls[0]["ResourceId.1"], "lb-1");
    assert_eq!(calls[1]["TagKey.1"], "team");
    assert!(!calls[1].values().any(|value| value == OWNER_TAG));
    assert_eq!(script.take_actions(), ["TagResources", "UntagResources"]);
}

#[tokio::test(start_paused = true)]
async fn an_internal_address_is_taken_in_its_subnet() {
    let script = Script::new([no_instances(), created_instance()]);
    let clb = clb(&script);
    let mut desired = gateway(&[1]);
    desired.address_type = gatewright_core::AddressType::Intranet;
    desired.subnet = Some("vsw-1".into());
    let mut observed = clb.observe(&owner()).await.unwrap();
    let action = creation_of(&desired, &observed);
    apply(&clb, action, &mut observed).await.unwrap();
    assert_eq!(script.calls()[1]["VSwitchId"], "vsw-1");
    assert_eq!(script.calls()[1]["AddressType"], "intranet");
    script.add([created_group("rsp-1")]);
    let create = plan(Some(&desired), &observed, noon()).steps[0]
        .action
        .clone();
    apply(&clb, create, &mut observed).await.unwrap();
    script.take_actions();
    assert_eq!(script.calls().len(), 0);
}
