//! Runs one history in a world of its own.

mod console;
pub(crate) mod history;
mod state;
mod watchman;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Either, select, select_all};
use gatewright::laptop::NAMESPACE;
use gatewright_crds::cert_manager::Certificate;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use mock_acme::RequestFault;
use mock_cloud::Fault;

use crate::plan::{
    Action, AuthorityFault, Change, CloudFault, Plan, REPLICAS, Seam, Wanted, delete,
};
use crate::sim::GATEWAY_NAMESPACE;
use crate::{ACCESS_KEY, Crossings, Sim, SimOptions};
use console::Untagged;
pub(crate) use state::state;
use watchman::Watchman;

/// The Lease of the replicas, in their own namespace.
const LEASE: &str = "gatewright";
const TICK: Duration = Duration::from_secs(1);
/// How often the cloud is read: within a history, to find what was changed by hand.
const AUDIT: Duration = Duration::from_mins(5);
/// How long the world may take to come to rest once nothing happens any more. What an authority
/// counts waits up to an hour after several failures.
const REST: Duration = Duration::from_hours(3);
/// How long reads of the cloud may go on showing what was.
const BEHIND: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_secs(10);
/// Longer than a Lease lasts that its holder does not renew.
const SETTLED: Duration = Duration::from_mins(1);
/// How long nothing is written once there is nothing to do.
const QUIET: Duration = Duration::from_mins(3);

/// How a history ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What did not hold; none when all did.
    pub violation: Option<String>,
    /// What happened, one line each, with the time since the start.
    pub history: Vec<String>,
    /// How much time passed in it.
    pub virtual_time: Duration,
}

/// Runs the history of `plan` on this thread.
pub fn run(plan: &Plan) -> Outcome {
    let wanted = plan.wanted();
    let expected = match expected(&wanted) {
        Ok(expected) => expected,
        Err(outcome) => return outcome,
    };
    in_a_world(options(plan.seed), async |run| {
        run.all_of(plan, &expected).await;
    })
}

/// The state that users who never change their minds get in a world where nothing goes wrong.
fn expected(wanted: &Wanted) -> Result<String, Outcome> {
    static KNOWN: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let key = format!("{wanted:?}");
    if let Some(state) = known().get(&key) {
        return Ok(state.clone());
    }
    let mut found = String::new();
    let outcome = in_a_world(options(0), async |run| {
        run.start_all().await;
        run.wanted = *wanted;
        wanted.apply(&run.sim.kube).await.expect("objects");
        run.pass(Duration::from_mins(10)).await;
        run.nothing_failed_at_the_authority();
        found = state(&run.sim).await.expect("a state");
    });
    if outcome.violation.is_some() {
        return Err(outcome);
    }
    known().insert(key, found.clone());
    Ok(found)
}

/// The world of a history.
fn options(seed: u64) -> SimOptions {
    SimOptions {
        seed,
        audit_interval: AUDIT,
        replicas: REPLICAS,
        network: true,
        ..SimOptions::default()
    }
}

/// Runs `body` in a new world with a single thread and a clock of its own. No daemon runs yet.
pub(crate) fn in_a_world(options: SimOptions, body: impl AsyncFnOnce(&mut Run)) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let mut virtual_time = Duration::ZERO;
    let mut violation = None;
    let ended = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let mut run = Run::new(options).await;
            body(&mut run).await;
            virtual_time = run.sim.clock().elapsed();
            violation = run.watchman.violation();
        });
    }));
    drop(runtime);
    let history = history::end();
    if let Err(panic) = ended {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        violation = Some(format!("panic: {}", text.unwrap_or_default()));
    }
    let secrets = [ACCESS_KEY.1, "PRIVATE KEY"];
    let shown = history
        .iter()
        .find(|line| secrets.iter().any(|secret| line.contains(secret)));
    if let Some(line) = shown {
        violation.get_or_insert(format!("a secret is in the log: {line}"));
    }
    Outcome {
        violation,
        history,
        virtual_time,
    }
}

/// A world under watch.
pub(crate) struct Run {
    pub(crate) sim: Sim,
    pub(crate) wanted: Wanted,
    pub(crate) watchman: Watchman,
    /// Replicas that die at a request to come.
    pub(crate) doomed: Vec<(usize, Crossings)>,
    /// Until when reads of the cloud may be behind.
    behind_until: Duration,
    /// Load balancers that were stripped of their tags.
    untagged: Vec<Untagged>,
    /// The second Service was of another type once: a load balancer without tags was let go of.
    internal_left: bool,
}

impl Run {
    async fn new(options: SimOptions) -> Self {
        let mut sim = Sim::without_daemon(options).await;
        history::begin(*sim.clock());
        sim.add_foreign().await;
        let watchman = Watchman::new(&sim);
        Self {
            sim,
            wanted: Wanted::default(),
            watchman,
            doomed: Vec::new(),
            behind_until: Duration::ZERO,
            untagged: Vec::new(),
            internal_left: false,
        }
    }

    pub(crate) async fn start_all(&mut self) {
        for replica in 0..self.sim.gates.len() {
            self.sim.start_replica(replica).await.expect("a daemon");
        }
    }

    async fn all_of(&mut self, plan: &Plan, expected: &str) {
        self.start_all().await;
        self.wanted = plan.first();
        self.watchman.want(&self.wanted);
        self.wanted.apply(&self.sim.kube).await.expect("objects");
        for step in &plan.steps {
            self.pass(step.after).await;
            if self.watchman.violation().is_some() {
                return;
            }
            history::line(format!("-- {}", step.action));
            self.watchman.happens();
            self.act(&step.action).await;
            self.watchman.happens();
        }
        self.come_to_rest(plan, expected).await;
    }

    /// Authorities count validations that fail: where nothing goes wrong there is none.
    fn nothing_failed_at_the_authority(&self) {
        let validations = self.sim.laptop.acme.ledger().validations;
        let failed = validations.iter().find_map(|held| held.failure.clone());
        if let Some(failure) = failed {
            self.watchman
                .violated(format!("a validation failed undisturbed: {failure}"));
        }
    }

    /// Lets time pass, under watch.
    pub(crate) async fn pass(&mut self, time: Duration) {
        let clock = *self.sim.clock();
        let end = clock.elapsed() + time;
        loop {
            let left = end.saturating_sub(clock.elapsed());
            if left.is_zero() || self.watchman.violation().is_some() {
                return;
            }
            let reached = clock.timeout(left.min(TICK), reached(&self.doomed)).await;
            if let Ok((replica, point)) = reached {
                self.dies(replica, &point);
            }
            if clock.elapsed() >= self.behind_until {
                self.sim.laptop.cloud.faults().forget_stale_reads();
            }
            self.watchman.look();
            if let Some(part) = self.sim.failed() {
                self.watchman.violated(format!("{part} panicked"));
            }
        }
    }

    /// A replica has come to the request that was to be its last.
    pub(crate) fn dies(&mut self, replica: usize, point: &str) {
        history::line(format!("replica {replica} dies {point}"));
        self.watchman.happens();
        self.kill(replica);
    }

    pub(crate) fn kill(&mut self, replica: usize) {
        self.sim.kill_replica(replica);
        self.doomed.retain(|(doomed, crossings)| {
            if *doomed == replica {
                crossings.never_stop();
            }
            *doomed != replica
        });
    }

    async fn act(&mut self, action: &Action) {
        let (cloud, acme) = (
            self.sim.laptop.cloud.faults(),
            self.sim.laptop.acme.faults(),
        );
        match action {
            Action::User(change) => self.change(*change).await,
            Action::Console(balancer, edit) => self.edit(*balancer, *edit).await,
            Action::Cloud(call, fault, times) => {
                cloud.next(call, *times, cloud_fault(*fault));
                if *fault == CloudFault::StaleRead {
                    self.behind_until = self.sim.clock().elapsed() + BEHIND;
                    self.watchman.behind();
                }
            }
            Action::CloudMends => cloud.clear(),
            Action::AuthorityMends => acme.clear(),
            Action::Authority(endpoint, fault, times) => match authority_fault(*fault) {
                Some(fault) => acme.request(*endpoint, fault, *times),
                None => match fault {
                    AuthorityFault::BadNonce => acme.bad_nonce(*times),
                    AuthorityFault::FailedValidation => {
                        acme.fail_validation("shop.example.com", *times);
                    }
                    AuthorityFault::SlowValidation(time) => {
                        acme.slow_validation("shop.example.com", *time);
                    }
                    AuthorityFault::Processing(time) => acme.processing(*time),
                    AuthorityFault::FailedIssuance => acme.fail_issuance(*times),
                    _ => {}
                },
            },
            Action::Kube {
                replica,
                fault,
                others,
                times,
            } => self.sim.gates[*replica].kube.fail(*fault, *others, *times),
            Action::DeleteLease => {
                let leases: Api<Lease> = Api::namespaced(self.sim.kube.clone(), NAMESPACE);
                // Maybe nobody took it yet.
                drop(leases.delete(LEASE, &DeleteParams::default()).await);
            }
            Action::CutWatches(false) => self.sim.laptop.kube.faults().cut_watches(),
            Action::CutWatches(true) => self.sim.resync().await,
            Action::Partition(replica, cut) => self.sim.gates[*replica].kube.set_cut(*cut),
            Action::Dark(number) => {
                let pods = self.sim.world.proxies();
                if let Some(pod) = pods.get(*number) {
                    self.sim.world.set_dark(pod, true);
                    self.watchman.dark(pod);
                }
            }
            Action::Light => self.light(),
            Action::Kill(replica) => self.kill(*replica),
            Action::KillAt(replica, seam, number, side) => {
                let gates = &self.sim.gates[*replica];
                let crossings = match seam {
                    Seam::Cloud => &gates.cloud,
                    Seam::Authority => &gates.acme,
                    Seam::Kube => &gates.kube,
                };
                crossings.stop_at(crossings.count() + number, *side);
                self.doomed.push((*replica, crossings.clone()));
            }
            Action::Start(replica) => self.bring_up(*replica).await,
        }
    }

    fn light(&self) {
        for pod in self.sim.world.proxies() {
            self.sim.world.set_dark(&pod, false);
        }
        self.watchman.light();
    }

    /// Starts a replica unless it runs. It may die before it does.
    pub(crate) async fn bring_up(&mut self, replica: usize) {
        if self.sim.runs(replica) {
            return;
        }
        let doomed = self.doomed.clone();
        let died = {
            let started = self.sim.start_replica(replica).boxed_local();
            match select(started, reached(&doomed).boxed_local()).await {
                Either::Left((Ok(()), _)) => return,
                Either::Left((Err(error), _)) => {
                    history::line(format!("replica {replica} does not start: {error}"));
                    None
                }
                Either::Right((died, _)) => Some(died),
            }
        };
        match died {
            None => self.sim.kill_replica(replica),
            Some((replica, point)) => self.dies(replica, &point),
        }
    }

    async fn change(&mut self, change: Change) {
        let kube = self.sim.kube.clone();
        self.wanted.change(change);
        self.watchman.users(change, &self.wanted);
        self.internal_left |= self.wanted.internal.is_some_and(|held| !held.balanced());
        match change {
            Change::DeletePod(number) => {
                let pods: Api<Pod> = Api::namespaced(kube.clone(), GATEWAY_NAMESPACE);
                let held = pods.list(&ListParams::default()).await.expect("Pods").items;
                if let Some(pod) = held.get(number) {
                    delete::<Pod>(&kube, &pod.name_any())
                        .await
                        .expect("a deletion");
                }
            }
            Change::DeleteSecret => {
                delete::<Secret>(&kube, "shop-tls")
                    .await
                    .expect("a deletion");
            }
            Change::Rotate if self.wanted.names.is_some() => {
                // A wish that comes while another is granted is granted with it.
                let issuing = self.sim.certificate_condition("Issuing").await;
                self.sim.force_rotation().await;
                if issuing.is_none_or(|issuing| issuing.status != "True") {
                    self.watchman.wished();
                }
            }
            Change::Rotate => {}
            _ => {
                self.wanted.remove(&kube).await.expect("deletions");
                self.wanted.apply(&kube).await.expect("objects");
            }
        }
    }

    /// Nothing goes wrong any more: the world becomes what an undisturbed one is, and stays so.
    async fn come_to_rest(&mut self, plan: &Plan, expected: &str) {
        history::line("-- nothing goes wrong from here on");
        self.watchman.happens();
        self.sim.laptop.cloud.faults().clear();
        self.sim.laptop.acme.faults().clear();
        self.light();
        for gates in &self.sim.gates {
            for crossings in [&gates.cloud, &gates.acme, &gates.kube] {
                crossings.mend();
                crossings.never_stop();
            }
        }
        self.doomed.clear();
        self.tag_again().await;
        for replica in 0..REPLICAS {
            self.bring_up(replica).await;
        }
        let before = self.wanted;
        self.wanted.settle(plan.leave);
        if plan.leave {
            self.watchman.users(Change::DeleteGateway, &self.wanted);
        }
        if before != self.wanted {
            history::line(format!("-- users: in the end {:?}", self.wanted));
        }
        let clock = *self.sim.clock();
        let end = clock.elapsed() + REST;
        loop {
            self.insist().await;
            self.pass(LOOK).await;
            if self.watchman.violation().is_some() {
                return;
            }
            let found = state(&self.sim).await.expect("a state");
            if found == expected {
                // Whoever is to lead does by then.
                self.pass(SETTLED).await;
                if state(&self.sim).await.expect("a state") == expected {
                    break;
                }
            }
            if clock.elapsed() > end {
                let differs = difference(expected, &found);
                self.watchman
                    .violated(format!("no rest within {REST:?}:\n{differs}"));
                return;
            }
        }
        self.watchman.no_wish_is_left();
        history::line("-- as it should be");
        self.stays_quiet(expected).await;
    }

    /// Users apply again what vanished because it was being deleted when they applied it.
    async fn insist(&mut self) {
        let kube = self.sim.kube.clone();
        let services: Api<Service> = Api::namespaced(kube.clone(), GATEWAY_NAMESPACE);
        let certificates: Api<Certificate> = Api::namespaced(kube.clone(), GATEWAY_NAMESPACE);
        let service = services.get_opt(crate::INTERNAL).await.expect("an answer");
        let certificate = certificates.get_opt("shop").await.expect("an answer");
        let gateway = self.sim.gateway_exists().await;
        let there = service.is_some() == self.wanted.internal.is_some()
            && certificate.is_some() == self.wanted.names.is_some()
            && gateway == self.wanted.gateway;
        let going = service.is_some_and(|held| held.metadata.deletion_timestamp.is_some());
        if !there && !going {
            self.watchman.happens();
            self.wanted.remove(&kube).await.expect("deletions");
            self.wanted.apply(&kube).await.expect("objects");
        }
    }

    pub(crate) async fn stays_quiet(&mut self, expected: &str) {
        let writes = |run: &Self| {
            let gates = run.sim.gates.iter();
            gates.map(writes_of).sum::<usize>()
        };
        let before = writes(self);
        let orders = self.sim.laptop.acme.ledger().orders;
        self.pass(QUIET).await;
        let found = state(&self.sim).await.expect("a state");
        if found != expected {
            let differs = difference(expected, &found);
            self.watchman
                .violated(format!("it does not stay so:\n{differs}"));
        }
        let more = writes(self) - before;
        if more > 0 {
            let last = self.sim.gates.iter().flat_map(|gates| {
                let kube = gates.kube.names().into_iter().filter(|name| is_write(name));
                kube.rev().take(more).collect::<Vec<_>>()
            });
            let last: Vec<_> = last.collect();
            self.watchman.violated(format!(
                "{more} writes with nothing to do, such as {last:?}"
            ));
        }
        let ledger = self.sim.laptop.acme.ledger();
        if ledger.orders != orders {
            self.watchman.violated("an order with nothing to do".into());
        }
        if ledger.accounts > 1 {
            let accounts = ledger.accounts;
            self.watchman
                .violated(format!("{accounts} accounts were opened for one Issuer"));
        }
    }
}

/// The first of the doomed whose time has come, and where.
pub(crate) async fn reached(doomed: &[(usize, Crossings)]) -> (usize, String) {
    if doomed.is_empty() {
        return std::future::pending().await;
    }
    let all = doomed.iter().map(|(replica, crossings)| {
        async move { (*replica, crossings.reached().await) }.boxed_local()
    });
    select_all(all).await.0
}

fn writes_of(gates: &crate::Gates) -> usize {
    let cloud = gates.cloud.names();
    let cloud = cloud.iter().filter(|name| !name.starts_with("Describe"));
    let kube = gates.kube.names();
    cloud.count() + kube.iter().filter(|name| is_write(name)).count()
}

/// Whether a request to the API server writes something else than what is written now and then: a
/// Lease, and when the cloud was last read.
fn is_write(name: &str) -> bool {
    !name.starts_with("GET ") && !name.contains("/leases") && !name.ends_with("-load-balancer")
}

pub(crate) fn difference(expected: &str, found: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (expected, found) = (lines(expected), lines(found));
    let missing = expected.iter().filter(|line| !found.contains(line));
    let surplus = found.iter().filter(|line| !expected.contains(line));
    let missing = missing.map(|line| format!("  missing  {line}"));
    let surplus = surplus.map(|line| format!("  surplus  {line}"));
    missing.chain(surplus).collect::<Vec<_>>().join("\n")
}

fn cloud_fault(fault: CloudFault) -> Fault {
    match fault {
        CloudFault::Throttled => Fault::Throttle { retry_after: None },
        CloudFault::ThrottledFor(wait) => Fault::Throttle {
            retry_after: Some(wait),
        },
        CloudFault::Unavailable => Fault::Unavailable,
        CloudFault::Internal => Fault::Internal,
        CloudFault::Refused(code) => Fault::Refuse {
            status: 400,
            code: code.to_owned(),
        },
        CloudFault::TimeoutBefore => Fault::TimeoutBefore,
        CloudFault::TimeoutAfter => Fault::TimeoutAfter,
        CloudFault::CutAnswer => Fault::CutAnswer,
        CloudFault::Slow(time) => Fault::Delay(time),
        CloudFault::StaleRead => Fault::StaleRead,
    }
}

/// What a request meets; nothing for what is no matter of single requests.
fn authority_fault(fault: AuthorityFault) -> Option<RequestFault> {
    let wait = Duration::from_secs(30);
    match fault {
        AuthorityFault::RateLimited(retry_after) => Some(RequestFault::RateLimited { retry_after }),
        AuthorityFault::ServerError => Some(RequestFault::ServerError { status: 503 }),
        AuthorityFault::TimeoutBefore => Some(RequestFault::TimeoutBefore { wait }),
        AuthorityFault::TimeoutAfter => Some(RequestFault::TimeoutAfter { wait }),
        _ => None,
    }
}
