//! What must hold at every moment of a history.

mod certificates;
mod drains;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use gatewright::retry::WatchBackoff;
use gatewright_seams::{Clock, Random};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use mock_cloud::{InstanceView, Mark, MockCloud};

use super::history;
use crate::plan::{Change, Wanted};
use crate::quickstart::{INTERNAL, PUBLIC};
use crate::sim::{Front, GATEWAY_NAMESPACE, OWNER_TAG};
use crate::{Side, Sim, World};
use drains::{Drains, Open};

const HOST: &str = "shop.example.com";
const HTTPS_TARGET: u16 = 8443;
/// More calls to the cloud in [`WINDOW`] than this, for each gateway, are a storm.
const STORM: usize = 400;
const WINDOW: Duration = Duration::from_mins(10);

/// Watches one history. Clones are the same.
#[derive(Clone)]
pub(crate) struct Watchman {
    clock: Clock,
    random: Random,
    world: Arc<World>,
    cloud: MockCloud,
    acme: mock_acme::MockAcme,
    seen: Arc<Mutex<Seen>>,
}

/// A call to the cloud that is under way, and how things were before it.
struct Begun {
    mark: Mark,
    before: Before,
}

/// Who took connections at one moment.
struct Before {
    epoch: u64,
    reachable: BTreeMap<Front, BTreeSet<String>>,
}

#[derive(Default)]
struct Seen {
    violation: Option<String>,
    /// How many things have happened to the world.
    epoch: u64,
    wanted: Wanted,
    /// Users took the certificate's Secret away: a new proxy has none to serve.
    without_secret: bool,
    /// The cloud once showed what was.
    behind: bool,
    /// Users took it away once, or the Certificate, and may take it away any time.
    secret_may_go: bool,
    /// The uids of Services that users took away.
    leaving: BTreeSet<String>,
    /// The Pods of gateways that users took away.
    doomed: BTreeSet<String>,
    /// Services by uid.
    services: BTreeMap<String, String>,
    /// What is not ours.
    foreign: Vec<InstanceView>,
    /// The replica that holds the Lease, and since when.
    holder: Option<(String, Duration)>,
    /// What each proxy showed last: how many responses it had taken, and the place of the
    /// certificate in the order of issue.
    shown: BTreeMap<String, (u64, Option<usize>)>,
    /// Places by certificate (DER).
    places: BTreeMap<Vec<u8>, usize>,
    /// The proxies that have answered nobody since this moment.
    dark: BTreeMap<String, Duration>,
    /// The serial that was last said to be served everywhere.
    served: Option<String>,
    /// How things were at the last look.
    last: Option<Before>,
    /// How they were before or after the last call to the cloud, of any replica.
    open: Open,
    /// Since when members take no connections, by group.
    lowered: BTreeMap<String, BTreeMap<String, Duration>>,
    drains: Drains,
    /// How many certificates there were when the users wished for a new one.
    wished: Option<usize>,
    /// The second Service was of another type once.
    internal_left: bool,
    /// How many certificates there are.
    issued: usize,
    /// What had happened, who led, and how many there were when the last of them were issued.
    issued_since: Option<(u64, Option<String>, usize)>,
    /// When the last calls to the cloud were.
    calls: Vec<Duration>,
}

impl Seen {
    /// The second load balancer goes, with all its backends.
    fn internal_goes(&mut self) {
        let gone = self.services.iter().filter(|(_, name)| *name == INTERNAL);
        self.leaving.extend(gone.map(|(uid, _)| uid.clone()));
    }

    fn want(&mut self, now: Duration, wanted: &Wanted) {
        self.wanted = *wanted;
        if let Some(internal) = wanted.internal {
            self.drains.want(now, internal.drain());
        }
    }
}

impl Watchman {
    pub(super) fn new(sim: &Sim) -> Self {
        let foreign = sim.laptop.cloud.inventory().instances;
        let seen = Seen {
            foreign,
            ..Seen::default()
        };
        let this = Self {
            clock: *sim.clock(),
            random: sim.laptop.random.child("watchman"),
            world: sim.world.clone(),
            cloud: sim.laptop.cloud.clone(),
            acme: sim.laptop.acme.clone(),
            seen: Arc::new(Mutex::new(seen)),
        };
        let tasks = &sim.laptop.tasks;
        tasks.spawn("watch leases", this.clone().watch_lease(sim.kube.clone()));
        tasks.spawn(
            "watch services",
            this.clone().watch_services(sim.kube.clone()),
        );
        tasks.spawn(
            "watch certificates",
            this.clone().watch_certificate(sim.kube.clone()),
        );
        tasks.spawn("watch secrets", this.clone().watch_secret(sim.kube.clone()));
        for (replica, gates) in sim.gates.iter().enumerate() {
            this.observe_cloud(replica, gates);
            gates.kube.observe(move |side, _, name| {
                if side == Side::Before && !name.starts_with("GET ") && !name.contains("/leases") {
                    history::line(format!("replica {replica}: kubernetes {name}"));
                }
            });
            gates.acme.observe(move |side, _, name| {
                if side == Side::Before {
                    history::line(format!("replica {replica}: authority {name}"));
                }
            });
        }
        this
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What did not hold, if something did not.
    pub(crate) fn violation(&self) -> Option<String> {
        self.seen().violation.clone()
    }

    /// Notes that something did not hold; the first counts.
    pub(crate) fn violated(&self, what: String) {
        let mut seen = self.seen();
        if seen.violation.is_none() {
            history::line(format!("VIOLATED: {what}"));
            seen.violation = Some(what);
        }
    }

    /// The cloud shows for a while what was: what it made meanwhile can be made again.
    pub(super) fn behind(&self) {
        self.seen().behind = true;
    }

    /// Something happens to the world that is not the daemon's doing.
    pub(crate) fn happens(&self) {
        self.seen().epoch += 1;
    }

    /// What the users want at first.
    pub(super) fn want(&self, wanted: &Wanted) {
        self.seen().want(self.clock.elapsed(), wanted);
    }

    /// The users change something.
    pub(crate) fn users(&self, change: Change, wanted: &Wanted) {
        let pods = self.world.proxies();
        let mut seen = self.seen();
        seen.want(self.clock.elapsed(), wanted);
        seen.secret_may_go |= wanted.names.is_none();
        if wanted.names.is_none() {
            seen.wished = None;
        }
        let all = seen.services.clone().into_iter();
        match change {
            Change::DeleteGateway => {
                // The other load balancer leads to the same proxies.
                let both = all.filter(|(_, name)| [PUBLIC, INTERNAL].contains(&name.as_str()));
                seen.leaving.extend(both.map(|(uid, _)| uid));
                seen.doomed
                    .extend(pods.into_iter().filter(|pod| is_shop(pod)));
            }
            Change::ApplyGateway if wanted.internal.is_some() && !seen.internal_left => {
                for (uid, name) in all {
                    if name == INTERNAL {
                        seen.leaving.remove(&uid);
                    }
                }
            }
            Change::DeleteSecret => {
                seen.without_secret = true;
                seen.secret_may_go = true;
            }
            Change::DeleteInternal => seen.internal_goes(),
            // It may be on its way for as long as a replica is behind.
            Change::Internal(internal) if !internal.balanced() => {
                seen.internal_left = true;
                seen.internal_goes();
            }
            _ => {}
        }
    }

    /// A proxy answers nobody from now on.
    pub(super) fn dark(&self, pod: &str) {
        self.seen()
            .dark
            .insert(pod.to_owned(), self.clock.elapsed());
    }

    /// All proxies answer again.
    pub(super) fn light(&self) {
        self.seen().dark.clear();
    }

    async fn watch_lease(self, kube: kube::Client) {
        let leases: Api<Lease> = Api::namespaced(kube, gatewright::laptop::NAMESPACE);
        let mut leases = self.watched(leases);
        while let Some(lease) = leases.next().await {
            let holder = lease.spec.and_then(|spec| spec.holder_identity);
            let now = self.clock.elapsed();
            let mut seen = self.seen();
            let before = seen.holder.as_ref().map(|(holder, _)| holder.clone());
            if holder != before {
                seen.holder = holder.map(|holder| (holder, now));
            }
        }
    }

    async fn watch_services(self, kube: kube::Client) {
        let services: Api<Service> = Api::namespaced(kube, GATEWAY_NAMESPACE);
        let mut services = self.watched(services);
        while let Some(service) = services.next().await {
            let (uid, name) = (service.uid().unwrap_or_default(), service.name_any());
            self.seen().services.insert(uid, name);
        }
    }

    /// The objects of `api` as they change, deleted ones too.
    fn watched<K>(&self, api: Api<K>) -> impl futures::Stream<Item = K> + Unpin + use<K>
    where
        K: kube::Resource<DynamicType = ()>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug
            + Send
            + 'static,
    {
        let backoff = self.backoff(&K::plural(&()));
        let events = watcher::watcher(api, watcher::Config::default());
        let objects = events.backoff(backoff).touched_objects();
        objects
            .filter_map(|object| async move { object.ok() })
            .boxed()
    }

    fn backoff(&self, what: &str) -> WatchBackoff {
        WatchBackoff::new(self.clock, &self.random.child(what), 1)
    }

    fn observe_cloud(&self, replica: usize, gates: &crate::Gates) {
        let this = self.clone();
        let before: Mutex<BTreeMap<usize, Begun>> = Mutex::default();
        let ledger = self.cloud.ledger();
        gates.cloud.observe(move |side, number, action| {
            let write = !action.starts_with("Describe") && !action.starts_with("List");
            let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
            match side {
                Side::Before => {
                    this.call(replica, action);
                    this.were_drained(action);
                    if write {
                        let begun = Begun {
                            mark: ledger.mark(),
                            before: this.before(),
                        };
                        before.insert(number, begun);
                    }
                }
                Side::After if write => {
                    if let Some(begun) = before.remove(&number) {
                        let calls = ledger.since(begun.mark).into_iter();
                        let mut bad =
                            calls.filter(|call| call.action == action && call.outcome != "OK");
                        if let Some(call) = bad.next() {
                            history::line(format!(
                                "replica {replica}: cloud {action}: {}",
                                call.outcome
                            ));
                        }
                        this.compare(action, &begun.before);
                        this.were_drained(action);
                    }
                }
                Side::After => {}
            }
        });
    }

    /// A call to the cloud: by the one that may write, and not one of too many.
    fn call(&self, replica: usize, action: &str) {
        history::line(format!("replica {replica}: cloud {action}"));
        let now = self.clock.elapsed();
        let (holder, calls, gateways) = {
            let mut seen = self.seen();
            seen.calls.push(now);
            seen.calls.retain(|at| now.saturating_sub(*at) < WINDOW);
            let gateways = seen.wanted.others + 1;
            (seen.holder.clone(), seen.calls.len(), gateways)
        };
        if let Some((holder, since)) = holder
            && holder != format!("replica-{replica}")
            && now > since
        {
            self.violated(format!(
                "replica {replica} calls {action} while {holder} leads"
            ));
        }
        if calls > STORM * gateways {
            self.violated(format!("{calls} calls to the cloud within {WINDOW:?}"));
        }
    }

    fn before(&self) -> Before {
        Before {
            epoch: self.seen().epoch,
            reachable: self.world.reachable(),
        }
    }

    /// No listener lost its last backend that takes connections.
    fn compare(&self, action: &str, before: &Before) {
        let Before {
            epoch,
            reachable: before,
            ..
        } = before;
        let after = self.world.reachable();
        let proxies = self.world.running();
        let (excused, wanted, leaving, services, without_secret) = {
            let seen = self.seen();
            let excused = seen.epoch != *epoch || !seen.dark.is_empty();
            let (leaving, services) = (seen.leaving.clone(), seen.services.clone());
            (excused, seen.wanted, leaving, services, seen.without_secret)
        };
        if excused {
            return;
        }
        for (front, pods) in before {
            let now = after.get(front).is_some_and(|pods| !pods.is_empty());
            let serving = proxies
                .iter()
                .find(|proxy| pods.contains(&proxy.pod) && proxy.listens(target_of(front.port)));
            let Some(proxy) = serving.filter(|_| !now) else {
                continue;
            };
            let internal = services
                .get(&front.owner)
                .is_some_and(|name| name == INTERNAL);
            let unwanted = internal
                && wanted
                    .internal
                    .is_none_or(|internal| front.port == 80 && !internal.http());
            let unwanted = unwanted || (without_secret && front.port == 443);
            if !unwanted && !leaving.contains(&front.owner) {
                self.violated(format!(
                    "{action} took {} port {} its last backend, {} still serves",
                    front.instance, front.port, proxy.pod
                ));
            }
        }
    }

    /// Looks at what can be seen from outside.
    pub(super) fn look(&self) {
        let mut owners = BTreeSet::new();
        let inventory = self.cloud.inventory();
        for instance in &inventory.instances {
            if let Some(owner) = instance.tags.get(OWNER_TAG)
                && !self.is_foreign(&instance.id)
                && !owners.insert(owner.clone())
            {
                self.violated(format!("two load balancers belong to Service {owner}"));
            }
        }
        self.look_at_groups(&inventory.instances);
        self.look_at_drains();
        self.look_at_foreign(&inventory.instances);
        self.look_at_proxies();
        self.look_at_orders();
        // Also by calls whose answer nobody waited for. Drained it can be within a moment: a Pod that
        // was long told to leave.
        let now = self.before();
        let last = self.seen().last.replace(now);
        if let Some(last) = last {
            self.compare("something", &last);
        }
    }

    /// Nothing was made twice whose making takes no token.
    fn look_at_groups(&self, instances: &[InstanceView]) {
        if self.seen().behind {
            return;
        }
        for instance in instances {
            let mut names = BTreeSet::new();
            let mut groups = instance.groups.iter();
            if let Some(twice) = groups.find(|group| !names.insert(&group.name)) {
                self.violated(format!("two groups of {} are {}", instance.id, twice.name));
            }
        }
    }

    fn is_foreign(&self, id: &str) -> bool {
        self.seen().foreign.iter().any(|held| held.id == id)
    }

    fn look_at_foreign(&self, instances: &[InstanceView]) {
        let foreign = self.seen().foreign.clone();
        for held in &foreign {
            match instances.iter().find(|now| now.id == held.id) {
                Some(now) if now == held => {}
                Some(_) => self.violated(format!("{}, which is not ours, was changed", held.id)),
                None => self.violated(format!("{}, which is not ours, is gone", held.id)),
            }
        }
    }
}

/// Whether a Pod is of the gateway that users change.
fn is_shop(pod: &str) -> bool {
    pod.starts_with(PUBLIC)
}

/// The port of the proxies behind a port of the quickstart's load balancers.
fn target_of(port: u16) -> u16 {
    port + 8000
}
