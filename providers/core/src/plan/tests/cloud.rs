//! A cloud in memory that does what steps say.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::id::OwnerKey;
use crate::observed::{
    ListenerStatus, LoadBalancerStatus, Observed, ObservedGroup, ObservedListener,
    ObservedLoadBalancer,
};
use crate::step::{Action, Plan};

pub(super) struct Cloud {
    pub(super) observed: Observed,
    /// When it answers.
    pub(super) now: Timestamp,
    next_id: u32,
}

impl Cloud {
    pub(super) fn empty() -> Self {
        Self {
            observed: Observed::absent(OwnerKey::new(super::OWNER)),
            now: super::noon(),
            next_id: 1,
        }
    }

    pub(super) fn lb(&mut self) -> &mut ObservedLoadBalancer {
        self.observed.load_balancer.as_mut().unwrap()
    }

    pub(super) fn group(&mut self, short: &str) -> &mut ObservedGroup {
        let full = self.observed.mark().put(short);
        self.lb()
            .groups
            .iter_mut()
            .find(|group| group.name == full)
            .unwrap()
    }

    fn id(&mut self, kind: &str) -> String {
        self.next_id += 1;
        format!("{kind}-{:04}", self.next_id)
    }

    pub(super) fn apply_all(&mut self, plan: &Plan) {
        for step in &plan.steps {
            self.apply(&step.action);
        }
    }

    /// What a read of the cloud gives when the record is lost: no times, no own tags.
    pub(super) fn forget_record(&mut self) {
        if let Some(lb) = &mut self.observed.load_balancer {
            lb.own_tags.clear();
            for backend in lb.groups.iter_mut().flat_map(|group| &mut group.backends) {
                backend.added_at = None;
                backend.drained_at = None;
            }
        }
    }

    /// Panics on what a real cloud would refuse.
    pub(super) fn apply(&mut self, action: &Action) {
        match action {
            Action::CreateLoadBalancer {
                name,
                address_type,
                ip_version,
                subnet,
                tags,
                deletion_protection,
            } => {
                assert!(self.observed.load_balancer.is_none(), "doubled");
                let id = self.id("lb");
                self.observed.load_balancer = Some(ObservedLoadBalancer {
                    id: id.clone().into(),
                    name: name.clone().unwrap_or(id),
                    address: Some([192, 0, 2, 1].into()),
                    address_type: *address_type,
                    ip_version: *ip_version,
                    subnet: subnet.clone(),
                    status: LoadBalancerStatus::Active,
                    tags: tags.clone(),
                    own_tags: tags.keys().cloned().collect(),
                    deletion_protection: deletion_protection.unwrap_or(false),
                    listeners: Vec::new(),
                    groups: Vec::new(),
                });
            }
            Action::RenameLoadBalancer { name } => self.lb().name.clone_from(name),
            Action::SetDeletionProtection { id, on } => {
                if self
                    .observed
                    .load_balancer
                    .as_ref()
                    .is_some_and(|lb| lb.id == *id)
                {
                    self.lb().deletion_protection = *on;
                }
                for duplicate in self.observed.duplicates.iter_mut().filter(|d| d.id == *id) {
                    duplicate.deletion_protection = *on;
                }
            }
            Action::SetTags { tags } => {
                let lb = self.lb();
                lb.own_tags.extend(tags.keys().cloned());
                lb.tags.extend(tags.clone());
            }
            Action::RemoveTags { keys } => {
                let lb = self.lb();
                for key in keys {
                    lb.own_tags.remove(key);
                    lb.tags.remove(key);
                }
            }
            Action::CreateGroup { group, backends } => {
                let id = self.id("rsp");
                let mut new = ObservedGroup {
                    id: id.into(),
                    name: group.clone(),
                    backends: Vec::new(),
                };
                new.record_added(backends, self.now);
                self.lb().put_group(new);
            }
            Action::AddBackends { group, backends } => {
                let now = self.now;
                self.full_group(group).record_added(backends, now);
            }
            Action::SetWeights { group, backends } => {
                self.full_group(group).record_weights(backends);
            }
            Action::Drain {
                group, backends, ..
            } => {
                let now = self.now;
                self.full_group(group).record_drained(backends, now);
            }
            Action::RemoveBackends { group, backends } => {
                self.full_group(group).record_removed(backends);
            }
            Action::DeleteGroup { id, .. } => {
                let lb = self.lb();
                let used = lb
                    .listeners
                    .iter()
                    .any(|listener| listener.group.as_ref() == Some(id));
                assert!(!used, "group in use");
                lb.groups.retain(|group| group.id != *id);
            }
            Action::CreateListener {
                port,
                protocol,
                description,
                group,
                settings,
            } => {
                assert!(self.lb().listener(*port, *protocol).is_none(), "port taken");
                let id = self.lb().group(group).unwrap().id.clone();
                self.lb().put_listener(ObservedListener {
                    port: *port,
                    protocol: *protocol,
                    description: description.clone(),
                    group: Some(id),
                    status: ListenerStatus::Stopped,
                    settings: settings.clone(),
                    unsupported: BTreeSet::new(),
                });
            }
            Action::UpdateListener {
                port,
                protocol,
                description,
                group,
                settings,
                ..
            } => {
                let id = self.lb().group(group).unwrap().id.clone();
                let listener = self.lb().listener_mut(*port, *protocol).unwrap();
                assert_eq!(listener.protocol, *protocol);
                listener.description.clone_from(description);
                listener.group = Some(id);
                listener.settings.adopt(settings);
            }
            Action::StartListener { port, protocol } => {
                self.lb().listener_mut(*port, *protocol).unwrap().status = ListenerStatus::Running;
            }
            Action::DeleteListener { port, protocol } => {
                assert!(
                    self.lb().listener(*port, *protocol).is_some(),
                    "no such listener"
                );
                self.lb().remove_listener(*port, *protocol);
            }
            Action::DeleteLoadBalancer { id } => {
                self.observed
                    .duplicates
                    .retain(|duplicate| duplicate.id != *id);
                if self
                    .observed
                    .load_balancer
                    .as_ref()
                    .is_some_and(|lb| lb.id == *id)
                {
                    assert!(!self.lb().deletion_protection, "protected");
                    self.observed.load_balancer = None;
                }
            }
        }
    }

    fn full_group(&mut self, name: &str) -> &mut ObservedGroup {
        let id = self.lb().group(name).unwrap().id.clone();
        self.lb().group_by_id_mut(&id).unwrap()
    }

    /// Number of backends that take connections, by full group name.
    pub(super) fn open_backends(&self) -> BTreeMap<String, usize> {
        let groups = self.observed.load_balancer.iter().flat_map(|lb| &lb.groups);
        groups
            .map(|group| {
                let open = group
                    .backends
                    .iter()
                    .filter(|b| !b.weight.is_zero())
                    .count();
                (group.name.clone(), open)
            })
            .collect()
    }
}
