//! Members of one group: who comes, who changes, who leaves and when.

use jiff::{SignedDuration, Timestamp};

use crate::backend::{Backend, BackendKey, BackendState, Backends};
use crate::desired::{BackendGroup, Desired, Listener};
use crate::id::Seconds;
use crate::listener::Drain;
use crate::observed::{ObservedBackend, ObservedGroup, ObservedLoadBalancer};
use crate::step::{Action, Step};

use super::{DEFAULT_DRAIN, Planner};

/// Time between probes and successes needed where no setting says; an estimate that is longer than
/// the defaults of the clouds known (2 s, 3 successes) need.
const PROBE_INTERVAL: Seconds = Seconds(2);
const PROBE_SUCCESSES: u32 = 3;

/// The time a group's backends stay at weight 0: the longest that its listeners ask for. Nothing
/// when all of them say off.
fn drain_time<'a>(listeners: impl Iterator<Item = &'a Listener>) -> Option<Seconds> {
    let mut any = false;
    let longest = listeners
        .inspect(|_| any = true)
        .filter_map(|listener| match listener.settings.drain {
            None => Some(DEFAULT_DRAIN),
            Some(Drain::Off) => None,
            Some(Drain::For(time)) => Some(time),
        })
        .max();
    if any { longest } else { Some(DEFAULT_DRAIN) }
}

/// How long a new backend needs to pass its health checks, by the slowest listener.
fn settle_time<'a>(listeners: impl Iterator<Item = &'a Listener>) -> Seconds {
    listeners
        .map(|listener| &listener.settings.health_check)
        .filter(|check| check.enabled != Some(false))
        .map(|check| {
            let successes = check.healthy_threshold.map_or(PROBE_SUCCESSES, u32::from);
            Seconds(
                check
                    .interval
                    .unwrap_or(PROBE_INTERVAL)
                    .0
                    .saturating_mul(successes),
            )
        })
        .max()
        .unwrap_or_default()
}

/// Who leaves now, and why not when nobody does.
enum Leaving {
    Now,
    /// Those that stay have had no time to pass their health checks.
    NotBefore(Timestamp),
    /// Nobody would be left, or not enough is known.
    Never,
}

impl Planner {
    /// Adds and raises at once; the steps that take backends out are returned, to be done after
    /// the listeners.
    pub(super) fn group(
        &mut self,
        group: &BackendGroup,
        desired: &Desired,
        found: Option<&ObservedLoadBalancer>,
    ) -> Vec<Step> {
        let name = self.mark.put(group.name.as_str());
        let users = || {
            desired
                .listeners
                .iter()
                .filter(|listener| listener.group == group.name)
        };
        let ready: Vec<&Backend> = unique_ready(group.backends.known());
        let Some(existing) = found.and_then(|lb| lb.group(&name)) else {
            let backends = ready.into_iter().cloned().collect();
            self.step(
                Action::CreateGroup {
                    group: name,
                    backends,
                },
                "there is none of this name",
            );
            return Vec::new();
        };
        self.arrivals(existing, &ready);
        let leaving = match &group.backends {
            Backends::Unknown | Backends::Partial(_) => Leaving::Never,
            Backends::ScaledToZero => Leaving::Now,
            Backends::Complete(_) => self.may_leave(existing, &ready, settle_time(users())),
        };
        self.departures(existing, group, &ready, &leaving, drain_time(users()))
    }

    fn arrivals(&mut self, existing: &ObservedGroup, ready: &[&Backend]) {
        let missing: Vec<Backend> = ready
            .iter()
            .filter(|backend| existing.backend(&backend.key).is_none())
            .map(|backend| (*backend).clone())
            .collect();
        if !missing.is_empty() {
            self.step(
                Action::AddBackends {
                    group: existing.name.clone(),
                    backends: missing,
                },
                "ready and not in the group",
            );
        }
        let raised = differing(existing, ready, |backend| !backend.weight.is_zero());
        if !raised.is_empty() {
            self.step(
                Action::SetWeights {
                    group: existing.name.clone(),
                    backends: raised,
                },
                "weights differ",
            );
        }
    }

    fn departures(
        &mut self,
        existing: &ObservedGroup,
        group: &BackendGroup,
        ready: &[&Backend],
        leaving: &Leaving,
        drain: Option<Seconds>,
    ) -> Vec<Step> {
        let is_ready = |key: &BackendKey| ready.iter().any(|backend| backend.key == *key);
        let open: Vec<&ObservedBackend> = existing
            .backends
            .iter()
            .filter(|known| !known.weight.is_zero() && !is_ready(&known.key))
            .collect();
        let lowered = differing(existing, ready, |backend| backend.weight.is_zero());
        match leaving {
            Leaving::Never => return Vec::new(),
            Leaving::NotBefore(at) => {
                if !open.is_empty() || !lowered.is_empty() {
                    self.wake(*at);
                }
            }
            Leaving::Now => {}
        }

        let mut steps = Vec::new();
        let mut push = |action, reason: &str| {
            steps.push(Step {
                action,
                reason: reason.to_owned(),
            });
        };
        if matches!(leaving, Leaving::Now) && !lowered.is_empty() {
            push(
                Action::SetWeights {
                    group: existing.name.clone(),
                    backends: lowered,
                },
                "weights differ",
            );
        }

        let listed = |key: &BackendKey| {
            group
                .backends
                .known()
                .iter()
                .any(|backend| backend.key == *key)
        };
        let mut removed = Vec::new();
        let mut drained = Vec::new();
        if matches!(leaving, Leaving::Now) {
            for known in open {
                match drain {
                    Some(_) => drained.push(known.key.clone()),
                    None => removed.push(known.key.clone()),
                }
            }
        }
        // What has weight 0 takes no connections: it may go once its time is over, whatever the
        // state of those that stay.
        for known in &existing.backends {
            if !known.weight.is_zero() || listed(&known.key) {
                continue;
            }
            match (drain, known.drained_at) {
                (None, _) => removed.push(known.key.clone()),
                (Some(_), None) => drained.push(known.key.clone()),
                (Some(time), Some(since)) => match after(since, time) {
                    end if end <= self.now => removed.push(known.key.clone()),
                    end => self.wake(end),
                },
            }
        }
        if !drained.is_empty() {
            let time = drain.unwrap_or_default();
            self.wake(after(self.now, time));
            drained.sort();
            push(
                Action::Drain {
                    group: existing.name.clone(),
                    backends: drained,
                    time,
                },
                "going away or no longer wanted",
            );
        }
        if !removed.is_empty() {
            removed.sort();
            push(
                Action::RemoveBackends {
                    group: existing.name.clone(),
                    backends: removed,
                },
                if drain.is_some() {
                    "no longer wanted and drained"
                } else {
                    "no longer wanted"
                },
            );
        }
        steps
    }

    /// Backends that take connections may leave when at least one that stays has been in the group
    /// long enough to have passed its health checks.
    fn may_leave(&self, existing: &ObservedGroup, ready: &[&Backend], settle: Seconds) -> Leaving {
        let staying = ready.iter().filter(|backend| !backend.weight.is_zero());
        let settles = staying
            .map(|backend| match existing.backend(&backend.key) {
                Some(known) => known
                    .added_at
                    .map_or(Timestamp::MIN, |since| after(since, settle)),
                None => after(self.now, settle),
            })
            .min();
        match settles {
            Some(at) if at <= self.now => Leaving::Now,
            Some(at) => Leaving::NotBefore(at),
            // All weights are wanted to be 0: somebody asked for that by hand.
            None if !ready.is_empty() => Leaving::Now,
            None => Leaving::Never,
        }
    }
}

fn after(time: Timestamp, wait: Seconds) -> Timestamp {
    let wait = SignedDuration::from_secs(wait.0.into());
    time.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// Ready backends, each once, in the order of their keys.
fn unique_ready(backends: &[Backend]) -> Vec<&Backend> {
    let mut ready: Vec<&Backend> = backends
        .iter()
        .filter(|backend| backend.state == BackendState::Ready)
        .collect();
    ready.sort_by(|a, b| a.key.cmp(&b.key));
    ready.dedup_by(|a, b| a.key == b.key);
    ready
}

/// Wanted backends that are in the group with another weight.
fn differing(
    existing: &ObservedGroup,
    ready: &[&Backend],
    which: impl Fn(&Backend) -> bool,
) -> Vec<Backend> {
    ready
        .iter()
        .filter(|backend| which(backend))
        .filter(|backend| {
            existing
                .backend(&backend.key)
                .is_some_and(|known| known.weight != backend.weight)
        })
        .map(|backend| (*backend).clone())
        .collect()
}
