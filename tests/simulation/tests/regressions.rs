//! What the simulation found, each as the shortest history that showed it.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::thread;
use std::time::Duration;

use gatewright_simulation::{Action, AuthorityFault, Change, CloudFault, Edit, Plan, Step, run};
use mock_acme::Endpoint;

fn plan(steps: impl IntoIterator<Item = (u64, Action)>, leave: bool) -> Plan {
    let steps = steps.into_iter().map(|(seconds, action)| Step {
        after: Duration::from_secs(seconds),
        action,
    });
    Plan {
        seed: 1,
        steps: steps.collect(),
        leave,
        others: 0,
    }
}

fn holds(plan: &Plan) {
    let outcome = run(plan);
    let history = outcome.history.join("\n");
    assert!(!history.contains("not done"), "{history}");
    assert!(
        outcome.violation.is_none(),
        "{}\n{history}",
        outcome.violation.unwrap()
    );
}

/// An apply was left out when the server had every field that is wanted, whatever it had besides.
#[test]
fn an_annotation_that_is_taken_off_the_gateway_leaves_its_pods() {
    let users = |change| Action::User(change);
    holds(&plan(
        [
            (60, users(Change::Update(1))),
            (60, users(Change::Update(0))),
        ],
        false,
    ));
}

/// Backends were drained by what the record said of the others, which somebody had changed.
#[test]
fn what_others_did_in_the_cloud_is_seen_before_a_backend_leaves() {
    holds(&plan(
        [
            (60, Action::Console(0, Edit::Weights(0))),
            (5, Action::User(Change::Scale(3))),
            (10, Action::User(Change::Scale(2))),
        ],
        false,
    ));
}

/// The order ended after its Certificate was deleted, and left its Secret.
#[test]
fn a_certificate_that_is_deleted_while_it_is_issued_leaves_no_secret() {
    holds(&plan([(60, Action::User(Change::Rotate))], true));
}

/// Backends left on the word of slices that were read before a look which took long: new Pods had the
/// addresses of those that went.
#[test]
fn who_is_ready_after_a_slow_look_stays() {
    let slow = Action::Cloud(
        "DescribeLoadBalancers",
        CloudFault::Slow(Duration::from_secs(17)),
        1,
    );
    holds(&plan(
        [
            (60, Action::User(Change::DeleteGateway)),
            (4, slow),
            (13, Action::User(Change::ApplyGateway)),
        ],
        false,
    ));
}

/// The wait after the lost certificate, which doubles up to a day, counted all failures before it.
#[test]
fn a_certificate_that_is_lost_after_other_failures_is_ordered_again_after_an_hour() {
    const FOREVER: u32 = 100_000;
    let down = AuthorityFault::RateLimited(Duration::from_secs(59));
    let lost = AuthorityFault::ServerError;
    holds(&plan(
        [
            (60, Action::Authority(None, down, FOREVER)),
            (1, Action::User(Change::Rotate)),
            (150, Action::AuthorityMends),
            (
                20,
                Action::Authority(Some(Endpoint::Certificate), lost, FOREVER),
            ),
            (160, Action::AuthorityMends),
        ],
        false,
    ));
}

/// The next creation repeated the token of the one that was gone, and got its id, for ever.
#[test]
fn a_load_balancer_that_is_deleted_while_it_is_made_is_made_again() {
    let mut plan = plan([(0, Action::Console(0, Edit::DeleteInstance))], false);
    for milliseconds in [180, 226, 300] {
        plan.steps[0].after = Duration::from_millis(milliseconds);
        holds(&plan);
    }
}

/// Each line of the history, with its time: what a daemon asks for and when follows from the seed.
#[test]
fn a_seed_gives_the_same_history_each_time() {
    for seed in 0..6 {
        let mut plan = Plan::of(seed);
        if seed == 0 {
            // What is taken in the order of a `HashMap` shows where there are several.
            plan.others = 2;
        }
        let (first, again) = thread::scope(|scope| {
            let again = scope.spawn(|| run(&plan));
            (run(&plan), again.join().unwrap())
        });
        assert!(first.history.len() > 50, "{:#?}", first.history);
        let mut lines = first.history.iter().zip(&again.history);
        if let Some((line, other)) = lines.find(|(line, other)| line != other) {
            panic!("seed {seed}: first {line}\nthen  {other}");
        }
        assert_eq!(first.history.len(), again.history.len(), "seed {seed}");
        assert_eq!(first.violation, again.violation, "seed {seed}");
    }
}
