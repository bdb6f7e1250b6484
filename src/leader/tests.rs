use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gatewright_seams::Tasks;
use http::Method;
use local_kube::{Fault, Matching};
use tower::ServiceExt as _;

use super::*;
use crate::laptop::{Laptop, NAMESPACE};

const SECOND: Duration = Duration::from_secs(1);

/// A replica, and how many writers it has.
struct Replica {
    tasks: Tasks,
    standing: watch::Receiver<Standing>,
    writers: Arc<AtomicUsize>,
}

impl Replica {
    fn start(laptop: &Laptop, name: &str, kube: kube::Client) -> Self {
        let tasks = Tasks::new();
        let mut outside = laptop.outside(tasks.clone()).unwrap();
        outside.kube = kube;
        let answers = (name.to_owned(), 8089);
        let election = Election::new(name);
        let (candidate, standing) = Candidate::new(outside, NAMESPACE.into(), election, answers);
        let writers = Arc::new(AtomicUsize::new(0));
        let held = writers.clone();
        let work = move |outside: &Outside| {
            let writing = Writing::begin(held.clone());
            outside.tasks.spawn("writer", async move {
                let _writing = writing;
                std::future::pending::<()>().await;
            });
        };
        tasks.spawn("candidate", candidate.run(work));
        Self {
            tasks,
            standing,
            writers,
        }
    }

    fn writes(&self) -> bool {
        self.writers.load(Ordering::SeqCst) > 0
    }
}

/// Counted for as long as it lives.
struct Writing(Arc<AtomicUsize>);

impl Writing {
    fn begin(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Lets `seconds` pass; at no moment do both write.
async fn pass(laptop: &Laptop, seconds: u32, a: &Replica, b: &Replica) {
    for _ in 0..10 * seconds {
        laptop.clock.sleep(SECOND / 10).await;
        assert!(!(a.writes() && b.writes()), "two replicas write");
    }
}

fn leases(laptop: &Laptop) -> Api<Lease> {
    Api::namespaced(laptop.client(), NAMESPACE)
}

async fn delete_lease(laptop: &Laptop) {
    let params = kube::api::DeleteParams::default();
    leases(laptop)
        .delete(LEASE, &params)
        .await
        .map(drop)
        .unwrap();
}

/// Requests with this verb for the Lease do not arrive, until the faults are cleared.
fn cut(laptop: &Laptop, verb: &str) {
    let requests = Matching::new(verb, "leases.coordination.k8s.io").named(LEASE);
    laptop.kube.faults().next(requests, Fault::CutBefore, 1_000);
}

/// A client whose requests of this method have their effect at once and their answers after `wait`.
fn answered_late(laptop: &Laptop, method: Method, wait: Duration) -> kube::Client {
    let (inner, clock) = (laptop.kube.service(), laptop.clock);
    let slow = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (inner, late) = (inner.clone(), *request.method() == method);
        async move {
            let answer = inner.oneshot(request).await;
            if late {
                clock.sleep(wait).await;
            }
            answer
        }
    });
    kube::Client::new(slow, "default")
}

/// A world with a Lease that nobody holds.
async fn laptop() -> Laptop {
    let laptop = Laptop::in_memory().await;
    let mut free = Lease::default();
    free.metadata.name = Some(LEASE.to_owned());
    let leases = leases(&laptop);
    leases.create(&PostParams::default(), &free).await.unwrap();
    laptop
}

/// Two replicas, of which the first has had the time to take the Lease.
async fn two_replicas() -> (Laptop, Replica, Replica) {
    let laptop = laptop().await;
    let a = Replica::start(&laptop, "a", laptop.client());
    laptop.clock.sleep(SECOND).await;
    let b = Replica::start(&laptop, "b", laptop.client());
    (laptop, a, b)
}

#[tokio::test(start_paused = true)]
async fn one_of_two_writes_and_both_know_where_it_answers() {
    let (laptop, a, b) = two_replicas().await;
    pass(&laptop, 60, &a, &b).await;
    assert!(a.writes() && !b.writes());
    for replica in [&a, &b] {
        assert_eq!(replica.standing.borrow().answers, ("a".to_owned(), 8089));
    }
    assert!(a.standing.borrow().leads && !b.standing.borrow().leads);
}

#[tokio::test(start_paused = true)]
async fn the_next_one_writes_when_the_lease_of_a_dead_one_has_run_out() {
    let (laptop, a, b) = two_replicas().await;
    pass(&laptop, 10, &a, &b).await;
    a.tasks.cancel();
    pass(&laptop, 12, &a, &b).await;
    assert!(!b.writes(), "the Lease is still another's");
    pass(&laptop, 8, &a, &b).await;
    assert!(b.writes());
    assert_eq!(b.standing.borrow().answers, ("b".to_owned(), 8089));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_renew_stops_before_another_may_begin() {
    let (laptop, a, b) = two_replicas().await;
    pass(&laptop, 10, &a, &b).await;
    cut(&laptop, "update");
    let spec = leases(&laptop).get(LEASE).await.unwrap().spec.unwrap();
    let renewed = spec.renew_time.unwrap().0;
    while a.writes() {
        pass(&laptop, 1, &a, &b).await;
    }
    let held = laptop.clock.now().duration_since(renewed);
    assert!((9..=11).contains(&held.as_secs()), "stopped after {held:?}");
    laptop.kube.faults().clear();
    pass(&laptop, 20, &a, &b).await;
    assert!(a.writes() || b.writes());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_deletes_is_not_taken_while_its_holder_may_write() {
    let (laptop, a, b) = two_replicas().await;
    pass(&laptop, 10, &a, &b).await;
    assert!(a.writes());
    cut(&laptop, "update");
    delete_lease(&laptop).await;
    pass(&laptop, 8, &a, &b).await;
    assert!(a.writes(), "its renewals fail, and its time is not over");
    pass(&laptop, 12, &a, &b).await;
    laptop.kube.faults().clear();
    pass(&laptop, 10, &a, &b).await;
    assert!(a.writes() || b.writes());
}

#[tokio::test(start_paused = true)]
async fn who_holds_a_lease_that_somebody_deletes_writes_it_again() {
    let (laptop, a, b) = two_replicas().await;
    pass(&laptop, 10, &a, &b).await;
    delete_lease(&laptop).await;
    for _ in 0..60 {
        pass(&laptop, 1, &a, &b).await;
        assert!(a.writes(), "it goes on");
    }
    let spec = leases(&laptop).get(LEASE).await.unwrap().spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_was_not_seen_counts_when_the_lease_is_deleted() {
    let (laptop, a, b) = two_replicas().await;
    pass(&laptop, 10, &a, &b).await;
    cut(&laptop, "get");
    pass(&laptop, 20, &a, &b).await;
    assert!(a.writes(), "it renews, and the other does not see it");
    delete_lease(&laptop).await;
    laptop.kube.faults().clear();
    cut(&laptop, "update");
    pass(&laptop, 6, &a, &b).await;
    assert!(a.writes(), "its time is not over");
    laptop.kube.faults().clear();
    pass(&laptop, 30, &a, &b).await;
    assert!(a.writes() || b.writes());
}

#[tokio::test(start_paused = true)]
async fn who_starts_while_the_lease_is_gone_waits_for_a_holder() {
    let laptop = laptop().await;
    let a = Replica::start(&laptop, "a", laptop.client());
    laptop.clock.sleep(SECOND * 5).await;
    assert!(a.writes());
    cut(&laptop, "update");
    delete_lease(&laptop).await;
    let b = Replica::start(&laptop, "b", laptop.client());
    pass(&laptop, 6, &a, &b).await;
    assert!(a.writes(), "its time is not over");
    laptop.kube.faults().clear();
    pass(&laptop, 30, &a, &b).await;
    assert!(a.writes() || b.writes());
}

#[tokio::test(start_paused = true)]
async fn the_first_of_all_writes_after_a_wait() {
    let laptop = Laptop::in_memory().await;
    let a = Replica::start(&laptop, "a", laptop.client());
    laptop.clock.sleep(SECOND * 18).await;
    assert!(a.writes());
}

/// It came too late to create the Lease, so it knows of a holder that it has never seen.
#[tokio::test(start_paused = true)]
async fn who_was_too_late_for_a_lease_that_is_then_deleted_waits_for_its_holder() {
    let laptop = Laptop::in_memory().await;
    let slow = answered_late(&laptop, Method::GET, SECOND);
    let a = Replica::start(&laptop, "a", laptop.client());
    laptop.clock.sleep(SECOND / 2).await;
    let b = Replica::start(&laptop, "b", slow);
    pass(&laptop, 17, &a, &b).await;
    assert!(a.writes());
    cut(&laptop, "update");
    delete_lease(&laptop).await;
    pass(&laptop, 8, &a, &b).await;
    assert!(a.writes(), "its time is not over");
    laptop.kube.faults().clear();
    pass(&laptop, 30, &a, &b).await;
    assert!(a.writes() || b.writes());
}

/// Others count from the write: an answer that comes after the deadline gives no term.
#[tokio::test(start_paused = true)]
async fn a_hold_whose_answer_came_late_is_renewed_before_anything_is_written() {
    let laptop = Laptop::in_memory().await;
    let slow = answered_late(&laptop, Method::POST, SECOND * 12);
    let a = Replica::start(&laptop, "a", slow);
    while !a.writes() {
        laptop.clock.sleep(SECOND / 10).await;
        assert!(laptop.clock.elapsed() < SECOND * 60, "it never writes");
    }
    let spec = leases(&laptop).get(LEASE).await.unwrap().spec.unwrap();
    let age = laptop
        .clock
        .now()
        .duration_since(spec.renew_time.unwrap().0);
    assert!(age.as_secs() < 1, "begun on a hold that is {age:?} old");
}
