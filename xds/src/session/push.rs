//! What to send next, and what has to wait for what.

use std::sync::Arc;
use std::time::Duration;

use super::column::InFlight;
use super::{ANSWER_LIMIT, Column, Response, Session};
use crate::store::Contents;
use crate::{Resource, ResourceType};

/// Single-resource responses of one type that may be unanswered: enough to keep Envoy busy, few
/// enough that a content that changes meanwhile is sent once and not twice.
const WINDOW: usize = 32;

/// How long routes wait for the endpoints of a new cluster. Envoy asks for them within
/// milliseconds; if it never does, the cluster is of no use and nothing is gained by waiting.
const ENDPOINTS_LIMIT: Duration = Duration::from_secs(5);

/// What one name needs.
enum Need {
    Nothing,
    Send(Resource),
    /// Say that there is no such resource and keep the interest.
    Absent,
    /// Withdraw what was sent, once nothing refers to it.
    Remove,
}

impl Session {
    /// The next response to send at `now`; `None` when there is nothing to send or something has
    /// to be waited for: a request, a change, or [`Session::deadline`].
    pub(crate) fn poll(&mut self, contents: &Contents, now: Duration) -> Option<Response> {
        if !contents.synced || self.node_id.is_none() {
            return None;
        }
        self.additions(contents, now)
            .or_else(|| self.withdraw(contents, now))
    }

    /// Clusters, endpoints, listeners, routes; secrets before all of them, since nothing a secret
    /// needs comes from here and a rotation must not wait.
    fn additions(&mut self, contents: &Contents, now: Duration) -> Option<Response> {
        use ResourceType::{Cluster, Endpoints, Listener, Route, Secret};
        let first = self
            .single(Secret, contents, now)
            .or_else(|| self.batch(Cluster, contents, now))
            .or_else(|| self.single(Endpoints, contents, now));
        if first.is_some() {
            return first;
        }
        // Nothing may route to a cluster before the proxy has it together with its endpoints.
        if !self.column(Cluster).is_quiet(now) || !self.column(Endpoints).is_quiet(now) {
            return None;
        }
        let listener = self.batch(Listener, contents, now);
        let waits = self.column(Listener).has_work() && !self.column(Listener).is_stuck(now);
        if listener.is_some() || waits {
            return listener;
        }
        self.single(Route, contents, now)
    }

    /// Removals, each when the types that may refer to it have settled.
    fn withdraw(&mut self, contents: &Contents, now: Duration) -> Option<Response> {
        use ResourceType::{Cluster, Endpoints, Listener, Route, Secret};
        const ORDER: [(ResourceType, &[ResourceType]); 5] = [
            (Listener, &[]),
            (Route, &[Listener]),
            (Cluster, &[Listener, Route]),
            (Endpoints, &[Cluster]),
            (Secret, &[Listener, Cluster]),
        ];
        for (kind, referrers) in ORDER {
            if self.column(kind).removals.is_empty()
                || referrers
                    .iter()
                    .any(|each| !self.column(*each).is_settled(now))
            {
                continue;
            }
            let mut removed = Vec::new();
            for name in std::mem::take(&mut self.columns[kind.index()].removals) {
                match self.need(kind, &name, contents, false) {
                    Need::Remove => removed.push(name),
                    // It came back while it waited.
                    _ => {
                        self.columns[kind.index()].dirty.insert(name);
                    }
                }
            }
            if !removed.is_empty() {
                return Some(self.send(kind, Vec::new(), removed, contents, now));
            }
            if self.column(kind).has_work() {
                return self.additions(contents, now);
            }
        }
        None
    }

    /// One resource of a type whose resources travel alone.
    fn single(
        &mut self,
        kind: ResourceType,
        contents: &Contents,
        now: Duration,
    ) -> Option<Response> {
        while self.column(kind).in_flight.len() < WINDOW {
            let name = self.columns[kind.index()].next_name()?;
            if let Some(response) = self.one(kind, name, contents, now) {
                return Some(response);
            }
        }
        None
    }

    /// Everything there is to say about a type whose resources travel together.
    fn batch(
        &mut self,
        kind: ResourceType,
        contents: &Contents,
        now: Duration,
    ) -> Option<Response> {
        if !self.column(kind).in_flight.is_empty() {
            return None;
        }
        while let Some(name) = self.columns[kind.index()].isolated.pop_first() {
            self.columns[kind.index()].forced.insert(name.clone());
            if let Some(response) = self.one(kind, name, contents, now) {
                return Some(response);
            }
        }
        let (mut resources, mut absent) = (Vec::new(), Vec::new());
        while let Some(name) = self.columns[kind.index()].next_name() {
            let forced = self.columns[kind.index()].forced.remove(&name);
            match self.need(kind, &name, contents, forced) {
                Need::Nothing => {}
                Need::Send(resource) => resources.push(resource),
                Need::Absent => absent.push(name),
                Need::Remove => {
                    self.columns[kind.index()].removals.insert(name);
                }
            }
        }
        let owes = std::mem::take(&mut self.columns[kind.index()].owes_answer);
        (owes || !resources.is_empty() || !absent.is_empty())
            .then(|| self.send(kind, resources, absent, contents, now))
    }

    fn one(
        &mut self,
        kind: ResourceType,
        name: Arc<str>,
        contents: &Contents,
        now: Duration,
    ) -> Option<Response> {
        if let Some(good) = self.rinse(kind, &name, contents) {
            self.columns[kind.index()].urgent.insert(name);
            return Some(self.send(kind, vec![good], Vec::new(), contents, now));
        }
        let forced = self.columns[kind.index()].forced.remove(&name);
        let (resources, absent) = match self.need(kind, &name, contents, forced) {
            Need::Nothing => return None,
            Need::Send(resource) => (vec![resource], Vec::new()),
            Need::Absent => (Vec::new(), vec![name]),
            Need::Remove => {
                self.columns[kind.index()].removals.insert(name);
                return None;
            }
        };
        Some(self.send(kind, resources, absent, contents, now))
    }

    /// The content to send before the wanted one, when the proxy may have tried and refused the
    /// wanted one without our knowing: bytes that it has seen last it acknowledges untried.
    fn rinse(
        &mut self,
        kind: ResourceType,
        name: &Arc<str>,
        contents: &Contents,
    ) -> Option<Resource> {
        let column = &mut self.columns[kind.index()];
        if !column.rinsed.remove(name) || !column.wants(name) {
            return None;
        }
        let wanted = contents.get(kind, name)?;
        let good = contents.last_good(kind, name)?;
        (good.version() != wanted.version()).then(|| good.clone())
    }

    fn need(&self, kind: ResourceType, name: &str, contents: &Contents, forced: bool) -> Need {
        let column = self.column(kind);
        if !column.wants(name) {
            return Need::Nothing;
        }
        let held = column.held.get(name);
        let sent = held.and_then(|held| held.sent);
        let told_absent = held.is_some_and(|held| held.told_absent);
        let Some(wanted) = contents.get(kind, name) else {
            let asked = column.subscribed.contains(name);
            return match sent {
                Some(_) => Need::Remove,
                None if asked && (forced || !told_absent) => Need::Absent,
                None => Need::Nothing,
            };
        };
        let refused = |resource: &Resource| {
            held.is_some_and(|held| held.rejected.contains(&resource.version()))
        };
        let last_good = contents.last_good(kind, name);
        let target =
            if refused(wanted) || contents.is_rejected(kind, name, wanted.version(), &self.agent) {
                last_good.filter(|resource| !refused(resource))
            } else {
                Some(wanted)
            };
        match target {
            Some(target) if forced || sent != Some(target.version()) => Need::Send(target.clone()),
            Some(_) => Need::Nothing,
            None if sent.is_some() => Need::Nothing,
            // A first handshake fails at once without a certificate, but hangs on one that is
            // refused. For all other types, trying is the only chance.
            None if kind == ResourceType::Secret => {
                if forced || !told_absent {
                    Need::Absent
                } else {
                    Need::Nothing
                }
            }
            None if refused(wanted) => Need::Nothing,
            None => Need::Send(wanted.clone()),
        }
    }

    fn send(
        &mut self,
        kind: ResourceType,
        resources: Vec<Resource>,
        removed: Vec<Arc<str>>,
        contents: &Contents,
        now: Duration,
    ) -> Response {
        let nonce = self.next_nonce;
        self.next_nonce += 1;
        for resource in &resources {
            let held = self.columns[kind.index()]
                .held
                .entry(resource.name().clone())
                .or_default();
            held.sent = Some(resource.version());
            held.told_absent = false;
            self.push_deps_again(resource, contents, now);
        }
        let column = &mut self.columns[kind.index()];
        for name in &removed {
            if column.subscribed.contains(name) {
                let held = column.held.entry(name.clone()).or_default();
                (held.sent, held.acked, held.told_absent) = (None, None, true);
            } else {
                column.held.remove(name);
            }
        }
        column.in_flight.insert(
            nonce,
            InFlight {
                resources: resources.clone(),
                removed: removed.clone(),
                since: now,
            },
        );
        let response = Response::new(kind, nonce, resources, removed);
        self.counters.responses += 1;
        self.counters.resources_sent += response.resources().len() as u64;
        self.counters.removals_sent += response.removed().len() as u64;
        self.counters.bytes_sent += response.encoded_len() as u64;
        response
    }

    /// Envoy may make new watchers for the names in a new listener or cluster without asking for
    /// them, since it is subscribed already; they starve unless the resources come again.
    fn push_deps_again(&mut self, resource: &Resource, contents: &Contents, now: Duration) {
        for (kind, name) in resource.deps() {
            let column = &mut self.columns[kind.index()];
            if *kind != ResourceType::Route && column.subscribed.contains(name) {
                column.forced.insert(name.clone());
                column.urgent.insert(name.clone());
            }
            if *kind == ResourceType::Endpoints && contents.get(*kind, name).is_some() {
                column.awaited.insert(name.clone(), now + ENDPOINTS_LIMIT);
            }
        }
    }

    /// When [`Session::poll`] has to be called again although nothing happened, if ever.
    pub(crate) fn deadline(&self, now: Duration) -> Option<Duration> {
        let columns = self.columns.iter();
        columns
            .flat_map(|column| {
                let answers = column
                    .in_flight
                    .values()
                    .map(|each| each.since + ANSWER_LIMIT);
                answers.chain(column.awaited.values().copied())
            })
            .filter(|at| *at > now)
            .min()
    }

    fn column(&self, kind: ResourceType) -> &Column {
        &self.columns[kind.index()]
    }
}

impl Column {
    fn next_name(&mut self) -> Option<Arc<str>> {
        let name = self.urgent.pop_first().or_else(|| self.dirty.pop_first())?;
        self.dirty.remove(&name);
        Some(name)
    }

    fn has_work(&self) -> bool {
        self.owes_answer
            || !self.urgent.is_empty()
            || !self.dirty.is_empty()
            || !self.isolated.is_empty()
    }

    /// Everything new is with the proxy and answered, or is waited for in vain.
    fn is_quiet(&self, now: Duration) -> bool {
        let in_time = |each: &InFlight| now < each.since + ANSWER_LIMIT;
        let stuck = self.is_stuck(now);
        (stuck || !self.has_work())
            && !self.in_flight.values().any(in_time)
            && !self.awaited.values().any(|until| now < *until)
    }

    /// Quiet, and nothing is left to withdraw either.
    fn is_settled(&self, now: Duration) -> bool {
        self.is_quiet(now) && self.removals.is_empty()
    }
}
