//! Plans: typed steps with their reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backend::{Backend, BackendKey};
use crate::desired::{AddressType, IpVersion};
use crate::id::{BackendGroupId, LoadBalancerId, Port, Seconds, SubnetId};
use crate::listener::{ListenerSettings, Protocol, Setting};
use crate::observed::Observed;

/// One effect in the cloud.
///
/// Groups are named by their full name (with the ownership mark), because their ids are not known
/// before they exist; a provider finds the id in [`crate::Observed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "action",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[non_exhaustive]
pub enum Action {
    CreateLoadBalancer {
        name: Option<String>,
        address_type: AddressType,
        ip_version: IpVersion,
        subnet: Option<SubnetId>,
        tags: BTreeMap<String, String>,
        deletion_protection: Option<bool>,
    },
    RenameLoadBalancer {
        name: String,
    },
    SetDeletionProtection {
        /// The load balancer itself or a duplicate.
        id: LoadBalancerId,
        on: bool,
    },
    SetTags {
        tags: BTreeMap<String, String>,
    },
    RemoveTags {
        keys: Vec<String>,
    },
    CreateGroup {
        group: String,
        backends: Vec<Backend>,
    },
    AddBackends {
        group: String,
        backends: Vec<Backend>,
    },
    SetWeights {
        group: String,
        backends: Vec<Backend>,
    },
    /// Weight 0: no new connections. For backends that have it already, only since when is
    /// recorded.
    Drain {
        group: String,
        backends: Vec<BackendKey>,
        /// How long they stay so before they may be removed, from when the cloud has answered, by the
        /// setting of now: plans to come go by the setting of then.
        time: Seconds,
    },
    RemoveBackends {
        group: String,
        backends: Vec<BackendKey>,
    },
    DeleteGroup {
        group: String,
        id: BackendGroupId,
    },
    CreateListener {
        port: Port,
        protocol: Protocol,
        /// With the ownership mark.
        description: String,
        group: String,
        settings: ListenerSettings,
    },
    UpdateListener {
        port: Port,
        protocol: Protocol,
        description: String,
        group: String,
        settings: ListenerSettings,
        /// The settings that differ.
        changed: Vec<Setting>,
    },
    StartListener {
        port: Port,
        protocol: Protocol,
    },
    DeleteListener {
        port: Port,
        protocol: Protocol,
    },
    /// With everything in it.
    DeleteLoadBalancer {
        id: LoadBalancerId,
    },
}

impl Action {
    /// What is done to which object, without details that change from one try to the next: the
    /// action's part of an idempotency token.
    pub fn identity(&self) -> String {
        match self {
            Self::CreateLoadBalancer { .. } => "create load balancer".to_owned(),
            Self::RenameLoadBalancer { name } => format!("rename load balancer {name}"),
            Self::SetDeletionProtection { id, on } => format!("deletion protection {id} {on}"),
            Self::SetTags { tags } => format!("set tags {tags:?}"),
            Self::RemoveTags { keys } => format!("remove tags {keys:?}"),
            Self::CreateGroup { group, .. } => format!("create group {group}"),
            Self::AddBackends {
                group, backends, ..
            } => {
                format!("add to {group} {}", list(backends.iter().map(|b| &b.key)))
            }
            Self::SetWeights { group, backends } => format!(
                "weights of {group} {}",
                list(backends.iter().map(|b| format!("{}={}", b.key, b.weight)))
            ),
            Self::Drain {
                group, backends, ..
            } => format!("drain in {group} {}", list(backends)),
            Self::RemoveBackends { group, backends } => {
                format!("remove from {group} {}", list(backends))
            }
            Self::DeleteGroup { id, .. } => format!("delete group {id}"),
            Self::CreateListener { port, protocol, .. } => {
                format!("create listener {protocol}/{port}")
            }
            Self::UpdateListener { port, protocol, .. } => {
                format!("update listener {protocol}/{port}")
            }
            Self::StartListener { port, protocol } => format!("start listener {protocol}/{port}"),
            Self::DeleteListener { port, protocol } => format!("delete listener {protocol}/{port}"),
            Self::DeleteLoadBalancer { id } => format!("delete load balancer {id}"),
        }
    }
}

/// In words, as `gatewright plan` prints it.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateLoadBalancer {
                name,
                address_type,
                ip_version,
                ..
            } => {
                f.write_str("create load balancer")?;
                if let Some(name) = name {
                    write!(f, " {name}")?;
                }
                write!(f, " ({address_type}, {ip_version})")
            }
            Self::RenameLoadBalancer { name } => write!(f, "rename load balancer to {name}"),
            Self::SetDeletionProtection { id, on } => {
                write!(
                    f,
                    "switch deletion protection of {id} {}",
                    if *on { "on" } else { "off" }
                )
            }
            Self::SetTags { tags } => {
                write!(
                    f,
                    "set tags {}",
                    list(tags.iter().map(|(key, value)| format!("{key}={value}")))
                )
            }
            Self::RemoveTags { keys } => write!(f, "remove tags {}", list(keys)),
            Self::CreateGroup {
                group, backends, ..
            } if backends.is_empty() => {
                write!(f, "create empty backend group {group}")
            }
            Self::CreateGroup {
                group, backends, ..
            } => write!(
                f,
                "create backend group {group} with {}",
                list(backends.iter().map(|b| &b.key))
            ),
            Self::AddBackends {
                group, backends, ..
            } => {
                write!(
                    f,
                    "add {} to {group}",
                    list(backends.iter().map(|b| &b.key))
                )
            }
            Self::SetWeights { group, backends } => write!(
                f,
                "set weights in {group}: {}",
                list(backends.iter().map(|b| format!("{}={}", b.key, b.weight)))
            ),
            Self::Drain {
                group,
                backends,
                time,
            } => {
                write!(f, "drain {} in {group} for {time}", list(backends))
            }
            Self::RemoveBackends { group, backends } => {
                write!(f, "remove {} from {group}", list(backends))
            }
            Self::DeleteGroup { group, id } => write!(f, "delete backend group {group} ({id})"),
            Self::CreateListener {
                port,
                protocol,
                group,
                ..
            } => {
                write!(f, "create listener {protocol}/{port} to {group}")
            }
            Self::UpdateListener {
                port,
                protocol,
                changed,
                ..
            } if changed.is_empty() => {
                write!(f, "update listener {protocol}/{port}")
            }
            Self::UpdateListener {
                port,
                protocol,
                changed,
                ..
            } => {
                write!(f, "update {} of listener {protocol}/{port}", list(changed))
            }
            Self::StartListener { port, protocol } => write!(f, "start listener {protocol}/{port}"),
            Self::DeleteListener { port, protocol } => {
                write!(f, "delete listener {protocol}/{port}")
            }
            Self::DeleteLoadBalancer { id } => write!(f, "delete load balancer {id}"),
        }
    }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items
        .into_iter()
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

/// An action and why it is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    #[serde(flatten)]
    pub action: Action,
    pub reason: String,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.action, self.reason)
    }
}

/// Something wanted that cannot be made so. It becomes a condition, never a surprise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// Which part of [`crate::Desired`], e.g. `addressType` or `listeners[tcp/443].drain`.
    pub field: String,
    pub wanted: String,
    pub found: String,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: wanted {}, found {}",
            self.field, self.wanted, self.found
        )
    }
}

/// The way from observed to desired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// To be applied in this order; when one fails, none after it.
    pub steps: Vec<Step>,
    pub blocked: Vec<Blocked>,
    /// When to plan again though nothing has changed: a drain ends, or new backends have settled.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    /// Nothing to do now.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether a backend that takes connections, as far as `observed` tells, gets none any more: to be
    /// done only on what was just read.
    pub fn stops_backends(&self, observed: &Observed) -> bool {
        let groups = observed.load_balancer.iter().flat_map(|held| &held.groups);
        let takes = |name: &str, key: &BackendKey| {
            let mut named = groups.clone().filter(|group| group.name == name);
            named.any(|group| {
                group
                    .backend(key)
                    .is_some_and(|held| !held.weight.is_zero())
            })
        };
        self.steps.iter().any(|step| match &step.action {
            Action::Drain {
                group, backends, ..
            }
            | Action::RemoveBackends { group, backends } => {
                backends.iter().any(|key| takes(group, key))
            }
            _ => false,
        })
    }

    /// Keys of the tags that the steps put on: to be kept where a crash cannot lose them, for
    /// [`crate::Observed::claim_tags`].
    pub fn tag_keys(&self) -> BTreeSet<String> {
        let tags = self.steps.iter().filter_map(|step| match &step.action {
            Action::CreateLoadBalancer { tags, .. } | Action::SetTags { tags } => Some(tags),
            _ => None,
        });
        tags.flat_map(BTreeMap::keys).cloned().collect()
    }
}

/// One line a step, then what is blocked, then when to look again.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            writeln!(f, "nothing to do")?;
        }
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "{number}. {step}")?;
        }
        for blocked in &self.blocked {
            writeln!(f, "blocked: {blocked}")?;
        }
        if let Some(at) = self.wake_at {
            writeln!(f, "look again at {at}")?;
        }
        Ok(())
    }
}
