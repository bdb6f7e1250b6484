//! The plan of many load balancers to which nothing happened: what an idle resync costs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, ensure};
use gatewright_core::{
    AddressType, Backend, BackendGroup, Backends, Desired, IpVersion, Listener, ListenerSettings,
    ListenerStatus, LoadBalancerStatus, Observed, ObservedBackend, ObservedGroup, ObservedListener,
    ObservedLoadBalancer, OwnerKey, Port, Protocol, plan,
};
use gatewright_seams::Clock;

use crate::Effort;
use crate::figures::{Figure, Report, microseconds_each};

const LOAD_BALANCERS: usize = 1000;
const BACKENDS: u8 = 20;
const RUNS: usize = 50;

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let clock = Clock::system();
    let now = clock.now();
    let all: Vec<(Desired, Observed)> = (0..LOAD_BALANCERS)
        .map(load_balancer)
        .collect::<Result<_>>()?;
    let mut times = Vec::new();
    for _ in 0..effort.times(RUNS) {
        let began = clock.elapsed();
        let steps: usize = all
            .iter()
            .map(|(desired, observed)| {
                let plan = plan(Some(desired), observed, now);
                plan.steps.len() + plan.blocked.len()
            })
            .sum();
        times.push(microseconds_each(began, clock.elapsed(), LOAD_BALANCERS));
        ensure!(steps == 0, "something was planned where nothing changed");
    }
    report.add(Figure::new(
        "plan one load balancer, no change",
        "µs",
        times,
    ));
    let mut times = Vec::new();
    for _ in 0..effort.times(RUNS) {
        let began = clock.elapsed();
        let steps: usize = all
            .iter()
            .map(|(desired, observed)| {
                let absent = Observed::absent(observed.owner.clone());
                plan(Some(desired), &absent, now).steps.len()
            })
            .sum();
        times.push(microseconds_each(began, clock.elapsed(), LOAD_BALANCERS));
        ensure!(
            steps == 7 * LOAD_BALANCERS,
            "{steps} steps for {LOAD_BALANCERS} new load balancers"
        );
    }
    report.add(Figure::new(
        "plan one load balancer, all of it is missing",
        "µs",
        times,
    ));
    report.note(format!(
        "{LOAD_BALANCERS} load balancers in turn, each with 2 listeners and 2 groups of {BACKENDS} backends; one value a run"
    ));
    Ok(())
}

/// A load balancer as it should be, and as it is: the same.
fn load_balancer(number: usize) -> Result<(Desired, Observed)> {
    let owner = OwnerKey::new(format!("00000000-0000-4000-8000-{number:012}"));
    let mut observed = Observed::absent(owner.clone());
    let mark = observed.mark();
    let mut desired = Desired::new(owner, AddressType::Internet);
    let mut found = ObservedLoadBalancer {
        id: format!("lb-{number}").into(),
        name: format!("shop-{number}"),
        address: None,
        address_type: AddressType::Internet,
        ip_version: IpVersion::Ipv4,
        subnet: None,
        status: LoadBalancerStatus::Active,
        tags: BTreeMap::new(),
        own_tags: BTreeSet::new(),
        deletion_protection: false,
        listeners: Vec::new(),
        groups: Vec::new(),
    };
    for (outer, inner, name) in [(80, 8080, "http"), (443, 8443, "https")] {
        let (port, target) = (Port::new(outer), Port::new(inner));
        let (port, target) = port.zip(target).context("a port")?;
        let backends: Vec<Backend> = (1..=BACKENDS)
            .map(|last| {
                let ip = IpAddr::from(Ipv4Addr::new(10, 0, 0, last));
                Backend::ready(format!("eni-{last}").as_str().into(), Some(ip), target)
            })
            .collect();
        let group = ObservedGroup {
            id: format!("rsp-{number}-{name}").into(),
            name: mark.put(name),
            backends: backends
                .iter()
                .map(|backend| ObservedBackend {
                    key: backend.key.clone(),
                    weight: backend.weight,
                    added_at: None,
                    drained_at: None,
                })
                .collect(),
        };
        found.put_listener(ObservedListener {
            port,
            protocol: Protocol::Tcp,
            description: mark.put(name),
            group: Some(group.id.clone()),
            status: ListenerStatus::Running,
            settings: ListenerSettings::default(),
            unsupported: BTreeSet::new(),
        });
        found.put_group(group);
        desired.listeners.push(Listener {
            port,
            protocol: Protocol::Tcp,
            group: name.into(),
            description: name.to_owned(),
            settings: ListenerSettings::default(),
        });
        desired.groups.push(BackendGroup {
            name: name.into(),
            backends: Backends::Complete(backends),
        });
    }
    observed.load_balancer = Some(found);
    Ok((desired, observed))
}
