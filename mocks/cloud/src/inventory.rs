use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;

use crate::plane::{Health, Plane};
use crate::state::{Group, Instance, Listener, ListenerStatus, Member, Protocol, State};

/// What the cloud holds at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// Sorted by id.
    pub instances: Vec<InstanceView>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct InstanceView {
    pub id: String,
    pub name: String,
    pub address: IpAddr,
    /// False: intranet.
    pub internet: bool,
    /// False: stopped by SetLoadBalancerStatus.
    pub active: bool,
    pub spec: Option<String>,
    pub delete_protection: bool,
    pub tags: BTreeMap<String, String>,
    /// Sorted by port and protocol.
    pub listeners: Vec<ListenerView>,
    /// vServer groups, sorted by id.
    pub groups: Vec<GroupView>,
    /// The default group.
    pub default_members: Vec<MemberView>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ListenerView {
    pub protocol: Protocol,
    pub port: u16,
    pub status: ListenerStatus,
    /// The id of its vServer group; none: the default group.
    pub group: Option<String>,
    pub description: String,
    /// Connection drain.
    pub drain: Option<Duration>,
    pub tags: BTreeMap<String, String>,
    /// The real socket, when there is one.
    pub socket: Option<SocketAddr>,
    /// The members as this listener sees them.
    pub members: Vec<MemberView>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GroupView {
    pub id: String,
    pub name: String,
    pub tags: BTreeMap<String, String>,
    pub members: Vec<MemberView>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct MemberView {
    pub server_id: String,
    pub server_ip: Option<IpAddr>,
    pub port: u16,
    pub weight: u32,
    pub description: String,
    /// Only in [`ListenerView::members`] of a listener with a socket.
    pub health: Option<Health>,
    /// Established connections of this listener to this member; 0 where `health` is none.
    pub connections: usize,
}

impl Inventory {
    pub(crate) fn of(state: &State, plane: &Plane, now: Timestamp) -> Self {
        let instances = state
            .instances
            .values()
            .map(|i| InstanceView::of(i, state, plane, now))
            .collect();
        Self { instances }
    }

    pub fn instance(&self, id: &str) -> Option<&InstanceView> {
        self.instances.iter().find(|instance| instance.id == id)
    }

    /// The instances that carry this tag.
    pub fn tagged(&self, key: &str, value: &str) -> Vec<&InstanceView> {
        let carries = |i: &&InstanceView| i.tags.get(key).is_some_and(|found| found == value);
        self.instances.iter().filter(carries).collect()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }
}

impl InstanceView {
    fn of(instance: &Instance, state: &State, plane: &Plane, now: Timestamp) -> Self {
        let groups = state
            .groups
            .values()
            .filter(|group| group.instance == instance.id);
        let listeners = instance.listeners.iter();
        Self {
            id: instance.id.clone(),
            name: instance.name.clone(),
            address: instance.address,
            internet: instance.is_internet(),
            active: instance.active,
            spec: instance.spec.clone(),
            delete_protection: instance.delete_protection,
            tags: instance.tags.clone(),
            listeners: listeners
                .map(|listener| ListenerView::of(instance, listener, state, plane, now))
                .collect(),
            groups: groups.map(GroupView::of).collect(),
            default_members: instance
                .default_members
                .iter()
                .map(MemberView::of)
                .collect(),
        }
    }

    /// The listener on `port`; of two the TCP one.
    pub fn listener(&self, port: u16) -> Option<&ListenerView> {
        self.listeners.iter().find(|listener| listener.port == port)
    }

    pub fn group(&self, name: &str) -> Option<&GroupView> {
        self.groups.iter().find(|group| group.name == name)
    }
}

impl ListenerView {
    fn of(
        instance: &Instance,
        listener: &Listener,
        state: &State,
        plane: &Plane,
        now: Timestamp,
    ) -> Self {
        let members = state.members_of(instance, listener);
        let seen = plane.members_seen(&instance.id, listener);
        Self {
            protocol: listener.protocol,
            port: listener.port,
            status: listener.status_at(now),
            group: listener.group.clone(),
            description: listener.description.clone(),
            drain: listener.drain(),
            tags: listener.tags.clone(),
            socket: plane.address(&instance.id, listener.port),
            members: members
                .iter()
                .map(|member| {
                    let seen = seen.iter().find(|seen| seen.is(member));
                    MemberView {
                        health: seen.map(|seen| seen.health),
                        connections: seen.map_or(0, |seen| seen.connections),
                        ..MemberView::of(member)
                    }
                })
                .collect(),
        }
    }
}

impl GroupView {
    fn of(group: &Group) -> Self {
        Self {
            id: group.id.clone(),
            name: group.name.clone(),
            tags: group.tags.clone(),
            members: group.members.iter().map(MemberView::of).collect(),
        }
    }
}

impl MemberView {
    fn of(member: &Member) -> Self {
        Self {
            server_id: member.server_id.clone(),
            server_ip: member.server_ip,
            port: member.port,
            weight: member.weight,
            description: member.description.clone(),
            health: None,
            connections: 0,
        }
    }
}

impl State {
    /// The members a listener forwards to; those of the default group get the listener's port.
    pub(crate) fn members_of(&self, instance: &Instance, listener: &Listener) -> Vec<Member> {
        if let Some(group) = &listener.group {
            return self
                .groups
                .get(group)
                .map(|group| group.members.clone())
                .unwrap_or_default();
        }
        let port = listener.backend_port.unwrap_or_default();
        let servers = instance.default_members.iter();
        servers
            .map(|server| Member {
                port,
                ..server.clone()
            })
            .collect()
    }
}
