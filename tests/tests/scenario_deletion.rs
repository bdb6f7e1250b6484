//! What was ours goes, and what was not stays.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::time::Duration;

use gatewright_aliyun::clb::Clb;
use gatewright_core::{
    Action, AddressType, BackendGroup, Backends, Desired, IdempotencyToken, Listener,
    ListenerSettings, LoadBalancers, Observed, OwnerKey, Port, Protocol, Step, plan,
};
use gatewright_crds::IstioGateway;
use gatewright_tests::{GATEWAY_NAMESPACE, OWNER_TAG, PUBLIC, Sim, SimOptions, shape};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_mins(10);

async fn apply(clb: &Clb, observed: &mut Observed, action: Action) {
    let token = IdempotencyToken::new(&observed.owner, 0, &action);
    let step = Step {
        action,
        reason: "by hand".into(),
    };
    clb.apply(&step, observed, &token).await.unwrap();
}

/// Another cluster's load balancer, with a listener and a group.
async fn foreign_instance(sim: &Sim) {
    let clb = sim.by_hand("another");
    let owner = OwnerKey::from("0b51c1c8-6f0e-4d6e-9a5c-1f2f3f4f5f6f");
    let mut desired = Desired::new(owner.clone(), AddressType::Internet);
    desired.groups.push(BackendGroup {
        name: "web".into(),
        backends: Backends::Complete(vec![]),
    });
    desired.listeners.push(Listener {
        port: Port::new(80).unwrap(),
        protocol: Protocol::Tcp,
        group: "web".into(),
        description: "web".into(),
        settings: ListenerSettings::default(),
    });
    let mut observed = clb.observe(&owner).await.unwrap();
    for step in plan(Some(&desired), &observed, sim.clock().now()).steps {
        apply(&clb, &mut observed, step.action).await;
    }
}

async fn services_left(sim: &Sim) -> Vec<String> {
    let services: Api<Service> = Api::namespaced(sim.kube.clone(), GATEWAY_NAMESPACE);
    let all = services.list(&<_>::default()).await.unwrap();
    all.items
        .into_iter()
        .filter_map(|service| service.metadata.name)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn deleting_the_gateway_leaves_what_was_there_before() {
    let sim = Sim::start().await;
    foreign_instance(&sim).await;
    sim.pass(Duration::from_secs(5)).await;
    let before = sim.laptop.cloud.inventory();
    assert_eq!(before.instances.len(), 1);
    sim.apply_quickstart().await;
    sim.until("three instances", LIMIT, async || {
        (sim.laptop.cloud.inventory().instances.len() == 3).then_some(())
    })
    .await;
    sim.wait_served().await;
    sim.delete_gateway().await;
    sim.until("no service left", LIMIT, async || {
        services_left(&sim).await.is_empty().then_some(())
    })
    .await;
    assert_eq!(sim.laptop.cloud.inventory(), before);
    sim.pass(Duration::from_mins(5)).await;
    assert_eq!(sim.laptop.cloud.inventory(), before, "and it stays so");
    assert!(sim.world.proxies().is_empty(), "proxies are left");
}

#[tokio::test(start_paused = true)]
async fn what_others_put_into_our_instance_stops_its_deletion_and_stays() {
    let sim = Sim::start().await;
    sim.apply_gateway().await;
    sim.wait_balanced(2).await;
    let owner = sim.owner(PUBLIC).await;
    let clb = sim.by_hand("laptop");
    let mut observed = clb.observe(&owner).await.unwrap();
    let settings = ListenerSettings {
        bandwidth: Some(-1),
        ..ListenerSettings::default()
    };
    let group = "theirs".to_owned();
    for action in [
        Action::CreateGroup {
            group: group.clone(),
            backends: vec![],
        },
        Action::CreateListener {
            port: Port::new(9000).unwrap(),
            protocol: Protocol::Tcp,
            description: "theirs".into(),
            group,
            settings,
        },
    ] {
        apply(&clb, &mut observed, action).await;
    }
    sim.delete_gateway().await;
    // The record does not know of them: the deletion itself has to look.
    sim.until("only their instance", LIMIT, async || {
        let left = services_left(&sim).await;
        (left == [PUBLIC]).then_some(())
    })
    .await;
    sim.pass(Duration::from_mins(10)).await;
    let inventory = sim.laptop.cloud.inventory();
    assert_eq!(inventory.instances.len(), 1, "{inventory:#?}");
    let instance = &inventory.instances[0];
    assert_eq!(
        instance.tags.get(OWNER_TAG).map(String::as_str),
        Some(owner.as_str())
    );
    assert!(
        instance.listener(9000).is_some(),
        "their listener is gone: {instance:#?}"
    );
    assert!(
        instance.group("theirs").is_some(),
        "their group is gone: {instance:#?}"
    );
    let condition = sim.service_condition(PUBLIC).await.unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("False", "Blocked")
    );
    assert!(condition.message.contains("9000"), "{}", condition.message);
}

/// Somebody takes a gateway off the internet: it is not served, paid for or told any more.
#[tokio::test(start_paused = true)]
async fn a_service_that_is_no_load_balancer_any_more_loses_its_own_and_gets_a_new_one_later() {
    let sim = Sim::start().await;
    sim.apply_gateway().await;
    sim.wait_balanced(2).await;
    let gateways: Api<IstioGateway> = Api::namespaced(sim.kube.clone(), GATEWAY_NAMESPACE);
    let become_type = async |kind: Value, class: Value| {
        let spec = json!({ "spec": { "serviceType": kind, "loadBalancerClass": class } });
        let params = PatchParams::default();
        gateways
            .patch("ingressgateway", &params, &Patch::Merge(spec))
            .await
            .unwrap();
    };
    let held = gateways.get("ingressgateway").await.unwrap().spec;
    become_type("ClusterIP".into(), Value::Null).await;
    let services: Api<Service> = Api::namespaced(sim.kube.clone(), GATEWAY_NAMESPACE);
    let service = sim
        .until("one instance", LIMIT, async || {
            let service = services.get(PUBLIC).await.unwrap();
            let one = sim.laptop.cloud.inventory().instances.len() == 1;
            (one && service.finalizers().is_empty()).then_some(service)
        })
        .await;
    let status = service.status.unwrap_or_default();
    assert_eq!(status.conditions, None, "nothing is told of it any more");
    let shown = status.load_balancer.and_then(|shown| shown.ingress);
    assert_eq!(shown, None);
    sim.pass(Duration::from_mins(10)).await;
    assert_eq!(sim.laptop.cloud.inventory().instances.len(), 1);
    let class = held
        .settings
        .load_balancer_class
        .map_or(Value::Null, Value::from);
    become_type("LoadBalancer".into(), class).await;
    sim.wait_balanced(2).await;
    assert_eq!(sim.laptop.cloud.inventory().instances.len(), 2);
}

/// What is in a namespace goes in any order, and nothing can be created in it any more.
#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_deleted_takes_its_load_balancers_with_it() {
    let sim = Sim::start().await;
    sim.apply_gateway().await;
    sim.wait_balanced(2).await;
    let records: Api<ConfigMap> = Api::namespaced(sim.kube.clone(), GATEWAY_NAMESPACE);
    let params = DeleteParams::default();
    let record = format!("{PUBLIC}-load-balancer");
    records.delete(&record, &params).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(sim.kube.clone());
    namespaces.delete(GATEWAY_NAMESPACE, &params).await.unwrap();
    sim.until("no namespace", LIMIT, async || {
        let left = namespaces.get_opt(GATEWAY_NAMESPACE).await.unwrap();
        left.is_none().then_some(())
    })
    .await;
    assert_eq!(sim.laptop.cloud.inventory().instances, []);
}

/// A gateway whose public load balancer has lost its tags, and the audit that sees it is due.
async fn without_tags() -> Sim {
    let sim = Sim::quickstart_with(SimOptions {
        audit_interval: Duration::from_mins(30),
        ..<_>::default()
    })
    .await;
    let clb = sim.by_hand("laptop");
    let mut observed = clb.observe(&sim.owner(PUBLIC).await).await.unwrap();
    let keys = [OWNER_TAG.to_owned()].into();
    apply(&clb, &mut observed, Action::RemoveTags { keys }).await;
    sim.pass(Duration::from_mins(40)).await;
    sim
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_without_its_tags_is_not_replaced() {
    let sim = without_tags().await;
    let inventory = sim.laptop.cloud.inventory();
    assert_eq!(inventory.instances.len(), 2, "{}", shape(&inventory));
    let condition = sim.service_condition(PUBLIC).await.unwrap();
    assert_eq!(condition.reason, "Blocked", "{condition:?}");
    assert!(condition.message.contains("lb-"), "{}", condition.message);
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_without_its_tags_is_left_behind_and_told() {
    let sim = without_tags().await;
    sim.delete_gateway().await;
    sim.until("no service left", LIMIT, async || {
        services_left(&sim).await.is_empty().then_some(())
    })
    .await;
    let inventory = sim.laptop.cloud.inventory();
    assert_eq!(inventory.instances.len(), 1, "{}", shape(&inventory));
    let events = sim.events().await;
    let told = events
        .iter()
        .filter(|event| event.contains(" LeftBehind: "));
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "{events:#?}");
    assert!(told[0].contains(&inventory.instances[0].id), "{told:?}");
}
