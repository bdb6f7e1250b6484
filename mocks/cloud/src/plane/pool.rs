//! The members of one open listener, their health and their connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gatewright_seams::Tasks;
use tokio::sync::watch;

use super::balance::{Candidate, choose};
use super::settings::Settings;
use super::{Health, Outside};
use crate::state::Member;

/// How long a listener without checks waits before it looks whether that is still so.
const IDLE: Duration = Duration::from_hours(1);

pub(super) struct Pool {
    outside: Outside,
    /// Everything of the listener ends with it.
    scope: Tasks,
    settings: watch::Sender<Arc<Settings>>,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    slots: Vec<Slot>,
    next_id: u64,
    turn: u64,
}

/// A member, as long as it is in the group.
struct Slot {
    id: u64,
    member: Member,
    address: Option<SocketAddr>,
    health: Health,
    /// Checks in a row that said the opposite of `health`.
    against: u32,
    /// A connection failed since the last good check.
    suspect: bool,
    credit: i64,
    connections: Arc<AtomicUsize>,
    /// Ends its connections.
    scope: Tasks,
    /// Ends its checks.
    checks: Tasks,
}

/// A member as the listener sees it.
pub(crate) struct Seen {
    member: Member,
    pub(crate) health: Health,
    pub(crate) connections: usize,
}

impl Seen {
    pub(crate) fn is(&self, member: &Member) -> bool {
        self.member.server_id == member.server_id
            && self.member.server_ip == member.server_ip
            && self.member.port == member.port
    }
}

/// Where a connection goes.
pub(super) struct Target {
    pub(super) id: u64,
    pub(super) address: SocketAddr,
    pub(super) connections: Arc<AtomicUsize>,
    pub(super) scope: Tasks,
}

/// Counts a connection as long as it lives.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(super) fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    pub(super) fn new(outside: Outside, settings: Settings) -> Self {
        let scope = outside.tasks.child();
        let (settings, _) = watch::channel(Arc::new(settings));
        Self {
            outside,
            scope,
            settings,
            members: Mutex::default(),
        }
    }

    pub(super) fn scope(&self) -> Tasks {
        self.scope.clone()
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.borrow().clone()
    }

    /// Closes the listener and cuts its connections.
    pub(super) fn close(&self) {
        self.scope.cancel();
    }

    fn with<T>(&self, f: impl FnOnce(&mut Members) -> T) -> T {
        f(&mut self.members.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn start(self: &Arc<Self>, members: &[Member]) {
        self.follow(members);
    }

    /// Takes new settings and members.
    pub(super) fn change(self: &Arc<Self>, settings: Settings, members: &[Member]) {
        self.settings.send_if_modified(|current| {
            let changed = **current != settings;
            if changed {
                *current = Arc::new(settings);
            }
            changed
        });
        self.follow(members);
    }

    fn follow(self: &Arc<Self>, members: &[Member]) {
        let (gone, new) = self.with(|all| {
            let is = |slot: &Slot, member: &Member| slot.seen().is(member);
            let (kept, gone): (Vec<Slot>, Vec<Slot>) = std::mem::take(&mut all.slots)
                .into_iter()
                .partition(|slot| members.iter().any(|member| is(slot, member)));
            all.slots = kept;
            let mut new = Vec::new();
            for member in members {
                if let Some(slot) = all.slots.iter_mut().find(|slot| is(slot, member)) {
                    slot.member = member.clone();
                    continue;
                }
                all.next_id += 1;
                let slot = self.slot(all.next_id, member);
                new.push((slot.id, slot.address, slot.checks.clone()));
                all.slots.push(slot);
            }
            (gone, new)
        });
        for slot in gone {
            self.retire(slot);
        }
        for (id, address, checks) in new {
            if let Some(address) = address {
                self.watch(id, address, checks);
            }
        }
    }

    fn slot(&self, id: u64, member: &Member) -> Slot {
        let address = member.server_ip.map(|ip| SocketAddr::new(ip, member.port));
        let scope = self.scope.child();
        Slot {
            id,
            address: address.map(|address| self.outside.addresses.dial(address)),
            member: member.clone(),
            health: Health::Unknown,
            against: 0,
            suspect: false,
            credit: 0,
            connections: Arc::default(),
            checks: scope.child(),
            scope,
        }
    }

    /// Lets the connections of a removed member end: at once, or when the drain time is over.
    fn retire(&self, slot: Slot) {
        slot.checks.cancel();
        let Some(drain) = self.settings().drain else {
            slot.scope.cancel();
            return;
        };
        let clock = self.outside.clock;
        self.outside.tasks.spawn("load balancer drain", async move {
            // Ends early when the listener is closed, and with it the connections.
            let _ = slot.scope.until_cancelled(clock.sleep(drain)).await;
            slot.scope.cancel();
        });
    }

    /// Checks a member, now and from then on.
    fn watch(self: &Arc<Self>, id: u64, address: SocketAddr, checks: Tasks) {
        let pool = self.clone();
        let clock = self.outside.clock;
        self.outside
            .tasks
            .spawn("load balancer health check", async move {
                let mut changes = pool.settings.subscribe();
                let rounds = async {
                    loop {
                        let settings = changes.borrow_and_update().clone();
                        let pause = match &settings.check {
                            None => {
                                pool.report(id, None);
                                IDLE
                            }
                            Some(check) => {
                                let good = check.run(clock, address).await;
                                pool.report(id, Some((good, check.rise, check.fall)));
                                check.interval
                            }
                        };
                        // The next round comes with the interval or with other settings.
                        let _ = clock.timeout(pause, changes.changed()).await;
                    }
                };
                // Ends when the member is removed.
                let _: Result<(), _> = checks.until_cancelled(rounds).await;
            });
    }

    /// Notes the result of a check: good or not, and the thresholds to rise and to fall.
    fn report(&self, id: u64, result: Option<(bool, u32, u32)>) {
        self.with(|all| {
            if let Some(slot) = all.slots.iter_mut().find(|slot| slot.id == id) {
                slot.report(result);
            }
        });
    }

    /// Notes that a connection to the member failed: it counts as unhealthy until a check is good.
    pub(super) fn mark(&self, id: u64) {
        self.with(|all| {
            if let Some(slot) = all.slots.iter_mut().find(|slot| slot.id == id)
                && slot.health == Health::Healthy
            {
                slot.health = Health::Unhealthy;
                slot.suspect = true;
                slot.against = 0;
            }
        });
    }

    /// The member for a connection from `client`, without those in `tried`.
    pub(super) fn choose(&self, client: SocketAddr, tried: &[u64]) -> Option<Target> {
        let scheduler = self.settings().scheduler;
        self.with(|all| {
            let Members { slots, turn, .. } = all;
            let mut candidates: Vec<Candidate<'_>> = slots
                .iter_mut()
                .map(|slot| Candidate {
                    id: slot.id,
                    weight: if slot.address.is_some() {
                        slot.member.weight
                    } else {
                        0
                    },
                    health: slot.health,
                    credit: &mut slot.credit,
                })
                .collect();
            let index = choose(scheduler, &mut candidates, tried, client, turn)?;
            let slot = slots.get(index)?;
            Some(Target {
                id: slot.id,
                address: slot.address?,
                connections: slot.connections.clone(),
                scope: slot.scope.clone(),
            })
        })
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.with(|all| all.slots.iter().map(Slot::seen).collect())
    }
}

impl Slot {
    fn seen(&self) -> Seen {
        Seen {
            member: self.member.clone(),
            health: self.health,
            connections: self.connections.load(Ordering::Relaxed),
        }
    }

    fn report(&mut self, result: Option<(bool, u32, u32)>) {
        let Some((good, rise, fall)) = result else {
            self.health = Health::Unchecked;
            self.against = 0;
            return;
        };
        let says = if good {
            Health::Healthy
        } else {
            Health::Unhealthy
        };
        let needed = match self.health {
            // The first check decides alone, and takes back what one failed connection said.
            Health::Unknown | Health::Unchecked => 1,
            Health::Unhealthy if self.suspect => 1,
            Health::Unhealthy => rise,
            Health::Healthy => fall,
        };
        if says == self.health {
            self.against = 0;
            self.suspect = false;
            return;
        }
        self.against += 1;
        if self.against >= needed {
            self.health = says;
            self.against = 0;
            self.suspect = false;
        }
    }
}
