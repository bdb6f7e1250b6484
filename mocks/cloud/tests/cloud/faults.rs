//! Scripted failures.

use std::time::Duration;

use mock_cloud::Fault;

use crate::caller::{Caller, get, signed};

#[tokio::test]
async fn throttling_hits_the_scripted_number_of_calls_and_says_when_to_come_back() {
    let caller = Caller::without_sockets().await;
    let fault = Fault::Throttle {
        retry_after: Some(Duration::from_millis(700)),
    };
    caller.cloud.faults().next("CreateLoadBalancer", 2, fault);
    let request = get(&signed("GET", caller.parameters("CreateLoadBalancer", &[])));
    let answer = caller.send(request).await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.headers()["x-acs-retry-after"], "700");
    let refusal = caller.refusal("CreateLoadBalancer", &[]).await;
    assert_eq!(refusal, (400, "Throttling.User".to_owned()));
    assert!(caller.cloud.inventory().is_empty());
    caller.call("CreateLoadBalancer", &[]).await;
}

#[tokio::test]
async fn a_refusal_has_the_scripted_status_and_code() {
    let caller = Caller::without_sockets().await;
    let fault = Fault::Refuse {
        status: 409,
        code: "BackendServer.configuring".to_owned(),
    };
    caller.cloud.faults().next("*", 1, fault);
    let refusal = caller.refusal("DescribeRegions", &[]).await;
    assert_eq!(refusal, (409, "BackendServer.configuring".to_owned()));
    caller.cloud.faults().next("*", 1, Fault::Unavailable);
    let refusal = caller.refusal("DescribeRegions", &[]).await;
    assert_eq!(refusal, (503, "ServiceUnavailable".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_before_the_effect_leaves_nothing() {
    let caller = Caller::without_sockets().await;
    caller
        .cloud
        .faults()
        .next("CreateLoadBalancer", 1, Fault::TimeoutBefore);
    let before = caller.clock.now();
    caller
        .try_call("CreateLoadBalancer", &[])
        .await
        .unwrap_err();
    assert!(caller.clock.now().duration_since(before).as_secs() >= 60);
    assert!(caller.cloud.inventory().is_empty());
    assert_eq!(caller.cloud.ledger().entries()[0].outcome, "timeout before");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_after_the_effect_and_the_same_token_give_one_instance() {
    let caller = Caller::without_sockets().await;
    let parameters = [("ClientToken", "token-1"), ("LoadBalancerName", "edge")];
    caller
        .cloud
        .faults()
        .next("CreateLoadBalancer", 1, Fault::TimeoutAfter);
    caller
        .try_call("CreateLoadBalancer", &parameters)
        .await
        .unwrap_err();
    let inventory = caller.cloud.inventory();
    assert_eq!(inventory.instances.len(), 1);
    let made = caller.call("CreateLoadBalancer", &parameters).await;
    assert_eq!(made["LoadBalancerId"], inventory.instances[0].id.as_str());
    assert_eq!(caller.cloud.inventory(), inventory);
}

#[tokio::test]
async fn a_call_takes_effect_although_its_caller_went_away() {
    let caller = Caller::without_sockets().await;
    caller.cloud.faults().next(
        "CreateLoadBalancer",
        1,
        Fault::Delay(Duration::from_millis(1)),
    );
    let impatient = caller.clock.timeout(
        Duration::ZERO,
        caller.try_call("CreateLoadBalancer", &[("LoadBalancerName", "edge")]),
    );
    impatient.await.unwrap_err();
    let wanted = caller
        .cloud
        .wait_for(Duration::from_secs(5), |all| all.instances.len() == 1);
    wanted.await.unwrap();
}

#[tokio::test]
async fn a_cut_answer_has_its_effect() {
    let caller = Caller::without_sockets().await;
    caller
        .cloud
        .faults()
        .next("CreateLoadBalancer", 1, Fault::CutAnswer);
    caller
        .try_call("CreateLoadBalancer", &[])
        .await
        .unwrap_err();
    assert_eq!(caller.cloud.inventory().instances.len(), 1);
}

#[tokio::test]
async fn a_stale_read_shows_what_was_true_when_it_was_scripted() {
    let caller = Caller::without_sockets().await;
    caller
        .cloud
        .faults()
        .next("DescribeLoadBalancers", 1, Fault::StaleRead);
    caller.instance().await;
    assert_eq!(
        caller.call("DescribeLoadBalancers", &[]).await["TotalCount"],
        0
    );
    assert_eq!(
        caller.call("DescribeLoadBalancers", &[]).await["TotalCount"],
        1
    );
}
