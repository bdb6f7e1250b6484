mod budget;
mod reading;
mod writing;

use gatewright_core::{
    Action, AddressType, Backend, BackendGroup, Backends, Desired, IdempotencyToken, Listener,
    ListenerSettings, LoadBalancers, Observed, OwnerKey, Plan, Port, Protocol, Step, plan,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{CLUSTER_TAG, Clb, ClbOptions, OWNER_TAG};
use crate::client::tests::{Answer, Script, ok};

const OWNER: &str = "5d9f6f4e-7c3b-4a51-9d0a-2f1f6f1c0b11";

fn owner() -> OwnerKey {
    OWNER.into()
}

fn clb(script: &Script) -> Clb {
    Clb::new(script.client(), ClbOptions::new("edge".into()))
}

fn marked(name: &str) -> String {
    format!("gatewright/{OWNER}/{name}")
}

fn noon() -> Timestamp {
    "2030-01-01T12:00:00Z".parse().unwrap()
}

fn pod(number: u8, port: u16) -> Backend {
    Backend::ready(
        format!("eni-{number}").into(),
        Some([10, 0, 0, number].into()),
        Port::new(port).unwrap(),
    )
}

fn gateway(pods: &[u8]) -> Desired {
    let mut desired = Desired::new(owner(), AddressType::Internet);
    desired.name = Some("shop".to_owned());
    desired.deletion_protection = Some(true);
    for (port, name, target) in [(80, "http", 8080), (443, "https", 8443)] {
        desired.listeners.push(Listener {
            port: Port::new(port).unwrap(),
            protocol: Protocol::Tcp,
            group: name.into(),
            description: name.to_owned(),
            settings: ListenerSettings::default(),
        });
        desired.groups.push(BackendGroup {
            name: name.into(),
            backends: Backends::Complete(pods.iter().map(|pod_| pod(*pod_, target)).collect()),
        });
    }
    desired
}

fn no_instances() -> Answer {
    ok(json!({"LoadBalancers": {"LoadBalancer": []}, "TotalCount": 0}))
}

fn instance(id: &str) -> Value {
    json!({
        "LoadBalancerId": id,
        "LoadBalancerName": "shop",
        "LoadBalancerStatus": "active",
        "Address": "192.0.2.1",
        "AddressType": "internet",
        "AddressIPVersion": "ipv4",
        "DeleteProtection": "on",
        "CreateTimeStamp": 1_893_499_200_000_i64,
        "Tags": {"Tag": [
            {"TagKey": OWNER_TAG, "TagValue": OWNER},
            {"TagKey": CLUSTER_TAG, "TagValue": "edge"},
        ]},
    })
}

fn instances(list: &[Value]) -> Answer {
    ok(json!({"LoadBalancers": {"LoadBalancer": list}, "TotalCount": list.len()}))
}

fn accepted() -> Answer {
    ok(json!({"RequestId": "R"}))
}

fn created_instance() -> Answer {
    ok(json!({"LoadBalancerId": "lb-1", "LoadBalancerName": "shop", "Address": "192.0.2.1"}))
}

fn created_group(id: &str) -> Answer {
    ok(json!({"VServerGroupId": id}))
}

async fn apply(
    clb: &Clb,
    action: Action,
    observed: &mut Observed,
) -> Result<(), gatewright_core::Error> {
    let token = IdempotencyToken::new(&owner(), 1, &action);
    let step = Step {
        action,
        reason: "test".to_owned(),
    };
    clb.apply(&step, observed, &token).await
}

async fn apply_all(clb: &Clb, plan: &Plan, observed: &mut Observed) {
    for step in &plan.steps {
        apply(clb, step.action.clone(), observed).await.unwrap();
    }
}

/// Answers for creating a gateway with two ports, without the look-up.
fn creation() -> Vec<Answer> {
    let mut answers = vec![
        created_instance(),
        created_group("rsp-1"),
        created_group("rsp-2"),
    ];
    answers.extend((0..4).map(|_| accepted()));
    answers
}

/// A record of a gateway that was created through the client.
async fn running(pods: &[u8]) -> (Clb, Script, Observed) {
    let script = Script::new([no_instances()]);
    let clb = clb(&script);
    let mut observed = clb.observe(&owner()).await.unwrap();
    script.add(creation());
    apply_all(
        &clb,
        &plan(Some(&gateway(pods)), &observed, noon()),
        &mut observed,
    )
    .await;
    script.take_actions();
    (clb, script, observed)
}
