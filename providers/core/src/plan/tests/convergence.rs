//! Properties over many random histories. A failure names its seed.

use std::collections::BTreeMap;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};

use super::cloud::Cloud;
use super::{draining, listener, noon, pod, weight};
use crate::backend::{Backend, Backends};
use crate::desired::{AddressType, BackendGroup, Desired};
use crate::id::Seconds;
use crate::listener::{Drain, Protocol, Scheduler};
use crate::observed::{ListenerStatus, ObservedGroup, ObservedListener};
use crate::plan::plan;

const PORTS: [u16; 4] = [53, 80, 443, 9000];
const GROUPS: [&str; 3] = ["a", "b", "c"];

fn random_backends(rng: &mut Rng) -> Backends {
    let mut list: Vec<Backend> = Vec::new();
    for number in 1..=6 {
        match rng.u8(0..5) {
            0 | 1 => list.push(pod(number, 8080)),
            2 => list.push(draining(number, 8080)),
            3 => list.push(Backend {
                weight: weight(rng.u8(1..=100)),
                ..pod(number, 8080)
            }),
            _ => {}
        }
    }
    match rng.u8(0..8) {
        0 => Backends::Unknown,
        1 => Backends::Partial(list),
        2 => Backends::ScaledToZero,
        3 => Backends::Complete(Vec::new()),
        _ => Backends::Complete(list),
    }
}

fn random_desired(rng: &mut Rng) -> Desired {
    let mut desired = Desired::new(super::OWNER.into(), AddressType::Internet);
    desired.name = rng.bool().then(|| format!("name-{}", rng.u8(0..3)));
    desired.deletion_protection = *rng.choice([&None, &Some(true), &Some(false)]).unwrap();
    for tag in ["x", "y", "z"] {
        if rng.bool() {
            desired
                .tags
                .insert(tag.to_owned(), rng.u8(0..2).to_string());
        }
    }
    for name in GROUPS {
        if rng.u8(0..4) > 0 {
            desired.groups.push(BackendGroup {
                name: name.into(),
                backends: random_backends(rng),
            });
        }
    }
    for number in PORTS {
        if desired.groups.is_empty() || rng.bool() {
            continue;
        }
        let protocol = if number == 53 {
            Protocol::Udp
        } else {
            *rng.choice(&[Protocol::Tcp, Protocol::Http]).unwrap()
        };
        let group = rng.choice(&desired.groups).unwrap().name.clone();
        let mut wanted = listener(number, protocol, group.as_str());
        let drains = [
            None,
            Some(Drain::Off),
            Some(Drain::For(Seconds(rng.u32(10..100)))),
        ];
        wanted.settings.drain = *rng.choice(&drains).unwrap();
        wanted.settings.scheduler = rng.bool().then_some(Scheduler::WeightedRoundRobin);
        wanted.settings.idle_timeout = rng.bool().then(|| Seconds(rng.u32(10..12)));
        wanted.settings.health_check.interval = rng.bool().then(|| Seconds(rng.u32(1..5)));
        desired.listeners.push(wanted);
    }
    desired
}

/// People and crashes change the cloud behind the daemon's back.
fn drift(rng: &mut Rng, cloud: &mut Cloud) {
    if rng.bool() {
        cloud.forget_record();
    }
    let Some(lb) = &mut cloud.observed.load_balancer else {
        return;
    };
    if rng.u8(0..4) == 0 && !lb.listeners.is_empty() {
        let at = rng.usize(..lb.listeners.len());
        lb.listeners.remove(at);
    }
    if rng.u8(0..4) == 0
        && let Some(listener) = rng.choice(&mut lb.listeners)
    {
        listener.status = ListenerStatus::Stopped;
    }
    if rng.u8(0..4) == 0 {
        for backend in lb.groups.iter_mut().flat_map(|group| &mut group.backends) {
            backend.weight = weight(rng.u8(0..3));
        }
    }
    let foreign = ObservedGroup {
        id: "rsp-foreign".into(),
        name: "somebody's".to_owned(),
        backends: Vec::new(),
    };
    if rng.u8(0..4) == 0 {
        if lb.listener(super::port(80), Protocol::Tcp).is_none() {
            lb.put_listener(ObservedListener {
                port: super::port(80),
                protocol: Protocol::Tcp,
                description: "somebody's".to_owned(),
                group: Some(foreign.id.clone()),
                status: ListenerStatus::Running,
                settings: crate::listener::ListenerSettings::default(),
                unsupported: std::collections::BTreeSet::new(),
            });
        }
        lb.put_group(foreign);
    }
}

fn foreign_parts(cloud: &Cloud) -> (Vec<ObservedListener>, Vec<ObservedGroup>) {
    let lb = cloud.observed.load_balancer.as_ref();
    let listeners = lb.iter().flat_map(|lb| lb.listeners.clone());
    let groups = lb.iter().flat_map(|lb| lb.groups.clone());
    (
        listeners
            .filter(|listener| listener.description == "somebody's")
            .collect(),
        groups.filter(|group| group.name == "somebody's").collect(),
    )
}

/// Applies the plan step by step and checks what must hold between any two of them.
fn apply_checked(cloud: &mut Cloud, desired: &Desired, now: Timestamp, limit: usize, seed: u64) {
    let mark = cloud.observed.mark();
    let keeps: Vec<(String, &Backends)> = desired
        .groups
        .iter()
        .map(|group| (mark.put(group.name.as_str()), &group.backends))
        .collect();
    let plan = plan(Some(desired), &cloud.observed, now);
    for step in plan.steps.iter().take(limit) {
        let before: BTreeMap<String, usize> = cloud.open_backends();
        cloud.now = now;
        cloud.apply(&step.action);
        let after = cloud.open_backends();
        for (group, backends) in &keeps {
            if matches!(backends, Backends::ScaledToZero) {
                continue;
            }
            let had = before.get(group).copied().unwrap_or(0);
            let has = after.get(group).copied().unwrap_or(0);
            assert!(
                had == 0 || has > 0,
                "seed {seed}: {step} leaves {group} without backends"
            );
            if matches!(backends, Backends::Unknown | Backends::Partial(_)) {
                assert!(
                    has >= had,
                    "seed {seed}: {step} removes on an incomplete read"
                );
            }
        }
    }
}

/// The wanted members and weights that a complete, ready list leads to.
fn assert_reached(cloud: &Cloud, desired: &Desired, seed: u64) {
    let lb = cloud.observed.load_balancer.as_ref().unwrap();
    for group in &desired.groups {
        let name = cloud.observed.mark().put(group.name.as_str());
        let found = lb.group(&name).unwrap();
        let members: BTreeMap<_, _> = found.backends.iter().map(|b| (&b.key, b.weight)).collect();
        let ready: BTreeMap<_, _> = group
            .backends
            .known()
            .iter()
            .filter(|backend| backend.state == crate::backend::BackendState::Ready)
            .map(|backend| (&backend.key, backend.weight))
            .collect();
        for (key, weight) in &ready {
            assert_eq!(
                members.get(key),
                Some(weight),
                "seed {seed}: {key} in {name}"
            );
        }
        match &group.backends {
            Backends::ScaledToZero => assert!(members.is_empty(), "seed {seed}"),
            Backends::Complete(list) if !ready.is_empty() => {
                for (key, weight) in &members {
                    let listed = list.iter().any(|backend| backend.key == **key);
                    let wanted = ready.contains_key(key) || (listed && weight.is_zero());
                    assert!(wanted, "seed {seed}: {key} stayed in {name}");
                }
            }
            _ => {}
        }
    }
    for wanted in &desired.listeners {
        let found = lb.listener(wanted.port, wanted.protocol).unwrap();
        if found.description == "somebody's" {
            continue;
        }
        assert_eq!(found.protocol, wanted.protocol, "seed {seed}");
        assert_eq!(found.status, ListenerStatus::Running, "seed {seed}");
        assert!(
            wanted.settings.differences(&found.settings).is_empty(),
            "seed {seed}"
        );
    }
}

#[test]
fn any_state_converges_without_taking_the_last_backend() {
    for seed in 0..2000 {
        let mut rng = Rng::with_seed(seed);
        let mut cloud = Cloud::empty();
        let mut now = noon();
        for _ in 0..rng.usize(1..4) {
            // A daemon that dies somewhere in the middle of an earlier plan.
            let earlier = random_desired(&mut rng);
            let limit = rng.usize(0..12);
            apply_checked(&mut cloud, &earlier, now, limit, seed);
            now += SignedDuration::from_secs(rng.i64(0..60));
            drift(&mut rng, &mut cloud);
        }
        let desired = random_desired(&mut rng);
        let foreign = foreign_parts(&cloud);
        let mut rounds = 0;
        loop {
            apply_checked(&mut cloud, &desired, now, usize::MAX, seed);
            let again = plan(Some(&desired), &cloud.observed, now);
            assert!(again.is_empty(), "seed {seed}: planned again: {again}");
            let Some(at) = again.wake_at else { break };
            assert!(at > now, "seed {seed}: wakes in the past");
            now = at;
            rounds += 1;
            assert!(rounds < 10, "seed {seed}: never settles");
        }
        assert_reached(&cloud, &desired, seed);
        assert_eq!(
            foreign_parts(&cloud),
            foreign,
            "seed {seed}: touched what is not ours"
        );

        let deletion = plan(None, &cloud.observed, now);
        cloud.apply_all(&deletion);
        assert!(plan(None, &cloud.observed, now).is_empty(), "seed {seed}");
        assert_eq!(
            foreign_parts(&cloud),
            foreign,
            "seed {seed}: deleted what is not ours"
        );
        let gone = cloud.observed.load_balancer.is_none();
        assert_eq!(gone, foreign == (Vec::new(), Vec::new()), "seed {seed}");
    }
}

#[test]
fn the_same_input_gives_the_same_plan() {
    for seed in 0..200 {
        let make = || {
            let mut rng = Rng::with_seed(seed);
            let mut cloud = Cloud::empty();
            apply_checked(&mut cloud, &random_desired(&mut rng), noon(), 9, seed);
            drift(&mut rng, &mut cloud);
            plan(Some(&random_desired(&mut rng)), &cloud.observed, noon())
        };
        assert_eq!(make(), make());
    }
}
