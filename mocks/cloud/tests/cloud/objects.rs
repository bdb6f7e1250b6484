//! Instances, listeners, groups and tags as the API keeps them.

use std::time::Duration;

use mock_cloud::{ListenerStatus, Quotas};
use serde_json::json;

use crate::caller::Caller;

const TCP: &str = "CreateLoadBalancerTCPListener";

fn code(code: &str) -> (u16, String) {
    (400, code.to_owned())
}

#[tokio::test]
async fn an_instance_is_described_as_it_was_made() {
    let caller = Caller::without_sockets().await;
    let parameters = [
        ("AddressType", "intranet"),
        ("VSwitchId", "vsw-1"),
        ("VpcId", "vpc-1"),
        ("LoadBalancerName", "edge"),
        ("LoadBalancerSpec", "slb.s1.small"),
        ("Tag.1.Key", "team"),
        ("Tag.1.Value", "edge"),
    ];
    let made = caller.call("CreateLoadBalancer", &parameters).await;
    assert_eq!(made["NetworkType"], "vpc");
    let id = made["LoadBalancerId"].as_str().unwrap();
    let found = caller
        .call("DescribeLoadBalancerAttribute", &[("LoadBalancerId", id)])
        .await;
    assert_eq!(found["Address"], made["Address"]);
    assert_eq!(found["LoadBalancerStatus"], "active");
    assert_eq!(
        found["Tags"],
        json!({ "Tag": [{ "TagKey": "team", "TagValue": "edge" }] })
    );
    assert_eq!(
        found["ListenerPortsAndProtocal"],
        json!({ "ListenerPortAndProtocal": [] })
    );
    let other = caller.call("CreateLoadBalancer", &[]).await;
    assert_ne!(other["Address"], made["Address"]);
}

#[tokio::test]
async fn instances_are_found_by_tag_and_by_page() {
    let caller = Caller::without_sockets().await;
    for owner in ["a", "a", "b"] {
        caller
            .call(
                "CreateLoadBalancer",
                &[("Tag.1.Key", "owner"), ("Tag.1.Value", owner)],
            )
            .await;
    }
    let find = async |parameters: &[(&str, &str)]| {
        let found = caller.call("DescribeLoadBalancers", parameters).await;
        let page = found["LoadBalancers"]["LoadBalancer"]
            .as_array()
            .unwrap()
            .len();
        (found["TotalCount"].as_u64().unwrap(), page)
    };
    assert_eq!(
        find(&[("Tag.1.Key", "owner"), ("Tag.1.Value", "a")]).await,
        (2, 2)
    );
    assert_eq!(find(&[("Tag.1.Key", "owner")]).await, (3, 3));
    assert_eq!(find(&[("Tag.1.Key", "none")]).await, (0, 0));
    assert_eq!(find(&[("LoadBalancerId", "lb-unknown")]).await, (0, 0));
    assert_eq!(
        find(&[("PageNumber", "2"), ("PageSize", "2")]).await,
        (3, 1)
    );
}

#[tokio::test]
async fn a_client_token_repeats_its_answer_and_refuses_other_parameters() {
    let caller = Caller::without_sockets().await;
    let first = caller
        .call("CreateLoadBalancer", &[("ClientToken", "t")])
        .await;
    let second = caller
        .call("CreateLoadBalancer", &[("ClientToken", "t")])
        .await;
    assert_eq!(first["LoadBalancerId"], second["LoadBalancerId"]);
    let other = [("ClientToken", "t"), ("LoadBalancerName", "other")];
    let refusal = caller.refusal("CreateLoadBalancer", &other).await;
    assert_eq!(refusal, code("LX_REQUEST_TOKEN_CONFLICT"));
    assert_eq!(caller.cloud.inventory().instances.len(), 1);
}

#[tokio::test]
async fn deletion_protection_refuses_and_deletion_takes_everything_along() {
    let caller = Caller::without_sockets().await;
    let id = caller.instance().await;
    caller.group(&id, "[]").await;
    let named = [("LoadBalancerId", id.as_str()), ("DeleteProtection", "on")];
    caller.call("SetLoadBalancerDeleteProtection", &named).await;
    let refusal = caller.refusal("DeleteLoadBalancer", &named[..1]).await;
    assert_eq!(refusal, code("OperationDenied.DeleteProtectionIsOn"));
    let off = [named[0], ("DeleteProtection", "off")];
    caller.call("SetLoadBalancerDeleteProtection", &off).await;
    caller.call("DeleteLoadBalancer", &named[..1]).await;
    assert!(caller.cloud.inventory().is_empty());
    let tags = caller
        .call("ListTagResources", &[("ResourceType", "vservergroup")])
        .await;
    assert_eq!(tags["TagResources"]["TagResource"], json!([]));
    let gone = caller.refusal("DeleteLoadBalancer", &named[..1]).await;
    assert_eq!(gone, (404, "InvalidLoadBalancerId.NotFound".to_owned()));
}

#[tokio::test]
async fn quotas_and_regions_are_enforced() {
    let caller = Caller::without_sockets().await;
    caller.cloud.set_quotas(Quotas {
        instances: 1,
        members_per_call: 1,
        ..Quotas::default()
    });
    let id = caller.instance().await;
    let refusal = caller.refusal("CreateLoadBalancer", &[]).await;
    assert_eq!(refusal, code("QuotaLimitExceeds.LoadBalancers"));
    let two = r#"[{"ServerId":"i-1","Port":80},{"ServerId":"i-2","Port":80}]"#;
    let group = [("LoadBalancerId", id.as_str()), ("BackendServers", two)];
    let refusal = caller.refusal("CreateVServerGroup", &group).await;
    assert_eq!(refusal, code("TooManyBackendServers"));
    let elsewhere = caller
        .refusal("DescribeLoadBalancers", &[("RegionId", "cn-beijing")])
        .await;
    assert_eq!(elsewhere, (404, "InvalidRegionId.NotFound".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_listener_passes_through_its_states() {
    let caller = Caller::without_sockets().await;
    let id = caller.instance().await;
    let listener = [
        ("LoadBalancerId", id.as_str()),
        ("ListenerPort", "443"),
        ("Bandwidth", "-1"),
        ("BackendServerPort", "8443"),
        ("healthCheckInterval", "7"),
        ("HealthCheckInterval", "9"),
    ];
    let named = &listener[..2];
    let status = async || {
        let found = caller
            .call("DescribeLoadBalancerTCPListenerAttribute", named)
            .await;
        found["Status"].as_str().unwrap().to_owned()
    };
    let settle = async |status: ListenerStatus| {
        let limit = Duration::from_secs(5);
        let is = |all: &mock_cloud::Inventory| all.instances[0].listeners[0].status == status;
        caller.cloud.wait_for(limit, is).await.unwrap();
    };
    caller.call(TCP, &listener).await;
    // Create knows the lower-case name only.
    assert_eq!(
        caller.cloud.ledger().entries()[1].ignored,
        ["HealthCheckInterval"]
    );
    assert_eq!(status().await, "stopped");
    assert_eq!(
        caller.refusal(TCP, &listener).await,
        code("ListenerAlreadyExists")
    );
    caller.call("StartLoadBalancerListener", named).await;
    assert_eq!(status().await, "starting");
    let busy = caller.refusal("DeleteLoadBalancerListener", named).await;
    assert_eq!(busy, code("OperationFailed.ListenerStatusNotSupport"));
    settle(ListenerStatus::Running).await;

    let set = [
        listener[0],
        listener[1],
        ("Description", "mark"),
        ("ConnectionDrain", "on"),
    ];
    let refusal = caller
        .refusal("SetLoadBalancerTCPListenerAttribute", &set)
        .await;
    assert_eq!(refusal, code("MissingParameter"));
    let set = [&set[..], &[("ConnectionDrainTimeout", "30")]].concat();
    let dry = [&set[..], &[("DryRun", "true")]].concat();
    let refusal = caller
        .refusal("SetLoadBalancerTCPListenerAttribute", &dry)
        .await;
    assert_eq!(refusal, code("DryRunOperation"));
    caller
        .call("SetLoadBalancerTCPListenerAttribute", &set)
        .await;
    assert_eq!(status().await, "configuring");
    settle(ListenerStatus::Running).await;
    let all = caller
        .call(
            "DescribeLoadBalancerListeners",
            &[("LoadBalancerId.1", &id)],
        )
        .await;
    let found = &all["Listeners"][0];
    assert_eq!(found["ListenerProtocol"], "tcp");
    assert_eq!(found["Description"], "mark");
    assert_eq!(found["TCPListenerConfig"]["ConnectionDrainTimeout"], 30);
    assert_eq!(found["TCPListenerConfig"]["HealthCheckInterval"], 7);
    assert_eq!(
        found["TCPListenerConfig"]["ProxyProtocolV2Enabled"],
        "false"
    );

    caller.call("StopLoadBalancerListener", named).await;
    assert_eq!(status().await, "stopping");
    settle(ListenerStatus::Stopped).await;
    caller.call("DeleteLoadBalancerListener", named).await;
    let gone = caller.refusal("StartLoadBalancerListener", named).await;
    assert_eq!(gone, (404, "ListenerNotFound".to_owned()));
}

#[tokio::test]
async fn tcp_and_udp_may_share_a_port_and_http_may_not() {
    let caller = Caller::without_sockets().await;
    let id = caller.instance().await;
    let listener = [
        ("LoadBalancerId", id.as_str()),
        ("ListenerPort", "80"),
        ("Bandwidth", "-1"),
        ("BackendServerPort", "80"),
        ("HealthCheck", "off"),
    ];
    caller.call(TCP, &listener).await;
    caller
        .call("CreateLoadBalancerUDPListener", &listener)
        .await;
    let refusal = caller
        .refusal("CreateLoadBalancerHTTPListener", &listener)
        .await;
    assert_eq!(refusal, code("ListenerPortConflict"));
    let which = caller
        .refusal("StartLoadBalancerListener", &listener[..2])
        .await;
    assert_eq!(which, code("TooManyListeners"));
    let udp = [listener[0], listener[1], ("ListenerProtocol", "UDP")];
    caller.call("StartLoadBalancerListener", &udp).await;
}

#[tokio::test]
async fn bad_values_are_refused_with_the_name_of_the_parameter() {
    let caller = Caller::without_sockets().await;
    let id = caller.instance().await;
    let good = [
        ("LoadBalancerId", id.as_str()),
        ("ListenerPort", "80"),
        ("Bandwidth", "-1"),
    ];
    let refusal = caller.refusal(TCP, &good).await;
    assert_eq!(refusal, code("MissingParameter"));
    for (name, value) in [
        ("BackendServerPort", "0"),
        ("Scheduler", "fastest"),
        ("EstablishedTimeout", "5"),
        ("HealthCheckURI", "x"),
        ("HealthCheckHttpCode", "200"),
        ("ConnectionDrain", "yes"),
        ("ProxyProtocolV2Enabled", "on"),
    ] {
        let all = [&good[..], &[("VServerGroupId", "rsp-none"), (name, value)]].concat();
        let (status, body) = caller.try_call(TCP, &all).await.unwrap();
        assert_eq!(
            (status, body["Code"].as_str()),
            (400, Some("InvalidParameter")),
            "{name}"
        );
        assert!(body["Message"].as_str().unwrap().contains(name));
    }
    let none = [&good[..], &[("VServerGroupId", "rsp-none")]].concat();
    assert_eq!(
        caller.refusal(TCP, &none).await,
        (404, "InvalidParameter".to_owned())
    );
    assert_eq!(
        caller.refusal(TCP, &good[..2]).await,
        code("MissingBandwidth")
    );
}

#[tokio::test]
async fn group_members_are_added_changed_replaced_and_removed() {
    let caller = Caller::without_sockets().await;
    let id = caller.instance().await;
    let server = |name: &str, weight: u32| {
        format!(r#"[{{"ServerId":"{name}","Port":"80","Weight":"{weight}","Type":"eni"}}]"#)
    };
    let group = caller.group(&id, &server("eni-a", 50)).await;
    let change = async |action: &str, list: &str| {
        let parameters = [("VServerGroupId", group.as_str()), ("BackendServers", list)];
        caller.call(action, &parameters).await;
        members(&caller)
    };
    let pair = |name: &str, weight: u32| (name.to_owned(), weight);
    assert_eq!(
        change("AddVServerGroupBackendServers", &server("eni-a", 9)).await,
        [pair("eni-a", 50)]
    );
    assert_eq!(
        change("AddVServerGroupBackendServers", &server("eni-b", 100)).await,
        [pair("eni-a", 50), pair("eni-b", 100)]
    );
    assert_eq!(
        change("SetVServerGroupAttribute", &server("eni-a", 0)).await,
        [pair("eni-a", 0), pair("eni-b", 100)]
    );
    assert_eq!(
        change("SetVServerGroupAttribute", &server("eni-c", 1)).await,
        [pair("eni-a", 0), pair("eni-b", 100)]
    );
    assert_eq!(
        change("RemoveVServerGroupBackendServers", &server("eni-a", 0)).await,
        [pair("eni-b", 100)]
    );
    let replace = [
        ("VServerGroupId", group.as_str()),
        ("OldBackendServers", &server("eni-b", 0)),
        ("NewBackendServers", &server("eni-c", 7)),
    ];
    caller
        .call("ModifyVServerGroupBackendServers", &replace)
        .await;
    assert_eq!(members(&caller), [pair("eni-c", 7)]);

    let bad = [
        ("VServerGroupId", group.as_str()),
        ("BackendServers", &server("eni-d", 101)),
    ];
    let refusal = caller.refusal("AddVServerGroupBackendServers", &bad).await;
    assert_eq!(refusal, code("InvalidWeight.Malformed"));
}

fn members(caller: &Caller) -> Vec<(String, u32)> {
    let members = caller.cloud.inventory().instances[0].groups[0]
        .members
        .clone();
    members
        .into_iter()
        .map(|member| (member.server_id, member.weight))
        .collect()
}

#[tokio::test]
async fn a_group_in_use_is_not_deleted() {
    let caller = Caller::without_sockets().await;
    let id = caller.instance().await;
    let group = caller.group(&id, "[]").await;
    let listener = [
        ("LoadBalancerId", id.as_str()),
        ("ListenerPort", "80"),
        ("VServerGroupId", group.as_str()),
        ("Bandwidth", "-1"),
    ];
    caller.call(TCP, &listener).await;
    let refusal = caller.refusal("DeleteVServerGroup", &listener[2..3]).await;
    assert_eq!(refusal, code("RspoolVipExist"));
    let listing = [("LoadBalancerId", id.as_str()), ("IncludeListener", "True")];
    let groups = caller.call("DescribeVServerGroups", &listing).await;
    let users = &groups["VServerGroups"]["VServerGroup"][0]["AssociatedObjects"]["Listeners"];
    assert_eq!(
        users["Listener"],
        json!([{ "Port": 80, "Protocol": "tcp" }])
    );
    caller
        .call("DeleteLoadBalancerListener", &listener[..2])
        .await;
    caller.call("DeleteVServerGroup", &listener[2..3]).await;
}

#[tokio::test]
async fn tags_are_put_on_listed_and_taken_off() {
    let caller = Caller::without_sockets().await;
    let id = caller.instance().await;
    let listener = [
        ("LoadBalancerId", id.as_str()),
        ("ListenerPort", "80"),
        ("BackendServerPort", "80"),
        ("Bandwidth", "-1"),
    ];
    caller.call(TCP, &listener).await;
    let name = format!("{id}_tcp_80");
    for (kind, resource) in [("instance", id.as_str()), ("listener", name.as_str())] {
        let resource = [("ResourceType", kind), ("ResourceId.1", resource)];
        let tagged = [
            &resource[..],
            &[("Tag.1.Key", "a"), ("Tag.1.Value", "1"), ("Tag.2.Key", "b")],
        ];
        caller.call("TagResources", &tagged.concat()).await;
        let untagged = [&resource[..], &[("TagKey.1", "b")]].concat();
        caller.call("UntagResources", &untagged).await;
        let listed = caller.call("ListTagResources", &resource).await;
        let expected = json!([{
            "ResourceId": resource[1].1, "ResourceType": kind, "TagKey": "a", "TagValue": "1",
        }]);
        assert_eq!(listed["TagResources"]["TagResource"], expected);
    }
    let reserved = [("LoadBalancerId", id.as_str()), ("Tag.1.Key", "acs:x")];
    let refusal = caller.refusal("CreateVServerGroup", &reserved).await;
    assert_eq!(refusal, code("InvalidParameter"));
}

#[tokio::test]
async fn the_default_group_serves_listeners_without_a_group() {
    let caller = Caller::without_sockets().await;
    let id = caller.instance().await;
    let servers = [
        ("LoadBalancerId", id.as_str()),
        ("BackendServers", r#"[{"ServerId":"i-1","Weight":"20"}]"#),
    ];
    let added = caller.call("AddBackendServers", &servers).await;
    assert_eq!(added["BackendServers"]["BackendServer"][0]["Weight"], 20);
    let listener = [
        ("LoadBalancerId", id.as_str()),
        ("ListenerPort", "80"),
        ("BackendServerPort", "8080"),
        ("Bandwidth", "-1"),
    ];
    caller.call(TCP, &listener).await;
    let inventory = caller.cloud.inventory();
    let member = &inventory.instances[0].listeners[0].members[0];
    assert_eq!((member.server_id.as_str(), member.port), ("i-1", 8080));
    let removed = [servers[0], ("BackendServers", r#"["i-1"]"#)];
    caller.call("RemoveBackendServers", &removed).await;
    assert!(
        caller.cloud.inventory().instances[0]
            .default_members
            .is_empty()
    );
}
