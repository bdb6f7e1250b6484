use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use super::lock;
use crate::GatewayId;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// The store holds other resources.
    Resources,
    /// A proxy came, went, or said something.
    Proxies,
}

/// A change of one gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    pub gateway: GatewayId,
    pub kind: ChangeKind,
}

/// Changes since the last look. Several of one kind become one, so a slow reader loses nothing and
/// holds at most two for each gateway.
pub struct Changes(Arc<Watcher>);

struct Watcher {
    only: Option<GatewayId>,
    pending: Mutex<BTreeSet<Change>>,
    wake: Notify,
}

impl Changes {
    /// Waits for a change. Can be dropped and called again at any time.
    pub async fn next(&mut self) -> Change {
        loop {
            let first = lock(&self.0.pending).pop_first();
            match first {
                Some(change) => return change,
                None => self.0.wake.notified().await,
            }
        }
    }
}

#[derive(Default)]
pub(super) struct Watchers(Mutex<Vec<Weak<Watcher>>>);

impl Watchers {
    pub(super) fn watch(&self, only: Option<GatewayId>) -> Changes {
        let watcher = Arc::new(Watcher {
            only,
            pending: Mutex::default(),
            wake: Notify::new(),
        });
        lock(&self.0).push(Arc::downgrade(&watcher));
        Changes(watcher)
    }

    pub(super) fn notify(&self, gateway: &GatewayId, kind: ChangeKind) {
        lock(&self.0).retain(|watcher| {
            let Some(watcher) = watcher.upgrade() else {
                return false;
            };
            if watcher.only.as_ref().is_none_or(|only| only == gateway) {
                lock(&watcher.pending).insert(Change {
                    gateway: gateway.clone(),
                    kind,
                });
                watcher.wake.notify_one();
            }
            true
        });
    }
}
