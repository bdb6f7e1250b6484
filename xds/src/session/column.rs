//! What is known about one type of resource on one proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::ANSWER_LIMIT;
use crate::store::Contents;
use crate::{Rejection, Resource, ResourceType, Version};

/// The state of one type.
#[derive(Default)]
pub(super) struct Column {
    /// The first request has come.
    pub(super) started: bool,
    pub(super) wildcard: bool,
    /// The first wildcard request must be answered even when there is nothing: Envoy's start waits.
    pub(super) owes_answer: bool,
    pub(super) subscribed: BTreeSet<Arc<str>>,
    pub(super) held: BTreeMap<Arc<str>, Held>,
    /// Names to look at first: the proxy asked, or must be told again.
    pub(super) urgent: BTreeSet<Arc<str>>,
    /// Names to look at: the store changed.
    pub(super) dirty: BTreeSet<Arc<str>>,
    /// Names to send although the proxy is thought to have them.
    pub(super) forced: BTreeSet<Arc<str>>,
    /// Names whose last good content is to be sent before the wanted one.
    pub(super) rinsed: BTreeSet<Arc<str>>,
    /// Names of a refused batch, to be sent one by one.
    pub(super) isolated: BTreeSet<Arc<str>>,
    /// Names to withdraw when nothing refers to them any more.
    pub(super) removals: BTreeSet<Arc<str>>,
    pub(super) in_flight: BTreeMap<u64, InFlight>,
    /// Endpoints that a new cluster needs before anything may route to it, and until when.
    pub(super) awaited: BTreeMap<Arc<str>, Duration>,
}

/// What is known about one name on the proxy.
#[derive(Default)]
pub(super) struct Held {
    pub(super) sent: Option<Version>,
    pub(super) acked: Option<Version>,
    /// The proxy was told that there is no such resource.
    pub(super) told_absent: bool,
    pub(super) nacked: Option<Rejection>,
    /// Content this proxy refused.
    pub(super) rejected: Vec<Version>,
}

pub(super) struct InFlight {
    pub(super) resources: Vec<Resource>,
    pub(super) removed: Vec<Arc<str>>,
    pub(super) since: Duration,
}

impl Column {
    pub(super) fn wants(&self, name: &str) -> bool {
        self.wildcard || self.subscribed.contains(name)
    }

    /// Takes over what the proxy has from an earlier stream.
    ///
    /// A proxy that acknowledged refused bytes untried reports them as well: `refused` finds these.
    pub(super) fn resume(
        &mut self,
        versions: BTreeMap<String, String>,
        refused: impl Fn(&str, Version) -> bool,
    ) {
        for (name, version) in versions {
            let version = Version::parse(&version).filter(|version| !refused(&name, *version));
            let held = Held {
                // What is not known is content too: it has to be replaced or withdrawn.
                sent: Some(version.unwrap_or(Version::UNKNOWN)),
                acked: version,
                ..Held::default()
            };
            let name: Arc<str> = name.into();
            self.dirty.insert(name.clone());
            self.held.insert(name, held);
        }
    }

    pub(super) fn start_wildcard(&mut self, contents: &Contents, kind: ResourceType) {
        self.owes_answer |= !self.wildcard && self.held.is_empty();
        self.wildcard = true;
        self.urgent.extend(contents.of_kind(kind).keys().cloned());
    }

    /// A name that is subscribed to again was forgotten by the proxy and must be sent again. In the
    /// first request it is not again: the versions beside it say what the proxy has.
    pub(super) fn subscribe(&mut self, name: Arc<str>, first: bool) {
        if !first {
            self.forced.insert(name.clone());
        }
        self.urgent.insert(name.clone());
        self.subscribed.insert(name);
    }

    pub(super) fn unsubscribe(&mut self, name: &str, contents: &Contents, kind: ResourceType) {
        if name == "*" {
            self.wildcard = false;
            let subscribed = &self.subscribed;
            self.held.retain(|name, _| subscribed.contains(name));
            return;
        }
        let Some(name) = self.subscribed.take(name) else {
            return;
        };
        if !self.wildcard {
            self.held.remove(&name);
        } else if contents.get(kind, &name).is_some() {
            // The wildcard still covers the name, so the proxy has to be told that it keeps it.
            self.forced.insert(name.clone());
            self.urgent.insert(name);
        }
    }

    /// Notes an ACK. False when it proves nothing: this proxy refused the same content before, or has
    /// unsubscribed and acknowledges whatever comes.
    pub(super) fn accepted(&mut self, resource: &Resource, wanted: Option<Version>) -> bool {
        let Some(held) = self.held.get_mut(resource.name()) else {
            return false;
        };
        if held.rejected.contains(&resource.version()) {
            return false;
        }
        held.acked = Some(resource.version());
        // After a refusal the last good content is sent again; its ACK does not undo the refusal.
        if held.acked == wanted {
            held.nacked = None;
        }
        true
    }

    pub(super) fn is_stuck(&self, now: Duration) -> bool {
        self.in_flight
            .values()
            .any(|each| each.since + ANSWER_LIMIT <= now)
    }
}

impl Held {
    pub(super) fn reject(&mut self, rejection: Rejection) {
        if !self.rejected.contains(&rejection.version) {
            self.rejected.push(rejection.version);
            if self.rejected.len() > 8 {
                self.rejected.remove(0);
            }
        }
        if self.acked == Some(rejection.version) {
            self.acked = None;
        }
        self.nacked = Some(rejection);
    }
}
