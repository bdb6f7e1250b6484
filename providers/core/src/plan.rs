//! From desired and observed to steps. Pure: the same input gives the same plan.
//!
//! Rules:
//! - add before remove, for backends, groups and listeners;
//! - a backend leaves by weight 0, a wait, then removal;
//! - no backend that takes connections leaves while those that stay have not had time to pass
//!   their health checks;
//! - what is not known never leads to a removal;
//! - what does not carry the owner's mark is never touched;
//! - what cannot change after creation is reported, not recreated.

mod backends;
mod listeners;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::desired::Desired;
use crate::id::{Mark, Seconds};
use crate::observed::{LoadBalancerStatus, Observed, ObservedLoadBalancer};
use crate::step::{Action, Blocked, Plan, Step};

/// How long a backend waits at weight 0 when no listener of its group says.
pub const DEFAULT_DRAIN: Seconds = Seconds(30);

/// What it takes to make `observed` like `desired`; deletion when nothing is desired.
///
/// `now` decides which drains have ended. A plan that was applied and is computed again at the same
/// time is empty.
pub fn plan(desired: Option<&Desired>, observed: &Observed, now: Timestamp) -> Plan {
    let mut planner = Planner {
        mark: observed.mark(),
        now,
        plan: Plan::default(),
    };
    match (desired, &observed.load_balancer) {
        (Some(desired), _) if desired.owner != observed.owner => {
            planner.block("owner", &desired.owner, &observed.owner);
            return planner.plan;
        }
        (Some(desired), None) => planner.create(desired),
        (Some(desired), Some(found)) => planner.update(desired, found),
        (None, None) => {}
        (None, Some(found)) => planner.delete(found),
    }
    planner.duplicates(observed, desired.is_none());
    planner.plan
}

struct Planner {
    mark: Mark,
    now: Timestamp,
    plan: Plan,
}

impl Planner {
    fn step(&mut self, action: Action, reason: impl Into<String>) {
        self.plan.steps.push(Step {
            action,
            reason: reason.into(),
        });
    }

    fn block(&mut self, field: impl Into<String>, wanted: &dyn ToString, found: &dyn ToString) {
        self.plan.blocked.push(Blocked {
            field: field.into(),
            wanted: wanted.to_string(),
            found: found.to_string(),
        });
    }

    fn wake(&mut self, at: Timestamp) {
        self.plan.wake_at = Some(self.plan.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn create(&mut self, desired: &Desired) {
        self.step(
            Action::CreateLoadBalancer {
                name: desired.name.clone(),
                address_type: desired.address_type,
                ip_version: desired.ip_version,
                subnet: desired.subnet.clone(),
                tags: desired.tags.clone(),
                deletion_protection: desired.deletion_protection,
            },
            "there is none for this owner",
        );
        self.contents(desired, None);
    }

    fn update(&mut self, desired: &Desired, found: &ObservedLoadBalancer) {
        if found.address_type != desired.address_type {
            self.block("addressType", &desired.address_type, &found.address_type);
        }
        if found.ip_version != desired.ip_version {
            self.block("ipVersion", &desired.ip_version, &found.ip_version);
        }
        if let (Some(wanted), Some(found)) = (&desired.subnet, &found.subnet)
            && wanted != found
        {
            self.block("subnet", wanted, found);
        }
        match found.status {
            LoadBalancerStatus::Active => {}
            LoadBalancerStatus::Inactive => self.block("status", &"active", &"inactive"),
            LoadBalancerStatus::Locked => {
                // The cloud refuses every write to a locked instance.
                self.block("status", &"active", &"locked");
                return;
            }
        }
        if let Some(name) = &desired.name
            && *name != found.name
        {
            self.step(
                Action::RenameLoadBalancer { name: name.clone() },
                format!("its name is {}", found.name),
            );
        }
        if let Some(on) = desired.deletion_protection
            && on != found.deletion_protection
        {
            self.step(
                Action::SetDeletionProtection {
                    id: found.id.clone(),
                    on,
                },
                "deletion protection differs",
            );
        }
        let tags: BTreeMap<_, _> = desired
            .tags
            .iter()
            .filter(|(key, value)| found.tags.get(*key) != Some(*value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if !tags.is_empty() {
            self.step(Action::SetTags { tags }, "missing or different");
        }
        let keys: Vec<_> = found
            .own_tags
            .iter()
            .filter(|key| !desired.tags.contains_key(*key) && found.tags.contains_key(*key))
            .cloned()
            .collect();
        if !keys.is_empty() {
            self.step(
                Action::RemoveTags { keys },
                "put on earlier and no longer wanted",
            );
        }
        self.contents(desired, Some(found));
    }

    /// Groups and listeners, in the order that keeps traffic flowing.
    fn contents(&mut self, desired: &Desired, found: Option<&ObservedLoadBalancer>) {
        let mut leaving = Vec::new();
        for group in &desired.groups {
            leaving.extend(self.group(group, desired, found));
        }
        self.listeners(desired, found);
        self.plan.steps.extend(leaving);
        if let Some(found) = found {
            self.unwanted_listeners(desired, found);
            self.unwanted_groups(desired, found);
        }
    }

    fn delete(&mut self, found: &ObservedLoadBalancer) {
        let foreign: Vec<String> = found
            .listeners
            .iter()
            .filter(|listener| !self.mark.is_on(&listener.description))
            .map(|listener| format!("listener {}/{}", listener.protocol, listener.port))
            .chain(
                found
                    .groups
                    .iter()
                    .filter(|group| !self.mark.is_on(&group.name))
                    .map(|group| format!("backend group {} ({})", group.name, group.id)),
            )
            .collect();
        if found.status == LoadBalancerStatus::Locked {
            self.block("status", &"deleted", &"locked");
        } else if foreign.is_empty() {
            if found.deletion_protection {
                self.step(
                    Action::SetDeletionProtection {
                        id: found.id.clone(),
                        on: false,
                    },
                    "it is about to be deleted",
                );
            }
            self.step(
                Action::DeleteLoadBalancer {
                    id: found.id.clone(),
                },
                "its owner no longer wants it",
            );
        } else {
            // Deleting the instance would delete what is not ours with it.
            self.block(
                "loadBalancer",
                &"deleted",
                &format!("in use by {}", foreign.join(", ")),
            );
            let nothing = Desired::new(crate::id::OwnerKey::new(""), found.address_type);
            self.unwanted_listeners(&nothing, found);
            self.unwanted_groups(&nothing, found);
        }
    }

    /// A creation that was repeated can leave a second instance. Nothing depends on a bare one.
    fn duplicates(&mut self, observed: &Observed, deleting: bool) {
        for duplicate in &observed.duplicates {
            if !duplicate.bare {
                let wanted = if deleting {
                    "deleted"
                } else {
                    "one load balancer"
                };
                self.block(
                    "loadBalancer",
                    &wanted,
                    &format!("a second one that is in use: {}", duplicate.id),
                );
                continue;
            }
            if duplicate.deletion_protection {
                self.step(
                    Action::SetDeletionProtection {
                        id: duplicate.id.clone(),
                        on: false,
                    },
                    "it is about to be deleted",
                );
            }
            self.step(
                Action::DeleteLoadBalancer {
                    id: duplicate.id.clone(),
                },
                "an empty second one of the same owner",
            );
        }
    }
}
