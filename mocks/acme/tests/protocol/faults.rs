use std::time::Duration;

use instant_acme::{NewOrder, OrderStatus};
use mock_acme::{Endpoint, RequestFault};

use crate::client::{World, dns, patience, problem_type, urn};

const NAMES: [&str; 1] = ["a.example.test"];

#[tokio::test(start_paused = true)]
async fn bad_nonces_are_survived_by_a_client_that_tries_again() {
    let world = World::new().await;
    let (account, _) = world.account().await;
    world.acme.faults().bad_nonce(2);
    account
        .new_order(&NewOrder::new(&dns(&NAMES)))
        .await
        .unwrap();
    let refused = |ledger: &mock_acme::Ledger| {
        ledger
            .requests
            .iter()
            .filter(|r| r.problem == Some(urn("badNonce")))
            .count()
    };
    assert_eq!(refused(&world.acme.ledger()), 2);

    world.acme.faults().bad_nonce(u32::MAX);
    let error = account
        .new_order(&NewOrder::new(&dns(&NAMES)))
        .await
        .err()
        .unwrap();
    assert_eq!(problem_type(error), urn("badNonce"));
    assert_eq!(world.acme.ledger().orders, 1);
}

#[tokio::test(start_paused = true)]
async fn rate_limits_and_failures_have_no_effect_and_pass() {
    let world = World::new().await;
    let (account, _) = world.account().await;
    let faults = world.acme.faults();
    let wait = Duration::from_millis(30_500);
    faults.request(
        Endpoint::NewOrder,
        RequestFault::RateLimited { retry_after: wait },
        1,
    );
    faults.request(
        Endpoint::NewOrder,
        RequestFault::ServerError { status: 503 },
        1,
    );
    faults.request(
        Endpoint::Directory,
        RequestFault::RateLimited { retry_after: wait },
        1,
    );
    let order = || async { account.new_order(&NewOrder::new(&dns(&NAMES))).await };
    assert_eq!(
        problem_type(order().await.err().unwrap()),
        urn("rateLimited")
    );
    assert_eq!(
        problem_type(order().await.err().unwrap()),
        urn("serverInternal")
    );
    assert_eq!(world.acme.ledger().orders, 0);
    order().await.unwrap();

    let limited = world.get(&world.acme.directory_url()).await;
    assert_eq!(limited.status(), 429);
    assert_eq!(limited.headers()["retry-after"], "31");
    assert_eq!(
        limited.headers()["content-type"],
        "application/problem+json"
    );
    assert_eq!(world.get(&world.acme.directory_url()).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_loses_the_answer_with_or_without_the_effect() {
    let world = World::new().await;
    let (account, _) = world.account().await;
    let wait = Duration::from_secs(5);
    for (fault, orders) in [
        (RequestFault::TimeoutBefore { wait }, 0),
        (RequestFault::TimeoutAfter { wait }, 1),
    ] {
        let before = world.clock.elapsed();
        world.acme.faults().request(Endpoint::NewOrder, fault, 1);
        assert!(
            account
                .new_order(&NewOrder::new(&dns(&NAMES)))
                .await
                .is_err()
        );
        assert_eq!(world.acme.ledger().orders, orders);
        assert!(world.clock.elapsed() >= before + wait);
        assert_eq!(world.acme.ledger().requests.back().unwrap().status, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_answered_ends_with_the_server() {
    let world = World::new().await;
    world
        .acme
        .faults()
        .request(None, RequestFault::NeverAnswer, 1);
    let limit = Duration::from_hours(24);
    assert!(
        world
            .clock
            .timeout(limit, world.try_account())
            .await
            .is_err()
    );
    world
        .acme
        .faults()
        .request(None, RequestFault::NeverAnswer, 1);
    let (outcome, ()) = tokio::join!(world.try_account(), async {
        world.clock.sleep(limit).await;
        world.tasks.cancel();
    });
    assert!(outcome.is_err());
}

#[tokio::test(start_paused = true)]
async fn validation_fails_and_is_slow_as_scripted() {
    let world = World::new().await;
    let (account, _) = world.account().await;
    world.acme.faults().fail_validation(NAMES[0], 1);
    let mut order = account
        .new_order(&NewOrder::new(&dns(&NAMES)))
        .await
        .unwrap();
    world.answer_challenges(&mut order).await;
    let error = order.poll_ready(&patience()).await.unwrap_err();
    assert_eq!(problem_type(error), urn("unauthorized"));

    let delay = Duration::from_secs(12);
    world.acme.faults().slow_validation(NAMES[0], delay);
    let before = world.clock.elapsed();
    let mut order = account
        .new_order(&NewOrder::new(&dns(&NAMES)))
        .await
        .unwrap();
    world.answer_challenges(&mut order).await;
    assert_eq!(
        order.poll_ready(&patience()).await.unwrap(),
        OrderStatus::Ready
    );
    assert!(world.clock.elapsed() >= before + delay);
}

#[tokio::test(start_paused = true)]
async fn authorizations_are_used_again_only_when_scripted() {
    let world = World::new().await;
    let (account, _) = world.account().await;
    world.certificate(&account, &NAMES).await;
    let mut order = account
        .new_order(&NewOrder::new(&dns(&NAMES)))
        .await
        .unwrap();
    assert_eq!(order.state().status, OrderStatus::Pending);
    world.acme.faults().reuse_authorizations(true);
    let mut order = account
        .new_order(&NewOrder::new(&dns(&NAMES)))
        .await
        .unwrap();
    assert_eq!(order.state().status, OrderStatus::Ready);
    world.acme.faults().clear();
    let mut order = account
        .new_order(&NewOrder::new(&dns(&NAMES)))
        .await
        .unwrap();
    assert_eq!(order.state().status, OrderStatus::Pending);
}
