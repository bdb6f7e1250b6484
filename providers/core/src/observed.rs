//! A load balancer as it is. Serialised, it is the record of what was last applied.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backend::{Backend, BackendKey};
use crate::desired::{AddressType, IpVersion};
use crate::id::{BackendGroupId, LoadBalancerId, Mark, OwnerKey, Port, SubnetId, Weight};
use crate::listener::{ListenerSettings, Protocol, Setting};

/// What is known about the load balancer of one owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    pub owner: OwnerKey,
    /// Nothing: there is none.
    pub load_balancer: Option<ObservedLoadBalancer>,
    /// Others with the same ownership tags, made when a creation was repeated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub duplicates: Vec<Duplicate>,
    /// When a provider last read this from the cloud. Not stored: of a record that comes from disk
    /// it is not known whether it still holds, so a provider looks again before it creates or
    /// deletes a load balancer.
    #[serde(skip)]
    pub read_at: Option<Timestamp>,
}

impl Observed {
    /// Nothing exists, as far as is known.
    pub fn absent(owner: OwnerKey) -> Self {
        Self {
            owner,
            load_balancer: None,
            duplicates: Vec::new(),
            read_at: None,
        }
    }

    /// Whether the load balancer `id` is among what was seen.
    pub fn shows(&self, id: &LoadBalancerId) -> bool {
        self.load_balancer.iter().any(|held| held.id == *id)
            || self.duplicates.iter().any(|held| held.id == *id)
    }

    /// Takes over from an earlier record what a read of the cloud, which ended at `now`, cannot tell:
    /// which tags are ours, and since when backends are in the group or drain. To be called on what
    /// [`crate::LoadBalancers::observe`] gives, or an audit would start every drain anew.
    ///
    /// Only what still fits is taken: keys of tags that are there, the drains of backends that have
    /// weight 0, in the same load balancer and group. Backends that no record knows count as added at
    /// `now`: the answer to their addition may have been lost.
    pub fn remember(&mut self, earlier: Option<&Observed>, now: Timestamp) {
        let Some(found) = &mut self.load_balancer else {
            return;
        };
        let before = earlier.and_then(|earlier| earlier.load_balancer.as_ref());
        let before = before.filter(|before| before.id == found.id);
        let ours = before.into_iter().flat_map(|before| &before.own_tags);
        let ours = ours.filter(|key| found.tags.contains_key(*key));
        found.own_tags.extend(ours.cloned());
        for group in &mut found.groups {
            let before = before.and_then(|before| before.group_by_id(&group.id));
            for backend in &mut group.backends {
                let before = before.and_then(|before| before.backend(&backend.key));
                if let Some(before) = before {
                    backend.added_at = before.added_at;
                    backend.drained_at = before.drained_at.filter(|_| backend.weight.is_zero());
                } else {
                    backend.added_at = Some(now);
                }
            }
        }
    }

    /// Takes as ours those of the tags `keys` that are there: they were being put on when it was
    /// last heard of, and no read can tell who did it.
    pub fn claim_tags(&mut self, keys: &BTreeSet<String>) {
        if let Some(lb) = &mut self.load_balancer {
            let there = keys.iter().filter(|key| lb.tags.contains_key(*key));
            lb.own_tags.extend(there.cloned());
        }
    }

    pub fn mark(&self) -> Mark {
        Mark::of(&self.owner)
    }
}

/// A second load balancer with the same ownership tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Duplicate {
    pub id: LoadBalancerId,
    pub deletion_protection: bool,
    /// It has neither listeners nor groups, so nothing can depend on it.
    pub bare: bool,
}

/// Whether a load balancer works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LoadBalancerStatus {
    Active,
    /// Somebody stopped it.
    Inactive,
    /// The cloud stopped it (arrears, security) and refuses changes.
    Locked,
}

/// A load balancer as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedLoadBalancer {
    pub id: LoadBalancerId,
    pub name: String,
    pub address: Option<IpAddr>,
    pub address_type: AddressType,
    pub ip_version: IpVersion,
    pub subnet: Option<SubnetId>,
    pub status: LoadBalancerStatus,
    /// All tags but the ownership marks.
    pub tags: BTreeMap<String, String>,
    /// Keys of the tags that we put on and may therefore take off.
    #[serde(default)]
    pub own_tags: BTreeSet<String>,
    pub deletion_protection: bool,
    /// Sorted by port and protocol; those of others too.
    pub listeners: Vec<ObservedListener>,
    /// Sorted by name and id; those of others too.
    pub groups: Vec<ObservedGroup>,
}

impl ObservedLoadBalancer {
    /// The listener that has this port for itself among TCP-like or UDP listeners.
    pub fn listener(&self, port: Port, protocol: Protocol) -> Option<&ObservedListener> {
        self.listeners
            .iter()
            .find(|l| l.port == port && l.protocol.shares_port_space_with(protocol))
    }

    pub fn listener_mut(
        &mut self,
        port: Port,
        protocol: Protocol,
    ) -> Option<&mut ObservedListener> {
        self.listeners
            .iter_mut()
            .find(|l| l.port == port && l.protocol.shares_port_space_with(protocol))
    }

    /// The group of this full name. Of several, one that a listener uses, else the first.
    pub fn group(&self, name: &str) -> Option<&ObservedGroup> {
        let used = |group: &&ObservedGroup| {
            self.listeners
                .iter()
                .any(|listener| listener.group.as_ref() == Some(&group.id))
        };
        let named = || self.groups.iter().filter(|group| group.name == name);
        named().find(used).or_else(|| named().next())
    }

    pub fn group_by_id(&self, id: &BackendGroupId) -> Option<&ObservedGroup> {
        self.groups.iter().find(|group| group.id == *id)
    }

    pub fn group_by_id_mut(&mut self, id: &BackendGroupId) -> Option<&mut ObservedGroup> {
        self.groups.iter_mut().find(|group| group.id == *id)
    }

    /// Puts a listener in its place in the order.
    pub fn put_listener(&mut self, listener: ObservedListener) {
        self.remove_listener(listener.port, listener.protocol);
        self.listeners.push(listener);
        self.listeners.sort_by_key(|l| (l.port, l.protocol));
    }

    pub fn remove_listener(&mut self, port: Port, protocol: Protocol) {
        self.listeners
            .retain(|l| !(l.port == port && l.protocol.shares_port_space_with(protocol)));
    }

    /// Puts a group in its place in the order.
    pub fn put_group(&mut self, group: ObservedGroup) {
        self.groups.retain(|known| known.id != group.id);
        self.groups.push(group);
        self.groups
            .sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    }
}

/// What a listener is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ListenerStatus {
    Stopped,
    /// On its way to running.
    Starting,
    Running,
    /// Running with a change on its way.
    Configuring,
    Stopping,
    /// The cloud said something else.
    Unknown,
}

/// A listener as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedListener {
    pub port: Port,
    pub protocol: Protocol,
    /// With the ownership mark where it is ours.
    pub description: String,
    pub group: Option<BackendGroupId>,
    pub status: ListenerStatus,
    pub settings: ListenerSettings,
    /// Settings that a listener of this protocol cannot have in this cloud.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unsupported: BTreeSet<Setting>,
}

/// A backend group as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedGroup {
    pub id: BackendGroupId,
    /// With the ownership mark where it is ours.
    pub name: String,
    /// Sorted by key.
    pub backends: Vec<ObservedBackend>,
}

impl ObservedGroup {
    pub fn backend(&self, key: &BackendKey) -> Option<&ObservedBackend> {
        self.backends.iter().find(|known| known.key == *key)
    }

    /// Records that `backends` were added: at `now` the cloud had answered.
    pub fn record_added(&mut self, backends: &[Backend], now: Timestamp) {
        for backend in backends {
            self.backends.retain(|known| known.key != backend.key);
            self.backends.push(ObservedBackend {
                key: backend.key.clone(),
                weight: backend.weight,
                added_at: Some(now),
                drained_at: None,
            });
        }
        self.backends.sort_by(|a, b| a.key.cmp(&b.key));
    }

    /// Records new weights; a backend that takes connections again has no removal ahead.
    pub fn record_weights(&mut self, backends: &[Backend]) {
        for backend in backends {
            if let Some(known) = self
                .backends
                .iter_mut()
                .find(|known| known.key == backend.key)
            {
                known.weight = backend.weight;
                known.drained_at = None;
            }
        }
    }

    /// Records that `keys` have weight 0: at `now` the cloud had answered.
    pub fn record_drained(&mut self, keys: &[BackendKey], now: Timestamp) {
        for known in self
            .backends
            .iter_mut()
            .filter(|known| keys.contains(&known.key))
        {
            known.weight = Weight::ZERO;
            known.drained_at = Some(now);
        }
    }

    pub fn record_removed(&mut self, keys: &[BackendKey]) {
        self.backends.retain(|known| !keys.contains(&known.key));
    }
}

/// A member of a backend group as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedBackend {
    #[serde(flatten)]
    pub key: BackendKey,
    pub weight: Weight,
    /// Since when it is known to be in the group. Nothing: for long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_at: Option<Timestamp>,
    /// Since when it has weight 0 because it is to leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained_at: Option<Timestamp>,
}
