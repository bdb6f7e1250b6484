//! How many cloud calls each case takes, exactly: lb-controllers.md, 3.8. More is a failure, and so
//! is fewer, so that a better figure gets written down here.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a failed step is a failed test, and what was tried stands in the output"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use gatewright_tests::{GATEWAY_NAMESPACE, Sim};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use mock_cloud::{LedgerEntry, Mark};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_mins(5);
const PREFIX: &str = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-";

/// The Service `direct`, whose EndpointSlice the test writes itself.
struct Direct {
    sim: Sim,
    mark: Mark,
}

impl Direct {
    /// The world with `pods` as endpoints and a Service of two ports; its load balancer is not there
    /// yet.
    async fn start(pods: &[u8], annotations: &[(&str, &str)]) -> Self {
        let sim = Sim::start().await;
        let mark = sim.laptop.cloud.ledger().mark();
        let this = Self { sim, mark };
        // Before the Service, so that its first pass already knows the endpoints.
        this.endpoints(pods).await;
        let annotations: BTreeMap<_, _> = annotations
            .iter()
            .map(|(key, value)| (format!("{PREFIX}{key}"), *value))
            .collect();
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "direct",
                "namespace": GATEWAY_NAMESPACE,
                "annotations": annotations,
            },
            "spec": {
                "type": "LoadBalancer",
                "loadBalancerClass": "gatewright.dev/clb",
                "allocateLoadBalancerNodePorts": false,
                "ports": [
                    { "name": "http", "port": 80, "targetPort": 8080 },
                    { "name": "https", "port": 443, "targetPort": 8443 },
                ],
            },
        });
        this.sim.apply(service).await.unwrap();
        this.in_sync(pods.len()).await;
        this
    }

    async fn endpoints(&self, pods: &[u8]) {
        let endpoint = |pod: &u8| json!({ "addresses": [format!("10.65.9.{pod}")], "conditions": { "ready": true } });
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "direct-1",
                "namespace": GATEWAY_NAMESPACE,
                "labels": { "kubernetes.io/service-name": "direct" },
            },
            "addressType": "IPv4",
            "endpoints": pods.iter().map(endpoint).collect::<Vec<Value>>(),
            "ports": [{ "name": "http", "port": 8080 }, { "name": "https", "port": 8443 }],
        });
        self.sim.apply(slice).await.unwrap();
    }

    /// Waits until both groups have exactly `count` members, all at full weight.
    async fn in_sync(&self, count: usize) {
        self.sim
            .until(
                "the load balancer of service direct in sync",
                LIMIT,
                async || {
                    let condition = self.sim.service_condition("direct").await?;
                    let inventory = self.sim.laptop.cloud.inventory();
                    let groups = &inventory.instances.first()?.groups;
                    let full = groups.len() == 2
                        && groups.iter().all(|group| {
                            group.members.len() == count
                                && group.members.iter().all(|member| member.weight == 100)
                        });
                    (condition.status == "True" && full).then_some(())
                },
            )
            .await;
        // Nothing may come after it.
        self.sim.pass(Duration::from_mins(2)).await;
    }

    /// Waits until `count` members are left that include `pod`.
    async fn replaced(&self, pod: u8, count: usize) {
        let ip = format!("10.65.9.{pod}").parse().ok();
        self.sim
            .until("the new pod in both groups", LIMIT, async || {
                let inventory = self.sim.laptop.cloud.inventory();
                let groups = &inventory.instances.first()?.groups;
                let has = groups.iter().all(|group| {
                    group.members.len() == count
                        && group.members.iter().any(|member| member.server_ip == ip)
                });
                has.then_some(())
            })
            .await;
        self.in_sync(count).await;
    }

    async fn delete(&self) {
        let services: Api<Service> = Api::namespaced(self.sim.kube.clone(), GATEWAY_NAMESPACE);
        services
            .delete("direct", &DeleteParams::default())
            .await
            .unwrap();
        self.sim
            .until("the service gone", LIMIT, async || {
                services
                    .get_opt("direct")
                    .await
                    .unwrap()
                    .is_none()
                    .then_some(())
            })
            .await;
        self.sim.pass(Duration::from_mins(2)).await;
    }

    /// The calls since the last look, and a line for the output.
    fn calls(&mut self, case: &str) -> Vec<LedgerEntry> {
        let ledger = self.sim.laptop.cloud.ledger();
        let calls = ledger.since(self.mark);
        self.mark = ledger.mark();
        report(case, &calls);
        calls
    }
}

fn report(case: &str, calls: &[LedgerEntry]) {
    let writes = calls.iter().filter(|call| call.write).count();
    println!("{case}: {} reads, {writes} writes", calls.len() - writes);
}

fn actions(calls: &[LedgerEntry]) -> Vec<&str> {
    calls.iter().map(|call| call.action.as_str()).collect()
}

const DRAIN: [(&str, &str); 2] = [
    ("connection-drain", "on"),
    ("connection-drain-timeout", "30"),
];

#[tokio::test(start_paused = true)]
async fn two_ports_are_created_with_eight_calls() {
    let mut direct = Direct::start(&[1, 2], &DRAIN).await;
    let calls = direct.calls("create, 2 ports");
    assert_eq!(
        actions(&calls),
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
}

#[tokio::test(start_paused = true)]
async fn nothing_to_change_takes_no_call() {
    let mut direct = Direct::start(&[1, 2], &DRAIN).await;
    direct.calls("create, 2 ports");
    direct.sim.resync().await;
    direct.sim.pass(Duration::from_mins(1)).await;
    let services: Api<Service> = Api::namespaced(direct.sim.kube.clone(), GATEWAY_NAMESPACE);
    let patch = Patch::Merge(json!({ "metadata": { "labels": { "team": "a" } } }));
    services
        .patch("direct", &PatchParams::default(), &patch)
        .await
        .unwrap();
    direct.endpoints(&[2, 1]).await;
    direct.sim.pass(Duration::from_mins(1)).await;
    assert_eq!(direct.calls("no-op"), []);
}

#[tokio::test(start_paused = true)]
async fn one_pod_replaced_with_drain_takes_one_look_and_three_writes_for_each_group() {
    let mut direct = Direct::start(&[1, 2], &DRAIN).await;
    direct.calls("create, 2 ports");
    direct.endpoints(&[2, 3]).await;
    direct.replaced(3, 2).await;
    let calls = direct.calls("one pod replaced, drain, 2 groups");
    assert_eq!(
        actions(&calls),
        [
            "DescribeLoadBalancers",
            "DescribeLoadBalancerListeners",
            "DescribeVServerGroups",
            "DescribeVServerGroupAttribute",
            "DescribeVServerGroupAttribute",
            "AddVServerGroupBackendServers",
            "AddVServerGroupBackendServers",
            "SetVServerGroupAttribute",
            "SetVServerGroupAttribute",
            "RemoveVServerGroupBackendServers",
            "RemoveVServerGroupBackendServers",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn one_pod_replaced_without_drain_takes_one_look_and_two_writes_for_each_group() {
    let mut direct = Direct::start(&[1, 2], &[("connection-drain", "off")]).await;
    direct.calls("create, 2 ports");
    direct.endpoints(&[2, 3]).await;
    direct.replaced(3, 2).await;
    let calls = direct.calls("one pod replaced, no drain, 2 groups");
    assert_eq!(
        actions(&calls),
        [
            "DescribeLoadBalancers",
            "DescribeLoadBalancerListeners",
            "DescribeVServerGroups",
            "DescribeVServerGroupAttribute",
            "DescribeVServerGroupAttribute",
            "AddVServerGroupBackendServers",
            "AddVServerGroupBackendServers",
            "RemoveVServerGroupBackendServers",
            "RemoveVServerGroupBackendServers",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn deletion_takes_three_calls_with_protection_and_two_without() {
    let mut direct = Direct::start(&[1, 2], &[("delete-protection", "on")]).await;
    assert_eq!(direct.calls("create, 2 ports, protected").len(), 8);
    direct.delete().await;
    let calls = direct.calls("delete, 2 ports, protected");
    assert_eq!(
        actions(&calls),
        [
            "DescribeLoadBalancerAttribute",
            "SetLoadBalancerDeleteProtection",
            "DeleteLoadBalancer"
        ]
    );

    let mut direct = Direct::start(&[1, 2], &[]).await;
    direct.calls("create, 2 ports");
    direct.delete().await;
    let calls = direct.calls("delete, 2 ports");
    assert_eq!(
        actions(&calls),
        ["DescribeLoadBalancerAttribute", "DeleteLoadBalancer"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_gateway_from_nothing_takes_the_creations_and_one_addition_for_each_group_and_wave() {
    let sim = Sim::start().await;
    sim.apply_gateway().await;
    sim.wait_balanced(2).await;
    sim.pass(Duration::from_mins(2)).await;
    let calls = sim.laptop.cloud.ledger().entries();
    report(
        "gateway, 2 load balancers, 2 ports each, proxies start meanwhile",
        &calls,
    );
    let counts = sim.laptop.cloud.ledger().counts();
    let adds = counts
        .get("AddVServerGroupBackendServers")
        .copied()
        .unwrap_or_default();
    assert_eq!(calls.len() as u64 - adds, 16, "{counts:?}");
    assert_eq!(adds, 4, "both proxies are added together: {counts:?}");
}
