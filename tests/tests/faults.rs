//! Every action of the load balancer API with every fault, on the way through a life of a load
//! balancer: create, change, shrink, delete. The end of each stage is the same as without the fault.
#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a failed step is a failed test, and what was tried stands in the output"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use gatewright_aliyun::clb::{Clb, ClbOptions};
use gatewright_aliyun::{Client, ClientOptions, Credentials};
use gatewright_core::{
    AddressType, Backend, BackendGroup, Backends, Desired, Drain, IdempotencyToken, Listener,
    ListenerSettings, LoadBalancers, Observed, OwnerKey, Port, ProbeMethod, Protocol, Seconds,
    plan,
};
use gatewright_seams::{Clock, Random, Tasks};
use gatewright_tests::{Sim, shape};
use mock_cloud::{AccessKey, DataPlane, Fault, Inventory, MockCloud, Options, Storage};
use tower::util::BoxCloneSyncService;

const OWNER: &str = "5d9f6f4e-7c3b-4a51-9d0a-2f1f6f1c0b11";
const SECRET: &str = "faults-secret-51e0";
/// More rounds than any fault may cost.
const ROUNDS: usize = 40;

/// Each action, and how often it happens in the life below.
const ACTIONS: [(&str, u32); 16] = [
    ("DescribeLoadBalancers", 1),
    ("CreateLoadBalancer", 1),
    ("CreateVServerGroup", 4),
    ("CreateLoadBalancerTCPListener", 2),
    ("CreateLoadBalancerHTTPListener", 1),
    ("CreateLoadBalancerUDPListener", 1),
    ("StartLoadBalancerListener", 4),
    ("AddVServerGroupBackendServers", 4),
    ("SetVServerGroupAttribute", 4),
    ("RemoveVServerGroupBackendServers", 4),
    ("SetLoadBalancerTCPListenerAttribute", 1),
    ("DeleteLoadBalancerListener", 2),
    ("DeleteVServerGroup", 2),
    ("UntagResources", 1),
    ("SetLoadBalancerDeleteProtection", 1),
    ("DeleteLoadBalancer", 1),
];

/// A fault by name, and whether the caller above the provider sees an error.
fn faults() -> Vec<(&'static str, Fault, bool)> {
    let refuse = |code: &str| Fault::Refuse {
        status: 400,
        code: code.into(),
    };
    vec![
        ("times out before its effect", Fault::TimeoutBefore, true),
        ("times out after its effect", Fault::TimeoutAfter, true),
        ("is cut after its effect", Fault::CutAnswer, true),
        ("answers 500", Fault::Internal, true),
        ("answers 503", Fault::Unavailable, true),
        ("is throttled", Fault::Throttle { retry_after: None }, false),
        ("is slow", Fault::Delay(Duration::from_secs(5)), false),
        (
            "meets a busy instance",
            refuse("ServiceIsConfiguring"),
            false,
        ),
        ("meets a full quota", refuse("OverQuota"), true),
    ]
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

/// The load balancer with `pods`, in front of the first `listeners` of four listeners.
fn wanted(pods: &[u8], listeners: usize) -> Desired {
    let mut desired = Desired::new(OwnerKey::from(OWNER), AddressType::Internet);
    desired.name = Some("shop".into());
    desired.deletion_protection = Some(true);
    desired.tags.insert("team".into(), "a".into());
    let all = [
        (80, "http", 8080, Protocol::Tcp),
        (443, "https", 8443, Protocol::Tcp),
        (8080, "l7", 8080, Protocol::Http),
        (53, "dns", 53, Protocol::Udp),
    ];
    for (number, name, target, protocol) in all.into_iter().take(listeners) {
        let mut settings = ListenerSettings {
            bandwidth: Some(-1),
            ..ListenerSettings::default()
        };
        settings.health_check.interval = Some(Seconds(3));
        if protocol == Protocol::Tcp {
            settings.drain = Some(Drain::For(Seconds(40)));
            settings.established_timeout = Some(Seconds(600));
        }
        if protocol == Protocol::Http {
            settings.health_check.enabled = Some(true);
            settings.health_check.path = Some("/ready".into());
            settings.health_check.method = Some(ProbeMethod::Get);
            settings.health_check.healthy_codes = Some(vec![2, 3]);
        }
        let backend = |pod: &u8| {
            let ip = [10, 0, 0, *pod].into();
            Backend::ready(format!("eni-{pod}").into(), Some(ip), port(target))
        };
        let backends = Backends::Complete(pods.iter().map(backend).collect());
        desired.groups.push(BackendGroup {
            name: name.into(),
            backends,
        });
        desired.listeners.push(Listener {
            port: port(number),
            protocol,
            group: name.into(),
            description: name.into(),
            settings,
        });
    }
    desired
}

/// The stages of the life: created, a pod replaced and a setting changed, half of it gone, gone.
fn stages() -> [Option<Desired>; 4] {
    let mut changed = wanted(&[2, 3], 4);
    changed.listeners[0].settings.established_timeout = Some(Seconds(700));
    let mut smaller = wanted(&[2, 3], 2);
    smaller.tags.clear();
    [Some(wanted(&[1, 2], 4)), Some(changed), Some(smaller), None]
}

/// What there is, without ids.
fn look(inventory: &Inventory) -> String {
    assert!(
        inventory.instances.len() <= 1,
        "a second instance: {inventory:#?}"
    );
    shape(inventory)
}

/// Walks through the stages, with `fault` at the call of `action` after `skip` of them. Gives what
/// there was at the end of each stage, and how many errors came up.
async fn live(fault: Option<(&str, u32, Fault)>) -> (Vec<String>, usize) {
    let clock = Clock::starting_at("2030-01-01T12:00:00Z".parse().unwrap());
    let tasks = Tasks::new();
    let cloud = MockCloud::start(Options {
        storage: Storage::Memory,
        clock,
        random: Random::seeded(1),
        tasks: tasks.clone(),
        region: "cn-hangzhou".into(),
        access_keys: vec![AccessKey {
            id: "id1".into(),
            secret: SECRET.into(),
        }],
        data_plane: DataPlane::Off,
    })
    .await
    .unwrap();
    let options = ClientOptions::new(
        Credentials::new("id1", SECRET),
        "cn-hangzhou",
        "http://slb.gatewright.test".parse().unwrap(),
    );
    let transport = BoxCloneSyncService::new(cloud.service());
    let client = Client::new(options, transport, clock, Random::seeded(2));
    let clb = Clb::new(client, ClbOptions::new("edge".into()));
    let action = fault.as_ref().map(|(action, skip, _)| (*action, *skip));
    if let Some((action, skip, fault)) = fault {
        cloud.faults().after(action, skip, 1, fault);
    }
    let (mut looks, mut errors) = (Vec::new(), 0);
    let mut record = None;
    for (stage, desired) in stages().iter().enumerate() {
        errors += reach(&clb, desired.as_ref(), stage, clock, &mut record).await;
        // The passing states of listeners pass.
        clock.sleep(Duration::from_secs(5)).await;
        looks.push(look(&cloud.inventory()));
    }
    assert_eq!(
        cloud.faults().pending(),
        0,
        "the call never came: {action:?}"
    );
    tasks.cancel();
    (looks, errors)
}

/// Observes, plans and applies as the daemon does, until there is nothing to do. Gives the number
/// of errors. The cloud is read when there is no `record` or something failed since it was made.
async fn reach(
    clb: &Clb,
    desired: Option<&Desired>,
    stage: usize,
    clock: Clock,
    record: &mut Option<Observed>,
) -> usize {
    let (mut errors, mut doubtful) = (0, false);
    let mut attempted_tags = BTreeSet::new();
    let generation = i64::try_from(stage).unwrap();
    let failed = |error: gatewright_core::Error| {
        assert!(!error.to_string().contains(SECRET), "{error}");
    };
    for _ in 0..ROUNDS {
        let mut observed = match record.as_ref() {
            Some(observed) if !doubtful => observed.clone(),
            before => match clb.observe(&OwnerKey::from(OWNER)).await {
                Ok(mut observed) => {
                    observed.remember(before, clock.now());
                    observed.claim_tags(&attempted_tags);
                    doubtful = false;
                    observed
                }
                Err(error) => {
                    failed(error);
                    errors += 1;
                    clock.sleep(Duration::from_secs(1)).await;
                    continue;
                }
            },
        };
        let plan = plan(desired, &observed, clock.now());
        assert!(plan.blocked.is_empty(), "blocked: {:?}", plan.blocked);
        if plan.is_empty() {
            let Some(at) = plan.wake_at else {
                *record = Some(observed);
                return errors;
            };
            clock.sleep_until(at).await;
        }
        attempted_tags.extend(plan.tag_keys());
        for step in &plan.steps {
            let token = IdempotencyToken::new(&observed.owner, generation, &step.action);
            if let Err(error) = clb.apply(step, &mut observed, &token).await {
                failed(error);
                errors += 1;
                doubtful = true;
                break;
            }
        }
        if doubtful {
            clock.sleep(Duration::from_secs(1)).await;
        }
        *record = Some(observed);
    }
    panic!("stage {stage} does not come to an end");
}

/// Each action with each fault, one world for each.
async fn matrix(actions: &[(&str, u32)]) {
    let (wanted, errors) = live(None).await;
    assert_eq!(errors, 0);
    assert_eq!(wanted[3], "", "something is left");
    for (action, times) in actions {
        for skip in 0..*times {
            for (words, fault, shown) in faults() {
                // Nothing is busy with being read.
                if action.starts_with("Describe") && matches!(fault, Fault::Refuse { .. }) {
                    continue;
                }
                let (found, errors) = live(Some((action, skip, fault))).await;
                assert_eq!(found, wanted, "{action} number {} {words}", skip + 1);
                assert_eq!(
                    errors > 0,
                    shown,
                    "{action} number {} {words}: {errors}",
                    skip + 1
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_any_creating_call_leads_to_the_same_end() {
    matrix(&ACTIONS[..7]).await;
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_any_changing_or_deleting_call_leads_to_the_same_end() {
    matrix(&ACTIONS[7..]).await;
}

/// A gateway made, scaled to one proxy and deleted by the whole daemon; the first two calls of the
/// action meet the fault. Gives what there was before and after scaling.
async fn daemon_lives(fault: Option<(&str, Fault)>) -> [String; 2] {
    let sim = Sim::start().await;
    if let Some((action, fault)) = fault {
        sim.laptop.cloud.faults().next(action, 2, fault);
    }
    sim.apply_gateway().await;
    sim.wait_balanced(2).await;
    let created = shape(&sim.laptop.cloud.inventory());
    sim.scale(1).await;
    sim.wait_balanced(1).await;
    let scaled = shape(&sim.laptop.cloud.inventory());
    sim.delete_gateway().await;
    sim.until("nothing left", Duration::from_mins(10), async || {
        sim.laptop.cloud.inventory().is_empty().then_some(())
    })
    .await;
    sim.pass(Duration::from_mins(5)).await;
    assert!(sim.laptop.cloud.inventory().is_empty());
    assert_eq!(
        sim.laptop.cloud.faults().pending(),
        0,
        "the calls never came"
    );
    [created, scaled]
}

#[tokio::test(start_paused = true)]
async fn a_gateway_lives_and_ends_the_same_whatever_its_calls_meet() {
    let wanted = daemon_lives(None).await;
    for action in [
        "DescribeLoadBalancers",
        "CreateLoadBalancer",
        "CreateVServerGroup",
        "CreateLoadBalancerTCPListener",
        "StartLoadBalancerListener",
        "AddVServerGroupBackendServers",
        "SetVServerGroupAttribute",
        "RemoveVServerGroupBackendServers",
        "DescribeLoadBalancerAttribute",
        "DeleteLoadBalancer",
    ] {
        for (words, fault) in [
            (
                "throttled",
                Fault::Throttle {
                    retry_after: Some(Duration::from_secs(3)),
                },
            ),
            ("timed out before", Fault::TimeoutBefore),
            ("timed out after", Fault::TimeoutAfter),
            ("answered 500", Fault::Internal),
        ] {
            let found = daemon_lives(Some((action, fault))).await;
            let plain = |shapes: &[String; 2]| shapes.clone().map(|text| without_addresses(&text));
            assert_eq!(plain(&found), plain(&wanted), "{action} {words}");
            println!("{action} {words}: the same");
        }
    }
}

/// Which of two proxies is left is no part of the outcome.
fn without_addresses(text: &str) -> String {
    text.replace("10-65-0-1", "N")
        .replace("10-65-0-2", "N")
        .replace("10.65.0.1", "N")
        .replace("10.65.0.2", "N")
}
