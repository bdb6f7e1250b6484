//! Backends leave by a drain, and it has its time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mock_cloud::MemberView;

use super::Watchman;
use crate::quickstart::INTERNAL;
use crate::sim::OWNER_TAG;

/// How long each drain of the first load balancer lasts, as the quickstart has it.
const DRAIN: Duration = Duration::from_secs(30);
/// How late it may be seen that a drain begins: looks are a second apart.
const LATE: Duration = Duration::from_secs(2);
/// How long the daemon may go by a setting that is no more: its watch was cut, its pass was slow.
const BEHIND: Duration = Duration::from_mins(5);

/// The members of groups that take connections, by group.
#[derive(Default)]
pub(super) struct Open {
    epoch: u64,
    members: BTreeMap<String, BTreeSet<String>>,
}

/// The drains that the users wanted of the second load balancer, and since when.
#[derive(Clone, Default)]
pub(super) struct Drains(Vec<(Duration, Duration)>);

impl Drains {
    /// From `now` on they want `drain`.
    pub(super) fn want(&mut self, now: Duration, drain: Duration) {
        self.0.push((now, drain));
    }

    /// The shortest that the daemon may have known of at `since` or later.
    fn shortest(&self, since: Duration) -> Option<Duration> {
        let ends = self.0.iter().skip(1).map(|(begun, _)| *begun);
        let ends = ends.chain([Duration::MAX]);
        let known = self.0.iter().zip(ends);
        let known = known.filter(|(_, end)| end.saturating_add(BEHIND) >= since);
        known.map(|((_, drain), _)| *drain).min()
    }
}

impl Watchman {
    /// The members of our groups for which `which` is true, by group.
    fn members(&self, which: impl Fn(&MemberView) -> bool) -> BTreeMap<String, BTreeSet<String>> {
        let instances = self.cloud.inventory().instances;
        let groups = instances.into_iter().flat_map(|held| held.groups);
        let named = |member: &MemberView| format!("{}:{}", member.server_id, member.port);
        groups
            .map(|group| {
                let members = group.members.iter().filter(|member| which(member));
                (group.id, members.map(named).collect())
            })
            .collect()
    }

    /// No backend is gone that took connections at the call before this one. Calls overlap: what this
    /// one began with may be long past.
    pub(super) fn were_drained(&self, action: &str) {
        self.look_at_drains();
        let now = Open {
            epoch: self.seen().epoch,
            members: self.members(|member| member.weight > 0),
        };
        let epoch = now.epoch;
        let last = std::mem::replace(&mut self.seen().open, now);
        if last.epoch != epoch {
            return;
        }
        let after = self.members(|_| true);
        for (group, open) in &last.members {
            // A group that nobody wants goes as a whole.
            let Some(after) = after.get(group) else {
                continue;
            };
            if let Some(member) = open.difference(after).next() {
                self.violated(format!(
                    "{member} was removed from {group} without a drain, seen at {action}"
                ));
            }
        }
    }

    /// What is gone took no connections for as long as its load balancer's drain is.
    pub(super) fn look_at_drains(&self) {
        let now = self.clock.elapsed();
        for instance in &self.cloud.inventory().instances {
            let Some(owner) = instance.tags.get(OWNER_TAG) else {
                continue;
            };
            for group in &instance.groups {
                let mut seen = self.seen();
                let internal = seen
                    .services
                    .get(owner)
                    .is_some_and(|name| name == INTERNAL);
                let drains = seen.drains.clone();
                let shortest = |since| {
                    let wanted = drains.shortest(since).filter(|_| internal);
                    wanted.unwrap_or(DRAIN)
                };
                let lowered = seen.lowered.entry(group.id.clone()).or_default();
                let mut before = std::mem::take(lowered);
                for member in &group.members {
                    let name = format!("{}:{}", member.server_id, member.port);
                    let since = before.remove(&name);
                    if member.weight == 0 {
                        lowered.insert(name, since.unwrap_or(now));
                    }
                }
                drop(seen);
                for (member, since) in before {
                    let (drained, wanted) = (now.saturating_sub(since), shortest(since));
                    if drained + LATE < wanted {
                        self.violated(format!(
                            "{member} was removed from {} after {drained:?} of {wanted:?}",
                            group.id
                        ));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_judged_by_what_was_wanted_while_it_ran() {
        let minutes = Duration::from_mins;
        let (long, short) = (Duration::from_secs(30), Duration::from_secs(10));
        let mut drains = Drains::default();
        assert_eq!(drains.shortest(minutes(1)), None);
        drains.want(minutes(0), short);
        drains.want(minutes(10), long);
        assert_eq!(drains.shortest(minutes(9)), Some(short));
        assert_eq!(drains.shortest(minutes(14)), Some(short), "still known");
        assert_eq!(drains.shortest(minutes(16)), Some(long));
        drains.want(minutes(17), short);
        assert_eq!(
            drains.shortest(minutes(16)),
            Some(short),
            "wanted meanwhile"
        );
    }
}
