use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gatewright_seams::Clock;
use tokio::sync::Notify;

use crate::session::Session;
use crate::{GatewayId, ProxyStatus, Resource, ResourceKey, ResourceStatus, ResourceType};

mod changes;
mod contents;
mod stream;

pub use changes::{Change, ChangeKind, Changes};
pub(crate) use contents::Contents;
pub use stream::ProxyStream;

/// The resources of every gateway, and the streams of the proxies that get them.
///
/// Cheap to clone; all clones are the same store. Nothing blocks for longer than it takes to
/// compare names.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    gateways: Mutex<BTreeMap<GatewayId, Arc<Gateway>>>,
    watchers: changes::Watchers,
}

struct Gateway {
    id: GatewayId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The owner has said something about this gateway. False when only a proxy did.
    known: bool,
    contents: Contents,
    sessions: BTreeMap<u64, (Session, Arc<Notify>)>,
    next_session: u64,
}

/// Resources to put and names to remove, seen by every stream at once.
#[derive(Clone, Debug, Default)]
pub struct Update {
    pub put: Vec<Resource>,
    pub remove: Vec<ResourceKey>,
}

impl Store {
    pub fn new(clock: Clock) -> Self {
        let watchers = changes::Watchers::default();
        Self {
            shared: Arc::new(Shared {
                clock,
                gateways: Mutex::default(),
                watchers,
            }),
        }
    }

    /// Makes `resources` the whole state of `gateway`: what is not among them is removed, what is
    /// there with the same content does not move. The last of two with one name wins.
    ///
    /// True when anything changed.
    pub fn set(&self, gateway: &GatewayId, resources: Vec<Resource>) -> bool {
        self.set_kinds(gateway, &ResourceType::ALL, resources)
    }

    /// As [`Store::set`], but the state of `kinds` only: resources of other types stay as they are,
    /// and those among `resources` are put. For an owner that keeps secrets apart.
    pub fn set_kinds(
        &self,
        gateway: &GatewayId,
        kinds: &[ResourceType],
        resources: Vec<Resource>,
    ) -> bool {
        self.change(gateway, |contents| {
            let keys: BTreeSet<_> = resources.iter().map(Resource::key).collect();
            let mut remove = Vec::new();
            for kind in kinds {
                let names = contents.of_kind(*kind).keys().cloned();
                remove.extend(
                    names
                        .map(|name| (*kind, name))
                        .filter(|key| !keys.contains(key)),
                );
            }
            Update {
                put: resources,
                remove,
            }
        })
    }

    /// Applies an update. True when anything changed.
    pub fn apply(&self, gateway: &GatewayId, update: Update) -> bool {
        self.change(gateway, |_| update)
    }

    /// Puts one secret: what a rotation does. Nothing is rebuilt and nothing waits. True when its
    /// content is new.
    pub fn put_secret(&self, gateway: &GatewayId, secret: Resource) -> bool {
        self.apply(
            gateway,
            Update {
                put: vec![secret],
                remove: Vec::new(),
            },
        )
    }

    /// Says that the resources of `gateway` are complete. Before, its proxies are held and told
    /// nothing: an empty store after a restart must not read as "your certificates are gone".
    pub fn mark_synced(&self, gateway: &GatewayId) {
        let entry = self.entry(gateway);
        let mut state = entry.lock();
        state.known = true;
        if !std::mem::replace(&mut state.contents.synced, true) {
            for (session, wake) in state.sessions.values_mut() {
                session.touch_all();
                wake.notify_one();
            }
        }
    }

    /// Whether [`Store::mark_synced`] was called for `gateway`.
    pub fn is_synced(&self, gateway: &GatewayId) -> bool {
        self.find(gateway)
            .is_some_and(|entry| entry.lock().contents.synced)
    }

    /// Forgets a gateway that was deleted. Proxies still connected keep what they have.
    pub fn remove_gateway(&self, gateway: &GatewayId) {
        let mut gateways = lock(&self.shared.gateways);
        let Some(entry) = gateways.get(gateway).cloned() else {
            return;
        };
        let mut state = entry.lock();
        state.known = false;
        state.contents.clear();
        if state.sessions.is_empty() {
            gateways.remove(gateway);
        }
        drop(state);
        drop(gateways);
        self.shared.watchers.notify(gateway, ChangeKind::Resources);
    }

    /// The gateways that have resources or were marked as synced, sorted.
    pub fn gateways(&self) -> Vec<GatewayId> {
        let gateways = lock(&self.shared.gateways);
        gateways
            .values()
            .filter(|each| each.lock().known)
            .map(|each| each.id.clone())
            .collect()
    }

    /// One resource of a gateway.
    pub fn get(&self, gateway: &GatewayId, kind: ResourceType, name: &str) -> Option<Resource> {
        self.find(gateway)?.lock().contents.get(kind, name).cloned()
    }

    /// All resources of one type, sorted by name.
    pub fn list(&self, gateway: &GatewayId, kind: ResourceType) -> Vec<Resource> {
        self.find(gateway)
            .map(|entry| {
                entry
                    .lock()
                    .contents
                    .of_kind(kind)
                    .values()
                    .cloned()
                    .collect()
            })
            .unwrap_or_default()
    }

    /// The connected proxies of a gateway, by node id; one that reconnects may appear twice for a
    /// moment.
    pub fn proxies(&self, gateway: &GatewayId) -> Vec<ProxyStatus> {
        let now = self.shared.clock.elapsed();
        let Some(entry) = self.find(gateway) else {
            return Vec::new();
        };
        let state = entry.lock();
        let sessions = state.sessions.values();
        let mut all: Vec<_> = sessions
            .map(|(session, _)| session.status(&state.contents, now))
            .collect();
        all.sort_by(|a, b| a.node_id.cmp(&b.node_id));
        all
    }

    /// Where one resource stands on each proxy that asks for it, by node id: [`Store::proxies`]
    /// without the rest.
    pub fn delivery(
        &self,
        gateway: &GatewayId,
        kind: ResourceType,
        name: &str,
    ) -> Vec<(Arc<str>, ResourceStatus)> {
        let Some(entry) = self.find(gateway) else {
            return Vec::new();
        };
        let state = entry.lock();
        let name = Arc::from(name);
        let sessions = state
            .sessions
            .values()
            .filter(|(session, _)| session.wants(kind, &name));
        let mut all: Vec<_> = sessions
            .map(|(session, _)| {
                (
                    session.node_id(),
                    session.resource(&state.contents, kind, &name),
                )
            })
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Tells of changes of resources and of proxies, of every gateway.
    pub fn watch_changes(&self) -> Changes {
        self.shared.watchers.watch(None)
    }

    /// As [`Store::watch_changes`], of one gateway.
    pub fn subscribe(&self, gateway: &GatewayId) -> Changes {
        self.shared.watchers.watch(Some(gateway.clone()))
    }

    /// Opens the stream of a proxy that was found to belong to `gateway`. The server does this for
    /// an Envoy; a model proxy does it for itself and needs no transport.
    pub fn connect(&self, gateway: &GatewayId) -> ProxyStream {
        self.connect_as(gateway, gateway)
    }

    /// As [`Store::connect`], but the proxy gets the resources of `group`, a part of its gateway's
    /// proxies that has resources of its own.
    pub fn connect_as(&self, identity: &GatewayId, group: &GatewayId) -> ProxyStream {
        let gateway = group;
        let wake = Arc::new(Notify::new());
        let session = Session::new(identity.clone(), self.shared.clock.now());
        // The map stays locked so that the entry cannot be dropped as unused in between.
        let mut gateways = lock(&self.shared.gateways);
        let entry = gateways
            .entry(gateway.clone())
            .or_insert_with(|| Gateway::new(gateway))
            .clone();
        let mut state = entry.lock();
        let id = state.next_session;
        state.next_session += 1;
        state.sessions.insert(id, (session, wake.clone()));
        drop(state);
        drop(gateways);
        ProxyStream {
            shared: self.shared.clone(),
            gateway: entry,
            id,
            wake,
        }
    }

    fn change(&self, gateway: &GatewayId, update: impl FnOnce(&Contents) -> Update) -> bool {
        let entry = self.entry(gateway);
        let mut state = entry.lock();
        state.known = true;
        let Update { put, remove } = update(&state.contents);
        let mut changed = BTreeSet::new();
        for (kind, name) in remove {
            if state.contents.remove(kind, &name) {
                changed.insert((kind, name));
            }
        }
        for resource in put {
            let key = resource.key();
            if state.contents.put(resource) {
                changed.insert(key);
            }
        }
        state.touch(&changed);
        drop(state);
        if !changed.is_empty() {
            self.shared.watchers.notify(gateway, ChangeKind::Resources);
        }
        !changed.is_empty()
    }

    fn find(&self, gateway: &GatewayId) -> Option<Arc<Gateway>> {
        lock(&self.shared.gateways).get(gateway).cloned()
    }

    fn entry(&self, gateway: &GatewayId) -> Arc<Gateway> {
        let mut gateways = lock(&self.shared.gateways);
        let entry = gateways
            .entry(gateway.clone())
            .or_insert_with(|| Gateway::new(gateway));
        // Marked before the map is unlocked, or a stream that ends now would drop the entry.
        entry.lock().known = true;
        entry.clone()
    }
}

impl Gateway {
    fn new(id: &GatewayId) -> Arc<Self> {
        Arc::new(Self {
            id: id.clone(),
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn touch(&mut self, keys: &BTreeSet<ResourceKey>) {
        for (session, wake) in self.sessions.values_mut() {
            for (kind, name) in keys {
                session.touch(*kind, name);
            }
            wake.notify_one();
        }
    }
}

/// A panic elsewhere leaves these maps whole: no code in between can fail halfway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
