//! One rule a test.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::cloud::Cloud;
use super::{draining, gateway, key, listener, noon, pod, pods};
use crate::backend::Backends;
use crate::desired::{AddressType, Desired, IpVersion};
use crate::id::{Mark, Seconds};
use crate::listener::{Drain, ListenerSettings, Protocol, Scheduler, Setting};
use crate::observed::{Duplicate, ListenerStatus, LoadBalancerStatus, ObservedListener};
use crate::plan::plan;
use crate::step::{Action, Plan};
use crate::token::IdempotencyToken;

fn later(seconds: i64) -> Timestamp {
    noon() + SignedDuration::from_secs(seconds)
}

/// A cloud that has what `desired` wants, long settled.
fn running(desired: &Desired) -> Cloud {
    let mut cloud = Cloud::empty();
    cloud.now = later(-3600);
    cloud.apply_all(&plan(Some(desired), &cloud.observed, cloud.now));
    cloud.now = noon();
    cloud
}

fn words(plan: &Plan) -> Vec<String> {
    let mark = Mark::of(&super::OWNER.into()).put("");
    plan.steps
        .iter()
        .map(|step| step.action.to_string().replace(&mark, ""))
        .collect()
}

#[test]
fn nothing_to_change_means_no_steps() {
    let desired = gateway(&[1, 2]);
    let cloud = running(&desired);
    let plan = plan(Some(&desired), &cloud.observed, noon());
    assert_eq!(plan, Plan::default());
}

#[test]
fn only_a_backend_that_takes_connections_is_stopped() {
    let mut cloud = running(&gateway(&[1, 2]));
    let grown = plan(Some(&gateway(&[1, 2, 3])), &cloud.observed, noon());
    assert!(!grown.stops_backends(&cloud.observed), "{grown:?}");
    let smaller = gateway(&[1]);
    let drained = plan(Some(&smaller), &cloud.observed, noon());
    assert!(drained.stops_backends(&cloud.observed), "{drained:?}");
    cloud.apply_all(&drained);
    let removed = plan(Some(&smaller), &cloud.observed, later(3_600));
    assert!(!removed.is_empty());
    assert!(!removed.stops_backends(&cloud.observed), "{removed:?}");
}

#[test]
fn a_replaced_pod_is_added_before_the_old_one_drains_and_leaves_last() {
    let mut cloud = running(&gateway(&[1, 2]));
    let desired = gateway(&[2, 3]);
    let first = plan(Some(&desired), &cloud.observed, noon());
    let until = later(30);
    assert_eq!(
        words(&first),
        [
            "add 10.0.0.3:8080 to http",
            "add 10.0.0.3:8443 to https",
            "drain 10.0.0.1:8080 in http for 30 s",
            "drain 10.0.0.1:8443 in https for 30 s",
        ]
    );
    assert_eq!(first.wake_at, Some(until));
    cloud.apply_all(&first);
    assert!(plan(Some(&desired), &cloud.observed, later(29)).is_empty());
    let last = plan(Some(&desired), &cloud.observed, until);
    assert_eq!(
        words(&last),
        [
            "remove 10.0.0.1:8080 from http",
            "remove 10.0.0.1:8443 from https"
        ]
    );
    cloud.apply_all(&last);
    assert_eq!(
        plan(Some(&desired), &cloud.observed, until),
        Plan::default()
    );
}

#[test]
fn the_last_settled_backend_waits_for_new_ones_to_pass_their_checks() {
    let mut cloud = running(&gateway(&[1]));
    let desired = gateway(&[2]);
    let first = plan(Some(&desired), &cloud.observed, noon());
    assert_eq!(
        words(&first),
        ["add 10.0.0.2:8080 to http", "add 10.0.0.2:8443 to https"]
    );
    assert_eq!(first.wake_at, Some(later(6)));
    cloud.apply_all(&first);
    assert!(plan(Some(&desired), &cloud.observed, later(5)).is_empty());
    let second = plan(Some(&desired), &cloud.observed, later(6));
    assert_eq!(words(&second)[0], "drain 10.0.0.1:8080 in http for 30 s");
}

#[test]
fn an_incomplete_or_empty_read_removes_nothing() {
    let cloud = running(&gateway(&[1, 2]));
    for backends in [
        Backends::Unknown,
        Backends::Partial(vec![pod(1, 8080)]),
        Backends::Complete(Vec::new()),
        Backends::Complete(vec![draining(1, 8080), draining(2, 8080)]),
    ] {
        let mut desired = gateway(&[1, 2]);
        desired.groups[0].backends = backends;
        assert_eq!(
            plan(Some(&desired), &cloud.observed, noon()),
            Plan::default()
        );
    }
}

#[test]
fn a_partial_read_adds() {
    let cloud = running(&gateway(&[1, 2]));
    let mut desired = gateway(&[1, 2]);
    desired.groups[0].backends = Backends::Partial(vec![pod(3, 8080)]);
    let plan = plan(Some(&desired), &cloud.observed, noon());
    assert_eq!(words(&plan), ["add 10.0.0.3:8080 to http"]);
}

#[test]
fn a_drain_that_begins_late_ends_late() {
    let mut cloud = running(&gateway(&[1, 2]));
    let desired = gateway(&[2]);
    let drain = plan(Some(&desired), &cloud.observed, noon());
    cloud.now = later(18);
    cloud.apply_all(&drain);
    let waiting = plan(Some(&desired), &cloud.observed, later(47));
    assert!(waiting.is_empty(), "{waiting:?}");
    assert_eq!(waiting.wake_at, Some(later(48)));
    assert_eq!(
        words(&plan(Some(&desired), &cloud.observed, later(48))),
        [
            "remove 10.0.0.1:8080 from http",
            "remove 10.0.0.1:8443 from https"
        ]
    );
}

#[test]
fn a_drain_is_as_long_as_the_setting_of_the_moment_says() {
    let mut desired = gateway(&[2]);
    let mut cloud = running(&gateway(&[1, 2]));
    cloud.apply_all(&plan(Some(&desired), &cloud.observed, noon()));
    for (seconds, left) in [(60, Some(60)), (10, None)] {
        for listener in &mut desired.listeners {
            listener.settings.drain = Some(Drain::For(Seconds(seconds)));
        }
        let next = plan(Some(&desired), &cloud.observed, later(20));
        let removes = words(&next)
            .iter()
            .any(|step| step.starts_with("remove 10.0.0.1"));
        assert_eq!(removes, left.is_none(), "{next:?}");
        assert_eq!(next.wake_at, left.map(later));
    }
}

#[test]
fn a_backend_that_is_added_late_settles_late() {
    let mut cloud = running(&gateway(&[1]));
    let desired = gateway(&[2]);
    let addition = plan(Some(&desired), &cloud.observed, noon());
    cloud.now = later(20);
    cloud.apply_all(&addition);
    let waiting = plan(Some(&desired), &cloud.observed, later(25));
    assert!(waiting.is_empty(), "{waiting:?}");
    assert_eq!(waiting.wake_at, Some(later(26)));
}

#[test]
fn a_backend_whose_addition_got_no_answer_counts_as_new() {
    let mut cloud = running(&gateway(&[1]));
    let desired = gateway(&[2]);
    let earlier = cloud.observed.clone();
    cloud.apply_all(&plan(Some(&desired), &cloud.observed, noon()));
    cloud.forget_record();
    cloud.observed.remember(Some(&earlier), later(20));
    let waiting = plan(Some(&desired), &cloud.observed, later(25));
    assert!(waiting.is_empty(), "{waiting:?}");
    assert_eq!(waiting.wake_at, Some(later(26)));
}

#[test]
fn scaling_to_zero_drains_and_removes_all() {
    let mut desired = gateway(&[1, 2]);
    let mut cloud = running(&desired);
    for group in &mut desired.groups {
        group.backends = Backends::ScaledToZero;
    }
    cloud.apply_all(&plan(Some(&desired), &cloud.observed, noon()));
    assert!(
        cloud
            .group("http")
            .backends
            .iter()
            .all(|backend| backend.weight.is_zero())
    );
    cloud.apply_all(&plan(Some(&desired), &cloud.observed, later(30)));
    assert!(cloud.group("http").backends.is_empty());
}

#[test]
fn a_terminating_pod_drains_while_it_is_listed_and_leaves_afterwards() {
    let mut desired = gateway(&[1, 2]);
    let mut cloud = running(&desired);
    desired.groups[0].backends = Backends::Complete(vec![pod(1, 8080), draining(2, 8080)]);
    let first = plan(Some(&desired), &cloud.observed, noon());
    assert_eq!(words(&first), ["drain 10.0.0.2:8080 in http for 30 s"]);
    cloud.apply_all(&first);
    assert!(plan(Some(&desired), &cloud.observed, later(60)).is_empty());
    desired.groups[0].backends = pods(&[1], 8080);
    let last = plan(Some(&desired), &cloud.observed, later(60));
    assert_eq!(words(&last), ["remove 10.0.0.2:8080 from http"]);
}

#[test]
fn a_pod_that_comes_back_takes_connections_again() {
    let desired = gateway(&[1, 2]);
    let mut cloud = running(&desired);
    cloud.apply_all(&plan(Some(&gateway(&[1])), &cloud.observed, noon()));
    assert_eq!(cloud.group("http").backends[1].weight.get(), 0);
    let back = plan(Some(&desired), &cloud.observed, later(10));
    assert_eq!(words(&back)[0], "set weights in http: 10.0.0.2:8080=100");
    cloud.apply_all(&back);
    assert_eq!(
        plan(Some(&desired), &cloud.observed, later(40)),
        Plan::default()
    );
}

#[test]
fn a_drain_of_unknown_start_begins_anew() {
    let desired = gateway(&[1]);
    let mut cloud = running(&gateway(&[1, 2]));
    cloud.apply_all(&plan(Some(&desired), &cloud.observed, noon()));
    cloud.forget_record();
    let anew = plan(Some(&desired), &cloud.observed, later(20));
    assert_eq!(words(&anew)[0], "drain 10.0.0.2:8080 in http for 30 s");
    assert_eq!(anew.wake_at, Some(later(50)));
}

#[test]
fn drain_off_removes_at_once_but_after_adding() {
    let mut desired = gateway(&[1, 2]);
    for listener in &mut desired.listeners {
        listener.settings.drain = Some(Drain::Off);
    }
    let cloud = running(&desired);
    for (group, port) in desired.groups.iter_mut().zip([8080, 8443]) {
        group.backends = pods(&[2, 3], port);
    }
    let plan = plan(Some(&desired), &cloud.observed, noon());
    assert_eq!(
        words(&plan),
        [
            "add 10.0.0.3:8080 to http",
            "add 10.0.0.3:8443 to https",
            "remove 10.0.0.1:8080 from http",
            "remove 10.0.0.1:8443 from https",
        ]
    );
}

#[test]
fn the_drain_time_of_the_listener_counts() {
    let mut desired = gateway(&[1, 2]);
    desired.listeners[0].settings.drain = Some(Drain::For(Seconds(90)));
    let cloud = running(&desired);
    desired.groups[0].backends = pods(&[1], 8080);
    let plan = plan(Some(&desired), &cloud.observed, noon());
    assert_eq!(plan.wake_at, Some(later(90)));
}

#[test]
fn what_cannot_change_is_reported_and_the_rest_goes_on() {
    let cloud = running(&gateway(&[1]));
    let mut desired = gateway(&[1, 2]);
    desired.address_type = AddressType::Intranet;
    desired.ip_version = IpVersion::Ipv6;
    let plan = plan(Some(&desired), &cloud.observed, noon());
    let blocked: Vec<String> = plan.blocked.iter().map(ToString::to_string).collect();
    assert_eq!(
        blocked,
        [
            "addressType: wanted intranet, found internet",
            "ipVersion: wanted ipv6, found ipv4"
        ]
    );
    assert_eq!(
        words(&plan),
        ["add 10.0.0.2:8080 to http", "add 10.0.0.2:8443 to https"]
    );
}

#[test]
fn a_port_of_another_owner_is_reported_and_left_alone() {
    let desired = gateway(&[1]);
    let mut cloud = running(&desired);
    let foreign = cloud
        .lb()
        .listener_mut(super::port(80), Protocol::Tcp)
        .unwrap();
    foreign.description = "by hand".to_owned();
    let plan = plan(Some(&desired), &cloud.observed, noon());
    assert!(plan.is_empty());
    assert_eq!(plan.blocked[0].field, "listeners[tcp/80].port");
    assert!(plan.blocked[0].found.contains("by hand"));
}

#[test]
fn a_deleted_or_stopped_listener_is_repaired() {
    let desired = gateway(&[1]);
    let mut cloud = running(&desired);
    cloud.lb().remove_listener(super::port(80), Protocol::Tcp);
    cloud
        .lb()
        .listener_mut(super::port(443), Protocol::Tcp)
        .unwrap()
        .status = ListenerStatus::Stopped;
    let plan = plan(Some(&desired), &cloud.observed, noon());
    assert_eq!(
        words(&plan),
        [
            "create listener tcp/80 to http",
            "start listener tcp/80",
            "start listener tcp/443"
        ]
    );
}

#[test]
fn a_changed_protocol_replaces_the_listener_and_keeps_the_group() {
    let mut desired = gateway(&[1]);
    let cloud = running(&desired);
    desired.listeners[0] = listener(80, Protocol::Http, "http");
    let plan = plan(Some(&desired), &cloud.observed, noon());
    assert_eq!(
        words(&plan),
        [
            "delete listener tcp/80",
            "create listener http/80 to http",
            "start listener http/80"
        ]
    );
}

#[test]
fn only_set_settings_are_compared_and_impossible_ones_reported() {
    let mut desired = gateway(&[1]);
    let mut cloud = running(&desired);
    let known = cloud
        .lb()
        .listener_mut(super::port(80), Protocol::Tcp)
        .unwrap();
    known.settings.idle_timeout = Some(Seconds(15));
    known.unsupported = BTreeSet::from([Setting::RequestTimeout]);
    assert_eq!(
        plan(Some(&desired), &cloud.observed, noon()),
        Plan::default()
    );
    desired.listeners[0].settings.request_timeout = Some(Seconds(7));
    desired.listeners[0].settings.established_timeout = Some(Seconds(60));
    let plan = plan(Some(&desired), &cloud.observed, noon());
    assert_eq!(
        words(&plan),
        ["update establishedTimeout of listener tcp/80"]
    );
    assert_eq!(plan.blocked[0].field, "listeners[tcp/80].requestTimeout");
    assert_eq!(plan.blocked[0].wanted, "7");
}

#[test]
fn a_scheduler_that_ignores_weights_is_reported() {
    let mut desired = gateway(&[1]);
    desired.listeners[0].settings.scheduler = Some(Scheduler::RoundRobin);
    let cloud = running(&desired);
    let plan = plan(Some(&desired), &cloud.observed, noon());
    assert_eq!(plan.blocked[0].field, "listeners[tcp/80].scheduler");
}

#[test]
fn deletion_switches_protection_off_first() {
    let mut desired = gateway(&[1]);
    desired.deletion_protection = Some(true);
    let cloud = running(&desired);
    let plan = plan(None, &cloud.observed, noon());
    assert!(matches!(
        plan.steps[0].action,
        Action::SetDeletionProtection { on: false, .. }
    ));
    assert!(matches!(
        plan.steps[1].action,
        Action::DeleteLoadBalancer { .. }
    ));
    assert_eq!(plan.steps.len(), 2);
}

#[test]
fn an_instance_that_others_use_is_emptied_of_ours_and_kept() {
    let mut cloud = running(&gateway(&[1]));
    cloud.lb().put_listener(ObservedListener {
        port: super::port(22),
        protocol: Protocol::Tcp,
        description: "by hand".to_owned(),
        group: None,
        status: ListenerStatus::Running,
        settings: ListenerSettings::default(),
        unsupported: BTreeSet::new(),
    });
    let deletion = plan(None, &cloud.observed, noon());
    assert_eq!(deletion.blocked[0].found, "in use by listener tcp/22");
    cloud.apply_all(&deletion);
    assert_eq!(cloud.lb().listeners.len(), 1);
    assert!(cloud.lb().groups.is_empty());
}

#[test]
fn own_tags_come_and_go_and_those_of_others_stay() {
    let mut desired = gateway(&[1]);
    desired.tags.insert("team".to_owned(), "a".to_owned());
    let mut cloud = running(&desired);
    cloud.lb().tags.insert("cost".to_owned(), "x".to_owned());
    desired.tags.clear();
    desired.tags.insert("env".to_owned(), "prod".to_owned());
    let change = plan(Some(&desired), &cloud.observed, noon());
    assert_eq!(words(&change), ["set tags env=prod", "remove tags team"]);
    cloud.apply_all(&change);
    assert!(cloud.lb().tags.contains_key("cost"));
}

#[test]
fn a_bare_duplicate_is_deleted_and_a_used_one_reported() {
    let desired = gateway(&[1]);
    let mut cloud = running(&desired);
    for (id, bare) in [("lb-bare", true), ("lb-used", false)] {
        let duplicate = Duplicate {
            id: id.into(),
            deletion_protection: true,
            bare,
        };
        cloud.observed.duplicates.push(duplicate);
    }
    let plan = plan(Some(&desired), &cloud.observed, noon());
    assert_eq!(
        words(&plan),
        [
            "switch deletion protection of lb-bare off",
            "delete load balancer lb-bare"
        ]
    );
    assert!(plan.blocked[0].found.contains("lb-used"));
}

#[test]
fn a_locked_instance_is_reported_and_not_written_to() {
    let desired = gateway(&[1]);
    let mut cloud = running(&desired);
    cloud.lb().status = LoadBalancerStatus::Locked;
    let plan = plan(Some(&gateway(&[1, 2])), &cloud.observed, noon());
    assert!(plan.is_empty());
    assert_eq!(plan.blocked[0].found, "locked");
}

#[test]
fn a_record_survives_being_stored() {
    let mut cloud = running(&gateway(&[1, 2]));
    cloud.apply_all(&plan(Some(&gateway(&[2, 3])), &cloud.observed, noon()));
    let stored = serde_json::to_string(&cloud.observed).unwrap();
    let read: crate::observed::Observed = serde_json::from_str(&stored).unwrap();
    assert_eq!(read, cloud.observed);
}

#[test]
fn a_token_depends_on_owner_generation_and_step_alone() {
    let plan = plan(Some(&gateway(&[1])), &Cloud::empty().observed, noon());
    let token = |generation, step: usize| {
        IdempotencyToken::new(&super::OWNER.into(), generation, &plan.steps[step].action)
    };
    assert_eq!(token(1, 0), token(1, 0));
    assert_ne!(token(1, 0), token(2, 0));
    assert_ne!(token(1, 1), token(1, 2));
    assert!(token(1, 0).as_str().len() <= 64 && token(1, 0).as_str().is_ascii());
    let at_another_time =
        super::super::plan(Some(&gateway(&[1])), &Cloud::empty().observed, later(99));
    for (a, b) in plan.steps.iter().zip(&at_another_time.steps) {
        assert_eq!(a.action.identity(), b.action.identity());
    }
    assert_eq!(key(1, 80).to_string(), "10.0.0.1:80");
}

#[test]
fn a_read_of_the_cloud_with_the_earlier_record_goes_on_where_it_was() {
    let mut desired = gateway(&[1]);
    let mut cloud = running(&gateway(&[1, 2]));
    desired.tags.insert("team".to_owned(), "a".to_owned());
    cloud.apply_all(&plan(Some(&desired), &cloud.observed, noon()));
    let earlier = cloud.observed.clone();
    cloud.lb().tags.insert("cost".to_owned(), "x".to_owned());
    cloud.forget_record();
    cloud.observed.remember(Some(&earlier), noon());
    desired.tags.clear();
    let next = plan(Some(&desired), &cloud.observed, later(30));
    assert_eq!(
        words(&next),
        [
            "remove tags team",
            "remove 10.0.0.2:8080 from http",
            "remove 10.0.0.2:8443 from https",
        ]
    );
}

#[test]
fn without_a_record_all_backends_count_as_new() {
    let mut cloud = running(&gateway(&[1, 2]));
    cloud.forget_record();
    cloud.observed.remember(None, noon());
    let waiting = plan(Some(&gateway(&[2])), &cloud.observed, later(5));
    assert!(waiting.is_empty(), "{waiting:?}");
    assert_eq!(waiting.wake_at, Some(later(6)));
}

#[test]
fn an_earlier_record_does_not_overrule_what_is() {
    let desired = gateway(&[1]);
    let mut cloud = running(&gateway(&[1, 2]));
    cloud.apply_all(&plan(Some(&desired), &cloud.observed, noon()));
    let earlier = cloud.observed.clone();
    cloud.forget_record();
    cloud.group("http").backends[1].weight = super::weight(50);
    cloud.observed.remember(Some(&earlier), noon());
    assert_eq!(cloud.group("http").backends[1].drained_at, None);
    cloud.lb().id = "lb-other".into();
    cloud.forget_record();
    cloud.observed.remember(Some(&earlier), noon());
    assert_eq!(cloud.group("https").backends[1].drained_at, None);
}

#[test]
fn a_group_that_the_listener_of_others_uses_is_kept_and_reported() {
    let mut desired = gateway(&[1]);
    let mut cloud = running(&desired);
    let lent = cloud.group("http").id.clone();
    cloud.lb().put_listener(ObservedListener {
        port: super::port(22),
        protocol: Protocol::Tcp,
        description: "by hand".to_owned(),
        group: Some(lent),
        status: ListenerStatus::Running,
        settings: ListenerSettings::default(),
        unsupported: BTreeSet::new(),
    });
    desired.listeners.remove(0);
    desired.groups.remove(0);
    let plan = plan(Some(&desired), &cloud.observed, noon());
    assert_eq!(words(&plan), ["delete listener tcp/80"]);
    assert_eq!(plan.blocked[0].found, "in use by another's listener tcp/22");
}
