//! Listeners and groups as a whole.

use crate::desired::{Desired, Listener};
use crate::listener::{Drain, Setting};
use crate::observed::{ListenerStatus, ObservedListener, ObservedLoadBalancer};
use crate::step::Action;

use super::Planner;

fn field(listener: &Listener, part: &str) -> String {
    format!("listeners[{}/{}].{part}", listener.protocol, listener.port)
}

impl Planner {
    /// Creates, changes and starts listeners. Those of other owners stay as they are.
    pub(super) fn listeners(&mut self, desired: &Desired, found: Option<&ObservedLoadBalancer>) {
        let mut starts = Vec::new();
        for listener in &desired.listeners {
            if !desired
                .groups
                .iter()
                .any(|group| group.name == listener.group)
            {
                self.block(field(listener, "group"), &listener.group, &"no such group");
                continue;
            }
            self.warn_about_weights(listener);
            let existing = found.and_then(|lb| lb.listener(listener.port, listener.protocol));
            match existing {
                Some(existing) if !self.mark.is_on(&existing.description) => self.block(
                    field(listener, "port"),
                    &"a listener of this owner",
                    &format!("another's, described as {:?}", existing.description),
                ),
                Some(existing) if existing.protocol != listener.protocol => {
                    self.step(
                        Action::DeleteListener {
                            port: existing.port,
                            protocol: existing.protocol,
                        },
                        format!("the port changes to {}", listener.protocol),
                    );
                    self.create_listener(listener, "the protocol of a port changes");
                    starts.push(listener);
                }
                Some(existing) => {
                    self.update_listener(listener, existing, found);
                    if matches!(
                        existing.status,
                        ListenerStatus::Stopped | ListenerStatus::Stopping
                    ) {
                        starts.push(listener);
                    }
                }
                None => {
                    self.create_listener(listener, "there is none on this port");
                    starts.push(listener);
                }
            }
        }
        for listener in starts {
            self.step(
                Action::StartListener {
                    port: listener.port,
                    protocol: listener.protocol,
                },
                "it is stopped",
            );
        }
    }

    /// A scheduler that ignores weights sends new connections to a backend that drains.
    fn warn_about_weights(&mut self, listener: &Listener) {
        let settings = &listener.settings;
        if settings.drain != Some(Drain::Off)
            && settings
                .scheduler
                .is_some_and(|scheduler| !scheduler.respects_weights())
        {
            self.block(
                field(listener, Setting::Scheduler.as_str()),
                &"backends that leave take no new connections",
                &"a scheduler that ignores weights",
            );
        }
    }

    fn create_listener(&mut self, listener: &Listener, reason: &str) {
        self.step(
            Action::CreateListener {
                port: listener.port,
                protocol: listener.protocol,
                description: self.mark.put(&listener.description),
                group: self.mark.put(listener.group.as_str()),
                settings: listener.settings.clone(),
            },
            reason,
        );
    }

    fn update_listener(
        &mut self,
        listener: &Listener,
        existing: &ObservedListener,
        found: Option<&ObservedLoadBalancer>,
    ) {
        let mut changed = listener.settings.differences(&existing.settings);
        changed.retain(|setting| !existing.unsupported.contains(setting));
        for setting in &existing.unsupported {
            if let Some(wanted) = listener.settings.value_of(*setting) {
                self.block(
                    field(listener, setting.as_str()),
                    &wanted,
                    &"not possible for a listener of this protocol",
                );
            }
        }
        let group = self.mark.put(listener.group.as_str());
        let description = self.mark.put(&listener.description);
        let in_group = found
            .and_then(|lb| lb.group(&group))
            .is_some_and(|group| existing.group.as_ref() == Some(&group.id));
        let mut reasons: Vec<String> = Vec::new();
        if !in_group {
            reasons.push(format!("it should forward to {group}"));
        }
        if existing.description != description {
            reasons.push("its description differs".to_owned());
        }
        if !changed.is_empty() {
            reasons.push("settings differ".to_owned());
        }
        if reasons.is_empty() {
            return;
        }
        self.step(
            Action::UpdateListener {
                port: listener.port,
                protocol: listener.protocol,
                description,
                group,
                settings: listener.settings.clone(),
                changed,
            },
            reasons.join(", "),
        );
    }

    /// Deletes our listeners on ports that nobody wants.
    pub(super) fn unwanted_listeners(&mut self, desired: &Desired, found: &ObservedLoadBalancer) {
        for existing in &found.listeners {
            let wanted = desired.listeners.iter().any(|listener| {
                listener.port == existing.port
                    && listener.protocol.shares_port_space_with(existing.protocol)
            });
            if self.mark.is_on(&existing.description) && !wanted {
                self.step(
                    Action::DeleteListener {
                        port: existing.port,
                        protocol: existing.protocol,
                    },
                    "no longer wanted",
                );
            }
        }
    }

    /// Deletes our groups that nobody wants and that no listener of others uses. Listeners of ours
    /// have been moved or deleted by earlier steps.
    pub(super) fn unwanted_groups(&mut self, desired: &Desired, found: &ObservedLoadBalancer) {
        for existing in &found.groups {
            let Some(name) = self.mark.strip(&existing.name) else {
                continue;
            };
            let chosen = found
                .group(&existing.name)
                .is_some_and(|group| group.id == existing.id);
            let wanted = chosen
                && desired
                    .groups
                    .iter()
                    .any(|group| group.name.as_str() == name);
            if wanted {
                continue;
            }
            let foreign_user = found.listeners.iter().find(|listener| {
                listener.group.as_ref() == Some(&existing.id)
                    && !self.mark.is_on(&listener.description)
            });
            if let Some(user) = foreign_user {
                self.block(
                    format!("groups[{name}]"),
                    &"deleted",
                    &format!(
                        "in use by another's listener {}/{}",
                        user.protocol, user.port
                    ),
                );
                continue;
            }
            let reason = if chosen {
                "no longer wanted"
            } else {
                "a second one of this name"
            };
            self.step(
                Action::DeleteGroup {
                    group: existing.name.clone(),
                    id: existing.id.clone(),
                },
                reason,
            );
        }
    }
}
